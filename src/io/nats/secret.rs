//! References to secrets → the secrets. What holds one has no `Debug`, so that none is printed.

use std::{env, fs, path::Path};

use super::error::Error;
use crate::spec::Secret;

/// The text a reference stands for, without the line break that editors leave.
pub(super) fn resolve(what: &'static str, secret: &Secret) -> Result<String, Error> {
    let text = match secret {
        Secret::Env(name) => {
            env::var(name).map_err(|_| missing(what, secret, "the variable is not set"))?
        }
        Secret::File(path) => read(what, secret, path)?,
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(missing(what, secret, "it is empty"));
    }
    Ok(text.to_owned())
}

/// The text of a credentials file: the variable may hold it, or say where it is.
pub(super) fn resolve_creds(secret: &Secret) -> Result<String, Error> {
    let text = resolve("credentials", secret)?;
    if text.contains("-----BEGIN") {
        return Ok(text);
    }
    match secret {
        Secret::Env(_) => read("credentials", secret, &text),
        Secret::File(_) => Err(missing("credentials", secret, "it is no credentials file")),
    }
}

/// An nkey seed: the variable may hold it, or say where its file is.
pub(crate) fn resolve_seed(secret: &Secret) -> Result<String, Error> {
    let text = resolve("nkey seed", secret)?;
    if let Some(seed) = seed_in(&text) {
        return Ok(seed);
    }
    let nothing = || missing("nkey seed", secret, "no line of it starts with `SU`");
    match secret {
        // What is neither a seed nor a file may still be a secret, so it is never repeated.
        Secret::Env(_) => {
            let text = fs::read_to_string(home(&text)).map_err(|_| nothing())?;
            seed_in(&text).ok_or_else(nothing)
        }
        Secret::File(_) => Err(nothing()),
    }
}

/// A path in which a leading `~/` means the home folder.
pub(super) fn home(path: &str) -> String {
    match (path.strip_prefix("~/"), env::var("HOME")) {
        (Some(rest), Ok(home)) => Path::new(&home).join(rest).to_string_lossy().into_owned(),
        _ => path.to_owned(),
    }
}

/// Seeds stand alone in a file or between decorated lines, as `nsc` writes them.
fn seed_in(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|it| it.starts_with("SU")).map(str::to_owned)
}

fn read(what: &'static str, secret: &Secret, path: &str) -> Result<String, Error> {
    fs::read_to_string(home(path)).map_err(|error| {
        missing(what, secret, &format!("the file cannot be read: {}", error.kind()))
    })
}

fn missing(what: &'static str, secret: &Secret, reason: &str) -> Error {
    let reference = match secret {
        Secret::Env(name) => format!("env:{name}"),
        Secret::File(path) => format!("file:{path}"),
    };
    Error::Secret { what, reference, reason: reason.to_owned() }
}
