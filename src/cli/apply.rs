//! `jsplan apply`: a saved plan carried out, or a plan made, shown and asked about.

pub(super) mod carry_out;
pub(super) mod saved;

use std::path::PathBuf;

use super::{
    Exit, Failure,
    lock::{self, Patience},
    migrate,
    plan::Asked,
    project::{Gathered, Project},
};
use crate::{
    history,
    io::{self, apply::PARALLELISM},
    plan::{Mode, Plan},
    render,
    signature::is_public_key,
    units,
};

/// What `apply` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A saved plan, applied as it was reviewed; without it a plan is made, shown and asked about
    pub(crate) file: Option<PathBuf>,
    /// Do not ask; in a protected environment only together with `--expect`
    #[arg(long)]
    pub(crate) auto_approve: bool,
    /// Leave out what is blocked and what needs that, and do the rest
    #[arg(long)]
    pub(crate) skip_blocked: bool,
    /// Only the plan with this id, or whose id begins with these 8 digits or more
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(crate) expect: Option<String>,
    /// The oldest a saved plan may be, or `unlimited`
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = age, requires = "file")]
    pub(crate) max_age: i64,
    /// Only a saved plan that this public key signed; may be repeated, and then any of them will do
    #[arg(long, value_name = "PUBLIC_KEY", value_parser = public_key)]
    pub(crate) require_signed_by: Vec<String>,
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
            skip_blocked: false,
            expect: None,
            max_age: i64::MAX,
            require_signed_by: Vec::new(),
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

/// An id is hexadecimal; fewer than 8 digits could be those of another plan.
pub(super) fn id(text: &str) -> Result<String, String> {
    let id = text.to_ascii_lowercase();
    let digits = id.bytes().all(|it| it.is_ascii_hexdigit());
    if digits && (8..=64).contains(&id.len()) {
        return Ok(id);
    }
    Err("an id has 64 hexadecimal digits, of which at least 8 are needed".to_owned())
}

fn age(text: &str) -> Result<i64, String> {
    if text == "unlimited" { Ok(i64::MAX) } else { units::duration(text) }
}

fn public_key(text: &str) -> Result<String, String> {
    let why = "a user's public key starts with `U`, as `nk -gen user -pubout` shows it";
    is_public_key(text).then(|| text.to_owned()).ok_or(why.to_owned())
}

/// Applies a saved plan, or plans and asks.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    if args.file.is_none() && !args.auto_approve && !project.terminal.is_interactive() {
        return Err(Failure::new("there is no terminal to ask on, and no `--auto-approve`").help(
            "save a plan with `jsplan plan --out FILE` and apply that, or add `--auto-approve`",
        ));
    }
    let saved = match &args.file {
        Some(path) => Some(saved::read_plain(project, path, &args.ask)?),
        None => None,
    };
    let store = project.store().await?;
    let mode = match &saved {
        Some(saved) => saved.plan.mode,
        None => args.ask.ask()?.mode,
    };
    let operation = history::operation(mode);
    let lock = lock::take(project, store, &operation, &args.patience).await?;
    let interrupted = || Err(Failure::new("interrupted").help("nothing was changed"));
    let deciding = async {
        let mut gathered = project.gather_from(project.read_spec()?, mode, &operation).await?;
        let approved = match &saved {
            Some(saved) => migrate::approved_by(&gathered, &saved.plan),
            None => args.ask.approve.clone(),
        };
        gathered = migrate::approved_at(project, gathered, &approved).await?;
        let plan = match saved {
            Some(saved) => saved::checked(project, args, saved, &gathered, store).await?,
            None => made(project, args, &mut gathered).await?,
        };
        Ok((gathered, plan, approved))
    };
    let (gathered, plan, approved) = io::unless_interrupted(deciding, interrupted).await?;
    let plan = whole_or_part(project, args, plan)?;
    carry_out::settle(&gathered.state, store, &lock).await?;
    let moves = migrate::has_more(&gathered, &plan);
    if plan.is_empty() && !moves {
        return Ok(Exit::Done);
    }
    let asks = args.file.is_none() && !args.auto_approve && !plan.is_empty();
    if asks && !io::unless_interrupted(self::approved(project, &plan), || false).await {
        project.terminal.say(&render::talk::cancelled(plan.mode));
        return Ok(Exit::Failed);
    }
    if !plan.steps.is_empty() {
        let order = Order { plan, parallelism: args.parallelism };
        let exit = carry_out::carry_out(project, gathered, &order, store, &lock).await?;
        if exit != Exit::Done || !moves {
            return Ok(exit);
        }
    }
    migrate::after_apply(project, store, &lock, &approved, &args.ask.ask()?).await
}

