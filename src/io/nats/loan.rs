//! Consumers that are there for one answer only: they acknowledge nothing, and go with it.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Session, error::Error, wire};

/// What the names of such consumers begin with.
const PROBE: &str = "jsplan_probe_";

/// What is asked of a stream through a consumer.
pub(super) struct Loan<'a> {
    pub(super) stream: &'a str,
    /// The sequence to begin with.
    pub(super) from: u64,
    /// Only these subjects; all where it is empty.
    pub(super) filters: &'a [String],
    pub(super) what: What,
    /// How long it stays where nobody deletes it, as where jsplan was killed.
    pub(super) stays: Duration,
    /// The longest that the stream allows for that, in nanoseconds.
    pub(super) most: Option<u64>,
}

/// What of each message is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// All of it.
    Whole,
    /// All but its payload, of which the length is said.
    Headers,
}

/// Where a delivery stands in its stream.
pub(super) struct Place {
    pub(super) sequence: u64,
    /// Which delivery of the consumer it is, from 1.
    pub(super) number: u64,
    /// When the message was stored, in nanoseconds since 1970.
    pub(super) at: i64,
    /// How many there are behind it.
    pub(super) pending: u64,
}

impl Place {
    /// `$JS.ACK.stream.consumer.delivered.sequence.number.time.pending`; with domain and account
    /// before the stream there are twelve parts.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let mut parts = [""; 10];
        let mut count = 0;
        for (part, place) in reply.strip_prefix("$JS.ACK.")?.split('.').zip(&mut parts) {
            (*place, count) = (part, count + 1);
        }
        let skipped = if count > 7 { 5 } else { 3 };
        let [sequence, number, at, pending] = parts.get(skipped..skipped + 4)?.try_into().ok()?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            number: number.parse().ok()?,
            at: at.parse().ok()?,
            pending: pending.parse().ok()?,
        })
    }
}

/// The bytes of the headers, as they are stored, and of the payload of a message that came without
/// it.
pub(super) fn lengths(message: &Message) -> Option<(u64, u64)> {
    let said = last(message.headers.as_ref()?, SIZE)?;
    let around = message.subject.len() + message.reply.as_ref()?.len() + message.payload.len();
    let added = SIZE.len() + said.len() + ": \r\n".len();
    let stored = message.length.saturating_sub(around + added) as u64;
    Some((if stored > EMPTY { stored } else { 0 }, said.parse().ok()?))
}

/// The header by which a consumer says how long the payload is.
const SIZE: &str = "Nats-Msg-Size";

/// Bytes of headers that hold nothing.
const EMPTY: u64 = "NATS/1.0\r\n\r\n".len() as u64;

/// The last value of a header.
pub(super) fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(name).last().map(|it| it.as_str())
}

/// A name that no other such consumer has. It is given before the consumer is made, so that it is
/// known where the answer gets lost.
pub(super) fn name() -> String {
    format!("{PROBE}{}", Uuid::new_v4().simple())
}

impl Session {
    /// Makes such a consumer; gives how many messages it has to deliver.
    pub(super) async fn lend(&self, name: &str, loan: &Loan<'_>) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Made {
            num_pending: u64,
        }
        let stays = u64::try_from(loan.stays.as_nanos()).unwrap_or(u64::MAX);
        let mut config = json!({
            "name": name,
            "description": "jsplan reads messages",
            "ack_policy": "none",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": loan.from.max(1),
            "headers_only": loan.what == What::Headers,
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": loan.most.filter(|it| *it > 0).map_or(stays, |it| it.min(stays)),
        });
        match loan.filters {
            [] => {}
            [one] => config["filter_subject"] = json!(one),
            several => config["filter_subjects"] = json!(several),
        }
        let body = json!({ "stream_name": loan.stream, "config": config });
        let subject = format!("CONSUMER.CREATE.{}.{name}", loan.stream);
        let answer = self.request(&subject, body.to_string().into_bytes(), 0).await?;
        let Made { num_pending } = wire::read(&subject, answer.bytes())?;
        Ok(num_pending)
    }

    /// Ends a consumer; where that fails it ends by itself.
    pub(super) async fn leave(&self, stream: &str, name: &str) {
        let subject = format!("CONSUMER.DELETE.{stream}.{name}");
        let _ended = self.request(&subject, Vec::new(), 0).await;
    }
}
