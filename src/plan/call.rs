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
    mark::Mark,
    position,
    schema::{Field, OLDEST, Update, api_level, consumer::START},
    sides::Sides,
};

/// One JetStream API request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The resource it is about: that of its step, or one that helps it through.
    pub address: Address,
    /// What it does to that.
    pub does: Does,
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

/// What a request does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// It carries a whole configuration, and the answer is the read-back.
    Write,
    /// It makes a consumer that goes on where that of the step stands, as read right before.
    Resume,
    /// It sets the fields of its body and leaves the others; the answer says nothing of them.
    Set,
    /// It ends the resource.
    Delete,
}

/// The requests of a step, in order.
///
/// `stream` is the live one of a consumer; `holder` holds a consumer's position since an apply was
/// cut short.
pub(super) fn calls(
    Sides { address, wanted, is, .. }: Sides<'_>,
    action: Action,
    changes: &[Change],
    stream: Option<&Observed>,
    holder: Option<&Observed>,
) -> Vec<Call> {
    match (action, wanted, is) {
        (Action::Create, Some(wanted), _) => match holder {
            Some(holder) => {
                let config = position::taken_over(&wanted.config, &holder.config());
                vec![create(address, &config), delete(&position::holder(address))]
            }
            None => vec![create(address, &wanted.config)],
        },
        (Action::Update, Some(_), Some(is)) => changed(address, &is.config(), changes),
        (Action::Replace, Some(wanted), Some(is)) => {
            if starts_anew(address, stream, changes) {
                return vec![delete(address), create(address, &wanted.config)];
            }
            let mut calls = made_again(address, &wanted.config, is);
            if holder.is_some() {
                // What is left of an apply that was cut short may hold an older position.
                calls.insert(0, delete(&position::holder(address)));
            }
            calls
        }
        (Action::Delete, _, Some(_)) => vec![delete(address)],
        _ => Vec::new(),
    }
}

/// Whether what is made again has no position to keep: a stream, a consumer that is to begin
/// elsewhere, or one of a work queue, where everything that is not done with is still there.
fn starts_anew(address: &Address, stream: Option<&Observed>, changes: &[Change]) -> bool {
    let moves = changes.iter().any(|it| START.contains(&it.delta.field.name));
    let queue = stream.is_some_and(|it| it.config().text("retention") == Some("workqueue"));
    address.is_stream() || moves || queue
}

/// Deletes a consumer and makes it again, while another holds its position.
fn made_again(address: &Address, wanted: &Config, is: &Observed) -> Vec<Call> {
    let holder = position::holder(address);
    let holding = position::holding(address, &is.config(), wanted);
    let resume = |address: &Address, config: &Config| {
        let config = position::resumed(config, is.facts);
        Call { does: Does::Resume, ..create(address, &config) }
    };
    vec![resume(&holder, &holding), delete(address), resume(address, wanted), delete(&holder)]
}

/// An update of what one takes, and the requests of those fields that have their own.
fn changed(address: &Address, live: &Config, changes: &[Change]) -> Vec<Call> {
    let own = |it: &Change| match it.delta.field.update {
        Update::Request(name) => Some((name, it.delta.clone())),
        Update::Free | Update::Fixed | Update::OneWay | Update::Only(..) => None,
    };
    let rest: Vec<Delta> =
        changes.iter().filter(|it| own(it).is_none()).map(|it| it.delta.clone()).collect();
    let mut calls = if rest.is_empty() { Vec::new() } else { updates(address, live, &rest) };
    calls.extend(changes.iter().filter_map(own).map(|it| set(address, it)));
    calls
}

/// A request for one field; `null` takes it away.
fn set(address: &Address, (name, Delta { field, after, .. }): (&str, Delta)) -> Call {
    let (stream, consumer) = (address.stream_name(), address.name());
    let config: Config = [(field.name.to_owned(), after)].into_iter().collect();
    let call = write(address, format!("{name}.{stream}.{consumer}"), config);
    Call { does: Does::Set, ..call }
}

