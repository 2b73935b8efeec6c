//! `jsplan rollback`: a plan towards an earlier state, and the same apply as of any plan.

use std::path::PathBuf;

use super::{Exit, Failure, apply, history, plan, plan::Asked, project::Project};
use crate::{
    io::{
        apply::PARALLELISM,
        store::{self, Store},
    },
    state::State,
};

/// What `rollback` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The serial of the state to go back to; without it they are listed
    #[arg(long, value_name = "SERIAL")]
    to: Option<u64>,
    /// Save the plan, so that exactly it can be applied
    #[arg(long, value_name = "FILE", conflicts_with = "auto_approve")]
    out: Option<PathBuf>,
    /// Sign what is saved with the seed of a user's nkey, at `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET", requires = "out")]
    sign: Option<String>,
    /// Do not ask; in a protected environment only together with `--expect`
    #[arg(long)]
    auto_approve: bool,
    /// Leave out what is blocked and what needs that, and do the rest
    #[arg(long, conflicts_with = "out")]
    skip_blocked: bool,
    /// Only the plan with this id, or whose id begins with these 8 digits or more
    #[arg(long, value_name = "ID", value_parser = apply::id, conflicts_with = "out")]
    expect: Option<String>,
    /// Only this resource and what it stands on; may be repeated
    #[arg(long, value_name = "ADDR")]
    target: Vec<String>,
    /// Consent to harm, such as `data-loss=stream.ORDERS`; may be repeated
    #[arg(long, value_name = "CLASS=ADDR[:N]")]
    allow: Vec<String>,
    /// Most steps at a time
    #[arg(long, value_name = "N", default_value_t = PARALLELISM,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    parallelism: u16,
}

/// Plans the way back, and saves the plan or carries it out.
pub(crate) async fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let Some(serial) = args.to else {
        return history::run(project, &history::Args::default()).await;
    };
    let ask = Asked::rollback(serial, &args.target, &args.allow);
    if let Some(path) = &args.out {
        let signed = plan::Args { sign: args.sign.clone(), ..plan::Args::into_file(ask, path) };
        return plan::run(project, &signed).await;
    }
    if !args.auto_approve && !project.terminal.is_interactive() {
        return Err(Failure::new("there is no terminal to ask on, and no `--auto-approve`")
            .help("save the plan with `--out FILE` and apply that, or add `--auto-approve`"));
    }
    let args = apply::Args {
        ask,
        auto_approve: args.auto_approve,
        skip_blocked: args.skip_blocked,
        expect: args.expect.clone(),
        parallelism: args.parallelism,
        ..apply::Args::approved()
    };
    apply::run(project, &args).await
}

/// The state with a serial: a kept one, or the present one.
pub(crate) async fn kept(store: &Store, present: &State, serial: u64) -> Result<State, Failure> {
    if serial == present.serial && serial > 0 {
        return Ok(present.clone());
    }
    let kept = store.load_kept(serial).await.map_err(|error| {
        if matches!(error, store::Error::NoSuchSerial { .. }) {
            return Failure::from(error).help("`jsplan history` lists the serials that are kept");
        }
        Failure::of_store(error)
    })?;
    if kept.lineage != present.lineage {
        return Err(Failure::new(format!("the state with serial {serial} is of another lineage"))
            .help("it is the state of something else; `jsplan state restore` puts it back whole"));
    }
    Ok(kept)
}
