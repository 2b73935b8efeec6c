//! A spec in its one layout: blank lines, spaces, quotes, the order of keys, the units of values.
//! Comments stay with what they stand above or beside, and what the spec says stays the same.

use std::collections::BTreeMap;

use toml_edit::{
    Array, Decor, DocumentMut, InlineTable, Item, KeyMut, RawString, Table, Value as Toml,
};

use super::{read, resource::Resource, write};
use crate::{
    finding::{Code, Finding, Sources},
    schema::{Field, Kind},
    units,
};

/// A file that is no TOML, and where it is broken.
#[derive(Debug)]
pub struct Broken {
    /// Every error of syntax.
    pub findings: Vec<Finding>,
    /// The file, for the places in findings.
    pub sources: Sources,
}

/// Lays out the text of a spec, an environment or a base.
pub fn format(path: &str, text: &str) -> Result<String, Broken> {
    let mut sources = Sources::default();
    let mut findings = read::syntax_of(path, text, &mut sources);
    match text.parse::<DocumentMut>() {
        Ok(document) if findings.is_empty() => return Ok(laid_out(document)),
        Err(error) if findings.is_empty() => {
            let finding = Finding::error(Code::Syntax, error.message());
            findings
                .push(finding.help("one `key = value` a line: texts in quotes, lists in `[ ]`"));
        }
        Ok(_) | Err(_) => {}
    }
    Err(Broken { findings, sources })
}

