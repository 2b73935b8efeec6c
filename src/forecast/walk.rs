//! Messages one after another, oldest first → how many of them something concerns.
//!
//! Who reads them is not known here, nor how: what is taken is a [`Record`], and what is given back
//! is whether the next one is wanted.

use std::{collections::BTreeMap, ops::ControlFlow};

use jiff::Timestamp;

use super::{Amount, How, Limits, Tally};
use crate::subject;

/// What is known of a message without its payload.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) subject: String,
    /// Bytes of its headers, as they are stored.
    pub(crate) headers: u64,
    pub(crate) payload: u64,
    /// Whether it has a time to live of its own.
    pub(crate) is_mortal: bool,
}

/// Where a stream keeps its messages: each takes other bytes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    File,
    Memory,
}

/// Which messages count that nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    All,
    /// Only those that some consumer matches.
    Matched,
}

impl Record {
    /// The bytes that it takes of a stream, to the byte what the server counts (2.10 to 2.15).
    fn bytes(&self, storage: Storage) -> u64 {
        let subject = self.subject.len() as u64;
        let around = match (storage, self.headers) {
            (Storage::Memory, _) => 16,
            (Storage::File, 0) => 30,
            (Storage::File, _) => 34,
        };
        around + subject + self.headers + self.payload
    }

    fn is_on(&self, filters: &[String]) -> bool {
        filters.iter().any(|it| subject::covers(it, &self.subject))
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    messages: u64,
    bytes: u64,
    oldest: Option<i64>,
    newest: Option<i64>,
    last: Option<u64>,
}

impl Found {
    fn add(&mut self, record: &Record, storage: Storage) {
        let Record { sequence, at, .. } = *record;
        self.messages += 1;
        self.bytes += record.bytes(storage);
        self.oldest = Some(self.oldest.map_or(at, |it| it.min(at)));
        self.newest = self.newest.max(Some(at));
        self.last = self.last.max(Some(sequence));
    }

    fn tally(self, messages: Amount) -> Tally {
        let exact = matches!(messages, Amount::Exactly(_));
        Tally {
            messages,
            bytes: Some(self.bytes).filter(|_| exact),
            oldest: self.oldest.and_then(written),
            newest: self.newest.filter(|_| exact).and_then(written),
            upto: None,
            how: How::Walk,
        }
    }
}

/// An instant as the wire has it.
pub(crate) fn written(at: i64) -> Option<String> {
    Timestamp::from_nanosecond(at.into()).ok().map(|it| it.to_string())
}

/// Those that are beyond limits: the first of a stream, and of each subject.
pub(crate) struct Beyond<'a> {
    limits: &'a Limits,
    /// What is left of the stream.
    messages: u64,
    bytes: u64,
    /// The last instant that is too old.
    old: Option<i64>,
    found: Found,
    /// Messages of each subject among those that were found.
    passed: BTreeMap<String, u64>,
}

impl<'a> Beyond<'a> {
    /// A stream that holds so much, at an instant of its server's clock.
    pub(crate) fn new(limits: &'a Limits, messages: u64, bytes: u64, now: i64) -> Self {
        let age = limits.max_age.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
        let old = age.map(|it| now.saturating_sub(it));
        Self { limits, messages, bytes, old, found: Found::default(), passed: BTreeMap::new() }
    }

    /// Whether the first message goes, if this is when it was stored.
    pub(crate) fn goes(&self, at: i64) -> bool {
        let Limits { max_msgs, max_bytes, discard_new, .. } = *self.limits;
        let over = |limit: Option<u64>, left| !discard_new && limit.is_some_and(|it| left > it);
        let old = self.old.is_some_and(|it| at <= it);
        self.messages > 0 && (over(max_msgs, self.messages) || over(max_bytes, self.bytes) || old)
    }

    /// The server deletes from the front until the rest is within the limits, so that the first
    /// message that may stay ends it.
    pub(crate) fn take(&mut self, record: &Record) -> ControlFlow<()> {
        let Limits { max_msgs_per_subject, memory, .. } = *self.limits;
        let storage = if memory { Storage::Memory } else { Storage::File };
        if !self.goes(record.at) {
            return ControlFlow::Break(());
        }
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(record.bytes(storage));
        self.found.add(record, storage);
        if max_msgs_per_subject.is_some() {
            *self.passed.entry(record.subject.clone()).or_default() += 1;
        }
        ControlFlow::Continue(())
    }

    /// What came of it, with the messages of each subject where they are limited; `None` where the
    /// walk did not come to its end.
    pub(crate) fn tally(self, subjects: Option<&BTreeMap<String, u64>>) -> Tally {
        let each = self.limits.max_msgs_per_subject.unwrap_or(u64::MAX);
        let left = |(name, all): (&String, &u64)| {
            let passed = self.passed.get(name).copied().unwrap_or_default();
            all.saturating_sub(passed).saturating_sub(each)
        };
        let beside: u64 = subjects.into_iter().flatten().map(left).sum();
        let amount = exactly(self.found.messages + beside);
        let upto = self.found.last;
        let tally = Tally { upto, ..self.found.tally(amount) };
        if beside == 0 { tally } else { Tally { bytes: None, newest: None, upto: None, ..tally } }
    }

