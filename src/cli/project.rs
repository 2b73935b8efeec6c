//! The folder a command works in: which environment, its spec, its state, its server.

use std::{cell::Cell, collections::BTreeSet, path::PathBuf};

use super::{Failure, Global};
use crate::{
    address::Address,
    finding::{Code, Finding, Severity, Sources, did_you_mean},
    io::{
        files,
        nats::{self, Session},
        store::Store,
        terminal::Terminal,
        who,
    },
    live::Live,
    render,
    spec::{self, Connection, Desired},
    state::State,
};

/// A project folder, seen through the options of one command line.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) terminal: Terminal,
    global: Global,
    is_staged: bool,
    /// Whether it was said that others may write into the folder of the state.
    warned: Cell<bool>,
}

/// What a plan is made of.
pub(crate) struct Gathered {
    pub(crate) desired: Desired,
    pub(crate) sources: Sources,
    pub(crate) state: State,
    pub(crate) live: Live,
    pub(crate) session: Session,
}

impl Project {
    pub(crate) fn new(global: Global, terminal: Terminal) -> Self {
        Self { dir: PathBuf::new(), terminal, global, is_staged: false, warned: Cell::new(false) }
    }

    /// A project in a folder that what is said does not name, nor its server.
    pub(crate) fn staged(global: Global, terminal: Terminal, dir: PathBuf) -> Self {
        Self { dir, terminal, global, is_staged: true, warned: Cell::new(false) }
    }

    /// The options that lead to the same environment, folder and server again, for hints.
    pub(crate) fn options(&self, environment: &str) -> String {
        let Global { chdir, context, server, env: _, color: _, no_color: _ } = &self.global;
        let chdir = chdir.as_ref().map(|it| format!(" --chdir {}", it.display()));
        let context = context.as_ref().map(|it| format!(" --context {it}"));
        let server = server.as_ref().map(|it| format!(" --server {}", without_secrets(it)));
        let more = [chdir, context, server].into_iter().flatten().filter(|_| !self.is_staged);
        format!("--env {environment}{}", more.collect::<String>())
    }

    /// The environment that was named, or the only one there is; its files are where they seem.
    pub(crate) fn environment(&self) -> Result<String, Failure> {
        let name = self.chosen()?;
        let folder = self.dir.join("state");
        let own = ["json", "journal", "lock"].map(|it| folder.join(format!("{name}.{it}")));
        for path in
            own.into_iter().chain([folder.join("history"), folder.join("history").join(&name)])
        {
            files::stays_within(&folder, &path).map_err(|it| {
                Failure::from(it)
                    .help("put the file itself there: a state is never written elsewhere")
            })?;
        }
        if let Some(mode) = files::open_to_others(&folder).filter(|_| !self.warned.replace(true)) {
            let message =
                format!("others may write into `{}/`: its mode is {mode:03o}", folder.display());
            let caution = Finding::warning(Code::Unprotected, message);
            let help = "take it from them, since a state says what may be deleted: `chmod go-w`";
            self.show_findings(&[caution.help(help)], &Sources::default());
        }
        Ok(name)
    }

    fn chosen(&self) -> Result<String, Failure> {
        let known = files::environments(&self.dir).map_err(|it| {
            Failure::from(it).help("run jsplan where `environments/` is, or name it: `--chdir DIR`")
        })?;
        let list = known.join(", ");
        match (&self.global.env, known.as_slice()) {
            (Some(name), _) if known.contains(name) => Ok(name.clone()),
            (Some(name), _) => {
                let list = format!("`environments/` has: {list}");
                let path = self.dir.join(format!("environments/{name}.toml"));
                if spec::is_environment(name) && files::read(&path).is_ok() {
                    let why = "is no environment: another spec extends it";
                    return Err(Failure::new(format!("`{name}` {why}")).help(list));
                }
                let near = did_you_mean(name, known.iter().map(String::as_str));
                Err(Failure::new(format!("there is no environment `{name}`"))
                    .help(near.unwrap_or(list)))
            }
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(Failure::new("`environments/` holds no environment")
                .help("write `environments/dev.toml`; the README shows one")),
            (None, _) => Err(Failure::new("no environment is named")
                .help(format!("choose one with `--env`: {list}"))),
        }
    }

