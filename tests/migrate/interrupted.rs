//! What happens while nobody can publish: Ctrl-C waits for the end of the switch, and a server that goes
//! is told of by the next command before anything else.

use std::{fs, path::PathBuf, process::Child};

use jsplan::io::fault::VARIABLE;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    outcome::Outcome,
    shelf::{self, Tally},
    support::{
        project::{Output, wait_for},
        server::signal,
    },
    way::{Gates, NEW, OLD, Way, Went, World},
};

/// Behind the request that takes the subjects of the old stream away: the second one, after that which
/// makes the new stream.
const PARKED: &str = "after-request:2";

#[test]
fn ctrl_c_within_a_switch_waits_for_its_end() {
    for way in [Way::Source, Way::Mirror, Way::Program] {
        let world = World::single(way, Gates::Last);
        let traffic = world.traffic();
        let (went, logs) = traffic.during(500, || {
            traffic.takes(200);
            let (run, here) = parked(&world);
            signal(run.id(), Signal::INT);
            fs::remove_file(&here).expect("it is there");
            let output = Output::ending(run);
            let info = world.ask(&format!("STREAM.INFO.{NEW}"), &Value::Null);
            let subjects = &info["config"]["subjects"];
            assert_eq!(subjects[0], "old.>", "{way:?} does not leave publishers alone:\n{output}");
            traffic.takes(100);
            let mut went = Went::default();
            went.note(&APPLY, &output);
            world.goes_before("settled", &mut went);
            traffic.takes(100);
            world.goes_to_its_end(&mut went);
            went
        });
        Outcome::of(&world, &went, &logs).holds();
    }
}

const APPLY: [&str; 3] = ["migrate", "apply", "--auto-approve"];

/// A run that stands still within a switch, once the old stream is parked; it goes on when the file is
/// removed.
fn parked(world: &World) -> (Child, PathBuf) {
    let here = world.project.path("here");
    let order = format!("pause={PARKED}:{}", here.display());
    let run = world.project.start_with(&[(VARIABLE, &order)], &APPLY);
    wait_for("it has parked", || here.exists());
    (run, here)
}

/// Where it goes on to once the server is back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Forward,
    Back,
}

/// The server goes once the old stream is parked, and is away for longer than anybody waits.
#[track_caller]
fn server_dies_within_the_switch(then: Then) {
    let world = World::single(Way::Source, Gates::Last);
    let traffic = world.traffic();
    let (went, logs) = traffic.during(500, || {
        traffic.takes(200);
        let (run, here) = parked(&world);
        world.servers()[0].kill();
        fs::remove_file(&here).expect("it is there");
        let output = Output::ending(run).ended(1).says("publishers are failing");
        world.servers()[0].restart().expect("it starts again");
        let mut went = Went::default();
        went.note(&APPLY, &output);
        let status = world.project.run(&["migrate", "status"]).ended(0);
        assert!(status.stderr.starts_with("Publishers are failing"), "{output}\n{status}");
        if then == Then::Back {
            let resume = ["migrate", "resume", "--back", "--auto-approve"];
            world.project.run(&resume).ended(0).says("was taken back");
        } else {
            world.goes_to_its_end(&mut went);
        }
        traffic.takes(100);
        went
    });
    if then == Then::Back {
        let tally = Tally::of(&logs, &shelf::read(&world.urls, OLD));
        assert_eq!((tally.lost, tally.duplicated, tally.again, tally.reordered), (0, 0, 0, 0));
    } else {
        Outcome::of(&world, &went, &logs).holds();
    }
}

#[test]
fn a_server_that_dies_within_the_switch_is_gone_on_with_once_it_is_back() {
    server_dies_within_the_switch(Then::Forward);
}

#[test]
fn a_server_that_dies_within_the_switch_leaves_the_way_back_open() {
    server_dies_within_the_switch(Then::Back);
}
