//! JSON texts that carry the digest of everything above it, so that damage is never read as data.

use serde::{Deserialize, Serialize};

use crate::{config::sha256, letters};

/// Why a sealed text was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing in it at all.
    #[error("it is empty (0 bytes)")]
    Empty,
    /// It does not end with a digest.
    #[error("it does not end with its digest, so a part is missing")]
    Cut,
    /// The digest is not that of the text.
    #[error("its digest does not match its text, so it was changed or damaged")]
    Digest,
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Written by a later program.
    #[error("it has format version {found}, and this jsplan knows up to {known}")]
    TooNew {
        /// The version in the text.
        found: u32,
        /// The latest version known.
        known: u32,
    },
}

/// What separates the body from the digest at the end of the text.
const SEAL: &str = ",\n  \"sha256\": \"";

/// Two-space JSON with sorted keys, its digest last.
#[must_use]
pub fn write(content: &impl Serialize) -> String {
    // Through a `Value`, so that raw values are indented too and every key is sorted.
    let value = serde_json::to_value(content).expect("what is sealed is always a JSON value");
    let mut text = serde_json::to_string_pretty(&value).expect("a value is always written");
    text.truncate(text.len() - "\n}".len());
    // States and plans are read by people too, in reviews and on terminals.
    let text = letters::in_json(&text).into_owned();
    let digest = sha256(&text);
    text + SEAL + &digest + "\"\n}\n"
}

/// Reads a sealed text of a format version up to `known`; what is not exactly as written is refused.
pub fn read<'a, T: Deserialize<'a>>(
    text: &'a str,
    known: u32,
    version: impl Fn(&T) -> u32,
) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    if text.is_empty() {
        return Err(Error::Empty);
    }
    let (body, seal) = text.rsplit_once(SEAL).ok_or(Error::Cut)?;
    let digest = seal.strip_suffix("\"\n}\n").ok_or(Error::Cut)?;
    if sha256(body) != digest {
        return Err(Error::Digest);
    }
    // A large state is parsed once; only what does not fit is asked for its version alone.
    let content: Result<T, _> = serde_json::from_str(text);
    let found = match &content {
        Ok(content) => version(content),
        Err(_) => serde_json::from_str::<Version>(text)?.version,
    };
    if found > known {
        return Err(Error::TooNew { found, known });
    }
    Ok(content?)
}
