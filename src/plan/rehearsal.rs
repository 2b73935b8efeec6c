//! A plan rehearsed on throw-away servers: what they must be and hold, how the plan's premises read
//! there, and what is to be learnt from how it ended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Action, Cause, Plan, Step, call, creation, order, premise};
use crate::{
    address::Address,
    config::Config,
    diff,
    finding::{Code, Finding},
    live::Live,
    schema::Release,
    state::{Recorded, State},
};

/// What the servers must be, so that the plan meets what it would meet.
#[derive(Debug)]
pub struct Stage {
    /// How many there are: one, or as many as the replicas need in a cluster.
    pub servers: usize,
    /// The name of the live cluster, where there is one.
    pub cluster: Option<String>,
    /// The live JetStream domain, where there is one.
    pub domain: Option<String>,
    /// Tags that all of them carry: those that placements ask for.
    pub tags: BTreeSet<String>,
}

/// How a rehearsal ended.
#[derive(Debug)]
pub struct Rehearsal {
    /// The release of its servers, in their own words.
    pub version: String,
    /// How many servers there were.
    pub servers: usize,
    /// Steps of the plan.
    pub steps: usize,
    /// Those that were applied.
    pub applied: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Steps of the plan that is made afterwards.
    pub left: usize,
    /// Refusals, and the limits of what was rehearsed.
    pub findings: Vec<Finding>,
}

/// Servers of a cluster, unless more replicas are asked for.
const CLUSTER: usize = 3;

/// A step that the rehearsal's server did not carry out, and its words.
#[derive(Debug)]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// Why not.
    pub error: String,
}

/// How steps ended on the rehearsal's servers.
#[derive(Debug, Default)]
pub struct Walked {
    /// The resources of those that were carried out.
    pub done: Vec<Address>,
    /// Those that were not.
    pub refusals: Vec<Refusal>,
}

/// The servers that a plan against this live account needs.
#[must_use]
pub fn stage(plan: &Plan, live: &Live) -> Stage {
    let mut tags = BTreeSet::new();
    let mut most = 0;
    let streams = live.resources.iter().filter(|it| it.0.is_stream());
    let live_configs = streams.map(|(_, is)| is.config().into_value());
    let steps = plan.steps.iter().filter(|it| it.address.is_stream());
    let planned = steps.flat_map(|it| &it.calls).map(|it| it.body.clone());
    for config in live_configs.chain(planned) {
        most = most.max(replicas(&config));
        let asked = config["placement"]["tags"].as_array().into_iter().flatten();
        // `!tag` asks for servers without it.
        let asked = asked.filter_map(Value::as_str).filter(|it| !it.starts_with('!'));
        tags.extend(asked.map(ToOwned::to_owned));
    }
    let cluster = live.server.cluster.clone();
    let servers = match &cluster {
        None => 1,
        Some(_) if most > CLUSTER => 5,
        Some(_) => CLUSTER,
    };
    Stage { servers, cluster, domain: live.server.domain.clone(), tags }
}

/// Every live stream and durable consumer, as steps that make them where nothing is. They hold no
/// messages.
#[must_use]
pub fn seeds(live: &Live) -> Vec<Step> {
    let kept = live.resources.iter().map(|(address, is)| (address, is.config()));
    // An ephemeral consumer belongs to its client, and would go without it.
    let kept = kept.filter(|(it, config)| it.is_stream() || config.has("durable_name"));
    let mut steps: Vec<Step> =
        kept.map(|(address, config)| seed(address, config, live.server.release)).collect();
    // Streams that copy each other have no order, and need none here.
    order::order(&mut steps, live, &BTreeSet::new(), &mut Vec::new());
    steps
}

