//! The order of steps: what must come before what, as waves of independent steps.

mod hand_over;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::hand_over::{
    Binding, HandOvers, bindings, hand_overs, name_takers, queues, takers, texts,
};
use super::{Action, Change, Step, call, risk::Risk};
use crate::{
    address::Address,
    finding::{Code, Finding},
    forecast::Amount,
    live::Live,
    schema::{Harm, Loses, stream::CONSUMER_LIMITS},
    subject,
};

/// Numbers the waves and sorts by them. A circle that no order resolves is a finding.
///
/// Deletions come last, but for those that others wait for: they free a subject or a filter that
/// somebody takes, or make `room`. Streams that wait for each other's subjects are parted: one gives
/// up its own first, and takes the others last.
pub(super) fn order(
    steps: &mut Vec<Step>,
    live: &Live,
    room: &BTreeSet<Address>,
    findings: &mut Vec<Finding>,
) {
    let queues = queues(steps, live);
    let named = {
        let bindings = bindings(steps, &queues);
        takers(steps, &bindings, &hand_overs(&bindings))
    };
    name_takers(steps, named);
    let graph = loop {
        let bindings = bindings(steps, &queues);
        let hand_overs = hand_overs(&bindings);
        let before = edges(steps, &bindings, &hand_overs);
        let graph = Graph { before, hand_overs };
        let Some(bind) = knot(steps, &graph).and_then(|it| part(&mut steps[it])) else {
            break graph;
        };
        steps.push(bind);
    };
    name_needs(steps, &graph, room);
    let mut wave = 0;
    for group in groups(steps, &needed_early(steps, &graph.hand_overs), room) {
        wave = number(steps, &group, &graph, wave, findings);
    }
    steps.sort_by_key(|it| it.wave);
}

/// What makes room, what is made and changed with the deletions it waits for, and what else goes.
fn groups(steps: &[Step], early: &BTreeSet<usize>, room: &BTreeSet<Address>) -> [Vec<usize>; 3] {
    let (mut first, mut then, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        let group = match step.action == Action::Delete {
            true if makes_room(step, room) => &mut first,
            true if !early.contains(&at) => &mut last,
            true | false => &mut then,
        };
        group.push(at);
    }
    [first, then, last]
}

/// Notes at each step what it takes for it to be carried out, and whether it makes room.
fn name_needs(steps: &mut [Step], graph: &Graph, room: &BTreeSet<Address>) {
    let address = |it: usize| steps[it].address.clone();
    let of = |(at, before): (usize, &Vec<usize>)| {
        let needed = before.iter().filter(|it| !is_only_first(&steps[**it], &steps[at]));
        needed.map(|it| address(*it)).collect()
    };
    let mut needs: Vec<BTreeSet<Address>> = graph.before.iter().enumerate().map(of).collect();
    for (from, to) in &graph.hand_overs {
        needs[*from].insert(address(*to));
    }
    for (step, mut needs) in steps.iter_mut().zip(needs) {
        needs.remove(&step.address);
        step.makes_room = makes_room(step, room);
        step.needs = needs;
    }
}

/// Whether the second of two steps comes later and could do without the first: nothing about a
/// consumer hangs on how much its stream keeps.
fn is_only_first(first: &Step, second: &Step) -> bool {
    let limit = |it: &Change| matches!(it.delta.field.loses, Loses::Lowered | Loses::Released);
    first.action == Action::Update
        && first.changes.iter().all(limit)
        && stands_on(&second.address, &first.address)
}

/// With a stream go its consumers.
fn makes_room(step: &Step, room: &BTreeSet<Address>) -> bool {
    let stream = || Address::stream(step.address.stream_name());
    step.action == Action::Delete && (room.contains(&step.address) || room.contains(&stream()))
}

/// What waits for what.
struct Graph {
    /// For each step, those that must be done before it.
    before: Vec<Vec<usize>>,
    hand_overs: HandOvers,
}

