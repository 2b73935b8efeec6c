//! One request at a time: the premise before it, the answer after it, and what is live where no
//! answer comes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    address::Address,
    config::Config,
    diff::deltas,
    io::{
        clock,
        nats::{self, Session},
    },
    live::Observed,
    plan::{
        Action, Premise, Step,
        call::{Call, Does},
        premise,
    },
    schema::Release,
    units::count,
};

/// How long the replicas of a stream are waited for: a large one may take hours to copy, and then
/// another apply goes on from where this one stopped.
const SETTLING: Duration = Duration::from_secs(300);

/// How often they are looked at.
const PACE: Duration = Duration::from_millis(250);

/// How long somebody who wants it to end waits for a request that nobody has answered yet.
const GRACE: Duration = Duration::from_secs(5);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, or did not answer.
    #[error(transparent)]
    Server(#[from] nats::error::Error),
    /// The live resource is not the one the plan was made from.
    #[error("it changed since the plan was made: {0}")]
    Moved(String),
    /// It would cost more than was planned and allowed.
    #[error(
        "{why}: {} planned and allowed, and now it is {now}; nothing of it was sent: plan again to \
         see it",
        plural(*most)
    )]
    Grown {
        /// What happens to the messages.
        why: String,
        /// How many were allowed.
        most: u64,
        /// How many it is by now.
        now: String,
    },
    /// The replicas of the stream do not get to where they should be.
    #[error(
        "`{stream}` has not settled within {} min: {waiting}; the server goes on by itself, and \
         what is left is for the next apply",
        SETTLING.as_secs() / 60
    )]
    Unsettled {
        /// Its name.
        stream: String,
        /// What it waits for.
        waiting: String,
    },
    /// Somebody did not want to wait for it.
    #[error("interrupted while `{0}` was being moved; what is left is for the next apply")]
    Interrupted(String),
    /// Nobody can say whether a request was carried out.
    #[error(
        "whether `{subject}` was carried out is not known: {why}; the next command reads what is live \
         before it does anything"
    )]
    Open {
        /// What stands behind the API prefix.
        subject: String,
        /// Why nobody can.
        why: String,
    },
    /// What is live shows that a request was not carried out, however often it was sent.
    #[error("`{subject}` was not carried out, as what is live shows: {cause}")]
    Undone {
        /// What stands behind the API prefix.
        subject: String,
        /// Why there was no answer to the last one.
        cause: nats::error::Error,
    },
}

/// What a step knows of the resources that it is about, from the last look or answer: `None` is known
/// to be absent.
///
/// The time of creation is all that tells a resource from another of its name, so that every answer is
/// held against it.
#[derive(Default)]
pub(super) struct Known(BTreeMap<Address, Option<Premise>>);

impl Known {
    /// What was found where the premise was checked. A step without a premise knows nothing.
    pub(super) fn new(step: &Step, is: Option<&Observed>) -> Self {
        let found = step.premise.iter().map(|_| (step.address.clone(), is.map(premise)));
        Self(found.collect())
    }

    fn before(&self, address: &Address) -> Option<&Premise> {
        self.0.get(address)?.as_ref()
    }

    fn take(&mut self, address: &Address, is: Option<&Observed>) {
        self.0.insert(address.clone(), is.map(premise));
    }
}

/// What is live, held against a request without an answer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Undone,
}

fn plural(most: u64) -> String {
    format!("{} {}", count(most, "message"), if most == 1 { "was" } else { "were" })
}

impl Error {
    /// Whether the server was not reached by the request, or refused it: it did nothing.
    pub(super) fn is_refusal(&self) -> bool {
        use nats::error::Error::{Api, Denied, Unsendable};
        matches!(self, Self::Server(Api { .. } | Denied { .. } | Unsendable { .. }))
    }
}