/// The steps of a plan as they must be against what the rehearsal's servers hold: the same requests,
/// with the premises read there. What they cannot be tried on is left out, with a finding.
#[must_use]
pub fn transposed(plan: &Plan, live: &Live, held: &Live, findings: &mut Vec<Finding>) -> Vec<Step> {
    let made: BTreeSet<_> = plan.steps.iter().map(|it| &it.address).collect();
    let elsewhere = other_clusters(live);
    let mut steps = Vec::new();
    for step in &plan.steps {
        let stream = Address::stream(step.address.stream_name());
        let here = held.resources.get(&step.address);
        let unheld = step.premise.is_some() && here.is_none();
        let unread = !held.resources.contains_key(&stream) && !made.contains(&stream);
        let cluster = step.calls.iter().find_map(|it| placed_in(&it.body));
        if unheld || unread {
            findings.push(left_out(step, "the live one could not be taken over"));
        } else if let Some(name) = cluster.filter(|it| elsewhere.contains(*it)) {
            findings.push(left_out(step, &format!("it is placed in the other cluster `{name}`")));
        } else {
            let premise = step.premise.as_ref().and(here).map(premise);
            steps.push(Step { premise, ..step.clone() });
        }
    }
    steps
}

/// The record as it must be for what the rehearsal's servers hold: what was as recorded still is.
#[must_use]
pub fn record(recorded: &State, live: &Live, held: &Live) -> State {
    let mut state = State { target: None, ..recorded.clone() };
    for (address, was) in &mut state.resources {
        let both = live.resources.get(address).zip(held.resources.get(address));
        let Some((is, here)) = both.filter(|it| it.0.created == was.created) else { continue };
        let untouched = was.live_sha256 == is.sha256;
        was.created.clone_from(&here.created);
        if untouched {
            let (live_sha256, config) = (here.sha256.clone(), here.raw.clone());
            *was = Recorded { live_sha256, config, ..was.clone() };
        }
    }
    state
}

/// Which fields of which resources the rehearsal's servers read back in another way.
#[must_use]
pub fn differences(live: &Live, held: &Live) -> BTreeMap<Address, Vec<&'static str>> {
    let both = |(address, is): (&Address, &crate::live::Observed)| {
        let here = held.resources.get(address)?;
        let moved = diff::moved(address.rows(), &is.config(), &here.config(), &live.at);
        let fields: Vec<_> = moved.iter().map(|it| it.field.name).collect();
        (!fields.is_empty()).then(|| (address.clone(), fields))
    };
    live.resources.iter().filter_map(both).collect()
}

/// The steps of the next plan that should not be there: of what was applied, and of everything where
/// all of it was. What was never alike tells nothing.
#[must_use]
pub fn left<'a>(
    again: &'a Plan,
    plan: &Plan,
    walked: &Walked,
    unlike: &BTreeMap<Address, Vec<&'static str>>,
) -> Vec<&'a Step> {
    let done: BTreeSet<_> = walked.done.iter().collect();
    let refused: BTreeSet<_> = walked.refusals.iter().map(|it| &it.step.address).collect();
    let whole = !plan.targeted && walked.done.len() == plan.steps.len();
    let concerned = |it: &Address| {
        (whole || done.contains(it)) && !refused.contains(it) && !unlike.contains_key(it)
    };
    again.steps.iter().filter(|it| concerned(&it.address)).collect()
}

/// What a rehearsal leaves aside from its start.
#[must_use]
pub fn limits(stage: &Stage, live: &Live) -> Vec<Finding> {
    let mut findings = Vec::new();
    if stage.cluster.is_some() && !stage.tags.is_empty() {
        let tags: Vec<_> = stage.tags.iter().map(|it| format!("`{it}`")).collect();
        let message = format!(
            "each server of the rehearsal carries every tag that is asked for: {}",
            tags.join(", ")
        );
        findings.push(Finding::note(Code::Rehearsal, message).help(
            "that enough live servers carry them is not rehearsed; `nats server list` shows theirs",
        ));
    }
    if stage.servers > CLUSTER && live_replicas(live) <= CLUSTER {
        let message = format!("the rehearsal has {} servers, as the plan needs", stage.servers);
        findings.push(Finding::warning(Code::Rehearsal, message).help(
            "that the live cluster has as many is not rehearsed; `nats server list` shows them",
        ));
    }
    let unread = live.unknown.iter().map(|(address, reason)| {
        let message = format!("`{address}` is missing from the rehearsal: {reason}");
        Finding::note(Code::Rehearsal, message)
            .about(address)
            .help("rehearse again once its servers answer")
    });
    findings.extend(unread);
    findings
}

/// An account with limits for each number of replicas.
#[must_use]
pub fn tiered() -> Finding {
    let message = "the account's limits are per number of replicas, and were not rehearsed";
    Finding::warning(Code::Rehearsal, message)
        .help("compare what the plan reserves with `nats account info`")
}

