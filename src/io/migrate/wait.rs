//! Whether a copy has come to where its origin stands: by what it holds last.
//!
//! Never by `lag`: the server says 0 right after a stream is made, for an origin that does not exist,
//! a filter that matches nothing, a copy that takes no more, and messages that were dropped as
//! duplicates.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use super::{Error, Progress, Told, place::origin_of};
use crate::{
    io::{
        clock,
        nats::{self, Session, ends::End},
    },
    migration::proof::{Copying, Pair},
};

/// How often is looked.
const PACE: Duration = Duration::from_millis(25);

/// How often a parked origin is looked at, and how often its last sequence must be the same.
const STABLE: Duration = Duration::from_millis(50);
const TIMES: u32 = 3;

/// Messages of the copy's own that are looked behind for one that it copied, and how many are asked
/// for at a time.
const BEHIND: u64 = 2048;
const WINDOW: u64 = 64;

/// Where both ends stand.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The sequence of the last message that the origin holds and the copy should have.
    pub last: u64,
    /// The sequence that the origin gave last, be its message there or not.
    pub given: u64,
    /// The sequence in the origin of the last message that was copied; 0 where none is found.
    pub copied: u64,
    /// What the server says that keeps the copy from going on.
    pub trouble: Option<String>,
}

impl Standing {
    /// Whether the copy has the last message of the origin.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.copied >= self.last
    }

    /// Whether the copy has messages that the origin never gave: it lost its end.
    #[must_use]
    pub fn is_rewound(&self) -> bool {
        self.copied > self.given
    }
}

/// Where both ends stand, as their leaders say.
pub async fn standing(session: &Session, pair: &Pair<'_>) -> Result<Standing, Error> {
    let mut watched = Watched::default();
    // The copy is read first: what it has by then the origin has given.
    watched.look(session, pair).await?;
    let (last, given) = tokio::join!(last(session, pair), session.end(pair.from));
    Ok(watched.standing(last?, given?.last))
}

/// Waits until the copy has all that the origin had when this was called.
pub async fn caught_up(
    session: &Session,
    pair: &Pair<'_>,
    within: Duration,
    tell: &mut dyn FnMut(Progress),
) -> Result<Standing, Error> {
    let begun = Instant::now();
    let last = last(session, pair).await?;
    let mut watched = Watched::default();
    watched.look(session, pair).await?;
    let from = watched.copied;
    let mut told = Told::new(tell, last.saturating_sub(from));
    loop {
        // What the copy has by now the origin has given.
        let standing = watched.standing(last, session.end(pair.from).await?.last);
        told.now(standing.copied.saturating_sub(from));
        if standing.caught_up() {
            return Ok(standing);
        }
        if begun.elapsed() >= within {
            return Err(late(pair, &standing, within));
        }
        clock::pause(PACE).await;
        watched.look(session, pair).await?;
    }
}

/// Waits until the copy has all of an origin that takes nothing more; that it does not is seen
/// meanwhile. What is found is exactly what there is: nothing comes after it.
pub async fn drained(
    session: &Session,
    pair: &Pair<'_>,
    within: Duration,
    tell: &mut dyn FnMut(Progress),
) -> Result<Standing, Error> {
    let begun = Instant::now();
    let mut watched = Watched::default();
    let mut origin = session.end(pair.from).await?.last;
    let mut target = last(session, pair).await?;
    watched.look(session, pair).await?;
    let from = watched.copied;
    let mut told = Told::new(tell, target.saturating_sub(from));
    let (mut same, mut seen) = (1, Instant::now());
    loop {
        if same < TIMES && seen.elapsed() >= STABLE {
            let given = session.end(pair.from).await?.last;
            same = if given == origin { same + 1 } else { 1 };
            (origin, seen) = (given, Instant::now());
            if same == TIMES || same == 1 {
                target = last(session, pair).await?;
            }
        }
        let standing = watched.standing(target, origin);
        told.now(standing.copied.saturating_sub(from));
        if standing.caught_up() && same >= TIMES {
            return Ok(standing);
        }
        if begun.elapsed() >= within {
            return Err(late(pair, &standing, within));
        }
        let until_seen = STABLE.saturating_sub(seen.elapsed());
        let pace = if standing.caught_up() { until_seen } else { PACE.min(until_seen) };
        clock::pause(pace.max(Duration::from_millis(1))).await;
        if !standing.caught_up() {
            watched.look(session, pair).await?;
        }
    }
}

