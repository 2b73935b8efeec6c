//! Ctrl-C and its like, once and twice, wherever an apply is.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::{
    fs,
    io::{BufReader, Read as _},
    process::Child,
    time::{Duration, Instant},
};

use jsplan::io::{fault::VARIABLE, server::Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    client::{ask_once, done, streams},
    project::{Project, wait_for},
    server::{cluster, freeze, server, thaw},
};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n[streams.S.consumers.C]\n";

const APPLY: [&str; 2] = ["apply", "--auto-approve"];

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, signal).expect("it is ours");
}

/// Reads what a child says until it says this.
fn hear(said: &mut impl std::io::BufRead, text: &str) {
    let mut all = String::new();
    while !all.contains(text) {
        let more = said.read_line(&mut all).expect("it is text");
        assert!(more > 0, "it never says `{text}`: {all}");
    }
}

/// An apply whose request for the stream hangs, since nobody answers any more.
fn hanging(server: &Server, project: &Project) -> Child {
    let point = "pause=before-request:1";
    let held = project.path("held");
    let order = format!("{point}:{}", held.display());
    let apply = project.start_with(&[(VARIABLE, &order)], &APPLY);
    wait_for("the first request is about to leave", || held.exists());
    freeze(server);
    fs::remove_file(held).expect("it waits for that");
    apply
}

#[test]
fn the_second_signal_leaves_at_once_though_a_request_hangs_and_the_next_apply_goes_on() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = server();
        let project = Project::new(&server, SPEC);
        let mut apply = hanging(&server, &project);
        let mut said = BufReader::new(apply.stderr.take().expect("it was piped"));
        hear(&mut said, "stream.S: Creating");
        send(&apply, signal);
        hear(&mut said, "Interrupt received.");
        let begun = Instant::now();
        send(&apply, signal);
        let status = apply.wait().expect("it ends");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
        println!("{code}: {} ms from the second signal to the end", took.as_millis());
        assert_eq!(status.code(), Some(code));
        project.run(&["state", "list"]).ended(0).says("1 step undecided: `jsplan plan`");
        project.run(&["state", "rm", "stream.S"]).ended(1).says("what became of `stream.S`");
        thaw(&server);
        wait_for("it does what it was asked", || !streams(&server).is_empty());
        project.run(&["plan"]).ended(0).says("1 more turned out done").never_says("to import");
        project.run(&["plan"]).ended(0).says("1 more turned out done");
        project.apply().says("Resources: 1 added");
        project.plans_empty();
        assert_eq!(project.state()["resources"]["stream.S"]["origin"], "created");
    }
}

#[test]
fn the_second_signal_leaves_a_lock_in_a_bucket_behind_and_says_how_it_goes() {
    let server = server();
    let project = Project::new(&server, &format!("[state]\nbackend = \"kv\"\n{SPEC}"));
    let mut apply = hanging(&server, &project);
    let mut said = BufReader::new(apply.stderr.take().expect("it was piped"));
    hear(&mut said, "stream.S: Creating");
    send(&apply, Signal::INT);
    hear(&mut said, "Interrupt received.");
    send(&apply, Signal::INT);
    assert_eq!(apply.wait().expect("it ends").code(), Some(130));
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it is text");
    thaw(&server);
    let (_, command) = rest
        .split_once("The state stays locked. To take the lock away: jsplan ")
        .unwrap_or_else(|| panic!("nothing of the lock in: {rest}"));
    project.run(&APPLY).ended(1).says("is locked by").says("jsplan force-unlock");
    let words: Vec<_> = command.split_whitespace().chain(["--force"]).collect();
    project.run_plainly(&words).ended(0).says("was taken away");
    project.apply();
    project.plans_empty();
}

