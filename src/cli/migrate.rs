//! `jsplan migrate`: versioned migrations, carried out step by step, and taken back.

mod back;
mod feed;
mod mend;
pub(super) mod run;
mod switch;
mod work;

use std::path::Path;

use self::run::Run;
use super::{
    Exit, Failure, apply,
    lock::{self, Patience},
    plan::Asked,
    project::{Gathered, Project},
};
use crate::{
    finding::Sources,
    io::{self, files, store::Store},
    migration::{
        Does, FOLDER, Mapping, Migration, Migrations, SUM, Step, Strategy, lint, progress, stage,
        sum,
        template::{self, Wish},
    },
    plan::{Ask, Mode, Plan},
    render,
    state::ledger::{End, Standing},
};

/// Versioned migrations: how a stream gets to where no update leads, with its messages.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write a migration for a strategy, to be read and changed
    New(New),
    /// Show every migration and how far it has come
    Status(Status),
    /// Check migrations without a server, and against the spec of the environment
    Lint,
    /// Write `jsplan.sum` anew, once what changed was reviewed
    Hash,
    /// Go on with migrations up to the next stop
    Apply(Apply),
    /// Go on with a migration that stopped in the middle of a step, forward or back
    Resume(Resume),
    /// Take a migration back, unless it is past its point of no return
    Rollback(Rollback),
    /// Note by hand that a step, or a whole migration, is done
    Repair(Repair),
}

/// What `migrate new` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// Its name: letters, digits and `_`
    name: String,
    /// new-subjects, same-subjects-source, same-subjects-mirror or parallel
    #[arg(long, value_parser = strategy)]
    strategy: Strategy,
    /// The stream that messages come from
    #[arg(long, value_name = "STREAM")]
    from: String,
    /// The stream that they go to
    #[arg(long, value_name = "STREAM")]
    to: String,
    /// A subject and what becomes of it, such as `ingest.v1.>=ingest.v2.>`; may be repeated
    #[arg(long, value_name = "SRC=DEST", value_parser = mapping)]
    map: Vec<Mapping>,
    /// Why there is one
    #[arg(long, value_name = "TEXT", default_value = "say here why an update cannot do it")]
    reason: String,
}

/// What `migrate status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// A table of all environments
    #[arg(long)]
    all: bool,
    /// One JSON object instead of text
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

/// What every command takes that changes something.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Consent {
    /// Do not ask; in a protected environment only together with `--expect`
    #[arg(long)]
    auto_approve: bool,
    /// Only what has this id, or an id that begins with these 8 digits or more
    #[arg(long, value_name = "ID", value_parser = apply::id)]
    expect: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// What `migrate apply` takes.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Apply {
    /// Only this one; one that was taken back begins anew
    version: Option<String>,
    /// Approve the gate at which this migration waits; may be repeated
    #[arg(long, value_name = "VERSION")]
    approve: Vec<String>,
    /// Consent to harm, such as `destroy=stream.ORDERS`; may be repeated
    #[arg(long, value_name = "CLASS=ADDR[:N]")]
    allow: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

/// What `migrate resume` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    /// Back instead of forward
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    consent: Consent,
}

/// What `migrate rollback` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Which one
    version: String,
    /// Consent to harm, such as `destroy=stream.ORDERS`; may be repeated
    #[arg(long, value_name = "CLASS=ADDR[:N]")]
    allow: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

/// What `migrate repair` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// Which one
    version: String,
    /// The step; without it the whole migration counts as done here
    #[arg(long, value_name = "ID")]
    step: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    patience: Patience,
}

fn strategy(text: &str) -> Result<Strategy, String> {
    let known = || Strategy::ALL.map(|it| it.1).join(", ");
    let found = Strategy::ALL.into_iter().find(|it| it.1 == text);
    found.map(|it| it.0).ok_or_else(|| format!("the strategies are: {}", known()))
}

