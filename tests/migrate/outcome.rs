//! What came of a migration: of the messages, and of those who sent them.

use std::{fmt, time::Duration};

use crate::{
    shelf::Tally,
    traffic::Log,
    way::{Way, Went, World},
};

/// One run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) way: Way,
    pub(crate) tally: Tally,
    /// The longest time between two acknowledgements of one publisher.
    pub(crate) gap: Duration,
    /// For how long no stream took the subjects, in milliseconds, as jsplan says.
    pub(crate) window: Option<u64>,
    /// How often jsplan was started.
    pub(crate) commands: usize,
    /// Messages that were sent again because no answer came.
    pub(crate) unsure: usize,
    said: String,
}

impl Outcome {
    pub(crate) fn of(world: &World, went: &Went, logs: &[Log]) -> Self {
        let tally = Tally::of(logs, &world.stored());
        let gap = logs.iter().map(|it| it.gap).max().unwrap_or_default();
        let unsure = logs.iter().map(|it| it.unsure.len()).sum();
        let Went { commands, window, ref said } = *went;
        Self { way: world.way, tally, gap, window, commands, unsure, said: said.clone() }
    }

    /// Nothing is lost, and there is nothing twice or out of order.
    ///
    /// Only where nobody remembers ids across the switch, a message that got no answer and was sent
    /// again may be there twice.
    #[track_caller]
    pub(crate) fn holds(&self) {
        let Self { way, tally, unsure, said, .. } = self;
        let forgets = matches!(way, Way::Mirror | Way::Program);
        let again = if forgets { tally.again.min(*unsure as u64) } else { 0 };
        let Tally { acknowledged, lost, duplicated, reordered, .. } = *tally;
        assert!(acknowledged > 0, "nothing was published");
        let wrong = (lost, duplicated, tally.again, reordered);
        assert_eq!(wrong, (0, 0, again, 0), "{tally:?}\n{said}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { way: _, tally, gap, window, commands, unsure, said: _ } = self;
        write!(
            f,
            "{tally:?}, {unsure} without an answer, a gap of {gap:?}, a window of {window:?} ms, \
             {commands} commands"
        )
    }
}
