//! What keeps states, held to one contract: files, and a bucket. Each property is written once.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use jsplan::{
    io::{
        fault::VARIABLE,
        nats, run,
        server::{JETSTREAM, Server},
        store::{Error, Lock, Status, Store},
    },
    spec::{Connection, Kept},
    state::{
        Origin, Recorded, State,
        journal::{Done, Line},
    },
};
use rustix::process::Signal;
use serde_json::{Value, value::RawValue};

use crate::support::{
    client::{ask, stream, streams},
    project::{Output, Project, wait_for},
    proxy::{Proxy, Then},
    server::{cluster, place, server, server_with, signal, suspend},
};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n[streams.S.consumers.C]\n";
const STREAM: &str = "KV_jsplan_state";

/// How often the leader of the bucket is killed.
const KILLS: u64 = 4;

/// What keeps a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    File,
    Kv,
}

/// A project with its state in one of the two, and its server.
struct World {
    backend: Backend,
    server: Server,
    project: Project,
}

impl World {
    fn new(backend: Backend) -> Self {
        let server = server();
        let project = Project::new(&server, "");
        let world = Self { backend, server, project };
        world.write_spec(SPEC);
        world
    }

    fn write_spec(&self, spec: &str) {
        self.project.write_spec(&format!("{}{spec}", self.backend.section()));
    }

    /// The store, as one command has it.
    async fn store(&self) -> Store {
        self.backend.open(self.project.path(""), self.server.url()).await
    }

    /// Puts a text in the place of the state, behind jsplan's back.
    fn put_back(&self, text: &str) {
        match self.backend {
            Backend::File => {
                fs::write(self.project.path("state/test.json"), text).expect("a file is written");
            }
            Backend::Kv => put(&self.server, "test.state", text),
        }
    }

    /// Takes the state away, behind jsplan's back.
    fn take_away(&self) {
        match self.backend {
            Backend::File => {
                fs::remove_file(self.project.path("state/test.json")).expect("it is there");
            }
            Backend::Kv => {
                drop(ask(&self.server, &format!("STREAM.DELETE.{STREAM}"), &Value::Null))
            }
        }
    }
}

impl Backend {
    /// What a spec says of it.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Kv => "[state]\nbackend = \"kv\"\n",
        }
    }

    /// The store, as one command has it.
    pub(crate) async fn open(self, folder: PathBuf, url: &str) -> Store {
        match self {
            Self::File => Store::new(&folder, "test"),
            Self::Kv => {
                let urls = url.split(',').map(str::to_owned).collect();
                let connection = Connection { urls, ..Connection::default() };
                let session = nats::connect(&connection, "a test").await.expect("it connects");
                let bucket = "jsplan_state".to_owned();
                let kept = Kept { bucket, replicas: None, server: None };
                Store::shared(&folder, "test", &kept, session)
            }
        }
    }
}

/// A property of both.
fn both(property: impl Fn(World)) {
    property(World::new(Backend::File));
    property(World::new(Backend::Kv));
}

/// Writes a value as any client of the bucket would.
fn put(server: &Server, key: &str, text: &str) {
    run(async {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let subject = format!("$KV.jsplan_state.{key}");
        let mut headers = HeaderMap::new();
        headers.insert("Jsplan-Serial", "0");
        let sent = client.request_with_headers(subject, headers, text.to_owned().into()).await;
        assert!(sent.is_ok(), "{sent:?}");
    });
}

fn state(serial: u64) -> State {
    State { serial, lineage: "a lineage".to_owned(), ..State::new("test") }
}

fn recorded(note: &str) -> Recorded {
    let config = format!("{{\"description\":\"{note}\"}}");
    Recorded {
        created: "2026-01-01T00:00:00Z".to_owned(),
        origin: Origin::Created,
        prevent_destroy: None,
        spec_sha256: "0".repeat(64),
        live_sha256: "1".repeat(64),
        config: RawValue::from_string(config).expect("JSON"),
    }
}

fn done(name: &str, note: &str) -> Done {
    Done { step: 1, address: name.parse().expect("an address"), recorded: Some(recorded(note)) }
}

