//! The switch: from the moment one stream lets go of its subjects to the one another takes them.
//!
//! Nobody can publish meanwhile, so it is one piece: its requests are there before it begins, signals
//! wait for its end, and what does not come to its end in time is taken back.

use std::time::{Duration, Instant};

use super::{
    run::Run,
    work::{Broken, Verdict, pair, returning},
};
use crate::{
    address::Address,
    cli::Failure,
    io::{
        self, clock,
        migrate::{
            place::last_copy,
            verify::verify,
            wait::{drained, settled},
        },
    },
    migration::{Does, Migration, Step, back::Back, progress, proof::Pair, stage::takes_nothing},
    plan, render,
    schema::Harm,
    state::ledger::{Ledger, Proof, Standing},
};

/// How long publishers may be kept out before the switch is taken back.
const LONGEST: Duration = Duration::from_secs(10);

/// How long `to` may take to come near before that, how short a look is short enough, and how often
/// is looked: where publishers are faster than that, the switch is tried all the same.
const PREPARATION: Duration = Duration::from_secs(3600);
const NEAR: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;

/// One part of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The one stream lets go.
    Park,
    /// The other gets what is on its way.
    Drain,
    /// It is proved that it has.
    Prove,
    /// It takes the subjects.
    Bind,
}

impl Part {
    /// What a step is in a switch; `None` where it has no place in one.
    fn of(does: &Does) -> Option<Self> {
        match does {
            Does::Park => Some(Self::Park),
            Does::Wait { .. } => Some(Self::Drain),
            Does::Verify => Some(Self::Prove),
            Does::Bind => Some(Self::Bind),
            Does::Create
            | Does::Source { .. }
            | Does::Copy { .. }
            | Does::Mirror
            | Does::Gate { .. }
            | Does::Consumers { .. }
            | Does::Reverse
            | Does::Soak { .. }
            | Does::Retire(_)
            | Does::Assert { .. }
            | Does::Note { .. } => None,
        }
    }

    /// The same of a step of the way back.
    fn of_way_back(back: Back) -> Option<Self> {
        match back {
            Back::Park => Some(Self::Park),
            Back::Drain => Some(Self::Drain),
            Back::Prove => Some(Self::Prove),
            Back::Bind => Some(Self::Bind),
            Back::Unpark
            | Back::Follow
            | Back::Wait
            | Back::Verify
            | Back::Copy
            | Back::Consumers
            | Back::Discard => None,
        }
    }
}

/// A switch, ready to be carried out.
struct Switch<'a> {
    migration: &'a Migration,
    /// Its parts, with their names in the ledger and what they mean.
    parts: Vec<(String, String, Part)>,
    /// Which stream gets what the other has.
    pair: Pair<'a>,
    /// How far that is proved already.
    since: Proof,
    standing: Standing,
    /// The requests that let go, and those that take.
    parks: Vec<plan::Step>,
    binds: Vec<plan::Step>,
}

