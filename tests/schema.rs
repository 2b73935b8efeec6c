//! The JSON Schema of a spec says what the reader of specs does, as far as a schema can.

use std::{collections::BTreeMap, fs, path::Path};

use jsonschema::Validator;
use jsplan::{
    finding::{Code, Severity},
    reference,
    schema::{
        Field, Writer,
        bucket::{KV, OBJECT},
        consumer::CONSUMER,
        stream::STREAM,
    },
    spec::{self, Loaded},
};
use serde_json::{Map, Value, json};

fn schema() -> Value {
    serde_json::from_str(&reference::schema::schema()).expect("the schema is JSON")
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("the schema is one")
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The TOML files of a folder, by name.
fn texts(folder: &str) -> BTreeMap<String, String> {
    let files = fs::read_dir(root(folder)).expect("the folder is there");
    let files = files.map(|it| it.expect("it can be listed").path());
    let specs = files.filter(|it| it.extension().is_some_and(|it| it == "toml"));
    let text = |it: &std::path::PathBuf| fs::read_to_string(it).expect("it can be read");
    let name = |it: &std::path::PathBuf| it.file_name().expect("a file").display().to_string();
    specs.map(|it| (name(&it), text(&it))).collect()
}

/// A TOML text as an editor's checker sees it.
fn as_json(text: &str) -> Option<Value> {
    Some(json_of(toml::Value::Table(text.parse::<toml::Table>().ok()?)))
}

fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(it) => it.into(),
        toml::Value::Integer(it) => it.into(),
        toml::Value::Float(it) => it.into(),
        toml::Value::Boolean(it) => it.into(),
        toml::Value::Datetime(it) => it.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(json_of).collect::<Vec<_>>().into(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(name, it)| (name, json_of(it))).collect::<Map<_, _>>().into()
        }
    }
}

fn complaints(validator: &Validator, json: &Value) -> Vec<String> {
    let shown = |it: jsonschema::ValidationError<'_>| format!("{}: {it}", it.instance_path());
    validator.iter_errors(json).map(shown).collect()
}

fn load(text: &str) -> Loaded {
    spec::load("dev.toml", |path| match path {
        "dev.toml" => Ok(text.to_owned()),
        path => fs::read_to_string(root("tests/specs").join(path)).map_err(|it| it.to_string()),
    })
}

#[test]
fn every_right_spec_passes() {
    let validator = validator();
    let shipped = texts("environments");
    let right = texts("tests/specs");
    assert!(shipped.len() >= 4 && right.len() >= 2);
    for (name, text) in shipped.iter().chain(&right) {
        let json = as_json(text).expect("a right spec is TOML");
        assert_eq!(complaints(&validator, &json), [""; 0], "{name}");
    }
}

#[test]
fn the_shipped_specs_name_the_schema_in_their_first_line() {
    for (name, text) in texts("environments") {
        let line = text.lines().next().unwrap_or_default();
        let path = line.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(root("environments").join(path).is_file(), "{name}: {path}");
    }
}

/// A misspelt key and a value of the wrong shape are what a schema is for.
#[test]
fn what_a_schema_can_see_does_not_pass() {
    let validator = validator();
    let mut seen = 0;
    for (name, text) in texts("tests/specs/wrong") {
        let Some(json) = as_json(&text) else { continue };
        let loaded = spec::load(&name, |path| {
            let folder = if path == name { "tests/specs/wrong" } else { "tests/specs" };
            let path = path.trim_start_matches("../");
            fs::read_to_string(root(folder).join(path)).map_err(|it| it.to_string())
        });
        let visible = loaded.findings.iter().any(|it| {
            let here = it.place.is_some_and(|it| loaded.sources.path(it) == name);
            // A name of a rule of one's own, or within an expression.
            let deeper = it.message.contains("no rule") || it.message.contains("asks for");
            let error = it.severity == Severity::Error;
            here && error
                && !deeper
                && [Code::UnknownKey, Code::WrongType, Code::NotYours].contains(&it.code)
        });
        if visible {
            seen += 1;
            assert!(!validator.is_valid(&json), "{name} passes");
        }
    }
    assert!(seen >= 20, "{seen} files");
}

