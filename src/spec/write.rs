//! Wire values → the text of a spec, in its own style: `"7d"`, `"50GiB"`, `"unlimited"`; and
//! tables of it put into a file, whose comments stay.

use serde_json::{Map, Value};
use toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item, Key, Table, TableLike, TomlError,
    Value as Toml,
};

use crate::{
    letters::is_invisible,
    schema::{Field, Kind, UNLIMITED},
    subject, units,
};

/// One table of a spec, and what is to stand in it.
#[derive(Debug)]
pub(super) struct Block {
    /// `streams`, `ORDERS`, …
    pub(super) path: Vec<String>,
    /// Settings and fields in the order in which they are written.
    pub(super) lines: Vec<(&'static str, Item)>,
}

/// The longest line that is written where a value can be broken.
pub(super) const WIDTH: usize = 100;

/// How far what stands on a line of its own within a list is indented.
pub(super) const INDENT: &str = "    ";

/// Puts tables into the text of a spec: what stands there already is replaced, the rest is added
/// below it.
pub(super) fn write(text: &str, blocks: &[Block]) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    for block in blocks {
        put(document.as_table_mut(), block);
    }
    Ok(document.to_string())
}

fn put(root: &mut Table, block: &Block) {
    let mut table: &mut dyn TableLike = root;
    for (depth, name) in block.path.iter().enumerate() {
        let whole = depth + 1 == block.path.len();
        let item = table.entry_format(&key(name)).or_insert_with(|| {
            let mut made = Table::new();
            // Only the table itself gets a header, none of those that it stands in.
            made.set_implicit(!whole);
            Item::Table(made)
        });
        if let (Item::Table(it), true) = (&mut *item, whole) {
            it.set_implicit(false);
        }
        // The spec was read before, so every table of the path is one.
        let Some(next) = item.as_table_like_mut() else { return };
        table = next;
    }
    for (name, item) in &block.lines {
        let mut item = item.clone();
        match table.get_mut(name) {
            Some(present) => {
                if let (Some(old), Some(new)) = (present.as_value(), item.as_value_mut()) {
                    *new.decor_mut() = old.decor().clone();
                }
                *present = item;
            }
            None => drop(table.insert(name, item)),
        }
    }
}

/// A key, in quotes where it must be.
pub(super) fn key(name: &str) -> Key {
    let bare = |it: u8| it.is_ascii_alphanumeric() || it == b'_' || it == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        return Key::new(name);
    }
    let parsed = Key::parse(&basic(name)).ok().filter(|it| it.len() == 1);
    parsed.and_then(|mut it| it.pop()).unwrap_or_else(|| Key::new(name))
}

/// A text in double quotes. What cannot be seen, or moves what can be, is written as its number:
/// names and descriptions come from servers, and the text is shown on terminals.
pub(crate) fn basic(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            it if is_invisible(it) && u32::from(it) <= 0xffff => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(it)));
            }
            it if is_invisible(it) => quoted.push_str(&format!("\\U{:08X}", u32::from(it))),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn text(text: &str) -> Toml {
    basic(text).parse().unwrap_or_else(|_| Toml::from(text))
}

/// A field's value as a spec writes it; the error says why no spec can say it.
pub(super) fn line(field: &Field, value: &Value) -> Result<Item, String> {
    let value = match field.is_unlimited(value) {
        true => text(UNLIMITED),
        false => toml(&field.kind, value)?,
    };
    Ok(fitted(field.name, value))
}

/// The value that is as good as absent.
pub(super) fn nothing(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Bool => Some(false.into()),
        Kind::Number | Kind::Bytes | Kind::Duration => Some(0.into()),
        Kind::Text => Some("".into()),
        Kind::Set(_) | Kind::List(_) => Some(Value::Array(Vec::new())),
        Kind::Labels => Some(Map::new().into()),
        Kind::Table(rows) => (!rows.iter().any(|it| it.required)).then(|| Map::new().into()),
        Kind::Time | Kind::Subject | Kind::Literal | Kind::OneOf(_) => None,
    }
}

