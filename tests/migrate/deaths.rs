//! A migration that dies: at points of its way, with publishers at work, and gone on with or taken back
//! by the next command.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use jsplan::io::fault::VARIABLE;
use serde_json::{Value, json};

use crate::{
    shelf::{self, Tally},
    way::{Gates, NEW, OLD, Way, Went, World},
};

/// Whether it dies at every point, and goes both ways from each.
const EVERYWHERE: &str = "JSPLAN_MIGRATE_EVERYWHERE";

const POINTS: &[&str] =
    &["journal-begun", "before-request", "after-request", "after-done", "before-removal"];

/// How often somebody gave a stream its subjects by hand.
static BY_HAND: AtomicUsize = AtomicUsize::new(0);

/// The command that dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The one that begins, and goes on to the soak.
    First,
    /// The one behind the soak, which retires the old stream.
    Last,
    /// The one that takes it back from there.
    Back,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Forward,
    Back,
    /// To the last gate, and from there back.
    ThereAndBack,
    /// The same, by somebody who gives the new stream its subjects first where no stream has them.
    ByHandAndBack,
}

/// A death, and where it is gone to from there.
struct Death {
    way: Way,
    command: Command,
    point: String,
    then: Then,
}

impl Command {
    fn gates(self) -> Gates {
        match self {
            Self::First => Gates::None,
            Self::Last | Self::Back => Gates::Last,
        }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Self::First => &["migrate", "apply", "--auto-approve"],
            Self::Last => &["migrate", "apply", "--auto-approve", "--approve", "0001"],
            Self::Back => &["migrate", "rollback", "0001", "--auto-approve"],
        }
    }

    /// Points between which something changes, on the server or on disk, each come to as often every
    /// time: the ends of requests that are sent together may be noted together.
    fn points(self) -> impl Iterator<Item = &'static str> {
        POINTS.iter().copied().filter(move |it| self == Self::First || *it != "after-done")
    }

    /// Goes to where it is the next one.
    fn comes(self, world: &World) {
        if self != Self::First {
            world.goes_before("settled", &mut Went::default());
        }
    }
}

