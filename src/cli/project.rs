//! The folder a command works in: which environment, its spec, its state, its server.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Failure, Global};
use crate::{
    address::Address,
    finding::{Finding, Severity, Sources, did_you_mean},
    forecast::Question,
    history,
    io::{
        files,
        nats::{self, Session},
        store::Store,
        terminal::Terminal,
        who,
    },
    live::Live,
    plan::{self, Ask, Mode, Plan},
    reconcile::{Reconciled, reconcile},
    render,
    spec::{self, Connection, Desired},
    state::State,
    target,
};

/// A project folder, seen through the options of one command line.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) terminal: Terminal,
    global: Global,
    is_staged: bool,
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
        Self { dir: PathBuf::new(), terminal, global, is_staged: false }
    }

    /// A project in a folder that what is said does not name, nor its server.
    pub(crate) fn staged(global: Global, terminal: Terminal, dir: PathBuf) -> Self {
        Self { dir, terminal, global, is_staged: true }
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

    /// The environment that was named, or the only one there is.
    pub(crate) fn environment(&self) -> Result<String, Failure> {
        let known = files::environments(&self.dir).map_err(|it| {
            Failure::from(it).help("run jsplan where `environments/` is, or name it: `--chdir DIR`")
        })?;
        let list = known.join(", ");
        match (&self.global.env, known.as_slice()) {
            (Some(name), _) if known.contains(name) => Ok(name.clone()),
            (Some(name), _) => {
                let list = format!("`environments/` has: {list}");
                if files::read(&self.dir.join(format!("environments/{name}.toml"))).is_ok() {
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
        self.admit(self.read_spec()?)
    }

    fn admit(&self, loaded: spec::Loaded) -> Result<(Desired, Sources), Failure> {
        self.show_findings(&loaded.findings, &loaded.sources);
        match loaded.desired {
            Some(desired) => Ok((desired, loaded.sources)),
            None => Err(Failure::shown()),
        }
    }

    /// The spec of the environment with its findings, none of them shown.
    pub(crate) fn read_spec(&self) -> Result<spec::Loaded, Failure> {
        let path = format!("environments/{}.toml", self.environment()?);
        let text_of = |path: &str| files::read(&self.dir.join(path)).map_err(|it| it.why());
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

    /// Says what a journal told of an apply that has not come to its end, and what became of the
    /// steps that it leaves open; `None` where no server was asked.
    pub(crate) fn tell_cut_short(&self, state: &State, found: Option<&Reconciled>) {
        if let Some(cut) = &state.cut_short {
            self.terminal.say(&render::talk::cut_short(cut, found));
        }
    }

    pub(crate) fn store(&self, environment: &str) -> Store {
        Store::new(&self.dir, environment)
    }

    /// A connection to the environment's server, or to the one the command line names.
    async fn connect(&self, desired: &Desired, operation: &str) -> Result<Session, Failure> {
        let version = env!("CARGO_PKG_VERSION");
        let environment = &desired.environment.name;
        let name = format!("jsplan/{version} {environment} {operation} by {}", who::user_at_host());
        let instead = match (&self.global.server, &self.global.context) {
            (Some(urls), _) => {
                let urls = urls.split(',').map(|it| it.trim().to_owned()).collect();
                Some(Connection { urls, ..Connection::default() })
            }
            (None, Some(context)) => {
                Some(Connection { context: Some(context.clone()), ..Connection::default() })
            }
            (None, None) => None,
        };
        let connection = instead.as_ref().unwrap_or(&desired.environment.server);
        nats::connect(connection, &name).await.map_err(Failure::of_server)
    }

    /// Spec, state and server of the environment.
    pub(crate) async fn gather(&self, operation: &str) -> Result<Gathered, Failure> {
        self.gather_from(self.read_spec()?, Mode::Normal, operation).await
    }

    /// State and server of the environment with this spec; where it is gone back to an earlier
    /// state, that is what is wanted.
    pub(crate) async fn gather_from(
        &self,
        loaded: spec::Loaded,
        mode: Mode,
        operation: &str,
    ) -> Result<Gathered, Failure> {
        let (mut desired, mut sources) = self.admit(loaded)?;
        let folder = self.dir.join("state");
        if files::is_open_to_all(&folder) {
            self.terminal.say(&render::talk::open_to_all(&folder.display().to_string()));
        }
        let store = self.store(&desired.environment.name);
        let mut state = store.load().await.map_err(Failure::of_store)?;
        if let Mode::Rollback(serial) = mode {
            let kept = super::rollback::kept(&store, &state, serial).await?;
            desired = history::desired(&desired, &kept, &mut sources);
        }
        let session = self.connect(&desired, operation).await?;
        let live = observe(&session, &desired, &state).await?;
        // Of another server nothing can be told: there everything would seem to be undone.
        if target::check(&desired, &state, &live.server).is_empty() {
            let found = reconcile(&mut state, &live);
            self.tell_cut_short(&state, Some(&found));
        }
        Ok(Gathered { desired, sources, state, live, session })
    }
}

impl Gathered {
    /// Plans, asks what the plan cannot tell from what was gathered, and plans again with the
    /// answers. Where nothing is to be counted nothing is asked.
    pub(crate) async fn plan(&mut self, ask: &Ask) -> Plan {
        /// An answer may lead to another question, and that to no third.
        const ROUNDS: usize = 4;
        let Self { desired, state, live, session, .. } = self;
        let mut plan = plan::plan(desired, state, live, ask);
        for _ in 0..ROUNDS {
            let asked: BTreeSet<Question> = plan.questions.iter().cloned().collect();
            let new: Vec<_> =
                asked.into_iter().filter(|it| !live.tallies.contains_key(it)).collect();
            if new.is_empty() {
                break;
            }
            live.tallies.extend(session.tallies(new).await);
            plan = plan::plan(desired, state, live, ask);
        }
        plan
    }
}

/// Reads everything; what the spec and the state name is looked for with care.
pub(crate) async fn observe(
    session: &Session,
    desired: &Desired,
    state: &State,
) -> Result<Live, Failure> {
    let undecided = state.cut_short.iter().flat_map(|it| &it.undecided).map(|it| &it.address);
    let known = desired.resources.keys().chain(state.resources.keys());
    let expected: BTreeSet<Address> = known.chain(undecided).cloned().collect();
    session.observe(&expected).await.map_err(Failure::of_server)
}

/// Urls as they may be repeated: who connects, and by what secret, stays out.
fn without_secrets(urls: &str) -> String {
    let one = |url: &str| {
        let (scheme, rest) = url.split_once("://").map_or(("", url), |(it, rest)| (it, rest));
        let between = if scheme.is_empty() { "" } else { "://" };
        match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}{between}***@{host}"),
            None => url.to_owned(),
        }
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// A state is not written over steps of which nobody knows what became.
pub(crate) fn decided(state: &State) -> Result<(), Failure> {
    let mut undecided = state.cut_short.iter().flat_map(|it| &it.undecided);
    match undecided.next() {
        None => Ok(()),
        Some(first) => Err(Failure::new(format!(
            "an apply was cut short, and what became of `{}` is not known",
            first.address
        ))
        .help("`jsplan apply` looks, once the server can be read, and records what it finds")),
    }
}

/// Whether a finding ends the command.
pub(crate) fn refused(findings: &[Finding]) -> bool {
    findings.iter().any(|it| it.severity == Severity::Error)
}
