//! What a step costs, what stops it, and what it takes to do it all the same.

mod consumer;
mod count;
mod stops;
mod stream;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(super) use self::consumer::filters;
use self::stops::{refused, replacement};
use super::{Action, Ask, Step, bucket, origin, owner};
use crate::{
    address::Address,
    finding::{Code, Finding, Severity},
    forecast::{Amount, Question, Tally},
    live::{Live, Observed},
    schema::{Harm, bucket::speak},
    spec::{Declared, Desired},
    state::State,
    units::{count, show_duration},
};

/// What a step costs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Risk {
    /// The class.
    pub harm: Harm,
    /// How many messages; [`Amount::Nothing`] beside a question is none so far.
    pub tally: Tally,
    /// When it happens to them.
    pub when: When,
    /// What is asked to count them; `None` where there is nothing to count.
    pub question: Option<Question>,
    /// Right before the step the question is asked once more, and the step refused if there are
    /// more than so many; `None` is any number.
    pub most: Option<u64>,
    /// What happens to them.
    pub why: String,
    /// What would cost less, where there is such a way.
    pub safer: Option<String>,
    /// Consumers that have not done with some of them, each with how many.
    pub needed_by: Vec<(Address, Amount)>,
    /// The field whose change does it, if it is one.
    pub field: Option<String>,
    /// Whether the plan was asked to allow it.
    pub allowed: bool,
}

/// When a harm happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// With the step.
    AtOnce,
    /// Bit by bit after the step, until so many nanoseconds have passed.
    Within(u64),
    /// Once nobody has used the resource for so many nanoseconds.
    Idle(u64),
}

/// How far a consent reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As far as the plan has counted.
    Counted,
    /// To so many messages, for a stream that grows while people decide.
    UpTo(u64),
    /// To any number, known or not.
    Unknown,
}

/// What a step is judged against.
pub(super) struct Around<'a> {
    pub(super) desired: &'a Desired,
    pub(super) recorded: &'a State,
    pub(super) live: &'a Live,
    pub(super) ask: &'a Ask,
    /// Streams that are destroyed, if only to be made again.
    pub(super) gone: BTreeSet<&'a str>,
    /// Live resources that the plan changes or takes away.
    pub(super) moving: BTreeSet<Address>,
    /// What the plan does on the server, by resource.
    pub(super) fates: BTreeMap<Address, Fate>,
}

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is made.
    Made,
    /// It is changed in place.
    Changed,
    /// It is made again, and goes on where it stood.
    Resumed,
    /// It is made again, and begins anew.
    Remade,
    /// It goes.
    Gone,
}

/// What the steps make of each resource that they touch.
pub(super) fn fates(steps: &[Step]) -> BTreeMap<Address, Fate> {
    let fate = |step: &Step| {
        let fate = match step.action {
            Action::Create => Fate::Made,
            Action::Update => Fate::Changed,
            Action::Replace if step.resumes() => Fate::Resumed,
            Action::Replace => Fate::Remade,
            Action::Delete => Fate::Gone,
            Action::Bind | Action::Adopt | Action::Record | Action::Forget => return None,
        };
        Some((step.address.clone(), fate))
    };
    steps.iter().filter_map(fate).collect()
}

impl Around<'_> {
    /// Adds to a step what it costs, and to the findings what must not happen.
    pub(super) fn assess(&self, step: &mut Step, findings: &mut Vec<Finding>) {
        let address = step.address.clone();
        let wanted = self.desired.resources.get(&address);
        let mut stops = Vec::new();
        step.stored = self.stored(address.stream_name());
        if let Some(wanted) = wanted.filter(|_| step.sends_fields()) {
            stops.extend(refused(step, wanted, self.live));
            stops.extend(origin::refused(wanted, self.desired, self.live));
            stops.extend(self.taken(step, wanted));
        }
        let is = self.live.resources.get(&address);
        let mut replacement = None;
        if let Some(is) = is.filter(|_| step.destroys()) {
            stops.extend(self.protection(step, wanted, is));
            if step.action == Action::Replace {
                let moves = &self.desired.moves;
                replacement = self::replacement(step, is, moves).map(|it| self.goes_on_without(it));
            }
        }
        step.risks = self.risks(step, is);
        step.risks.extend(is.and_then(|is| owner::taken_over(step, is, self.recorded)));
        self.weigh(step);
        // No consent lets a replacement through that is refused as such.
        if replacement.is_none() {
            stops.extend(no_consent(step, wanted));
        }
        stops.extend(replacement);
        let place = step.place.or(wanted.map(|it| it.place));
        step.blocked = stops.iter().any(|it| it.severity == Severity::Error);
        stops.extend(bucket::remarks(step, wanted));
        let words = |it: &str| speak(address.name(), it).into_owned();
        let said = stops.into_iter().map(|it| it.said(words).about(&address));
        findings.extend(said.map(|it| if it.place.is_some() { it } else { it.at(place) }));
    }

    fn risks(&self, step: &Step, is: Option<&Observed>) -> Vec<Risk> {
        match (&step.address, is) {
            (Address::Stream(_), Some(is)) => self.of_stream(step, is),
            (Address::Consumer { .. }, Some(is)) => self.of_consumer(step, is),
            (Address::Consumer { .. }, None) => self.delivered_again(step).into_iter().collect(),
            (Address::Stream(_), None) => Vec::new(),
        }
    }

    /// Holds each risk against what was consented to, and says it in the words of the resource.
    fn weigh(&self, step: &mut Step) {
        let address = &step.address;
        for risk in &mut step.risks {
            risk.why = speak(address.name(), &risk.why).into_owned();
            let safer = risk.safer.as_deref().filter(|_| !risk.is_latent());
            risk.safer = safer.map(|it| speak(address.name(), it).into_owned());
            let reach = self.ask.allow.get(&(risk.harm, address.clone())).copied();
            let counted = risk.tally.messages.most();
            risk.allowed = match reach {
                None => false,
                Some(Reach::Unknown) => true,
                Some(Reach::Counted) => counted.is_some(),
                Some(Reach::UpTo(most)) => counted.is_some_and(|it| it <= most),
            };
            let later = risk.when != When::AtOnce;
            risk.most = match reach {
                _ if risk.question.is_none() || later => None,
                Some(Reach::Unknown) => None,
                Some(Reach::UpTo(most)) => Some(most),
                Some(Reach::Counted) | None => counted,
            };
        }
    }

    /// Messages in a stream.
    fn stored(&self, stream: &str) -> u64 {
        self.live.resources.get(&Address::stream(stream)).map_or(0, Observed::messages)
    }
}

