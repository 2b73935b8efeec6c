//! Whether a saved plan can still be carried out: what was asked of it, what became of the state it
//! was made from, and what moved since, resource by resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Mode, Plan, Step, call::Does, file::Saved, premise};
use crate::{
    address::Address,
    config::Config,
    diff::{self, Delta},
    live::{Live, Server},
    schema::Field,
    spec::{Desired, Move},
    state::{LastApply, State},
    target,
    units::{elapsed, show_about},
};

/// Why a saved plan is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is about another environment.
    #[error("the plan is for environment `{made}`, and this is `{is}`")]
    Environment {
        /// Its own.
        made: String,
        /// This one.
        is: String,
    },
    /// It was made from a state that has nothing to do with this one.
    #[error("the plan was made from another state: that had lineage `{made}`, and this has `{is}`")]
    Lineage {
        /// That of the plan.
        made: String,
        /// That of the state.
        is: String,
    },
    /// It was applied.
    #[error("the plan was used already: it was applied at {at} by {by}, as serial {serial}")]
    Used {
        /// When.
        at: String,
        /// By whom.
        by: String,
        /// The serial of the state that came of it.
        serial: u64,
    },
    /// It was applied, and some of it was not done.
    #[error(
        "the plan was used already: it was begun at {at} by {by}, as serial {serial}, and not all \
         of it was done"
    )]
    Unfinished {
        /// When.
        at: String,
        /// By whom.
        by: String,
        /// The serial of the state that came of it.
        serial: u64,
    },
    /// The state has moved on.
    #[error(
        "the saved plan is stale: it was made from state serial {made}, and the state is at {is}"
    )]
    Serial {
        /// That of the plan.
        made: u64,
        /// That of the state.
        is: u64,
    },
    /// The state is one from before the plan.
    #[error("the state went back: the plan was made from serial {made}, and the state is at {is}")]
    Back {
        /// That of the plan.
        made: u64,
        /// That of the state.
        is: u64,
    },
    /// The server is another one.
    #[error("{0}")]
    Target(String),
    /// The server was upgraded, or taken back.
    #[error("the plan was made for nats-server {made}, and this is {is}")]
    Release {
        /// What the plan was made for.
        made: String,
        /// What answers.
        is: String,
    },
    /// A migration is another one by now, or has come further.
    #[error("migration {0} is not as it was when the plan was made")]
    Migration(String),
    /// It has waited too long.
    #[error("the plan is {age} old, and {most} is the most that is accepted")]
    Old {
        /// How old it is.
        age: String,
        /// How old it may be.
        most: String,
    },
    /// It is not the one that was approved.
    #[error("the plan's id is {id}, and {expected} is expected")]
    Unexpected {
        /// Its own.
        id: String,
        /// What was approved.
        expected: String,
    },
    /// Nobody signed it.
    #[error("the plan is not signed, and {0} asks for it")]
    Unsigned(String),
    /// Somebody else signed it.
    #[error("the plan is signed by `{by}`, which {asks} does not name")]
    Signer {
        /// Who signed it.
        by: String,
        /// What names those who may.
        asks: String,
    },
}

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Environment { .. } => "name the plan's own environment with `--env`",
            Self::Lineage { .. } => "plan again: a state that was replaced has plans of its own",
            Self::Used { .. } => "a plan is applied once: plan again to see what there is to do",
            Self::Unfinished { .. } => "plan again: the new plan holds what is left",
            Self::Serial { .. } => {
                "plan again: another apply, or a change of the state, came first"
            }
            Self::Back { .. } => "plan again, and find out who put an older state in place",
            Self::Target(_) => "check `--env` and the server's url, or plan again",
            Self::Release { .. } => "plan again: releases make different things of one request",
            Self::Migration(_) => "plan again: its file was edited, or some of it was carried out",
            Self::Old { .. } => "plan again, or accept it with `--max-age`",
            Self::Unexpected { .. } => {
                "have this plan approved, or apply the one that was; where a stream grows while \
                 people decide, `--allow data-loss=ADDRESS:N` keeps the id the same up to N messages"
            }
            Self::Unsigned(_) => "sign it: `jsplan plan --out FILE --sign SECRET`",
            Self::Signer { .. } => "have it signed by somebody who may",
        }
    }
}

/// A resource that is not what the plan was made from.
#[derive(Debug)]
pub struct Moved {
    /// The resource.
    pub address: Address,
    /// What happened to it meanwhile.
    pub how: How,
    /// The fields in which it moved; empty where nothing is compared.
    pub fields: Vec<Row>,
}

/// What happened to a resource since a plan was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It was changed.
    Changed,
    /// It was deleted, and another of its name was made at this instant.
    Anew(String),
    /// It is gone.
    Gone,
    /// It was not there.
    Appeared,
    /// It could not be read, for this reason.
    Unread(String),
    /// The spec says something else of it.
    Edited,
}

