//! Every row of a consumer: what a server fills in, and what it makes of every kind of change.

use std::collections::BTreeMap;

use jsplan::{
    config::Config,
    schema::{Field, Kind, Update, Verdict, consumer::CONSUMER},
};
use serde_json::{Value, json};

use crate::{
    consumer_draw::{examples, rows},
    readback::surprises,
    servers::{Answer, Oracle, each},
};

/// What a field needs around it.
const COMPANIONS: &[(&str, &str)] = &[
    ("opt_start_seq", r#"{ "deliver_policy": "by_start_sequence", "opt_start_seq": 9 }"#),
    (
        "opt_start_time",
        r#"{ "deliver_policy": "by_start_time", "opt_start_time": "2025-01-01T00:00:00Z" }"#,
    ),
    ("deliver_group", r#"{ "deliver_subject": "push.x" }"#),
    ("flow_control", r#"{ "deliver_subject": "push.x", "idle_heartbeat": 2000000000 }"#),
    ("idle_heartbeat", r#"{ "deliver_subject": "push.x" }"#),
    ("rate_limit_bps", r#"{ "deliver_subject": "push.x" }"#),
    ("ack_policy", r#"{ "deliver_subject": "push.x" }"#),
    ("priority_groups", r#"{ "priority_policy": "overflow", "priority_groups": ["zero"] }"#),
    ("priority_timeout", r#"{ "priority_policy": "pinned_client", "priority_groups": ["one"] }"#),
    ("max_deliver", r#"{ "ack_policy": "explicit" }"#),
];

/// What follows from a value of a field, where the server takes neither alone.
const WITH: &[(&str, &str, &str)] = &[
    ("deliver_policy", "by_start_sequence", r#"{ "opt_start_seq": 3 }"#),
    ("deliver_policy", "by_start_time", r#"{ "opt_start_time": "2025-01-01T00:00:00Z" }"#),
    ("deliver_policy", "last_per_subject", r#"{ "filter_subject": ">" }"#),
    ("ack_policy", "flow_control", r#"{ "ack_wait": null }"#),
    ("ack_policy", "none", r#"{ "max_ack_pending": null }"#),
    ("deliver_subject", "push.a", r#"{ "max_waiting": null }"#),
    ("deliver_subject", "push.b", r#"{ "max_waiting": null }"#),
    ("priority_policy", "overflow", r#"{ "priority_groups": ["one"] }"#),
    (
        "priority_policy",
        "pinned_client",
        r#"{ "priority_groups": ["one"], "priority_timeout": null }"#,
    ),
    ("priority_policy", "prioritized", r#"{ "priority_groups": ["one"] }"#),
];

/// Fields without which the value of another one is refused, so that they come and go with it.
const NEVER_ALONE: &[&str] = &["opt_start_seq", "opt_start_time", "priority_groups"];

/// Changes that the server takes and that have no effect, so that the rows refuse them.
const HOLES: &[&str] = &["mem_storage"];

/// One change of one field.
struct Transition {
    field: &'static Field,
    before: Value,
    after: Value,
}

#[test]
fn the_smallest_consumers_read_back_as_the_rows_say() {
    let found = each(async |oracle| {
        let mut found = Vec::new();
        stream(oracle).await;
        for config in [
            json!({}),
            json!({ "ack_policy": "explicit" }),
            json!({ "ack_policy": "all" }),
            json!({ "deliver_subject": "push.x" }),
            json!({ "deliver_subject": "push.x", "ack_policy": "explicit" }),
        ] {
            let config = named(&config);
            match oracle.send("CONSUMER.CREATE.S.T", &body(&config, "create"), 0).await {
                Answer::Taken(live) => {
                    let all = surprises(CONSUMER, &config, &live, oracle.release);
                    found.extend(all.into_iter().map(|it| format!("{config}: {it}")));
                    oracle.done("CONSUMER.DELETE.S.T").await;
                }
                Answer::Refused(_, why) => found.push(format!("{config}: {why}")),
            }
        }
        found
    });
    let wrong: Vec<_> = found.iter().filter(|it| !it.1.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_row_says_what_the_server_makes_of_every_change_of_a_consumer() {
    let found = each(async |oracle| {
        stream(oracle).await;
        let (mut fields, mut tried, mut wrong) = (0, 0, Vec::new());
        for field in rows().filter(|it| it.since <= oracle.release) {
            fields += 1;
            for transition in transitions(field, oracle) {
                tried += 1;
                wrong.extend(transition.try_on(oracle).await.err().map(|why| {
                    let Transition { before, after, .. } = &transition;
                    format!("`{}` {before} -> {after}: {why}", field.name)
                }));
            }
        }
        (fields, tried, wrong)
    });
    for (release, (fields, tried, wrong)) in &found {
        println!(
            "{release}: {fields} fields of a consumer, {tried} changes, {} wrong",
            wrong.len()
        );
    }
    // What several releases do alike is said once.
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (release, (_, _, all)) in &found {
        all.iter().for_each(|it| wrong.entry(it).or_default().push(release.to_string()));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn stream(oracle: &Oracle) {
    let config = json!({ "name": "S", "subjects": ["a.>", "b.>"] });
    let answer = oracle.send("STREAM.CREATE.S", &config, 0).await;
    assert!(matches!(answer, Answer::Taken(_)), "{answer:?}");
}

fn named(config: &Value) -> Value {
    let mut config = config.clone();
    config["name"] = json!("T");
    config["durable_name"] = json!("T");
    config
}

fn body(config: &Value, action: &str) -> Value {
    json!({ "stream_name": "S", "config": config, "action": action })
}

/// From nothing to each value, from each to the next, and back to nothing.
fn transitions(field: &'static Field, oracle: &Oracle) -> Vec<Transition> {
    let known = |it: &Value| field.first_release(it) <= oracle.release;
    let values: Vec<Value> = examples(field).into_iter().filter(known).collect();
    let mut all = Vec::new();
    for (number, value) in values.iter().enumerate() {
        all.push((Value::Null, value.clone()));
        all.push((value.clone(), Value::Null));
        // Of a closed set every pair, of others each beside the next, both ways.
        let others = match field.kind {
            Kind::OneOf(_) => &values[..],
            _ => &values[number..values.len().min(number + 2)],
        };
        for other in others.iter().filter(|it| *it != value) {
            all.push((value.clone(), other.clone()));
            if !matches!(field.kind, Kind::OneOf(_)) {
                all.push((other.clone(), value.clone()));
            }
        }
    }
    let alone = |it: &(Value, Value)| {
        !NEVER_ALONE.contains(&field.name) || !it.0.is_null() && !it.1.is_null()
    };
    all.retain(alone);
    all.into_iter().map(|(before, after)| Transition { field, before, after }).collect()
}

impl Transition {
    async fn try_on(&self, oracle: &Oracle) -> Result<(), String> {
        let before = match oracle
            .send(
                "CONSUMER.CREATE.S.T",
                &body(&self.with(&self.around(), &self.before), "create"),
                0,
            )
            .await
        {
            Answer::Taken(live) => live,
            Answer::Refused(_, why) => return Err(format!("no consumer has it: {why}")),
        };
        let sent = self.with(&before, &self.after);
        let answer = match self.field.update {
            Update::Request(name) => {
                let value = json!({ self.field.name: self.after }).to_string().into_bytes();
                let subject = format!("{name}.S.T");
                let answer = oracle.session.request(&subject, value, 0).await;
                answer.map_err(|it| it.to_string())?;
                let address = jsplan::address::Address::consumer("S", "T");
                let is = oracle.session.read(&address).await.expect("it is read");
                Answer::Taken(is.expect("it is there").config().into_value())
            }
            Update::Free | Update::Fixed | Update::OneWay | Update::Only(..) => {
                oracle.send("CONSUMER.CREATE.S.T", &body(&sent, "update"), 0).await
            }
        };
        oracle.done("CONSUMER.DELETE.S.T").await;
        self.judge(oracle, &before, &sent, answer)
    }

    fn judge(
        &self,
        oracle: &Oracle,
        before: &Value,
        sent: &Value,
        answer: Answer,
    ) -> Result<(), String> {
        let was = self.field.read(&Config::of(before)).unwrap_or_default();
        let will = self.field.value(&Config::of(sent), None, oracle.release).unwrap_or_default();
        let verdict = match self.field.verdict(oracle.release, &was, &will) {
            // Nothing changes.
            _ if was == will => Verdict::InPlace,
            verdict => verdict,
        };
        match (verdict, answer) {
            (Verdict::Refused(_), Answer::Refused(code, _))
                if code == u32::from(self.field.refusal) =>
            {
                Ok(())
            }
            (Verdict::Refused(_), Answer::Refused(code, why)) => {
                Err(format!("refused with {code} ({why}), and the row says {}", self.field.refusal))
            }
            (Verdict::Refused(_), Answer::Taken(_)) if HOLES.contains(&self.field.name) => Ok(()),
            (Verdict::Refused(why), Answer::Taken(_)) => Err(format!("taken, and the row: {why}")),
            (Verdict::InPlace | Verdict::OneWay, Answer::Refused(code, why)) => {
                Err(format!("refused with {code} ({why}), and the row takes it"))
            }
            (Verdict::InPlace | Verdict::OneWay, Answer::Taken(live)) => {
                match &surprises(CONSUMER, sent, &live, oracle.release)[..] {
                    [] => Ok(()),
                    all => Err(all.join(", ")),
                }
            }
        }
    }

    fn around(&self) -> Value {
        let around = COMPANIONS.iter().find(|it| it.0 == self.field.name);
        let around = around.map_or("{}", |it| it.1);
        named(&serde_json::from_str(around).expect("companions are JSON"))
    }

    /// A configuration with a value of the field, or without, and with what goes with the value.
    fn with(&self, config: &Value, value: &Value) -> Value {
        let mut config = config.clone();
        let fields = config.as_object_mut().expect("a configuration is an object");
        for (_, _, with) in WITH.iter().filter(|it| it.0 == self.field.name) {
            let with: Value = serde_json::from_str(with).expect("JSON");
            with.as_object().into_iter().flatten().for_each(|it| drop(fields.remove(it.0)));
        }
        match value {
            Value::Null => drop(fields.remove(self.field.name)),
            value => drop(fields.insert(self.field.name.to_owned(), value.clone())),
        }
        let with = WITH.iter().filter(|it| it.0 == self.field.name && value == it.1);
        for (_, _, with) in with {
            let with: Value = serde_json::from_str(with).expect("JSON");
            let with = with.as_object().into_iter().flatten().filter(|it| !it.1.is_null());
            fields.extend(with.map(|(name, it)| (name.clone(), it.clone())));
        }
        config
    }
}