/// A finished step as a line of the journal.
fn line(name: &str, note: &str) -> String {
    Line::Done(done(name, note)).text()
}

/// Saves a state as a command does, the present one kept.
async fn save(store: &Store, state: &State, lock: &Lock) {
    let present = store.load_any().await.expect("it is whole");
    store.settle(&present, lock).await.expect("it settles");
    store.save(state, lock).await.expect("it is saved");
}

#[test]
fn where_nothing_was_saved_there_is_a_new_state_and_no_past() {
    both(|world| {
        run(async {
            let store = world.store().await;
            let state = store.load().await.expect("nothing is no error");
            assert_eq!((state.serial, state.lineage.as_str()), (0, ""));
            assert_eq!(store.kept().await.expect("a list"), [0_u64; 0]);
            assert!(matches!(store.load_kept(1).await, Err(Error::NoSuchSerial { serial: 1, .. })));
            assert!(matches!(store.status().await, Ok(Status::Free)));
        });
        assert_eq!(streams(&world.server), [""; 0], "to read makes no bucket");
    });
}

#[test]
fn what_is_saved_is_loaded_and_its_predecessors_are_kept_up_to_a_number() {
    both(|world| {
        run(async {
            let store = world.store().await;
            let lock = store.lock("a test").await.expect("it is free");
            for serial in 1..=70 {
                let mut state = state(serial);
                state.take(done(&format!("stream.S{serial}"), "x"));
                save(&store, &state, &lock).await;
                let loaded = world.store().await.load().await.expect("it is there");
                assert_eq!(loaded.write(), state.write());
            }
            let kept = store.kept().await.expect("a list");
            assert!((50..=63).contains(&kept.len()) && kept.ends_with(&[68, 69]), "{kept:?}");
            let past = store.load_kept(69).await.expect("it is kept");
            assert_eq!(past.serial, 69);
            assert!(past.resources.contains_key(&"stream.S69".parse().expect("an address")));
            assert!(matches!(store.load_kept(1).await, Err(Error::NoSuchSerial { .. })));
        });
    });
}

#[test]
fn a_state_of_four_thousand_resources_is_kept_and_so_is_its_predecessor() {
    both(|world| {
        let mut large = state(1);
        let note = "Raw events of the last week, for reprocessing".repeat(4);
        (0..4000).for_each(|it| large.take(done(&format!("stream.STREAM_{it:05}"), &note)));
        let text = large.write();
        assert!(text.len() > 1 << 20, "it fits one message: {}", text.len());
        run(async {
            let store = world.store().await;
            let lock = store.lock("a test").await.expect("it is free");
            save(&store, &large, &lock).await;
            assert_eq!(store.load().await.expect("it is there").write(), text);
            large.serial = 2;
            large.resources.pop_first();
            save(&store, &large, &lock).await;
            assert_eq!(store.load().await.expect("it is there").write(), large.write());
            assert_eq!(store.load_kept(1).await.expect("it is kept").write(), text);
        });
    });
}

#[test]
fn a_journal_that_was_not_ended_is_replayed_whole_and_once() {
    both(|world| {
        run(async {
            let store = world.store().await;
            let lock = store.lock("a test").await.expect("it is free");
            save(&store, &state(1), &lock).await;
            let journal = store.begin(&state(2), &lock).await.expect("it opens");
            for number in 0..150 {
                let line = line(&format!("stream.S{number:03}"), "x");
                journal.append(&line).await.expect("it is kept");
            }
            let large = line("stream.LARGE", &"y".repeat(900_000));
            journal.append(&large).await.expect("it is kept");
            // The process is gone here: nothing is said to end it.
            let after = world.store().await.load().await.expect("it is replayed");
            assert_eq!((after.serial, after.resources.len()), (2, 151));
            store.settle(&after, &lock).await.expect("it settles");
            let saved = world.store().await.load().await.expect("it is there");
            assert_eq!(saved.write(), after.write());
            // What an earlier journal left is no part of the next.
            let journal = store.begin(&state(3), &lock).await.expect("it opens");
            let address = "stream.S000".parse().expect("one");
            let gone = Line::Done(Done { step: 1, address, recorded: None });
            journal.append(&gone.text()).await.expect("it is kept");
            let after = world.store().await.load().await.expect("it is replayed");
            assert_eq!((after.serial, after.resources.len()), (3, 150));
        });
    });
}