/// JetStream has no compare-and-set, so the live resource is read right before it is written.
/// A creation needs none: the server refuses to create over a different one.
pub(super) async fn check_premise(
    session: &Session,
    step: &Step,
) -> Result<Option<Observed>, Error> {
    let Some(expected) = &step.premise else { return Ok(None) };
    let Some(is) = read_planned(session, &step.address).await? else {
        return match step.action {
            Action::Forget | Action::Delete => Ok(None),
            Action::Create
            | Action::Update
            | Action::Replace
            | Action::Bind
            | Action::Adopt
            | Action::Record => Err(Error::Moved("it is gone".to_owned())),
        };
    };
    let found = premise(&is);
    let told = keeps_created(session, &step.address) || step.destroys();
    if found.created != expected.created && told {
        return Err(anew(&is));
    }
    if found.fingerprint == expected.fingerprint || rescaled(step, &is, expected) {
        return Ok(Some(is));
    }
    Err(Error::Moved("its configuration is another one; plan again to see it".to_owned()))
}

/// Reads a resource that was there when the plan was made. A consumer whose stream an earlier step
/// scaled may be said not to be there for a moment (2.10.26), so that one is looked for once more.
async fn read_planned(session: &Session, address: &Address) -> Result<Option<Observed>, Error> {
    const RETURNS: Duration = Duration::from_secs(2);
    let mut found = Ok(None);
    let look = async || {
        found = read_led(session, address).await;
        !matches!(found, Ok(None))
    };
    clock::until(Instant::now() + RETURNS, PACE, look).await;
    found
}

/// Reads a resource that an earlier step may have left without a leader for a moment, as the consumers
/// of a stream that is scaled are.
async fn read_led(session: &Session, address: &Address) -> Result<Option<Observed>, Error> {
    let mut found = Err(nats::error::Error::NoLeader);
    let look = async || {
        found = session.read(address).await;
        !matches!(found, Err(nats::error::Error::NoLeader))
    };
    clock::until(Instant::now() + nats::PATIENCE, PACE, look).await;
    Ok(found?)
}

/// Whether a consumer is as it was but for its replicas: those the server changes with its stream's,
/// in an earlier step of the same plan (all releases).
fn rescaled(step: &Step, is: &Observed, expected: &Premise) -> bool {
    let mut changes = step.changes.iter().map(|it| &it.delta);
    let Some(delta) = changes.find(|it| it.field.name == "num_replicas") else { return false };
    let mut before = is.config();
    before.set(delta.field.name, delta.before.clone());
    matches!(step.address, Address::Consumer { .. }) && before.fingerprint() == expected.fingerprint
}

/// Waits until the replicas of a stream are where they should be, seen twice: before 2.15 nothing
/// tells a stream that has not begun to move from one that is done.
pub(super) async fn settled(session: &Session, address: &Address) -> Result<(), Error> {
    let stream = address.stream_name();
    let mut waiting = String::new();
    let mut before = false;
    let mut failure = None;
    let look = async || match session.unsettled(stream).await {
        Ok(None) if before => true,
        Ok(None) => {
            before = true;
            false
        }
        Ok(Some(reason)) => {
            (before, waiting) = (false, reason);
            false
        }
        Err(error) => {
            failure = Some(error);
            true
        }
    };
    let in_time = tokio::select! {
        in_time = clock::until(Instant::now() + SETTLING, PACE, look) => in_time,
        () = crate::io::interrupted() => return Err(Error::Interrupted(stream.to_owned())),
    };
    match failure {
        Some(error) => Err(error.into()),
        None if in_time => Ok(()),
        None => Err(Error::Unsettled { stream: stream.to_owned(), waiting }),
    }
}

/// Whether the reply to an update of a consumer shows it as it was before: up to 2.14 that happens
/// while its stream is being scaled.
pub(super) fn is_stale(
    session: &Session,
    step: &Step,
    call: &Call,
    answer: Option<&Observed>,
) -> bool {
    let updated = step.action == Action::Update && !step.address.is_stream();
    updated && answer.is_some_and(|it| !as_sent(session, call, it))
}

