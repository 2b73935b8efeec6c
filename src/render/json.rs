//! The machine-readable forms, in the shapes Terraform's tools already read.
//!
//! What Terraform has no word for stands under `jsplan` and `x_jsplan`, which strict readers pass
//! over. Values are the wire's: nanoseconds and bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    address::Address,
    diff::Delta,
    drift::{self, Class, Entry},
    finding::{Finding, Severity, Sources},
    forecast::{Amount, Tally},
    history::{self, Difference, Fate},
    letters,
    live::{Live, Server},
    plan::{
        Action, Change, Mode, Plan, Step,
        counts::Counts,
        file::Saved,
        rehearsal::Rehearsal,
        risk::{Risk, When},
        total::{self, Total},
        undo,
    },
    schema::{Field, Verdict},
    spec::Move,
    state::{Recorded, State},
};

const PROVIDER: &str = "jsplan/jetstream";

/// One line of JSON, with a line break at its end. Letters that could harm a terminal are written
/// as JSON escapes, which mean the same.
#[must_use]
pub fn line(value: &Value) -> String {
    format!("{}\n", letters::in_json(&value.to_string()))
}

/// Terraform's plan representation, as of `terraform show -json`.
#[must_use]
pub fn plan(plan: &Plan, sources: &Sources) -> Value {
    let seen = |it: &&Entry| matches!(it.class, Class::Changed | Class::Missing);
    let Counts { import, add, change, destroy, forget } = plan.counts();
    let server = &plan.server;
    let (mode, rollback_to) = match plan.mode {
        Mode::Normal => ("normal", None),
        Mode::Destroy => ("destroy", None),
        Mode::RefreshOnly => ("refresh-only", None),
        Mode::Rollback(serial) => ("rollback", Some(serial)),
    };
    let binds = plan.steps.iter().filter(|it| it.action == Action::Bind);
    json!({
        "format_version": "1.2",
        "timestamp": plan.at,
        "applyable": !plan.is_empty() && !plan.is_refused(),
        "complete": !plan.targeted && !plan.is_refused(),
        "errored": plan.is_refused(),
        "resource_changes": plan.steps.iter().filter_map(|it| resource_change(plan, it)).collect::<Vec<_>>(),
        "resource_drift": plan.drift.iter().filter(seen).map(resource_drift).collect::<Vec<_>>(),
        "jsplan": {
            "version": env!("CARGO_PKG_VERSION"),
            "plan_id": plan.id(),
            "mode": mode,
            "rollback_to": rollback_to,
            "environment": plan.environment,
            "protected": plan.protected,
            "targeted": plan.targeted,
            "lineage": plan.lineage,
            "serial": plan.serial,
            "server": whose(server),
            "summary": {
                "import": import,
                "add": add,
                "change": change,
                "remove": destroy,
                "forget": forget,
                "unchanged": plan.unchanged,
                "blocked": plan.steps.iter().filter(|it| it.blocked).count(),
                "irreversible": undo::count(plan),
            },
            "messages": totals(plan),
            "binds": binds.map(|it| it.address.to_string()).collect::<Vec<_>>(),
            "unmanaged": plan.unmanaged,
            "migrations": plan.moves.iter().map(migration).collect::<Vec<_>>(),
            "diagnostics": diagnostics(&plan.findings, sources),
        },
    })
}

fn migration(it: &Move) -> Value {
    let Move { version, name, meaning, from: _, done: (done, of), next, until } = it;
    json!({
        "version": version,
        "name": name,
        "meaning": meaning,
        "steps_done": done,
        "steps": of,
        "next": next.iter().map(|it| &it.0).collect::<Vec<_>>(),
        "waits_for": until,
    })
}

/// The same of a plan that was saved; `refusal` is why it can no longer be applied.
#[must_use]
pub fn saved(saved: &Saved, refusal: Option<&str>) -> Value {
    let mut value = plan(&saved.plan, &saved.sources);
    value["jsplan"]["saved"] = json!({
        "by": saved.by,
        "signed_by": saved.signed_by,
        "refusal": refusal,
    });
    value
}

/// What stands in place of a plan where the spec has errors.
#[must_use]
pub fn unplanned(findings: &[Finding], sources: &Sources) -> Value {
    nothing(json!(diagnostics(findings, sources)))
}

/// What stands in place of a plan where none could be made.
#[must_use]
pub fn failed(message: &str, help: Option<&str>) -> Value {
    let help = help.unwrap_or_default();
    nothing(json!([{ "severity": "error", "summary": message, "detail": help }]))
}

