//! What is said around a plan: the question, the refusal, the way on.

use super::{ASIDE, CHANGED, DANGER, NAME, cut, escape, summary::deleted};
use crate::{
    plan::{Mode, Plan},
    rebuild::Rebuilt,
    reconcile::Reconciled,
    spec::Desired,
    state::{State, journal::CutShort},
    units::{count_of, show_about, show_count},
};

/// A state that was made anew: what it took in, and what it could not.
#[must_use]
pub(crate) fn rebuilt(rebuilt: &Rebuilt, aside: Option<&str>) -> String {
    let Rebuilt { state, unmarked, others } = rebuilt;
    let taken = count_of(state.resources.len(), "resource");
    let mut text =
        format!("The state was rebuilt: {taken} with its mark. State serial {}.\n", state.serial);
    if let Some(aside) = aside {
        text += &format!("What it replaces is kept: {}\n", escape(aside));
    }
    if !unmarked.is_empty() {
        text += "Declared and live, without a mark; the next apply adopts them:\n";
        text.extend(unmarked.iter().map(|it| format!("  {}\n", escape(&it.to_string()))));
    }
    if !others.is_empty() {
        text += "Declared, and marked by another state:\n";
        text.extend(others.iter().map(|(address, mark)| {
            let address = address.to_string();
            format!("  {}, by environment {}\n", escape(&address), escape(&mark.environment))
        }));
    }
    text
}

/// The lock takes a while to come by.
#[must_use]
pub(crate) fn acquiring() -> String {
    format!("{}\n", ASIDE.style("Acquiring state lock..."))
}

/// The question before a lock is taken away from somebody; only `yes` passes.
#[must_use]
pub(crate) fn unlocking(environment: &str, holder: &str) -> String {
    format!(
        "\n{}\n  The state is locked {}.\n  Two applies at work at once can damage what they \
         manage, so see first that this one has ended.\n  Only 'yes' will be accepted to \
         confirm.\n\n  {} ",
        NAME.style(format!(
            "Do you want to take away the lock of environment \"{}\"?",
            escape(environment)
        )),
        escape(holder),
        NAME.style("Enter a value:")
    )
}

/// A lock that stays behind, and how it goes.
#[must_use]
pub(crate) fn left_locked(options: &str, id: &str) -> String {
    format!("The state stays locked. To take the lock away: jsplan force-unlock {options} {id}\n")
}

/// Why a command stopped, and what to do about it.
#[must_use]
pub(crate) fn failure(message: &str, help: Option<&str>) -> String {
    let help = help.map_or_else(String::new, |it| {
        format!("  {} {}\n", NAME.style("= help:"), escape(&cut(it)))
    });
    let lines: Vec<_> = message.lines().map(|it| escape(&cut(it)).into_owned()).collect();
    format!("{}: {}\n{help}", DANGER.style("error"), NAME.style(lines.join("\n")))
}

/// A rehearsal begins, which takes a moment where it needs a cluster.
#[must_use]
pub(crate) fn rehearsing() -> String {
    format!("\n{}\n", ASIDE.style("Rehearsing on a throw-away nats-server..."))
}

/// Why a plan that was to be rehearsed was not.
#[must_use]
pub(crate) fn unrehearsed(plan: &Plan) -> String {
    let why = if plan.is_refused() {
        "Not rehearsed: the plan has errors, and no apply would begin."
    } else {
        "Nothing to rehearse: the plan asks nothing of the server."
    };
    format!("\n{}\n", ASIDE.style(why))
}

/// Where a plan was saved, and how exactly it is applied: with the options it was made with.
#[must_use]
pub(crate) fn saved(plan: &Plan, options: &str, path: &str) -> String {
    let id = &plan.id()[..12];
    let id = ASIDE.style(format!("id {id}")).to_string();
    let saved = format!("\nSaved the plan to: {}   {id}\n", escape(path));
    if plan.is_refused() {
        return saved;
    }
    let command = format!("jsplan apply {options} {path}");
    let how = "To perform exactly these actions, run:";
    format!("{saved}\n{how}\n    {}\n", escape(&command))
}

/// What can be done about a plan of which only a part is stopped: how it is `planned` again, and how
/// it is `applied`.
#[must_use]
pub(crate) fn blocked(plan: &Plan, planned: &str, applied: &str) -> String {
    let number = plan.steps.iter().filter(|it| it.blocked).count();
    let (number, verb) = (count_of(number, "action"), if number == 1 { "is" } else { "are" });
    let mut text =
        format!("\nIt cannot be applied as it is: {number} {verb} blocked. Change the spec");
    match plan.missing_consent() {
        Some(consent) => {
            let flags: String = consent.iter().map(|it| format!(" --allow {it}")).collect();
            let command = format!("{planned}{flags}");
            text += &format!(", or consent to it with\n    {}\n", escape(&command));
        }
        None => text += ".\n",
    }
    let rest = plan.clone().without_blocked().steps.len();
    if rest > 0 {
        let rest = match rest {
            1 => "action".to_owned(),
            more => count_of(more, "action"),
        };
        let command = format!("{applied} --skip-blocked");
        text += &format!("Or apply the other {rest} with\n    {}\n", escape(&command));
    }
    text
}

