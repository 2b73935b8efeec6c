//! What the server would refuse of a plan though each step by itself is right: the account, as the
//! plan leaves it, beside what only the server knew so far.
//!
//! Live configurations are parsed where a step makes it necessary, and then no further than needed.

mod consumers;
mod origins;
mod room;
mod subjects;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Action, Change, Step, risk::Around};
use crate::{
    address::{Address, consumers_of},
    config::Config,
    finding::{Finding, Severity},
    live::Observed,
};

/// Judges the ordered steps, and blocks those that would be refused.
pub(super) fn check(steps: &mut [Step], around: &Around<'_>, findings: &mut Vec<Finding>) {
    if steps.iter().all(|it| it.calls.is_empty()) {
        return;
    }
    let found = Outlook::new(steps, around).judge();
    let errors = found.iter().filter(|it| it.severity == Severity::Error);
    let stopped: BTreeSet<Address> = errors.filter_map(|it| it.about.clone()).collect();
    for step in steps.iter_mut().filter(|it| stopped.contains(&it.address)) {
        step.blocked = true;
    }
    findings.extend(found);
}

/// Deletions that come first, since what is made finds no room beside what they free.
pub(super) fn making_room(steps: &[Step], around: &Around<'_>) -> BTreeSet<Address> {
    if steps.iter().all(|it| it.action != Action::Delete) {
        return BTreeSet::new();
    }
    room::freeing(&Outlook::new(steps, around))
}

/// The account as the steps will leave it.
struct Outlook<'a> {
    around: &'a Around<'a>,
    steps: &'a [Step],
    /// Resources that are written, each with the step that does so first and what it ends with.
    written: BTreeMap<&'a Address, Written<'a>>,
    /// Resources that are taken away and not made again.
    gone: BTreeSet<&'a Address>,
}

/// A resource that is created or changed.
#[derive(Clone, Copy)]
struct Written<'a> {
    address: &'a Address,
    step: &'a Step,
    config: &'a Value,
}

/// As much of a stream as others can be in conflict with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Glance {
    subjects: Option<Vec<String>>,
    mirror: Option<Origin>,
    sources: Option<Vec<Origin>>,
    republish: Option<Republish>,
    retention: Option<String>,
    max_msg_size: Option<i64>,
    storage: Option<String>,
    max_bytes: Option<i64>,
    num_replicas: Option<i64>,
}

/// What a stream copies.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Origin {
    name: String,
    external: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Republish {
    dest: String,
}

/// Every stream that there will be, by name.
type Streams<'a> = BTreeMap<&'a str, Glance>;

impl<'a> Outlook<'a> {
    fn new(steps: &'a [Step], around: &'a Around<'a>) -> Self {
        let mut written: BTreeMap<&Address, Written<'_>> = BTreeMap::new();
        for step in steps {
            let Some(body) = step.calls.last().map(|it| &it.body).filter(|it| it.is_object())
            else {
                continue;
            };
            let address = &step.address;
            let config = if address.is_stream() { body } else { &body["config"] };
            let first = written.entry(address).or_insert(Written { address, step, config });
            first.config = config;
        }
        let deleted = steps.iter().filter(|it| it.action == Action::Delete);
        let gone = deleted.map(|it| &it.address).collect();
        Self { around, steps, written, gone }
    }

    fn judge(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let goes = self.gone.iter().any(|it| it.is_stream());
        if goes || self.written.values().any(Written::concerns_streams) {
            let streams = self.streams();
            subjects::check(self, &streams, &mut found);
            origins::check(self, &streams, &mut found);
        }
        consumers::check(self, &mut found);
        room::check(self, &mut found);
        found
    }

    fn streams(&self) -> Streams<'a> {
        let live = self.around.live.resources.iter();
        let stay = live.filter(|(it, _)| it.is_stream() && !self.gone.contains(it));
        let mut streams: Streams<'a> = stay.map(|(it, is)| (it.name(), Glance::of(is))).collect();
        for written in self.written_streams() {
            streams.insert(written.address.name(), Glance::sent(written.config));
        }
        streams
    }

    fn written_streams(&self) -> impl Iterator<Item = &Written<'a>> {
        self.written.values().filter(|it| it.address.is_stream())
    }

    fn written_consumers(&self) -> impl Iterator<Item = &Written<'a>> {
        self.written.values().filter(|it| !it.address.is_stream())
    }

    /// The configuration of a resource when all is done.
    fn after(&self, address: &Address) -> Option<Config> {
        if let Some(written) = self.written.get(address) {
            return Some(Config::of(written.config));
        }
        let live = self.around.live.resources.get(address);
        live.filter(|_| !self.gone.contains(address)).map(Observed::config)
    }

    /// The live consumers of a stream, but for those that fall with it.
    fn live_consumers(&self, stream: &str) -> impl Iterator<Item = &'a Address> {
        let falls = self.around.gone.contains(stream);
        consumers_of(&self.around.live.resources, stream).map(|it| it.0).filter(move |_| !falls)
    }

    /// Whether jsplan manages a resource, or is about to.
    fn manages(&self, address: &Address) -> bool {
        let Around { desired, recorded, .. } = self.around;
        desired.resources.contains_key(address) || recorded.resources.contains_key(address)
    }

    /// Whether the check of the spec has already seen what this resource ends with.
    fn is_as_declared(&self, address: &Address, field: &str) -> bool {
        let declared = self.around.desired.resources.get(address);
        declared.is_some_and(|it| !it.ignore.contains(field))
    }

    /// A finding about a resource, at a field of it.
    fn at(&self, address: &Address, field: &str, finding: Finding) -> Finding {
        let declared = self.around.desired.resources.get(address);
        let place = declared.map(|it| it.places.get(field).copied().unwrap_or(it.place));
        finding.at(place).about(address)
    }
}

impl Written<'_> {
    /// The change of a field; `None` where it stays, or where the resource is made.
    fn change(&self, field: &str) -> Option<&Change> {
        let changes = Some(&self.step.changes).filter(|_| !self.is_made());
        changes?.iter().find(|it| it.delta.field.name == field)
    }

    /// Whether the resource is made, perhaps anew.
    fn is_made(&self) -> bool {
        matches!(self.step.action, Action::Create | Action::Replace)
    }

    /// Whether it matters what streams there are.
    fn concerns_streams(&self) -> bool {
        self.address.is_stream() || !self.config["deliver_subject"].is_null()
    }
}

impl Glance {
    fn of(is: &Observed) -> Self {
        serde_json::from_str(is.raw.get()).unwrap_or_default()
    }

    fn sent(config: &Value) -> Self {
        Self::deserialize(config).unwrap_or_default()
    }

    fn subjects(&self) -> impl Iterator<Item = &String> {
        self.subjects.iter().flatten()
    }

    /// The bytes it reserves in one kind of storage: every replica counts, though INFO adds up a
    /// clustered account without them (2.10 to 2.15).
    fn reserves(&self, storage: &str) -> i64 {
        let here = self.storage.as_deref().unwrap_or("file") == storage;
        let bytes = self.max_bytes.filter(|it| here && *it > 0).unwrap_or_default();
        bytes.saturating_mul(self.num_replicas.unwrap_or(1).max(1))
    }

    /// What it copies from this account.
    fn origins(&self) -> impl Iterator<Item = &str> {
        let all = self.mirror.iter().chain(self.sources.iter().flatten());
        all.filter(|it| it.external.is_none()).map(|it| it.name.as_str())
    }
}
