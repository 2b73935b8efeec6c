//! One field's before and after, as lines of a block or as a few words.

use std::collections::BTreeSet;

use owo_colors::Style;
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use super::{
    ADDED, ASIDE, CHANGED, REMOVED, cut, escape,
    text::{WIDTH, beside, key, width},
};
use crate::{
    diff::Delta,
    schema::{Field, Kind, UNLIMITED},
    spec::write::basic,
    units::count_of,
};

/// A field of a block: what changed, and a remark beside it.
pub(super) struct Part {
    /// Before and after, in the words of the resource.
    pub(super) delta: Delta,
    /// What stands beside it; may be empty.
    pub(super) remark: String,
}

/// The lines of a block's fields, indented by `at`, their `=` under one another.
pub(super) fn block(at: usize, parts: &[Part]) -> Vec<String> {
    let names = parts.iter().map(|it| it.delta.field.name.len());
    let margin = Margin { at, align: names.max().unwrap_or_default() };
    let mut lines = Vec::new();
    for Part { delta: Delta { field, before, after }, remark } in parts {
        let mut own = margin.lines(field.name, Shape::Row(field), before, after);
        if let Some(first) = own.first_mut() {
            *first = beside(first, remark);
        }
        lines.extend(own);
    }
    lines
}

/// A value as a plan shows it: texts in quotes, the rest in units for people.
pub(super) fn value(field: &Field, value: &Value) -> String {
    Shape::Row(field).show(value)
}

/// Each place where a field differs, in one line: `("max_age", "3d -> 1d")`.
pub(super) fn brief(delta: &Delta) -> Vec<(String, String)> {
    let Delta { field, before, after } = delta;
    pieces(field.name.to_owned(), Shape::Row(field), before, after)
}

/// A line that says what is left out.
pub(super) fn hidden(at: usize, what: &str) -> String {
    let what = format!("# ({what} hidden)");
    format!("{:at$}{}", "", ASIDE.style(what))
}

/// How a value is read: by its row, or by a shape alone.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Row(&'a Field),
    Plain(&'a Kind),
}

impl<'a> Shape<'a> {
    fn kind(self) -> &'a Kind {
        match self {
            Self::Row(field) => &field.kind,
            Self::Plain(kind) => kind,
        }
    }

    /// The row of a name inside a table; what no row knows is shown as it is.
    fn inside(rows: &'static [Field], name: &str) -> Self {
        Field::find(rows, name).map_or(Self::Plain(&Kind::Text), Self::Row)
    }

    fn show(self, value: &Value) -> String {
        if let Self::Row(field) = self
            && field.is_unlimited(value)
        {
            return UNLIMITED.to_owned();
        }
        match (self.kind(), value) {
            (_, Value::Null) => "unset".to_owned(),
            (Kind::Text | Kind::Subject | Kind::Literal | Kind::Labels, Value::String(text)) => {
                basic(&cut(text))
            }
            (Kind::Set(kind) | Kind::List(kind), Value::Array(list)) => {
                let items: Vec<_> = list.iter().map(|it| Shape::Plain(kind).show(it)).collect();
                format!("[{}]", items.join(", "))
            }
            (Kind::Table(_) | Kind::Labels, Value::Object(table)) => {
                let show = |(name, shape, value): (&str, Shape<'_>, &Value)| {
                    format!("{} = {}", key(name), shape.show(value))
                };
                let fields: Vec<_> = fields(self.kind(), table).into_iter().map(show).collect();
                format!("{{ {} }}", fields.join(", "))
            }
            (kind, other) => escape(&cut(&kind.show(other))).into_owned(),
        }
    }
}

/// What a table holds, in the order of its rows; what no row knows comes last.
fn fields<'a>(
    kind: &'a Kind,
    table: &'a Map<String, Value>,
) -> Vec<(&'a str, Shape<'a>, &'a Value)> {
    let rows: &'static [Field] = if let Kind::Table(rows) = kind { rows } else { &[] };
    let rank = |name: &str| rows.iter().position(|it| it.name == name).unwrap_or(rows.len());
    let mut fields: Vec<_> = table
        .iter()
        .map(|(name, value)| (name.as_str(), Shape::inside(rows, name), value))
        .collect();
    fields.sort_by_key(|(name, ..)| rank(name));
    fields
}

#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Add,
    Change,
    Remove,
    Same,
}

