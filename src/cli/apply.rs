//! `jsplan apply`: a saved plan carried out, or a plan made, shown and asked about.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Exit, Failure,
    lock::{self, Patience},
    plan::Asked,
    project::{Gathered, Project, observe, refused},
};
use crate::{
    address::Address,
    event::Event,
    finding::{Finding, Severity},
    io::{
        apply::{self, PARALLELISM},
        clock, files,
        nats::Session,
        store::{self, Lock, Store},
        who,
    },
    live::Live,
    plan::{self, Ask, Mode, Plan},
    render,
    spec::Desired,
    state::{LastApply, State},
    target,
};

/// What `apply` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A saved plan; without it a plan is made, shown and asked about
    file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    ask: Asked,
    /// Most steps at a time
    #[arg(long, value_name = "N", default_value_t = PARALLELISM,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    parallelism: u16,
    #[command(flatten)]
    patience: Patience,
}

impl Args {
    /// Plan, and do not ask.
    pub(crate) fn approved() -> Self {
        Self {
            file: None,
            auto_approve: true,
            ask: Asked::default(),
            parallelism: PARALLELISM,
            patience: Patience::default(),
        }
    }

    /// A saved plan.
    pub(crate) fn of_file(path: &str) -> Self {
        Self { file: Some(path.into()), auto_approve: false, ..Self::approved() }
    }
}

/// Applies a saved plan, or plans and asks.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    if args.file.is_none() && !args.auto_approve && !project.terminal.is_interactive() {
        return Err(Failure::new("there is no terminal to ask on, and no `--auto-approve`").help(
            "save a plan with `jsplan plan --out FILE` and apply that, or add `--auto-approve`",
        ));
    }
    let ask = args.ask.ask()?;
    let saved = match &args.file {
        Some(path) => Some(read_plan(project, path, &args.ask)?),
        None => None,
    };
    let store = project.store().await?;
    let lock = lock::take(project, store, "apply", &args.patience).await?;
    let gathered = project.gather("apply").await?;
    let plan = match saved {
        Some(plan) => checked(plan, &gathered)?,
        None => plan::plan(&gathered.desired, &gathered.state, &gathered.live, &ask),
    };
    // A saved plan was read when it was reviewed: its numbers are enough here.
    let shown = match args.file {
        Some(_) => render::review(&plan, &gathered.live.server),
        None => render::plan(&plan, &gathered.sources),
    };
    // A plan that nobody saw to its end is not carried out.
    project.terminal.print(&shown).map_err(|it| Failure::from(it).help("nothing was changed"))?;
    project.show_findings(&plan.findings, &gathered.sources);
    if refused(&plan.findings) {
        return Err(Failure::shown());
    }
    if plan.is_empty() {
        return Ok(Exit::Done);
    }
    if args.file.is_none() && !args.auto_approve && !approved(project, &plan) {
        project.terminal.say(&render::talk::cancelled(plan.mode));
        return Ok(Exit::Failed);
    }
    let order = Order { plan, parallelism: args.parallelism };
    carry_out(project, gathered, &order, store, &lock).await
}

/// What is to be carried out.
struct Order {
    plan: Plan,
    parallelism: u16,
}

fn read_plan(project: &Project, path: &Path, ask: &Asked) -> Result<Plan, Failure> {
    if !ask.is_plain() {
        return Err(Failure::new("a saved plan is applied as it is")
            .help("give `--target`, `--allow` and the like to `jsplan plan --out FILE`"));
    }
    let text = files::read(&project.dir.join(path))?;
    plan::file::read(&text)
        .map_err(|it| Failure::new(format!("`{}`: {it}", path.display())).help("plan again"))
}

/// A saved plan is refused where the world it was made from has moved on.
fn checked(plan: Plan, gathered: &Gathered) -> Result<Plan, Failure> {
    let again = "plan again; nothing was changed";
    let Gathered { desired, state, live, .. } = gathered;
    let environment = &desired.environment.name;
    if plan.environment != *environment {
        let made = &plan.environment;
        let message = format!("the plan is for environment `{made}`, and this is `{environment}`");
        return Err(Failure::new(message).help("name the plan's own environment with `--env`"));
    }
    if plan.lineage != state.lineage || plan.serial != state.serial {
        return Err(Failure::new(format!(
            "the saved plan is stale: it was made from state serial {}, and the state is at {}",
            plan.serial, state.serial
        ))
        .help(again));
    }
    if let Some(moved) = target::moved(&plan.server, &live.server) {
        return Err(Failure::new(moved).help(again));
    }
    // What a later step of the same resource completes follows no declaration yet.
    let whole = |it: &&plan::Step| it.record.as_ref().is_none_or(|it| !it.spec_sha256.is_empty());
    for step in plan.steps.iter().filter(|_| plan.mode == Mode::Normal).filter(whole) {
        let declared = desired.resources.get(&step.address).map(|it| &it.sha256);
        if step.record.as_ref().map(|it| &it.spec_sha256) != declared {
            let message = format!("the spec of `{}` changed since the plan was made", step.address);
            return Err(Failure::new(message).help(again));
        }
    }
    Ok(plan)
}

/// Only the whole word passes; where the environment is protected, only its name.
fn approved(project: &Project, plan: &Plan) -> bool {
    let word = if plan.protected { plan.environment.as_str() } else { "yes" };
    project.terminal.ask(&render::talk::question(plan, word)).as_deref() == Some(word)
}

async fn carry_out(
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
    terminal.say(&render::talk::recorded(order.plan.serial, state.serial, &store.place()));
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
    let concerned = |it: &Address| !applied.targeted || done.contains(it);
    let unread =
        |it: &Finding| it.severity == Severity::Error && it.about.as_ref().is_none_or(concerned);
    !again.steps.iter().any(|it| concerned(&it.address)) && !again.findings.iter().any(unread)
}
