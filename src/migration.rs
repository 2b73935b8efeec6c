//! Migrations: versioned ways with data from one stream to another, as people write them.
//!
//! The spec says where an environment ends; a migration says how it gets there where no update can:
//! in small steps, each of which can be stopped at, gone on from and, up to one point, taken back.
//! `read` turns a file into a [`Migration`], `sum` knows what was reviewed, `lint` what cannot work,
//! `template` writes one for each strategy. What was done of it is in the ledger of the state; `stage`
//! is the spec seen through that, `progress` what comes next, and `back` the way back.

pub mod back;
pub mod lint;
pub mod preflight;
pub mod progress;
pub mod proof;
pub mod read;
pub mod stage;
pub mod sum;
pub mod template;

use std::{collections::BTreeMap, fmt};

use crate::{address::Address, finding::Place, subject};

/// Where migrations are kept, beside the environments.
pub const FOLDER: &str = "environments/migrations";

/// What was reviewed of them, in that folder.
pub const SUM: &str = "jsplan.sum";

/// The migrations of a project, by version.
#[derive(Debug, Clone, Default)]
pub struct Migrations(pub BTreeMap<String, Migration>);

/// One migration.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The digits that its file's name begins with: `0002`.
    pub version: String,
    /// The rest of that name: `ingest_v2`.
    pub name: String,
    /// Why there is one.
    pub reason: String,
    /// How it gets there; `None` where no messages are moved.
    pub strategy: Option<Strategy>,
    /// The stream that messages come from.
    pub from: Option<String>,
    /// The stream that they go to.
    pub to: Option<String>,
    /// The environments it is for, in the order of promotion; empty means all, in no order.
    pub environments: Vec<String>,
    /// Versions that must be done before.
    pub requires: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Digest of what the file means, whatever its layout.
    pub meaning: String,
    /// Where `[migration]` stands.
    pub place: Place,
    /// Where each of its keys is written.
    pub places: BTreeMap<&'static str, Place>,
}

/// How a migration gets from one stream to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `to` has subjects of its own and follows `from`; publishers move when they like.
    NewSubjects,
    /// `to` follows `from`, and takes its subjects over in one moment.
    SameSubjectsSource,
    /// The same by a mirror that is promoted: sequences and time stamps are kept (2.12 and later).
    SameSubjectsMirror,
    /// `to` begins empty beside `from`; no messages are moved.
    Parallel,
}

/// One step of a migration.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name within the migration.
    pub id: String,
    /// What it does.
    pub does: Does,
    /// Digest of what it means.
    pub meaning: String,
    /// Where it is written.
    pub place: Place,
}

/// What a step does: a closed set, so that each can be foreseen, gone on with and taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// Makes `to` as the spec declares it, empty.
    Create,
    /// Makes `to` as a copy that follows `from`, parked: it takes nothing of its own.
    Source {
        /// Subjects and what becomes of them; empty keeps all as they are.
        mapping: Vec<Mapping>,
    },
    /// Makes `to` parked, and fills it through a program.
    Copy {
        /// Subjects and what becomes of them before the program sees them.
        mapping: Vec<Mapping>,
        /// The program and its arguments: a JSON line per message in, and one out.
        exec: Vec<String>,
        /// The stream that takes what the program rejects.
        dead_letters: String,
    },
    /// Makes `to` a mirror of `from`.
    Mirror,
    /// Waits until `to` has come to where `from` stands.
    Wait {
        /// For so many nanoseconds at most.
        within: i64,
    },
    /// Proves that `to` holds what `from` holds, by content and in order.
    Verify,
    /// Lets nobody pass without approval.
    Gate {
        /// The environments in which somebody has to approve.
        approve: Vec<String>,
    },
    /// Takes the subjects of `from` away: publishers are refused until `to` is bound.
    Park,
    /// Gives `to` the subjects that the spec declares; of a mirror it makes a stream.
    Bind,
    /// Makes the consumers of `to`, each where its namesake on `from` stands.
    Consumers {
        /// Only these, by their names on the server; empty means all.
        only: Vec<String>,
    },
    /// Has `from` follow `to`, for applications that still read there.
    Reverse,
    /// Waits for days: each run looks once, and ends where it is not over.
    Soak {
        /// At least so many nanoseconds since it was begun.
        least: i64,
        /// And nobody has used `from` for so many.
        idle: i64,
    },
    /// The end of `from`, and of its bond with `to`.
    Retire(Retire),
    /// Ends where something is not so.
    Assert {
        /// What must exist.
        exists: Vec<Address>,
        /// Streams that must hold no messages.
        empty: Vec<Address>,
    },
    /// Says something to whoever carries it out.
    Note {
        /// What it says.
        text: String,
    },
}

