//! One TOML value → the wire's, by its kind; and what is wrong with it.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::{
    config::{OWN_LABELS, SERVER_LABELS},
    finding::{Code, Finding, Place, closest},
    schema::{Choice, Field, Kind, UNLIMITED, Unset, Writer},
    subject, units,
};

/// A TOML value with its span.
pub(crate) type Toml<'t> = Spanned<DeValue<'t>>;

/// A TOML key with its span.
pub(crate) type TomlKey<'t> = Spanned<std::borrow::Cow<'t, str>>;

/// What was written in one table, by name.
pub(crate) type Fields = BTreeMap<&'static str, Written>;

/// A key that is no row of a resource, with what it takes and what it is, in a sentence.
pub(crate) type Key = (&'static str, Kind, &'static str);

/// One value, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The wire's value. `Null` for one that is wrong: later checks then know that the key is
    /// there, and neither miss it nor judge it.
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// Reads the values of one file; what is wrong goes to the findings.
pub(crate) struct Reader<'a> {
    pub(crate) file: u16,
    pub(crate) findings: &'a mut Vec<Finding>,
    /// Where secrets stand that nothing may show.
    pub(crate) secrets: Vec<Place>,
}

/// A server's default `max_control_line`: no message has a longer subject.
const LONGEST_SUBJECT: usize = 4096;

