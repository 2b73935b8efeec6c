//! `jsplan show`: the state, or a saved plan. No server is asked.

use std::path::{Path, PathBuf};

use super::{
    Exit, Failure,
    apply::saved::{next, read},
    project::Project,
};
use crate::{
    io::store::Store,
    plan::{Plan, stale::Refusal},
    render,
};

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
        Some(path) => plan(project, args, path).await?,
        None => {
            let state = project.state().await?;
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

/// A saved plan, and whether it can still be applied where its state is at hand.
async fn plan(project: &Project, args: &Args, path: &Path) -> Result<String, Failure> {
    let saved = read(project, path)?;
    let standing = standing(project, &saved.plan).await;
    if args.json {
        let refusal = standing.and_then(Result::err).map(|it| it.to_string());
        return Ok(render::json::line(&render::json::saved(&saved, refusal.as_deref())));
    }
    Ok(render::saved(&saved, standing.as_ref()))
}

/// What the state tells of a plan; `None` where no state is at hand.
async fn standing(project: &Project, plan: &Plan) -> Option<Result<(), Refusal>> {
    // Offline: of a state in a bucket nothing is known here.
    let store = Store::new(&project.dir, &plan.environment);
    let state = store.load().await.ok().filter(|it| it.serial > 0)?;
    let next = next(&store, &state, plan).await;
    Some(plan.follows(&state, next.as_ref()))
}
