//! Random consumers of several kinds of streams, and random changes of them, through the whole of
//! jsplan.

use std::collections::{BTreeMap, BTreeSet};

use jsplan::{
    address::Address,
    config::Config,
    finding::{Finding, Severity},
    live::{Live, Observed},
    plan::{
        Action, Plan, Step,
        call::{Call, Does},
        plan,
    },
    schema::{Field, Unset, Verdict, Writer, complete, consumer::CONSUMER},
    spec::{self, Desired},
    state::{Origin, Recorded, State, journal::Done},
};
use serde_json::{Value, json};

use crate::{
    account::{Outcome, consenting, toml},
    consumer_draw::Draw,
    random::{asked, report},
    readback::shown,
    servers::{Answer, Oracle, each},
};

/// The streams that are read: of each retention, and one that limits its consumers.
const STREAMS: &str = r#"
[streams.LIMITS]
subjects = ["l.a.>", "l.b.>"]
[streams.INTEREST]
subjects = ["i.a.>", "i.b.>"]
retention = "interest"
[streams.QUEUE]
subjects = ["q.a.>", "q.b.>"]
retention = "workqueue"
[streams.LIMITED]
subjects = ["m.a.>", "m.b.>"]
consumer_limits = { max_ack_pending = 700, inactive_threshold = "12h" }
"#;

/// What jsplan refuses and the server takes, by a word of the finding or of the row.
const HOLES: &[(&str, &str)] = &[
    ("replaced for mem_storage", "up to 2.14.3 it is read back, and the state stays where it was"),
    ("a work queue gives each", "an update that drops the filter is taken beside other consumers"),
];

/// Consumers that are declared, recorded and live.
struct Account<'a> {
    oracle: &'a Oracle,
    declared: BTreeMap<Address, Value>,
    state: State,
}

#[test]
fn what_is_predicted_of_random_consumers_is_what_the_server_does() {
    let (seed, cases) = asked();
    let found = each(async |oracle| {
        let mut draw = Draw::new(seed, oracle.release);
        let mut account = Account::new(oracle).await;
        let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut case = 0;
        while case < cases {
            let stream = *draw.one(&["LIMITS", "INTEREST", "QUEUE", "LIMITED"]);
            let name: &str = draw.one::<&str>(&["C1", "C2"]);
            let address = Address::consumer(stream, name);
            let config = match account.declared.get(&address).cloned() {
                Some(_) if draw.once_in(6) => {
                    account.remove(&address).await;
                    continue;
                }
                Some(config) => draw.changed(&config),
                None => placed(&draw.consumer(), stream),
            };
            let config = placed(&config, stream);
            case += 1;
            match account.declare(&address, &config).await {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(why) => {
                    wrong.push(format!("case {case}, {address}: {why}\n    wanted {config}"));
                }
            }
        }
        (outcomes, wrong)
    });
    report(&found);
}

/// Filters and loops are drawn for any stream, and stand below the letter of this one.
fn placed(config: &Value, stream: &str) -> Value {
    let letter = match stream {
        "LIMITS" => "l",
        "INTEREST" => "i",
        "QUEUE" => "q",
        _ => "m",
    };
    let place = |it: &Value| match it.as_str() {
        Some(text) if text.starts_with("a.") || text.starts_with("b.") => {
            json!(format!("{letter}.{text}"))
        }
        _ => it.clone(),
    };
    let mut config = config.clone();
    for name in ["filter_subject", "deliver_subject"] {
        if let Some(value) = config.get_mut(name) {
            *value = place(value);
        }
    }
    if let Some(Value::Array(all)) = config.get_mut("filter_subjects") {
        all.iter_mut().for_each(|it| *it = place(it));
    }
    config
}

impl<'a> Account<'a> {
    async fn new(oracle: &'a Oracle) -> Self {
        let mut account = Self { oracle, declared: BTreeMap::new(), state: State::new("oracle") };
        let (desired, findings) = account.load();
        let desired = desired.unwrap_or_else(|| panic!("{findings:?}"));
        for step in account.plan(&desired, &account.observe().await).steps {
            for call in &step.calls {
                let answer = oracle.send(&call.subject, &call.body, call.level).await;
                assert!(matches!(answer, Answer::Taken(_)), "{answer:?}");
            }
            account.record(&step).await;
        }
        account
    }

