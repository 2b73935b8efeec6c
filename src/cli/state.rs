//! `jsplan state …`: looking at the state, and mending it. The server is never changed.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    Exit, Failure,
    lock::{self, Patience},
    project::{Project, decided},
};
use crate::{
    address::Address,
    finding::did_you_mean,
    io::{
        clock, files,
        store::{self, Lock, Store},
        who,
    },
    mark::Mark,
    rebuild, render,
    state::{LastApply, State},
    target,
    units::count_of,
};

/// What can be done with a state.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The addresses it owns
    List,
    /// One resource, as it was read back
    Show {
        /// Such as `stream.ORDERS`
        address: String,
    },
    /// Let go of a resource; it stays on the server
    Rm {
        /// Such as `stream.ORDERS`
        address: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Record a resource under another address
    Mv {
        /// The address it has
        from: String,
        /// The address it gets
        to: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Write the state to stdout
    Pull,
    /// Replace the state by a file; refused where that would lose something
    Push(Push),
    /// Make a lost state anew, from the marks on what is live and the spec
    Rebuild(Rebuild),
    /// Check that the state is whole and what jsplan wrote
    Verify,
    /// Go back to a kept predecessor; without a serial, list them
    Restore {
        /// The serial of the predecessor
        serial: Option<u64>,
        #[command(flatten)]
        patience: Patience,
    },
}

/// What `rebuild` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Rebuild {
    /// The lineage to recover, where marks of several are live
    #[arg(long, value_name = "ID")]
    lineage: Option<String>,
    /// Replace even a state that is whole
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    patience: Patience,
}

/// What `push` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// A state, as `pull` writes it
    file: PathBuf,
    /// Replace even another lineage or a later serial
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs one of the state commands.
pub(crate) async fn run(project: &Project, command: &Command) -> Result<Exit, Failure> {
    let store = project.store().await?;
    let shown = match command {
        Command::List => render::state_list(&project.state().await?),
        Command::Show { address } => show(project, address).await?,
        Command::Rm { address, patience } => {
            let lock = lock::take(project, store, "state rm", patience).await?;
            return change(project, store, ("state rm", &lock), |state| remove(state, address))
                .await;
        }
        Command::Mv { from, to, patience } => {
            let lock = lock::take(project, store, "state mv", patience).await?;
            return change(project, store, ("state mv", &lock), |state| rename(state, from, to))
                .await;
        }
        // Whoever mends a state needs it as it is.
        Command::Pull => store.load_any().await.map_err(Failure::of_store)?.write(),
        Command::Push(args) => return push(project, store, args).await,
        Command::Rebuild(args) => return rebuild(project, store, args).await,
        Command::Verify => verify(project).await?,
        Command::Restore { serial: None, .. } => kept(project, store).await?,
        Command::Restore { serial: Some(serial), patience } => {
            let lock = lock::take(project, store, "state restore", patience).await?;
            return restore(project, store, *serial, &lock).await;
        }
    };
    project.show(&shown)?;
    Ok(Exit::Done)
}

async fn show(project: &Project, address: &str) -> Result<String, Failure> {
    let state = project.state().await?;
    let address = owned(&state, address)?;
    Ok(render::resource(&address, &state.resources[&address]))
}

/// The address of something the state owns.
fn owned(state: &State, text: &str) -> Result<Address, Failure> {
    let address: Address = text.parse()?;
    if state.resources.contains_key(&address) {
        return Ok(address);
    }
    let names: Vec<_> = state.resources.keys().map(ToString::to_string).collect();
    let near = did_you_mean(text, names.iter().map(String::as_str));
    let otherwise = || "`jsplan state list` names what it owns".to_owned();
    Err(Failure::new(format!("the state does not own `{address}`"))
        .help(near.unwrap_or_else(otherwise)))
}

/// Changes the state under its lock; the predecessor is kept.
async fn change(
    project: &Project,
    store: &Store,
    (operation, lock): (&str, &Lock),
    change: impl FnOnce(&mut State) -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let mut state = project.state().await?;
    decided(&state)?;
    store.settle(&state, lock).await.map_err(Failure::of_store)?;
    let said = change(&mut state)?;
    state.serial += 1;
    if state.lineage.is_empty() {
        state.lineage = store::lineage();
    }
    state.last_apply = Some(by_hand(operation));
    store.save(&state, lock).await.map_err(Failure::of_store)?;
    project.terminal.say(&format!("{said} State serial {}.\n", state.serial));
    Ok(Exit::Done)
}

