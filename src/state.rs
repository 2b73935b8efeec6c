//! What jsplan last applied to an environment and read back: the record, its format and version.
//!
//! The text of a state file carries the digest of everything above it. A file that is empty, cut
//! or changed is corrupt, which is never the same as there being no state.

pub mod journal;
pub mod ledger;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::{journal::CutShort, ledger::Ledger};
use crate::{address::Address, config::Config, forecast::Amount, live::Live, seal};

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
    /// Given once, at the first save: states of different lineages never mix. Empty before.
    pub lineage: String,
    /// The environment it belongs to.
    pub environment: String,
    /// The account and cluster it was applied to, once it was.
    pub target: Option<Target>,
    /// The last apply, once there was one.
    pub last_apply: Option<LastApply>,
    /// What jsplan owns.
    pub resources: BTreeMap<Address, Recorded>,
    /// What was done of each migration, by its version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<String, Ledger>,
    /// The apply that was found in the journal beside it, and is taken in; no part of its text.
    #[serde(skip)]
    pub cut_short: Option<CutShort>,
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

/// When, by whom and how the state last changed. What later programs added is absent in older
/// states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastApply {
    /// RFC 3339, UTC.
    pub at: String,
    /// `user@host`.
    pub by: String,
    /// The plan's id; empty where no plan was carried out.
    pub plan: String,
    /// What was done: `apply`, `destroy`, `rollback 42`, `import`, `state rm` …
    #[serde(default = "applied")]
    pub operation: String,
    /// The commit of the project's repository.
    #[serde(default)]
    pub commit: Option<String>,
    /// How far it came.
    #[serde(default)]
    pub steps: Option<Steps>,
    /// What was done to how many resources, where it came to its end or stopped by itself.
    #[serde(default)]
    pub totals: Option<Totals>,
    /// How many messages it was to delete.
    #[serde(default)]
    pub deletes: Option<Amount>,
}

/// How many steps there were, and how many of them are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Of the plan.
    pub planned: usize,
    /// Finished and recorded.
    pub done: usize,
}

/// What happened to how many resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Taken over from somebody else.
    pub imported: usize,
    /// Made.
    pub added: usize,
    /// Changed in place.
    pub changed: usize,
    /// Destroyed.
    pub destroyed: usize,
    /// Dropped from the state only.
    pub forgotten: usize,
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
    /// It is not what jsplan wrote.
    #[error("the state cannot be trusted: {0}")]
    Seal(#[from] seal::Error),
    /// A configuration that is not a JSON object.
    #[error("the state cannot be trusted: the configuration of `{0}` is not an object")]
    Config(Address),
}

fn applied() -> String {
    "apply".to_owned()
}

impl LastApply {
    /// A change of the state alone, by hand.
    #[must_use]
    pub fn by_hand(operation: &str, at: String, by: String) -> Self {
        let (operation, plan) = (operation.to_owned(), String::new());
        Self { at, by, plan, operation, commit: None, steps: None, totals: None, deletes: None }
    }

    /// Whether every step was done, as far as it is known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.steps.is_none_or(|it| it.done >= it.planned)
    }
}

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
    pub fn new(environment: &str) -> Self {
        Self {
            version: VERSION,
            jsplan_version: env!("CARGO_PKG_VERSION").to_owned(),
            serial: 0,
            lineage: String::new(),
            environment: environment.to_owned(),
            target: None,
            last_apply: None,
            resources: BTreeMap::new(),
            migrations: BTreeMap::new(),
            cut_short: None,
        }
    }

    /// Reads the text of a state file; whatever is not exactly what was written is an error.
    pub fn read(text: &str) -> Result<Self, Error> {
        let state: Self = seal::read(text, VERSION, |it: &Self| it.version)?;
        let odd = state.resources.iter().find(|(_, it)| !it.config.get().starts_with('{'));
        match odd {
            Some((address, _)) => Err(Error::Config(address.clone())),
            None => Ok(state),
        }
    }

    /// Takes over the server's own bytes of resources that were just compared and found equal, so
    /// that the next comparison needs no parsing. Of the rest, nothing changes.
    pub fn recognise<'a>(&mut self, equal: impl Iterator<Item = &'a Address>, live: &Live) {
        for address in equal {
            let both = self.resources.get_mut(address).zip(live.resources.get(address));
            if let Some((recorded, is)) = both {
                recorded.live_sha256.clone_from(&is.sha256);
                recorded.config = is.raw.clone();
            }
        }
    }

    /// The text of the state file.
    #[must_use]
    pub fn write(&self) -> String {
        seal::write(self)
    }
}
