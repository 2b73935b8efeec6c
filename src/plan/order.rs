//! The order of steps: what must come before what, as waves of independent steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Action, Step, call};
use crate::{
    address::Address,
    finding::{Code, Finding},
    subject::Subjects,
};

/// Numbers the waves and sorts by them. A circle that no order resolves is a finding.
///
/// Deletions come last, but for those that free a subject somebody takes.
pub(super) fn order(steps: &mut [Step], findings: &mut Vec<Finding>) {
    let bindings: Vec<Binding> = steps.iter().map(binding).collect();
    let hand_overs = hand_overs(&bindings);
    let before = edges(steps, &bindings, &hand_overs);
    let early = needed_early(steps, &hand_overs);
    let (first, last): (Vec<usize>, Vec<usize>) =
        (0..steps.len()).partition(|it| steps[*it].action != Action::Delete || early.contains(it));
    let wave = number(steps, &first, &before, 0, findings);
    number(steps, &last, &before, wave, findings);
    steps.sort_by_key(|it| it.wave);
}

/// Gives waves from `wave` on to some of the steps, and returns the next free wave.
fn number(
    steps: &mut [Step],
    group: &[usize],
    before: &[Vec<usize>],
    mut wave: usize,
    findings: &mut Vec<Finding>,
) -> usize {
    let mut waiting: BTreeSet<usize> = group.iter().copied().collect();
    while !waiting.is_empty() {
        let free = |it: &&usize| !before[**it].iter().any(|other| waiting.contains(other));
        let ready: Vec<usize> = waiting.iter().filter(free).copied().collect();
        if ready.is_empty() {
            findings.push(circle(steps, &waiting));
        }
        let stuck = ready.is_empty();
        for it in if stuck { waiting.iter().copied().collect() } else { ready } {
            steps[it].wave = wave;
            steps[it].blocked |= stuck;
            waiting.remove(&it);
        }
        wave += 1;
    }
    wave
}

/// The subjects a step takes and those it gives up, and the streams it copies from.
#[derive(Default)]
struct Binding {
    takes: Vec<String>,
    frees: Vec<String>,
    origins: BTreeSet<String>,
}

fn binding(step: &Step) -> Binding {
    let mut binding = Binding::default();
    let Address::Stream(name) = &step.address else { return binding };
    // A mirror that stays one takes over what its origin says by then.
    binding.origins.extend(step.calls.last().and_then(|it| name_of(&it.body["mirror"])));
    // A parked stream takes its subjects when they are bound; until then they stay where they are.
    let subjects = step.calls.last().map(|it| texts(&it.body["subjects"])).unwrap_or_default();
    let parked = subjects == [call::parked(name)];
    if step.action == Action::Bind {
        binding.takes = subjects;
    }
    for change in &step.changes {
        let (before, after) = (&change.delta.before, &change.delta.after);
        match change.delta.field.name {
            "subjects" => {
                let (was, will) = (texts(before), texts(after));
                let taken = will.iter().filter(|it| !was.contains(it) && !parked);
                binding.takes.extend(taken.cloned());
                binding.frees.extend(was.into_iter().filter(|it| !will.contains(it)));
            }
            "sources" => {
                binding.origins.extend(after.as_array().into_iter().flatten().filter_map(name_of));
            }
            _ => {}
        }
    }
    binding
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect()
}

fn name_of(value: &Value) -> Option<String> {
    Some(value.get("name")?.as_str()?.to_owned())
}

/// For each step, those that must be done before it.
fn edges(steps: &[Step], bindings: &[Binding], hand_overs: &HandOvers) -> Vec<Vec<usize>> {
    let mut before = vec![Vec::new(); steps.len()];
    for (from, to) in hand_overs {
        before[*to].push(*from);
    }
    let mut streams: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut consumers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let of_kind = if step.address.is_stream() { &mut streams } else { &mut consumers };
        of_kind.entry(step.address.stream_name()).or_default().push(at);
    }
    for (at, step) in steps.iter().enumerate() {
        let precedes = |it: &&usize| **it != at && precedes(&steps[**it], step);
        let name = step.address.stream_name();
        before[at].extend(streams.get(name).into_iter().flatten().filter(precedes));
        // Consumers do not wait for each other, and a stream may have thousands.
        if step.address.is_stream() {
            before[at].extend(consumers.get(name).into_iter().flatten().filter(precedes));
        }
        let makers = bindings[at].origins.iter().filter_map(|it| streams.get(it.as_str()));
        before[at].extend(makers.flatten().filter(|it| **it != at));
    }
    before
}

