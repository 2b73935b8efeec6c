//! The lock of a state: taken by what changes it, looked at, and taken away from a holder that is
//! gone.

use std::time::Duration;

use super::{Exit, Failure, project::Project};
use crate::{
    io::{
        clock,
        store::{Error, Lock, Status, Store},
        who,
    },
    render,
    units::duration,
};

/// The lock of the state.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say who holds the lock, since when and for what
    Status,
}

/// What `force-unlock` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Force {
    /// The id of the lock, as `lock status` and whoever meets the lock say it
    id: String,
    /// Do not ask
    #[arg(long)]
    force: bool,
}

/// What every command takes that takes the lock.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Patience {
    /// Wait this long for the lock, such as `30s` [default: 0s; 5m where `CI` is set]
    #[arg(long, value_name = "TIME", value_parser = parse)]
    lock_timeout: Option<Duration>,
}

fn parse(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_nanos(duration(text)?.unsigned_abs()))
}

impl Patience {
    fn longest(&self) -> Duration {
        const IN_CI: Duration = Duration::from_secs(300);
        let default = if who::is_ci() { IN_CI } else { Duration::ZERO };
        self.lock_timeout.unwrap_or(default)
    }
}

/// Takes the lock; whoever waits for it is told so once it takes longer than one notices.
pub(crate) async fn take(
    project: &Project,
    store: &Store,
    operation: &str,
    patience: &Patience,
) -> Result<Lock, Failure> {
    const NOTICED: Duration = Duration::from_millis(400);
    let say = || project.terminal.say(&render::talk::acquiring());
    let lock = store.lock_within(operation, patience.longest());
    let lock = clock::remarked(lock, NOTICED, say).await.map_err(Failure::of_store)?;
    if store.outlives_holders() {
        project.outliving.get_or_init(|| lock.id().to_owned());
    }
    Ok(lock)
}

/// Says which lock a process leaves behind that ends on the spot.
pub(crate) fn tell_left(project: &Project) {
    let (Some(id), Ok(environment)) = (project.outliving.get(), project.environment()) else {
        return;
    };
    let options = project.options(&environment);
    project.terminal.say(&render::talk::left_locked(&options, id));
}

/// Says how the lock stands.
pub(crate) async fn run(project: &Project, command: &Command) -> Result<Exit, Failure> {
    let Command::Status = command;
    let status = project.store().await?.status().await.map_err(Failure::of_store)?;
    let environment = project.environment()?;
    let said = match status {
        Status::Free => format!("The state of {environment} is not locked.\n"),
        Status::Left(holder) => format!(
            "The state of {environment} is not locked. The last holder ended without letting go: \
             it was taken {}.\n",
            render::escape(&holder.described())
        ),
        Status::Held(Some(holder)) => {
            let holder = holder.described();
            format!("The state of {environment} is locked {}.\n", render::escape(&holder))
        }
        Status::Held(None) => {
            format!("The state of {environment} is locked, and the lock does not say by whom.\n")
        }
    };
    project.show(&said)?;
    Ok(Exit::Done)
}

/// Takes the lock away, once somebody has confirmed that its holder is gone.
pub(crate) async fn force(project: &Project, args: &Force) -> Result<Exit, Failure> {
    let store = project.store().await?;
    let environment = project.environment()?;
    if let Status::Held(Some(holder)) = store.status().await.map_err(Failure::of_store)?
        && holder.id == args.id
        && !args.force
        && store.outlives_holders()
    {
        if !project.terminal.is_interactive() {
            return Err(Failure::new("there is no terminal to ask on, and no `--force`")
                .help("see that its holder is gone, then add `--force`"));
        }
        let question = render::talk::unlocking(&environment, &holder.described());
        if project.terminal.ask(&question).await.as_deref() != Some("yes") {
            project.terminal.say("\nThe lock was left alone.\n");
            return Ok(Exit::Failed);
        }
    }
    match store.force_unlock(&args.id).await {
        Ok(()) => {}
        Err(error @ Error::OtherLock { .. }) => {
            return Err(
                Failure::from(error).help("give the whole id, as `jsplan lock status` says")
            );
        }
        Err(error) => return Err(Failure::of_store(error)),
    }
    project.terminal.say(&format!("The lock of {environment} was taken away.\n"));
    Ok(Exit::Done)
}
