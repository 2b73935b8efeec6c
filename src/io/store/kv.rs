//! States in a key-value bucket: under `<environment>.state` the state, and its predecessors as the
//! past of that key; under `.journal` the journal, under `.lock` the lock.
//!
//! Every write says which message it follows, so that of two writers one is refused, and carries an
//! id, so that it can be sent again where the answer is lost. A state that is larger than a message
//! may be is kept in parts: the first under the key, which names the others by their sequences.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use uuid::Uuid;

use super::{Error, Holder};
use crate::{
    config::Config,
    io::{
        clock,
        nats::{
            self, Session,
            message::{Put, Stored},
        },
    },
    schema::bucket::Bucket,
    spec::Kept,
};

/// The past of a key that is kept: the most that clients make a bucket with.
const HISTORY: u64 = 64;

/// The largest part of a state.
const PART: usize = 512 * 1024;

/// What headers and subject may take of a message.
const HEADERS: usize = 4096;

/// Requests in flight.
const WINDOW: usize = 16;

/// The sequences of the other parts, with commas between.
const PARTS: &str = "Jsplan-Parts";

/// The serial of a state, to be told without reading it.
const SERIAL: &str = "Jsplan-Serial";

/// How often a bucket that is being made is looked for.
const PACE: Duration = Duration::from_millis(50);

/// What clients take for the end of a key.
const GONE: (&str, &str) = ("KV-Operation", "DEL");

/// Ends what was on the subject before.
const ALONE: (&str, &str) = ("Nats-Rollup", "sub");

/// The keys of one environment.
pub(super) struct Kv {
    session: Session,
    bucket: String,
    stream: String,
    environment: String,
    replicas: Option<u64>,
    /// The sequence of the state as it was last read or written.
    revision: AtomicU64,
    /// How much of the past of a key the bucket keeps.
    history: AtomicU64,
}

