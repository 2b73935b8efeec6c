//! References to secrets → the secrets. What holds one has no `Debug`, so that none is printed.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::error::{Error, escaped};
use crate::{
    finding::{Code, Finding},
    spec::{Secret, connection::looks_secret},
};

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

/// What is to be said of a file that others may read though it holds a secret.
pub(super) fn caution(secret: &Secret) -> Option<Finding> {
    match secret {
        Secret::File(path) => readable(Path::new(&home(path)), &reference(secret)),
        // The variable may hold the secret itself, and that is no file.
        Secret::Env(name) => readable(Path::new(&home(&env::var(name).ok()?)), &reference(secret)),
    }
}

/// The same of a file that is `named` in some other way.
pub(super) fn readable(path: &Path, named: &str) -> Option<Finding> {
    let mode = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.permissions().mode();
    if mode & 0o077 == 0 {
        return None;
    }
    let message =
        format!("others may read the secret behind `{named}`: its mode is {:03o}", mode & 0o777);
    Some(Finding::warning(Code::Unprotected, message).help("take it from them: `chmod 600`"))
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
    Error::Secret { what, reference: reference(secret), reason: reason.to_owned() }
}

/// A reference as it was written, unless somebody put the secret in its place.
fn reference(secret: &Secret) -> String {
    let shown = |text: &str| if looks_secret(text) { "***".to_owned() } else { escaped(text) };
    match secret {
        Secret::Env(name) => format!("env:{}", shown(name)),
        Secret::File(path) => format!("file:{}", shown(path)),
    }
}