fn mapping(text: &str) -> Result<Mapping, String> {
    let (src, dest) = text.split_once('=').ok_or("write it like `ingest.v1.>=ingest.v2.>`")?;
    Ok(Mapping { src: src.to_owned(), dest: dest.to_owned() })
}

impl Apply {
    /// Go on with what there is, and do not ask.
    pub(crate) fn approved() -> Self {
        let consent = Consent { auto_approve: true, ..Consent::default() };
        Self { consent, ..Self::default() }
    }
}

/// Runs one of them.
pub(crate) async fn run(project: &Project, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::New(args) => new(project, args),
        Command::Status(args) => status(project, args).await,
        Command::Lint => lint(project),
        Command::Hash => hash(project),
        Command::Apply(args) => go_on(project, args).await,
        Command::Resume(args) => resume(project, args).await,
        Command::Rollback(args) => rollback(project, args).await,
        Command::Repair(args) => repair(project, args).await,
    }
}

impl Command {
    /// How each stands.
    pub(crate) fn status() -> Self {
        Self::Status(Status { all: false, json: false })
    }

    /// Whether it takes the lock, and sees to signals by itself.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Apply(_) | Self::Resume(_) | Self::Rollback(_) | Self::Repair(_) => true,
            Self::New(_) | Self::Status(_) | Self::Lint | Self::Hash => false,
        }
    }
}

fn new(project: &Project, args: &New) -> Result<Exit, Failure> {
    let (texts, _) = files::migrations(&project.dir)?;
    let digits = |path: &str| path.rsplit('/').next()?.split('_').next()?.parse::<u64>().ok();
    let last = texts.iter().filter_map(|it| digits(&it.0)).max().unwrap_or_default();
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    if args.name.is_empty() || !args.name.chars().all(fits) {
        return Err(Failure::new(format!("`{}` is no name for a migration", args.name))
            .help("write lower-case letters, digits and `_`: `ingest_v2`"));
    }
    let environments = files::environments(&project.dir)?;
    let wish = Wish {
        strategy: args.strategy,
        from: &args.from,
        to: &args.to,
        environments: &environments,
        mapping: &args.map,
        reason: &args.reason,
    };
    let path = format!("{FOLDER}/{:04}_{}.toml", last + 1, args.name);
    files::make_folder(&project.dir.join(FOLDER))?;
    files::replace(&project.dir.join(&path), &template::template(&wish))?;
    write_sum(project)?;
    project.show(&format!("{path}\n"))?;
    project.terminal.say(&render::migration::written(args.strategy));
    Ok(Exit::Done)
}

fn write_sum(project: &Project) -> Result<(), Failure> {
    let (texts, _) = files::migrations(&project.dir)?;
    let path = Path::new(FOLDER).join(SUM);
    Ok(files::replace(&project.dir.join(path), &sum::write(&texts))?)
}

fn hash(project: &Project) -> Result<Exit, Failure> {
    write_sum(project)?;
    let mut sources = Sources::default();
    let migrations = project.migrations(&mut sources)?;
    project.show(&render::migration::hashed(migrations.0.len()))?;
    Ok(Exit::Done)
}

/// Everything that no server is needed for.
fn lint(project: &Project) -> Result<Exit, Failure> {
    let (spec, mut sources) = project.load()?;
    let migrations = project.migrations(&mut sources)?;
    let mine = migrations.0.values().filter(|it| it.is_for(&spec.environment.name));
    let findings: Vec<_> = mine.flat_map(|it| lint::against(it, &spec)).collect();
    project.stop_at(&findings, &sources)?;
    project.show(&render::migration::linted(migrations.0.len(), &spec.environment.name))?;
    Ok(Exit::Done)
}

async fn status(project: &Project, args: &Status) -> Result<Exit, Failure> {
    if args.all {
        return matrix(project).await;
    }
    let gathered = project.gather("migrate status").await?;
    let Gathered { desired, migrations, state, sources, live, stops, .. } = &gathered;
    let shown = render::migration::Shown {
        environment: &desired.environment.name,
        migrations,
        moves: &desired.moves,
        state,
        live,
        options: &project.options(&desired.environment.name),
    };
    let text = if args.json {
        render::json::line(&render::migration::json(&shown))
    } else {
        render::migration::status(&shown)
    };
    project.show(&text)?;
    project.show_findings(stops, sources);
    Ok(Exit::Done)
}

