//! The files of an environment, from its own up through `extends`, each read into a [`Layer`].

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{
    connection::{self, Server},
    environment,
    keeping::{self, State},
    policy::{self, Policy},
    resource::Resource,
    value::{Fields, Key, Reader, Toml, TomlKey, Written, quoted},
};
use crate::{
    finding::{Code, Finding, Place, Sources, closest},
    schema::{
        Field, Kind, Writer,
        bucket::{Bucket, is_bucket_name},
    },
};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) environment: Fields,
    pub(super) server: Server,
    pub(super) state: State,
    pub(super) naming: Fields,
    pub(super) policy: Policy,
    pub(super) defaults: Blanket,
    pub(super) overrides: Blanket,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) buckets: BTreeMap<(Bucket, String), Block>,
}

/// What lies under or over every resource of a kind.
pub(super) type Blanket = BTreeMap<Resource, Fields>;

/// One stream as one file has it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) place: Place,
    pub(super) fields: Fields,
    pub(super) consumers: BTreeMap<String, Block>,
}

/// One consumer or bucket as one file has it.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    pub(super) fields: Fields,
}

/// What stands at the top of a file, each with a sentence.
pub(crate) const TOP: &[(&str, &str)] = &[
    ("extends", "The file that this one lies over, by its path from here."),
    ("environment", "What is said of the environment itself."),
    ("server", "How the server is reached, by whom, and what it must turn out to be."),
    ("state", "Where it is kept what was last applied."),
    ("naming", "How things are named on the server."),
    ("policy", "The principles that the environment holds itself to."),
    ("defaults", "What lies under every resource of a kind."),
    ("override", "What lies over every resource of a kind."),
    ("streams", "The streams, by name."),
    ("kv", "The key-value buckets, by name."),
    ("object", "The object stores, by name."),
];
pub(crate) const EXTENDS: Key = ("extends", Kind::Text, TOP[0].1);
pub(crate) const NAMING: &[Key] = &[(
    "durable",
    Kind::Text,
    "The durable name of a consumer, of `{service}` and `{name}`, its key.",
)];

/// Settings of one resource alone: what each would do to all, and what to do instead.
pub(crate) const OF_ONE: [(&str, &str, &str); 2] = [
    ("enabled", "switch everything off", "put it under the one resource that is left out"),
    (
        "exceptions",
        "except everything",
        "put it under the one it is for; a rule for none is off: `{ level = \"off\", reason = \"…\" }`",
    ),
];

/// Reads an environment's file and all that it extends, the outermost base first.
pub(super) fn layers(
    path: &str,
    text_of: impl Fn(&str) -> Result<String, String>,
    sources: &mut Sources,
    findings: &mut Vec<Finding>,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    let mut next: Option<(String, Option<Place>)> = Some((path.to_owned(), None));
    while let Some((path, place)) = next.take() {
        if paths.contains(&path) {
            let message = format!("`extends` leads back to `{path}`");
            let help = "a file extends another, never itself: remove one `extends` of the circle";
            findings.push(Finding::error(Code::ExtendsCycle, message).at(place).help(help));
            break;
        }
        let text = match text_of(&path) {
            Ok(text) => text,
            Err(why) => {
                findings.push(no_file(&path, &why, place));
                break;
            }
        };
        let file = sources.add(path.clone(), text.clone());
        let mut reader = Reader { file, findings: &mut *findings, secrets: Vec::new() };
        let (layer, extends) = reader.file(&text);
        for secret in reader.secrets {
            sources.hide(secret);
        }
        layers.push(layer);
        next = extends.map(|(base, place)| (beside(&path, &base), Some(place)));
        paths.push(path);
    }
    layers.reverse();
    layers
}

/// The errors of syntax in the text of a file.
pub(super) fn syntax_of(path: &str, text: &str, sources: &mut Sources) -> Vec<Finding> {
    let file = sources.add(path.to_owned(), text.to_owned());
    let mut findings = Vec::new();
    let mut reader = Reader { file, findings: &mut findings, secrets: Vec::new() };
    drop(reader.file(text));
    for secret in reader.secrets {
        sources.hide(secret);
    }
    findings.retain(|it| it.code == Code::Syntax);
    findings
}

