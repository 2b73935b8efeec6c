//! `jsplan plan`: what an apply would do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    Exit, Failure,
    project::{Gathered, Project, refused},
};
use crate::{
    address::Address,
    finding::{Sources, did_you_mean},
    io::{
        self, files, nats,
        rehearse::{self, Piece},
        who,
    },
    plan::{self, Ask, Mode, Plan, rehearsal::Rehearsal, risk::Reach},
    render,
    schema::Harm,
    spec::Secret,
};

/// What `plan` takes.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) ask: Asked,
    /// Save the plan, so that exactly it can be applied
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// End with 2 where changes are present
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Sign what is saved with the seed of a user's nkey, at `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET", requires = "out")]
    pub(crate) sign: Option<String>,
    /// One JSON object, in Terraform's plan representation, instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Apply the plan to a throw-away server first: what it refuses is said, and nothing is changed
    #[arg(long)]
    pub(crate) rehearse: bool,
}

/// What a plan can be asked, by `plan` and by `apply`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Asked {
    /// Only this resource and what it stands on; may be repeated
    #[arg(long, value_name = "ADDR")]
    target: Vec<String>,
    /// Let the state follow the server; the server is left alone
    #[arg(long, conflicts_with = "destroy")]
    refresh_only: bool,
    /// Destroy everything the state owns
    #[arg(long)]
    destroy: bool,
    /// Consent to harm, such as `data-loss=stream.ORDERS`; may be repeated
    #[arg(long, value_name = "CLASS=ADDR[:N]")]
    allow: Vec<String>,
    /// Approve the gate at which this migration waits; may be repeated
    #[arg(long, value_name = "VERSION")]
    pub(crate) approve: Vec<String>,
    /// Go back to the state with this serial, as `rollback --to` asks
    #[arg(skip)]
    rollback: Option<u64>,
}

impl Args {
    /// Plan, and save the plan.
    pub(crate) fn into_file(ask: Asked, path: impl Into<PathBuf>) -> Self {
        Self { ask, out: Some(path.into()), ..Self::default() }
    }
}

impl Asked {
    /// To go back to the state with this serial.
    pub(crate) fn rollback(serial: u64, target: &[String], allow: &[String]) -> Self {
        let (target, allow) = (target.to_owned(), allow.to_owned());
        Self { rollback: Some(serial), target, allow, ..Self::default() }
    }

    /// Only consent.
    pub(crate) fn allowing(allow: &[String]) -> Self {
        Self { allow: allow.to_owned(), ..Self::default() }
    }

    /// Reads addresses and classes.
    pub(crate) fn ask(&self) -> Result<Ask, Failure> {
        let mode = match (self.rollback, self.destroy, self.refresh_only) {
            (Some(serial), ..) => Mode::Rollback(serial),
            (None, true, _) => Mode::Destroy,
            (None, false, true) => Mode::RefreshOnly,
            (None, false, false) => Mode::Normal,
        };
        let address = |it: &String| Ok(it.parse::<Address>()?);
        let targets: Result<BTreeSet<_>, Failure> = self.target.iter().map(address).collect();
        let allow: Result<BTreeMap<_, _>, Failure> =
            self.allow.iter().map(|it| consent(it)).collect();
        Ok(Ask { mode, targets: targets?, allow: allow? })
    }

    /// What leads to a plan of this kind, of everything.
    pub(crate) fn of_mode(mode: Mode) -> Self {
        let none = Self::default();
        match mode {
            Mode::Normal => none,
            Mode::Destroy => Self { destroy: true, ..none },
            Mode::RefreshOnly => Self { refresh_only: true, ..none },
            Mode::Rollback(serial) => Self { rollback: Some(serial), ..none },
        }
    }

    /// The commands that plan and that apply the same: `plan` without consent, which is to be named
    /// anew.
    pub(crate) fn commands(&self, options: &str) -> (String, String) {
        let Self { target, refresh_only, destroy, allow, approve, rollback } = self;
        let mut flags: String = target.iter().map(|it| format!(" --target {it}")).collect();
        flags += if *refresh_only { " --refresh-only" } else { "" };
        flags += if *destroy { " --destroy" } else { "" };
        flags.extend(approve.iter().map(|it| format!(" --approve {it}")));
        let allow: String = allow.iter().map(|it| format!(" --allow {it}")).collect();
        let (plan, apply) = match rollback {
            None => (format!("plan {options}"), format!("apply {options}")),
            Some(serial) => {
                let both = format!("rollback {options} --to {serial}");
                (both.clone(), both)
            }
        };
        (format!("jsplan {plan}{flags}"), format!("jsplan {apply}{flags}{allow}"))
    }

    /// Whether anything is asked beyond the plain plan.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { target, refresh_only, destroy, allow, approve, rollback } = self;
        let narrow = target.is_empty() && allow.is_empty() && approve.is_empty();
        narrow && !refresh_only && !destroy && rollback.is_none()
    }
}

/// `CLASS=ADDR`, and behind that how far it reaches: `:300000` or `:unknown`.
fn consent(text: &str) -> Result<((Harm, Address), Reach), Failure> {
    let classes = Harm::ALL.map(|it| it.to_string());
    let Some((class, rest)) = text.split_once('=') else {
        return Err(Failure::new(format!("`--allow {text}` names no resource"))
            .help("write `--allow data-loss=stream.NAME`"));
    };
    let Some(harm) = Harm::ALL.into_iter().find(|it| it.to_string() == class) else {
        let near = did_you_mean(class, classes.iter().map(String::as_str));
        return Err(Failure::new(format!("`{class}` is no class of harm"))
            .help(near.unwrap_or_else(|| format!("the classes are: {}", classes.join(", ")))));
    };
    let (address, reach) = match rest.split_once(':') {
        None => (rest, Reach::Counted),
        Some((address, "unknown")) => (address, Reach::Unknown),
        Some((address, number)) => {
            let number = number.parse().map_err(|_| {
                Failure::new(format!("`{number}` in `--allow {text}` is no number of messages"))
                    .help(format!("write `--allow {class}={address}:300000`, or `:unknown`"))
            })?;
            (address, Reach::UpTo(number))
        }
    };
    Ok(((harm, address.parse()?), reach))
}

