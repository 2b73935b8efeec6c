//! The command line: arguments in, an exit code out.

mod apply;
mod demo;
mod drift;
mod fmt;
mod history;
mod import;
mod lock;
mod migrate;
mod permissions;
mod plan;
mod project;
pub mod reference;
mod rollback;
mod sandbox;
mod schema;
mod show;
mod state;
mod validate;

use std::{error::Error, ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::io::{
    nats, store,
    terminal::{Color, Terminal},
};

/// How a command ended. Nothing else is ever returned to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed or refused; usage errors too.
    Failed,
    /// Changes are present (`plan --detailed-exitcode`), or drift is (`drift`).
    Changes,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Changes => Self::from(2),
        }
    }
}

/// Plan and apply NATS JetStream from versioned TOML specs.
#[derive(Parser)]
#[command(name = "jsplan", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `jsplan demo`: it shows the main job on a throw-away server.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes. It has no `Debug`: an address may hold a password.
#[derive(Clone, Default, clap::Args)]
pub(crate) struct Global {
    /// The environment: the name of a spec in `environments/`
    #[arg(long, global = true, value_name = "NAME", env = "JSPLAN_ENV")]
    env: Option<String>,
    /// Work in this folder instead of the current one
    #[arg(long, global = true, value_name = "DIR")]
    chdir: Option<PathBuf>,
    /// Connect by this context of the `nats` CLI instead of the spec's `[server]`
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "server")]
    context: Option<String>,
    /// Connect to this url, or these with commas between, instead of the spec's `[server]`
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// When to colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// The same as `--color never`
    #[arg(long, global = true, conflicts_with = "color")]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a spec without a server; every mistake is shown
    Validate(validate::Args),
    /// Lay out specs in the one style, comments kept
    Fmt(fmt::Args),
    /// Show what an apply would do
    Plan(plan::Args),
    /// Carry out a plan: a saved one, or plan and ask
    Apply(apply::Args),
    /// Compare what is live with what was last applied
    Drift(drift::Args),
    /// Take what is live into the spec and the state; nothing on the server is changed
    Import(import::Args),
    /// Show the state, or a saved plan
    Show(show::Args),
    /// List what was applied before, or show one change of the state
    History(history::Args),
    /// Go back to an earlier state, by an ordinary plan
    Rollback(rollback::Args),
    /// Move the messages of a stream to another one, in versioned steps
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Look at the state, and mend it
    #[command(subcommand)]
    State(state::Command),
    /// Look at the lock of the state
    #[command(subcommand)]
    Lock(lock::Command),
    /// Take the lock away from a holder that is gone
    ForceUnlock(lock::Force),
    /// Print what the users of the server must be allowed, role by role; no server is asked
    Permissions(permissions::Args),
    /// Run a throw-away nats-server, or a cluster of three
    #[command(subcommand)]
    Sandbox(sandbox::Command),
    /// Print the JSON Schema of a spec, for editors
    Schema,
    /// Show the main job on a throw-away server, start to end
    Demo(demo::Args),
}

/// Why a command stopped, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn help(mut self, remedy: impl Into<String>) -> Self {
        self.help = Some(remedy.into());
        self
    }

    /// The same, with this help where there is none yet.
    fn or_help(self, remedy: &str) -> Self {
        let help = self.help.or_else(|| Some(remedy.to_owned()));
        Self { help, ..self }
    }

    /// Findings were shown already; this only ends the command.
    fn shown() -> Self {
        Self::new("")
    }

    /// What the server or the network did, with its remedy.
    fn of_server(error: nats::error::Error) -> Self {
        let help = error.help();
        Self { help, ..Self::from(error) }
    }

    /// What is wrong with the store, with its remedy.
    fn of_store(error: store::Error) -> Self {
        let help = match &error {
            store::Error::State { .. } => {
                "`jsplan state restore` lists the kept predecessors, and `jsplan state rebuild` \
                 makes it anew from what is live; nothing was changed"
            }
            store::Error::Backwards { found: None, .. } => {
                "if it was kept elsewhere: `jsplan state push FILE`; if it is lost: `jsplan state \
                 restore` lists what is kept, and `jsplan state rebuild` makes it anew from what is \
                 live"
            }
            store::Error::Backwards { .. } => {
                "an older one was put back: `jsplan state restore` lists what is kept; to go on \
                 from it all the same: `jsplan state pull > FILE`, then `jsplan state push --force \
                 FILE`"
            }
            store::Error::Server { source, .. } => {
                let help = source.help();
                return Self { help, ..Self::from(error) };
            }
            store::Error::NoBucket { bucket, .. } => {
                let made = format!(
                    "let somebody who may make it once: `nats kv add {bucket} --history 64 \
                     --replicas 3`"
                );
                return Self::from(error).help(made);
            }
            store::Error::BadBucket { .. } => "name another by `bucket` under `[state]`",
            store::Error::Raced { .. } => "`jsplan plan` shows where things stand",
            store::Error::LockLost { .. } => {
                "nothing more was begun; `jsplan plan` shows where things stand"
            }
            store::Error::NotLocked { .. } => "there is nothing to take away",
            store::Error::OtherLock { .. } => "`jsplan lock status` says which id it has",
            store::Error::HolderRuns { .. } => "end that process, and the lock ends with it",
            store::Error::OtherEnvironment { .. } => {
                "check `--env`, or put the file back where it belongs"
            }
            store::Error::Locked { holder: Some(holder), outlives: true, environment } => {
                let help = format!(
                    "wait for it to end, with `--lock-timeout 5m` for one; if its holder is gone: \
                     `jsplan force-unlock {} --env {environment}`",
                    holder.id
                );
                return Self::from(error).help(help);
            }
            store::Error::Locked { .. } => {
                "wait for it to end, with `--lock-timeout 5m` for one; the lock ends with that process"
            }
            store::Error::NoSuchSerial { .. } => {
                "`jsplan state restore` lists the kept predecessors"
            }
            store::Error::File(_) => return Self::from(error),
        };
        Self::from(error).help(help)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs a command line and says how it ended.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = arguments.into_iter().map(two_dashes);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let color = if cli.global.no_color { Color::Never } else { cli.global.color };
    let terminal = Terminal::new(color);
    report(&terminal, dispatch(cli, terminal))
}

