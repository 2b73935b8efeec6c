//! What was applied before: each change of the state, what differs between two states, and how an
//! older one becomes what is wanted again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    address::Address,
    config::{Config, is_reserved, sha256},
    diff::{self, Delta},
    event::Outcome,
    finding::{Place, Sources},
    forecast::Amount,
    plan::{
        Mode, Plan,
        counts::Counts,
        total::{self, Total},
    },
    position,
    schema::{Field, Kind, Release, Unset, Writer, bucket},
    spec::{Declared, Desired},
    state::{LastApply, Recorded, State, Steps, Totals},
};

/// One change of the state.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The serial it led to.
    pub serial: u64,
    /// When, by whom and how; `None` where nobody wrote that down.
    pub apply: Option<LastApply>,
}

/// What two states of one environment say differently about a resource.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The resource.
    pub address: Address,
    /// What happened to it.
    pub fate: Fate,
    /// From the earlier to the later.
    pub deltas: Vec<Delta>,
    /// `prevent_destroy` before and after, where it differs.
    pub protection: Option<(Option<bool>, Option<bool>)>,
}

/// What became of a resource between two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Only the later one owns it.
    Entered,
    /// Both own it.
    Stayed,
    /// Both own one of its name, and it was made anew in between.
    Recreated,
    /// Only the earlier one owns it.
    Left,
}

/// A plan that is about to be carried out, as the state tells of it.
#[must_use]
pub fn begun(plan: &Plan, at: String, by: String, commit: Option<String>) -> LastApply {
    LastApply {
        plan: plan.id(),
        commit,
        steps: Some(Steps { planned: plan.steps.len(), done: 0 }),
        // Until it is told how far it came.
        deletes: Some(at_most(amount(plan.total(total::Fate::Deleted)))),
        ..LastApply::by_hand(&operation(plan.mode), at, by)
    }
}

/// How many messages went with a plan of which only some came to pass.
#[must_use]
pub fn deleted(plan: &Plan, outcome: &Outcome) -> Amount {
    let touched = |it: &Address| outcome.touched.contains(it);
    let deleted = amount(plan.total_of(total::Fate::Deleted, |it| touched(&it.address)));
    if outcome.failed.iter().any(touched) { at_most(deleted) } else { deleted }
}

fn at_most(amount: Amount) -> Amount {
    match amount {
        Amount::Exactly(number) => Amount::AtMost(number),
        Amount::Nothing | Amount::AtMost(_) | Amount::Unknown(_) => amount,
    }
}

fn amount(Total { messages, at_most, unknown, actions }: Total) -> Amount {
    match (actions, unknown, at_most) {
        (0, ..) => Amount::Nothing,
        (_, true, _) => Amount::Unknown("not all of them could be counted".to_owned()),
        (_, false, true) => Amount::AtMost(messages),
        (_, false, false) => Amount::Exactly(messages),
    }
}

/// What is done, in the words of the command line.
#[must_use]
pub fn operation(mode: Mode) -> String {
    match mode {
        Mode::Normal => "apply".to_owned(),
        Mode::Destroy => "destroy".to_owned(),
        Mode::RefreshOnly => "refresh-only".to_owned(),
        Mode::Rollback(serial) => format!("rollback {serial}"),
    }
}

/// What was done to how many resources.
#[must_use]
pub fn totals(counts: Counts) -> Totals {
    let Counts { import, add, change, destroy, forget } = counts;
    Totals { imported: import, added: add, changed: change, destroyed: destroy, forgotten: forget }
}

/// The changes that led to these states, given from the oldest on; the latest comes first.
#[must_use]
pub fn entries<'a>(states: impl Iterator<Item = (u64, Option<&'a LastApply>)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut before = None;
    for (serial, apply) in states {
        // A change that wrote nothing down left the words of the one before it.
        let own = apply.filter(|it| before != Some(*it)).cloned();
        entries.push(Entry { serial, apply: own });
        before = apply;
    }
    entries.reverse();
    entries
}

/// What differs between two states, in the order of addresses.
#[must_use]
pub fn between(before: &State, after: &State) -> Vec<Difference> {
    let addresses: BTreeSet<&Address> =
        before.resources.keys().chain(after.resources.keys()).collect();
    let at = after.last_apply.as_ref().map_or("", |it| it.at.as_str());
    let differs = |address: &Address| {
        difference(address, before.resources.get(address), after.resources.get(address), at)
    };
    addresses.into_iter().filter_map(differs).collect()
}

fn difference(
    address: &Address,
    before: Option<&Recorded>,
    after: Option<&Recorded>,
    at: &str,
) -> Option<Difference> {
    let (fate, deltas) = match (before, after) {
        (Some(before), Some(after)) => {
            (stayed(address, before, after), moved(address, before, after, at))
        }
        (None, Some(after)) => (Fate::Entered, whole(address, after, |it| (Value::Null, it))),
        (Some(before), None) => (Fate::Left, whole(address, before, |it| (it, Value::Null))),
        (None, None) => return None,
    };
    let protection = before.zip(after).map(|(a, b)| (a.prevent_destroy, b.prevent_destroy));
    let protection = protection.filter(|(before, after)| before != after);
    let differs = fate != Fate::Stayed || !deltas.is_empty() || protection.is_some();
    differs.then(|| Difference { address: address.clone(), fate, deltas, protection })
}

