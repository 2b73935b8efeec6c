//! The spec seen through the ledger: what is wanted of an environment while a migration is under
//! way.
//!
//! A stage follows from the steps that are done, and from nothing else. Laid over the spec it gives
//! a [`Desired`] like any other, so that plan, drift and apply know nothing of migrations, and a
//! step that changes something is a plan towards the stage behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Does, Mapping, Migration, Migrations, Retire, Strategy, back::Back, progress};
use crate::{
    address::Address,
    config::{Config, sha256},
    history,
    plan::call::parked,
    position,
    spec::{Declared, Desired},
    state::{
        State,
        ledger::{Facts, Ledger, Standing},
    },
};

/// What is so of both streams behind the steps that are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What `to` is.
    pub to: To,
    /// Whether `from` is parked: it takes nothing from publishers.
    pub is_parked: bool,
    /// Whether `from` follows `to`, and from which sequence on.
    pub follows: Option<u64>,
    /// How `from` ended.
    pub end: Option<Retire>,
    /// The consumers of `to` that are there.
    pub consumers: Who,
}

/// What `to` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Not there yet, or no longer.
    Absent,
    /// It takes nothing, and follows nothing.
    Parked,
    /// It takes what jsplan copies, and nothing else.
    Fed,
    /// It follows `from`, and takes nothing of its own.
    Following,
    /// It mirrors `from`.
    Mirroring,
    /// It follows `from`, and takes its own subjects.
    Both,
    /// It is as the spec declares it.
    Whole,
}

/// Which consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Those of these names.
    Only(BTreeSet<String>),
    /// All that the spec declares.
    All,
}

/// What a subject begins with by which messages are copied into a stream, and nobody else's.
#[must_use]
pub(crate) fn fed(stream: &str, subject: &str) -> String {
    format!("_jsplan.copy.{stream}.{subject}")
}

/// Whether no publisher reaches a stream: it has none but jsplan's own subjects.
#[must_use]
pub fn takes_nothing(stream: &Config) -> bool {
    stream.texts("subjects").iter().all(|it| it.starts_with("_jsplan."))
}

impl Stage {
    /// Before the first step.
    #[must_use]
    pub fn first() -> Self {
        let consumers = Who::Only(BTreeSet::new());
        Self { to: To::Absent, is_parked: false, follows: None, end: None, consumers }
    }

    /// Behind everything that a ledger has done.
    #[must_use]
    pub fn of(migration: &Migration, ledger: Option<&Ledger>) -> Self {
        let Some(ledger) = ledger else { return Self::first() };
        let done = |id: &str| ledger.steps.iter().any(|it| it.id == id && it.is_done());
        let steps = migration.steps.iter().filter(|it| done(&it.id));
        let ahead =
            steps.fold(Self::first(), |stage, it| stage.after(&it.does, migration, &ledger.facts));
        let back = ledger.back.iter().filter(|it| it.is_done());
        back.filter_map(|it| Back::named(&it.id))
            .fold(ahead, |stage, it| stage.behind(it, &ledger.facts))
    }

    /// Where both streams may be: a step that takes subjects away may have been carried out as soon
    /// as it was begun, and one that gives them only once it is done.
    #[must_use]
    pub fn at_worst(migration: &Migration, ledger: Option<&Ledger>) -> Self {
        let stage = Self::of(migration, ledger);
        let Some(ledger) = ledger else { return stage };
        let open = |id: &str| ledger.steps.iter().any(|it| it.id == id && !it.is_done());
        let parks = migration.steps.iter().any(|it| it.does == Does::Park && open(&it.id));
        let back = ledger.back.iter().any(|it| it.id == Back::Park.id() && !it.is_done());
        match (parks, back) {
            (true, _) => Self { is_parked: true, ..stage },
            (_, true) => Self { to: To::Parked, ..stage },
            (false, false) => stage,
        }
    }

