//! The numbers of a plan: Terraform's line, and under it the one about messages.

use super::{
    NAME, escape,
    text::{WIDTH, width},
};
use crate::{
    plan::{
        Action, Mode, Plan,
        counts::Counts,
        rehearsal::Rehearsal,
        total::{Fate, Total},
        undo,
    },
    units::{count, count_of},
};

/// `Plan: …` and `Data: …`, or the sentence that there is nothing to do.
pub(super) fn summary(plan: &Plan) -> String {
    if plan.steps.is_empty() {
        return match plan.moves.iter().filter(|it| it.goes_on()).count() {
            0 => nothing(plan),
            _ if plan.is_refused() => nothing(plan),
            many => goes_on(many),
        };
    }
    let Counts { import, add, change, destroy, forget } = plan.counts();
    let imported = if import > 0 { format!("{import} to import, ") } else { String::new() };
    let forgotten = if forget > 0 { format!(", {forget} to forget") } else { String::new() };
    let numbers = format!("{add} to add, {change} to change, {destroy} to destroy");
    let mut text = format!("{} {imported}{numbers}{forgotten}.\n", NAME.style("Plan:"));
    if plan.mode != Mode::RefreshOnly {
        text += &data(plan);
    }
    let records = plan.steps.iter().filter(|it| it.action == Action::Record).count();
    if records > 0 {
        let records = count_of(records, "record");
        text += &format!(
            "{} {records} would be brought up to date; the server is left alone.\n",
            NAME.style("State:")
        );
    }
    text
}

/// How a rehearsal ended.
pub(super) fn rehearsal(rehearsal: &Rehearsal) -> String {
    let Rehearsal { version, servers, steps, applied, refused, left, findings: _ } = rehearsal;
    let of = if applied == steps { String::new() } else { format!("{applied} of ") };
    let mut ends = Vec::new();
    if *refused > 0 {
        ends.push(format!("{refused} refused"));
    }
    let untried = steps.saturating_sub(applied + refused);
    if untried > 0 {
        ends.push(format!("{untried} not tried"));
    }
    if *left > 0 {
        ends.push(format!("{} left to do afterwards", count_of(*left, "step")));
    }
    if ends.is_empty() {
        ends.push("plan empty afterwards".to_owned());
    }
    let servers = count_of(*servers, "server");
    let (steps, ends) = (count_of(*steps, "step"), ends.join(", "));
    let begins = NAME.style(format!("Rehearsed on nats-server {} ({servers}):", escape(version)));
    format!("{begins} {of}{steps} applied, {ends}.\n")
}

fn data(plan: &Plan) -> String {
    let deleted = plan.total(Fate::Deleted);
    let sentence = match deleted.actions {
        0 => "no message would be deleted.".to_owned(),
        _ => format!("{} would be deleted by {}.", amount(&deleted), by(&deleted)),
    };
    let blocked = plan.steps.iter().filter(|it| it.blocked).count();
    let mut counts = String::new();
    for (what, number) in [("Blocked", blocked), ("Cannot be undone", undo::count(plan))] {
        if number > 0 {
            counts += &format!(" {what}: {number}.");
        }
    }
    let mut text = format!("{} {sentence}", NAME.style("Data:"));
    text += if width(&text) + width(&counts) > WIDTH { "\n     " } else { "" };
    text += &format!("{counts}\n");
    let more = [
        (Fate::DeletedLater, "Later:", "would be deleted"),
        (Fate::Skipped, "Delivery:", "would not be delivered or copied"),
        (Fate::Repeated, "Redelivery:", "would be delivered or copied again"),
    ];
    for (fate, name, verb) in more {
        let total = plan.total(fate);
        if total.actions > 0 {
            text += &format!("{} {} {verb} by {}.\n", NAME.style(name), amount(&total), by(&total));
        }
    }
    text
}

/// The messages that a plan deletes, at once and later, in words; `None` where it deletes none.
pub(super) fn deleted(plan: &Plan) -> Option<String> {
    let words = |fate| {
        let total = plan.total(fate);
        (total.actions > 0).then(|| amount(&total))
    };
    match (words(Fate::Deleted), words(Fate::DeletedLater)) {
        (Some(now), Some(later)) => Some(format!("{now}, and {later} later")),
        (Some(now), None) => Some(now),
        (None, Some(later)) => Some(format!("{later} later")),
        (None, None) => None,
    }
}

fn by(total: &Total) -> String {
    count_of(total.actions, "action")
}

/// `214,880 messages`, `at most 1,200 messages`, `an unknown number of messages`.
fn amount(Total { messages, at_most, unknown, actions: _ }: &Total) -> String {
    let most = if *at_most { "at most " } else { "" };
    let known = format!("{most}{}", count(*messages, "message"));
    match (unknown, messages) {
        (false, _) => known,
        (true, 0) => "an unknown number of messages".to_owned(),
        (true, _) => format!("{known} and an unknown number of others"),
    }
}

/// No resource differs from where its migration stands, and that goes on.
fn goes_on(many: usize) -> String {
    let (many, verb) = (count_of(many, "migration"), if many == 1 { "goes" } else { "go" });
    format!(
        "{} 0 to add, 0 to change, 0 to destroy; {many} {verb} on.\n\
         {} no message would be deleted.\n",
        NAME.style("Plan:"),
        NAME.style("Data:")
    )
}

fn nothing(plan: &Plan) -> String {
    if plan.is_refused() {
        return "No actions are planned: the errors come first.\n".to_owned();
    }
    let sentence = match plan.mode {
        Mode::Normal => "No changes. Your infrastructure matches the configuration.",
        Mode::Destroy => "No changes. No objects need to be destroyed.",
        Mode::RefreshOnly => "No changes. Your infrastructure still matches the state.",
        Mode::Rollback(_) => "No changes. Your infrastructure matches that state.",
    };
    let compared = count_of(plan.unchanged, "resource");
    if plan.unchanged == 0 {
        return format!("{}\n", super::ADDED.style(sentence));
    }
    let verb = if plan.unchanged == 1 { "was" } else { "were" };
    let scope = if plan.targeted { ", as `--target` asks" } else { "" };
    format!("{}\n\n{compared} {verb} compared{scope}.\n", super::ADDED.style(sentence))
}
