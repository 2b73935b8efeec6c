//! A step → the requests it stands for. Apply sends them as they are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Cause, Change, Step};
use crate::{
    address::Address,
    config::Config,
    diff::{Delta, overlay},
    live::Observed,
    schema::api_level,
    spec::Declared,
};

/// One JetStream API request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The subject behind the API prefix: `STREAM.CREATE.ORDERS`.
    pub subject: String,
    /// The body; `Null` is an empty request.
    pub body: Value,
    /// The API level below which a server must refuse it rather than drop fields it does not know;
    /// 0 asks for none. Servers before 2.12 do not look at it.
    pub level: u32,
    /// Whether it is sent only once the replicas of the stream are where they should be: it moves
    /// or scales. Up to 2.14 the server takes such a request at any time, and may lose the stream
    /// over two of them; from 2.15 it refuses the second, and replicas of consumers beyond those
    /// that the stream had before.
    #[serde(default)]
    pub waits: bool,
}

/// The requests of a step, in order.
pub(super) fn calls(
    address: &Address,
    action: Action,
    wanted: Option<&Declared>,
    is: Option<&Observed>,
    changes: &[Change],
) -> Vec<Call> {
    match (action, wanted, is) {
        (Action::Create, Some(wanted), _) => vec![create(address, &wanted.config)],
        (Action::Update, Some(_), Some(is)) => updates(address, &is.config(), changes),
        (Action::Replace, Some(wanted), Some(_)) => {
            vec![delete(address), create(address, &wanted.config)]
        }
        (Action::Delete, _, Some(_)) => vec![delete(address)],
        _ => Vec::new(),
    }
}

/// A subject that nobody publishes on, for a stream that must not take messages yet.
pub(super) fn parked(stream: &str) -> String {
    format!("_jsplan.parked.{stream}")
}

fn create(address: &Address, config: &Config) -> Call {
    match address {
        Address::Stream(name) => write(address, format!("STREAM.CREATE.{name}"), config.clone()),
        Address::Consumer { .. } => {
            let waits = config.number("num_replicas") > Some(1);
            Call { waits, ..consumer(address, config.clone(), "create") }
        }
    }
}

/// No stream is moved and scaled by one request: the server refuses it with 10123. As few copies as
/// can be are moved.
fn updates(address: &Address, live: &Config, changes: &[Change]) -> Vec<Call> {
    let change = |name: &str| changes.iter().map(|it| &it.delta).find(|it| it.field.name == name);
    // To take a placement away moves nothing.
    let moves = change("placement").filter(|it| !it.after.is_null());
    let scales = change("num_replicas");
    let later = match (moves, scales) {
        (Some(_), Some(Delta { before, after, .. })) if after.as_i64() < before.as_i64() => {
            Some("placement")
        }
        (Some(_), Some(_)) => Some("num_replicas"),
        (_, _) => None,
    };
    let send = |without: Option<&str>| {
        let all = changes.iter().map(|it| &it.delta);
        let deltas: Vec<_> = all.filter(|it| Some(it.field.name) != without).cloned().collect();
        update(address, overlay(live, &deltas))
    };
    let waits = change("placement").is_some() || scales.is_some();
    let calls = later.map(|it| send(Some(it))).into_iter().chain([send(None)]);
    calls.map(|it| Call { waits, ..it }).collect()
}

fn update(address: &Address, config: Config) -> Call {
    match address {
        Address::Stream(name) => write(address, format!("STREAM.UPDATE.{name}"), config),
        Address::Consumer { .. } => consumer(address, config, "update"),
    }
}

/// A request that carries a configuration, and the level that its fields need.
fn write(address: &Address, subject: String, config: Config) -> Call {
    let level = api_level(address.rows(), &config);
    Call { subject, level, body: config.into_value(), waits: false }
}

/// `action` turns a race into an error: a create never overwrites, an update never makes anew.
fn consumer(address: &Address, config: Config, action: &str) -> Call {
    let (stream, name) = (address.stream_name(), address.name());
    let call = write(address, format!("CONSUMER.CREATE.{stream}.{name}"), config);
    let body = json!({ "stream_name": stream, "config": call.body, "action": action });
    Call { body, ..call }
}

fn delete(address: &Address) -> Call {
    let subject = match address {
        Address::Stream(name) => format!("STREAM.DELETE.{name}"),
        Address::Consumer { stream, name } => format!("CONSUMER.DELETE.{stream}.{name}"),
    };
    Call { subject, body: Value::Null, level: 0, waits: false }
}

/// Interest streams take their subjects only once their consumers are there: a message that
/// arrives before the first consumer is acknowledged and dropped at once (all releases).
pub(super) fn bind_later(steps: &mut Vec<Step>) {
    let to_come = steps.iter().filter_map(|it| match &it.address {
        Address::Consumer { stream, .. } if it.action == Action::Create => Some(stream.clone()),
        Address::Consumer { .. } | Address::Stream(_) => None,
    });
    let awaited: BTreeSet<String> = to_come.collect();
    let mut binds = Vec::new();
    for step in steps.iter_mut() {
        let Address::Stream(name) = &step.address else { continue };
        let Some(Call { body, .. }) = step.calls.last() else { continue };
        let made = matches!(step.action, Action::Create | Action::Replace);
        // A mirror takes no subjects, so there is nothing to bind.
        let waits = body["retention"] == "interest" && body["mirror"].is_null();
        if !made || !waits || !awaited.contains(name) {
            continue;
        }
        let parked = parked(name);
        binds.extend(bind(step, vec![parked]));
        if let Some(Value::Object(create)) = step.calls.last_mut().map(|it| &mut it.body) {
            create.remove("sources");
        }
    }
    steps.append(&mut binds);
}

/// Leaves a step that writes a stream with these subjects only, and gives the step that binds those
/// it was to have.
pub(super) fn bind(step: &mut Step, for_now: Vec<String>) -> Option<Step> {
    let subject = format!("STREAM.UPDATE.{}", step.address.name());
    let full = step.calls.last()?.clone();
    let bind = Step {
        action: Action::Bind,
        adopts: false,
        cause: Cause::Edit,
        changes: Vec::new(),
        risks: Vec::new(),
        falls: false,
        calls: vec![Call { subject, waits: false, ..full }],
        premise: None,
        ..step.clone()
    };
    for call in step.calls.iter_mut().filter(|it| it.body.is_object()) {
        call.body["subjects"] = json!(for_now);
    }
    // Until it is bound the stream follows no declaration: a plan that is made then has to compare.
    if let Some(record) = &mut step.record {
        record.spec_sha256.clear();
    }
    Some(bind)
}
