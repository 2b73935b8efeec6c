//! Consumers as clients might write them, and odd ones: examples of every field, and random
//! configurations that a seed gives again.

use jsplan::schema::{Choice, Field, Kind, Release, Writer, consumer::CONSUMER};
use serde_json::{Map, Value, json};

/// Values of each field: first those that servers mostly take, then, behind `|`, odd ones.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("description", r#"["one", "two"]"#, r#"["LONG"]"#),
    ("filter_subject", r#"["a.x", "a.>", "b.*"]"#, r#"["c.far", ">"]"#),
    (
        "filter_subjects",
        r#"[["a.x", "b.y"], ["a.*", "b.*"], ["a.q"], ["b.>"]]"#,
        r#"[["a.*.x", "a.b.*"], ["a.>", "a.x"], ["a.x", "a.x"]]"#,
    ),
    ("opt_start_seq", "[1, 5]", "[0]"),
    ("opt_start_time", r#"["2026-01-01T00:00:00Z", "2026-02-01T00:00:00.5+02:00"]"#, "[]"),
    ("ack_wait", "[10000000000, 60000000000]", "[0]"),
    ("backoff", "[[1000000000], [1000000000, 5000000000]]", "[[0, 1000000000], []]"),
    ("max_deliver", "[3, 5]", "[1, 0]"),
    ("max_ack_pending", "[10, 500]", "[2000, 0]"),
    ("deliver_subject", r#"["push.a", "push.b"]"#, r#"["a.x", "push.*"]"#),
    ("deliver_group", r#"["one", "two"]"#, "[]"),
    ("idle_heartbeat", "[1000000000, 5000000000]", "[50000000, 100000000, 0]"),
    ("rate_limit_bps", "[1000, 2000]", "[0]"),
    ("max_waiting", "[5, 10]", "[512, 0]"),
    ("max_batch", "[5, 10]", "[0]"),
    ("max_expires", "[1000000000, 60000000000]", "[500000, 1000000, 0]"),
    ("max_bytes", "[1024, 1048576]", "[0]"),
    (
        "sample_freq",
        r#"["100%", "50"]"#,
        r#"["0", "x", "500", "0%", "-1", "+5", " 5", "50%%", "1.5"]"#,
    ),
    ("inactive_threshold", "[3600000000000, 1800000000000]", "[86400000000000, 0]"),
    ("num_replicas", "[1]", "[0, 3, 6]"),
    (
        "pause_until",
        r#"["2099-01-01T00:00:00Z", "2098-01-01T02:00:00+02:00"]"#,
        r#"["2020-01-01T00:00:00Z"]"#,
    ),
    (
        "priority_groups",
        r#"[["one"], ["one", "two"]]"#,
        r#"[["a b"], ["seventeen-letters"], ["sixteen-letters_"], [""], []]"#,
    ),
    ("priority_timeout", "[10000000000, 60000000000]", "[0]"),
    ("metadata", r#"[{ "team": "a" }, { "team": "b", "owner": "c" }]"#, "[{}]"),
];

/// Fields that only one way to deliver heeds: mostly they stand where they belong.
const PUSHED: &[&str] =
    &["deliver_subject", "deliver_group", "rate_limit_bps", "idle_heartbeat", "flow_control"];
const PULLED: &[&str] = &[
    "max_waiting",
    "max_batch",
    "max_expires",
    "max_bytes",
    "priority_policy",
    "priority_groups",
    "priority_timeout",
];

/// The rows that a spec can set.
pub(crate) fn rows() -> impl Iterator<Item = &'static Field> {
    CONSUMER.iter().filter(|it| it.writer == Writer::Spec)
}

/// Examples of a field that servers mostly take.
///
/// # Panics
///
/// Where there is none: a new row needs one.
pub(crate) fn examples(field: &'static Field) -> Vec<Value> {
    let given = EXAMPLES.iter().find(|it| it.0 == field.name);
    let parse = |text: &str| serde_json::from_str(text).expect("an example is JSON");
    match (given, &field.kind) {
        (Some((_, usual, _)), _) => parse(usual),
        (None, Kind::Bool) => vec![json!(true), json!(false)],
        (None, Kind::OneOf(choices)) => choices.iter().map(name).collect(),
        (None, _) => panic!("`{}` has no example", field.name),
    }
}

fn name(choice: &Choice) -> Value {
    json!(choice.name)
}

fn odd(field: &'static Field) -> Vec<Value> {
    let given = EXAMPLES.iter().find(|it| it.0 == field.name);
    let given = given.map(|it| it.2.replace("LONG", &"x".repeat(5000)));
    given.map_or(Vec::new(), |it| serde_json::from_str(&it).expect("an example is JSON"))
}

/// A source of random consumers.
pub(crate) struct Draw {
    random: fastrand::Rng,
    release: Release,
}

impl Draw {
    /// Draws for a release; equal seeds give equal draws.
    pub(crate) fn new(seed: u64, release: Release) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), release }
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.random.u32(..times) == 0
    }

    /// One of several.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.random.usize(..of.len())]
    }

    /// A consumer: the fields that a client would write.
    pub(crate) fn consumer(&mut self) -> Value {
        let pushed = self.once_in(3);
        let mut config = Map::new();
        for field in rows() {
            let belongs = match field.name {
                it if PUSHED.contains(&it) => pushed,
                it if PULLED.contains(&it) => !pushed,
                _ => true,
            };
            let wanted = match field.name {
                "deliver_subject" => pushed,
                "ack_policy" => !self.once_in(8),
                _ if belongs => self.once_in(7),
                _ => self.once_in(60),
            };
            if wanted && let Some(value) = self.value(field) {
                config.insert(field.name.to_owned(), value);
            }
        }
        self.made_whole(&mut config);
        Value::Object(config)
    }

    /// Mostly a field comes with what it cannot be without.
    fn made_whole(&mut self, config: &mut Map<String, Value>) {
        let policy = config.get("deliver_policy").and_then(Value::as_str).map(ToOwned::to_owned);
        let starts = [("opt_start_seq", "by_start_sequence"), ("opt_start_time", "by_start_time")];
        for (name, of) in starts {
            if self.once_in(15) {
                continue;
            }
            match policy.as_deref() == Some(of) {
                true => drop(config.entry(name).or_insert_with(|| match name {
                    "opt_start_seq" => json!(5),
                    _ => json!("2026-01-01T00:00:00Z"),
                })),
                false => drop(config.remove(name)),
            }
        }
        if policy.as_deref() == Some("last_per_subject") && !self.once_in(15) {
            config.remove("filter_subjects");
            config.insert("filter_subject".to_owned(), json!("a.>"));
        }
        if config.contains_key("filter_subject") && !self.once_in(15) {
            config.remove("filter_subjects");
        }
        if config.get("flow_control") == Some(&json!(true)) && !self.once_in(8) {
            config.entry("idle_heartbeat").or_insert(json!(5_000_000_000_i64));
        }
        let prior = config.get("priority_policy").is_some_and(|it| it != "none");
        if prior && !self.once_in(8) {
            config.entry("priority_groups").or_insert(json!(["one"]));
        } else if !prior && !self.once_in(15) {
            config.remove("priority_groups");
            config.remove("priority_timeout");
        }
        if config.contains_key("backoff") && !self.once_in(8) {
            config.remove("ack_wait");
        }
    }

    /// The same consumer with some fields changed, added or left out.
    pub(crate) fn changed(&mut self, config: &Value) -> Value {
        let mut changed = config.as_object().cloned().unwrap_or_default();
        for _ in 0..=self.random.usize(..2) {
            let all: Vec<_> = rows().collect();
            let field = *self.one(&all);
            match self.value(field) {
                Some(value) if !self.once_in(3) => {
                    drop(changed.insert(field.name.to_owned(), value));
                }
                _ => drop(changed.remove(field.name)),
            }
        }
        if !self.once_in(3) {
            self.made_whole(&mut changed);
        }
        Value::Object(changed)
    }

    /// A value of a field; seldom one that the release does not know, or refuses.
    fn value(&mut self, field: &'static Field) -> Option<Value> {
        let odd = odd(field);
        let value = if !odd.is_empty() && self.once_in(10) {
            self.one(&odd).clone()
        } else if field.name == "ack_policy" && !self.once_in(3) {
            json!("explicit")
        } else {
            self.one(&examples(field)).clone()
        };
        let known = field.first_release(&value) <= self.release;
        (known || self.once_in(20)).then_some(value)
    }
}