impl Sign {
    fn mark(self) -> String {
        let mark = |style: Style, sign: &str| style.style(sign).to_string();
        match self {
            Self::Add => mark(ADDED, "+"),
            Self::Change => mark(CHANGED, "~"),
            Self::Remove => mark(REMOVED, "-"),
            Self::Same => " ".to_owned(),
        }
    }
}

/// Where the lines of a block begin and how wide its names are.
#[derive(Clone, Copy)]
struct Margin {
    at: usize,
    align: usize,
}

impl Margin {
    fn line(self, sign: Sign, rest: &str) -> String {
        format!("{:at$}{} {rest}", "", sign.mark(), at = self.at)
    }

    fn named(self, sign: Sign, name: &str, value: &str) -> String {
        self.line(sign, &format!("{:align$} = {value}", key(name), align = self.align))
    }

    fn closed(self, bracket: &str) -> String {
        format!("{:at$}{bracket}", "", at = self.at + 2)
    }

    fn within(self, align: usize) -> Self {
        Self { at: self.at + 4, align }
    }

    /// Whether a line has room for a value.
    fn fits(self, name: &str, value: &str) -> bool {
        !value.contains('\n') && width(&self.named(Sign::Same, name, value)) <= WIDTH
    }

    /// A field in which something differs; `Null` stands for absent.
    fn lines(self, name: &str, shape: Shape<'_>, before: &Value, after: &Value) -> Vec<String> {
        let changed = format!("{} {} {}", shape.show(before), arrow(), shape.show(after));
        match (shape.kind(), before, after) {
            (_, Value::Null, it) => self.whole(Sign::Add, name, shape, it),
            (_, it, Value::Null) => self.whole(Sign::Remove, name, shape, it),
            (Kind::Set(kind), Value::Array(was), Value::Array(will)) if !same_set(was, will) => {
                self.set(name, kind, was, will)
            }
            (Kind::List(kind), Value::Array(was), Value::Array(will))
                if !self.fits(name, &changed) =>
            {
                self.list(name, kind, was, will)
            }
            (Kind::Table(_) | Kind::Labels, Value::Object(was), Value::Object(will)) => {
                let mut lines = vec![self.named(Sign::Change, name, "{")];
                lines.extend(self.table(shape.kind(), was, will));
                lines.push(self.closed("}"));
                lines
            }
            (_, Value::String(was), Value::String(will))
                if by_line(was, will) && !self.fits_text(name, &changed, was, will) =>
            {
                self.text(name, was, will)
            }
            _ => vec![self.named(Sign::Change, name, &changed)],
        }
    }

    fn fits_text(self, name: &str, changed: &str, was: &str, will: &str) -> bool {
        self.fits(name, changed) && !was.contains('\n') && !will.contains('\n')
    }

    /// A value that comes or goes, on one line if there is room.
    fn whole(self, sign: Sign, name: &str, shape: Shape<'_>, value: &Value) -> Vec<String> {
        let shown = shape.show(value);
        match (shape.kind(), value) {
            (_, Value::String(text)) if text.contains('\n') && by_line(text, "") => match sign {
                Sign::Remove => self.text(name, text, ""),
                Sign::Add | Sign::Change | Sign::Same => self.text(name, "", text),
            },
            _ if self.fits(name, &shown) => vec![self.named(sign, name, &shown)],
            (Kind::Set(kind) | Kind::List(kind), Value::Array(list)) => {
                let mut lines = vec![self.named(sign, name, "[")];
                let inner = self.within(0);
                lines.extend(list.iter().flat_map(|it| inner.element(sign, kind, it)));
                lines.push(self.closed("]"));
                lines
            }
            (Kind::Table(_) | Kind::Labels, Value::Object(table)) => {
                let mut lines = vec![self.named(sign, name, "{")];
                lines.extend(self.fields(sign, shape.kind(), table));
                lines.push(self.closed("}"));
                lines
            }
            _ => vec![self.named(sign, name, &shown)],
        }
    }

    /// The fields of a table that comes or goes.
    fn fields(self, sign: Sign, kind: &Kind, table: &Map<String, Value>) -> Vec<String> {
        let fields = fields(kind, table);
        let widest = fields.iter().map(|(name, ..)| width(&key(name))).max().unwrap_or_default();
        let inner = self.within(widest);
        fields.iter().flat_map(|(name, shape, it)| inner.whole(sign, name, *shape, it)).collect()
    }

