//! The way back: steps that take a migration back, each in the ledger like any other.

use std::{collections::BTreeMap, time::Duration};

use super::{
    run::Run,
    work::{Broken, Verdict, pair, returning, since_bound},
};
use crate::{
    address::Address,
    cli::{Failure, project::observe},
    io::{
        migrate::{
            Progress,
            place::{first_at, origin_of},
            verify::verify,
            wait::caught_up,
        },
        store::Journal,
    },
    live::{Facts, Live},
    migration::{
        Migration, Strategy,
        back::{self, Back, NoWay},
        stage::{self, takes_nothing},
    },
    position, render,
    schema::Harm,
    state::ledger::Standing,
};

/// How long the way back waits for messages that follow by themselves.
const WITHIN: Duration = Duration::from_secs(600);

impl Run<'_> {
    /// The steps of the way back from where a migration stands.
    pub(super) fn way(&self, migration: &Migration) -> Result<Vec<Back>, Failure> {
        let Some(ledger) = self.state.migrations.get(&migration.version) else {
            return Err(nothing(migration));
        };
        match ledger.standing {
            Standing::Underway | Standing::GoingBack | Standing::Done => {}
            Standing::Baselined | Standing::GoneBack => return Err(nothing(migration)),
        }
        back::way(migration, ledger).map_err(|it| match it {
            NoWay::Nothing => nothing(migration),
            NoWay::Beyond(step) => {
                let message = format!(
                    "{} cannot be taken back: step `{step}` is the point of no return",
                    migration.title()
                );
                Failure::new(message).help("write a migration that goes on from here instead")
            }
        })
    }

    /// Takes a migration back, from where it stands or from where the way back was left.
    pub(super) async fn backward(&mut self, migration: &Migration) -> Result<(), Failure> {
        let way = self.way(migration)?;
        self.has_bound_it_or_nobody_has(migration, &way).await?;
        loop {
            let left = back::left(&way, self.ledger(migration));
            let Some(next) = left.first().copied() else { break };
            let same = migration.strategy.is_some_and(Strategy::takes_subjects);
            if next == Back::Park && same {
                self.switch_back(migration, &left).await?;
                continue;
            }
            self.say(&render::migration::step(next.id(), &next.words(migration)));
            if next == Back::Copy {
                self.mark_return(migration).await?;
            }
            let id = (next.id(), next.id());
            let journal = self.open(migration, id, Standing::GoingBack).await?;
            let worked = self.undo(migration, next, &journal).await;
            self.close(migration, id, worked).await?;
        }
        let operation = format!("migrate rollback {}", migration.version);
        self.note(&operation, |run| run.ledger_mut(migration).standing = Standing::GoneBack)
            .await?;
        self.say(&render::migration::gone_back(migration));
        Ok(())
    }

    /// Before `to` is bound it is deleted with all that it holds, since `from` has that too: which is
    /// not so where somebody else has given it subjects.
    async fn has_bound_it_or_nobody_has(
        &self,
        migration: &Migration,
        way: &[Back],
    ) -> Result<(), Failure> {
        let (Some(to), Some(_)) = (&migration.to, returning(migration)) else { return Ok(()) };
        if way.contains(&Back::Park) || migration.strategy == Some(Strategy::Parallel) {
            return Ok(());
        }
        let live = self.session.read(&Address::stream(to)).await?;
        let config = live.map(|it| it.config()).unwrap_or_default();
        if takes_nothing(&config) {
            return Ok(());
        }
        let takes = config.texts("subjects").join(", ");
        let message = format!(
            "`{to}` takes {takes}, which no step gave it: what it took would be deleted with it"
        );
        Err(Failure::new(message).help(format!(
            "go on with `jsplan migrate resume {}` until it is bound, and back from there",
            self.options()
        )))
    }

    async fn undo(
        &mut self,
        migration: &Migration,
        back: Back,
        journal: &Journal,
    ) -> Result<Verdict, Broken> {
        let facts = self.ledger(migration).facts.clone();
        let after = self.stage(migration).behind(back, &facts);
        match back {
            Back::Unpark | Back::Follow | Back::Park | Back::Bind => {
                self.change(migration, &after, journal).await?;
            }
            Back::Wait | Back::Drain => {
                let Some(pair) = returning(migration) else { return Ok(Verdict::done()) };
                let waiting = async |tell: &mut dyn FnMut(Progress)| {
                    Ok(caught_up(&self.session, &pair, WITHIN, tell).await?)
                };
                self.watched(waiting).await?;
            }
            Back::Verify | Back::Prove => return self.verify_back(migration).await,
            Back::Copy => return self.copy_back(migration).await,
            Back::Consumers => self.consumers_back(migration, journal).await?,
            Back::Discard => {
                let to = migration.to.as_deref().unwrap_or_default();
                let mut granted = Vec::new();
                if migration.strategy != Some(Strategy::Parallel) {
                    granted.extend([(Harm::Destroy, to), (Harm::DataLoss, to)]);
                }
                self.let_go(migration);
                self.change_granted(migration, &after, &granted, journal).await?;
            }
        }
        Ok(Verdict::done())
    }

    /// What `to` holds is in `from` too, so nothing protects it any longer.
    fn let_go(&mut self, migration: &Migration) {
        let parallel = migration.strategy == Some(Strategy::Parallel);
        let of = |it: &Address| migration.to.as_deref() == Some(it.stream_name());
        for (_, recorded) in self.state.resources.iter_mut().filter(|it| of(it.0)) {
            if !parallel || recorded.prevent_destroy.is_none() {
                recorded.prevent_destroy = Some(false);
            }
        }
    }

    async fn verify_back(&mut self, migration: &Migration) -> Result<Verdict, Broken> {
        let Some(pair) = returning(migration) else { return Ok(Verdict::done()) };
        let facts = self.ledger(migration).facts.clone();
        let since = facts.returned.unwrap_or_else(|| since_bound(facts.bound, facts.cut));
        let proving = async |tell: &mut dyn FnMut(Progress)| {
            Ok(verify(&self.session, &pair, &since, tell).await?)
        };
        let proof = self.watched(proving).await?;
        let found = render::migration::proof(&proof, &since);
        self.facts(migration).returned = Some(proof);
        Ok(Verdict::Done(Some(found)))
    }

    /// Consumers of `from` go on where those of `to` stand, where these have come further.
    async fn consumers_back(
        &mut self,
        migration: &Migration,
        journal: &Journal,
    ) -> Result<(), Broken> {
        let Some(pair) = pair(migration) else { return Ok(()) };
        let stage = self.stage(migration);
        let desired = self.towards(migration, &stage);
        let live = observe(&self.session, &desired, &self.state).await?;
        let began = self.ledger(migration).facts.starts.clone();
        let mut starts = BTreeMap::new();
        for address in desired.resources.keys() {
            if address.is_stream() || address.stream_name() != pair.from {
                continue;
            }
            let Some((own, next)) = both(address, pair.to, &live, &began) else { continue };
            let start = self.back_at(migration, next).await?;
            if start > own {
                self.say(&render::migration::placed(address, next, start, 0));
                starts.insert(address.clone(), start);
            }
        }
        // No update moves a consumer, and to a plan it is the same wherever it stands: it goes, and is
        // made anew. One that is gone when this is cut short is found by its namesake.
        let mut without = desired.clone();
        without.resources.retain(|it, _| !starts.contains_key(it));
        for (_, recorded) in self.state.resources.iter_mut().filter(|it| starts.contains_key(it.0))
        {
            if recorded.prevent_destroy.is_none() {
                recorded.prevent_destroy = Some(false);
            }
        }
        for desired in [without, stage::placed(desired, &starts)] {
            let plan = self.plan(migration, &desired, &[(Harm::Destroy, pair.from)]).await?;
            self.carry(&plan.steps, journal).await?;
        }
        Ok(())
    }

    /// The first message of `from` that one who reads `to` from `next` on has not seen.
    async fn back_at(&self, migration: &Migration, next: u64) -> Result<u64, Broken> {
        let (Some(forth), Some(back)) = (pair(migration), returning(migration)) else {
            return Ok(next);
        };
        let bound = self.ledger(migration).facts.bound.unwrap_or(u64::MAX);
        let followed = migration.strategy.is_some_and(Strategy::takes_subjects);
        if next > bound && followed {
            return Ok(first_at(&self.session, &back, next).await?);
        }
        Ok(origin_of(&self.session, &forth, next.saturating_sub(1)).await? + 1)
    }
}

/// Where a consumer of `from` stands, and its namesake on `to`, in the sequences of each; `None` where
/// nobody has read there since it began.
fn both(
    address: &Address,
    to: &str,
    live: &Live,
    began: &BTreeMap<String, u64>,
) -> Option<(u64, u64)> {
    let other = live.resources.get(&Address::consumer(to, address.name()))?;
    let next = position::next(other.facts)?;
    let is_read = match (began.get(address.name()), other.facts) {
        (Some(began), _) => next > *began,
        (None, Facts::Consumer { ack_floor, .. }) => ack_floor > 0,
        (None, Facts::Stream { .. }) => false,
    };
    let own = live.resources.get(address);
    let own = own.map_or(0, |it| position::next(it.facts).unwrap_or(1));
    is_read.then_some((own, next))
}

fn nothing(migration: &Migration) -> Failure {
    Failure::new(format!("there is nothing to take back of {}", migration.title()))
        .help("`jsplan migrate status` shows what was done")
}
