//! An apply that dies: at every point of its way, on a real server, with its state in files or in a
//! bucket.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, thread, time::Instant};

use jsplan::{
    io::{
        fault::{VARIABLE, names},
        run,
        server::Server,
    },
    state::{Origin, State},
};
use serde_json::Value;

use crate::{
    store::{Backend, id_in},
    support::{
        client::{ask, audited, streams},
        project::Project,
        server::server,
    },
};

/// What is there before.
const BEFORE: &str = r#"
[streams.KEPT]
subjects = ["kept"]
[streams.KEPT.consumers.CHANGED]
ack_policy = "explicit"
max_ack_pending = 10
[streams.KEPT.consumers.REPLACED]
ack_policy = "explicit"
[streams.KEPT.consumers.DELETED]
ack_policy = "explicit"
[streams.CHANGED]
subjects = ["changed"]
max_age = "1h"
[streams.REPLACED]
subjects = ["replaced"]
storage = "file"
[streams.REPLACED.consumers.C]
ack_policy = "explicit"
[streams.DELETED]
subjects = ["deleted"]
[streams.DELETED.consumers.C]
ack_policy = "explicit"
"#;

/// What is wanted: something of both kinds is made, changed, replaced and deleted, and an interest
/// stream gets its subjects once its consumer is there.
const AFTER: &str = r#"
[streams.KEPT]
subjects = ["kept"]
[streams.KEPT.consumers.CHANGED]
ack_policy = "explicit"
max_ack_pending = 20
[streams.KEPT.consumers.REPLACED]
ack_policy = "all"
[streams.CHANGED]
subjects = ["changed"]
max_age = "2h"
[streams.REPLACED]
subjects = ["replaced"]
storage = "memory"
[streams.REPLACED.consumers.C]
ack_policy = "explicit"
[streams.MADE]
subjects = ["made"]
[streams.MADE.consumers.C]
ack_policy = "explicit"
[streams.INTEREST]
subjects = ["interest"]
retention = "interest"
[streams.INTEREST.consumers.C]
ack_policy = "explicit"
"#;

const APPLY: [&str; 4] = ["apply", "--auto-approve", "--parallelism", "1"];

/// A server and a project with what is there before; the spec wants what comes after.
struct World {
    server: Server,
    project: Project,
    backend: Backend,
}

impl World {
    fn new(backend: Backend) -> Self {
        let server = server();
        let project = Project::new(&server, &format!("{}{BEFORE}", backend.section()));
        project.apply();
        project.write_spec(&format!("{}{AFTER}", backend.section()));
        Self { server, project, backend }
    }

    #[track_caller]
    fn dies(&self, point: &str) {
        let order = format!("abort={point}");
        let died = self.project.run_with(&[(VARIABLE, &order)], &APPLY);
        assert_eq!(died.code, -1, "it does not come to {point}:\n{died}");
        self.unlock();
    }

    /// Takes away the lock that a death leaves in a bucket.
    fn unlock(&self) {
        let status = self.project.run(&["lock", "status"]).ended(0).stdout;
        if status.contains("is locked by") {
            assert_eq!(self.backend, Backend::Kv, "{status}");
            self.project.run(&["force-unlock", "--force", id_in(&status)]).ended(0);
        }
    }

    fn state(&self, died_at: &str) -> State {
        let load =
            async || self.backend.open(self.project.path(""), self.server.url()).await.load().await;
        run(load()).unwrap_or_else(|error| panic!("{died_at}: {error}"))
    }

    /// After a death: the state is readable, the plan owns what was made and holds what is left, the
    /// next apply finishes, and what is recorded is what is live.
    fn recovers(&self, died_at: &str) {
        let Self { server, project, backend: _ } = self;
        self.state(died_at);
        let plan = project.run(&["plan"]).ended(0);
        assert!(!plan.stdout.contains("to import"), "{died_at}: something is forgotten:\n{plan}");
        project.run(&APPLY).ended(0);
        let empty = project.run(&["plan", "--detailed-exitcode"]).ended(0);
        assert!(!empty.stderr.contains("come to its end"), "{died_at}: {empty}");
        let state = self.state(died_at);
        let mut owned: Vec<_> = state.resources.keys().map(ToString::to_string).collect();
        owned.sort();
        assert_eq!(owned, live(server), "{died_at}");
        for (address, it) in state.resources {
            assert_eq!(it.origin, Origin::Created, "{died_at}: {address}");
        }
    }
}

/// The points that an apply comes to, in order.
fn way(project: &Project) -> Vec<String> {
    let record = project.path("record");
    let order = format!("record={}", record.display());
    project.run_with(&[(VARIABLE, &order)], &APPLY).ended(0);
    let record = project.read("record");
    let lines = record.lines().map(|it| serde_json::from_str(it).expect("a line is JSON"));
    lines.filter_map(|it: Value| Some(it["point"].as_str()?.to_owned())).collect()
}

