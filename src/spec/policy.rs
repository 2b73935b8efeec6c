//! `[policy]`: the principles that an environment holds itself to, as rules.
//!
//! A rule that no layer names is off. One that is on is judged over the completed configuration,
//! so that a field which is left out counts as what the server makes of it. `rules` holds those
//! that are built in, `expression` runs those of the user's own.

mod expression;
pub(crate) mod read;
pub(crate) mod rules;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    thread,
};

use regex::Regex;
use serde_json::Value;

use self::{expression::Expression, rules::Rule};
use super::{
    Declared, Desired,
    value::{Fields, Key, Written, quoted},
};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Place, Severity, did_you_mean},
    schema::{self, Choice, Kind, Release},
};

/// `[policy]` as one file has it, or as several have laid over each other.
#[derive(Debug, Default)]
pub(super) struct Policy {
    built_in: BTreeMap<&'static str, Said>,
    own: BTreeMap<String, Said>,
}

/// What is said of one rule.
#[derive(Debug)]
struct Said {
    place: Place,
    fields: Fields,
}

/// What a resource says to the rules, beside its configuration.
#[derive(Debug, Default)]
pub(super) struct Stance {
    /// The service whose consumer it is.
    pub(super) service: Option<String>,
    /// Rules that it breaks for a reason.
    pub(super) exceptions: Option<Written>,
}

/// How grave it is to break a rule.
const LEVELS: &[Choice] = &[Choice::new("error"), Choice::new("warn"), Choice::new("off")];
pub(crate) const OFF: &str = "off";

/// The kinds of resources that a rule of one's own can be about.
const KINDS: &[Choice] =
    &[Choice::new("stream"), Choice::new("consumer"), Choice::new("kv"), Choice::new("object")];

/// A release that knows every field: no server is known here.
const EVERY_FIELD: Release = Release(u16::MAX, 0, 0);

/// Lays a later file's `[policy]` over an earlier one's, setting by setting.
pub(super) fn lay(below: &mut Policy, above: Policy) {
    for (name, said) in above.built_in {
        lay_rule(below.built_in.entry(name), said);
    }
    for (name, said) in above.own {
        lay_rule(below.own.entry(name), said);
    }
}

fn lay_rule<K: Ord>(entry: Entry<'_, K, Said>, said: Said) {
    let Said { place, fields } = said;
    let below = entry.or_insert(Said { place, fields: Fields::new() });
    below.place = place;
    below.fields.extend(fields);
}

/// Judges every resource by every rule that is on.
pub(super) fn judge(
    policy: &Policy,
    desired: &Desired,
    stances: &BTreeMap<Address, Stance>,
    findings: &mut Vec<Finding>,
) {
    if policy.own.is_empty() {
        return judge_here(policy, desired, stances, findings);
    }
    // The parser of expressions takes up to 150 KiB of stack for one bracket (cel 0.15.0), so it is
    // given a stack on which the longest and deepest one that is accepted ends.
    thread::scope(|scope| {
        let judge = || judge_here(policy, desired, stances, findings);
        let started = thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, judge);
        started.expect("a thread can be started");
    });
}

fn judge_here(
    policy: &Policy,
    desired: &Desired,
    stances: &BTreeMap<Address, Stance>,
    findings: &mut Vec<Finding>,
) {
    let rules = standing(policy, findings);
    for (address, declared) in &desired.resources {
        let none = Stance::default();
        let stance = stances.get(address).unwrap_or(&none);
        let excepted = exceptions(policy, stance, findings);
        // A value that is wrong was reported, and would be judged as if it were left out.
        if declared.config.iter().any(|(_, it)| it.is_null()) || rules.is_empty() {
            continue;
        }
        let case = Case {
            address,
            environment: &desired.environment.name,
            service: stance.service.as_deref().unwrap_or_default(),
            config: schema::complete(address.rows(), &declared.config, EVERY_FIELD),
        };
        for rule in rules.iter().filter(|it| !excepted.contains(&it.name) && it.is_about(&case)) {
            findings.extend(rule.judge(&case, declared));
        }
    }
}

/// One resource before its judges.
struct Case<'a> {
    address: &'a Address,
    environment: &'a str,
    /// Empty where there is none.
    service: &'a str,
    /// What the server would read back.
    config: Config,
}