#[test]
fn a_journal_leaves_next_to_nothing_behind() {
    let world = World::new(Backend::Kv);
    run(async {
        let store = world.store().await;
        let lock = store.lock("a test").await.expect("it is free");
        for serial in 1..=5 {
            let journal = store.begin(&state(serial), &lock).await.expect("it opens");
            for number in 0..100 {
                let line = line(&format!("stream.S{number}"), &"x".repeat(1000));
                journal.append(&line).await.expect("it is kept");
            }
            store.save(&state(serial), &lock).await.expect("it is saved");
        }
    });
    let info = ask(&world.server, &format!("STREAM.INFO.{STREAM}"), &Value::Null);
    let messages = info["state"]["messages"].as_u64().expect("a number");
    assert!(messages < 25, "{info}");
}

#[test]
fn a_lock_keeps_everybody_else_out_and_says_whose_it_is() {
    both(|world| {
        world.project.apply();
        run(async {
            let store = world.store().await;
            let lock = store.lock("a test").await.expect("it is free");
            let Err(Error::Locked { holder: Some(holder), .. }) =
                world.store().await.lock("another").await
            else {
                panic!("two hold it");
            };
            assert_eq!((holder.id.as_str(), holder.operation.as_str()), (lock.id(), "a test"));
            for command in [
                &["state", "rm", "consumer.S.C"][..],
                &["apply", "--auto-approve"],
                &["state", "restore", "1"],
            ] {
                let refused = world.project.run(command).ended(1).says("is locked by");
                refused.says("for `a test`").says(lock.id()).says(" ago");
            }
            let status = world.project.run(&["lock", "status"]).ended(0);
            status.says(lock.id()).says("a test");
            world.project.plans_empty();
            assert!(lock.is_held().await.expect("it is asked"));
        });
        world.project.run(&["lock", "status"]).ended(0).says("not locked");
        world.project.run(&["state", "rm", "consumer.S.C"]).ended(0);
    });
}

#[test]
fn who_may_wait_waits_for_the_lock_and_says_so() {
    both(|world| {
        world.project.apply();
        let child = run(async {
            let store = world.store().await;
            let _lock = store.lock("a test").await.expect("it is free");
            let arguments = ["state", "rm", "consumer.S.C", "--lock-timeout", "60s"];
            let mut child = world.project.start(&arguments);
            let mut said = [0; 12];
            let stderr = child.stderr.as_mut().expect("it is piped");
            stderr.read_exact(&mut said).expect("it says something");
            assert!(said.starts_with(b"Acquiring st"), "{said:?}");
            child
        });
        let ended = child.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{ended:?}");
    });
}

#[test]
fn a_live_holder_on_files_cannot_be_forced() {
    let world = World::new(Backend::File);
    world.project.apply();
    world.project.run(&["force-unlock", "x"]).ended(1).says("is not locked");
    run(async {
        let store = world.store().await;
        let lock = store.lock("a test").await.expect("it is free");
        world.project.run(&["force-unlock", "x"]).ended(1).says("another id than `x`");
        let refused = world.project.run(&["force-unlock", "--force", lock.id()]).ended(1);
        refused.says("a process that runs").says("process ");
        assert!(lock.is_held().await.expect("it is asked"));
    });
}