    /// Behind one more step.
    #[must_use]
    pub fn after(mut self, does: &Does, migration: &Migration, facts: &Facts) -> Self {
        match does {
            Does::Create => self.to = To::Whole,
            Does::Source { .. } => self.to = To::Following,
            Does::Copy { .. } => self.to = To::Fed,
            Does::Mirror => self.to = To::Mirroring,
            Does::Park => self.is_parked = true,
            Does::Bind => {
                let stays = self.to == To::Following && !self.is_parked;
                self.to = if stays { To::Both } else { To::Whole };
            }
            Does::Consumers { only } => match &mut self.consumers {
                Who::Only(names) if !only.is_empty() => names.extend(only.iter().cloned()),
                who @ (Who::Only(_) | Who::All) => *who = Who::All,
            },
            Does::Reverse => self.follows = Some(facts.bound.unwrap_or_default() + 1),
            Does::Retire(end) => {
                (self.to, self.follows, self.end) = (To::Whole, None, Some(*end));
            }
            Does::Wait { .. }
            | Does::Verify
            | Does::Gate { .. }
            | Does::Soak { .. }
            | Does::Assert { .. }
            | Does::Note { .. } => {}
        }
        let places = migration.steps.iter().any(|it| matches!(it.does, Does::Consumers { .. }));
        if !places && matches!(self.to, To::Whole | To::Both) {
            self.consumers = Who::All;
        }
        self
    }

    /// Behind one more step of the way back.
    #[must_use]
    pub fn behind(mut self, back: Back, facts: &Facts) -> Self {
        match back {
            Back::Unpark => self.is_parked = false,
            Back::Follow => self.follows = Some(facts.bound.unwrap_or_default() + 1),
            Back::Park => self.to = To::Parked,
            Back::Bind => (self.is_parked, self.follows) = (false, None),
            Back::Discard => {
                (self.to, self.consumers) = (To::Absent, Who::Only(BTreeSet::new()));
            }
            Back::Wait
            | Back::Verify
            | Back::Drain
            | Back::Prove
            | Back::Copy
            | Back::Consumers => {}
        }
        self
    }

    /// Whether no stream takes what publishers send.
    #[must_use]
    pub fn refuses_publishers(&self, migration: &Migration) -> bool {
        let taken = matches!(self.to, To::Both | To::Whole);
        let same = migration.strategy.is_some_and(Strategy::takes_subjects) || migration.copies();
        same && self.is_parked && !taken
    }
}

/// The spec of an environment with every migration laid over it, each as far as it has come.
///
/// `blocked` says of migrations that must not begin yet what they wait for.
#[must_use]
pub fn staged(
    spec: &Desired,
    migrations: &Migrations,
    state: &State,
    blocked: &BTreeMap<String, String>,
) -> Desired {
    let mut desired = spec.clone();
    for migration in due(spec, migrations, state) {
        let ledger = state.migrations.get(&migration.version);
        let facts = ledger.map(|it| &it.facts);
        let laid = Laid { spec, state, migration, facts, discards: false };
        laid.over(&Stage::of(migration, ledger), &mut desired);
        let blocked = blocked.get(&migration.version).map(String::as_str);
        desired.moves.extend(progress::ahead(migration, ledger, &spec.environment.name, blocked));
    }
    desired
}

/// The spec with one migration at another stage than its ledger says, and the others as they are.
#[must_use]
pub fn towards(
    spec: &Desired,
    migrations: &Migrations,
    state: &State,
    (migration, stage): (&Migration, &Stage),
) -> Desired {
    let mut desired = staged(spec, migrations, state, &BTreeMap::new());
    let facts = state.migrations.get(&migration.version).map(|it| &it.facts);
    // What the spec says of both streams is laid anew, since a stage begins at the spec.
    let of = |it: &Address| {
        [&migration.from, &migration.to].into_iter().flatten().any(|name| it.stream_name() == name)
    };
    desired.resources.retain(|it, _| !of(it));
    let own = spec.resources.iter().filter(|it| of(it.0));
    desired.resources.extend(own.map(|(address, it)| (address.clone(), it.clone())));
    let discards = stage.to == To::Absent;
    Laid { spec, state, migration, facts, discards }.over(stage, &mut desired);
    desired
}

/// The migrations that concern an environment, in order: those for it that were begun, or that have
/// something to move.
fn due<'a>(
    spec: &'a Desired,
    migrations: &'a Migrations,
    state: &'a State,
) -> impl Iterator<Item = &'a Migration> {
    let mine = migrations.0.values().filter(|it| it.is_for(&spec.environment.name));
    mine.filter(move |it| is_needed(it, spec, state))
}

