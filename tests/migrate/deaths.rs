//! A migration that dies: at points of its way, with publishers at work, and gone on with or taken back
//! by the next command.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    sync::{Mutex, PoisonError},
    thread,
};

use jsplan::io::fault::VARIABLE;
use serde_json::Value;

use crate::{
    shelf::{self, Tally},
    way::{Gates, NEW, OLD, Way, Went, World},
};

/// Whether it dies at every point, and goes both ways from each.
const EVERYWHERE: &str = "JSPLAN_MIGRATE_EVERYWHERE";

/// Points between which something changes, on the server or on disk.
const POINTS: &[&str] =
    &["journal-begun", "before-request", "after-request", "after-done", "before-removal"];

const APPLY: [&str; 3] = ["migrate", "apply", "--auto-approve"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Forward,
    Back,
}

/// A death, and where it is gone to from there.
struct Death {
    way: Way,
    point: String,
    then: Then,
}

/// The points that the first command comes to, each with how often it was come to by then.
fn way_of(way: Way, points: &[&str]) -> Vec<String> {
    let world = World::single(way, Gates::None);
    let record = world.project.path("record");
    let order = format!("record={}", record.display());
    world.project.run_with(&[(VARIABLE, &order)], &APPLY).ended(0);
    let mut hits = BTreeMap::<String, usize>::new();
    let mut found = Vec::new();
    for line in world.project.read("record").lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let Some(point) = line["point"].as_str().filter(|it| points.contains(it)) else { continue };
        let hit = hits.entry(point.to_owned()).or_default();
        *hit += 1;
        found.push(format!("{point}:{hit}"));
    }
    assert!(!found.is_empty(), "{way:?} comes to none of {points:?}");
    found
}

/// Deaths at some points of a way, in turns gone on with and taken back.
fn deaths(way: Way, points: &[&str]) -> Vec<Death> {
    let everywhere = env::var_os(EVERYWHERE).is_some();
    let points = way_of(way, if everywhere { POINTS } else { points });
    let thens = |number: usize| match (everywhere, number % 2) {
        (true, _) => vec![Then::Forward, Then::Back],
        (false, 0) => vec![Then::Forward],
        (false, _) => vec![Then::Back],
    };
    let each = points.into_iter().enumerate().flat_map(|(number, point)| {
        thens(number).into_iter().map(move |then| Death { way, point: point.clone(), then })
    });
    each.collect()
}

impl Death {
    fn happens(&self) {
        let Self { way, point, then } = self;
        let world = World::single(*way, Gates::None);
        let traffic = world.traffic();
        let (back, logs) = traffic.during(300, || {
            traffic.takes(100);
            let order = format!("abort={point}");
            let died = world.project.run_with(&[(VARIABLE, &order)], &APPLY);
            assert_eq!(died.code, -1, "{way:?} does not come to {point}:\n{died}");
            world.says_that_publishers_fail(point);
            let back = *then == Then::Back && self.goes_back(&world);
            if !back {
                let mut went = Went::default();
                if !way.takes_subjects() {
                    world.goes_before("soak", &mut went);
                    traffic.move_one_by_one();
                }
                world.goes_to_its_end(&mut went);
            }
            traffic.takes(50);
            back
        });
        let stored = if back { shelf::read(&world.urls, OLD) } else { world.stored() };
        let tally = Tally::of(&logs, &stored);
        let Tally { acknowledged, lost, duplicated, again, reordered } = tally;
        assert!(acknowledged > 0);
        let wrong = (lost, duplicated, again, reordered);
        assert_eq!(wrong, (0, 0, 0, 0), "{way:?} at {point}, {then:?}: {tally:?}");
        if back {
            assert!(shelf::read(&world.urls, NEW).is_empty(), "{way:?} at {point}");
        }
    }

    /// Takes it back; false where there is no way back, or nothing to take back.
    fn goes_back(&self, world: &World) -> bool {
        let output = world.project.run(&["migrate", "resume", "--back", "--auto-approve"]);
        if output.code == 0 {
            return true;
        }
        let none = ["cannot be taken back", "no migration is under way", "nothing to take back"];
        let says_none = none.iter().any(|it| output.stderr.contains(it));
        assert!(says_none, "{:?} at {}:\n{output}", self.way, self.point);
        false
    }
}

impl World {
    /// Where no stream takes what publishers send, the very next command says so first.
    fn says_that_publishers_fail(&self, point: &str) {
        let parked = |stream: &str| {
            let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null);
            let subjects = info["config"]["subjects"].as_array().cloned().unwrap_or_default();
            subjects.iter().filter_map(Value::as_str).all(|it| it.starts_with("_jsplan."))
        };
        if parked(OLD) && parked(NEW) {
            let output = self.project.run(&["migrate", "status"]).ended(0);
            let first = output.stderr.lines().next().unwrap_or_default();
            assert!(first.starts_with("Publishers are failing"), "{point}:\n{output}");
        }
    }
}

/// Two at a time: most of it is waiting.
fn each(deaths: Vec<Death>) {
    let count = deaths.len();
    let waiting: Mutex<VecDeque<Death>> = Mutex::new(deaths.into());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(death) = next() {
                    death.happens();
                }
            });
        }
    });
    println!("{count} deaths");
}

#[test]
fn by_source_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Source, &["journal-begun", "after-request"]));
}

#[test]
fn by_mirror_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Mirror, &["after-request"]));
}

#[test]
fn through_a_program_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Program, &["before-removal"]));
}

#[test]
fn with_new_subjects_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::NewSubjects, &["after-request"]));
}

#[test]
fn in_parallel_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Parallel, &["after-request"]));
}
