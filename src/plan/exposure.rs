//! What a plan would let out: messages that reach others than before.
//!
//! The server copies, republishes and delivers on its own: whoever may write a configuration gets
//! the messages wherever he likes, though he may read none (measured on 2.15.1). So a spec is code,
//! and what lets messages out is shown to its reviewer.

use serde_json::Value;

use super::{Change, Step};
use crate::{
    finding::{Code, Finding},
    spec::Desired,
};

/// A remark for each new way out.
pub(super) fn exposures(desired: &Desired, steps: &[Step]) -> Vec<Finding> {
    let sends = steps.iter().filter(|it| it.sends_fields());
    sends
        .flat_map(|step| step.changes.iter().filter_map(|it| exposure(desired, step, it)))
        .collect()
}

fn exposure(desired: &Desired, step: &Step, change: &Change) -> Option<Finding> {
    let ways = ways(change);
    if ways.is_empty() {
        return None;
    }
    let (address, name) = (&step.address, change.delta.field.name);
    let declared = desired.resources.get(address);
    let place = declared.and_then(|it| it.places.get(name)).copied().or(step.place);
    let said = change.delta.spoken(address).field.name;
    let message = format!("`{address}`: data leaves through `{said}`, {}", ways.join(", "));
    let help = "see that whoever reads there may have it: the server sends it itself, and asks \
                nothing of the user who applies";
    Some(Finding::note(Code::Exposure, message).at(place).about(address).help(help))
}

/// Where from or where to, as far as it was not so before.
fn ways(change: &Change) -> Vec<String> {
    let (before, after) = (&change.delta.before, &change.delta.after);
    let to = |subject: Option<&str>| subject.map(|it| format!("to `{it}`")).into_iter().collect();
    match change.delta.field.name {
        "deliver_subject" => to(after.as_str()),
        "republish" if before["dest"] != after["dest"] => to(after["dest"].as_str()),
        "mirror" | "sources" => {
            let known = each(before);
            let new = each(after).into_iter().filter(|it| !known.contains(it));
            new.filter_map(origin).collect()
        }
        _ => Vec::new(),
    }
}

/// The copies in a list of them, or the only one.
fn each(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

fn origin(copy: &Value) -> Option<String> {
    let name = copy["name"].as_str()?;
    Some(match copy["external"]["api"].as_str() {
        Some(api) => format!("out of `{name}` behind `{api}`"),
        None => format!("out of `{name}`"),
    })
}
