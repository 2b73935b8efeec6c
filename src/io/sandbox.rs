//! A throw-away nats-server, or three in a cluster, that outlives the command which started it.
//!
//! Everything is in one folder: the record, the servers' logs and their stores. The record is there
//! before the first server is, and a server that is not in it yet is known by its command line, so
//! that a start which is interrupted leaves nothing behind that [`Sandbox::down`] cannot find.

use std::{
    fmt,
    fs::{self, File, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::io::{
    binary,
    clock::wait_until,
    process::{find, kill, look, terminate},
    server::{self, Cluster, JETSTREAM, Life, Server, Setup, retry, wait_cluster},
};

/// What kind of sandbox to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// One server or a cluster.
    pub nodes: Nodes,
    /// The first node's port for clients, the others follow; 0 takes any free ones.
    pub port: u16,
    /// The nats-server to run.
    pub binary: PathBuf,
}

/// How many servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// One.
    One,
    /// Three in a cluster, which is what three replicas need.
    Three,
}

/// A sandbox on disk, running or not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sandbox {
    /// The release of its servers.
    pub version: String,
    /// Its servers.
    pub nodes: Vec<Node>,
    /// Where it lives, absolute.
    #[serde(skip)]
    pub dir: PathBuf,
    /// What was found and cleaned up before it was started.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// One server of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// `node1` …
    pub name: String,
    /// Where clients connect; `None` until it is ready.
    pub url: Option<String>,
    /// `None` until it is started.
    process: Option<Process>,
}

/// A process that cannot be mistaken for a later one under the same number.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Process {
    pid: u32,
    started: String,
}

/// How a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every server runs.
    Running,
    /// Its start was interrupted.
    HalfStarted,
    /// Some servers run.
    Partly,
    /// None does.
    Stopped,
}

/// What ending a sandbox did.
#[derive(Debug)]
pub struct Ended {
    /// How many servers were ended.
    pub servers: usize,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// Why there is no sandbox, or why it does not end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number of nodes that makes no cluster.
    #[error("a sandbox has 1 node or 3, not {0}")]
    Nodes(u8),
    /// There is one already.
    #[error("a sandbox is running at {0}; use it, or end it with `jsplan sandbox down`")]
    Running(String),
    /// There is one already, and some of its servers are gone.
    #[error("{0} of {1} servers of a sandbox are running; end it with `jsplan sandbox down`")]
    Partly(usize, usize),
    /// There is none.
    #[error("there is no sandbox in `{}`; start one with `jsplan sandbox up`", .0.display())]
    Absent(PathBuf),
    /// The folder is somebody's.
    #[error("`{}` holds something else than a sandbox; name another folder", .0.display())]
    NotASandbox(PathBuf),
    /// Somebody starts or ends it at this moment.
    #[error("another jsplan is starting or ending this sandbox; wait until it is done")]
    Busy,
    /// The record cannot be read.
    #[error("`{}` is damaged: {source}; end its servers by hand and remove the folder", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A server outlived SIGKILL.
    #[error("the server with process number {0} does not end; the folder is kept")]
    Stubborn(u32),
    /// The program is none.
    #[error("`{}` is of no use as nats-server: {reason}", path.display())]
    Binary {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server did not start.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// A file of the sandbox.
    #[error("`{}`: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

const RECORD: &str = "sandbox.json";

/// The next record, before it takes the place of the last. All that a start leaves which is
/// interrupted before its first record.
const NEW_RECORD: &str = "sandbox.json.new";

impl Sandbox {
    /// Starts a sandbox in a folder and waits until it takes requests; the servers live on.
    ///
    /// The folder is made. One that holds a sandbox which no longer runs is emptied first.
    pub fn up(dir: &Path, options: &Options) -> Result<Self, Error> {
        let _lock = lock(dir)?;
        let notes = make_room(dir)?;
        let refuse = |reason| Error::Binary { path: options.binary.clone(), reason };
        let version = binary::version(&options.binary).map_err(refuse)?;
        fs::create_dir_all(dir).map_err(at(dir))?;
        let dir = dir.canonicalize().map_err(at(dir))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(at(&dir))?;
        let mut sandbox = Self { version, nodes: Vec::new(), dir, notes };
        match retry(|| sandbox.start(options)) {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                // The servers went with the attempt; without them the folder means nothing.
                drop(fs::remove_dir_all(&sandbox.dir));
                Err(error.into())
            }
        }
    }

    /// The sandbox of a folder, running or not.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Absent(dir.to_owned()));
            }
            text => text.map_err(at(&path))?,
        };
        let sandbox: Self =
            serde_json::from_str(&text).map_err(|source| Error::Record { path, source })?;
        Ok(Self { dir: dir.canonicalize().map_err(at(dir))?, ..sandbox })
    }

    /// How it is at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let ready = !self.nodes.is_empty() && self.nodes.iter().all(|it| it.url.is_some());
        match self.running().len() {
            0 => Status::Stopped,
            _ if !ready => Status::HalfStarted,
            count if count == self.nodes.len() => Status::Running,
            _ => Status::Partly,
        }
    }

    /// Where clients connect: every server's URL, separated by commas.
    #[must_use]
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().filter_map(|it| it.url.as_deref()).collect();
        urls.join(",")
    }

    /// The log of a server.
    #[must_use]
    pub fn log(&self, node: &Node) -> PathBuf {
        self.dir.join(&node.name).join("log")
    }

    /// The process numbers of the servers that run, each proved to be ours.
    #[must_use]
    pub fn running(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|it| self.process(it).ok().flatten()).collect()
    }

    /// Ends the servers of a folder's sandbox and removes the folder.
    pub fn down(dir: &Path) -> Result<Ended, Error> {
        if !dir.join(RECORD).exists() {
            return Err(Error::Absent(dir.to_owned()));
        }
        let _lock = lock(dir)?;
        Self::read(dir)?.end()
    }

    /// One attempt at starting all nodes. Those of a failed one end with it.
    fn start(&mut self, options: &Options) -> Result<(), server::Error> {
        let configs = match options.nodes {
            Nodes::One => vec![("node1".to_owned(), format!("server_name: node1\n{JETSTREAM}"))],
            Nodes::Three => Cluster::sandbox().configs(JETSTREAM)?,
        };
        let unstarted = |name: &String| Node { name: name.clone(), url: None, process: None };
        self.nodes = configs.iter().map(|it| unstarted(&it.0)).collect();
        self.write()?;
        let mut servers = Vec::new();
        for (index, (name, config)) in (0_u16..).zip(configs) {
            let dir = self.dir.join(name);
            // An attempt before this one may have left a store that knows other nodes.
            drop(fs::remove_dir_all(&dir));
            let port = if options.port == 0 { 0 } else { options.port.saturating_add(index) };
            let binary = options.binary.clone();
            let server = Server::launch(Setup { binary, dir, config, port, life: Life::Own })?;
            let pid = server.pid();
            // On Linux a new process has no command line for a moment after its start.
            let seen = wait_until(Duration::from_secs(1), || look(pid));
            self.nodes[usize::from(index)].process =
                seen.map(|it| Process { pid, started: it.started });
            servers.push(server);
            self.write()?;
        }
        match servers.as_mut_slice() {
            [alone] => alone.wait_ready()?,
            nodes => wait_cluster(nodes)?,
        }
        for (node, server) in self.nodes.iter_mut().zip(&servers) {
            node.url = Some(server.url().to_owned());
        }
        self.write()?;
        servers.into_iter().for_each(Server::release);
        Ok(())
    }

    /// The number under which a node runs; `Err` holds a number that is now somebody else's.
    fn process(&self, node: &Node) -> Result<Option<u32>, u32> {
        let config = self.dir.join(&node.name).join("server.conf");
        // What a server is started with; whoever else has the file open has it without the address.
        let words = format!(" -c {} -a 127.0.0.1 -p ", config.display());
        // Interrupted between the start of the server and the writing of the record.
        let Some(Process { pid, started }) = &node.process else { return Ok(find(&words)) };
        let Some(seen) = look(*pid) else { return Ok(None) };
        let same = seen.started == *started && seen.arguments.contains(&words);
        if same { Ok(Some(*pid)) } else { Err(*pid) }
    }

    fn end(&self) -> Result<Ended, Error> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let foreign = self.nodes.iter().filter_map(|it| self.process(it).err());
        let note =
            |pid| format!("process {pid} is not a server of this sandbox and was left alone");
        let notes = foreign.map(note).collect();
        let servers = self.running().len();
        for end in [terminate, kill] {
            self.running().into_iter().for_each(end);
            if wait_until(PATIENCE, || self.running().is_empty().then_some(())).is_some() {
                break;
            }
        }
        if let Some(pid) = self.running().first() {
            return Err(Error::Stubborn(*pid));
        }
        fs::remove_dir_all(&self.dir).map_err(at(&self.dir))?;
        Ok(Ended { servers, notes })
    }

    /// Replaces the record whole.
    fn write(&self) -> Result<(), server::Error> {
        let path = self.dir.join(RECORD);
        let text = serde_json::to_vec_pretty(self).expect("a sandbox is always written as JSON");
        let write = || -> io::Result<()> {
            let new = self.dir.join(NEW_RECORD);
            let mut file =
                File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| server::Error::File { path: path.clone(), source })
    }
}

