//! `[policy]` of one file.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::DeValue;

use super::{KINDS, LEVEL, OFF, Policy, REASON, STREAMS, Said, rules::RULES};
use crate::{
    finding::{Code, Finding},
    schema::Kind,
    spec::{
        read::is_name,
        value::{Fields, Key, Reader, Toml, Written, quoted},
    },
};

/// What is said of a rule of one's own.
pub(crate) const OWN: &[Key] = &[
    LEVEL,
    REASON,
    STREAMS,
    ("applies_to", Kind::OneOf(KINDS), "The kind of resource it is about."),
    ("rule", Kind::Text, "What must hold: a CEL expression over `config`."),
    ("message", Kind::Text, "What is wrong where it does not hold."),
    ("help", Kind::Text, "What to do then."),
];

/// Reads the rules of one file.
pub(in crate::spec) fn read(reader: &mut Reader<'_>, given: &Toml<'_>) -> Policy {
    let mut policy = Policy::default();
    for (key, value) in reader.table_of("policy", given).into_iter().flatten() {
        let place = reader.place(key.span());
        let name = key.get_ref().as_ref();
        if name == "rules" {
            policy.own = own(reader, value);
        } else if let Some(rule) = RULES.iter().find(|it| it.name == name) {
            let fields = settings(reader, &format!("policy.{name}"), rule.keys, value);
            policy.built_in.insert(rule.name, Said { place, fields });
        } else {
            let names: Vec<_> = RULES.iter().map(|it| it.name).chain(["rules"]).collect();
            reader.unknown("`[policy]`", key, &names);
        }
    }
    policy
}

fn own(reader: &mut Reader<'_>, given: &Toml<'_>) -> BTreeMap<String, Said> {
    let mut rules = BTreeMap::new();
    for (key, value) in reader.table_of("policy.rules", given).into_iter().flatten() {
        let place = reader.place(key.span());
        let name = key.get_ref().as_ref();
        let problem = if !is_name(name) {
            let help = "a name holds letters, digits, `_` and `-`";
            Some((Code::BadName, format!("{} is no name for a rule", quoted(name)), help))
        } else if RULES.iter().any(|it| it.name == name) {
            let help = "give it another name, or set the built-in one under `[policy]`";
            Some((Code::Duplicate, format!("`{name}` is the name of a built-in rule"), help))
        } else {
            None
        };
        if let Some((code, message, help)) = problem {
            reader.findings.push(Finding::error(code, message).at(place).help(help));
            continue;
        }
        let path = format!("policy.rules.{name}");
        if reader.table_of(&path, value).is_none() {
            continue;
        }
        let fields = settings(reader, &path, OWN, value);
        rules.insert(name.to_owned(), Said { place, fields });
    }
    rules
}

/// A level alone, or a table with it.
fn settings(reader: &mut Reader<'_>, path: &str, keys: &'static [Key], given: &Toml<'_>) -> Fields {
    let mut fields = if matches!(given.get_ref(), DeValue::Table(_)) {
        reader.section(path, keys, &[], given)
    } else {
        Fields::from([(LEVEL.0, reader.key(&LEVEL, given))])
    };
    for (name, written) in &mut fields {
        if written.value.as_str().is_some_and(|it| it.trim().is_empty()) {
            let message = format!("`{name}` is empty");
            let help = format!("write it, or remove the line of `{name}`");
            let finding = Finding::error(Code::BadValue, message).at(written.place);
            reader.findings.push(finding.help(help));
            written.value = Value::Null;
        }
    }
    if let Some(Written { value: Value::String(level), place }) = fields.get(LEVEL.0)
        && level == OFF
        && !fields.contains_key(REASON.0)
    {
        let rule = path.rsplit('.').next().unwrap_or(path);
        let message = format!("the rule `{rule}` is off, and nothing says why");
        let help = format!("write `{rule} = {{ level = \"off\", reason = \"…\" }}`");
        reader.findings.push(Finding::error(Code::Missing, message).at(*place).help(help));
    }
    fields
}
