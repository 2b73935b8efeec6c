//! JetStream's replies → values, in one pass over the bytes.
//!
//! Configurations are taken over as the server wrote them, unparsed: most are found to be what they
//! were, and the rest of a reply is skipped rather than read.

use std::{borrow::Cow, collections::BTreeMap};

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::error::{Error, escaped};
use crate::{
    address::Address,
    live::{self, Facts, Observed, Room},
    units::count,
};

/// One page of a list.
pub(super) struct Page<T> {
    /// How many there are on all pages.
    pub(super) total: usize,
    /// What this page holds.
    pub(super) entries: Vec<T>,
    /// Names that the server knows and could not ask about, each with the reason.
    pub(super) missing: Vec<(String, String)>,
    /// How large the page was.
    pub(super) bytes: usize,
}

/// A stream or a consumer of a list.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) observed: Observed,
    /// Nobody speaks for it, so what is said may be old.
    pub(super) leaderless: bool,
}

/// What the API says about the account.
#[derive(Default)]
pub(super) struct Account {
    pub(super) api_level: u32,
    pub(super) domain: Option<String>,
    /// What it may hold; `servers` is for others to say.
    pub(super) holds: live::Account,
}

/// Whether the reply is an error.
pub(super) fn accept(subject: &str, payload: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        error: Option<Failure<'a>>,
    }
    let Reply { error } = parse(subject, payload)?;
    refuse(error)
}

/// The reply to `INFO`.
pub(super) fn account(subject: &str, payload: &[u8]) -> Result<Account, Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        error: Option<Failure<'a>>,
        #[serde(borrow)]
        domain: Option<Cow<'a, str>>,
        #[serde(default)]
        api: Api,
        #[serde(default)]
        limits: Limits,
        /// Limits by number of replicas, in the place of those of the account.
        #[serde(borrow)]
        tiers: Option<BTreeMap<Cow<'a, str>, IgnoredAny>>,
        #[serde(default)]
        reserved_memory: u64,
        #[serde(default)]
        reserved_storage: u64,
    }
    #[derive(Deserialize, Default)]
    struct Api {
        #[serde(default)]
        level: u32,
    }
    let Reply { error, domain, api, limits, tiers, reserved_memory, reserved_storage } =
        parse(subject, payload)?;
    refuse(error)?;
    let domain = domain.filter(|it| !it.is_empty()).map(Cow::into_owned);
    let tiered = tiers.is_some_and(|it| !it.is_empty());
    let unlimited = live::Account { tiered, ..live::Account::default() };
    let mut holds = if tiered { unlimited } else { limits.account() };
    holds.memory.reserved = reserved(reserved_memory);
    holds.file.reserved = reserved(reserved_storage);
    Ok(Account { api_level: api.level, domain, holds })
}

/// 2.10 takes a byte off for each stream without a limit, and goes below zero by that.
fn reserved(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or_default()
}

/// The limits of an account; -1 is none.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Limits {
    max_memory: Option<i64>,
    max_storage: Option<i64>,
    max_streams: Option<i64>,
    max_consumers: Option<i64>,
    max_ack_pending: Option<i64>,
    memory_max_stream_bytes: Option<i64>,
    storage_max_stream_bytes: Option<i64>,
    max_bytes_required: bool,
}

impl Limits {
    fn account(self) -> live::Account {
        // Of storage an account may have none at all; of everything else 0 means that no limit is set.
        let some = |it: Option<i64>| it.filter(|it| *it >= 0);
        let positive = |it: Option<i64>| it.filter(|it| *it > 0);
        let number = |it| positive(it).and_then(|it| u64::try_from(it).ok());
        let room = |most, each| Room { most: some(most), each: positive(each), reserved: 0 };
        live::Account {
            max_streams: number(self.max_streams),
            max_consumers: number(self.max_consumers),
            max_ack_pending: positive(self.max_ack_pending),
            max_bytes_required: self.max_bytes_required,
            tiered: false,
            memory: room(self.max_memory, self.memory_max_stream_bytes),
            file: room(self.max_storage, self.storage_max_stream_bytes),
            servers: 0,
        }
    }
}

/// The account in the reply to `$SYS.REQ.USER.INFO`.
pub(super) fn user(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reply {
        data: User,
    }
    #[derive(Deserialize)]
    struct User {
        account: String,
    }
    let reply: Reply = serde_json::from_slice(payload).ok()?;
    Some(reply.data.account).filter(|it| !it.is_empty())
}

/// A page of `STREAM.NAMES`.
pub(super) fn names(subject: &str, payload: &[u8]) -> Result<Page<String>, Error> {
    list(subject, payload)
}

/// A page of `STREAM.LIST`.
pub(super) fn streams(subject: &str, payload: &[u8]) -> Result<Page<Entry>, Error> {
    let Page { total, entries, missing, bytes } = list::<Stream<'_>>(subject, payload)?;
    let entries = entries.into_iter().map(|it| it.entry(subject)).collect::<Result<_, _>>()?;
    Ok(Page { total, entries, missing, bytes })
}

