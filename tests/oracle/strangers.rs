//! What a server answers and no row knows.

use jsplan::schema::{Field, Kind};
use serde_json::Value;

/// Every key of a configuration that no row knows, tables included.
pub(crate) fn strangers(rows: &[Field], config: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match rows.iter().find(|it| it.name == name).map(|it| &it.kind) {
            None => found.push(path),
            Some(Kind::Table(rows)) => found.extend(strangers(rows, value, &path)),
            Some(Kind::Set(Kind::Table(rows)) | Kind::List(Kind::Table(rows))) => {
                let list = value.as_array().into_iter().flatten();
                found.extend(list.flat_map(|it| strangers(rows, it, &path)));
            }
            Some(_) => {}
        }
    }
    found
}