/// The question before an apply; only `word` passes.
#[must_use]
pub(crate) fn question(plan: &Plan, word: &str) -> String {
    let environment = escape(&plan.environment);
    let harm = deleted(plan).map(|it| format!("deleting {it}"));
    let accepted = match (&harm, plan.protected) {
        (_, true) => {
            format!("The environment is protected: only its name, '{word}', will be accepted.")
        }
        (Some(_), false) => {
            format!(
                "Messages are deleted: only the environment's name, '{word}', will be accepted."
            )
        }
        (None, false) => format!("Only '{word}' will be accepted to approve."),
    };
    let ask = match harm {
        Some(harm) => format!("Enter \"{word}\" to confirm {harm}:"),
        None => "Enter a value:".to_owned(),
    };
    format!(
        "\n{}\n  jsplan will perform the actions described above.\n  {accepted}\n\n  {} ",
        NAME.style(format!(
            "Do you want to perform these actions in environment \"{environment}\"?"
        )),
        NAME.style(ask)
    )
}

/// A plan that is dated later than now.
#[must_use]
pub(crate) fn from_the_future(ahead: i64) -> String {
    let ahead = show_about(ahead);
    format!(
        "{}: the plan was made {ahead} in the future by this machine's clock, which proves nothing \
         of its age\n",
        CHANGED.style("warning")
    )
}

/// The answer was no.
#[must_use]
pub(crate) fn cancelled(mode: Mode) -> String {
    let word = match mode {
        Mode::Normal | Mode::RefreshOnly => "Apply",
        Mode::Destroy => "Destroy",
        Mode::Rollback(_) => "Rollback",
    };
    format!("\n{}\n", CHANGED.style(format!("{word} cancelled. Nothing was changed.")))
}

/// What an apply left to do, which should be nothing: names the first field.
#[must_use]
pub(crate) fn unsettled(again: &Plan) -> String {
    let first = again.steps.iter().find_map(|it| Some((it, it.changes.first()?)));
    match first {
        Some((step, change)) => format!(
            "the apply is done, and `{}` of `{}` is still not as planned",
            change.delta.spoken(&step.address).field.name,
            escape(&step.address.to_string())
        ),
        None => "the apply is done, and the plan is still not empty".to_owned(),
    }
}

/// What is known of an apply that has not come to its end, in one line; `found` is what a server
/// said of the steps that its journal leaves open.
#[must_use]
pub fn cut_short(cut: &CutShort, found: Option<&Reconciled>) -> String {
    let who = cut.apply.as_ref().map_or_else(
        || "An apply".to_owned(),
        |it| format!("An apply by {}, begun at {},", escape(&it.by), escape(&it.at)),
    );
    let (done, steps) = (show_count(cut.done as u64), count_of(cut.steps, "step"));
    let open = match found {
        None if cut.undecided.is_empty() => String::new(),
        None => {
            let steps = count_of(cut.undecided.len(), "step");
            format!(", {steps} undecided: `jsplan plan` asks the server what became of them")
        }
        Some(Reconciled { done, not_done, unknown }) => {
            let lists =
                [(done, "turned out done"), (not_done, "not done"), (unknown, "unreadable")];
            let some = lists.into_iter().filter(|it| !it.0.is_empty());
            some.map(|(them, word)| format!(", {} more {word}", them.len())).collect()
        }
    };
    let damage =
        if cut.is_damaged { ". Its journal is damaged: more may have been done" } else { "" };
    let line = format!("{who} has not come to its end: {done} of {steps} done{open}{damage}.");
    format!("\n{}\n", CHANGED.style(line))
}

/// What a state may have lost to a disk, and where it is instead.
#[must_use]
pub(crate) fn rescued(path: &str) -> String {
    let path = escape(path);
    format!(
        "its journal is kept, and the next command takes it in; should that fail, \
         `jsplan state push {path}` puts the state back"
    )
}

/// A spec without errors, and how much it declares.
#[must_use]
pub(crate) fn valid(desired: &Desired) -> String {
    let name = escape(&desired.environment.name);
    let resources = count_of(desired.resources.len(), "resource");
    format!("The spec of {name} is valid: {resources}.\n")
}

/// A file's name on a line of its own.
#[must_use]
pub(crate) fn path(path: &str) -> String {
    format!("{}\n", escape(path))
}

/// A state that is what jsplan wrote, and how much it holds.
#[must_use]
pub(crate) fn whole(state: &State) -> String {
    let resources = count_of(state.resources.len(), "resource");
    format!("The state is whole: serial {}, {resources}.\n", state.serial)
}

/// Where the state went.
#[must_use]
pub(crate) fn recorded(before: u64, after: u64, path: &str) -> String {
    let (before, after) = (show_count(before), show_count(after));
    format!("{}\n", ASIDE.style(format!("State: serial {before} -> {after}, {}", escape(path))))
}