#[test]
fn a_lock_in_a_bucket_is_taken_away_by_its_id_alone_and_then_nothing_more_is_written() {
    let world = World::new(Backend::Kv);
    world.project.apply();
    run(async {
        let store = world.store().await;
        let lock = store.lock("a test").await.expect("it is free");
        let journal = store.begin(&state(2), &lock).await.expect("it opens");
        let id = lock.id();
        world.project.run(&["force-unlock", "x"]).ended(1).says("another id than `x`");
        world.project.run(&["force-unlock", &id[..8]]).ended(1).says("another id");
        world.project.run(&["force-unlock", id]).ended(1).says("no terminal");
        let no = world.project.run_on_terminal(&["force-unlock", id], "no\n");
        assert_eq!(no.code, 1, "{no}");
        assert!(lock.is_held().await.expect("it is asked"));
        let yes = world.project.run_on_terminal(&["force-unlock", id], "yes\n");
        yes.ended(0).says("was taken away");
        assert!(!lock.is_held().await.expect("it is asked"));
        let line = line("stream.T", "x");
        let lost = |it| matches!(it, Err(Error::LockLost { .. }));
        assert!(lost(journal.append(&line).await));
        assert!(lost(store.save(&state(2), &lock).await));
        // Even where another has the lock by now.
        let _other = world.store().await.lock("another").await.expect("it is free");
        assert!(lost(journal.append(&line).await));
        assert!(lost(store.save(&state(2), &lock).await));
        drop(lock);
        world.project.run(&["lock", "status"]).ended(0).says("`another`");
    });
    world.project.run(&["state", "verify"]).ended(0).says("serial 1");
}

#[test]
fn an_apply_whose_lock_is_taken_away_begins_nothing_more() {
    let world = World::new(Backend::Kv);
    let spec: String =
        (0..300).map(|it| format!("[streams.S{it:03}]\nsubjects = [\"s.{it}\"]\n")).collect();
    world.write_spec(&spec);
    let arguments = ["apply", "--auto-approve", "--parallelism", "1"];
    let apply = world.project.start(&arguments);
    wait_for("streams appear", || streams(&world.server).len() > 20);
    let status = world.project.run(&["lock", "status"]).ended(0).stdout;
    world.project.run(&["force-unlock", "--force", id_in(&status)]).ended(0);
    let ended = apply.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("was taken away"), "{said}");
    let made = streams(&world.server).len();
    assert!(made < 300, "it went on to its end");
    world.project.apply();
    world.project.plans_empty();
}

#[test]
fn a_holder_that_was_frozen_while_its_lock_was_taken_away_writes_nothing_more() {
    let server = server();
    let proxy = Proxy::new(place(&server));
    let streams: String =
        (0..10).map(|it| format!("[streams.S{it}]\nsubjects = [\"s.{it}\"]\n")).collect();
    let project = Project::at(proxy.url(), &format!("{}{streams}", Backend::Kv.section()));
    let held = project.path("held");
    let order = format!("pause=before-intent:3:{}", held.display());
    let apply = ["apply", "--auto-approve", "--parallelism", "1"];
    let holder = project.start_with(&[(VARIABLE, &order)], &apply);
    wait_for("it is under way", || held.exists());
    suspend(holder.id());
    fs::remove_file(held).expect("it waits for that");

    let another = |arguments: &[&str]| project.run_elsewhere(arguments, server.url()).ended(0);
    let status = another(&["lock", "status"]).stdout;
    another(&["force-unlock", "--force", id_in(&status)]);
    another(&apply).says("8 added");
    let written = || ask(&server, &format!("STREAM.INFO.{STREAM}"), &Value::Null)["state"].take();
    let (before, reached) = (written(), proxy.subjects().len());
    signal(holder.id(), Signal::CONT);
    Output::ending(holder).ended(1).says("was taken away by `force-unlock`");
    let later = proxy.subjects().split_off(reached);
    let writes = |it: &&String| {
        [".CREATE.", ".UPDATE.", ".DELETE.", ".journal", ".state"]
            .iter()
            .any(|part| it.contains(part) && !it.contains(".MSG.GET."))
    };
    assert_eq!(later.iter().filter(writes).count(), 0, "{later:?}");
    assert_eq!(written(), before);
    println!("{} requests after it went on, none of which writes", later.len());
    another(&["plan", "--detailed-exitcode"]);
}

#[test]
fn on_a_server_with_a_domain_the_state_is_kept_through_it() {
    let server = server_with("jetstream: { domain: hub }\n");
    let project = Project::new(&server, "");
    let (url, state) = (server.url(), Backend::Kv.section());
    let spec = format!("[server]\nurl = \"{url}\"\ndomain = \"hub\"\n{state}{SPEC}");
    fs::write(project.path("environments/test.toml"), spec).expect("a file is written");
    for arguments in [&["apply", "--auto-approve"][..], &["plan"], &["state", "verify"]] {
        project.run_as_the_spec_says(arguments).ended(0);
    }
    project.run_as_the_spec_says(&["lock", "status"]).ended(0).says("not locked");
}

