//! The rows against real servers of every supported release: what they fill in, what they take in
//! place, what they refuse.

#![expect(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "counts are printed, and a new case fails by its name"
)]

mod account;
#[path = "../suite/support/client.rs"]
#[expect(dead_code, reason = "a cluster is asked few things")]
mod client;
mod cluster;
mod consumer;
mod consumer_draw;
mod consumer_rows;
mod defaults;
mod generate;
mod levels;
#[path = "../suite/support/project.rs"]
#[expect(dead_code, reason = "only plan and apply are run")]
mod project;
mod random;
mod readback;
mod servers;
mod strangers;
mod transitions;
mod ways;
