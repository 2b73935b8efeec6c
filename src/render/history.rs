//! What was applied before: as a table, and one change of the state field by field.

use comfy_table::{Table, presets::NOTHING};

use super::{
    ADDED, ASIDE, CHANGED, DANGER, NAME, REMOVED,
    change::{Part, block},
    escape, labelled,
    text::{address, joined},
};
use crate::{
    forecast::Amount,
    history::{Difference, Entry, Fate},
    plan::{Plan, counts::Counts, undo},
    state::{LastApply, State, Totals},
    units::{count, show_count},
};

/// One row a change, the latest first.
#[must_use]
pub fn table(state: &State, entries: &[Entry]) -> String {
    let head = head(state);
    if entries.is_empty() {
        return head + "\nNothing was applied yet.\n";
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["SERIAL", "WHEN", "BY", "WHAT", "PLAN", "RESOURCES"]);
    for Entry { serial, apply } in entries {
        let unsaid = || [const { String::new() }; 5];
        let [at, by, mut what, plan, resources] = apply.as_ref().map_or_else(unsaid, cells);
        if apply.is_none() {
            what = ASIDE.style("not written down").to_string();
        }
        table.add_row([serial.to_string(), at, by, what, plan, resources]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines: Vec<String> = table.lines().collect();
    if let Some(header) = lines.first_mut() {
        *header = NAME.style(header.trim_end()).to_string();
    }
    format!("{head}\n{}", joined(&lines))
}

/// What can be done with the list.
#[must_use]
pub fn choose(options: &str) -> String {
    let options = escape(options);
    format!(
        "\nTo see what one of them changed: jsplan history SERIAL {options}\n\
         To go back to one of them:       jsplan rollback --to SERIAL {options}\n"
    )
}

/// One change of the state: who made it, and what differs from the state before.
#[must_use]
pub fn one(
    state: &State,
    entry: &Entry,
    before: Option<u64>,
    differences: &[Difference],
) -> String {
    let serial = entry.serial;
    let mut parts = vec![match before {
        Some(before) => format!("Serial {before} -> {serial}"),
        None => format!("Serial {serial}"),
    }];
    let [at, by, what, plan, resources] = entry.apply.as_ref().map(cells).unwrap_or_default();
    let commit = entry.apply.as_ref().and_then(|it| it.commit.as_deref()).map(short);
    let named = [("", what), ("", at), ("by ", by), ("plan ", plan)];
    let named = named.into_iter().chain([("commit ", commit.unwrap_or_default())]);
    parts.extend(named.filter(|it| !it.1.is_empty()).map(|(word, it)| format!("{word}{it}")));
    let mut text = head(state) + &parts.join(" · ") + "\n";
    if !resources.is_empty() {
        text += &format!("{resources}\n");
    }
    if before.is_none() && serial > 1 {
        return text + "\nNo state before it is kept: nobody knows what it changed.\n";
    }
    if differences.is_empty() {
        return text + "\nNo resource differs.\n";
    }
    for it in differences {
        text += "\n";
        text += &joined(&difference(it));
    }
    text
}

/// How an apply is undone; nothing where it changed nothing, or where no state is kept to go back to.
#[must_use]
pub(crate) fn way_back(plan: &Plan, counts: Counts, options: &str) -> String {
    let Counts { import, add, change, destroy, forget } = counts;
    let serial = plan.serial;
    if serial == 0 || import + add + change + destroy + forget == 0 {
        return String::new();
    }
    let what = if undo::count(plan) == 0 { "" } else { " what can be undone" };
    let line = format!("To undo{what}: jsplan rollback --to {serial} {}", escape(options));
    format!("{}\n", ASIDE.style(line))
}

/// After a rollback: the spec still wants what was gone back from.
#[must_use]
pub(crate) fn spec_differs(options: &str) -> String {
    format!(
        "{} The spec says something else, and the next plan would go there again:\n    \
         jsplan plan {}\n",
        CHANGED.style("Note:"),
        escape(options)
    )
}

fn head(state: &State) -> String {
    let mut parts = vec!["jsplan history".to_owned(), labelled(&state.environment, None)];
    parts.push(format!("serial {}", state.serial));
    if !state.lineage.is_empty() {
        parts.push(format!("lineage {}", escape(&state.lineage)));
    }
    parts.join(" · ") + "\n"
}

/// When, by whom, what, of which plan, and to how many resources.
fn cells(apply: &LastApply) -> [String; 5] {
    let mut resources = Vec::new();
    if let Some(steps) = apply.steps.filter(|_| !apply.is_complete()) {
        let stopped = format!("stopped after {} of {} steps", steps.done, steps.planned);
        resources.push(DANGER.style(stopped).to_string());
    }
    resources.extend(apply.totals.map(totals).filter(|it| !it.is_empty()));
    resources.extend(apply.deletes.as_ref().and_then(deleted));
    [
        escape(&apply.at).into_owned(),
        escape(&apply.by).into_owned(),
        escape(&apply.operation).into_owned(),
        short(&apply.plan),
        resources.join(", "),
    ]
}

fn short(digest: &str) -> String {
    escape(digest).chars().take(8).collect()
}

fn totals(totals: Totals) -> String {
    let Totals { imported, added, changed, destroyed, forgotten } = totals;
    let words = [
        (imported, "imported"),
        (added, "added"),
        (changed, "changed"),
        (destroyed, "destroyed"),
        (forgotten, "forgotten"),
    ];
    let words = words.into_iter().filter(|it| it.0 > 0);
    let words: Vec<_> =
        words.map(|(it, word)| format!("{} {word}", show_count(it as u64))).collect();
    words.join(", ")
}

fn deleted(amount: &Amount) -> Option<String> {
    match amount {
        Amount::Nothing => None,
        Amount::Exactly(number) => Some(format!("{} deleted", count(*number, "message"))),
        Amount::AtMost(number) => Some(format!("at most {} deleted", count(*number, "message"))),
        Amount::Unknown(_) => Some("messages deleted".to_owned()),
    }
}

fn difference(it: &Difference) -> Vec<String> {
    let Difference { address: of, fate, deltas, protection } = it;
    let (sign, words) = match fate {
        Fate::Entered => (ADDED.style("+"), ""),
        Fate::Stayed => (CHANGED.style("~"), ""),
        Fate::Recreated => (CHANGED.style("~"), ", made anew"),
        Fate::Left => (REMOVED.style("-"), ""),
    };
    let mut lines = vec![format!("  {sign} {}{words}", NAME.style(address(of)))];
    let part = |delta: &crate::diff::Delta| Part { delta: delta.spoken(of), remark: String::new() };
    lines.extend(block(6, &deltas.iter().map(part).collect::<Vec<_>>()));
    if let Some((before, after)) = protection {
        let said = |it: &Option<bool>| it.map_or("unset".to_owned(), |it| it.to_string());
        let (before, after) = (said(before), said(after));
        lines.push(format!("      {} prevent_destroy = {before} -> {after}", CHANGED.style("~")));
    }
    lines
}