fn no_file(path: &str, why: &str, place: Option<Place>) -> Finding {
    let help = match place {
        Some(_) => "the path is relative to the file that names it",
        None => "environments are the files `environments/NAME.toml`",
    };
    let message = format!("`{path}` cannot be read: {why}");
    Finding::error(Code::File, message).at(place).help(help)
}

/// The path of a file that another names, with `.` and `..` resolved.
fn beside(path: &str, named: &str) -> String {
    if named.starts_with('/') {
        return named.to_owned();
    }
    let folder = path.rsplit_once('/').map_or("", |it| it.0);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(named.split('/')) {
        match part {
            "." => {}
            "" if !parts.is_empty() || folder.is_empty() => {}
            ".." if parts.last().is_some_and(|it| !["", ".."].contains(it)) => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Reader<'_> {
    /// One whole file, and the path it extends.
    fn file(&mut self, text: &str) -> (Layer, Option<(String, Place)>) {
        self.document(text, Self::top)
    }

    /// What `read` makes of a text. What is said of its broken lines is that they are broken, and
    /// nothing else.
    pub(crate) fn document<T: Default>(
        &mut self,
        text: &str,
        read: impl FnOnce(&mut Self, DeTable<'_>) -> T,
    ) -> T {
        if let Some(span) = endless_key(text) {
            let finding = Finding::error(Code::Syntax, "a key has more than 100 parts");
            self.findings.push(finding.at(self.place(span)).help("quote a key that holds dots"));
            return T::default();
        }
        let (tree, errors) = DeTable::parse_recoverable(text);
        let mut broken: Vec<Range<usize>> = Vec::new();
        for error in errors {
            let span = within(text, error.span().unwrap_or_default());
            // What follows from the first error of a line says nothing new.
            if broken.iter().any(|it| it.contains(&span.start)) {
                continue;
            }
            broken.push(damage(text, span.start, error.message()));
            let (message, help) = syntax(error.message(), &text[span.clone()]);
            let finding = Finding::error(Code::Syntax, message).at(self.place(visible(text, span)));
            self.findings.push(finding.help(help));
        }
        let before = self.findings.len();
        let read = read(self, tree.into_inner());
        // What is left of a broken line is not what was meant.
        let kept = self.findings.split_off(before).into_iter().filter(|it| {
            let start = it.place.map(|it| it.span().start);
            start.is_none_or(|start| !broken.iter().any(|it| it.contains(&start)))
        });
        self.findings.extend(kept);
        read
    }

    fn top(&mut self, table: DeTable<'_>) -> (Layer, Option<(String, Place)>) {
        let mut layer = Layer::default();
        let mut extends = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "extends" => extends = self.extends(&value),
                "environment" => layer.environment = environment::read(self, &value),
                "server" => layer.server = connection::read(self, &value),
                "state" => layer.state = keeping::read(self, &value),
                "naming" => {
                    layer.naming = self.section("naming", NAMING, &[], &value);
                    self.naming(&mut layer.naming);
                }
                "defaults" => layer.defaults = self.blanket("defaults", &value),
                "override" => layer.overrides = self.blanket("override", &value),
                "streams" => layer.streams = self.streams(value),
                "kv" => self.buckets(Bucket::Kv, &value, &mut layer),
                "object" => self.buckets(Bucket::Object, &value, &mut layer),
                "policy" => layer.policy = policy::read::read(self, &value),
                _ => {
                    let names: Vec<_> = TOP.iter().map(|it| it.0).collect();
                    self.unknown("a spec", &key, &names);
                }
            }
        }
        (layer, extends)
    }

    fn extends(&mut self, given: &Toml<'_>) -> Option<(String, Place)> {
        let Written { value, place } = self.key(&EXTENDS, given);
        Some((value.as_str()?.to_owned(), place))
    }

    /// The rule for durable names holds `{name}`, perhaps `{service}`, and what a name may hold.
    fn naming(&mut self, naming: &mut Fields) {
        let Some(written) = naming.get_mut("durable") else { return };
        let Some(rule) = written.value.as_str() else { return };
        let rest = rule.replace("{service}", "").replace("{name}", "");
        let message = if !rest.is_empty() && !is_name(&rest) {
            "the rule for durable names holds more than `{service}`, `{name}` and what a name holds"
        } else if !rule.contains("{name}") {
            "the rule for durable names lacks `{name}`, so that all consumers would share one"
        } else {
            return;
        };
        let help = "write it like `durable = \"{service}_{name}\"`";
        self.findings.push(Finding::error(Code::BadValue, message).at(written.place).help(help));
        written.value = Value::Null;
    }

    fn blanket(&mut self, path: &str, given: &Toml<'_>) -> Blanket {
        let mut blanket = Blanket::default();
        for (key, value) in self.table_of(path, given).into_iter().flatten() {
            let kind = Resource::ALL.into_iter().find(|it| it.noun() == key.get_ref());
            if let Some(kind) = kind {
                blanket.insert(kind, self.blanket_of(path, kind, value));
            } else {
                let nouns = Resource::ALL.map(Resource::noun);
                self.unknown(&format!("`[{path}]`"), key, &nouns);
            }
        }
        blanket
    }

    fn blanket_of(&mut self, path: &str, kind: Resource, given: &Toml<'_>) -> Fields {
        let path = format!("{path}.{}", kind.noun());
        let Some(table) = self.table_of(&path, given) else { return Fields::new() };
        let mut fields = self.fields(kind, table);
        for (name, what, help) in OF_ONE {
            if let Some(written) = fields.remove(name) {
                let message = format!("`{name}` under `[{path}]` would {what}");
                let finding = Finding::error(Code::UnknownKey, message).at(written.place);
                self.findings.push(finding.help(help));
            }
        }
        if kind == Resource::Stream
            && let Some((key, _)) = table.get_key_value("consumers")
        {
            let message = format!("`[{path}]` has no consumers");
            let help = format!("write `[{}.consumer]`", path.split('.').next().unwrap_or_default());
            let place = self.place(key.span());
            self.findings.push(Finding::error(Code::UnknownKey, message).at(place).help(help));
        }
        fields
    }

    /// The streams, each taken out of the tree as it is read: of a large spec the tree is by far
    /// the largest thing in memory.
    fn streams(&mut self, given: Toml<'_>) -> BTreeMap<String, Stream> {
        let mut streams = BTreeMap::new();
        if self.table_of("streams", &given).is_none() {
            return streams;
        }
        let DeValue::Table(tables) = given.into_inner() else { return streams };
        for (key, value) in tables {
            let path = format!("streams.{}", key.get_ref());
            let Some(table) = self.table_of(&path, &value) else { continue };
            self.name(Resource::Stream, &key);
            let stream = Stream {
                place: self.place(key.span()),
                fields: self.fields(Resource::Stream, table),
                consumers: self.consumers(&path, table),
            };
            streams.insert(key.get_ref().to_string(), stream);
        }
        streams
    }

    fn consumers(&mut self, path: &str, stream: &DeTable<'_>) -> BTreeMap<String, Block> {
        let mut consumers = BTreeMap::new();
        let path = format!("{path}.consumers");
        let given = stream.get("consumers").and_then(|it| self.table_of(&path, it));
        for (key, value) in given.into_iter().flatten() {
            let Some(table) = self.table_of(&format!("{path}.{}", key.get_ref()), value) else {
                continue;
            };
            self.name(Resource::Consumer, key);
            let place = self.place(key.span());
            let fields = self.fields(Resource::Consumer, table);
            consumers.insert(key.get_ref().to_string(), Block { place, fields });
        }
        consumers
    }

    fn buckets(&mut self, kind: Bucket, given: &Toml<'_>, layer: &mut Layer) {
        for (key, value) in self.table_of(kind.noun(), given).into_iter().flatten() {
            let path = format!("{}.{}", kind.noun(), key.get_ref());
            let Some(table) = self.table_of(&path, value) else { continue };
            let place = self.place(key.span());
            if !is_bucket_name(key.get_ref()) {
                let message = format!("{} is no name for a bucket", quoted(key.get_ref()));
                let help = "a name holds letters, digits, `_` and `-`, at most 251 of them";
                self.findings.push(Finding::error(Code::BadName, message).at(place).help(help));
            }
            let fields = self.fields(Resource::Bucket(kind), table);
            self.origins(&fields);
            layer.buckets.insert((kind, key.get_ref().to_string()), Block { place, fields });
        }
    }

    /// What becomes one field of the stream is written in one way.
    fn origins(&mut self, fields: &Fields) {
        for (name, Written { value, place }) in fields {
            let list = value.as_array().into_iter().flatten();
            let mut origins = list.chain([value]);
            if origins.any(|it| it.get("domain").is_some() && it.get("external").is_some()) {
                let message = format!("`{name}` names a `domain` and an `external`");
                let help = "keep one: a `domain` is short for its `external`";
                self.findings.push(Finding::error(Code::Conflict, message).at(*place).help(help));
            }
        }
    }

    fn name(&mut self, kind: Resource, key: &TomlKey<'_>) {
        if !is_name(key.get_ref()) {
            let message = format!("{} is no name for {}", quoted(key.get_ref()), kind.title());
            self.bad_name(message, self.place(key.span()));
        }
    }

    fn bad_name(&mut self, message: String, place: Place) {
        let help = "a name holds no spaces, no `.`, `*`, `>`, `/` or `\\`, and at most 255 bytes";
        self.findings.push(Finding::error(Code::BadName, message).at(place).help(help));
    }

    /// The fields and settings of a resource, or of all of a kind.
    fn fields(&mut self, kind: Resource, table: &DeTable<'_>) -> Fields {
        let mut fields = Fields::new();
        let mut meant = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if let Some(setting) = kind.settings().find(|it| it.0 == name) {
                fields.insert(setting.0, self.key(setting, value));
                continue;
            }
            match Field::find(kind.rows(), name) {
                Some(field) if field.writer == Writer::Spec => {
                    fields.insert(field.name, self.field("", field, value));
                }
                Some(field) => self.not_yours(field, key, kind.naming()),
                None if kind == Resource::Stream && name == "consumers" => {}
                None => meant.extend(self.unknown_field(kind, key)),
            }
        }
        for (name, written) in meant {
            fields.entry(name).or_insert(written);
        }
        self.ignore(kind, &mut fields);
        if let Some(Written { value: Value::String(service), place }) = fields.get("service")
            && !is_name(service)
        {
            let message = format!("`service` is {service:?}, which cannot be part of a name");
            self.bad_name(message, *place);
        }
        fields
    }

    fn unknown_field(
        &mut self,
        kind: Resource,
        key: &TomlKey<'_>,
    ) -> Option<(&'static str, Written)> {
        let name = key.get_ref().as_ref();
        if let Some((message, help)) = kind.elsewhere(name) {
            let place = self.place(key.span());
            self.findings.push(Finding::error(Code::UnknownKey, message).at(place).help(help));
            return None;
        }
        let rows = kind.rows().iter().filter(|it| it.writer == Writer::Spec).map(|it| it.name);
        let names: Vec<_> = rows.chain(kind.settings().map(|it| it.0)).collect();
        let near = self.unknown(kind.title(), key, &names)?;
        Some((near, self.missing_value(key)))
    }

    /// `ignore` names fields, and says why.
    fn ignore(&mut self, kind: Resource, fields: &mut Fields) {
        let missing = |(has, lacks): (&str, &str)| {
            let written = fields.get(has).filter(|_| !fields.contains_key(lacks))?;
            let message = format!("`{has}` stands without `{lacks}`");
            let help = "write both: which fields are left to somebody else, and why";
            Some(Finding::error(Code::Missing, message).at(written.place).help(help))
        };
        let missing = [("ignore", "reason"), ("reason", "ignore")].into_iter().filter_map(missing);
        self.findings.extend(missing);
        let Some(Written { value: Value::Array(ignored), place }) = fields.get("ignore") else {
            return;
        };
        let names = kind.rows().iter().filter(|it| it.writer == Writer::Spec).map(|it| it.name);
        for name in ignored.iter().filter_map(Value::as_str) {
            if names.clone().any(|it| it == name) {
                continue;
            }
            let message = format!("`ignore` names {}, which is no field", quoted(name));
            let word = match kind {
                Resource::Bucket(bucket) => bucket.word(name).map(|it| it.0.name),
                Resource::Stream | Resource::Consumer => None,
            };
            let help = match word.or_else(|| closest(name, names.clone())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "every field is in `docs/reference/fields.md`".to_owned(),
            };
            self.findings.push(Finding::error(Code::UnknownKey, message).at(*place).help(help));
        }
    }
}

