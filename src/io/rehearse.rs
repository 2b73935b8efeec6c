//! Rehearsing a plan: a throw-away server like the live one, the live configurations without their
//! data, and the plan applied there by the same engine that applies it here.
//!
//! The live server is asked nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::PathBuf,
};

use tempfile::TempDir;

use super::{
    apply::{self, PARALLELISM, Walked as Ended},
    binary, files,
    nats::{self, Session},
    server::{self, Cluster, JETSTREAM_SIZES, Server, quoted},
    store::{self, Journal, Store},
};
use crate::{
    address::Address,
    event::Event,
    finding::{Code, Finding},
    live::{Account, Live},
    plan::{
        self, Ask, Plan, Step,
        rehearsal::{self, Refusal, Rehearsal, Stage, Walked},
    },
    schema::Release,
    spec::{Connection, Desired},
    state::State,
};

/// A nats-server to rehearse on.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// Why it is not of the live server's release.
    note: Option<Finding>,
}

/// What is rehearsed, and what it was decided from.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The spec.
    pub desired: &'a Desired,
    /// The record.
    pub state: &'a State,
    /// The live account.
    pub live: &'a Live,
}

/// Why there was no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The servers did not start.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The live server or one of these did not answer.
    #[error(transparent)]
    Nats(#[from] nats::error::Error),
    /// The throw-away state.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its folder.
    #[error(transparent)]
    File(#[from] files::Error),
}

/// The user and the account of a rehearsal.
const WHO: &str = "rehearsal";

/// The nats-server of the live server's release; else the nearest that can be had, else any.
pub fn program(live: Release, say: &mut dyn FnMut(&str)) -> Result<Program, binary::Error> {
    let error = match binary::release(live, say) {
        Ok(path) => return Ok(Program { path, note: None }),
        Err(error) => error,
    };
    let nearest = Some(binary::nearest(live)).filter(|it| *it != live);
    let path = nearest.and_then(|it| binary::release(it, say).ok());
    let Some(path) = path.or_else(|| binary::find(None, say).ok()) else { return Err(error) };
    let version = binary::version(&path).unwrap_or_default();
    let message = format!("the live server is {live}, and the rehearsal was on {version}");
    let note = Finding::warning(Code::Rehearsal, message).help(format!(
        "nats-server {live} could not be had; where it is installed, name it by `$NATS_SERVER`"
    ));
    Ok(Program { path, note: Some(note) })
}

/// Rehearses a plan. The servers and all they hold are gone when this ends, however it ends.
pub async fn rehearse(program: Program, piece: Piece<'_>) -> Result<Rehearsal, Error> {
    let Piece { plan, desired, state, live } = piece;
    let stage = rehearsal::stage(plan, live);
    let there = There::open(&program, &stage, &live.account, plan).await?;
    let mut findings: Vec<Finding> = program.note.into_iter().collect();
    findings.extend(live.account.tiered.then(rehearsal::tiered));
    findings.extend(rehearsal::limits(&stage, live));

    let mut nothing = State::new(&plan.environment);
    let seeded = there.walk(rehearsal::seeds(live), &mut nothing, PARALLELISM).await?;
    findings.extend(seeded.refusals.iter().map(rehearsal::not_seeded));
    let held = there.observe(live, live.resources.keys().cloned().collect()).await?;
    let mut unlike = rehearsal::differences(live, &held);
    // How the streams of others read back tells nothing about the plan.
    unlike.retain(|it, _| desired.resources.contains_key(it) || state.resources.contains_key(it));
    findings.extend(unlike.iter().map(|(it, fields)| rehearsal::not_alike(it, fields)));
    // What is not there at all was never alike.
    let lost = live.resources.keys().filter(|it| !held.resources.contains_key(it));
    unlike.extend(lost.map(|it| (it.clone(), Vec::new())));

    let steps = rehearsal::transposed(plan, live, &held, &mut findings);
    let mut state = rehearsal::record(state, live, &held);
    // One by one: creations side by side slip past the account's limits (2.15.1).
    let walked = there.walk(steps, &mut state, 1).await?;
    findings.extend(walked.refusals.iter().map(rehearsal::refused));
    let expected = desired.resources.keys().chain(state.resources.keys()).cloned().collect();
    let held = there.observe(live, expected).await?;
    let again = plan::plan(desired, &state, &held, &Ask { mode: plan.mode, ..Ask::default() });
    let left = rehearsal::left(&again, plan, &walked, &unlike);
    findings.extend(left.iter().map(|it| rehearsal::unsettled(it)));
    Ok(Rehearsal {
        version: held.server.version,
        servers: stage.servers,
        steps: plan.steps.len(),
        applied: walked.done.len(),
        refused: walked.refusals.len(),
        left: left.len(),
        findings,
    })
}

/// JetStream in the live server's domain, and one account with the live one's limits.
fn configuration(stage: &Stage, account: &Account) -> String {
    let domain = stage.domain.iter().map(|it| format!(", domain: {}", quoted(it)));
    let domain: String = domain.collect();
    let number = |it: Option<u64>| it.and_then(|it| i64::try_from(it).ok());
    let Account { max_streams, max_consumers, max_ack_pending, memory, file, .. } = *account;
    let limits = [
        ("max_memory", memory.most),
        ("max_file", file.most),
        ("max_streams", number(max_streams)),
        ("max_consumers", number(max_consumers)),
        ("max_ack_pending", max_ack_pending),
        ("memory_max_stream_bytes", memory.each),
        ("disk_max_stream_bytes", file.each),
    ];
    let limited =
        limits.into_iter().filter_map(|(name, most)| Some(format!("{name}: {}\n", most?)));
    let limited: String = limited.collect();
    let sized = account.max_bytes_required;
    format!(
        "jetstream {{ {JETSTREAM_SIZES}{domain} }}\n\
         accounts {{ {WHO} {{\n\
         jetstream {{ {limited}max_bytes_required: {sized} }}\n\
         users: [{{ user: {WHO}, password: {WHO} }}]\n\
         }} }}\n\
         no_auth_user: {WHO}\n"
    )
}

/// The servers of a rehearsal, which end with this value.
struct There {
    session: Session,
    journal: Journal,
    /// Of the journal.
    _folder: TempDir,
    _servers: Vec<Server>,
}

impl There {
    async fn open(
        program: &Program,
        stage: &Stage,
        account: &Account,
        plan: &Plan,
    ) -> Result<Self, Error> {
        let servers = start(program, stage, account)?;
        let urls = servers.iter().map(|it| it.url().to_owned()).collect();
        let connection = Connection { urls, ..Connection::default() };
        let session = nats::connect(&connection, "jsplan rehearsal").await?;
        let folder = files::throw_away()?;
        let store = Store::new(folder.path(), &plan.environment);
        let state = State::new(&plan.environment);
        let journal = store.begin(&state, &store.lock("plan --rehearse").await?).await?;
        Ok(Self { session, journal, _folder: folder, _servers: servers })
    }

    /// Reads what is held there, as if the live servers held it.
    async fn observe(&self, live: &Live, expected: BTreeSet<Address>) -> Result<Live, Error> {
        let mut held = self.session.observe(&expected).await?;
        held.server.account.clone_from(&live.server.account);
        held.server.cluster.clone_from(&live.server.cluster);
        held.server.domain.clone_from(&live.server.domain);
        Ok(held)
    }

    /// Carries out steps to their end: an apply stops at the first refusal, a rehearsal goes on to
    /// find the others, without what stands on those that were refused.
    async fn walk(
        &self,
        mut steps: Vec<Step>,
        state: &mut State,
        parallelism: u16,
    ) -> Result<Walked, Error> {
        let mut walked = Walked::default();
        let Self { session, journal, .. } = self;
        while !steps.is_empty() {
            let mut ended = BTreeMap::new();
            let mut note = |event| match event {
                Event::Finished { address, action, .. } => {
                    drop(ended.insert((address, action), Ok(())));
                }
                Event::Failed { address, action, error } => {
                    drop(ended.insert((address, action), Err(error)));
                }
                Event::Started { .. }
                | Event::Waiting { .. }
                | Event::Interrupted
                | Event::Verified { .. } => {}
            };
            let Ended { outcome, failure, undecided: _ } =
                apply::apply(&steps, session, state, journal, parallelism, &mut note).await;
            failure.map_or(Ok(()), Err)?;
            walked.done.extend(outcome.done);
            let failed: BTreeSet<_> = outcome.failed.into_iter().collect();
            for step in mem::take(&mut steps) {
                let stream = Address::stream(step.address.stream_name());
                match ended.remove(&(step.address.clone(), step.action)) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => walked.refusals.push(Refusal { step, error }),
                    None if failed.contains(&step.address) || failed.contains(&stream) => {}
                    None => steps.push(step),
                }
            }
            if outcome.interrupted {
                break;
            }
        }
        Ok(walked)
    }
}

fn start(
    program: &Program,
    stage: &Stage,
    account: &Account,
) -> Result<Vec<Server>, server::Error> {
    let config = configuration(stage, account);
    match &stage.cluster {
        None => Ok(vec![Server::start(&program.path, &config)?]),
        Some(name) => {
            let tags = stage.tags.iter().cloned().collect();
            let cluster = Cluster { name: name.clone(), nodes: stage.servers, tags };
            Server::start_cluster_as(&cluster, &program.path, &config)
        }
    }
}
