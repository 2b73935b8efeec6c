//! `jsplan validate`: a spec, checked without a server.

use super::{Exit, Failure, project::Project};
use crate::render;

/// What `validate` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Shows every finding of the environment's spec.
pub(crate) fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let loaded = project.read_spec()?;
    let valid = loaded.desired.is_some();
    if args.json {
        let json = render::json::findings(&loaded.findings, &loaded.sources);
        if let Err(closed) = project.terminal.print(&render::json::line(&json)) {
            return Ok(closed.into());
        }
    } else {
        project.show_findings(&loaded.findings, &loaded.sources);
        if let Some(desired) = &loaded.desired {
            let count = desired.resources.len();
            let name = &desired.environment.name;
            project.terminal.say(&format!("The spec of {name} is valid: {count} resources.\n"));
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Failed })
}
