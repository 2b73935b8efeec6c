//! Every field of a stream, one row each, in the order in which a plan shows them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Choice, Field, Forced,
    Harm::Availability,
    Kind::{
        Bool, Bytes, Duration, Labels, Literal, Number, OneOf, Set, Subject, Table, Text, Time,
    },
    Loses::{Expiring, Lowered, Promoted, Recopied, Released, Unbound, Uninterested, When},
    Unset::{Derived, False, Kept, Name, Number as Count, Unlimited},
    Update::{Fixed, OneWay, Only},
    Writer,
};
use crate::config::Config;

const RETENTION: &[Choice] =
    &[Choice::new("limits"), Choice::new("interest"), Choice::new("workqueue")];
pub(super) const STORAGE: &[Choice] = &[Choice::new("file"), Choice::new("memory")];
const DISCARD: &[Choice] = &[Choice::new("old"), Choice::new("new")];
const COMPRESSION: &[Choice] = &[Choice::new("none"), Choice::new("s2")];
const PERSIST: &[Choice] = &[Choice::new("default"), Choice::new("async").since(2, 12, 0)];

pub(super) const TRANSFORM: &[Field] = &[
    Field::new("src", Subject, "Subjects that are rewritten.").required(),
    Field::new("dest", Subject, "What they become.").required(),
];

pub(super) const EXTERNAL: &[Field] = &[
    Field::new("api", Literal, "The JetStream API prefix of the other account or domain.")
        .required(),
    Field::new("deliver", Literal, "The delivery subject prefix there."),
];

pub(super) const SOURCE_CONSUMER: &[Field] = &[
    Field::new("name", Text, "A durable consumer of the origin to read through.").required(),
    Field::new("deliver_subject", Literal, "Where that consumer delivers.").required(),
];

/// A mirror, or one of the sources.
const SOURCE: &[Field] = &[
    Field::new("name", Text, "The origin's name.").required(),
    Field::new("opt_start_seq", Number, "The first sequence to copy."),
    Field::new("opt_start_time", Time, "The first instant to copy."),
    Field::new("filter_subject", Subject, "Only messages on these subjects."),
    Field::new("subject_transforms", Set(&Table(TRANSFORM)), "Rewrites on the way.")
        .since(2, 10, 0),
    Field::new("external", Table(EXTERNAL), "An origin in another account or domain."),
    Field::new("consumer", Table(SOURCE_CONSUMER), "Read through a durable consumer.")
        .since(2, 14, 0),
];

pub(super) const PLACEMENT: &[Field] = &[
    Field::new("cluster", Text, "The cluster to live in."),
    Field::new("tags", Set(&Text), "Tags that every server holding it must have."),
    Field::new("preferred", Text, "The server preferred as leader.").since(2, 11, 0),
];

pub(super) const REPUBLISH: &[Field] = &[
    Field::new("src", Subject, "Subjects that are published again.").unset(Name(">")),
    // The server takes it as absent, and turns it into `>` at the next update (2.10 to 2.15).
    Field::new("dest", Subject, "Where they are published.").required(),
    Field::new("headers_only", Bool, "Publish the headers without the payload.").unset(False),
];

/// What a stream can limit for all of its consumers.
pub(crate) const CONSUMER_LIMITS: &[Field] = &[
    Field::new("inactive_threshold", Duration, "Longest idle time a consumer may ask for."),
    Field::new("max_ack_pending", Number, "Most messages a consumer may have in flight."),
];

