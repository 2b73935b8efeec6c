//! The rules that are built in, one row each.

use super::{Breach, Case, LEVEL, REASON, STREAMS, Settings};
use crate::{
    schema::{Field, Kind, consumer::CONSUMER, stream::STREAM},
    spec::value::Key,
};

/// A rule that is built in.
pub(crate) struct Rule {
    /// Its name in `[policy]`, in `exceptions` and in messages.
    pub(crate) name: &'static str,
    /// The kinds of resources it is about.
    pub(crate) kinds: &'static [&'static str],
    /// What must hold, for the reference.
    pub(crate) sentence: &'static str,
    /// What to do where it does not.
    pub(crate) help: &'static str,
    /// What can be said of it.
    pub(crate) keys: &'static [Key],
    /// How a resource breaks it, if it does.
    pub(super) judge: fn(&Case<'_>, &Settings<'_>) -> Option<Breach>,
}

/// Copies of what must outlive a server, where a rule does not say otherwise.
pub(super) const COPIES: i64 = 3;

const MIN: Key = ("min", Kind::Number, "Fewest copies; 3 if it is left out.");
const PATTERN: Key = ("pattern", Kind::Text, "The regular expression that a whole name matches.");

/// Every built-in rule.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "bounded_retention",
        kinds: &["stream"],
        sentence: "A stream has a `max_age` and a `max_bytes`: the age is what is promised, the \
                   size keeps the disk from filling.",
        help: "set both; where one is not wanted, say why: \
               `exceptions = { bounded_retention = \"…\" }`",
        keys: &[LEVEL, REASON, STREAMS],
        judge: bounded_retention,
    },
    Rule {
        name: "replicated",
        kinds: &["stream", "kv", "object"],
        sentence: "A stream or bucket has at least `min` copies, so that it outlives a server. `streams` \
                   names those that are critical, where not all are.",
        help: "raise `num_replicas`; where a loss is accepted, say why: \
               `exceptions = { replicated = \"…\" }`",
        keys: &[LEVEL, REASON, STREAMS, MIN],
        judge: replicated,
    },
    Rule {
        name: "durable_storage",
        kinds: &["stream", "kv", "object"],
        sentence: "A stream or bucket is kept on disk. Memory is for what may be lost, and \
                   the exception says why it is.",
        help: "write `storage = \"file\"`; where a loss is accepted, say why: \
               `exceptions = { durable_storage = \"…\" }`",
        keys: &[LEVEL, REASON, STREAMS],
        judge: durable_storage,
    },
    Rule {
        name: "service_prefixed_durables",
        kinds: &["consumer"],
        sentence: "The durable name of a consumer begins with its `service` and `_`, so that it \
                   says on the server whose it is.",
        help: "set `service`, and keep `{service}_` in front in `[naming] durable`",
        keys: &[LEVEL, REASON, STREAMS],
        judge: service_prefixed_durables,
    },
    Rule {
        name: "one_version_per_stream",
        kinds: &["stream"],
        sentence: "The name of a stream ends in `_V` and a number, and each of its subjects has \
                   that version as one token, such as `v1`: another version gets another stream.",
        help: "name it like `ORDERS_V1`, and write its subjects like `orders.v1.*`",
        keys: &[LEVEL, REASON, STREAMS],
        judge: one_version_per_stream,
    },
    Rule {
        name: "name_pattern",
        kinds: &["stream"],
        sentence: "The name of a stream matches `pattern` from its first letter to its last.",
        help: "rename it in the spec before it holds messages; a stream cannot be renamed later",
        keys: &[LEVEL, REASON, STREAMS, PATTERN],
        judge: name_pattern,
    },
];

/// The rows of a kind of resource; a bucket is judged as its stream.
pub(super) fn rows(kind: &str) -> &'static [Field] {
    if kind == "consumer" { CONSUMER } else { STREAM }
}

fn bounded_retention(case: &Case<'_>, _: &Settings<'_>) -> Option<Breach> {
    let limits = ["max_age", "max_bytes"];
    let unlimited = |it: &&&'static str| case.config.number(it).is_none_or(|it| it <= 0);
    let missing: Vec<_> = limits.iter().filter(unlimited).copied().collect();
    let message = match missing.as_slice() {
        [] => return None,
        [one] => format!("it has no `{one}`"),
        [..] => "it has neither `max_age` nor `max_bytes`".to_owned(),
    };
    Some(Breach { at: missing[0], message })
}

fn replicated(case: &Case<'_>, settings: &Settings<'_>) -> Option<Breach> {
    let copies = case.config.number("num_replicas").unwrap_or(1);
    let message =
        format!("`num_replicas` is {copies}, and at least {} are asked for", settings.min);
    (copies < settings.min).then_some(Breach { at: "num_replicas", message })
}

fn durable_storage(case: &Case<'_>, _: &Settings<'_>) -> Option<Breach> {
    let message = "it is kept in memory, and nothing says that its loss is accepted".to_owned();
    let memory = case.config.text("storage") == Some("memory");
    memory.then_some(Breach { at: "storage", message })
}

fn service_prefixed_durables(case: &Case<'_>, _: &Settings<'_>) -> Option<Breach> {
    let (name, service) = (case.address.name(), case.service);
    let message = if service.is_empty() {
        "it has no `service`".to_owned()
    } else if name.starts_with(&format!("{service}_")) {
        return None;
    } else {
        format!("its name does not begin with `{service}_`")
    };
    Some(Breach { at: "service", message })
}

fn one_version_per_stream(case: &Case<'_>, _: &Settings<'_>) -> Option<Breach> {
    let name = case.address.name();
    let Some(version) = name.rsplit_once("_V").map(|it| it.1).filter(|it| is_number(it)) else {
        let message = "its name does not end in `_V` and a number".to_owned();
        return Some(Breach { at: "name", message });
    };
    let wrong = |subject: &&str| {
        let versions = subject.split('.').filter_map(|it| it.strip_prefix('v'));
        let versions: Vec<_> = versions.filter(|it| is_number(it)).collect();
        versions != [version]
    };
    let subject = case.config.texts("subjects").into_iter().find(wrong)?;
    let message = format!("`{subject}` does not have `v{version}` as its one version");
    Some(Breach { at: "subjects", message })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

fn name_pattern(case: &Case<'_>, settings: &Settings<'_>) -> Option<Breach> {
    let (text, pattern) = settings.pattern.as_ref()?;
    let message = format!("its name does not match `{text}`");
    (!pattern.is_match(case.address.name())).then_some(Breach { at: "name", message })
}
