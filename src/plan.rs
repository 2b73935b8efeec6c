//! The decision: what is wanted, what was, what is; and from the three, what to do.
//!
//! Nothing is read here, nothing is written and nothing fails. What must not be done is in the
//! plan all the same, beside the finding that stops it.

mod bucket;
pub mod call;
pub mod counts;
mod exposure;
pub mod file;
mod intent;
mod order;
mod origin;
mod owner;
mod preflight;
pub mod rehearsal;
pub mod risk;
mod scope;
pub mod stale;
pub mod total;
pub mod undo;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::risk::{Reach, Risk};
use crate::{
    address::Address,
    config::Config,
    diff::{self, Delta},
    drift::{self, Entry},
    finding::{Finding, Place},
    forecast::Question,
    live::{Live, Observed, Server},
    position,
    schema::{Harm, Release, Verdict, Writer},
    sides::{Sides, sides},
    spec::{Declared, Desired, Move},
    state::{Origin, Recorded, State},
    target,
};

/// What is asked of a plan beyond its three values.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Towards the spec, towards nothing, or towards what is live.
    pub mode: Mode,
    /// Only these resources and what they stand on; empty means all.
    pub targets: BTreeSet<Address>,
    /// Harm that is consented to, by resource, and how much of it.
    pub allow: BTreeMap<(Harm, Address), Reach>,
}

/// What a plan leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The server becomes what the spec says.
    #[default]
    Normal,
    /// Everything owned is destroyed.
    Destroy,
    /// The state becomes what the server says; the server is left alone.
    RefreshOnly,
    /// The server becomes what the state with this serial recorded, which is the desired side.
    Rollback(u64),
}

/// The decision about one environment.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The environment's name.
    pub environment: String,
    /// Whether an apply asks for the name to be typed.
    pub protected: bool,
    /// What the plan leads to.
    pub mode: Mode,
    /// Whether it was cut down to some resources.
    pub targeted: bool,
    /// The server it was made against.
    pub server: Server,
    /// When, in RFC 3339.
    pub at: String,
    /// The state it was made from.
    pub lineage: String,
    /// The state it was made from.
    pub serial: u64,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What it said to do and is not to be done: what is blocked, and what needs that.
    pub left_out: Vec<Step>,
    /// What differs from the record, whoever caused it.
    pub drift: Vec<Entry>,
    /// What there is to remark; errors stop an apply.
    pub findings: Vec<Finding>,
    /// Resources that need nothing.
    pub unchanged: usize,
    /// Live resources that nothing owns and nothing wants.
    pub unmanaged: Vec<Address>,
    /// What has to be counted before its numbers are what they can be.
    pub questions: Vec<Question>,
    /// Migrations that an apply goes on with once the steps are done.
    pub moves: Vec<Move>,
}

/// What to do about one resource.
#[derive(Debug, Clone)]
pub struct Step {
    /// The resource.
    pub address: Address,
    /// What happens to it.
    pub action: Action,
    /// Whether it is taken over from somebody else.
    pub adopts: bool,
    /// Who made it necessary.
    pub cause: Cause,
    /// Fields that change, or that a creation sets.
    pub changes: Vec<Change>,
    /// Fields that stay as they are.
    pub same: usize,
    /// What it costs.
    pub risks: Vec<Risk>,
    /// Messages in the stream that it is or reads, when the plan was made.
    pub stored: u64,
    /// Whether a live resource of its name goes first, with its stream.
    pub falls: bool,
    /// Whether a finding stops it.
    pub blocked: bool,
    /// What is sent.
    pub calls: Vec<call::Call>,
    /// The live resource it was decided from; `None` where it was absent.
    pub premise: Option<Premise>,
    /// What the state will hold of the spec, where the resource stays.
    pub record: Option<Intent>,
    /// Steps of a lower wave come first; those of one wave are independent.
    pub wave: usize,
    /// Resources whose steps it takes for this one to be carried out: those that come before it, and
    /// those that take what it gives up.
    pub needs: BTreeSet<Address>,
    /// Whether what is made finds room only once this is gone.
    pub makes_room: bool,
    /// Where the spec declares it.
    pub place: Option<Place>,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is destroyed and made again.
    Replace,
    /// It is destroyed.
    Delete,
    /// The subjects of an interest stream are bound, once its consumers are there.
    Bind,
    /// It enters the state as it is.
    Adopt,
    /// The state takes over what is live.
    Record,
    /// It leaves the state.
    Forget,
}

