//! The messages of a stream with all that is in them, in order, from a sequence on.
//!
//! Most come by a consumer that is asked for more before it has given what it was asked for, so that
//! nobody waits; where its deliveries have a gap, or it falls silent, another one goes on. Few are
//! asked for by their sequences, which is quicker than to make a consumer; so is a stream on which
//! one would have an effect, and what the client cannot read: it gives up its connection over a
//! header that is none, and the raw bytes of an answer hold any.

mod whole;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use serde_json::json;
use tokio::time::timeout;

pub(crate) use self::whole::Whole;
use super::{
    PACE, PATIENCE, Session,
    ends::End,
    error::Error,
    event::Watch,
    loan::{self, Loan, Place, What},
};
use crate::io::clock;

/// Up to so many are asked for by their sequences: about what a consumer costs (2.15.1: 0.15 ms each
/// against 3 ms for both, of which each message takes 10 us).
const FEW: u64 = 32;

/// Messages that are asked for at a time, each way.
const BATCH: u64 = 2048;
const WINDOW: u64 = 64;

/// Bytes that the messages of one request may have.
const BYTES: u64 = 8 << 20;

/// How long a request to a consumer is open, how often it says that it is, and how long it may say
/// nothing.
const OPEN: Duration = Duration::from_secs(5);
const BEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);

/// How often a consumer is made again that gives nothing, before messages are asked for one by one.
const TRIES: u32 = 3;

/// How often a stream is looked at for a message that is yet to come.
const GLANCE: Duration = Duration::from_millis(10);

/// How long the deletion of consumers may take.
const QUICKLY: Duration = Duration::from_secs(2);

/// How long a consumer stays that nobody deleted.
const IDLE: Duration = Duration::from_secs(30);

/// One pass over a stream.
pub(crate) struct Reader<'a> {
    session: &'a Session,
    stream: String,
    what: What,
    most: Option<u64>,
    /// The sequence to go on with.
    next: u64,
    /// The last sequence that is known of.
    last: u64,
    /// Bytes of a message, by the average of the stream.
    each: u64,
    way: Way,
    /// What was asked for by sequences and not given yet.
    ready: VecDeque<Whole>,
    /// Consumers that gave nothing, one after another.
    vain: u32,
    /// The names of all consumers that it made.
    made: Vec<String>,
}

enum Way {
    Consumer(Option<Flow>),
    Singly,
}

/// What a consumer gives.
struct Flow {
    subject: String,
    inbox: String,
    messages: Subscriber,
    /// The connection, from before it was made: what was on its way when that broke is lost, though
    /// the consumer may be there and say so.
    watch: Watch,
    /// Messages that were asked for and have not come.
    due: u64,
    /// The number of the last delivery.
    number: u64,
    /// When anything came last.
    heard: Instant,
}

/// What came of a consumer.
enum Came {
    Message(Whole),
    /// Nothing, and it goes on.
    Nothing,
    /// It is of no use any more.
    Broken,
}

impl<'a> Reader<'a> {
    /// Begins at a sequence.
    pub(crate) fn new(session: &'a Session, end: &End, from: u64, what: What) -> Self {
        let next = from.max(end.first).max(1);
        let few = (end.last + 1).saturating_sub(next) <= FEW;
        Self {
            session,
            stream: end.name.clone(),
            what,
            most: end.idle,
            next,
            last: end.last,
            each: (end.bytes / end.messages.max(1)).max(1),
            way: if few || !end.lends { Way::Singly } else { Way::Consumer(None) },
            ready: VecDeque::new(),
            vain: 0,
            made: Vec::new(),
        }
    }

    /// The sequence behind the last message that was given.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Gives the next message; `None` where none comes for so long.
    pub(crate) async fn read(&mut self, within: Duration) -> Result<Option<Whole>, Error> {
        if let Some(message) = self.at_hand() {
            return Ok(Some(message));
        }
        let begun = Instant::now();
        loop {
            let left = within.saturating_sub(begun.elapsed());
            let came = match &mut self.way {
                Way::Singly => self.ask().await?,
                Way::Consumer(_) => self.flow(left).await?,
            };
            if came.is_some() || begun.elapsed() >= within {
                return Ok(came);
            }
            if matches!(self.way, Way::Singly) {
                clock::pause(GLANCE.min(left)).await;
            }
        }
    }

