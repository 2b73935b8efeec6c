//! The ways that a stream of a cluster is sent: settings, each reached from the one before.

use jsplan::schema::Release;
use serde_json::{Value, json};

/// What a stream and its consumer are to be.
pub(crate) struct Wanted {
    pub(crate) stream: Value,
    pub(crate) consumer: Option<Value>,
}

/// Settings of one stream, in their order.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Wanted>,
    /// So many are published after the first step, and are there after the last.
    pub(crate) messages: u64,
    /// What somebody else asks for after the first step.
    pub(crate) others: Option<(&'static str, Value)>,
}

/// All that a release can go.
pub(crate) fn ways(release: Release) -> Vec<Way> {
    let mut ways = vec![replicas(), moves(), nowhere(), consumers(release), strangers()];
    // Before 2.14 a server counts the replicas of what an account reserves now and then.
    ways.extend((release >= Release(2, 14, 0)).then(reservations));
    ways
}

fn way(name: &'static str, steps: impl IntoIterator<Item = Value>) -> Way {
    let steps = steps.into_iter().map(|stream| Wanted { stream, consumer: None }).collect();
    Way { name, steps, messages: 0, others: None }
}

/// Every number from every other, and two that no cluster of three has room for.
fn replicas() -> Way {
    let numbers = [1, 3, 2, 3, 1, 2, 1, 4, 5];
    let way = way("replicas", numbers.map(|it| json!({ "num_replicas": it })));
    Way { messages: 100, ..way }
}

fn moves() -> Way {
    let placed = |replicas: u8, placement: Value| {
        let placement =
            if placement.is_null() { json!({}) } else { json!({ "placement": placement }) };
        let mut config = placement;
        config["num_replicas"] = replicas.into();
        config
    };
    let steps = [
        placed(1, Value::Null),
        placed(1, json!({ "tags": ["node1"] })),
        placed(1, json!({ "tags": ["node2"], "cluster": "sandbox" })),
        // Scaled up after the move.
        placed(3, json!({ "cluster": "sandbox" })),
        // Scaled down before it.
        placed(1, json!({ "tags": ["node3"] })),
        // To take a placement away is no move.
        placed(3, Value::Null),
        placed(1, json!({ "tags": ["node1"] })),
        placed(1, Value::Null),
    ];
    Way { messages: 100, ..way("moves", steps) }
}

/// Tags that no server has, or too few.
fn nowhere() -> Way {
    let placed = |replicas: u8, tag: &str| json!({ "num_replicas": replicas, "placement": { "tags": [tag] } });
    way("nowhere", [json!({}), placed(1, "moon"), placed(3, "node1")])
}

fn consumers(release: Release) -> Way {
    let with = |(stream, retention, own): (u8, &str, u8)| {
        let mut consumer = json!({ "ack_policy": "explicit" });
        if own > 0 {
            consumer["num_replicas"] = own.into();
        }
        let stream = json!({ "num_replicas": stream, "retention": retention });
        Wanted { stream, consumer: Some(consumer) }
    };
    // Before 2.15 a stream takes its retention only once its consumers have its replicas; one that was
    // refused both at once never settles (2.10.26, 2.12.8).
    let at_once = release >= Release(2, 15, 0);
    let between = if at_once { (2, "limits", 2) } else { (3, "limits", 3) };
    let steps = [
        (3, "limits", 3),
        (3, "limits", 1),
        (3, "limits", 0),
        (3, "limits", 3),
        // The server lowers the consumer with its stream, before the plan gets to it.
        (1, "limits", 1),
        (3, "limits", 3),
        (2, "limits", 2),
        between,
        (3, "interest", 3),
        (1, "interest", 1),
        (3, "interest", 3),
        (3, "interest", 0),
        (1, "limits", 0),
        (3, "interest", 0),
    ];
    let steps = steps.into_iter().map(with).collect();
    Way { steps, messages: 100, ..way("consumers", []) }
}

/// A consumer of somebody else has fewer replicas than a retention by interest asks for.
fn strangers() -> Way {
    let with = |retention: &str| json!({ "num_replicas": 3, "retention": retention });
    let config = json!({ "durable_name": "STRANGER", "ack_policy": "explicit", "num_replicas": 1 });
    let body = json!({ "stream_name": "S", "config": config });
    let others = Some(("CONSUMER.CREATE.S.STRANGER", body));
    Way { others, ..way("strangers", [with("limits"), with("interest")]) }
}

/// Every replica counts in what an account reserves.
fn reservations() -> Way {
    let sized = |(replicas, bytes): (u8, u64)| json!({ "storage": "memory", "num_replicas": replicas, "max_bytes": bytes });
    let steps = [(1, 3000), (2, 3000), (2, 3501), (2, 3500), (3, 3500)];
    let held = json!({ "name": "HELD", "storage": "memory", "max_bytes": 1000, "num_replicas": 3 });
    let others = Some(("STREAM.CREATE.HELD", held));
    Way { others, ..way("reservations", steps.map(sized)) }
}
