//! What the origins of a stream that copies have to say about it.
//!
//! A server that sees the origin of a mirror makes `mirror_direct` what `allow_direct` is there, at
//! every creation and every update, and not in between (2.10 to 2.15).

use serde_json::Value;

use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding},
    live::{Live, Observed},
    schema::stream::copied,
    sides::Sides,
    spec::{Declared, Desired},
};

/// The declaration with what the server will make of it, where it leaves that open.
pub(super) fn following(sides: Sides<'_>, desired: &Desired, live: &Live) -> Option<Declared> {
    let wanted = sides.wanted.filter(|it| !it.config.has("mirror_direct"))?;
    let (_, origin) = visible(wanted.config.get("mirror")?, desired, live)?;
    let is = sides.is.map(Observed::config).unwrap_or_default();
    if answers(&origin, "allow_direct") == answers(&is, "mirror_direct") {
        return None;
    }
    let mut wanted = wanted.clone();
    wanted.config.set("mirror_direct", answers(&origin, "allow_direct").into());
    Some(wanted)
}

/// What the server refuses, or turns round, because of an origin that it sees.
pub(super) fn refused(wanted: &Declared, desired: &Desired, live: &Live) -> Vec<Finding> {
    let at = |field: &str, it: Finding| it.at(wanted.places.get(field).copied());
    let mut found = Vec::new();
    for (field, source) in copied(&wanted.config) {
        let Some((name, origin)) = visible(source, desired, live) else { continue };
        let written = wanted.config.get("mirror_direct").filter(|_| field == "mirror");
        let direct = answers(&origin, "allow_direct");
        if written.is_some_and(|it| *it != Value::Bool(direct)) {
            let message = format!(
                "the server makes `mirror_direct` {direct}, as `allow_direct` is of the origin \
                 `{name}`"
            );
            let help = format!("remove `mirror_direct`, or set `allow_direct` of `{name}`");
            found.push(at("mirror_direct", Finding::error(Code::Conflict, message).help(help)));
        }
    }
    found
}

/// The origin that the server will see by then, under its name.
fn visible<'a>(source: &'a Value, desired: &Desired, live: &Live) -> Option<(&'a str, Config)> {
    let name = source.get("name")?.as_str().filter(|_| source.get("external").is_none())?;
    let address = Address::stream(name);
    let declared = desired.resources.get(&address).map(|it| it.config.clone());
    let config = declared.or_else(|| live.resources.get(&address).map(Observed::config));
    Some((name, config?))
}

fn answers(config: &Config, gets: &str) -> bool {
    config.get(gets) == Some(&Value::Bool(true))
}