/// Who made a change necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The spec changed.
    Edit,
    /// The server was changed behind jsplan's back.
    Drift,
    /// Both.
    Both,
}

/// One field's part of a step.
#[derive(Debug, Clone)]
pub struct Change {
    /// Before and after.
    pub delta: Delta,
    /// Who made it necessary.
    pub cause: Cause,
    /// Whether the server takes it in place.
    pub verdict: Verdict,
}

/// The live resource that a step was decided from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Premise {
    /// When the server created it.
    pub created: String,
    /// [`Config::fingerprint`] of its configuration.
    pub fingerprint: String,
    /// The configuration itself, to show what moved.
    pub config: Config,
}

/// What a step leaves in the state, beside what is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// How it came to be owned.
    pub origin: Origin,
    /// `prevent_destroy` as it was written.
    pub prevent_destroy: Option<bool>,
    /// Digest of the declaration.
    pub spec_sha256: String,
}

/// Decides. Pure; what could be refused is a finding in the plan.
#[must_use]
pub fn plan(desired: &Desired, recorded: &State, live: &Live, ask: &Ask) -> Plan {
    let mut plan = blank(desired, recorded, live, ask);
    plan.findings = target::check(desired, recorded, &live.server);
    if !plan.findings.is_empty() {
        // Of another server nothing is decided: to it everything would seem to be missing.
        return plan;
    }
    if ask.mode == Mode::Normal && ask.targets.is_empty() {
        plan.moves.clone_from(&desired.moves);
    }
    let report = drift::compare(desired, recorded, live);
    (plan.drift, plan.unmanaged) = (report.entries, report.unmanaged);
    let gone = decide_each(&mut plan, desired, recorded, live, ask);
    call::bind_later(&mut plan.steps);
    let moving = moving(&plan.steps);
    let fates = risk::fates(&plan.steps);
    let around = risk::Around { desired, recorded, live, ask, gone, moving, fates };
    for step in &mut plan.steps {
        around.assess(step, &mut plan.findings);
    }
    plan.questions = questions(&plan.steps, live);
    let room = preflight::making_room(&plan.steps, &around);
    order::order(&mut plan.steps, live, &room, &mut plan.findings);
    preflight::check(&mut plan.steps, &around, &mut plan.findings);
    plan.findings.extend(exposure::exposures(desired, &plan.steps));
    plan
}

fn blank(desired: &Desired, recorded: &State, live: &Live, ask: &Ask) -> Plan {
    Plan {
        environment: desired.environment.name.clone(),
        protected: desired.environment.protected,
        mode: ask.mode,
        targeted: !ask.targets.is_empty(),
        server: live.server.clone(),
        at: live.at.clone(),
        lineage: recorded.lineage.clone(),
        serial: recorded.serial,
        steps: Vec::new(),
        left_out: Vec::new(),
        drift: Vec::new(),
        findings: Vec::new(),
        unchanged: 0,
        unmanaged: Vec::new(),
        questions: Vec::new(),
        moves: Vec::new(),
    }
}

