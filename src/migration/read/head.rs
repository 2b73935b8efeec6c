//! `[migration]`: why, how, from where to where, and in which environments.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::word::MIGRATION;
use crate::{
    finding::{Code, Finding, Place},
    migration::Strategy,
    spec::{
        is_environment,
        read::is_name,
        value::{Fields, Reader, Toml, quoted},
    },
};

/// What `[migration]` says.
pub(super) struct Head {
    pub(super) reason: String,
    pub(super) strategy: Option<Strategy>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) environments: Vec<String>,
    pub(super) requires: Vec<String>,
    pub(super) place: Place,
    pub(super) places: BTreeMap<&'static str, Place>,
}

impl Head {
    /// Whether it is known which strategy is meant, if any.
    pub(super) fn is_clear(&self) -> bool {
        self.strategy.is_some() || !self.places.contains_key("strategy")
    }
}

/// Reads `[migration]`, whose key stands at `place`.
pub(super) fn read(reader: &mut Reader<'_>, given: &Toml<'_>, place: Place) -> Head {
    let fields = reader.section("migration", MIGRATION, &[], given);
    let text = |name: &str| fields.get(name)?.value.as_str().map(str::to_owned);
    let strategy = text("strategy");
    let head = Head {
        reason: text("reason").unwrap_or_default(),
        strategy: Strategy::ALL
            .into_iter()
            .find(|it| strategy.as_deref() == Some(it.1))
            .map(|it| it.0),
        from: text("from"),
        to: text("to"),
        environments: texts(&fields, "environments"),
        requires: texts(&fields, "requires"),
        place,
        places: fields.iter().map(|(name, it)| (*name, it.place)).collect(),
    };
    reason(reader, &fields, place);
    streams(reader, &head);
    if let DeValue::Table(table) = given.get_ref() {
        environments(reader, table);
        requires(reader, table);
    }
    head
}

/// The texts of a list, where it is one.
pub(super) fn texts(fields: &Fields, name: &str) -> Vec<String> {
    let list = fields.get(name).and_then(|it| it.value.as_array());
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The texts of a list, each with where it stands.
pub(super) fn items<'v, 't>(
    table: &'v DeTable<'t>,
    name: &str,
) -> impl Iterator<Item = (&'v str, Range<usize>)> + use<'v, 't> {
    let list = table.get(name).and_then(|it| it.get_ref().as_array());
    list.into_iter().flatten().filter_map(|it| Some((it.get_ref().as_str()?, it.span())))
}

fn reason(reader: &mut Reader<'_>, fields: &Fields, place: Place) {
    let written = fields.get("reason");
    let empty = written.is_some_and(|it| it.value.as_str().is_some_and(|it| it.trim().is_empty()));
    if written.is_none() || empty {
        let message = "`[migration]` has no `reason`";
        let help = "say why there is one: who carries it out in a year will ask";
        let place = written.map_or(place, |it| it.place);
        reader.findings.push(Finding::error(Code::Missing, message).at(place).help(help));
    }
}

/// From where to where; each is named if and only if it plays a part.
fn streams(reader: &mut Reader<'_>, head: &Head) {
    let Head { strategy, from, to, places, .. } = head;
    let place = |name: &str| places.get(name).copied();
    for (key, name) in [("from", from), ("to", to)] {
        if let Some(name) = name.as_ref().filter(|it| !is_name(it)) {
            let message = format!("`{key}` is {}, which is no name for a stream", quoted(name));
            let help = "write the name that the stream has on the server, such as `ORDERS_V1`";
            reader.findings.push(Finding::error(Code::BadName, message).at(place(key)).help(help));
        }
        if let Some(strategy) = strategy.filter(|_| place(key).is_none()) {
            let message = format!("`{strategy}` needs `{key}`");
            let whence = if key == "from" { "come from" } else { "go to" };
            let help = format!("name the stream that messages {whence}");
            let finding = Finding::error(Code::Missing, message).at(place("strategy")).help(help);
            reader.findings.push(finding);
        }
    }
    if from.is_some() && from == to {
        let help = "a stream cannot become itself: give the new one a name of its own";
        let finding = Finding::error(Code::Migration, "`from` and `to` are the same stream");
        reader.findings.push(finding.at(place("to")).help(help));
    }
    if to.is_some() && place("strategy").is_none() {
        let message = "`to` says where messages go, and no `strategy` how";
        let names: Vec<_> = Strategy::ALL.iter().map(|it| format!("\"{}\"", it.1)).collect();
        let help = format!("add `strategy`, one of {}; or remove `to`", names.join(", "));
        reader.findings.push(Finding::error(Code::Missing, message).at(place("to")).help(help));
    }
}

fn environments(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    let mut known = Vec::new();
    for (name, span) in items(table, "environments") {
        let place = reader.place(span);
        let finding = if !is_environment(name) {
            let help = "write the name of a file in `environments/`, without `.toml`";
            let message = format!("{} is no name for an environment", quoted(name));
            Some(Finding::error(Code::BadName, message).help(help))
        } else if known.contains(&name) {
            let message = format!("`{name}` stands twice among the environments");
            let help = "keep one: they stand in the order of promotion";
            Some(Finding::error(Code::Duplicate, message).help(help))
        } else {
            None
        };
        known.push(name);
        reader.findings.extend(finding.map(|it| it.at(place)));
    }
}

fn requires(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    for (version, span) in items(table, "requires") {
        if version.is_empty() || !version.bytes().all(|it| it.is_ascii_digit()) {
            let message = format!("`requires` names {}, which is no version", quoted(version));
            let help = "write the digits that the name of its file begins with: \"0001\"";
            let finding = Finding::error(Code::BadValue, message).at(reader.place(span));
            reader.findings.push(finding.help(help));
        }
    }
}
