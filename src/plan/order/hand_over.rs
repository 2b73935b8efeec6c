//! What changes hands: subjects between streams, filters between the consumers of a work queue.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    address::Address,
    diff::Delta,
    live::Live,
    plan::{Action, Change, Risk, Step, risk::filters},
    schema::Harm,
    subject::{self, Subjects},
};

/// What a step takes and what it gives up, and the streams it copies from.
#[derive(Default)]
pub(super) struct Binding<'a> {
    /// Where a subject has one owner: the work queue, or the account, which has no name.
    within: &'a str,
    takes: Vec<String>,
    frees: Vec<String>,
    pub(super) origins: BTreeSet<String>,
}

/// Pairs of steps of which the first frees what the second takes.
pub(super) type HandOvers = BTreeSet<(usize, usize)>;

pub(super) fn bindings<'a>(steps: &'a [Step], queues: &BTreeSet<String>) -> Vec<Binding<'a>> {
    let one = |it: &'a Step| {
        if it.address.is_stream() {
            of_stream(it)
        } else if queues.contains(it.address.stream_name()) {
            of_consumer(it)
        } else {
            Binding::default()
        }
    };
    steps.iter().map(one).collect()
}

/// The live work queues of which a consumer is made, changed or taken away.
pub(super) fn queues(steps: &[Step], live: &Live) -> BTreeSet<String> {
    let consumers = steps.iter().filter(|it| !it.address.is_stream() && !it.calls.is_empty());
    let streams: BTreeSet<&str> = consumers.map(|it| it.address.stream_name()).collect();
    let queue = |it: &&str| {
        let stream = live.resources.get(&Address::stream(it));
        stream.is_some_and(|it| it.config().text("retention") == Some("workqueue"))
    };
    streams.into_iter().filter(queue).map(ToOwned::to_owned).collect()
}

fn of_stream(step: &Step) -> Binding<'_> {
    let mut binding = Binding::default();
    // A mirror that stays one takes over what its origin says by then.
    binding.origins.extend(step.calls.last().and_then(|it| name_of(&it.body["mirror"])));
    // A stream that is bound later takes nothing before.
    let subjects = step.calls.last().map(|it| texts(&it.body["subjects"])).unwrap_or_default();
    if step.action == Action::Bind {
        binding.takes.clone_from(&subjects);
    }
    for change in &step.changes {
        let (before, after) = (&change.delta.before, &change.delta.after);
        match change.delta.field.name {
            "subjects" => {
                let (was, will) = (texts(before), texts(after));
                let taken = will.iter().filter(|it| !was.contains(it) && subjects.contains(it));
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

/// The server refuses a consumer that reads what another one of the queue still does, made or
/// changed: 10100 (2.10 to 2.15).
fn of_consumer(step: &Step) -> Binding<'_> {
    let named = |it: &&Change| matches!(it.delta.field.name, "filter_subject" | "filter_subjects");
    let changes: Vec<_> = step.changes.iter().filter(named).map(|it| &it.delta).collect();
    let stays = matches!(step.action, Action::Update | Action::Replace);
    if stays && changes.is_empty() {
        return Binding::default();
    }
    let value = |name: &str, of: fn(&Delta) -> &Value| {
        changes.iter().find(|it| it.field.name == name).map(|it| of(it).clone()).unwrap_or_default()
    };
    let was = || filters(|name| value(name, |it| &it.before));
    let will = || filters(|name| value(name, |it| &it.after));
    let (was, will) = match step.action {
        Action::Create => (Vec::new(), will()),
        Action::Update | Action::Replace => (was(), will()),
        Action::Delete => (was(), Vec::new()),
        Action::Bind | Action::Adopt | Action::Record | Action::Forget => (Vec::new(), Vec::new()),
    };
    let without = |these: &[String], others: &[String]| {
        these.iter().filter(|it| !others.contains(it)).cloned().collect()
    };
    Binding {
        within: step.address.stream_name(),
        takes: without(&will, &was),
        frees: without(&was, &will),
        origins: BTreeSet::new(),
    }
}

pub(super) fn hand_overs(bindings: &[Binding<'_>]) -> HandOvers {
    let mut taken: BTreeMap<&str, Subjects<'_>> = BTreeMap::new();
    for (to, binding) in bindings.iter().enumerate() {
        let taken = taken.entry(binding.within).or_default();
        binding.takes.iter().for_each(|it| taken.insert(it, to));
    }
    let mut pairs = HandOvers::new();
    for (from, binding) in bindings.iter().enumerate() {
        let Some(taken) = taken.get(binding.within) else { continue };
        for subject in &binding.frees {
            let others = taken.meeting(subject).into_iter().filter(|to| *to != from);
            pairs.extend(others.map(|to| (from, to)));
        }
    }
    pairs
}

/// What giving up subjects costs, by step, where other streams take them.
pub(super) fn takers(
    steps: &[Step],
    bindings: &[Binding<'_>],
    pairs: &HandOvers,
) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (from, step) in steps.iter().enumerate().filter(|(_, it)| it.action == Action::Update) {
        let of = pairs.range((from, 0)..=(from, usize::MAX)).map(|it| it.1);
        let all: BTreeSet<usize> = of.collect();
        if all.is_empty() || !step.address.is_stream() {
            continue;
        }
        let taken = |freed: &String| {
            let mut takes = all.iter().flat_map(|it| &bindings[*it].takes);
            takes.any(|it| subject::covers(it, freed))
        };
        let names: Vec<_> = all.iter().map(|it| format!("`{}`", steps[*it].address)).collect();
        let names = names.join(", ");
        let why = if bindings[from].frees.iter().all(taken) {
            format!(
                "what is given up is stored by {names} from then on; publishers find no \
                 stream for a moment"
            )
        } else {
            format!(
                "a subject that is given up is no longer stored, but for what is stored by \
                 {names} from then on"
            )
        };
        found.push((from, why));
    }
    found
}

/// Says so of the steps.
pub(super) fn name_takers(steps: &mut [Step], found: Vec<(usize, String)>) {
    for (at, why) in found {
        let unbound = |it: &&mut Risk| {
            it.harm == Harm::Availability && it.field.as_deref() == Some("subjects")
        };
        if let Some(risk) = steps[at].risks.iter_mut().find(unbound) {
            risk.why = why;
        }
    }
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect()
}

fn name_of(value: &Value) -> Option<String> {
    Some(value.get("name")?.as_str()?.to_owned())
}
