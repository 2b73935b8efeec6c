//! What a change would cost in messages: the questions a plan has about a stream, and their answers.
//!
//! A plan reads nothing. What it cannot tell from one reading it asks for: `plan()` puts the
//! questions that have no answer yet into the plan, the world answers them, and the same plan is
//! made again with the answers. Right before a step its questions are asked once more.

use serde::{Deserialize, Serialize};

/// How many of a stream's messages something concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Those that its limits would no longer allow.
    Beyond {
        /// Its name.
        stream: String,
        /// All its limits, as they would be.
        limits: Limits,
    },
    /// Those that none of its consumers would wait for, which is what interest keeps.
    Unneeded {
        /// Its name.
        stream: String,
        /// All consumers that it would have.
        readers: Vec<Reader>,
    },
    /// Those on subjects that one of these filters matches.
    Matching {
        /// Its name.
        stream: String,
        /// `[">"]` is all.
        filters: Vec<String>,
        /// Only up to this sequence.
        upto: Option<u64>,
    },
    /// Those on subjects that none of these filters matches.
    Unmatched {
        /// Its name.
        stream: String,
        /// What is wanted.
        filters: Vec<String>,
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
        /// The name of the origin.
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
    /// Its name; one that is not live begins at the first message.
    pub name: String,
    /// Its filters; `[">"]` is everything.
    pub filters: Vec<String>,
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

impl Tally {
    /// A number that follows from what was read anyway.
    #[must_use]
    pub fn of(messages: Amount) -> Self {
        Self { messages, bytes: None, oldest: None, newest: None, how: How::Info }
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
