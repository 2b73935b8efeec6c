//! Two streams read side by side and compared, up to where the origin stood at the start.
//!
//! Whatever one side lacks is asked for again, of the leader, before it counts: messages age out and
//! are deleted while they are read.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Error, Progress, SOON, Told};
use crate::{
    io::{
        clock,
        nats::{
            Session,
            ends::End,
            loan::What,
            reader::{Reader, Whole},
        },
    },
    migration::proof::{
        Content, Copied, Copying, Expected, Failure, Headers, Join, Pair, Verdict, mapped,
    },
    state::ledger::Proof,
};

/// How long a message of the origin may take into the copy, while it is waited for; and how long one
/// that the copy has dropped may take to go from the origin, too.
const LATE: Duration = Duration::from_secs(5);
const GOES: Duration = Duration::from_secs(2);

/// How often is looked whether it has.
const GLANCE: Duration = Duration::from_millis(100);

/// Messages that are given to a program at a time.
const BATCH: usize = 256;

/// Messages of the copy that are looked through for one that is not where it should be.
const ASTRAY: usize = 1024;

/// A message of the origin that has yet to become one of the copy.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its sequence.
    pub sequence: u64,
    /// Its subject in the copy.
    pub subject: String,
    /// Its headers, all of them.
    pub headers: Vec<(String, String)>,
    /// What it says.
    pub payload: Vec<u8>,
}

/// What a message becomes.
#[derive(Debug, Clone)]
pub enum Given {
    /// This.
    Made {
        /// Its subject.
        subject: String,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// What it says.
        payload: Vec<u8>,
    },
    /// Nothing: it goes to the dead letters.
    Rejected,
}

/// Proves that the copy holds what the origin holds: every message from what is proved already up to
/// the last one that the origin had when this was called.
///
/// The caller has seen that both are the streams that it means, and waited for the copy.
pub async fn verify(
    session: &Session,
    pair: &Pair<'_>,
    since: &Proof,
    tell: &mut dyn FnMut(Progress),
) -> Result<Proof, Error> {
    let unmade = async |_| Err(Error::Given("nobody says what messages become".to_owned()));
    let make = (pair.copying == Copying::Program).then_some(unmade);
    compare(session, pair, since, tell, make).await
}

/// The same where a program makes the messages of the copy: it is given them in order, some at a
/// time, and gives what each becomes.
pub async fn verify_made(
    session: &Session,
    pair: &Pair<'_>,
    since: &Proof,
    tell: &mut dyn FnMut(Progress),
    make: impl AsyncFnMut(Vec<Taken>) -> Result<Vec<Given>, Error>,
) -> Result<Proof, Error> {
    compare(session, pair, since, tell, Some(make)).await
}

async fn compare<M>(
    session: &Session,
    pair: &Pair<'_>,
    since: &Proof,
    tell: &mut dyn FnMut(Progress),
    make: Option<M>,
) -> Result<Proof, Error>
where
    M: AsyncFnMut(Vec<Taken>) -> Result<Vec<Given>, Error>,
{
    let (from, to) = tokio::join!(session.end(pair.from), session.end(pair.to));
    let (from, to) = (from?, to?);
    anchored(session, (&from, &to), since).await?;
    let told = Told::new(tell, from.messages.min(from.last.saturating_sub(since.origin)));
    let mut sides = Sides {
        session,
        pair,
        end: from.last,
        origin: Reader::new(session, &from, since.origin + 1, What::Whole),
        copy: Reader::new(session, &to, since.copy + 1, What::Whole),
        expected: VecDeque::new(),
        copied: VecDeque::new(),
        gone: 0,
        ended: false,
        make,
    };
    let proof = sides.join(since, told).await;
    let Sides { origin, copy, copied, .. } = sides;
    tokio::join!(origin.close(), copy.close());
    let proof = proof?;
    let (from_now, to_now) = tokio::join!(session.end(pair.from), session.end(pair.to));
    let (from_now, to_now) = (from_now?, to_now?);
    for (was, is) in [(&from, &from_now), (&to, &to_now)] {
        if was.created != is.created {
            return Err(Error::Replaced { stream: is.name.clone() });
        }
    }
    // What the copy has of later ones the origin must have given.
    match copied.front() {
        Some(&(sequence, _)) if sequence > from_now.last => {
            Err(Failure::Rewound { stream: from.name, sequence }.into())
        }
        Some(_) | None => Ok(proof),
    }
}

