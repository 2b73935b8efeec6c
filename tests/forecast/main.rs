//! What a plan says would be lost, and what is lost: random streams and changes on real servers of
//! every supported release.

#![expect(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "figures are printed, and of a change only some kinds concern a choice"
)]

mod bench;
mod case;
mod draw;
#[path = "../oracle/servers.rs"]
#[expect(dead_code, reason = "only the programs are used")]
mod servers;
#[path = "../oracle/strangers.rs"]
mod strangers;

use std::{collections::BTreeMap, env, thread};

use fastrand::Rng;
use jsplan::{forecast::Amount, schema::Release};

use crate::{
    bench::Bench,
    case::{GAP, Outcome, Prepared},
};

/// Draws the same again.
const SEED: &str = "JSPLAN_FORECAST_SEED";

/// How many cases the newest release is given; the others are given a fifth of it.
const CASES: &str = "JSPLAN_FORECAST_CASES";

/// Streams at a time: each plan reads them all.
const BATCH: usize = 75;

#[test]
fn what_a_plan_says_would_be_lost_is_what_is_lost() {
    let seed = number(SEED).unwrap_or(1);
    let cases = number(CASES).unwrap_or(300);
    println!("{SEED}={seed} {CASES}={cases}");
    let programs = servers::programs();
    let newest = programs.len() - 1;
    let found: Vec<(Release, Found)> = thread::scope(|scope| {
        let share = |number: usize| if number == newest { cases } else { cases.div_ceil(5) };
        let threads: Vec<_> = programs
            .iter()
            .enumerate()
            .map(|(number, program)| {
                scope.spawn(move || {
                    bench::on(program, async |bench: &Bench| {
                        (bench.release, all(bench, seed, share(number)).await)
                    })
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().expect("no case breaks the harness")).collect()
    });
    let mut wrong = String::new();
    for (release, found) in &found {
        found.print(*release);
        found.wrong.iter().for_each(|it| wrong += &format!("{release}: {it}\n"));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What came of the cases of one release.
#[derive(Default)]
struct Found {
    outcomes: Vec<Outcome>,
    wrong: Vec<String>,
}

async fn all(bench: &Bench, seed: u64, cases: u64) -> Found {
    let mut random = Rng::with_seed(seed);
    let drawn: Vec<_> = (0..cases).map(|it| draw::case(&mut random, it)).collect();
    let mut found = Found::default();
    for batch in drawn.chunks(BATCH) {
        let mut prepared = Vec::new();
        for case in batch {
            prepared.push(Prepared::begin(bench, case.clone()).await);
        }
        if let Some(last) = batch.last() {
            bench.age(&last.name, GAP).await;
        }
        for it in &prepared {
            it.fill(bench).await;
        }
        for (number, it) in prepared.into_iter().enumerate() {
            match it.judge(bench).await {
                Ok(outcome) => found.outcomes.push(outcome),
                Err(why) => found.wrong.push(format!("{}: {why}", batch[number].name)),
            }
        }
        bench.clear(batch).await;
    }
    found
}

impl Found {
    fn print(&self, release: Release) {
        let mut kinds: BTreeMap<&str, Figures> = BTreeMap::new();
        for outcome in &self.outcomes {
            kinds.entry(outcome.kind).or_default().add(outcome);
        }
        for (kind, Figures { cases, exact, at_most, lost, over }) in kinds {
            println!("{release} | {kind} | {cases} | {exact} | {at_most} | {lost} | {over}");
        }
        println!("{release}: {} right, {} wrong", self.outcomes.len(), self.wrong.len());
    }
}

#[derive(Default)]
struct Figures {
    cases: usize,
    exact: usize,
    at_most: usize,
    lost: u64,
    /// The most that was said too much.
    over: u64,
}

impl Figures {
    fn add(&mut self, Outcome { predicted, measured, .. }: &Outcome) {
        self.cases += 1;
        self.lost += measured;
        match predicted {
            Amount::Nothing | Amount::Exactly(_) => self.exact += 1,
            Amount::AtMost(number) => {
                self.at_most += 1;
                self.over = self.over.max(number - measured);
            }
            Amount::Unknown(_) => {}
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
