//! `jsplan sandbox …`: a throw-away nats-server.
use super::{Exit, Failure, project::Project};
/// x
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command { /// Up
 Up }
/// x
pub(crate) fn run(_: &Project, _: &Command) -> Result<Exit, Failure> { Ok(Exit::Done) }
