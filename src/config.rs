//! A configuration as the server writes it: a JSON map under the wire's names.
//!
//! It knows no rows, so it cannot tell a default from an absence. That is why it has no `==`:
//! two configurations are compared by `diff::deltas`, which asks the rows, or not at all.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A stream's or a consumer's configuration, as JSON. Fields without a row ride along.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(Map<String, Value>);

/// Keys of `metadata` under this prefix belong to the server.
pub(crate) const SERVER_LABELS: &str = "_nats.";

/// Keys of `metadata` under this prefix are jsplan's own notes on a resource.
pub(crate) const OWN_LABELS: &str = "jsplan.";

/// Whether a key of `metadata` is nobody's to set in a spec: it is not compared, and an update
/// keeps it.
pub(crate) fn is_reserved(label: &str) -> bool {
    label.starts_with(SERVER_LABELS) || label.starts_with(OWN_LABELS)
}

impl Config {
    /// Reads a JSON object; anything else is an error.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The value under a wire name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text under a wire name; `None` where it is absent or not a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The number under a wire name; `None` where it is absent or not a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    /// The texts of a list under a wire name; empty where it is absent.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether a field is there at all, `null` being as good as absent.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|it| !it.is_null())
    }

    /// Puts a value under a wire name.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Takes a field away.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Another configuration with the fields of this one in place of its own.
    #[must_use]
    pub(crate) fn over(self, other: &Self) -> Self {
        let mut all = other.clone();
        all.0.extend(self.0);
        all
    }

    /// Every field with its value, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// The JSON value a request carries.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The configuration inside a JSON object; an empty one for any other value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.as_object().cloned().unwrap_or_default())
    }

    /// Canonical JSON: keys sorted, no spaces.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a JSON map is always written")
    }

    /// The digest by which a configuration is recognised again: that of its canonical JSON without
    /// the server's own labels, which differ between STREAM.INFO and STREAM.LIST of one stream.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256(self.clone().without_server_labels().to_json())
    }

    /// The same without the server's own labels.
    #[must_use]
    pub(crate) fn without_server_labels(mut self) -> Self {
        if let Some(Value::Object(labels)) = self.0.get_mut("metadata") {
            labels.retain(|key, _| !key.starts_with(SERVER_LABELS));
            if labels.is_empty() {
                self.0.remove("metadata");
            }
        }
        self
    }
}

impl FromIterator<(String, Value)> for Config {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    // A table and not `{:02x}`: an unchanged plan makes thousands of digests and little else.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |it: u8| char::from(DIGITS[usize::from(it)]);
    Sha256::digest(bytes).iter().flat_map(|it| [digit(it >> 4), digit(it & 15)]).collect()
}