fn dispatch(cli: Cli, terminal: Terminal) -> Result<Exit, Failure> {
    if let Some(folder) = &cli.global.chdir {
        crate::io::files::enter(folder)?;
    }
    let project = project::Project::new(cli.global, terminal);
    match cli.command {
        Command::Validate(args) => validate::run(&project, &args),
        Command::Fmt(args) => fmt::run(&project, &args),
        Command::Plan(args) => crate::io::run(plan::run(&project, &args)),
        Command::Apply(args) => {
            let leaves = || lock::tell_left(&project);
            crate::io::run(crate::io::ending_at_the_second(apply::run(&project, &args), leaves))
        }
        Command::Drift(args) => crate::io::run(drift::run(&project, &args)),
        Command::Import(args) => crate::io::run(import::run(&project, &args)),
        Command::Show(args) => crate::io::run(show::run(&project, &args)),
        Command::History(args) => crate::io::run(history::run(&project, &args)),
        Command::Rollback(args) => crate::io::run(rollback::run(&project, &args)),
        Command::Migrate(command) if command.changes() => {
            let leaves = || lock::tell_left(&project);
            let run = migrate::run(&project, &command);
            crate::io::run(crate::io::ending_at_the_second(run, leaves))
        }
        Command::Migrate(command) => crate::io::run(migrate::run(&project, &command)),
        Command::State(command) => crate::io::run(state::run(&project, &command)),
        Command::Lock(command) => crate::io::run(lock::run(&project, &command)),
        Command::ForceUnlock(args) => crate::io::run(lock::force(&project, &args)),
        Command::Permissions(args) => crate::io::run(permissions::run(&project, &args)),
        Command::Sandbox(command) => sandbox::run(&project, &command),
        Command::Schema => schema::run(&project),
        Command::Demo(args) => demo::run(&project, &args),
    }
}

/// The one place that turns a result into an exit code.
fn report(terminal: &Terminal, result: Result<Exit, Failure>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.message.is_empty() {
                terminal
                    .say(&crate::render::talk::failure(&failure.message, failure.help.as_deref()));
            }
            Exit::Failed
        }
    }
}

/// Writes data. A reader that has seen enough, such as `head`, is no failure, and changes nothing
/// about how the command ends.
fn shown(terminal: &Terminal, text: &str) -> Result<(), Failure> {
    match terminal.print(text) {
        Err(closed) if !closed.is_by_reader() => Err(closed.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// clap ends usage errors with 2, which here means "changes are present".
fn usage(error: &clap::Error) -> Exit {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let text = error.render().ansi().to_string();
    let terminal = Terminal::new(Color::Auto);
    if wanted {
        return report(&terminal, shown(&terminal, &text).map(|()| Exit::Done));
    }
    terminal.say(&text);
    Exit::Failed
}

/// Terraform's users type one dash: `-auto-approve` is `--auto-approve`.
fn two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let Some(flag) = text.strip_prefix('-').filter(|it| !it.starts_with('-')) else {
        return argument;
    };
    let name = flag.split('=').next().unwrap_or(flag);
    if name.chars().count() > 1 && knows(&Cli::command(), name) {
        return format!("-{text}").into();
    }
    argument
}

fn knows(command: &clap::Command, name: &str) -> bool {
    command.get_arguments().any(|it| it.get_long() == Some(name))
        || command.get_subcommands().any(|it| knows(it, name))
}
