//! A real nats-server of our own, on 127.0.0.1 only: started, waited for, killed, started again.
//!
//! It lives in a folder that holds its configuration, its log and its store. Readiness
//! is asked of the server itself, through its monitoring port; nothing here guesses at times.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    slice,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::io::{
    clock::wait_until,
    process::{kill, tail, terminate},
};

/// A configuration with JetStream, and nothing else.
pub const JETSTREAM: &str = "jetstream { max_memory_store: 1TiB, max_file_store: 1PiB }\n";

/// The sizes in [`JETSTREAM`]. They only bound what streams may reserve: a sandbox must take the
/// sizes of production on whatever disk it has.
pub(crate) const JETSTREAM_SIZES: &str = "max_memory_store: 1TiB, max_file_store: 1PiB";

/// How long a start may take, the election of a leader included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the nodes of a cluster may take to a first leader: an election is tried again after 4 to
/// 9 s, and this is more than two.
const TIME_TO_ELECT: Duration = Duration::from_secs(20);

/// How long a cluster of fewer nodes than there are may take to become one of all.
const TIME_TO_GROW: Duration = Duration::from_secs(3);

/// A running nats-server, which ends with this value.
#[derive(Debug)]
pub struct Server {
    /// `None` once it was ended or released.
    child: Option<Child>,
    setup: Setup,
    ports: Ports,
    /// Removed with the server, where it was made for it.
    _folder: Option<TempDir>,
}

/// What a server is started from, and started again from.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) binary: PathBuf,
    /// Its own folder.
    pub(crate) dir: PathBuf,
    /// The text of its configuration.
    pub(crate) config: String,
    /// The port for clients; 0 takes any.
    pub(crate) port: u16,
    /// Whether it outlives this program.
    pub(crate) life: Life,
}

/// How a server stands to the program that starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// In its process group: what interrupts the one interrupts the other.
    Shared,
    /// In a group of its own.
    Own,
}

/// Several servers that are one.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: String,
    /// How many there are.
    pub(crate) nodes: usize,
    /// Tags that each carries beside its own name.
    pub(crate) tags: Vec<String>,
}

/// Where a server listens, as it says itself.
#[derive(Debug, Clone, Default, Deserialize)]
struct Ports {
    #[serde(default)]
    nats: Vec<String>,
    #[serde(default)]
    monitoring: Vec<String>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be run.
    #[error("`{}` could not be run: {source}", binary.display())]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else listens where it should.
    #[error("nats-server could not listen: {0}; choose another port, or end what uses it")]
    PortTaken(String),
    /// The nodes of a cluster made it of fewer than there are.
    #[error("the nodes of a cluster found each other too late, and it is smaller than they are")]
    TooSmall,
    /// The nodes of a cluster found each other, and none became its leader.
    #[error("the nodes of a cluster have elected no leader after {} s", TIME_TO_ELECT.as_secs())]
    NoLeader,
    /// It ended by itself.
    #[error("nats-server ended while it was starting:\n{0}")]
    Ended(String),
    /// It runs but does not get ready.
    #[error("nats-server was not ready after {} s: {waiting}\n{log}", PATIENCE.as_secs())]
    NotReady {
        /// What is missing, in the server's words.
        waiting: String,
        /// The end of its log.
        log: String,
    },
    /// A file of its folder.
    #[error("`{}`: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Server {
    /// Starts one server in a temporary folder, on any free port, and waits until it is ready.
    ///
    /// The configuration is nats-server's own format; [`JETSTREAM`] is one. Addresses, ports and
    /// folders are set from here.
    pub fn start(binary: &Path, config: &str) -> Result<Self, Error> {
        let folder = folder()?;
        let setup = Setup {
            binary: binary.to_owned(),
            dir: folder.path().to_owned(),
            config: config.to_owned(),
            port: 0,
            life: Life::Shared,
        };
        let mut server = Self::launch(setup)?;
        server._folder = Some(folder);
        server.wait_ready()?;
        Ok(server)
    }

    /// Starts three servers as one cluster named `sandbox`, and waits until it has a leader that
    /// knows all of them.
    pub fn start_cluster(binary: &Path, config: &str) -> Result<Vec<Self>, Error> {
        Self::start_cluster_as(&Cluster::sandbox(), binary, config)
    }

