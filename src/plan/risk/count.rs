//! How many messages something concerns: what was counted, or what one reading tells; and who
//! still needs them.

use super::{Around, Fate, Risk};
use crate::{
    address::{Address, consumers_of},
    forecast::{Amount, Question, Reader, Tally},
    live::{Facts, Observed},
    plan::risk::filters,
    position,
    schema::Harm,
};

/// The filters that take everything.
pub(super) const ALL: &str = ">";

impl Around<'_> {
    /// A cost that is counted by a question; `bound` is what one reading says of its answer.
    pub(super) fn counted(
        &self,
        (harm, why): (Harm, impl Into<String>),
        question: Question,
        bound: Amount,
    ) -> Risk {
        let bound = match &question {
            Question::Stored { stream } => Tally { bytes: self.bytes(stream), ..Tally::of(bound) },
            Question::Unread { .. }
            | Question::Passed { .. }
            | Question::Matching { .. }
            | Question::Beyond { .. }
            | Question::Unneeded { .. }
            | Question::Settled { .. }
            | Question::TimeToLive { .. }
            | Question::Uncopied { .. } => Tally::of(bound),
        };
        let tally = match self.live.tallies.get(&question) {
            Some(answer) => sharper(answer, bound),
            None => bound,
        };
        let none = tally.messages.most() == Some(0);
        let tally = if none { Tally::of(Amount::Nothing) } else { tally };
        Risk { tally, question: Some(question), ..Risk::of(harm, Amount::Nothing, why) }
    }

    /// All of a stream.
    pub(super) fn everything(&self, cost: (Harm, impl Into<String>), stream: &str) -> Risk {
        let question = Question::Stored { stream: stream.to_owned() };
        let risk = self.counted(cost, question, Amount::Exactly(self.stored(stream)));
        self.with_needs(risk, stream)
    }

    fn bytes(&self, stream: &str) -> Option<u64> {
        match self.live.resources.get(&Address::stream(stream))?.facts {
            Facts::Stream { bytes, .. } => Some(bytes),
            Facts::Consumer { .. } => None,
        }
    }

    /// Adds the consumers that have not done with what goes, but for those that go by themselves.
    pub(super) fn with_needs(&self, mut risk: Risk, stream: &str) -> Risk {
        let stored = self.stored(stream);
        for (address, is) in consumers_of(&self.live.resources, stream) {
            let goes = matches!(self.fates.get(address), Some(Fate::Gone | Fate::Remade))
                && !self.gone.contains(stream);
            if goes || is.is_ephemeral() || position::is_holder(address) {
                continue;
            }
            risk.needed_by.extend(needs(is, &risk.tally, stored).map(|it| (address.clone(), it)));
        }
        risk
    }

    /// The consumers that a stream is sure to have, but for one: those that make room are left out,
    /// and so are clients', which come and go. `until` tells who is there by then.
    pub(super) fn readers(&self, stream: &str, but: &Address, until: Until) -> Vec<Reader> {
        let mut readers: Vec<Reader> = Vec::new();
        for (address, is) in consumers_of(&self.live.resources, stream) {
            if address == but || is.is_ephemeral() || position::is_holder(address) {
                continue;
            }
            let before = live_filters(is);
            let filters = match self.fates.get(address) {
                Some(Fate::Gone) if until != Until::Deletions => continue,
                Some(Fate::Remade) => continue,
                Some(Fate::Changed | Fate::Resumed) if until == Until::Creations => {
                    shared(&before, &self.wanted(address))
                }
                Some(Fate::Changed | Fate::Resumed) => self.wanted(address),
                Some(Fate::Gone | Fate::Made) | None => before,
            };
            if !filters.is_empty() {
                let name = address.name().to_owned();
                readers.push(Reader { name, filters, to_come: false });
            }
        }
        let comes =
            |it: &&Address| until != Until::Creations && *it != but && self.begins_at_the_first(it);
        let made = consumers_of(&self.desired.resources, stream).map(|it| it.0);
        readers.extend(made.filter(comes).map(|address| Reader {
            name: address.name().to_owned(),
            filters: self.wanted(address),
            to_come: true,
        }));
        readers.sort();
        readers
    }

    /// Whether a consumer is made that reads its stream from the start.
    fn begins_at_the_first(&self, address: &Address) -> bool {
        let config = self.desired.resources.get(address).map(|it| &it.config);
        let start = config.map(|it| it.text("deliver_policy").unwrap_or("all"));
        let is_there = self.live.resources.contains_key(address);
        let held = self.live.resources.contains_key(&position::holder(address));
        let made = self.fates.get(address) == Some(&Fate::Made);
        made && !is_there && !held && start == Some("all")
    }

    /// The filters of a consumer as the spec has them.
    pub(super) fn wanted(&self, address: &Address) -> Vec<String> {
        let config = self.desired.resources.get(address).map(|it| &it.config);
        filters(|it| config.and_then(|config| config.get(it)).cloned().unwrap_or_default())
    }

    /// What one reading says of the messages that none of these consumers waits for.
    pub(super) fn unneeded(&self, stream: &str, readers: &[Reader]) -> Amount {
        let stored = self.stored(stream);
        let waits = |it: &Reader| -> u64 {
            let address = Address::consumer(stream, &it.name);
            match self.live.resources.get(&address) {
                // Of one that is narrowed nobody knows what it goes on waiting for.
                Some(is) if live_filters(is) == it.filters => unread(is),
                None if it.to_come && it.filters.iter().any(|it| it == ALL) => stored,
                Some(_) | None => 0,
            }
        };
        let most = stored.saturating_sub(readers.iter().map(waits).max().unwrap_or_default());
        let exact = match readers {
            [] => true,
            [one] => waits(one) > 0 || self.is_unchanged(stream, one),
            _ => false,
        } && !self.has_passers_by(stream);
        if exact { Amount::Exactly(most) } else { Amount::AtMost(most) }
    }

    /// Whether clients have made consumers that may go at any moment.
    pub(super) fn has_passers_by(&self, stream: &str) -> bool {
        consumers_of(&self.live.resources, stream).any(|(_, is)| is.is_ephemeral())
    }

    fn is_unchanged(&self, stream: &str, reader: &Reader) -> bool {
        let is = self.live.resources.get(&Address::consumer(stream, &reader.name));
        is.is_some_and(|it| live_filters(it) == reader.filters)
    }
}

