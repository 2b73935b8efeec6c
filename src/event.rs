//! What happens while a plan is applied: the words between the one who sends and the one who shows.

use std::collections::BTreeSet;

use crate::{
    address::Address,
    plan::{Action, counts::Counts},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step's first request leaves.
    Started {
        /// The resource.
        address: Address,
        /// What happens to it.
        action: Action,
    },
    /// A step is under way, and takes long.
    Waiting {
        /// The resource.
        address: Address,
        /// What happens to it.
        action: Action,
        /// Milliseconds since it began.
        elapsed_ms: u64,
    },
    /// A step is done and was read back.
    Finished {
        /// The resource.
        address: Address,
        /// What happened to it.
        action: Action,
        /// Milliseconds it took.
        took_ms: u64,
        /// What is worth a word, such as the fields that changed.
        note: Option<String>,
    },
    /// A step was refused, by the server or by a last look before it.
    Failed {
        /// The resource.
        address: Address,
        /// What was to happen to it.
        action: Action,
        /// Why it did not.
        error: String,
    },
    /// Somebody wants it to end: the steps in flight are waited for, and no others begin.
    Interrupted,
    /// Everything that was touched was read again, and is as planned.
    Verified {
        /// How many resources.
        resources: usize,
    },
}

/// What came of the steps of an apply, each in one of three lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those that were done.
    pub done: Vec<Address>,
    /// Those that failed.
    pub failed: Vec<Address>,
    /// Those of both of which the server did something, or may have.
    pub touched: BTreeSet<Address>,
    /// Those that nobody tried after a failure or an interruption.
    pub not_started: Vec<Address>,
    /// Whether somebody asked for the end before it was there.
    pub interrupted: bool,
    /// Those of the done that did more than was planned.
    pub beyond: Vec<Address>,
    /// What those that were done add up to.
    pub counts: Counts,
}

/// Where what was done stands when an apply ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the state, of this serial.
    State(u64),
    /// In the journal, with so many steps of which nobody knows what became.
    Journal(usize),
    /// Neither could be written to its end.
    Neither,
}

impl Outcome {
    /// Whether another step may begin.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.failed.is_empty() && self.beyond.is_empty() && !self.interrupted
    }

    /// Whether every step was done, and did what was planned.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.not_started.is_empty() && self.beyond.is_empty()
    }
}
