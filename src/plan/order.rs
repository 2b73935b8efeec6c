//! The order of steps: what must come before what, as waves of independent steps.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Step};
use crate::{
    address::Address,
    finding::{Code, Finding},
    subject,
};

/// Numbers the waves and sorts by them. A circle that no order resolves is a finding.
pub(super) fn order(steps: &mut [Step], findings: &mut Vec<Finding>) {
    let binds: Vec<Binding> = steps.iter().map(binding).collect();
    let before: Vec<Vec<usize>> = (0..steps.len())
        .map(|it| (0..steps.len()).filter(|other| precedes(steps, &binds, *other, it)).collect())
        .collect();
    let mut placed = vec![false; steps.len()];
    let mut wave = 0;
    while placed.contains(&false) {
        let ready: Vec<usize> = (0..steps.len())
            .filter(|it| !placed[*it] && before[*it].iter().all(|other| placed[*other]))
            .collect();
        if ready.is_empty() {
            let stuck: Vec<usize> = (0..steps.len()).filter(|it| !placed[*it]).collect();
            findings.push(circle(steps, &stuck));
            for it in stuck {
                steps[it].wave = wave;
                steps[it].blocked = true;
            }
            break;
        }
        for it in ready {
            steps[it].wave = wave;
            placed[it] = true;
        }
        wave += 1;
    }
    steps.sort_by_key(|it| it.wave);
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

/// Whether step `a` must be done before step `b`.
fn precedes(steps: &[Step], binds: &[Binding], a: usize, b: usize) -> bool {
    if a == b {
        return false;
    }
    let (first, second) = (&steps[a], &steps[b]);
    let hands_over = |from: usize, to: usize| {
        let frees = binds[from].frees.iter();
        frees.clone().any(|it| binds[to].takes.iter().any(|other| subject::overlap(it, other)))
    };
    if hands_over(a, b) {
        return true;
    }
    if hands_over(b, a) {
        return false;
    }
    match (first.action == Action::Delete, second.action == Action::Delete) {
        // Deletions last and backwards, so that no consumer outlives its stream's turn.
        (false, true) => true,
        (true, false) => false,
        (true, true) => stands_on(&first.address, &second.address),
        (false, false) if second.action == Action::Bind => {
            first.action != Action::Bind
                && first.address.stream_name() == second.address.stream_name()
        }
        (false, false) if first.action == Action::Bind => false,
        (false, false) => {
            stands_on(&second.address, &first.address)
                || binds[b].origins.contains(first.address.name()) && is_stream(&first.address)
        }
    }
}

/// Whether a consumer reads a stream.
fn stands_on(consumer: &Address, stream: &Address) -> bool {
    is_stream(stream) && !is_stream(consumer) && consumer.stream_name() == stream.name()
}

fn is_stream(address: &Address) -> bool {
    matches!(address, Address::Stream(_))
}

fn circle(steps: &[Step], stuck: &[usize]) -> Finding {
    let names: Vec<_> = stuck.iter().map(|it| format!("`{}`", steps[*it].address)).collect();
    let message = format!("no order of these steps works: {}", names.join(", "));
    Finding::error(Code::Conflict, message).at(steps[stuck[0]].place).help(
        "streams that swap subjects, or copy each other, need a plan in between: move one of \
         them to other subjects, apply, then go on",
    )
}