/// A page of `CONSUMER.LIST`, without the consumers that the server keeps for itself.
pub(super) fn consumers(subject: &str, payload: &[u8]) -> Result<Page<Entry>, Error> {
    let Page { total, entries, missing, bytes } = list::<Consumer<'_>>(subject, payload)?;
    let entries = entries.into_iter().filter(|it| !it.is_internal());
    let entries = entries.map(|it| it.entry(subject)).collect::<Result<_, _>>()?;
    Ok(Page { total, entries, missing, bytes })
}

/// What every list has in common: all but the name under which the entries stand.
fn list<'a, T: Deserialize<'a>>(subject: &str, payload: &'a [u8]) -> Result<Page<T>, Error> {
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    struct Reply<'a, T> {
        #[serde(borrow)]
        error: Option<Failure<'a>>,
        #[serde(default)]
        total: usize,
        #[serde(alias = "streams", alias = "consumers")]
        entries: Option<Vec<T>>,
        #[serde(borrow)]
        missing: Option<Vec<Cow<'a, str>>>,
        #[serde(borrow)]
        offline: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    }
    let Reply { error, total, entries, missing, offline } =
        parse::<Reply<'a, T>>(subject, payload)?;
    refuse(error)?;
    let (entries, missing) = (entries.unwrap_or_default(), reasons(missing, offline));
    Ok(Page { total, entries, missing, bytes: payload.len() })
}

/// One resource, from an INFO or from the reply to a create or update.
pub(super) fn one(address: &Address, subject: &str, payload: &[u8]) -> Result<Entry, Error> {
    accept(subject, payload)?;
    match address {
        Address::Stream(_) => parse::<Stream>(subject, payload)?.entry(subject),
        Address::Consumer { .. } => parse::<Consumer>(subject, payload)?.entry(subject),
    }
}

/// What keeps a stream from being settled, in the reply to its INFO.
///
/// Before 2.15 the replicas that are listed are the only sign, and a server that leaves is listed
/// for as long as it is needed.
pub(super) fn unsettled(subject: &str, payload: &[u8]) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        config: Wanted,
        #[serde(borrow)]
        cluster: Option<Group<'a>>,
    }
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        num_replicas: usize,
    }
    #[derive(Deserialize)]
    struct Group<'a> {
        #[serde(borrow)]
        leader: Option<Cow<'a, str>>,
        desired: Option<IgnoredAny>,
        #[serde(borrow, default)]
        replicas: Vec<Replica<'a>>,
    }
    #[derive(Deserialize)]
    struct Replica<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(default)]
        current: bool,
        #[serde(default)]
        lag: u64,
    }
    accept(subject, payload)?;
    let Reply { config, cluster } = parse(subject, payload)?;
    let Some(Group { leader, desired, replicas }) = cluster else { return Ok(None) };
    let behind = replicas.iter().find(|it| !it.current);
    Ok(if leader.is_none_or(|it| it.is_empty()) {
        Some("it has no leader".to_owned())
    } else if let Some(Replica { name, lag, .. }) = behind {
        Some(format!("its replica on `{}` is {} behind", escaped(name), count(*lag, "message")))
    } else if replicas.len() + 1 != config.num_replicas {
        let (there, wanted) = (replicas.len() + 1, config.num_replicas);
        Some(format!("it is on {there} of {wanted} servers"))
    } else {
        desired.is_some().then(|| "it is still being moved".to_owned())
    })
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(borrow, default)]
    description: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow)]
    config: &'a RawValue,
    #[serde(borrow)]
    created: Cow<'a, str>,
    #[serde(default)]
    state: Stored,
    #[serde(borrow)]
    cluster: Option<Cluster<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    messages: u64,
    bytes: u64,
    consumer_count: u64,
}

#[derive(Deserialize)]
struct Consumer<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    config: &'a RawValue,
    #[serde(borrow)]
    created: Cow<'a, str>,
    #[serde(default)]
    delivered: Floor,
    #[serde(default)]
    ack_floor: Floor,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    num_pending: u64,
    #[serde(borrow)]
    cluster: Option<Cluster<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Floor {
    consumer_seq: u64,
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Cluster<'a> {
    #[serde(borrow)]
    leader: Option<Cow<'a, str>>,
}

impl Stream<'_> {
    fn entry(self, subject: &str) -> Result<Entry, Error> {
        let Stored { messages, bytes, consumer_count } = self.state;
        Ok(Entry {
            name: name_in(subject, self.config)?,
            observed: Observed::new(
                object(subject, self.config)?,
                self.created.into_owned(),
                Facts::Stream { messages, bytes, consumers: consumer_count },
            ),
            leaderless: leaderless(self.cluster.as_ref()),
        })
    }
}