/// Migrations that an environment has nothing for, and of which that is not noted yet.
pub fn unneeded<'a>(
    spec: &'a Desired,
    migrations: &'a Migrations,
    state: &'a State,
) -> impl Iterator<Item = &'a Migration> {
    let mine = migrations.0.values().filter(|it| it.is_for(&spec.environment.name));
    let new = mine.filter(|it| !state.migrations.contains_key(&it.version));
    new.filter(|it| !is_needed(it, spec, state))
}

/// Whether there is something to migrate: an environment that begins where others end has nothing.
#[must_use]
pub fn is_needed(migration: &Migration, spec: &Desired, state: &State) -> bool {
    if let Some(ledger) = state.migrations.get(&migration.version) {
        return ledger.standing != Standing::Baselined;
    }
    let known = |name: &String| {
        let address = Address::stream(name);
        spec.resources.contains_key(&address) || state.resources.contains_key(&address)
    };
    migration.from.as_ref().is_none_or(known)
}

/// A stage of one migration that is laid over a spec.
struct Laid<'a> {
    spec: &'a Desired,
    state: &'a State,
    migration: &'a Migration,
    facts: Option<&'a Facts>,
    /// Whether what is not to be there goes where it is there.
    discards: bool,
}

impl Laid<'_> {
    fn over(&self, stage: &Stage, desired: &mut Desired) {
        let Migration { from: Some(from), to, .. } = self.migration else { return };
        self.lay_from(&Address::stream(from), stage, desired);
        if let Some(to) = to {
            self.lay_to(&Address::stream(to), from, stage, desired);
        }
    }

    fn lay_from(&self, from: &Address, stage: &Stage, desired: &mut Desired) {
        if stage.end == Some(Retire::Delete) {
            desired.resources.retain(|it, _| it.stream_name() != from.name());
            return;
        }
        self.hold_consumers(from, desired);
        let recorded = self.state.resources.get(from);
        if let Some(recorded) = recorded.filter(|_| self.is_over() && spec_lacks(self.spec, from)) {
            let held = history::declared(from, recorded, None, self.migration.place);
            desired.resources.insert(from.clone(), held);
            return;
        }
        let origin = self.facts.and_then(|it| it.origin.as_ref()).or(recorded);
        let spec = self.spec.resources.get(from).cloned();
        let held = || Some(history::declared(from, origin?, None, self.migration.place));
        let Some(mut wanted) = spec.or_else(held) else { return };
        if !(stage.is_parked || stage.follows.is_some() || stage.end == Some(Retire::Seal)) {
            desired.resources.insert(from.clone(), wanted);
            return;
        }
        if stage.is_parked {
            set(&mut wanted, "subjects", json!([parked(from.name())]));
        }
        if let (Some(start), Some(to)) = (stage.follows, &self.migration.to) {
            let mut source = json!({ "name": to });
            if start > 1 {
                source["opt_start_seq"] = start.into();
            }
            set(&mut wanted, "sources", json!([source]));
        }
        if stage.end == Some(Retire::Seal) {
            set(&mut wanted, "sealed", true.into());
        }
        seal(&mut wanted);
        desired.resources.insert(from.clone(), wanted);
    }

    /// Whether the last step is done: what it left of `from` is what was recorded.
    fn is_over(&self) -> bool {
        let ledger = self.state.migrations.get(&self.migration.version);
        ledger.is_some_and(|it| it.standing == Standing::Done)
    }

    /// Consumers of a stream that the spec no longer declares stay as they were recorded.
    fn hold_consumers(&self, stream: &Address, desired: &mut Desired) {
        if !spec_lacks(self.spec, stream) {
            return;
        }
        let of = |it: &&Address| !it.is_stream() && it.stream_name() == stream.name();
        for (address, recorded) in self.state.resources.iter().filter(|it| of(&it.0)) {
            let held = history::declared(address, recorded, None, self.migration.place);
            desired.resources.entry(address.clone()).or_insert(held);
        }
    }

    fn lay_to(&self, to: &Address, from: &str, stage: &Stage, desired: &mut Desired) {
        let Some(spec) = self.spec.resources.get(to) else { return };
        let name = to.name();
        self.lay_consumers(to, stage, desired);
        let mut wanted = spec.clone();
        match stage.to {
            To::Whole => return,
            To::Absent => return self.withhold(to, desired),
            To::Parked => set(&mut wanted, "subjects", json!([parked(name)])),
            To::Fed => {
                set(&mut wanted, "subjects", json!([fed(name, ">")]));
                let back = json!({ "src": fed(name, ">"), "dest": ">" });
                set(&mut wanted, "subject_transform", back);
            }
            To::Following | To::Both => {
                if stage.to == To::Following {
                    set(&mut wanted, "subjects", json!([parked(name)]));
                }
                set(&mut wanted, "sources", json!([source(from, self.migration.mapping())]));
                self.window(&mut wanted);
            }
            To::Mirroring => {
                for field in ["subjects", "sources", "duplicate_window"] {
                    wanted.config.remove(field);
                }
                set(&mut wanted, "mirror", json!({ "name": from }));
            }
        }
        if stage.to != To::Both {
            // A copy may be thrown away again; what it was made from is still there.
            wanted.prevent_destroy = Some(false);
        }
        seal(&mut wanted);
        desired.resources.insert(to.clone(), wanted);
    }

    /// A retry of what `from` acknowledged is recognised by `to` only where `to` has remembered ids
    /// from its first message on; where ids repeat it would take repetitions for retries.
    fn window(&self, wanted: &mut Declared) {
        const TWO_MINUTES: i64 = 120_000_000_000;
        if self.facts.is_some_and(|it| it.repeats) {
            wanted.config.remove("duplicate_window");
        } else if !wanted.config.has("duplicate_window") {
            let age = wanted.config.number("max_age").filter(|it| *it > 0).unwrap_or(i64::MAX);
            set(wanted, "duplicate_window", TWO_MINUTES.min(age).into());
        }
    }

    fn lay_consumers(&self, to: &Address, stage: &Stage, desired: &mut Desired) {
        let Who::Only(names) = &stage.consumers else { return };
        let of = |it: &&Address| !it.is_stream() && it.stream_name() == to.name();
        let spec = self.spec.resources.keys().filter(of);
        for address in spec.filter(|it| !names.contains(it.name())) {
            self.withhold(address, desired);
        }
    }

    /// What is not to be there yet is not made. Where it is there all the same, as behind a step that
    /// was cut short, it is left alone.
    fn withhold(&self, address: &Address, desired: &mut Desired) {
        match self.state.resources.get(address).filter(|_| !self.discards) {
            Some(recorded) => {
                let held = history::declared(address, recorded, None, self.migration.place);
                desired.resources.insert(address.clone(), held);
            }
            None => drop(desired.resources.remove(address)),
        }
    }
}

