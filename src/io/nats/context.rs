//! Contexts of the `nats` CLI: where they are kept, and what of them is used.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::error::{Error, escaped};

/// A context as its file says it. Keys that are not listed mean nothing here.
///
/// It has no `Debug`: some of its fields are secrets.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Context {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) creds: String,
    pub(super) nkey: String,
    pub(super) user_jwt: String,
    pub(super) user_seed: String,
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) ca: String,
    pub(super) inbox_prefix: String,
    pub(super) jetstream_domain: String,
    pub(super) jetstream_api_prefix: String,
    pub(super) tls_first: bool,
}

/// Reads the context of a name.
pub(super) fn read(name: &str) -> Result<Context, Error> {
    let missing = || Error::NoContext { name: name.to_owned(), known: known() };
    // A name is a file's name and nothing more: no path leads out of the folder.
    if name.is_empty() || name.contains(['/', '\\']) || name.contains("..") {
        return Err(missing());
    }
    let path = path(name).ok_or_else(missing)?;
    let bad = |reason: String| Error::BadContext { name: name.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| {
        if error.kind() == ErrorKind::NotFound { missing() } else { bad(error.kind().to_string()) }
    })?;
    // Of the parser's message only the place is kept: it may repeat a value, and that a secret.
    serde_json::from_str(&text)
        .map_err(|it| bad(format!("line {}, column {} is not as expected", it.line(), it.column())))
}

/// The file of the context of a name.
pub(super) fn path(name: &str) -> Option<PathBuf> {
    Some(folder()?.join(format!("{name}.json")))
}

fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|it| !it.is_empty());
    let config = match set("XDG_CONFIG_HOME") {
        Some(path) => PathBuf::from(path),
        None => Path::new(&set("HOME")?).join(".config"),
    };
    Some(config.join("nats").join("context"))
}

/// The names of all contexts, sorted.
fn known() -> Vec<String> {
    let entries = folder().and_then(|it| fs::read_dir(it).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            Some(escaped(name.to_str()?.strip_suffix(".json")?))
        })
        .collect();
    names.sort();
    names
}
