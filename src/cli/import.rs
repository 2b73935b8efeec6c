//! `jsplan import`: what is live, or was saved, becomes part of the spec and of the state.

use std::{collections::BTreeSet, path::PathBuf};

use regex::Regex;

use super::{
    Exit, Failure,
    lock::{self, Patience},
    project::{Gathered, Project, decided},
};
use crate::{
    address::Address,
    finding::Finding,
    import::{self, Choice, Chosen, Composed, Proved},
    io::{files, store},
    render,
    schema::Release,
    spec::{Desired, describe::Described},
    state::{LastApply, Totals},
    target,
};

/// What `import` takes.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what")
    .args(["addresses", "all", "from"]).required(true).multiple(true))]
pub(crate) struct Args {
    /// What to import, such as `stream.ORDERS`; the consumers of a stream come with it
    #[arg(value_name = "ADDR")]
    addresses: Vec<String>,
    /// Import everything that nobody manages yet
    #[arg(long, conflicts_with_all = ["addresses", "from"])]
    all: bool,
    /// Of all, only the streams whose name matches, with their consumers
    #[arg(long, value_name = "REGEX", requires = "all")]
    r#match: Option<String>,
    /// Read configurations from this file or folder, as the `nats` CLI writes them; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "addresses")]
    from: Vec<PathBuf>,
    /// Write to the spec and the state, instead of showing what would be written
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Shows what has to be written, or writes it once it is proved to plan empty.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    if !args.from.is_empty() {
        return from_files(project, args);
    }
    let choice = args.choice()?;
    let store = project.store().await?;
    let lock = if args.write {
        Some(lock::take(project, store, "import", &args.patience).await?)
    } else {
        None
    };
    let Gathered { desired, sources, state, live, .. } = project.gather("import").await?;
    project.stop_at(&target::check(&desired, &state, &live.server), &sources)?;
    let chosen = import::choose(&choice, &desired, &state, &live);
    project.stop_at(&chosen.findings, &sources)?;
    project.terminal.say(&render::import::aside(&chosen));
    let spec = Spec::of(project, &desired)?;
    let release = live.server.release;
    let Some(composed) = spec.compose(&choice, &chosen, release)? else { return Ok(Exit::Done) };
    let Proved { state: mut next, rest } = import::prove(&composed, &state, &live)
        .map_err(|findings| spec.refused(&composed, &findings))?;
    let Composed { described, .. } = composed;
    let Some(lock) = lock else {
        return spec.show(&described, &render::import::offered(&described, &spec.path));
    };
    if next.lineage.is_empty() {
        next.lineage = store::lineage();
    }
    decided(&state)?;
    let (imported, by_hand) = (described.resources.len(), super::state::by_hand("import"));
    let totals = Totals { imported, ..Totals::default() };
    next.last_apply = Some(LastApply { totals: Some(totals), ..by_hand });
    store.settle(&state, &lock).await.map_err(Failure::of_store)?;
    spec.write(&described)?;
    if let Err(error) = store.save(&next, &lock).await {
        // The spec alone would be half of it.
        files::rewrite(&project.dir.join(&spec.path), &spec.text)?;
        return Err(Failure::of_store(error));
    }
    let place = store.place();
    project.terminal.say(&render::talk::recorded(state.serial, next.serial, &place));
    project.show(&render::import::done(&described, &rest))?;
    Ok(Exit::Done)
}

