//! What no single row can judge, offline: fields of one resource among each other, a consumer
//! beside its stream, and resources among themselves.
//!
//! A value that was found wrong before is `Null` here: it is there, and nothing is said of it.
//!
//! What every supported release refuses is an error here. What only some releases refuse is judged
//! by [`refused_by`], once it is known which release it is; so is what `ignore` leaves as it is live.

mod bucket;
mod consumer;
pub(crate) mod overlap;
mod stream;

use serde_json::Value;

use super::{Declared, Desired};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Place, Sources},
    schema::{Field, OLDEST, Release, bucket::speak},
};

/// Judges an environment as a whole.
pub(super) fn check(desired: &Desired, sources: &Sources, findings: &mut Vec<Finding>) {
    let mut check = Check { desired, sources, findings };
    for (address, declared) in &desired.resources {
        match address {
            Address::Stream(_) => check.stream(address, declared),
            Address::Consumer { .. } => check.consumer(address, declared),
        }
        if let Some(kind) = declared.bucket {
            check.bucket(kind, address, declared);
        }
        if address.is_stream() && desired.environment.keeping.has(address) {
            let message = format!("`{}` keeps the state of this environment", address.name());
            let finding = Finding::error(Code::Conflict, message).about(address);
            let help = "jsplan makes it by itself and never deletes it: remove this block";
            check.findings.push(finding.at(declared.place).help(help));
        }
    }
    check.origins();
    check.subjects();
}

struct Check<'a> {
    desired: &'a Desired,
    sources: &'a Sources,
    findings: &'a mut Vec<Finding>,
}

/// A rule among the fields of one resource.
struct Rule {
    /// The field that breaks it, where one is looked for and pointed at.
    at: &'static str,
    code: Code,
    broken: fn(&Config) -> bool,
    message: &'static str,
    help: &'static str,
    /// The first release that refuses it.
    since: Release,
    /// The first release that takes it again.
    until: Option<Release>,
    /// Releases in between that take it: those of a newer series that came out before.
    gap: Option<(Release, Release)>,
    /// Whether every release takes an update that breaks it, to no effect.
    only_made: bool,
}

/// What a release refuses of one resource and the check of the spec could not see: that other
/// supported releases take it, or that a field which is left to others is live as it is in `is`.
pub(crate) fn refused_by(
    release: Release,
    address: &Address,
    declared: &Declared,
    is: Option<&Config>,
) -> Vec<Finding> {
    let rules = match address {
        Address::Stream(_) => stream::RULES,
        Address::Consumer { .. } => consumer::RULES,
    };
    let will = |name: &&str| declared.ignore.contains(*name);
    let will = laid_in(address, &declared.config, is, will);
    let found_before = |it: &Rule| it.is_everywhere() && it.is_broken(&declared.config);
    let holds =
        |it: &&Rule| it.holds_at(release) && !found_before(it) && !(it.only_made && is.is_some());
    let broken = rules.iter().filter(holds).filter(|it| it.is_broken(&will));
    let finding = |rule: &Rule| {
        let place = declared.places.get(rule.at).copied().unwrap_or(declared.place);
        let (message, help) = if rule.is_broken(&declared.config) {
            let message = format!("{}, and nats-server {release} refuses that", rule.message);
            (message, rule.help.to_owned())
        } else {
            let fields = clashing(rule, address, declared, is).join(", ");
            let message = format!("{}: `ignore` leaves {fields} as it is", rule.message);
            let help = "change what is declared, or take over the field: remove it from `ignore`";
            (message, help.to_owned())
        };
        Finding::error(rule.code, message).at(place).about(address).help(help)
    };
    broken.map(finding).collect()
}

/// A declared configuration with the live values of some fields.
fn laid_in(
    address: &Address,
    declared: &Config,
    is: Option<&Config>,
    fields: impl Fn(&&str) -> bool,
) -> Config {
    let mut config = declared.clone();
    let names = address.rows().iter().map(|it| it.name).filter(fields);
    for (name, is) in names.filter_map(|it| Some((it, is?))) {
        config.remove(name);
        is.get(name).into_iter().for_each(|it| config.set(name, it.clone()));
    }
    config
}

/// The ignored fields without whose live values a rule is kept, each with its value.
fn clashing(
    rule: &Rule,
    address: &Address,
    declared: &Declared,
    is: Option<&Config>,
) -> Vec<String> {
    let matters = |field: &&Field| {
        let others = |it: &&str| declared.ignore.contains(*it) && *it != field.name;
        !rule.is_broken(&laid_in(address, &declared.config, is, others))
    };
    let ignored = address.rows().iter().filter(|it| declared.ignore.contains(it.name));
    let value = |it: &Field| is.and_then(|is| it.read(is)).unwrap_or_default();
    ignored.filter(matters).map(|it| format!("`{}` {}", it.name, it.show(&value(it)))).collect()
}

