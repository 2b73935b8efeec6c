//! Copying by jsplan itself, where a program makes messages anew, or where only some go back.
//!
//! A copy goes on behind the last message that it has, and says of each where it comes from. Into a
//! stream that nobody else writes to, each message names the one it follows, so that none is stored
//! twice or out of order however often it is sent; into one that others write to, each is
//! acknowledged before the next is sent.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::unconstrained;

use super::{Error, Progress, SOON, Told, program::Made, verify::Taken};
use crate::{
    config::Config,
    io::{
        clock,
        nats::{self, PATIENCE, Session, loan::What, reader::Reader},
    },
    migration::proof::{self, MADE, Pair, mapped},
};

/// Messages that are made and sent at a time.
const BATCH: usize = 256;

/// How long a message may take to be read of which it is known that it is there.
const LATE: Duration = Duration::from_secs(5);

/// How often it is tried again after a loss.
const PACE: Duration = Duration::from_millis(250);

/// The header that says why a program rejected a message.
const REASON: &str = "Jsplan-Reason";

/// Where a copy goes.
pub(crate) enum Way<'a> {
    /// To a stream of which nobody else knows the subject, and rejected messages to another one.
    Alone {
        /// What the subjects begin with there.
        prefix: String,
        /// The stream for what is rejected.
        dead_letters: &'a str,
    },
    /// To a stream that others write to, from this sequence of it on.
    Among {
        /// What is before it cannot have come this way.
        since: u64,
    },
}

/// What was copied.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Fed {
    pub(crate) copied: u64,
    pub(crate) rejected: u64,
}