/// What is live once it is as it was sent; the last that was read where it does not get there.
///
/// What has just been moved or scaled has no leader for a moment, and the reply to its update may
/// show it as it was before (2.12.8, 2.14.6).
pub(super) async fn shown(session: &Session, call: &Call) -> Option<Observed> {
    let mut last = None;
    let look = async || {
        last = session.read(&call.address).await.ok().flatten();
        last.as_ref().is_some_and(|it| as_sent(session, call, it))
    };
    clock::until(Instant::now() + nats::ELECTION, PACE, look).await;
    last
}

/// Sends one request; gives the read-back, where the answer is one.
///
/// What is deleted is only ever what is known: without that, it is read first.
pub(super) async fn send(
    session: &Session,
    call: &Call,
    known: &mut Known,
) -> Result<Option<Observed>, Error> {
    let address = &call.address;
    if call.does == Does::Delete {
        if !known.0.contains_key(address) {
            known.take(address, read_led(session, address).await?.as_ref());
        }
        if known.before(address).is_none() {
            return Ok(None);
        }
    }
    let answer = tokio::select! {
        answer = answered(session, call, known.before(address)) => answer?,
        () = impatient() => return Err(open(call, "interrupted before there was an answer".to_owned())),
    };
    if call.does == Does::Set {
        return Ok(None);
    }
    let answer = match (known.before(address), answer) {
        (Some(before), Some(is)) => Some(the_same(session, address, before, is).await?),
        (_, answer) => answer,
    };
    known.take(address, answer.as_ref());
    Ok(answer)
}

/// What an answer shows, where it is the resource that was changed, and not another that somebody made
/// under its name between the look and the request.
///
/// The answer to the first update of a consumer since the server was started has the time of the
/// update in the place of that of the creation (all releases).
async fn the_same(
    session: &Session,
    address: &Address,
    before: &Premise,
    is: Observed,
) -> Result<Observed, Error> {
    if before.created == is.created {
        return Ok(is);
    }
    let Some(is) = read_led(session, address).await? else {
        return Err(Error::Moved("it is gone".to_owned()));
    };
    if before.created != is.created && keeps_created(session, address) {
        return Err(anew(&is));
    }
    Ok(is)
}

/// What came of a request, settled where it got no answer.
async fn answered(
    session: &Session,
    call: &Call,
    before: Option<&Premise>,
) -> Result<Option<Observed>, Error> {
    let mut reply = request(session, call).await;
    if reply.as_ref().is_err_and(nats::error::Error::is_moving) {
        // It was refused, so it may be sent again.
        settled(session, &call.address).await?;
        reply = request(session, call).await;
    }
    match reply {
        Err(error) if session.leaves_open(&error) => settle(session, call, before, error).await,
        answer => Ok(answer?),
    }
}

/// One request and its answer. What is refused for the moment only was not carried out, and is sent
/// again.
async fn request(session: &Session, call: &Call) -> Result<Option<Observed>, nats::error::Error> {
    let body = if call.body.is_null() { Vec::new() } else { call.body.to_string().into_bytes() };
    let begun = Instant::now();
    let reply = loop {
        let reply = session.request(&call.subject, body.clone(), call.level).await;
        let within = reply.as_ref().err().and_then(nats::error::Error::passes_within);
        if within.is_none_or(|it| begun.elapsed() >= it) {
            break reply;
        }
        clock::pause(PACE).await;
    };
    match (reply, call.does) {
        (Ok(answer), Does::Write | Does::Resume) => Ok(Some(answer.observed(&call.address)?)),
        (Ok(_), Does::Set | Does::Delete) => Ok(None),
        (Err(error), Does::Delete) if error.is_absence() => Ok(None),
        (Err(error), _) => Err(error),
    }
}