async fn matrix(project: &Project) -> Result<Exit, Failure> {
    let mut sources = Sources::default();
    let migrations = project.migrations(&mut sources)?;
    let mut states = Vec::new();
    for name in files::environments(&project.dir)? {
        let state = project.state_of(&name).await.ok();
        states.push((name, state));
    }
    project.show(&render::migration::matrix(&migrations, &states))?;
    Ok(Exit::Done)
}

/// What a command that changes something begins with.
async fn gathered(
    project: &Project,
    store: &Store,
    operation: &str,
    patience: &Patience,
) -> Result<(Gathered, crate::io::store::Lock), Failure> {
    let lock = lock::take(project, store, operation, patience).await?;
    let interrupted = || Err(Failure::new("interrupted").help("nothing was changed"));
    let gathered = io::unless_interrupted(project.gather(operation), interrupted).await?;
    Ok((gathered, lock))
}

fn asked(consent: &Consent, project: &Project) -> Result<(), Failure> {
    if consent.auto_approve || project.terminal.is_interactive() {
        return Ok(());
    }
    Err(Failure::new("there is no terminal to ask on, and no `--auto-approve`")
        .help("look at it with `jsplan migrate status`, then add `--auto-approve`"))
}

/// Shows what would be done, and asks.
async fn approved(project: &Project, consent: &Consent, plan: &Plan) -> Result<bool, Failure> {
    if plan.protected && consent.auto_approve && consent.expect.is_none() {
        let message = format!(
            "environment `{}` is protected, and `--auto-approve` approves what nobody has seen",
            plan.environment
        );
        let id = &plan.id()[..12];
        return Err(
            Failure::new(message).help(format!("once somebody has seen it: `--expect {id}`"))
        );
    }
    if let Some(Err(refusal)) = consent.expect.as_deref().map(|it| plan.expected(it)) {
        return Err(Failure::new(refusal.to_string()).help("look at it again; nothing was changed"));
    }
    if consent.auto_approve {
        return Ok(true);
    }
    Ok(io::unless_interrupted(apply::approved(project, plan), || false).await)
}

/// A plan of nothing but migrations.
fn of_moves(gathered: &mut Gathered, ask: &Ask, only: Option<&str>) -> Plan {
    let Gathered { desired, state, live, .. } = gathered;
    let mut plan = crate::plan::plan(desired, state, live, ask);
    plan.steps.clear();
    plan.findings.clear();
    plan.moves.retain(|it| only.is_none_or(|only| it.version == only));
    plan
}

async fn go_on(project: &Project, args: &Apply) -> Result<Exit, Failure> {
    asked(&args.consent, project)?;
    let ask = Asked::allowing(&args.allow).ask()?;
    let store = project.store().await?;
    let (mut gathered, lock) =
        gathered(project, store, "migrate apply", &args.consent.patience).await?;
    project.stop_at(&gathered.stops, &gathered.sources)?;
    if !gathered.spec.environment.require_signed_by.is_empty() {
        let message = "the spec asks for a signed plan: `[environment] require_signed_by`";
        return Err(Failure::new(message).help(
            "save it with `jsplan plan --out FILE --sign SECRET`, and apply that file: it goes on \
             with the migrations that it lists",
        ));
    }
    for version in args.version.iter().chain(&args.approve) {
        known(&gathered.migrations, version)?;
    }
    if args.version.as_ref().is_some_and(|it| anew(&mut gathered, it)) {
        gathered = project.staged_again(gathered).await;
    }
    gathered = approved_at(project, gathered, &args.approve).await?;
    let plan = of_moves(&mut gathered, &Ask::default(), args.version.as_deref());
    project.show(&render::migration::ahead(&plan))?;
    if plan.moves.is_empty() {
        return Ok(Exit::Done);
    }
    if !approved(project, &args.consent, &plan).await? {
        project.terminal.say(&render::talk::cancelled(plan.mode));
        return Ok(Exit::Failed);
    }
    let mut run = Run::new(project, gathered, store, &lock).await?.allowing(&ask);
    run.forward(args.version.as_deref()).await
}

