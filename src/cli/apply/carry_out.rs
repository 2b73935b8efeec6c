//! What follows consent: the steps carried out, the state saved, and a last look at what is there.

use std::{collections::BTreeSet, time::Duration};

use super::Order;
use crate::{
    address::Address,
    cli::{
        Exit, Failure,
        project::{Gathered, Project, decided, observe},
    },
    event::{Event, Kept},
    finding::{Finding, Severity},
    history,
    io::{
        self,
        apply::{self, Walked},
        clock,
        fault::{self, Point},
        files, git,
        nats::Session,
        store::{self, Lock, Store},
        who,
    },
    live::Live,
    plan::{self, Ask, Mode, Plan},
    render,
    spec::Desired,
    state::State,
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
    let Gathered { desired, sources, state, live, session, .. } = gathered;
    drop(live);
    let untouched = |it| Failure::of_store(it).or_help("nothing was changed");
    store.settle(&state, lock).await.map_err(untouched)?;
    let mut state = begun(state, &order.plan, git::commit(&project.dir));
    let journal = store.begin(&state, lock).await.map_err(untouched)?;
    let terminal = project.terminal;
    let mut tell = |event: Event| terminal.say(&render::progress::event(&event));
    terminal.say("\n");
    let Order { plan, parallelism } = order;
    let walked =
        apply::apply(&plan.steps, &session, &mut state, &journal, *parallelism, &mut tell).await;
    if let Some(last) = &mut state.last_apply {
        last.totals = Some(history::totals(walked.outcome.counts));
        last.deletes = Some(history::deleted(plan, &walked.outcome));
    }
    let options = project.options(&desired.environment.name);
    if !walked.is_complete() {
        return stopped(project, plan, store, (&state, lock), walked).await;
    }
    let outcome = walked.outcome;
    let look = look_again(&session, &desired, &state, plan);
    let (live, again) =
        match io::unless_interrupted(async { look.await.map(Some) }, || Ok(None)).await {
            Ok(Some(seen)) => seen,
            looked => {
                save(project, store, (&state, lock)).await?;
                looked?;
                let left = "what was applied is recorded; `jsplan plan` looks at it again";
                return Err(Failure::new("interrupted before everything was read again").help(left));
            }
        };
    fault::at(Point::LookedAgain);
    let left: BTreeSet<_> = again.steps.iter().map(|it| &it.address).collect();
    state.recognise(outcome.done.iter().filter(|it| !left.contains(it)), &live);
    // Until here the journal holds what was done.
    save(project, store, (&state, lock)).await?;
    if !is_settled(&again, plan) {
        terminal.say(&render::plan(&again, &sources));
        return Err(Failure::new(render::talk::unsettled(&again)).help(
            "either somebody else changed it meanwhile, or this is a fault of jsplan: \
             `jsplan plan` shows it again",
        ));
    }
    let resources = outcome.done.iter().collect::<BTreeSet<_>>().len();
    tell(Event::Verified { resources });
    terminal.say(&render::talk::recorded(order.plan.serial, state.serial, &store.place()));
    terminal.say(&render::history::way_back(plan, outcome.counts, &options));
    if matches!(plan.mode, Mode::Rollback(_)) {
        tell_of_spec(project, &desired, &options)?;
    }
    let done = render::progress::complete(plan.mode, outcome.counts);
    project.show(&done)?;
    Ok(Exit::Done)
}

/// After a rollback the spec may say something else, and the next plan would go there again.
fn tell_of_spec(project: &Project, wanted: &Desired, options: &str) -> Result<(), Failure> {
    let spec = project.read_spec()?.desired;
    if spec.is_some_and(|spec| history::differ(&spec, wanted)) {
        project.terminal.say(&render::history::spec_differs(options));
    }
    Ok(())
}

/// What an apply that was cut short did is saved before anything else is begun.
pub(in crate::cli) async fn settle(
    state: &State,
    store: &Store,
    lock: &Lock,
) -> Result<(), Failure> {
    if state.cut_short.is_none() {
        return Ok(());
    }
    decided(state)?;
    fault::at(Point::Reconciled);
    store.save(state, lock).await.map_err(Failure::of_store)?;
    fault::at(Point::Settled);
    Ok(())
}

/// Saves what was done before an apply ended early, and says where things stand.
async fn stopped(
    project: &Project,
    plan: &Plan,
    store: &Store,
    (state, lock): (&State, &Lock),
    walked: Walked,
) -> Result<Exit, Failure> {
    let Walked { outcome, undecided, failure } = walked;
    // Only the journal knows of steps that may have been carried out all the same.
    let saved = match undecided {
        0 => save(project, store, (state, lock)).await,
        _ => Ok(()),
    };
    let options = project.options(&plan.environment);
    let kept = match (&saved, undecided) {
        (Ok(()), 0) => Kept::State(state.serial),
        (Ok(()), _) => Kept::Journal(undecided),
        (Err(_), _) => Kept::Neither,
    };
    project.terminal.say(&render::progress::stopped(&outcome, &options, plan.mode, kept));
    project.terminal.say(&render::history::way_back(plan, outcome.counts, &options));
    saved?;
    match failure {
        Some(error) => Err(Failure::of_store(error)
            .or_help("no step was begun without it; make room, and apply again")),
        None => Ok(Exit::Failed),
    }
}

/// Saves the state; where that fails, sees that what it holds is not lost.
pub(in crate::cli) async fn save(
    project: &Project,
    store: &Store,
    (state, lock): (&State, &Lock),
) -> Result<(), Failure> {
    let Err(error) = store.save(state, lock).await else { return Ok(()) };
    let name = format!("errored.{}.{}.json", state.environment, state.serial);
    let failure = Failure::new(format!("the state could not be saved: {error}"));
    for path in [project.dir.join(&name), files::temporary().join(&name)] {
        if files::replace(&path, &state.write()).is_ok() {
            return Err(failure.help(render::talk::rescued(&path.display().to_string())));
        }
    }
    project.show(&state.write())?;
    Err(failure.help(render::talk::rescued("FILE") + ", where FILE has what stands on stdout"))
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
fn begun(mut state: State, plan: &Plan, commit: Option<String>) -> State {
    if state.lineage.is_empty() {
        state.lineage = store::lineage();
    }
    state.serial += 1;
    state.cut_short = None;
    state.target = Some(target::of(&plan.server));
    state.last_apply = Some(history::begun(plan, clock::now(), who::user_at_host(), commit));
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