/// Adds a step for each resource in scope that needs one, in the order of addresses; gives the
/// streams that are taken away, if only for a moment.
fn decide_each<'a>(
    plan: &mut Plan,
    desired: &'a Desired,
    recorded: &'a State,
    live: &'a Live,
    ask: &Ask,
) -> BTreeSet<&'a str> {
    let known = || sides(&desired.resources, recorded, live).filter(Sides::is_known);
    let scope = scope::scope(|| known().map(|it| it.address), ask, &mut plan.findings);
    let held = position::held(live);
    // Streams come before consumers, so it is known by then which consumers lose theirs.
    let mut gone = BTreeSet::new();
    let aim = |it: Sides<'a>| match ask.mode {
        Mode::Destroy => Sides { wanted: None, ..it },
        Mode::Normal | Mode::RefreshOnly | Mode::Rollback(_) => it,
    };
    for mut sides in known().map(aim).filter(Sides::is_known) {
        let address = sides.address;
        let falls = gone.contains(address.stream_name());
        if !falls && scope.as_ref().is_some_and(|it| !it.contains(address)) {
            continue;
        }
        if desired.environment.keeping.has(address) {
            plan.findings.push(scope::own(address));
            continue;
        }
        if let Some(reason) = live.doubt(address) {
            let place = sides.wanted.map(|it| it.place);
            plan.findings.push(scope::unreadable(address, reason).at(place));
            continue;
        }
        let anew = falls && sides.wanted.is_some();
        let lives = sides.is.is_some();
        if anew {
            // What goes with its stream and is wanted is made anew.
            (sides.was, sides.is) = (None, None);
        }
        let holder = held.get(address).filter(|_| !falls).map(|it| it.1);
        // What falls with its stream cannot be let go of.
        let mode = if falls { Mode::Normal } else { ask.mode };
        let Some(mut step) = decide(sides, mode, live, holder) else {
            plan.unchanged += 1;
            continue;
        };
        let following = origin::following(sides, desired, live);
        if let Some(wanted) = following.filter(|_| step.sends_fields()) {
            let sides = Sides { wanted: Some(&wanted), ..sides };
            step = decide(sides, mode, live, holder).unwrap_or(step);
        }
        step.falls = anew && lives;
        if step.destroys() && address.is_stream() {
            gone.insert(address.stream_name());
        }
        plan.steps.push(step);
    }
    let aside = |it: &Address| scope.as_ref().is_some_and(|scope| !scope.contains(it));
    let done = |it: &Address| gone.contains(it.stream_name()) || aside(it);
    for (of, it) in held.into_iter().filter(|(of, _)| ask.mode != Mode::RefreshOnly && !done(of)) {
        plan.steps.extend(no_longer_held(&of, it, &plan.steps));
    }
    gone
}

/// What is asked about those messages that are in danger, as far as it has no answer yet.
fn questions(steps: &[Step], live: &Live) -> Vec<Question> {
    let risks = steps.iter().flat_map(|it| &it.risks).filter(|it| !it.is_latent());
    let asked = risks.filter_map(|it| it.question.clone());
    let open: BTreeSet<_> = asked.filter(|it| !live.tallies.contains_key(it)).collect();
    open.into_iter().collect()
}

/// Live resources that are changed or taken away.
fn moving(steps: &[Step]) -> BTreeSet<Address> {
    let lives = steps.iter().filter(|it| it.premise.is_some() && !it.calls.is_empty());
    lives.map(|it| it.address.clone()).collect()
}

/// The end of a consumer that still holds a position, where no step of its owner sees to it.
fn no_longer_held(
    of: &Address,
    (address, is): (&Address, &Observed),
    steps: &[Step],
) -> Option<Step> {
    let makes = |it: &&Step| matches!(it.action, Action::Create | Action::Replace);
    if steps.iter().filter(makes).any(|it| it.address == *of) {
        return None;
    }
    let sides = Sides { address, wanted: None, was: None, is: Some(is) };
    let step = step(sides, Action::Delete, Vec::new(), vec![call::delete(address)]);
    Some(Step { adopts: false, ..step })
}