#[test]
fn a_state_may_be_on_a_server_of_its_own() {
    let (server, own) = (server(), server());
    let url = own.url();
    let section = format!("[state]\nbackend = \"kv\"\nbucket = \"mine\"\nserver.url = \"{url}\"\n");
    let project = Project::new(&server, &format!("{section}{SPEC}"));
    project.apply().says("test.state in bucket mine");
    project.plans_empty();
    assert_eq!(
        (streams(&server), streams(&own)),
        (vec!["S".to_owned()], vec!["KV_mine".to_owned()])
    );
}

#[test]
fn who_may_not_make_the_bucket_is_told_what_to_ask_for() {
    let users = "authorization { users: [{ user: u, password: p, permissions: { publish: { deny: \
                 [\"$JS.API.STREAM.CREATE.>\"] } } }] }\n";
    let server = server_with(&format!("{users}{JETSTREAM}"));
    let project = Project::new(&server, "");
    let (url, state) = (server.url(), Backend::Kv.section());
    fs::write(project.path("password"), "p").expect("a file is written");
    let user = "user = \"u\"\npassword = \"file:password\"\n";
    let spec = format!("[server]\nurl = \"{url}\"\n{user}{state}");
    fs::write(project.path("environments/test.toml"), spec).expect("a file is written");
    let refused = project.run_as_the_spec_says(&["apply", "--auto-approve"]);
    // The plan has nothing to do, so only the lock asks for the bucket.
    refused.ended(1).says("$JS.API.STREAM.CREATE.KV_jsplan_state").says("nats kv add jsplan_state");
}

/// The id of the lock in what was said of it.
pub(crate) fn id_in(said: &str) -> &str {
    let (_, id) = said.split_once("(lock ").expect("an id");
    id.split(')').next().expect("its end")
}

#[test]
fn an_apply_that_is_killed_leaves_no_lock_on_files_and_one_in_a_bucket() {
    both(|world| {
        let spec: String =
            (0..200).map(|it| format!("[streams.S{it:03}]\nsubjects = [\"s.{it}\"]\n")).collect();
        world.write_spec(&spec);
        let arguments = ["apply", "--auto-approve", "--parallelism", "2"];
        let mut apply = world.project.start(&arguments);
        wait_for("streams appear", || streams(&world.server).len() > 40);
        apply.kill().expect("it is ours");
        apply.wait().expect("it ends");
        let status = world.project.run(&["lock", "status"]).ended(0);
        match world.backend {
            Backend::File => drop(status.says("not locked").says("ended without letting go")),
            Backend::Kv => {
                let status = status.says("is locked by");
                let refused = world.project.run(&["apply", "--auto-approve"]).ended(1);
                refused.says("jsplan force-unlock");
                let id = id_in(&status.stdout);
                world.project.run(&["force-unlock", "--force", id]).ended(0);
            }
        }
        world.project.run(&["plan"]).ended(0).says("0 to change, 0 to destroy");
        world.project.apply();
        world.project.plans_empty();
        let owned = world.project.run(&["state", "list"]).ended(0).stdout;
        assert_eq!(owned.lines().count(), 200);
    });
}

#[test]
fn a_state_that_went_backwards_is_refused_and_taken_only_deliberately() {
    both(|world| {
        world.project.apply();
        let first = world.project.run(&["state", "pull"]).ended(0).stdout;
        world.project.run(&["state", "rm", "consumer.S.C"]).ended(0);
        world.put_back(&first);
        for command in ["plan", "drift"] {
            let refused = world.project.run(&[command]).ended(1);
            refused.says("has serial 1, and serial 2 of it was seen").says("state push --force");
        }
        let pulled = world.project.run(&["state", "pull"]).ended(0).stdout;
        assert_eq!(pulled, first);
        fs::write(world.project.path("old.json"), pulled).expect("a file is written");
        world.project.run(&["state", "push", "--force", "old.json"]).ended(0);
        world.project.plans_empty();
    });
}

