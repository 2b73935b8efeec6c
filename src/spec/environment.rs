//! `[environment]`: what is said of the environment itself.

use serde_json::Value;

use super::value::{Fields, Key, Reader, Toml, quoted};
use crate::{
    finding::{Code, Finding},
    schema::Kind,
    signature::is_public_key,
};

pub(crate) const ENVIRONMENT: &[Key] = &[
    ("protected", Kind::Bool, "An apply asks for the name of the environment to be typed."),
    (
        "require_signed_by",
        Kind::Set(&Kind::Text),
        "Only a saved plan that one of these nkeys of users signed is applied.",
    ),
];

/// Reads `[environment]` of one file. What looks like a seed is refused, and kept from being shown.
pub(super) fn read(reader: &mut Reader<'_>, given: &Toml<'_>) -> Fields {
    let mut fields = reader.section("environment", ENVIRONMENT, &[], given);
    let Some(written) = fields.get_mut("require_signed_by") else { return fields };
    let keys = written.value.as_array().cloned().unwrap_or_default();
    let wrong = keys.iter().filter_map(Value::as_str).find(|it| !is_public_key(it));
    let is_empty = written.value.is_array() && keys.is_empty();
    let (code, message, help) = match wrong {
        Some(seed) if seed.starts_with('S') => (
            Code::InlineSecret,
            "`require_signed_by` holds the seed of a key".to_owned(),
            "write the public key, which starts with `U`; and make a new one: this seed is known now",
        ),
        Some(other) => (
            Code::BadValue,
            format!("{} is no public key of a user", quoted(other)),
            "write a key that starts with `U`, as `nk -gen user -pubout` makes one",
        ),
        None if is_empty => (
            Code::BadValue,
            "`require_signed_by` names nobody, so that no plan could be applied".to_owned(),
            "name a key, or remove the line",
        ),
        None => return fields,
    };
    reader.findings.push(Finding::error(code, message).at(written.place).help(help));
    if code == Code::InlineSecret {
        reader.secrets.push(written.place);
    }
    written.value = Value::Null;
    fields
}
