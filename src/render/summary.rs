//! The numbers of a plan: Terraform's line, and under it the one about messages.

use super::{NAME, escape};
use crate::{
    forecast::Amount,
    plan::{Action, Mode, Plan, Step, counts::Counts, rehearsal::Rehearsal, undo},
    schema::Harm,
    units::{count, count_of},
};

/// `Plan: …` and `Data: …`, or the sentence that there is nothing to do.
pub(super) fn summary(plan: &Plan) -> String {
    if plan.steps.is_empty() {
        return nothing(plan);
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
    let deleted = match total(plan, Harm::DataLoss) {
        Some((amount, by)) => format!("{amount} would be deleted by {by}."),
        None => "no message would be deleted.".to_owned(),
    };
    let blocked = match plan.steps.iter().filter(|it| it.blocked).count() {
        0 => String::new(),
        some => format!(" Blocked: {some}."),
    };
    let lasting = match undo::count(plan) {
        0 => String::new(),
        some => format!(" Cannot be undone: {some}."),
    };
    let mut text = format!("{} {deleted}{blocked}{lasting}\n", NAME.style("Data:"));
    if let Some((amount, by)) = total(plan, Harm::Delivery) {
        text += &format!("{} {amount} would be skipped by {by}.\n", NAME.style("Delivery:"));
    }
    text
}

/// How many messages a class of harm concerns, and by how many actions.
fn total(plan: &Plan, harm: Harm) -> Option<(String, String)> {
    let concerned = |it: &&Step| {
        it.risks.iter().any(|it| it.harm == harm && it.tally.messages != Amount::Nothing)
    };
    let actions = plan.steps.iter().filter(concerned).count();
    if actions == 0 {
        return None;
    }
    let by = count_of(actions, "action");
    Some((amount(plan, harm), by))
}

/// `214,880 messages`, `at most 1,200 messages`.
fn amount(plan: &Plan, harm: Harm) -> String {
    match plan.total(harm) {
        Amount::AtMost(number) => format!("at most {}", count(number, "message")),
        Amount::Nothing | Amount::Unknown(_) => count(0, "message"),
        Amount::Exactly(number) => count(number, "message"),
    }
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