/// Gives waves from `wave` on to some of the steps, and returns the next free wave.
fn number(
    steps: &mut [Step],
    group: &[usize],
    graph: &Graph,
    mut wave: usize,
    findings: &mut Vec<Finding>,
) -> usize {
    let mut waiting: BTreeSet<usize> = group.iter().copied().collect();
    while !waiting.is_empty() {
        let free = |it: &&usize| !graph.before[**it].iter().any(|other| waiting.contains(other));
        let ready: Vec<usize> = waiting.iter().filter(free).copied().collect();
        if ready.is_empty() {
            findings.push(circle(steps, &waiting, graph));
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

/// A stream that takes subjects of one that waits for it, and has not been parted yet.
fn knot(steps: &[Step], graph: &Graph) -> Option<usize> {
    let parted = |it: usize| {
        let address = &steps[it].address;
        steps.iter().any(|it| it.action == Action::Bind && it.address == *address)
    };
    // A consumer cannot be parted: no filter stands for none.
    let writes = |it: usize| {
        steps[it].address.is_stream()
            && matches!(steps[it].action, Action::Update | Action::Replace)
    };
    let circles = |from: usize, to: usize| {
        let mut seen = BTreeSet::from([from]);
        let mut next = vec![from];
        while let Some(here) = next.pop() {
            next.extend(graph.before[here].iter().copied().filter(|it| seen.insert(*it)));
        }
        seen.contains(&to)
    };
    let mut stuck = graph.hand_overs.iter().filter(|(from, to)| writes(*to) && circles(*from, *to));
    stuck.find(|(_, to)| !parted(*to)).map(|(_, to)| *to)
}

/// Leaves a stream with what it has and keeps, and gives the step in which it takes the rest.
fn part(step: &mut Step) -> Option<Step> {
    let subjects = &step.changes.iter().find(|it| it.delta.field.name == "subjects")?.delta;
    let (was, will) = (texts(&subjects.before), texts(&subjects.after));
    let has = |it: &String| was.iter().any(|wider| subject::covers(wider, it));
    let mut kept: Vec<String> = will.into_iter().filter(has).collect();
    if kept.is_empty() {
        kept.push(call::parked(step.address.name()));
    }
    let bind = call::bind(step, kept);
    let said = |it: &Risk| it.harm == Harm::Availability && it.field.as_deref() == Some("subjects");
    if step.risks.iter().any(said) {
        return bind;
    }
    let why = "publishers find no stream for a moment, while subjects change hands";
    let risk = Risk::of(Harm::Availability, Amount::Nothing, why);
    step.risks.push(Risk { field: Some("subjects".to_owned()), ..risk });
    bind
}

/// What a stream copies when the step is done.
fn copied(step: &Step) -> impl Iterator<Item = &str> {
    let body = step.calls.last().map(|it| &it.body);
    let sources = body.and_then(|it| it["sources"].as_array()).into_iter().flatten();
    body.map(|it| &it["mirror"]).into_iter().chain(sources).filter_map(|it| it["name"].as_str())
}

fn changes(step: &Step, field: &str) -> bool {
    step.action == Action::Update && step.changes.iter().any(|it| it.delta.field.name == field)
}

/// For each step, those that must be done before it.
fn edges(steps: &[Step], bindings: &[Binding<'_>], hand_overs: &HandOvers) -> Vec<Vec<usize>> {
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
        // A copy that takes smaller messages than its origin is refused at every update.
        let resizes = |it: &&usize| changes(&steps[**it], "max_msg_size");
        let resized = copied(step).filter_map(|it| streams.get(it));
        before[at].extend(resized.flatten().filter(|it| **it != at).filter(resizes));
    }
    before
}

/// Deletions that cannot wait for the end: what they free is taken, a stream may get limits that
/// they are beyond, or their stream goes sooner.
fn needed_early(steps: &[Step], hand_overs: &HandOvers) -> BTreeSet<usize> {
    let deletes = |it: &usize| steps[*it].action == Action::Delete;
    let limiting = steps.iter().filter(|it| changes(it, "consumer_limits"));
    let limiting: BTreeSet<&str> = limiting.map(|it| it.address.name()).collect();
    let limited = |it: &usize| limiting.contains(steps[*it].address.stream_name());
    let mut early: BTreeSet<usize> = hand_overs.iter().map(|it| it.0).filter(deletes).collect();
    early.extend((0..steps.len()).filter(deletes).filter(limited));
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
            // Who is beyond new limits goes before they hold (10069).
            let waits = second.action == Action::Replace || changes(second, "consumer_limits");
            waits && stands_on(&first.address, &second.address)
        }
        (false, true) => false,
        (false, false) if first.address == second.address => second.action == Action::Bind,
        // No consumer has more replicas than its stream (10126).
        (false, false) if raises(first) && raises(second) => first.address.is_stream(),
        (false, false) if tightens(second) && lowers(first) => true,
        (false, false) if tightens(first) && lowers(second) => false,
        (false, false) if follows_its_consumers(second) => !follows_its_consumers(first),
        (false, false) if follows_its_consumers(first) => false,
        (false, false) => stands_on(&second.address, &first.address),
    }
}

/// An interest stream drops what arrives, and from 2.15 what it holds, while it has no consumer.
fn follows_its_consumers(step: &Step) -> bool {
    let interest = step.calls.last().is_some_and(|it| it.body["retention"] == "interest");
    let named = |it: &Change| matches!(it.delta.field.name, "subjects" | "retention");
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

/// Whether what is there gets more replicas.
fn raises(step: &Step) -> bool {
    let mut deltas = step.changes.iter().map(|it| &it.delta);
    let replicas = deltas.find(|it| it.field.name == "num_replicas");
    step.action == Action::Update
        && replicas.is_some_and(|it| it.before.as_u64() < it.after.as_u64())
}

/// Whether a stream lets its consumers have less than before: a limit that one of them is beyond is
/// refused with 10069.
fn tightens(step: &Step) -> bool {
    let change = step.changes.iter().find(|it| it.delta.field.name == "consumer_limits");
    let Some(delta) = change.filter(|_| step.action == Action::Update).map(|it| &it.delta) else {
        return false;
    };
    let limit = |of: &Value, name: &str| of[name].as_i64().filter(|it| *it > 0).unwrap_or(i64::MAX);
    CONSUMER_LIMITS.iter().any(|it| limit(&delta.after, it.name) < limit(&delta.before, it.name))
}

/// Whether a consumer wants less than before of what its stream may limit.
fn lowers(step: &Step) -> bool {
    let deltas = step.changes.iter().map(|it| &it.delta);
    let limits = |name: &str| CONSUMER_LIMITS.iter().any(|it| it.name == name);
    let mut limited = deltas.filter(|it| limits(it.field.name));
    let less =
        |a: &Value, b: &Value| a.as_i64().unwrap_or_default() < b.as_i64().unwrap_or_default();
    step.action == Action::Update && limited.any(|it| less(&it.after, &it.before))
}

/// Whether a consumer reads a stream.
fn stands_on(consumer: &Address, stream: &Address) -> bool {
    stream.is_stream() && !consumer.is_stream() && consumer.stream_name() == stream.name()
}

fn circle(steps: &[Step], stuck: &BTreeSet<usize>, graph: &Graph) -> Finding {
    let swap = |(from, to): &&(usize, usize)| {
        stuck.contains(from) && stuck.contains(to) && !steps[*to].address.is_stream()
    };
    let swapped = graph.hand_overs.iter().filter(swap).flat_map(|(from, to)| [*from, *to]);
    let swapped: BTreeSet<usize> = swapped.collect();
    let (stuck, help) = if swapped.is_empty() {
        let help = "what copies another stream comes after it, and what takes its subject too: \
                    apply one of the two changes first, then the other";
        (stuck, help)
    } else {
        let help = "each takes a filter that another one still has, and a work queue gives each \
                    message to one consumer: let one of them read another subject first and \
                    apply, then give each what it is to have";
        (&swapped, help)
    };
    let names: Vec<_> = stuck.iter().map(|it| format!("`{}`", steps[*it].address)).collect();
    let place = stuck.iter().find_map(|it| steps[*it].place);
    let message = format!("no order of these steps works: {}", names.join(", "));
    let finding = Finding::error(Code::Conflict, message).at(place).help(help);
    match stuck.first() {
        // All of them are blocked; the first stands for them.
        Some(first) => finding.about(&steps[*first].address),
        None => finding,
    }
}
