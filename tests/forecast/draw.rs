//! Random streams, what is in them, who reads them, and a random change. A seed gives them again.

use fastrand::Rng;

/// A message to publish; its subject stands behind the name of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) subject: &'static str,
    pub(crate) payload: usize,
    /// Length of the value of a header, where it has one.
    pub(crate) header: Option<usize>,
}

/// A consumer, and how far it has got.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) filters: Vec<&'static str>,
    pub(crate) ack: &'static str,
    /// So many it has been given.
    pub(crate) given: usize,
    /// Of those, each is acknowledged once in so many; 0 is none, 1 is all.
    pub(crate) acked: usize,
}

/// What is to be changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Each limit as a share of what there is.
    Limits {
        messages: Option<f64>,
        bytes: Option<f64>,
        per_subject: Option<u64>,
        age: bool,
        discard: Option<&'static str>,
    },
    /// `discard = "new"` over a limit, and then `"old"`.
    Release { messages: f64 },
    /// `retention = "interest"`.
    Interest,
    /// Other filters of the first consumer.
    Filters(Vec<&'static str>),
    /// The end of the first consumer.
    Deletion,
}

/// One stream and its change.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) storage: &'static str,
    pub(crate) retention: &'static str,
    pub(crate) discard: &'static str,
    /// Most messages of each subject, before the change.
    pub(crate) each: Option<u64>,
    pub(crate) old: Vec<Message>,
    pub(crate) new: Vec<Message>,
    /// Sequences that are deleted again.
    pub(crate) gaps: Vec<u64>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) change: Change,
}

const SUBJECTS: [&str; 6] = ["a.x", "a.y", "b.x", "b.y", "c.x", "c.y"];

/// Filters of one consumer each: none of them overlap.
const FILTERS: [&[&str]; 7] = [
    &[">"],
    &["a.>"],
    &["a.>", "b.>"],
    &["*.x"],
    &["c.y"],
    &["a.x", "b.>", "c.*"],
    &["b.y", "c.>"],
];

pub(crate) fn case(random: &mut Rng, number: u64) -> Case {
    let change = change(random);
    let retention = match change {
        Change::Limits { .. } => *pick(random, &["limits", "limits", "interest", "workqueue"]),
        Change::Release { .. } | Change::Interest => "limits",
        Change::Filters(_) => *pick(random, &["limits", "interest"]),
        Change::Deletion => "interest",
    };
    let readers = readers(random, &change, retention);
    let (old, new) = (messages(random), messages(random));
    let stored = (old.len() + new.len()) as u64;
    let gaps = (1..=stored).filter(|_| random.u8(..6) == 0).collect();
    let gaps = if retention == "limits" && random.bool() { gaps } else { Vec::new() };
    Case {
        name: format!("S{number}"),
        storage: pick::<&str>(random, &["file", "memory"]),
        retention,
        discard: match change {
            Change::Release { .. } => "new",
            _ => pick::<&str>(random, &["old", "old", "new"]),
        },
        each: random.bool().then(|| random.u64(6..20)),
        old,
        new,
        gaps,
        readers,
        change,
    }
}

fn change(random: &mut Rng) -> Change {
    match random.u8(..10) {
        0..=4 => limits(random),
        5 => Change::Release { messages: random.f64() },
        6 => Change::Interest,
        7..=8 => Change::Filters(pick(random, &FILTERS).to_vec()),
        _ => Change::Deletion,
    }
}

/// One limit, or several.
fn limits(random: &mut Rng) -> Change {
    let only = random.u8(..8);
    let mut has = |number: u8| only == number || only > 3 && random.bool();
    let (messages, bytes, per_subject, age) = (has(0), has(1), has(2), has(3));
    Change::Limits {
        messages: messages.then(|| random.f64()),
        bytes: bytes.then(|| random.f64()),
        per_subject: per_subject.then(|| random.u64(1..12)),
        age,
        discard: random.bool().then(|| *pick(random, &["old", "new"])),
    }
}

fn readers(random: &mut Rng, change: &Change, retention: &str) -> Vec<Reader> {
    let number = match (change, retention) {
        (Change::Limits { .. }, "interest") => random.usize(1..3),
        (Change::Limits { .. } | Change::Release { .. }, _) => 0,
        (Change::Interest, _) => random.usize(..4),
        (Change::Filters(_) | Change::Deletion, _) => random.usize(1..4),
    };
    let reader = |number: usize| Reader {
        name: format!("R{number}"),
        filters: pick(random, &FILTERS).to_vec(),
        ack: pick::<&str>(random, &["explicit", "explicit", "explicit", "all", "none"]),
        given: random.usize(..40),
        acked: random.usize(..4),
    };
    (0..number).map(reader).collect()
}

fn messages(random: &mut Rng) -> Vec<Message> {
    let subjects = random.usize(1..=SUBJECTS.len());
    let count = random.usize(2..60);
    let message = |_| Message {
        subject: SUBJECTS[random.usize(..subjects)],
        payload: random.usize(..300),
        header: (random.u8(..3) == 0).then(|| random.usize(..40)),
    };
    (0..count).map(message).collect()
}

fn pick<'a, T>(random: &mut Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}
