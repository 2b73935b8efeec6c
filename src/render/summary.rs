//! The numbers of a plan: Terraform's line, and under it the one about messages.

use super::{NAME, escape};
use crate::{
    forecast::Amount,
    plan::{Action, Mode, Plan, Step, counts::Counts, rehearsal::Rehearsal},
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
    let mut text = format!("{} {deleted}{blocked}\n", NAME.style("Data:"));
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
    let mut all = 0_u64;
    let mut exact = true;
    let mut streams: Vec<&str> = plan.steps.iter().map(|it| it.address.stream_name()).collect();
    streams.sort_unstable();
    streams.dedup();
    for stream in streams {
        let steps = plan.steps.iter().filter(|it| it.address.stream_name() == stream);
        let (number, is_exact) = of_stream(steps, harm);
        all = all.saturating_add(number);
        exact &= is_exact;
    }
    let most = if exact { "" } else { "at most " };
    format!("{most}{}", count(all, "message"))
}

/// What the steps of one stream add up to, and whether that is exact.
///
/// Two steps may concern the same messages, so a sum is an upper bound; what a stream holds is
/// another. A stream that goes takes everything, whatever its consumers would have cost.
fn of_stream<'a>(steps: impl Iterator<Item = &'a Step>, harm: Harm) -> (u64, bool) {
    let (mut sum, mut stored, mut exact, mut terms) = (0_u64, 0, true, 0);
    for step in steps {
        let goes = step.destroys();
        for risk in step.risks.iter().filter(|it| it.harm == harm) {
            let (number, is_exact) = match &risk.tally.messages {
                Amount::Nothing => continue,
                Amount::Exactly(number) => (*number, true),
                Amount::AtMost(number) => (*number, false),
                Amount::Unknown(_) => (step.stored, false),
            };
            if goes && is_exact && harm == Harm::DataLoss {
                return (number, true);
            }
            sum += number;
            stored = step.stored;
            exact &= is_exact;
            terms += 1;
        }
    }
    match harm {
        // What one consumer skips, another may still deliver: these do not overlap.
        Harm::Delivery => (sum, exact),
        Harm::DataLoss
        | Harm::Redelivery
        | Harm::OneWay
        | Harm::Destroy
        | Harm::Availability
        | Harm::Takeover => (sum.min(stored), exact && terms <= 1),
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
    };
    let compared = count_of(plan.unchanged, "resource");
    if plan.unchanged == 0 {
        return format!("{}\n", super::ADDED.style(sentence));
    }
    let verb = if plan.unchanged == 1 { "was" } else { "were" };
    let scope = if plan.targeted { ", as `--target` asks" } else { "" };
    format!("{}\n\n{compared} {verb} compared{scope}.\n", super::ADDED.style(sentence))
}
