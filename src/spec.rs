//! What a person wrote, layered and checked: the desired side of a plan.
//!
//! `read` walks a file, `resource` knows what each kind of resource takes, `value` turns TOML into
//! the wire's values against the rows, `connection` knows `[server]`, `environment` what is said of
//! the environment itself, `keeping` `[state]`, `layer` lays an environment over its base, `check`
//! judges what no single row can, and `policy` what the environment asks of itself. After that a
//! [`Desired`] is right, and nobody asks again.

pub(crate) mod check;
pub(crate) mod connection;
pub mod describe;
pub(crate) mod environment;
pub mod format;
pub(crate) mod keeping;
mod layer;
pub(crate) mod policy;
pub(crate) mod read;
pub(crate) mod resource;
pub(crate) mod value;
pub(crate) mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Place, Severity, Sources},
    schema::bucket::Bucket,
};

/// One environment, whole.
#[derive(Debug, Clone)]
pub struct Desired {
    /// What is said of the environment itself.
    pub environment: Environment,
    /// Every resource it declares.
    pub resources: BTreeMap<Address, Declared>,
    /// Migrations on the way there, as [`crate::migration`] puts them.
    pub moves: Vec<Move>,
}

/// A migration that is to be begun or is under way, and what it does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The version.
    pub version: String,
    /// The name.
    pub name: String,
    /// Digest of what its file means.
    pub meaning: String,
    /// The stream that messages come from, if there is one.
    pub from: Option<String>,
    /// How many steps are done, and of how many.
    pub done: (usize, usize),
    /// The steps that the next run does, each with what it does.
    pub next: Vec<(String, String)>,
    /// What is waited for behind them; `None` where it comes to its end.
    pub until: Option<String>,
}

/// What an environment says of itself, beside its resources.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name: that of its file.
    pub name: String,
    /// Whether an apply asks for the name to be typed.
    pub protected: bool,
    /// The keys of which one has to have signed a plan; empty asks for none.
    pub require_signed_by: Vec<String>,
    /// How its server is reached.
    pub server: Connection,
    /// What its server must turn out to be.
    pub expect: Expect,
    /// Where its state is kept.
    pub keeping: Keeping,
}

/// Where it is kept what was last applied.
#[derive(Debug, Clone)]
pub enum Keeping {
    /// In a file of the project.
    File,
    /// In a key-value bucket.
    Kv(Kept),
}

/// A bucket that keeps a state.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name.
    pub bucket: String,
    /// How many copies there are to be; `None` for as many as there can be.
    pub replicas: Option<u64>,
    /// How its server is reached, where it is not the environment's own.
    pub server: Option<Box<Connection>>,
}

