//! A migration held against what an environment declares: whether `to` can take every message.
//!
//! Limits are compared where both streams are declared. Where `from` is not, or where messages have
//! to be counted, the run looks before it begins.

use serde_json::Value;

use crate::{
    address::{Address, consumers_of},
    config::Config,
    finding::{Code, Finding},
    migration::{Does, Migration, Strategy, read::mapping::collapses},
    schema::{Field, bucket::Bucket, stream::STREAM},
    spec::{Declared, Desired, check::overlap::stored},
    subject, units,
};

/// What the header of a copy adds to a message, and to spare: one of exactly the limit would block
/// the source for ever.
const HEADER: i64 = 256;

/// What is wrong with a migration in one environment.
pub(super) fn judge(migration: &Migration, spec: &Desired) -> Vec<Finding> {
    let (Some(strategy), Some(from), Some(to)) =
        (migration.strategy, &migration.from, &migration.to)
    else {
        return Vec::new();
    };
    let (from, to) = (Address::stream(from), Address::stream(to));
    let Some(declared) = spec.resources.get(&to) else {
        let message = format!("`{to}` is not declared in `{}`", spec.environment.name);
        let help = "declare it as it is to be in the end: the migration leads there";
        let place = migration.places.get("to").copied().unwrap_or(migration.place);
        return vec![Finding::error(Code::Missing, message).at(place).about(&to).help(help)];
    };
    let origin = spec.resources.get(&from);
    let case = Case { migration, strategy, spec, from, to, origin, declared };
    if let Some(finding) = case.bucket() {
        return vec![finding];
    }
    let mut findings = case.still_declared();
    if strategy != Strategy::Parallel {
        findings.extend(case.refused());
        findings.extend(case.room());
        findings.extend(case.subjects());
        findings.extend(case.consumers());
    }
    findings.extend(case.deliveries());
    findings
}

/// One migration in one environment.
struct Case<'a> {
    migration: &'a Migration,
    strategy: Strategy,
    spec: &'a Desired,
    from: Address,
    to: Address,
    origin: Option<&'a Declared>,
    declared: &'a Declared,
}

/// What a stream cannot be if it is to take a copy.
struct Rule {
    strategies: &'static [Strategy],
    broken: fn(&Config) -> bool,
    message: &'static str,
    help: &'static str,
}

const SOURCES: &[Strategy] = &[Strategy::NewSubjects, Strategy::SameSubjectsSource];
const COPIES: &[Strategy] =
    &[Strategy::NewSubjects, Strategy::SameSubjectsSource, Strategy::SameSubjectsMirror];

/// What `to` cannot be.
const TO: &[Rule] = &[
    Rule {
        strategies: COPIES,
        broken: |it| on(it, "sealed"),
        message: "is sealed, so that nothing could be copied into it",
        help: "declare `sealed` once the migration is done",
    },
    Rule {
        strategies: COPIES,
        broken: |it| it.text("retention") == Some("interest"),
        message: "keeps only what its consumers wait for, so that a copy made before them is empty",
        help: "migrate to `retention = \"limits\"`, and change it once the consumers are there",
    },
    Rule {
        strategies: COPIES,
        broken: |it| it.has("mirror") || it.has("sources"),
        message: "copies streams of its own, which would mix with those of the migration",
        help: "declare them once the migration is done",
    },
    Rule {
        strategies: COPIES,
        broken: |it| it.has("subject_transform"),
        message: "rewrites subjects by itself, so that a copy could not be held against its origin",
        help: "map in the migration, and declare `subject_transform` once it is done",
    },
    Rule {
        strategies: SOURCES,
        broken: |it| {
            it.text("discard") == Some("new")
                && ["max_msgs", "max_bytes", "max_msgs_per_subject"]
                    .iter()
                    .any(|name| limit(it, name).is_some())
        },
        message: "refuses messages at its limit, where the copy would stop and look complete",
        help: "declare `discard = \"old\"`, or no limit, until the migration is done",
    },
];

/// What neither of the two can be.
const EITHER: &[Rule] = &[
    Rule {
        strategies: COPIES,
        broken: |it| it.text("retention") == Some("workqueue"),
        message: "is a work queue: what is copied out of it is not taken, and would be worked on twice",
        help: "let its workers empty it, and migrate by `parallel`",
    },
    Rule {
        strategies: COPIES,
        broken: |it| on(it, "allow_msg_counter"),
        message: "counts, and a copied count is no message",
        help: "begin a new one by `parallel`",
    },
    Rule {
        strategies: COPIES,
        broken: |it| on(it, "allow_msg_schedules"),
        message: "holds schedules, which a copy does not carry out",
        help: "let them run out, and migrate by `parallel`",
    },
];

