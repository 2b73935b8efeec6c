//! Walking a plan: check the premise, send, record, report; and stop cleanly.
//!
//! The decisions are all in the plan. What is added here is the order in time: steps of one wave
//! side by side, waves one after another, the state on disk before anything new is begun.

mod request;

use std::{pin::pin, time::Instant};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

pub use self::request::Error;
use self::request::{check_premise, is_stale, send, settled, shown};
use super::{
    nats::Session,
    store::{self, Journal},
};
use crate::{
    event::{Event, Outcome},
    live::Observed,
    mark::Mark,
    plan::{Action, Intent, Step},
    render::progress,
    state::{Done, Recorded, State},
};

/// Writes in flight: the knee of a single server, and enough to hide elections in a cluster.
pub(crate) const PARALLELISM: u16 = 16;

/// Carries out the steps of a plan and changes the state with it. Each finished step is in the journal, on disk,
/// before a new one is begun.
///
/// The first failure lets the steps in flight finish and begins no others; so does Ctrl-C.
pub(crate) async fn apply(
    steps: &[Step],
    session: &Session,
    state: &mut State,
    journal: &Journal,
    parallelism: u16,
    tell: &mut dyn FnMut(Event),
) -> Result<Outcome, store::Error> {
    let mut outcome = Outcome::default();
    let mark = Mark::of(state);
    let mut interrupted = pin!(super::interrupted());
    for wave in steps.chunk_by(|a, b| a.wave == b.wave) {
        let mut waiting = wave.iter();
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < usize::from(parallelism) && outcome.goes_on() {
                let Some(step) = waiting.next() else { break };
                tell(Event::Started { address: step.address.clone(), action: step.action });
                in_flight.push(timed(session, step, mark.as_ref()));
            }
            let first = tokio::select! {
                ended = in_flight.next() => ended,
                () = &mut interrupted, if !outcome.interrupted => {
                    outcome.interrupted = true;
                    tell(Event::Interrupted);
                    continue;
                }
            };
            let Some(first) = first else { break };
            let mut ended = vec![first];
            while let Some(Some(more)) = in_flight.next().now_or_never() {
                ended.push(more);
            }
            let done: Vec<Done> =
                ended.into_iter().filter_map(|it| tally(it, &mut outcome, tell)).collect();
            journal.append(&done.iter().map(Done::line).collect::<String>()).await?;
            done.into_iter().for_each(|it| state.take(it));
        }
        outcome.not_started.extend(waiting.map(|it| it.address.clone()));
    }
    Ok(outcome)
}

type Ended<'a> = (&'a Step, Result<Option<Recorded>, Error>, u64);

async fn timed<'a>(session: &Session, step: &'a Step, mark: Option<&Mark>) -> Ended<'a> {
    let begun = Instant::now();
    let result = carry_out(session, step, mark).await;
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    (step, result, took)
}

/// Reports how a step ended, and gives what the state has to hold of it if it is done.
fn tally(
    (step, result, took_ms): Ended<'_>,
    outcome: &mut Outcome,
    tell: &mut dyn FnMut(Event),
) -> Option<Done> {
    let (address, action) = (step.address.clone(), step.action);
    match result {
        Ok(recorded) => {
            outcome.done.push(address.clone());
            outcome.counts.add(step);
            let note = progress::note(step);
            tell(Event::Finished { address: address.clone(), action, took_ms, note });
            Some(Done { address, recorded })
        }
        Err(error) => {
            let error = error.to_string();
            tell(Event::Failed { address: address.clone(), action, error });
            outcome.failed.push(address);
            None
        }
    }
}

/// What the state holds afterwards; `None` where the resource is gone, or no longer ours.
async fn carry_out(
    session: &Session,
    step: &Step,
    mark: Option<&Mark>,
) -> Result<Option<Recorded>, Error> {
    let is = check_premise(session, step).await?;
    let mut answer = None;
    for call in &step.calls {
        if call.waits {
            settled(session, &step.address).await?;
        }
        answer = send(session, &call.clone().told(is.as_ref()).marked(mark)).await?;
    }
    if let Some(call) =
        step.calls.last().filter(|it| it.waits || is_stale(session, step, it, answer.as_ref()))
        && let Some(is) = shown(session, call).await
    {
        answer = Some(is);
    }
    match (step.action, &step.record) {
        (Action::Delete | Action::Forget, _) | (_, None) => Ok(None),
        (_, Some(intent)) => match answer {
            Some(is) => Ok(Some(record(intent, is))),
            None => match session.read(&step.address).await? {
                Some(is) => Ok(Some(record(intent, is))),
                None => Err(Error::Moved("it is gone".to_owned())),
            },
        },
    }
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
