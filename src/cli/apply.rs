//! `jsplan apply`: a saved plan carried out, or a plan made, shown and asked about.

mod carry_out;

use std::path::{Path, PathBuf};

use super::{
    Exit, Failure,
    lock::{self, Patience},
    plan::Asked,
    project::{Gathered, Project, refused},
};
use crate::{
    history,
    io::{self, apply::PARALLELISM, files},
    plan::{self, Mode, Plan},
    render, target,
};

/// What `apply` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A saved plan; without it a plan is made, shown and asked about
    pub(crate) file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub(crate) auto_approve: bool,
    #[command(flatten)]
    pub(crate) ask: Asked,
    /// Most steps at a time
    #[arg(long, value_name = "N", default_value_t = PARALLELISM,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallelism: u16,
    #[command(flatten)]
    pub(crate) patience: Patience,
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
    let mode = saved.as_ref().map_or(ask.mode, |it| it.mode);
    let operation = history::operation(mode);
    let lock = lock::take(project, store, &operation, &args.patience).await?;
    let interrupted = || Err(Failure::new("interrupted").help("nothing was changed"));
    let deciding = async {
        let mut gathered = project.gather_towards(mode, &operation).await?;
        let plan = match saved {
            Some(plan) => checked(plan, &gathered)?,
            None => gathered.plan(&ask).await,
        };
        Ok((gathered, plan))
    };
    let (gathered, plan) = io::unless_interrupted(deciding, interrupted).await?;
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
    carry_out::settle(&gathered.state, store, &lock).await?;
    if plan.is_empty() {
        return Ok(Exit::Done);
    }
    let asks = args.file.is_none() && !args.auto_approve;
    if asks && !io::unless_interrupted(approved(project, &plan), || false).await {
        project.terminal.say(&render::talk::cancelled(plan.mode));
        return Ok(Exit::Failed);
    }
    let order = Order { plan, parallelism: args.parallelism };
    carry_out::carry_out(project, gathered, &order, store, &lock).await
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
    let declares = matches!(plan.mode, Mode::Normal | Mode::Rollback(_));
    for step in plan.steps.iter().filter(|_| declares).filter(whole) {
        let declared = desired.resources.get(&step.address).map(|it| &it.sha256);
        if step.record.as_ref().map(|it| &it.spec_sha256) != declared {
            let message = format!("the spec of `{}` changed since the plan was made", step.address);
            return Err(Failure::new(message).help(again));
        }
    }
    Ok(plan)
}

/// Only the whole word passes; where the environment is protected, only its name.
async fn approved(project: &Project, plan: &Plan) -> bool {
    let word = if plan.protected { plan.environment.as_str() } else { "yes" };
    let answer = project.terminal.ask(&render::talk::question(plan, word)).await;
    answer.as_deref() == Some(word)
}
