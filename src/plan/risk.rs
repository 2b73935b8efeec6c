//! What a step costs, and what stops it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Amount, Ask, Change, Mode, Risk, Step};
use crate::{
    address::{Address, consumers_of},
    finding::{Code, Finding, Severity},
    live::{Facts, Live, Observed},
    schema::{Harm, Loses, Release, Verdict},
    spec::{Declared, Desired, check},
    state::{Recorded, State},
    subject,
    units::count,
};

/// What a step is judged against.
pub(super) struct Around<'a> {
    pub(super) desired: &'a Desired,
    pub(super) recorded: &'a State,
    pub(super) live: &'a Live,
    pub(super) ask: &'a Ask,
    /// Streams that are destroyed, if only to be made again.
    pub(super) gone: BTreeSet<&'a str>,
}

impl Around<'_> {
    /// Adds to a step what it costs, and to the findings what must not happen.
    pub(super) fn assess(&self, step: &mut Step, findings: &mut Vec<Finding>) {
        let address = step.address.clone();
        let wanted = self.desired.resources.get(&address);
        let mut stops = Vec::new();
        step.stored = stored(&address, self.live);
        if let Some(wanted) = wanted.filter(|_| sends_fields(step)) {
            stops.extend(refused(step, wanted, self.live));
        }
        let mut replacement = None;
        if let Some(is) = self.live.resources.get(&address) {
            step.risks = self.risks(step, is);
            if step.destroys() {
                stops.extend(self.protection(step, wanted, is));
            }
            if step.action == Action::Replace {
                replacement = self::replacement(step, is);
            }
        } else {
            step.risks.extend(self.delivered_again(step));
        }
        for risk in &mut step.risks {
            risk.allowed = self.ask.allow.contains(&(risk.harm, address.clone()));
            // No consent lets a replacement through that is refused as such.
            if risk.harm.needs_consent() && !risk.allowed && replacement.is_none() {
                let field = risk.field.as_deref().unwrap_or_default();
                let place = wanted.and_then(|it| it.places.get(field)).copied();
                stops.push(no_consent(&address, risk).at(place));
            }
        }
        stops.extend(replacement);
        let place = step.place.or(wanted.map(|it| it.place));
        step.blocked = stops.iter().any(|it| it.severity == Severity::Error);
        findings.extend(stops.into_iter().map(|it| match it.place {
            Some(_) => it.about(&address),
            None => it.at(place).about(&address),
        }));
    }
}

/// Whether the step sends what the spec says.
fn sends_fields(step: &Step) -> bool {
    matches!(step.action, Action::Create | Action::Update | Action::Replace)
}

fn no_consent(address: &Address, risk: &Risk) -> Finding {
    let amount = match risk.messages {
        Amount::Nothing => String::new(),
        Amount::Exactly(messages) => format!(" ({})", count(messages, "message")),
        Amount::AtMost(messages) => format!(" (at most {})", count(messages, "message")),
    };
    Finding::error(Code::DataLoss, format!("`{address}`: {}{amount}", risk.why))
        .help(format!("to do it all the same, plan with `--allow {}={address}`", risk.harm))
}

/// What the server would refuse, or take and not carry out.
fn refused(step: &Step, wanted: &Declared, live: &Live) -> Vec<Finding> {
    let found = too_new(step, wanted, live.server.release).into_iter();
    let at = |name: &str, it: Finding| it.at(wanted.places.get(name).copied());
    let gated = check::refused_by(live.server.release, &step.address, wanted);
    let mut found: Vec<Finding> = found.chain(gated).collect();
    if step.action != Action::Update && wanted.config.get("sealed") == Some(&Value::Bool(true)) {
        let message = "no stream is created sealed";
        let help = "leave `sealed` out until the stream exists and holds its messages";
        found.push(at("sealed", Finding::error(Code::BadValue, message).help(help)));
    }
    found
}

/// Fields and values that the server's release does not know.
fn too_new(step: &Step, wanted: &Declared, release: Release) -> Vec<Finding> {
    let mut found = Vec::new();
    for Change { delta, .. } in &step.changes {
        let name = delta.field.name;
        let since = delta.field.first_release(&delta.after);
        if since > release && wanted.config.has(name) {
            let what = if delta.field.since > release { "" } else { " with this value" };
            let message =
                format!("`{name}`{what} needs nats-server {since}, and this is {release}");
            let remedy = format!("leave it out for this environment, or upgrade to {since}");
            let place = wanted.places.get(name).copied();
            found.push(Finding::error(Code::TooNew, message).at(place).help(remedy));
        }
    }
    found
}

