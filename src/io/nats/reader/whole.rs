//! A message with all that is in it, however it came.

use async_nats::Message;
use serde_json::{Value, json};

use super::super::{
    Session,
    error::Error,
    loan::{Place, lengths},
    wire,
};
use crate::migration::proof;

/// A message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    sequence: u64,
    at: i64,
    held: Held,
}

#[derive(Debug, Clone)]
enum Held {
    /// A consumer delivered it.
    Delivered(Message),
    /// It was asked for by its sequence.
    Given { subject: String, headers: Vec<(Vec<u8>, Vec<u8>)>, payload: Vec<u8>, block: u64 },
}

impl Whole {
    pub(super) fn delivered(message: Message, place: &Place) -> Self {
        let Place { sequence, at, .. } = *place;
        Self { sequence, at, held: Held::Delivered(message) }
    }

    /// Where in the stream.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When it was stored, in nanoseconds since 1970.
    pub(crate) fn at(&self) -> i64 {
        self.at
    }

    pub(crate) fn subject(&self) -> &str {
        match &self.held {
            Held::Delivered(message) => &message.subject,
            Held::Given { subject, .. } => subject,
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        match &self.held {
            Held::Delivered(message) => &message.payload,
            Held::Given { payload, .. } => payload,
        }
    }

    /// Every header, the values of one name in their order; a consumer gives no order among names.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (delivered, given) = match &self.held {
            Held::Delivered(message) => (message.headers.as_ref(), &[][..]),
            Held::Given { headers, .. } => (None, headers.as_slice()),
        };
        let named = delivered.into_iter().flat_map(async_nats::HeaderMap::iter);
        let delivered = named.flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |it| (name.as_bytes(), it.as_str().as_bytes()))
        });
        delivered.chain(given.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
    }

    /// The bytes of its headers and of its payload, also where it came without that.
    pub(crate) fn lengths(&self) -> (u64, u64) {
        match &self.held {
            Held::Delivered(message) => lengths(message).unwrap_or_else(|| {
                let around =
                    message.subject.len() + message.reply.as_ref().map_or(0, |it| it.len());
                let payload = message.payload.len();
                (message.length.saturating_sub(around + payload) as u64, payload as u64)
            }),
            Held::Given { payload, block, .. } => (*block, payload.len() as u64),
        }
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        match &self.held {
            Held::Delivered(message) => {
                // Looked for one by one: the map would make a name of its own for each question.
                let mut named = message.headers.as_ref()?.iter();
                let (_, values) = named.find(|(known, _)| AsRef::<str>::as_ref(*known) == name)?;
                Some(values.first()?.as_str())
            }
            Held::Given { headers, .. } => {
                let value = headers.iter().find(|it| it.0 == name.as_bytes());
                str::from_utf8(&value?.1).ok()
            }
        }
    }
}

impl Session {
    /// The first message from a sequence on, on some subjects, as the leader has it; `None` behind
    /// the last.
    pub(crate) async fn next_on(
        &self,
        stream: &str,
        sequence: u64,
        filter: &str,
    ) -> Result<Option<Whole>, Error> {
        let body = json!({ "seq": sequence.max(1), "next_by_subj": filter });
        self.whole(stream, &body).await
    }

    /// The message with a sequence, as the leader has it.
    pub(crate) async fn whole_at(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Whole>, Error> {
        self.whole(stream, &json!({ "seq": sequence })).await
    }

    /// The last message on some subjects, as the leader has it.
    pub(crate) async fn last_on(&self, stream: &str, filter: &str) -> Result<Option<Whole>, Error> {
        self.whole(stream, &json!({ "last_by_subj": filter })).await
    }

    async fn whole(&self, stream: &str, body: &Value) -> Result<Option<Whole>, Error> {
        let subject = format!("STREAM.MSG.GET.{stream}");
        match self.ask(&subject, &body.to_string(), whole).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.is_no_message() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn whole(subject: &str, payload: &[u8]) -> Result<Whole, Error> {
    let message = wire::stored(subject, payload)?;
    let decoded = |text: &str| wire::decoded(subject, text);
    let at = i64::try_from(message.time.as_nanosecond()).unwrap_or_default();
    let block = decoded(&message.hdrs)?;
    let held = Held::Given {
        subject: message.subject.into_owned(),
        headers: proof::headers(&block),
        payload: decoded(&message.data)?,
        block: block.len() as u64,
    };
    Ok(Whole { sequence: message.seq, at, held })
}