/// Waits until a stream that takes nothing more has all that was on its way into it, and gives its
/// last sequence.
pub async fn settled(session: &Session, stream: &str) -> Result<u64, Error> {
    let mut last = session.end(stream).await?.last;
    let mut same = 1;
    while same < TIMES {
        clock::pause(STABLE).await;
        let now = session.end(stream).await?.last;
        same = if now == last { same + 1 } else { 1 };
        last = now;
    }
    Ok(last)
}

/// The sequence of the last message that the origin holds and the copy should have; 0 without any.
async fn last(session: &Session, pair: &Pair<'_>) -> Result<u64, nats::error::Error> {
    let mut last = 0;
    for subject in pair.subjects() {
        let found = session.last_on(pair.from, subject).await?;
        last = found.map_or(0, |it| it.sequence()).max(last);
    }
    Ok(last)
}

fn late(pair: &Pair<'_>, standing: &Standing, within: Duration) -> Error {
    Error::Late {
        from: pair.from.to_owned(),
        to: pair.to.to_owned(),
        copied: standing.copied,
        last: standing.last,
        seconds: within.as_secs(),
        trouble: standing.trouble.as_ref().map(|it| format!(": {it}")).unwrap_or_default(),
    }
}

/// A copy that is looked at again and again: only what came since is looked through.
#[derive(Default)]
struct Watched {
    /// The last sequence of the copy that was looked at.
    seen: u64,
    copied: u64,
    trouble: Option<String>,
}

impl Watched {
    async fn look(&mut self, session: &Session, pair: &Pair<'_>) -> Result<(), Error> {
        let end = session.end(pair.to).await?;
        self.trouble = trouble(&end, pair);
        if pair.copying == Copying::Mirror {
            // Behind its last message there are only gaps of the origin.
            self.copied = end.last;
            return Ok(());
        }
        let behind = self.seen.max(end.last.saturating_sub(BEHIND));
        let mut upto = end.last;
        while upto > behind {
            // The first look is at the last message alone: most often it is a copied one.
            let window = if upto == end.last { 1 } else { WINDOW };
            let low = upto.saturating_sub(window).max(behind);
            let asked = (low + 1..=upto).rev().map(|it| session.whole_at(pair.to, it));
            let mut found = stream::iter(asked).buffered(64);
            while let Some(message) = found.next().await {
                if let Some(origin) = message?.and_then(|it| pair.origin_of(&it)) {
                    self.copied = self.copied.max(origin);
                    self.seen = end.last;
                    return Ok(());
                }
            }
            upto = low;
        }
        if upto > self.seen.max(end.first.saturating_sub(1)) {
            // Publishers have long been sending to the copy: what it copied last may be anywhere.
            self.copied = self.copied.max(origin_of(session, pair, upto).await?);
        }
        self.seen = end.last;
        Ok(())
    }

    fn standing(&self, last: u64, given: u64) -> Standing {
        let Self { copied, ref trouble, .. } = *self;
        Standing { last, given, copied, trouble: trouble.clone() }
    }
}

fn trouble(end: &End, pair: &Pair<'_>) -> Option<String> {
    if pair.copying == Copying::Program {
        return None;
    }
    match end.feeds.iter().find(|it| it.name == pair.from) {
        Some(feed) => feed.error.clone(),
        None => Some(format!("`{}` does not copy `{}`", pair.to, pair.from)),
    }
}