fn nothing(diagnostics: Value) -> Value {
    json!({
        "format_version": "1.2",
        "applyable": false,
        "complete": false,
        "errored": true,
        "resource_changes": [],
        "resource_drift": [],
        "jsplan": { "version": env!("CARGO_PKG_VERSION"), "diagnostics": diagnostics },
    })
}

/// The same of a plan that was rehearsed.
#[must_use]
pub fn rehearsed(plan: &Plan, rehearsal: &Rehearsal, sources: &Sources) -> Value {
    let Rehearsal { version, servers, steps, applied, refused, left, findings } = rehearsal;
    let mut value = self::plan(plan, sources);
    if !rehearsal.succeeded() {
        (value["applyable"], value["errored"]) = (false.into(), true.into());
    }
    value["jsplan"]["rehearsal"] = json!({
        "version": version,
        "servers": servers,
        "steps": steps,
        "applied": applied,
        "refused": refused,
        "left": left,
        "diagnostics": diagnostics(findings, sources),
    });
    value
}

/// Terraform's state representation.
#[must_use]
pub fn state(state: &State) -> Value {
    json!({
        "format_version": "1.0",
        "values": { "root_module": {
            "resources": state.resources.iter().map(recorded).collect::<Vec<_>>(),
        } },
        "jsplan": {
            "version": state.jsplan_version,
            "environment": state.environment,
            "lineage": state.lineage,
            "serial": state.serial,
            "target": state.target,
            "last_apply": state.last_apply,
        },
    })
}

/// The changes of a state, the latest first.
#[must_use]
pub fn history(state: &State, entries: &[history::Entry]) -> Value {
    json!({
        "format_version": "1.0",
        "environment": state.environment,
        "lineage": state.lineage,
        "serial": state.serial,
        "applies": entries.iter().map(applied).collect::<Vec<_>>(),
    })
}

