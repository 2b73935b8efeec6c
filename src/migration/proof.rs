//! Whether one stream holds what another holds: message by message, by content and in order.
//!
//! Lag and counts say nothing: after a crash that lost the end of the origin both are equal, and a
//! hundred messages differ. So the messages of both sides are joined here by the sequence that they
//! have in the origin, and each pair is compared byte by byte. Where all pairs are equal both sides
//! have one rolling digest, since they are digested as the same messages: that is what is kept. Who
//! reads them, and who asks again where one side lacks a message, is not known here.

use std::{borrow::Cow, fmt};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::Mapping;
use crate::{state::ledger::Proof, subject};

/// How a message of a copy says which message of the origin it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copying {
    /// By the header of the server's own sources.
    Source,
    /// By having the same sequence.
    Mirror,
    /// By the header that jsplan gives what a program made of a message.
    Program,
}

/// A stream and its copy. For the way back the caller swaps them.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The stream that messages come from: the origin.
    pub from: &'a str,
    /// The stream that they go to: the copy.
    pub to: &'a str,
    /// How the copy says which message of the origin one of its own is.
    pub copying: Copying,
    /// What becomes of subjects on the way; empty keeps all as they are.
    pub mapping: &'a [Mapping],
}

/// The header of what a source has copied: stream and sequence come first, what follows depends on
/// the release.
pub const SOURCED: &str = "Nats-Stream-Source";

/// The header of what a program has copied: stream and sequence.
pub const MADE: &str = "Jsplan-Origin";

const ID: &str = "Nats-Msg-Id";

/// A message in the form in which two are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<'a> {
    /// Its subject, on the side of the copy.
    pub subject: Cow<'a, str>,
    /// What is compared of its headers.
    pub headers: Headers,
    /// What it says.
    pub payload: Cow<'a, [u8]>,
}

/// The headers of a message that a copy keeps, in one form whoever read them: a line `name:value`
/// each, sorted by name; the values of one name stay in their order, and white space around them is
/// left out. A client keeps no order among names, and so none is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

/// A message that the copy should have.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// Its sequence in the origin.
    pub origin: u64,
    /// When the origin stored it, in nanoseconds since 1970.
    pub stored: i64,
    /// What the copy should have of it; `None` where a program rejected it.
    pub content: Option<Content<'a>>,
}

/// A message that the copy has.
#[derive(Debug, Clone)]
pub struct Copied<'a> {
    /// The sequence that it had in the origin.
    pub origin: u64,
    /// Its sequence in the copy.
    pub copy: u64,
    /// What it is.
    pub content: Content<'a>,
}

/// What follows from the next message of either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are one message; both sides go on.
    Equal,
    /// A program rejected it and the copy lacks it; the origin goes on.
    Rejected,
    /// The copy lacks the one of the origin: unless that is gone meanwhile, it is missing.
    Lacking,
    /// The origin lacks the one of the copy: unless it was there, it is one too many.
    Unknown,
}

/// Why one stream does not hold what the other holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A message arrived as another one.
    #[error(
        "message {origin} of the origin is not message {copy} of the copy: {what} ({ours}, {theirs})"
    )]
    Different {
        /// The sequence in the origin.
        origin: u64,
        /// The sequence in the copy.
        copy: u64,
        /// What of it differs.
        what: Part,
        /// The rolling digest of the origin up to it.
        ours: String,
        /// The rolling digest of the copy up to it.
        theirs: String,
    },
    /// A message never arrived, and later ones did.
    #[error("message {origin} of the origin is missing in the copy (subject `{subject}`)")]
    Missing {
        /// The sequence in the origin.
        origin: u64,
        /// Its subject in the copy.
        subject: String,
    },
    /// The copy ends before the origin does.
    #[error("the copy ends before message {origin} of the origin (subject `{subject}`)")]
    Behind {
        /// The sequence in the origin.
        origin: u64,
        /// Its subject in the copy.
        subject: String,
    },
    /// A message arrived twice.
    #[error("message {origin} of the origin is in the copy twice: the second is message {copy}")]
    Duplicated {
        /// The sequence in the origin.
        origin: u64,
        /// The sequence of the second in the copy.
        copy: u64,
    },
    /// A message arrived before one that it follows.
    #[error("message {origin} of the origin comes too late in the copy: it is message {copy}")]
    Disordered {
        /// The sequence in the origin.
        origin: u64,
        /// The sequence in the copy.
        copy: u64,
    },
    /// The copy holds what nobody should have copied.
    #[error(
        "message {copy} of the copy should not be there: it names message {origin} of the origin"
    )]
    Extra {
        /// The sequence in the origin that it names.
        origin: u64,
        /// The sequence in the copy.
        copy: u64,
    },
    /// A stream lost its end and went on from there, as servers do that are killed before what they
    /// acknowledged is on disk.
    #[error("stream `{stream}` lost its end: message {sequence} is not what it was")]
    Rewound {
        /// The stream.
        stream: String,
        /// The sequence that is not what it was, or is beyond its last.
        sequence: u64,
    },
}

