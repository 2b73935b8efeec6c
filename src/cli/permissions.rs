//! `jsplan permissions`: what the users of an environment's server must be allowed.

use super::{Exit, Failure, project::Project};
use crate::{
    permissions::{self, Ground, Role},
    render,
};

/// What `permissions` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose: planner, applier, destroyer, drift or verifier
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// For a server's configuration, as JSON, or as a command of `nsc`
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "conf")]
    format: Format,
    /// A stream whose messages the verifier may read, instead of all of the spec; may be repeated
    #[arg(long = "stream", value_name = "NAME")]
    streams: Vec<String>,
    /// Names of the spec and the state instead of wildcards: for an account that others use too
    #[arg(long)]
    only_listed: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Conf,
    Json,
    Nsc,
}

/// Prints the permissions of one role. No server is asked.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let (desired, _) = project.load()?;
    let Args { role, format, streams, only_listed } = args;
    let environment = &desired.environment;
    let (prefix, inbox) = project.subjects(&desired)?;
    let streams = streams.iter().cloned().collect();
    let owned = if *only_listed {
        let state = project.store(&environment.name).load().await.map_err(Failure::of_store)?;
        state.resources.into_keys().collect()
    } else {
        Default::default()
    };
    let prefixes = permissions::prefixes(&prefix);
    let ground = Ground { prefixes, inbox, streams, owned, only_listed: *only_listed };
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
