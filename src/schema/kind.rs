//! What follows from the kind of a value: its canonical form, how it is shown, what it needs.

use serde_json::{Map, Value};

use super::{Choice, Field, Kind, Release};
use crate::{
    config::{Config, is_reserved},
    units,
};

impl Kind {
    /// One form for every way to write the same value; `None` where it is as good as absent.
    #[must_use]
    pub fn canonical(&self, value: &Value) -> Option<Value> {
        let zero = value.is_null() || *value == false || *value == 0 || *value == "";
        let present = Some(value).filter(|_| !zero)?;
        match self {
            Self::Bool | Self::Number | Self::Bytes | Self::Duration | Self::Text => {}
            Self::Subject | Self::Literal | Self::OneOf(_) => {}
            Self::Time => return canonical_time(present),
            Self::Labels => return canonical_labels(present),
            Self::Set(kind) => {
                let mut list = canonical_list(kind, present)?;
                list.sort_by_key(Value::to_string);
                return Some(list.into());
            }
            Self::List(kind) => return canonical_list(kind, present).map(Value::Array),
            Self::Table(rows) => return canonical_table(rows, present),
        }
        Some(present.clone())
    }

    /// A value without the keys that no row knows: those are nobody's difference.
    #[must_use]
    pub(crate) fn known(&self, value: &Value) -> Value {
        match (self, value) {
            (Self::Table(rows), Value::Object(table)) => {
                let known = |(name, it): (&String, &Value)| {
                    Some((name.clone(), Field::find(rows, name)?.kind.known(it)))
                };
                let known: Map<_, _> = table.iter().filter_map(known).collect();
                if known.is_empty() { Value::Null } else { known.into() }
            }
            (Self::Set(kind) | Self::List(kind), Value::Array(list)) => {
                list.iter().map(|it| kind.known(it)).collect()
            }
            (_, value) => value.clone(),
        }
    }

    /// The keys inside a value that no row knows, each with its path.
    #[must_use]
    pub(crate) fn foreign(&self, path: &str, value: &Value) -> Vec<(String, Value)> {
        match (self, value) {
            (Self::Table(rows), Value::Object(table)) => {
                let inside = |(name, it): (&String, &Value)| {
                    let path = format!("{path}.{name}");
                    match Field::find(rows, name) {
                        Some(field) => field.kind.foreign(&path, it),
                        None => vec![(path, it.clone())],
                    }
                };
                table.iter().flat_map(inside).collect()
            }
            (Self::Set(kind) | Self::List(kind), Value::Array(list)) => {
                let inside = |(number, it)| kind.foreign(&format!("{path}[{number}]"), it);
                list.iter().enumerate().flat_map(inside).collect()
            }
            (_, _) => Vec::new(),
        }
    }

    /// A wanted value with the keys of what is live that no row knows: an update replaces a table
    /// whole, and must not take away what a newer server put there.
    #[must_use]
    pub(crate) fn carrying(&self, live: &Value, wanted: Value) -> Value {
        match (self, live, wanted) {
            (Self::Table(rows), Value::Object(live), Value::Object(wanted)) => {
                carrying_table(rows, live, wanted).into()
            }
            (Self::Set(kind) | Self::List(kind), Value::Array(live), Value::Array(wanted)) => {
                let item = |it: Value| match live.iter().find(|other| kind.is_same(other, &it)) {
                    Some(other) => kind.carrying(other, it),
                    None => it,
                };
                wanted.into_iter().map(item).collect()
            }
            (_, _, wanted) => wanted,
        }
    }

    /// Whether two items of a list are the same thing, perhaps otherwise described.
    fn is_same(&self, a: &Value, b: &Value) -> bool {
        match self {
            Self::Table(rows) => {
                rows.iter().filter(|it| it.required).all(|it| a.get(it.name) == b.get(it.name))
            }
            Self::Bool | Self::Number | Self::Bytes | Self::Duration | Self::Time => a == b,
            Self::Text | Self::Subject | Self::Literal | Self::Labels | Self::OneOf(_) => a == b,
            Self::Set(_) | Self::List(_) => a == b,
        }
    }

