//! Two configurations → what differs, by the rows; and what an update sends.

use serde_json::Value;

use crate::{
    config::Config,
    schema::{Field, Release, Verdict, Writer},
};

/// One field's before and after; `Null` stands for absent.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The row.
    pub field: &'static Field,
    /// The canonical value now.
    pub before: Value,
    /// The canonical value wanted.
    pub after: Value,
}

impl Delta {
    /// Whether a release makes this change in place.
    #[must_use]
    pub fn verdict(&self, release: Release) -> Verdict {
        self.field.verdict(release, &self.before, &self.after)
    }
}

/// The fields in which `after` differs from `before`, in the order of the rows.
///
/// A field that only the server can fill in is equal wherever `after` leaves it out and `kept`
/// agrees with `before`: `kept` holds what the server once worked out.
#[must_use]
pub fn deltas(
    rows: &'static [Field],
    before: &Config,
    after: &Config,
    kept: &Config,
) -> Vec<Delta> {
    let differ = |field: &'static Field| {
        let present = kept.get(field.name).or_else(|| before.get(field.name));
        let was = field.value(before, before.get(field.name)).unwrap_or_default();
        let will = field.value(after, present).unwrap_or_default();
        (was != will).then_some(Delta { field, before: was, after: will })
    };
    rows.iter().filter(|it| it.writer == Writer::Spec).filter_map(differ).collect()
}

/// The live configuration with some fields changed: what an update sends, since an update
/// replaces the whole. Fields without a row stay as they are.
#[must_use]
pub fn overlay(live: &Config, deltas: &[Delta]) -> Config {
    let mut sent = live.clone();
    for Delta { field, after, .. } in deltas {
        match after {
            Value::Null => drop(sent.remove(field.name)),
            value => sent.set(field.name, with_server_labels(field, live, value)),
        }
    }
    sent
}

/// Labels that belong to the server stay beside those of the spec.
fn with_server_labels(field: &Field, live: &Config, value: &Value) -> Value {
    let (Some(Value::Object(present)), Value::Object(wanted)) = (live.get(field.name), value)
    else {
        return value.clone();
    };
    if !matches!(field.kind, crate::schema::Kind::Labels) {
        return value.clone();
    }
    let owned = present.iter().filter(|(key, _)| key.starts_with(crate::config::SERVER_LABELS));
    owned.chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect()
}
