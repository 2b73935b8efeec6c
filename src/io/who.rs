//! Who runs this program, for the record and for a server's operators.

use std::{env, fs};

/// `user@host`, as far as the environment says.
#[must_use]
pub(crate) fn user_at_host() -> String {
    let of = |names: [&str; 2]| names.into_iter().find_map(|it| env::var(it).ok());
    let user = of(["USER", "USERNAME"]).unwrap_or_else(|| "somebody".to_owned());
    let host = of(["HOSTNAME", "COMPUTERNAME"])
        .or_else(|| fs::read_to_string("/etc/hostname").ok())
        .map(|it| it.trim().to_owned())
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "this-host".to_owned());
    format!("{user}@{host}")
}
