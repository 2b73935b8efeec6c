//! `jsplan drift`: what is live against what was last applied.

use super::{
    Exit, Failure,
    project::{Project, refused},
};
use crate::{drift, render, target};

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
    let wrong = target::check(&gathered.desired, &gathered.state, &gathered.live.server);
    if refused(&wrong) {
        project.show_findings(&wrong, &gathered.sources);
        return Err(Failure::shown());
    }
    let report = drift::compare(&gathered.desired, &gathered.state, &gathered.live);
    let shown = if args.json {
        render::json::line(&render::json::drift(&report, &gathered.state, &gathered.live))
    } else {
        let options = project.options(&gathered.desired.environment.name);
        render::drift(&report, &gathered.desired, &gathered.state, &gathered.live, &options)
    };
    project.show(&shown)?;
    Ok(if report.drifted() && !args.exit_zero { Exit::Changes } else { Exit::Done })
}
