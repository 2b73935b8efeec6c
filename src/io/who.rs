//! Who runs this program, for the record and for a server's operators.

use std::{env, fs};

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
