//! Walking a plan: intent on disk, premise, request, read-back, outcome on disk; and a clean stop.
//!
//! The decisions are all in the plan. What is added here is the order in time: steps of one wave
//! side by side, waves one after another, and nothing sent that the journal does not know of.

mod recount;
mod request;
mod walk;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;

pub use self::request::Error;
use self::{
    recount::Held,
    request::{Known, check_premise, is_stale, send, settled, shown},
    walk::{Ended, Walk},
};
use super::{
    clock,
    fault::{self, Point},
    nats::Session,
    store::{self, Journal},
};
use crate::{
    event::{Event, Outcome},
    live::Observed,
    mark::Mark,
    plan::{Action, Intent, Step},
    state::{Recorded, State},
};

/// Writes in flight: the knee of a single server, and enough to hide elections in a cluster.
pub(crate) const PARALLELISM: u16 = 16;

/// How often a step that takes long says so.
const STILL: Duration = Duration::from_secs(10);

/// How a walk ended.
pub(crate) struct Walked {
    /// What came of the steps.
    pub(crate) outcome: Outcome,
    /// How many failed steps may have been carried out all the same. Only the journal knows of
    /// them, so that it has to stay.
    pub(crate) undecided: usize,
    /// Why the journal takes no more, which ends a walk as a failed step does.
    pub(crate) failure: Option<store::Error>,
}

impl Walked {
    /// Whether every step was done, and the journal knows it.
    pub(crate) fn is_complete(&self) -> bool {
        self.outcome.is_complete() && self.failure.is_none()
    }
}

/// Carries out the steps of a plan and changes the state with it. Each step is in the journal, on
/// disk, before its first request leaves, and each outcome before a new step is begun.
///
/// The first failure lets the steps in flight finish and begins no others; so does Ctrl-C.
pub(crate) async fn apply(
    steps: &[Step],
    session: &Session,
    state: &mut State,
    journal: &Journal,
    parallelism: u16,
    tell: &mut dyn FnMut(Event),
) -> Walked {
    let mark = Mark::of(state);
    let mut walk = Walk::new(steps, state, journal, tell);
    let mut interrupted = pin!(super::interrupted());
    let (long, mut still) = mpsc::unbounded_channel();
    let numbered: Vec<(usize, &Step)> = (1..).zip(steps).collect();
    for wave in numbered.chunk_by(|a, b| a.1.wave == b.1.wave) {
        let mut waiting = wave.iter().copied();
        let mut in_flight = FuturesUnordered::new();
        loop {
            if !walk.is_interrupted() && interrupted.as_mut().now_or_never().is_some() {
                walk.interrupt();
            }
            let room = usize::from(parallelism).saturating_sub(in_flight.len());
            let next = if walk.goes_on() { waiting.by_ref().take(room).collect() } else { vec![] };
            let begun = walk.begin(next).await;
            let begun = begun
                .into_iter()
                .map(|(number, it)| told(session, mark.as_ref(), (number, it), &long));
            in_flight.extend(begun);
            let first = tokio::select! {
                // A step may end for the same reason, and then the reason is said first.
                biased;
                () = &mut interrupted, if !walk.is_interrupted() => {
                    walk.interrupt();
                    continue;
                }
                Some(event) = still.recv() => {
                    walk.tell(event);
                    continue;
                }
                ended = in_flight.next() => ended,
            };
            let Some(first) = first else { break };
            walk.end(first);
            while let Some(Some(more)) = in_flight.next().now_or_never() {
                walk.end(more);
            }
        }
        walk.leave(waiting.map(|it| it.1));
    }
    walk.finish(session).await
}

/// One step, which says every now and then that it is not done yet.
async fn told<'a>(
    session: &Session,
    mark: Option<&Mark>,
    (number, step): (usize, &'a Step),
    long: &mpsc::UnboundedSender<Event>,
) -> Ended<'a> {
    let begun = Instant::now();
    let mut work = pin!(timed(session, mark, number, step));
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            () = clock::pause(STILL) => {
                let (address, action) = (step.address.clone(), step.action);
                let elapsed_ms = milliseconds(begun);
                // Nobody listens only where the whole apply is over.
                let _ = long.send(Event::Waiting { address, action, elapsed_ms });
            }
        }
    }
}

async fn timed<'a>(
    session: &Session,
    mark: Option<&Mark>,
    number: usize,
    step: &'a Step,
) -> Ended<'a> {
    let begun = Instant::now();
    let (mut touched, mut held) = (false, None);
    let result = carry_out(session, mark, step, &mut touched, &mut held).await;
    let beyond = match &result {
        Ok(recorded) => recount::after(session, step, held, recorded.as_ref()).await,
        Err(_) => None,
    };
    Ended { number, step, result, touched, beyond, took_ms: milliseconds(begun) }
}

fn milliseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What the state holds afterwards; `None` where the resource is gone, or no longer ours. Says
/// whether the server may have done something.
async fn carry_out(
    session: &Session,
    mark: Option<&Mark>,
    step: &Step,
    touched: &mut bool,
    held: &mut Option<Held>,
) -> Result<Option<Recorded>, Error> {
    let is = check_premise(session, step).await?;
    let mut known = Known::new(step, is.as_ref());
    fault::at(Point::PremiseRead);
    let mut answer = None;
    for (number, call) in step.calls.iter().enumerate() {
        if call.waits {
            settled(session, &step.address).await?;
        }
        if number == 0 {
            *held = recount::before(session, step).await?;
        }
        fault::at(Point::BeforeRequest);
        let sent = send(session, &call.clone().told(is.as_ref()).marked(mark), &mut known).await;
        fault::at(Point::AfterRequest);
        *touched |= !sent.as_ref().is_err_and(Error::is_refusal);
        answer = sent?;
    }
    fault::at(Point::BeforeReadBack);
    if let Some(call) =
        step.calls.last().filter(|it| it.waits || is_stale(session, step, it, answer.as_ref()))
        && let Some(is) = shown(session, call).await
    {
        answer = Some(is);
    }
    let recorded = match (step.action, &step.record) {
        (Action::Delete | Action::Forget, _) | (_, None) => None,
        (_, Some(intent)) => match answer {
            Some(is) => Some(record(intent, is)),
            None => match session.read(&step.address).await? {
                Some(is) => Some(record(intent, is)),
                None => return Err(Error::Moved("it is gone".to_owned())),
            },
        },
    };
    fault::at(Point::AfterReadBack);
    Ok(recorded)
}

fn record(intent: &Intent, is: Observed) -> Recorded {
    let Observed { raw: config, sha256, created, facts: _ } = is;
    Recorded {
        created,
        origin: intent.origin,
        prevent_destroy: intent.prevent_destroy,
        spec_sha256: intent.spec_sha256.clone(),
        live_sha256: sha256,
        config,
    }
}