/// The rows of a stream.
pub const STREAM: &[Field] = &[
    Field::new("name", Text, "The stream's name.").update(Fixed).written_by(Writer::Key),
    Field::new("description", Text, "What the stream is for."),
    Field::new("subjects", Set(&Subject), "Subjects whose messages are stored.")
        .unset(Derived(own_name))
        .loses(Unbound),
    Field::new("retention", OneOf(RETENTION), "When a message may be removed.")
        .unset(Name("limits"))
        .update(Only("it may not change to or from `workqueue`", not_workqueue))
        .loses(Uninterested),
    Field::new("storage", OneOf(STORAGE), "Where messages are kept.")
        .unset(Name("file"))
        .update(Fixed),
    Field::new("num_replicas", Number, "How many servers hold a copy.")
        .unset(Count(1))
        .loses(When(Availability, "fewer servers hold a copy", lowered)),
    Field::new("max_age", Duration, "How long a message is kept.")
        .unset(Unlimited(0))
        .forced(&[Forced::by("sealed", || json!(0)).late()])
        .loses(Lowered),
    Field::new("max_bytes", Bytes, "Most bytes kept.").unset(Unlimited(-1)).loses(Lowered),
    Field::new("max_msgs", Number, "Most messages kept.").unset(Unlimited(-1)).loses(Lowered),
    Field::new("max_msgs_per_subject", Number, "Most messages kept of one subject.")
        .unset(Unlimited(-1))
        .loses(Lowered),
    Field::new("max_msg_size", Bytes, "Largest message accepted.")
        .unset(Unlimited(-1))
        .loses(When(Availability, "larger messages are refused", limited)),
    Field::new("max_consumers", Number, "Most consumers the stream may have.")
        .unset(Unlimited(-1))
        .update(Fixed)
        .update_from(2, 12, 5, super::Update::Free),
    Field::new("discard", OneOf(DISCARD), "What happens at a limit: drop old or refuse new.")
        .unset(Name("old"))
        .forced(&[Forced::by("sealed", || json!("new")).late()])
        .loses(Released),
    Field::new("discard_new_per_subject", Bool, "Refuse new messages per subject.").unset(False),
    Field::new("duplicate_window", Duration, "How long message ids are remembered.")
        .unset(Kept(window))
        .unset_from(2, 14, 0, Kept(own_window)),
    Field::new("no_ack", Bool, "Do not acknowledge publishes.").unset(False),
    Field::new("compression", OneOf(COMPRESSION), "How blocks on disk are compressed.")
        .since(2, 10, 0)
        .unset(Name("none")),
    Field::new("first_seq", Number, "The sequence of the first message.")
        .since(2, 10, 0)
        .update(Only("the server accepts a change and ignores it", never))
        .refused_with(0),
    Field::new("placement", Table(PLACEMENT), "Where in the cluster it lives."),
    Field::new("mirror", Table(SOURCE), "Copy another stream, and nothing else.")
        .update(Fixed)
        .update_from(2, 12, 0, Only("a mirror may only be removed", removed))
        .refused_with(10055)
        .loses(Promoted),
    Field::new("mirror_direct", Bool, "Answer direct gets for the mirrored stream.")
        .since(2, 9, 0)
        .unset(Kept(kept)),
    Field::new("sources", Set(&Table(SOURCE)), "Copy other streams, beside own subjects.")
        .loses(Recopied),
    Field::new("subject_transform", Table(TRANSFORM), "Rewrite subjects before storing.")
        .since(2, 10, 0),
    Field::new("republish", Table(REPUBLISH), "Publish stored messages again.").since(2, 8, 3),
    Field::new("allow_direct", Bool, "Any replica may answer gets.").since(2, 9, 0).unset(False),
    Field::new("allow_rollup_hdrs", Bool, "Honour the `Nats-Rollup` header.").unset(False).forced(
        &[
            Forced::by("sealed", || json!(false)).late(),
            // Markers and schedules are kept by rollups, which delete what is before them.
            Forced::by("subject_delete_marker_ttl", || json!(true)),
            Forced::by("allow_msg_schedules", || json!(true)),
        ],
    ),
    Field::new("deny_delete", Bool, "Refuse to delete single messages.")
        .unset(False)
        .forced(&[Forced::by("sealed", || json!(true)).late()])
        .update(OneWay),
    Field::new("deny_purge", Bool, "Refuse to purge.")
        .unset(False)
        .forced(&[
            Forced::by("sealed", || json!(true)).late(),
            Forced::by("subject_delete_marker_ttl", || json!(false)),
            Forced::by("allow_msg_schedules", || json!(false)),
        ])
        .update(OneWay),
    Field::new("sealed", Bool, "Take no more messages, ever.")
        .unset(False)
        .update(OneWay)
        .loses(When(Availability, "it takes no more messages", set)),
    Field::new("consumer_limits", Table(CONSUMER_LIMITS), "Limits for every consumer.")
        .since(2, 10, 0),
    Field::new("allow_msg_ttl", Bool, "Honour the `Nats-TTL` header.")
        .since(2, 11, 0)
        .unset(False)
        .forced(&[Forced::by("subject_delete_marker_ttl", || json!(true))])
        .update(Fixed)
        .update_from(2, 11, 2, OneWay)
        .loses(Expiring),
    Field::new("subject_delete_marker_ttl", Duration, "How long markers of removed subjects stay.")
        .since(2, 11, 0),
    Field::new("allow_msg_counter", Bool, "Subjects are counters.")
        .since(2, 12, 0)
        .unset(False)
        .update(Fixed),
    Field::new("allow_atomic", Bool, "Accept atomic batches.").since(2, 12, 0).unset(False),
    Field::new("allow_msg_schedules", Bool, "Accept scheduled messages.")
        .since(2, 12, 0)
        .unset(False)
        .update(OneWay),
    Field::new("persist_mode", OneOf(PERSIST), "Whether a publish waits for the disk.")
        .since(2, 12, 0)
        .unset(Name("default"))
        .update(Fixed),
    Field::new("allow_batched", Bool, "Accept fast batches.").since(2, 14, 0).unset(False),
    Field::new("metadata", Labels, "Labels for people and tools.").since(2, 10, 0),
];

