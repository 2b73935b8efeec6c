//! One run: the steps of migrations up to the next stop, each in the ledger before and after.

use std::collections::{BTreeMap, BTreeSet};

use super::work::{Broken, GRANTED, Verdict};
use crate::{
    address::Address,
    cli::{
        Exit, Failure,
        apply::carry_out,
        project::{Gathered, Project, observe},
    },
    event::Event,
    finding::{Code, Finding, Severity, Sources},
    io::{
        apply::{self, PARALLELISM},
        clock, git,
        nats::Session,
        store::{self, Journal, Lock, Store},
        who,
    },
    live::Live,
    migration::{
        Does, Migration, Migrations, Step, progress,
        stage::{self, Stage},
    },
    plan::{self, Ask, Plan, risk::Reach},
    render,
    schema::Harm,
    spec::Desired,
    state::{
        LastApply, State,
        journal::Line,
        ledger::{End, Entry, Facts, Ledger, Standing},
    },
    target,
};

/// What a run works with, and the state that it changes.
pub(in crate::cli) struct Run<'a> {
    pub(super) project: &'a Project,
    pub(super) session: Session,
    pub(super) spec: Desired,
    pub(super) migrations: Migrations,
    pub(super) state: State,
    /// Harm that was consented to.
    pub(super) allow: BTreeMap<(Harm, Address), Reach>,
    sources: Sources,
    store: &'a Store,
    lock: &'a Lock,
    /// The migrations that have something to do, in order; those that may not begin yet with why.
    ahead: Vec<(String, Option<String>)>,
    commit: Option<String>,
}

/// A step as the ledger knows it: its name, and the digest of what it means.
pub(super) type Id<'a> = (&'a str, &'a str);

impl<'a> Run<'a> {
    /// A run on what was gathered. What an apply left that was cut short is saved first.
    pub(in crate::cli) async fn new(
        project: &'a Project,
        gathered: Gathered,
        store: &'a Store,
        lock: &'a Lock,
    ) -> Result<Self, Failure> {
        let Gathered {
            desired,
            spec,
            migrations,
            mut blocked,
            stops: _,
            sources,
            mut state,
            live,
            session,
        } = gathered;
        carry_out::settle(&state, store, lock).await?;
        state.cut_short = None;
        state.target = Some(target::of(&live.server));
        let ahead = desired.moves.into_iter().map(|it| {
            let waits = blocked.remove(&it.version);
            (it.version, waits)
        });
        let ahead = ahead.collect();
        let (allow, commit) = (BTreeMap::new(), git::commit(&project.dir));
        Ok(Self {
            project,
            session,
            spec,
            migrations,
            state,
            allow,
            sources,
            store,
            lock,
            ahead,
            commit,
        })
    }

    /// The same, with consent to some harm.
    pub(in crate::cli) fn allowing(mut self, ask: &Ask) -> Self {
        self.allow.clone_from(&ask.allow);
        self
    }

    /// Goes on with every migration that has something to do, or with one of them.
    pub(in crate::cli) async fn forward(&mut self, only: Option<&str>) -> Result<Exit, Failure> {
        self.baseline().await?;
        let mut waits = Vec::new();
        for (version, blocked) in self.ahead.clone() {
            if only.is_some_and(|it| it != version) {
                continue;
            }
            let Some(migration) = self.migrations.0.get(&version).cloned() else { continue };
            let waiting = match blocked.or_else(|| self.behind(&migration, &waits)) {
                Some(blocked) => Some(blocked),
                None => self.go(&migration).await?,
            };
            if let Some(waiting) = waiting {
                let options = self.options();
                self.say(&render::migration::waits(&migration, &waiting, &options));
                waits.push(migration);
            }
        }
        self.look_again().await?;
        Ok(Exit::Done)
    }

    /// Notes of what there was nothing to migrate that it is so: the environment began behind it.
    async fn baseline(&mut self) -> Result<(), Failure> {
        let new = stage::unneeded(&self.spec, &self.migrations, &self.state);
        let new: Vec<Migration> = new.cloned().collect();
        if new.is_empty() {
            return Ok(());
        }
        self.note("migrate baseline", |run| {
            for migration in &new {
                let ledger = run.ledger_mut(migration);
                ledger.standing = Standing::Baselined;
                ledger.ended = Some(ledger.begun.clone());
            }
        })
        .await
    }

