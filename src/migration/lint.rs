//! What cannot work of a migration, told before anything is touched.
//!
//! `order` judges how steps stand to each other, `spec` holds a migration against what an environment
//! declares. What only the messages themselves can tell is for the run to find out.

mod order;
mod spec;

use std::collections::BTreeSet;

use super::{Migration, Migrations};
use crate::{
    finding::{Code, Finding},
    spec::Desired,
};

/// What a migration alone, or all of them together, tell.
#[must_use]
pub fn lint(migrations: &Migrations) -> Vec<Finding> {
    among(migrations, &migrations.0.keys().map(String::as_str).collect())
}

/// A migration that is yet to be done, held against the spec of one environment; nothing is said
/// of one that is not for it.
#[must_use]
pub fn against(migration: &Migration, spec: &Desired) -> Vec<Finding> {
    if !migration.is_for(&spec.environment.name) {
        return Vec::new();
    }
    spec::judge(migration, spec)
}

/// The same where more versions are known than could be read.
pub(super) fn among(migrations: &Migrations, versions: &BTreeSet<&str>) -> Vec<Finding> {
    let judge = |it: &Migration| {
        let mut findings = order::judge(it);
        findings.extend(it.requires.iter().filter_map(|other| requires(it, other, versions)));
        findings
    };
    migrations.0.values().flat_map(judge).collect()
}

/// A migration comes after all that it requires.
fn requires(migration: &Migration, other: &str, versions: &BTreeSet<&str>) -> Option<Finding> {
    let version = &migration.version;
    let (message, help) = if other == version {
        (format!("`{version}` requires itself"), "remove it from `requires`")
    } else if !versions.contains(other) {
        (format!("`requires` names `{other}`, which is no migration"), "name one that is there")
    } else if other > version.as_str() {
        (
            format!("`{version}` requires `{other}`, which comes after it"),
            "give it a higher number than all that it requires",
        )
    } else {
        return None;
    };
    let place = migration.places.get("requires").copied().unwrap_or(migration.place);
    Some(Finding::error(Code::Migration, message).at(place).help(help))
}
