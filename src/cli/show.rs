//! `jsplan show`: the state, or a saved plan. No server is asked.

use std::path::PathBuf;

use super::{Exit, Failure, project::Project};
use crate::{io::files, plan, render};

/// What `show` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A saved plan; without it the state of the environment is shown
    file: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Shows a plan file, or the state.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let shown = match &args.file {
        Some(path) => {
            let text = files::read(&project.dir.join(path))?;
            let plan = plan::file::read(&text)
                .map_err(|it| Failure::new(format!("`{}`: {it}", path.display())))?;
            if args.json {
                render::json::line(&render::json::plan(&plan))
            } else {
                render::saved(&plan)
            }
        }
        None => {
            let state = project.store().await?.load().await.map_err(Failure::of_store)?;
            project.tell_cut_short(&state, None);
            if args.json {
                render::json::line(&render::json::state(&state))
            } else {
                render::state(&state)
            }
        }
    };
    project.show(&shown)?;
    Ok(Exit::Done)
}