#[test]
fn a_state_that_is_gone_is_refused_and_rebuilt() {
    both(|world| {
        world.project.apply();
        world.take_away();
        world.project.run(&["plan"]).ended(1).says("is gone").says("state rebuild");
        world.project.run(&["state", "rebuild"]).ended(0).says("2 resources").says("serial 2");
        world.project.plans_empty();
    });
}

#[test]
fn a_damaged_state_is_refused_kept_and_rebuilt() {
    both(|world| {
        world.project.apply();
        let whole = world.project.run(&["state", "pull"]).ended(0).stdout;
        for damaged in ["", &whole[..whole.len() / 2], &whole.replace("stream.S", "stream.T")] {
            world.put_back(damaged);
            world.project.run(&["plan"]).ended(1).says("cannot be trusted");
            world.project.run(&["state", "verify"]).ended(1);
        }
        let rebuilt = world.project.run(&["state", "rebuild"]).ended(0);
        rebuilt.says("2 resources").says("What it replaces is kept");
        world.project.plans_empty();
        world.project.run(&["state", "rebuild"]).ended(1).says("the state is whole");
        world.project.run(&["state", "rebuild", "--force"]).ended(0);
        world.project.plans_empty();
    });
}

#[test]
fn a_predecessor_is_restored_under_a_new_serial() {
    both(|world| {
        world.project.apply();
        world.project.run(&["state", "rm", "consumer.S.C"]).ended(0).says("State serial 2.");
        let listed = world.project.run(&["state", "restore"]).ended(0).stdout;
        assert_eq!(listed, "1\n");
        world.project.run(&["state", "restore", "9"]).ended(1).says("serial 9 was kept");
        world.project.run(&["state", "restore", "1"]).ended(0).says("State serial 3.");
        world.project.plans_empty();
    });
}

#[test]
fn push_holds_to_lineage_and_serial() {
    both(|world| {
        world.project.apply();
        let first = world.project.run(&["state", "pull"]).ended(0).stdout;
        fs::write(world.project.path("one.json"), &first).expect("a file is written");
        world.project.run(&["state", "push", "one.json"]).ended(0);
        world.project.run(&["state", "rm", "consumer.S.C"]).ended(0);
        let older = world.project.run(&["state", "push", "one.json"]).ended(1);
        older.says("serial 1, and the present one 2");
        let mut other = State::read(&first).expect("it is whole");
        other.lineage = "another".to_owned();
        fs::write(world.project.path("two.json"), other.write()).expect("a file is written");
        world.project.run(&["state", "push", "two.json"]).ended(1).says("another lineage");
        fs::write(world.project.path("no.json"), "{}").expect("a file is written");
        world.project.run(&["state", "push", "no.json"]).ended(1).says("state pull");
    });
}

#[test]
fn a_state_moves_between_files_and_a_bucket_by_pull_and_push() {
    let mut world = World::new(Backend::File);
    world.project.apply();
    for backend in [Backend::Kv, Backend::File] {
        let pulled = world.project.run(&["state", "pull"]).ended(0).stdout;
        fs::write(world.project.path("moved.json"), &pulled).expect("a file is written");
        if backend == Backend::File {
            world.project.run(&["state", "rm", "consumer.S.C"]).ended(0);
            let pulled = world.project.run(&["state", "pull"]).ended(0).stdout;
            fs::write(world.project.path("moved.json"), &pulled).expect("a file is written");
        }
        world.backend = backend;
        world.write_spec(SPEC);
        world.project.run(&["state", "push", "moved.json"]).ended(0);
        let now = world.project.run(&["state", "pull"]).ended(0).stdout;
        assert_eq!(now, world.project.read("moved.json"));
    }
    assert_eq!(world.project.run(&["state", "list"]).ended(0).stdout, "stream.S\n");
}

#[test]
fn of_two_at_once_one_waits_and_every_round_counts() {
    both(|world| {
        compete(world.backend, &world.project, world.server.url(), 100, |_| {});
    });
}