/// The judgement about one resource; `None` where nothing has to be done.
///
/// `holder` holds the position of a consumer that an apply was about to make anew.
fn decide(sides: Sides<'_>, mode: Mode, live: &Live, holder: Option<&Observed>) -> Option<Step> {
    let Sides { address, wanted, was, is } = sides;
    if mode == Mode::RefreshOnly {
        return refresh(sides, &live.at);
    }
    if let (Some(wanted), Some(was), Some(is)) = (wanted, was, is)
        && was.spec_sha256 == wanted.sha256
        && untouched(address, was, is)
    {
        return None;
    }
    let changes = changes(sides, live);
    let in_place = changes.iter().all(|it| !matches!(it.verdict, Verdict::Refused(_)));
    let action = match (wanted, was, is) {
        (Some(_), _, None) => Action::Create,
        (Some(_), None, Some(_)) if changes.is_empty() => Action::Adopt,
        (Some(wanted), Some(was), Some(is)) if changes.is_empty() => {
            if !stale(wanted, was, is, address, &live.at) {
                return None;
            }
            Action::Record
        }
        (Some(_), _, Some(_)) if in_place => Action::Update,
        (Some(_), _, Some(_)) => Action::Replace,
        // What was there before jsplan is let go of again: it was never made here.
        (None, Some(was), Some(_)) if lets_go(mode, was) => Action::Forget,
        (None, Some(_), Some(_)) => Action::Delete,
        (None, Some(_), None) => Action::Forget,
        (None, None, _) => return None,
    };
    let changes = if action == Action::Forget { Vec::new() } else { changes };
    let stream = live.resources.get(&Address::stream(address.stream_name()));
    let calls = call::calls(sides, action, &changes, stream, holder);
    Some(step(sides, action, changes, calls))
}

/// Whether going back to a state that does not know a resource leaves it on the server.
fn lets_go(mode: Mode, was: &Recorded) -> bool {
    matches!(mode, Mode::Rollback(_)) && was.origin == Origin::Adopted
}

/// Field by field: what a creation sets, an update changes, a deletion takes away.
fn changes(Sides { address, wanted, was, is }: Sides<'_>, live: &Live) -> Vec<Change> {
    let release = live.server.release;
    let meaning = |it: Config| diff::meaning(address.rows(), &it, &live.at);
    let (wanted, is) = match (wanted, is.map(|it| meaning(it.config()))) {
        (Some(wanted), Some(is)) => (wanted, is),
        (Some(wanted), None) => return creation(address, &wanted.config, release),
        (None, Some(is)) => return deletion(address, &is, release),
        (None, None) => return Vec::new(),
    };
    let was = was.map(|it| meaning(it.config()));
    let kept = was.as_ref().unwrap_or(&is);
    diff::towards(address.rows(), &is, wanted, kept, (release, &live.at))
        .into_iter()
        .map(|delta| Change {
            cause: cause(&delta, was.as_ref()),
            verdict: delta.verdict(release),
            delta,
        })
        .collect()
}

/// Whether the live resource is to the byte what was recorded, which needs no parsing.
fn untouched(address: &Address, was: &Recorded, is: &Observed) -> bool {
    !drift::recreated(address, was, is) && was.live_sha256 == is.sha256
}

/// Whether the record no longer says what is so, though nothing has to change on the server.
fn stale(wanted: &Declared, was: &Recorded, is: &Observed, address: &Address, at: &str) -> bool {
    let moved = diff::moved(address.rows(), &was.config(), &is.config(), at);
    was.spec_sha256 != wanted.sha256
        || moved.iter().any(|it| !wanted.ignore.contains(it.field.name))
        || drift::recreated(address, was, is)
}

fn creation(address: &Address, wanted: &Config, release: Release) -> Vec<Change> {
    let set = |field: &'static crate::schema::Field| {
        let after = field.value(wanted, None, release)?;
        wanted.has(field.name).then_some(Change {
            delta: Delta { field, before: Value::Null, after },
            cause: Cause::Edit,
            verdict: Verdict::InPlace,
        })
    };
    address.rows().iter().filter(|it| it.writer == Writer::Spec).filter_map(set).collect()
}

fn deletion(address: &Address, is: &Config, release: Release) -> Vec<Change> {
    let unset = Config::default();
    let goes = |field: &'static crate::schema::Field| {
        let before = field.read(is)?;
        let default = field.value(&unset, None, release).as_ref() == Some(&before);
        (!default).then_some(Change {
            delta: Delta { field, before, after: Value::Null },
            cause: Cause::Edit,
            verdict: Verdict::InPlace,
        })
    };
    address.rows().iter().filter(|it| it.writer == Writer::Spec).filter_map(goes).collect()
}