/// The points that a command comes to, each with how often it was come to by then.
fn way_of(way: Way, command: Command, points: &[&str]) -> Vec<String> {
    let world = World::single(way, command.gates());
    command.comes(&world);
    let record = world.project.path("record");
    let order = format!("record={}", record.display());
    world.project.run_with(&[(VARIABLE, &order)], command.words()).ended(0);
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

/// Deaths of a command at some points of a way, in turns gone on with and taken back.
fn deaths(way: Way, command: Command, points: &[&str]) -> Vec<Death> {
    let everywhere = env::var_os(EVERYWHERE).is_some();
    let all: Vec<_> = command.points().collect();
    let points = way_of(way, command, if everywhere { &all } else { points });
    // Where subjects change hands at a time, what is half done matters most.
    let both = everywhere || (way.takes_subjects() && command == Command::First);
    let thens = |number: usize| match (command, both, number % 2) {
        (Command::Back, ..) => vec![Then::Back],
        (_, true, _) => vec![Then::Forward, Then::Back],
        (_, false, 0) => vec![Then::Forward],
        (_, false, _) => vec![Then::Back],
    };
    let each = points.into_iter().enumerate().flat_map(|(number, point)| {
        thens(number).into_iter().map(move |then| Death {
            way,
            command,
            point: point.clone(),
            then,
        })
    });
    each.collect()
}

impl Death {
    fn happens(&self) {
        let Self { way, command, point, then } = self;
        let gates = match then {
            Then::Forward | Then::Back => command.gates(),
            Then::ThereAndBack | Then::ByHandAndBack => Gates::Last,
        };
        let world = World::single(*way, gates);
        let traffic = world.traffic();
        let (back, logs) = traffic.during(300, || {
            traffic.takes(100);
            command.comes(&world);
            let mut moved = way.takes_subjects();
            if *command == Command::Last && !moved {
                traffic.move_one_by_one();
                moved = true;
            }
            let order = format!("abort={point}");
            let died = world.project.run_with(&[(VARIABLE, &order)], command.words());
            assert_eq!(died.code, -1, "{way:?} does not come to {point}:\n{died}");
            world.says_that_publishers_fail(point);
            let back = match then {
                Then::Forward => false,
                // One that died behind its end has nothing left to take back.
                Then::Back => self.goes_back(&world) || *command == Command::Back,
                Then::ThereAndBack | Then::ByHandAndBack => {
                    if *then == Then::ByHandAndBack && world.refuses_publishers() {
                        world.is_bound_by_hand();
                        traffic.takes(50);
                        BY_HAND.fetch_add(1, Ordering::Relaxed);
                    }
                    world.goes_before("settled", &mut Went::default());
                    traffic.takes(50);
                    world.project.run(Command::Back.words()).ended(0);
                    true
                }
            };
            if !back {
                let mut went = Went::default();
                if !moved {
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
    /// Somebody gives the new stream its subjects.
    fn is_bound_by_hand(&self) {
        let info = self.ask(&format!("STREAM.INFO.{NEW}"), &Value::Null);
        let mut config = info["config"].clone();
        config["subjects"] = json!(["old.>"]);
        let said = self.ask(&format!("STREAM.UPDATE.{NEW}"), &config);
        assert!(said["error"].is_null(), "{said}");
    }

    /// Whether no stream takes what publishers send.
    fn refuses_publishers(&self) -> bool {
        let parked = |stream: &str| {
            let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null);
            let subjects = info["config"]["subjects"].as_array().cloned().unwrap_or_default();
            subjects.iter().filter_map(Value::as_str).all(|it| it.starts_with("_jsplan."))
        };
        parked(OLD) && parked(NEW)
    }

    /// Where no stream takes what publishers send, the very next command says so first.
    fn says_that_publishers_fail(&self, point: &str) {
        if self.refuses_publishers() {
            assert_eq!(self.status()["publishers_refused"], true, "{point}");
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
    each(deaths(Way::Source, Command::First, &["journal-begun", "after-request"]));
}

#[test]
fn by_mirror_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Mirror, Command::First, &["after-request"]));
}

#[test]
fn through_a_program_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Program, Command::First, &["before-removal"]));
}

#[test]
fn with_new_subjects_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::NewSubjects, Command::First, &["after-request"]));
}

#[test]
fn in_parallel_it_is_gone_on_with_or_taken_back_wherever_it_dies() {
    each(deaths(Way::Parallel, Command::First, &["after-request"]));
}

#[test]
fn the_old_stream_is_retired_wherever_it_dies() {
    for way in [Way::Source, Way::NewSubjects] {
        each(deaths(way, Command::Last, &["journal-begun", "after-request"]));
    }
}

#[test]
fn it_is_taken_back_wherever_that_dies() {
    each(deaths(Way::Source, Command::Back, &["journal-begun", "after-request"]));
    each(deaths(Way::Mirror, Command::Back, &["after-request"]));
}

/// Deaths of the first command, and from there to the last gate and back.
fn there_and_back(way: Way, then: Then) {
    let death = |point| Death { way, command: Command::First, point, then };
    each(way_of(way, Command::First, &["after-request"]).into_iter().map(death).collect());
}

#[test]
fn what_the_new_stream_took_before_anybody_came_again_goes_back_too() {
    there_and_back(Way::Source, Then::ThereAndBack);
    there_and_back(Way::Mirror, Then::ThereAndBack);
}

#[test]
fn what_a_stream_took_that_was_bound_by_hand_goes_back_too() {
    there_and_back(Way::Source, Then::ByHandAndBack);
    assert!(BY_HAND.load(Ordering::Relaxed) > 0, "publishers were never without a stream");
}