/// Every point of a way, with how often it was come to by then.
fn numbered(way: Vec<String>) -> Vec<String> {
    let mut hits = BTreeMap::<String, usize>::new();
    let number = |point: String| {
        let hit = hits.entry(point.clone()).or_default();
        *hit += 1;
        format!("{point}:{hit}")
    };
    way.into_iter().map(number).collect()
}

/// What is live, as addresses.
fn live(server: &Server) -> Vec<String> {
    let mut found = Vec::new();
    for stream in streams(server).into_iter().filter(|it| !it.starts_with("KV_")) {
        let names = ask(server, &format!("CONSUMER.NAMES.{stream}"), &Value::Null);
        let consumers = names["consumers"].as_array().cloned().unwrap_or_default();
        let name = |it: &Value| it.as_str().expect("a name").to_owned();
        found.extend(consumers.iter().map(|it| format!("consumer.{stream}.{}", name(it))));
        found.push(format!("stream.{stream}"));
    }
    found.sort();
    found
}

/// What was destroyed, each as often as the server did it. What only holds a position is no loss.
fn destroyed(audit: Vec<(String, Value)>) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for (subject, response) in audit {
        let deletes = subject.contains(".DELETE.") && !subject.contains("jsplan_hold_");
        if deletes && response["success"] == true {
            *times.entry(subject).or_default() += 1;
        }
    }
    times
}

/// Runs a test for each case, two side by side.
fn each(cases: &[String], test: impl Fn(&str) + Sync) {
    let waiting = Mutex::new(cases.iter());
    let next = || waiting.lock().expect("no test dies with it").next();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    test(case);
                }
            });
        }
    });
}

/// Points that only an apply comes to which finds another that died.
const SETTLING: [&str; 2] = ["reconciled", "settled"];

#[test]
fn an_apply_that_dies_at_any_point_is_finished_by_the_next_and_destroys_nothing_twice() {
    let skipped = |it: &str| SETTLING.contains(&it);
    dies_everywhere(Backend::File, skipped);
}

#[test]
fn with_a_state_in_a_bucket_an_apply_that_dies_at_any_point_is_finished_by_the_next_too() {
    // A bucket keeps the past of its keys by itself.
    let skipped = |it: &str| SETTLING.contains(&it) || it == "predecessor-kept";
    dies_everywhere(Backend::Kv, skipped);
}

fn dies_everywhere(backend: Backend, skipped: impl Fn(&str) -> bool) {
    let cases = numbered(way(&World::new(backend).project));
    for point in names().filter(|it| !skipped(it)) {
        assert!(cases.iter().any(|it| *it == format!("{point}:1")), "{point} is never come to");
    }
    let begun = Instant::now();
    each(&cases, |point| {
        let world = World::new(backend);
        let audit = audited(&world.server, || {
            world.dies(point);
            world.recovers(point);
        });
        for (subject, times) in destroyed(audit) {
            assert_eq!(times, 1, "{point}: {subject}");
        }
    });
    let each = begun.elapsed().as_millis() / cases.len() as u128;
    println!("{backend:?}: {} deaths, {each} ms each", cases.len());
}

#[test]
fn an_apply_that_dies_while_it_takes_in_another_that_died_loses_nothing() {
    for backend in [Backend::File, Backend::Kv] {
        let world = World::new(backend);
        world.dies("after-request:4");
        let way = numbered(way(&world.project));
        let begun = way.iter().position(|it| it == "journal-begun:1").expect("it begins");
        let cases: Vec<_> = way[..=begun].to_vec();
        for point in SETTLING {
            assert!(cases.iter().any(|it| *it == format!("{point}:1")), "{point} is never come to");
        }
        each(&cases, |point| {
            let world = World::new(backend);
            let audit = audited(&world.server, || {
                world.dies("after-request:4");
                world.dies(point);
                world.recovers(point);
            });
            for (subject, times) in destroyed(audit) {
                assert_eq!(times, 1, "{point}: {subject}");
            }
        });
        println!("{backend:?}: {} deaths", cases.len());
    }
}

#[test]
fn what_a_death_leaves_half_written_goes_with_the_next_apply() {
    let world = World::new(Backend::File);
    let project = &world.project;
    let hidden = |it: &PathBuf| it.file_name().is_some_and(|it| it.as_encoded_bytes()[0] == b'.');
    // The predecessor of the state, and the first line of the journal.
    for point in ["text-written:1", "text-written:2"] {
        world.dies(point);
        assert!(project.files().iter().any(hidden), "{point}");
    }
    project.apply();
    let left: Vec<_> = project.files().into_iter().filter(hidden).collect();
    assert!(left.is_empty(), "{left:?}");
}