    /// Starts the servers of one cluster, and waits until it has a leader that knows all of them.
    pub(crate) fn start_cluster_as(
        cluster: &Cluster,
        binary: &Path,
        config: &str,
    ) -> Result<Vec<Self>, Error> {
        retry(|| {
            let mut servers = Vec::new();
            for (name, config) in cluster.configs(config)? {
                let folder = folder()?;
                let setup = Setup {
                    binary: binary.to_owned(),
                    dir: folder.path().join(name),
                    config,
                    port: 0,
                    life: Life::Shared,
                };
                let mut server = Self::launch(setup)?;
                server._folder = Some(folder);
                servers.push(server);
            }
            wait_cluster(&mut servers)?;
            Ok(servers)
        })
    }

    /// `nats://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.ports.nats.first().map_or("", String::as_str)
    }

    /// Its process number; 0 where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Its folder: `server.conf`, `log`, `store`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.setup.dir
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.setup.dir.join("log")).unwrap_or_default()
    }

    /// A page of its monitoring port, such as `/jsz`, as JSON; `None` where it does not answer.
    #[must_use]
    pub fn monitor(&self, page: &str) -> Option<Value> {
        serde_json::from_str(&get(self.ports.monitoring.first()?, page)?.1).ok()
    }

    /// Ends it at once, as a crash or a loss of power would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.end(kill);
    }

    /// Asks it to end and waits until it has; one that does not is killed.
    pub(crate) fn stop(&mut self) {
        self.end(terminate);
    }

    /// Starts it again on the same store and the same ports, and waits until it is ready.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        // The port is in the range of outgoing connections, and one of them may hold it a moment.
        retry(|| {
            self.child = Some(spawn(&self.setup)?);
            self.wait_ready()
        })
    }

    /// Starts a server without waiting for anything.
    pub(crate) fn launch(setup: Setup) -> Result<Self, Error> {
        let child = spawn(&setup)?;
        Ok(Self { child: Some(child), setup, ports: Ports::default(), _folder: None })
    }

    /// Waits until it listens and says that it is healthy.
    pub(crate) fn wait_ready(&mut self) -> Result<(), Error> {
        self.wait_listening()?;
        self.wait(|it| it.health())
    }

    /// Lets it live on without this value.
    pub(crate) fn release(mut self) {
        drop(self.child.take());
    }

    fn wait_listening(&mut self) -> Result<(), Error> {
        let folder = self.setup.dir.join("ports");
        let ports = |server: &mut Self| {
            let file = fs::read_dir(&folder).ok()?.filter_map(Result::ok).next()?;
            server.ports = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
            Some(())
        };
        self.wait(|it| ports(it).ok_or("it does not listen yet".into()))?;
        self.setup.port = self.url().rsplit_once(':').and_then(|it| it.1.parse().ok()).unwrap_or(0);
        Ok(())
    }

    /// Whether it says that it is healthy, which in a cluster includes a leader, or why it does not.
    fn health(&self) -> Result<(), String> {
        let monitor = self.ports.monitoring.first().map_or("", String::as_str);
        match get(monitor, "/healthz") {
            Some((200, _)) => Ok(()),
            Some((_, why)) => Err(why),
            None => Err("its monitoring port does not answer".to_owned()),
        }
    }

    /// Waits for a condition as long as the server runs; a refusal says what is missing.
    fn wait(
        &mut self,
        mut condition: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), Error> {
        let alone = slice::from_mut(self);
        wait_all(alone, |it| it.first_mut().map_or(Ok(()), &mut condition).map_err(Missing::Yet))
    }

    /// The end of its log, without what it says each time its health is asked for.
    fn last_words(&self) -> String {
        let log = self.log();
        let told: Vec<_> = log.lines().filter(|it| !it.contains("Healthcheck failed")).collect();
        tail(&told.join("\n"))
    }

    /// Why it ended by itself; `None` while it runs.
    fn ended(&mut self) -> Option<Error> {
        let child = self.child.as_mut()?;
        // A status that cannot be read means that somebody else has waited for it.
        let ended = !matches!(child.try_wait(), Ok(None));
        ended.then(|| self.early_end())
    }

    fn early_end(&self) -> Error {
        let log = self.log();
        let taken = log.lines().rev().find(|it| it.contains("address already in use"));
        match taken {
            // The line starts with number, date, time and level.
            Some(line) => {
                let words = line.split_once("] ").map_or(line, |it| it.1);
                let words = words.split_once("] ").map_or(words, |it| it.1);
                Error::PortTaken(words.to_lowercase())
            }
            None => Error::Ended(self.last_words()),
        }
    }

    fn end(&mut self, how: fn(u32)) {
        let Some(mut child) = self.child.take() else { return };
        if matches!(child.try_wait(), Ok(None)) {
            how(child.id());
        }
        let gone = wait_until(Duration::from_secs(10), || child.try_wait().transpose());
        if gone.is_none() {
            // It did not heed; this always works, so the wait is short.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    /// Three nodes of a cluster named `sandbox`.
    pub(crate) fn sandbox() -> Self {
        Self { name: "sandbox".to_owned(), nodes: 3, tags: Vec::new() }
    }

    /// The configurations of nodes that know each other: name, which is also a tag, and text.
    pub(crate) fn configs(&self, config: &str) -> Result<Vec<(String, String)>, Error> {
        let ports = free_ports(self.nodes)
            .map_err(|source| Error::File { path: "127.0.0.1:0".into(), source })?;
        // Two clusters that are started at a time may be given the same port. The nodes of the one that
        // loses it must not be taken into the other.
        let password = Uuid::new_v4();
        let route = |it| format!("nats://node:{password}@127.0.0.1:{it}");
        let routes = ports.iter().map(route).collect::<Vec<_>>().join(", ");
        let cluster = quoted(&self.name);
        let node = |(index, port): (usize, &u16)| {
            let name = format!("node{}", index + 1);
            let tags: Vec<_> = self.tags.iter().chain([&name]).map(|it| quoted(it)).collect();
            let tags = tags.join(", ");
            // One connection between two nodes instead of a pool, so that it is there or it is not.
            let text = format!(
                "server_name: {name}\nserver_tags: [{tags}]\n\
                 cluster {{ name: {cluster}, listen: \"127.0.0.1:{port}\", routes: [{routes}], \
                 authorization {{ user: node, password: \"{password}\" }}, pool_size: -1 }}\n{config}"
            );
            (name, text)
        };
        Ok(ports.iter().enumerate().map(node).collect())
    }
}

/// A text as nats-server's configuration takes it, whatever is in it.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Why a wait goes on, or ends.
enum Missing {
    /// What is not there yet, in the server's words.
    Yet(String),
    /// It will not come.
    Ever(Error),
}

/// Waits for a condition as long as all of the servers run.
fn wait_all(
    servers: &mut [Server],
    mut condition: impl FnMut(&mut [Server]) -> Result<(), Missing>,
) -> Result<(), Error> {
    let mut waiting = String::new();
    let outcome = wait_until(PATIENCE, || match condition(servers) {
        Ok(()) => Some(Ok(())),
        Err(Missing::Ever(why)) => Some(Err(why)),
        Err(Missing::Yet(why)) => {
            waiting = why;
            servers.iter_mut().find_map(Server::ended).map(Err)
        }
    });
    let not_ready = || {
        let logs: Vec<_> = servers.iter().map(Server::last_words).collect();
        Error::NotReady { waiting, log: logs.join("\n") }
    };
    outcome.unwrap_or_else(|| Err(not_ready()))
}

/// Waits until every node is healthy and connected to all others, and the leader sees them all.
///
/// A node calls itself healthy before its connections are complete, and requests or answers that
/// would need a missing one are lost (2.15.1).
pub(crate) fn wait_cluster(servers: &mut [Server]) -> Result<(), Error> {
    servers.iter_mut().try_for_each(Server::wait_listening)?;
    let listening = Instant::now();
    wait_all(servers, |it| match it.iter().try_for_each(Server::health) {
        // Connected, and with no votes that arrive: so it stays (2.10.26).
        Err(_) if listening.elapsed() > TIME_TO_ELECT => Err(Missing::Ever(Error::NoLeader)),
        health => health.map_err(Missing::Yet),
    })?;
    let count = servers.len() - 1;
    let connected = |it: &Server| it.monitor("/routez").is_some_and(|it| it["num_routes"] == count);
    let sees_all = |it: &Server| {
        let page = it.monitor("/jsz").unwrap_or_default();
        let others = page.pointer("/meta_cluster/replicas").and_then(Value::as_array);
        let here = |it: &Value| it["current"] == true && it["offline"] != true;
        others.is_some_and(|it| it.len() == count && it.iter().all(here))
    };
    let too_small = |it: &Server| {
        let page = it.monitor("/jsz").unwrap_or_default();
        page["meta_cluster"]["cluster_size"].as_u64().is_some_and(|it| it <= count as u64)
    };
    let healthy = Instant::now();
    wait_all(servers, |servers| {
        let connected = servers.iter().all(connected);
        if connected && servers.iter().any(sees_all) && places(servers) {
            return Ok(());
        }
        // It never grows by itself (2.10.26).
        let late = healthy.elapsed() > TIME_TO_GROW && connected;
        Err(match late && servers.iter().any(too_small) {
            true => Missing::Ever(Error::TooSmall),
            false => Missing::Yet("the nodes of the cluster do not all see each other".to_owned()),
        })
    })
}

/// Whether the leader gives a stream to all of the servers: for a moment it knows them, and still
/// takes them to be offline (2.10 to 2.12).
fn places(servers: &[Server]) -> bool {
    const NOBODY_TO_TAKE_IT: &str = "\"err_code\":10005,";
    let Some(first) = servers.first() else { return true };
    let body = format!(
        r#"{{"name":"PROBE","subjects":["_jsplan.probe"],"storage":"memory","num_replicas":{}}}"#,
        servers.len()
    );
    let made = request(first.url(), "$JS.API.STREAM.CREATE.PROBE", &body);
    // Whatever else is refused is refused by what the servers were told, and stays so.
    let placed = made.is_some_and(|it| !it.contains(NOBODY_TO_TAKE_IT));
    placed && request(first.url(), "$JS.API.STREAM.DELETE.PROBE", "").is_some()
}

/// Free ports cannot be reserved for another program, so a start that loses one is tried again; so
/// is one of a cluster that came out too small, or without a leader.
pub(crate) fn retry<T>(mut start: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    const ATTEMPTS: usize = 6;
    for _ in 1..ATTEMPTS {
        match start() {
            Err(Error::PortTaken(_) | Error::TooSmall | Error::NoLeader) => {}
            outcome => return outcome,
        }
    }
    start()
}

/// All are held until all are known, so that no two are the same.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listen = |_| TcpListener::bind(("127.0.0.1", 0));
    let held = (0..count).map(listen).collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|it| Ok(it.local_addr()?.port())).collect()
}

