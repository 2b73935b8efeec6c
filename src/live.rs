//! What was observed on a server, and when.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::{
    address::Address,
    config::{Config, sha256},
    forecast::{Question, Tally},
    schema::Release,
};

/// Everything that one reading of an account found.
#[derive(Debug)]
pub struct Live {
    /// Who answered.
    pub server: Server,
    /// When, by this machine's clock, in RFC 3339.
    pub at: String,
    /// What exists.
    pub resources: BTreeMap<Address, Observed>,
    /// What could not be read, and why: neither there nor absent.
    pub unknown: BTreeMap<Address, String>,
    /// What the account may hold, and what of it is taken.
    pub account: Account,
    /// What was counted because a plan asked for it.
    pub tallies: BTreeMap<Question, Tally>,
}

/// What an account may hold, as far as the server tells. Limits of the server itself, and those of
/// tiers, are told to nobody or not in this form: the server has the last word on them.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Most streams.
    pub max_streams: Option<u64>,
    /// Most consumers of each stream; the server does not add them up (all releases).
    pub max_consumers: Option<u64>,
    /// Most messages that a consumer may have in flight.
    pub max_ack_pending: Option<i64>,
    /// Whether every stream must have a `max_bytes`.
    pub max_bytes_required: bool,
    /// Whether there are limits for each number of replicas, of which nothing is said here.
    pub tiered: bool,
    /// Streams in memory.
    pub memory: Room,
    /// Streams on file.
    pub file: Room,
    /// Servers that the cluster names to its clients; 0 where it names none, or there is none.
    pub servers: usize,
}

/// The bytes that streams of one kind of storage may reserve by their `max_bytes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// By all of them together.
    pub most: Option<i64>,
    /// By one of them.
    pub each: Option<i64>,
    /// What is reserved already, every replica counted.
    pub reserved: i64,
}

/// The server and the account behind a connection.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its release.
    pub release: Release,
    /// Its release in its own words.
    pub version: String,
    /// The level of the JetStream API; 0 before 2.11.
    pub api_level: u32,
    /// The cluster's name, where there is one.
    pub cluster: Option<String>,
    /// The JetStream domain, where there is one.
    pub domain: Option<String>,
    /// The account, where the server says it.
    pub account: Option<String>,
}

/// One live stream or consumer.
#[derive(Debug)]
pub struct Observed {
    /// The configuration in the server's own bytes.
    pub raw: Box<RawValue>,
    /// Digest of those bytes: equal bytes are an equal configuration.
    pub sha256: String,
    /// When it was created, which is its identity: a name can be used again.
    pub created: String,
    /// What it holds or has to deliver.
    pub facts: Facts,
}

/// What a resource holds, beyond its configuration.
#[derive(Debug, Clone, Copy)]
pub enum Facts {
    /// Of a stream.
    Stream {
        /// Messages stored.
        messages: u64,
        /// Their bytes.
        bytes: u64,
        /// Consumers bound to it.
        consumers: u64,
    },
    /// Of a consumer.
    Consumer {
        /// Messages it has yet to deliver.
        pending: u64,
        /// Messages delivered and not acknowledged.
        ack_pending: u64,
        /// Stream sequence up to which everything is acknowledged.
        ack_floor: u64,
        /// Stream sequence of the last delivery; before the first, that before the start.
        delivered: u64,
        /// Deliveries since the floor, repeated ones counted each time.
        deliveries: u64,
        /// Whether it goes away on its own: clients make such consumers as they run.
        ephemeral: bool,
    },
}

impl Live {
    /// Why nothing is known of a resource, where that is so. What reads a stream that could not be
    /// read is in doubt with it.
    #[must_use]
    pub fn doubt(&self, address: &Address) -> Option<&str> {
        if self.unknown.is_empty() {
            return None;
        }
        let stream = || self.unknown.get(&Address::stream(address.stream_name()));
        self.unknown.get(address).or_else(stream).map(String::as_str)
    }
}

impl Observed {
    /// A resource as a reply describes it; `raw` is a JSON object.
    #[must_use]
    pub fn new(raw: Box<RawValue>, created: String, facts: Facts) -> Self {
        Self { sha256: sha256(raw.get()), raw, created, facts }
    }

    /// The configuration, parsed; the reader has seen to it that it is an object.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::parse(self.raw.get()).expect("the reader admits only objects")
    }

    /// Whether it is a consumer that belongs to a running client, and to nobody's spec.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        matches!(self.facts, Facts::Consumer { ephemeral: true, .. })
    }

    /// Messages stored, for a stream; 0 for a consumer.
    #[must_use]
    pub fn messages(&self) -> u64 {
        match self.facts {
            Facts::Stream { messages, .. } => messages,
            Facts::Consumer { .. } => 0,
        }
    }
}
