//! The lines of an apply, as it goes and at its end.

use owo_colors::Style;

use super::{
    ADDED, DANGER, NAME, apply_command,
    change::brief,
    escape,
    text::{WIDTH, address},
};
use crate::{
    address::Address,
    event::{Event, Kept, Outcome},
    plan::{Action, Mode, Step, counts::Counts},
    units::{count_of, show_count, show_duration},
};

/// One line for one event.
#[must_use]
pub fn event(event: &Event) -> String {
    let (about, rest) = match event {
        Event::Started { address, action } => (address, format!("{}...", doing(*action))),
        Event::Waiting { address, action, elapsed_ms } => {
            let still = doing(*action).to_lowercase();
            (address, format!("Still {still}... [{} elapsed]", seconds(*elapsed_ms)))
        }
        Event::Finished { address, action, took_ms, note } => {
            let note = note.iter().map(|it| format!(" [{}]", escape(it))).collect::<String>();
            (address, format!("{} complete after {}{note}", done(*action), seconds(*took_ms)))
        }
        Event::Failed { address, action, error } => {
            let failed = DANGER.style(format!("{} failed", done(*action)));
            (address, format!("{failed}: {}", escape(error)))
        }
        Event::Interrupted => {
            let line = NAME.style("Interrupt received.");
            return format!("\n{line} Waiting for the steps in flight...\n\n");
        }
        Event::Verified { resources } => {
            let resources = count_of(*resources, "resource");
            return format!("\nVerified: {resources} re-read, all as planned.\n");
        }
    };
    format!("{}: {rest}\n", NAME.style(address(about)))
}

/// What changed, in a few plain words, for [`Event::Finished`]; `None` where the action says it
/// all.
#[must_use]
pub fn note(step: &Step) -> Option<String> {
    const MOST: usize = 3;
    match step.action {
        Action::Update | Action::Replace | Action::Record => {}
        Action::Create | Action::Delete | Action::Bind | Action::Adopt | Action::Forget => {
            return None;
        }
    }
    let all = step.changes.iter().flat_map(|it| brief(&it.delta.spoken(&step.address)));
    let all: Vec<_> = all.collect();
    let mut words: Vec<_> =
        all.iter().take(MOST).map(|(path, change)| format!("{path} {change}")).collect();
    if all.len() > MOST {
        words.push(format!("{} more", all.len() - MOST));
    }
    (!words.is_empty()).then(|| anstream::adapter::strip_str(&words.join(", ")).to_string())
}

/// The last line of an apply that did everything.
#[must_use]
pub fn complete(mode: Mode, counts: Counts) -> String {
    let Counts { import, add, change, destroy, forget } = counts;
    let line = match mode {
        Mode::Destroy => format!("Destroy complete! Resources: {destroy} destroyed."),
        Mode::Normal | Mode::RefreshOnly | Mode::Rollback(_) => {
            let word = if matches!(mode, Mode::Rollback(_)) { "Rollback" } else { "Apply" };
            let imported = if import > 0 { format!("{import} imported, ") } else { String::new() };
            let forgotten =
                if forget > 0 { format!(", {forget} forgotten") } else { String::new() };
            let numbers = format!("{add} added, {change} changed, {destroy} destroyed");
            format!("{word} complete! Resources: {imported}{numbers}{forgotten}.")
        }
    };
    format!("\n{}\n", ADDED.bold().style(line))
}

/// What came of an apply that stopped half-way, and how to go on.
#[must_use]
pub fn stopped(outcome: &Outcome, options: &str, mode: Mode, kept: Kept) -> String {
    let Outcome { done, failed, not_started, interrupted, beyond, counts: _, touched: _ } = outcome;
    let word = if *interrupted { "interrupted" } else { "stopped" };
    let next =
        if failed.is_empty() { "To see what is left:" } else { "Fix the cause, then look again:" };
    let number = |it: &[Address]| show_count(it.len() as u64);
    let steps = count_of(done.len() + failed.len() + not_started.len(), "action");
    let line = format!(
        "Apply {word}: {} of {steps} done, {} failed, {} not started.",
        number(done),
        number(failed),
        number(not_started)
    );
    let mut text = format!("\n{}\n", DANGER.style(line));
    let lists = [
        ("done", done, Style::new()),
        ("failed", failed, DANGER),
        // What it did more is said where it was done.
        ("beyond plan", beyond, DANGER),
        ("not started", not_started, Style::new()),
    ];
    for (word, addresses, style) in lists {
        if !addresses.is_empty() {
            text += &listed(&style.style(format!("{word:<11}")).to_string(), addresses);
        }
    }
    let again = apply_command(options, mode).replacen("apply", "plan", 1);
    let stands = match kept {
        Kept::State(serial) => format!("State saved (serial {}).", show_count(serial)),
        Kept::Journal(undecided) => {
            let undecided = count_of(undecided, "action");
            format!("The journal is kept: {undecided} undecided, which the next command looks at.")
        }
        Kept::Neither => "The state is not saved.".to_owned(),
    };
    text + &format!("\n{next} {again}\n{} of {steps} applied. {stands}\n", number(done))
}

/// A word and the addresses it is about, over as many lines as they take.
fn listed(word: &str, addresses: &[Address]) -> String {
    const INDENT: usize = 15;
    let mut lines = vec![String::new()];
    for (at, one) in addresses.iter().enumerate() {
        let comma = if at + 1 < addresses.len() { "," } else { "" };
        let name = format!("{}{comma}", address(one));
        let last = lines.last().map_or(0, |it| it.chars().count());
        if last > 0 && INDENT + last + 1 + name.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&name);
        }
    }
    format!("  {word}  {}\n", lines.join(&format!("\n{:INDENT$}", "")))
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Create => "Creating",
        Action::Update => "Modifying",
        Action::Replace => "Replacing",
        Action::Delete => "Destroying",
        Action::Bind => "Binding subjects",
        Action::Adopt => "Adopting",
        Action::Record => "Recording",
        Action::Forget => "Forgetting",
    }
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Create => "Creation",
        Action::Update => "Modifications",
        Action::Replace => "Replacement",
        Action::Delete => "Destruction",
        Action::Bind => "Binding",
        Action::Adopt => "Adoption",
        Action::Record => "Recording",
        Action::Forget => "Forgetting",
    }
}

/// Whole seconds, as Terraform counts them.
fn seconds(milliseconds: u64) -> String {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX / 1_000_000_000);
    show_duration(seconds * 1_000_000_000)
}