/// A journal that is open: as many lines under each key as the past of a key has room for.
#[derive(Debug)]
pub(super) struct Lines {
    kv: Arc<Kv>,
    lock: u64,
    lock_id: String,
    written: AtomicU64,
    /// The sequence of the last line under the present key.
    last: AtomicU64,
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Kv {
    pub(super) fn new(session: Session, kept: &Kept, environment: &str) -> Self {
        Self {
            session,
            bucket: kept.bucket.clone(),
            stream: Bucket::Kv.stream(&kept.bucket),
            environment: environment.to_owned(),
            replicas: kept.replicas,
            revision: AtomicU64::new(0),
            history: AtomicU64::new(HISTORY),
        }
    }

    pub(super) fn place(&self) -> String {
        format!("{}.state in bucket {}", self.environment, self.bucket)
    }

    fn subject(&self, key: &str) -> String {
        format!("$KV.{}.{}.{key}", self.bucket, self.environment)
    }

    fn failed(&self, source: nats::error::Error) -> Error {
        Error::Server { bucket: self.bucket.clone(), source }
    }

    /// The last message under a key, be it the end of the key.
    async fn last(&self, key: &str) -> Result<Option<Stored>, Error> {
        let last = self.session.last(&self.stream, &self.subject(key)).await;
        last.map_err(|it| self.failed(it))
    }

    async fn put(&self, key: &str, put: Put<'_>) -> Result<u64, nats::error::Error> {
        self.session.put(&self.stream, &self.subject(key), &put).await
    }

    /// The state as it stands.
    pub(super) async fn text(&self) -> Result<Option<String>, Error> {
        const TRIES: usize = 3;
        let mut torn = String::new();
        for _ in 0..TRIES {
            let head = self.last("state").await?;
            self.revision.store(head.as_ref().map_or(0, |it| it.sequence), Ordering::Relaxed);
            let Some(head) = head.filter(is_there) else { return Ok(None) };
            match self.whole(head).await? {
                Ok(text) => return Ok(Some(text)),
                // Somebody may have replaced it between the first part and the last.
                Err(some) => torn = some,
            }
        }
        Ok(Some(torn))
    }

    /// A text with all its parts; as far as it goes where one is gone, which the seal tells.
    async fn whole(&self, head: Stored) -> Result<Result<String, String>, Error> {
        let parts = head.header(PARTS).unwrap_or_default().split(',');
        let parts: Vec<u64> = parts.filter_map(|it| it.parse().ok()).collect();
        let mut bytes = head.payload;
        let read = stream::iter(parts.iter().map(|it| self.session.at(&self.stream, *it)));
        let mut read = read.buffered(WINDOW);
        while let Some(part) = read.try_next().await.map_err(|it| self.failed(it))? {
            let Some(part) = part else {
                return Ok(Err(String::from_utf8_lossy(&bytes).into_owned()));
            };
            bytes.extend(part.payload);
        }
        Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Replaces the state that was last read; refused where somebody else did.
    pub(super) async fn replace(&self, serial: u64, text: &str) -> Result<(), Error> {
        let most = self.session.max_payload().saturating_sub(HEADERS).clamp(1, PART);
        let mut parts = text.as_bytes().chunks(most);
        let first = parts.next().unwrap_or_default();
        let mut sequences = Vec::new();
        for (number, part) in parts.enumerate() {
            let key = format!("state.{}", number + 1);
            let after = self.last(&key).await?.map_or(0, |it| it.sequence);
            let put = value(after, Vec::new(), part);
            let sequence = self.put(&key, put).await.map_err(|it| self.failed(it))?;
            sequences.push(sequence.to_string());
        }
        let headers = vec![(SERIAL, serial.to_string()), (PARTS, sequences.join(","))];
        let after = self.revision.load(Ordering::Relaxed);
        match self.put("state", value(after, headers, first)).await {
            Ok(sequence) => {
                self.revision.store(sequence, Ordering::Relaxed);
                Ok(())
            }
            Err(error) if error.is_conflict() => {
                Err(Error::Raced { environment: self.environment.clone() })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The states before the present one, each with its serial, the oldest first.
    async fn past(&self) -> Result<Vec<(u64, Stored)>, Error> {
        let mut found = Vec::new();
        let (subject, mut from) = (self.subject("state"), 1);
        loop {
            let next = self.session.next(&self.stream, &subject, from).await;
            let Some(next) = next.map_err(|it| self.failed(it))? else { break };
            from = next.sequence + 1;
            let serial = next.header(SERIAL).and_then(|it| it.parse().ok());
            found.extend(serial.filter(|_| is_there(&next)).map(|it| (it, next)));
        }
        found.retain(|(_, it)| it.sequence + 1 < from);
        Ok(found)
    }

    pub(super) async fn kept(&self) -> Result<Vec<u64>, Error> {
        let mut serials: Vec<u64> = self.past().await?.iter().map(|it| it.0).collect();
        serials.sort_unstable();
        serials.dedup();
        Ok(serials)
    }

    pub(super) async fn predecessor(&self, serial: u64) -> Result<Option<String>, Error> {
        let past = self.past().await?;
        match past.into_iter().rev().find(|it| it.0 == serial) {
            Some((_, head)) => Ok(Some(self.whole(head).await?.unwrap_or_else(|torn| torn))),
            None => Ok(None),
        }
    }

    /// What a journal holds that was not ended.
    pub(super) async fn journal(&self) -> Result<Option<String>, Error> {
        let Some(head) = self.last("journal").await?.filter(is_there) else { return Ok(None) };
        let pages = self.journal_keys().await?;
        let read = |subject| self.since(subject, head.sequence + 1);
        let pages = stream::iter(pages.into_iter().map(read)).buffered(WINDOW);
        let pages: Vec<Vec<u8>> = pages.try_collect().await?;
        let bytes = [head.payload, pages.concat()].concat();
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The subjects that lines of a journal were ever under, in order.
    async fn journal_keys(&self) -> Result<Vec<String>, Error> {
        let filter = self.subject("journal.*");
        let found = self.session.subjects(&self.stream, &[filter]).await;
        let found = found.map_err(|it| self.failed(it))?;
        let number = |it: &String| it.rsplit('.').next().and_then(|it| it.parse::<u64>().ok());
        let mut keys: Vec<String> = found.into_keys().collect();
        keys.sort_by_key(number);
        Ok(keys)
    }

    /// All that is under a subject from a sequence on.
    async fn since(&self, subject: String, mut from: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        loop {
            let next = self.session.next(&self.stream, &subject, from).await;
            let Some(next) = next.map_err(|it| self.failed(it))? else { return Ok(bytes) };
            from = next.sequence + 1;
            bytes.extend(next.payload);
        }
    }

    /// Ends the journal; what was under its keys goes.
    pub(super) async fn end_journal(&self) -> Result<(), Error> {
        let Some(head) = self.last("journal").await?.filter(is_there) else { return Ok(()) };
        self.end("journal", head.sequence, Vec::new()).await?;
        let prefix = self.subject("");
        for subject in self.journal_keys().await? {
            let Some(key) = subject.strip_prefix(&prefix) else { continue };
            let Some(last) = self.last(key).await?.filter(is_there) else { continue };
            self.end(key, last.sequence, vec![ALONE]).await?;
        }
        Ok(())
    }

    async fn end(
        &self,
        key: &str,
        after: u64,
        headers: Vec<(&'static str, &'static str)>,
    ) -> Result<(), Error> {
        let headers = headers.into_iter().chain([GONE]);
        let headers = headers.map(|(name, it)| (name, it.to_owned())).collect();
        self.put(key, value(after, headers, b"")).await.map_err(|it| self.failed(it))?;
        Ok(())
    }

    /// Takes the lock and gives its sequence, or who holds it.
    pub(super) async fn lock(&self, holder: &Holder) -> Result<Result<u64, Option<Holder>>, Error> {
        self.make().await?;
        let last = self.last("lock").await?;
        if let Some(held) = last.as_ref().filter(|it| is_there(it)) {
            return Ok(Err(read_holder(held)));
        }
        let text = serde_json::to_vec(holder).expect("a holder is always written");
        let after = last.map_or(0, |it| it.sequence);
        match self.put("lock", value(after, Vec::new(), &text)).await {
            Ok(sequence) => Ok(Ok(sequence)),
            // Somebody was quicker, and may be done already.
            Err(error) if error.is_conflict() => {
                Ok(Err(self.holder().await?.and_then(|(_, holder)| holder)))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Who holds the lock, and since which sequence.
    pub(super) async fn holder(&self) -> Result<Option<(u64, Option<Holder>)>, Error> {
        let held = self.last("lock").await?.filter(is_there);
        Ok(held.map(|it| (it.sequence, read_holder(&it))))
    }

    /// Whether the lock is the one that was taken with this sequence.
    pub(super) async fn is_locked_by(&self, sequence: u64) -> Result<bool, Error> {
        Ok(self.holder().await?.is_some_and(|it| it.0 == sequence))
    }

    /// Lets go of the lock that was taken with this sequence; another one's is left alone.
    pub(super) async fn unlock(&self, sequence: u64) -> Result<(), Error> {
        match self.put("lock", ended(sequence)).await {
            Err(error) if !error.is_conflict() => Err(self.failed(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes the lock away from the holder with this id.
    pub(super) async fn force_unlock(&self, id: &str) -> Result<(), Error> {
        let not_locked = || Error::NotLocked { environment: self.environment.clone() };
        let held = self.holder().await?;
        let theirs = |it: &(u64, Option<Holder>)| it.1.as_ref().is_none_or(|it| it.id == id);
        let (sequence, _) = held.filter(theirs).ok_or_else(not_locked)?;
        match self.put("lock", ended(sequence)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Err(not_locked()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Makes the bucket where there is none, and looks at one that is there.
    async fn make(&self) -> Result<(), Error> {
        let found = match self.session.stream(&self.stream).await {
            Ok(Some(found)) => found,
            Ok(None) => self.create().await?,
            Err(error) => return Err(self.failed(error)),
        };
        if let Some(reason) = unfit(&found) {
            return Err(Error::BadBucket { bucket: self.bucket.clone(), reason });
        }
        let history = found.number("max_msgs_per_subject").and_then(|it| u64::try_from(it).ok());
        self.history.store(history.filter(|it| *it > 0).unwrap_or(HISTORY), Ordering::Relaxed);
        Ok(())
    }

    async fn create(&self) -> Result<Config, Error> {
        let most = if self.session.most_replicas() >= 3 { 3 } else { 1 };
        let mut result = self.create_with(self.replicas.unwrap_or(most)).await;
        // Servers that are named may be down, or have no room.
        let too_many = result.as_ref().is_err_and(nats::error::Error::is_too_many_replicas);
        if too_many && self.replicas.is_none() {
            result = self.create_with(1).await;
        }
        match result {
            Ok(()) => {}
            // Somebody else made it at the same moment.
            Err(error) if error.is_taken() => {}
            Err(source) => return Err(Error::NoBucket { bucket: self.bucket.clone(), source }),
        }
        // In a cluster it is said to be made a moment before it is said to be there (2.11.11).
        let mut found = Ok(None);
        let look = async || {
            found = self.session.stream(&self.stream).await;
            !matches!(found, Ok(None))
        };
        clock::until(Instant::now() + nats::ELECTION, PACE, look).await;
        Ok(found.map_err(|it| self.failed(it))?.unwrap_or_default())
    }

    /// Makes it as clients make a bucket, so that they can read it.
    async fn create_with(&self, replicas: u64) -> Result<(), nats::error::Error> {
        let config = json!({
            "name": self.stream,
            "description": "States of jsplan",
            "subjects": [format!("$KV.{}.>", self.bucket)],
            "retention": "limits",
            "storage": "file",
            "compression": "s2",
            "discard": "new",
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msg_size": -1,
            "max_msgs_per_subject": HISTORY,
            "max_consumers": -1,
            "num_replicas": replicas,
            "duplicate_window": 120_000_000_000_u64,
            "allow_rollup_hdrs": true,
            "allow_direct": true,
            "deny_delete": true,
        });
        let subject = format!("STREAM.CREATE.{}", self.stream);
        self.session.request(&subject, config.to_string().into_bytes(), 0).await.map(drop)
    }
}

/// Why a bucket would not keep a state.
fn unfit(bucket: &Config) -> Option<&'static str> {
    let is = |name: &str| bucket.get(name) == Some(&true.into());
    if bucket.text("storage") == Some("memory") {
        return Some("it is in memory, and ends with its servers");
    }
    if bucket.number("max_age") > Some(0) {
        return Some("its values expire");
    }
    if bucket.has("mirror") {
        return Some("it is a mirror, which takes no writes");
    }
    (!is("allow_rollup_hdrs")).then_some("it is no bucket: it lacks `allow_rollup_hdrs`")
}

fn value<'a>(after: u64, headers: Vec<(&'a str, String)>, payload: &[u8]) -> Put<'a> {
    Put { id: Uuid::new_v4().to_string(), after, headers, payload: payload.to_vec() }
}

fn ended(after: u64) -> Put<'static> {
    let (name, it) = GONE;
    value(after, vec![(name, it.to_owned())], b"")
}

/// Whether a message is a value, and not the end of one.
fn is_there(message: &Stored) -> bool {
    message.header(GONE.0).is_none()
}

fn read_holder(message: &Stored) -> Option<Holder> {
    serde_json::from_slice(&message.payload).ok()
}

impl Lines {
    /// Opens a journal under the lock that was taken with a sequence.
    pub(super) async fn begin(
        kv: &Arc<Kv>,
        head: &str,
        lock: u64,
        lock_id: String,
    ) -> Result<Self, Error> {
        let after = kv.last("journal").await?.map_or(0, |it| it.sequence);
        let put = value(after, Vec::new(), head.as_bytes());
        kv.put("journal", put).await.map_err(|it| kv.failed(it))?;
        let (written, last) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { kv: Arc::clone(kv), lock, lock_id, written, last })
    }

    /// Adds lines; a text that is larger than a message may be goes into several.
    pub(super) async fn append(&self, lines: &str) -> Result<(), Error> {
        let kv = &self.kv;
        if !kv.is_locked_by(self.lock).await? {
            let (environment, id) = (kv.environment.clone(), self.lock_id.clone());
            return Err(Error::LockLost { environment, id });
        }
        let most = kv.session.max_payload().saturating_sub(HEADERS).clamp(1, PART);
        for part in lines.as_bytes().chunks(most) {
            let history = kv.history.load(Ordering::Relaxed);
            let written = self.written.fetch_add(1, Ordering::Relaxed);
            let key = format!("journal.{}", written / history);
            let mut headers = Vec::new();
            if written.is_multiple_of(history) {
                // What an earlier journal left under this key makes room.
                headers.push((ALONE.0, ALONE.1.to_owned()));
                let last = kv.last(&key).await?.map_or(0, |it| it.sequence);
                self.last.store(last, Ordering::Relaxed);
            }
            let put = value(self.last.load(Ordering::Relaxed), headers, part);
            let sequence = match kv.put(&key, put).await {
                Ok(sequence) => sequence,
                Err(error) if error.is_conflict() => {
                    return Err(Error::Raced { environment: kv.environment.clone() });
                }
                Err(error) => return Err(kv.failed(error)),
            };
            self.last.store(sequence, Ordering::Relaxed);
        }
        Ok(())
    }
}