/// Whether the server takes a text as the name of a stream or consumer.
pub(crate) fn is_name(text: &str) -> bool {
    const REFUSED: &[char] = &[' ', '\t', '\r', '\n', '\u{c}', '.', '*', '>', '/', '\\'];
    (1..=255).contains(&text.len()) && !text.contains(REFUSED)
}

/// A dotted key so long that the tree under it would be too deep to walk, or even to drop.
fn endless_key(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    let mut dots = 0;
    // What ends the text or the comment that is being passed over.
    let mut until = None;
    for (at, here) in text.char_indices() {
        match here {
            '\n' => until = None,
            _ if until == Some(here) => until = None,
            _ if until.is_some() => continue,
            '#' => until = Some('\n'),
            '"' | '\'' => until = Some(here),
            '.' => dots += 1,
            _ => {}
        }
        if "\n=,[]{}".contains(here) {
            (start, dots) = (at + 1, 0);
        }
        if dots > 100 {
            return Some(start..at);
        }
    }
    None
}

/// A span that cuts no character and ends with the text.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let fit = |at: usize| (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
    let start = fit(span.start).unwrap_or_default();
    start..fit(span.end).unwrap_or_default().max(start)
}

/// A span that covers something: where nothing stands, the letter before it on its line, or else
/// the one after it.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() {
        return span;
    }
    let at = span.start;
    let before = text[..at].chars().next_back().filter(|it| *it != '\n');
    let after = text[at..].chars().next();
    match (before, after) {
        (Some(letter), _) => at - letter.len_utf8()..at,
        (None, Some(letter)) => at..at + letter.len_utf8(),
        (None, None) => span,
    }
}

