//! A plan as a file: reviewed first, applied later, exactly as it was reviewed.
//!
//! A plan that an error stops as a whole is never written; one in which single steps are blocked is,
//! with what blocks them. Of the spec only file and line of each place go along.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Cause, Change, Intent, Mode, Plan, Premise, Step, call::Call, risk::Risk};
use crate::{
    address::Address,
    diff::Delta,
    drift::{Class, Entry},
    finding::{Code, Finding, Place, Severity, Sources},
    live::Server,
    schema::{Field, Release},
    seal,
    signature::{self, parted},
    spec::Move,
    state::Target,
    units::instant,
};

/// The version of the format this program writes.
const VERSION: u32 = 1;

/// A plan as its file holds it.
#[derive(Debug)]
pub struct Saved {
    /// The plan.
    pub plan: Plan,
    /// The spec's files, of which only lines are known.
    pub sources: Sources,
    /// Who made it: `user@host`.
    pub by: String,
    /// The public key it is signed with; the signature holds.
    pub signed_by: Option<String>,
}

/// Why a text is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what jsplan wrote.
    #[error("the plan cannot be trusted: {0}")]
    Seal(#[from] seal::Error),
    /// Its signature does not hold.
    #[error("the plan cannot be trusted: {0}")]
    Signature(#[from] signature::Error),
    /// A field that this program has no row for.
    #[error("the plan names the field `{0}`, which this jsplan does not know")]
    Field(String),
    /// A remark or a place that this program does not know.
    #[error("the plan says `{0}`, which this jsplan does not know")]
    Word(String),
    /// The id is not that of the steps.
    #[error("the plan's id does not match its steps")]
    Id,
    /// Something is there that would not be written again.
    #[error("the plan is not laid out as jsplan lays it out, so it was changed")]
    Form,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    jsplan_version: String,
    id: String,
    by: String,
    environment: String,
    protected: bool,
    mode: Mode,
    targeted: bool,
    target: Target,
    server: SavedServer,
    at: String,
    lineage: String,
    serial: u64,
    /// Harm that was consented to: `data-loss=stream.NAME`. The risks of the steps say it again.
    consent: BTreeSet<String>,
    steps: Vec<SavedStep>,
    drift: Vec<SavedEntry>,
    findings: Vec<SavedFinding>,
    unchanged: usize,
    unmanaged: Vec<Address>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    migrations: Vec<SavedMove>,
}

#[derive(Serialize, Deserialize)]
struct SavedMove {
    version: String,
    name: String,
    meaning: String,
    from: Option<String>,
    done: (usize, usize),
    next: Vec<(String, String)>,
    until: Option<String>,
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
    blocked: bool,
    calls: Vec<Call>,
    premise: Option<Premise>,
    record: Option<Intent>,
    wave: usize,
    needs: BTreeSet<Address>,
    makes_room: bool,
    place: Option<String>,
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

#[derive(Serialize, Deserialize)]
struct SavedFinding {
    severity: String,
    code: String,
    message: String,
    place: Option<String>,
    about: Option<Address>,
    help: Option<String>,
}

/// The text of a plan's file; `sources` are what its places point into.
#[must_use]
pub fn write(plan: &Plan, sources: &Sources, by: &str) -> String {
    let Server { version, api_level, cluster, domain, account, release: _ } = plan.server.clone();
    seal::write(&Document {
        version: VERSION,
        jsplan_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: plan.id(),
        by: by.to_owned(),
        environment: plan.environment.clone(),
        protected: plan.protected,
        mode: plan.mode,
        targeted: plan.targeted,
        target: Target { account, cluster, domain },
        server: SavedServer { version, api_level },
        at: plan.at.clone(),
        lineage: plan.lineage.clone(),
        serial: plan.serial,
        consent: consent(plan),
        steps: plan.steps.iter().map(|it| save_step(it, sources)).collect(),
        drift: plan.drift.iter().map(save_entry).collect(),
        findings: plan.findings.iter().map(|it| save_finding(it, sources)).collect(),
        unchanged: plan.unchanged,
        unmanaged: plan.unmanaged.clone(),
        migrations: plan.moves.iter().cloned().map(save_move).collect(),
    })
}

/// The same, signed with the seed of a user's nkey.
pub(crate) fn sign(text: &str, seed: &str) -> Result<String, Error> {
    Ok(signature::sign(text, seed)?)
}

/// Reads the text of a plan's file; whatever is not exactly what was written is an error.
pub fn read(text: &str) -> Result<Saved, Error> {
    let (text, signature) = parted(text)?;
    // The digest first: it finds damage at a fraction of the cost.
    let document: Document = seal::read(&text, VERSION, |it: &Document| it.version)?;
    let signed_by = signature.map(|it| it.signer(&text)).transpose()?;
    let id = document.id.clone();
    let mut saved = load(document)?;
    saved.signed_by = signed_by;
    if saved.plan.id() != id {
        return Err(Error::Id);
    }
    let again = write(&saved.plan, &saved.sources, &saved.by);
    if again == text { Ok(saved) } else { Err(Error::Form) }
}

fn load(document: Document) -> Result<Saved, Error> {
    if instant(&document.at).is_none() {
        return Err(Error::Word(document.at));
    }
    let Target { account, cluster, domain } = document.target;
    let SavedServer { version, api_level } = document.server;
    let release = Release::parse(&version);
    let mut sources = Sources::default();
    let steps = document.steps.into_iter().map(|it| load_step(it, release, &mut sources));
    let steps = steps.collect::<Result<_, _>>()?;
    let findings = document.findings.into_iter().map(|it| load_finding(it, &mut sources));
    let findings = findings.collect::<Result<_, _>>()?;
    let plan = Plan {
        environment: document.environment,
        protected: document.protected,
        mode: document.mode,
        targeted: document.targeted,
        server: Server { release, version, api_level, cluster, domain, account },
        at: document.at,
        lineage: document.lineage,
        serial: document.serial,
        steps,
        left_out: Vec::new(),
        drift: document.drift.into_iter().map(load_entry).collect::<Result<_, _>>()?,
        findings,
        unchanged: document.unchanged,
        unmanaged: document.unmanaged,
        questions: Vec::new(),
        moves: document.migrations.into_iter().map(load_move).collect(),
    };
    Ok(Saved { plan, sources, by: document.by, signed_by: None })
}

fn save_move(it: Move) -> SavedMove {
    let Move { version, name, meaning, from, done, next, until } = it;
    SavedMove { version, name, meaning, from, done, next, until }
}

fn load_move(saved: SavedMove) -> Move {
    let SavedMove { version, name, meaning, from, done, next, until } = saved;
    Move { version, name, meaning, from, done, next, until }
}

fn consent(plan: &Plan) -> BTreeSet<String> {
    plan.steps.iter().flat_map(|it| it.consents(|risk| risk.allowed)).collect()
}

fn save_step(step: &Step, sources: &Sources) -> SavedStep {
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
        blocked: step.blocked,
        calls: step.calls.clone(),
        premise: step.premise.clone(),
        record: step.record.clone(),
        wave: step.wave,
        needs: step.needs.clone(),
        makes_room: step.makes_room,
        place: step.place.map(|it| sources.spot(it)),
    }
}

fn load_step(saved: SavedStep, release: Release, sources: &mut Sources) -> Result<Step, Error> {
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
        blocked: saved.blocked,
        calls: saved.calls,
        premise: saved.premise,
        record: saved.record,
        wave: saved.wave,
        needs: saved.needs,
        makes_room: saved.makes_room,
        place: load_place(saved.place, sources)?,
    })
}

fn load_place(saved: Option<String>, sources: &mut Sources) -> Result<Option<Place>, Error> {
    let load = |it: String| sources.note(&it).ok_or(Error::Word(it));
    saved.map(load).transpose()
}

fn save_finding(finding: &Finding, sources: &Sources) -> SavedFinding {
    let Finding { code, severity, message, place, about, help } = finding.clone();
    SavedFinding {
        severity: severity.to_string(),
        code: code.to_string(),
        message,
        place: place.map(|it| sources.spot(it)),
        about,
        help,
    }
}

fn load_finding(saved: SavedFinding, sources: &mut Sources) -> Result<Finding, Error> {
    let SavedFinding { severity, code, message, place, about, help } = saved;
    let mut codes = Code::ALL.iter().copied();
    let mut severities = [Severity::Note, Severity::Warning, Severity::Error].into_iter();
    Ok(Finding {
        code: codes.find(|it| it.to_string() == code).ok_or(Error::Word(code))?,
        severity: severities.find(|it| it.to_string() == severity).ok_or(Error::Word(severity))?,
        message,
        place: load_place(place, sources)?,
        about,
        help,
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