/// A rule that is on, with its settings.
struct Standing<'a> {
    name: &'a str,
    severity: Severity,
    /// What kinds of resources it is about.
    kinds: Vec<&'a str>,
    /// Which streams it is about, where not about all.
    streams: Option<Vec<&'a str>>,
    judge: Judge<'a>,
}

enum Judge<'a> {
    BuiltIn(&'static Rule, Settings<'a>),
    Own { expression: Box<Expression>, message: &'a str, help: Option<&'a str> },
}

/// What built-in rules can be told.
struct Settings<'a> {
    min: i64,
    pattern: Option<(&'a str, Regex)>,
}

/// How a resource breaks a rule.
struct Breach {
    /// The field to point at, where it was written.
    at: &'static str,
    message: String,
}

/// The rules that are on. One that is not understood is reported, and judges nothing.
fn standing<'a>(policy: &'a Policy, findings: &mut Vec<Finding>) -> Vec<Standing<'a>> {
    let mut rules = Vec::new();
    for (name, said) in &policy.built_in {
        let rule = rules::RULES.iter().find(|it| it.name == *name);
        let rule = rule.expect("only names of rules are read");
        let settings = said.settings(rule, findings);
        rules.extend(said.stands(name, rule.kinds.to_vec(), settings, findings));
    }
    for (name, said) in &policy.own {
        let judge = said.own(name, findings);
        let kinds = said.text("applies_to").into_iter().collect();
        rules.extend(said.stands(name, kinds, judge, findings));
    }
    rules
}

impl Said {
    /// The rule as it stands, where it is on and understood.
    fn stands<'a>(
        &'a self,
        name: &'a str,
        kinds: Vec<&'a str>,
        judge: Option<Judge<'a>>,
        findings: &mut Vec<Finding>,
    ) -> Option<Standing<'a>> {
        if !self.fields.contains_key("level") {
            findings.push(self.lacks(name, "level", "write \"error\", \"warn\" or \"off\""));
        }
        let streams = self.fields.get("streams").and_then(|it| it.value.as_array());
        let streams = streams.map(|it| it.iter().filter_map(Value::as_str));
        let severity = match self.text("level") {
            Some("error") => Severity::Error,
            Some("warn") => Severity::Warning,
            Some(_) | None => return None,
        };
        Some(Standing {
            name,
            severity,
            kinds,
            streams: streams.map(Iterator::collect),
            judge: judge?,
        })
    }

    fn settings(&self, rule: &'static Rule, findings: &mut Vec<Finding>) -> Option<Judge<'_>> {
        let min = self.fields.get("min").and_then(|it| it.value.as_i64()).unwrap_or(rules::COPIES);
        let takes_pattern = rule.keys.iter().any(|it| it.0 == "pattern");
        if takes_pattern && !self.fields.contains_key("pattern") && self.text("level") != Some(OFF)
        {
            let help = "write the regular expression that the whole name must match";
            findings.push(self.lacks(rule.name, "pattern", help));
            return None;
        }
        let pattern = match self.fields.get("pattern") {
            Some(written) => Some(pattern(written, findings)?),
            None => None,
        };
        Some(Judge::BuiltIn(rule, Settings { min, pattern }))
    }

    fn own(&self, name: &str, findings: &mut Vec<Finding>) -> Option<Judge<'_>> {
        for (key, help) in [
            ("applies_to", "write \"stream\", \"consumer\", \"kv\" or \"object\""),
            ("rule", "write what must hold: `rule = \"config.num_replicas >= 3\"`"),
            ("message", "write what is wrong where it does not hold: `message = \"…\"`"),
        ] {
            if !self.fields.contains_key(key) {
                findings.push(self.lacks(name, key, help));
            }
        }
        let written = self.fields.get("rule").filter(|it| !it.value.is_null())?;
        let rows = KINDS.iter().find(|it| Some(it.name) == self.text("applies_to"))?;
        let expression = Expression::read(name, written, rules::rows(rows.name));
        let expression = Box::new(expression.map_err(|it| findings.push(it)).ok()?);
        Some(Judge::Own { expression, message: self.text("message")?, help: self.text("help") })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.value.as_str()
    }

    fn lacks(&self, rule: &str, key: &str, help: &str) -> Finding {
        let message = format!("the rule `{rule}` has no `{key}`");
        Finding::error(Code::Missing, message).at(self.place).help(help)
    }
}

