//! What the steps of a plan cost together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Plan, Step,
    risk::{Risk, When},
};
use crate::{
    forecast::{Amount, Question},
    schema::Harm,
};

/// What can happen to messages, over all classes of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are deleted with a step.
    Deleted,
    /// They are deleted some time after it.
    DeletedLater,
    /// They are stored, and not delivered or not copied.
    Skipped,
    /// They are delivered or copied again.
    Repeated,
}

/// How many messages something happens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// How many, as far as that is known.
    pub messages: u64,
    /// Whether it may be fewer.
    pub at_most: bool,
    /// Whether there are more that nobody could count.
    pub unknown: bool,
    /// By how many actions.
    pub actions: usize,
}

impl Plan {
    /// How many messages something happens to; no action where it happens to none.
    #[must_use]
    pub fn total(&self, fate: Fate) -> Total {
        self.total_of(fate, |_| true)
    }

    /// The same for some of its steps.
    #[must_use]
    pub fn total_of(&self, fate: Fate, chosen: impl Fn(&Step) -> bool) -> Total {
        let mut by_stream: BTreeMap<&str, Vec<(&Step, &Risk)>> = BTreeMap::new();
        let mut actions = 0;
        for step in self.steps.iter().filter(|it| chosen(it)) {
            let concerned =
                |it: &&Risk| fate.is_of(step, it) && it.tally.messages != Amount::Nothing;
            let risks: Vec<_> = step.risks.iter().filter(concerned).collect();
            actions += usize::from(!risks.is_empty());
            let of_stream = by_stream.entry(step.address.stream_name()).or_default();
            of_stream.extend(risks.into_iter().map(|it| (step, it)));
        }
        let nothing = Total { messages: 0, at_most: false, unknown: false, actions };
        by_stream.values().fold(nothing, |sum, risks| {
            let Total { messages, at_most, unknown, actions: _ } = of_stream(fate, risks);
            Total {
                messages: sum.messages.saturating_add(messages),
                at_most: sum.at_most || at_most,
                unknown: sum.unknown || unknown,
                ..sum
            }
        })
    }
}

impl Fate {
    fn is_of(self, step: &Step, risk: &Risk) -> bool {
        let at_once = risk.when == When::AtOnce;
        let goes = risk.harm == Harm::Destroy && step.address.is_stream();
        let field = risk.field.as_deref();
        // What a mirror has not copied is lost to it, and stays where it is.
        let stays = field == Some("mirror");
        match self {
            Self::Deleted => (risk.harm == Harm::DataLoss && !stays || goes) && at_once,
            Self::DeletedLater => risk.harm == Harm::DataLoss && !at_once,
            // What is stored on a subject that is given up only tells that it is in use.
            Self::Skipped => match risk.harm {
                Harm::Delivery => field != Some("subjects"),
                Harm::DataLoss => stays,
                Harm::Redelivery
                | Harm::OneWay
                | Harm::Destroy
                | Harm::Availability
                | Harm::Takeover => false,
            },
            Self::Repeated => risk.harm == Harm::Redelivery,
        }
    }
}

/// What the risks of one stream and its consumers add up to.
///
/// Two of them may concern the same messages, so a sum is an upper bound; what the stream holds is
/// another. A stream that goes takes everything, whatever its consumers would have cost.
fn of_stream(fate: Fate, risks: &[(&Step, &Risk)]) -> Total {
    let whole = risks.iter().find(|it| it.1.harm == Harm::Destroy);
    let risks = whole.map_or(risks, std::slice::from_ref);
    let mut sum = Total { messages: 0, at_most: false, unknown: false, actions: 0 };
    let mut asked: BTreeSet<&Question> = BTreeSet::new();
    let (mut terms, mut most) = (0, 0_u64);
    for (step, risk) in risks {
        // The same messages, for the same reason.
        if risk.question.as_ref().is_some_and(|it| !asked.insert(it)) {
            continue;
        }
        terms += 1;
        let own = risk.concerns(step.address.stream_name());
        most = if own { most.max(step.stored) } else { u64::MAX };
        match &risk.tally.messages {
            Amount::Nothing => {}
            Amount::Exactly(number) => sum.messages = sum.messages.saturating_add(*number),
            Amount::AtMost(number) => {
                sum.messages = sum.messages.saturating_add(*number);
                sum.at_most = true;
            }
            Amount::Unknown(_) => sum.unknown = true,
        }
    }
    // What one consumer skips or gets again, another may not: these do not overlap.
    if matches!(fate, Fate::Deleted | Fate::DeletedLater) && terms > 1 {
        sum.at_most = true;
        sum.messages = sum.messages.min(most);
    }
    sum
}
