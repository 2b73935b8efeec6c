//! What a mirror takes over from its origin.
//!
//! A server that sees the origin of a mirror makes `mirror_direct` what `allow_direct` is there, at
//! every creation and every update, and not in between (2.10 to 2.15).

use serde_json::Value;

use super::Step;
use crate::{
    address::Address,
    finding::{Code, Finding},
    live::{Live, Observed},
    spec::{Declared, Desired},
};

/// The declaration with what the server will make of it, where it leaves that open.
pub(super) fn following(wanted: &Declared, desired: &Desired, live: &Live) -> Option<Declared> {
    let open = !wanted.config.has("mirror_direct");
    let (_, direct) = origin(wanted, desired, live).filter(|_| open)?;
    let mut wanted = wanted.clone();
    wanted.config.set("mirror_direct", direct.into());
    Some(wanted)
}

/// Refuses what the server would turn round.
pub(super) fn refused(
    step: &Step,
    wanted: &Declared,
    desired: &Desired,
    live: &Live,
) -> Option<Finding> {
    let written = wanted.config.get("mirror_direct")?;
    let (origin, direct) = origin(wanted, desired, live)?;
    let changes = step.changes.iter().any(|it| it.delta.field.name == "mirror_direct");
    if !changes || *written == Value::Bool(direct) {
        return None;
    }
    let message = format!(
        "the server makes `mirror_direct` {direct}, as `allow_direct` is of the origin `{origin}`"
    );
    let help = format!("remove `mirror_direct`, or set `allow_direct` of `{origin}`");
    let place = wanted.places.get("mirror_direct").copied();
    Some(Finding::error(Code::Conflict, message).at(place).help(help))
}

/// The origin that the server will see, and whether it answers direct gets by then.
fn origin<'a>(wanted: &'a Declared, desired: &Desired, live: &Live) -> Option<(&'a str, bool)> {
    let mirror = wanted.config.get("mirror")?;
    let name = mirror.get("name")?.as_str().filter(|_| mirror.get("external").is_none())?;
    let address = Address::stream(name);
    let declared = desired.resources.get(&address).filter(|it| !it.ignore.contains("allow_direct"));
    let config = match declared {
        Some(declared) => declared.config.clone(),
        None => live.resources.get(&address).map(Observed::config)?,
    };
    Some((name, config.get("allow_direct") == Some(&Value::Bool(true))))
}
