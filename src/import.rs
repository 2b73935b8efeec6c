//! What is live becomes part of a spec and of the state: which resources, in which words, and the
//! proof that a plan then finds nothing to change about them.

pub mod saved;

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::{
    address::{Address, consumers_of},
    config::Config,
    finding::{Code, Finding, Severity, closest},
    live::{Live, Observed},
    mark::Mark,
    plan::{self, Action, Ask, Plan, Step, risk::Reach},
    position,
    schema::{Harm, Release, Writer, bucket::Bucket},
    spec::{
        self, Desired, Loaded,
        describe::{self, Described},
    },
    state::{Origin, Recorded, State},
    target,
};

/// Which live resources are meant.
#[derive(Debug)]
pub enum Choice {
    /// These; the consumers of a stream come with it.
    Named(BTreeSet<Address>),
    /// All that nobody manages yet.
    All,
    /// Of all, the streams and buckets whose name matches, with their consumers.
    Matching(Regex),
}

/// What a choice comes to.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The configurations to be described.
    pub resources: BTreeMap<Address, Config>,
    /// Named, and managed already.
    pub managed: Vec<Address>,
    /// How many consumers end with their clients, and are nobody's to manage.
    pub ephemeral: usize,
    /// What cannot be chosen, and why.
    pub findings: Vec<Finding>,
}

/// What is chosen in the words of a spec, and the spec with it.
#[derive(Debug)]
pub struct Composed {
    /// The words.
    pub described: Described,
    /// The spec as it would be, with every remark on it.
    pub loaded: Loaded,
}

/// An import that leaves nothing to change about what is imported.
#[derive(Debug)]
pub struct Proved {
    /// The next state.
    pub state: State,
    /// What is left to do, all of it about other resources.
    pub rest: Plan,
}

/// Finds what is meant among what is live.
#[must_use]
pub fn choose(choice: &Choice, desired: &Desired, recorded: &State, live: &Live) -> Chosen {
    let mut picker = Picker { desired, recorded, live, chosen: Chosen::default() };
    match choice {
        Choice::Named(addresses) => addresses.iter().for_each(|it| picker.name(it)),
        Choice::All => picker.every(|_| true),
        Choice::Matching(pattern) => picker.every(|it| pattern.is_match(it)),
    }
    picker.chosen
}

struct Picker<'a> {
    desired: &'a Desired,
    recorded: &'a State,
    live: &'a Live,
    chosen: Chosen,
}