/// What of a message can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its subject.
    Subject,
    /// Its headers.
    Headers,
    /// Its payload.
    Payload,
}

/// Two streams that are compared, up to where they were.
#[derive(Debug)]
pub struct Join {
    proof: Proof,
    digest: [u8; 32],
    /// The sequence in the origin of the last message of the copy.
    last: u64,
}

impl Join {
    /// Goes on from what is proved.
    #[must_use]
    pub fn from(since: &Proof) -> Self {
        let known = HEXLOWER.decode(since.digest.as_bytes()).ok();
        let digest = known.and_then(|it| it.try_into().ok()).unwrap_or_default();
        Self { digest, last: since.origin, proof: since.clone() }
    }

    /// What follows from the next message of either side; `None` stands for the end of a side. At
    /// least one is there.
    pub fn judge(
        &mut self,
        expected: Option<&Expected<'_>>,
        copied: Option<&Copied<'_>>,
    ) -> Result<Verdict, Failure> {
        if let Some(copied) = copied {
            self.in_order(copied)?;
        }
        match (expected, copied) {
            (Some(expected), Some(copied)) if expected.origin == copied.origin => {
                self.compare(expected, copied)?;
                Ok(Verdict::Equal)
            }
            (Some(expected), copied) if copied.is_none_or(|it| expected.origin < it.origin) => {
                if expected.content.is_some() {
                    return Ok(Verdict::Lacking);
                }
                self.proof.rejected += 1;
                self.comes_to(expected);
                Ok(Verdict::Rejected)
            }
            (Some(_) | None, _) => Ok(Verdict::Unknown),
        }
    }

    /// A message of the copy that its origin no longer has.
    pub fn gone(&mut self, origin: u64, copy: u64) {
        self.proof.gone += 1;
        self.proof.copy = copy;
        self.last = origin;
    }

    /// How far it is proved.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof { digest: HEXLOWER.encode(&self.digest), ..self.proof.clone() }
    }

    fn in_order(&self, copied: &Copied<'_>) -> Result<(), Failure> {
        let Copied { origin, copy, .. } = *copied;
        match origin.cmp(&self.last) {
            std::cmp::Ordering::Less => Err(Failure::Disordered { origin, copy }),
            std::cmp::Ordering::Equal => Err(Failure::Duplicated { origin, copy }),
            std::cmp::Ordering::Greater => Ok(()),
        }
    }

    fn compare(&mut self, expected: &Expected<'_>, copied: &Copied<'_>) -> Result<(), Failure> {
        let Copied { origin, copy, content: theirs } = copied;
        let Some(ours) = &expected.content else {
            return Err(Failure::Extra { origin: *origin, copy: *copy });
        };
        if let Some(what) = difference(ours, theirs) {
            let digest = |it| HEXLOWER.encode(&rolled(self.digest, *origin, it));
            let (ours, theirs) = (digest(ours), digest(theirs));
            let (origin, copy) = (*origin, *copy);
            return Err(Failure::Different { origin, copy, what, ours, theirs });
        }
        self.digest = rolled(self.digest, *origin, ours);
        self.proof.messages += 1;
        self.count(&theirs.subject);
        self.proof.copy = *copy;
        self.last = *origin;
        self.comes_to(expected);
        Ok(())
    }

    fn count(&mut self, subject: &str) {
        let counts = &mut self.proof.subjects;
        if let Some(count) = counts.get_mut(subject) {
            *count += 1;
        } else if counts.len() < Proof::SUBJECTS {
            counts.insert(subject.to_owned(), 1);
        }
    }

    fn comes_to(&mut self, expected: &Expected<'_>) {
        self.proof.origin = expected.origin;
        self.proof.stored = expected.stored;
    }
}

fn difference(ours: &Content<'_>, theirs: &Content<'_>) -> Option<Part> {
    if ours.subject != theirs.subject {
        return Some(Part::Subject);
    }
    if ours.headers != theirs.headers {
        return Some(Part::Headers);
    }
    (ours.payload != theirs.payload).then_some(Part::Payload)
}

