//! Marks of ownership: labels by which a live resource says which state owns it.
//!
//! They are put on whatever is written, and never compared. What was adopted as it is bears none
//! until it is changed: to adopt leaves the server alone.

use serde_json::{Value, json};

use crate::{
    config::{Config, OWN_LABELS},
    state::State,
};

/// Whose a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The environment.
    pub environment: String,
    /// The lineage of its state.
    pub lineage: String,
}

impl Mark {
    /// The mark of a state; `None` before the state was given a lineage.
    #[must_use]
    pub fn of(state: &State) -> Option<Self> {
        let State { environment, lineage, .. } = state;
        let mark = Self { environment: environment.clone(), lineage: lineage.clone() };
        (!lineage.is_empty()).then_some(mark)
    }

    /// The mark on a live configuration.
    #[must_use]
    pub fn on(config: &Config) -> Option<Self> {
        let labels = config.get("metadata")?;
        let label = |name: &str| Some(labels.get(key(name))?.as_str()?.to_owned());
        Some(Self { environment: label(ENVIRONMENT)?, lineage: label(LINEAGE)? })
    }

    /// Puts the mark on a configuration that is sent, in the place of another one's.
    pub fn put(&self, config: &mut Value) {
        let Self { environment, lineage } = self;
        let Some(config) = config.as_object_mut() else { return };
        let labels = config.entry("metadata").or_insert(Value::Null);
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[key(ENVIRONMENT)] = environment.as_str().into();
        labels[key(LINEAGE)] = lineage.as_str().into();
    }
}

const ENVIRONMENT: &str = "environment";
const LINEAGE: &str = "lineage";

fn key(name: &str) -> String {
    format!("{OWN_LABELS}{name}")
}
