//! One look at every message of an origin, without payloads.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{Error, Progress, SOON, Told};
use crate::{
    address::Address,
    io::nats::{
        Session,
        loan::What,
        reader::{Reader, Whole},
    },
    migration::{preflight::Facts, proof::SOURCED},
};

/// Most ids that are remembered: about 100 MB of them.
const IDS: usize = 4_000_000;

/// What is found of the messages that a stream holds now.
pub async fn scan(
    session: &Session,
    from: &str,
    tell: &mut dyn FnMut(Progress),
) -> Result<Facts, Error> {
    let address = Address::stream(from);
    let all = [">".to_owned()];
    let (end, live, unsettled, subjects) = tokio::join!(
        session.end(from),
        session.read(&address),
        session.unsettled(from),
        session.subjects(from, &all),
    );
    let end = end?;
    let mut seen = Seen {
        facts: Facts {
            from: live?.map(|it| it.config()).unwrap_or_default(),
            messages: end.messages,
            bytes: end.bytes,
            subjects: subjects?,
            repeated: Some(0),
            unsettled: unsettled?,
            ..Facts::default()
        },
        ids: HashSet::new(),
    };
    let mut told = Told::new(tell, end.messages);
    let mut reader = Reader::new(session, &end, end.first, What::Headers);
    let read = async {
        let mut done = 0;
        while reader.next() <= end.last {
            let Some(message) = reader.read_surely(SOON).await? else { break };
            seen.look_at(&message);
            done += 1;
            told.tell(done);
        }
        told.now(done);
        Ok::<(), Error>(())
    };
    let read = read.await;
    reader.close().await;
    read?;
    Ok(seen.facts)
}

struct Seen {
    facts: Facts,
    ids: HashSet<u64>,
}

impl Seen {
    fn look_at(&mut self, message: &Whole) {
        let facts = &mut self.facts;
        let (headers, payload) = message.lengths();
        facts.largest = facts.largest.max(headers + payload);
        facts.headers = facts.headers.max(headers);
        if headers == 0 {
            return;
        }
        let ends = |it: &str| it.trim() != "never";
        facts.mortal += u64::from(message.header("Nats-TTL").is_some_and(ends));
        facts.rollups += u64::from(message.header("Nats-Rollup").is_some());
        facts.sourced += u64::from(message.header(SOURCED).is_some());
        let Some(id) = message.header("Nats-Msg-Id") else { return };
        if self.ids.len() >= IDS {
            facts.repeated = None;
            return;
        }
        // Two ids with one digest count as one repeated: that is only more careful.
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let known = !self.ids.insert(hasher.finish());
        facts.repeated = facts.repeated.map(|it| it + u64::from(known));
    }
}