/// A change of the state that no plan makes, as the state tells of it.
pub(crate) fn by_hand(operation: &str) -> LastApply {
    LastApply::by_hand(operation, clock::now(), who::user_at_host())
}

fn remove(state: &mut State, address: &str) -> Result<String, Failure> {
    let address = owned(state, address)?;
    let marked = state.resources.remove(&address).and_then(|it| Mark::on(&it.config())).is_some();
    let mark = if marked {
        format!(", with its mark: another state takes it with `--allow takeover={address}`")
    } else {
        String::new()
    };
    Ok(format!("{address} was let go of; it stays on the server{mark}."))
}

fn rename(state: &mut State, from: &str, to: &str) -> Result<String, Failure> {
    let from = owned(state, from)?;
    let to: Address = to.parse()?;
    if state.resources.contains_key(&to) {
        return Err(Failure::new(format!("the state already owns `{to}`"))
            .help("let go of one of them first: `jsplan state rm ADDR`"));
    }
    if from.kind() != to.kind() {
        return Err(Failure::new(format!("`{from}` is a {}, and `{to}` is not", from.kind()))
            .help("a stream stays a stream and a consumer a consumer"));
    }
    if let Some(recorded) = state.resources.remove(&from) {
        state.resources.insert(to.clone(), recorded);
    }
    Ok(format!("{from} is now recorded as {to}."))
}

async fn push(project: &Project, store: &Store, args: &Push) -> Result<Exit, Failure> {
    let path = project.dir.join(&args.file);
    let place = format!("`{}`", path.display());
    let new = store.parse(&place, &files::read(&path)?).map_err(|it| {
        Failure::from(it).help("push what `jsplan state pull` writes; nothing was changed")
    })?;
    let lock = lock::take(project, store, "state push", &args.patience).await?;
    // It is asked for, so a state that is gone or older than it was is no reason to refuse.
    let present = match store.load_any().await {
        Err(error) if !args.force => return Err(Failure::of_store(error)),
        present => unless_damaged(present)?,
    };
    if let Some(present) = &present {
        if !args.force {
            loses_nothing(present, &new)?;
        }
        if !args.force && new.serial > present.serial {
            decided(present)?;
        }
        store.settle(present, &lock).await.map_err(Failure::of_store)?;
    }
    store.save(&new, &lock).await.map_err(Failure::of_store)?;
    project.terminal.say(&format!("The state was replaced. State serial {}.\n", new.serial));
    Ok(Exit::Done)
}

/// Makes the state anew. One that is there is kept as a predecessor, or beside them if it is damaged.
async fn rebuild(project: &Project, store: &Store, args: &Rebuild) -> Result<Exit, Failure> {
    let lock = lock::take(project, store, "state rebuild", &args.patience).await?;
    let present = match store.load().await {
        Ok(state) if !state.lineage.is_empty() && !args.force => {
            let message = format!("the state is whole: serial {}", state.serial);
            return Err(Failure::new(message).help("`--force` makes it anew all the same"));
        }
        Ok(state) => Some(state),
        Err(store::Error::State { .. } | store::Error::Backwards { .. }) => None,
        Err(error) => return Err(Failure::of_store(error)),
    };
    let (desired, sources) = project.load()?;
    let live = project.look(&desired, "state rebuild").await?;
    let name = &desired.environment.name;
    project.stop_at(&target::check(&desired, &State::new(name), &live.server), &sources)?;
    if let Some((address, reason)) = live.unknown.iter().next() {
        return Err(Failure::new(format!("`{address}` could not be read: {reason}"))
            .help("rebuild once its servers answer; nothing was changed"));
    }
    let lineage = chosen(&rebuild::lineages(name, &live), args)?;
    let latest = store.latest().await.map_err(Failure::of_store)?;
    let serial = present.as_ref().map_or(latest, |it| it.serial.max(latest)) + 1;
    let rebuilt = rebuild::rebuild(&desired, &live, &lineage, serial);
    let aside = match &present {
        Some(present) => {
            store.settle(present, &lock).await.map_err(Failure::of_store)?;
            None
        }
        None => store.set_aside(&lock).await.map_err(Failure::of_store)?,
    };
    store.save(&rebuilt.state, &lock).await.map_err(Failure::of_store)?;
    project.terminal.say(&render::talk::rebuilt(&rebuilt, aside.as_deref()));
    Ok(Exit::Done)
}

