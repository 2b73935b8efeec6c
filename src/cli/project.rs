//! The folder a command works in: which environment, its spec, its state, its server.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{Failure, Global};
use crate::{
    address::Address,
    finding::{Code, Finding, Severity, Sources, did_you_mean},
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
    migration::{
        Migration, Migrations, progress, read,
        stage::{self, Stage},
    },
    plan::{self, Ask, Mode, Plan},
    reconcile::{Reconciled, reconcile},
    render,
    spec::{self, Connection, Desired, Environment, Keeping},
    state::State,
    target,
};

/// A project folder, seen through the options of one command line.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) terminal: Terminal,
    global: Global,
    is_staged: bool,
    /// The spec, where it was read to know where its state is.
    spec: RefCell<Option<spec::Loaded>>,
    store: OnceCell<Store>,
    /// The id of the lock that stays where this process is cut short.
    pub(super) outliving: OnceCell<String>,
    /// Whether it was said that others may write into the folder of the state.
    warned: Cell<bool>,
}

/// What a plan is made of.
pub(crate) struct Gathered {
    /// What is wanted: the spec as far as its migrations have come, or an earlier state.
    pub(crate) desired: Desired,
    /// The spec itself.
    pub(crate) spec: Desired,
    pub(crate) migrations: Migrations,
    /// Migrations that may not begin yet, with what each waits for.
    pub(crate) blocked: BTreeMap<String, String>,
    /// What keeps a plan from being applied, whatever it says: migrations that stopped half-way.
    pub(crate) stops: Vec<Finding>,
    pub(crate) sources: Sources,
    pub(crate) state: State,
    pub(crate) live: Live,
    pub(crate) session: Session,
}

impl Project {
    pub(crate) fn new(global: Global, terminal: Terminal) -> Self {
        Self {
            dir: PathBuf::new(),
            terminal,
            global,
            is_staged: false,
            spec: RefCell::default(),
            store: OnceCell::new(),
            outliving: OnceCell::new(),
            warned: Cell::new(false),
        }
    }

    /// A project in a folder that what is said does not name, nor its server.
    pub(crate) fn staged(global: Global, terminal: Terminal, dir: PathBuf) -> Self {
        Self { dir, is_staged: true, ..Self::new(global, terminal) }
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
        if let Some(loaded) = self.spec.take() {
            return Ok(loaded);
        }
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

    /// Shows findings, and ends where one is an error.
    pub(crate) fn stop_at(&self, findings: &[Finding], sources: &Sources) -> Result<(), Failure> {
        self.show_findings(findings, sources);
        if refused(findings) { Err(Failure::shown()) } else { Ok(()) }
    }

    /// Writes data to stdout; see [`super::shown`].
    pub(crate) fn show(&self, text: &str) -> Result<(), Failure> {
        super::shown(&self.terminal, text)
    }

    /// Where the state of the environment is kept, as the spec says.
    pub(crate) async fn store(&self) -> Result<&Store, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let loaded = self.read_spec()?;
        let Some(desired) = &loaded.desired else {
            self.show_findings(&loaded.findings, &loaded.sources);
            return Err(Failure::shown());
        };
        let store = self.open(&desired.environment).await?;
        self.spec.replace(Some(loaded));
        Ok(self.store.get_or_init(|| store))
    }

    async fn open(&self, environment: &Environment) -> Result<Store, Failure> {
        let name = &environment.name;
        let kept = match &environment.keeping {
            Keeping::File => return Ok(Store::new(&self.dir, name)),
            Keeping::Kv(kept) => kept,
        };
        let session = match &kept.server {
            Some(own) => {
                let session = nats::connect(own, &client_name(name, "state")).await;
                if let Ok(session) = &session {
                    self.show_findings(session.cautions(), &Sources::default());
                }
                session
            }
            None => nats::connect(&self.connection(environment), &client_name(name, "state")).await,
        };
        Ok(Store::shared(&self.dir, name, kept, session.map_err(Failure::of_server)?))
    }

    /// Says what a journal told of an apply that has not come to its end, and what became of the
    /// steps that it leaves open; `None` where no server was asked.
    pub(crate) fn tell_cut_short(&self, state: &State, found: Option<&Reconciled>) {
        if let Some(cut) = &state.cut_short {
            self.terminal.say(&render::talk::cut_short(cut, found));
        }
    }

    /// A connection to the environment's server, or to the one the command line names.
    async fn connect(&self, desired: &Desired, operation: &str) -> Result<Session, Failure> {
        let name = client_name(&desired.environment.name, operation);
        let connection = self.connection(&desired.environment);
        let session = nats::connect(&connection, &name).await.map_err(Failure::of_server)?;
        self.show_findings(session.cautions(), &Sources::default());
        Ok(session)
    }

    /// What the spec says of its server, or what the command line says instead.
    pub(crate) fn connection(&self, environment: &Environment) -> Connection {
        match (&self.global.server, &self.global.context) {
            (Some(urls), _) => {
                let urls = urls.split(',').map(|it| it.trim().to_owned()).collect();
                Connection { urls, ..Connection::default() }
            }
            (None, Some(context)) => {
                Connection { context: Some(context.clone()), ..Connection::default() }
            }
            (None, None) => environment.server.clone(),
        }
    }

