//! Migrations while servers are killed and come back: one that is alone at random moments, or of three
//! the one that leads a stream.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use jsplan::io::{clock::wait_until, server::Server};
use serde_json::Value;

use crate::{
    outcome::Outcome,
    support::{client::ask_once, project::wait_for},
    way::{OLD, World},
};

/// What happens while a migration goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Calm,
    /// The only server is killed now and then.
    Kills,
    /// Of three the one that leads this stream is killed once.
    LeaderOf(&'static str),
}

impl Condition {
    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "nothing else",
            Self::Kills => "the server killed at random moments",
            Self::LeaderOf(OLD) => "the leader of v1 killed",
            Self::LeaderOf(_) => "the leader of v2 killed",
        }
    }
}

/// A migration with all that happens meanwhile; what publishers know is held against what is there.
#[track_caller]
pub(crate) fn run(world: &World, condition: Condition, least: u64) -> Outcome {
    let traffic = world.traffic();
    let (went, logs) = traffic.during(least, || {
        traffic.takes(300);
        let went = beside(world, condition, || world.migrates(&traffic));
        traffic.takes(100);
        went
    });
    let outcome = Outcome::of(world, &went, &logs);
    println!("{}, {}: {outcome}", world.way.name(), condition.name());
    outcome
}

/// Does something while servers are killed.
fn beside<T: Send>(world: &World, condition: Condition, act: impl FnOnce() -> T + Send) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        match condition {
            Condition::Calm => {}
            Condition::Kills => drop(scope.spawn(|| kills(world, &over))),
            Condition::LeaderOf(stream) => drop(scope.spawn(|| kill_leader(world, stream, &over))),
        }
        let over = Over(&over);
        let done = act();
        drop(over);
        done
    })
}

/// Says that it is over, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Lets a random time pass, unless it is over before.
fn passes(milliseconds: std::ops::Range<u64>, over: &AtomicBool) -> bool {
    let time = Duration::from_millis(fastrand::u64(milliseconds));
    wait_until(time, || over.load(SeqCst).then_some(())).is_none()
}

fn kills(world: &World, over: &AtomicBool) {
    const MOST: usize = 4;
    for _ in 0..MOST {
        if !passes(50..1_500, over) {
            break;
        }
        let server = &mut world.servers()[0];
        server.kill();
        server.restart().expect("it starts again");
    }
}

fn kill_leader(world: &World, stream: &str, over: &AtomicBool) {
    let led = |servers: &[Server]| {
        let name = leader(&servers[0], stream)?;
        servers.iter().position(|it| it.dir().ends_with(&name))
    };
    let mut leading = None;
    wait_for("somebody leads it", || {
        leading = led(&world.servers());
        leading.is_some() || over.load(SeqCst)
    });
    let Some(leading) = leading else { return };
    if !passes(0..1_500, over) {
        return;
    }
    world.servers()[leading].kill();
    passes(500..3_000, &AtomicBool::new(false));
    world.servers()[leading].restart().expect("it starts again");
}

/// The name of the server that leads a stream.
fn leader(server: &Server, stream: &str) -> Option<String> {
    let info: Value = ask_once(server, &format!("STREAM.INFO.{stream}"));
    Some(info["cluster"]["leader"].as_str()?.to_owned())
}
