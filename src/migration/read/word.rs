//! The words of a migration: the keys of `[migration]`, and the steps with what each takes, where it
//! has a place and what a rollback does about it.

use crate::{
    migration::Strategy,
    schema::{Choice, Field, Kind},
    spec::value::Key,
};

/// The keys of `[migration]`.
pub(crate) const MIGRATION: &[Key] = &[
    ("reason", Kind::Text, "Why there is a migration; it is required."),
    ("strategy", Kind::OneOf(STRATEGIES), "How messages get there; left out where none are moved."),
    ("from", Kind::Text, "The stream that messages come from, by its name on the server."),
    ("to", Kind::Text, "The stream that they go to."),
    (
        "environments",
        Kind::List(&Kind::Text),
        "The environments it is for, each once it is done in the one before; left out, all of them.",
    ),
    ("requires", Kind::Set(&Kind::Text), "Versions that have to be done before."),
];

/// The keys of every step, whatever it does.
pub(crate) const STEP: &[Key] = &[
    ("id", Kind::Text, "Its name within the migration: lower-case letters, digits, `-` and `_`."),
    ("do", Kind::OneOf(&CHOICES), "What it does: one of the words below."),
];

/// A word that a step can do.
#[derive(Debug)]
pub(crate) struct Word {
    /// The word.
    pub(crate) name: &'static str,
    /// What it does, in a sentence.
    pub(crate) doc: &'static str,
    /// What it takes beside `id` and `do`.
    pub(crate) keys: &'static [Key],
    /// The keys among them that it cannot do without.
    pub(crate) needs: &'static [&'static str],
    /// The strategies in which it has a place.
    pub(crate) of: &'static [Option<Strategy>],
    /// What a rollback does about it.
    pub(crate) back: &'static str,
}

const NEW: Option<Strategy> = Some(Strategy::NewSubjects);
const SOURCE: Option<Strategy> = Some(Strategy::SameSubjectsSource);
const MIRROR: Option<Strategy> = Some(Strategy::SameSubjectsMirror);
const PARALLEL: Option<Strategy> = Some(Strategy::Parallel);

const COPIES: &[Option<Strategy>] = &[NEW, SOURCE, MIRROR];
const ALL: &[Option<Strategy>] = &[NEW, SOURCE, MIRROR, PARALLEL, None];

const NOTHING: &str = "Nothing: it changed nothing.";
const DELETED: &str = "Deletes `to`, once `from` holds all that it has taken of its own.";
const UNBOUND: &str = "Has `from` take over what `to` has taken since, proves it, and gives `from` its \
                       subjects back. Irreversible behind a program: what that made of a message is \
                       no message of `from`.";

/// Every word, in the order in which a migration is likely to have them.
pub(crate) const WORDS: &[Word] = &[
    Word::new(
        "create",
        &[PARALLEL],
        "Deletes `to`, which takes consent where it holds messages: none of them is in `from`.",
        "Makes `to` as the spec declares it, empty.",
    ),
    Word::new(
        "source",
        &[NEW, SOURCE],
        DELETED,
        "Makes `to` as a copy that follows `from` and takes nothing of its own yet.",
    )
    .with(COPY, &[]),
    Word::new(
        "mirror",
        &[MIRROR],
        DELETED,
        "Makes `to` a mirror of `from`, which keeps sequences and time stamps.",
    ),
    Word::new("wait", COPIES, NOTHING, "Waits until `to` has come to where `from` stands.")
        .with(WAIT, &[]),
    Word::new(
        "verify",
        COPIES,
        NOTHING,
        "Proves that `to` holds what `from` holds, by content and in order.",
    ),
    Word::new("gate", ALL, NOTHING, "Lets nobody pass without approval.").with(GATE, &[]),
    Word::new(
        "park",
        COPIES,
        "Gives `from` its subjects back.",
        "Takes the subjects of `from` away: publishers are refused until `to` has them.",
    ),
    Word::new(
        "bind",
        &[NEW, SOURCE],
        UNBOUND,
        "Gives `to` the subjects that the spec declares for it.",
    ),
    Word::new(
        "promote",
        &[MIRROR],
        UNBOUND,
        "Makes a stream of the mirror, with the subjects that the spec declares for it.",
    ),
    Word::new(
        "reverse",
        &[SOURCE, MIRROR],
        "`from` goes on following `to` until it holds all of it, and then no longer.",
        "Has `from` follow `to`, for applications that still read there.",
    ),
    Word::new(
        "consumers",
        COPIES,
        "Has those of `from` go on where those of `to` stand, if that is further; these go with `to`.",
        "Makes the consumers of `to`, each where its namesake on `from` stands.",
    )
    .with(CONSUMERS, &[]),
    Word::new(
        "soak",
        ALL,
        NOTHING,
        "Waits for days: each run of `jsplan migrate apply` looks once and ends where it is not over.",
    )
    .with(SOAK, &[]),
    Word::new(
        "retire",
        ALL,
        "Irreversible: behind it nothing holds both streams together.",
        "Ends `from`, and its bond with `to`.",
    )
    .with(RETIRE, &["mode"]),
    Word::new("assert", ALL, NOTHING, "Ends the run where something is not so.").with(ASSERT, &[]),
    Word::new("note", ALL, NOTHING, "Says something to whoever carries the migration out.")
        .with(NOTE, &["text"]),
];