impl Run<'_> {
    /// Whether a step begins a switch: it parks, and what binds comes next but for a last look.
    pub(super) fn is_switch(&self, migration: &Migration, step: &Step) -> bool {
        step.does == Does::Park && !section(migration, self.ledger(migration)).is_empty()
    }

    /// Hands the subjects of `from` over to `to`.
    pub(super) async fn switch(&mut self, migration: &Migration) -> Result<(), Failure> {
        let Some(pair) = pair(migration) else { return Ok(()) };
        let steps = section(migration, self.ledger(migration));
        self.come_near(migration, &steps).await.map_err(|it| it.failure("nothing was changed"))?;
        let facts = self.ledger(migration).facts.clone();
        let after = steps
            .iter()
            .fold(self.stage(migration), |stage, it| stage.after(&it.does, migration, &facts));
        let part = |it: &Step| Some((it.id.clone(), it.meaning.clone(), Part::of(&it.does)?));
        let parts = steps.iter().filter_map(part).collect();
        for step in &steps {
            let words = progress::words(step, migration);
            self.say(&render::migration::step(&step.id, &words));
        }
        let desired = self.towards(migration, &after);
        let plan = self
            // What a mirror lacks stays behind: that is nothing, once it is drained and proved.
            .plan(migration, &desired, &[(Harm::DataLoss, pair.to)])
            .await
            .map_err(|it| it.failure("nothing was changed"))?;
        let from = Address::stream(pair.from);
        let (parks, binds) = plan.steps.into_iter().partition(|it| it.address == from);
        let since = facts.proof.unwrap_or_default();
        let standing = Standing::Underway;
        let switch = Switch { migration, parts, pair, since, standing, parks, binds };
        self.carry_over(&switch).await
    }

    /// Has `to` get, and proves, what came since that was last done: it may be days ago, and in the
    /// moment itself there is time for seconds of it.
    async fn come_near(&mut self, migration: &Migration, steps: &[Step]) -> Result<(), Broken> {
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            if migration.copies() {
                self.feed(migration).await?;
            } else {
                self.wait(migration, PREPARATION).await?;
            }
            if steps.iter().any(|it| it.does == Does::Verify) {
                self.verify(migration).await?;
            }
            if begun.elapsed() < NEAR {
                break;
            }
        }
        Ok(())
    }

    /// Hands the subjects of `to` back to `from`.
    pub(super) async fn switch_back(
        &mut self,
        migration: &Migration,
        way: &[Back],
    ) -> Result<(), Failure> {
        let Some(pair) = returning(migration) else { return Ok(()) };
        let facts = self.ledger(migration).facts.clone();
        let critical: Vec<Back> =
            way.iter().copied().filter(|it| Part::of_way_back(*it).is_some()).collect();
        let after =
            critical.iter().fold(self.stage(migration), |stage, it| stage.behind(*it, &facts));
        for it in &critical {
            self.say(&render::migration::step(it.id(), &it.words(migration)));
        }
        let part = |it: &Back| {
            let id = it.id().to_owned();
            Some((id.clone(), id, Part::of_way_back(*it)?))
        };
        let parts = critical.iter().filter_map(part).collect();
        let desired = self.towards(migration, &after);
        let plan = self
            .plan(migration, &desired, &[])
            .await
            .map_err(|it| it.failure("nothing was changed"))?;
        let to = Address::stream(pair.from);
        let (parks, binds) = plan.steps.into_iter().partition(|it| it.address == to);
        let since = facts.returned.unwrap_or_default();
        let standing = Standing::GoingBack;
        let switch = Switch { migration, parts, pair, since, standing, parks, binds };
        self.carry_over(&switch).await
    }

    /// All of it, or none: signals wait for its end.
    async fn carry_over(&mut self, switch: &Switch<'_>) -> Result<(), Failure> {
        let migration = switch.migration;
        let before = self.ledger(migration).clone();
        self.settle().await?;
        let begun = Instant::now();
        let ended = io::undisturbed(self.pass(switch, begun)).await;
        let broken = match ended {
            Ok(()) => {
                let window = self.ledger(migration).facts.window_ms.unwrap_or_default();
                self.say(&render::migration::window(window));
                return Ok(());
            }
            Err(broken) => broken,
        };
        if let Broken::Unknown(_) = broken {
            return Err(broken.failure(&self.way_on(migration)));
        }
        let taken_back = io::undisturbed(self.take_back(switch, &before)).await;
        let window = begun.elapsed();
        let said = render::migration::taken_back(window.as_millis());
        match taken_back {
            Ok(()) => Err(broken.failure(&said).help(said)),
            Err(failure) => {
                self.say(&render::talk::failure(&failure.message, failure.help.as_deref()));
                Err(broken.failure("").help(self.way_on(migration)))
            }
        }
    }

    async fn pass(&mut self, switch: &Switch<'_>, begun: Instant) -> Result<(), Broken> {
        // A request that waits for an election keeps nobody out before it is carried out.
        let mut parked = begun;
        for (id, meaning, part) in &switch.parts {
            let id = (id.as_str(), meaning.as_str());
            if (*part, switch.standing) == (Part::Bind, Standing::Underway) {
                self.mark_bound(switch.migration).await?;
            }
            let journal = self.open_at_once(switch.migration, id, switch.standing).await?;
            let left = LONGEST.saturating_sub(parked.elapsed());
            match part {
                Part::Park => {
                    self.carry(&switch.parks, &journal).await?;
                    parked = Instant::now();
                }
                Part::Drain => self.drain(switch, left).await?,
                Part::Prove => self.prove(switch, left).await?,
                Part::Bind => {
                    self.carry(&switch.binds, &journal).await?;
                    let window = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    self.facts(switch.migration).window_ms = Some(window);
                }
            }
            self.close(switch.migration, id, Ok(Verdict::done())).await?;
        }
        Ok(())
    }

    async fn drain(&mut self, switch: &Switch<'_>, within: Duration) -> Result<(), Broken> {
        let cut = if switch.migration.copies() && switch.standing == Standing::Underway {
            // What was sent before the subjects went may still be on its way into the stream.
            let last = settled(&self.session, switch.pair.from).await?;
            self.feed_within(switch.migration, within).await?;
            last
        } else {
            drained(&self.session, &switch.pair, within, &mut |_| {}).await?.given
        };
        if switch.standing == Standing::Underway {
            self.facts(switch.migration).cut = Some(cut);
        }
        Ok(())
    }

    /// What was proved before is not looked at again.
    async fn prove(&mut self, switch: &Switch<'_>, within: Duration) -> Result<(), Broken> {
        let late = || Failure::new("the proof of the last messages took too long");
        let proof = if switch.migration.copies() && switch.standing == Standing::Underway {
            let mut tell = |_| {};
            let proving = self.prove_fed(switch.migration, &mut tell);
            clock::within(within, proving).await.ok_or_else(late)??
        } else {
            let mut tell = |_| {};
            let proving = verify(&self.session, &switch.pair, &switch.since, &mut tell);
            clock::within(within, proving).await.ok_or_else(late)??
        };
        let facts = self.facts(switch.migration);
        let proved = if switch.standing == Standing::GoingBack {
            &mut facts.returned
        } else {
            &mut facts.proof
        };
        *proved = Some(proof);
        Ok(())
    }

    /// Notes where `to` ends before it is bound, which is with the last message that was copied: what
    /// comes behind is its own, also where somebody gave it subjects before, by hand. Of one that is
    /// bound already an earlier note stands, since what follows `from` may go on.
    pub(super) async fn mark_bound(&mut self, migration: &Migration) -> Result<(), Broken> {
        let Some(pair) = pair(migration) else { return Ok(()) };
        let live = self.session.read(&Address::stream(pair.to)).await.map_err(Failure::from)?;
        let is_bound = live.is_some_and(|it| !takes_nothing(&it.config()));
        let noted = self.ledger(migration).facts.bound.filter(|_| is_bound);
        let bound = match noted {
            Some(bound) => bound,
            None => last_copy(&self.session, &pair).await?,
        };
        self.facts(migration).bound = Some(bound);
        Ok(())
    }

    /// The stream that let go takes its subjects again, and the ledger forgets that it tried.
    async fn take_back(&mut self, switch: &Switch<'_>, before: &Ledger) -> Result<(), Failure> {
        let migration = switch.migration;
        let (id, meaning, _) = &switch.parts[0];
        let journal =
            self.open_at_once(migration, (id.as_str(), meaning.as_str()), switch.standing).await?;
        let now = self.ledger(migration).clone();
        *self.ledger_mut(migration) = before.clone();
        let stage = self.stage(migration);
        if let Err(broken) = self.change(migration, &stage, &journal).await {
            // It is as it was when the switch broke off, and that is what has to be told.
            *self.ledger_mut(migration) = now;
            return Err(broken.failure("the subjects were not given back"));
        }
        self.save().await
    }
}

/// The steps of a switch that is next: from parking to binding, where only a last look stands
/// between; none where the step parks for good.
fn section(migration: &Migration, ledger: &Ledger) -> Vec<Step> {
    let left: Vec<Step> = progress::left(migration, Some(ledger)).cloned().collect();
    let between = |it: &&Step| !matches!(it.does, Does::Bind);
    let until = left.iter().take_while(between).count();
    let part = |it: &Step| Part::of(&it.does).is_some();
    let whole = left.get(until).is_some() && left[..until].iter().all(part);
    if whole { left[..=until].to_vec() } else { Vec::new() }
}