    /// One element of a list that comes or goes.
    fn element(self, sign: Sign, kind: &Kind, value: &Value) -> Vec<String> {
        let shown = Shape::Plain(kind).show(value);
        let line = self.line(sign, &format!("{shown},"));
        let Some(table) = value.as_object().filter(|_| width(&line) > WIDTH) else {
            return vec![line];
        };
        let mut lines = vec![self.line(sign, "{")];
        lines.extend(self.fields(sign, kind, table));
        lines.push(self.closed("},"));
        lines
    }

    fn table(
        self,
        kind: &Kind,
        was: &Map<String, Value>,
        will: &Map<String, Value>,
    ) -> Vec<String> {
        let mut both = was.clone();
        both.extend(will.clone());
        let all = fields(kind, &both);
        let (same, differ): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(name, ..)| was.get(*name) == will.get(*name));
        let widest = differ.iter().map(|(name, ..)| width(&key(name))).max().unwrap_or_default();
        let inner = self.within(widest);
        let of =
            |table: &Map<String, Value>, name: &str| table.get(name).cloned().unwrap_or_default();
        let mut lines: Vec<_> = differ
            .iter()
            .flat_map(|(name, shape, _)| inner.lines(name, *shape, &of(was, name), &of(will, name)))
            .collect();
        if !same.is_empty() {
            let thing = if matches!(kind, Kind::Labels) { "label" } else { "attribute" };
            let same = count_of(same.len(), &format!("unchanged {thing}"));
            lines.push(hidden(inner.at + 2, &same));
        }
        lines
    }

    /// Values whose order means nothing. Tables of one name are the same table, changed.
    fn set(self, name: &str, kind: &Kind, was: &[Value], will: &[Value]) -> Vec<String> {
        let inner = self.within(0);
        let mut lines = vec![self.named(Sign::Change, name, "[")];
        let gone: Vec<_> = was.iter().filter(|it| !will.contains(it)).collect();
        let came: Vec<_> = will.iter().filter(|it| !was.contains(it)).collect();
        for old in &gone {
            match came.iter().find(|it| named_alike(old, it)) {
                Some(new) => lines.extend(inner.changed_table(kind, old, new)),
                None => lines.extend(inner.element(Sign::Remove, kind, old)),
            }
        }
        for new in &came {
            if !gone.iter().any(|it| named_alike(it, new)) {
                lines.extend(inner.element(Sign::Add, kind, new));
            }
        }
        let same = was.len() - gone.len();
        if same > 0 {
            lines.push(hidden(inner.at + 2, &count_of(same, "unchanged element")));
        }
        lines.push(self.closed("]"));
        lines
    }

    fn changed_table(self, kind: &Kind, old: &Value, new: &Value) -> Vec<String> {
        let (Value::Object(was), Value::Object(will)) = (old, new) else {
            return Vec::new();
        };
        let name = Shape::Plain(&Kind::Text).show(&old["name"]);
        let mut lines = vec![self.line(Sign::Change, &format!("{{ name = {name}"))];
        let (mut was, mut will) = (was.clone(), will.clone());
        was.remove("name");
        will.remove("name");
        lines.extend(self.table(kind, &was, &will));
        lines.push(self.closed("},"));
        lines
    }

    /// Values in order, where one line has no room for both lists.
    fn list(self, name: &str, kind: &Kind, was: &[Value], will: &[Value]) -> Vec<String> {
        let show = |list: &[Value]| -> Vec<String> {
            list.iter().map(|it| Shape::Plain(kind).show(it)).collect()
        };
        let (was, will) = (show(was), show(will));
        let (was, will): (Vec<&str>, Vec<&str>) =
            (was.iter().map(String::as_str).collect(), will.iter().map(String::as_str).collect());
        let changes = TextDiff::from_slices(&was, &will);
        let pieces = changes.iter_all_changes().map(|it| (it.tag(), format!("{},", it.value())));
        self.sequence(name, ("[", "]"), pieces, "unchanged element")
    }

    /// A text, line by line.
    fn text(self, name: &str, was: &str, will: &str) -> Vec<String> {
        let changes = TextDiff::from_lines(was, will);
        let pieces = changes.iter_all_changes().map(|it| {
            let line = it.value().strip_suffix('\n').unwrap_or(it.value());
            (it.tag(), escape(&cut(line)).into_owned())
        });
        self.sequence(name, ("<<-EOT", "EOT"), pieces, "unchanged line")
    }

    fn sequence(
        self,
        name: &str,
        (open, close): (&str, &str),
        pieces: impl Iterator<Item = (ChangeTag, String)>,
        unchanged: &str,
    ) -> Vec<String> {
        let inner = self.within(0);
        let mut signs = BTreeSet::new();
        let mut lines = Vec::new();
        let mut same = Vec::new();
        for (tag, piece) in pieces {
            signs.insert(tag);
            let sign = match tag {
                ChangeTag::Equal => {
                    same.push(inner.line(Sign::Same, &piece));
                    continue;
                }
                ChangeTag::Delete => Sign::Remove,
                ChangeTag::Insert => Sign::Add,
            };
            lines.append(&mut folded(inner.at, std::mem::take(&mut same), unchanged));
            lines.push(inner.line(sign, &piece));
        }
        lines.append(&mut folded(inner.at, same, unchanged));
        let whole = match signs.into_iter().collect::<Vec<_>>()[..] {
            [ChangeTag::Insert] => Sign::Add,
            [ChangeTag::Delete] => Sign::Remove,
            _ => Sign::Change,
        };
        lines.insert(0, self.named(whole, name, open));
        lines.push(self.closed(close));
        lines
    }
}

