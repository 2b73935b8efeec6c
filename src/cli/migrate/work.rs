//! What each step does.

use std::{collections::BTreeMap, time::Duration};

use super::run::Run;
use crate::{
    address::Address,
    cli::{Failure, project::observe},
    finding::Severity,
    io::{
        self, clock,
        migrate::{
            self, Progress,
            place::first_at,
            scan::scan,
            verify::verify,
            wait::{caught_up, drained},
        },
        nats::uses::Publishing,
        store::Journal,
    },
    live::{Facts as Live, Observed},
    migration::{
        Does, Migration, Retire, Step, Strategy, lint,
        preflight::{preflight, window_waits},
        progress::{is_proved_since_parked, stop},
        proof::{Copying, Pair},
        stage::{self, Stage},
    },
    position, render,
    schema::Harm,
    state::ledger::{End, Proof},
    units::{elapsed, show_about},
};

/// How a step went.
pub(super) enum Verdict {
    /// It is done; with what was found, where that is worth a line.
    Done(Option<String>),
    /// It is not over yet, and the next run looks again.
    Waits(String),
}

/// Why a step is not done.
pub(super) enum Broken {
    /// It failed; nothing of it is under way.
    Failed(Failure),
    /// Somebody asked for the end: the next run goes on.
    Interrupted(Failure),
    /// Requests may have been carried out of which nobody knows.
    Unknown(Failure),
}

/// What a step of a migration may do to deliveries without being asked: that is what it is for, and
/// what it proves to be harmless.
pub(super) const GRANTED: &[Harm] = &[Harm::Delivery, Harm::Redelivery, Harm::OneWay];

impl Verdict {
    pub(super) fn done() -> Self {
        Self::Done(None)
    }
}