/// The lineage to recover: the only one that is marked, or that was asked for; a new one where
/// nothing is marked.
fn chosen(marked: &BTreeMap<String, usize>, args: &Rebuild) -> Result<String, Failure> {
    let list: Vec<_> =
        marked.iter().map(|(it, many)| format!("{it} ({})", count_of(*many, "resource"))).collect();
    let list = list.join(", ");
    match (&args.lineage, marked.len()) {
        (Some(asked), _) if marked.contains_key(asked) => Ok(asked.clone()),
        (Some(asked), _) => {
            Err(Failure::new(format!("nothing live is marked by lineage `{asked}`"))
                .help(format!("marked are: {list}")))
        }
        (None, 0) => Ok(store::lineage()),
        (None, 1) => Ok(marked.keys().next().cloned().unwrap_or_default()),
        (None, _) => {
            Err(Failure::new("what is live is marked by several states of this environment")
                .help(format!("choose one with `--lineage`: {list}")))
        }
    }
}

/// A damaged state is no predecessor to go back to, and must not be in the way of a mended one. One
/// that the disk does not give may be whole.
fn unless_damaged(present: Result<State, store::Error>) -> Result<Option<State>, Failure> {
    match present {
        Err(error @ store::Error::File(_)) => Err(Failure::of_store(error)),
        present => Ok(present.ok()),
    }
}

/// Refuses a state that is another one's, or no later than the present one.
fn loses_nothing(present: &State, new: &State) -> Result<(), Failure> {
    if present.lineage.is_empty() {
        return Ok(());
    }
    if present.lineage != new.lineage {
        return Err(Failure::new("the pushed state has another lineage")
            .help("it is the state of something else; `--force` replaces it all the same"));
    }
    // What an apply that was cut short could not save is later than what its journal tells.
    let known = present.cut_short.is_some() || new.write() == present.write();
    let differs = new.serial == present.serial && !known;
    if new.serial < present.serial || differs {
        let (pushed, present) = (new.serial, present.serial);
        let message =
            format!("the pushed state has serial {pushed}, and the present one {present}");
        return Err(Failure::new(message)
            .help("it is older, or differs; `--force` replaces the present one all the same"));
    }
    Ok(())
}

async fn verify(project: &Project) -> Result<String, Failure> {
    let state = project.state().await?;
    Ok(render::talk::whole(&state))
}

/// The serials of the predecessors, the latest first. Where there are none, that is talk.
async fn kept(project: &Project, store: &Store) -> Result<String, Failure> {
    let serials = store.kept().await?;
    if serials.is_empty() {
        project.terminal.say(
            "No predecessor is kept yet. If the state is lost: `jsplan state rebuild` makes it anew \
             from what is live.\n",
        );
    }
    Ok(serials.iter().rev().map(|it| format!("{it}\n")).collect())
}

/// The predecessor becomes the present state under a new serial; a damaged present one goes.
async fn restore(
    project: &Project,
    store: &Store,
    serial: u64,
    lock: &Lock,
) -> Result<Exit, Failure> {
    let mut state = store.load_kept(serial).await.map_err(Failure::of_store)?;
    let latest = store.latest().await.map_err(Failure::of_store)?;
    let present = unless_damaged(store.load_any().await)?;
    if let Some(present) = &present {
        decided(present)?;
        store.settle(present, lock).await.map_err(Failure::of_store)?;
    }
    state.serial = present.map_or(latest, |it| it.serial.max(latest)) + 1;
    state.last_apply = Some(by_hand(&format!("state restore {serial}")));
    store.save(&state, lock).await.map_err(Failure::of_store)?;
    let now = state.serial;
    project.terminal.say(&format!("Serial {serial} was restored. State serial {now}.\n"));
    Ok(Exit::Done)
}
