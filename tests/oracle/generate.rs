//! Configurations as clients might send them, made from the rows: examples of every field, and
//! random ones that a seed gives again. Mostly the server takes them; some it must refuse.

use jsplan::{
    config::Config,
    schema::{Field, Kind, Release, Writer, stream::STREAM},
};
use serde_json::{Map, Value, json};

/// Examples where the kind alone does not make a valid one. `NAME` stands for the stream's own
/// name, and `OTHER` for that of another stream.
const EXAMPLES: &[(&str, &str)] = &[
    ("subjects", r#"[["NAME.a"], ["NAME.a", "NAME.b.*"], ["NAME.>"], ["NAME", "NAME.*.c"]]"#),
    ("num_replicas", "[1]"),
    ("retention", r#"["limits", "interest", "workqueue"]"#),
    ("first_seq", "[7, 1000]"),
    // No server takes it: it is for requests that move a leader.
    ("placement.preferred", "[]"),
    ("placement.tags", r#"[["ssd"], ["ssd", "!old"]]"#),
    ("subject_transform.src", r#"["NAME.*", "NAME.>"]"#),
    ("subject_transform.dest", r#"["moved.>"]"#),
    (
        "subject_transform",
        r#"[{"src": "NAME.*", "dest": "moved.{{wildcard(1)}}"}, {"src": "NAME.>", "dest": "away.>"}]"#,
    ),
    ("republish.src", r#"["NAME.>", ">"]"#),
    ("republish.dest", r#"["again.>", "anew.>"]"#),
    (
        "republish",
        r#"[{"src": "NAME.>", "dest": "again.>"}, {"dest": "again.>"}, {"src": ">", "dest": "anew.>", "headers_only": true}]"#,
    ),
    ("external", r#"[{"api": "$JS.far.API"}, {"api": "$JS.far.API", "deliver": "far"}]"#),
    (
        "subject_transforms",
        r#"[[{"src": "a.>", "dest": "b.>"}], [{"src": "a.*", "dest": "b.{{wildcard(1)}}"}, {"src": "c", "dest": "d"}]]"#,
    ),
    ("filter_subject", r#"["a.x", "a.>"]"#),
    ("consumer", r#"[{"name": "READER", "deliver_subject": "deliver.NAME"}]"#),
    ("mirror.name", r#"["OTHER"]"#),
    ("sources.name", r#"["OTHER"]"#),
];

/// Values that the server refuses, or that do not go with others.
const ODD: &[(&str, &str)] = &[
    ("description", r#"["LONG"]"#),
    (
        "subjects",
        r#"[["OTHER.a"], ["NAME.*", "NAME.a"], [">"], ["$JS.API.x"], ["$SYS.ACCOUNT.x"]]"#,
    ),
    ("num_replicas", "[3, 6]"),
    ("max_age", "[1000000, 100000000, 500000000]"),
    ("duplicate_window", "[1000000, 100000000, 86400000000000]"),
    ("subject_delete_marker_ttl", "[1000000, 1000000000]"),
    ("max_msg_size", "[4294967296]"),
    ("placement", r#"[{"preferred": "n1"}]"#),
    (
        "subject_transform",
        r#"[{"src": "NAME.*", "dest": "moved.{{wildcard(2)}}"}, {"src": "NAME.*.*", "dest": "moved.{{wildcard(1)}}"}, {"src": "NAME.a", "dest": "NAME.b"}]"#,
    ),
    (
        "republish",
        r#"[{"src": "NAME.>", "dest": "NAME.>"}, {"src": "NAME.*", "dest": "again.*.*"}, {"src": "elsewhere.>", "dest": "again.>"}]"#,
    ),
    (
        "mirror",
        r#"[{"name": "NAME"}, {"name": "GONE"}, {"name": "OTHER", "opt_start_seq": 3, "opt_start_time": "2026-01-01T00:00:00Z"}]"#,
    ),
    (
        "sources",
        r#"[[{"name": "NAME"}], [{"name": "OTHER"}, {"name": "OTHER"}], [{"name": "OTHER"}, {"name": "GONE", "filter_subject": "x"}]]"#,
    ),
];

const SECOND: i64 = 1_000_000_000;

/// Examples of a field, none of them what the server fills in: at least two where it has two.
///
/// # Panics
///
/// Where neither the kind nor the table above gives one: a new row needs an example.
pub(crate) fn examples(path: &str, field: &'static Field) -> Vec<Value> {
    let unset = field.read(&Config::default());
    let mut found = given(EXAMPLES, path).unwrap_or_else(|| of_kind(path, &field.kind));
    found.retain(|it| field.kind.canonical(it) != unset);
    assert!(!found.is_empty() || given(EXAMPLES, path).is_some(), "`{path}` has no example");
    found
}

/// The entry for a field: by its whole path, else by its last name.
fn given(table: &[(&str, &str)], path: &str) -> Option<Vec<Value>> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let entry = [path, last].into_iter().find_map(|name| table.iter().find(|it| it.0 == name));
    entry.map(|(_, text)| serde_json::from_str(text).expect("an example is JSON"))
}

fn of_kind(path: &str, kind: &'static Kind) -> Vec<Value> {
    match kind {
        Kind::Bool => vec![json!(true), json!(false)],
        Kind::Number => vec![json!(10), json!(20)],
        Kind::Bytes => vec![json!(1 << 20), json!(2 << 20)],
        Kind::Duration => vec![json!(3600 * SECOND), json!(7200 * SECOND)],
        Kind::Time => vec![json!("2026-01-01T00:00:00Z"), json!("2026-02-01T00:00:00.5+02:00")],
        Kind::Text => vec![json!("one"), json!("two")],
        Kind::Literal => vec![json!("a.one"), json!("a.two")],
        Kind::Subject => vec![json!("a.one"), json!("a.*")],
        Kind::Labels => vec![json!({ "team": "a" }), json!({ "team": "b", "owner": "c" })],
        Kind::OneOf(choices) => choices.iter().map(|it| json!(it.name)).collect(),
        Kind::Set(kind) | Kind::List(kind) => {
            let items = of_kind(path, kind);
            let ends = json!([items.first(), items.last()]);
            items.into_iter().map(|it| json!([it])).chain([ends]).collect()
        }
        // Each field of its own, beside those without which the table means nothing.
        Kind::Table(rows) => {
            let inner = |it: &'static Field| examples(&format!("{path}.{}", it.name), it);
            let mut base = Map::new();
            for row in rows.iter().filter(|it| it.required) {
                base.insert(row.name.to_owned(), inner(row).swap_remove(0));
            }
            let mut tables = Vec::new();
            for row in *rows {
                // All needed ones are there; the rest comes one by one.
                for value in inner(row) {
                    let mut table = base.clone();
                    table.insert(row.name.to_owned(), value);
                    tables.push(Value::Object(table));
                }
            }
            tables.dedup();
            tables
        }
    }
}

/// A source of random configurations.
pub(crate) struct Draw {
    random: fastrand::Rng,
    release: Release,
    /// The streams that there may be.
    names: &'static [&'static str],
}

impl Draw {
    /// Draws for a release, over some names; equal seeds give equal draws.
    pub(crate) fn new(seed: u64, release: Release, names: &'static [&'static str]) -> Self {
        // Releases draw differently, so that more is tried.
        let random = fastrand::Rng::with_seed(seed.wrapping_add(u64::from(release.1)));
        Self { random, release, names }
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.random.u32(..times) == 0
    }

    /// One of several.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.random.usize(..of.len())]
    }

    /// The name of a stream.
    pub(crate) fn name(&mut self) -> &'static str {
        self.names[self.random.usize(..self.names.len())]
    }

    /// A stream of this name: the fields that a client would write.
    pub(crate) fn stream(&mut self, name: &str) -> Value {
        let mut config = Map::new();
        config.insert("name".to_owned(), json!(name));
        let copies = self.random.u32(..100);
        let kinds = [(12, "mirror"), (30, "sources")];
        let what = kinds.iter().find(|it| copies < it.0).map(|it| it.1);
        for field in rows() {
            let is_copy = ["mirror", "sources"].contains(&field.name);
            let wanted = match (field.name, what) {
                ("subjects", None) => !self.once_in(8),
                ("subjects", Some("mirror")) => self.once_in(30),
                _ if is_copy => what == Some(field.name) || self.once_in(100),
                _ => self.once_in(9),
            };
            if wanted && let Some(value) = self.value(name, field) {
                config.insert(field.name.to_owned(), value);
            }
        }
        Value::Object(config)
    }

    /// The same stream with some fields changed, added or left out.
    pub(crate) fn changed(&mut self, config: &Value) -> Value {
        let mut changed = config.clone();
        let name = config["name"].as_str().unwrap_or_default().to_owned();
        for _ in 0..=self.random.usize(..3) {
            let field = rows().nth(self.random.usize(..rows().count())).expect("one of the rows");
            let fields = changed.as_object_mut().expect("a configuration is an object");
            match self.value(&name, field) {
                Some(value) if !self.once_in(3) => {
                    drop(fields.insert(field.name.to_owned(), value))
                }
                _ => drop(fields.remove(field.name)),
            }
        }
        changed
    }

    /// A value of a field; seldom one that the release does not know, or refuses.
    pub(crate) fn value(&mut self, name: &str, field: &'static Field) -> Option<Value> {
        let odd = given(ODD, field.name).filter(|_| self.once_in(12));
        let value = match (odd, &field.kind) {
            (Some(odd), _) => self.one(&odd).clone(),
            (None, Kind::Set(Kind::Table(rows))) => {
                let count = 1 + usize::from(self.once_in(4));
                let items: Vec<_> = (0..count).map(|_| self.table(field.name, rows)).collect();
                json!(items)
            }
            (None, Kind::Table(rows)) => self.table(field.name, rows),
            (None, _) => {
                let of = examples(field.name, field);
                if of.is_empty() { json!(1) } else { self.one(&of).clone() }
            }
        };
        let other = self.name();
        let value = filled(&value, name, other);
        let known = field.first_release(&value) <= self.release;
        (known || self.once_in(20)).then_some(value)
    }

    /// A table with some of its fields.
    fn table(&mut self, path: &str, rows: &'static [Field]) -> Value {
        if let Some(whole) = given(EXAMPLES, path).filter(|_| self.once_in(2)) {
            return self.one(&whole).clone();
        }
        let mut table = Map::new();
        for row in rows {
            let path = format!("{path}.{}", row.name);
            let known = row.since <= self.release || self.once_in(20);
            if known && (row.required || self.once_in(4)) {
                let value = if let Kind::Table(inner) = row.kind {
                    self.table(&path, inner)
                } else {
                    match &examples(&path, row)[..] {
                        [] => continue,
                        examples => self.one(examples).clone(),
                    }
                };
                table.insert(row.name.to_owned(), value);
            }
        }
        Value::Object(table)
    }
}

fn rows() -> impl Iterator<Item = &'static Field> {
    STREAM.iter().filter(|it| it.writer == Writer::Spec)
}

/// An example with names in their places.
pub(crate) fn filled(example: &Value, name: &str, other: &str) -> Value {
    let text = example.to_string().replace("NAME", name).replace("OTHER", other);
    serde_json::from_str(&text.replace("LONG", &"x".repeat(5000))).expect("names are plain")
}