#[test]
fn of_two_at_once_every_round_counts_while_a_cluster_loses_its_leader() {
    let mut servers = cluster();
    let project = Project::new(&servers[0], "");
    let urls: Vec<_> = servers.iter().map(|it| it.url().to_owned()).collect();
    compete(Backend::Kv, &project, &urls.join(","), 10 * (KILLS + 1), |rounds| {
        for number in 1..=KILLS {
            let due = || rounds.load(Ordering::SeqCst) >= 20 * number - 10;
            let mut found = None;
            wait_for("both are at work", || {
                found = servers.iter().filter(|_| due()).find_map(leader);
                found.is_some()
            });
            let leader = found.expect("it was waited for");
            servers[leader].kill();
            servers[leader].restart().expect("it starts again");
        }
    });
}

/// Which server leads the bucket, as one of them says.
fn leader(server: &Server) -> Option<usize> {
    let info: Value = run(async {
        let client = async_nats::connect(server.url()).await.ok()?;
        let asked = client.request(format!("$JS.API.STREAM.INFO.{STREAM}"), "".into()).await;
        serde_json::from_slice(&asked.ok()?.payload).ok()
    })?;
    info["cluster"]["leader"].as_str().map(index_of)
}

/// Two appliers make so many rounds each, while something happens to their servers that knows how
/// many are made.
fn compete(
    backend: Backend,
    project: &Project,
    urls: &str,
    most: u64,
    happens: impl FnOnce(&AtomicU64),
) {
    let begun = Instant::now();
    let (at_work, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let round = async || {
        let store = backend.open(project.path(""), urls).await;
        for _ in 0..most {
            let lock = store.lock_within("a round", Duration::from_secs(60)).await;
            let lock = lock.expect("the other lets go of it");
            assert!(!at_work.swap(true, Ordering::SeqCst), "two are at work");
            let mut next = store.load().await.expect("it is whole");
            next.lineage = "a lineage".to_owned();
            next.serial += 1;
            store.save(&next, &lock).await.expect("it is saved");
            assert!(at_work.swap(false, Ordering::SeqCst));
            rounds.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let both = [scope.spawn(|| run(round())), scope.spawn(|| run(round()))];
        happens(&rounds);
        for one in both {
            one.join().expect("no round failed");
        }
    });
    assert_eq!(rounds.load(Ordering::SeqCst), 2 * most);
    let state = run(async { backend.open(project.path(""), urls).await.load().await });
    assert_eq!(state.expect("it is whole").serial, 2 * most);
    println!("{backend:?}: {} rounds in {} ms", 2 * most, begun.elapsed().as_millis());
}

#[test]
fn a_write_whose_answer_is_lost_is_made_once() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let proxy = Proxy::new(place(&server));
    run(async {
        let store = Backend::Kv.open(project.path(""), proxy.url()).await;
        let lock = store.lock("a test").await.expect("it is free");
        for (serial, then) in [(1, Then::Swallow), (2, Then::Cut)] {
            proxy.after("$KV.jsplan_state.test.state", 1, move || then);
            store.save(&state(serial), &lock).await.expect("it is saved");
            assert_eq!(store.load().await.expect("it is there").serial, serial);
        }
        proxy.before("$KV.jsplan_state.test.state", 1, || Then::Swallow);
        store.save(&state(3), &lock).await.expect("it is saved");
        assert_eq!(store.kept().await.expect("a list"), [1, 2]);
        let journal = store.begin(&state(4), &lock).await.expect("it opens");
        proxy.after("$KV.jsplan_state.test.journal", 1, || Then::Swallow);
        journal.append(&line("stream.A", "x")).await.expect("it is kept");
        journal.append(&line("stream.B", "x")).await.expect("it is kept");
        assert_eq!(store.load().await.expect("it is replayed").resources.len(), 2);
    });
    assert_eq!(proxy.sent("test.state"), 6, "each was sent twice");
    let subjects = ask(
        &server,
        &format!("STREAM.INFO.{STREAM}"),
        &serde_json::json!({ "subjects_filter": "$KV.jsplan_state.test.state" }),
    );
    assert_eq!(subjects["state"]["subjects"]["$KV.jsplan_state.test.state"], 3);
}