fn spec_lacks(spec: &Desired, stream: &Address) -> bool {
    !spec.resources.contains_key(stream)
}

/// What a stream copies from another, subjects rewritten on the way.
fn source(from: &str, mapping: &[Mapping]) -> Value {
    let transforms = mapping.iter().map(|it| json!({ "src": it.src, "dest": it.dest }));
    let transforms: Vec<_> = transforms.collect();
    if transforms.is_empty() {
        return json!({ "name": from });
    }
    json!({ "name": from, "subject_transforms": transforms })
}

fn set(wanted: &mut Declared, field: &'static str, value: Value) {
    wanted.config.set(field, value);
}

/// What is laid over a declaration makes another one of it.
fn seal(wanted: &mut Declared) {
    let Declared { config, prevent_destroy, ignore, .. } = wanted;
    let parts = [&wanted.sha256, &config.to_json(), &format!("{prevent_destroy:?} {ignore:?}")];
    wanted.sha256 = sha256(parts.map(String::as_str).join("\n"));
}

/// The same, with consumers that are about to be made beginning where they are to go on.
#[must_use]
pub fn placed(mut desired: Desired, starts: &BTreeMap<Address, u64>) -> Desired {
    for (address, start) in starts {
        if let Some(wanted) = desired.resources.get_mut(address) {
            let config: Config = position::beginning_at(&wanted.config, *start);
            wanted.config = config;
        }
    }
    desired
}