const COPY: &[Key] = &[
    (
        "mapping",
        Kind::List(&Kind::Table(MAPPING)),
        "Subjects, and what becomes of them; left out, all are copied as they are.",
    ),
    (
        "exec",
        Kind::List(&Kind::Text),
        "A program and its arguments that messages go through: a JSON line in, and one out.",
    ),
    ("dead_letters", Kind::Text, "The stream that takes what the program rejects."),
];

const MAPPING: &[Field] = &[
    Field::new("src", Kind::Subject, "Subjects of `from`.").required(),
    Field::new("dest", Kind::Subject, "What they become in `to`.").required(),
];

const WAIT: &[Key] = &[("within", Kind::Duration, "For how long at most; left out, \"10m\".")];

const GATE: &[Key] = &[(
    "approve",
    Kind::Set(&Kind::Text),
    "The environments in which somebody has to approve; left out, it passes everywhere.",
)];

const CONSUMERS: &[Key] = &[(
    "only",
    Kind::Set(&Kind::Text),
    "Only these, by their names on the server; left out, all that the spec declares on `to`.",
)];

const SOAK: &[Key] = &[
    ("at_least", Kind::Duration, "At least so long since the step was begun."),
    ("idle", Kind::Duration, "And so long in which nobody has used `from`."),
];

const RETIRE: &[Key] = &[(
    "mode",
    Kind::OneOf(&[Choice::new("seal"), Choice::new("delete"), Choice::new("keep")]),
    "`seal`: it can be read, and takes nothing more. `delete`: it goes with its messages. `keep`: it \
     stays as it is.",
)];

const ASSERT: &[Key] = &[
    (
        "exists",
        Kind::Set(&Kind::Text),
        "Addresses that must exist, such as `stream.A` or `consumer.A.B`.",
    ),
    ("empty", Kind::Set(&Kind::Text), "Addresses of streams that must hold no messages."),
];

const NOTE: &[Key] = &[("text", Kind::Text, "What it says.")];

const STRATEGIES: &[Choice] = &[
    Choice::new("new-subjects"),
    Choice::new("same-subjects-source"),
    Choice::new("same-subjects-mirror"),
    Choice::new("parallel"),
];

/// The words as the values of `do`.
const CHOICES: [Choice; WORDS.len()] = {
    let mut choices = [const { Choice::new("") }; WORDS.len()];
    let mut at = 0;
    while at < WORDS.len() {
        choices[at] = Choice::new(WORDS[at].name);
        at += 1;
    }
    choices
};

impl Word {
    const fn new(
        name: &'static str,
        of: &'static [Option<Strategy>],
        back: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, doc, keys: &[], needs: &[], of, back }
    }

    const fn with(mut self, keys: &'static [Key], needs: &'static [&'static str]) -> Self {
        self.keys = keys;
        self.needs = needs;
        self
    }

    /// The word of a name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        WORDS.iter().find(|it| it.name == name)
    }
}