/// One change of a state, resource by resource.
#[must_use]
pub fn change(
    state: &State,
    entry: &history::Entry,
    before: Option<u64>,
    differences: &[Difference],
) -> Value {
    json!({
        "format_version": "1.0",
        "environment": state.environment,
        "lineage": state.lineage,
        "before": before,
        "apply": applied(entry),
        "changes": differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn applied(history::Entry { serial, apply }: &history::Entry) -> Value {
    let mut value = json!(apply);
    if let (Value::Object(fields), Some(apply)) = (&mut value, apply) {
        fields.insert("complete".to_owned(), apply.is_complete().into());
    }
    if value.is_null() {
        value = json!({});
    }
    value["serial"] = (*serial).into();
    value
}

fn difference(it: &Difference) -> Value {
    let Difference { address, fate, deltas, protection } = it;
    let fate = match fate {
        Fate::Entered => "added",
        Fate::Stayed => "changed",
        Fate::Recreated => "recreated",
        Fate::Left => "removed",
    };
    let deltas = deltas.iter().map(|it| it.spoken(address));
    let field =
        |it: Delta| json!({ "field": it.field.name, "before": it.before, "after": it.after });
    let mut fields: Vec<_> = deltas.map(field).collect();
    let protects = |it: &(Option<bool>, Option<bool>)| json!({ "field": "prevent_destroy", "before": it.0, "after": it.1 });
    fields.extend(protection.as_ref().map(protects));
    json!({ "address": address, "action": fate, "changes": fields })
}

/// One comparison of live and recorded.
#[must_use]
pub fn drift(report: &drift::Report, recorded: &State, live: &Live) -> Value {
    let of = |class| report.entries.iter().filter(|it| it.class == class).count();
    json!({
        "format_version": "1.0",
        "timestamp": live.at,
        "environment": recorded.environment,
        "serial": recorded.serial,
        "server": whose(&live.server),
        "drifted": report.drifted(),
        "summary": {
            "changed": of(Class::Changed),
            "missing": of(Class::Missing),
            "unknown": of(Class::Unknown),
            "pending": of(Class::Pending),
            "accepted": of(Class::Accepted),
            "unmanaged": report.unmanaged.len(),
            "in_sync": report.in_sync,
        },
        "coverage": { "managed": report.coverage.0, "live": report.coverage.1 },
        "entries": report.entries.iter().map(entry).collect::<Vec<_>>(),
        "unmanaged": report.unmanaged,
    })
}

fn whose(server: &Server) -> Value {
    json!({
        "version": server.version,
        "api_level": server.api_level,
        "account": server.account,
        "cluster": server.cluster,
        "domain": server.domain,
    })
}

/// Diagnostics, as of `terraform validate -json`.
#[must_use]
pub fn findings(findings: &[Finding], sources: &Sources) -> Value {
    let of = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let errors = of(Severity::Error);
    json!({
        "format_version": "1.0",
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": of(Severity::Warning),
        "diagnostics": diagnostics(findings, sources),
    })
}

fn diagnostics<'a>(findings: &'a [Finding], sources: &'a Sources) -> Vec<Diagnostic<'a>> {
    findings.iter().map(|it| diagnostic(it, sources)).collect()
}

/// One entry of Terraform's `diagnostics`.
#[derive(Serialize)]
struct Diagnostic<'a> {
    severity: String,
    summary: &'a str,
    detail: &'a str,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<Range<'a>>,
}

#[derive(Serialize)]
struct Range<'a> {
    filename: &'a str,
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    line: usize,
    column: usize,
    byte: usize,
}

fn diagnostic<'a>(finding: &'a Finding, sources: &'a Sources) -> Diagnostic<'a> {
    let range = finding.place.map(|place| {
        let position = |byte| {
            let (line, column) = match sources.shows(place) {
                true => sources.position(place, byte),
                false => sources.line(place),
            };
            Position { line, column, byte }
        };
        let span = sources.span(place);
        Range {
            filename: sources.path(place),
            start: position(span.start),
            end: position(span.end),
        }
    });
    Diagnostic {
        severity: finding.severity.to_string(),
        summary: &finding.message,
        detail: finding.help.as_deref().unwrap_or_default(),
        code: finding.code.to_string(),
        address: finding.about.as_ref(),
        range,
    }
}

/// The head of every resource in Terraform's representations.
fn resource(address: &Address) -> Map<String, Value> {
    [
        ("address", address.to_string()),
        ("mode", "managed".to_owned()),
        ("type", format!("jetstream_{}", address.kind())),
        ("name", address.name().to_owned()),
        ("provider_name", PROVIDER.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.into()))
    .collect()
}

/// A step; none for the binding of subjects, which belongs to the creation of its stream.
fn resource_change(plan: &Plan, step: &Step) -> Option<Value> {
    let actions = match step.action {
        Action::Create => json!(["create"]),
        Action::Update => json!(["update"]),
        Action::Replace => json!(["delete", "create"]),
        Action::Delete => json!(["delete"]),
        Action::Adopt | Action::Record => json!(["no-op"]),
        Action::Forget => json!(["forget"]),
        Action::Bind => return None,
    };
    let (before, after) = before_and_after(step);
    let mut change = json!({
        "actions": actions,
        "before": before,
        "after": after,
        "after_unknown": {},
        "before_sensitive": false,
        "after_sensitive": false,
    });
    if step.adopts {
        change["importing"] = json!({ "id": step.address.to_string() });
    }
    let refused = step.changes.iter().filter(|it| matches!(it.verdict, Verdict::Refused(_)));
    if step.action == Action::Replace {
        let path = |it: &Change| json!([it.delta.spoken(&step.address).field.name]);
        change["replace_paths"] = refused.map(path).collect();
    }
    let mut resource = resource(&step.address);
    resource.insert("change".to_owned(), change);
    resource.insert("x_jsplan".to_owned(), extras(plan, step));
    Some(resource.into())
}

fn extras(plan: &Plan, step: &Step) -> Value {
    let causes: BTreeMap<_, _> = step
        .changes
        .iter()
        .map(|it| (it.delta.spoken(&step.address).field.name, it.cause))
        .collect();
    let lasting = undo::lasting(plan, step);
    let lasting: Vec<_> = lasting.into_iter().map(|it| it.words(step.address.name())).collect();
    json!({
        "cause": step.cause,
        "causes": causes,
        "blocked": step.blocked,
        "reversible": lasting.is_empty(),
        "irreversible": lasting,
        "risks": step.risks.iter().map(|it| risk(step, it)).collect::<Vec<_>>(),
        "stored": step.stored,
        "wave": step.wave,
        "live_fingerprint": step.premise.as_ref().map(|it| &it.fingerprint),
    })
}

fn risk(step: &Step, risk: &Risk) -> Value {
    let Tally { messages, bytes, oldest, newest, upto, how } = &risk.tally;
    let needs = |(address, number): &(Address, Amount)| json!({ "address": address, "messages": number.most(), "certainty": certainty(number) });
    let (when, time) = match risk.when {
        When::AtOnce => ("at-once", None),
        When::Within(time) => ("within", Some(time)),
        When::Idle(time) => ("idle", Some(time)),
    };
    json!({
        "class": risk.harm,
        "messages": messages.most(),
        "certainty": certainty(messages),
        "bytes": bytes,
        "oldest": oldest,
        "newest": newest,
        "upto": upto,
        "how": how,
        "when": when,
        "time": time,
        "why": risk.why,
        "safer": risk.safer,
        "needed_by": risk.needed_by.iter().map(needs).collect::<Vec<_>>(),
        "consent": risk.harm.needs_consent().then(|| risk.consent(&step.address)),
        "allowed": risk.allowed,
        "most": risk.most,
    })
}

fn certainty(amount: &Amount) -> &'static str {
    match amount {
        Amount::Nothing => "none",
        Amount::Exactly(_) => "exactly",
        Amount::AtMost(_) => "at-most",
        Amount::Unknown(_) => "unknown",
    }
}

