//! What a change would cost in messages: the questions a plan has about a stream, and their answers.
//!
//! A plan reads nothing. What it cannot tell from one reading it asks for: `plan()` puts the
//! questions that have no answer yet into the plan, the world answers them, and the same plan is
//! made again with the answers. Right before a step its questions are asked once more.

pub(crate) mod walk;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many of a stream's messages something concerns.
///
/// A stream or a consumer is the one that has the name when the question is asked: a consumer may
/// have moved on since the plan was made, and what is gone by then has nothing and waits for nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// All that are stored.
    Stored {
        /// Its name.
        stream: String,
    },
    /// Those that a consumer has yet to deliver, or has delivered without acknowledgement.
    Unread {
        /// Its name.
        stream: String,
        /// The name of the consumer.
        consumer: String,
    },
    /// Those up to the last one that a consumer has delivered, on subjects that one of `filters`
    /// matches and none of `except`.
    Passed {
        /// Its name.
        stream: String,
        /// The name of the consumer.
        consumer: String,
        /// `[">"]` is all.
        filters: Vec<String>,
        /// `[]` is none.
        except: Vec<String>,
    },
    /// Those on subjects that one of `filters` matches and none of `except`.
    Matching {
        /// Its name.
        stream: String,
        /// `[">"]` is all.
        filters: Vec<String>,
        /// `[]` is none.
        except: Vec<String>,
    },
    /// Those that its limits would no longer allow, at this moment.
    Beyond {
        /// Its name.
        stream: String,
        /// All its limits, as they would be.
        limits: Limits,
    },
    /// Those that none of these consumers waits for: what interest would not keep.
    Unneeded {
        /// Its name.
        stream: String,
        /// All consumers that it would have.
        readers: Vec<Reader>,
    },
    /// Those that at least one of these consumers matches, and that none of them waits for any
    /// more: what is deleted at once where interest begins to decide. What nobody matches stays.
    Settled {
        /// Its name.
        stream: String,
        /// All consumers that it would have.
        readers: Vec<Reader>,
    },
    /// Those that carry a time to live of their own.
    TimeToLive {
        /// Its name.
        stream: String,
    },
    /// Those of the origin that a mirror has not copied yet.
    Uncopied {
        /// The name of the mirror.
        stream: String,
        /// The name of the origin, in the same account.
        origin: String,
    },
}

/// Every limit of a stream; `None` is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limits {
    /// Most messages.
    pub max_msgs: Option<u64>,
    /// Most bytes.
    pub max_bytes: Option<u64>,
    /// Most messages of each subject.
    pub max_msgs_per_subject: Option<u64>,
    /// Longest life, in nanoseconds.
    pub max_age: Option<u64>,
    /// Whether `discard = "new"`: then number and bytes delete nothing.
    pub discard_new: bool,
    /// Whether messages are in memory, where each takes other bytes than on file.
    pub memory: bool,
}

/// A consumer, and what it would read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// What it would match; `[">"]` is everything.
    pub filters: Vec<String>,
    /// Whether the plan has yet to make it: while it is not there, it counts as one that begins at
    /// the first message. Any other that is not there waits for nothing.
    pub to_come: bool,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub messages: Amount,
    /// Their bytes, as the stream counts them, where that is known.
    pub bytes: Option<u64>,
    /// When the first of them was stored, in RFC 3339, where that is known.
    pub oldest: Option<String>,
    /// When the last of them was stored.
    pub newest: Option<String>,
    /// The sequence of the last of them, where they are the first of their stream: up to it nothing
    /// would be left.
    pub upto: Option<u64>,
    /// How it was found.
    pub how: How,
}

/// A number of messages, as well as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// None are concerned.
    Nothing,
    /// So many.
    Exactly(u64),
    /// No more than so many.
    AtMost(u64),
    /// Nobody knows, for this reason.
    Unknown(String),
}

/// How a number was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// From what `STREAM.INFO` and `CONSUMER.INFO` say.
    Info,
    /// From the counts of each subject.
    Subjects,
    /// By looking for the first message after an instant.
    ByTime,
    /// By reading the headers of the messages.
    Walk,
}

impl Question {
    /// The stream whose messages it is about; `None` where they are not all in one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Stored { stream }
            | Self::Unread { stream, .. }
            | Self::Passed { stream, .. }
            | Self::Matching { stream, .. }
            | Self::Beyond { stream, .. }
            | Self::Unneeded { stream, .. }
            | Self::Settled { stream, .. }
            | Self::TimeToLive { stream } => Some(stream),
            Self::Uncopied { .. } => None,
        }
    }

    /// The same, to be asked right before a step: what the plan makes before it is there by then, or
    /// waits for nothing.
    #[must_use]
    pub fn at_last(mut self) -> Self {
        if let Self::Unneeded { readers, .. } | Self::Settled { readers, .. } = &mut self {
            readers.iter_mut().for_each(|it| it.to_come = false);
        }
        self
    }
}

impl Limits {
    /// The limits among the fields of a stream.
    pub(crate) fn of(value: impl Fn(&str) -> Value) -> Self {
        let limit = |name: &str| value(name).as_u64().filter(|it| *it > 0);
        Self {
            max_msgs: limit("max_msgs"),
            max_bytes: limit("max_bytes"),
            max_msgs_per_subject: limit("max_msgs_per_subject"),
            max_age: limit("max_age"),
            discard_new: value("discard") == "new",
            memory: value("storage") == "memory",
        }
    }
}

impl Tally {
    /// A number that follows from what was read anyway.
    #[must_use]
    pub fn of(messages: Amount) -> Self {
        Self { messages, bytes: None, oldest: None, newest: None, upto: None, how: How::Info }
    }
}

impl Amount {
    /// The number, where there is one; of [`Amount::AtMost`] the most.
    #[must_use]
    pub fn most(&self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Exactly(number) | Self::AtMost(number) => Some(*number),
            Self::Unknown(_) => None,
        }
    }
}