/// What becomes of the stream that messages came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// It stays to be read, and takes nothing more.
    Seal,
    /// It goes with its messages, which takes consent of its own.
    Delete,
    /// It stays as it is, without subjects that `to` has taken over.
    Keep,
}

/// Subjects and what becomes of them, as a subject transform of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Which subjects.
    pub src: String,
    /// What becomes of them.
    pub dest: String,
}

impl Mapping {
    /// What turns its subjects back; `None` where different ones became the same.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        let (src, dest) = subject::inverse(&self.src, &self.dest)?;
        Some(Self { src, dest })
    }
}

impl Strategy {
    /// Every strategy, with its name.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::NewSubjects, "new-subjects"),
        (Self::SameSubjectsSource, "same-subjects-source"),
        (Self::SameSubjectsMirror, "same-subjects-mirror"),
        (Self::Parallel, "parallel"),
    ];

    /// Whether `to` takes over the very subjects of `from`.
    #[must_use]
    pub fn takes_subjects(self) -> bool {
        matches!(self, Self::SameSubjectsSource | Self::SameSubjectsMirror)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|it| it.0 == *self).map_or("", |it| it.1);
        f.write_str(name)
    }
}

impl Does {
    /// The word for it in a file.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Source { .. } | Self::Copy { .. } => "source",
            Self::Mirror => "mirror",
            Self::Wait { .. } => "wait",
            Self::Verify => "verify",
            Self::Gate { .. } => "gate",
            Self::Park => "park",
            Self::Bind => "bind",
            Self::Consumers { .. } => "consumers",
            Self::Reverse => "reverse",
            Self::Soak { .. } => "soak",
            Self::Retire(_) => "retire",
            Self::Assert { .. } => "assert",
            Self::Note { .. } => "note",
        }
    }

    /// Whether it changes something on the server, rather than look or wait.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Create
            | Self::Source { .. }
            | Self::Copy { .. }
            | Self::Mirror
            | Self::Park
            | Self::Bind
            | Self::Consumers { .. }
            | Self::Reverse
            | Self::Retire(_) => true,
            Self::Wait { .. }
            | Self::Verify
            | Self::Gate { .. }
            | Self::Soak { .. }
            | Self::Assert { .. }
            | Self::Note { .. } => false,
        }
    }
}

impl Migration {
    /// `0002 ingest_v2`, as people are told of it.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.version, self.name)
    }

    /// Whether it is for an environment.
    #[must_use]
    pub fn is_for(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.iter().any(|it| it == environment)
    }

    /// The environment that must have it done before this one.
    #[must_use]
    pub fn promoted_from(&self, environment: &str) -> Option<&str> {
        let at = self.environments.iter().position(|it| it == environment)?;
        Some(self.environments.get(at.checked_sub(1)?)?.as_str())
    }

    /// The program that messages go through, where there is one.
    #[must_use]
    pub fn copies(&self) -> bool {
        self.steps.iter().any(|it| matches!(it.does, Does::Copy { .. }))
    }

    /// What becomes of subjects on the way.
    #[must_use]
    pub fn mapping(&self) -> &[Mapping] {
        let mapping = self.steps.iter().find_map(|it| {
            let (Does::Source { mapping } | Does::Copy { mapping, .. }) = &it.does else {
                return None;
            };
            Some(mapping.as_slice())
        });
        mapping.unwrap_or_default()
    }

    /// The first step that nothing takes back.
    #[must_use]
    pub fn point_of_no_return(&self) -> Option<&Step> {
        let ends = |it: &&Step| {
            // What a program made of a message cannot be made a message of `from` again.
            let leaves = self.copies() && matches!(it.does, Does::Bind);
            leaves || matches!(it.does, Does::Retire(_))
        };
        self.steps.iter().find(ends)
    }
}