/// The digest of a message and all before it. Lengths stand before texts, so that no two messages
/// are digested as the same bytes.
fn rolled(before: [u8; 32], origin: u64, content: &Content<'_>) -> [u8; 32] {
    let Content { subject, headers, payload } = content;
    let (subject, headers) = (subject.as_bytes(), headers.0.as_slice());
    let length = |it: &[u8]| (it.len() as u64).to_be_bytes();
    let origin = origin.to_be_bytes();
    let [one, two, three] = [length(subject), length(headers), length(payload)];
    // Hashed in two pieces: each costs as much as some bytes.
    let head = [&before[..], &origin, &one, subject, &two, headers, &three].concat();
    Sha256::new().chain_update(head).chain_update(payload).finalize().into()
}

impl Headers {
    /// What is compared of some headers, names with values in their order.
    pub fn of<'a>(copying: Copying, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let kept = pairs.into_iter().filter(|(name, _)| is_kept(copying, name));
        let mut kept: Vec<_> = kept.collect();
        kept.sort_by_key(|(name, _)| *name);
        let mut lines = Vec::with_capacity(kept.iter().map(|it| it.0.len() + it.1.len() + 2).sum());
        for (name, value) in kept {
            lines.extend_from_slice(name);
            lines.push(b':');
            lines.extend_from_slice(value);
            lines.push(b'\n');
        }
        Self(lines)
    }
}

/// Whether a copy keeps a header as it was. Of sources and mirrors the server leaves out what was
/// said to the origin alone (`Nats-Batch-*` from 2.12 on); a program's copier says such things of its
/// own. A mirror keeps where its origin has a message from.
fn is_kept(copying: Copying, name: &[u8]) -> bool {
    let begins = |with: &str| name.starts_with(with.as_bytes());
    let is = |other: &str| name == other.as_bytes();
    let said = begins("Nats-Expected-") || begins("Nats-Batch-");
    match copying {
        Copying::Source => !said && !is(SOURCED),
        Copying::Mirror => !said,
        Copying::Program => !said && !is(SOURCED) && !is(MADE) && !is(ID),
    }
}

/// The names and values of a block of headers as it is stored, read as the client reads it: what
/// stands on a line of its own that begins with white space belongs to the value before.
#[must_use]
pub fn headers(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in block.split(|it| *it == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match found.last_mut() {
            _ if line.is_empty() => {}
            Some((_, value)) if line[0].is_ascii_whitespace() => value.extend_from_slice(line),
            Some(_) | None => {
                let colon = line.iter().position(|it| *it == b':').unwrap_or(line.len());
                let value = line.get(colon + 1..).unwrap_or_default();
                found.push((line[..colon].to_vec(), value.to_vec()));
            }
        }
    }
    for (_, value) in &mut found {
        *value = trimmed(value).to_vec();
    }
    found
}

/// Without white space at either end, as the client takes it off a text.
#[must_use]
pub fn trimmed(value: &[u8]) -> &[u8] {
    str::from_utf8(value).map_or_else(|_| value.trim_ascii(), |it| it.trim().as_bytes())
}

/// The sequence that a message of a copy had in its origin; `None` where it is no copy of it.
#[must_use]
pub fn origin(copying: Copying, from: &str, sequence: u64, header: Option<&str>) -> Option<u64> {
    if copying == Copying::Mirror {
        return Some(sequence);
    }
    let mut parts = header?.split(' ');
    // An origin in another account or domain is named with a digest of where it is.
    let named = parts.next()?.split(':').next()?;
    let sequence = parts.next()?.parse().ok()?;
    (named == from).then_some(sequence)
}

/// The header that says it; `None` where none does.
#[must_use]
pub fn naming(copying: Copying) -> Option<&'static str> {
    match copying {
        Copying::Source => Some(SOURCED),
        Copying::Mirror => None,
        Copying::Program => Some(MADE),
    }
}

/// The subject of a message in its copy; `None` where the server copies nothing for it.
#[must_use]
pub fn mapped(mapping: &[Mapping], subject: &str) -> Option<String> {
    if mapping.is_empty() {
        return Some(subject.to_owned());
    }
    mapping.iter().find_map(|it| subject::transformed(&it.src, &it.dest, subject))
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "the subject differs",
            Self::Headers => "the headers differ",
            Self::Payload => "the payload differs",
        })
    }
}