    /// What is live, with care for what the spec names.
    pub(crate) async fn look(&self, desired: &Desired, operation: &str) -> Result<Live, Failure> {
        let session = self.connect(desired, operation).await?;
        observe(&session, desired, &State::new(&desired.environment.name)).await
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
        let (spec, mut sources) = self.admit(loaded)?;
        let migrations = self.migrations(&mut sources)?;
        if self.store.get().is_none() {
            let store = self.open(&spec.environment).await?;
            self.store.get_or_init(|| store);
        }
        let store = self.store().await?;
        let mut state = store.load().await.map_err(Failure::of_store)?;
        self.tell_failing(&migrations, &state);
        let (desired, blocked) = if let Mode::Rollback(serial) = mode {
            let kept = super::rollback::kept(store, &state, serial).await?;
            if let Some(finding) = progress::between(&kept, &state) {
                self.stop_at(&[finding], &sources)?;
            }
            (history::desired(&spec, &kept, &mut sources), BTreeMap::new())
        } else {
            let blocked = self.not_yet(&migrations, &spec, &state).await;
            (stage::staged(&spec, &migrations, &state, &blocked), blocked)
        };
        let stops = progress::stops(&migrations, &state, &self.options(&spec.environment.name));
        let session = self.connect(&desired, operation).await?;
        let live = observe(&session, &desired, &state).await?;
        // Of another server nothing can be told: there everything would seem to be undone.
        if target::check(&desired, &state, &live.server).is_empty() {
            let found = reconcile(&mut state, &live);
            self.tell_cut_short(&state, Some(&found));
        }
        let gathered =
            Gathered { desired, spec, migrations, blocked, stops, sources, state, live, session };
        Ok(gathered)
    }

    /// The migrations of the project; every finding is shown, and errors end the command.
    pub(crate) fn migrations(&self, sources: &mut Sources) -> Result<Migrations, Failure> {
        let (migrations, findings) = self.read_migrations(sources)?;
        self.stop_at(&findings, sources)?;
        Ok(migrations)
    }

    /// The same with their findings, none of them shown.
    pub(crate) fn read_migrations(
        &self,
        sources: &mut Sources,
    ) -> Result<(Migrations, Vec<Finding>), Failure> {
        let (texts, sum) = files::migrations(&self.dir)?;
        Ok(read::load(texts, sum, sources))
    }

    /// The migrations that may not begin here yet, each with what it waits for: that the environment
    /// before this one has done the same.
    async fn not_yet(
        &self,
        migrations: &Migrations,
        spec: &Desired,
        state: &State,
    ) -> BTreeMap<String, String> {
        let mut blocked = BTreeMap::new();
        for migration in migrations.0.values() {
            let pending = !state.migrations.contains_key(&migration.version)
                && stage::is_needed(migration, spec, state);
            let before = migration.promoted_from(&spec.environment.name).filter(|_| pending);
            let Some(before) = before else { continue };
            if let Some(why) = self.not_done_in(before, migration).await {
                blocked.insert(migration.version.clone(), why);
            }
        }
        blocked
    }

    /// Why another environment does not count as having done a migration; `None` where it does.
    async fn not_done_in(&self, environment: &str, migration: &Migration) -> Option<String> {
        match self.state_of(environment).await {
            Ok(state) => progress::not_promoted(migration, &state),
            Err(_) => Some(format!("{environment}, whose state cannot be read, to have done it")),
        }
    }

    /// The state of another environment of this project.
    pub(crate) async fn state_of(&self, environment: &str) -> Result<State, Failure> {
        let global = Global { env: Some(environment.to_owned()), ..self.global.clone() };
        let (is_staged, dir) = (self.is_staged, self.dir.clone());
        let other = Self { is_staged, dir, ..Self::new(global, self.terminal) };
        other.store().await?.load().await.map_err(Failure::of_store)
    }

    /// What was gathered, seen through a ledger that has changed since.
    pub(crate) async fn staged_again(&self, gathered: Gathered) -> Gathered {
        let Gathered { spec, migrations, state, .. } = &gathered;
        let blocked = self.not_yet(migrations, spec, state).await;
        let desired = stage::staged(spec, migrations, state, &blocked);
        Gathered { desired, blocked, ..gathered }
    }

    /// The recorded state; what must not wait is said first.
    pub(crate) async fn state(&self) -> Result<State, Failure> {
        let state = self.store().await?.load().await.map_err(Failure::of_store)?;
        if !state.migrations.is_empty() {
            // What is wrong with the files is for those commands to say that need them.
            let (migrations, _) = self.read_migrations(&mut Sources::default())?;
            self.tell_failing(&migrations, &state);
        }
        self.tell_cut_short(&state, None);
        Ok(state)
    }

    /// Says before anything else that nobody can publish, where a switch stopped half-way.
    pub(crate) fn tell_failing(&self, migrations: &Migrations, state: &State) {
        for migration in migrations.0.values() {
            let stage = Stage::at_worst(migration, state.migrations.get(&migration.version));
            if stage.refuses_publishers(migration) {
                let options = self.options(&state.environment);
                self.terminal.say(&render::migration::publishers_fail(migration, &options));
            }
        }
    }
}

/// What the server's operators see.
fn client_name(environment: &str, operation: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("jsplan/{version} {environment} {operation} by {}", who::user_at_host())
}

impl Gathered {
    /// Plans, asks what the plan cannot tell from what was gathered, and plans again with the
    /// answers. Where nothing is to be counted nothing is asked.
    pub(crate) async fn plan(&mut self, ask: &Ask) -> Plan {
        /// An answer may lead to another question, and that to no third.
        const ROUNDS: usize = 4;
        let Self { desired, state, live, session, stops, migrations, .. } = self;
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
        plan.findings.splice(0..0, stops.iter().cloned());
        if ask.mode == Mode::Destroy {
            plan.findings.extend(progress::holds_destruction(migrations, state));
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

/// Urls as they may be repeated.
fn without_secrets(urls: &str) -> String {
    urls.split(',').map(spec::connection::without_secrets).collect::<Vec<_>>().join(",")
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
