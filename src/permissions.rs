//! What a user of the server must be allowed so that jsplan can do one part of its work, and no more.
//!
//! The rows below are the subjects that jsplan sends on. A test collects those of whole runs and
//! finds each in the list of its role, and another finds that no line can be left out.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{
    address::Address,
    position,
    schema::bucket::Bucket,
    spec::{Desired, Environment, Keeping},
    subject,
};

/// A part of the work, for which there is a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Plans and imports.
    Planner,
    /// Makes and changes what is planned.
    Applier,
    /// Deletes and makes again as well.
    Destroyer,
    /// Compares on a schedule.
    Drift,
    /// Plans, and reads messages so that it can count those a change would cost.
    Verifier,
    /// Makes, changes and deletes, and moves messages from one stream to another.
    Migrator,
}

/// What the list of an environment depends on beside its spec.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// What API subjects begin with, in each form in which the server may ask for it.
    pub prefixes: Vec<String>,
    /// What reply subjects begin with.
    pub inbox: String,
    /// Streams whose messages may be read; a verifier may read those of the spec where it is empty.
    pub streams: BTreeSet<String>,
    /// What the state owns: it may be deleted though the spec no longer names it.
    pub owned: BTreeSet<Address>,
    /// Whether names stand where otherwise wildcards would.
    pub only_listed: bool,
    /// What of an environment is on the server.
    pub part: Part,
}

/// What of an environment is on a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// Its streams and consumers.
    #[default]
    Resources,
    /// Its state, in a bucket.
    State,
    /// All of it.
    Both,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// To publish or to subscribe.
    pub way: Way,
    /// The subject.
    pub subject: String,
    /// What jsplan needs it for.
    pub why: &'static str,
}

/// What a user does with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It sends.
    Publish,
    /// It receives.
    Subscribe,
}

/// A word that names no role.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no role: there are planner, applier, destroyer, drift, verifier and migrator")]
pub struct UnknownRole(String);

/// A request of jsplan, and who sends it.
pub(crate) struct Row {
    pub(crate) roles: &'static [Role],
    pub(crate) subject: &'static str,
    pub(crate) of: Of,
    pub(crate) why: &'static str,
}

/// What the rest of a subject names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Nothing, and it is not behind the prefix of the API.
    World,
    /// Nothing.
    Account,
    /// Any stream of the account, whoever owns it.
    AnyStream,
    /// A stream of the environment.
    Stream,
    /// A consumer of the environment, or one that holds its position.
    Consumer,
    /// Any consumer of a stream whose messages are read.
    Read,
    /// A stream whose messages are read.
    Message,
    /// The stream behind the bucket of the state.
    State,
    /// The keys of the environment in that bucket.
    Keys,
    /// What the copies of a program are published on.
    Copies,
    /// What the streams of the environment take.
    Taken,
}

const ALL: &[Role] = &Role::ALL;
const WRITERS: &[Role] = &[Role::Applier, Role::Destroyer, Role::Migrator];
const DESTROYER: &[Role] = &[Role::Destroyer, Role::Migrator];
const VERIFIER: &[Role] = &[Role::Verifier, Role::Migrator];
const MIGRATOR: &[Role] = &[Role::Migrator];

/// Every request that jsplan sends.
pub(crate) const ROWS: &[Row] = &[
    row(ALL, "$SYS.REQ.USER.INFO", Of::World, "tells which account this is"),
    row(ALL, "INFO", Of::Account, "tells the limits of the account, and what is left of them"),
    row(ALL, "STREAM.NAMES", Of::Account, "tells which streams there are"),
    row(ALL, "STREAM.LIST", Of::Account, "reads the streams, those of others too"),
    row(ALL, "STREAM.INFO", Of::Stream, "confirms that a stream is missing, and follows a move"),
    row(ALL, "CONSUMER.LIST", Of::AnyStream, "reads the consumers, those of others too"),
    row(ALL, "CONSUMER.INFO", Of::Consumer, "confirms that a consumer is missing"),
    row(ALL, "STREAM.MSG.GET", Of::State, "reads the state"),
    row(ALL, "STREAM.INFO", Of::State, "finds the bucket of the state, and a journal in it"),
    row(WRITERS, "STREAM.CREATE", Of::Stream, "makes a stream"),
    row(WRITERS, "STREAM.UPDATE", Of::Stream, "changes a stream"),
    row(WRITERS, "CONSUMER.CREATE", Of::Consumer, "makes a consumer, and changes it"),
    row(WRITERS, "CONSUMER.PAUSE", Of::Consumer, "pauses a consumer, and lets it go on"),
    row(DESTROYER, "STREAM.DELETE", Of::Stream, "deletes a stream with its messages"),
    row(DESTROYER, "CONSUMER.DELETE", Of::Consumer, "deletes a consumer, also to make it again"),
    row(WRITERS, "STREAM.CREATE", Of::State, "makes the bucket of the state"),
    row(WRITERS, "$KV", Of::Keys, "keeps the state, its journal and its lock"),
    row(VERIFIER, "CONSUMER.CREATE", Of::Read, "makes a consumer that counts, gone when it has"),
    row(VERIFIER, "CONSUMER.MSG.NEXT", Of::Read, "reads the headers of messages"),
    row(VERIFIER, "CONSUMER.DELETE", Of::Read, "deletes the consumer that counted"),
    row(VERIFIER, "STREAM.MSG.GET", Of::Message, "reads a message"),
    row(MIGRATOR, "_jsplan.copy", Of::Copies, "stores what a program has made of a message"),
    row(MIGRATOR, "", Of::Taken, "keeps what a program rejects, and brings back what was sent"),
];