/// How far a plan has come when something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Updates and creations are under way, in any order.
    Creations,
    /// What is made is there, and nothing has gone yet.
    Deletions,
    /// All is done.
    End,
}

/// What a live consumer matches.
pub(super) fn live_filters(is: &Observed) -> Vec<String> {
    let config = is.config();
    filters(|it| config.get(it).cloned().unwrap_or_default())
}

/// Messages that a consumer has not done with.
pub(super) fn unread(is: &Observed) -> u64 {
    match is.facts {
        Facts::Consumer { pending, ack_pending, .. } => pending.saturating_add(ack_pending),
        Facts::Stream { .. } => 0,
    }
}

/// What is surely matched before and after a change, whenever that comes.
fn shared(before: &[String], after: &[String]) -> Vec<String> {
    let within = |inner: &[String], outer: &[String]| -> Vec<String> {
        let covered = |it: &&String| outer.iter().any(|wider| crate::subject::covers(wider, it));
        inner.iter().filter(covered).cloned().collect()
    };
    let mut both = within(before, after);
    both.extend(within(after, before));
    both.sort();
    both.dedup();
    both
}

/// The answer, or what one reading tells where that says more.
fn sharper(answer: &Tally, bound: Tally) -> Tally {
    let messages = match (&answer.messages, bound.messages.clone()) {
        (Amount::Unknown(_), it @ (Amount::Nothing | Amount::Exactly(_) | Amount::AtMost(_))) => {
            return Tally { messages: it, ..bound };
        }
        (Amount::AtMost(_), it @ (Amount::Nothing | Amount::Exactly(_))) => it,
        (Amount::AtMost(answer), Amount::AtMost(bound)) => Amount::AtMost(bound.min(*answer)),
        (answer, _) => answer.clone(),
    };
    Tally { messages, ..answer.clone() }
}

/// How many of the messages that go a consumer has not done with.
fn needs(is: &Observed, goes: &Tally, stored: u64) -> Option<Amount> {
    let Facts::Consumer { pending, ack_floor, delivered, .. } = is.facts else { return None };
    let (unread, most) = (unread(is), goes.messages.most().unwrap_or(stored).min(stored));
    let is_all = most == stored && goes.messages == Amount::Exactly(most);
    let left = stored - most;
    let unfiltered = || live_filters(is).iter().any(|it| it == ALL);
    let needs = match goes.upto {
        _ if unread == 0 || most == 0 => return None,
        _ if is_all => Amount::Exactly(unread),
        _ if pending == stored => goes.messages.clone(),
        Some(upto) if ack_floor >= upto => return None,
        Some(upto) if delivered <= upto && unfiltered() => {
            Amount::Exactly(unread.saturating_sub(left))
        }
        Some(upto) => Amount::AtMost(most.min(unread).min(upto - ack_floor)),
        None => Amount::AtMost(most.min(unread)),
    };
    Some(needs).filter(|it| it.most() != Some(0))
}
