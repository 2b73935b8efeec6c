//! The field tables against a real server: nothing it answers is without a row.

#[path = "../oracle/strangers.rs"]
mod strangers;

use jsplan::{address::Address, schema::Release};
use serde_json::{Value, json};

use self::strangers::strangers;
use crate::support::{
    client::{ask, create, stream},
    server::server_since,
};

/// Streams that between them set every field that 2.14 and 2.15 know.
pub(crate) fn everything() -> Vec<Value> {
    const HOUR: u64 = 3_600_000_000_000;
    vec![
        json!({ "name": "PLAIN", "description": "all", "subjects": ["plain.>"],
            "retention": "limits", "storage": "file", "num_replicas": 1, "max_age": HOUR,
            "max_bytes": 1_000_000, "max_msgs": 1000, "max_msgs_per_subject": 10,
            "max_msg_size": 1024, "max_consumers": 10, "discard": "new",
            "discard_new_per_subject": true, "duplicate_window": 1_000_000_000, "no_ack": true,
            "compression": "s2", "first_seq": 7, "placement": { "tags": ["a"] },
            "subject_transform": { "src": "plain.a", "dest": "plain.b" },
            "republish": { "src": "plain.>", "dest": "again.>", "headers_only": true },
            "allow_direct": true, "deny_delete": true, "deny_purge": true,
            "consumer_limits": { "inactive_threshold": HOUR, "max_ack_pending": 500 },
            "metadata": { "team": "a" } }),
        json!({ "name": "MODERN", "subjects": ["modern.>"], "allow_rollup_hdrs": true,
            "allow_msg_ttl": true, "subject_delete_marker_ttl": HOUR, "allow_atomic": true,
            "allow_batched": true }),
        json!({ "name": "TIMED", "subjects": ["timed.>"], "allow_msg_schedules": true }),
        json!({ "name": "COUNTER", "subjects": ["counter.>"], "allow_msg_counter": true }),
        json!({ "name": "ASYNC", "subjects": ["async.>"], "persist_mode": "async" }),
        json!({ "name": "MIRROR", "mirror_direct": true, "mirror": { "name": "PLAIN",
            "opt_start_seq": 3, "filter_subject": "plain.x" } }),
        json!({ "name": "SOURCES", "sources": [
            { "name": "PLAIN", "opt_start_time": "2026-01-01T00:00:00Z",
              "subject_transforms": [{ "src": "plain.x", "dest": "sourced.x" }] },
            { "name": "FAR", "external": { "api": "$JS.far.API", "deliver": "far" } }] }),
    ]
}

pub(crate) fn consumers() -> Vec<Value> {
    const SECOND: u64 = 1_000_000_000;
    vec![
        json!({ "durable_name": "PULL", "description": "all", "filter_subjects": ["a", "b"],
            "deliver_policy": "by_start_sequence", "opt_start_seq": 2, "ack_policy": "explicit",
            "backoff": [SECOND], "max_deliver": 5, "max_ack_pending": 10, "max_waiting": 9,
            "max_batch": 8, "max_expires": SECOND, "max_bytes": 1024, "headers_only": true,
            "sample_freq": "50%", "inactive_threshold": SECOND * 100, "num_replicas": 1,
            "mem_storage": true, "pause_until": "2099-01-01T00:00:00Z",
            "priority_policy": "pinned_client", "priority_groups": ["g"],
            "priority_timeout": SECOND, "metadata": { "team": "a" } }),
        json!({ "durable_name": "PUSH", "filter_subject": "a", "deliver_policy": "by_start_time",
            "opt_start_time": "2026-01-01T00:00:00Z", "ack_policy": "all", "ack_wait": SECOND,
            "replay_policy": "original", "deliver_subject": "to", "deliver_group": "g",
            "flow_control": true, "idle_heartbeat": SECOND, "rate_limit_bps": 8000 }),
    ]
}

#[test]
fn every_field_a_server_answers_has_a_row() {
    let server = server_since(Release(2, 14, 0));
    let mut seen = Vec::new();
    for config in everything() {
        create(&server, &config);
        let name = config["name"].as_str().expect("a name");
        let live = stream(&server, name);
        assert_eq!(strangers(Address::stream(name).rows(), &live, name), [""; 0]);
        seen.extend(live.as_object().expect("an object").keys().cloned());
    }
    create(&server, &json!({ "name": "S", "subjects": ["a", "b"] }));
    for config in consumers() {
        let name = config["durable_name"].as_str().expect("a name");
        let body = json!({ "stream_name": "S", "config": config });
        let live = ask(&server, &format!("CONSUMER.CREATE.S.{name}"), &body);
        assert!(live["error"].is_null(), "{live}");
        assert_eq!(strangers(Address::consumer("S", name).rows(), &live["config"], name), [""; 0]);
        seen.extend(live["config"].as_object().expect("an object").keys().cloned());
    }
    // And nothing was left out above: every row but those no client may set was answered.
    let rows = Address::stream("S").rows().iter().chain(Address::consumer("S", "C").rows());
    let unseen: Vec<_> =
        rows.map(|it| it.name).filter(|it| !seen.contains(&(*it).to_owned())).collect();
    assert_eq!(unseen, ["direct", "sourcing"]);
}
