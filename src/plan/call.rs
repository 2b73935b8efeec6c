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
    schema::{Field, OLDEST, api_level},
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
        (Action::Update, Some(_), Some(is)) => vec![update(address, &is.config(), changes)],
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

/// The request that makes a resource where none is.
pub(super) fn create(address: &Address, config: &Config) -> Call {
    // A newer field that is off is left out: a server that does not know it refuses the word.
    let nothing = Config::default();
    let says = |(name, _): &(&String, &Value)| match Field::find(address.rows(), name) {
        Some(field) => field.since <= OLDEST || field.read(config) != field.read(&nothing),
        None => true,
    };
    let fields = config.iter().filter(says).map(|(name, it)| (name.clone(), it.clone()));
    let config = fields.collect();
    match address {
        Address::Stream(name) => write(address, format!("STREAM.CREATE.{name}"), config),
        Address::Consumer { .. } => consumer(address, config, "create"),
    }
}

fn update(address: &Address, live: &Config, changes: &[Change]) -> Call {
    let deltas: Vec<Delta> = changes.iter().map(|it| it.delta.clone()).collect();
    let config = overlay(live, &deltas);
    match address {
        Address::Stream(name) => write(address, format!("STREAM.UPDATE.{name}"), config),
        Address::Consumer { .. } => consumer(address, config, "update"),
    }
}

/// A request that carries a configuration, and the level that its fields need.
pub(super) fn write(address: &Address, subject: String, config: Config) -> Call {
    Call { subject, level: api_level(address.rows(), &config), body: config.into_value() }
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
    Call { subject, body: Value::Null, level: 0 }
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
        let Some(create) = step.calls.last().cloned() else { continue };
        let body = &create.body;
        let made = matches!(step.action, Action::Create | Action::Replace);
        // A mirror takes no subjects, so there is nothing to bind.
        let waits = body["retention"] == "interest" && body["mirror"].is_null();
        if !made || !waits || !awaited.contains(name) {
            continue;
        }
        let parked = parked(name);
        binds.push(Step {
            action: Action::Bind,
            adopts: false,
            cause: Cause::Edit,
            changes: Vec::new(),
            calls: vec![Call { subject: format!("STREAM.UPDATE.{name}"), ..create }],
            premise: None,
            ..step.clone()
        });
        if let Some(Value::Object(create)) = step.calls.last_mut().map(|it| &mut it.body) {
            create.insert("subjects".to_owned(), json!([parked]));
            create.remove("sources");
        }
    }
    steps.append(&mut binds);
}