/// A plan made and shown, where one may be applied that nobody has saved.
async fn made(project: &Project, args: &Args, gathered: &mut Gathered) -> Result<Plan, Failure> {
    let ask = args.ask.ask()?;
    let environment = &gathered.desired.environment;
    let command = match ask.mode {
        Mode::Rollback(serial) => format!("jsplan rollback --to {serial} --out FILE"),
        Mode::Normal | Mode::Destroy | Mode::RefreshOnly => "jsplan plan --out FILE".to_owned(),
    };
    let signed = format!("save it with `{command} --sign SECRET`, and apply that file");
    if !environment.require_signed_by.is_empty() {
        let message = "the spec asks for a signed plan: `[environment] require_signed_by`";
        return Err(Failure::new(message).help(signed));
    }
    if !args.require_signed_by.is_empty() {
        return Err(Failure::new("a plan that is made here is not signed").help(signed));
    }
    if environment.protected && args.auto_approve && args.expect.is_none() {
        let message = format!(
            "environment `{}` is protected, and `--auto-approve` approves what nobody has seen",
            environment.name
        );
        return Err(Failure::new(message).help(format!(
            "save a plan with `{command}` and apply that, or name the id of the plan that was \
             seen: `--expect ID`"
        )));
    }
    let plan = gathered.plan(&ask).await;
    show(project, &render::plan(&plan, &gathered.sources))?;
    project.show_findings(&plan.findings, &gathered.sources);
    expected(args, &plan)?;
    Ok(plan)
}

/// A plan that nobody saw to its end is not carried out.
fn show(project: &Project, text: &str) -> Result<(), Failure> {
    project.terminal.print(text).map_err(|it| Failure::from(it).help("nothing was changed"))
}

fn expected(args: &Args, plan: &Plan) -> Result<(), Failure> {
    match args.expect.as_deref().map(|it| plan.expected(it)) {
        Some(Err(refusal)) => Err(saved::failure(&refusal)),
        Some(Ok(())) | None => Ok(()),
    }
}

/// The plan as it is, or without what is blocked where that is asked; refused where neither can be
/// applied.
fn whole_or_part(project: &Project, args: &Args, plan: Plan) -> Result<Plan, Failure> {
    if !plan.is_refused() {
        return Ok(plan);
    }
    if !plan.stops_in_part() {
        return Err(Failure::shown());
    }
    if !args.skip_blocked {
        let options = project.options(&plan.environment);
        let (planned, applied) = match &args.file {
            Some(file) => {
                let file = file.display();
                let planned = Asked::of_mode(plan.mode).commands(&options).0;
                let planned = format!("{planned} --out {file}");
                (planned, format!("jsplan apply {options} {file}"))
            }
            None => args.ask.commands(&options),
        };
        project.terminal.say(&render::talk::blocked(&plan, &planned, &applied));
        return Err(Failure::shown());
    }
    let part = plan.without_blocked();
    project.terminal.say(&render::left_out(&part));
    if part.is_empty() {
        let help = "what is not blocked needs something that is; nothing was changed";
        return Err(Failure::new("nothing is left to apply").help(help));
    }
    Ok(part)
}

/// What is to be carried out.
struct Order {
    plan: Plan,
    parallelism: u16,
}

/// Only the whole word passes; where the environment is protected or messages are deleted, only the
/// environment's name.
pub(super) async fn approved(project: &Project, plan: &Plan) -> bool {
    let by_name = plan.protected || plan.deletes();
    let word = if by_name { plan.environment.as_str() } else { "yes" };
    let answer = project.terminal.ask(&render::talk::question(plan, word)).await;
    answer.as_deref() == Some(word)
}