impl Around<'_> {
    /// What is protected stays, whoever wants it gone.
    fn protection(&self, step: &Step, wanted: Option<&Declared>, is: &Observed) -> Vec<Finding> {
        let address = &step.address;
        let was = self.recorded.resources.get(address);
        let mut found: Vec<_> = prevented(step, wanted, was, is).into_iter().collect();
        if was.is_some_and(|was| crate::drift::recreated(address, was, is)) {
            let message =
                format!("`{address}` is not the one jsplan made: it was created {}", is.created);
            found.push(Finding::error(Code::Recreated, message).help(format!(
                "`jsplan state rm {address}` lets go of it; nothing on the server changes"
            )));
        }
        if let Some(stranger) = self.stranger(address) {
            let message =
                format!("destroying `{address}` would destroy `{stranger}`, which is not managed");
            found.push(Finding::error(Code::Protected, message).help("remove or adopt it first"));
        }
        found
    }

    /// A live consumer of a stream that is neither recorded nor about to be adopted.
    fn stranger(&self, stream: &Address) -> Option<&Address> {
        let Address::Stream(name) = stream else { return None };
        let adopted = |it: &Address| {
            self.ask.mode != Mode::Destroy && self.desired.resources.contains_key(it)
        };
        let mut consumers = consumers_of(&self.live.resources, name).map(|(it, _)| it);
        consumers.find(|it| !self.recorded.resources.contains_key(it) && !adopted(it))
    }

    fn risks(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let stored = stored(&step.address, self.live);
        let costs: Vec<(Option<&str>, Cost)> = match step.action {
            Action::Delete | Action::Replace if is.messages() > 0 => {
                let why = "its messages would be deleted".to_owned();
                vec![(None, (Harm::DataLoss, Amount::Exactly(is.messages()), why))]
            }
            Action::Delete | Action::Replace => {
                self.position_lost(step, is).into_iter().map(|it| (None, it)).collect()
            }
            Action::Update => {
                let of = |change: &Change| {
                    let name = change.delta.field.name;
                    let costs = if matches!(change.delta.field.loses, Loses::Filtered) {
                        self.filtered(step, is, stored)
                    } else {
                        cost(change, step, is, stored).into_iter().collect()
                    };
                    costs.into_iter().map(move |it| (Some(name), it)).collect::<Vec<_>>()
                };
                step.changes.iter().flat_map(of).collect()
            }
            Action::Create | Action::Bind | Action::Adopt | Action::Record | Action::Forget => {
                Vec::new()
            }
        };
        let mut risks: Vec<Risk> = Vec::new();
        for (field, (harm, messages, why)) in costs {
            // `filter_subject` and `filter_subjects` may change together.
            if !risks.iter().any(|it| it.harm == harm && it.why == why) {
                let field = field.map(ToOwned::to_owned);
                risks.push(Risk { harm, messages, why, field, allowed: false });
            }
        }
        risks
    }

    /// A consumer that is destroyed forgets where it was; with its stream goes more than that, and
    /// is counted there.
    fn position_lost(&self, step: &Step, is: &Observed) -> Vec<Cost> {
        if step.address.is_stream() {
            return Vec::new();
        }
        let stream = step.address.stream_name();
        let stored = stored(&step.address, self.live);
        if self.gone.contains(stream) || stored == 0 {
            return Vec::new();
        }
        let mut costs = Vec::new();
        if self.keeps_by_interest(stream) {
            let why = "messages that no other consumer needs would be deleted".to_owned();
            costs.push((Harm::DataLoss, Amount::AtMost(stored), why));
        }
        if step.action == Action::Replace {
            costs.extend(starts_over(step, is, stored));
        }
        costs
    }

    /// A consumer that somebody deleted has taken its position along, which nobody else knows.
    fn delivered_again(&self, step: &Step) -> Option<Risk> {
        let Address::Consumer { stream, .. } = &step.address else { return None };
        let missing = self.recorded.resources.contains_key(&step.address);
        let starts = step.calls.last().map(|it| &it.body["config"]["deliver_policy"])?;
        let goes_back = !starts.as_str().is_some_and(|it| matches!(it, "new" | "last"));
        let stays = !self.gone.contains(stream.as_str());
        let concerned = missing && goes_back && stays && step.stored > 0;
        concerned.then(|| Risk {
            harm: Harm::Redelivery,
            messages: Amount::AtMost(step.stored),
            why: "its position is lost: it starts again".to_owned(),
            field: None,
            allowed: false,
        })
    }

    /// A filter that widens does not go back for what it passed; one that narrows lets go of
    /// messages, which are deleted where interest is all that keeps them.
    fn filtered(&self, step: &Step, is: &Observed, stored: u64) -> Vec<Cost> {
        let live = is.config();
        let before = filters(|name| live.get(name).cloned().unwrap_or_default());
        let after = filters(|name| will(step, is, name));
        let within = |inner: &[String], outer: &[String]| {
            inner.iter().all(|it| outer.iter().any(|wider| subject::covers(wider, it)))
        };
        let mut costs = Vec::new();
        let narrows = !within(&before, &after);
        if stored > 0 && narrows && self.keeps_by_interest(step.address.stream_name()) {
            let why = "messages that no consumer wants any more would be deleted".to_owned();
            costs.push((Harm::DataLoss, Amount::AtMost(stored), why));
        }
        if stored > 0 && !within(&after, &before) {
            let why = "matching messages behind its position would be skipped".to_owned();
            costs.push((Harm::Skipped, Amount::AtMost(stored), why));
        }
        costs
    }

    fn keeps_by_interest(&self, stream: &str) -> bool {
        let stream = self.live.resources.get(&Address::stream(stream));
        stream.is_some_and(|it| it.config().text("retention") == Some("interest"))
    }
}

