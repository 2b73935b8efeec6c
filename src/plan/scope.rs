//! What a plan is about, and whether it is made against the right server.

use std::collections::BTreeSet;

use super::{Ask, Mode};
use crate::{
    address::Address,
    finding::{Code, Finding, did_you_mean},
    live::Server,
    spec::Desired,
    state::State,
};

/// The targets and what they stand on; `None` where a plan is about everything. What falls with a
/// target is found out on the way.
pub(super) fn scope<'a, I: Iterator<Item = &'a Address>>(
    known: impl Fn() -> I,
    ask: &Ask,
    findings: &mut Vec<Finding>,
) -> Option<BTreeSet<Address>> {
    if ask.targets.is_empty() {
        return None;
    }
    let all: BTreeSet<&Address> = known().collect();
    let missing = ask.targets.iter().filter(|it| !all.contains(it));
    findings.extend(missing.map(|it| no_such_target(it, &all)));
    let mut scope = ask.targets.clone();
    if ask.mode != Mode::Destroy {
        scope.extend(ask.targets.iter().map(|it| Address::stream(it.stream_name())));
    }
    Some(scope)
}

fn no_such_target(target: &Address, all: &BTreeSet<&Address>) -> Finding {
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let message = format!("`--target {target}` names nothing in the spec or the state");
    let near = did_you_mean(&target.to_string(), names.iter().map(String::as_str));
    let otherwise = || "`jsplan state list` and the spec name what there is".to_owned();
    Finding::error(Code::NoSuchTarget, message).help(near.unwrap_or_else(otherwise))
}

pub(super) fn unreadable(address: &Address, reason: &str) -> Finding {
    Finding::error(Code::Unreadable, format!("`{address}` could not be read: {reason}"))
        .about(address)
        .help("nothing is decided about it; plan again once its servers answer")
}

/// Refuses a server that is not the one the spec expects, or the state was applied to.
pub(super) fn check_target(
    desired: &Desired,
    recorded: &State,
    server: &Server,
    into: &mut Vec<Finding>,
) {
    let expect = &desired.environment.expect;
    let target = recorded.target.as_ref();
    let rows = [
        ("account", &expect.account, target.map(|it| &it.account), &server.account),
        ("cluster", &expect.cluster, target.map(|it| &it.cluster), &server.cluster),
        ("domain", &expect.domain, target.map(|it| &it.domain), &server.domain),
    ];
    for (what, expected, applied, found) in rows {
        let shown = found.as_deref().unwrap_or("none");
        if let Some(expected) = expected.as_ref().filter(|it| Some(*it) != found.as_ref()) {
            let message = format!("the spec expects {what} `{expected}`, and this is `{shown}`");
            into.push(Finding::error(Code::WrongTarget, message).help(
                "check `--env`, the server's url and the credentials; or correct `[server.expect]`",
            ));
        } else if let Some(applied) =
            applied.filter(|it| *it != found && !recorded.resources.is_empty())
        {
            let applied = applied.as_deref().unwrap_or("none");
            let message =
                format!("the state was applied to {what} `{applied}`, and this is `{shown}`");
            into.push(
                Finding::error(Code::WrongTarget, message).help(
                    "check `--env` and the server's url; a new server needs a state of its own",
                ),
            );
        }
    }
}