#[test]
fn a_signal_while_replicas_are_waited_for_ends_in_order_and_the_next_apply_goes_on() {
    let servers = cluster();
    // A server that neither is asked nor leads anything.
    let jsz = servers[0].monitor("/jsz").expect("it answers");
    let idle = |it: &&Server| {
        it.url() != servers[0].url()
            && it
                .monitor("/varz")
                .is_some_and(|it| it["server_name"] != jsz["meta_cluster"]["leader"])
    };
    let other = servers.iter().find(idle).expect("there are three");
    let spec = |replicas| format!("[streams.S]\nsubjects = [\"s\"]\nnum_replicas = {replicas}\n");
    let project = Project::new(&servers[0], &spec(3));
    project.apply();
    let replicas = || ask_once(&servers[0], "STREAM.INFO.S")["cluster"].take();
    let name = other.monitor("/varz").expect("it answers")["server_name"].take();
    if replicas()["leader"] == name {
        done(&servers[0], "STREAM.LEADER.STEPDOWN.S", &Value::Null);
        wait_for("another leads", || {
            replicas()["leader"].as_str().is_some_and(|it| !it.is_empty() && it != name)
        });
    }
    let is_current = || {
        let replicas = replicas();
        let mut all = replicas["replicas"].as_array().into_iter().flatten();
        all.find(|it| it["name"] == name).and_then(|it| it["current"].as_bool())
    };
    wait_for("it has caught up", || is_current() == Some(true));
    freeze(other);
    wait_for("it falls behind", || is_current() == Some(false));
    project.write_spec(&spec(1));
    let mut apply = project.start(&APPLY);
    let mut said = BufReader::new(apply.stderr.take().expect("it was piped"));
    hear(&mut said, "stream.S: Modifying");
    hear(&mut said, "Still modifying");
    let begun = Instant::now();
    send(&apply, Signal::INT);
    assert_eq!(apply.wait().expect("it ends").code(), Some(1));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it is text");
    println!("{} ms from the signal to the end:\n{rest}", took.as_millis());
    assert!(rest.contains("interrupted while `S` was being moved"), "{rest}");
    assert!(rest.ends_with("0 of 1 action applied. State saved (serial 2).\n"), "{rest}");
    project.run(&["lock", "status"]).ended(0).says("not locked");
    thaw(other);
    project.apply().says("1 changed");
    project.plans_empty();
}

#[test]
fn the_first_signal_waits_for_the_request_in_flight_and_says_where_things_stand() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let mut apply = hanging(&server, &project);
    let mut said = BufReader::new(apply.stderr.take().expect("it was piped"));
    hear(&mut said, "stream.S: Creating");
    send(&apply, Signal::INT);
    hear(&mut said, "Interrupt received.");
    thaw(&server);
    assert_eq!(apply.wait().expect("it ends").code(), Some(1));
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("it is text");
    assert!(rest.ends_with("1 of 2 actions applied. State saved (serial 1).\n"), "{rest}");
    project.apply().says("Resources: 1 added");
}

#[test]
fn a_signal_while_it_reads_or_asks_changes_nothing_and_frees_the_lock() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let asked = project.run_on_terminal(&["apply"], "\u{3}").ended(1);
    assert!(asked.stdout.contains("cancelled"), "{asked}");
    freeze(&server);
    let mut apply = project.start(&APPLY);
    wait_for("it holds the lock", || {
        fs::read_to_string(project.path("state/test.lock")).is_ok_and(|it| !it.is_empty())
    });
    send(&apply, Signal::INT);
    let mut said = String::new();
    apply.stderr.take().expect("it was piped").read_to_string(&mut said).expect("it is text");
    assert_eq!(apply.wait().expect("it ends").code(), Some(1), "{said}");
    assert!(said.contains("interrupted") && said.contains("nothing was changed"), "{said}");
    thaw(&server);
    assert!(streams(&server).is_empty());
    project.apply();
}

#[test]
fn a_signal_once_all_is_done_keeps_what_was_done_and_says_that_it_was_not_looked_at_again() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let held = project.path("held");
    let order = format!("pause=after-end:1:{}", held.display());
    let mut apply = project.start_with(&[(VARIABLE, &order)], &APPLY);
    wait_for("every step is done", || held.exists());
    freeze(&server);
    fs::remove_file(held).expect("it waits for that");
    send(&apply, Signal::INT);
    let mut said = String::new();
    apply.stderr.take().expect("it was piped").read_to_string(&mut said).expect("it is text");
    assert_eq!(apply.wait().expect("it ends").code(), Some(1), "{said}");
    assert!(said.contains("interrupted before everything was read again"), "{said}");
    thaw(&server);
    assert_eq!(project.state()["serial"], 1);
    project.plans_empty();
}
