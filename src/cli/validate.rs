//! `jsplan validate`: a spec, checked without a server.

use super::{
    Exit, Failure,
    project::{Project, refused},
};
use crate::render;

/// What `validate` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Shows every finding of the environment's spec, and of the migrations beside it.
pub(crate) fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let mut loaded = project.read_spec()?;
    let (_, found) = project.read_migrations(&mut loaded.sources)?;
    let valid = loaded.desired.is_some() && !refused(&found);
    loaded.findings.extend(found);
    if args.json {
        let json = render::json::findings(&loaded.findings, &loaded.sources);
        project.show(&render::json::line(&json))?;
    } else {
        project.show_findings(&loaded.findings, &loaded.sources);
        if let Some(desired) = loaded.desired.filter(|_| valid) {
            project.terminal.say(&render::talk::valid(&desired));
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Failed })
}
