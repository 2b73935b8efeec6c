//! Publishers at work while a migration goes on: each numbers its messages and sends the next one once
//! the last is acknowledged.
//!
//! What is refused by nobody listening was surely not stored, and is sent again. Of what gets no answer
//! nobody knows: it is sent again too, under the same id, and is remembered as unsure.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, HeaderMap, Request, RequestErrorKind};
use futures_util::future::join_all;
use jsplan::io::{clock::until, run};
use serde_json::{Value, json};

use crate::support::project::wait_for;

/// How many publish at the same time, each under a subject of its own.
pub(crate) const PUBLISHERS: usize = 4;

/// How long an answer is waited for, and how soon a refused message is sent again.
const PATIENCE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(2);

/// How long a publisher rests between two messages, so that jsplan and the servers get their turns.
const REST: Duration = Duration::from_millis(1);

/// Nobody publishes for longer, whatever a test does.
const LONGEST: Duration = Duration::from_secs(180);

/// A stream, and what the subjects of publishers begin with there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) stream: &'static str,
    pub(crate) prefix: &'static str,
}

/// Whether publishers change their subjects on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// They know of nothing.
    Never,
    /// Each once it is told, or refused; it publishes there when its last message has come over.
    Behind,
    /// Each once it is told, or refused; messages stay where they are.
    AtOnce,
}

/// Publishers, and what they are told.
pub(crate) struct Traffic {
    urls: Vec<String>,
    sides: [Side; 2],
    moves: Moves,
    deadline: Instant,
    over: AtomicBool,
    told: AtomicUsize,
    moved: AtomicUsize,
    taken: AtomicU64,
}

/// What one publisher knows at the end: every number up to the last was acknowledged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log {
    pub(crate) acknowledged: u64,
    /// The one after it was sent and never acknowledged.
    pub(crate) is_open: bool,
    /// Messages that were sent again because no answer came.
    pub(crate) unsure: BTreeSet<u64>,
    /// How often nobody took a message.
    pub(crate) refused: u64,
    /// The longest time between two acknowledgements.
    pub(crate) gap: Duration,
}

/// What became of one attempt.
enum Answer {
    Taken,
    Refused,
    Unknown,
}

impl Traffic {
    pub(crate) fn new(urls: &[String], sides: [Side; 2], moves: Moves) -> Self {
        let deadline = Instant::now() + LONGEST;
        let [told, moved] = [0; 2].map(AtomicUsize::new);
        let (over, taken) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { urls: urls.to_vec(), sides, moves, deadline, over, told, moved, taken }
    }

    /// Publishes while something is done, and until as many messages are acknowledged.
    pub(crate) fn during<T: Send>(
        &self,
        least: u64,
        act: impl FnOnce() -> T + Send,
    ) -> (T, Vec<Log>) {
        std::thread::scope(|scope| {
            let publishing =
                scope.spawn(|| run(join_all((0..PUBLISHERS).map(|it| self.publish(it)))));
            let ends = EndsAtLast(&self.over);
            let done = act();
            wait_for("enough is published", || {
                self.taken.load(SeqCst) >= least || publishing.is_finished()
            });
            drop(ends);
            (done, publishing.join().expect("publishers end in order"))
        })
    }