impl Step {
    /// Whether a consumer is made anew and goes on where it stood.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.calls.iter().any(|it| it.does == Does::Resume)
    }
}

impl Call {
    /// The request as it is sent: what it writes bears the mark of the state that owns it.
    #[must_use]
    pub fn marked(mut self, mark: Option<&Mark>) -> Self {
        let config = match (self.does, &self.address) {
            (Does::Set | Does::Delete, _) => None,
            (Does::Write | Does::Resume, Address::Stream(_)) => Some(&mut self.body),
            (Does::Write | Does::Resume, Address::Consumer { .. }) => self.body.get_mut("config"),
        };
        if let (Some(mark), Some(config)) = (mark, config) {
            mark.put(config);
        }
        self
    }

    /// The request as it is sent: what goes on where a consumer stands is told where that is.
    #[must_use]
    pub fn told(mut self, is: Option<&Observed>) -> Self {
        if let (Does::Resume, Some(is)) = (self.does, is)
            && let Some(config) = self.body.get_mut("config")
        {
            let declared = position::declared(&Config::of(config));
            *config = position::resumed(&declared, is.facts).into_value();
        }
        self
    }
}

/// A subject that nobody publishes on, for a stream that must not take messages yet.
pub(crate) fn parked(stream: &str) -> String {
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
        Address::Consumer { .. } => {
            let waits = config.number("num_replicas") > Some(1);
            Call { waits, ..consumer(address, config, "create") }
        }
    }
}

/// No stream is moved and scaled by one request: the server refuses it with 10123. As few copies as
/// can be are moved.
fn updates(address: &Address, live: &Config, deltas: &[Delta]) -> Vec<Call> {
    let delta = |name: &str| deltas.iter().find(|it| it.field.name == name);
    // To take a placement away moves nothing.
    let moves = delta("placement").filter(|it| !it.after.is_null());
    let scales = delta("num_replicas");
    let later = match (moves, scales) {
        (Some(_), Some(Delta { before, after, .. })) if after.as_i64() < before.as_i64() => {
            Some("placement")
        }
        (Some(_), Some(_)) => Some("num_replicas"),
        (_, _) => None,
    };
    let send = |without: Option<&str>| {
        let sent = deltas.iter().filter(|it| Some(it.field.name) != without);
        update(address, live, &sent.cloned().collect::<Vec<_>>())
    };
    let waits = delta("placement").is_some() || scales.is_some();
    let calls = later.map(|it| send(Some(it))).into_iter().chain([send(None)]);
    calls.map(|it| Call { waits, ..it }).collect()
}

fn update(address: &Address, live: &Config, deltas: &[Delta]) -> Call {
    let config = overlay(live, deltas);
    match address {
        Address::Stream(name) => write(address, format!("STREAM.UPDATE.{name}"), config),
        Address::Consumer { .. } => consumer(address, config, "update"),
    }
}

/// A request that carries a configuration, and the level that its fields need.
pub(super) fn write(address: &Address, subject: String, config: Config) -> Call {
    Call {
        address: address.clone(),
        does: Does::Write,
        subject,
        level: api_level(address.rows(), &config),
        body: config.into_value(),
        waits: false,
    }
}

/// `action` turns a race into an error: a create never overwrites, an update never makes anew.
fn consumer(address: &Address, config: Config, action: &str) -> Call {
    let (stream, name) = (address.stream_name(), address.name());
    let call = write(address, format!("CONSUMER.CREATE.{stream}.{name}"), config);
    let body = json!({ "stream_name": stream, "config": call.body, "action": action });
    Call { body, ..call }
}

pub(super) fn delete(address: &Address) -> Call {
    let subject = match address {
        Address::Stream(name) => format!("STREAM.DELETE.{name}"),
        Address::Consumer { stream, name } => format!("CONSUMER.DELETE.{stream}.{name}"),
    };
    Call {
        address: address.clone(),
        does: Does::Delete,
        subject,
        body: Value::Null,
        level: 0,
        waits: false,
    }
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
