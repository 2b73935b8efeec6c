//! Where a place in the origin is in its copy.

use super::Error;
use crate::{
    io::nats::{
        Session,
        loan::What,
        reader::{Reader, Whole},
    },
    migration::proof::{Copying, Pair},
};
use std::time::Duration;

/// Messages of the copy's own that are asked for one by one, before a consumer looks behind them.
const FEW: u64 = 32;

/// How long the next message may take of which it is known that it is there.
const LATE: Duration = Duration::from_secs(5);

/// The sequence of the first message of the copy that comes from this message of the origin or a
/// later one; behind the last where there is none.
///
/// Messages of the copy's own stand before it and behind it, and are not counted: a consumer that
/// begins there is not given those before it.
pub async fn first_at(session: &Session, pair: &Pair<'_>, origin: u64) -> Result<u64, Error> {
    let end = session.end(pair.to).await?;
    if pair.copying == Copying::Mirror {
        return Ok(origin.max(end.first).min(end.last + 1));
    }
    // Sequences of the origin ascend in the copy. Below `low` all are earlier ones; from `high` on
    // all are later, or the copy's own.
    let (mut low, mut high) = (end.first.max(1), end.last + 1);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match copied_from(session, pair, middle, high).await? {
            Some((sequence, at)) if at < origin => low = sequence + 1,
            Some((sequence, _)) => {
                found = Some(sequence);
                high = middle;
            }
            None => high = middle,
        }
    }
    Ok(found.unwrap_or(end.last + 1))
}

/// The first copied message from a sequence on and before another one: its sequence, and the one that
/// it had in the origin.
async fn copied_from(
    session: &Session,
    pair: &Pair<'_>,
    from: u64,
    before: u64,
) -> Result<Option<(u64, u64)>, Error> {
    let copied = |it: &Whole| Some((it.sequence(), pair.origin_of(it)?));
    let mut next = from;
    for _ in 0..FEW {
        let message = session.next_on(pair.to, next, ">").await?;
        let Some(message) = message.filter(|it| it.sequence() < before) else { return Ok(None) };
        if let Some(copied) = copied(&message) {
            return Ok(Some(copied));
        }
        next = message.sequence() + 1;
    }
    let end = session.end(pair.to).await?;
    let mut reader = Reader::new(session, &end, next, What::Headers);
    let mut found = None;
    while reader.next() < before && found.is_none() {
        let Some(message) = reader.read(LATE).await? else { break };
        if message.sequence() >= before {
            break;
        }
        found = copied(&message);
    }
    reader.close().await;
    Ok(found)
}

/// The sequence in the copy of the last message that was copied; 0 where there is none. Behind it
/// there are only the copy's own.
pub async fn last_copy(session: &Session, pair: &Pair<'_>) -> Result<u64, Error> {
    let last = session.end(pair.to).await?.last;
    if pair.copying == Copying::Mirror {
        return Ok(last.min(session.end(pair.from).await?.last));
    }
    // Most often it is the very last one, and nobody has to look for it.
    let at_last = session.next_on(pair.to, last, ">").await?;
    if at_last.is_some_and(|it| pair.origin_of(&it).is_some()) {
        return Ok(last);
    }
    match origin_of(session, pair, last).await? {
        0 => Ok(0),
        origin => first_at(session, pair, origin).await,
    }
}

/// The sequence in the origin of the last copied message up to this one of the copy; 0 where there
/// is none.
pub async fn origin_of(session: &Session, pair: &Pair<'_>, copy: u64) -> Result<u64, Error> {
    if pair.copying == Copying::Mirror {
        return Ok(copy);
    }
    let mut low = 0;
    let (mut from, mut upto) = (session.end(pair.to).await?.first.max(1), copy + 1);
    // Copied messages ascend in both, so the last one of the second half is the last of all.
    while from < upto {
        let middle = from + (upto - from) / 2;
        match copied_from(session, pair, middle, upto).await? {
            Some((sequence, origin)) => (low, from) = (origin, sequence + 1),
            None => upto = middle,
        }
    }
    Ok(low)
}
