//! Messages of a stream as values under keys: written so that a lost answer does no harm, and read
//! from the leader.

use std::time::Instant;

use async_nats::{HeaderMap, Request};
use serde::Deserialize;
use serde_json::json;

use super::{PACE, PATIENCE, Session, error::Error, wire};
use crate::{address::Address, config::Config, io::clock};

/// A message as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Where in the stream.
    pub(crate) sequence: u64,
    /// What it says.
    pub(crate) payload: Vec<u8>,
    headers: String,
}

/// A message to be stored.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    /// Told from every other: the same is never stored twice.
    pub(crate) id: String,
    /// The sequence of the last message on its subject; 0 where there is none.
    pub(crate) after: u64,
    /// Headers of its own.
    pub(crate) headers: Vec<(&'a str, String)>,
    /// What it says.
    pub(crate) payload: Vec<u8>,
}

const ID: &str = "Nats-Msg-Id";

impl Stored {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|it| it.split_once(':'));
        Some(lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim())
    }
}

impl Session {
    /// The last message on a subject. A direct get would be answered by a follower too, which may
    /// lag.
    pub(crate) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, Error> {
        self.fetch(stream, &json!({ "last_by_subj": subject }).to_string()).await
    }

    /// The first message on a subject from a sequence on.
    pub(crate) async fn next(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, Error> {
        let body = json!({ "seq": from, "next_by_subj": subject });
        self.fetch(stream, &body.to_string()).await
    }

    /// The message with a sequence.
    pub(crate) async fn at(&self, stream: &str, sequence: u64) -> Result<Option<Stored>, Error> {
        self.fetch(stream, &json!({ "seq": sequence }).to_string()).await
    }

    async fn fetch(&self, stream: &str, body: &str) -> Result<Option<Stored>, Error> {
        let read = |subject: &str, payload: &[u8]| message(subject, payload);
        match self.ask(&format!("STREAM.MSG.GET.{stream}"), body, read).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_absence() || error.is_no_message() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The configuration of a stream, be it without a leader; `None` where there is none.
    pub(crate) async fn stream(&self, name: &str) -> Result<Option<Config>, Error> {
        Ok(self.find(&Address::stream(name), Instant::now()).await?.map(|it| it.observed.config()))
    }

    /// Stores a message, unless another came before it, and gives its sequence.
    ///
    /// Where no answer comes it is sent again: the server knows it by its id, and where that is
    /// forgotten it is found to be the last on its subject.
    pub(crate) async fn put(
        &self,
        stream: &str,
        subject: &str,
        put: &Put<'_>,
    ) -> Result<u64, Error> {
        let start = Instant::now();
        let mut sent_before = false;
        let to = self.through(subject);
        loop {
            let reply = self.send(&to, put.request(), self.timeout).await;
            let error = match reply.and_then(|it| sequence(&to, &it.payload)) {
                Ok(sequence) => return Ok(sequence),
                Err(error) => error,
            };
            if error.is_conflict() && sent_before {
                let last = self.last(stream, subject).await?;
                let ours = last.filter(|it| it.header(ID) == Some(&put.id));
                return ours.map(|it| it.sequence).ok_or(error);
            }
            // Nobody takes a message while the leader of the stream is elected.
            let electing = matches!(error, Error::NotEnabled { .. } | Error::WrongPrefix { .. });
            let lost = error.is_loss() || electing || matches!(error, Error::NoLeader);
            if !lost || start.elapsed() >= PATIENCE {
                return Err(error);
            }
            sent_before = true;
            clock::pause(PACE).await;
        }
    }

    /// Stores a message, once, and gives its sequence.
    pub(crate) async fn store(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Vec<u8>,
    ) -> Result<u64, Error> {
        let request = Request::new().headers(headers).payload(payload.into());
        let to = self.through(subject);
        let reply = self.send(&to, request, self.timeout).await?;
        sequence(&to, &reply.payload)
    }

    /// Clients of another domain, or of an import, publish through the prefix of their API.
    fn through(&self, subject: &str) -> String {
        match self.prefix.as_str() {
            "$JS.API" => subject.to_owned(),
            prefix => format!("{prefix}.{subject}"),
        }
    }

    /// The largest message that the server takes.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Most copies that a stream can have here, as far as is told.
    pub(crate) fn most_replicas(&self) -> usize {
        self.servers().max(1)
    }
}

impl Put<'_> {
    fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(ID, self.id.as_str());
        headers.insert("Nats-Expected-Last-Subject-Sequence", self.after.to_string());
        for (name, value) in &self.headers {
            headers.insert(*name, value.as_str());
        }
        Request::new().headers(headers).payload(self.payload.clone().into())
    }
}

/// The message in a reply.
fn message(subject: &str, payload: &[u8]) -> Result<Stored, Error> {
    let wire::Encoded { seq: sequence, hdrs, data, .. } = wire::stored(subject, payload)?;
    let decoded = |text: &str| wire::decoded(subject, text);
    let headers = String::from_utf8_lossy(&decoded(&hdrs)?).into_owned();
    Ok(Stored { sequence, payload: decoded(&data)?, headers })
}

/// The sequence under which a message was stored, now or before.
fn sequence(subject: &str, payload: &[u8]) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Reply {
        seq: u64,
    }
    let Reply { seq } = wire::read(subject, payload)?;
    Ok(seq)
}