    /// What a migration waits for that shares a stream with an earlier one, or requires it.
    fn behind(&self, migration: &Migration, waiting: &[Migration]) -> Option<String> {
        let done = |version: &String| {
            let ledger = self.state.migrations.get(version);
            ledger.is_some_and(|it| matches!(it.standing, Standing::Done | Standing::Baselined))
        };
        let open = migration.requires.iter().find(|it| !done(it));
        let shares = |other: &&Migration| {
            let streams = |it: &Migration| [it.from.clone(), it.to.clone()];
            streams(other).into_iter().flatten().any(|it| streams(migration).contains(&Some(it)))
        };
        let shared = waiting.iter().find(shares).map(|it| &it.version);
        open.or(shared).map(|it| format!("{it} to be done"))
    }

    /// The steps of one migration up to the next stop; what it waits for there.
    async fn go(&mut self, migration: &Migration) -> Result<Option<String>, Failure> {
        self.say(&render::migration::begins(migration));
        if !self.state.migrations.contains_key(&migration.version) {
            self.begin(migration).await?;
        }
        loop {
            let ledger = self.state.migrations.get(&migration.version);
            let Some(step) = progress::left(migration, ledger).next().cloned() else {
                let took = self.ledger(migration).clone();
                self.say(&render::migration::done(migration, &took));
                return Ok(None);
            };
            let verdict = if self.is_switch(migration, &step) {
                self.switch(migration).await?;
                Verdict::done()
            } else {
                self.take(migration, &step).await?
            };
            if let Verdict::Waits(waiting) = verdict {
                return Ok(Some(waiting));
            }
        }
    }

    /// One step, from its entry in the ledger to the end of that.
    async fn take(&mut self, migration: &Migration, step: &Step) -> Result<Verdict, Failure> {
        if let Some(waiting) = self.still_waits(migration, step).await? {
            if self.ledger(migration).steps.is_empty() {
                // What it begins from was looked at, and is not looked at again.
                let operation = format!("migrate {} begin", migration.version);
                self.note(&operation, |_| {}).await?;
            }
            return Ok(Verdict::Waits(waiting));
        }
        let words = progress::words(step, migration);
        self.say(&render::migration::step(&step.id, &words));
        let id = (step.id.as_str(), step.meaning.as_str());
        if step.does == Does::Bind {
            self.mark_bound(migration).await.map_err(|it| it.failure(&self.way_on(migration)))?;
        }
        let journal = self.open(migration, id, Standing::Underway).await?;
        let worked = self.work(migration, &step.does, &journal).await;
        self.close(migration, id, worked).await
    }

    /// Takes note of how a step ended, and saves that.
    pub(super) async fn close(
        &mut self,
        migration: &Migration,
        id: Id<'_>,
        worked: Result<Verdict, Broken>,
    ) -> Result<Verdict, Failure> {
        let end = match &worked {
            Ok(Verdict::Done(_)) => End::Done,
            Ok(Verdict::Waits(_)) | Err(Broken::Interrupted(_)) => End::Open,
            Err(Broken::Failed(failure)) => End::Failed(failure.message.clone()),
            // Only the journal knows of what may have been carried out.
            Err(Broken::Unknown(_)) => End::Open,
        };
        self.end(migration, id, end);
        if !matches!(worked, Err(Broken::Unknown(_))) {
            self.save().await?;
        }
        if let Ok(Verdict::Done(Some(found))) = &worked {
            self.say(&render::migration::found(found));
        }
        worked.map_err(|it| it.failure(&self.way_on(migration)))
    }

    fn end(&mut self, migration: &Migration, (id, _): Id<'_>, end: End) {
        let now = clock::now();
        let ledger = self.ledger_mut(migration);
        let back = ledger.standing == Standing::GoingBack;
        let entries = if back { &mut ledger.back } else { &mut ledger.steps };
        if let Some(entry) = entries.iter_mut().rev().find(|it| it.id == id) {
            entry.ended = (end != End::Open).then(|| now.clone());
            entry.end = end;
        }
        let over = progress::left(migration, Some(ledger)).next().is_none();
        if over && !back {
            (ledger.standing, ledger.ended) = (Standing::Done, Some(now));
        }
    }

    /// Puts a step into the ledger, and the ledger on disk, before anything is done of it.
    pub(super) async fn open(
        &mut self,
        migration: &Migration,
        (id, meaning): Id<'_>,
        standing: Standing,
    ) -> Result<Journal, Failure> {
        self.settle().await?;
        self.open_at_once(migration, (id, meaning), standing).await
    }