    /// The spec of the environment; every finding is shown, and errors end the command.
    pub(crate) fn load(&self) -> Result<(Desired, Sources), Failure> {
        let loaded = self.read_spec()?;
        self.show_findings(&loaded.findings, &loaded.sources);
        match loaded.desired {
            Some(desired) => Ok((desired, loaded.sources)),
            None => Err(Failure::shown()),
        }
    }

    /// The spec of the environment with its findings, none of them shown.
    pub(crate) fn read_spec(&self) -> Result<spec::Loaded, Failure> {
        let path = format!("environments/{}.toml", self.environment()?);
        let folder = self.dir.join("environments");
        let text_of =
            |path: &str| files::read_within(&folder, &self.dir.join(path)).map_err(|it| it.why());
        Ok(spec::load(&path, text_of))
    }

    pub(crate) fn show_findings(&self, findings: &[Finding], sources: &Sources) {
        if !findings.is_empty() {
            self.terminal.say(&format!("\n{}", render::findings(findings, sources)));
        }
    }

    /// Writes data to stdout; see [`super::shown`].
    pub(crate) fn show(&self, text: &str) -> Result<(), Failure> {
        super::shown(&self.terminal, text)
    }

    pub(crate) fn store(&self, environment: &str) -> Store {
        Store::new(&self.dir, environment)
    }

    /// A connection to the environment's server, or to the one the command line names.
    async fn connect(&self, desired: &Desired, operation: &str) -> Result<Session, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let environment = &desired.environment.name;
        let name = format!("jsplan/{version} {environment} {operation} by {}", who::user_at_host());
        let session = nats::connect(&self.connection(desired), &name).await;
        let session = session.map_err(Failure::of_server)?;
        self.show_findings(session.cautions(), &Sources::default());
        Ok(session)
    }

    /// What subjects begin with: those of the API, and those of its answers.
    pub(crate) fn subjects(&self, desired: &Desired) -> Result<(String, String), Failure> {
        nats::subjects(&self.connection(desired)).map_err(Failure::of_server)
    }

    /// What the spec says of its server, or what the command line says instead.
    fn connection(&self, desired: &Desired) -> Connection {
        match (&self.global.server, &self.global.context) {
            (Some(urls), _) => {
                let urls = urls.split(',').map(|it| it.trim().to_owned()).collect();
                Connection { urls, ..Connection::default() }
            }
            (None, Some(context)) => {
                Connection { context: Some(context.clone()), ..Connection::default() }
            }
            (None, None) => desired.environment.server.clone(),
        }
    }

    /// Spec, state and server of the environment.
    pub(crate) async fn gather(&self, operation: &str) -> Result<Gathered, Failure> {
        let (desired, sources) = self.load()?;
        let state =
            self.store(&desired.environment.name).load().await.map_err(Failure::of_store)?;
        let session = self.connect(&desired, operation).await?;
        let live = observe(&session, &desired, &state).await?;
        Ok(Gathered { desired, sources, state, live, session })
    }
}

/// Reads everything; what the spec and the state name is looked for with care.
pub(crate) async fn observe(
    session: &Session,
    desired: &Desired,
    state: &State,
) -> Result<Live, Failure> {
    let expected: BTreeSet<Address> =
        desired.resources.keys().chain(state.resources.keys()).cloned().collect();
    session.observe(&expected).await.map_err(Failure::of_server)
}

/// Urls as they may be repeated.
fn without_secrets(urls: &str) -> String {
    urls.split(',').map(spec::connection::without_secrets).collect::<Vec<_>>().join(",")
}

/// Whether a finding ends the command.
pub(crate) fn refused(findings: &[Finding]) -> bool {
    findings.iter().any(|it| it.severity == Severity::Error)
}