fn laid_out(mut document: DocumentMut) -> String {
    let order = order(document.as_table());
    let mut layout = Layout { order, first: document.as_table().get_values().is_empty() };
    layout.table(document.as_table_mut(), &mut Vec::new(), Rows::None);
    let rest = above(&format!("{}\n", document.trailing().as_str().unwrap_or_default()));
    document.set_trailing(rest.trim_end());
    let text = document.to_string();
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

/// The keys and the numbers of list elements that lead to a table.
type Path = Vec<String>;

/// What is known of the keys of a table.
#[derive(Clone, Copy)]
enum Rows {
    /// Nothing: they stay as they stand.
    None,
    /// They are the fields and settings of a resource.
    Resource(&'static [Field]),
    /// They are fields within a field.
    Field(&'static [Field]),
}

impl Rows {
    /// Of a table of the spec.
    fn of(path: &[String], inside: Self) -> Self {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["streams", _] => Self::Resource(Resource::Stream.rows()),
            ["streams", _, "consumers", _] => Self::Resource(Resource::Consumer.rows()),
            ["defaults" | "override" | "kv" | "object", ..] if path.len() == 2 => {
                let noun = if ["kv", "object"].contains(&path[0]) { path[0] } else { path[1] };
                let kind = Resource::ALL.into_iter().find(|it| it.noun() == noun);
                kind.map_or(inside, |it| Self::Resource(it.rows()))
            }
            _ => inside,
        }
    }

    fn find(self, name: &str) -> Option<&'static Field> {
        match self {
            Self::None => None,
            Self::Resource(rows) | Self::Field(rows) => Field::find(rows, name),
        }
    }

    /// Of the table that is a field's value.
    fn inside(self, name: &str) -> Self {
        match self.find(name).map(|it| &it.kind) {
            Some(Kind::Table(rows) | Kind::Set(Kind::Table(rows))) => Self::Field(rows),
            Some(_) | None => Self::None,
        }
    }

    /// Where a key stands among those of a resource: what switches and names it first, what keeps
    /// and excuses it last.
    fn rank(self, name: &str) -> usize {
        const LAST: [&str; 3] = ["prevent_destroy", "ignore", "reason"];
        let Self::Resource(rows) = self else { return 0 };
        let field = || rows.iter().position(|it| it.name == name).map(|it| it + 2);
        let last = || LAST.iter().position(|it| *it == name).map(|it| rows.len() + 2 + it);
        match name {
            "enabled" => 0,
            "service" => 1,
            _ => field().or_else(last).unwrap_or(usize::MAX),
        }
    }
}

/// The tables in the order in which they are written: each before those within it, and consumers
/// after what else belongs to their stream. Otherwise they stay as they stand.
fn order(root: &Table) -> BTreeMap<Path, isize> {
    let mut paths = Vec::new();
    arrange(root, &mut Vec::new(), &mut paths);
    (0..).zip(paths).map(|(position, path)| (path, position)).collect()
}

fn arrange(table: &Table, path: &mut Path, paths: &mut Vec<Path>) {
    let mut within = Vec::new();
    headed(table, path, &mut within);
    within.sort_by_key(|(path, table)| (is_consumer(path), first(table)));
    for (mut path, table) in within {
        paths.push(path.clone());
        arrange(table, &mut path, paths);
    }
}

fn is_consumer(path: &[String]) -> bool {
    path.len() == 4 && path[0] == "streams" && path[2] == "consumers"
}

/// The tables with headers right below a table, through those that have none.
fn headed<'t>(table: &'t Table, path: &mut Path, found: &mut Vec<(Path, &'t Table)>) {
    for (name, item) in table {
        path.push(name.to_owned());
        match item {
            Item::Table(it) if it.is_implicit() || it.is_dotted() => headed(it, path, found),
            Item::Table(it) => found.push((path.clone(), it)),
            Item::ArrayOfTables(list) => {
                for (number, it) in list.iter().enumerate() {
                    let number = std::iter::once(format!("{number:09}"));
                    found.push((path.iter().cloned().chain(number).collect(), it));
                }
            }
            Item::Value(_) | Item::None => {}
        }
        path.pop();
    }
}

/// Where a table, or the first within it, stands now.
fn first(table: &Table) -> isize {
    let mut within = Vec::new();
    headed(table, &mut Vec::new(), &mut within);
    let within = within.into_iter().map(|(_, it)| first(it));
    within.chain(table.position()).min().unwrap_or(isize::MAX)
}

struct Layout {
    order: BTreeMap<Path, isize>,
    /// Whether the file begins with a table.
    first: bool,
}

impl Layout {
    fn table(&mut self, table: &mut Table, path: &mut Path, rows: Rows) {
        let rows = Rows::of(path, rows);
        if matches!(rows, Rows::Resource(_)) {
            table.sort_values_by(|a, _, b, _| rows.rank(a.get()).cmp(&rows.rank(b.get())));
        }
        let mut leads = true;
        self.items(table, path, rows, &mut leads);
    }

    /// `leads` until a line of the table was laid out: what stands above that is no blank line.
    fn items(&mut self, table: &mut Table, path: &mut Path, rows: Rows, leads: &mut bool) {
        for (mut key, item) in table.iter_mut() {
            let name = key.get().to_owned();
            path.push(name.clone());
            match item {
                Item::Value(value) => {
                    line(&mut key, value, rows.find(&name));
                    if std::mem::take(leads) {
                        let prefix = around(key.leaf_decor()).0.trim_start().to_owned();
                        key.leaf_decor_mut().set_prefix(prefix);
                    }
                }
                Item::Table(it) if it.is_dotted() => {
                    unpad(&mut key);
                    self.items(it, path, rows.inside(&name), leads);
                }
                Item::Table(it) => {
                    unpad(&mut key);
                    self.header(it, path);
                    self.table(it, path, rows.inside(&name));
                }
                Item::ArrayOfTables(list) => {
                    unpad(&mut key);
                    for (number, it) in list.iter_mut().enumerate() {
                        path.push(format!("{number:09}"));
                        self.header(it, path);
                        self.table(it, path, rows.inside(&name));
                        path.pop();
                    }
                }
                Item::None => {}
            }
            path.pop();
        }
    }

    /// A blank line, comments, and the header.
    fn header(&self, table: &mut Table, path: &[String]) {
        let Some(position) = self.order.get(path) else { return };
        table.set_position(Some(*position));
        let blank = if self.first && *position == 0 { "" } else { "\n" };
        let decor = table.decor_mut();
        let (prefix, suffix) = (above(around(decor).0), beside(around(decor).1));
        decor.set_prefix(format!("{blank}{}", prefix.trim_start()));
        decor.set_suffix(suffix);
    }
}

/// One `key = value`.
fn line(key: &mut KeyMut<'_>, value: &mut Toml, field: Option<&'static Field>) {
    let prefix = above(around(key.leaf_decor()).0);
    unpad(key);
    key.leaf_decor_mut().set_prefix(prefix);
    let suffix = beside(around(value.decor()).1);
    said(value, field.map(|it| &it.kind));
    let room = write::WIDTH.saturating_sub(key.display_repr().len() + 3);
    spaced(value, room);
    *value.decor_mut() = Decor::new(" ", suffix);
}

/// A key without spaces around it, without quotes where it needs none, and else in double ones.
fn unpad(key: &mut KeyMut<'_>) {
    let single = key.display_repr().starts_with('\'');
    if single || write::key(key.get()).display_repr() == key.get() {
        key.fmt();
    }
    key.leaf_decor_mut().clear();
    key.dotted_decor_mut().clear();
}

fn around(decor: &Decor) -> (&str, &str) {
    let prefix = decor.prefix().and_then(RawString::as_str);
    (prefix.unwrap_or_default(), decor.suffix().and_then(RawString::as_str).unwrap_or_default())
}

/// The comments above something, at most one blank line between two.
fn above(text: &str) -> String {
    // What follows the last line break is the indentation of what they stand above.
    let Some((whole, _)) = text.rsplit_once('\n') else { return String::new() };
    let mut lines = String::new();
    let mut blank = false;
    for line in whole.split('\n').map(str::trim) {
        if line.is_empty() {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) {
            lines.push('\n');
        }
        lines.push_str(line);
        lines.push('\n');
    }
    if blank {
        lines.push('\n');
    }
    lines
}

/// The comment at the end of a line.
fn beside(text: &str) -> String {
    let comment = text.trim();
    if comment.is_empty() { String::new() } else { format!(" {comment}") }
}

/// Values in double quotes where that changes nothing else, and in their usual units.
fn said(value: &mut Toml, kind: Option<&Kind>) {
    let other = match (&mut *value, kind) {
        (Toml::Array(list), Some(Kind::Set(kind) | Kind::List(kind))) => {
            list.iter_mut().for_each(|it| said(it, Some(kind)));
            None
        }
        (Toml::Array(list), _) => {
            list.iter_mut().for_each(|it| said(it, None));
            None
        }
        (Toml::InlineTable(table), kind) => {
            let rows = match kind {
                Some(Kind::Table(rows)) => Rows::Field(rows),
                Some(_) | None => Rows::None,
            };
            for (key, value) in table.iter_mut() {
                said(value, rows.find(key.get()).map(|it| &it.kind));
            }
            None
        }
        (Toml::Integer(it), Some(Kind::Bytes)) => size(&it.value().to_string(), *it.value()),
        (Toml::String(it), Some(Kind::Bytes)) => {
            let written = it.value().replace(' ', "");
            units::bytes(&written).ok().and_then(|bytes| size(&written, bytes))
        }
        (Toml::String(it), Some(Kind::Duration)) => units::duration(it.value())
            .map(units::show_duration)
            .ok()
            .filter(|shown| units::duration(shown) == units::duration(it.value())),
        _ => None,
    };
    let (Some(text), decor) = (other.or_else(|| plain(value)), value.decor().clone()) else {
        return;
    };
    if value.as_str() != Some(&text) || !value.to_string().trim().starts_with('"') {
        *value = write::text(&text);
        *value.decor_mut() = decor;
    }
}

/// The size in the largest unit that fits, where that is no longer than what was written.
fn size(written: &str, bytes: i64) -> Option<String> {
    let shown = units::show_bytes(bytes);
    let has_unit = shown.parse::<i64>().is_err();
    (has_unit && shown.len() <= written.len()).then_some(shown)
}

/// A text in single quotes that means the same in double ones.
fn plain(value: &Toml) -> Option<String> {
    let written = value.to_string();
    let single = written.trim().starts_with('\'') && !written.trim().starts_with("'''");
    let text = value.as_str().filter(|_| single)?;
    (write::basic(text).len() == text.len() + 2).then(|| text.to_owned())
}

/// One space where there is one. A list that was written over several lines, or is too long for
/// one, has a line for each item; where comments are between them they stay as they stand.
fn spaced(value: &mut Toml, room: usize) {
    let broken = |text: &str| text.contains('\n');
    match value {
        Toml::Array(list) => {
            list.iter_mut().for_each(inline);
            let text = list.to_string();
            let separators = separators(list);
            if separators.contains('#') {
                return;
            }
            close(list);
            if broken(&separators) || !broken(&text) && list.to_string().trim().len() > room {
                write::by_line(list);
            }
        }
        Toml::InlineTable(_) => inline(value),
        Toml::String(_) | Toml::Integer(_) | Toml::Float(_) => {}
        Toml::Boolean(_) | Toml::Datetime(_) => {}
    }
}

/// What stands between the items of a list.
fn separators(list: &Array) -> String {
    let around = |it: &Toml| {
        let (prefix, suffix) = around(it.decor());
        format!("{prefix}{suffix}")
    };
    let between: String = list.iter().map(around).collect();
    between + list.trailing().as_str().unwrap_or_default()
}

fn close(list: &mut Array) {
    list.iter_mut().for_each(|it| it.decor_mut().clear());
    list.set_trailing("");
    list.set_trailing_comma(false);
}

/// What stands within a value, where it is all on one line.
fn inline(value: &mut Toml) {
    if value.to_string().trim().contains('\n') {
        return;
    }
    match value {
        Toml::Array(list) => {
            list.iter_mut().for_each(inline);
            close(list);
        }
        Toml::InlineTable(table) => tight(table),
        Toml::String(_) | Toml::Integer(_) | Toml::Float(_) => {}
        Toml::Boolean(_) | Toml::Datetime(_) => {}
    }
}

fn tight(table: &mut InlineTable) {
    for (mut key, value) in table.iter_mut() {
        unpad(&mut key);
        inline(value);
        value.decor_mut().clear();
    }
    table.set_trailing("");
    table.set_trailing_comma(false);
}
