//! The pages of `docs/reference/`: the field tables, the codes and the rules as Markdown.
//!
//! A test rewrites the pages from here, so that they say what the program does and nothing else.

mod migrations;
pub mod schema;

use std::fmt::Write as _;

use crate::{
    finding::Code,
    permissions::{self, ROWS, Role, Row},
    schema::{
        Field, Forced, Harm, Kind, Loses, Release, UNLIMITED, Unset, Update, Writer,
        bucket::{KV, OBJECT},
        consumer::CONSUMER,
        stream::STREAM,
    },
    spec::{
        policy::{
            read::OWN,
            rules::{RULES, Rule},
        },
        value::Key,
    },
};

const FIELDS: &str = "\
# Fields

Every field of a stream and of a consumer, under the server's own names, and every word of a
bucket, under that of the clients. This page is written from the tables in `src/schema/`; a test
fails when it is stale.

- **Left out** is what a field is when the spec does not name it.
- **Since** is the first nats-server release that knows it.
- **Change** is what an update may do to it; where a release differs, from which one on. Behind it
  stands the server's `err_code` for what it refuses. `tests/oracle/` holds it against every
  supported release; how is in [oracle.md](oracle.md).
- **Can cost** is what a change that the server accepts can do to messages and their delivery. A
  plan counts it before anything is changed.

What a step costs has a class. All but the last need consent, by name: `--allow CLASS=ADDR`. Right
before the step the messages are counted once more, and it is refused if there are more than the
plan said; `--allow CLASS=ADDR:N` reaches to so many, and `CLASS=ADDR:unknown` to any number, which
is what a cost that nobody can count needs.

| class | what happens |
|---|---|
| `data-loss` | stored messages are deleted, at once or later |
| `delivery` | messages are stored and not delivered, or published and not stored |
| `redelivery` | messages are delivered or copied again |
| `one-way` | no update takes the change back |
| `destroy` | a stream goes with its messages, or a consumer with its position |
| `availability` | publishing, delivery or durability suffers: it is said, and needs no consent |

Consent to destroy is asked beside everything else: the resource is gone from the spec, and
`prevent_destroy` permits it.
";

const POLICY: &str = "\
# Policy

`[policy]` holds the principles of an environment as rules. A rule that no layer names is off, so
that a bare spec is never refused for its style. This page is written from
`src/spec/policy/rules.rs`; a test fails when it is stale.

```toml
[policy]
bounded_retention = \"error\"                            # \"error\", \"warn\" or \"off\"
replicated = { level = \"error\", streams = [\"AUDIT_*\"], min = 3 }
durable_storage = { level = \"off\", reason = \"this cluster has no disks\" }

[streams.PINGS.exceptions]                             # of one resource, each with why
bounded_retention = \"there is one ping a day\"
```

- A later layer lays its settings over those of the base one by one: `replicated = { min = 1 }`
  keeps the `level` and the `streams`. So an environment may be stricter than its base, or less
  strict.
- A rule that is off says why, in `reason`, where it is switched off.
- `exceptions` of a resource names the rules that do not hold for it, each with the reason. A later
  layer's `exceptions` replace those of its base.
- A rule judges the configuration as a server would complete it: a field that is left out counts as
  what the server makes of it.

## The rules that are built in

| rule | about a | what must hold | settings |
|---|---|---|---|
";

const OWN_RULES: &str = "
## Rules of one's own

```toml
[policy.rules.short_ack]
level = \"error\"
applies_to = \"consumer\"
rule = \"config.ack_wait <= duration('1m') || service == 'printing'\"
message = \"a stuck worker holds its messages for over a minute\"
help = \"lower `ack_wait` to a minute\"
```

| setting | value | what it is |
|---|---|---|
";

