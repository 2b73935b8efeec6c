//! demo
use super::{Exit, Failure, project::Project};
/// x
#[derive(Debug, clap::Args)]
pub(crate) struct Args { }
/// x
pub(crate) fn run(_: &Project, _: &Args) -> Result<Exit, Failure> { Ok(Exit::Done) }
