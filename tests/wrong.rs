//! Wrong specs, made from right ones by the rows: each is refused, and every finding says what it
//! is about, where, and what to do.
//!
//! A spec is broken in every way that a row can be, and then at random; `JSPLAN_SEED` repeats a run.

#![expect(clippy::print_stdout, reason = "a run says its seed and how much it tried")]

use std::{env, fs, path::Path};

use jsplan::{
    finding::{Code, Severity},
    schema::{
        Field, Kind, Unset, Writer,
        bucket::{KV, OBJECT},
        consumer::CONSUMER,
        stream::STREAM,
    },
    spec,
};
use toml::{Table, Value};

/// A spec that was broken, and how.
struct Broken {
    how: String,
    text: String,
}

/// Where a kind of resource stands in the rich spec.
const PLACES: [(&str, &[&str], &[Field]); 4] = [
    ("stream", &["streams", "ORDERS_V1"], STREAM),
    ("consumer", &["streams", "ORDERS_V1", "consumers", "BILLING"], CONSUMER),
    ("kv", &["kv", "SETTINGS"], KV),
    ("object", &["object", "FILES"], OBJECT),
];

fn rich() -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs/rich.toml");
    fs::read_to_string(path).expect("it is there").parse().expect("it is TOML")
}

/// The rich spec with one of its tables changed.
fn broken(how: impl Into<String>, path: &[&str], change: impl FnOnce(&mut Table)) -> Broken {
    let mut spec = rich();
    let table = path.iter().fold(&mut spec, |table, name| {
        let empty = || Value::Table(Table::new());
        table.entry(*name).or_insert_with(empty).as_table_mut().expect("a table")
    });
    change(table);
    Broken { how: how.into(), text: spec.to_string() }
}

/// What is wrong with a finding, or with there being none.
fn complaints(Broken { how, text }: &Broken) -> Vec<String> {
    let loaded = spec::load("environments/rich.toml", |_| Ok(text.clone()));
    let refused = loaded.findings.iter().any(|it| it.severity == Severity::Error);
    let mut complaints = Vec::new();
    if !refused || loaded.desired.is_some() {
        complaints.push("it is not refused".to_owned());
    }
    for finding in &loaded.findings {
        let mut lacks = Vec::new();
        let inside = |it: jsplan::finding::Place| {
            let span = it.span();
            !span.is_empty() && text.get(span).is_some()
        };
        if !Code::ALL.contains(&finding.code) {
            lacks.push("code");
        }
        if !finding.place.is_some_and(inside) {
            lacks.push("place");
        }
        if finding.help.as_ref().is_none_or(|it| it.trim().is_empty()) {
            lacks.push("remedy");
        }
        if finding.message.is_empty() || finding.message.ends_with('.') {
            lacks.push("message");
        }
        complaints.extend(lacks.iter().map(|it| format!("no {it}: {}", finding.message)));
    }
    complaints.into_iter().map(|it| format!("{how}: {it}")).collect()
}