impl Picker<'_> {
    fn every(&mut self, matches: impl Fn(&str) -> bool) {
        let matches = |it: &Address| {
            let bucket = Bucket::of(it.stream_name()).map(|it| it.1);
            matches(it.stream_name()) || bucket.is_some_and(&matches)
        };
        for (address, reason) in &self.live.unknown {
            if matches(address) {
                let message =
                    format!("`{address}` is not imported: it could not be read: {reason}");
                let help = "import again once its servers answer";
                let finding = Finding::warning(Code::Unreadable, message).about(address);
                self.chosen.findings.push(finding.help(help));
            }
        }
        for (address, is) in &self.live.resources {
            if !matches(address) || self.live.doubt(address).is_some() {
                continue;
            }
            match self.other_owner(address, is) {
                Some(finding) => self.chosen.findings.push(finding),
                None => self.take(address, is),
            }
        }
    }

    /// What another state owns is only imported by its name.
    fn other_owner(&self, address: &Address, is: &Observed) -> Option<Finding> {
        if self.recorded.resources.contains_key(address) || position::is_holder(address) {
            return None;
        }
        let mark = Mark::on(&is.config()).filter(|it| it.lineage != self.recorded.lineage)?;
        let owner = mark.environment;
        let message = format!("`{address}` is not imported: environment `{owner}` owns it");
        let help = if owner == self.recorded.environment && self.recorded.lineage.is_empty() {
            "where its state is lost, `jsplan state rebuild` recovers it".to_owned()
        } else {
            format!("to take it over all the same: `jsplan import {address}`")
        };
        Some(Finding::warning(Code::Owner, message).about(address).help(help))
    }

    fn name(&mut self, address: &Address) {
        if let Some(reason) = self.live.doubt(address) {
            let message = format!("`{address}` could not be read: {reason}");
            let finding = Finding::error(Code::Unreadable, message).about(address);
            self.chosen.findings.push(finding.help("import it once its servers answer"));
            return;
        }
        let Some(is) = self.live.resources.get(address) else {
            self.chosen.findings.push(self.absent(address));
            return;
        };
        if self.recorded.resources.contains_key(address) {
            self.chosen.managed.push(address.clone());
        } else if let Some((why, help)) = self.unfit(address, &is.config()) {
            let message = format!("`{address}` {why}");
            let finding = Finding::error(Code::NoSuchTarget, message).about(address);
            self.chosen.findings.push(finding.help(help));
        } else {
            self.take(address, is);
        }
        if let Address::Stream(name) = address {
            consumers_of(&self.live.resources, name).for_each(|(it, is)| self.take(it, is));
        }
    }

    /// Takes what nobody manages yet and a spec can declare.
    fn take(&mut self, address: &Address, is: &Observed) {
        if self.recorded.resources.contains_key(address) {
            return;
        }
        let config = is.config();
        if is_ephemeral(address, &config) {
            self.chosen.ephemeral += 1;
        } else if self.unfit(address, &config).is_none() {
            self.chosen.resources.insert(address.clone(), config);
        }
    }

    /// Why a live resource is none that a spec can declare, and what to do.
    fn unfit(&self, address: &Address, config: &Config) -> Option<(&'static str, String)> {
        let ours = |it: &Address| {
            self.desired.resources.contains_key(it) || self.chosen.resources.contains_key(it)
        };
        let stream = Address::stream(address.stream_name());
        if position::is_holder(address) {
            let help = "the apply that was cut short left it, and the next one ends it";
            return Some(("holds the position of another consumer", help.to_owned()));
        }
        if self.desired.environment.keeping.has(address) {
            let help = "jsplan makes it and keeps it: there is nothing to manage";
            return Some(("keeps the state of this environment", help.to_owned()));
        }
        if is_server_made(address, config) {
            let help = "the server makes and removes it: there is nothing to manage";
            return Some(("is the server's own", help.to_owned()));
        }
        if is_ephemeral(address, config) {
            let help = "the server removes it with its client: there is nothing to manage";
            return Some(("is an ephemeral consumer", help.to_owned()));
        }
        (!address.is_stream() && !ours(&stream))
            .then(|| ("belongs to a stream that the spec does not declare", imports(&stream)))
    }

    fn absent(&self, address: &Address) -> Finding {
        let names: Vec<_> = self.live.resources.keys().map(ToString::to_string).collect();
        let near = closest(&address.to_string(), names.iter().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`jsplan import --all` shows everything that nobody manages".to_owned(),
        };
        let message = format!("the server has no `{address}`");
        Finding::error(Code::NoSuchTarget, message).about(address).help(help)
    }
}

fn imports(stream: &Address) -> String {
    format!("import `{stream}`, and its consumers come with it")
}

/// Whether a consumer goes with its client.
fn is_ephemeral(address: &Address, config: &Config) -> bool {
    !address.is_stream() && config.text("durable_name").is_none_or(str::is_empty)
}

/// Whether the server made it for its own purposes.
fn is_server_made(address: &Address, config: &Config) -> bool {
    let own = address.rows().iter().filter(|it| it.writer == Writer::Server);
    own.map(|it| config.get(it.name)).any(|it| it == Some(&true.into()))
}