/// Plans, shows the plan, and saves it where that is asked.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let ask = args.ask.ask()?;
    let seed = args.sign.as_deref().map(seed).transpose()?;
    let told = |failure: Failure| tell(project, args, failure);
    let mut gathered = gather(project, args, ask.mode).await.map_err(told)?;
    let plan = gathered.plan(&ask).await;
    if !args.json {
        project.show(&render::plan(&plan, &gathered.sources))?;
    }
    let rehearsal = if args.rehearse && !plan.is_refused() && plan.sends() {
        Some(rehearsed(project, &gathered, &plan).await.map_err(told)?)
    } else {
        if args.rehearse {
            project.terminal.say(&render::talk::unrehearsed(&plan));
        }
        None
    };
    if args.json {
        let shown = match &rehearsal {
            Some(rehearsal) => render::json::rehearsed(&plan, rehearsal, &gathered.sources),
            None => render::json::plan(&plan, &gathered.sources),
        };
        project.show(&render::json::line(&shown))?;
    }
    let mut findings = plan.findings.clone();
    findings.extend(rehearsal.iter().flat_map(|it| it.findings.iter().cloned()));
    project.show_findings(&findings, &gathered.sources);
    if let Some(rehearsal) = rehearsal.filter(|_| !args.json) {
        project.show(&render::rehearsal(&rehearsal))?;
    }
    if refused(&findings) {
        if plan.stops_in_part() {
            in_part(project, args, &plan, &gathered.sources, seed.as_deref())?;
        }
        return Err(Failure::shown());
    }
    if let Some(path) = &args.out {
        save(project, &plan, &gathered.sources, path, seed.as_deref())?;
    }
    let changes = args.detailed_exitcode && !plan.is_empty();
    Ok(if changes { Exit::Changes } else { Exit::Done })
}

/// What the plan is made of; a program is told of a spec with errors too.
async fn gather(project: &Project, args: &Args, mode: Mode) -> Result<Gathered, Failure> {
    let loaded = project.read_spec()?;
    if args.json && loaded.desired.is_none() {
        let said = render::json::unplanned(&loaded.findings, &loaded.sources);
        project.show(&render::json::line(&said))?;
    }
    let gathered = project.gather_from(loaded, mode, "plan").await?;
    super::migrate::approved_at(project, gathered, &args.ask.approve).await
}

/// Tells a program why there is no plan, where it was told nothing yet.
fn tell(project: &Project, args: &Args, failure: Failure) -> Failure {
    if args.json && !failure.message.is_empty() {
        let said = render::json::failed(&failure.message, failure.help.as_deref());
        // That nobody reads it is the lesser failure.
        let _ = project.show(&render::json::line(&said));
    }
    failure
}

/// A plan in which single steps are blocked is saved all the same, and says what can be done.
fn in_part(
    project: &Project,
    args: &Args,
    plan: &Plan,
    sources: &Sources,
    seed: Option<&str>,
) -> Result<(), Failure> {
    let options = project.options(&plan.environment);
    let (mut planned, mut applied) = args.ask.commands(&options);
    if let Some(path) = &args.out {
        save(project, plan, sources, path, seed)?;
        planned += &format!(" --out {}", path.display());
        applied = format!("jsplan apply {options} {}", path.display());
    }
    project.terminal.say(&render::talk::blocked(plan, &planned, &applied));
    Ok(())
}

/// The seed that a reference leads to. What is no reference may be a secret, so it is not repeated.
fn seed(reference: &str) -> Result<String, Failure> {
    let Some(secret) = Secret::parse(reference) else {
        return Err(Failure::new("`--sign` is no reference, and a command line keeps no secret")
            .help("write where the seed is: `env:NAME` for a variable, `file:PATH` for a file"));
    };
    nats::resolve_seed(&secret).map_err(Failure::of_server)
}

/// Applies the plan to servers that are there for nothing else, and go with it.
async fn rehearsed(
    project: &Project,
    gathered: &Gathered,
    plan: &Plan,
) -> Result<Rehearsal, Failure> {
    let mut say = |it: &str| project.terminal.say(&format!("{it}\n"));
    let Gathered { desired, state, live, .. } = gathered;
    project.terminal.say(&render::talk::rehearsing());
    let program = rehearse::program(live.server.release, &mut say)?;
    let piece = Piece { plan, desired, state, live };
    let rehearsal = async { Ok(rehearse::rehearse(program, piece).await?) };
    let interrupted = || Err(Failure::new("interrupted").help("nothing was changed"));
    io::unless_interrupted(rehearsal, interrupted).await
}

fn save(
    project: &Project,
    plan: &Plan,
    sources: &Sources,
    path: &Path,
    seed: Option<&str>,
) -> Result<(), Failure> {
    let mut text = plan::file::write(plan, sources, &who::user_at_host());
    if let Some(seed) = seed {
        text = plan::file::sign(&text, seed)?;
    }
    files::replace(&project.dir.join(path), &text)?;
    let options = project.options(&plan.environment);
    project.terminal.say(&render::talk::saved(plan, &options, &path.display().to_string()));
    Ok(())
}
