//! Every field of a consumer, one row each, in the order in which a plan shows them.

use serde_json::{Value, json};

use super::{
    Choice, Field,
    Kind::{Bool, Bytes, Duration, Labels, List, Number, OneOf, Set, Subject, Text, Time},
    Loses::{Filtered, Idling},
    Unset::{Derived, False, Kept, Lapses, Name, Number as Count, Unlimited},
    Update::{Fixed, Only, Request},
    Writer,
};
use crate::config::Config;

const DELIVER: &[Choice] = &[
    Choice::new("all"),
    Choice::new("last"),
    Choice::new("new"),
    Choice::new("by_start_sequence"),
    Choice::new("by_start_time"),
    Choice::new("last_per_subject"),
];
const ACK: &[Choice] = &[
    Choice::new("none"),
    Choice::new("all"),
    Choice::new("explicit"),
    Choice::new("flow_control").since(2, 14, 0),
];
const REPLAY: &[Choice] = &[Choice::new("instant"), Choice::new("original")];
const PRIORITY: &[Choice] = &[
    Choice::new("none"),
    Choice::new("overflow"),
    Choice::new("pinned_client"),
    Choice::new("prioritized").since(2, 12, 0),
];

/// `err_code` of an update that the server refuses.
const INVALID_CONSUMER: u16 = 10012;

/// The fields that say where a consumer starts.
pub(crate) const START: [&str; 3] = ["deliver_policy", "opt_start_seq", "opt_start_time"];

/// The rows of a consumer.
pub const CONSUMER: &[Field] = &[
    Field::new("name", Text, "The consumer's name.")
        .since(2, 9, 0)
        .update(Fixed)
        .refused_with(INVALID_CONSUMER)
        .written_by(Writer::Key),
    Field::new("durable_name", Text, "The name under which it outlives its clients.")
        .update(Fixed)
        .refused_with(INVALID_CONSUMER)
        .written_by(Writer::Key),
    Field::new("description", Text, "What the consumer is for."),
    Field::new("filter_subject", Subject, "Only messages on these subjects.").loses(Filtered),
    Field::new("filter_subjects", Set(&Subject), "Only messages on one of these subjects.")
        .since(2, 10, 0)
        .loses(Filtered),
    Field::new("deliver_policy", OneOf(DELIVER), "Where in the stream it starts.")
        .unset(Name("all"))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("opt_start_seq", Number, "The sequence to start at.")
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("opt_start_time", Time, "The instant to start at.")
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("ack_policy", OneOf(ACK), "Which messages must be acknowledged.")
        .unset(Name("none"))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("ack_wait", Duration, "How long an acknowledgement may take.")
        .unset(Derived(ack_wait)),
    Field::new("backoff", List(&Duration), "Waits between redeliveries; the first is `ack_wait`."),
    Field::new("max_deliver", Number, "Most deliveries of one message.").unset(Unlimited(-1)),
    Field::new("max_ack_pending", Number, "Most messages in flight.")
        .unset(Kept(in_flight))
        .endless(-1),
    Field::new("replay_policy", OneOf(REPLAY), "At full speed or at the pace of publishing.")
        .unset(Name("instant"))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("deliver_subject", Subject, "Where messages are pushed; absent for pull.")
        .update(Only("a push consumer stays push and a pull consumer pull", same_mode))
        .refused_with(INVALID_CONSUMER),
    Field::new("deliver_group", Text, "The queue group that shares the pushed messages."),
    Field::new("flow_control", Bool, "Pause pushing until the client catches up.")
        .unset(Derived(flows))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("idle_heartbeat", Duration, "How often an idle push consumer says so.")
        .unset(Derived(heartbeat))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("rate_limit_bps", Number, "Most bits pushed a second."),
    Field::new("max_waiting", Number, "Most pull requests waiting.")
        .unset(Derived(waiting))
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("max_batch", Number, "Most messages of one pull.").unset(Kept(kept)),
    Field::new("max_expires", Duration, "Longest wait of one pull."),
    Field::new("max_bytes", Bytes, "Most bytes of one pull."),
    Field::new("headers_only", Bool, "Deliver headers without payload.")
        .since(2, 6, 2)
        .unset(False),
    // Taking the field away leaves sampling on until a restart; "0" switches it off (2.15.1).
    Field::new("sample_freq", Text, "Share of acknowledgements that are sampled.").unset(Name("0")),
    Field::new("inactive_threshold", Duration, "Idle time after which it is deleted.")
        .unset(Kept(kept))
        .loses(Idling),
    Field::new("num_replicas", Number, "How many servers hold its state; 0 follows the stream.")
        .unset(Count(0)),
    // Accepted without effect up to 2.14.3, refused from 2.14.4.
    Field::new("mem_storage", Bool, "Keep its state in memory.")
        .unset(False)
        .update(Fixed)
        .refused_with(INVALID_CONSUMER),
    Field::new("pause_until", Time, "Deliver nothing before this instant.")
        .since(2, 11, 0)
        .unset(Lapses)
        .update(Request("CONSUMER.PAUSE")),
    Field::new("priority_policy", OneOf(PRIORITY), "How pulls of a group are served.")
        .since(2, 11, 0)
        .unset(Name("none")),
    Field::new("priority_groups", Set(&Text), "Groups that pulls may name.").since(2, 11, 0),
    Field::new("priority_timeout", Duration, "How long a pinned client may be silent.")
        .since(2, 11, 0)
        .unset(Derived(pinned)),
    Field::new("metadata", Labels, "Labels for people and tools.").since(2, 10, 0),
    Field::new("direct", Bool, "Made by the server to mirror or source.")
        .unset(False)
        .update(Fixed)
        .refused_with(INVALID_CONSUMER)
        .written_by(Writer::Server),
    Field::new("sourcing", Bool, "Made by the server to source.")
        .since(2, 14, 0)
        .unset(False)
        .update(Fixed)
        .refused_with(INVALID_CONSUMER)
        .written_by(Writer::Server),
];

fn acks(config: &Config) -> bool {
    matches!(config.text("ack_policy"), Some("explicit" | "all"))
}

fn ack_wait(config: &Config) -> Option<Value> {
    const HALF_A_MINUTE: i64 = 30_000_000_000;
    // A first wait of zero is read back as no `ack_wait` (all releases).
    match config.get("backoff").and_then(|it| it.get(0)) {
        Some(first) => Some(first.clone()).filter(|it| *it != 0),
        None => acks(config).then(|| HALF_A_MINUTE.into()),
    }
}

fn in_flight(config: &Config, present: Option<Value>) -> Option<Value> {
    let flows = config.text("ack_policy") == Some("flow_control");
    present.or_else(|| (acks(config) || flows).then(|| json!(1000)))
}

/// Acknowledging by flow control switches it on, with a heartbeat (2.14).
fn flows(config: &Config) -> Option<Value> {
    Some((config.text("ack_policy") == Some("flow_control")).into())
}

fn heartbeat(config: &Config) -> Option<Value> {
    const SECOND: i64 = 1_000_000_000;
    (config.text("ack_policy") == Some("flow_control")).then(|| SECOND.into())
}

fn waiting(config: &Config) -> Option<Value> {
    (!config.has("deliver_subject")).then(|| json!(512))
}

fn pinned(config: &Config) -> Option<Value> {
    const TWO_MINUTES: i64 = 120_000_000_000;
    (config.text("priority_policy") == Some("pinned_client")).then(|| TWO_MINUTES.into())
}

fn kept(_: &Config, present: Option<Value>) -> Option<Value> {
    present
}

fn same_mode(before: &Value, after: &Value) -> bool {
    before.is_null() == after.is_null()
}