/// An error for each class of harm that is not allowed.
fn no_consent(step: &Step, wanted: Option<&Declared>) -> Vec<Finding> {
    let address = &step.address;
    let mut found = Vec::new();
    for harm in Harm::ALL {
        let stops = |it: &&Risk| it.harm == harm && it.is_stopped();
        let risks: Vec<&Risk> = step.risks.iter().filter(stops).collect();
        let (Some(first), Some(code)) = (risks.first(), code(harm)) else { continue };
        let field = first.field.as_deref().unwrap_or_default();
        let place = wanted.and_then(|it| it.places.get(field)).copied();
        let said: Vec<_> = risks.iter().map(|it| it.sentence()).collect();
        let consents: Vec<_> = risks.iter().map(|it| it.consent(address)).collect();
        let consent = consents.iter().max_by_key(|it| it.len()).cloned().unwrap_or_default();
        let safer = risks.iter().find_map(|it| it.safer.as_deref());
        let safer = safer.map(|it| format!("{it}; ")).unwrap_or_default();
        let help = format!("{safer}to do it all the same, plan with `--allow {consent}`");
        let message = format!("`{address}`: {}", said.join("; "));
        found.push(Finding::error(code, message).at(place).help(help));
    }
    found
}

/// What the missing consent to a class is called; `None` where none is needed.
pub(super) fn code(harm: Harm) -> Option<Code> {
    match harm {
        Harm::DataLoss => Some(Code::DataLoss),
        Harm::Delivery => Some(Code::Delivery),
        Harm::Redelivery => Some(Code::Redelivery),
        Harm::OneWay => Some(Code::OneWay),
        Harm::Destroy => Some(Code::Destroy),
        Harm::Takeover => Some(Code::Owner),
        Harm::Availability => None,
    }
}

impl Risk {
    /// A cost of so many messages, at once, which nothing but one reading tells.
    pub(super) fn of(harm: Harm, messages: Amount, why: impl Into<String>) -> Self {
        Self {
            harm,
            tally: Tally::of(messages),
            when: When::AtOnce,
            question: None,
            most: None,
            why: why.into(),
            safer: None,
            needed_by: Vec::new(),
            field: None,
            allowed: false,
        }
    }

    /// Whether nothing is concerned so far: it is only there to be counted again before the step.
    #[must_use]
    pub fn is_latent(&self) -> bool {
        self.question.is_some() && self.tally.messages == Amount::Nothing
    }

    /// Whether it stops its step: it is there, and nobody consented to it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.harm.needs_consent() && !self.is_latent() && !self.allowed
    }

    /// Whether the messages are those of this stream, and not of one that it copies.
    #[must_use]
    pub fn concerns(&self, name: &str) -> bool {
        match &self.question {
            Some(Question::Uncopied { .. }) => false,
            Some(
                Question::Stored { stream }
                | Question::Unread { stream, .. }
                | Question::Passed { stream, .. }
                | Question::Matching { stream, .. }
                | Question::Beyond { stream, .. }
                | Question::Unneeded { stream, .. }
                | Question::Settled { stream, .. }
                | Question::TimeToLive { stream },
            ) => stream == name,
            None => true,
        }
    }

    /// What `--allow` takes for it, or was given: `data-loss=stream.ORDERS`.
    #[must_use]
    pub fn consent(&self, address: &Address) -> String {
        let counts = self.allowed && self.question.is_some() && self.when == When::AtOnce;
        let reach = match (&self.tally.messages, self.most) {
            (Amount::Unknown(_), _) => ":unknown".to_owned(),
            (_, None) if counts => ":unknown".to_owned(),
            (counted, Some(most)) if counts && Some(most) > counted.most() => format!(":{most}"),
            (Amount::Nothing | Amount::Exactly(_) | Amount::AtMost(_), _) => String::new(),
        };
        format!("{}={address}{reach}", self.harm)
    }

    /// What happens to how many messages, and when.
    fn sentence(&self) -> String {
        let amount = match &self.tally.messages {
            Amount::Nothing => None,
            Amount::Exactly(messages) => Some(count(*messages, "message")),
            Amount::AtMost(messages) => Some(format!("at most {}", count(*messages, "message"))),
            Amount::Unknown(why) => Some(format!("nobody knows how many: {why}")),
        };
        let amount = amount.map(|it| format!(" ({it})")).unwrap_or_default();
        format!("{}{amount}{}", self.why, self.when.words())
    }
}

impl When {
    /// What follows a sentence in the conditional: ` within 1h`.
    pub(crate) fn words(self) -> String {
        let show = |it: u64| show_duration(i64::try_from(it).unwrap_or(i64::MAX));
        match self {
            Self::AtOnce => String::new(),
            Self::Within(time) => format!(" within {}", show(time)),
            Self::Idle(time) => format!(" after {} of disuse", show(time)),
        }
    }
}
