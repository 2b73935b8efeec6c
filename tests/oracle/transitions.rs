//! Every row and every kind of change: does the server take it as the row says?

use std::collections::BTreeMap;

use jsplan::{
    config::Config,
    schema::{Field, Kind, Verdict, Writer, stream::STREAM},
};
use serde_json::{Value, json};

use crate::{
    generate::{examples, filled},
    readback::surprises,
    servers::{Answer, Oracle, each},
};

/// What a field needs around it.
const COMPANIONS: &[(&str, &str)] = &[
    (
        "discard_new_per_subject",
        r#"{ "subjects": ["T.>"], "discard": "new", "max_msgs_per_subject": 5 }"#,
    ),
    ("subjects", "{}"),
    ("mirror", "{}"),
    // An origin that the server sees would decide it.
    ("mirror_direct", r#"{ "mirror": { "name": "FAR" } }"#),
];

/// One change of one field.
struct Transition {
    field: &'static Field,
    before: Value,
    after: Value,
}

#[test]
fn every_row_says_what_the_server_makes_of_every_change() {
    let found = each(async |oracle| {
        let origin = json!({ "name": "ORIGIN", "subjects": ["origin.>"] });
        oracle.send("STREAM.CREATE.ORIGIN", &origin, 0).await;
        let (mut fields, mut tried, mut wrong) = (0, 0, Vec::new());
        let known = |it: &&Field| it.writer == Writer::Spec && it.since <= oracle.release;
        for field in STREAM.iter().filter(known) {
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
        println!("{release}: {fields} fields of a stream, {tried} changes, {} wrong", wrong.len());
    }
    // What several releases do alike is said once.
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (release, (_, _, all)) in &found {
        all.iter().for_each(|it| wrong.entry(it).or_default().push(release.to_string()));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// From nothing to each value, from each to the next, and back to nothing.
fn transitions(field: &'static Field, oracle: &Oracle) -> Vec<Transition> {
    let known = |it: &Value| field.first_release(it) <= oracle.release;
    let name = |it: &Value| filled(it, "T", "ORIGIN");
    let values: Vec<Value> = examples(field.name, field).iter().map(name).filter(known).collect();
    let unset = || Value::Null;
    let mut all = Vec::new();
    for (number, value) in values.iter().enumerate() {
        all.push((unset(), value.clone()));
        all.push((value.clone(), unset()));
        // Of a closed set every pair, of others each beside the next, both ways.
        let closed = matches!(field.kind, Kind::OneOf(_));
        let end = if closed { values.len() } else { values.len().min(number + 2) };
        for other in &values[number + 1..end] {
            all.push((value.clone(), other.clone()));
            all.push((other.clone(), value.clone()));
        }
    }
    all.into_iter().map(|(before, after)| Transition { field, before, after }).collect()
}

impl Transition {
    async fn try_on(&self, oracle: &Oracle) -> Result<(), String> {
        let before = self.reach(oracle).await?;
        let sent = self.with(&before, &self.after);
        let answer = oracle.send("STREAM.UPDATE.T", &sent, 0).await;
        oracle.done("STREAM.DELETE.T").await;
        let was = self.field.read(&Config::of(&before)).unwrap_or_default();
        let will = self.field.value(&Config::of(&sent), None, oracle.release).unwrap_or_default();
        // Nothing is refused where nothing changes, and jsplan alone refuses what would do nothing.
        let verdict = if was == will || self.field.refusal == 0 {
            Verdict::InPlace
        } else {
            self.field.verdict(oracle.release, &was, &will)
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
            (Verdict::Refused(why), Answer::Taken(_)) => Err(format!("taken, and the row: {why}")),
            (Verdict::InPlace | Verdict::OneWay, Answer::Refused(code, why)) => {
                Err(format!("refused with {code} ({why}), and the row takes it"))
            }
            (Verdict::InPlace | Verdict::OneWay, Answer::Taken(live)) => {
                match &surprises(STREAM, &sent, &live, oracle.release)[..] {
                    [] => Ok(()),
                    all => Err(all.join(", ")),
                }
            }
        }
    }

    /// A stream with the value of before: made with it, or, where none is made so, changed to it.
    async fn reach(&self, oracle: &Oracle) -> Result<Value, String> {
        let around = COMPANIONS.iter().find(|it| it.0 == self.field.name);
        let around = around.map_or(r#"{ "subjects": ["T.>"] }"#, |it| it.1);
        let mut bare: Value = serde_json::from_str(around).expect("companions are JSON");
        bare["name"] = json!("T");
        let with = self.with(&bare, &self.before);
        if let Answer::Taken(live) = oracle.send("STREAM.CREATE.T", &with, 0).await {
            return Ok(live);
        }
        let Answer::Taken(live) = oracle.send("STREAM.CREATE.T", &bare, 0).await else {
            return Err(format!("the companions {around} make no stream"));
        };
        match oracle.send("STREAM.UPDATE.T", &self.with(&live, &self.before), 0).await {
            Answer::Taken(live) => Ok(live),
            Answer::Refused(_, why) => {
                oracle.done("STREAM.DELETE.T").await;
                Err(format!("no stream has {}: {why}", self.before))
            }
        }
    }

    /// A configuration with a value of the field, or without.
    fn with(&self, config: &Value, value: &Value) -> Value {
        let mut config = config.clone();
        let fields = config.as_object_mut().expect("a configuration is an object");
        if value.is_null() {
            fields.remove(self.field.name);
        } else {
            fields.insert(self.field.name.to_owned(), value.clone());
        }
        if self.field.name == "mirror" && !value.is_null() {
            // The server fills them in, and no mirror takes any.
            fields.remove("subjects");
        }
        config
    }
}
