//! `docs/reference/spec.schema.json`: a JSON Schema of the spec, for editors to complete and check.
//!
//! It is made from the tables that the reader of specs reads by. What takes two values to judge, or
//! more than one file, it leaves to `jsplan validate`.

use serde_json::{Map, Value, json};

use super::left_out;
use crate::{
    schema::{Choice, Field, Kind, OLDEST, UNLIMITED, Unset, Writer},
    spec::{
        connection::{EXPECT, ONE_URL, SERVER, TLS},
        environment::ENVIRONMENT,
        keeping::{self, STATE},
        policy::{
            OFF,
            read::OWN,
            rules::{RULES, Rule},
        },
        read::{EXTENDS, NAMING, OF_ONE, TOP},
        resource::Resource,
        value::{Key, last},
    },
};

const NAME: &str = "^[A-Za-z0-9_-]{1,255}$";
const BYTES: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtTpPeE]?[iI]?[bB]?)\s*$";
const LITERAL: &str = r"^[^.*>]+(\.[^.*>]+)*$";
const SUBJECT: &str = r"^[^.]+(\.[^.]+)*$";
const TIME: &str = r"^-?[0-9]{4,6}-?[0-9]{2}-?[0-9]{2}";

/// `"7d"`, `"1h 30m"`, `"2 days, 3 hours"`, and the durations of ISO 8601.
const DURATION: &str = concat!(
    r"^\s*(P[0-9A-Z.,]+|",
    r"[0-9]+:[0-9]{2}:[0-9]{2}([.,][0-9]+)?|",
    r"([0-9]+([.,][0-9]+)?\s*",
    r"(w|wks?|weeks?|d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|",
    r"ms|msecs?|millis?|milliseconds?|us|µs|μs|usecs?|micros?|microseconds?|",
    r"ns|nsecs?|nanos?|nanoseconds?)[\s,]*)+)\s*$",
);

/// The whole schema, as JSON with its keys in order.
#[must_use]
pub fn schema() -> String {
    let mut top = Map::new();
    for (name, doc) in TOP {
        top.insert((*name).to_owned(), described(section(name), doc));
    }
    let mut parts = Map::new();
    for kind in Resource::ALL {
        let alone = resource(kind, &[]);
        let each = resource(kind, &OF_ONE.map(|it| it.0));
        parts.insert(kind.noun().to_owned(), alone);
        parts.insert(format!("every_{}", kind.noun()), each);
    }
    let consumers = described(named(part("consumer")), "Its consumers, by key.");
    parts["stream"]["properties"]["consumers"] = consumers;
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A spec of jsplan",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
        "$defs": parts,
    });
    let text = serde_json::to_string_pretty(&schema).expect("a JSON value is always written");
    text + "\n"
}

/// What stands under a name at the top.
fn section(name: &str) -> Value {
    match name {
        "environment" => table(ENVIRONMENT.iter()),
        "server" => server(),
        "state" => state(),
        "naming" => table(NAMING.iter()),
        "policy" => policy(),
        "defaults" | "override" => {
            let nouns = Resource::ALL.map(Resource::noun);
            closed(
                nouns.map(|it| (it.to_owned(), part(&format!("every_{it}")))).into_iter().collect(),
            )
        }
        "streams" => named(part("stream")),
        "kv" | "object" => named(part(name)),
        _ => value(&EXTENDS.1, Unset::Absent),
    }
}

fn server() -> Value {
    let mut server = table(SERVER.iter());
    let urls = [&ONE_URL.1, &Kind::Set(&Kind::Text)].map(|it| value(it, Unset::Absent));
    let properties = &mut server["properties"];
    properties["url"] = described(json!({ "anyOf": urls }), ONE_URL.2);
    properties["tls"] = table(TLS.iter());
    properties["expect"] = table(EXPECT.iter());
    server
}

