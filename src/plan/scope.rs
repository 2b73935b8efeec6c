//! What a plan is about.

use std::collections::BTreeSet;

use super::{Ask, Mode};
use crate::{
    address::Address,
    finding::{Code, Finding, did_you_mean},
};

/// The targets and what they stand on; `None` where a plan is about everything. What falls with a
/// target is found out on the way.
pub(super) fn scope<'a, I: Iterator<Item = &'a Address>>(
    known: impl Fn() -> I,
    ask: &Ask,
    findings: &mut Vec<Finding>,
) -> Option<BTreeSet<Address>> {
    if ask.targets.is_empty() && ask.allow.is_empty() {
        return None;
    }
    let all: BTreeSet<&Address> = known().collect();
    let targets = ask.targets.iter().map(|it| (format!("--target {it}"), it));
    let allowed = ask.allow.keys().map(|(harm, it)| (format!("--allow {harm}={it}"), it));
    let missing = targets.chain(allowed).filter(|(_, it)| !all.contains(it));
    findings.extend(missing.map(|(flag, it)| no_such_target(&flag, it, &all)));
    if ask.targets.is_empty() {
        return None;
    }
    let mut scope = ask.targets.clone();
    if ask.mode != Mode::Destroy {
        scope.extend(ask.targets.iter().map(|it| Address::stream(it.stream_name())));
    }
    Some(scope)
}

fn no_such_target(flag: &str, address: &Address, all: &BTreeSet<&Address>) -> Finding {
    let names: Vec<_> = all.iter().map(ToString::to_string).collect();
    let message = format!("`{flag}` names nothing in the spec or the state");
    let near = did_you_mean(&address.to_string(), names.iter().map(String::as_str));
    let otherwise = || "`jsplan state list` and the spec name what there is".to_owned();
    Finding::error(Code::NoSuchTarget, message).help(near.unwrap_or_else(otherwise))
}

/// What keeps the state is not a plan's to change, whatever the state itself says.
pub(super) fn own(address: &Address) -> Finding {
    let message = format!("`{address}` keeps the state of this environment, and is left alone");
    let help = format!("let go of it: `jsplan state rm {address}`");
    Finding::warning(Code::Protected, message).about(address).help(help)
}

pub(super) fn unreadable(address: &Address, reason: &str) -> Finding {
    Finding::error(Code::Unreadable, format!("`{address}` could not be read: {reason}"))
        .about(address)
        .help("nothing is decided about it; plan again once its servers answer")
}