#[test]
fn a_bad_name_of_a_closed_set_does_not_pass() {
    let validator = validator();
    for (wrong, right) in [
        (json!({ "streams": { "A": { "storage": "disk" } } }), json!({ "storage": "file" })),
        (json!({ "streams": { "A": { "max_age": "7 moons" } } }), json!({ "max_age": "7 days" })),
        (json!({ "streams": { "A": { "max_bytes": "ten" } } }), json!({ "max_bytes": "1.5 GB" })),
        (json!({ "streams": { "A": { "max_msgs": 0 } } }), json!({ "max_msgs": "unlimited" })),
        (
            json!({ "streams": { "A": { "republish": {} } } }),
            json!({ "republish": { "dest": "a" } }),
        ),
        (json!({ "streams": { "A": { "subjects": ["a..b"] } } }), json!({ "subjects": ["a.*"] })),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        let right = json!({ "streams": { "A": right } });
        assert_eq!(complaints(&validator, &right), [""; 0], "{right}");
    }
    for wrong in [
        json!({ "policy": { "replicated": "off" } }),
        json!({ "policy": { "replicated": { "level": "off" } } }),
        json!({ "policy": { "rules": { "mine": { "level": "off" } } } }),
        json!({ "state": { "backend": "floppy" } }),
        json!({ "defaults": { "stream": { "enabled": false } } }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn every_way_to_write_an_amount_passes() {
    let validator = validator();
    let stream = |fields: &str| format!("[server]\nurl = 'nats://a'\n[streams.A]\n{fields}\n");
    let forms =
        ["7d", "7 days", "1h30m", "1h 30m", "1 hour, 30 mins", "250ms", "1.5s", "PT1H", "2w"];
    let durations = forms.map(|it| format!("duplicate_window = '{it}'\nmax_age = '{it}'"));
    let forms = ["50GiB", "1.5 GB", "512k", "10 MB", "1024", "3kib", "7B"];
    let sizes = forms.map(|it| format!("max_bytes = '{it}'"));
    for fields in durations.iter().chain(&sizes) {
        let text = stream(fields);
        let loaded = load(&text);
        assert!(loaded.desired.is_some(), "{fields}: {:?}", loaded.findings);
        let json = as_json(&text).expect("it is TOML");
        assert_eq!(complaints(&validator, &json), [""; 0], "{fields}");
    }
}

#[test]
fn every_key_of_the_schema_is_one_the_reader_takes() {
    let schema = schema();
    let spec = sample(&schema, &schema);
    let text = toml::to_string(&spec).expect("a sample is TOML");
    let loaded = load(&text);
    for finding in &loaded.findings {
        let unknown = [Code::UnknownKey, Code::WrongType, Code::NotYours, Code::Syntax];
        assert!(!unknown.contains(&finding.code), "{}\n{text}", finding.message);
    }
    assert_eq!(complaints(&validator(), &as_json(&text).expect("TOML")), [""; 0], "{text}");
}

#[test]
fn every_field_of_the_rows_is_in_the_schema() {
    let schema = schema();
    let kinds = [("stream", STREAM), ("consumer", CONSUMER), ("kv", KV), ("object", OBJECT)];
    for (kind, rows) in kinds {
        let properties = &schema["$defs"][kind]["properties"];
        for Field { name, writer, .. } in rows {
            assert_eq!(properties.get(name).is_some(), *writer == Writer::Spec, "{kind} {name}");
        }
    }
}

/// A value that says every key of a schema.
fn sample(root: &Value, schema: &Value) -> Value {
    if let Some(path) = schema["$ref"].as_str() {
        let path = path.trim_start_matches('#');
        return sample(root, root.pointer(path).expect("it refers to what is there"));
    }
    if let Some(ways) = schema["anyOf"].as_array() {
        return sample(root, ways.last().expect("there is a way"));
    }
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    if schema["properties"].is_object() {
        let keys = schema["properties"].as_object().into_iter().flatten();
        return keys
            .map(|(name, it)| (name.clone(), sample(root, it)))
            .collect::<Map<_, _>>()
            .into();
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match schema["type"].as_str().or_else(|| schema["type"][0].as_str()) {
        Some("object") => json!({ "A": sample(root, &schema["additionalProperties"]) }),
        Some("array") => json!([sample(root, &schema["items"])]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        _ if pattern.contains("weeks") => json!("7d"),
        _ if pattern.contains("{4,6}") => json!("2026-11-23T17:00:00Z"),
        _ => json!("a"),
    }
}