impl Consumer<'_> {
    fn entry(self, subject: &str) -> Result<Entry, Error> {
        let ephemeral = self.is_ephemeral();
        Ok(Entry {
            observed: Observed::new(
                object(subject, self.config)?,
                self.created.into_owned(),
                Facts::Consumer {
                    pending: self.num_pending,
                    ack_pending: self.num_ack_pending,
                    ack_floor: self.ack_floor.stream_seq,
                    delivered: self.delivered.stream_seq,
                    deliveries: self
                        .delivered
                        .consumer_seq
                        .saturating_sub(self.ack_floor.consumer_seq),
                    ephemeral,
                },
            ),
            leaderless: leaderless(self.cluster.as_ref()),
            name: self.name.into_owned(),
        })
    }

    /// A durable consumer has a `durable_name`, which the server writes first.
    fn is_ephemeral(&self) -> bool {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Marks {
            durable_name: String,
        }
        if self.config.get().starts_with(r#"{"durable_name":""#) {
            return false;
        }
        let marks: Marks = serde_json::from_str(self.config.get()).unwrap_or_default();
        marks.durable_name.is_empty()
    }

    /// Mirrors and sources read their origins by consumers that the server makes and names `JS_…`.
    fn is_internal(&self) -> bool {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Marks {
            direct: bool,
            sourcing: bool,
        }
        if !self.name.starts_with("JS_") {
            return false;
        }
        let marks: Marks = serde_json::from_str(self.config.get()).unwrap_or_default();
        marks.direct || marks.sourcing
    }
}

/// A reply that is no error.
pub(super) fn read<'a, T: Deserialize<'a>>(subject: &str, payload: &'a [u8]) -> Result<T, Error> {
    accept(subject, payload)?;
    parse(subject, payload)
}

fn parse<'a, T: Deserialize<'a>>(subject: &str, payload: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|it| unreadable(subject, &it.to_string()))
}

/// A reply that is not what it should be.
/// A stored message as a reply gives it, headers and payload in base64.
#[derive(Deserialize)]
pub(super) struct Encoded<'a> {
    #[serde(borrow)]
    pub(super) subject: Cow<'a, str>,
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    #[serde(borrow, default)]
    pub(super) hdrs: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) data: Cow<'a, str>,
}

/// The message in a reply.
pub(super) fn stored<'a>(subject: &str, payload: &'a [u8]) -> Result<Encoded<'a>, Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        message: Encoded<'a>,
    }
    Ok(read::<Reply<'_>>(subject, payload)?.message)
}

/// What headers and payloads are encoded from.
pub(super) fn decoded(subject: &str, text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text.as_bytes()).map_err(|it| unreadable(subject, &it.to_string()))
}

pub(super) fn unreadable(subject: &str, reason: &str) -> Error {
    Error::Unreadable { subject: subject.to_owned(), reason: escaped(reason) }
}

fn refuse(failure: Option<Failure>) -> Result<(), Error> {
    let Some(Failure { code, err_code, description }) = failure else { return Ok(()) };
    Err(match err_code {
        10008 => Error::NoLeader,
        10039 => Error::NotEnabled { of: "account" },
        10076 => Error::NotEnabled { of: "server" },
        _ => Error::Api { code, err_code, description: escaped(&description) },
    })
}

/// Only objects are admitted: `Observed::config` relies on it.
fn object(subject: &str, config: &RawValue) -> Result<Box<RawValue>, Error> {
    if config.get().starts_with('{') {
        return Ok(config.to_owned());
    }
    Err(unreadable(subject, "`config` is no object"))
}

/// A stream's name stands in its configuration only. The server writes it first; anywhere else it
/// costs a second look at the configuration.
fn name_in(subject: &str, config: &RawValue) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let text = config.get();
    let first = text.strip_prefix(r#"{"name":""#).and_then(|it| it.split_once('"'));
    if let Some((name, _)) = first.filter(|(name, _)| !name.contains('\\')) {
        return Ok(name.to_owned());
    }
    Ok(parse::<Named>(subject, text.as_bytes())?.name)
}

fn leaderless(cluster: Option<&Cluster>) -> bool {
    cluster.is_some_and(|it| it.leader.as_ref().is_none_or(|leader| leader.is_empty()))
}

fn reasons(
    missing: Option<Vec<Cow<str>>>,
    offline: Option<BTreeMap<Cow<str>, Cow<str>>>,
) -> Vec<(String, String)> {
    let offline = offline.unwrap_or_default();
    let missing = missing.unwrap_or_default().into_iter();
    let silent = missing
        .filter(|it| !offline.contains_key(it))
        .map(|it| (it.into_owned(), "none of its servers answers".to_owned()));
    let mut all: Vec<_> = silent.collect();
    for (name, reason) in offline {
        all.push((name.into_owned(), format!("it is offline: {}", escaped(&reason))));
    }
    all
}