/// The mirror and the sources of a stream, with the field each stands in.
pub(crate) fn copied(config: &Config) -> impl Iterator<Item = (&'static str, &Value)> {
    let mirror = config.get("mirror").filter(|it| it.is_object()).map(|it| ("mirror", it));
    let sources = config.get("sources").and_then(Value::as_array).into_iter().flatten();
    mirror.into_iter().chain(sources.map(|it| ("sources", it)))
}

/// Whether what a stream copies, and what that copies in turn, leads back to it.
pub(crate) fn leads_back<'a, O: IntoIterator<Item = &'a str>>(
    name: &'a str,
    origins: impl Fn(&'a str) -> O,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![name];
    while let Some(here) = next.pop() {
        for origin in origins(here) {
            if origin == name {
                return true;
            }
            if seen.insert(origin) {
                next.push(origin);
            }
        }
    }
    false
}

/// The server names a stream's subject after the stream, unless it only copies.
fn own_name(config: &Config) -> Option<Value> {
    let copies = config.has("mirror") || copies(config);
    (!copies).then(|| json!([config.text("name").unwrap_or_default()]))
}

fn copies(config: &Config) -> bool {
    config.get("sources").is_some_and(|it| !it.is_null() && *it != json!([]))
}

/// Two minutes, or `max_age` where that is shorter; a limit of the server may shorten it further.
fn window(config: &Config, present: Option<Value>) -> Option<Value> {
    const TWO_MINUTES: i64 = 120_000_000_000;
    if config.has("mirror") {
        return present;
    }
    let present = present.and_then(|it| it.as_i64()).unwrap_or(TWO_MINUTES);
    let age = config.number("max_age").filter(|it| *it > 0).unwrap_or(i64::MAX);
    Some(present.min(age).into())
}

/// From 2.14 on a stream that copies others gets no window by itself.
fn own_window(config: &Config, present: Option<Value>) -> Option<Value> {
    if present.is_none() && copies(config) { None } else { window(config, present) }
}

fn kept(_: &Config, present: Option<Value>) -> Option<Value> {
    Some(present.unwrap_or(Value::Bool(false)))
}

fn not_workqueue(before: &Value, after: &Value) -> bool {
    before != "workqueue" && after != "workqueue"
}

fn lowered(before: &Value, after: &Value) -> bool {
    after.as_i64() < before.as_i64()
}

/// Whether a limit, of which 0 and less are none, comes down.
fn limited(before: &Value, after: &Value) -> bool {
    let limit = |it: &Value| it.as_u64().filter(|it| *it > 0);
    limit(after).is_some_and(|it| it < limit(before).unwrap_or(u64::MAX))
}

fn set(_: &Value, after: &Value) -> bool {
    after == true
}

fn removed(_: &Value, after: &Value) -> bool {
    after.is_null()
}

/// Sources that stay and are copied otherwise; to start one elsewhere has no effect.
pub(crate) fn recopied<'a>(before: &Value, after: &'a Value) -> impl Iterator<Item = &'a Value> {
    let copies = |source: &Value| {
        let fields = source.as_object().into_iter().flatten();
        let what = fields.filter(|(name, _)| !name.starts_with("opt_start_"));
        what.map(|(name, it)| (name.clone(), it.clone())).collect::<Map<_, _>>()
    };
    let before: Vec<_> = list(before).map(copies).collect();
    list(after).filter(move |source| {
        let known = before.iter().any(|it| it.get("name") == source.get("name"));
        known && !before.contains(&copies(source))
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn never(_: &Value, _: &Value) -> bool {
    false
}
