//! One account after another on one server: filled at random, imported, planned.

use std::collections::{BTreeMap, BTreeSet};

use jsplan::{
    address::Address,
    config::Config,
    finding::Severity,
    import::{self, Choice, Composed},
    live::{Live, Observed},
    schema::{Field, Writer, bucket::Bucket, consumer::CONSUMER},
    spec::{self, format},
    state::State,
};
use serde_json::{Map, Value, json};

use crate::{
    generate::{Draw, examples, filled},
    servers::Oracle,
};

/// Streams as the generator knows them.
const NAMES: &[&str] = &["S1", "S2", "S3", "S4", "S5"];

/// What some of them are called instead: all of it takes quotes in TOML.
const ODD: &[&str] =
    &["café@1", "q\"uote'", "x=y#z", "日本", "[a]", "{b},c", "\u{1}\u{7f}\u{200b}_"];

const SECOND: i64 = 1_000_000_000;

/// Examples of a consumer's fields, where the kind alone makes none that a server takes.
const CONSUMERS: &[(&str, &str)] = &[
    ("filter_subject", r#"["NAME.a", "NAME.>", "S1.b.c"]"#),
    ("filter_subjects", r#"[["NAME.a", "NAME.b.x"], ["NAME.a"]]"#),
    ("deliver_subject", r#"["deliver.NAME"]"#),
    ("deliver_group", r#"["queue"]"#),
    ("num_replicas", "[1]"),
    ("backoff", "[[1000000000, 2000000001], [500]]"),
    ("max_deliver", "[3, 5]"),
    ("max_ack_pending", "[10, 2000, -1]"),
    ("sample_freq", r#"["50", "100%"]"#),
    ("opt_start_time", r#"["2026-01-01T00:00:00.5+02:00"]"#),
    ("rate_limit_bps", "[8000]"),
    ("idle_heartbeat", "[1000000000, 30000000000]"),
    ("pause_until", r#"["2099-01-01T00:00:00Z"]"#),
    ("inactive_threshold", "[3600000000000]"),
    ("priority_groups", r#"[["a"]]"#),
    ("priority_timeout", "[60000000000]"),
    ("max_expires", "[1000000000]"),
];

/// What the environment says before the import.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spec {
    /// Where its server is.
    Bare,
    /// What holds for all of a kind.
    Defaults,
    /// A rule for the names of consumers, and some of what is live by a base.
    Base,
    /// What holds over all of a kind, and cannot be taken back.
    Overrides,
}

impl Spec {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Defaults, Self::Base, Self::Overrides];

    fn text(self, path: &str) -> Result<String, String> {
        const SERVER: &str = "# The server.\n[server]\nurl = \"nats://127.0.0.1:4222\" # here\n";
        let base = "[naming]\ndurable = \"{service}_{name}\"\n[streams.S1]\nsubjects = [\"S1.>\"]\n\
                    max_age = \"7d\"\ndescription = \"d\"\nmetadata = { a = \"b\" }\n\
                    [streams.S1.consumers.C1]\nservice = \"one\"\nack_policy = \"explicit\"\n\
                    max_deliver = 4\n";
        Ok(match (self, path) {
            (Self::Base, "base.toml") => base.to_owned(),
            (Self::Base, _) => format!("extends = \"base.toml\"\n\n{SERVER}"),
            (Self::Bare, _) => SERVER.to_owned(),
            (Self::Defaults, _) => format!(
                "{SERVER}\n[defaults.stream]\ndescription = \"d\"\nmax_age = \"7d\"\nmax_msgs = 5\n\
                 allow_direct = true\nprevent_destroy = true\n\n[defaults.consumer]\n\
                 ack_policy = \"explicit\"\nmax_deliver = 4\n\n[defaults.kv]\nhistory = 5\n"
            ),
            (Self::Overrides, _) => format!(
                "{SERVER}\n[override.stream]\nnum_replicas = 1\nallow_direct = false\n\n\
                 [override.consumer]\nheaders_only = false\n"
            ),
        })
    }
}

/// The account of a server, and what is drawn for it.
pub(crate) struct Account<'a> {
    oracle: &'a Oracle,
    draw: Draw,
}

impl<'a> Account<'a> {
    pub(crate) fn new(oracle: &'a Oracle, seed: u64) -> Self {
        Self { oracle, draw: Draw::new(seed, oracle.release, NAMES) }
    }

    async fn live(&self) -> Live {
        self.oracle.session.observe(&BTreeSet::new()).await.expect("the account is read")
    }

    /// Whether the server took a configuration.
    async fn make(&self, subject: &str, body: &Value) -> bool {
        let answer = self.oracle.session.request(subject, body.to_string().into_bytes(), 0).await;
        answer.and_then(|it| it.observed(&Address::stream("any"))).is_ok()
    }

    /// Another account: whatever the server takes of what is drawn.
    pub(crate) async fn fill(&mut self) {
        for address in self.live().await.resources.keys().filter(|it| !it.name().is_empty()) {
            if let Address::Stream(name) = address {
                self.oracle.done(&format!("STREAM.DELETE.{name}")).await;
            }
        }
        for plain in NAMES {
            if self.draw.once_in(5) {
                continue;
            }
            let mut stream = self.draw.stream(plain);
            let name = if self.draw.once_in(6) { *self.draw.one(ODD) } else { plain };
            stream["name"] = name.into();
            if self.make(&format!("STREAM.CREATE.{name}"), &stream).await {
                self.seal(name, &stream).await;
                for number in 0..3 {
                    self.consumer(name, plain, number).await;
                }
            }
        }
        for number in 1..=2 {
            self.bucket(number).await;
        }
    }

    async fn seal(&mut self, name: &str, stream: &Value) {
        if self.draw.once_in(20) {
            let mut sealed = stream.clone();
            sealed["sealed"] = true.into();
            self.make(&format!("STREAM.UPDATE.{name}"), &sealed).await;
        }
    }

    async fn consumer(&mut self, stream: &str, plain: &str, number: usize) {
        let name = match (number, self.draw.once_in(8)) {
            (_, true) => (*self.draw.one(ODD)).to_owned(),
            (0, _) => "one_C1".to_owned(),
            _ => (*self.draw.one(&["two_half_C2", "C3", "_x_"])).to_owned(),
        };
        let mut config = Map::new();
        for field in CONSUMER.iter().filter(|it| it.writer == Writer::Spec) {
            let seldom = if field.name == "ack_policy" { 1 } else { 8 };
            if self.draw.once_in(seldom) && field.since <= self.oracle.release {
                let value = filled(self.draw.one(&of_consumer(field)), plain, "S1");
                config.insert(field.name.to_owned(), value);
            }
        }
        if !self.draw.once_in(8) {
            config.insert("durable_name".to_owned(), name.clone().into());
        }
        config.insert("name".to_owned(), name.clone().into());
        let body = json!({ "stream_name": stream, "config": config });
        self.make(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
    }

    /// A bucket as clients make it, or almost.
    async fn bucket(&mut self, number: usize) {
        let kind = *self.draw.one(&Bucket::ALL);
        let name = format!("B{number}");
        let mut words = Config::default();
        for row in kind.rows() {
            let known = row.since <= self.oracle.release && row.name != "placement";
            if known && self.draw.once_in(4) {
                let value = match row.name {
                    "history" => json!(7),
                    "republish" => json!({ "src": ">", "dest": "copies.>" }),
                    "mirror" => json!({ "name": "FAR" }),
                    "sources" => json!([{ "name": "FAR" }, { "name": name, "domain": "hub" }]),
                    "num_replicas" => json!(1),
                    _ => self.draw.one(&examples(row.name, row)).clone(),
                };
                words.set(row.name, value);
            }
        }
        let mut stream = kind.lower(&name, &words).into_value();
        for (name, value) in [
            ("discard", json!("old")),
            ("allow_direct", json!(false)),
            ("deny_delete", json!(false)),
            ("max_msgs", json!(9)),
            ("duplicate_window", json!(60 * SECOND)),
        ] {
            if self.draw.once_in(8) {
                stream[name] = value;
            }
        }
        self.make(&format!("STREAM.CREATE.{}", kind.stream(&name)), &stream).await;
    }

    /// Imports everything, and holds that nothing is left to do about it, here or elsewhere.
    pub(crate) async fn import(&self, spec: Spec) -> Result<Vec<(&'static str, usize)>, String> {
        const PATH: &str = "roundtrip.toml";
        let live = self.live().await;
        let text_of = |it: &str| spec.text(it);
        let before = spec::load(PATH, text_of).desired.expect("it is right");
        let state = State::new("roundtrip");
        let chosen = import::choose(&Choice::All, &before, &state, &live);
        let composed = import::compose(PATH, text_of, &chosen, self.oracle.release);
        let Composed { described, loaded } = &composed;
        let shown = || format!("\n{}\n{}", described.file, written(&live));
        for address in chosen.resources.keys() {
            let of_stream = Address::stream(address.stream_name());
            let said = described.resources.contains(address) || described.left.contains(address);
            if !said && !described.left.contains(&of_stream) {
                return Err(format!("{address} is left out silently{}", shown()));
            }
        }
        let left: Vec<_> = described.findings.iter().map(|it| it.message.clone()).collect();
        if let Some(why) = left.iter().find(|it| !excused(spec, it)) {
            return Err(format!("{why}{}", shown()));
        }
        if format::format(PATH, &described.file).ok().as_ref() != Some(&described.file) {
            return Err(format!("it is not laid out{}", shown()));
        }
        let proved = match import::prove(&composed, &state, &live) {
            Ok(proved) => proved,
            Err(findings) => {
                let errors = findings.iter().filter(|it| it.severity == Severity::Error);
                let all: Vec<_> = errors.map(|it| it.message.as_str()).collect();
                if all.iter().all(|it| excused(spec, it)) {
                    return Ok(vec![("refused", 1)]);
                }
                return Err(format!("{}{}", all.join("; "), shown()));
            }
        };
        let rest = proved.rest.steps.iter().filter(|it| described.resources.contains(&it.address));
        if let Some(step) = rest.clone().next() {
            return Err(format!("{:?} {}{}", step.action, step.address, shown()));
        }
        self.moves(loaded, &described.resources, &live).map_err(|it| it + &shown())?;
        let count =
            |kind: fn(&Address) -> bool| described.resources.iter().filter(|it| kind(it)).count();
        Ok(vec![
            ("streams", count(|it| it.as_bucket().is_none() && it.name() == it.stream_name())),
            ("buckets", count(|it| it.as_bucket().is_some())),
            ("consumers", count(|it| matches!(it, Address::Consumer { .. }))),
            ("left out", left.len()),
        ])
    }

    /// Whether a new server would make the same of the spec, with nothing to keep.
    fn moves(
        &self,
        loaded: &spec::Loaded,
        imported: &BTreeSet<Address>,
        live: &Live,
    ) -> Result<(), String> {
        let desired = loaded.desired.as_ref().ok_or("no spec")?;
        for address in imported {
            let (wanted, is) = (&desired.resources[address], live.resources[address].config());
            for field in address.rows().iter().filter(|it| it.writer == Writer::Spec) {
                let made = field.value(&wanted.config, None, self.oracle.release);
                // What clients make of buckets differs.
                let window = address.as_bucket().is_some() && field.name == "duplicate_window";
                let left = window || wanted.ignore.contains(field.name);
                if made != field.read(&is) && !left {
                    let name = field.name;
                    return Err(format!("`{name}` of {address} would be {made:?} elsewhere"));
                }
            }
        }
        Ok(())
    }
}

/// What some server takes and no spec is allowed: dead ends that the server lets nobody out of, and
/// what the next release refuses.
const DEAD_ENDS: &[&str] = &[
    "counters exclude delete markers",
    "copies itself",
    "copies a stream that copies",
    "`filter_subject` and `subject_transforms`",
    "takes subjects of the server itself",
];

/// Whether a resource may be left out for this reason.
fn excused(spec: Spec, why: &str) -> bool {
    let said = |word: &str| why.contains(word);
    let by_spec = match spec {
        Spec::Bare => false,
        Spec::Defaults => said("no value takes that back"),
        // The base declares what is not live: a stream with its subjects, a consumer with its filter.
        Spec::Base => {
            let stored = said("takes messages that") || said("is stored by");
            let queued = said("a work queue gives each to one consumer");
            said("does not follow the rule") || stored || queued
        }
        Spec::Overrides => said("`[override."),
    };
    by_spec || said("belongs to a bucket") || DEAD_ENDS.iter().any(|it| said(it))
}

fn of_consumer(field: &'static Field) -> Vec<Value> {
    let given = CONSUMERS.iter().find(|it| it.0 == field.name);
    given.map_or_else(
        || examples(field.name, field),
        |it| serde_json::from_str(it.1).expect("an example is JSON"),
    )
}

/// Everything live, a resource a line.
fn written(live: &Live) -> String {
    let lines: BTreeMap<_, _> =
        live.resources.iter().map(|(address, it)| (address, Observed::config(it))).collect();
    lines.into_iter().map(|(address, it)| format!("{address} {}\n", it.to_json())).collect()
}