/// Whether what is proved still stands: the last message that was compared is what it was, where it
/// is still there.
async fn anchored(session: &Session, (from, to): (&End, &End), since: &Proof) -> Result<(), Error> {
    for (end, sequence) in [(from, since.origin), (to, since.copy)] {
        if sequence > end.last {
            return Err(Failure::Rewound { stream: end.name.clone(), sequence }.into());
        }
    }
    if since.origin < from.first || since.stored == 0 {
        return Ok(());
    }
    match session.whole_at(&from.name, since.origin).await? {
        Some(message) if message.at() != since.stored => {
            let (stream, sequence) = (from.name.clone(), since.origin);
            Err(Failure::Rewound { stream, sequence }.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Both streams, as far as they are read.
struct Sides<'a, M> {
    session: &'a Session,
    pair: &'a Pair<'a>,
    /// The last sequence of the origin that is looked at.
    end: u64,
    origin: Reader<'a>,
    copy: Reader<'a>,
    expected: VecDeque<Awaited>,
    /// Those of the copy with the sequences that they had in the origin.
    copied: VecDeque<(u64, Whole)>,
    /// Below this sequence the origin has nothing but what it was seen to have.
    gone: u64,
    /// Whether the origin is read to its end.
    ended: bool,
    make: Option<M>,
}

/// A message of the origin with what the copy should have of it.
struct Awaited {
    message: Whole,
    becomes: Becomes,
}

enum Becomes {
    /// The same on a subject.
    Itself(Option<String>),
    Made(Given),
}

impl<M> Sides<'_, M>
where
    M: AsyncFnMut(Vec<Taken>) -> Result<Vec<Given>, Error>,
{
    async fn join(&mut self, since: &Proof, mut told: Told<'_>) -> Result<Proof, Error> {
        let mut join = Join::from(since);
        let mut done = 0;
        loop {
            self.look_at_origin().await?;
            self.look_at_copy().await?;
            let (expected, copied) = (self.expected.front(), self.copied.front());
            if expected.is_none() && copied.is_none_or(|it| it.0 > self.end) {
                told.now(done);
                return Ok(join.proof());
            }
            let expected = expected.map(|it| it.expected(self.pair.copying));
            let copied = copied.map(|it| copied_as(self.pair, it));
            match join.judge(expected.as_ref(), copied.as_ref())? {
                Verdict::Equal => {
                    self.expected.pop_front();
                    self.copied.pop_front();
                    done += 1;
                }
                Verdict::Rejected => {
                    self.expected.pop_front();
                    done += 1;
                }
                Verdict::Lacking => {
                    self.excuse().await?;
                    self.expected.pop_front();
                    done += 1;
                }
                Verdict::Unknown => {
                    if let Some(Copied { origin, copy, .. }) = copied {
                        self.unknown(origin, copy).await?;
                        join.gone(origin, copy);
                    }
                    self.copied.pop_front();
                }
            }
            told.tell(done);
        }
    }

    /// Has a message of the origin at hand that is copied, if there is one.
    async fn look_at_origin(&mut self) -> Result<(), Error> {
        while self.expected.is_empty() && !self.ended {
            match self.next_of_origin().await? {
                Some(message) => self.take(message).await?,
                None => self.ended = true,
            }
        }
        Ok(())
    }

    async fn next_of_origin(&mut self) -> Result<Option<Whole>, Error> {
        if self.origin.next() > self.end {
            return Ok(None);
        }
        let message = match self.origin.at_hand() {
            None => self.origin.read_surely(SOON).await?,
            message => message,
        };
        Ok(message.filter(|it| it.sequence() <= self.end))
    }

    /// What a message of the origin becomes; where a program says so, several are given to it.
    async fn take(&mut self, message: Whole) -> Result<(), Error> {
        let Some(make) = &mut self.make else {
            let subject = match self.pair.mapping {
                [] => None,
                mapping => match mapped(mapping, message.subject()) {
                    None => return Ok(()),
                    subject => subject,
                },
            };
            self.expected.push_back(Awaited { message, becomes: Becomes::Itself(subject) });
            return Ok(());
        };
        let mut taken: Vec<(Whole, Taken)> = Vec::new();
        let mut next = Some(message);
        while let Some(message) = next {
            if message.sequence() > self.end {
                self.ended = true;
                break;
            }
            if let Some(subject) = mapped(self.pair.mapping, message.subject()) {
                let given = Taken::of(&message, subject);
                taken.push((message, given));
            }
            if taken.len() >= BATCH || self.origin.next() > self.end {
                break;
            }
            next = self.origin.read(Duration::ZERO).await?;
        }
        let (messages, taken): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let made = make(taken).await?;
        if made.len() != messages.len() {
            let said = format!("of {} messages a program gave {}", messages.len(), made.len());
            return Err(Error::Given(said));
        }
        let both = messages.into_iter().zip(made);
        self.expected
            .extend(both.map(|(message, made)| Awaited { message, becomes: Becomes::Made(made) }));
        Ok(())
    }

    /// Has a message of the copy at hand that is copied, if there is one. It is waited for as long as
    /// one of the origin waits for it.
    async fn look_at_copy(&mut self) -> Result<(), Error> {
        let mut begun = None;
        while self.copied.is_empty() {
            let message = match self.copy.at_hand() {
                Some(message) => Some(message),
                None => {
                    let begun = *begun.get_or_insert_with(Instant::now);
                    let awaited = self.expected.front().is_some_and(|it| !it.is_rejected());
                    let left = LATE.saturating_sub(begun.elapsed());
                    let within = if awaited { left } else { Duration::ZERO };
                    self.copy.read_surely(within).await?
                }
            };
            let Some(message) = message else { break };
            if let Some(origin) = self.pair.origin_of(&message) {
                self.copied.push_back((origin, message));
            }
        }
        Ok(())
    }

    /// Sees whether the origin has lost the message that the copy lacks.
    async fn excuse(&mut self) -> Result<(), Error> {
        let Some(awaited) = self.expected.front() else { return Ok(()) };
        let (origin, subject) = (awaited.message.sequence(), awaited.subject().to_owned());
        if origin < self.gone {
            return Ok(());
        }
        let next = self.exists(origin).await?;
        if next > origin {
            self.gone = next;
            return Ok(());
        }
        // A copy that keeps as much as its origin may drop a message a moment earlier.
        let begun = Instant::now();
        let first = self.session.end(self.pair.to).await?.first;
        let dropped = self.copied.front().is_some_and(|it| it.1.sequence() <= first);
        while dropped && begun.elapsed() < GOES {
            clock::pause(GLANCE).await;
            if self.exists(origin).await? > origin {
                return Ok(());
            }
        }
        Err(self.missing(origin, subject).await?.into())
    }

    /// The first sequence from one on that the origin has a message under.
    async fn exists(&self, origin: u64) -> Result<u64, Error> {
        let next = self.session.next_on(self.pair.from, origin, ">").await?;
        Ok(next.map_or(u64::MAX, |it| it.sequence()))
    }

    /// What is said of a message that the copy lacks: it may come later in it.
    async fn missing(&mut self, origin: u64, subject: String) -> Result<Failure, Error> {
        if self.copied.is_empty() {
            return Ok(Failure::Behind { origin, subject });
        }
        for _ in 0..ASTRAY {
            let Some(message) = self.copy.read(Duration::ZERO).await? else { break };
            if self.pair.origin_of(&message) == Some(origin) {
                return Ok(Failure::Disordered { origin, copy: message.sequence() });
            }
        }
        Ok(Failure::Missing { origin, subject })
    }

    /// Sees whether the origin ever had the message that only the copy has.
    async fn unknown(&mut self, origin: u64, copy: u64) -> Result<(), Error> {
        if origin < self.gone {
            return Ok(());
        }
        let next = self.exists(origin).await?;
        if next == origin {
            return Err(Failure::Extra { origin, copy }.into());
        }
        self.gone = next;
        Ok(())
    }
}

impl Taken {
    pub(super) fn of(message: &Whole, subject: String) -> Self {
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let headers = message.headers().map(|(name, value)| (text(name), text(value)));
        Self {
            sequence: message.sequence(),
            subject,
            headers: headers.collect(),
            payload: message.payload().to_vec(),
        }
    }
}

impl Awaited {
    fn is_rejected(&self) -> bool {
        matches!(self.becomes, Becomes::Made(Given::Rejected))
    }

    fn subject(&self) -> &str {
        match &self.becomes {
            Becomes::Itself(Some(subject)) | Becomes::Made(Given::Made { subject, .. }) => subject,
            Becomes::Itself(None) | Becomes::Made(Given::Rejected) => self.message.subject(),
        }
    }

    fn expected(&self, copying: Copying) -> Expected<'_> {
        let content = match &self.becomes {
            Becomes::Itself(_) => Some(content(copying, self.subject(), &self.message)),
            Becomes::Made(Given::Rejected) => None,
            Becomes::Made(Given::Made { subject, headers, payload }) => {
                let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                Some(Content {
                    subject: Cow::Borrowed(subject),
                    headers: Headers::of(copying, pairs),
                    payload: Cow::Borrowed(payload),
                })
            }
        };
        Expected { origin: self.message.sequence(), stored: self.message.at(), content }
    }
}

fn content<'a>(copying: Copying, subject: &'a str, message: &'a Whole) -> Content<'a> {
    Content {
        subject: Cow::Borrowed(subject),
        headers: Headers::of(copying, message.headers()),
        payload: Cow::Borrowed(message.payload()),
    }
}

fn copied_as<'a>(pair: &Pair<'_>, (origin, message): &'a (u64, Whole)) -> Copied<'a> {
    Copied {
        origin: *origin,
        copy: message.sequence(),
        content: content(pair.copying, message.subject(), message),
    }
}
