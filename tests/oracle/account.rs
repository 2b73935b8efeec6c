//! One account under jsplan's care: a declaration becomes a spec, a plan, its requests; and what
//! was predicted is compared with what the server does.

use std::collections::{BTreeMap, BTreeSet};

use jsplan::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Severity},
    live::{Facts, Live, Observed},
    plan::{
        Action, Ask, Step,
        call::{Call, Does},
        plan,
        risk::Reach,
    },
    schema::{Field, Harm, Kind, Verdict, Writer, stream::STREAM},
    spec::{self, Desired},
    state::{Origin, Recorded, State, journal::Done},
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    readback::{shown, surprises},
    servers::{Answer, Oracle},
};

/// What jsplan refuses and the server takes, by a word of the finding.
const HOLES: &[(&str, &str)] = &[
    ("ignores it", "`first_seq`: the new number is read back, and the stream goes on where it was"),
    ("is for mirrors", "`mirror_direct`: an update takes it for any stream, to no effect"),
    ("this server stands alone", "up to 2.14.5 an update is taken, and no copy is ever made"),
    ("copies itself", "up to 2.11 a circle is taken where no message can pass its filters yet"),
    ("copies a stream that copies", "a circle is taken where no stream of it has subjects yet"),
    (
        "takes `filter_subject` and `subject_transforms`",
        "up to 2.11 both are taken of an external origin",
    ),
    (
        "counters exclude delete markers",
        "up to 2.12 it is taken, and every later update is refused",
    ),
];

/// What the server refuses for reasons that no client can see, by a word of its answer.
const UNSEEN: &[(&str, &str)] =
    &[("limits violates consumers", "the consumers that copy the stream are in no list")];

/// What came of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Predicted, taken, and read back as predicted.
    Taken,
    /// Nothing had to be done.
    Nothing,
    /// Predicted and refused.
    Refused,
    /// jsplan refused what the server takes and does not do as written.
    NotDone,
    /// jsplan refused what the server takes, for a reason that is listed.
    Hole,
    /// The server refused for a reason that no client can see, and that is listed.
    Unseen,
}

/// Streams that are declared, recorded and live.
pub(crate) struct Account<'a> {
    oracle: &'a Oracle,
    declared: BTreeMap<String, Value>,
    state: State,
}

/// What jsplan would do about a declaration.
struct Prediction {
    /// Why it would not.
    refused: Vec<Finding>,
    /// The request that carries the configuration; `None` where nothing has to be sent.
    call: Option<Call>,
}

impl<'a> Account<'a> {
    pub(crate) fn new(oracle: &'a Oracle) -> Self {
        Self { oracle, declared: BTreeMap::new(), state: State::new("oracle") }
    }

    /// The declaration of a stream, where there is one.
    pub(crate) fn declared(&self, name: &str) -> Option<&Value> {
        self.declared.get(name)
    }

    /// Takes a stream away again.
    pub(crate) async fn remove(&mut self, name: &str) {
        self.oracle.done(&format!("STREAM.DELETE.{name}")).await;
        self.declared.remove(name);
        self.state.resources.remove(&Address::stream(name));
    }

    /// Declares a stream, and holds what jsplan says of it against what the server does.
    pub(crate) async fn declare(&mut self, name: &str, config: &Value) -> Result<Outcome, String> {
        let before = self.declared.insert(name.to_owned(), config.clone());
        let live = self.observe().await;
        let prediction = self.predict(name, config, &live)?;
        let Some(call) = prediction.call else {
            // The same in other words: only the record follows.
            let live = live.resources.get(&Address::stream(name)).map(Observed::config);
            self.record(name, &live.unwrap_or_default().into_value()).await;
            return self.settled(Outcome::Nothing).await;
        };
        let answer = self.oracle.send(&call.subject, &call.body, call.level).await;
        let result = match (&prediction.refused[..], answer) {
            ([], Answer::Taken(read)) => {
                let surprises = surprises(STREAM, &call.body, &read, self.oracle.release);
                self.record(name, &read).await;
                if surprises.is_empty() {
                    return self.settled(Outcome::Taken).await;
                }
                Err(format!("{}\n    sent {}", surprises.join(", "), call.body))
            }
            ([], Answer::Refused(code, why)) => {
                self.put_back(name, before);
                if UNSEEN.iter().any(|(word, _)| why.contains(word)) {
                    return Ok(Outcome::Unseen);
                }
                return Err(format!("refused with {code}: {why}\n    sent {}", call.body));
            }
            ([..], Answer::Refused(..)) => {
                self.put_back(name, before);
                return Ok(Outcome::Refused);
            }
            (refused, Answer::Taken(read)) => excuse(refused, config, &read, &call.body),
        };
        // What jsplan does not predict it does not know either: the case begins anew.
        self.remove(name).await;
        result
    }