/// Puts what is chosen into the spec. What the server took and a spec is refused with is left out,
/// with a warning, so that one odd consumer is not in the way of a whole account.
///
/// `path` and `text_of` are those of the present spec, which is right.
#[must_use]
pub fn compose(
    path: &str,
    text_of: impl Fn(&str) -> Result<String, String>,
    chosen: &Chosen,
    release: Release,
) -> Composed {
    let mut wanted = chosen.resources.clone();
    let mut left: Vec<Finding> = Vec::new();
    loop {
        let mut described = describe::describe(path, &text_of, &wanted, release);
        let file = &described.file;
        let loaded = spec::load(path, |it| if it == path { Ok(file.clone()) } else { text_of(it) });
        let odd: Vec<_> = loaded.findings.iter().filter_map(|it| odd(it, &described)).collect();
        if odd.is_empty() {
            described.left.extend(left.iter().filter_map(|it| it.about.clone()));
            described.findings.extend(left);
            return Composed { described, loaded };
        }
        for (address, finding) in odd {
            // The consumers of a stream go with it.
            let of_stream = address.is_stream();
            wanted.retain(|it, _| {
                let within = of_stream && it.stream_name() == address.name();
                it != &address && !within
            });
            left.push(finding);
        }
    }
}

/// What is wrong with something that is imported, and the warning that it is not.
fn odd(finding: &Finding, described: &Described) -> Option<(Address, Finding)> {
    let about = finding.about.as_ref().filter(|it| described.resources.contains(it))?;
    let Finding { code, severity: Severity::Error, message, help, .. } = finding else {
        return None;
    };
    let warning = Finding::warning(*code, format!("`{about}` is not imported: {message}"));
    let warning = Finding { help: help.clone(), ..warning.about(about) };
    Some((about.clone(), warning))
}

/// Plans the spec as it would be, against the state as it is and as it would be; the error is what
/// stands against the import.
pub fn prove(composed: &Composed, recorded: &State, live: &Live) -> Result<Proved, Vec<Finding>> {
    let Some(desired) = &composed.loaded.desired else {
        return Err(composed.loaded.findings.clone());
    };
    let imported = &composed.described.resources;
    // With the record the plan would recognise what it recorded and compare nothing.
    // What is imported from another state was named for it.
    let allow = imported.iter().map(|it| ((Harm::Takeover, it.clone()), Reach::Unknown)).collect();
    let ask = Ask { allow, ..Ask::default() };
    let plan = plan::plan(desired, recorded, live, &ask);
    let found = objections(&plan, imported);
    if !found.is_empty() {
        return Err(found);
    }
    let state = recorded_with(recorded, desired, imported, live);
    let rest = plan::plan(desired, &state, live, &ask);
    Ok(Proved { state, rest })
}

/// Whatever a plan would do about what is imported, beyond taking it over as it is.
fn objections(plan: &Plan, imported: &BTreeSet<Address>) -> Vec<Finding> {
    let concerned = |it: &&Finding| {
        it.severity == Severity::Error && it.about.as_ref().is_none_or(|it| imported.contains(it))
    };
    let mut found: Vec<_> = plan.findings.iter().filter(concerned).cloned().collect();
    if !found.is_empty() {
        return found;
    }
    let steps: BTreeMap<&Address, &Step> = plan.steps.iter().map(|it| (&it.address, it)).collect();
    for address in imported {
        let step = steps.get(address);
        if step.is_some_and(|it| it.action == Action::Adopt) {
            continue;
        }
        let field = step.and_then(|it| it.changes.first()).map(|it| it.delta.field.name);
        let what = field.map_or_else(|| "it".to_owned(), |it| format!("its `{it}`"));
        let message = format!("`{address}` would not plan empty: {what} reads back otherwise");
        let help = "this is a fault of jsplan; import the others, and report this one";
        found.push(Finding::error(Code::Conflict, message).about(address).help(help));
    }
    found
}

/// The state, with what is imported taken over as it is.
fn recorded_with(
    recorded: &State,
    desired: &Desired,
    imported: &BTreeSet<Address>,
    live: &Live,
) -> State {
    let mut state = recorded.clone();
    if state.resources.is_empty() {
        state.target = Some(target::of(&live.server));
    }
    state.serial += 1;
    for address in imported {
        let (Some(wanted), Some(is)) =
            (desired.resources.get(address), live.resources.get(address))
        else {
            continue;
        };
        let taken = Recorded {
            created: is.created.clone(),
            origin: Origin::Adopted,
            prevent_destroy: wanted.prevent_destroy,
            spec_sha256: wanted.sha256.clone(),
            live_sha256: is.sha256.clone(),
            config: is.raw.clone(),
        };
        state.resources.insert(address.clone(), taken);
    }
    state
}