const EXPRESSIONS: &str = "
`rule` is an expression in CEL (<https://cel.dev>) that gives true where all is well. It knows:

| name | what it is |
|---|---|
| `config` | the completed configuration, under the names of [fields](fields.md); of a bucket that of its stream |
| `name` | the name on the server |
| `environment` | the name of the environment |
| `service` | the consumer's `service`; empty where there is none |
| `duration(\"7d\")` | nanoseconds, as durations are in `config` |
| `quantity(\"50GiB\")` | bytes, as sizes are in `config` |

Numbers are those of the wire: no limit is -1, and 0 for `max_age`. A field that the server leaves
away is not there, so it is asked for first: `has(config.description) && …`. An expression that is
wrong, that fails, or that gives neither true nor false is an error: no rule passes in silence. It
has at most 1,000 bytes and walks at most three lists (`all`, `exists`, `exists_one`, `filter`, `map`).

The finding points at the first field of the expression that the resource writes.
";

const BUCKETS: &str = "
## Buckets

`[kv.NAME]` and `[object.NAME]` describe the streams `KV_NAME` and `OBJ_NAME` in the words of the
NATS clients; plans, findings and JSON speak of them in these words too, as `kv.NAME` and
`object.NAME`. Each word stands for the stream's field beside it, and changes as that does.

- The stream is made as clients make it: its subjects, `discard = \"new\"`, `allow_rollup_hdrs` and
  for values `deny_delete` are the bucket's, and a change of them is drift that clients suffer from.
- `allow_direct`, `mirror_direct` and, without `limit_marker_ttl`, `allow_msg_ttl` are set by clients
  each in their own way. They are set as most clients do when the bucket is made, and stay as they
  are from then on.
- A mirror or source is named by its bucket. The keys of a source become keys of this bucket unless
  it says its `subject_transforms`; an empty list says that there are none.
- `[defaults.kv]`, `[override.kv]`, `[defaults.object]` and `[override.object]` lie under and over
  buckets. What is said of all streams is not said of buckets: a `max_age` under
  `[defaults.stream]` takes nothing out of them, and an environment with one server says
  `num_replicas = 1` under each kind.
- `[streams.KV_NAME]` describes the same stream with every field of a stream, and none of this is
  filled in; its address is `kv.NAME` all the same, and plans speak of it in the bucket's words.
- Buckets have no consumers in a spec: clients make their own as they watch.
- Live buckets that nobody manages are listed as such, never as streams.
";

const PERMISSIONS: &str = "\
# Permissions

`jsplan permissions --env ENV --role ROLE` prints what nats-server has to allow a user of that role,
with the prefixes and names of the environment, ready to paste: for a server's configuration, as JSON,
or as a command of `nsc`. This page is written from `src/permissions.rs`; a test fails when it is stale.

A request that the server denies is shown by its subject and the role that may send it. No other
subject is ever sent: no purge, no deletion of single messages, no snapshot, no step-down of leaders.

| role | what its user does |
|---|---|
";

const DENIED: &str = "
- Answers arrive below `inbox_prefix` of `[server]` or of the context, else below `_INBOX`, where any
  client of the account that may subscribe to it reads along: give each role a prefix of its own.
- With `--stream NAME` any role may read the messages of that stream, so that it can count what a
  change would cost. Without, all but the verifier are told a bound, or that the number is unknown,
  wherever it takes reading.
- A wildcard stands for a whole token, so no pattern says `ORDERS_*`. An environment that has the
  account for itself needs nothing more; in a shared one, `--only-listed` puts the names of spec and
  state in place of wildcards wherever something is written.
- A server of the domain in `domain` asks for `$JS.API`, one that leads there over a leaf node for
  `$JS.DOMAIN.API` (measured on 2.15.1): both forms are printed, and the one that yours does not ask
  for can go.
- A state in a bucket is read by every role and written by those that apply, under the keys of its
  environment alone. Where it has a server of its own, `--state` prints what its user needs there.

## What they do not keep anybody from

- **Whoever may write a configuration gets the messages.** The server copies, republishes and
  delivers on its own, and asks nothing of the user: an applier who may read no message can copy a
  stream into one of its own, or have it republished where it listens. A spec is code: a plan marks
  every new `sources`, `mirror`, `republish` and `deliver_subject` as `exposure`.
- **Whoever shares the account can answer for the server.** A client that may subscribe to
  `$JS.API.>` sees every request of jsplan and, where it is quicker, answers it. Deny that to
  applications, together with the prefixes of jsplan's answers and `$KV.BUCKET.>` of its state; or
  give the state, and what it describes, an account of their own.
- jsplan reads a resource again right before it changes or deletes it, and stops where it is not what
  the plan was made from; afterwards it reads everything and plans again. That makes a forged answer
  less likely to pass, and does not prove who answered: only `tls://` and permissions do.
- Secrets are read when a connection is made, and no state, plan, journal or message holds one. An
  address on a command line is seen by everybody who may list processes: name a variable, a file or a
  context instead.
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
        tables(&mut page, &nested(rows));
    }
    page += BUCKETS;
    let known = nested(STREAM);
    for (title, rows) in [("Key-value bucket", KV), ("Object store", OBJECT)] {
        write(&mut page, &format!("\n## {title}\n\n"));
        write(
            &mut page,
            "| word | value | what it is | left out | since | field | change | can cost |\n",
        );
        write(&mut page, "|---|---|---|---|---|---|---|---|\n");
        for word in rows {
            write(&mut page, &bucket_row(word));
        }
        // Those of a stream stand above.
        let new =
            nested(rows).into_iter().filter(|it| !known.iter().any(|other| it.is_like(other)));
        tables(&mut page, &new.collect::<Vec<_>>());
    }
    page
}

