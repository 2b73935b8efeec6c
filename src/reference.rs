//! The pages of `docs/reference/`: the field tables and the codes as Markdown.
//!
//! A test rewrites the pages from here, so that they say what the program does and nothing else.

use std::fmt::Write as _;

use crate::{
    finding::Code,
    schema::{
        Field, Forced, Harm, Kind, Loses, Release, UNLIMITED, Unset, Update, Writer,
        consumer::CONSUMER, stream::STREAM,
    },
};

const FIELDS: &str = "\
# Fields

Every field of a stream and of a consumer, under the server's own names. This page is written from
the tables in `src/schema/`; a test fails when it is stale.

- **Left out** is what a field is when the spec does not name it.
- **Since** is the first nats-server release that knows it.
- **Change** is what an update may do to it; where a release differs, from which one on. Behind it
  stands the server's `err_code` for what it refuses. `tests/oracle/` holds it against every
  supported release; how is in [oracle.md](oracle.md).
- **Can cost** is what a change that the server accepts can do to messages and their delivery. A
  plan counts it before anything is changed.
";

const CODES: &str = "\
# Codes

What a finding is about. A code is stable: scripts may rely on it. This page is written from
`src/finding.rs`; a test fails when it is stale.

| code | meaning |
|---|---|
";

/// `docs/reference/fields.md`: every field of every kind of resource, nested tables included.
#[must_use]
pub fn fields() -> String {
    let mut page = FIELDS.to_owned();
    for (title, rows) in [("Stream", STREAM), ("Consumer", CONSUMER)] {
        write(&mut page, &format!("\n## {title}\n\n"));
        write(&mut page, "| field | value | what it is | left out | since | change | can cost |\n");
        write(&mut page, "|---|---|---|---|---|---|---|\n");
        for field in rows {
            write(&mut page, &row(field));
        }
        for Nested { names, since, rows } in nested(rows) {
            write(&mut page, &format!("\n### In {}\n\n", names.join(", ")));
            write(&mut page, "| field | value | what it is | left out | since |\n");
            write(&mut page, "|---|---|---|---|---|\n");
            for field in rows {
                write(&mut page, &format!("{}\n", cells(field, since)));
            }
        }
    }
    page
}

/// `docs/reference/codes.md`: every code that a finding can have.
#[must_use]
pub fn codes() -> String {
    Code::ALL.iter().fold(CODES.to_owned(), |mut page, code| {
        write(&mut page, &format!("| `{code}` | {} |\n", code.meaning()));
        page
    })
}

fn write(page: &mut String, text: &str) {
    page.write_str(text).expect("a String takes every write");
}

fn row(field: &Field) -> String {
    let code = field.refusal;
    let later = |(from, rule): (Release, Update)| format!("; from {from}: {}", change(rule, code));
    let change = change(field.update, code) + &field.later.map(later).unwrap_or_default();
    format!("{} {change} | {} |\n", cells(field, field.since), cost(field.loses))
}

/// The cells that a nested field has too; a table is compared and updated as one value.
fn cells(field: &Field, table_since: Release) -> String {
    let Field { name, doc, kind, since, .. } = field;
    let since = table_since.max(*since);
    format!("| `{name}` | {} | {doc} | {} | {since} |", value(kind), left_out(field))
}

fn value(kind: &Kind) -> String {
    let (Kind::OneOf(choices) | Kind::Set(Kind::OneOf(choices))) = kind else {
        return kind.expected();
    };
    let oldest = choices.iter().map(|it| it.since).min();
    let later = choices.iter().filter(|it| Some(it.since) > oldest);
    later.fold(kind.expected(), |text, it| format!("{text}; `{}` since {}", it.name, it.since))
}

fn left_out(field: &Field) -> String {
    let forced = |it: &Forced| format!("; {} with `{}`", field.show(&(it.value)()), it.by);
    unset(field) + &field.forced.iter().map(forced).collect::<String>()
}