/// What cannot be trusted after an error: its line, or where a header or a bracket is broken, all
/// up to the next header.
fn damage(text: &str, at: usize, message: &str) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |it| it + 1);
    let header = text[start..].trim_start().starts_with('[');
    let end = if header || message.contains("array") || message.contains("unclosed") {
        text[at..].find("\n[").map(|it| at + it)
    } else {
        text[at..].find('\n').map(|it| at + it)
    };
    start..end.unwrap_or(text.len()) + 1
}

/// The parser's message in words for people who do not know TOML, and what to do.
fn syntax(message: &str, written: &str) -> (String, &'static str) {
    let (words, help) = match message {
        it if it.starts_with("string values must be quoted") && written.is_empty() => {
            ("a key without a value", "write the value after the `=`, or remove the line")
        }
        it if it.starts_with("string values must be quoted")
            || it.starts_with("invalid boolean") =>
        {
            ("a text without quotes", "put it in quotes: `max_age = \"7d\"`")
        }
        "duplicate key" => (
            "this stands twice",
            "a key is written once, and so is the header of a table: put the two together",
        ),
        it if it.starts_with("invalid unquoted key") => (
            "a key that needs quotes",
            "put it in quotes: without them a key is made of letters of ASCII, digits, `_` and `-`",
        ),
        it if it.contains("unclosed table") => ("a header without its `]`", "close it with `]`"),
        it if it.contains("array") => {
            ("a list without its end", "part the values with `,` and close the list with `]`")
        }
        other => {
            let mut chars = other.chars();
            let lower = chars.next().map(|it| it.to_lowercase().chain(chars).collect());
            let help = "one `key = value` a line: texts in quotes, lists in `[ ]`";
            return (lower.unwrap_or_default(), help);
        }
    };
    (words.to_owned(), help)
}
