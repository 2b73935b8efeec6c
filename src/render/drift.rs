//! What moved behind jsplan's back: as a note above a plan, and as a report of its own.

use owo_colors::Style;

use super::{
    ADDED, ASIDE, CHANGED, DANGER, NAME, REMOVED, apply_command,
    change::brief,
    escape, head, labelled,
    text::{address, columns, joined},
};
use crate::{
    diff::Delta,
    drift::{Class, Entry, Report},
    live::{Facts, Live, Observed},
    plan::{Mode, Plan},
    spec::Desired,
    state::State,
    units::{about_bytes, count, show_count},
};

/// The note above a plan; nothing where nothing moved.
pub(super) fn outside(plan: &Plan) -> String {
    let moved = |it: &&Entry| match it.class {
        Class::Changed | Class::Missing => true,
        Class::Unknown | Class::Pending | Class::Accepted | Class::Unmanaged => false,
    };
    let rows: Vec<_> = plan
        .drift
        .iter()
        .filter(moved)
        .flat_map(|it| {
            rows(vec![format!("{} {}", symbol(it.class), address(&it.address))], &words(it))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let note = format!("{} Objects have changed outside of jsplan", NAME.style("Note:"));
    format!("{note}\n\n{}", joined(&columns("  ", &rows)))
}

/// The whole report.
pub(super) fn report(report: &Report, desired: &Desired, recorded: &State, live: &Live) -> String {
    let environment = &desired.environment;
    let banner = head(
        &labelled(&environment.name, environment.protected.then_some(super::PROTECTED)),
        &live.server,
    );
    let compared = format!(
        "Compared the spec, state serial {} and the live server at {}.\n",
        recorded.serial,
        escape(&live.at)
    );
    let mut table = Vec::new();
    for entry in &report.entries {
        let mut words = words(entry);
        if words.is_empty() {
            words = vec![(String::new(), explained(entry, desired, recorded, live))];
        }
        let start = vec![word(entry.class), address(&entry.address)];
        table.extend(rows(start, &words));
    }
    for one in &report.unmanaged {
        let start = vec![word(Class::Unmanaged), address(one)];
        let unread = || live.unknown.get(one).map(|it| escape(it).into_owned());
        let held = live.resources.get(one).map(held).or_else(unread).unwrap_or_default();
        table.extend(rows(start, &[(String::new(), held)]));
    }
    let parts = [
        format!("{banner}{}", ASIDE.style(compared.trim_end())) + "\n",
        joined(&columns("  ", &table)),
        numbers(report),
    ];
    parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}

/// One row for each difference; only the first says whose they are.
fn rows(start: Vec<String>, words: &[(String, String)]) -> Vec<Vec<String>> {
    let blank = vec![String::new(); start.len()];
    let row = |(at, (path, change)): (usize, &(String, String))| {
        let mut row = if at == 0 { start.clone() } else { blank.clone() };
        if !path.is_empty() {
            row.push(path.clone());
        }
        row.push(change.clone());
        row
    };
    words.iter().enumerate().map(row).collect()
}

/// What there is to say of an entry from itself alone.
fn words(entry: &Entry) -> Vec<(String, String)> {
    let mut words = Vec::new();
    match entry.class {
        Class::Missing => words.push((String::new(), "is gone from the server".to_owned())),
        Class::Changed if entry.recreated => words
            .push((String::new(), "was deleted, and another of the same name was made".to_owned())),
        Class::Changed | Class::Unknown | Class::Pending | Class::Accepted | Class::Unmanaged => {}
    }
    words.extend(entry.deltas.iter().flat_map(|it: &Delta| brief(&it.spoken(&entry.address))));
    words
}

/// What there is to say of an entry without differences.
fn explained(entry: &Entry, desired: &Desired, recorded: &State, live: &Live) -> String {
    let address = &entry.address;
    if let Some(reason) = live.unknown.get(address) {
        return escape(reason).into_owned();
    }
    let is_declared = desired.resources.contains_key(address);
    match (is_declared, recorded.resources.contains_key(address)) {
        (true, false) if live.resources.contains_key(address) => "will be adopted".to_owned(),
        (true, false) => "will be created".to_owned(),
        (false, _) => "is no longer in the spec, and will be destroyed".to_owned(),
        (true, true) => "only its record will be brought up to date".to_owned(),
    }
}

fn held(observed: &Observed) -> String {
    match observed.facts {
        Facts::Stream { messages, bytes, consumers } => {
            let (messages, size) = (count(messages, "message"), about_bytes(bytes));
            format!("{messages}, {size}, {}", count(consumers, "consumer"))
        }
        Facts::Consumer { pending, ack_pending, .. } => {
            let pending = count(pending, "message");
            format!("{pending} to deliver, {} not acknowledged", show_count(ack_pending))
        }
    }
}

fn symbol(class: Class) -> String {
    match class {
        Class::Changed => CHANGED.style("~").to_string(),
        Class::Missing => REMOVED.style("-").to_string(),
        Class::Unknown => DANGER.style("?").to_string(),
        Class::Pending => ADDED.style("*").to_string(),
        Class::Accepted => "=".to_owned(),
        Class::Unmanaged => ">".to_owned(),
    }
}

/// The symbol and the class, which says the same to those who search for it.
fn word(class: Class) -> String {
    let word = match class {
        Class::Changed => CHANGED.style("CHANGED"),
        Class::Missing => REMOVED.style("MISSING"),
        Class::Unknown => DANGER.style("UNKNOWN"),
        Class::Pending => ADDED.style("PENDING"),
        Class::Accepted => Style::new().style("ACCEPTED"),
        Class::Unmanaged => Style::new().style("UNMANAGED"),
    };
    format!("{} {word}", symbol(class))
}

/// `Drift: 2 changed, 1 missing, 54 in sync. Coverage 98% (58 of 59 objects).`
fn numbers(report: &Report) -> String {
    let of = |class| report.entries.iter().filter(|it| it.class == class).count();
    let kinds = [
        (of(Class::Changed), "changed"),
        (of(Class::Missing), "missing"),
        (of(Class::Unknown), "unknown"),
        (report.unmanaged.len(), "unmanaged"),
        (of(Class::Accepted), "accepted"),
    ];
    let mut words: Vec<_> = kinds
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", show_count(number as u64)))
        .collect();
    if !report.drifted() {
        words.insert(0, "none".to_owned());
    }
    words.push(format!("{} in sync", show_count(report.in_sync as u64)));
    let (managed, all) = report.coverage;
    let share = (managed * 100).checked_div(all).unwrap_or(100);
    let (managed, all) = (show_count(managed as u64), show_count(all as u64));
    let mut line = format!(
        "{} {}. Coverage {share}% ({managed} of {all} objects).",
        NAME.style("Drift:"),
        words.join(", ")
    );
    let pending = of(Class::Pending);
    if pending > 0 {
        line += &format!(" Pending: {}.", show_count(pending as u64));
    }
    line + "\n"
}

/// What to type next.
pub(super) fn hints(report: &Report, options: &str) -> String {
    let back = apply_command(options, Mode::Normal);
    let over = apply_command(options, Mode::RefreshOnly);
    let has = |class| report.entries.iter().any(|it| it.class == class);
    if has(Class::Changed) || has(Class::Missing) {
        return format!(
            "\nTo put the server back:     {back}\nTo take over what is live:  {over}\n"
        );
    }
    if has(Class::Pending) {
        return format!("\nTo apply what is pending:   {back}\n");
    }
    String::new()
}