/// A live resource that the rehearsal's servers do not take.
#[must_use]
pub fn not_seeded(Refusal { step, error }: &Refusal) -> Finding {
    let message = format!("`{}` is missing from the rehearsal: {error}", step.address);
    Finding::note(Code::Rehearsal, message)
        .about(&step.address)
        .help("its live configuration is not one that can be made anew; the rest is rehearsed")
}

/// A live resource that reads back in another way.
#[must_use]
pub fn not_alike(address: &Address, fields: &[&str]) -> Finding {
    let fields: Vec<_> = fields.iter().map(|it| format!("`{it}`")).collect();
    let fields = fields.join(", ");
    Finding::note(Code::Rehearsal, format!("`{address}` differs in the rehearsal in {fields}"))
        .about(address)
        .help("the server works out what it was not told; these fields are not rehearsed")
}

/// A step that the server would refuse.
#[must_use]
pub fn refused(Refusal { step, error }: &Refusal) -> Finding {
    let does = match step.action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Bind => "bind the subjects of",
        Action::Adopt | Action::Record | Action::Forget => "give",
    };
    let message = format!("nats-server refuses to {does} `{}`: {error}", step.address);
    Finding::error(Code::Rehearsal, message).at(step.place).about(&step.address).help(
        "change the spec, or what the server grants the account; nothing was changed on the live \
         server",
    )
}

/// A step that would be left to do after the apply.
#[must_use]
pub fn unsettled(step: &Step) -> Finding {
    let fields: Vec<_> =
        step.changes.iter().map(|it| format!("`{}`", it.delta.field.name)).collect();
    let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
    let message =
        format!("`{}` would still not be as planned after an apply{fields}", step.address);
    Finding::error(Code::Rehearsal, message)
        .at(step.place)
        .about(&step.address)
        .help("the server makes something else of these fields: write what it reads back")
}

impl Rehearsal {
    /// Whether an apply would do the whole plan, as far as it could be rehearsed.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.refused == 0 && self.left == 0
    }
}

fn left_out(step: &Step, why: &str) -> Finding {
    Finding::warning(Code::Rehearsal, format!("`{}` was not rehearsed: {why}", step.address))
        .at(step.place)
        .about(&step.address)
        .help("what the server says to it is known only after the apply")
}

/// The most replicas of any live stream.
fn live_replicas(live: &Live) -> usize {
    let streams = live.resources.iter().filter(|it| it.0.is_stream());
    streams.map(|(_, is)| replicas(&is.config().into_value())).max().unwrap_or_default()
}

fn replicas(config: &Value) -> usize {
    config["num_replicas"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or_default()
}

/// Clusters beside the one that answers, known by the live streams that are there.
fn other_clusters(live: &Live) -> BTreeSet<String> {
    let streams = live.resources.iter().filter(|it| it.0.is_stream());
    let placed =
        streams.filter_map(|(_, is)| Some(placed_in(&is.config().into_value())?.to_owned()));
    placed.filter(|it| live.server.cluster.as_ref().is_some_and(|here| here != it)).collect()
}

fn placed_in(config: &Value) -> Option<&str> {
    config["placement"]["cluster"].as_str().filter(|it| !it.is_empty())
}

fn seed(address: &Address, config: Config, release: Release) -> Step {
    let all = config.clone();
    let mut config = config.without_server_labels();
    // What only an update can set: a stream is not born sealed, nor a mirror no more.
    let sealed = config.remove("sealed").is_some_and(|it| it == true);
    let promoted =
        !config.has("mirror") && config.remove("mirror_direct").is_some_and(|it| it == true);
    let mut calls = vec![call::create(address, &config)];
    if sealed || promoted {
        let subject = format!("STREAM.UPDATE.{}", address.name());
        calls.push(call::write(address, subject, all));
    }
    Step {
        address: address.clone(),
        action: Action::Create,
        adopts: false,
        cause: Cause::Edit,
        changes: creation(address, &config, release),
        same: 0,
        risks: Vec::new(),
        stored: 0,
        falls: false,
        blocked: false,
        calls,
        premise: None,
        record: None,
        wave: 0,
        needs: BTreeSet::new(),
        makes_room: false,
        place: None,
    }
}