    /// A canonical value as a spec would write it, without quotes around single texts.
    #[must_use]
    pub fn show(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Duration, Value::Number(it)) => {
                it.as_i64().map_or_else(|| it.to_string(), units::show_duration)
            }
            (Self::Bytes, Value::Number(it)) => {
                it.as_i64().map_or_else(|| it.to_string(), units::show_bytes)
            }
            (Self::Set(kind) | Self::List(kind), Value::Array(list)) => {
                let items: Vec<_> = list.iter().map(|it| kind.show(it)).collect();
                format!("[{}]", items.join(", "))
            }
            (Self::Table(rows), Value::Object(map)) => {
                let show = |(name, value): (&String, &Value)| match Field::find(rows, name) {
                    Some(field) => format!("{name} = {}", field.show(value)),
                    None => format!("{name} = {value}"),
                };
                format!("{{ {} }}", map.iter().map(show).collect::<Vec<_>>().join(", "))
            }
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        }
    }

    /// The names of a closed set; none for any other kind.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.choices().iter().map(|it| it.name)
    }

    /// The values of a closed set that came later than others of it.
    pub(crate) fn later_choices(&self) -> impl Iterator<Item = &'static Choice> {
        let oldest = self.choices().iter().map(|it| it.since).min();
        self.choices().iter().filter(move |it| Some(it.since) > oldest)
    }

    fn choices(&self) -> &'static [Choice] {
        match self {
            Self::OneOf(choices) | Self::Set(Self::OneOf(choices)) => choices,
            Self::Bool | Self::Number | Self::Bytes | Self::Duration | Self::Time => &[],
            Self::Text | Self::Subject | Self::Literal | Self::Labels => &[],
            Self::Set(_) | Self::List(_) | Self::Table(_) => &[],
        }
    }

    pub(super) fn first_release(&self, value: &Value) -> Option<Release> {
        match self {
            Self::OneOf(choices) => choices.iter().find(|it| value == it.name).map(|it| it.since),
            Self::Set(kind) | Self::List(kind) => {
                value.as_array()?.iter().filter_map(|it| kind.first_release(it)).max()
            }
            Self::Table(rows) => {
                let known = |(name, value): (&String, _)| {
                    Some(Field::find(rows, name)?.first_release(value))
                };
                value.as_object()?.iter().filter_map(known).max()
            }
            Self::Bool | Self::Number | Self::Bytes | Self::Duration => None,
            Self::Time | Self::Text | Self::Labels => None,
            Self::Subject | Self::Literal => None,
        }
    }

    /// What a person may write, for messages: "a duration such as …".
    #[must_use]
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Number => "a whole number".to_owned(),
            Self::Bytes => "a size such as \"50GiB\", or a number of bytes".to_owned(),
            Self::Duration => "a duration such as \"7d\", \"24h\" or \"250ms\"".to_owned(),
            Self::Time => "a time such as \"2026-11-23T17:00:00Z\"".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Literal => "a subject without wildcards".to_owned(),
            Self::Subject => "a subject such as \"orders.*.created\"".to_owned(),
            Self::Labels => "a table of texts".to_owned(),
            Self::OneOf(choices) => {
                let names: Vec<_> = choices.iter().map(|it| format!("\"{}\"", it.name)).collect();
                format!("one of {}", names.join(", "))
            }
            Self::Set(kind) | Self::List(kind) => format!("a list, each {}", kind.expected()),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

fn canonical_time(value: &Value) -> Option<Value> {
    let text = value.as_str()?;
    let instant = units::instant(text).unwrap_or_else(|| text.to_owned());
    // Go's zero time is how the server says "not set".
    (!instant.starts_with("0001-01-01T00:00:00")).then(|| instant.into())
}

fn canonical_labels(value: &Value) -> Option<Value> {
    let labels: Map<_, _> = value
        .as_object()?
        .iter()
        .filter(|(key, _)| !is_reserved(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!labels.is_empty()).then(|| labels.into())
}

fn carrying_table(
    rows: &'static [Field],
    live: &Map<String, Value>,
    mut wanted: Map<String, Value>,
) -> Map<String, Value> {
    for (name, value) in live {
        match (Field::find(rows, name), wanted.remove(name)) {
            (Some(field), Some(after)) => {
                wanted.insert(name.clone(), field.kind.carrying(value, after));
            }
            (Some(_), None) => {}
            (None, _) => drop(wanted.insert(name.clone(), value.clone())),
        }
    }
    wanted
}

/// In a list a zero is a value like others: a first wait of 0s is no missing one.
fn canonical_list(kind: &Kind, value: &Value) -> Option<Vec<Value>> {
    let item = |it: &Value| kind.canonical(it).unwrap_or_else(|| it.clone());
    let list: Vec<_> = value.as_array()?.iter().map(item).collect();
    (!list.is_empty()).then_some(list)
}

/// Inside a table a default is dropped, since a table is compared as one value.
fn canonical_table(rows: &'static [Field], value: &Value) -> Option<Value> {
    let given = Config::of(value);
    let unset = Config::default();
    let mut table = Map::new();
    for (name, value) in given.iter() {
        let Some(field) = Field::find(rows, name) else {
            table.insert(name.clone(), value.clone());
            continue;
        };
        let canonical = field.read(&given);
        if let Some(canonical) = canonical.filter(|it| Some(it) != field.read(&unset).as_ref()) {
            table.insert(name.clone(), canonical);
        }
    }
    (!table.is_empty()).then(|| table.into())
}
