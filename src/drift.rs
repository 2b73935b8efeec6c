//! Live against recorded: what changed behind jsplan's back, in six classes.

use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    diff::{self, Delta},
    live::{Live, Observed},
    position,
    sides::{Sides, sides},
    spec::Desired,
    state::{Recorded, State},
};

/// What one comparison of a whole account found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Everything that is not in sync and is declared or recorded.
    pub entries: Vec<Entry>,
    /// Live, and neither declared nor recorded.
    pub unmanaged: Vec<Address>,
    /// How many recorded resources are just as they were left.
    pub in_sync: usize,
    /// How many live resources there are, and how many of them are managed.
    pub coverage: (usize, usize),
}

/// One resource that is not in sync.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The resource.
    pub address: Address,
    /// In which way.
    pub class: Class,
    /// From what was recorded to what is live, or for `Pending` to what is wanted.
    pub deltas: Vec<Delta>,
    /// Whether the live resource is another one of the same name.
    pub recreated: bool,
}

/// In which way a resource is not in sync. The sixth class, in sync, is only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The server was changed.
    Changed,
    /// It is gone from the server.
    Missing,
    /// It could not be read.
    Unknown,
    /// The spec was changed and not applied yet.
    Pending,
    /// The server was changed in a field that the spec leaves to others.
    Accepted,
    /// It is live, and neither declared nor recorded.
    Unmanaged,
}

impl Report {
    /// Whether there is drift: something changed, missing or unreadable.
    #[must_use]
    pub fn drifted(&self) -> bool {
        self.entries.iter().any(|it| it.class.is_drift())
    }
}

impl Class {
    /// Whether it is the server that moved.
    #[must_use]
    pub fn is_drift(self) -> bool {
        match self {
            Self::Changed | Self::Missing | Self::Unknown => true,
            Self::Pending | Self::Accepted | Self::Unmanaged => false,
        }
    }
}

/// Compares every declared, recorded and live resource.
#[must_use]
pub fn compare(desired: &Desired, recorded: &State, live: &Live) -> Report {
    let mut report = Report {
        entries: Vec::new(),
        unmanaged: Vec::new(),
        in_sync: 0,
        coverage: (0, live.resources.len() + live.unknown.len()),
    };
    let keeping = &desired.environment.keeping;
    for sides in sides(&desired.resources, recorded, live) {
        let Sides { address, was, is, .. } = sides;
        if !sides.is_known() {
            let own = position::is_holder(address) || keeping.has(address);
            if own || is.is_some_and(Observed::is_ephemeral) {
                report.coverage.1 -= 1;
            } else {
                report.unmanaged.push(address.clone());
            }
            continue;
        }
        let exists = is.is_some() || live.unknown.contains_key(address);
        report.coverage.0 += usize::from(exists);
        let entry =
            |class, deltas, recreated| Entry { address: address.clone(), class, deltas, recreated };
        if live.doubt(address).is_some() {
            report.entries.push(entry(Class::Unknown, Vec::new(), false));
            continue;
        }
        match (was, is) {
            (Some(was), Some(is)) => {
                let found = judge(sides, was, is, live);
                report.in_sync += usize::from(found.is_empty());
                let found = found.into_iter();
                report.entries.extend(found.map(|(class, deltas, new)| entry(class, deltas, new)));
            }
            (Some(_), None) => report.entries.push(entry(Class::Missing, Vec::new(), false)),
            (None, _) => report.entries.push(entry(Class::Pending, Vec::new(), false)),
        }
    }
    // What could not be read is there all the same.
    let known =
        |it: &Address| desired.resources.contains_key(it) || recorded.resources.contains_key(it);
    let unmanaged = live.unknown.keys().filter(|it| !known(it) && !keeping.has(it));
    report.unmanaged.extend(unmanaged.cloned());
    report.unmanaged.sort();
    report
}

type Judgement = (Class, Vec<Delta>, bool);

fn judge(
    Sides { address, wanted, .. }: Sides<'_>,
    was: &Recorded,
    is: &Observed,
    live: &Live,
) -> Vec<Judgement> {
    let mut found = Vec::new();
    let recreated = recreated(address, was, is);
    if was.live_sha256 != is.sha256 || recreated {
        let moved = diff::moved(address.rows(), &was.config(), &is.config(), &live.at);
        let accepted = |it: &Delta| wanted.is_some_and(|w| w.ignore.contains(it.field.name));
        let (accepted, changed): (Vec<_>, Vec<_>) = moved.into_iter().partition(accepted);
        if !changed.is_empty() || recreated {
            found.push((Class::Changed, changed, recreated));
        }
        if !accepted.is_empty() {
            found.push((Class::Accepted, accepted, false));
        }
    }
    match wanted {
        Some(wanted) if wanted.sha256 == was.spec_sha256 => {}
        Some(wanted) => {
            let was = was.config();
            let now = (live.server.release, live.at.as_str());
            let pending = diff::towards(address.rows(), &was, wanted, &was, now);
            found.push((Class::Pending, pending, false));
        }
        None => found.push((Class::Pending, Vec::new(), false)),
    }
    found
}

/// Whether the live stream is another one of the same name.
///
/// Only streams are told apart so: nats-server 2.10 gives a consumer a new time of creation at
/// every restart.
#[must_use]
pub fn recreated(address: &Address, was: &Recorded, is: &Observed) -> bool {
    match address {
        Address::Stream(_) => was.created != is.created,
        Address::Consumer { .. } => false,
    }
}