    /// Every message, where the walk did not come to its end.
    pub(crate) fn unended(self, stored: u64) -> Tally {
        self.found.tally(Amount::AtMost(stored))
    }
}

/// A consumer, and which messages it has yet to be done with.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What it will match.
    pub(crate) filters: Vec<String>,
    /// Up to this sequence it is done with everything.
    pub(crate) floor: u64,
    /// Behind this sequence it has been given nothing.
    pub(crate) delivered: u64,
    /// How many between the two it is not done with, by the filters that it has now; `None` where
    /// it is done with none of them.
    pub(crate) in_flight: Option<u64>,
    /// Whether the same filters stay.
    pub(crate) stays: bool,
    /// Whether it may keep more than it says: those that were delivered as often as they may be.
    pub(crate) hides: bool,
}

/// Those that no consumer waits for.
pub(crate) struct Unneeded<'a> {
    waiting: &'a [Waiting],
    count: Count,
    storage: Storage,
    found: Found,
    /// Messages between floor and delivery, of each consumer.
    between: Vec<u64>,
    /// Those of which it is not known yet, each with the consumers that decide.
    open: Vec<(Vec<usize>, Record)>,
}

impl<'a> Unneeded<'a> {
    pub(crate) fn new(waiting: &'a [Waiting], count: Count, storage: Storage) -> Self {
        let (found, between) = (Found::default(), vec![0; waiting.len()]);
        Self { waiting, count, storage, found, between, open: Vec::new() }
    }

    pub(crate) fn take(&mut self, record: &Record) -> ControlFlow<()> {
        let (mut is_matched, mut needed, mut open) = (false, false, Vec::new());
        for (number, it) in self.waiting.iter().enumerate() {
            if !record.is_on(&it.filters) {
                continue;
            }
            is_matched = true;
            if record.sequence > it.delivered {
                needed = true;
            } else if record.sequence > it.floor {
                self.between[number] += 1;
                needed |= it.in_flight.is_none();
                open.push(number);
            }
        }
        if needed || self.count == Count::Matched && !is_matched {
            return ControlFlow::Continue(());
        }
        if open.is_empty() {
            self.found.add(record, self.storage);
        } else {
            self.open.push((open, record.clone()));
        }
        ControlFlow::Continue(())
    }

    /// What came of it; `rest` more were not looked at.
    pub(crate) fn tally(mut self, rest: u64) -> Tally {
        let all_wait = |it: &usize| {
            let waiting = &self.waiting[*it];
            waiting.stays && waiting.in_flight == Some(self.between[*it])
        };
        let none_waits = |it: &usize| self.waiting[*it].in_flight == Some(0);
        let mut exact = rest == 0 && !self.waiting.iter().any(|it| it.hides);
        for (open, record) in self.open {
            if open.iter().any(all_wait) {
                continue;
            }
            exact &= open.iter().all(none_waits);
            self.found.add(&record, self.storage);
        }
        let number = self.found.messages + rest;
        self.found.tally(if exact { exactly(number) } else { at_most(number) })
    }
}

/// Those of some subjects, or with a life of their own.
pub(crate) struct Picked<'a> {
    filters: &'a [String],
    except: &'a [String],
    /// Up to here it is sure that they count.
    sure: u64,
    /// Behind this none counts.
    upto: u64,
    /// Only those with a time to live.
    mortal: bool,
    storage: Storage,
    found: Found,
    exact: bool,
}

impl<'a> Picked<'a> {
    /// Those on subjects that one of `filters` matches and none of `except`, up to a sequence that
    /// is between two.
    pub(crate) fn on(
        filters: &'a [String],
        except: &'a [String],
        (sure, upto): (u64, u64),
        storage: Storage,
    ) -> Self {
        let found = Found::default();
        Self { filters, except, sure, upto, mortal: false, storage, found, exact: true }
    }

    /// Those with a time to live.
    pub(crate) fn mortal(everything: &'a [String], storage: Storage) -> Self {
        Self { mortal: true, ..Self::on(everything, &[], (u64::MAX, u64::MAX), storage) }
    }

    pub(crate) fn take(&mut self, record: &Record) -> ControlFlow<()> {
        if record.sequence > self.upto {
            return ControlFlow::Break(());
        }
        let picked = record.is_on(self.filters) && !record.is_on(self.except);
        if picked && (record.is_mortal || !self.mortal) {
            self.exact &= record.sequence <= self.sure;
            self.found.add(record, self.storage);
        }
        ControlFlow::Continue(())
    }

    /// What came of it; `rest` more were not looked at.
    pub(crate) fn tally(self, rest: u64) -> Tally {
        let number = self.found.messages + rest;
        let exact = self.exact && rest == 0;
        self.found.tally(if exact { exactly(number) } else { at_most(number) })
    }
}

/// A number, in the one word there is for none.
pub(crate) fn exactly(number: u64) -> Amount {
    if number == 0 { Amount::Nothing } else { Amount::Exactly(number) }
}

/// No more than a number.
pub(crate) fn at_most(number: u64) -> Amount {
    if number == 0 { Amount::Nothing } else { Amount::AtMost(number) }
}
