//! The time of day, and who is asking.

use jiff::Timestamp;

/// Now, in RFC 3339, UTC.
#[must_use]
pub fn now() -> String {
    Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_else(|_| Timestamp::now()).to_string()
}

/// `user@host`, as far as the environment says.
#[must_use]
pub fn who() -> String {
    let of = |names: [&str; 2]| names.into_iter().find_map(|it| std::env::var(it).ok());
    let user = of(["USER", "USERNAME"]).unwrap_or_else(|| "somebody".to_owned());
    let host = of(["HOSTNAME", "COMPUTERNAME"])
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|it| it.trim().to_owned())
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "this-host".to_owned());
    format!("{user}@{host}")
}