    fn load(&self) -> (Option<Desired>, Vec<Finding>) {
        let mut text: toml::Table = STREAMS.parse().expect("TOML");
        let server = toml::Table::from_iter([("url".to_owned(), "nats://127.0.0.1:4222".into())]);
        text.insert("server".to_owned(), server.into());
        for (address, config) in &self.declared {
            let stream = text["streams"][address.stream_name()].as_table_mut().expect("a table");
            let consumers = stream.entry("consumers").or_insert(toml::Table::new().into());
            let consumers = consumers.as_table_mut().expect("a table");
            consumers.insert(address.name().to_owned(), toml(CONSUMER, config).into());
        }
        let text = toml::to_string(&text).expect("TOML");
        let loaded = spec::load("environments/oracle.toml", |_| Ok(text.clone()));
        (loaded.desired, loaded.findings)
    }

    async fn observe(&self) -> Live {
        self.oracle.session.observe(&BTreeSet::new()).await.expect("the account is read")
    }

    fn plan(&self, desired: &Desired, live: &Live) -> Plan {
        plan(desired, &self.state, live, &consenting(desired))
    }

    async fn remove(&mut self, address: &Address) {
        let (stream, name) = (address.stream_name(), address.name());
        self.oracle.done(&format!("CONSUMER.DELETE.{stream}.{name}")).await;
        self.declared.remove(address);
        self.state.resources.remove(address);
    }

    /// What an apply would leave in the state.
    async fn record(&mut self, step: &Step) {
        let Some(intent) = &step.record else { return };
        let is = self.oracle.session.read(&step.address).await.expect("it is read");
        let Observed { raw: config, sha256, created, .. } = is.expect("it is there");
        let recorded = Recorded {
            created,
            origin: Origin::Created,
            prevent_destroy: None,
            spec_sha256: intent.spec_sha256.clone(),
            live_sha256: sha256,
            config,
        };
        self.state.take(Done { step: 1, address: step.address.clone(), recorded: Some(recorded) });
    }

    /// Declares a consumer, and holds what jsplan says of it against what the server does.
    async fn declare(&mut self, address: &Address, config: &Value) -> Result<Outcome, String> {
        let before = self.declared.insert(address.clone(), config.clone());
        let live = self.observe().await;
        let is = live.resources.get(address).map(Observed::config);
        let (desired, findings) = self.load();
        let Some(desired) = desired else {
            let call = by_hand(address, config, is.as_ref());
            return self.refused(address, before, errors(findings), &call).await;
        };
        let plan = self.plan(&desired, &live);
        let Some(step) = plan.steps.iter().find(|it| it.address == *address) else {
            return if plan.steps.is_empty() {
                Ok(Outcome::Nothing)
            } else {
                Err(format!("{:?} would change", plan.steps))
            };
        };
        let refused = errors(plan.findings.clone());
        match (step.action, is) {
            (Action::Replace, Some(is)) => {
                let refused = if refused.is_empty() { vec![replaced(step)] } else { refused };
                let call = in_place(address, step, &is);
                self.refused(address, before, refused, &call).await
            }
            (_, is) if refused.is_empty() => self.carried_out(step, before, is).await,
            (_, is) => {
                let call = step.calls.iter().find(|it| it.does == Does::Write).cloned();
                let call = call.unwrap_or_else(|| by_hand(address, config, is.as_ref()));
                self.refused(address, before, refused, &call).await
            }
        }
    }

    /// What jsplan would do, it does; and then there must be nothing left to do.
    async fn carried_out(
        &mut self,
        step: &Step,
        before: Option<Value>,
        is: Option<Config>,
    ) -> Result<Outcome, String> {
        let address = step.address.clone();
        let mut predicted = is.unwrap_or_default();
        for call in &step.calls {
            if call.does == Does::Set {
                let body = call.body.to_string().into_bytes();
                let answer = self.oracle.session.request(&call.subject, body, call.level).await;
                answer.map_err(|it| format!("{it}\n    sent {}", call.body))?;
                for (name, value) in call.body.as_object().into_iter().flatten() {
                    predicted.set(name, value.clone());
                }
                continue;
            }
            match self.oracle.send(&call.subject, &call.body, call.level).await {
                Answer::Taken(_) => {
                    let sent = Config::of(&call.body["config"]);
                    predicted = complete(CONSUMER, &sent, self.oracle.release);
                }
                Answer::Refused(code, why) => {
                    self.put_back(&address, before);
                    return Err(format!("refused with {code}: {why}\n    sent {}", call.body));
                }
            }
        }
        let read = self.oracle.session.read(&address).await.expect("it is read");
        let read = read.expect("it is there").config();
        let open = |it: &Field| {
            // Those limits are known to no row, and what follows from them stays as it is.
            address.stream_name() == "LIMITED" && matches!(it.unset, Unset::Kept(_))
        };
        let differ = |it: &&Field| !open(it) && shown(it, &predicted) != shown(it, &read);
        let known = CONSUMER.iter().filter(|it| it.since <= self.oracle.release);
        let wrong: Vec<_> = known
            .filter(differ)
            .map(|it| {
                let (found, said) = (shown(it, &read), shown(it, &predicted));
                format!("`{}` is {found}, and the row says {said}", it.name)
            })
            .collect();
        self.record(step).await;
        let left = self.left_to_do().await;
        if wrong.is_empty() && left.is_empty() {
            return Ok(Outcome::Taken);
        }
        self.remove(&address).await;
        Err(format!("{}; next: {left:?}\n    sent {:?}", wrong.join(", "), step.calls))
    }