    fn put_back(&mut self, name: &str, before: Option<Value>) {
        match before {
            Some(config) => drop(self.declared.insert(name.to_owned(), config)),
            None => drop(self.declared.remove(name)),
        }
    }

    async fn observe(&self) -> Live {
        self.oracle.session.observe(&BTreeSet::new()).await.expect("the account is read")
    }

    /// The real path: TOML, spec, plan.
    fn predict(&self, name: &str, config: &Value, live: &Live) -> Result<Prediction, String> {
        let address = Address::stream(name);
        let is = live.resources.get(&address).map(Observed::config);
        let (desired, findings) = self.load();
        let errors = |all: Vec<Finding>| -> Vec<Finding> {
            all.into_iter().filter(|it| it.severity == Severity::Error).collect()
        };
        let Some(desired) = desired else {
            let call = by_hand(name, config, is.as_ref());
            return Ok(Prediction { refused: errors(findings), call: Some(call) });
        };
        let plan = plan(&desired, &self.state, live, &consenting(&desired));
        let others: Vec<_> =
            plan.steps.iter().filter(|it| it.address != address).map(|it| &it.address).collect();
        if !others.is_empty() {
            return Err(format!("{others:?} would change too"));
        }
        let mut refused = errors(plan.findings);
        let Some(step) = plan.steps.first() else { return Ok(Prediction { refused, call: None }) };
        let call = match (step.action, is) {
            (Action::Replace, Some(is)) => {
                refused.extend(replaced(step));
                Some(in_place(name, step, &is))
            }
            _ => step.calls.last().cloned(),
        };
        Ok(Prediction { refused, call })
    }

    fn load(&self) -> (Option<Desired>, Vec<Finding>) {
        let text = spec(&self.declared);
        let loaded = spec::load("environments/oracle.toml", |_| Ok(text.clone()));
        (loaded.desired, loaded.findings)
    }

    /// What an apply would leave in the state.
    async fn record(&mut self, name: &str, read: &Value) {
        let address = Address::stream(name);
        let (Some(desired), _) = self.load() else { return };
        let Some(wanted) = desired.resources.get(&address) else { return };
        let created = self.oracle.session.read(&address).await.expect("it is read");
        let raw = RawValue::from_string(read.to_string()).expect("JSON");
        let facts = Facts::Stream { messages: 0, bytes: 0, consumers: 0 };
        let observed = Observed::new(raw, created.expect("it is there").created, facts);
        let recorded = Recorded {
            created: observed.created,
            origin: Origin::Created,
            prevent_destroy: None,
            spec_sha256: wanted.sha256.clone(),
            live_sha256: observed.sha256,
            config: observed.raw,
        };
        self.state.take(Done { step: 1, address, recorded: Some(recorded) });
    }

    /// After every case there must be nothing left to do.
    async fn settled(&mut self, outcome: Outcome) -> Result<Outcome, String> {
        let (Some(desired), _) = self.load() else { return Err("no spec".to_owned()) };
        let plan = plan(&desired, &self.state, &self.observe().await, &Ask::default());
        let Some(step) = plan.steps.first() else { return Ok(outcome) };
        let changes: Vec<_> = step.changes.iter().map(|it| &it.delta).collect();
        let (address, action) = (&step.address, step.action);
        let why = format!("the next plan has {action:?} {address}: {changes:?}");
        let name = address.name().to_owned();
        self.remove(&name).await;
        Err(why)
    }
}

