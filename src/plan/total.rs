//! How many messages a plan concerns, all steps together.

use super::{Plan, Step};
use crate::{forecast::Amount, schema::Harm};

impl Plan {
    /// How many messages a class of harm concerns.
    #[must_use]
    pub fn total(&self, harm: Harm) -> Amount {
        let mut all = 0_u64;
        let mut exact = true;
        let mut streams: Vec<&str> = self.steps.iter().map(|it| it.address.stream_name()).collect();
        streams.sort_unstable();
        streams.dedup();
        for stream in streams {
            let steps = self.steps.iter().filter(|it| it.address.stream_name() == stream);
            let (number, is_exact) = of_stream(steps, harm);
            all = all.saturating_add(number);
            exact &= is_exact;
        }
        match (all, exact) {
            (0, true) => Amount::Nothing,
            (all, true) => Amount::Exactly(all),
            (all, false) => Amount::AtMost(all),
        }
    }
}

/// What the steps of one stream add up to, and whether that is exact.
///
/// Two steps may concern the same messages, so a sum is an upper bound; what a stream holds is
/// another. A stream that goes takes everything, whatever its consumers would have cost.
fn of_stream<'a>(steps: impl Iterator<Item = &'a Step>, harm: Harm) -> (u64, bool) {
    let (mut sum, mut stored, mut exact, mut terms) = (0_u64, 0, true, 0);
    for step in steps {
        let goes = step.destroys();
        for risk in step.risks.iter().filter(|it| it.harm == harm) {
            let (number, is_exact) = match &risk.tally.messages {
                Amount::Nothing => continue,
                Amount::Exactly(number) => (*number, true),
                Amount::AtMost(number) => (*number, false),
                Amount::Unknown(_) => (step.stored, false),
            };
            if goes && is_exact && harm == Harm::DataLoss {
                return (number, true);
            }
            sum += number;
            stored = step.stored;
            exact &= is_exact;
            terms += 1;
        }
    }
    match harm {
        // What one consumer skips, another may still deliver: these do not overlap.
        Harm::Delivery => (sum, exact),
        Harm::DataLoss | Harm::Redelivery | Harm::OneWay | Harm::Destroy | Harm::Availability => {
            (sum.min(stored), exact && terms <= 1)
        }
    }
}