/// One field in three columns.
#[derive(Debug)]
pub struct Row {
    /// Its name, in the words of the resource.
    pub name: String,
    /// Its row; `None` where this program has none.
    pub field: Option<&'static Field>,
    /// What the plan was made from.
    pub from: Value,
    /// What is so now: live, or in the spec.
    pub now: Value,
    /// What the plan would make of it; `None` where it would leave it, or take it away with the
    /// resource.
    pub set: Option<Value>,
}

impl Saved {
    /// Whether one of these keys signed it; `asks` is what names them.
    pub fn signed_by_one_of(&self, keys: &[String], asks: &str) -> Result<(), Refusal> {
        match &self.signed_by {
            _ if keys.is_empty() => Ok(()),
            None => Err(Refusal::Unsigned(asks.to_owned())),
            Some(by) if keys.contains(by) => Ok(()),
            Some(by) => Err(Refusal::Signer { by: by.clone(), asks: asks.to_owned() }),
        }
    }
}

impl Plan {
    /// Whether its id begins like this.
    pub fn expected(&self, prefix: &str) -> Result<(), Refusal> {
        let id = self.id();
        let expected = prefix.to_owned();
        if id.starts_with(prefix) { Ok(()) } else { Err(Refusal::Unexpected { id, expected }) }
    }

    /// Whether it is young enough at an instant; gives how far its making is in the future.
    pub fn young(&self, at: &str, most: i64) -> Result<Option<i64>, Refusal> {
        // The reader of the file has seen to it that both are instants.
        let age = elapsed(&self.at, at).unwrap_or(i64::MAX);
        if age > most {
            return Err(Refusal::Old { age: show_about(age), most: show_about(most) });
        }
        Ok((age < 0).then(|| age.saturating_neg()))
    }

    /// Whether the state is the one it was made from.
    ///
    /// `next` is the state that followed that one, where it is known: it tells whether the plan was
    /// applied.
    pub fn follows(&self, state: &State, next: Option<&State>) -> Result<(), Refusal> {
        let begins = self.lineage.is_empty() && state.serial > 0;
        if self.lineage != state.lineage && !begins {
            let (made, is) = (self.lineage.clone(), state.lineage.clone());
            return Err(Refusal::Lineage { made, is });
        }
        if self.serial == state.serial {
            return Ok(());
        }
        let (made, is) = (self.serial, state.serial);
        if made > is {
            return Err(Refusal::Back { made, is });
        }
        let next = next.filter(|it| it.serial == made + 1);
        let applied = next.and_then(|it| Some((it, it.last_apply.as_ref()?)));
        match applied.filter(|(_, apply)| apply.plan == self.id()) {
            Some((next, LastApply { at, by, .. })) => {
                let (at, by, serial) = (at.clone(), by.clone(), next.serial);
                Err(if self.is_done_in(next) {
                    Refusal::Used { at, by, serial }
                } else {
                    Refusal::Unfinished { at, by, serial }
                })
            }
            None => Err(Refusal::Serial { made, is }),
        }
    }

    /// Whether a state holds what every step was to leave there.
    fn is_done_in(&self, state: &State) -> bool {
        let last: BTreeMap<&Address, &Step> =
            self.steps.iter().map(|it| (&it.address, it)).collect();
        last.iter().all(|(address, step)| {
            let recorded = state.resources.get(address);
            match &step.record {
                Some(intent) => recorded.is_some_and(|it| it.spec_sha256 == intent.spec_sha256),
                None => recorded.is_none(),
            }
        })
    }

    /// Whether the server is the one it was made against, in the release it was made for: another
    /// one makes something else of the same requests.
    pub fn meets(&self, server: &Server) -> Result<(), Refusal> {
        if let Some(moved) = target::moved(&self.server, server) {
            return Err(Refusal::Target(moved));
        }
        if self.server.release == server.release {
            return Ok(());
        }
        let (made, is) = (self.server.version.clone(), server.version.clone());
        Err(Refusal::Release { made, is })
    }

    /// Refuses a plan of which a migration would do something else than was reviewed.
    pub fn moves_as(&self, desired: &Desired) -> Result<(), Refusal> {
        let differs = |it: &&Move| !desired.moves.contains(it);
        let gone = self.moves.iter().find(differs);
        let new = || desired.moves.iter().find(|it| !self.moves.contains(it));
        match gone.or_else(new).filter(|_| self.mode == Mode::Normal && !self.targeted) {
            Some(moved) => Err(Refusal::Migration(format!("{} {}", moved.version, moved.name))),
            None => Ok(()),
        }
    }

    /// Every resource of it that is no longer what it was made from, on the server or in the spec.
    #[must_use]
    pub fn moved(&self, desired: &Desired, state: &State, live: &Live) -> Vec<Moved> {
        let mut seen = BTreeSet::new();
        let first = self.steps.iter().filter(|it| seen.insert(&it.address));
        let mut moved: Vec<Moved> = first.filter_map(|it| self.since(it, live)).collect();
        if matches!(self.mode, Mode::Normal | Mode::Rollback(_)) {
            moved.extend(self.edited(desired, state, live));
        }
        moved
    }