const fn row(roles: &'static [Role], subject: &'static str, of: Of, why: &'static str) -> Row {
    Row { roles, subject, of, why }
}

/// A subject as a table shows it: what it names is a wildcard, or a word in capitals.
pub(crate) fn shown(row: &Row) -> String {
    let Row { subject, of, .. } = row;
    match of {
        Of::World => (*subject).to_owned(),
        Of::Account => format!("$JS.API.{subject}"),
        Of::AnyStream | Of::Stream => format!("$JS.API.{subject}.*"),
        Of::Consumer => format!("$JS.API.{subject}.*.*"),
        Of::Read => format!("$JS.API.{subject}.STREAM.*"),
        Of::Message => format!("$JS.API.{subject}.STREAM"),
        Of::State => format!("$JS.API.{subject}.KV_BUCKET"),
        Of::Keys => format!("{subject}.BUCKET.ENVIRONMENT.>"),
        Of::Copies => format!("{subject}.STREAM.>"),
        Of::Taken => "SUBJECT".to_owned(),
    }
}

/// What a user of this role must be allowed, and nothing else.
#[must_use]
pub fn lines(desired: &Desired, ground: &Ground, role: Role) -> Vec<Line> {
    let names: BTreeSet<&Address> = desired.resources.keys().chain(&ground.owned).collect();
    let read = |of: Of| matches!(of, Of::Read | Of::Message) && !ground.streams.is_empty();
    let rows = ROWS.iter().filter(|it| it.roles.contains(&role) || read(it.of));
    let rows = rows.filter(|it| ground.part.has(it.of));
    let mut lines: Vec<Line> = Vec::new();
    for Row { subject, of, why, .. } in rows {
        let subjects = subjects(subject, *of, desired, ground, &names);
        let behind = |prefix: &String, it: &String| match (of, prefix.as_str()) {
            // Keys are published as they are, and behind the prefix of another domain.
            (Of::World, _) | (Of::Keys | Of::Copies | Of::Taken, "$JS.API") => it.clone(),
            (_, prefix) => format!("{prefix}.{it}"),
        };
        let under = |prefix| subjects.iter().map(move |it| behind(prefix, it));
        let full: Vec<String> = ground.prefixes.iter().flat_map(under).collect();
        // What a wildcard stands for already needs no line of its own.
        let new: Vec<String> = full
            .into_iter()
            .filter(|it| !lines.iter().any(|line| subject::covers(&line.subject, it)))
            .collect();
        lines.extend(new.into_iter().map(|subject| Line { way: Way::Publish, subject, why }));
    }
    let why = "receives the answers";
    let subject = format!("{}.>", ground.inbox);
    lines.push(Line { way: Way::Subscribe, subject, why });
    lines
}

/// The role for which there is a request, of those that are allowed the least.
#[must_use]
pub(crate) fn role_for(subject: &str) -> Role {
    let sent = |it: &&Row| {
        if it.subject.is_empty() {
            return false;
        }
        let at = subject.find(it.subject).map(|at| &subject[at + it.subject.len()..]);
        // Requests about the bucket of the state are those about other streams, too.
        let fits = |rest: &str| it.of != Of::State || rest.starts_with(".KV_");
        at.is_some_and(|rest| (rest.is_empty() || rest.starts_with('.')) && fits(rest))
    };
    // What is no request is a message that is moved.
    let other = if subject.starts_with('$') { Role::Planner } else { Role::Migrator };
    ROWS.iter().find(sent).map_or(other, |it| it.roles[0])
}

