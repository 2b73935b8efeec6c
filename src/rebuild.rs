//! A state that is lost, made anew: from the marks on what is live, and the spec.

use std::collections::BTreeMap;

use crate::{
    address::Address,
    live::Live,
    mark::Mark,
    plan::{self, Action, Ask},
    position,
    spec::Desired,
    state::{Origin, Recorded, State},
    target,
};

/// A state that was made anew.
#[derive(Debug)]
pub struct Rebuilt {
    /// The state.
    pub state: State,
    /// Declared and live, and without a mark: the next apply adopts them.
    pub unmarked: Vec<Address>,
    /// Declared and live, and marked by another state.
    pub others: Vec<(Address, Mark)>,
}

/// The lineages that marks of an environment name, each with how many resources bear it.
#[must_use]
pub fn lineages(environment: &str, live: &Live) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for mark in live.resources.values().filter_map(|it| Mark::on(&it.config())) {
        if mark.environment == environment {
            *found.entry(mark.lineage).or_default() += 1;
        }
    }
    found
}

/// Takes in whatever bears the mark of a lineage of the environment.
///
/// How a resource once came to be owned is not in its mark: all of them count as adopted.
#[must_use]
pub fn rebuild(desired: &Desired, live: &Live, lineage: &str, serial: u64) -> Rebuilt {
    let environment = &desired.environment;
    let mut state = State::new(&environment.name);
    (state.lineage, state.serial) = (lineage.to_owned(), serial);
    state.target = Some(target::of(&live.server));
    let (mut unmarked, mut others) = (Vec::new(), Vec::new());
    for (address, is) in &live.resources {
        let wanted = desired.resources.get(address);
        match (Mark::on(&is.config()), wanted) {
            (Some(mark), _) if Mark::of(&state).as_ref() == Some(&mark) => {
                // A position is held for a moment, and its owner sees to it.
                if !position::is_holder(address) {
                    let taken = Recorded {
                        created: is.created.clone(),
                        origin: Origin::Adopted,
                        prevent_destroy: wanted.and_then(|it| it.prevent_destroy),
                        spec_sha256: String::new(),
                        live_sha256: is.sha256.clone(),
                        config: is.raw.clone(),
                    };
                    state.resources.insert(address.clone(), taken);
                }
            }
            (Some(mark), Some(_)) => others.push((address.clone(), mark)),
            (None, Some(_)) => unmarked.push(address.clone()),
            (_, None) => {}
        }
    }
    // What is as it is declared is recorded as applied; the rest is for a plan to compare.
    for step in plan::plan(desired, &state, live, &Ask::default()).steps {
        if let (Action::Record, Some(record)) = (step.action, step.record)
            && let Some(recorded) = state.resources.get_mut(&step.address)
        {
            recorded.spec_sha256 = record.spec_sha256;
        }
    }
    Rebuilt { state, unmarked, others }
}
