//! What STREAM.INFO says of either end of a copy.
//!
//! The client's own types leave out what a source says of its trouble, and the server's `lag` is 0
//! also where it copies nothing; so the answer is read raw, and lag not at all.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Session,
    error::{Error, escaped},
    wire,
};

/// One end of a copy.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) name: String,
    /// When it was made: another of the name has another time.
    pub(crate) created: String,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The sequence of the first message.
    pub(crate) first: u64,
    /// The sequence that was given last, be its message there or not.
    pub(crate) last: u64,
    /// Whether a consumer can be made on it without an effect on its messages.
    pub(crate) lends: bool,
    /// The longest idle time that a consumer may ask for.
    pub(crate) idle: Option<u64>,
    /// What it copies from.
    pub(crate) feeds: Vec<Feed>,
}

/// A stream that another one copies.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) name: String,
    /// Why nothing comes, where the server says so; a source that waits to be asked again does not.
    pub(crate) error: Option<String>,
}

impl Session {
    /// What a stream says of itself.
    pub(crate) async fn end(&self, stream: &str) -> Result<End, Error> {
        self.ask(&format!("STREAM.INFO.{stream}"), "", |subject, it| end(stream, subject, it)).await
    }
}

fn end(stream: &str, subject: &str, payload: &[u8]) -> Result<End, Error> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        config: Kept,
        created: String,
        state: State,
        #[serde(borrow)]
        mirror: Option<Copies<'a>>,
        #[serde(borrow, default)]
        sources: Vec<Copies<'a>>,
    }
    #[derive(Deserialize)]
    struct Kept {
        #[serde(default)]
        retention: String,
        #[serde(default)]
        consumer_limits: Limits,
    }
    #[derive(Deserialize, Default)]
    struct Limits {
        inactive_threshold: Option<u64>,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
        bytes: u64,
        first_seq: u64,
        last_seq: u64,
    }
    #[derive(Deserialize)]
    struct Copies<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        error: Option<Trouble<'a>>,
    }
    #[derive(Deserialize)]
    struct Trouble<'a> {
        #[serde(borrow, default)]
        description: Cow<'a, str>,
    }
    let Reply { config, created, state, mirror, sources } = wire::read(subject, payload)?;
    let feeds = mirror.into_iter().chain(sources).map(|it| Feed {
        name: it.name.into_owned(),
        error: it.error.map(|it| escaped(&it.description)),
    });
    Ok(End {
        name: stream.to_owned(),
        created,
        messages: state.messages,
        bytes: state.bytes,
        first: state.first_seq,
        last: state.last_seq,
        lends: config.retention == "limits",
        idle: config.consumer_limits.inactive_threshold,
        feeds: feeds.collect(),
    })
}