impl Rule {
    const fn new(
        at: &'static str,
        code: Code,
        broken: fn(&Config) -> bool,
        message: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            at,
            code,
            broken,
            message,
            help,
            since: OLDEST,
            until: None,
            gap: None,
            only_made: false,
        }
    }

    /// A rule that older releases do not have.
    const fn since(mut self, major: u16, minor: u16, patch: u16) -> Self {
        self.since = Release(major, minor, patch);
        self
    }

    /// A rule that a release gave up.
    const fn until(mut self, major: u16, minor: u16, patch: u16) -> Self {
        self.until = Some(Release(major, minor, patch));
        self
    }

    /// But not from one release until another.
    const fn but_not(mut self, from: Release, until: Release) -> Self {
        self.gap = Some((from, until));
        self
    }

    /// A rule that servers have for creations only.
    const fn when_made(mut self) -> Self {
        self.only_made = true;
        self
    }

    fn is_everywhere(&self) -> bool {
        self.since == OLDEST && self.until.is_none()
    }

    fn holds_at(&self, release: Release) -> bool {
        let spared = self.gap.is_some_and(|(from, until)| (from..until).contains(&release));
        release >= self.since && self.until.is_none_or(|it| release < it) && !spared
    }

    fn is_broken(&self, config: &Config) -> bool {
        config.has(self.at) && (self.broken)(config)
    }

    /// Two fields, or values of them, that exclude each other.
    const fn conflict(
        at: &'static str,
        broken: fn(&Config) -> bool,
        message: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(at, Code::Conflict, broken, message, help)
    }

    /// A field that needs another, or another value of it.
    const fn missing(
        at: &'static str,
        broken: fn(&Config) -> bool,
        message: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(at, Code::Missing, broken, message, help)
    }

    /// A value outside what the server takes.
    const fn bad(
        at: &'static str,
        broken: fn(&Config) -> bool,
        message: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(at, Code::BadValue, broken, message, help)
    }
}

impl Check<'_> {
    fn rules(&mut self, rules: &'static [Rule], address: &Address, declared: &Declared) {
        for rule in rules.iter().filter(|it| it.is_everywhere()) {
            if rule.is_broken(&declared.config) {
                let finding = Finding::error(rule.code, rule.message).help(rule.help);
                self.report(address, declared, rule.at, finding);
            }
        }
        self.forced(address, declared);
        self.sizes(address, declared);
    }

    /// What is written and would be taken, and turned into something else.
    fn forced(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        for field in address.rows().iter().filter(|it| config.has(it.name)) {
            let Some(forced) = field.forced_in(config) else { continue };
            let (name, by, value) = (field.name, forced.by, (forced.value)());
            if config.get(name) != Some(&Value::Null) && field.read(config).as_ref() != Some(&value)
            {
                let value = field.show(&value);
                let message = format!("`{by}` makes `{name}` {value}, whatever is written");
                let finding = Finding::error(Code::Conflict, message);
                let help = format!("remove `{name}`, or `{by}`");
                self.report(address, declared, name, finding.help(help));
            }
        }
    }

    /// Limits that the server sets to texts of any resource.
    fn sizes(&mut self, address: &Address, declared: &Declared) {
        let config = &declared.config;
        if config.text("description").is_some_and(|it| it.len() > 4096) {
            let finding = Finding::error(Code::BadValue, "`description` is over 4,096 bytes");
            let help = "shorten it; the server takes no more";
            self.report(address, declared, "description", finding.help(help));
        }
        let labels = config.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let bytes = labels.map(|(key, it)| key.len() + it.as_str().map_or(0, str::len));
        if bytes.sum::<usize>() > 128 * 1024 {
            let finding = Finding::error(Code::BadValue, "`metadata` is over 128 KiB");
            let help = "shorten it; the server takes no more, keys and texts together";
            self.report(address, declared, "metadata", finding.help(help));
        }
    }

    /// Reports at a field, or at the resource where the field was not written.
    fn report(&mut self, address: &Address, declared: &Declared, field: &str, finding: Finding) {
        let place = declared.places.get(field).copied().unwrap_or(declared.place);
        let finding = match declared.bucket {
            Some(_) => finding.said(|it| speak(address.name(), it).into_owned()),
            None => finding,
        };
        self.findings.push(finding.at(place).about(address));
    }

    /// Where one text of a list stands. It is looked for in the source again, so that places need
    /// not be kept for every subject of every stream.
    fn item(&self, declared: &Declared, field: &str, text: &str, last: Last) -> Place {
        let Some(place) = declared.places.get(field).copied() else { return declared.place };
        let written = &self.sources.text(place)[place.span()];
        let quoted = [format!("\"{text}\""), format!("'{text}'")];
        let mut found = quoted.iter().filter_map(|it| {
            let start = match last {
                Last::Yes => written.rfind(it),
                Last::No => written.find(it),
            };
            start.map(|start| start..start + it.len())
        });
        found.next().map_or(place, |it| place.part(it))
    }
}

/// Whether the last of several equal texts is looked for.
#[derive(Clone, Copy)]
enum Last {
    Yes,
    No,
}

/// Whether a switch is on.
fn on(config: &Config, name: &str) -> bool {
    config.get(name) == Some(&Value::Bool(true))
}

/// Whether a field was not written at all.
fn lacks(config: &Config, name: &str) -> bool {
    config.get(name).is_none()
}

/// Whether a field has another value than this; a wrong one does not count.
fn differs(config: &Config, name: &str, wanted: &str) -> bool {
    config.get(name) != Some(&Value::Null) && config.text(name) != Some(wanted)
}

/// Whether a number is written and positive.
fn positive(config: &Config, name: &str) -> bool {
    config.number(name).is_some_and(|it| it > 0)
}

const MILLISECOND: i64 = 1_000_000;
