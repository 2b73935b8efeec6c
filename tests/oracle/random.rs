//! Random streams and random changes of them, through the whole of jsplan.

use std::{collections::BTreeMap, env};

use jsplan::schema::Release;

use crate::{
    account::{Account, Outcome},
    generate::Draw,
    servers::each,
};

/// Draws the same again.
const SEED: &str = "JSPLAN_ORACLE_SEED";

/// How many cases each release is given: declarations that are compared, removals apart.
const CASES: &str = "JSPLAN_ORACLE_CASES";

const NAMES: &[&str] = &["S1", "S2", "S3", "S4", "S5"];

#[test]
fn what_is_predicted_of_random_streams_is_what_the_server_does() {
    let (seed, cases) = asked();
    let found = each(async |oracle| {
        let mut draw = Draw::new(seed, oracle.release, NAMES);
        let mut account = Account::new(oracle);
        let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut case = 0;
        while case < cases {
            let name = draw.name();
            let config = match account.declared(name) {
                Some(_) if draw.once_in(6) => {
                    account.remove(name).await;
                    continue;
                }
                Some(config) => draw.changed(&config.clone()),
                None => draw.stream(name),
            };
            case += 1;
            match account.declare(name, &config).await {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(why) => wrong.push(format!("case {case}, {name}: {why}\n    wanted {config}")),
            }
        }
        (outcomes, wrong)
    });
    report(&found);
}

/// The seed, and how many cases each release is given.
pub(crate) fn asked() -> (u64, u64) {
    // The same for everybody, so that a change that fails is the change that is wrong.
    let seed = number(SEED).unwrap_or(1);
    let cases = number(CASES).unwrap_or(500);
    println!("{SEED}={seed}: {cases} cases for each release");
    (seed, cases)
}

/// What came of the cases of one release, and what was wrong.
pub(crate) type Found = (BTreeMap<Outcome, usize>, Vec<String>);

/// Says what came of the cases, and fails where anything was wrong.
pub(crate) fn report(found: &[(Release, Found)]) {
    for (release, (outcomes, wrong)) in found {
        println!("{release}: {outcomes:?}, {} wrong", wrong.len());
    }
    assert_right(found);
}

/// Fails where anything was wrong, and says what.
pub(crate) fn assert_right(found: &[(Release, Found)]) {
    let mut report = String::new();
    for (release, (_, wrong)) in found {
        for why in wrong {
            report.push_str(&format!("{release}: {why}\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