fn state() -> Value {
    let mut of_state = server();
    if let Value::Object(properties) = &mut of_state["properties"] {
        properties.remove("expect");
    }
    let mut state = table(STATE.iter());
    state["properties"][keeping::SERVER] = described(of_state, keeping::SERVER_DOC);
    state
}

fn policy() -> Value {
    let mut rules = Map::new();
    for Rule { name, sentence, keys, .. } in RULES {
        let alone =
            json!({ "enum": keys[0].1.names().filter(|it| *it != OFF).collect::<Vec<_>>() });
        let rule = json!({ "anyOf": [alone, reasoned(table(keys.iter()))] });
        rules.insert((*name).to_owned(), described(rule, sentence));
    }
    rules.insert("rules".to_owned(), named(reasoned(table(OWN.iter()))));
    closed(rules)
}

/// A rule that is off says why.
fn reasoned(mut rule: Value) -> Value {
    rule["if"] = json!({ "properties": { "level": { "const": OFF } }, "required": ["level"] });
    rule["then"] = json!({ "required": ["reason"] });
    rule
}

/// What stands under `$defs`.
fn part(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// The fields and settings of a kind of resource.
fn resource(kind: Resource, without: &[&str]) -> Value {
    let fields = kind.rows().iter().filter(|it| it.writer == Writer::Spec);
    let names: Vec<_> = fields.clone().map(|it| it.name).collect();
    let mut properties: Map<_, _> = fields.map(property).collect();
    properties.extend(kind.settings().filter(|it| !without.contains(&it.0)).map(setting));
    properties["ignore"]["items"] = json!({ "enum": names });
    closed(properties)
}

fn table<'a>(keys: impl Iterator<Item = &'a Key>) -> Value {
    closed(keys.map(setting).collect())
}

fn setting((name, kind, doc): &Key) -> (String, Value) {
    (last(name).to_owned(), described(value(kind, Unset::Absent), doc))
}

fn property(field: &'static Field) -> (String, Value) {
    let mut doc = format!("{} Left out: {}.", field.doc, left_out(field));
    if field.since > OLDEST {
        doc += &format!(" Since {}.", field.since);
    }
    for Choice { name, since } in field.kind.later_choices() {
        doc += &format!(" `{name}` since {since}.");
    }
    let value = value(&field.kind, field.unset);
    (field.name.to_owned(), described(value, &doc))
}

fn value(kind: &Kind, unset: Unset) -> Value {
    let limited = matches!(unset, Unset::Unlimited(_));
    let least = i64::from(limited);
    let value = match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Number => json!({ "type": "integer", "minimum": least }),
        Kind::Bytes => json!({
            "type": ["integer", "string"], "minimum": least, "pattern": BYTES
        }),
        Kind::Duration => json!({ "type": "string", "pattern": DURATION }),
        Kind::Time => json!({ "type": "string", "pattern": TIME }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Subject => json!({ "type": "string", "pattern": SUBJECT }),
        Kind::Literal => json!({ "type": "string", "pattern": LITERAL }),
        Kind::Labels => json!({
            "type": "object",
            "propertyNames": { "not": { "pattern": r"^(_nats|jsplan)\." } },
            "additionalProperties": { "type": "string" },
        }),
        Kind::OneOf(_) => json!({ "enum": kind.names().collect::<Vec<_>>() }),
        Kind::Set(kind) | Kind::List(kind) => {
            json!({ "type": "array", "items": value(kind, Unset::Absent) })
        }
        Kind::Table(rows) => {
            let mut table = closed(rows.iter().map(property).collect());
            let required = rows.iter().filter(|it| it.required).map(|it| it.name);
            table["required"] = required.collect();
            table
        }
    };
    if limited { json!({ "anyOf": [value, { "const": UNLIMITED }] }) } else { value }
}

/// A table whose keys are all known.
fn closed(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// A table of things by the names that people give them.
fn named(each: Value) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": each,
    })
}

fn described(mut value: Value, doc: &str) -> Value {
    value["description"] = doc.into();
    value
}