/// A consumer that is made again begins where its configuration says.
fn starts_over(step: &Step, is: &Observed, stored: u64) -> Option<Cost> {
    let Facts::Consumer { pending, ack_pending, ack_floor } = is.facts else { return None };
    let unread = pending + ack_pending;
    let again = stored.saturating_sub(pending);
    let (starts, start) = (will(step, is, "deliver_policy"), will(step, is, "opt_start_seq"));
    let skips = match starts.as_str() {
        Some("new") => Some(Amount::Exactly(unread)),
        Some("last" | "last_per_subject" | "by_start_time") => Some(Amount::AtMost(unread)),
        Some("by_start_sequence") if start.as_u64() > Some(ack_floor + 1) => {
            Some(Amount::AtMost(unread))
        }
        _ => None,
    };
    let follows_on = starts == "by_start_sequence" && start.as_u64() > Some(ack_floor);
    match skips {
        Some(amount) if unread > 0 => Some((
            Harm::Skipped,
            amount,
            "its position would be lost: what it has not delivered would be skipped".to_owned(),
        )),
        None if again > 0 && !follows_on => Some((
            Harm::Redelivery,
            Amount::AtMost(again),
            "its position would be lost: it would start again".to_owned(),
        )),
        Some(_) | None => None,
    }
}

/// What keeps a resource: the spec or else the state says so, or it holds messages.
fn prevented(
    step: &Step,
    wanted: Option<&Declared>,
    was: Option<&Recorded>,
    is: &Observed,
) -> Option<Finding> {
    let address = &step.address;
    let said =
        wanted.map_or_else(|| was.and_then(|it| it.prevent_destroy), |it| it.prevent_destroy);
    // What the spec says holds at once; what it no longer says must be recorded first.
    let remedy = match wanted {
        Some(_) => "set `prevent_destroy = false` in the spec",
        None => {
            "put it back into the spec with `prevent_destroy = false`, apply that, then remove it"
        }
    };
    let messages = is.messages();
    let (message, help) = match said {
        Some(true) => (
            format!("`{address}` would be destroyed, and has `prevent_destroy = true`"),
            remedy.to_owned(),
        ),
        None if messages > 0 && step.action == Action::Delete => (
            format!("`{address}` would be destroyed with its {}", count(messages, "message")),
            format!("what holds messages is protected; {remedy}"),
        ),
        None if step.adopts && messages == 0 => (
            format!("`{address}` would be replaced, and jsplan did not make it"),
            refusal(step).map_or_else(
                || remedy.to_owned(),
                |(Change { delta, .. }, _)| {
                    let (name, value) = (delta.field.name, delta.field.show(&delta.before));
                    format!("{remedy}, or set `{name}` to `{value}` to take it over as it is")
                },
            ),
        ),
        Some(false) | None => return None,
    };
    Some(Finding::error(Code::Protected, message).help(help))
}

/// A replacement is refused where messages would go with it, or where something else is meant.
fn replacement(step: &Step, is: &Observed) -> Option<Finding> {
    let (change, why) = refusal(step)?;
    let address = &step.address;
    let name = change.delta.field.name;
    let before = &change.delta.before;
    let back = if before.is_null() {
        format!("remove `{name}` again")
    } else {
        format!("set `{name}` back to `{}`", change.delta.field.show(before))
    };
    let (cost, remedy) = match is.messages() {
        0 if name == "pause_until" => ("lose its position".to_owned(), back),
        0 => return None,
        messages => (
            format!("delete its {}", count(messages, "message")),
            format!(
                "{back}; or declare a second stream beside it and move the messages, since this \
                 jsplan has no migrations yet"
            ),
        ),
    };
    let message =
        format!("`{name}` cannot be changed ({why}), and replacing `{address}` would {cost}");
    Some(Finding::error(Code::Replacement, message).help(remedy))
}