/// What a change costs is no refusal of the server's.
pub(crate) fn consenting(desired: &Desired) -> Ask {
    let all = |it: &Address| Harm::ALL.map(|harm| ((harm, it.clone()), Reach::Unknown));
    Ask { allow: desired.resources.keys().flat_map(all).collect(), ..Ask::default() }
}

/// A replacement that nothing else stops is a refusal by the rows.
fn replaced(step: &Step) -> Vec<Finding> {
    let names: Vec<_> = step.changes.iter().map(|it| it.delta.field.name).collect();
    let why = step.changes.iter().find_map(|it| match it.verdict {
        Verdict::Refused(why) => Some(why),
        Verdict::InPlace | Verdict::OneWay => None,
    });
    let message = format!("{}: {}", names.join(", "), why.unwrap_or("no field is refused"));
    vec![Finding::error(Code::Conflict, message)]
}

/// The update that a replacement takes the place of.
fn in_place(name: &str, step: &Step, is: &Config) -> Call {
    let mut body = is.clone().into_value();
    let fields = body.as_object_mut().expect("a configuration is an object");
    for change in &step.changes {
        let (field, value) = (change.delta.field.name, change.delta.after.clone());
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.to_owned(), value);
        }
    }
    Call {
        address: Address::stream(name),
        does: Does::Write,
        subject: format!("STREAM.UPDATE.{name}"),
        body,
        level: 0,
        waits: false,
    }
}

/// The request that jsplan does not come to make, since the spec is refused.
fn by_hand(name: &str, config: &Value, is: Option<&Config>) -> Call {
    let verb = if is.is_some() { "UPDATE" } else { "CREATE" };
    Call {
        address: Address::stream(name),
        does: Does::Write,
        subject: format!("STREAM.{verb}.{name}"),
        body: config.clone(),
        level: 0,
        waits: false,
    }
}

/// Why it is right to refuse what the server takes: it does something else than was written.
fn excuse(
    refused: &[Finding],
    written: &Value,
    read: &Value,
    sent: &Value,
) -> Result<Outcome, String> {
    let (written, read) = (Config::of(written), Config::of(read));
    let lost = |field: &&Field| shown(field, &written) != shown(field, &read);
    let fields = STREAM.iter().filter(|it| it.writer == Writer::Spec && written.has(it.name));
    if fields.filter(lost).count() > 0 {
        return Ok(Outcome::NotDone);
    }
    let messages: Vec<_> = refused.iter().map(|it| it.message.as_str()).collect();
    if messages.iter().any(|it| HOLES.iter().any(|(word, _)| it.contains(word))) {
        return Ok(Outcome::Hole);
    }
    Err(format!("taken, though: {}\n    sent {sent}", messages.join("; ")))
}

/// A spec that declares these streams.
pub(crate) fn spec(streams: &BTreeMap<String, Value>) -> String {
    let mut tables = toml::Table::new();
    for (name, config) in streams {
        let mut table = toml(STREAM, config);
        table.remove("name");
        tables.insert(name.clone(), toml::Value::Table(table));
    }
    let mut spec = toml::Table::new();
    let server = [("url".to_owned(), "nats://127.0.0.1:4222".into())];
    spec.insert("server".to_owned(), toml::Value::Table(server.into_iter().collect()));
    spec.insert("streams".to_owned(), toml::Value::Table(tables));
    toml::to_string(&spec).expect("a spec is written")
}

/// The fields of a configuration as a person would write them.
pub(crate) fn toml(rows: &'static [Field], config: &Value) -> toml::Table {
    let mut table = toml::Table::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        let field = rows.iter().find(|it| it.name == name).expect("every field has a row");
        table.insert(name.clone(), written(&field.kind, value));
    }
    table
}

/// A value as a person would write it; durations in their smallest unit, so that all are exact.
fn written(kind: &'static Kind, value: &Value) -> toml::Value {
    match (kind, value) {
        (Kind::Duration, Value::Number(it)) => format!("{it}ns").into(),
        (Kind::Set(kind) | Kind::List(kind), Value::Array(list)) => {
            list.iter().map(|it| written(kind, it)).collect::<Vec<_>>().into()
        }
        (Kind::Table(rows), Value::Object(_)) => toml(rows, value).into(),
        (_, other) => toml::Value::try_from(json!(other)).expect("JSON without null is TOML"),
    }
}