/// What happens to messages, all steps together.
fn totals(plan: &Plan) -> Value {
    let of = |fate| {
        let Total { messages, at_most, unknown, actions } = plan.total(fate);
        json!({ "messages": messages, "at_most": at_most, "unknown": unknown, "actions": actions })
    };
    json!({
        "deleted": of(total::Fate::Deleted),
        "deleted_later": of(total::Fate::DeletedLater),
        "skipped": of(total::Fate::Skipped),
        "repeated": of(total::Fate::Repeated),
    })
}

/// The whole configuration on either side where a request carries it, else the fields that differ.
fn before_and_after(step: &Step) -> (Value, Value) {
    let sent = step.calls.last().map(|it| match step.address {
        Address::Stream(_) => &it.body,
        Address::Consumer { .. } => &it.body["config"],
    });
    let base = sent.and_then(Value::as_object).cloned().unwrap_or_default();
    let laid = |side: fn(&Delta) -> &Value| {
        let mut config = base.clone();
        for change in &step.changes {
            let name = change.delta.field.name;
            config.remove(name);
            let value = side(&change.delta);
            if !value.is_null() {
                config.insert(name.to_owned(), value.clone());
            }
        }
        spoken(&step.address, config)
    };
    let (before, after) = (laid(|it| &it.before), laid(|it| &it.after));
    match step.action {
        Action::Create => (Value::Null, after),
        Action::Delete | Action::Forget => (before, Value::Null),
        Action::Update | Action::Replace | Action::Bind | Action::Adopt | Action::Record => {
            (before, after)
        }
    }
}

/// A configuration in the words of the resource: a bucket's where they can say a value, else those
/// of its stream, whose name stays.
fn spoken(of: &Address, config: Map<String, Value>) -> Value {
    let say = |(name, after): (String, Value)| match Field::find(of.rows(), &name) {
        Some(field) => {
            let said = Delta { field, before: Value::Null, after }.spoken(of);
            (said.field.name.to_owned(), said.after)
        }
        None => (name, after),
    };
    Value::Object(config.into_iter().map(say).collect())
}

fn resource_drift(entry: &Entry) -> Value {
    let actions = match (entry.class, entry.recreated) {
        (Class::Missing, _) => json!(["delete"]),
        (_, true) => json!(["delete", "create"]),
        (_, false) => json!(["update"]),
    };
    let deltas: Vec<_> = entry.deltas.iter().map(|it| it.spoken(&entry.address)).collect();
    let side = |of: fn(&Delta) -> &Value| -> Value {
        let fields = deltas.iter().map(|it| (it.field.name.to_owned(), of(it).clone()));
        Value::Object(fields.collect())
    };
    let after = if entry.class == Class::Missing { Value::Null } else { side(|it| &it.after) };
    let mut resource = resource(&entry.address);
    let change = json!({ "actions": actions, "before": side(|it| &it.before), "after": after });
    resource.insert("change".to_owned(), change);
    resource.into()
}

fn recorded((address, recorded): (&Address, &Recorded)) -> Value {
    let mut resource = resource(address);
    resource.insert("schema_version".to_owned(), 0.into());
    let config = recorded.config().into_value();
    let config = config.as_object().cloned().unwrap_or_default();
    resource.insert("values".to_owned(), spoken(address, config));
    let extras = json!({
        "created": recorded.created,
        "origin": recorded.origin,
        "prevent_destroy": recorded.prevent_destroy,
    });
    resource.insert("x_jsplan".to_owned(), extras);
    resource.into()
}

fn entry(entry: &Entry) -> Value {
    let changes = entry
        .deltas
        .iter()
        .map(|it| it.spoken(&entry.address))
        .map(|it| json!({ "field": it.field.name, "before": it.before, "after": it.after }));
    json!({
        "address": entry.address,
        "class": entry.class,
        "recreated": entry.recreated,
        "changes": changes.collect::<Vec<_>>(),
    })
}
