//! The messages of a stream, oldest first, without their payloads where that can be.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subscriber};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::timeout;

use super::{
    super::{
        Session,
        error::Error,
        event::Watch,
        loan::{self, Loan, Place, What, last, lengths},
    },
    stock::{Stock, TTL, ends},
};
use crate::forecast::walk::Record;

/// How long a consumer stays that nobody deleted, as where jsplan was killed.
const IDLE: Duration = Duration::from_secs(10);

/// How long one answer is read for: what is longer is told by its upper bound.
const LONGEST: Duration = Duration::from_secs(20);

/// Messages that are asked for at a time: few enough for the queue of a connection.
const BATCH: usize = 4096;

/// Bytes that the single messages in flight may have.
const BYTES: u64 = 4 << 20;

impl Session {
    /// Gives every message from the first on, until no more are wanted or it takes too long; says
    /// how many were not looked at, and could have been.
    pub(super) async fn walk(
        &self,
        stock: &Stock,
        take: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<u64, Error> {
        let mut looked = 0;
        let mut counting = |it: &Record| {
            looked += 1;
            take(it)
        };
        let ended = if let Some(end) = self.walk_headers(stock, &mut counting).await? {
            end
        } else {
            self.walk_singly(stock, &mut counting).await?
        };
        Ok(if ended { 0 } else { stock.messages.saturating_sub(looked).max(1) })
    }

    /// How many messages there are from a sequence on, on some subjects.
    pub(super) async fn pending(
        &self,
        stock: &Stock,
        from: u64,
        filters: &[String],
    ) -> Result<u64, Error> {
        let (name, pending) = self.probe(stock, from, filters).await?;
        self.leave(&stock.name, &name).await;
        Ok(pending)
    }

    /// By a consumer that is given headers only; `None` where there can be none. Whether it came to
    /// the end.
    async fn walk_headers(
        &self,
        stock: &Stock,
        take: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<Option<bool>, Error> {
        if !stock.lends() {
            return Ok(None);
        }
        let Ok((name, _)) = self.probe(stock, stock.first, &[]).await else { return Ok(None) };
        let ended = self.pull(stock, &name, take).await;
        self.leave(&stock.name, &name).await;
        ended.map(Some)
    }

    /// Makes a consumer that goes away by itself; gives its name, and what it has to deliver.
    async fn probe(
        &self,
        stock: &Stock,
        from: u64,
        filters: &[String],
    ) -> Result<(String, u64), Error> {
        let (stream, what) = (stock.name.as_str(), What::Headers);
        let loan = Loan { stream, from, filters, what, stays: IDLE, most: stock.idle };
        let name = loan::name();
        let pending = self.lend(&name, &loan).await?;
        Ok((name, pending))
    }

    async fn pull(
        &self,
        stock: &Stock,
        name: &str,
        take: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let subject = self.full(&format!("CONSUMER.MSG.NEXT.{}.{name}", stock.name));
        let mut inbox = Inbox::open(&self.client, subject.clone()).await?;
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            let watch = Watch::new(&self.reports);
            inbox.ask().await?;
            let batch = timeout(LONGEST, inbox.batch(stock.last, take));
            let goes_on = tokio::select! {
                biased;
                failure = watch.failure(&subject) => return Err(failure),
                batch = batch => batch,
            };
            let late = |_| Error::Timeout { subject: subject.clone(), seconds: LONGEST.as_secs() };
            if !goes_on.map_err(late)?? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Message by message, several at a time, payload and all.
    async fn walk_singly(
        &self,
        stock: &Stock,
        take: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let each = stock.bytes / stock.messages.max(1);
        let window = (BYTES / each.max(1)).clamp(1, 64);
        let begun = Instant::now();
        let mut next = stock.first;
        while next <= stock.last {
            if begun.elapsed() > LONGEST {
                return Ok(false);
            }
            let end = (next + window - 1).min(stock.last);
            let asked = (next..=end).map(|it| self.message(&stock.name, it, ">"));
            let found: Vec<_> = stream::iter(asked).buffered(64).collect().await;
            for record in found {
                let Some(record) = record? else { return Ok(true) };
                // Behind a gap several find the same.
                if record.sequence < next {
                    continue;
                }
                next = record.sequence + 1;
                if record.sequence > stock.last || take(&record).is_break() {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}

fn unreadable(subject: &str) -> Error {
    let reason = "a message does not say where it stands, or how long it is".to_owned();
    Error::Unreadable { subject: subject.to_owned(), reason }
}

/// Where the messages of a consumer come in.
struct Inbox<'a> {
    client: &'a Client,
    subject: String,
    reply: String,
    messages: Subscriber,
}

impl<'a> Inbox<'a> {
    async fn open(client: &'a Client, subject: String) -> Result<Self, Error> {
        let reply = client.new_inbox();
        let lost = |_| Error::Lost { subject: subject.clone() };
        let messages = client.subscribe(reply.clone()).await.map_err(lost)?;
        Ok(Self { client, subject, reply, messages })
    }

    async fn ask(&self) -> Result<(), Error> {
        let lost = || Error::Lost { subject: self.subject.clone() };
        let body = json!({ "batch": BATCH, "no_wait": true }).to_string();
        let (subject, reply) = (self.subject.clone(), self.reply.clone());
        let sent = self.client.publish_with_reply(subject, reply, body.into()).await;
        sent.map_err(|_| lost())?;
        self.client.flush().await.map_err(|_| lost())
    }

    /// Gives what was asked for; says whether there is more.
    async fn batch(
        &mut self,
        last: u64,
        take: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let lost = || Error::Lost { subject: self.subject.clone() };
        for _ in 0..BATCH {
            let message = self.messages.next().await.ok_or_else(lost)?;
            // What has a status says that there is nothing more; up to 2.10 it says so as 408.
            match message.status.map(|it| it.as_u16()) {
                Some(404 | 408) => return Ok(false),
                Some(_) => return Err(lost()),
                None => {}
            }
            let record = record(&message).ok_or_else(|| unreadable(&self.subject))?;
            if take(&record).is_break() || record.sequence >= last {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A message as a consumer gives it without its payload.
fn record(message: &Message) -> Option<Record> {
    let place = Place::read(message.reply.as_deref()?)?;
    let (headers, payload) = lengths(message)?;
    Some(Record {
        sequence: place.sequence,
        at: place.at,
        subject: message.subject.to_string(),
        headers,
        payload,
        is_mortal: message.headers.as_ref().and_then(|it| last(it, TTL)).is_some_and(ends),
    })
}