#[track_caller]
fn all_are_refused(broken: &[Broken]) {
    let complaints: Vec<_> = broken.iter().flat_map(complaints).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn text(text: &str) -> Value {
    text.into()
}

/// Values that a field of this kind does not take.
fn wrong_values(kind: &Kind, unset: Unset) -> Vec<Value> {
    let limit = matches!(unset, Unset::Unlimited(_));
    let table = || Value::Table(Table::from_iter([("no such key".to_owned(), 1.into())]));
    let mut wrong = match kind {
        Kind::Bool => vec![text("true"), 1.into()],
        Kind::Number => vec![text("12"), Value::Boolean(true), 1.5.into(), (-1).into()],
        Kind::Bytes => vec![text("ten"), text("1 league"), Value::Boolean(true), (-1).into()],
        Kind::Duration => vec![60.into(), text("7 moons"), text("60"), text("-1s"), text("1mo")],
        Kind::Time => vec![text("yesterday"), text("2026-11-23"), 1.into()],
        Kind::Text => vec![1.into(), Value::Boolean(true), Value::Array(vec![])],
        Kind::Subject => {
            vec![1.into(), text(""), text("a..b"), text(".a"), text("a b"), text("a.>.b")]
        }
        Kind::Literal => vec![1.into(), text("a..b"), text("a.*"), text("a.>")],
        Kind::Labels => {
            let of_the_server = Table::from_iter([("_nats.level".to_owned(), text("1"))]);
            vec![text("a"), table(), Value::Table(of_the_server)]
        }
        Kind::OneOf(choices) => {
            vec![text("nonsense"), text(&choices[0].name.to_uppercase()), 1.into()]
        }
        Kind::Set(kind) | Kind::List(kind) => {
            let wrong = wrong_values(kind, Unset::Absent).into_iter();
            wrong.map(|it| Value::Array(vec![it])).chain([Value::Boolean(false)]).collect()
        }
        Kind::Table(rows) => {
            let inside = rows.iter().flat_map(|row| {
                let wrong = wrong_values(&row.kind, row.unset).into_iter().take(2);
                wrong.map(|it| Value::Table(Table::from_iter([(row.name.to_owned(), it)])))
            });
            inside.chain([text("a"), table()]).collect()
        }
    };
    if limit {
        wrong.push(0.into());
    } else if matches!(kind, Kind::Number | Kind::Bytes | Kind::Duration) {
        wrong.push(text("unlimited"));
    }
    wrong
}

#[test]
fn a_wrong_value_of_any_field_is_refused() {
    let mut all = Vec::new();
    for (kind, path, rows) in PLACES {
        for row in rows.iter().filter(|it| it.writer == Writer::Spec) {
            let unlimited = |it: &Value| row.endless.is_some() && *it == text("unlimited");
            let wrong = wrong_values(&row.kind, row.unset).into_iter();
            for wrong in wrong.filter(|it| !unlimited(it)) {
                let how = format!("{kind} {} = {wrong}", row.name);
                all.push(broken(how, path, |it| drop(it.insert(row.name.to_owned(), wrong))));
            }
        }
    }
    assert!(all.len() >= 200, "{} specs", all.len());
    println!("{} wrong values", all.len());
    all_are_refused(&all);
}

#[test]
fn a_field_that_is_not_the_specs_to_say_is_refused() {
    let mut all = Vec::new();
    for (kind, path, rows) in PLACES {
        let others = PLACES.iter().flat_map(|it| it.2);
        let here = |name: &str| rows.iter().find(|it| it.name == name);
        for row in others {
            if here(row.name).is_some_and(|it| it.writer == Writer::Spec) {
                continue;
            }
            let how = format!("{kind} {}", row.name);
            all.push(broken(how, path, |it| drop(it.insert(row.name.to_owned(), text("a")))));
        }
    }
    println!("{} fields of others", all.len());
    all_are_refused(&all);
}

#[test]
fn what_is_required_and_left_out_is_missed() {
    let remove = |path: &[&str], name: &'static str| {
        broken(format!("no {name} in {}", path.join(".")), path, |it| drop(it.remove(name)))
    };
    let all = [
        remove(&[], "server"),
        remove(&["server"], "url"),
        remove(&["server"], "user"),
        remove(&["server"], "password"),
        remove(&["server", "tls"], "cert"),
        remove(&["server", "tls"], "key"),
        remove(&["streams", "ORDERS_V1"], "reason"),
        remove(&["streams", "ORDERS_V1"], "ignore"),
        remove(&["streams", "ORDERS_V1"], "discard"),
        remove(&["streams", "ORDERS_V1", "republish"], "dest"),
        remove(&["streams", "ORDERS_V1", "consumers", "BILLING"], "service"),
        remove(&["streams", "ORDERS_V1", "consumers", "BILLING"], "opt_start_seq"),
        remove(&["streams", "ORDERS_V1", "consumers", "BILLING"], "priority_groups"),
        remove(&["streams", "ORDERS_V1", "consumers", "SCREEN"], "idle_heartbeat"),
        remove(&["streams", "ORDERS_V1", "consumers", "SCREEN"], "deliver_subject"),
        remove(&["streams", "COPY", "mirror"], "name"),
        remove(&["streams", "ALL", "subject_transform"], "src"),
        remove(&["streams", "ALL", "subject_transform"], "dest"),
        remove(&["kv", "SETTINGS", "republish"], "dest"),
        remove(&["kv", "COPY", "mirror"], "name"),
        remove(&["policy", "bounded_retention"], "level"),
        remove(&["policy", "durable_storage"], "reason"),
        remove(&["policy", "name_pattern"], "pattern"),
        remove(&["policy", "rules", "short_ack"], "level"),
        remove(&["policy", "rules", "short_ack"], "applies_to"),
        remove(&["policy", "rules", "short_ack"], "rule"),
        remove(&["policy", "rules", "short_ack"], "message"),
    ];
    all_are_refused(&all);
}