/// Whether there is something to do about migrations behind an apply of a plan.
pub(super) fn has_more(gathered: &Gathered, plan: &Plan) -> bool {
    let Gathered { spec, migrations, state, .. } = gathered;
    let unneeded = stage::unneeded(spec, migrations, state).next().is_some();
    let whole = plan.mode == Mode::Normal && !plan.is_partial();
    whole && (!plan.moves.is_empty() || unneeded)
}

/// Goes on with migrations behind an apply that is done.
pub(super) async fn after_apply(
    project: &Project,
    store: &Store,
    lock: &io::store::Lock,
    approve: &[String],
    ask: &Ask,
) -> Result<Exit, Failure> {
    let gathered = project.gather("apply").await?;
    project.stop_at(&gathered.stops, &gathered.sources)?;
    let gathered = approved_at(project, gathered, approve).await?;
    Run::new(project, gathered, store, lock).await?.allowing(ask).forward(None).await
}

/// Whether a migration was taken back, and begins anew.
fn anew(gathered: &mut Gathered, version: &str) -> bool {
    let ledgers = &mut gathered.state.migrations;
    let back = ledgers.get(version).is_some_and(|it| it.standing == Standing::GoneBack);
    if back {
        ledgers.remove(version);
    }
    back
}

/// The migrations whose gate is part of a plan that was reviewed: who applies it approves them.
pub(super) fn approved_by(gathered: &Gathered, plan: &Plan) -> Vec<String> {
    let waits = |version: &str| gathered.desired.moves.iter().find(|it| it.version == version);
    let reviewed = plan.moves.iter().filter(|it| {
        let stands = waits(&it.version).filter(|it| !it.goes_on());
        it.goes_on() && stands.is_some_and(|stands| stands.done == it.done)
    });
    reviewed.map(|it| it.version.clone()).collect()
}

/// What was gathered, with some migrations let past the gate that they wait at.
pub(super) async fn approved_at(
    project: &Project,
    mut gathered: Gathered,
    versions: &[String],
) -> Result<Gathered, Failure> {
    if versions.is_empty() {
        return Ok(gathered);
    }
    approve(&mut gathered, versions)?;
    Ok(project.staged_again(gathered).await)
}

/// Lets migrations pass the gate that they wait at.
fn approve(gathered: &mut Gathered, versions: &[String]) -> Result<(), Failure> {
    let environment = gathered.spec.environment.name.clone();
    for version in versions {
        let migration = known(&gathered.migrations, version)?.clone();
        let ledger = gathered.state.migrations.get_mut(version);
        let Some(ledger) = ledger.filter(|it| it.standing == Standing::Underway) else {
            return Err(Failure::new(format!("{} waits at no gate", migration.title()))
                .help("an approval is for what was done up to the gate: carry that out first"));
        };
        let next = progress::left(&migration, Some(ledger)).next().cloned();
        let waits = next.filter(|it| progress::stop(it, Some(ledger), &environment).is_some());
        match waits {
            Some(Step { id, does: Does::Gate { .. }, .. }) => ledger.approved.push(id),
            Some(_) | None => {
                return Err(Failure::new(format!("{} waits at no gate", migration.title()))
                    .help("`jsplan migrate status` shows what it waits for"));
            }
        }
    }
    Ok(())
}