impl TryFrom<u8> for Nodes {
    type Error = Error;

    fn try_from(count: u8) -> Result<Self, Error> {
        match count {
            1 => Ok(Self::One),
            3 => Ok(Self::Three),
            other => Err(Error::Nodes(other)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::HalfStarted => "half started",
            Self::Partly => "partly running",
            Self::Stopped => "stopped",
        })
    }
}

/// Refuses where a sandbox runs or the folder is somebody else's; clears what one left behind.
fn make_room(dir: &Path) -> Result<Vec<String>, Error> {
    let sandbox = match Sandbox::read(dir) {
        Ok(sandbox) => sandbox,
        Err(Error::Absent(_)) => {
            let mut files = fs::read_dir(dir).into_iter().flatten().flatten();
            let empty = files.all(|it| it.file_name() == NEW_RECORD);
            return if empty { Ok(Vec::new()) } else { Err(Error::NotASandbox(dir.to_owned())) };
        }
        Err(error) => return Err(error),
    };
    let note = match sandbox.status() {
        Status::Running => return Err(Error::Running(sandbox.url())),
        Status::Partly => {
            return Err(Error::Partly(sandbox.running().len(), sandbox.nodes.len()));
        }
        Status::HalfStarted => "a sandbox whose start was interrupted was ended and removed",
        Status::Stopped => "what was left of a sandbox that no longer runs was removed",
    };
    let mut ended = sandbox.end()?;
    ended.notes.push(note.to_owned());
    Ok(ended.notes)
}

/// The lock lies beside the folder, which is removed while the lock is held.
fn lock(dir: &Path) -> Result<File, Error> {
    // Through its components, so that a slash at the end does not put the lock inside.
    let mut path = dir.components().collect::<PathBuf>().into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Busy),
        Err(TryLockError::Error(source)) => Err(Error::File { path, source }),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
