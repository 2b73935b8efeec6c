//! What a stream and its consumers say of themselves, as far as counting needs it.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Session, error::Error, wire};
use crate::{
    forecast::{
        Tally,
        walk::{Record, Storage, exactly, written},
    },
    schema::Release,
};

/// The header of a time to live.
pub(super) const TTL: &str = "Nats-TTL";

/// From this release on the server looks a message up by its time; before, it takes no notice.
const BY_TIME: Release = Release(2, 11, 0);

/// What `STREAM.INFO` says.
pub(super) struct Stock {
    pub(super) name: String,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// When the first was stored, in nanoseconds since 1970.
    pub(super) oldest: i64,
    newest: i64,
    /// Sequences between first and last that hold nothing.
    pub(super) deleted: u64,
    pub(super) storage: Storage,
    /// By the server's clock.
    pub(super) now: i64,
    /// Whether messages are kept by limits alone.
    by_limits: bool,
    /// Whether the messages of each subject are limited.
    pub(super) each: bool,
    /// The longest idle time that a consumer may ask for.
    pub(super) idle: Option<u64>,
}

/// What `CONSUMER.INFO` says.
pub(super) struct Standing {
    pub(super) filters: Vec<String>,
    pub(super) floor: u64,
    pub(super) delivered: u64,
    pub(super) pending: u64,
    pub(super) in_flight: u64,
    pub(super) redelivered: u64,
    /// Whether each message is acknowledged by itself.
    pub(super) explicit: bool,
}

impl Stock {
    /// Whether a consumer can be made on it without an effect on its messages.
    pub(super) fn lends(&self) -> bool {
        self.by_limits
    }

    /// So many messages are looked at one by one only to know their bytes, too.
    pub(super) fn few(&self) -> u64 {
        if self.lends() { 50_000 } else { 4_096 }
    }

    /// The last instant that is older than this.
    pub(super) fn cutoff(&self, age: u64) -> Option<i64> {
        self.now.checked_sub(i64::try_from(age).ok()?)
    }

    /// Everything.
    pub(super) fn all(&self) -> Tally {
        self.some(self.messages)
    }

    /// So many, which may be all.
    pub(super) fn some(&self, number: u64) -> Tally {
        let tally = Tally::of(exactly(number));
        if number == 0 || number < self.messages {
            return tally;
        }
        let (oldest, newest) = (written(self.oldest), written(self.newest));
        Tally { bytes: Some(self.bytes), oldest, newest, upto: Some(self.last), ..tally }
    }

    /// So many from the front.
    pub(super) fn first_ones(&self, number: u64) -> Tally {
        let tally = self.some(number);
        if number == 0 {
            return tally;
        }
        // With gaps nobody knows the last of them without looking.
        let upto = (self.deleted == 0).then(|| self.first + number - 1).or(tally.upto);
        Tally { oldest: written(self.oldest), upto, ..tally }
    }
}

impl Session {
    pub(super) async fn stock(&self, stream: &str) -> Result<Stock, Error> {
        self.ask(&format!("STREAM.INFO.{stream}"), "", |subject, it| {
            stock(subject, it).map(|(stock, _)| Stock { name: stream.to_owned(), ..stock })
        })
        .await
    }

    /// The sequences between first and last that hold nothing.
    pub(super) async fn deleted(&self, stream: &str) -> Result<Vec<u64>, Error> {
        let body = r#"{"deleted_details":true}"#;
        self.ask(&format!("STREAM.INFO.{stream}"), body, |subject, it| {
            stock(subject, it).map(|(_, reply)| reply.state.deleted.unwrap_or_default())
        })
        .await
    }