/// The record tells who moved: the spec, the server, or both.
fn cause(delta: &Delta, was: Option<&Config>) -> Cause {
    let Some(was) = was else { return Cause::Edit };
    let was = delta.field.read(was).unwrap_or_default();
    match (was == delta.before, was == delta.after) {
        (true, _) => Cause::Edit,
        (false, true) => Cause::Drift,
        (false, false) => Cause::Both,
    }
}

fn step(sides: Sides<'_>, action: Action, changes: Vec<Change>, calls: Vec<call::Call>) -> Step {
    let Sides { address, wanted, was, is } = sides;
    let missing = is.is_none() && was.is_some();
    let edited = wanted.zip(was).is_some_and(|(wanted, was)| wanted.sha256 != was.spec_sha256);
    let cause = match action {
        Action::Create | Action::Forget if missing => Cause::Drift,
        Action::Create | Action::Delete | Action::Adopt | Action::Bind => Cause::Edit,
        Action::Forget => Cause::Edit,
        Action::Record if edited => Cause::Edit,
        Action::Update | Action::Replace | Action::Record => {
            changes.iter().map(|it| it.cause).reduce(both).unwrap_or(Cause::Drift)
        }
    };
    let origin = match (was, is) {
        (Some(was), Some(_)) => was.origin,
        (None, Some(_)) => Origin::Adopted,
        (_, None) => Origin::Created,
    };
    let fields = address.rows().iter().filter(|it| it.writer == Writer::Spec).count();
    Step {
        address: address.clone(),
        action,
        adopts: was.is_none() && is.is_some(),
        cause,
        same: fields - changes.len(),
        risks: Vec::new(),
        stored: 0,
        falls: false,
        blocked: false,
        calls,
        premise: is.map(premise),
        record: wanted.map(|it| Intent {
            origin,
            prevent_destroy: it.prevent_destroy,
            spec_sha256: it.sha256.clone(),
        }),
        wave: 0,
        needs: BTreeSet::new(),
        makes_room: false,
        place: wanted.map(|it| place(it, action, &changes)),
        changes,
    }
}

/// Where to look in the spec: at the field that changes, else at the resource.
fn place(wanted: &Declared, action: Action, changes: &[Change]) -> Place {
    let written = |it: &Change| wanted.places.get(it.delta.field.name).copied();
    match action {
        Action::Update | Action::Replace => changes.iter().find_map(written),
        Action::Create
        | Action::Delete
        | Action::Bind
        | Action::Adopt
        | Action::Record
        | Action::Forget => None,
    }
    .unwrap_or(wanted.place)
}

fn both(a: Cause, b: Cause) -> Cause {
    if a == b { a } else { Cause::Both }
}

/// What identifies a live resource and its configuration.
#[must_use]
pub fn premise(is: &Observed) -> Premise {
    let config = is.config();
    Premise { created: is.created.clone(), fingerprint: config.fingerprint(), config }
}

/// The state follows the server; the server is left alone.
fn refresh(sides: Sides<'_>, at: &str) -> Option<Step> {
    let sides = Sides { wanted: None, ..sides };
    let (address, was) = (sides.address, sides.was?);
    let Some(now) = sides.is else {
        return Some(step(sides, Action::Forget, Vec::new(), Vec::new()));
    };
    if untouched(address, was, now) {
        return None;
    }
    let deltas = diff::moved(address.rows(), &was.config(), &now.config(), at);
    if deltas.is_empty() && !drift::recreated(address, was, now) {
        return None;
    }
    let changes = deltas
        .into_iter()
        .map(|delta| Change { delta, cause: Cause::Drift, verdict: Verdict::InPlace })
        .collect();
    let mut step = step(sides, Action::Record, changes, Vec::new());
    step.record = Some(Intent {
        origin: was.origin,
        prevent_destroy: was.prevent_destroy,
        // What is recorded now follows no declaration: the next plan has to compare the two.
        spec_sha256: String::new(),
    });
    Some(step)
}
