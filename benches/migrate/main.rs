//! Migrations under load, again and again: what is lost, doubled or reordered, and for how long
//! publishers wait. `cargo bench --bench migrate -- [RUNS] [WORD …]` prints a Markdown table for
//! `docs/reliability.md`; words choose rows by what they hold.
//!
//! `-- copy` holds the speed of a copy against what the server takes for it by itself.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the product")]

mod copy;
#[path = "../../tests/migrate/outcome.rs"]
#[expect(dead_code, reason = "tests ask for more")]
mod outcome;
#[path = "../../tests/migrate/runs.rs"]
mod runs;
#[path = "../../tests/migrate/shelf.rs"]
#[expect(dead_code, reason = "tests ask for more")]
mod shelf;
#[path = "../../tests/migrate/support.rs"]
mod support;
#[path = "../../tests/migrate/traffic.rs"]
mod traffic;
#[path = "../../tests/migrate/way.rs"]
#[expect(dead_code, reason = "tests ask for more")]
mod way;

use jsplan::io::server::Server;

use crate::{
    outcome::Outcome,
    runs::{Condition, run},
    support::server::{cluster, server},
    way::{Gates, NEW, OLD, Way, World},
};

/// Runs of each row, and messages that are acknowledged in each of them.
const RUNS: usize = 10;
const MESSAGES: u64 = 2_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    if words.iter().any(|it| it == "copy") {
        return copy::compare();
    }
    let runs = words.iter().find_map(|it| it.parse().ok()).unwrap_or(RUNS);
    let words: Vec<_> = words.iter().filter(|it| it.parse::<usize>().is_err()).collect();
    println!(
        "| strategy | servers | while it goes on | runs | acknowledged | lost | duplicated | reordered \
         | longest gap between two acknowledgements | longest window without a stream |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    let single = [Condition::Calm, Condition::Kills].map(|it| (1, it));
    let three = [Condition::Calm, Condition::LeaderOf(OLD), Condition::LeaderOf(NEW)];
    let all = single.into_iter().chain(three.map(|it| (3, it)));
    for (servers, condition) in all {
        let name = format!("{servers} {}", condition.name());
        let chosen = |it: &Way| {
            words.iter().all(|word| name.contains(*word) || it.name().contains(word.as_str()))
        };
        let ways: Vec<_> = Way::ALL.into_iter().filter(chosen).collect();
        if !ways.is_empty() {
            rows(&ways, servers, condition, runs);
        }
    }
}

/// The rows of one condition, each printed once it is complete.
fn rows(ways: &[Way], servers: usize, condition: Condition, runs: usize) {
    for way in ways {
        let mut machines = start(servers);
        let mut outcomes = Vec::new();
        for number in 1..=runs {
            let world = World::on(machines, *way, Gates::Both);
            let outcome = run(&world, condition, MESSAGES);
            eprintln!("{number} of {runs}: {} {outcome}", way.name());
            outcomes.push(outcome);
            machines = world.clear();
        }
        println!("{}", row(*way, servers, condition, &outcomes));
    }
}

fn start(servers: usize) -> Vec<Server> {
    if servers == 1 { vec![server()] } else { cluster() }
}

fn row(way: Way, servers: usize, condition: Condition, outcomes: &[Outcome]) -> String {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let gap = outcomes.iter().map(|it| it.gap.as_millis()).max().unwrap_or_default();
    let window = outcomes.iter().filter_map(|it| it.window).max();
    let window = window.map_or_else(|| "none".to_owned(), |it| format!("{it} ms"));
    let again = sum(|it| it.tally.again);
    let again = if again == 0 { String::new() } else { format!(" (and {again} sent again)") };
    format!(
        "| {} | {servers} | {} | {} | {} | {} | {}{again} | {} | {gap} ms | {window} |",
        way.name(),
        condition.name(),
        outcomes.len(),
        sum(|it| it.tally.acknowledged),
        sum(|it| it.tally.lost),
        sum(|it| it.tally.duplicated),
        sum(|it| it.tally.reordered),
    )
}