    /// Gives the next message; `None` where none comes for so long, and the leader says that there is
    /// none. A consumer may be on a server that knows less, or be gone with its own.
    pub(crate) async fn read_surely(&mut self, within: Duration) -> Result<Option<Whole>, Error> {
        let begun = Instant::now();
        let mut within = within;
        loop {
            if let Some(message) = self.read(within).await? {
                return Ok(Some(message));
            }
            if self.session.next_on(&self.stream, self.next, ">").await?.is_none() {
                return Ok(None);
            }
            if begun.elapsed() > within + PATIENCE {
                let subject = self.session.full(&format!("CONSUMER.MSG.NEXT.{}", self.stream));
                return Err(Error::Timeout { subject, seconds: begun.elapsed().as_secs() });
            }
            if within >= SILENCE && matches!(self.way, Way::Consumer(_)) {
                self.way = Way::Consumer(None);
            }
            within = SILENCE;
        }
    }

    /// Ends what was made for it, as far as that is quickly done: the rest ends by itself.
    pub(crate) async fn close(self) {
        let ended = self.made.iter().map(|it| self.session.leave(&self.stream, it));
        let _ended = timeout(QUICKLY, join_all(ended)).await;
    }

    /// Gives the next message, if it is there already: that costs no look at the clock.
    pub(crate) fn at_hand(&mut self) -> Option<Whole> {
        let message = match &mut self.way {
            Way::Singly => self.ready.pop_front()?,
            Way::Consumer(flow) => {
                let flow = flow.as_mut()?;
                // It is asked for more in time, which only a turn with the clock does.
                if flow.due <= BATCH.min(BYTES / self.each) {
                    return None;
                }
                let message = flow.messages.next().now_or_never()??;
                match flow.take(message) {
                    Came::Message(message) => message,
                    Came::Nothing => return None,
                    Came::Broken => {
                        self.way = Way::Consumer(None);
                        return None;
                    }
                }
            }
        };
        Some(self.given(message))
    }

    fn given(&mut self, message: Whole) -> Whole {
        self.next = message.sequence() + 1;
        self.vain = 0;
        message
    }

    /// One turn with a consumer.
    async fn flow(&mut self, within: Duration) -> Result<Option<Whole>, Error> {
        let Way::Consumer(flow) = &mut self.way else { return Ok(None) };
        let came = match flow {
            None => {
                if self.vain >= TRIES {
                    self.way = Way::Singly;
                    return Ok(None);
                }
                self.vain += 1;
                let opened = self.open().await?;
                self.way = Way::Consumer(Some(opened));
                return Ok(None);
            }
            Some(flow) => {
                let batch = BATCH.min(BYTES / self.each).max(1);
                let most = BYTES.max(2 * self.session.max_payload() as u64);
                flow.turn(self.session, (batch, most), within).await
            }
        };
        match came {
            Came::Message(message) => Ok(Some(self.given(message))),
            Came::Nothing => Ok(None),
            Came::Broken => {
                self.way = Way::Consumer(None);
                Ok(None)
            }
        }
    }

    /// Makes a consumer that begins where the last one ended; a cluster that is electing is waited
    /// for.
    async fn open(&mut self) -> Result<Flow, Error> {
        let begun = Instant::now();
        let watch = Watch::new(&self.session.reports);
        let loan = Loan {
            stream: &self.stream,
            from: self.next,
            filters: &[],
            what: self.what,
            stays: IDLE,
            most: self.most,
        };
        let name = loop {
            let name = loan::name();
            self.made.push(name.clone());
            match self.session.lend(&name, &loan).await {
                Ok(_) => break name,
                Err(error) if self.session.leaves_open(&error) && begun.elapsed() < PATIENCE => {
                    clock::pause(PACE).await;
                }
                Err(error) => return Err(error),
            }
        };
        let subject = self.session.full(&format!("CONSUMER.MSG.NEXT.{}.{name}", self.stream));
        let inbox = self.session.client.new_inbox();
        let lost = |_| Error::Lost { subject: subject.clone() };
        let messages = self.session.client.subscribe(inbox.clone()).await.map_err(lost)?;
        let heard = Instant::now();
        Ok(Flow { subject, inbox, messages, watch, due: 0, number: 0, heard })
    }

