//! A real nats-server on the loopback, in a folder of its own, gone with its value.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A server with JetStream, whose data is in a folder of its own.
pub(crate) const JETSTREAM: &str = "jetstream { store_dir: \"STORE\" }";

/// A running server.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    port: u16,
    monitor: Option<String>,
}

impl Server {
    /// Starts a server with this configuration, in which `STORE` is the folder for its data and
    /// `FILES` that of its other files.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts a server with JetStream and nothing else.
    pub(crate) fn plain() -> Self {
        Self::start(JETSTREAM)
    }

    /// Starts a server with these files beside its configuration.
    pub(crate) fn start_with(config: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file for the server");
        }
        let config = config
            .replace("STORE", &folder.path().join("data").to_string_lossy())
            .replace("FILES", &folder.path().to_string_lossy());
        fs::write(folder.path().join("server.conf"), config).expect("its configuration");
        let process = launch(folder.path(), "-1");
        let mut server = Self { process, folder, port: 0, monitor: None };
        server.wait();
        server
    }

    /// Starts three servers that form a cluster, `n0` to `n2`, each with its name as its tag.
    ///
    /// They are ready for connections, and may still be electing their leader.
    pub(crate) fn cluster() -> [Self; 3] {
        let ports = [free_port(), free_port(), free_port()];
        let routes = ports.map(|it| format!("nats://127.0.0.1:{it}")).join(", ");
        [0, 1, 2].map(|number| {
            Self::start(&format!(
                "server_name: n{number}\nserver_tags: [n{number}]\n{JETSTREAM}\n\
                 cluster {{ name: three, listen: \"127.0.0.1:{}\", routes: [{routes}] }}",
                ports[number]
            ))
        })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.place())
    }

    /// Host and port.
    pub(crate) fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Starts it again where it was, with the data it had.
    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        self.process = launch(self.folder.path(), &port);
        self.wait();
    }

    /// Makes it stop answering, without closing anything.
    pub(crate) fn freeze(&self) {
        let id = self.process.id().to_string();
        let done = Command::new("kill").args(["-STOP", &id]).status().expect("`kill` is there");
        assert!(done.success(), "the server is stopped");
    }

    /// A number from its monitoring page, which needs `http: \"127.0.0.1:-1\"`.
    pub(crate) fn monitored(&self, key: &str) -> u64 {
        let place = self.monitor.as_ref().expect("the server is monitored");
        let mut stream = TcpStream::connect(place).expect("the monitor listens");
        stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").expect("it takes a request");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        let (_, body) = page.split_once("\r\n\r\n").expect("a body");
        let values: serde_json::Value = serde_json::from_str(body).expect("JSON");
        values[key].as_u64().expect("a number")
    }

    /// The server is ready when the file with its ports is there.
    fn wait(&mut self) {
        let path = self.folder.path().join(format!("{}_{}.ports", name(), self.process.id()));
        let folder = self.folder.path().to_owned();
        let ports = wait_for("the server's ports", || {
            let ended = self.process.try_wait().expect("its state");
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the server ended: {}", log());
            let text = fs::read_to_string(&path).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()
        });
        let place = |kind: &str| {
            let url = ports[kind][0].as_str()?;
            Some(url.rsplit_once("//")?.1.trim_end_matches('/').to_owned())
        };
        let port = place("nats").and_then(|it| it.rsplit_once(':')?.1.parse().ok());
        self.port = port.expect("a port for clients");
        self.monitor = place("monitoring");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The server's program.
pub(crate) fn binary() -> PathBuf {
    let given: Option<OsString> = env::var_os("NATS_SERVER");
    given.map_or_else(|| PathBuf::from("nats-server"), PathBuf::from)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// Asks until there is something; fails after half a minute.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        // Not a pause for its own sake: the condition is asked again right after.
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// The server names the file with its ports for its program.
fn name() -> String {
    let binary = binary();
    binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn launch(folder: &Path, port: &str) -> Child {
    let log = fs::File::create(folder.join("log")).expect("a log");
    Command::new(binary())
        .args(["-a", "127.0.0.1", "-p", port, "-c"])
        .arg(folder.join("server.conf"))
        .arg("--ports_file_dir")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nats-server is on the PATH, or `NATS_SERVER` says where it is")
}
