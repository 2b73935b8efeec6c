//! Whatever an account holds is imported, and then a plan is empty: random accounts on real servers
//! of every supported release, into specs of several makes.

#![expect(clippy::print_stdout, reason = "the seed and the counts are what a run is for")]

mod account;
#[path = "../oracle/generate.rs"]
#[expect(dead_code, reason = "the oracle draws changes too")]
mod generate;
#[path = "../oracle/servers.rs"]
#[expect(dead_code, reason = "the oracle sends what it predicts")]
mod servers;
#[path = "../oracle/strangers.rs"]
mod strangers;

use std::{collections::BTreeMap, env};

use crate::{
    account::{Account, Spec},
    servers::each,
};

/// Draws the same again.
const SEED: &str = "JSPLAN_ROUNDTRIP_SEED";

/// How many accounts each release is given.
const ACCOUNTS: &str = "JSPLAN_ROUNDTRIP_ACCOUNTS";

#[test]
fn a_random_account_is_imported_and_plans_empty() {
    let seed = number(SEED).unwrap_or(1);
    let accounts = number(ACCOUNTS).unwrap_or(300);
    println!("{SEED}={seed}: {accounts} accounts for each release");
    let found = each(async |oracle| {
        let mut account = Account::new(oracle, seed);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        for number in 0..accounts {
            account.fill().await;
            let spec = Spec::ALL[usize::try_from(number % 4).expect("it is small")];
            match account.import(spec).await {
                Ok(imported) => {
                    for (kind, some) in imported {
                        *counts.entry(kind).or_default() += some;
                    }
                }
                Err(why) => wrong.push(format!("account {number}, {spec:?}: {why}")),
            }
        }
        (counts, wrong)
    });
    let mut report = String::new();
    for (release, (counts, wrong)) in &found {
        println!("{release}: {counts:?}, {} wrong", wrong.len());
        for why in wrong {
            report.push_str(&format!("{release}: {why}\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