    /// How many messages there are on each subject that one of the filters matches.
    pub(in crate::io) async fn subjects(
        &self,
        stream: &str,
        filters: &[String],
    ) -> Result<BTreeMap<String, u64>, Error> {
        let mut found = BTreeMap::new();
        for filter in filters {
            let mut offset = 0;
            loop {
                let body = json!({ "subjects_filter": filter, "offset": offset }).to_string();
                let subject = format!("STREAM.INFO.{stream}");
                let (page, total) = self.ask(&subject, &body, page).await?;
                offset += page.len();
                let last = page.is_empty() || offset >= total;
                found.extend(page);
                if last {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// `None` where it is not there.
    pub(super) async fn standing(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Standing>, Error> {
        let subject = format!("CONSUMER.INFO.{stream}.{consumer}");
        match self.ask(&subject, "", standing).await {
            Ok(standing) => Ok(Some(standing)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first message from a sequence on, on some subjects; `None` behind the last.
    pub(super) async fn message(
        &self,
        stream: &str,
        sequence: u64,
        filter: &str,
    ) -> Result<Option<Record>, Error> {
        self.look_up(stream, &json!({ "seq": sequence, "next_by_subj": filter })).await
    }

    /// The sequence of the first message after an instant; one behind the last where there is none.
    pub(super) async fn first_after(&self, stock: &Stock, at: i64) -> Result<u64, Error> {
        if self.release() >= BY_TIME
            && let Some(start) = written(at.saturating_add(1))
        {
            let body = json!({ "start_time": start, "next_by_subj": ">" });
            let found = self.look_up(&stock.name, &body).await?;
            return Ok(found.map_or(stock.last + 1, |it| it.sequence));
        }
        // Times ascend with the sequences.
        let (mut low, mut high) = (stock.first, stock.last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.message(&stock.name, middle, ">").await? {
                Some(found) if found.at <= at => low = found.sequence + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// When the last message before a sequence was stored, where that is quickly told.
    pub(super) async fn newest_before(&self, stock: &Stock, next: u64) -> Option<String> {
        let last = next.checked_sub(1).filter(|it| *it >= stock.first && stock.deleted == 0)?;
        written(self.message(&stock.name, last, ">").await.ok()??.at)
    }

    async fn look_up(&self, stream: &str, body: &Value) -> Result<Option<Record>, Error> {
        let subject = format!("STREAM.MSG.GET.{stream}");
        match self.ask(&subject, &body.to_string(), record).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.is_no_message() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[derive(Deserialize)]
struct Info {
    config: Kept,
    state: State,
    ts: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Kept {
    #[serde(default)]
    retention: String,
    #[serde(default)]
    storage: String,
    #[serde(default)]
    max_msgs_per_subject: i64,
    #[serde(default)]
    consumer_limits: ConsumerLimits,
}

#[derive(Deserialize, Default)]
struct ConsumerLimits {
    inactive_threshold: Option<u64>,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    first_ts: Timestamp,
    last_seq: u64,
    last_ts: Timestamp,
    #[serde(default)]
    num_deleted: u64,
    deleted: Option<Vec<u64>>,
}

fn stock(subject: &str, payload: &[u8]) -> Result<(Stock, Info), Error> {
    let info: Info = wire::read(subject, payload)?;
    let State { messages, bytes, first_seq, last_seq, num_deleted, .. } = info.state;
    let now =
        info.ts.ok_or_else(|| wire::unreadable(subject, "it does not say what time it is"))?;
    let stock = Stock {
        name: String::new(),
        messages,
        bytes,
        first: first_seq,
        last: last_seq,
        oldest: nanoseconds(info.state.first_ts),
        newest: nanoseconds(info.state.last_ts),
        deleted: num_deleted,
        storage: if info.config.storage == "memory" { Storage::Memory } else { Storage::File },
        now: nanoseconds(now),
        by_limits: info.config.retention == "limits",
        each: info.config.max_msgs_per_subject > 0,
        idle: info.config.consumer_limits.inactive_threshold,
    };
    Ok((stock, info))
}

fn page(subject: &str, payload: &[u8]) -> Result<(Vec<(String, u64)>, usize), Error> {
    #[derive(Deserialize)]
    struct Reply {
        state: Counted,
        #[serde(default)]
        total: usize,
    }
    #[derive(Deserialize)]
    struct Counted {
        subjects: Option<BTreeMap<String, u64>>,
    }
    let Reply { state, total } = wire::read(subject, payload)?;
    Ok((state.subjects.unwrap_or_default().into_iter().collect(), total))
}

fn standing(subject: &str, payload: &[u8]) -> Result<Standing, Error> {
    #[derive(Deserialize)]
    struct Reply {
        config: Reads,
        delivered: Place,
        ack_floor: Place,
        num_pending: u64,
        num_ack_pending: u64,
        num_redelivered: u64,
    }
    #[derive(Deserialize)]
    struct Reads {
        ack_policy: String,
        filter_subject: Option<String>,
        #[serde(default)]
        filter_subjects: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Place {
        stream_seq: u64,
    }
    let reply: Reply = wire::read(subject, payload)?;
    let mut filters = reply.config.filter_subjects;
    filters.extend(reply.config.filter_subject.filter(|it| !it.is_empty()));
    if filters.is_empty() {
        filters.push(">".to_owned());
    }
    Ok(Standing {
        filters,
        floor: reply.ack_floor.stream_seq,
        delivered: reply.delivered.stream_seq,
        pending: reply.num_pending,
        in_flight: reply.num_ack_pending,
        redelivered: reply.num_redelivered,
        explicit: reply.config.ack_policy == "explicit",
    })
}

fn record(subject: &str, payload: &[u8]) -> Result<Record, Error> {
    let message = wire::stored(subject, payload)?;
    let headers = BASE64.decode(message.hdrs.as_bytes()).unwrap_or_default();
    Ok(Record {
        sequence: message.seq,
        at: nanoseconds(message.time),
        subject: message.subject.into_owned(),
        headers: headers.len() as u64,
        payload: decoded(&message.data),
        is_mortal: is_mortal(&headers),
    })
}

/// The length of what was encoded.
fn decoded(text: &str) -> u64 {
    let padding = text.bytes().rev().take_while(|it| *it == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding) as u64
}

/// Whether the headers give the message a time to live.
fn is_mortal(headers: &[u8]) -> bool {
    let headers = String::from_utf8_lossy(headers);
    let mut values = headers.lines().filter_map(|it| it.split_once(':'));
    values.any(|(name, value)| name.eq_ignore_ascii_case(TTL) && ends(value))
}

/// Whether a time to live comes to an end.
pub(super) fn ends(ttl: &str) -> bool {
    ttl.trim() != "never"
}

/// To nanoseconds since 1970; what is out of range is before every message.
fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or_default()
}
