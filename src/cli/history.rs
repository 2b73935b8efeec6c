//! `jsplan history`: what was applied before. No server is asked.

use super::{Exit, Failure, project::Project, rollback};
use crate::{
    history::{self, Entry},
    io::store::Store,
    render,
    state::State,
};

/// What `history` takes.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Show what led to this serial: each field that differs from the state before
    serial: Option<u64>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Lists the changes of the state, or shows one.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    match args.serial {
        Some(serial) => one(project, serial, args).await,
        None => list(project, args).await,
    }
}

/// Every change that is kept, the latest first.
async fn list(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let environment = project.environment()?;
    let store = project.store().await?;
    let state = project.state().await?;
    let mut applies = Vec::new();
    for serial in earlier(store, state.serial).await? {
        match store.load_kept(serial).await {
            Ok(kept) => applies.push((serial, kept.last_apply)),
            Err(error) => {
                // The others can be gone back to all the same.
                project.terminal.say(&render::talk::failure(&error.to_string(), None));
                applies.push((serial, None));
            }
        }
    }
    if state.serial > 0 {
        applies.push((state.serial, state.last_apply.clone()));
    }
    let entries = history::entries(applies.iter().map(|(serial, it)| (*serial, it.as_ref())));
    if args.json {
        project.show(&render::json::line(&render::json::history(&state, &entries)))?;
        return Ok(Exit::Done);
    }
    project.show(&render::history::table(&state, &entries))?;
    if !entries.is_empty() {
        project.terminal.say(&render::history::choose(&project.options(&environment)));
    }
    Ok(Exit::Done)
}

async fn one(project: &Project, serial: u64, args: &Args) -> Result<Exit, Failure> {
    let store = project.store().await?;
    let present = store.load().await.map_err(Failure::of_store)?;
    let after = rollback::kept(store, &present, serial).await?;
    let serials = earlier(store, serial).await?;
    let before = match serials.last() {
        Some(serial) => Some(store.load_kept(*serial).await.map_err(Failure::of_store)?),
        None => None,
    };
    let empty = State::new(&present.environment);
    let differences = match &before {
        Some(before) => history::between(before, &after),
        None if serial == 1 => history::between(&empty, &after),
        None => Vec::new(),
    };
    let led = before.iter().chain([&after]).map(|it| (it.serial, it.last_apply.as_ref()));
    let before = before.as_ref().map(|it| it.serial);
    let none = || Entry { serial, apply: None };
    let entry = history::entries(led).into_iter().next().unwrap_or_else(none);
    let shown = if args.json {
        render::json::line(&render::json::change(&present, &entry, before, &differences))
    } else {
        render::history::one(&present, &entry, before, &differences)
    };
    project.show(&shown)?;
    Ok(Exit::Done)
}

/// The kept serials before one, the oldest first.
async fn earlier(store: &Store, serial: u64) -> Result<Vec<u64>, Failure> {
    let mut serials = store.kept().await.map_err(Failure::of_store)?;
    serials.retain(|it| *it < serial);
    Ok(serials)
}