impl Broken {
    /// The failure, with the way on.
    pub(super) fn failure(self, way_on: &str) -> Failure {
        let (Self::Failed(it) | Self::Interrupted(it) | Self::Unknown(it)) = self;
        if it.message.is_empty() { Failure::new(way_on.to_owned()) } else { it.or_help(way_on) }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<migrate::Error> for Broken {
    fn from(error: migrate::Error) -> Self {
        Self::Failed(Failure::from(error))
    }
}

impl Run<'_> {
    /// Sees that a migration can begin, and notes what it begins from.
    pub(super) async fn begin(&mut self, migration: &Migration) -> Result<(), Failure> {
        let findings = lint::against(migration, &self.spec);
        self.project.stop_at(&findings, self.sources())?;
        let live = observe(&self.session, &self.spec, &self.state).await?;
        let mut repeats = false;
        if let Some(from) = &migration.from {
            let from = Address::stream(from);
            let owned = self.state.resources.contains_key(&from);
            if !owned || !live.resources.contains_key(&from) {
                return Err(Failure::new(format!("`{from}` is not there, or not owned"))
                    .help("apply or import it first: a migration moves what jsplan owns"));
            }
        }
        if let Some(to) = &migration.to {
            let to = Address::stream(to);
            if live.doubt(&to).is_some() || live.resources.contains_key(&to) {
                let message =
                    format!("`{to}` is there already, and {} makes it", migration.title());
                return Err(Failure::new(message).help(format!(
                    "if it holds what it should: `jsplan migrate repair {} --reason TEXT {}`",
                    migration.version,
                    self.options()
                )));
            }
            repeats = self.preflight(migration, &to).await?;
        }
        let origin = migration
            .from
            .as_ref()
            .and_then(|it| self.state.resources.get(&Address::stream(it)).cloned());
        let facts = self.facts(migration);
        (facts.origin, facts.repeats) = (origin, repeats);
        Ok(())
    }

    /// Reads `from` once, and refuses what would not arrive. Says whether ids of messages repeat.
    async fn preflight(&self, migration: &Migration, to: &Address) -> Result<bool, Failure> {
        let (Some(pair), Some(wanted)) = (pair(migration), self.spec.resources.get(to)) else {
            return Ok(false);
        };
        if migration.strategy == Some(Strategy::Parallel) {
            return Ok(false);
        }
        let looking =
            async |tell: &mut dyn FnMut(Progress)| Ok(scan(&self.session, pair.from, tell).await?);
        let scan = self.watched(looking).await.map_err(|it| it.failure("nothing was changed"))?;
        let release = self.session.release();
        let findings = preflight(&scan, &pair, &wanted.config, release, migration.place);
        self.project.show_findings(&findings, self.sources());
        if findings.iter().any(|it| it.severity == Severity::Error) {
            return Err(Failure::shown());
        }
        Ok(window_waits(&scan, pair.copying))
    }

    /// Whether a step waits that nothing has to be noted of: what it waits for.
    pub(super) async fn still_waits(
        &self,
        migration: &Migration,
        step: &Step,
    ) -> Result<Option<String>, Failure> {
        let ledger = self.ledger(migration);
        match &step.does {
            Does::Gate { .. } => Ok(stop(step, Some(ledger), &self.spec.environment.name)),
            Does::Soak { least, idle } => {
                match ledger.steps.iter().find(|it| it.id == step.id && it.end == End::Open) {
                    Some(entry) => self.soaks(migration, (&entry.begun, *least, *idle)).await,
                    None => Ok(None),
                }
            }
            Does::Retire(Retire::Delete) => self.lacks_consent(migration).await,
            Does::Create
            | Does::Source { .. }
            | Does::Copy { .. }
            | Does::Mirror
            | Does::Wait { .. }
            | Does::Verify
            | Does::Park
            | Does::Bind
            | Does::Consumers { .. }
            | Does::Reverse
            | Does::Retire(Retire::Seal | Retire::Keep)
            | Does::Assert { .. }
            | Does::Note { .. } => Ok(None),
        }
    }

    /// Messages are deleted only where somebody said so who was told how many.
    async fn lacks_consent(&self, migration: &Migration) -> Result<Option<String>, Failure> {
        let Some(from) = &migration.from else { return Ok(None) };
        if self.allow.contains_key(&(Harm::Destroy, Address::stream(from))) {
            return Ok(None);
        }
        let messages = migrate::messages(&self.session, from).await?;
        Ok(Some(render::migration::deletes(migration, from, messages, &self.options())))
    }

    /// What a step does.
    pub(super) async fn work(
        &mut self,
        migration: &Migration,
        does: &Does,
        journal: &Journal,
    ) -> Result<Verdict, Broken> {
        let ledger = self.ledger(migration);
        let after = self.stage(migration).after(does, migration, &ledger.facts);
        match does {
            Does::Create | Does::Source { .. } | Does::Mirror | Does::Park | Does::Reverse => {
                self.change(migration, &after, journal).await?;
                Ok(Verdict::done())
            }
            Does::Copy { .. } => {
                self.change(migration, &after, journal).await?;
                self.feed(migration).await
            }
            Does::Bind => {
                // What a mirror lacks stays behind: that is nothing, once it is proved.
                let to =
                    migration.to.as_deref().filter(|_| is_proved_since_parked(migration, ledger));
                let granted: Vec<_> = to.map(|it| (Harm::DataLoss, it)).into_iter().collect();
                self.change_granted(migration, &after, &granted, journal).await?;
                Ok(Verdict::done())
            }
            Does::Wait { .. } if migration.copies() => self.feed(migration).await,
            Does::Wait { within } => {
                let within = Duration::from_nanos(within.unsigned_abs());
                self.wait(migration, within).await
            }
            Does::Verify => self.verify(migration).await,
            Does::Consumers { .. } => self.consumers(migration, &after, journal).await,
            Does::Retire(end) => self.retire(migration, *end, &after, journal).await,
            Does::Soak { least, idle } => {
                let open = self.ledger(migration).steps.iter().find(|it| it.end == End::Open);
                let begun = open.map_or_else(clock::now, |it| it.begun.clone());
                let waits = self.soaks(migration, (&begun, *least, *idle)).await?;
                Ok(waits.map_or(Verdict::Done(None), Verdict::Waits))
            }
            Does::Assert { exists, empty } => self.assert(exists, empty).await,
            Does::Gate { .. } | Does::Note { .. } => Ok(Verdict::done()),
        }
    }

    /// A plan towards a stage, carried out.
    pub(super) async fn change(
        &mut self,
        migration: &Migration,
        stage: &Stage,
        journal: &Journal,
    ) -> Result<(), Broken> {
        self.change_granted(migration, stage, &[], journal).await
    }

    /// The same, where some harm to a stream was dealt with before.
    pub(super) async fn change_granted(
        &mut self,
        migration: &Migration,
        stage: &Stage,
        granted: &[(Harm, &str)],
        journal: &Journal,
    ) -> Result<(), Broken> {
        let desired = self.towards(migration, stage);
        let plan = self.plan(migration, &desired, granted).await?;
        self.carry(&plan.steps, journal).await
    }

    /// Does what may take long under a bar, and until somebody asks for the end.
    pub(super) async fn watched<T>(
        &self,
        work: impl AsyncFnOnce(&mut dyn FnMut(Progress)) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let bar = self.project.terminal.bar("messages");
        let mut tell = |it: Progress| bar.at(it.done, it.of);
        let interrupted = || Err(Broken::Interrupted(Failure::new("interrupted")));
        io::unless_interrupted(work(&mut tell), interrupted).await
    }

    pub(super) async fn wait(
        &mut self,
        migration: &Migration,
        within: Duration,
    ) -> Result<Verdict, Broken> {
        let is_parked = self.stage(migration).is_parked;
        let Some(pair) = pair(migration) else { return Ok(Verdict::done()) };
        let waiting = async |tell: &mut dyn FnMut(Progress)| {
            if is_parked {
                let standing = drained(&self.session, &pair, within, tell).await?;
                Ok(Some(standing.given))
            } else {
                caught_up(&self.session, &pair, within, tell).await?;
                Ok(None)
            }
        };
        let cut = self.watched(waiting).await?;
        if is_parked {
            self.facts(migration).cut = cut;
        }
        Ok(Verdict::done())
    }

    pub(super) async fn verify(&mut self, migration: &Migration) -> Result<Verdict, Broken> {
        let Some(pair) = pair(migration) else { return Ok(Verdict::done()) };
        let since = self.ledger(migration).facts.proof.clone().unwrap_or_default();
        let proving = async |tell: &mut dyn FnMut(Progress)| {
            if migration.copies() {
                return self.prove_while_fed(migration, tell).await;
            }
            Ok(verify(&self.session, &pair, &since, tell).await?)
        };
        let proof = self.watched(proving).await?;
        let found = render::migration::proof(&proof, &since);
        self.facts(migration).proof = Some(proof);
        Ok(Verdict::Done(Some(found)))
    }

    /// The end of `from`.
    async fn retire(
        &mut self,
        migration: &Migration,
        end: Retire,
        after: &Stage,
        journal: &Journal,
    ) -> Result<Verdict, Broken> {
        let Some(from) = &migration.from else { return Ok(Verdict::done()) };
        if end == Retire::Delete {
            // Consent that names the stream is asked of whoever ends it, and that is enough.
            for (it, recorded) in &mut self.state.resources {
                if it.stream_name() == from && recorded.prevent_destroy.is_none() {
                    recorded.prevent_destroy = Some(false);
                }
            }
        }
        self.change(migration, after, journal).await?;
        Ok(Verdict::done())
    }

    /// What a soak waits for; `None` where it is over.
    async fn soaks(
        &self,
        migration: &Migration,
        (begun, least, idle): (&str, i64, i64),
    ) -> Result<Option<String>, Failure> {
        let now = clock::now();
        let passed = elapsed(begun, &now).unwrap_or_default();
        if passed < least {
            return Ok(Some(format!(
                "a soak of {}: {} left",
                show_about(least),
                show_about(least - passed)
            )));
        }
        let Some(from) = migration.from.as_deref().filter(|_| idle > 0) else { return Ok(None) };
        let parked = self.stage(migration).is_parked;
        let publishing = if parked { Publishing::Parked } else { Publishing::Open };
        let used = self.session.last_use(from, publishing).await.map_err(Failure::of_server)?;
        // What was not used before counts from the start of the soak.
        let rests = used.as_ref().and_then(|it| elapsed(&it.at, &now)).unwrap_or(i64::MAX);
        if rests.min(passed) >= idle {
            return Ok(None);
        }
        let used = used.filter(|_| rests <= passed);
        let what = used.map_or_else(|| "the soak began".to_owned(), |it| it.what);
        Ok(Some(render::migration::in_use(from, &what, rests.min(passed), idle)))
    }

    async fn assert(&self, exists: &[Address], empty: &[Address]) -> Result<Verdict, Broken> {
        for address in exists.iter().chain(empty) {
            let is = self.session.read(address).await.map_err(Failure::of_server)?;
            let Some(is) = is else {
                return Err(Failure::new(format!("`{address}` does not exist")).into());
            };
            let messages = is.messages();
            if empty.contains(address) && messages > 0 {
                let held = crate::units::count(messages, "message");
                return Err(Failure::new(format!("`{address}` holds {held}")).into());
            }
        }
        Ok(Verdict::done())
    }

    /// Makes the consumers of `to` where their namesakes on `from` stand.
    async fn consumers(
        &mut self,
        migration: &Migration,
        after: &Stage,
        journal: &Journal,
    ) -> Result<Verdict, Broken> {
        let Some(pair) = pair(migration) else { return Ok(Verdict::done()) };
        let desired = self.towards(migration, after);
        let live = observe(&self.session, &desired, &self.state).await?;
        let mut starts = BTreeMap::new();
        let mut lines = Vec::new();
        for address in desired.resources.keys() {
            let makes = !address.is_stream() && address.stream_name() == pair.to;
            if !makes || live.resources.contains_key(address) {
                continue;
            }
            let namesake = Address::consumer(pair.from, address.name());
            let Some(is) = live.resources.get(&namesake) else {
                lines.push(render::migration::new_consumer(address));
                continue;
            };
            let Some(next) = position::next(is.facts) else {
                lines.push(render::migration::unread_consumer(address));
                continue;
            };
            let start = first_at(&self.session, &pair, next).await?;
            lines.push(render::migration::placed(address, next, start, again(is)));
            starts.insert(address.clone(), start);
        }
        for line in lines {
            self.say(&line);
        }
        let desired = stage::placed(desired, &starts);
        let plan = self.plan(migration, &desired, &[]).await?;
        self.carry(&plan.steps, journal).await?;
        let named = starts.iter().map(|(it, start)| (it.name().to_owned(), *start));
        self.facts(migration).starts.extend(named);
        Ok(Verdict::done())
    }
}

/// Deliveries that are not acknowledged, and come again.
fn again(is: &Observed) -> u64 {
    match is.facts {
        Live::Consumer { ack_pending, .. } => ack_pending,
        Live::Stream { .. } => 0,
    }
}

/// The two streams of a migration, as a proof sees them; `None` where no messages are moved.
pub(super) fn pair(migration: &Migration) -> Option<Pair<'_>> {
    let (from, to) = (migration.from.as_deref()?, migration.to.as_deref()?);
    let mirrors = migration.steps.iter().any(|it| it.does == Does::Mirror);
    let copying = match (migration.copies(), mirrors) {
        (true, _) => Copying::Program,
        (false, true) => Copying::Mirror,
        (false, false) => Copying::Source,
    };
    Some(Pair { from, to, copying, mapping: migration.mapping() })
}

/// The same the way back: what `from` is to get of `to`.
pub(super) fn returning(migration: &Migration) -> Option<Pair<'_>> {
    let pair = pair(migration)?;
    let (from, to) = (pair.to, pair.from);
    Some(Pair { from, to, copying: Copying::Source, mapping: &[] })
}

/// From where on the way back is to be proved.
pub(super) fn since_bound(bound: Option<u64>, cut: Option<u64>) -> Proof {
    Proof { origin: bound.unwrap_or_default(), copy: cut.unwrap_or_default(), ..Proof::default() }
}
