//! The ledger of an environment: what was done of each migration, step by step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Recorded;

/// What was done of one migration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    /// The name of the migration, without its version.
    pub name: String,
    /// Digest of what its file meant when it was begun.
    pub meaning: String,
    /// How it stands.
    pub standing: Standing,
    /// When it was begun, in RFC 3339.
    pub begun: String,
    /// When it came to its end.
    pub ended: Option<String>,
    /// By whom it was begun.
    pub by: String,
    /// The steps that were begun, in order.
    pub steps: Vec<Entry>,
    /// Those of the way back, once that was begun.
    pub back: Vec<Entry>,
    /// Steps that somebody lets pass: approved gates.
    pub approved: Vec<String>,
    /// What was found on the way.
    pub facts: Facts,
}

/// How a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// There was nothing to migrate: the environment began where it ends.
    Baselined,
    /// It was begun.
    Underway,
    /// Every step is done.
    Done,
    /// It is being taken back.
    GoingBack,
    /// It was taken back.
    GoneBack,
}

/// One step that was begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: String,
    /// Digest of what it meant.
    pub meaning: String,
    /// How it ended, if it did.
    pub end: End,
    /// When it was begun.
    pub begun: String,
    /// When it ended.
    pub ended: Option<String>,
    /// By whom.
    pub by: String,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It did not: it is under way, or was cut short.
    Open,
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// Somebody said that it is done, and why.
    Repaired(String),
}

/// What was found on the way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// `from` as it was recorded when the migration was begun.
    pub origin: Option<Recorded>,
    /// Whether ids of messages repeat in `from`: then `to` may not look at them.
    pub repeats: bool,
    /// How far it is proved that `to` holds what `from` holds.
    pub proof: Option<Proof>,
    /// How far it is proved, on the way back, that `from` holds what `to` took.
    pub returned: Option<Proof>,
    /// The last sequence of `from` when it was parked.
    pub cut: Option<u64>,
    /// The last sequence of `to` when it was bound: what is beyond is its own.
    pub bound: Option<u64>,
    /// How long no stream took the subjects, in milliseconds.
    pub window_ms: Option<u64>,
    /// Where the consumers of `to` began, by their names.
    pub starts: BTreeMap<String, u64>,
}

/// How far it is proved that one stream holds what another holds: every message up to here, by
/// content and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The sequence of the last message of the origin that was compared.
    pub origin: u64,
    /// The sequence of the last message of the copy that was compared.
    pub copy: u64,
    /// How many were compared.
    pub messages: u64,
    /// How many of them were on each subject of the copy; of subjects beyond [`Proof::SUBJECTS`] none.
    #[serde(default)]
    pub subjects: BTreeMap<String, u64>,
    /// How many of the copy the origin no longer has: they aged out, or were deleted there.
    pub gone: u64,
    /// How many went to the dead letters.
    pub rejected: u64,
    /// The rolling digest of both sides, which are equal.
    pub digest: String,
    /// When the origin stored that last message, in nanoseconds since 1970: another one under its
    /// sequence, as after a crash that lost the end of a stream, is told by it.
    pub stored: i64,
}

impl Proof {
    /// Most subjects that are counted by name: a stream may have as many as it has messages.
    pub const SUBJECTS: usize = 256;
}

impl Entry {
    /// Whether it is done, by itself or by somebody's word.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.end {
            End::Done | End::Repaired(_) => true,
            End::Open | End::Failed(_) => false,
        }
    }
}
