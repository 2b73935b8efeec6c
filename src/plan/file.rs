//! A plan as a file: reviewed first, applied later, exactly as it was reviewed.
//!
//! A plan that is refused is never written. Places do not go into the file: the spec may have
//! moved on, and an apply checks by digest that it has not.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Cause, Change, Intent, Mode, Plan, Premise, Step, call::Call, risk::Risk};
use crate::{
    address::Address,
    config::sha256,
    diff::Delta,
    drift::{Class, Entry},
    live::Server,
    schema::{Field, Release},
    seal,
    state::Target,
};

/// The version of the format this program writes.
const VERSION: u32 = 1;

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what jsplan wrote.
    #[error("the plan cannot be trusted: {0}")]
    Seal(#[from] seal::Error),
    /// A field that this program has no row for.
    #[error("the plan names the field `{0}`, which this jsplan does not know")]
    Field(String),
    /// The id is not that of the steps.
    #[error("the plan's id does not match its steps")]
    Id,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    jsplan_version: String,
    id: String,
    environment: String,
    protected: bool,
    mode: Mode,
    targeted: bool,
    target: Target,
    server: SavedServer,
    at: String,
    lineage: String,
    serial: u64,
    steps: Vec<SavedStep>,
    drift: Vec<SavedEntry>,
    unchanged: usize,
    unmanaged: Vec<Address>,
}

#[derive(Serialize, Deserialize)]
struct SavedServer {
    version: String,
    api_level: u32,
}

#[derive(Serialize, Deserialize)]
struct SavedStep {
    address: Address,
    action: Action,
    adopts: bool,
    cause: Cause,
    changes: Vec<SavedDelta>,
    same: usize,
    risks: Vec<Risk>,
    stored: u64,
    falls: bool,
    calls: Vec<Call>,
    premise: Option<Premise>,
    record: Option<Intent>,
    wave: usize,
}

#[derive(Serialize, Deserialize)]
struct SavedDelta {
    field: String,
    before: Value,
    after: Value,
    cause: Cause,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry {
    address: Address,
    class: Class,
    changes: Vec<SavedDelta>,
    recreated: bool,
}

/// The text of a plan's file.
#[must_use]
pub(crate) fn write(plan: &Plan) -> String {
    let Server { version, api_level, cluster, domain, account, release: _ } = plan.server.clone();
    seal::write(&Saved {
        version: VERSION,
        jsplan_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: plan.id(),
        environment: plan.environment.clone(),
        protected: plan.protected,
        mode: plan.mode,
        targeted: plan.targeted,
        target: Target { account, cluster, domain },
        server: SavedServer { version, api_level },
        at: plan.at.clone(),
        lineage: plan.lineage.clone(),
        serial: plan.serial,
        steps: plan.steps.iter().map(save_step).collect(),
        drift: plan.drift.iter().map(save_entry).collect(),
        unchanged: plan.unchanged,
        unmanaged: plan.unmanaged.clone(),
    })
}

/// Reads the text of a plan's file; whatever is not exactly what was written is an error.
pub fn read(text: &str) -> Result<Plan, Error> {
    let saved: Saved = seal::read(text, VERSION, |it: &Saved| it.version)?;
    let Target { account, cluster, domain } = saved.target;
    let SavedServer { version, api_level } = saved.server;
    let release = Release::parse(&version);
    let steps = saved.steps.into_iter().map(|it| load_step(it, release));
    let plan = Plan {
        environment: saved.environment,
        protected: saved.protected,
        mode: saved.mode,
        targeted: saved.targeted,
        server: Server { release, version, api_level, cluster, domain, account },
        at: saved.at,
        lineage: saved.lineage,
        serial: saved.serial,
        steps: steps.collect::<Result<_, _>>()?,
        drift: saved.drift.into_iter().map(load_entry).collect::<Result<_, _>>()?,
        findings: Vec::new(),
        unchanged: saved.unchanged,
        unmanaged: saved.unmanaged,
        questions: Vec::new(),
    };
    if plan.id() == saved.id { Ok(plan) } else { Err(Error::Id) }
}

impl Plan {
    /// What identifies the plan: a digest over its target and everything it would send or record.
    /// The same inputs give the same id.
    #[must_use]
    pub(crate) fn id(&self) -> String {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|it| json!([it.address, it.action, it.calls, it.premise, it.record]))
            .collect();
        let Server { cluster, domain, account, .. } = &self.server;
        let target = json!([account, cluster, domain]);
        sha256(json!([self.environment, self.mode, target, self.lineage, steps]).to_string())
    }
}

fn save_step(step: &Step) -> SavedStep {
    SavedStep {
        address: step.address.clone(),
        action: step.action,
        adopts: step.adopts,
        cause: step.cause,
        changes: step.changes.iter().map(|it| save_delta(&it.delta, it.cause)).collect(),
        same: step.same,
        risks: step.risks.clone(),
        stored: step.stored,
        falls: step.falls,
        calls: step.calls.clone(),
        premise: step.premise.clone(),
        record: step.record.clone(),
        wave: step.wave,
    }
}

fn load_step(saved: SavedStep, release: Release) -> Result<Step, Error> {
    let load = |it: SavedDelta| {
        let cause = it.cause;
        let delta = load_delta(&saved.address, it)?;
        Ok(Change { verdict: delta.verdict(release), delta, cause })
    };
    let changes = saved.changes.into_iter().map(load).collect::<Result<_, Error>>()?;
    Ok(Step {
        address: saved.address,
        action: saved.action,
        adopts: saved.adopts,
        cause: saved.cause,
        changes,
        same: saved.same,
        risks: saved.risks,
        stored: saved.stored,
        falls: saved.falls,
        blocked: false,
        calls: saved.calls,
        premise: saved.premise,
        record: saved.record,
        wave: saved.wave,
        place: None,
    })
}

fn save_entry(entry: &Entry) -> SavedEntry {
    SavedEntry {
        address: entry.address.clone(),
        class: entry.class,
        changes: entry.deltas.iter().map(|it| save_delta(it, Cause::Drift)).collect(),
        recreated: entry.recreated,
    }
}

fn load_entry(saved: SavedEntry) -> Result<Entry, Error> {
    let load = |it| load_delta(&saved.address, it);
    let deltas = saved.changes.into_iter().map(load).collect::<Result<_, _>>()?;
    Ok(Entry { address: saved.address, class: saved.class, deltas, recreated: saved.recreated })
}

fn save_delta(delta: &Delta, cause: Cause) -> SavedDelta {
    let Delta { field, before, after } = delta.clone();
    SavedDelta { field: field.name.to_owned(), before, after, cause }
}

fn load_delta(address: &Address, saved: SavedDelta) -> Result<Delta, Error> {
    let SavedDelta { field, before, after, cause: _ } = saved;
    match Field::find(address.rows(), &field) {
        Some(field) => Ok(Delta { field, before, after }),
        None => Err(Error::Field(field)),
    }
}
