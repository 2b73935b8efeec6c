//! What is said around an import.

use super::{ASIDE, NAME, escape};
use crate::{
    address::Address,
    import::{Choice, Chosen},
    plan::Plan,
    spec::describe::Described,
    units::count_of,
};

/// What of the chosen there is nothing to do about.
#[must_use]
pub(crate) fn aside(chosen: &Chosen) -> String {
    let managed = chosen.managed.iter().map(|it| {
        format!("{}\n", ASIDE.style(format!("{} is managed already.", escape(&it.to_string()))))
    });
    let ephemeral = match chosen.ephemeral {
        0 => String::new(),
        some => {
            let left = format!("{} left alone.", count_of(some, "ephemeral consumer"));
            format!("{}\n", ASIDE.style(left))
        }
    };
    managed.collect::<String>() + &ephemeral
}

/// There is nothing to import.
#[must_use]
pub(crate) fn nothing(choice: &Choice) -> String {
    match choice {
        Choice::Named(_) => "Nothing to import.\n".to_owned(),
        Choice::All => "Nothing to import: everything is managed.\n".to_owned(),
        Choice::Matching(pattern) => {
            format!(
                "Nothing to import: no unmanaged stream matches `{}`.\n",
                escape(pattern.as_str())
            )
        }
    }
}

/// What was shown, and how it is written.
#[must_use]
pub(crate) fn offered(described: &Described, path: &str) -> String {
    format!(
        "\n{}: this would plan empty. `--write` adds it to {} and to the state.\n",
        NAME.style(resources(described)),
        escape(path)
    )
}

/// What was written to spec and state, and that a plan finds nothing to change about it.
#[must_use]
pub(crate) fn done(described: &Described, rest: &Plan) -> String {
    let left = match rest.steps.len() {
        0 => "No changes. Your infrastructure matches the configuration.".to_owned(),
        some => format!(
            "No changes to what was imported; the plan has {} about other resources.",
            count_of(some, "action")
        ),
    };
    format!("{} {} imported.\n{left}\n", NAME.style("Import complete!"), resources(described))
}

/// What was written to the spec alone, and what brings it into the state.
#[must_use]
pub(crate) fn written(described: &Described, options: &str) -> String {
    format!(
        "{} {} written to the spec.\nThe state does not own them yet: `jsplan plan {}` shows what \
         is live and adopts it, and what is not and would be made.\n",
        NAME.style("Import complete!"),
        resources(described),
        escape(options)
    )
}

/// `12 streams and 30 consumers`.
fn resources(described: &Described) -> String {
    let (streams, consumers): (Vec<_>, Vec<_>) =
        described.resources.iter().partition(|it| matches!(it, Address::Stream(_)));
    let kinds = [(streams.len(), "stream"), (consumers.len(), "consumer")];
    let kinds =
        kinds.into_iter().filter(|it| it.0 > 0).map(|(number, kind)| count_of(number, kind));
    kinds.collect::<Vec<_>>().join(" and ")
}
