//! Values → text: what can be shown, in which colours, and how foreign text is made harmless.
//!
//! Nothing is read, decided or printed here. Every text is made for 100 columns, ends with a line
//! break unless it is empty, and carries its styles always: the terminal takes them off where they
//! are not wanted, and everything reads well without them.

mod change;
mod cost;
mod drift;
mod findings;
pub mod history;
pub(crate) mod import;
pub mod json;
pub(crate) mod migration;
pub mod permissions;
pub mod progress;
mod saved;
mod state;
mod step;
mod summary;
pub mod talk;
mod text;

use std::borrow::Cow;

use owo_colors::Style;

use crate::{
    address::Address,
    config::sha256,
    finding::{Finding, Sources},
    letters::is_invisible,
    live::{Live, Server},
    plan::{
        Mode, Plan,
        file::Saved,
        rehearsal::Rehearsal,
        stale::{Moved, Refusal},
    },
    spec::Desired,
    state::{Recorded, State},
    units::count_of,
};

const ADDED: Style = Style::new().green();
const CHANGED: Style = Style::new().yellow();
const REMOVED: Style = Style::new().red();
const DANGER: Style = Style::new().red().bold();
const NAME: Style = Style::new().bold();
const ASIDE: Style = Style::new().dimmed();

/// A plan: what changed behind jsplan's back, what would be done, and the two lines of numbers.
/// The findings are left to [`findings`].
#[must_use]
pub fn plan(plan: &Plan, sources: &Sources) -> String {
    let label = plan.protected.then_some(PROTECTED);
    let head = head(&labelled(&plan.environment, label), &plan.server);
    format!("{head}\n{}", body(plan, sources))
}

/// A plan without the line that says where it goes.
fn body(plan: &Plan, sources: &Sources) -> String {
    let parts = [
        drift::outside(plan),
        step::steps(plan, sources),
        step::unmanaged(&plan.unmanaged),
        migration::moves(&plan.moves),
        summary::summary(plan),
    ];
    parts.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}

/// How a rehearsal ended, in a line.
#[must_use]
pub fn rehearsal(rehearsal: &Rehearsal) -> String {
    summary::rehearsal(rehearsal)
}

/// A saved plan as its reviewer reads it: which one it is, and all of it.
///
/// `standing` is whether it can still be applied, as far as a state tells.
#[must_use]
pub fn saved(saved: &Saved, standing: Option<&Result<(), Refusal>>) -> String {
    saved::whole(saved, standing)
}

/// A saved plan that was checked and is about to be applied, at an instant, to this server.
#[must_use]
pub(crate) fn checked(saved: &Saved, server: &Server, at: &str) -> String {
    saved::checked(saved, server, at)
}

/// What moved since a saved plan was made.
#[must_use]
pub fn moved(moved: &[Moved]) -> String {
    saved::moved(moved)
}

/// What an apply leaves out.
#[must_use]
pub fn left_out(plan: &Plan) -> String {
    saved::left_out(plan)
}

/// Findings as rustc draws them, and how many there are.
#[must_use]
pub fn findings(findings: &[Finding], sources: &Sources) -> String {
    findings::findings(findings, sources)
}

/// Live against recorded: every resource that is not in sync, the numbers, and what to do with the
/// options that lead here again.
#[must_use]
pub fn drift(
    report: &crate::drift::Report,
    desired: &Desired,
    recorded: &State,
    live: &Live,
    options: &str,
) -> String {
    drift::report(report, desired, recorded, live) + &drift::hints(report, options)
}

/// What jsplan owns, as a table.
#[must_use]
pub fn state(state: &State) -> String {
    state::table(state)
}

/// The addresses of what jsplan owns, one a line.
#[must_use]
pub fn state_list(state: &State) -> String {
    state::list(state)
}

/// One owned resource, field by field.
#[must_use]
pub fn resource(address: &Address, recorded: &Recorded) -> String {
    state::resource(address, recorded)
}

/// The same text without anything that moves a cursor, reorders letters or hides.
///
/// Every text that comes from a server or a spec passes here before it is shown.
#[must_use]
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_invisible(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    Cow::Owned(safe)
}

/// The longest text of others that is shown whole.
const LONGEST: usize = 1024;

/// A text that is too long to be shown, cut; two that differ look different all the same.
#[must_use]
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(LONGEST) else { return Cow::Borrowed(text) };
    let (shown, rest) = text.split_at(end);
    let more = count_of(rest.chars().count(), "more letter");
    Cow::Owned(format!("{shown}... ({more}, sha256 {})", &sha256(text)[..8]))
}

const PROTECTED: &str = " (protected)";

fn labelled(environment: &str, label: Option<&str>) -> String {
    format!("env {}{}", NAME.style(escape(environment)), label.unwrap_or_default())
}

fn head(environment: &str, server: &Server) -> String {
    let mut parts = vec![format!("jsplan {}", env!("CARGO_PKG_VERSION")), environment.to_owned()];
    let named = [
        ("account", &server.account),
        ("cluster", &server.cluster),
        ("domain", &server.domain),
        ("server", &Some(server.version.clone())),
    ];
    for (what, name) in named {
        parts.extend(name.as_ref().map(|it| format!("{what} {}", escape(it))));
    }
    parts.join(" · ") + "\n"
}

/// The command that applies, for hints; `options` lead to the same environment and server again.
fn apply_command(options: &str, mode: Mode) -> String {
    let command = match mode {
        Mode::Normal => "apply",
        Mode::Destroy => "apply --destroy",
        Mode::RefreshOnly => "apply --refresh-only",
        Mode::Rollback(serial) => &format!("rollback --to {serial}"),
    };
    format!("jsplan {command} {}", escape(options))
}