#[test]
fn the_bucket_is_no_resource_and_outlives_everything_else() {
    let world = World::new(Backend::Kv);
    world.project.apply().never_says("not managed").never_says("jsplan_state will");
    world.project.run(&["plan"]).ended(0).never_says("not managed");
    world.project.run(&["drift"]).ended(0).never_says("jsplan_state");
    world.project.run(&["import", "--all"]).ended(0).never_says("jsplan_state");
    world.project.run(&["import", "kv.jsplan_state"]).ended(1).says("keeps the state");
    world.project.run(&["apply", "--destroy", "--auto-approve"]).ended(0).says("2 destroyed");
    assert_eq!(streams(&world.server), [STREAM]);
    let config = stream(&world.server, STREAM);
    assert_eq!((&config["max_msgs_per_subject"], &config["num_replicas"]), (&64.into(), &1.into()));
}

#[test]
fn a_state_that_lost_a_part_is_refused() {
    let world = World::new(Backend::Kv);
    let mut large = state(1);
    large.take(done("stream.A", &"x".repeat(900_000)));
    run(async {
        let store = world.store().await;
        let lock = store.lock("a test").await.expect("it is free");
        save(&store, &large, &lock).await;
    });
    let purge = serde_json::json!({ "filter": "$KV.jsplan_state.test.state.1" });
    ask(&world.server, &format!("STREAM.PURGE.{STREAM}"), &purge);
    world.project.run(&["plan"]).ended(1).says("a part is missing");
}

#[test]
fn a_bucket_that_would_lose_a_state_is_refused() {
    let world = World::new(Backend::Kv);
    let config = serde_json::json!({
        "name": STREAM, "subjects": ["$KV.jsplan_state.>"], "storage": "memory",
    });
    ask(&world.server, &format!("STREAM.CREATE.{STREAM}"), &config);
    world.project.run(&["apply", "--auto-approve"]).ended(1).says("it is in memory");
}

#[test]
fn a_bucket_that_was_made_with_little_past_keeps_whole_journals() {
    let world = World::new(Backend::Kv);
    let config = serde_json::json!({
        "name": STREAM, "subjects": ["$KV.jsplan_state.>"], "storage": "file",
        "max_msgs_per_subject": 1, "allow_rollup_hdrs": true,
    });
    ask(&world.server, &format!("STREAM.CREATE.{STREAM}"), &config);
    run(async {
        let store = world.store().await;
        let lock = store.lock("a test").await.expect("it is free");
        let journal = store.begin(&state(1), &lock).await.expect("it opens");
        for number in 0..20 {
            let line = line(&format!("stream.S{number}"), "x");
            journal.append(&line).await.expect("it is kept");
        }
        assert_eq!(store.load().await.expect("it is replayed").resources.len(), 20);
    });
}

#[test]
fn in_a_cluster_the_bucket_has_three_copies_and_survives_one_server() {
    let mut servers = cluster();
    let project = Project::new(&servers[0], "");
    let spec = "[state]\nbackend = \"kv\"\n[streams.S]\nsubjects = [\"s\"]\nnum_replicas = 3\n";
    project.write_spec(spec);
    project.apply();
    let info = ask(&servers[0], &format!("STREAM.INFO.{STREAM}"), &Value::Null);
    assert_eq!(info["config"]["num_replicas"], 3);
    let leader = info["cluster"]["leader"].as_str().expect("a leader").to_owned();
    let at = index_of(&leader);
    servers[at].kill();
    let survivor = servers[(at + 1) % 3].url().to_owned();
    let removed: Output = project.run_elsewhere(&["state", "rm", "stream.S"], &survivor);
    removed.ended(0).says("State serial 2.");
    let verified = project.run_elsewhere(&["state", "verify"], &survivor);
    verified.ended(0).says("serial 2");
}

/// Which of the servers of a cluster has a name.
fn index_of(name: &str) -> usize {
    let number = name.trim_start_matches("node").parse::<usize>();
    number.expect("they are numbered from 1") - 1
}
