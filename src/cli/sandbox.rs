//! `jsplan sandbox …`: a throw-away nats-server, or a cluster of three, in `state/sandbox`.

use std::path::PathBuf;

use super::{Exit, Failure, project::Project};
use crate::{
    io::{
        binary::{self, FETCHED},
        sandbox::{Nodes, Options, Sandbox, Status},
    },
    schema::{OLDEST, Release},
    units::count_of,
};

/// What can be done with a sandbox.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Start it; it runs until `down`
    Up {
        /// How many servers: 1, or 3 in a cluster
        #[arg(long, value_name = "N", default_value = "1", value_parser = nodes)]
        nodes: Nodes,
        /// The first server's port for clients; 0 takes free ones
        #[arg(long, default_value_t = 4222)]
        port: u16,
        /// The nats-server to use
        #[arg(long, value_name = "FILE")]
        nats_server: Option<PathBuf>,
        /// The release of nats-server to use, fetched unless it is there
        #[arg(long, value_name = "RELEASE", conflicts_with = "nats_server", value_parser = release)]
        release: Option<Release>,
    },
    /// Say whether it runs, and where
    Status,
    /// End it, and remove what it stored
    Down,
}

fn nodes(text: &str) -> Result<Nodes, String> {
    match text {
        "1" => Ok(Nodes::One),
        "3" => Ok(Nodes::Three),
        _ => Err("a sandbox has 1 server, or 3 in a cluster".to_owned()),
    }
}

fn release(text: &str) -> Result<Release, String> {
    let release = Release::parse(text);
    if release >= OLDEST && release.to_string() == text {
        return Ok(release);
    }
    Err(format!("write a release from {OLDEST} on in full, such as `{FETCHED}`"))
}

/// Runs one of the sandbox commands.
pub(crate) fn run(project: &Project, command: &Command) -> Result<Exit, Failure> {
    let folder = project.dir.join("state").join("sandbox");
    match command {
        Command::Up { nodes, port, nats_server, release } => {
            let mut say = |it: &str| project.terminal.say(&format!("{it}\n"));
            let binary = match release {
                Some(release) => binary::release(*release, &mut say)?,
                None => binary::find(nats_server.as_deref(), &mut say)?,
            };
            let options = Options { nodes: *nodes, port: *port, binary };
            let sandbox = Sandbox::up(&folder, &options)?;
            for note in &sandbox.notes {
                project.terminal.say(&format!("{note}\n"));
            }
            describe(project, &sandbox)
        }
        Command::Status => describe(project, &Sandbox::read(&folder)?),
        Command::Down => {
            let ended = Sandbox::down(&folder)?;
            for note in &ended.notes {
                project.terminal.say(&format!("{note}\n"));
            }
            let servers = count_of(ended.servers, "server");
            let text = format!("Ended {servers}; what they stored is gone.\n");
            project.terminal.say(&text);
            Ok(Exit::Done)
        }
    }
}

/// The url goes to stdout, so that a script can use it; the talk around it does not.
fn describe(project: &Project, sandbox: &Sandbox) -> Result<Exit, Failure> {
    let status = match sandbox.status() {
        Status::Running => "runs",
        Status::HalfStarted => "was interrupted while it started",
        Status::Partly => "runs in part",
        Status::Stopped => "does not run",
    };
    let servers = count_of(sandbox.nodes.len(), "server");
    project.terminal.say(&format!(
        "A sandbox of {servers}, nats-server {}, {status}. Use it with:\n    \
         jsplan plan --env ENV --server {}\nEnd it with:\n    jsplan sandbox down\n",
        sandbox.version,
        sandbox.url()
    ));
    project.show(&format!("{}\n", sandbox.url()))?;
    Ok(Exit::Done)
}