fn toml(kind: &Kind, value: &Value) -> Result<Toml, String> {
    match (kind, value) {
        (Kind::Bool, Value::Bool(it)) => Ok((*it).into()),
        (Kind::Number | Kind::Bytes | Kind::Duration, Value::Number(_)) => {
            let number = value.as_i64().ok_or_else(|| {
                format!("{value} is beyond the whole numbers of TOML, which end at {}", i64::MAX)
            })?;
            amount(kind, number)
        }
        (Kind::Subject | Kind::Literal, Value::String(it)) => {
            // The destination of a transform may hold functions, and those may hold spaces.
            let plain = if it.contains("{{") { it.replace(' ', "") } else { it.clone() };
            subject::check(&plain).map_err(|why| format!("{it:?} is no subject: {why}"))?;
            Ok(text(it))
        }
        (Kind::OneOf(choices), Value::String(it)) if !choices.iter().any(|its| its.name == it) => {
            Err(format!("{it:?} is newer than this jsplan"))
        }
        (Kind::Time | Kind::Text | Kind::OneOf(_), Value::String(it)) => Ok(text(it)),
        (Kind::Set(kind) | Kind::List(kind), Value::Array(list)) => {
            let items = list.iter().map(|it| toml(kind, it));
            Ok(items.collect::<Result<Array, _>>()?.into())
        }
        (Kind::Labels, Value::Object(labels)) => {
            let mut table = InlineTable::new();
            for (name, label) in labels {
                let label = label.as_str().ok_or_else(|| format!("{name:?} is no text"))?;
                let made = table.entry_format(&key(name));
                made.or_insert(text(label));
            }
            Ok(table.into())
        }
        (Kind::Table(rows), Value::Object(map)) => {
            // What has no row rides along as it is.
            let mut table = InlineTable::new();
            for field in *rows {
                if let Some(value) = map.get(field.name) {
                    table.insert(field.name, toml(&field.kind, value)?);
                }
            }
            Ok(table.into())
        }
        _ => Err(format!("{value} is no value of its kind")),
    }
}

fn amount(kind: &Kind, number: i64) -> Result<Toml, String> {
    if number < 0 {
        return Err(format!("{number} is negative"));
    }
    if let Kind::Duration = kind {
        return Ok(text(&units::show_duration(number)));
    }
    let shown = if let Kind::Bytes = kind { units::show_bytes(number) } else { number.to_string() };
    Ok(if shown.parse::<i64>().is_ok() { number.into() } else { text(&shown) })
}

/// A value on one line where it fits, else a list with a line for each item, or tables of their own.
fn fitted(name: &str, value: Toml) -> Item {
    if name.len() + 3 + value.to_string().trim().len() <= WIDTH {
        return Item::Value(value);
    }
    let long = |it: &Toml| INDENT.len() + it.to_string().trim().len() >= WIDTH;
    match value {
        Toml::InlineTable(it) => Item::Table(spread(it)),
        Toml::Array(list) if list.iter().any(|it| it.is_inline_table() && long(it)) => {
            let tables = list.into_iter().filter_map(|it| {
                if let Toml::InlineTable(it) = it { Some(spread(it)) } else { None }
            });
            Item::ArrayOfTables(tables.collect::<ArrayOfTables>())
        }
        Toml::Array(mut list) => {
            by_line(&mut list);
            Item::Value(list.into())
        }
        other @ (Toml::String(_)
        | Toml::Integer(_)
        | Toml::Float(_)
        | Toml::Boolean(_)
        | Toml::Datetime(_)) => Item::Value(other),
    }
}

fn spread(table: InlineTable) -> Table {
    let mut spread = Table::new();
    for (name, value) in table {
        let value = fitted(&name, value.decorated(" ", ""));
        spread.insert_formatted(&key(&name), value);
    }
    spread
}

/// Gives each item of a list a line of its own.
pub(super) fn by_line(list: &mut Array) {
    for item in list.iter_mut() {
        item.decor_mut().set_prefix(format!("\n{INDENT}"));
        item.decor_mut().set_suffix("");
    }
    list.set_trailing("\n");
    list.set_trailing_comma(true);
}