fn unset(field: &Field) -> String {
    if field.required {
        return "required".to_owned();
    }
    match (field.writer, field.unset) {
        (Writer::Key, _) => "the key in the spec".to_owned(),
        (Writer::Server, _) => "set by the server alone".to_owned(),
        (Writer::Spec, Unset::Absent) => "absent".to_owned(),
        (Writer::Spec, Unset::Lapses) => "absent, as is an instant that has passed".to_owned(),
        (Writer::Spec, Unset::False) => "`false`".to_owned(),
        (Writer::Spec, Unset::Number(number)) => format!("`{}`", field.show(&number.into())),
        (Writer::Spec, Unset::Name(name)) => format!("`{name}`"),
        (Writer::Spec, Unset::Unlimited(_)) => UNLIMITED.to_owned(),
        (Writer::Spec, Unset::Derived(_)) => "follows from other fields".to_owned(),
        (Writer::Spec, Unset::Kept(_)) => "decided by the server, then kept".to_owned(),
    }
}

fn change(rule: Update, refusal: u16) -> String {
    let rule = match rule {
        Update::Free => return "in place".to_owned(),
        Update::Request(name) => return format!("in place, by `{name}`"),
        Update::Fixed => "never: fixed at creation",
        Update::OneWay => "one way: once on, it stays on",
        Update::Only(sentence, _) => sentence,
    };
    if refusal == 0 { rule.to_owned() } else { format!("{rule} ({refusal})") }
}

fn cost(loses: Loses) -> String {
    match loses {
        Loses::Nothing => String::new(),
        Loses::Lowered => {
            format!("`{}`: where it is lowered, messages beyond it are deleted", Harm::DataLoss)
        }
        Loses::Released => {
            format!("`{}`: what stands beyond a limit is deleted at once", Harm::DataLoss)
        }
        Loses::Filtered => format!(
            "`{}`: matching messages behind its position are skipped; `{}` where the stream keeps \
             only what is wanted",
            Harm::Skipped,
            Harm::DataLoss
        ),
        Loses::When(harm, sentence, _) => format!("`{harm}`: {sentence}"),
    }
}

/// A table inside fields, with the fields that hold it.
struct Nested {
    names: Vec<String>,
    since: Release,
    rows: &'static [Field],
}

/// The nested tables below some rows, each once.
fn nested(rows: &'static [Field]) -> Vec<Nested> {
    let mut found: Vec<Nested> = Vec::new();
    let inside = |path: &str, since: Release, rows: &'static [Field]| {
        let path = path.to_owned();
        let inner = rows.iter().rev().filter_map(|it| Some((it, table(&it.kind)?)));
        inner.map(move |(it, rows)| (format!("{path}{}", it.name), since.max(it.since), rows))
    };
    let mut open: Vec<_> = inside("", Release(0, 0, 0), rows).collect();
    while let Some((name, since, rows)) = open.pop() {
        open.extend(inside(&format!("{name}."), since, rows));
        let name = format!("`{name}`");
        // A table that is used twice is a constant, so its address says nothing.
        let words = |rows: &'static [Field]| rows.iter().map(|it| (it.name, it.doc));
        match found.iter_mut().find(|it| words(it.rows).eq(words(rows))) {
            Some(known) => {
                known.names.push(name);
                known.since = known.since.min(since);
            }
            None => found.push(Nested { names: vec![name], since, rows }),
        }
    }
    found
}

fn table(kind: &Kind) -> Option<&'static [Field]> {
    match kind {
        Kind::Table(rows) => Some(rows),
        Kind::Set(inner) | Kind::List(inner) => table(inner),
        Kind::Bool | Kind::Number | Kind::Bytes | Kind::Duration | Kind::Time => None,
        Kind::Text | Kind::Subject | Kind::Literal | Kind::Labels | Kind::OneOf(_) => None,
    }
}