/// Pairs of steps of which the first frees a subject that the second takes.
type HandOvers = BTreeSet<(usize, usize)>;

fn hand_overs(bindings: &[Binding]) -> HandOvers {
    let mut taken = Subjects::default();
    for (to, binding) in bindings.iter().enumerate() {
        binding.takes.iter().for_each(|it| taken.insert(it, to));
    }
    let mut pairs = HandOvers::new();
    for (from, binding) in bindings.iter().enumerate() {
        for subject in &binding.frees {
            let others = taken.meeting(subject).into_iter().filter(|to| *to != from);
            pairs.extend(others.map(|to| (from, to)));
        }
    }
    pairs
}

/// Deletions that cannot wait for the end: what they free is taken, or their stream goes sooner.
fn needed_early(steps: &[Step], hand_overs: &HandOvers) -> BTreeSet<usize> {
    let deletes = |it: &usize| steps[*it].action == Action::Delete;
    let mut early: BTreeSet<usize> =
        hand_overs.iter().map(|(from, _)| *from).filter(deletes).collect();
    let goes = |it: &usize| steps[*it].action == Action::Replace || early.contains(it);
    let streams = (0..steps.len()).filter(|it| steps[*it].address.is_stream());
    let gone: BTreeSet<&str> = streams.filter(goes).map(|it| steps[it].address.name()).collect();
    let falls = |it: &usize| deletes(it) && gone.contains(steps[*it].address.stream_name());
    let with_them: Vec<usize> = (0..steps.len()).filter(falls).collect();
    early.extend(with_them);
    early
}

/// Whether of two steps about one stream and its consumers the first must be done first.
fn precedes(first: &Step, second: &Step) -> bool {
    match (first.action == Action::Delete, second.action == Action::Delete) {
        // Backwards, so that no consumer outlives its stream's turn.
        (true, true) => stands_on(&first.address, &second.address),
        (true, false) => {
            second.action == Action::Replace && stands_on(&first.address, &second.address)
        }
        (false, true) => false,
        (false, false) if follows_its_consumers(second) => !follows_its_consumers(first),
        (false, false) if follows_its_consumers(first) => false,
        (false, false) => stands_on(&second.address, &first.address),
    }
}

/// An interest stream drops what arrives, and from 2.15 what it holds, while it has no consumer.
fn follows_its_consumers(step: &Step) -> bool {
    let interest = step.calls.last().is_some_and(|it| it.body["retention"] == "interest");
    let named = |it: &super::Change| matches!(it.delta.field.name, "subjects" | "retention");
    match step.action {
        Action::Bind => true,
        Action::Update => interest && step.changes.iter().any(named),
        Action::Create
        | Action::Replace
        | Action::Delete
        | Action::Adopt
        | Action::Record
        | Action::Forget => false,
    }
}

/// Whether a consumer reads a stream.
fn stands_on(consumer: &Address, stream: &Address) -> bool {
    stream.is_stream() && !consumer.is_stream() && consumer.stream_name() == stream.name()
}

fn circle(steps: &[Step], stuck: &BTreeSet<usize>) -> Finding {
    let names: Vec<_> = stuck.iter().map(|it| format!("`{}`", steps[*it].address)).collect();
    let place = stuck.iter().find_map(|it| steps[*it].place);
    let message = format!("no order of these steps works: {}", names.join(", "));
    Finding::error(Code::Conflict, message).at(place).help(
        "streams that swap subjects, or copy each other, need a plan in between: move one of \
         them to other subjects, apply, then go on",
    )
}