/// Only streams are told apart by when they were created, as everywhere.
fn stayed(address: &Address, before: &Recorded, after: &Recorded) -> Fate {
    let anew = address.is_stream() && before.created != after.created;
    if anew { Fate::Recreated } else { Fate::Stayed }
}

fn moved(address: &Address, before: &Recorded, after: &Recorded, at: &str) -> Vec<Delta> {
    if before.live_sha256 == after.live_sha256 {
        return Vec::new();
    }
    let mut deltas = diff::moved(address.rows(), &before.config(), &after.config(), at);
    deltas.retain(|it| it.field.writer == Writer::Spec);
    deltas
}

/// What a resource says beyond the server's defaults; of a bucket, what its words can say.
fn whole(
    address: &Address,
    recorded: &Recorded,
    sides: impl Fn(Value) -> (Value, Value),
) -> Vec<Delta> {
    const NEWEST: Release = Release(u16::MAX, 0, 0);
    let (config, unset) = (position::declared(&recorded.config()), Config::default());
    let tells = |it: &&Field| {
        let word = address.as_bucket().is_none_or(|(kind, _)| kind.word(it.name).is_some());
        it.writer == Writer::Spec && word
    };
    let says = |field: &'static Field| {
        let value = field.read(&config)?;
        let usual = field.value(&unset, None, NEWEST).as_ref() == Some(&value);
        let (before, after) = sides(value);
        (!usual).then_some(Delta { field, before, after })
    };
    address.rows().iter().filter(tells).filter_map(says).collect()
}

/// What a state recorded as what is wanted, under the rules that the spec has for the environment
/// now. Places point to `sources`, which get the addresses of that state to show.
///
/// Fields that the spec leaves to others now are left to them in a rollback too.
#[must_use]
pub fn desired(spec: &Desired, kept: &State, sources: &mut Sources) -> Desired {
    let lines: String = kept.resources.keys().map(|it| format!("{it}\n")).collect();
    let file = sources.add(format!("state serial {}", kept.serial), lines);
    let mut resources = BTreeMap::new();
    let mut start = 0;
    for (address, recorded) in &kept.resources {
        let end = start + address.to_string().len();
        let place = Place::new(file, start..end);
        start = end + 1;
        let now = spec.resources.get(address);
        resources.insert(address.clone(), declared(address, recorded, now, place));
    }
    Desired { environment: spec.environment.clone(), resources, moves: Vec::new() }
}

/// Whether a spec wants something else.
#[must_use]
pub fn differ(spec: &Desired, wanted: &Desired) -> bool {
    let digests = |it: &Desired| -> Vec<(Address, String)> {
        it.resources.iter().map(|(address, it)| (address.clone(), it.sha256.clone())).collect()
    };
    digests(spec) != digests(wanted)
}

pub(crate) fn declared(
    address: &Address,
    recorded: &Recorded,
    now: Option<&Declared>,
    place: Place,
) -> Declared {
    let config = restated(address, &recorded.config());
    let bucket = bucket::lift(&config).map(|it| it.kind);
    let open = if bucket.is_some() { bucket::left_open(&config) } else { Vec::new() };
    let mut ignore = now.map(|it| it.ignore.clone()).unwrap_or_default();
    // The digest of the declaration of then tells the next plan that nothing is left to compare. It
    // must not where something is left to others that the declaration may have said.
    let same = now.is_some_and(|it| it.sha256 == recorded.spec_sha256);
    let left = ignore.iter().any(|it| !open.contains(it));
    let sha256 = if same || !(left || recorded.spec_sha256.is_empty()) {
        recorded.spec_sha256.clone()
    } else {
        let parts = [&recorded.spec_sha256, &config.to_json(), &format!("{ignore:?}")];
        sha256(parts.map(String::as_str).join("\n"))
    };
    ignore.extend(open);
    Declared {
        bucket,
        config,
        places: BTreeMap::new(),
        place,
        prevent_destroy: recorded.prevent_destroy,
        ignore,
        sha256,
    }
}

/// What was read back, as it would be declared: without what is the server's or this program's own,
/// and with the start that was declared.
fn restated(address: &Address, recorded: &Config) -> Config {
    let mut config = position::declared(recorded);
    for field in address.rows() {
        let kept = matches!(field.unset, Unset::Kept(_)) && !matches!(field.kind, Kind::Bool);
        if field.writer == Writer::Server {
            config.remove(field.name);
        } else if kept && !config.has(field.name) {
            // Left out it would keep what it has got since.
            config.set(field.name, 0.into());
        }
    }
    let labels = config.remove("metadata").unwrap_or_default();
    let labels = labels.as_object().cloned().unwrap_or_default();
    let own: Map<_, _> = labels.into_iter().filter(|(key, _)| !is_reserved(key)).collect();
    if !own.is_empty() {
        config.set("metadata", own.into());
    }
    // The origin decides it, where the server sees one.
    let visible = |it: &Value| it.is_object() && it.get("external").is_none();
    if config.get("mirror").is_some_and(visible) {
        config.remove("mirror_direct");
    }
    config
}