/// Configurations from files: there is nothing to prove them by, and no state of them.
fn from_files(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let (desired, sources) = project.load()?;
    let mut texts = Vec::new();
    for path in &args.from {
        for file in files::below(&project.dir.join(path), "json")? {
            texts.push((file.display().to_string(), files::read(&file)?));
        }
    }
    let chosen = import::saved::read(&texts, &desired);
    project.stop_at(&chosen.findings, &sources)?;
    project.terminal.say(&render::import::aside(&chosen));
    let spec = Spec::of(project, &desired)?;
    let release = import::saved::RELEASE;
    let Some(composed) = spec.compose(&Choice::All, &chosen, release)? else {
        return Ok(Exit::Done);
    };
    if composed.loaded.desired.is_none() {
        return Err(spec.refused(&composed, &composed.loaded.findings));
    }
    let Composed { described, .. } = composed;
    if !args.write {
        return spec.show(&described, &render::import::offered_of_files(&described, &spec.path));
    }
    spec.write(&described)?;
    project.show(&render::import::written(&described, &project.options(&spec.environment)))?;
    Ok(Exit::Done)
}

impl Args {
    fn choice(&self) -> Result<Choice, Failure> {
        match &self.r#match {
            Some(pattern) => match Regex::new(pattern) {
                Ok(pattern) => Ok(Choice::Matching(pattern)),
                Err(error) => Err(Failure::new(format!("`--match` is no pattern: {error}"))
                    .help("write a regular expression, such as '^ORDERS_'")),
            },
            None if self.all => Ok(Choice::All),
            None => {
                let addresses = self.addresses.iter().map(|it| it.parse::<Address>());
                Ok(Choice::Named(addresses.collect::<Result<BTreeSet<_>, _>>()?))
            }
        }
    }
}

/// The environment's own file.
struct Spec<'a> {
    project: &'a Project,
    environment: String,
    path: String,
    text: String,
}

impl<'a> Spec<'a> {
    fn of(project: &'a Project, desired: &Desired) -> Result<Self, Failure> {
        let environment = desired.environment.name.clone();
        let path = format!("environments/{environment}.toml");
        let text = files::read(&project.dir.join(&path))?;
        Ok(Self { project, environment, path, text })
    }

    /// The file as it was read, so that all of a run is about one text.
    fn text_of(&self, path: &str) -> Result<String, String> {
        if path == self.path {
            return Ok(self.text.clone());
        }
        files::read(&self.project.dir.join(path)).map_err(|it| it.why())
    }

    /// The spec with the chosen in it; `None` where nothing is left to import.
    fn compose(
        &self,
        choice: &Choice,
        chosen: &Chosen,
        release: Release,
    ) -> Result<Option<Composed>, Failure> {
        let composed = import::compose(&self.path, |it| self.text_of(it), chosen, release);
        let described = &composed.described;
        self.project.show_findings(&described.findings, &described.sources);
        let lacks =
            |it: &&Address| !described.resources.contains(it) && !chosen.managed.contains(it);
        if let Choice::Named(named) = choice
            && let Some(address) = named.iter().find(lacks)
        {
            return Err(Failure::new(format!("`{address}` cannot be imported")).help(UNCHANGED));
        }
        if !described.resources.is_empty() {
            return Ok(Some(composed));
        }
        if !described.findings.is_empty() {
            return Err(Failure::new("nothing is left to import").help(UNCHANGED));
        }
        self.project.terminal.say(&render::import::nothing(choice));
        Ok(None)
    }

    fn refused(&self, composed: &Composed, findings: &[Finding]) -> Failure {
        self.project.show_findings(findings, &composed.loaded.sources);
        Failure::new(format!("the spec would not hold with this in `{}`", self.path))
            .help(UNCHANGED)
    }

    fn show(&self, described: &Described, offer: &str) -> Result<Exit, Failure> {
        self.project.show(&described.tables)?;
        self.project.terminal.say(offer);
        Ok(Exit::Done)
    }

    /// Replaces the file, unless somebody else did meanwhile.
    fn write(&self, described: &Described) -> Result<(), Failure> {
        let path = self.project.dir.join(&self.path);
        if files::read(&path)? != self.text {
            return Err(Failure::new(format!("`{}` was changed meanwhile", self.path))
                .help("import again; nothing was changed"));
        }
        Ok(files::rewrite(&path, &described.file)?)
    }
}

const UNCHANGED: &str = "nothing was changed";
