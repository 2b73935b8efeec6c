//! `jsplan permissions`: what the users of an environment's server must be allowed.

use std::collections::BTreeSet;

use super::{Exit, Failure, project::Project};
use crate::{
    io::nats,
    permissions::{self, Ground, Part, Role},
    render,
    spec::{Keeping, Kept},
};

/// What `permissions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose: planner, applier, destroyer, drift, verifier or migrator
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// For a server's configuration, as JSON, or as a command of `nsc`
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "conf")]
    format: Format,
    /// A stream whose messages may be read and counted, whatever the role; may be repeated. Without
    /// it a verifier may read those of the spec
    #[arg(long = "stream", value_name = "NAME")]
    streams: Vec<String>,
    /// Names of the spec and the state instead of wildcards: for an account that others use too
    #[arg(long)]
    only_listed: bool,
    /// Of the user of `[state.server]`, where the state has a server of its own
    #[arg(long)]
    state: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Conf,
    Json,
    Nsc,
}

/// Prints the permissions of one role. No server is asked, unless names are read from a shared state.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let (desired, _) = project.load()?;
    let Args { role, format, streams, only_listed, state } = args;
    let environment = &desired.environment;
    let (server, part) = match (&environment.keeping, state) {
        (Keeping::Kv(Kept { server: Some(own), .. }), true) => (own.as_ref().clone(), Part::State),
        (Keeping::Kv(Kept { server: Some(_), .. }), false) => {
            (project.connection(environment), Part::Resources)
        }
        (Keeping::Kv(Kept { server: None, .. }), false) => {
            (project.connection(environment), Part::Both)
        }
        (Keeping::File, false) => (project.connection(environment), Part::Resources),
        (Keeping::Kv(_) | Keeping::File, true) => {
            return Err(Failure::new("the state has no server of its own")
                .help("leave out `--state`: one user does both"));
        }
    };
    let (prefix, inbox) = nats::subjects(&server).map_err(Failure::of_server)?;
    // A stream that messages are moved from may be known to the state alone.
    let moves = *role == Role::Migrator && matches!(environment.keeping, Keeping::File);
    let owned = if *only_listed || moves {
        let state = project.store().await?.load().await.map_err(Failure::of_store)?;
        state.resources.into_keys().collect()
    } else {
        BTreeSet::new()
    };
    let ground = Ground {
        prefixes: permissions::prefixes(&prefix),
        inbox,
        streams: streams.iter().cloned().collect(),
        owned,
        only_listed: *only_listed,
        part,
    };
    let lines = permissions::lines(&desired, &ground, *role);
    project.show(&match format {
        Format::Conf => render::permissions::conf(environment, *role, &ground, &lines),
        Format::Nsc => render::permissions::nsc(environment, *role, &ground, &lines),
        Format::Json => {
            render::json::line(&render::permissions::json(environment, *role, &ground, &lines))
        }
    })?;
    Ok(Exit::Done)
}
