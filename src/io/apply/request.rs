//! One request at a time: the premise before it, the answer after it, and what is live where no
//! answer comes.

use std::time::{Duration, Instant};

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
    units::count,
};

/// How long the replicas of a stream are waited for: a large one may take hours to copy, and then
/// another apply goes on from where this one stopped.
const SETTLING: Duration = Duration::from_secs(300);

/// How often they are looked at.
const PACE: Duration = Duration::from_millis(250);

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
    let Some(is) = read_led(session, &step.address).await? else {
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
    if found.created != expected.created {
        return Err(Error::Moved(format!("it was created anew at {}", found.created)));
    }
    if found.fingerprint == expected.fingerprint || rescaled(step, &is, expected) {
        return Ok(Some(is));
    }
    Err(Error::Moved("its configuration is another one; plan again to see it".to_owned()))
}

/// Reads a resource that an earlier step may have left without a leader for a moment, as the consumers
/// of a stream that is scaled are.
async fn read_led(session: &Session, address: &Address) -> Result<Option<Observed>, Error> {
    let mut found = Err(nats::error::Error::NoLeader);
    let look = async || {
        found = session.read(address).await;
        !matches!(found, Err(nats::error::Error::NoLeader))
    };
    clock::until(Instant::now() + nats::ELECTION, PACE, look).await;
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
pub(super) async fn send(session: &Session, call: &Call) -> Result<Option<Observed>, Error> {
    let body = if call.body.is_null() { Vec::new() } else { call.body.to_string().into_bytes() };
    let mut reply = session.request(&call.subject, body.clone(), call.level).await;
    if reply.as_ref().is_err_and(nats::error::Error::is_moving) {
        // It was refused, so it may be sent again.
        settled(session, &call.address).await?;
        reply = session.request(&call.subject, body, call.level).await;
    }
    match (reply, call.does) {
        (Ok(answer), Does::Write | Does::Resume) => Ok(Some(answer.observed(&call.address)?)),
        (Ok(_), Does::Set | Does::Delete) => Ok(None),
        (Err(error), Does::Delete) if error.is_absence() => Ok(None),
        (Err(error), _) if error.is_loss() => settle(session, call, error).await,
        (Err(error), _) => Err(error.into()),
    }
}

/// No answer does not mean not done: what is live decides, and nothing is sent twice.
async fn settle(
    session: &Session,
    call: &Call,
    error: nats::error::Error,
) -> Result<Option<Observed>, Error> {
    match (session.read(&call.address).await?, call.does) {
        (None, Does::Delete) => Ok(None),
        (Some(is), Does::Write | Does::Resume) if as_sent(session, call, &is) => Ok(Some(is)),
        (Some(is), Does::Set) if as_sent(session, call, &is) => Ok(None),
        (None | Some(_), Does::Write | Does::Resume | Does::Set | Does::Delete) => {
            Err(error.into())
        }
    }
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
