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
        "\n{} would be imported, and plan empty.\n`--write` adds this to {} and to the state.\n",
        NAME.style(resources(described)),
        escape(path)
    )
}

/// What was shown of files, which no server was asked about.
#[must_use]
pub(crate) fn offered_of_files(described: &Described, path: &str) -> String {
    format!(
        "\n{} would be written. `--write` adds this to {}.\n",
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

/// `12 streams, 2 buckets and 30 consumers`.
fn resources(described: &Described) -> String {
    let of = |kind: fn(&Address) -> bool| described.resources.iter().filter(|it| kind(it)).count();
    let kinds = [
        (of(|it| it.is_stream() && it.as_bucket().is_none()), "stream"),
        (of(|it| it.as_bucket().is_some()), "bucket"),
        (of(|it| !it.is_stream()), "consumer"),
    ];
    let kinds =
        kinds.into_iter().filter(|it| it.0 > 0).map(|(number, kind)| count_of(number, kind));
    let kinds: Vec<_> = kinds.collect();
    match kinds.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
