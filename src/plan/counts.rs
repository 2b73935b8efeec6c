//! How many resources a plan concerns, by what happens to them.

use super::{Action, Plan, Step};

/// The numbers of the `Plan:` line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken over from somebody else.
    pub import: usize,
    /// Made.
    pub add: usize,
    /// Changed in place.
    pub change: usize,
    /// Destroyed.
    pub destroy: usize,
    /// Dropped from the state only.
    pub forget: usize,
}

impl Plan {
    /// How many resources are added, changed, destroyed, adopted and forgotten.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.steps.iter().for_each(|it| counts.add(it));
        counts
    }
}

impl Counts {
    /// Counts one step.
    pub fn add(&mut self, step: &Step) {
        match step.action {
            Action::Create => self.add += 1,
            Action::Update => self.change += 1,
            Action::Replace => {
                self.add += 1;
                self.destroy += 1;
            }
            Action::Delete => self.destroy += 1,
            Action::Forget => self.forget += 1,
            Action::Bind | Action::Adopt | Action::Record => {}
        }
        self.destroy += usize::from(step.falls);
        self.import += usize::from(step.adopts);
    }
}
