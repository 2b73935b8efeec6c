//! A migration against the server: that the copy came to where the origin stands, that it holds what
//! the origin holds, where a place in the one is in the other; and copying, where the server cannot.
//!
//! What is decided is in `migration::proof` and `migration::preflight`; here is who reads for it. Only
//! `feed` stores messages, and nothing here changes a stream.

pub mod scan;
pub mod place;
pub mod wait;
pub mod verify;
pub(crate) mod program;
pub(crate) mod feed;

use std::time::{Duration, Instant};

use crate::{
    io::nats::{self, Session, reader::Whole},
    migration::proof::{self, Failure, Pair},
};

/// How long the next message is waited for before the leader is asked whether there is one: it is on its
/// way most often, and a question for each pause costs more than the pause.
const SOON: Duration = Duration::from_millis(10);

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that are done with.
    pub done: u64,
    /// Messages that there are to do.
    pub of: u64,
}

/// Why it is not proved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] nats::error::Error),
    /// The copy does not hold what the origin holds.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The copy did not come to where the origin stands.
    #[error(
        "`{to}` came to message {copied} of `{from}` within {seconds} s, and the last is {last}{trouble}"
    )]
    Late {
        /// The origin.
        from: String,
        /// The copy.
        to: String,
        /// The sequence in the origin of the last message that was copied.
        copied: u64,
        /// The sequence of the last message that there is to copy.
        last: u64,
        /// How long was waited.
        seconds: u64,
        /// What the server says of it, behind a colon.
        trouble: String,
    },
    /// Somebody deleted a stream meanwhile, and made another of its name.
    #[error("`{stream}` is another stream of its name by now")]
    Replaced {
        /// The stream.
        stream: String,
    },
    /// What messages are to become could not be had: a program failed.
    #[error("{0}")]
    Given(String),
}

impl Pair<'_> {
    /// The sequence that a message of the copy had in the origin; `None` where it is the copy's own.
    fn origin_of(&self, message: &Whole) -> Option<u64> {
        let header = proof::naming(self.copying).and_then(|it| message.header(it));
        proof::origin(self.copying, self.from, message.sequence(), header)
    }

    /// The subjects of the origin that are copied.
    fn subjects(&self) -> Vec<&str> {
        if self.mapping.is_empty() {
            return vec![">"];
        }
        self.mapping
            .iter()
            .map(|it| if it.src.is_empty() { ">" } else { it.src.as_str() })
            .collect()
    }
}

/// Tells of progress now and then: a bar that moves oftener is not seen to.
struct Told<'a> {
    tell: &'a mut dyn FnMut(Progress),
    of: u64,
    said: Instant,
}

impl<'a> Told<'a> {
    const PACE: Duration = Duration::from_millis(100);

    fn new(tell: &'a mut dyn FnMut(Progress), of: u64) -> Self {
        tell(Progress { done: 0, of });
        Self { tell, of, said: Instant::now() }
    }

    fn tell(&mut self, done: u64) {
        // Of most messages the clock is not asked either.
        if done.is_multiple_of(256) && self.said.elapsed() >= Self::PACE {
            self.now(done);
        }
    }

    fn now(&mut self, done: u64) {
        let done = done.min(self.of);
        (self.tell)(Progress { done, of: self.of });
        self.said = Instant::now();
    }
}

/// The sequence that a stream gave last.
pub(crate) async fn last(session: &Session, stream: &str) -> Result<u64, Error> {
    Ok(session.end(stream).await?.last)
}

/// How many messages a stream holds.
pub(crate) async fn messages(session: &Session, stream: &str) -> Result<u64, Error> {
    Ok(session.end(stream).await?.messages)
}
