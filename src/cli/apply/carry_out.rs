//! What follows consent: the steps carried out, the state saved, and a last look at what is there.

use std::{collections::BTreeSet, time::Duration};

use super::Order;
use crate::{
    address::Address,
    cli::{
        Exit, Failure,
        project::{Gathered, Project, observe},
    },
    event::Event,
    finding::{Finding, Severity},
    io::{
        apply, clock,
        nats::Session,
        store::{self, Lock, Store},
        who,
    },
    live::Live,
    plan::{self, Ask, Plan},
    render,
    spec::Desired,
    state::{LastApply, State},
    target,
};

/// Carries out a plan, looks again, and says what came of it.
pub(super) async fn carry_out(
    project: &Project,
    gathered: Gathered,
    order: &Order,
    store: &Store,
    lock: &Lock,
) -> Result<Exit, Failure> {
    let Gathered { desired, sources, state, live, session } = gathered;
    drop(live);
    store.settle(&state, lock).await.map_err(Failure::of_store)?;
    let mut state = begun(state, &order.plan);
    let journal = store.begin(&state, lock).await?;
    let terminal = project.terminal;
    let mut tell = |event: Event| terminal.say(&render::progress::event(&event));
    terminal.say("\n");
    let Order { plan, parallelism } = order;
    let outcome =
        apply::apply(&plan.steps, &session, &mut state, &journal, *parallelism, &mut tell).await?;
    if !outcome.is_complete() {
        store.save(&state, lock).await?;
        let options = project.options(&desired.environment.name);
        terminal.say(&render::progress::stopped(&outcome, &options, plan.mode));
        return Ok(Exit::Failed);
    }
    let (live, again) = look_again(&session, &desired, &state, plan).await?;
    let left: BTreeSet<_> = again.steps.iter().map(|it| &it.address).collect();
    state.recognise(outcome.done.iter().filter(|it| !left.contains(it)), &live);
    // Until here the journal holds what was done.
    store.save(&state, lock).await?;
    if !is_settled(&again, plan) {
        terminal.say(&render::plan(&again, &sources));
        return Err(Failure::new(render::talk::unsettled(&again)).help(
            "either somebody else changed it meanwhile, or this is a fault of jsplan: \
             `jsplan plan` shows it again",
        ));
    }
    let resources = outcome.done.iter().collect::<BTreeSet<_>>().len();
    tell(Event::Verified { resources });
    let path = store.path();
    let path = path.strip_prefix(&project.dir).unwrap_or(&path).display().to_string();
    terminal.say(&render::talk::recorded(order.plan.serial, state.serial, &path));
    let done = render::progress::complete(plan.mode, outcome.counts);
    project.show(&done)?;
    Ok(Exit::Done)
}

/// Reads what there is now, and plans again. What was just moved or scaled has no leader for a moment,
/// its consumers neither, and up to 2.14 they show what they were before: that is waited for.
async fn look_again(
    session: &Session,
    desired: &Desired,
    state: &State,
    plan: &Plan,
) -> Result<(Live, Plan), Failure> {
    const LOOKS: usize = 20;
    const PAUSE: Duration = Duration::from_millis(500);
    let moves = plan.steps.iter().flat_map(|it| &it.calls).any(|it| it.waits);
    let mut looks = 0;
    loop {
        let live = observe(session, desired, state).await?;
        // Targets and consent may name what is gone by now.
        let ask = Ask { mode: plan.mode, ..Ask::default() };
        let again = plan::plan(desired, state, &live, &ask);
        looks += 1;
        if !moves || looks == LOOKS || is_settled(&again, plan) {
            return Ok((live, again));
        }
        clock::pause(PAUSE).await;
    }
}

/// The state that the first finished step is saved into.
fn begun(mut state: State, plan: &Plan) -> State {
    if state.lineage.is_empty() {
        state.lineage = store::lineage();
    }
    state.serial += 1;
    state.target = Some(target::of(&plan.server));
    state.last_apply =
        Some(LastApply { at: clock::now(), by: who::user_at_host(), plan: plan.id() });
    state
}

/// Whether nothing is left to do: of what was applied where a plan had targets, else at all.
fn is_settled(again: &Plan, applied: &Plan) -> bool {
    let done: BTreeSet<_> = applied.steps.iter().map(|it| &it.address).collect();
    let concerned = |it: &Address| !applied.is_partial() || done.contains(it);
    let unread =
        |it: &Finding| it.severity == Severity::Error && it.about.as_ref().is_none_or(concerned);
    !again.steps.iter().any(|it| concerned(&it.address)) && !again.findings.iter().any(unread)
}