/// A few unchanged lines are context; many are only counted.
fn folded(at: usize, lines: Vec<String>, thing: &str) -> Vec<String> {
    if lines.len() <= 2 { lines } else { vec![hidden(at + 2, &count_of(lines.len(), thing))] }
}

/// Whether a comparison by line shows the difference: one in the last line break it does not.
fn by_line(was: &str, will: &str) -> bool {
    was.lines().ne(will.lines())
}

fn same_set(a: &[Value], b: &[Value]) -> bool {
    a.iter().all(|it| b.contains(it)) && b.iter().all(|it| a.contains(it))
}

fn named_alike(a: &Value, b: &Value) -> bool {
    a.get("name").is_some_and(|it| b.get("name") == Some(it))
}

fn arrow() -> String {
    CHANGED.style("->").to_string()
}

fn pieces(path: String, shape: Shape<'_>, before: &Value, after: &Value) -> Vec<(String, String)> {
    match (shape.kind(), before, after) {
        (Kind::Set(kind), Value::Array(was), Value::Array(will)) if !same_set(was, will) => {
            let show = |it: &Value| Shape::Plain(kind).show(it);
            let came = will.iter().filter(|it| !was.contains(it));
            let gone = was.iter().filter(|it| !will.contains(it));
            let came = came.map(|it| format!("{}{}", Sign::Add.mark(), show(it)));
            let gone = gone.map(|it| format!("{}{}", Sign::Remove.mark(), show(it)));
            vec![(path, gone.chain(came).collect::<Vec<_>>().join(" "))]
        }
        (Kind::Table(_) | Kind::Labels, Value::Object(was), Value::Object(will)) => {
            let mut both = was.clone();
            both.extend(will.clone());
            let of =
                |map: &Map<String, Value>, name: &str| map.get(name).cloned().unwrap_or_default();
            fields(shape.kind(), &both)
                .into_iter()
                .filter(|(name, ..)| was.get(*name) != will.get(*name))
                .flat_map(|(name, shape, _)| {
                    let path = format!("{path}.{}", key(name));
                    pieces(path, shape, &of(was, name), &of(will, name))
                })
                .collect()
        }
        (_, Value::String(was), Value::String(will)) if was.len().max(will.len()) > 40 => {
            let (was, will) = elided(was, will);
            vec![(path, format!("{} {} {}", basic(&was), arrow(), basic(&will)))]
        }
        _ => vec![(path, format!("{} {} {}", shape.show(before), arrow(), shape.show(after)))],
    }
}

/// Two long texts without what they share at either end.
fn elided(was: &str, will: &str) -> (String, String) {
    const CONTEXT: usize = 8;
    let (a, b): (Vec<char>, Vec<char>) = (was.chars().collect(), will.chars().collect());
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - shared;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    let from = if shared > 2 * CONTEXT { shared - CONTEXT } else { 0 };
    let cut = if tail > 2 * CONTEXT { tail - CONTEXT } else { 0 };
    let middle = |it: &[char]| {
        let text: String = it[from..it.len() - cut].iter().collect();
        let (before, after) = (if from > 0 { "…" } else { "" }, if cut > 0 { "…" } else { "" });
        format!("{before}{text}{after}")
    };
    (middle(&a), middle(&b))
}