/// Copies what the copy lacks, up to the last message that the origin has when this is called.
pub(crate) async fn feed<M>(
    session: &Session,
    pair: &Pair<'_>,
    way: &Way<'_>,
    make: &mut M,
    tell: &mut dyn FnMut(Progress),
) -> Result<Fed, Error>
where
    M: AsyncFnMut(Vec<Taken>) -> Result<Vec<Made>, Error>,
{
    let mut fed = Fed::default();
    let until = session.end(pair.from).await?.last;
    let mut told = Told::new(tell, until);
    let begun = Instant::now();
    let mut last_gain = begun;
    loop {
        let before = fed.copied + fed.rejected;
        let mut pass = Pass { session, pair, way, until, fed: &mut fed };
        match pass.run(make, &mut told).await {
            Ok(()) => return Ok(fed),
            Err(Error::Server(error)) if passes(session, &error) => {
                if fed.copied + fed.rejected > before {
                    last_gain = Instant::now();
                }
                if last_gain.elapsed() >= PATIENCE {
                    return Err(error.into());
                }
                clock::pause(PACE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether trying again may help: the answer was lost, a leader is elected, or a message that was
/// sent before was stored after all.
fn passes(session: &Session, error: &nats::error::Error) -> bool {
    session.leaves_open(error) || error.is_conflict()
}

/// One pass over what is left.
struct Pass<'a> {
    session: &'a Session,
    pair: &'a Pair<'a>,
    way: &'a Way<'a>,
    until: u64,
    fed: &'a mut Fed,
}

impl Pass<'_> {
    async fn run<M>(&mut self, make: &mut M, told: &mut Told<'_>) -> Result<(), Error>
    where
        M: AsyncFnMut(Vec<Taken>) -> Result<Vec<Made>, Error>,
    {
        let (mut from, mut last) = self.position().await?;
        let mut dead = self.dead_letters().await?;
        let end = self.session.end(self.pair.from).await?;
        let mut reader = Reader::new(self.session, &end, from + 1, What::Whole);
        while from < self.until {
            let batch = self.batch(&mut reader).await?;
            let Some(newest) = batch.last().map(|it| it.0) else { break };
            let taken = batch.into_iter().map(|it| it.1).collect::<Vec<_>>();
            let made = make(taken.clone()).await?;
            last = self.store(&taken, made, last, dead.as_mut()).await?;
            from = newest;
            told.now(from);
        }
        reader.close().await;
        told.now(self.until);
        Ok(())
    }

    /// The sequence in the origin of the last message that was copied, and the last of the copy.
    async fn position(&self) -> Result<(u64, u64), Error> {
        let end = self.session.end(self.pair.to).await?;
        let Way::Among { since } = self.way else {
            let last = self.session.last_on(self.pair.to, ">").await?;
            let origin = last.and_then(|it| self.pair.origin_of(&it));
            return Ok((origin.unwrap_or_default(), end.last));
        };
        let mut found = 0;
        let mut reader = Reader::new(self.session, &end, since + 1, What::Headers);
        while reader.next() <= end.last {
            let Some(message) = reader.read_surely(LATE).await? else { break };
            found = self.pair.origin_of(&message).unwrap_or_default().max(found);
        }
        reader.close().await;
        Ok((found, end.last))
    }

    /// The next messages of the origin that are copied, each with its sequence.
    async fn batch(&self, reader: &mut Reader<'_>) -> Result<Vec<(u64, Taken)>, Error> {
        let mut batch = Vec::new();
        while batch.len() < BATCH && reader.next() <= self.until {
            let Some(message) = reader.read_surely(SOON).await? else { break };
            if message.sequence() > self.until {
                break;
            }
            if let Some(subject) = mapped(self.pair.mapping, message.subject()) {
                batch.push((message.sequence(), Taken::of(&message, subject)));
            }
        }
        Ok(batch)
    }

    /// Stores what was made, in order; gives the last sequence of the copy.
    async fn store(
        &mut self,
        taken: &[Taken],
        made: Vec<Made>,
        mut last: u64,
        mut dead: Option<&mut Dead>,
    ) -> Result<u64, Error> {
        let mut sends = Vec::new();
        for (taken, made) in taken.iter().zip(made) {
            match (made, &mut dead) {
                (Made::Message { subject, headers, payload }, _) => {
                    let mut headers = kept(&headers);
                    headers.insert(MADE, format!("{} {}", self.pair.from, taken.sequence));
                    let subject = match self.way {
                        Way::Alone { prefix, .. } => {
                            headers.insert("Nats-Expected-Last-Sequence", last.to_string());
                            format!("{prefix}{subject}")
                        }
                        Way::Among { .. } => subject,
                    };
                    let id = format!("jsplan:{}:{}", self.pair.from, taken.sequence);
                    headers.insert("Nats-Msg-Id", id);
                    sends.push((subject, headers, payload));
                    last += 1;
                }
                (Made::Rejected(reason), Some(dead)) => {
                    self.fed.rejected += u64::from(self.bury(dead, taken, &reason).await?);
                }
                (Made::Rejected(_), None) | (Made::Left, _) => {}
            }
        }
        let window = if matches!(self.way, Way::Alone { .. }) { BATCH } else { 1 };
        let session = self.session;
        let sent = sends.into_iter().map(|(subject, headers, payload)| async move {
            session.store(&subject, headers, payload).await
        });
        let mut stored = stream::iter(sent).buffered(window);
        // A task that has used its turn up would send the others in any order, and each behind the first
        // that comes too early is refused.
        while let Some(sequence) = unconstrained(stored.try_next()).await? {
            last = sequence;
            self.fed.copied += 1;
        }
        Ok(last)
    }

    /// Keeps a message that was rejected, unless it is kept already; says whether it was new.
    async fn bury(&self, dead: &mut Dead, taken: &Taken, reason: &str) -> Result<bool, Error> {
        if taken.sequence <= dead.newest {
            return Ok(false);
        }
        let mut headers = kept(&taken.headers);
        headers.insert(MADE, format!("{} {}", self.pair.from, taken.sequence));
        headers.insert(REASON, reason.replace(['\r', '\n'], " ").as_str());
        headers.insert("Nats-Msg-Id", format!("jsplan:{}:{}", self.pair.from, taken.sequence));
        self.session.store(&dead.subject, headers, taken.payload.clone()).await?;
        dead.newest = taken.sequence;
        Ok(true)
    }

    /// Where rejected messages go, and the last one that is there.
    async fn dead_letters(&self) -> Result<Option<Dead>, Error> {
        let Way::Alone { dead_letters, .. } = self.way else { return Ok(None) };
        let config = self.session.stream(dead_letters).await?.unwrap_or_default();
        let Some(subject) = subject_in(&config, self.pair.from) else {
            let why = format!("`{dead_letters}`, which is to take what is rejected, takes nothing");
            return Err(Error::Given(why));
        };
        let last = self.session.last_on(dead_letters, &subject).await?;
        let newest = last.and_then(|it| self.pair.origin_of(&it)).unwrap_or_default();
        Ok(Some(Dead { subject, newest }))
    }
}

/// Where rejected messages go.
struct Dead {
    subject: String,
    /// The sequence in the origin of the last one that is there.
    newest: u64,
}

/// A subject that a stream takes, told from those for other streams where its own has a wildcard.
fn subject_in(config: &Config, from: &str) -> Option<String> {
    let subject = *config.texts("subjects").first()?;
    let named = |it: &str| if it == "*" || it == ">" { from.to_owned() } else { it.to_owned() };
    Some(subject.split('.').map(named).collect::<Vec<_>>().join("."))
}

/// The headers that are copied: those that a publish would be judged by are not.
fn kept(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    let passes = |name: &str| {
        let judged = ["nats-expected-", "nats-batch-"];
        let lower = name.to_ascii_lowercase();
        let own =
            [MADE, proof::SOURCED, "Nats-Msg-Id"].iter().any(|it| name.eq_ignore_ascii_case(it));
        !own && !judged.iter().any(|it| lower.starts_with(it))
    };
    for (name, value) in headers.iter().filter(|it| passes(&it.0)) {
        map.append(name.as_str(), value.as_str());
    }
    map
}