/// The filters of a consumer; without any it reads everything.
fn filters(value: impl Fn(&str) -> Value) -> Vec<String> {
    let (one, several) = (value("filter_subject"), value("filter_subjects"));
    let texts = several.as_array().into_iter().flatten().chain([&one]).filter_map(Value::as_str);
    let found: Vec<_> = texts.filter(|it| !it.is_empty()).map(ToOwned::to_owned).collect();
    if found.is_empty() { vec![">".to_owned()] } else { found }
}

/// The first change that no update makes, and why.
fn refusal(step: &Step) -> Option<(&Change, &'static str)> {
    step.changes.iter().find_map(|it| match it.verdict {
        Verdict::Refused(why) => Some((it, why)),
        Verdict::InPlace | Verdict::OneWay => None,
    })
}

/// Messages in the stream that a resource is or reads.
fn stored(address: &Address, live: &Live) -> u64 {
    live.resources.get(&Address::stream(address.stream_name())).map_or(0, Observed::messages)
}

type Cost = (Harm, Amount, String);

/// What one accepted change costs.
fn cost(change: &Change, step: &Step, is: &Observed, stored: u64) -> Option<Cost> {
    let delta = &change.delta;
    if change.verdict == Verdict::OneWay {
        let why = format!("`{}` cannot be taken back by an update", delta.field.name);
        return Some((Harm::OneWay, Amount::Nothing, why));
    }
    match delta.field.loses {
        Loses::Nothing | Loses::Filtered => None,
        Loses::Lowered => lowered(change, step, is),
        Loses::Released => released(step, is),
        Loses::When(harm, why, applies) if applies(&delta.before, &delta.after) => {
            let messages = match harm {
                Harm::DataLoss | Harm::Skipped | Harm::Redelivery if stored == 0 => return None,
                Harm::DataLoss | Harm::Skipped | Harm::Redelivery => Amount::AtMost(stored),
                Harm::OneWay | Harm::Availability => Amount::Nothing,
            };
            Some((harm, messages, why.to_owned()))
        }
        Loses::When(..) => None,
    }
}

/// A lower limit deletes what is over it, at once; `discard = "new"` keeps it from doing so for
/// the limits on number and bytes (all releases).
fn lowered(change: &Change, step: &Step, is: &Observed) -> Option<Cost> {
    let Facts::Stream { messages, bytes, .. } = is.facts else { return None };
    let limit = limit(&change.delta.after)?;
    if limit >= self::limit(&change.delta.before).unwrap_or(u64::MAX) || messages == 0 {
        return None;
    }
    let name = change.delta.field.name;
    // Limits are enforced under the discard policy of the new configuration.
    let refuses = will(step, is, "discard") == "new" && matches!(name, "max_msgs" | "max_bytes");
    let amount = match name {
        "max_msgs" => Amount::Exactly(messages.saturating_sub(limit)),
        "max_msgs_per_subject" => Amount::AtMost(messages.saturating_sub(limit)),
        "max_bytes" if bytes <= limit => Amount::Exactly(0),
        _ => Amount::AtMost(messages),
    };
    if matches!(amount, Amount::Exactly(0) | Amount::AtMost(0)) {
        return None;
    }
    if refuses {
        let why = format!("new messages are refused until `{name}` is kept again");
        return Some((Harm::Availability, Amount::Nothing, why));
    }
    Some((Harm::DataLoss, amount, format!("messages beyond `{name}` would be deleted")))
}

/// What `discard = "new"` let stand beyond a limit is deleted once it gives way to `"old"`. A limit
/// that is lowered in the same step counts for itself.
fn released(step: &Step, is: &Observed) -> Option<Cost> {
    let Facts::Stream { messages, bytes, .. } = is.facts else { return None };
    let lowered = |it: &&Change| limit(&it.delta.after) < limit(&it.delta.before);
    let over = |name: &str, stands: u64| {
        let change = step.changes.iter().find(|it| it.delta.field.name == name);
        let most = limit(&will(step, is, name)).filter(|_| change.filter(lowered).is_none());
        stands.saturating_sub(most.unwrap_or(u64::MAX))
    };
    let amount = match (over("max_msgs", messages), over("max_bytes", bytes)) {
        (0, 0) => return None,
        (count, 0) => Amount::Exactly(count),
        (_, _) => Amount::AtMost(messages),
    };
    let old = will(step, is, "discard") == "old";
    old.then(|| (Harm::DataLoss, amount, "what is beyond a limit would be deleted".to_owned()))
}

/// The number of a limit; `None` where there is none.
fn limit(value: &Value) -> Option<u64> {
    value.as_u64().filter(|it| *it > 0)
}

/// The value of a field once the step is done.
fn will(step: &Step, is: &Observed, name: &str) -> Value {
    let changed = step.changes.iter().find(|it| it.delta.field.name == name);
    let stays = || is.config().get(name).cloned().unwrap_or_default();
    changed.map_or_else(stays, |it| it.delta.after.clone())
}