fn folder() -> Result<TempDir, Error> {
    let folder = tempfile::Builder::new().prefix("jsplan-").tempdir();
    folder.map_err(|source| Error::File { path: std::env::temp_dir(), source })
}

fn spawn(setup: &Setup) -> Result<Child, Error> {
    let Setup { binary, dir, config, port, life } = setup;
    let at = |path: PathBuf| move |source| Error::File { path, source };
    let ports = dir.join("ports");
    // A file left by an earlier start would name ports that nobody listens on.
    drop(fs::remove_dir_all(&ports));
    fs::create_dir_all(&ports).map_err(at(ports.clone()))?;
    let conf = dir.join("server.conf");
    fs::write(&conf, config).map_err(at(conf.clone()))?;
    let log = dir.join("log");
    let out = File::options().create(true).append(true).open(&log).map_err(at(log.clone()))?;
    let again = out.try_clone().map_err(at(log))?;

    let mut command = Command::new(binary);
    let port = if *port == 0 { "-1".to_owned() } else { port.to_string() };
    command.arg("-c").arg(conf).args(["-a", "127.0.0.1", "-p", &port, "-m", "-1"]);
    command.arg("-sd").arg(dir.join("store")).arg("--ports_file_dir").arg(ports);
    command.stdin(Stdio::null()).stdout(out).stderr(again);
    if *life == Life::Own {
        command.process_group(0);
    }
    command.spawn().map_err(|source| Error::Spawn { binary: binary.clone(), source })
}

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(2);

/// One request to a server that asks for no credentials: the answer, or the server's refusal.
fn request(url: &str, subject: &str, body: &str) -> Option<String> {
    let address: SocketAddr = url.strip_prefix("nats://")?.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let size = body.len();
    let lines = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {size}\r\n{body}\r\n"
    );
    stream.write_all(lines.as_bytes()).ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.find(|it| it.starts_with('{') || it.starts_with("-ERR"))
}

/// One page over HTTP: its status and its text.
fn get(address: &str, page: &str) -> Option<(u16, String)> {
    let address: SocketAddr = address.strip_prefix("http://")?.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    // HTTP/1.0, so that the answer is not cut in chunks and the server closes after it.
    stream.write_all(format!("GET {page} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
