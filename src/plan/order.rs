//! The order of steps: what must come before what, as waves of independent steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Action, Step};
use crate::{
    address::Address,
    finding::{Code, Finding},
    subject,
};

/// Numbers the waves and sorts by them. A circle that no order resolves is a finding.
///
/// Deletions come last, but for those that free a subject somebody takes.
pub(super) fn order(steps: &mut [Step], findings: &mut Vec<Finding>) {
    let bindings: Vec<Binding> = steps.iter().map(binding).collect();
    let before = edges(steps, &bindings);
    let early = needed_early(steps, &bindings);
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
    let Address::Stream(_) = step.address else { return binding };
    for change in &step.changes {
        let (before, after) = (&change.delta.before, &change.delta.after);
        match change.delta.field.name {
            "subjects" => {
                let (was, will) = (texts(before), texts(after));
                binding.takes.extend(will.iter().filter(|it| !was.contains(it)).cloned());
                binding.frees.extend(was.into_iter().filter(|it| !will.contains(it)));
            }
            "mirror" => binding.origins.extend(name_of(after)),
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
fn edges(steps: &[Step], bindings: &[Binding]) -> Vec<Vec<usize>> {
    let mut before = vec![Vec::new(); steps.len()];
    for (from, to) in hand_overs(bindings) {
        before[to].push(from);
    }
    let mut of_stream: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        of_stream.entry(step.address.stream_name()).or_default().push(at);
    }
    for (at, step) in steps.iter().enumerate() {
        let siblings = &of_stream[step.address.stream_name()];
        let precedes = |it: &&usize| **it != at && precedes(&steps[**it], step);
        before[at].extend(siblings.iter().filter(precedes));
        for origin in &bindings[at].origins {
            let makers = of_stream.get(origin.as_str()).into_iter().flatten();
            let makes = |it: &&usize| is_stream(&steps[**it].address) && **it != at;
            before[at].extend(makers.filter(makes));
        }
    }
    before
}

/// Pairs of steps of which the first frees a subject that the second takes.
fn hand_overs(bindings: &[Binding]) -> Vec<(usize, usize)> {
    let freeing = (0..bindings.len()).filter(|it| !bindings[*it].frees.is_empty());
    let taking: Vec<_> = (0..bindings.len()).filter(|it| !bindings[*it].takes.is_empty()).collect();
    let overlap = |from: usize, to: usize| {
        let takes = &bindings[to].takes;
        bindings[from].frees.iter().any(|it| takes.iter().any(|that| subject::overlap(it, that)))
    };
    let pairs = freeing.flat_map(|from| taking.iter().map(move |to| (from, *to)));
    pairs.filter(|(from, to)| from != to && overlap(*from, *to)).collect()
}

/// Deletions that cannot wait for the end, since what they free is taken; with them goes what
/// stands on them.
fn needed_early(steps: &[Step], bindings: &[Binding]) -> BTreeSet<usize> {
    let deletes = |it: &usize| steps[*it].action == Action::Delete;
    let early: BTreeSet<usize> =
        hand_overs(bindings).into_iter().map(|(from, _)| from).filter(deletes).collect();
    let falls = |it: &usize| {
        early.iter().any(|stream| stands_on(&steps[*it].address, &steps[*stream].address))
    };
    let with_them: Vec<usize> =
        (0..steps.len()).filter(|it| !early.is_empty() && deletes(it) && falls(it)).collect();
    early.into_iter().chain(with_them).collect()
}

/// Whether of two steps about one stream and its consumers the first must be done first.
fn precedes(first: &Step, second: &Step) -> bool {
    match (first.action == Action::Delete, second.action == Action::Delete) {
        // Backwards, so that no consumer outlives its stream's turn.
        (true, true) => stands_on(&first.address, &second.address),
        (true, false) | (false, true) => false,
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
    is_stream(stream) && !is_stream(consumer) && consumer.stream_name() == stream.name()
}

fn is_stream(address: &Address) -> bool {
    matches!(address, Address::Stream(_))
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
