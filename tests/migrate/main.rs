//! Migrations of real streams while publishers are at work: whatever happens meanwhile, what was
//! acknowledged is there once and in order.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

mod back;
mod deaths;
mod interrupted;
mod killed;
mod outcome;
mod places;
mod runs;
mod shelf;
mod support;
mod traffic;
#[expect(dead_code, reason = "the bench asks for more")]
mod way;
mod whole;
