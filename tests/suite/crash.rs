//! An apply that dies: at every point of its way, on a real server.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex, thread, time::Instant};

use jsplan::io::{
    fault::{VARIABLE, names},
    run,
    server::Server,
    store::Store,
};
use serde_json::Value;

use crate::support::{
    client::{ask, audited, streams},
    project::Project,
    server::server,
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
fn ready() -> (Server, Project) {
    let server = server();
    let project = Project::new(&server, BEFORE);
    project.apply();
    project.write_spec(AFTER);
    (server, project)
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

#[track_caller]
fn dies(project: &Project, point: &str) {
    let order = format!("abort={point}");
    let died = project.run_with(&[(VARIABLE, &order)], &APPLY);
    assert_eq!(died.code, -1, "it does not come to {point}:\n{died}");
}

/// What is live, as addresses.
fn live(server: &Server) -> Vec<String> {
    let mut found = Vec::new();
    for stream in streams(server) {
        let names = ask(server, &format!("CONSUMER.NAMES.{stream}"), &Value::Null);
        let consumers = names["consumers"].as_array().cloned().unwrap_or_default();
        let name = |it: &Value| it.as_str().expect("a name").to_owned();
        found.extend(consumers.iter().map(|it| format!("consumer.{stream}.{}", name(it))));
        found.push(format!("stream.{stream}"));
    }
    found.sort();
    found
}

/// After a death: the state is readable, the plan owns what was made and holds what is left, the next
/// apply finishes, and what is recorded is what is live.
fn recovers(server: &Server, project: &Project, died_at: &str) {
    let store = Store::new(&project.path(""), "test");
    run(store.load()).unwrap_or_else(|error| panic!("{died_at}: {error}"));
    let plan = project.run(&["plan"]).ended(0);
    assert!(!plan.stdout.contains("to import"), "{died_at}: something is forgotten:\n{plan}");
    project.run(&APPLY).ended(0);
    let empty = project.run(&["plan", "--detailed-exitcode"]).ended(0);
    assert!(!empty.stderr.contains("come to its end"), "{died_at}: {empty}");
    let state = project.state();
    let resources = state["resources"].as_object().expect("an object");
    let mut owned: Vec<_> = resources.keys().cloned().collect();
    owned.sort();
    assert_eq!(owned, live(server), "{died_at}");
    for (address, it) in resources {
        assert_eq!(it["origin"], "created", "{died_at}: {address}");
    }
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

#[test]
fn an_apply_that_dies_at_any_point_is_finished_by_the_next_and_destroys_nothing_twice() {
    let (_server, project) = ready();
    let cases = numbered(way(&project));
    for point in names().filter(|it| !["reconciled", "settled"].contains(it)) {
        assert!(cases.iter().any(|it| *it == format!("{point}:1")), "{point} is never come to");
    }
    let begun = Instant::now();
    each(&cases, |point| {
        let (server, project) = ready();
        let audit = audited(&server, || {
            dies(&project, point);
            recovers(&server, &project, point);
        });
        for (subject, times) in destroyed(audit) {
            assert_eq!(times, 1, "{point}: {subject}");
        }
    });
    println!(
        "{} deaths, {} ms each",
        cases.len(),
        begun.elapsed().as_millis() / cases.len() as u128
    );
}

#[test]
fn an_apply_that_dies_while_it_takes_in_another_that_died_loses_nothing() {
    let (_server, project) = ready();
    dies(&project, "after-request:4");
    let way = numbered(way(&project));
    let begun = way.iter().position(|it| it == "journal-begun:1").expect("it begins");
    let cases: Vec<_> = way[..=begun].to_vec();
    for point in ["reconciled:1", "settled:1"] {
        assert!(cases.iter().any(|it| it == point), "{point} is never come to");
    }
    each(&cases, |point| {
        let (server, project) = ready();
        let audit = audited(&server, || {
            dies(&project, "after-request:4");
            dies(&project, point);
            recovers(&server, &project, point);
        });
        for (subject, times) in destroyed(audit) {
            assert_eq!(times, 1, "{point}: {subject}");
        }
    });
    println!("{} deaths", cases.len());
}

#[test]
fn what_a_death_leaves_half_written_goes_with_the_next_apply() {
    let (_server, project) = ready();
    let hidden = |it: &PathBuf| it.file_name().is_some_and(|it| it.as_encoded_bytes()[0] == b'.');
    // The predecessor of the state, and the first line of the journal.
    for point in ["text-written:1", "text-written:2"] {
        dies(&project, point);
        assert!(project.files().iter().any(hidden), "{point}");
    }
    project.apply();
    let left: Vec<_> = project.files().into_iter().filter(hidden).collect();
    assert!(left.is_empty(), "{left:?}");
}
