//! What jsplan last applied to an environment and read back: the record, its format and version.
//!
//! The text of a state file carries the digest of everything above it. A file that is empty, cut
//! or changed is corrupt, which is never the same as there being no state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    address::Address,
    config::{Config, sha256},
};

/// The version of the format this program writes.
pub const VERSION: u32 = 1;

/// The record of one environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The format's version.
    pub version: u32,
    /// The program that wrote it.
    pub jsplan_version: String,
    /// Grows by one with every change of meaning.
    pub serial: u64,
    /// Given once, at creation: states of different lineages never mix.
    pub lineage: String,
    /// The environment it belongs to.
    pub environment: String,
    /// The account and cluster it was applied to, once it was.
    pub target: Option<Target>,
    /// The last apply, once there was one.
    pub last_apply: Option<LastApply>,
    /// What jsplan owns.
    pub resources: BTreeMap<Address, Recorded>,
}

/// Where a state was applied. `None` where the server did not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The account.
    pub account: Option<String>,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// The JetStream domain.
    pub domain: Option<String>,
}

/// When, by whom and from which plan the state last changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastApply {
    /// RFC 3339, UTC.
    pub at: String,
    /// `user@host`.
    pub by: String,
    /// The plan's id.
    pub plan: String,
}

/// One owned resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// When the server created it: its identity.
    pub created: String,
    /// Whether jsplan made it or took it over.
    pub origin: Origin,
    /// `prevent_destroy` as the spec wrote it; it outlives the spec's block.
    pub prevent_destroy: Option<bool>,
    /// Digest of the declared configuration it was applied from.
    pub spec_sha256: String,
    /// Digest of the server's own bytes of the configuration: equal bytes need no comparison.
    pub live_sha256: String,
    /// The whole configuration as it was read back.
    pub config: Box<RawValue>,
}

/// How a resource came to be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// By an apply that made it.
    Created,
    /// It was there and was taken over.
    Adopted,
}

/// Why a text is no state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in it at all.
    #[error("the state is empty (0 bytes), which is damage and not an empty state")]
    Empty,
    /// Not the JSON it should be.
    #[error("the state is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// No digest at its end: it was cut.
    #[error("the state is damaged: it does not end with its digest")]
    Cut,
    /// The digest is not that of the text.
    #[error("the state is damaged: its digest does not match its text")]
    Digest,
    /// Written by a later program.
    #[error("the state has format version {0}, and this jsplan knows up to {VERSION}")]
    TooNew(u32),
    /// A configuration that is not a JSON object.
    #[error("the state is damaged: the configuration of {0} is not an object")]
    Config(Address),
}

/// What separates the body from the digest at the end of the text.
const SEAL: &str = ",\n  \"sha256\": \"";

impl Recorded {
    /// The configuration that was read back, parsed.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::parse(self.config.get()).expect("State::read admits only objects")
    }
}

impl State {
    /// The state of an environment that was never applied.
    #[must_use]
    pub fn new(environment: &str, lineage: String) -> Self {
        Self {
            version: VERSION,
            jsplan_version: env!("CARGO_PKG_VERSION").to_owned(),
            serial: 0,
            lineage,
            environment: environment.to_owned(),
            target: None,
            last_apply: None,
            resources: BTreeMap::new(),
        }
    }

    /// Reads the text of a state file; whatever is not exactly what was written is an error.
    pub fn read(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let (body, seal) = text.rsplit_once(SEAL).ok_or(Error::Cut)?;
        let digest = seal.strip_suffix("\"\n}\n").ok_or(Error::Cut)?;
        if sha256(body) != digest {
            return Err(Error::Digest);
        }
        let Version { version } = serde_json::from_str(text)?;
        if version > VERSION {
            return Err(Error::TooNew(version));
        }
        let state: Self = serde_json::from_str(text)?;
        for (address, recorded) in &state.resources {
            if !recorded.config.get().starts_with('{') {
                return Err(Error::Config(address.clone()));
            }
        }
        Ok(state)
    }

    /// The text of the state file: two-space JSON, keys sorted inside resources, its digest last.
    #[must_use]
    pub fn write(&self) -> String {
        // Through a `Value`, so that configurations are indented too and every key is sorted.
        let value = serde_json::to_value(self).expect("a state is always a JSON value");
        let mut text = serde_json::to_string_pretty(&value).expect("a value is always written");
        text.truncate(text.len() - "\n}".len());
        let digest = sha256(&text);
        text + SEAL + &digest + "\"\n}\n"
    }
}