/// How a server is reached. Credentials are references, never the secrets themselves; only an
/// address of the command line may hold one, and `Debug` leaves it out.
#[derive(Clone, Default)]
pub struct Connection {
    /// Servers of one cluster; empty where a context names them.
    pub urls: Vec<String>,
    /// A context of the `nats` CLI.
    pub context: Option<String>,
    /// A user name.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<Secret>,
    /// Where the token is.
    pub token: Option<Secret>,
    /// Where the credentials file, or its text, is.
    pub creds: Option<Secret>,
    /// Where the nkey seed is.
    pub nkey: Option<Secret>,
    /// TLS: path of the certificate authority's certificate.
    pub tls_ca: Option<String>,
    /// TLS: path of the client's certificate.
    pub tls_cert: Option<String>,
    /// TLS: path of the client's key.
    pub tls_key: Option<String>,
    /// TLS before the server's greeting.
    pub tls_first: bool,
    /// JetStream domain.
    pub domain: Option<String>,
    /// JetStream API prefix, where it is not `$JS.API` or that of the domain.
    pub api_prefix: Option<String>,
    /// Prefix of reply subjects.
    pub inbox_prefix: Option<String>,
    /// Longest wait for one answer, in nanoseconds.
    pub timeout: Option<i64>,
}

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`
    File(String),
}

impl Secret {
    /// Reads a reference; `None` where the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = |it: &&str| !it.is_empty() && !it.contains(['=', '\n', '\0']);
        if let Some(variable) = text.strip_prefix("env:").filter(name) {
            return Some(Self::Env(variable.to_owned()));
        }
        text.strip_prefix("file:").filter(name).map(|it| Self::File(it.to_owned()))
    }
}

/// What a server must turn out to be; `None` accepts any.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The JetStream domain.
    pub domain: Option<String>,
}

/// One declared resource.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The kind of bucket it was written as, under `[kv]` or `[object]`.
    pub bucket: Option<Bucket>,
    /// The fields that were written, as wire values, with the names from its key; of a bucket those
    /// of its stream.
    pub config: Config,
    /// Where each field was written: the layer that won. A field of a bucket's stream stands where
    /// the word for it does.
    pub places: BTreeMap<&'static str, Place>,
    /// Where the resource was written.
    pub place: Place,
    /// Whether jsplan refuses to destroy it; left out, what holds messages is protected.
    pub prevent_destroy: Option<bool>,
    /// Fields left to somebody else, and of a bucket those that clients differ in.
    pub ignore: BTreeSet<&'static str>,
    /// Digest of all of the above that matters to the server or the state.
    pub sha256: String,
}

impl Move {
    /// Whether the next run does something, rather than look or wait.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.next.is_empty()
    }
}

impl Keeping {
    /// Whether a resource is part of what keeps the state: nobody's to change by a plan.
    #[must_use]
    pub fn has(&self, address: &Address) -> bool {
        match self {
            Self::File => false,
            Self::Kv(kept) => address.stream_name() == Bucket::Kv.stream(&kept.bucket),
        }
    }
}

/// What reading an environment gave: a [`Desired`] unless a finding is an error.
#[derive(Debug)]
pub struct Loaded {
    /// The environment, where nothing is wrong with it.
    pub desired: Option<Desired>,
    /// Everything there is to remark.
    pub findings: Vec<Finding>,
    /// The files, for the places in findings.
    pub sources: Sources,
}

/// Reads an environment: `text_of` gives the text of a file by its path, `extends` followed.
///
/// `path` is that of the environment's own file; the environment is named for it. Every mistake
/// in every layer is reported, each once.
pub fn load(path: &str, text_of: impl Fn(&str) -> Result<String, String>) -> Loaded {
    let mut sources = Sources::default();
    let mut findings = Vec::new();
    let layers = read::layers(path, text_of, &mut sources, &mut findings);
    // What is missing from half a spec would only be guessed at, so the whole is judged once every
    // file could be read.
    let whole = !findings.iter().any(|it| unreadable(it.code));
    let desired = whole.then(|| {
        let (desired, policy, stances) = layer::merge(path, layers, &sources, &mut findings);
        check::check(&desired, &sources, &mut findings);
        policy::judge(&policy, &desired, &stances, &mut findings);
        desired
    });
    // A mistake in a block that lies under or over many resources shows in each of them.
    findings.sort_by(|a, b| (a.place, a.code, &a.message).cmp(&(b.place, b.code, &b.message)));
    findings.dedup_by(|a, b| (a.place, a.code, &a.message) == (b.place, b.code, &b.message));
    let refused = findings.iter().any(|it| it.severity == Severity::Error);
    Loaded { desired: desired.filter(|_| !refused), findings, sources }
}

/// Whether an environment may be called so: its name is part of the names of files, of clients and
/// of keys.
pub(crate) fn is_environment(name: &str) -> bool {
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(fits)
        && name.bytes().all(|it| fits(it) || it == b'_' || it == b'-')
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(|it| connection::without_secrets(it)).collect();
        let Self { context, user, domain, api_prefix, inbox_prefix, .. } = self;
        f.debug_struct("Connection")
            .field("urls", &urls)
            .field("context", context)
            .field("user", user)
            .field("domain", domain)
            .field("api_prefix", api_prefix)
            .field("inbox_prefix", inbox_prefix)
            .finish_non_exhaustive()
    }
}

fn unreadable(code: Code) -> bool {
    [Code::Syntax, Code::File, Code::ExtendsCycle].contains(&code)
}