/// No answer does not mean not done: what is live decides. What was not done is sent again, and what
/// destroys only where it would hit the resource that was meant.
async fn settle(
    session: &Session,
    call: &Call,
    before: Option<&Premise>,
    mut cause: nats::error::Error,
) -> Result<Option<Observed>, Error> {
    let deadline = Instant::now() + nats::PATIENCE;
    loop {
        let is = definite(session, call, deadline, &cause).await?;
        let verdict = judge(session, call, before, is.as_ref())?;
        if verdict == Verdict::Done {
            return Ok(is.filter(|_| matches!(call.does, Does::Write | Does::Resume)));
        }
        if Instant::now() >= deadline {
            return Err(Error::Undone { subject: call.subject.clone(), cause });
        }
        match request(session, call).await {
            Err(error) if session.leaves_open(&error) => cause = error,
            answer => return Ok(answer?),
        }
        clock::pause(PACE).await;
    }
}

/// Looks until the server says what is there.
async fn definite(
    session: &Session,
    call: &Call,
    deadline: Instant,
    cause: &nats::error::Error,
) -> Result<Option<Observed>, Error> {
    let mut found = Err(nats::error::Error::NoLeader);
    let look = async || {
        found = session.glance(&call.address).await;
        !found.as_ref().is_err_and(|it| session.leaves_open(it))
    };
    clock::until(deadline, PACE, look).await;
    found.map_err(|it| open(call, format!("{cause}, and what is live cannot be read: {it}")))
}

/// Whether a request was carried out, by what is live now and was before.
fn judge(
    session: &Session,
    call: &Call,
    before: Option<&Premise>,
    is: Option<&Observed>,
) -> Result<Verdict, Error> {
    if let (Some(before), Some(is)) = (before, is)
        && before.created != is.created
        && (call.does == Does::Delete || keeps_created(session, &call.address))
    {
        return Err(anew(is));
    }
    let another =
        |is: &Observed| before.is_some_and(|it| it.fingerprint != premise(is).fingerprint);
    match (is, call.does) {
        (None, Does::Delete) => Ok(Verdict::Done),
        (Some(_), Does::Delete) => Ok(Verdict::Undone),
        (None, _) if before.is_some() => Err(Error::Moved("it is gone".to_owned())),
        (None, Does::Write | Does::Resume | Does::Set) => Ok(Verdict::Undone),
        (Some(is), Does::Write | Does::Resume | Does::Set) if as_sent(session, call, is) => {
            Ok(Verdict::Done)
        }
        (Some(is), Does::Write) if another(is) => {
            let text = "its configuration is neither what it was nor what was sent";
            Err(Error::Moved(text.to_owned()))
        }
        // Where something else has been made meanwhile, the server says so when it is sent again.
        (Some(_), Does::Write | Does::Resume | Does::Set) => Ok(Verdict::Undone),
    }
}

/// Whether the time of creation tells a resource from another of its name: for streams always, and
/// for consumers since 2.15. Before, the next start of the server gives a consumer that was updated
/// the time of its update (measured on 2.10.26, 2.11.11, 2.12.8 and 2.14.6).
fn keeps_created(session: &Session, address: &Address) -> bool {
    match address {
        Address::Stream(_) => true,
        Address::Consumer { .. } => session.release() >= Release(2, 15, 0),
    }
}

fn anew(is: &Observed) -> Error {
    Error::Moved(format!("it was created anew at {}", is.created))
}

fn open(call: &Call, why: String) -> Error {
    Error::Open { subject: call.subject.clone(), why }
}

/// Ends a while after somebody asks for the end.
async fn impatient() {
    crate::io::interrupted().await;
    clock::pause(GRACE).await;
}

fn as_sent(session: &Session, call: &Call, is: &Observed) -> bool {
    let body = Config::of(call.body.get("config").unwrap_or(&call.body));
    let is = is.config();
    let sent = match call.does {
        Does::Set => body.over(&is),
        Does::Write | Does::Resume | Does::Delete => body,
    };
    deltas(call.address.rows(), &is, &sent, &is, session.release()).is_empty()
}