impl Reader<'_> {
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.file, span)
    }

    /// The value of a key that is no row.
    pub(crate) fn key(&mut self, (name, kind, _): &'static Key, given: &Toml<'_>) -> Written {
        self.written(name, kind, Unset::Absent, given)
    }

    /// The value of a row, in a table called `path`.
    pub(super) fn field(&mut self, path: &str, field: &'static Field, given: &Toml<'_>) -> Written {
        if let (Some(wire), DeValue::String(it)) = (field.endless, given.get_ref())
            && it == UNLIMITED
        {
            return Written { value: wire.into(), place: self.place(given.span()) };
        }
        self.written(&dotted(path, field.name), &field.kind, field.unset, given)
    }

    fn written(
        &mut self,
        name: &str,
        kind: &'static Kind,
        unset: Unset,
        given: &Toml<'_>,
    ) -> Written {
        let place = self.place(given.span());
        let value = self.value(name, kind, unset, given).unwrap_or_default();
        Written { value, place }
    }

    fn value(
        &mut self,
        name: &str,
        kind: &'static Kind,
        unset: Unset,
        given: &Toml<'_>,
    ) -> Option<Value> {
        let place = self.place(given.span());
        match (kind, given.get_ref()) {
            (Kind::Bool, DeValue::Boolean(it)) => Some((*it).into()),
            (Kind::Number | Kind::Bytes | Kind::Duration, DeValue::String(it))
                if it == UNLIMITED =>
            {
                self.unlimited(name, kind, unset, place)
            }
            (Kind::Number | Kind::Bytes, DeValue::Integer(it)) => {
                let number = number(it);
                self.amount(name, unset, number, place)
            }
            (Kind::Bytes, DeValue::String(it)) => {
                let bytes = units::bytes(it);
                let bytes = bytes.map_err(|_| remedy(kind, unset, given.get_ref()));
                self.amount(name, unset, bytes, place)
            }
            (Kind::Duration, DeValue::String(it)) => {
                self.amount(name, unset, units::duration(it), place)
            }
            (Kind::Time, DeValue::String(it)) => self.time(name, it, place),
            (Kind::Time, DeValue::Datetime(it)) => self.time(name, &it.to_string(), place),
            (Kind::Text, DeValue::String(it)) => Some(it.as_ref().into()),
            (Kind::Subject, DeValue::String(it)) => self.subject(name, it, place),
            (Kind::Literal, DeValue::String(it)) => self.literal(name, it, place),
            (Kind::Labels, DeValue::Table(it)) => self.labels(name, it),
            (Kind::OneOf(choices), DeValue::String(it)) => self.one_of(name, choices, it, place),
            (Kind::Set(kind) | Kind::List(kind), DeValue::Array(list)) => {
                let read = list.iter().map(|it| self.value(name, kind, Unset::Absent, it));
                let read: Vec<_> = read.collect();
                read.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            (Kind::Table(rows), DeValue::Table(it)) => self.table(name, rows, it, place),
            (_, given) => {
                let message = format!("`{name}` is given {}", shape(given));
                let help = remedy(kind, unset, given);
                self.wrong(Code::WrongType, message, help, place)
            }
        }
    }

    /// Reports, and stands for the value that is wrong.
    fn wrong(
        &mut self,
        code: Code,
        message: String,
        help: impl Into<String>,
        place: Place,
    ) -> Option<Value> {
        self.findings.push(Finding::error(code, message).at(place).help(help));
        None
    }

    fn unlimited(&mut self, name: &str, kind: &Kind, unset: Unset, at: Place) -> Option<Value> {
        if let Unset::Unlimited(wire) = unset {
            return Some(wire.into());
        }
        let help = format!("write {}, or leave it out", kind.expected());
        self.wrong(Code::BadValue, format!("`{name}` cannot be unlimited"), help, at)
    }

    /// A number, a size or a duration: never negative, and never a hidden "unlimited".
    fn amount(
        &mut self,
        name: &str,
        unset: Unset,
        amount: Result<i64, String>,
        place: Place,
    ) -> Option<Value> {
        let limit = matches!(unset, Unset::Unlimited(_));
        let (message, help) = match amount {
            Err(why) => (format!("`{name}` is not understood"), why),
            Ok(amount) if amount < 0 && limit => (
                format!("`{name}` is negative"),
                "for no limit, write \"unlimited\" or leave it out".to_owned(),
            ),
            Ok(amount) if amount < 0 => {
                (format!("`{name}` is negative"), "write a positive number".to_owned())
            }
            Ok(0) if limit => (
                format!("`{name}` is 0, which the server takes for no limit"),
                "write \"unlimited\" if that is meant, else the limit".to_owned(),
            ),
            Ok(amount) => return Some(amount.into()),
        };
        self.wrong(Code::BadValue, message, help, place)
    }

    fn time(&mut self, name: &str, text: &str, place: Place) -> Option<Value> {
        if let Some(instant) = units::instant(text) {
            return Some(instant.into());
        }
        let message = format!("`{name}` is no instant: {text:?}");
        let help = "write date, time and zone, such as \"2026-11-23T17:00:00Z\"";
        self.wrong(Code::BadValue, message, help, place)
    }

    fn subject(&mut self, name: &str, text: &str, place: Place) -> Option<Value> {
        // The destination of a transform may hold functions, and those may hold spaces.
        let plain = if text.contains("{{") { text.replace(' ', "") } else { text.to_owned() };
        let why = match subject::check(&plain) {
            Ok(()) if text.len() <= LONGEST_SUBJECT => return Some(text.into()),
            Ok(()) => "no message has a subject over 4,096 bytes",
            Err(why) => why,
        };
        let message = format!("`{name}` holds {text:?}, which is no subject");
        self.wrong(Code::BadSubject, message, why, place)
    }

    fn literal(&mut self, name: &str, text: &str, place: Place) -> Option<Value> {
        let subject = self.subject(name, text, place)?;
        if !text.split('.').any(|it| it == "*" || it == ">") {
            return Some(subject);
        }
        let message = format!("`{name}` holds {text:?}, which stands for many subjects");
        let help = "write one subject, without `*` and `>`";
        self.wrong(Code::BadSubject, message, help, place)
    }

    fn labels(&mut self, name: &str, table: &DeTable<'_>) -> Option<Value> {
        let mut labels = Map::new();
        let mut right = true;
        for (key, value) in table {
            let place = self.place(key.span());
            let owners = [(SERVER_LABELS, "the server"), (OWN_LABELS, "jsplan")];
            let owner = owners.into_iter().find(|it| key.get_ref().starts_with(it.0));
            if let Some((prefix, owner)) = owner {
                let message = format!("the label {} belongs to {owner}", quoted(key.get_ref()));
                let help = format!("remove it: {owner} writes what is under `{prefix}` itself");
                self.wrong(Code::NotYours, message, help, place);
                right = false;
                continue;
            }
            let DeValue::String(text) = value.get_ref() else {
                let label = quoted(key.get_ref());
                let message =
                    format!("the label {label} of `{name}` is given {}", shape(value.get_ref()));
                let help = "labels are texts: quote the value, and a key that holds a dot";
                self.wrong(Code::WrongType, message, help, place);
                right = false;
                continue;
            };
            labels.insert(key.get_ref().to_string(), text.as_ref().into());
        }
        right.then(|| labels.into())
    }

    fn one_of(
        &mut self,
        name: &str,
        choices: &'static [Choice],
        text: &str,
        place: Place,
    ) -> Option<Value> {
        if let Some(choice) = choices.iter().find(|it| it.name == text) {
            return Some(choice.name.into());
        }
        let help = match closest(text, choices.iter().map(|it| it.name)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write {}", Kind::OneOf(choices).expected()),
        };
        self.wrong(Code::BadValue, format!("`{name}` does not take {text:?}"), help, place)
    }

    fn table(
        &mut self,
        path: &str,
        rows: &'static [Field],
        table: &DeTable<'_>,
        place: Place,
    ) -> Option<Value> {
        let before = self.findings.len();
        let mut read = Map::new();
        for (key, value) in table {
            if let Some((name, written)) = self.row(path, rows, key, value) {
                read.insert(name.to_owned(), written.value);
            }
        }
        for Field { name, doc, .. } in rows.iter().filter(|it| it.required) {
            if read.get(*name).is_none_or(|it| it == "") {
                let message = format!("`{path}` has no `{name}`");
                let help = format!("add `{name}`: {}", doc.to_lowercase().trim_end_matches('.'));
                self.wrong(Code::Missing, message, help, place);
            }
        }
        (self.findings.len() == before).then(|| read.into())
    }

    /// One key of a table inside a field.
    fn row(
        &mut self,
        path: &str,
        rows: &'static [Field],
        key: &TomlKey<'_>,
        value: &Toml<'_>,
    ) -> Option<(&'static str, Written)> {
        if let Some(field) = Field::find(rows, key.get_ref()) {
            return Some((field.name, self.field(path, field, value)));
        }
        if key.get_ref() == "domain" && Field::find(rows, "external").is_some() {
            let message =
                format!("`{path}.domain` is a word of clients, and the server refuses it");
            let help = "write `external = { api = \"$JS.DOMAIN.API\" }` with the domain's name";
            self.wrong(Code::UnknownKey, message, help, self.place(key.span()));
            return None;
        }
        let names: Vec<_> = rows.iter().map(|it| it.name).collect();
        let near = self.unknown(&format!("`{path}`"), key, &names)?;
        Some((near, self.missing_value(key)))
    }

    /// What stands for the value of a key that was probably meant.
    pub(super) fn missing_value(&self, key: &TomlKey<'_>) -> Written {
        Written { value: Value::Null, place: self.place(key.span()) }
    }

    /// A key that nothing knows; gives the one that was probably meant.
    pub(crate) fn unknown(
        &mut self,
        whose: &str,
        key: &TomlKey<'_>,
        names: &[&'static str],
    ) -> Option<&'static str> {
        let typed = key.get_ref().as_ref();
        let near = closest(typed, names.iter().copied())
            .and_then(|near| names.iter().copied().find(|it| *it == near));
        let similar: Vec<_> = names.iter().filter(|it| shares_words(typed, it)).copied().collect();
        let help = match (near, similar.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, [_, ..]) => format!("did you mean {}?", list(&similar, "or")),
            (None, []) if names.len() <= 16 => format!("it takes {}", list(names, "and")),
            (None, []) => "every field is in `docs/reference/fields.md`".to_owned(),
        };
        let message = format!("{whose} has no key {}", quoted(typed));
        self.wrong(Code::UnknownKey, message, help, self.place(key.span()));
        match similar.as_slice() {
            _ if near.is_some() => near,
            [only] => Some(only),
            _ => None,
        }
    }

    /// The table under a key.
    pub(crate) fn table_of<'t, 'v>(
        &mut self,
        name: &str,
        given: &'v Toml<'t>,
    ) -> Option<&'v DeTable<'t>> {
        if let DeValue::Table(table) = given.get_ref() {
            return Some(table);
        }
        let message = format!("`{name}` is given {}", shape(given.get_ref()));
        let help = format!("it is a table: `[{name}]`");
        self.wrong(Code::WrongType, message, help, self.place(given.span()));
        None
    }

    /// A table of keys that are no rows. `inside` names those that the caller reads itself.
    pub(crate) fn section(
        &mut self,
        path: &str,
        keys: &'static [Key],
        inside: &[&'static str],
        given: &Toml<'_>,
    ) -> Fields {
        match self.table_of(path, given) {
            Some(table) => self.keys(&format!("`[{path}]`"), keys, inside, table),
            None => Fields::new(),
        }
    }

    /// The keys of a table that are no rows; `whose` they are is for messages.
    pub(crate) fn keys(
        &mut self,
        whose: &str,
        keys: &'static [Key],
        inside: &[&'static str],
        table: &DeTable<'_>,
    ) -> Fields {
        let mut fields = Fields::new();
        let mut meant = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if inside.contains(&name) {
                continue;
            }
            if let Some(known) = keys.iter().find(|it| last(it.0) == name) {
                fields.insert(known.0, self.key(known, value));
                continue;
            }
            let names: Vec<_> =
                keys.iter().map(|it| last(it.0)).chain(inside.iter().copied()).collect();
            let near = self.unknown(whose, key, &names);
            let near = keys.iter().find(|it| Some(last(it.0)) == near);
            meant.extend(near.map(|it| (it.0, self.missing_value(key))));
        }
        for (name, written) in meant {
            fields.entry(name).or_insert(written);
        }
        fields
    }

    /// A field that the spec does not decide.
    pub(super) fn not_yours(&mut self, field: &Field, key: &TomlKey<'_>, remedy: &str) {
        let name = field.name;
        let (message, help) = match field.writer {
            Writer::Key => (format!("`{name}` follows from the key of the table"), remedy),
            Writer::Server | Writer::Spec => {
                (format!("`{name}` is the server's own"), "remove the line")
            }
        };
        self.wrong(Code::NotYours, message, help, self.place(key.span()));
    }
}

