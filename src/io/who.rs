//! Who runs this program, for the record and for a server's operators.

use std::{env, fs};

/// Whether a pipeline runs this program: then nobody waits in front of it.
#[must_use]
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|it| !it.is_empty() && it != "false" && it != "0")
}

/// `user@host`, as far as the environment says.
#[must_use]
pub(crate) fn user_at_host() -> String {
    let user = env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = env::var("HOSTNAME")
        .ok()
        .or_else(|| fs::read_to_string("/etc/hostname").ok())
        .map(|it| it.trim().to_owned())
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "this-host".to_owned());
    format!("{user}@{host}")
}