impl Standing<'_> {
    fn is_about(&self, case: &Case<'_>) -> bool {
        let stream = case.address.stream_name();
        let name = case.address.as_bucket().map_or(stream, |it| it.1);
        let here = |it: &&str| matches(it, name);
        self.kinds.contains(&case.address.kind())
            && self.streams.as_ref().is_none_or(|streams| streams.iter().any(here))
    }

    fn judge(&self, case: &Case<'_>, declared: &Declared) -> Option<Finding> {
        let address = case.address;
        let (at, message, help) = match &self.judge {
            Judge::BuiltIn(rule, settings) => {
                let Breach { at, message } = (rule.judge)(case, settings)?;
                (declared.places.get(at), message, rule.help.to_owned())
            }
            Judge::Own { expression, message, help } => {
                match expression.holds(case) {
                    Ok(true) => return None,
                    Ok(false) => {}
                    Err(finding) => return Some(finding.about(address)),
                }
                let at = expression.fields().find_map(|it| declared.places.get(it));
                let help = help.map_or_else(|| self.remedy(), str::to_owned);
                (at, (*message).to_owned(), help)
            }
        };
        let message = format!("`{address}` breaks the rule `{}`: {message}", self.name);
        let place = at.copied().unwrap_or(declared.place);
        let finding = match self.severity {
            Severity::Error => Finding::error(Code::Policy, message),
            Severity::Warning | Severity::Note => Finding::warning(Code::Policy, message),
        };
        Some(finding.at(place).about(address).help(help))
    }

    fn remedy(&self) -> String {
        format!("change it, or say why not: `exceptions = {{ {} = \"…\" }}`", self.name)
    }
}

/// The names of rules that a resource breaks for a reason.
fn exceptions<'a>(
    policy: &Policy,
    stance: &'a Stance,
    findings: &mut Vec<Finding>,
) -> Vec<&'a str> {
    let Some(Written { value: Value::Object(excepted), place }) = &stance.exceptions else {
        return Vec::new();
    };
    let names = || {
        let built_in = rules::RULES.iter().map(|it| it.name);
        built_in.chain(policy.own.keys().map(String::as_str))
    };
    for (name, reason) in excepted {
        let finding = if names().all(|it| it != name) {
            let message = format!("`exceptions` names {}, which is no rule", quoted(name));
            let help = did_you_mean(name, names());
            let known = || "every rule is in `docs/reference/policy.md`".to_owned();
            Finding::error(Code::UnknownKey, message).help(help.unwrap_or_else(known))
        } else if reason.as_str().is_some_and(|it| it.trim().is_empty()) {
            let message = format!("the exception from `{name}` has no reason");
            Finding::error(Code::Missing, message).help("write why the rule does not hold here")
        } else {
            continue;
        };
        findings.push(finding.at(*place));
    }
    excepted.keys().map(String::as_str).collect()
}

/// A pattern that is the whole of what it matches.
fn pattern<'a>(written: &'a Written, findings: &mut Vec<Finding>) -> Option<(&'a str, Regex)> {
    let text = written.value.as_str()?;
    if let Ok(whole) = Regex::new(&format!("^(?:{text})$")) {
        return Some((text, whole));
    }
    let message = format!("`pattern` is no regular expression: {text:?}");
    let help = "write it like \"[A-Z0-9_]+_V[0-9]+\"; it is matched against the whole name";
    findings.push(Finding::error(Code::BadValue, message).at(written.place).help(help));
    None
}

/// Whether a name is as a pattern has it, where `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The settings that every rule takes.
const LEVEL: Key = ("level", Kind::OneOf(LEVELS), "How grave it is to break the rule.");
const REASON: Key = ("reason", Kind::Text, "Why the rule is as it is here.");
const STREAMS: Key = (
    "streams",
    Kind::Set(&Kind::Text),
    "The streams or buckets it is about, `*` for any letters; else all.",
);