    /// Asks for the next ones by their sequences, and gives the first.
    async fn ask(&mut self) -> Result<Option<Whole>, Error> {
        let window = (BYTES / self.each).clamp(1, WINDOW);
        let known = (self.last + 1).saturating_sub(self.next);
        let until = self.next + window.min(known.max(1));
        let (session, stream) = (self.session, self.stream.as_str());
        let asked = (self.next..until).map(|it| session.next_on(stream, it, ">"));
        let mut found = stream::iter(asked).buffered(64);
        let mut next = self.next;
        while let Some(message) = found.next().await {
            let Some(message) = message? else { break };
            // Behind a gap several find the same.
            if message.sequence() >= next {
                next = message.sequence() + 1;
                self.ready.push_back(message);
            }
        }
        drop(found);
        // What came behind the last that was known may be followed by twice as many.
        self.last = self.last.max(next - 1 + 2 * self.ready.len() as u64);
        let message = self.ready.pop_front();
        Ok(message.map(|it| self.given(it)))
    }
}

impl Flow {
    /// Asks for more where there is need, and waits for what comes.
    async fn turn(
        &mut self,
        session: &Session,
        (batch, most): (u64, u64),
        within: Duration,
    ) -> Came {
        let watch = self.watch.clone();
        while self.due <= batch {
            let nanoseconds = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
            let body = json!({ "batch": batch, "max_bytes": most, "expires": nanoseconds(OPEN),
                               "idle_heartbeat": nanoseconds(BEAT) });
            let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
            let body = body.to_string().into();
            if session.client.publish_with_reply(subject, inbox, body).await.is_err() {
                return Came::Broken;
            }
            self.due += batch;
        }
        let came = tokio::select! {
            biased;
            _failure = watch.failure(&self.subject) => return Came::Broken,
            came = timeout(within.min(SILENCE), self.messages.next()) => came,
        };
        match came {
            Ok(Some(message)) => self.take(message),
            Ok(None) => Came::Broken,
            Err(_) if self.heard.elapsed() >= SILENCE => Came::Broken,
            Err(_) => Came::Nothing,
        }
    }

    /// What a message from the server is: one of the stream, or a word about the request.
    fn take(&mut self, message: Message) -> Came {
        // What has nowhere to be acknowledged is no delivery, whatever its status: a stored message
        // may have one of its own.
        let Some(place) = message.reply.as_deref().and_then(Place::read) else {
            return self.note(&message);
        };
        if place.number != self.number + 1 {
            return Came::Broken;
        }
        self.number = place.number;
        self.due = self.due.saturating_sub(1);
        self.heard_if_idle(place.pending);
        Came::Message(Whole::delivered(message, &place))
    }

    fn note(&mut self, message: &Message) -> Came {
        self.heard = Instant::now();
        let left = message.headers.as_ref().and_then(|it| it.get("Nats-Pending-Messages"));
        let left = left.and_then(|it| it.as_str().parse().ok());
        let ends = |it: &str| it.contains("MaxBytes") || it == "Batch Completed";
        let ended = message.description.as_deref().is_some_and(ends);
        match (message.status.map(|it| it.as_u16()), left) {
            (Some(100), _) => Came::Nothing,
            // The request has ended, by time, by size, or since it is done (2.15).
            (Some(408), Some(left)) => self.ended(left),
            (Some(409), Some(left)) if ended => self.ended(left),
            (Some(_) | None, _) => Came::Broken,
        }
    }

    fn ended(&mut self, left: u64) -> Came {
        self.due = self.due.saturating_sub(left);
        Came::Nothing
    }

    /// Messages come by thousands; when the last of them came is enough to know.
    fn heard_if_idle(&mut self, pending: u64) {
        if pending.is_multiple_of(64) {
            self.heard = Instant::now();
        }
    }
}