/// The tables inside fields.
fn tables(page: &mut String, tables: &[Nested]) {
    for Nested { names, since, rows } in tables {
        write(page, &format!("\n### In {}\n\n", names.join(", ")));
        write(page, "| field | value | what it is | left out | since |\n");
        write(page, "|---|---|---|---|---|\n");
        for field in *rows {
            write(page, &format!("{}\n", cells(field, *since)));
        }
    }
}

/// `docs/reference/codes.md`: every code that a finding can have.
#[must_use]
pub fn codes() -> String {
    Code::ALL.iter().fold(CODES.to_owned(), |mut page, code| {
        write(&mut page, &format!("| `{code}` | {} |\n", code.meaning()));
        page
    })
}

/// `docs/reference/policy.md`: the rules that are built in, and how to write others.
#[must_use]
pub fn policy() -> String {
    let mut page = POLICY.to_owned();
    for Rule { name, kinds, sentence, keys, .. } in RULES {
        let settings: Vec<_> = keys.iter().map(|it| format!("`{}`", it.0)).collect();
        let row =
            format!("| `{name}` | {} | {sentence} | {} |\n", kinds.join(", "), settings.join(", "));
        write(&mut page, &row);
    }
    write(&mut page, "\n| setting | value | what it is |\n|---|---|---|\n");
    let mut known = Vec::new();
    for key in RULES.iter().flat_map(|it| it.keys) {
        if !known.contains(&key.0) {
            write(&mut page, &setting(key));
            known.push(key.0);
        }
    }
    write(&mut page, OWN_RULES);
    OWN.iter().for_each(|it| write(&mut page, &setting(it)));
    write(&mut page, EXPRESSIONS);
    page
}