fn on(config: &Config, name: &str) -> bool {
    config.get(name) == Some(&Value::Bool(true))
}

/// The most that is kept; `None` where there is no limit.
fn limit(config: &Config, name: &str) -> Option<i64> {
    config.number(name).filter(|it| *it > 0)
}

/// A value as the spec writes it.
fn show(name: &str, value: i64) -> String {
    Field::find(STREAM, name).map_or_else(|| value.to_string(), |it| it.show(&value.into()))
}

impl Case<'_> {
    fn finding(&self, finding: Finding, help: impl Into<String>) -> Finding {
        let place = self.migration.places.get("to").copied().unwrap_or(self.migration.place);
        finding.at(place).about(&self.to).help(help)
    }

    fn error(&self, code: Code, message: String, help: impl Into<String>) -> Finding {
        self.finding(Finding::error(code, message), help)
    }

    /// Where subjects are taken over, two streams would declare the same.
    fn still_declared(&self) -> Vec<Finding> {
        if self.origin.is_none() || !self.strategy.takes_subjects() {
            return Vec::new();
        }
        let message =
            format!("`{}` is still declared, and `{}` takes its subjects over", self.from, self.to);
        let help = "remove its block: jsplan keeps it as it was recorded until it is retired";
        let place = self.migration.places.get("from").copied().unwrap_or(self.migration.place);
        vec![Finding::error(Code::Conflict, message).at(place).about(&self.from).help(help)]
    }

    /// What neither stream can be.
    fn refused(&self) -> Vec<Finding> {
        let to = (&self.to, &self.declared.config);
        let from = self.origin.map(|it| (&self.from, &it.config));
        let rules = TO.iter().map(|it| (it, to));
        let both = [Some(to), from].into_iter().flatten();
        let rules = rules.chain(both.flat_map(|it| EITHER.iter().map(move |rule| (rule, it))));
        let broken = |(rule, (_, config)): &(&Rule, (&Address, &Config))| {
            rule.strategies.contains(&self.strategy) && (rule.broken)(config)
        };
        let finding = |(rule, (address, _)): (&Rule, (&Address, &Config))| {
            let message = format!("`{address}` {}", rule.message);
            self.error(Code::Migration, message, rule.help).about(address)
        };
        rules.filter(broken).map(finding).collect()
    }

    /// Names that stand for more than a stream.
    fn bucket(&self) -> Option<Finding> {
        let streams = [&self.to, &self.from];
        let bucket = streams.into_iter().find_map(|it| Some((it, it.as_bucket()?.0)));
        let (address, kind) = bucket.filter(|_| SOURCES.contains(&self.strategy))?;
        let message = match kind {
            Bucket::Kv => format!("the revisions of `{address}` are sequences"),
            Bucket::Object => format!("the parts of `{address}` are found by their sequences"),
        };
        let message = format!("{message}, which `{}` does not keep", self.strategy);
        let help = "migrate it by `same-subjects-mirror`";
        Some(self.error(Code::Migration, message, help))
    }

    /// Whether `to` has room for all that `from` may hold, and for what a copy adds to it.
    fn room(&self) -> Vec<Finding> {
        let to = &self.declared.config;
        let mut findings = Vec::new();
        for name in ["max_age", "max_bytes", "max_msgs", "max_msgs_per_subject"] {
            let Some((most, origin)) = limit(to, name).zip(self.origin) else { continue };
            let before = limit(&origin.config, name);
            if before.is_none_or(|it| it > most) {
                let before = before.map_or("no limit".to_owned(), |it| show(name, it));
                let message = format!(
                    "`{name}` of `{}` is {}, and of `{}` {before}: what is beyond would be dropped",
                    self.to,
                    show(name, most),
                    self.from
                );
                let help =
                    "raise it, and lower it once the migration is done: a plan counts what goes";
                findings.push(self.error(Code::DataLoss, message, help));
            }
        }
        findings.extend(limit(to, "max_msg_size").and_then(|it| self.message_size(it)));
        if to.has("duplicate_window") && SOURCES.contains(&self.strategy) {
            let message = format!(
                "`duplicate_window` of `{}` is written, so that a copy whose id came before is dropped",
                self.to
            );
            let help = "leave it out until the migration is done: a copy then drops nothing; the run looks \
                        whether any id repeats";
            findings.push(self.finding(Finding::warning(Code::DataLoss, message), help));
        }
        findings
    }

    fn message_size(&self, most: i64) -> Option<Finding> {
        let grows = if SOURCES.contains(&self.strategy) { HEADER } else { 0 };
        let shown = units::show_bytes(most);
        let Some(origin) = self.origin else {
            let message = format!(
                "`max_msg_size` of `{}` is {shown}: a longer message of `{}` would block the copy",
                self.to, self.from
            );
            let help = "the run looks for the longest one before it begins";
            return Some(self.finding(Finding::note(Code::Limit, message), help));
        };
        let before = limit(&origin.config, "max_msg_size");
        let needs = before.map(|it| it.saturating_add(grows));
        if needs.is_some_and(|it| it <= most) {
            return None;
        }
        let message = format!(
            "`max_msg_size` of `{}` is {shown}: a message of `{}` that is as long as allowed would block \
             the copy",
            self.to, self.from
        );
        let help = match needs {
            Some(needs) => format!("raise it to {needs} at least: a copy bears a header more"),
            None => format!("leave it out, as `{}` does", self.from),
        };
        Some(self.error(Code::Limit, message, help))
    }

    /// Whether every message of `from` is copied, to subjects that `to` takes.
    fn subjects(&self) -> Vec<Finding> {
        let mapping = self.migration.mapping();
        let taken = stored(&self.declared.config);
        let mut findings = Vec::new();
        let lands = |it: &str| taken.iter().any(|outer| subject::covers(outer, it));
        let helps = "have the mapping lead to subjects that it declares";
        for dest in mapping.iter().map(|it| &it.dest).filter(|it| !lands(&subject::mapped(it))) {
            let message = format!("`{dest}` is no subject of `{}`", self.to);
            findings.push(self.error(Code::Migration, message, helps));
        }
        // Of streams with new subjects none of the old ones is declared.
        if mapping.is_empty() && self.strategy == Strategy::NewSubjects {
            let message = format!(
                "copies would keep the subjects of `{}`, which `{}` does not take",
                self.from, self.to
            );
            let help = "say what becomes of them: `mapping = [{ src = \"…\", dest = \"…\" }]`";
            findings.push(self.error(Code::Migration, message, help));
        }
        if !mapping.is_empty() {
            findings.extend(self.uncovered());
        }
        if collapses(mapping) && limit(&self.declared.config, "max_msgs_per_subject").is_some() {
            let message = format!(
                "the mapping makes one subject of several, and `{}` keeps so many of each",
                self.to
            );
            let help = "map them apart, or leave `max_msgs_per_subject` out";
            findings.push(self.error(Code::DataLoss, message, help));
        }
        findings
    }

    /// Subjects of `from` that no mapping takes: their messages would stay behind, with no lag.
    fn uncovered(&self) -> Vec<Finding> {
        let mapping = self.migration.mapping();
        let Some(origin) = self.origin else { return Vec::new() };
        let copied = |it: &&str| mapping.iter().any(|line| subject::covers(&line.src, it));
        let left = stored(&origin.config).into_iter().filter(|it| !copied(it));
        let finding = |it: &str| {
            let message = format!("messages of `{}` on `{it}` would not be copied", self.from);
            let help = "map that subject too, to itself if it is to stay";
            self.error(Code::Unproven, message, help)
        };
        left.map(finding).collect()
    }

    /// The consumers that a step names are declared.
    fn consumers(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for step in &self.migration.steps {
            let Does::Consumers { only } = &step.does else { continue };
            for name in only {
                let address = Address::consumer(self.to.name(), name);
                if self.spec.resources.contains_key(&address) {
                    continue;
                }
                let message = format!("`{address}` is not declared");
                let known = consumers_of(&self.spec.resources, self.to.name());
                let known: Vec<_> = known.map(|it| format!("`{}`", it.0.name())).collect();
                let help = match known.as_slice() {
                    [] => format!("declare it: `{}` has no consumers", self.to),
                    _ => format!("`{}` has {}", self.to, known.join(", ")),
                };
                let finding = Finding::error(Code::Missing, message).at(step.place);
                findings.push(finding.about(&address).help(help));
            }
        }
        findings
    }

    /// Consumers of both streams that push to one subject: who listens there would get both.
    fn deliveries(&self) -> Vec<Finding> {
        let resources = &self.spec.resources;
        let pushes = |it: &Declared| it.config.text("deliver_subject").map(str::to_owned);
        let mut findings = Vec::new();
        for (here, declared) in consumers_of(resources, self.to.name()) {
            let Some(subject) = pushes(declared) else { continue };
            let mut there = consumers_of(resources, self.from.name());
            let Some((other, _)) = there.find(|it| pushes(it.1).as_ref() == Some(&subject)) else {
                continue;
            };
            let message = format!(
                "`{here}` and `{other}` both deliver to `{subject}`, where each message would come twice"
            );
            let help = "give the new one a `deliver_subject` of its own";
            findings.push(self.error(Code::Conflict, message, help).about(here));
        }
        findings
    }
}
