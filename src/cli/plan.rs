//! `jsplan plan`: what an apply would do.

use std::{
    collections::BTreeSet,
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
    plan::{self, Ask, Mode, Plan, rehearsal::Rehearsal},
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
    out: Option<PathBuf>,
    /// End with 2 where changes are present
    #[arg(long)]
    detailed_exitcode: bool,
    /// Sign what is saved with the seed of a user's nkey, at `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET", requires = "out")]
    sign: Option<String>,
    /// One JSON object, in Terraform's plan representation, instead of text
    #[arg(long)]
    json: bool,
    /// Apply the plan to a throw-away server first: what it refuses is said, and nothing is changed
    #[arg(long)]
    rehearse: bool,
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
    #[arg(long, value_name = "CLASS=ADDR")]
    allow: Vec<String>,
}

impl Args {
    /// Plan, and save the plan.
    pub(crate) fn into_file(path: &str) -> Self {
        Self { out: Some(path.into()), ..Self::default() }
    }
}

impl Asked {
    /// Reads addresses and classes.
    pub(crate) fn ask(&self) -> Result<Ask, Failure> {
        let mode = match (self.destroy, self.refresh_only) {
            (true, _) => Mode::Destroy,
            (false, true) => Mode::RefreshOnly,
            (false, false) => Mode::Normal,
        };
        let address = |it: &String| Ok(it.parse::<Address>()?);
        let targets: Result<BTreeSet<_>, Failure> = self.target.iter().map(address).collect();
        let allow: Result<BTreeSet<_>, Failure> = self.allow.iter().map(|it| consent(it)).collect();
        Ok(Ask { mode, targets: targets?, allow: allow? })
    }

    /// The commands that plan and that apply the same: `plan` without consent, which is to be named
    /// anew.
    pub(crate) fn commands(&self, options: &str) -> (String, String) {
        let mut flags: String = self.target.iter().map(|it| format!(" --target {it}")).collect();
        flags += if self.refresh_only { " --refresh-only" } else { "" };
        flags += if self.destroy { " --destroy" } else { "" };
        let allow: String = self.allow.iter().map(|it| format!(" --allow {it}")).collect();
        let planned = format!("jsplan plan {options}{flags}");
        (planned, format!("jsplan apply {options}{flags}{allow}"))
    }

    /// Whether anything is asked beyond the plain plan.
    pub(crate) fn is_plain(&self) -> bool {
        self.target.is_empty() && self.allow.is_empty() && !self.refresh_only && !self.destroy
    }
}

fn consent(text: &str) -> Result<(Harm, Address), Failure> {
    let classes = Harm::ALL.map(|it| it.to_string());
    let Some((class, address)) = text.split_once('=') else {
        return Err(Failure::new(format!("`--allow {text}` names no resource"))
            .help("write `--allow data-loss=stream.NAME`"));
    };
    let Some(harm) = Harm::ALL.into_iter().find(|it| it.to_string() == class) else {
        let near = did_you_mean(class, classes.iter().map(String::as_str));
        return Err(Failure::new(format!("`{class}` is no class of harm"))
            .help(near.unwrap_or_else(|| format!("the classes are: {}", classes.join(", ")))));
    };
    Ok((harm, address.parse()?))
}

/// Plans, shows the plan, and saves it where that is asked.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let ask = args.ask.ask()?;
    let seed = args.sign.as_deref().map(seed).transpose()?;
    let told = |failure: Failure| tell(project, args, failure);
    let gathered = gather(project, args).await.map_err(told)?;
    let plan = plan::plan(&gathered.desired, &gathered.state, &gathered.live, &ask);
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
async fn gather(project: &Project, args: &Args) -> Result<Gathered, Failure> {
    let loaded = project.read_spec()?;
    if args.json && loaded.desired.is_none() {
        let said = render::json::unplanned(&loaded.findings, &loaded.sources);
        project.show(&render::json::line(&said))?;
    }
    project.gather_from(loaded, "plan").await
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
