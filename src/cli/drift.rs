//! `jsplan drift`: what is live against what was last applied.

use super::{Exit, Failure, project::Project};
use crate::{drift, render};

/// What `drift` takes.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// End with 0 where there is drift
    #[arg(long)]
    exit_zero: bool,
}

/// Compares, shows, and ends with 2 where there is drift.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let gathered = project.gather("drift").await?;
    let report = drift::compare(&gathered.desired, &gathered.state, &gathered.live);
    let shown = if args.json {
        render::json::line(&render::json::drift(&report, &gathered.desired.environment.name))
    } else {
        render::drift(&report, &gathered.desired, &gathered.state, &gathered.live)
    };
    if let Err(closed) = project.terminal.print(&shown) {
        return Ok(closed.into());
    }
    Ok(if report.drifted() && !args.exit_zero { Exit::Changes } else { Exit::Done })
}