/// The prefixes under which a server may ask whether a user may send.
///
/// A server of the domain maps `$JS.DOMAIN.API` to `$JS.API` before it asks (measured on 2.15.1); one
/// that leads there over a leaf node does not.
#[must_use]
pub(crate) fn prefixes(prefix: &str) -> Vec<String> {
    match prefix.split('.').collect::<Vec<_>>().as_slice() {
        ["$JS", _, "API"] => vec![prefix.to_owned(), "$JS.API".to_owned()],
        _ => vec![prefix.to_owned()],
    }
}

/// The subjects of one row, behind a prefix and a dot.
fn subjects(
    subject: &str,
    of: Of,
    desired: &Desired,
    ground: &Ground,
    names: &BTreeSet<&Address>,
) -> BTreeSet<String> {
    let Environment { name: environment, keeping, .. } = &desired.environment;
    let bucket = match keeping {
        Keeping::File => None,
        Keeping::Kv(kept) => Some(&kept.bucket),
    };
    let listed = ground.only_listed;
    let streams = || names.iter().map(|it| it.stream_name());
    let consumers = || names.iter().copied().filter(|it| !it.is_stream());
    let read = || match ground.streams.is_empty() {
        true => streams().collect::<BTreeSet<&str>>(),
        false => ground.streams.iter().map(String::as_str).collect(),
    };
    match of {
        Of::World | Of::Account => [subject.to_owned()].into(),
        Of::AnyStream => [format!("{subject}.*")].into(),
        Of::Stream if listed => streams().map(|it| format!("{subject}.{it}")).collect(),
        Of::Stream => [format!("{subject}.*")].into(),
        Of::Consumer if listed => consumers()
            .flat_map(|it| [it.clone(), position::holder(it)])
            .map(|it| format!("{subject}.{}.{}", it.stream_name(), it.name()))
            .collect(),
        Of::Consumer => [format!("{subject}.*.*")].into(),
        Of::Read => read().into_iter().map(|it| format!("{subject}.{it}.*")).collect(),
        Of::State => {
            bucket.map(|it| format!("{subject}.{}", Bucket::Kv.stream(it))).into_iter().collect()
        }
        Of::Keys => {
            bucket.map(|it| format!("{subject}.{it}.{environment}.>")).into_iter().collect()
        }
        Of::Message => read().into_iter().map(|it| format!("{subject}.{it}")).collect(),
        Of::Copies => streams().map(|it| format!("{subject}.{it}.>")).collect(),
        Of::Taken => taken(desired),
    }
}

/// What the declared streams take.
fn taken(desired: &Desired) -> BTreeSet<String> {
    let streams = desired.resources.iter().filter(|it| it.0.is_stream());
    streams.flat_map(|(_, it)| it.config.texts("subjects")).map(ToOwned::to_owned).collect()
}

impl Part {
    fn has(self, of: Of) -> bool {
        match of {
            Of::State | Of::Keys => self != Self::Resources,
            Of::World | Of::Account | Of::AnyStream | Of::Stream | Of::Consumer => {
                self != Self::State
            }
            Of::Read | Of::Message | Of::Copies | Of::Taken => self != Self::State,
        }
    }
}

impl Role {
    /// Every role, those that are allowed less before those that are allowed more.
    pub const ALL: [Self; 6] = [
        Self::Planner,
        Self::Applier,
        Self::Destroyer,
        Self::Drift,
        Self::Verifier,
        Self::Migrator,
    ];

    /// What its user does, in a few words.
    #[must_use]
    pub fn does(self) -> &'static str {
        match self {
            Self::Planner => "reads all configurations and no message, and changes nothing",
            Self::Applier => "makes and changes streams and consumers, and deletes nothing",
            Self::Destroyer => "does what the applier does, and deletes",
            Self::Drift => "reads all configurations and no message, on a schedule",
            Self::Verifier => "does what the planner does, and reads messages to count them",
            Self::Migrator => "does what the destroyer does, and moves messages",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planner => "planner",
            Self::Applier => "applier",
            Self::Destroyer => "destroyer",
            Self::Drift => "drift",
            Self::Verifier => "verifier",
            Self::Migrator => "migrator",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|it| it.to_string() == text)
            .ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
