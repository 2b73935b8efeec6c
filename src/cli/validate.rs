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
        project.show(&render::json::line(&json))?;
    } else {
        project.show_findings(&loaded.findings, &loaded.sources);
        if let Some(desired) = &loaded.desired {
            project.terminal.say(&render::talk::valid(desired));
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Failed })
}