/// The rich spec with some keys of a table set.
fn set(path: &[&str], fields: &str) -> Broken {
    let fields: Table = fields.parse().expect("tests write TOML");
    broken(format!("{} {fields}", path.join(".")), path, |it| it.extend(fields))
}

#[test]
fn what_excludes_each_other_in_one_resource_is_refused() {
    let stream = ["streams", "ORDERS_V1"];
    let pull = ["streams", "ORDERS_V1", "consumers", "BILLING"];
    let push = ["streams", "ORDERS_V1", "consumers", "SCREEN"];
    let all = [
        set(&stream, "num_replicas = 6"),
        set(&stream, "mirror = { name = 'A' }"),
        set(&stream, "sealed = true"),
        set(&stream, "allow_rollup_hdrs = true"),
        set(&stream, "subjects = ['a.*', 'a.b']"),
        set(&stream, "subjects = ['a', 'a']"),
        set(&stream, "subjects = ['$JS.API.>']"),
        set(&stream, "subjects = ['jobs.a']"),
        set(&stream, "duplicate_window = '30d'"),
        set(&stream, "republish = { src = '>', dest = 'orders.v1.a' }"),
        set(&stream, "max_consumers = 1"),
        set(&stream, "ignore = ['placements']"),
        set(&stream, "exceptions = { bounded = 'a reason' }"),
        set(&stream, "exceptions = { replicated = '' }"),
        set(&stream, "mirror_direct = true"),
        set(&stream, "allow_msg_counter = true"),
        set(&pull, "deliver_subject = 'x'"),
        set(&pull, "filter_subject = 'orders.v1.paid'"),
        set(&pull, "filter_subjects = ['orders.v1.*', 'orders.v1.paid']"),
        set(&pull, "backoff = ['1s']"),
        set(&pull, "flow_control = true"),
        set(&pull, "deliver_policy = 'all'"),
        set(&pull, "num_replicas = 5"),
        set(&pull, "inactive_threshold = '48h'"),
        set(&pull, "sample_freq = 'often'"),
        set(&push, "service = 'billing'\nenabled = 'no'"),
        set(&push, "deliver_subject = 'orders.v1.back'"),
        set(&push, "max_waiting = 5"),
        set(&push, "backoff = ['1s', '2s', '3s']\nmax_deliver = 2"),
        set(&["kv", "SETTINGS"], "history = 65"),
        set(&["kv", "SETTINGS"], "mirror = { name = 'A' }"),
    ];
    all_are_refused(&all);
}