    /// The same without keeping the state before it, which takes time that publishers do not have.
    pub(super) async fn open_at_once(
        &mut self,
        migration: &Migration,
        (id, meaning): Id<'_>,
        standing: Standing,
    ) -> Result<Journal, Failure> {
        let (now, by) = (clock::now(), who::user_at_host());
        self.next_serial(&format!("migrate {} {id}", migration.version));
        let ledger = self.ledger_mut(migration);
        ledger.standing = standing;
        ledger.meaning.clone_from(&migration.meaning);
        let back = standing == Standing::GoingBack;
        let entries = if back { &mut ledger.back } else { &mut ledger.steps };
        if let Some(entry) = entries.iter_mut().find(|it| it.id == id) {
            (entry.end, entry.meaning) = (End::Open, meaning.to_owned());
        } else {
            let (id, meaning) = (id.to_owned(), meaning.to_owned());
            entries.push(Entry { id, meaning, end: End::Open, begun: now, ended: None, by });
        }
        let journal = self.store.begin(&self.state, self.lock).await.map_err(Failure::of_store)?;
        journal.append(&Line::Steps(0).text()).await.map_err(Failure::of_store)?;
        Ok(journal)
    }

    pub(super) fn next_serial(&mut self, operation: &str) {
        if self.state.lineage.is_empty() {
            self.state.lineage = store::lineage();
        }
        self.state.serial += 1;
        let last = LastApply::by_hand(operation, clock::now(), who::user_at_host());
        self.state.last_apply = Some(LastApply { commit: self.commit.clone(), ..last });
    }

    /// Keeps the state as it is, before others follow it that nobody has the time to keep.
    pub(super) async fn settle(&self) -> Result<(), Failure> {
        self.store.settle(&self.state, self.lock).await.map_err(Failure::of_store)
    }

    pub(super) async fn save(&self) -> Result<(), Failure> {
        carry_out::save(self.project, self.store, (&self.state, self.lock)).await
    }

    /// Saves a change of the ledger that no step makes.
    pub(super) async fn note(
        &mut self,
        operation: &str,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), Failure> {
        self.settle().await?;
        self.next_serial(operation);
        change(self);
        self.save().await
    }

    pub(super) fn ledger(&self, migration: &Migration) -> &Ledger {
        self.state.migrations.get(&migration.version).expect("a run begins with a ledger")
    }

    pub(super) fn ledger_mut(&mut self, migration: &Migration) -> &mut Ledger {
        let by = who::user_at_host();
        let new = || Ledger {
            name: migration.name.clone(),
            meaning: migration.meaning.clone(),
            standing: Standing::Underway,
            begun: clock::now(),
            ended: None,
            by,
            steps: Vec::new(),
            back: Vec::new(),
            approved: Vec::new(),
            facts: Facts::default(),
        };
        self.state.migrations.entry(migration.version.clone()).or_insert_with(new)
    }

    pub(super) fn facts(&mut self, migration: &Migration) -> &mut Facts {
        &mut self.ledger_mut(migration).facts
    }

    /// Where both streams of a migration stand by its ledger.
    pub(super) fn stage(&self, migration: &Migration) -> Stage {
        Stage::of(migration, self.state.migrations.get(&migration.version))
    }

    /// The spec with a migration at a stage.
    pub(super) fn towards(&self, migration: &Migration, stage: &Stage) -> Desired {
        stage::towards(&self.spec, &self.migrations, &self.state, (migration, stage))
    }

    /// What leads to this. What belongs to every step is granted, and more of it on one stream.
    pub(super) async fn plan(
        &self,
        migration: &Migration,
        desired: &Desired,
        more: &[(Harm, &str)],
    ) -> Result<Plan, Broken> {
        let plan = self.planned(migration, desired, more).await?;
        let errors = plan.findings.iter().filter(|it| it.severity == Severity::Error);
        let errors: Vec<Finding> = errors.cloned().collect();
        let Some(first) = errors.first() else { return Ok(plan) };
        self.project.show_findings(&errors, &self.sources);
        Err(Broken::Failed(Failure::new(first.message.clone())))
    }

