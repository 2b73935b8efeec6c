//! A saved plan on its way to being applied: read, and checked against all that may have moved.

use std::path::Path;

use super::{Args, expected, show};
use crate::{
    cli::{
        Failure,
        plan::Asked,
        project::{Gathered, Project},
    },
    io::{files, store::Store},
    plan::{
        Plan,
        file::{self, Saved},
        stale::Refusal,
    },
    render,
    state::State,
};

/// The plan that a file holds.
pub(in crate::cli) fn read(project: &Project, path: &Path) -> Result<Saved, Failure> {
    let text = files::read(&project.dir.join(path))?;
    file::read(&text).map_err(|it| {
        Failure::new(format!("`{}`: {it}", path.display()))
            .help("plan again: `jsplan plan --out FILE`")
    })
}

/// The same, where nothing is asked that the file has answered.
pub(super) fn read_plain(project: &Project, path: &Path, ask: &Asked) -> Result<Saved, Failure> {
    if ask.is_plain() {
        return read(project, path);
    }
    Err(Failure::new("a saved plan is applied as it is")
        .help("give `--target`, `--allow` and the like to `jsplan plan --out FILE`"))
}

/// A saved plan is refused where it is not what is asked for, or the world it was made from has
/// moved on; else it is shown.
pub(super) async fn checked(
    project: &Project,
    args: &Args,
    saved: Saved,
    gathered: &Gathered,
    store: &Store,
) -> Result<Plan, Failure> {
    let Gathered { desired, state, live, .. } = gathered;
    let plan = &saved.plan;
    let environment = &desired.environment;
    if plan.environment != environment.name {
        let (made, is) = (plan.environment.clone(), environment.name.clone());
        return Err(failure(&Refusal::Environment { made, is }));
    }
    let refused = |it: Refusal| failure(&it);
    for (keys, asks) in [
        (&args.require_signed_by, "`--require-signed-by`"),
        (&environment.require_signed_by, "`[environment] require_signed_by`"),
    ] {
        saved.signed_by_one_of(keys, asks).map_err(refused)?;
    }
    expected(args, plan)?;
    let ahead = plan.young(&live.at, args.max_age).map_err(refused)?;
    plan.follows(state, next(store, state, plan).await.as_ref()).map_err(refused)?;
    plan.meets(&live.server).map_err(refused)?;
    plan.moves_as(desired).map_err(refused)?;
    project.stop_at(&gathered.stops, &gathered.sources)?;
    let moved = plan.moved(desired, state, live);
    if !moved.is_empty() {
        project.terminal.say(&render::moved(&moved));
        let (all, verb) = match moved.len() {
            1 => ("a resource".to_owned(), "has"),
            more => (format!("{more} resources"), "have"),
        };
        let message = format!("the saved plan is stale: {all} {verb} moved since it was made");
        return Err(Failure::new(message).help("plan again; nothing was changed"));
    }
    if let Some(ahead) = ahead {
        project.terminal.say(&render::talk::from_the_future(ahead));
    }
    show(project, &render::checked(&saved, &live.server, &live.at))?;
    project.show_findings(&saved.plan.findings, &saved.sources);
    Ok(saved.plan)
}

/// The state that followed the one a plan was made from, as far as it was kept.
pub(in crate::cli) async fn next(store: &Store, state: &State, plan: &Plan) -> Option<State> {
    let serial = plan.serial.checked_add(1)?;
    if state.serial == serial {
        return Some(state.clone());
    }
    store.load_kept(serial).await.ok()
}

/// A refusal with its remedy.
pub(super) fn failure(refusal: &Refusal) -> Failure {
    Failure::new(refusal.to_string()).help(format!("{}; nothing was changed", refusal.help()))
}