    /// What happened to a resource of which this is the first step.
    fn since(&self, step: &Step, live: &Live) -> Option<Moved> {
        let address = &step.address;
        let moved = |how, fields| Moved { address: address.clone(), how, fields };
        if let Some(reason) = live.doubt(address) {
            return Some(moved(How::Unread(reason.to_owned()), Vec::new()));
        }
        match (&step.premise, live.resources.get(address)) {
            (None, None) => None,
            // It goes with its stream, and is made again.
            (None, Some(_)) if step.falls => None,
            (None, Some(_)) => Some(moved(How::Appeared, Vec::new())),
            (Some(_), None) => Some(moved(How::Gone, Vec::new())),
            (Some(was), Some(is)) => {
                let now = premise(is);
                let how = if was.created != now.created {
                    How::Anew(now.created)
                } else if was.fingerprint != now.fingerprint {
                    How::Changed
                } else {
                    return None;
                };
                let set = self.outcome(address);
                let rows = rows(address, &was.config, &now.config, set.as_ref(), &live.at);
                Some(moved(how, rows))
            }
        }
    }

    /// What the spec says otherwise than it did, of all that the plan is about: of a plan without
    /// targets, that is everything.
    fn edited(&self, desired: &Desired, state: &State, live: &Live) -> Vec<Moved> {
        let last: BTreeMap<&Address, &Step> =
            self.steps.iter().map(|it| (&it.address, it)).collect();
        let planned = |it: &Address| match last.get(it) {
            Some(step) => step.record.as_ref().map(|it| &it.spec_sha256),
            None => state.resources.get(it).map(|it| &it.spec_sha256),
        };
        let all = desired.resources.keys().chain(state.resources.keys());
        let all: BTreeSet<&Address> = all.chain(last.keys().copied()).collect();
        let concerned = |it: &&Address| !self.targeted || last.contains_key(it);
        let differs = |it: &&Address| desired.resources.get(it).map(|it| &it.sha256) != planned(it);
        let edited = all.into_iter().filter(concerned).filter(differs);
        let said = |address: &Address| Moved {
            address: address.clone(),
            how: How::Edited,
            fields: self.edits(address, desired, live),
        };
        edited.map(said).collect()
    }

    /// The fields in which the spec now wants something else than the plan would leave.
    fn edits(&self, address: &Address, desired: &Desired, live: &Live) -> Vec<Row> {
        let both = self.outcome(address).zip(desired.resources.get(address));
        let Some((left, wanted)) = both else { return Vec::new() };
        let when = (live.server.release, live.at.as_str());
        let deltas = diff::towards(address.rows(), &left, wanted, &left, when);
        deltas.into_iter().map(|it| row(address, it, None)).collect()
    }

    /// The configuration that the plan leaves a resource with; `None` where it goes, or never was.
    fn outcome(&self, address: &Address) -> Option<Config> {
        let steps = self.steps.iter().filter(|it| it.address == *address);
        let mut config = None;
        for step in steps {
            config = step.premise.as_ref().map(|it| it.config.clone()).or(config);
            for call in step.calls.iter().filter(|it| it.address == *address) {
                let body = Config::of(call.body.get("config").unwrap_or(&call.body));
                config = match call.does {
                    Does::Write | Does::Resume => Some(body),
                    Does::Set => config.map(|it| body.over(&it)),
                    Does::Delete => None,
                };
            }
        }
        config
    }
}

/// The fields in which two configurations differ, with what a third one makes of them.
fn rows(
    address: &Address,
    from: &Config,
    now: &Config,
    set: Option<&Config>,
    at: &str,
) -> Vec<Row> {
    let deltas = diff::moved(address.rows(), from, now, at);
    let mut rows: Vec<Row> = deltas
        .into_iter()
        .map(|it| {
            let set = set.map(|set| it.field.read(set).unwrap_or_default());
            row(address, it, set)
        })
        .collect();
    // What no row knows is shown as it is.
    let (from, now) = (from.clone().without_server_labels(), now.clone().without_server_labels());
    let names: BTreeSet<&String> = from.iter().chain(now.iter()).map(|it| it.0).collect();
    for name in names.into_iter().filter(|it| Field::find(address.rows(), it).is_none()) {
        let value = |of: &Config| of.get(name).cloned().unwrap_or_default();
        if value(&from) != value(&now) {
            let set = set.map(value);
            let (from, now) = (value(&from), value(&now));
            rows.push(Row { name: name.clone(), field: None, from, now, set });
        }
    }
    rows
}

/// One field as people know it: in the words of a bucket only where all three values can be said.
fn row(address: &Address, delta: Delta, set: Option<Value>) -> Row {
    let said = delta.spoken(address);
    let also = Delta { after: set.clone().unwrap_or_default(), ..delta.clone() }.spoken(address);
    let (Delta { field, before, after }, set) = match set {
        Some(_) if said.field.name == also.field.name => (said, Some(also.after)),
        Some(set) => (delta, Some(set)),
        None => (said, None),
    };
    Row { name: field.name.to_owned(), field: Some(field), from: before, now: after, set }
}