    /// How many messages are acknowledged so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn takes(&self, more: u64) {
        let before = self.taken();
        wait_for("messages are acknowledged", || self.taken() >= before + more);
    }

    /// Has one publisher after the other move, each once messages came through.
    pub(crate) fn move_one_by_one(&self) {
        for one in 1..=PUBLISHERS {
            self.told.store(one, SeqCst);
            wait_for("a publisher moves", || self.moved.load(SeqCst) >= one);
            self.takes(100);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst) || Instant::now() >= self.deadline
    }

    async fn publish(&self, publisher: usize) -> Log {
        let client = connect(&self.urls).await;
        let mut log = Log::default();
        let mut side = self.sides[0];
        let mut before = Instant::now();
        let mut heeds = true;
        while !self.is_over() {
            if heeds && side == self.sides[0] && publisher < self.told.load(SeqCst) {
                side = self.cross(&client, publisher, side, log.acknowledged).await;
                // One that is refused there later goes back, and stays.
                heeds = false;
            }
            if !self.bring(&client, publisher, &mut side, &mut log).await {
                log.is_open = true;
                break;
            }
            log.acknowledged += 1;
            log.gap = log.gap.max(before.elapsed());
            before = Instant::now();
            self.taken.fetch_add(1, SeqCst);
            until(Instant::now() + REST, REST, async || false).await;
        }
        log
    }

    /// Sends the next message until it is acknowledged; false where it never was.
    async fn bring(
        &self,
        client: &Client,
        publisher: usize,
        side: &mut Side,
        log: &mut Log,
    ) -> bool {
        let number = log.acknowledged + 1;
        until(self.deadline, SOON, async || {
            match attempt(client, *side, publisher, number).await {
                Answer::Taken => return true,
                Answer::Refused => {
                    log.refused += 1;
                    // Where it may be on its way already it has to be settled on this side.
                    if self.moves != Moves::Never && !log.unsure.contains(&number) {
                        *side = self.cross(client, publisher, *side, number - 1).await;
                    }
                }
                Answer::Unknown => drop(log.unsure.insert(number)),
            }
            false
        })
        .await
    }

    /// Changes sides, once the other one holds the last message of this one where that is the way.
    async fn cross(&self, client: &Client, publisher: usize, from: Side, last: u64) -> Side {
        let other = if from == self.sides[0] { self.sides[1] } else { self.sides[0] };
        // What publishers sent to the new side is published again on the way back.
        if (self.moves == Moves::Behind || from == self.sides[1]) && last > 0 {
            let arrived = until(self.deadline, SOON, async || {
                newest(client, other, publisher).await.is_some_and(|it| it >= last)
            });
            if !arrived.await {
                return from;
            }
        }
        if from == self.sides[0] {
            self.moved.fetch_add(1, SeqCst);
        }
        other
    }
}

/// Tells publishers to end, also where a test fails.
struct EndsAtLast<'a>(&'a AtomicBool);

impl Drop for EndsAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// A connection to whichever server is there, made again as often as it takes.
pub(crate) async fn connect(urls: &[String]) -> Client {
    let options = ConnectOptions::new()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(PATIENCE)
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .subscription_capacity(1 << 20);
    options.connect(urls).await.expect("a connection")
}

async fn attempt(client: &Client, side: Side, publisher: usize, number: u64) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{publisher}-{number}"));
    let payload = json!({ "publisher": publisher, "number": number, "shape": 1 }).to_string();
    let request = Request::new().headers(headers).payload(payload.into()).timeout(Some(PATIENCE));
    let subject = format!("{}.{publisher}", side.prefix);
    match client.send_request(subject, request).await {
        Ok(answer) => match serde_json::from_slice::<Value>(&answer.payload) {
            Ok(answer) if answer["error"].is_null() && answer["seq"].is_u64() => Answer::Taken,
            _ => Answer::Unknown,
        },
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Answer::Refused,
        Err(_) => Answer::Unknown,
    }
}

/// The number of the last message of a publisher that a stream holds; `None` where it holds none, or
/// does not answer.
async fn newest(client: &Client, side: Side, publisher: usize) -> Option<u64> {
    let body = json!({ "last_by_subj": format!("{}.{publisher}", side.prefix) }).to_string();
    let subject = format!("$JS.API.STREAM.MSG.GET.{}", side.stream);
    let request = Request::new().payload(body.into()).timeout(Some(PATIENCE));
    let answer = client.send_request(subject, request).await.ok()?;
    let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
    let payload = answer["message"]["data"].as_str()?;
    let payload = data_encoding::BASE64.decode(payload.as_bytes()).ok()?;
    serde_json::from_slice::<Value>(&payload).ok()?["number"].as_u64()
}