#[test]
fn what_excludes_each_other_in_a_spec_is_refused() {
    let all = [
        set(&["server"], "context = 'prod'"),
        set(&["server"], "token = 'env:TOKEN'"),
        set(&["server"], "api_prefix = 'A.API'"),
        set(&["server"], "password = 'hunter2'"),
        set(&["server"], "url = 'nats://ada:hunter2@localhost'"),
        set(&["server"], "url = []"),
        set(&["server"], "timeout = '0s'"),
        set(&["streams", "ORDERS_V1", "consumers"], "billing_SCREEN = 5"),
        set(&["streams", "COPY"], "subjects = ['a']"),
        set(&["streams"], "bad-name = { subjects = ['bad..subject'] }"),
        set(&["streams"], "'a.b' = { subjects = ['b'] }"),
        set(&["streams"], "KV_SETTINGS = { subjects = ['b'] }"),
        set(&["streams"], "A = { subjects = ['orders.>'] }"),
        set(&["streams"], "A = { mirror = { name = 'B' } }\nB = { mirror = { name = 'A' } }"),
        set(&["kv"], "'a.b' = {}"),
        set(&["naming"], "durable = 'same'"),
        set(&["naming"], "durable = '{name}.{service}'"),
        set(&["state"], "backend = 'floppy'"),
        set(&["defaults", "stream"], "enabled = false"),
        set(&["override", "stream"], "consumers = {}"),
        set(&["policy"], "bounded_retention = 'off'"),
        set(&["policy"], "name_pattern = { level = 'error', pattern = '(' }"),
        set(&["policy", "rules", "short_ack"], "rule = 'config.ack_wait'"),
        set(&["policy", "rules", "short_ack"], "rule = 'config.ack_wait >'"),
        set(&["policy", "rules", "short_ack"], "rule = 'config.ack_weit > 0'"),
        set(&["policy", "rules", "short_ack"], "rule = 'nobody > 0'"),
        set(&["policy", "rules", "short_ack"], "rule = 'false'"),
        set(&["policy", "rules"], "replicated = { level = 'error' }"),
        // Two keys that make one durable name.
        set(
            &["streams", "ORDERS_V1", "consumers"],
            "A_B = { service = 'x' }\nB = { service = 'x_A' }",
        ),
    ];
    all_are_refused(&all);
}

/// Random numbers from a seed, the same on every machine (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}

/// The paths of all keys of a table that are no name somebody gave.
fn keys(table: &Table, path: &[String], found: &mut Vec<Vec<String>>) {
    let given = ["streams", "consumers", "kv", "object", "metadata", "exceptions", "rules"];
    let names = path.last().is_some_and(|it| given.contains(&it.as_str()));
    for (name, value) in table {
        let here: Vec<_> = path.iter().cloned().chain([name.clone()]).collect();
        if let Value::Table(inner) = value {
            keys(inner, &here, found);
        }
        if !names {
            found.push(here);
        }
    }
}

/// A name with a letter lost, doubled, changed or moved.
fn misspelt(name: &str, chance: &mut Chance) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = chance.below(letters.len());
    match chance.below(4) {
        0 if letters.len() > 1 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 if at + 1 < letters.len() && letters[at] != letters[at + 1] => letters.swap(at, at + 1),
        _ => letters[at] = 'q',
    }
    letters.into_iter().collect()
}

#[test]
fn a_misspelt_key_anywhere_is_refused() {
    let seed = env::var("JSPLAN_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(2026);
    println!("JSPLAN_SEED={seed}");
    let mut chance = Chance(seed);
    let mut paths = Vec::new();
    keys(&rich(), &[], &mut paths);
    let mut all = Vec::new();
    while all.len() < 200 {
        let path = &paths[chance.below(paths.len())];
        let (name, path) = path.split_last().expect("a key has a name");
        let wrong = misspelt(name, &mut chance);
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let how = format!("{} {name} -> {wrong}", path.join("."));
        let mut known = false;
        let spec = broken(how, &path, |table| {
            known = table.contains_key(&wrong);
            let value = table.remove(name).expect("it was found there");
            table.insert(wrong, value);
        });
        if !known {
            all.push(spec);
        }
    }
    all_are_refused(&all);
}

#[test]
fn a_text_cut_anywhere_is_refused_or_right() {
    let whole = rich().to_string();
    let mut cut = 0;
    for end in (1..whole.len()).step_by(7).filter(|it| whole.is_char_boundary(*it)) {
        let part = Broken { how: format!("cut at {end}"), text: whole[..end].to_owned() };
        let complaints = complaints(&part);
        let wrong: Vec<_> = complaints.iter().filter(|it| !it.contains("not refused")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        cut += usize::from(complaints.is_empty());
    }
    assert!(cut >= 200, "{cut} specs were refused");
}