    /// The same, whatever stops it.
    pub(super) async fn planned(
        &self,
        migration: &Migration,
        desired: &Desired,
        more: &[(Harm, &str)],
    ) -> Result<Plan, Failure> {
        let live = observe(&self.session, desired, &self.state).await?;
        let streams = [&migration.from, &migration.to];
        let concerned = |it: &&Address| {
            streams.into_iter().flatten().any(|name| it.stream_name() == name.as_str())
        };
        let known = desired.resources.keys().chain(self.state.resources.keys());
        let targets: BTreeSet<_> = known.filter(concerned).cloned().collect();
        let mut allow = self.allow.clone();
        allow.retain(|(_, it), _| targets.contains(it));
        let granted = |it: &Address| {
            let more = more.iter().filter(|(_, stream)| it.stream_name() == *stream).map(|it| it.0);
            let grants = GRANTED.iter().copied().chain(more);
            grants.map(|harm| ((harm, it.clone()), Reach::Unknown)).collect::<Vec<_>>()
        };
        allow.extend(targets.iter().flat_map(granted));
        let ask = Ask { targets, allow, ..Ask::default() };
        let mut plan = plan::plan(desired, &self.state, &live, &ask);
        plan.findings.extend(streams.into_iter().flatten().filter_map(|it| self.anew(it, &live)));
        Ok(plan)
    }

    /// A stream of the name that somebody made anew holds other messages.
    fn anew(&self, name: &str, live: &Live) -> Option<Finding> {
        let address = Address::stream(name);
        let both = self.state.resources.get(&address).zip(live.resources.get(&address));
        let (was, is) = both.filter(|(was, is)| was.created != is.created)?;
        let message = format!(
            "`{address}` is another stream by now: it was created {}, and not {}",
            is.created, was.created
        );
        let help = "find out who made it anew, and what became of the messages";
        Some(Finding::error(Code::Recreated, message).about(&address).help(help))
    }

    /// Carries out steps of a plan, with everything that any apply does about them.
    pub(super) async fn carry(
        &mut self,
        steps: &[plan::Step],
        journal: &Journal,
    ) -> Result<(), Broken> {
        if steps.is_empty() {
            return Ok(());
        }
        let terminal = self.project.terminal;
        let mut why = None;
        let mut tell = |event: Event| {
            if let Event::Failed { error, .. } = &event {
                why.get_or_insert_with(|| error.clone());
            }
            terminal.say(&render::migration::event(&event));
        };
        let Self { session, state, .. } = self;
        let walked = apply::apply(steps, session, state, journal, PARALLELISM, &mut tell).await;
        if walked.is_complete() {
            return Ok(());
        }
        let interrupted = walked.outcome.interrupted && walked.outcome.failed.is_empty();
        let message = match (why, &walked.failure) {
            (Some(why), _) => why,
            (None, Some(error)) => error.to_string(),
            (None, None) => "interrupted".to_owned(),
        };
        let failure = Failure::new(message);
        Err(match walked.undecided {
            0 if walked.failure.is_none() && interrupted => Broken::Interrupted(failure),
            0 if walked.failure.is_none() => Broken::Failed(failure),
            _ => Broken::Unknown(failure),
        })
    }

    /// What is there now is what the spec and the ledgers say, or this is an error.
    async fn look_again(&mut self) -> Result<(), Failure> {
        let desired = stage::staged(&self.spec, &self.migrations, &self.state, &BTreeMap::new());
        let live = observe(&self.session, &desired, &self.state).await?;
        let again = plan::plan(&desired, &self.state, &live, &Ask::default());
        let streams = self.migrations.0.values().flat_map(|it| [&it.from, &it.to]).flatten();
        let streams: Vec<_> = streams.collect();
        let ours = |it: &Address| streams.iter().any(|name| it.stream_name() == name.as_str());
        let left = again.steps.iter().find(|it| ours(&it.address));
        let errors =
            |it: &&Finding| it.severity == Severity::Error && it.about.as_ref().is_some_and(ours);
        let odd = left
            .map(|it| &it.address)
            .or_else(|| again.findings.iter().find(errors).and_then(|it| it.about.as_ref()));
        match odd {
            None => Ok(()),
            Some(address) => {
                self.say(&render::plan(&again, &self.sources));
                let message = format!("the steps are done, and `{address}` is not as they left it");
                Err(Failure::new(message).help("somebody else changed it: `jsplan plan` shows it"))
            }
        }
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn options(&self) -> String {
        self.project.options(&self.spec.environment.name)
    }

    pub(super) fn say(&self, text: &str) {
        self.project.terminal.say(text);
    }

    /// What to do about a step that stopped.
    pub(super) fn way_on(&self, migration: &Migration) -> String {
        let ledger = self.state.migrations.get(&migration.version);
        let worst = Stage::at_worst(migration, ledger);
        render::migration::way_on(migration, &worst, &self.options())
    }
}
