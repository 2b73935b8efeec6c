//! What a stream holds in the end, read by a client that knows nothing of jsplan, and how that stands
//! to what publishers know.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::StreamExt as _;
use jsplan::io::run;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::traffic::{Log, connect};

/// How long the next message may take.
const LATE: Duration = Duration::from_secs(10);

/// One message of a publisher.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) publisher: usize,
    pub(crate) number: u64,
    /// 2 where the program made it.
    pub(crate) shape: u64,
}

/// Everything that a stream holds, in order; nothing where it is not there.
pub(crate) fn read(urls: &[String], stream: &str) -> Vec<Stored> {
    run(async {
        let client = connect(urls).await;
        let ask = async |subject: String, body: Value| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let reply = client.request(format!("$JS.API.{subject}"), body.into()).await;
            serde_json::from_slice::<Value>(&reply.expect("a reply").payload).expect("JSON")
        };
        let info = ask(format!("STREAM.INFO.{stream}"), Value::Null).await;
        let count = info["state"]["messages"].as_u64().unwrap_or_default();
        if count == 0 {
            return Vec::new();
        }
        let inbox = client.new_inbox();
        let mut pushed = client.subscribe(inbox.clone()).await.expect("a subscription");
        let config = json!({
            "name": "THE_READER", "deliver_subject": inbox, "ack_policy": "none",
            "deliver_policy": "all", "mem_storage": true, "num_replicas": 1,
        });
        let body = json!({ "stream_name": stream, "config": config });
        let made = ask(format!("CONSUMER.CREATE.{stream}.THE_READER"), body).await;
        assert!(made["error"].is_null(), "{made}");
        let mut found = Vec::new();
        while (found.len() as u64) < count {
            let next = timeout(LATE, pushed.next()).await;
            let message = next.unwrap_or_else(|_| {
                panic!("{} of {count} messages of {stream} are delivered", found.len())
            });
            let message = message.expect("the subscription goes on");
            let Some(reply) = message.reply else { continue };
            let sequence = reply.split('.').nth(5).and_then(|it| it.parse().ok());
            let value: Value = serde_json::from_slice(&message.payload).expect("JSON");
            let number = |key: &str| value[key].as_u64().expect("a number");
            found.push(Stored {
                sequence: sequence.expect("a sequence"),
                publisher: usize::try_from(number("publisher")).expect("a few"),
                number: number("number"),
                shape: number("shape"),
            });
        }
        ask(format!("CONSUMER.DELETE.{stream}.THE_READER"), Value::Null).await;
        found
    })
}

/// What became of the messages that publishers know of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    /// Acknowledged, and not there.
    pub(crate) lost: u64,
    /// There more than once.
    pub(crate) duplicated: u64,
    /// The same of messages that a publisher sent again because it got no answer.
    pub(crate) again: u64,
    /// Behind a later one of the same publisher.
    pub(crate) reordered: u64,
}

impl Tally {
    /// Holds what publishers know against what is there.
    pub(crate) fn of(logs: &[Log], stored: &[Stored]) -> Self {
        let mut tally =
            Self { acknowledged: logs.iter().map(|it| it.acknowledged).sum(), ..Self::default() };
        let mut seen: BTreeMap<usize, (BTreeSet<u64>, u64)> = BTreeMap::new();
        for it in stored {
            let (numbers, newest) = seen.entry(it.publisher).or_default();
            if !numbers.insert(it.number) {
                let unsure = logs[it.publisher].unsure.contains(&it.number);
                let count = if unsure { &mut tally.again } else { &mut tally.duplicated };
                *count += 1;
            } else if it.number < *newest {
                tally.reordered += 1;
            }
            *newest = it.number.max(*newest);
        }
        for (publisher, log) in logs.iter().enumerate() {
            let there = seen.get(&publisher).map(|it| &it.0);
            let is_there = |it: &u64| there.is_some_and(|all| all.contains(it));
            tally.lost += (1..=log.acknowledged).filter(|it| !is_there(it)).count() as u64;
        }
        tally
    }
}
