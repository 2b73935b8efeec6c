//! Signatures of sealed texts, made with NATS nkeys.
//!
//! A signature covers every byte of the file as it is without it, and says whose it is. A key that
//! signs plans should do nothing else: a server chooses what a key signs that connects to it.

use data_encoding::HEXLOWER;
use nkeys::{KeyPair, KeyPairType};

/// Why a signature is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is at the end of the file is no signature.
    #[error("the end of its signature is missing or damaged")]
    Cut,
    /// The key is not one of a user.
    #[error("it is signed with `{0}`, which is no public key of a user")]
    Key(String),
    /// It is not that of this text, or not by this key.
    #[error("its signature does not match its text, so one of the two was changed")]
    Mismatch,
    /// The seed is none.
    #[error("the seed is not one of a user's nkey")]
    Seed,
}

/// What stands between a text and the key it is signed with.
const BY: &str = ",\n  \"signed_by\": \"";

/// What stands between the key and the signature.
const SIGNATURE: &str = "\",\n  \"signature\": \"";

/// The end of every text.
const END: &str = "\"\n}\n";

/// A sealed text with a signature at its end.
pub(crate) fn sign(text: &str, seed: &str) -> Result<String, Error> {
    // What nkeys says of a wrong seed could repeat a part of it.
    let pair = KeyPair::from_seed(seed).map_err(|_| Error::Seed)?;
    if pair.key_pair_type() != KeyPairType::User {
        return Err(Error::Seed);
    }
    let signature = pair.sign(text.as_bytes()).map_err(|_| Error::Seed)?;
    let body = text.strip_suffix("\n}\n").ok_or(Error::Cut)?;
    let (key, signature) = (pair.public_key(), HEXLOWER.encode(&signature));
    Ok(format!("{body}{BY}{key}{SIGNATURE}{signature}{END}"))
}

/// What stands at the end of a signed text.
pub(crate) struct Signature {
    key: String,
    bytes: Vec<u8>,
}

/// Parts a text from its signature: the text without it, and the signature if there is one.
pub(crate) fn parted(text: &str) -> Result<(String, Option<Signature>), Error> {
    let Some((body, signed)) = text.rsplit_once(BY) else { return Ok((text.to_owned(), None)) };
    let signed = signed.strip_suffix(END).and_then(|it| it.split_once(SIGNATURE));
    let (key, signature) = signed.ok_or(Error::Cut)?;
    let bytes = HEXLOWER.decode(signature.as_bytes()).map_err(|_| Error::Cut)?;
    Ok((format!("{body}\n}}\n"), Some(Signature { key: key.to_owned(), bytes })))
}

impl Signature {
    /// The key that signed this text. A signature that does not hold is an error, whether anybody
    /// asks for one or not.
    pub(crate) fn signer(self, text: &str) -> Result<String, Error> {
        let Self { key, bytes } = self;
        let Some(pair) = user(&key) else { return Err(Error::Key(key)) };
        pair.verify(text.as_bytes(), &bytes).map_err(|_| Error::Mismatch)?;
        Ok(key)
    }
}

/// Whether a text is the public key of a user.
pub(crate) fn is_public_key(text: &str) -> bool {
    user(text).is_some()
}

fn user(key: &str) -> Option<KeyPair> {
    let pair = KeyPair::from_public_key(key).ok()?;
    (pair.key_pair_type() == KeyPairType::User).then_some(pair)
}