/// `docs/reference/permissions.md`: the roles, and the subjects of each.
#[must_use]
pub fn permissions() -> String {
    let mut page = PERMISSIONS.to_owned();
    for role in Role::ALL {
        write(&mut page, &format!("| `{role}` | {} |\n", role.does()));
    }
    let roles: Vec<_> = Role::ALL.iter().map(ToString::to_string).collect();
    write(&mut page, &format!("\n| subject | what for | {} |\n", roles.join(" | ")));
    write(&mut page, &format!("|---|---|{}\n", "---|".repeat(roles.len())));
    for row in ROWS {
        let Row { roles, why, .. } = row;
        let mark = |it: &Role| if roles.contains(it) { "x" } else { "" };
        let marks: Vec<_> = Role::ALL.iter().map(mark).collect();
        let subject = permissions::shown(row);
        write(&mut page, &format!("| `{subject}` | {why} | {} |\n", marks.join(" | ")));
    }
    page + DENIED
}

/// `docs/reference/migrations.md`: the keys of a migration, and what a step can do.
#[must_use]
pub fn migrations() -> String {
    migrations::page()
}

fn setting((name, kind, doc): &Key) -> String {
    format!("| `{name}` | {} | {doc} |\n", kind.expected())
}

fn write(page: &mut String, text: &str) {
    page.write_str(text).expect("a String takes every write");
}

/// A word of buckets; what a change does is for the stream's field to say.
fn bucket_row(word: &Field) -> String {
    let stands_for = word.word.and_then(|it| Field::find(STREAM, it.field));
    let Some(field) = stands_for else { return String::new() };
    let cells = cells(word, field.since);
    format!("{cells} `{}` | {} | {} |\n", field.name, rule(field), cost(field.loses))
}

fn row(field: &Field) -> String {
    format!("{} {} | {} |\n", cells(field, field.since), rule(field), cost(field.loses))
}

/// What an update may do to a field, and from which release on something else.
fn rule(field: &Field) -> String {
    let code = field.refusal;
    let later = |(from, rule): (Release, Update)| format!("; from {from}: {}", change(rule, code));
    change(field.update, code) + &field.later.map(later).unwrap_or_default()
}

/// The cells that a nested field has too; a table is compared and updated as one value.
fn cells(field: &Field, table_since: Release) -> String {
    let Field { name, doc, kind, since, .. } = field;
    let since = table_since.max(*since);
    format!("| `{name}` | {} | {doc} | {} | {since} |", value(kind), left_out(field))
}

fn value(kind: &Kind) -> String {
    kind.later_choices()
        .fold(kind.expected(), |text, it| format!("{text}; `{}` since {}", it.name, it.since))
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
            Harm::Delivery,
            Harm::DataLoss
        ),
        Loses::Uninterested => format!(
            "`{}`: what every consumer has done with is deleted; `{}`: what none of them matches is \
             never delivered",
            Harm::DataLoss,
            Harm::Delivery
        ),
        Loses::Unbound => format!(
            "`{}`: messages are stored on what is given up; `{}` where none are, or another stream \
             takes it",
            Harm::Delivery,
            Harm::Availability
        ),
        Loses::Promoted => format!(
            "`{}`: it never mirrors again; `{}`: what was not copied yet stays behind",
            Harm::OneWay,
            Harm::DataLoss
        ),
        Loses::Recopied => {
            format!(
                "`{}`: a source that is changed is copied again from its start",
                Harm::Redelivery
            )
        }
        Loses::Expiring => {
            format!("`{}`: messages whose `Nats-TTL` has passed are deleted", Harm::DataLoss)
        }
        Loses::Idling => format!(
            "`{}`: an idle consumer is deleted with its position; `{}` where the stream keeps only \
             what is wanted",
            Harm::Delivery,
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

impl Nested {
    /// A table that is used twice is a constant, so its address says nothing.
    fn is_like(&self, other: &Self) -> bool {
        let words = |it: &Self| it.rows.iter().map(|it| (it.name, it.doc));
        words(self).eq(words(other))
    }
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
        let table = Nested { names: vec![name], since, rows };
        match found.iter_mut().find(|it| it.is_like(&table)) {
            Some(known) => {
                known.names.extend(table.names);
                known.since = known.since.min(since);
            }
            None => found.push(table),
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