    async fn left_to_do(&self) -> Vec<String> {
        let (Some(desired), _) = self.load() else { return vec!["no spec".to_owned()] };
        let plan = self.plan(&desired, &self.observe().await);
        let changes = |it: &Step| {
            let changes: Vec<_> = it.changes.iter().map(|it| &it.delta).collect();
            format!("{:?} {} {changes:?}", it.action, it.address)
        };
        plan.steps.iter().map(changes).collect()
    }

    /// What jsplan refuses the server refuses too, or does not do as written.
    async fn refused(
        &mut self,
        address: &Address,
        before: Option<Value>,
        refused: Vec<Finding>,
        call: &Call,
    ) -> Result<Outcome, String> {
        match self.oracle.send(&call.subject, &call.body, call.level).await {
            Answer::Refused(..) => {
                self.put_back(address, before);
                Ok(Outcome::Refused)
            }
            Answer::Taken(read) => {
                let written = self.declared[address].clone();
                let (sent, read) = (Config::of(&written), Config::of(&read));
                self.remove(address).await;
                let lost = |it: &&Field| shown(it, &sent) != shown(it, &read);
                let written =
                    CONSUMER.iter().filter(|it| it.writer == Writer::Spec && sent.has(it.name));
                if written.filter(lost).count() > 0 {
                    return Ok(Outcome::NotDone);
                }
                let said: Vec<_> = refused.iter().map(|it| it.message.as_str()).collect();
                if said.iter().any(|it| HOLES.iter().any(|(word, _)| it.contains(word))) {
                    return Ok(Outcome::Hole);
                }
                Err(format!("taken, though: {}\n    sent {}", said.join("; "), call.body))
            }
        }
    }

    fn put_back(&mut self, address: &Address, before: Option<Value>) {
        match before {
            Some(config) => drop(self.declared.insert(address.clone(), config)),
            None => drop(self.declared.remove(address)),
        }
    }
}

fn errors(all: Vec<Finding>) -> Vec<Finding> {
    all.into_iter().filter(|it| it.severity == Severity::Error).collect()
}

/// A replacement is a refusal by the rows.
fn replaced(step: &Step) -> Finding {
    let refused = |it: &&jsplan::plan::Change| matches!(it.verdict, Verdict::Refused(_));
    let names: Vec<_> = step.changes.iter().filter(refused).map(|it| it.delta.field.name).collect();
    Finding::error(jsplan::finding::Code::Conflict, format!("replaced for {}", names.join(", ")))
}

/// The update that a replacement takes the place of.
fn in_place(address: &Address, step: &Step, is: &Config) -> Call {
    let mut config = is.clone().into_value();
    let fields = config.as_object_mut().expect("a configuration is an object");
    for change in &step.changes {
        let (name, value) = (change.delta.field.name.to_owned(), change.delta.after.clone());
        match value {
            Value::Null => drop(fields.remove(&name)),
            value => drop(fields.insert(name, value)),
        }
    }
    request(address, &config, "update")
}

/// The request that jsplan does not come to make, since the spec is refused.
fn by_hand(address: &Address, config: &Value, is: Option<&Config>) -> Call {
    let mut config = config.clone();
    config["name"] = json!(address.name());
    config["durable_name"] = json!(address.name());
    request(address, &config, if is.is_some() { "update" } else { "create" })
}

fn request(address: &Address, config: &Value, action: &str) -> Call {
    let (stream, name) = (address.stream_name(), address.name());
    Call {
        address: address.clone(),
        does: Does::Write,
        subject: format!("CONSUMER.CREATE.{stream}.{name}"),
        body: json!({ "stream_name": stream, "config": config, "action": action }),
        level: 0,
        waits: false,
    }
}