pub(super) fn known<'a>(
    migrations: &'a Migrations,
    version: &str,
) -> Result<&'a Migration, Failure> {
    migrations.0.get(version).ok_or_else(|| {
        let all: Vec<_> = migrations.0.keys().cloned().collect();
        let help = if all.is_empty() {
            format!("`{FOLDER}/` holds none: `jsplan migrate new` writes one")
        } else {
            format!("there are: {}", all.join(", "))
        };
        Failure::new(format!("there is no migration `{version}`")).help(help)
    })
}

async fn resume(project: &Project, args: &Resume) -> Result<Exit, Failure> {
    asked(&args.consent, project)?;
    let store = project.store().await?;
    let (gathered, lock) =
        gathered(project, store, "migrate resume", &args.consent.patience).await?;
    let underway = |it: &&Migration| {
        let ledger = gathered.state.migrations.get(&it.version);
        ledger.is_some_and(|it| matches!(it.standing, Standing::Underway | Standing::GoingBack))
    };
    let broken = |it: &&Migration| {
        let ledger = gathered.state.migrations.get(&it.version);
        ledger.is_some_and(|ledger| progress::broken(it, ledger).is_some())
    };
    let all: Vec<_> = gathered.migrations.0.values().filter(underway).collect();
    let first = all.iter().copied().find(broken).or(all.first().copied());
    let Some(migration) = first.cloned() else {
        return Err(Failure::new("no migration is under way")
            .help("`jsplan migrate status` shows how each stands"));
    };
    let going = gathered.state.migrations[&migration.version].standing == Standing::GoingBack;
    if args.back || going {
        return take_back(project, gathered, (store, &lock), (&migration, &args.consent, &[]))
            .await;
    }
    let mut run = Run::new(project, gathered, store, &lock).await?;
    run.forward(Some(&migration.version)).await
}

async fn rollback(project: &Project, args: &Rollback) -> Result<Exit, Failure> {
    asked(&args.consent, project)?;
    let store = project.store().await?;
    let (gathered, lock) =
        gathered(project, store, "migrate rollback", &args.consent.patience).await?;
    let migration = known(&gathered.migrations, &args.version)?.clone();
    let how = (&migration, &args.consent, args.allow.as_slice());
    take_back(project, gathered, (store, &lock), how).await
}

async fn take_back(
    project: &Project,
    mut gathered: Gathered,
    (store, lock): (&Store, &io::store::Lock),
    (migration, consent, allow): (&Migration, &Consent, &[String]),
) -> Result<Exit, Failure> {
    let ask = Asked::allowing(allow).ask()?;
    let mut plan = of_moves(&mut gathered, &Ask::default(), None);
    let mut run = Run::new(project, gathered, store, lock).await?.allowing(&ask);
    run.decide_open(migration).await?;
    run.way(migration)?;
    plan.moves = vec![progress::going_back(migration, run.ledger(migration))];
    project.show(&render::migration::way_back(migration, &plan))?;
    if !approved(project, consent, &plan).await? {
        project.terminal.say(&render::talk::cancelled(Mode::Normal));
        return Ok(Exit::Failed);
    }
    run.backward(migration).await?;
    Ok(Exit::Done)
}

async fn repair(project: &Project, args: &Repair) -> Result<Exit, Failure> {
    let store = project.store().await?;
    let (gathered, lock) = gathered(project, store, "migrate repair", &args.patience).await?;
    let migration = known(&gathered.migrations, &args.version)?.clone();
    let mut run = Run::new(project, gathered, store, &lock).await?;
    let operation = format!("migrate repair {}", migration.version);
    match &args.step {
        Some(id) => run.repair(&migration, id, &args.reason, &operation).await?,
        None => {
            run.note(&operation, |run| {
                let ledger = run.ledger_mut(&migration);
                ledger.standing = Standing::Baselined;
                let last = ledger.steps.last_mut();
                if let Some(entry) = last.filter(|it| !it.is_done()) {
                    entry.end = End::Repaired(args.reason.clone());
                }
                ledger.ended = Some(ledger.begun.clone());
            })
            .await?;
        }
    }
    project.terminal.say(&render::migration::repaired(&migration, args.step.as_deref()));
    Ok(Exit::Done)
}
