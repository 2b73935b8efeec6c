//! Back from behind the bind: every message is where it was to be, once, and whoever reads goes on.

use crate::{
    outcome::Outcome,
    shelf::{self, Stored, Tally},
    support::{
        client::{acknowledge, pull},
        project::wait_for,
    },
    traffic::Traffic,
    way::{Gates, NEW, OLD, Way, Went, World},
};

/// Messages that each application reads at a time.
const SOME: usize = 40;

/// Has an application read some, and be done with them; gives the sequence of the last.
fn reads(world: &World, stream: &str, consumer: &str) -> u64 {
    let server = &world.servers()[0];
    let read = pull(server, stream, consumer, SOME);
    assert_eq!(read.len(), SOME, "{stream}.{consumer}");
    acknowledge(server, &read);
    read.last().map(|it| it.sequence).expect("some were read")
}

/// The sequence of what an application gets next.
fn next(world: &World, stream: &str, consumer: &str) -> u64 {
    let read = pull(&world.servers()[0], stream, consumer, 1);
    read.first().map(|it| it.sequence).expect("there is more")
}

fn at(stored: &[Stored], sequence: u64) -> (usize, u64) {
    let it = stored.iter().find(|it| it.sequence == sequence).expect("it is there");
    (it.publisher, it.number)
}

/// Forth, past the bind, and back, with applications on both sides.
#[track_caller]
fn goes_back(way: Way) {
    let world = World::single(way, Gates::Last);
    let traffic = world.traffic();
    let (last_read, logs) = traffic.during(1_000, || {
        traffic.takes(500);
        reads(&world, OLD, "READER");
        reads(&world, OLD, "STAYS");
        world.goes_before("settled", &mut Went::default());
        let last = moved_and_read(&world, &traffic);
        let read = shelf::read(&world.urls, NEW);
        let rollback = ["migrate", "rollback", "0001", "--auto-approve"];
        world.project.run(&rollback).ended(0).says("was taken back");
        traffic.takes(200);
        at(&read, last)
    });
    let stored = shelf::read(&world.urls, OLD);
    let tally = Tally::of(&logs, &stored);
    println!("back from {}: {tally:?}", way.name());
    let Tally { lost, duplicated, again, reordered, .. } = tally;
    assert_eq!((lost, duplicated, again, reordered), (0, 0, 0, 0), "{tally:?}");
    let place = stored.iter().position(|it| (it.publisher, it.number) == last_read);
    let behind = &stored[place.expect("it came back") + 1];
    assert_eq!(next(&world, OLD, "READER"), behind.sequence, "one who moved goes on");
    // One who stayed is where it was: behind what it has read.
    let mut gets = next(&world, OLD, "STAYS");
    let floor = world.floor(OLD, "STAYS");
    assert_eq!(gets, floor + 1, "one who stayed is not disturbed");
    while (gets as usize) < stored.len() {
        gets = reads_on(&world, gets);
    }
}

/// Publishers and one application are on the new stream; another one stays, and gets what is new.
fn moved_and_read(world: &World, traffic: &Traffic) -> u64 {
    if !world.way.takes_subjects() {
        traffic.move_one_by_one();
    }
    traffic.takes(200);
    let last = reads(world, NEW, "READER");
    if world.way.takes_subjects() {
        let newest = shelf::read(&world.urls, NEW).pop().expect("there are some");
        let mut arrived = false;
        wait_for("what is new comes to the old stream", || {
            let old = shelf::read(&world.urls, OLD);
            arrived = old
                .iter()
                .rev()
                .any(|it| (it.publisher, it.number) == (newest.publisher, newest.number));
            arrived
        });
        reads(world, OLD, "STAYS");
    }
    last
}

/// What comes next for one who stayed is the very next message.
fn reads_on(world: &World, last: u64) -> u64 {
    let server = &world.servers()[0];
    let read = pull(server, OLD, "STAYS", 256);
    let sequences: Vec<_> = read.iter().map(|it| it.sequence).collect();
    let expected: Vec<_> = (last + 1..).take(sequences.len()).collect();
    assert_eq!(sequences, expected, "nothing is skipped");
    acknowledge(server, &read);
    sequences.last().copied().unwrap_or(u64::MAX)
}

#[test]
fn from_the_same_subjects_by_source_everything_comes_back() {
    goes_back(Way::Source);
}

#[test]
fn from_the_same_subjects_by_mirror_everything_comes_back() {
    goes_back(Way::Mirror);
}

#[test]
fn from_new_subjects_everything_comes_back() {
    goes_back(Way::NewSubjects);
}

#[test]
fn what_a_stream_in_parallel_took_is_not_deleted_without_consent() {
    let world = World::single(Way::Parallel, Gates::Last);
    let traffic = world.traffic();
    let (went, logs) = traffic.during(1_000, || {
        traffic.takes(200);
        let mut went = Went::default();
        world.goes_before("settled", &mut went);
        traffic.move_one_by_one();
        let rollback = ["migrate", "rollback", "0001", "--auto-approve"];
        world.project.run(&rollback).ended(1).says("--allow destroy=stream.V2");
        traffic.takes(100);
        went
    });
    Outcome::of(&world, &went, &logs).holds();
}

#[test]
fn what_a_program_made_does_not_go_back() {
    let world = World::single(Way::Program, Gates::Last);
    let traffic = world.traffic();
    let (went, logs) = traffic.during(500, || {
        traffic.takes(200);
        let mut went = Went::default();
        world.goes_before("settled", &mut went);
        let rollback = ["migrate", "rollback", "0001", "--auto-approve"];
        world.project.run(&rollback).ended(1).says("`bind` is the point of no return");
        traffic.takes(100);
        went
    });
    Outcome::of(&world, &went, &logs).holds();
}