/// `tls.ca` → `ca`: what stands in the file.
pub(crate) fn last(name: &'static str) -> &'static str {
    name.rsplit('.').next().unwrap_or(name)
}

fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A name from a file, fit for a message whatever it holds.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.escape_debug())
}

/// "`a`, `b` and `c`".
pub(crate) fn list(names: &[&str], word: &str) -> String {
    let names: Vec<_> = names.iter().map(|it| format!("`{it}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Whether a name holds every word of another, as `num_replicas` holds those of `replicas`.
fn shares_words(typed: &str, name: &str) -> bool {
    typed.split('_').all(|word| name.split('_').any(|it| it == word))
}

fn number(given: &DeInteger<'_>) -> Result<i64, String> {
    i64::from_str_radix(given.as_str(), given.radix())
        .map_err(|_| "whole numbers end at 9223372036854775807".to_owned())
}

/// What a value is, for a message.
fn shape(given: &DeValue<'_>) -> &'static str {
    match given {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What to write instead of a value of the wrong shape.
fn remedy(kind: &Kind, unset: Unset, given: &DeValue<'_>) -> String {
    match (kind, given) {
        (Kind::Duration, DeValue::Integer(it)) => match number(it) {
            // A value copied from the server's JSON counts nanoseconds.
            Ok(nanoseconds) if nanoseconds >= 1_000_000 => {
                format!(
                    "write it with its unit: {:?}, if nanoseconds are meant",
                    units::show_duration(nanoseconds)
                )
            }
            Ok(_) | Err(_) => "write it with its unit, such as \"7d\"".to_owned(),
        },
        (Kind::Bool, DeValue::String(it)) if ["true", "false"].contains(&it.as_ref()) => {
            format!("write it without quotes: {it}")
        }
        (Kind::Number, DeValue::String(it)) if it.parse::<i64>().is_ok() => {
            format!("write it without quotes: {it}")
        }
        (Kind::Text, DeValue::Integer(it)) => format!("put it in quotes: \"{it}\""),
        (Kind::Set(Kind::Subject | Kind::Text), DeValue::String(it)) => {
            format!("write a list: [{:?}]", it.as_ref())
        }
        (Kind::Set(Kind::Table(_)), DeValue::Table(_)) => {
            "write a list of tables: [{ … }]".to_owned()
        }
        _ if matches!(unset, Unset::Unlimited(_)) => {
            format!("write {}, or \"unlimited\"", kind.expected())
        }
        _ => format!("write {}", kind.expected()),
    }
}
