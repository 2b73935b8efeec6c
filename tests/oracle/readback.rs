//! What the rows say a server reads back, beside what it does read back.

use jsplan::{
    config::Config,
    schema::{Field, Release, Unset, complete},
};
use serde_json::Value;

/// The fields in which a server's answer is not what the rows make of the request.
pub(crate) fn surprises(
    rows: &'static [Field],
    sent: &Value,
    answer: &Value,
    release: Release,
) -> Vec<String> {
    let predicted = complete(rows, &Config::of(sent), release);
    let answer = Config::of(answer);
    let differ = |field: &Field| {
        let predicted = shown(field, &predicted);
        let found = shown(field, &answer);
        let says = format!("`{}` is {found}, and the row says {predicted}", field.name);
        (predicted != found).then_some(says)
    };
    rows.iter().filter(|it| it.since <= release).filter_map(differ).collect()
}

/// The canonical value that stands in a configuration, with nothing filled in but the name that
/// servers leave out.
pub(crate) fn shown(field: &Field, config: &Config) -> Value {
    let value = config.get(field.name).and_then(|it| field.kind.canonical(it));
    let name = if let Unset::Name(name) = field.unset { Some(name.into()) } else { None };
    value.or(name).unwrap_or_default()
}
