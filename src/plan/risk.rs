//! What a step costs, and what stops it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Action, Ask, Change, Mode, Risk, Step, bucket, origin, owner};
use crate::{
    address::{Address, consumers_of},
    config::Config,
    diff::{self, Delta},
    finding::{Code, Finding, Severity},
    forecast::{Amount, Tally},
    live::{Facts, Live, Observed},
    position,
    schema::{Harm, Loses, Release, Verdict, bucket::speak},
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
    /// Live resources that the plan changes or takes away.
    pub(super) moving: BTreeSet<Address>,
}

impl Around<'_> {
    /// Adds to a step what it costs, and to the findings what must not happen.
    pub(super) fn assess(&self, step: &mut Step, findings: &mut Vec<Finding>) {
        let address = step.address.clone();
        let wanted = self.desired.resources.get(&address);
        let mut stops = Vec::new();
        step.stored = stored(&address, self.live);
        if let Some(wanted) = wanted.filter(|_| step.sends_fields()) {
            stops.extend(refused(step, wanted, self.live));
            stops.extend(origin::refused(wanted, self.desired, self.live));
            stops.extend(self.taken(step, wanted));
        }
        let mut replacement = None;
        if let Some(is) = self.live.resources.get(&address) {
            step.risks = self.risks(step, is);
            step.risks.extend(owner::taken_over(step, is, self.recorded));
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
        stops.extend(bucket::remarks(step, wanted));
        let words = |it: &str| speak(address.name(), it).into_owned();
        let said = stops.into_iter().map(|it| it.said(words).about(&address));
        findings.extend(said.map(|it| if it.place.is_some() { it } else { it.at(place) }));
    }
}

fn no_consent(address: &Address, risk: &Risk) -> Finding {
    let amount = match &risk.tally.messages {
        Amount::Nothing => String::new(),
        Amount::Exactly(messages) => format!(" ({})", count(*messages, "message")),
        Amount::AtMost(messages) => format!(" (at most {})", count(*messages, "message")),
        Amount::Unknown(why) => format!(" (nobody knows how many: {why})"),
    };
    let code = if risk.harm == Harm::Takeover { Code::Owner } else { Code::DataLoss };
    Finding::error(code, format!("`{address}`: {}{amount}", risk.why))
        .help(format!("to do it all the same, plan with `--allow {}={address}`", risk.harm))
}

/// What the server would refuse, or take and not carry out.
fn refused(step: &Step, wanted: &Declared, live: &Live) -> Vec<Finding> {
    let found = too_new(step, wanted, live.server.release).into_iter();
    // What is made, perhaps anew, takes over nothing that is live.
    let is = live.resources.get(&step.address).filter(|_| step.action == Action::Update);
    let is = is.map(|it| diff::meaning(step.address.rows(), &it.config(), &live.at));
    let gated = check::refused_by(live.server.release, &step.address, wanted, is.as_ref());
    let mut found: Vec<Finding> = found.chain(gated).collect();
    found.extend(sealing(step, wanted, live));
    found
}

/// What sealing excludes, before and after.
fn sealing(step: &Step, wanted: &Declared, live: &Live) -> Option<Finding> {
    let is_on = |config: &Config, name: &str| config.get(name) == Some(&Value::Bool(true));
    if step.action != Action::Update {
        let place = wanted.places.get("sealed").copied();
        let finding = Finding::error(Code::BadValue, "no stream is created sealed").at(place);
        let help = "leave `sealed` out until the stream exists and holds its messages";
        return is_on(&wanted.config, "sealed").then(|| finding.help(help));
    }
    let is = live.resources.get(&step.address).map(Observed::config)?;
    // What sealing made of these, the server finds wrong when it looks again (2.11 to 2.15).
    let stuck = |it: &Config| {
        is_on(it, "allow_msg_schedules")
            || is_on(it, "allow_msg_counter")
            || it.number("subject_delete_marker_ttl") > Some(0)
    };
    let message = "a sealed stream with schedules, counters or delete markers takes no update";
    let help = "put the spec back to what the stream is, or name what differs under `ignore`";
    let stuck = is_on(&is, "sealed") && (stuck(&is) || stuck(&wanted.config));
    stuck.then(|| Finding::error(Code::Conflict, message).help(help))
}

/// Fields and values that the server's release does not know.
fn too_new(step: &Step, wanted: &Declared, release: Release) -> Vec<Finding> {
    let mut found = Vec::new();
    for Change { delta, .. } in &step.changes {
        let name = delta.field.name;
        let since = delta.field.first_release(&delta.after);
        // What is written and is so anyway needs no server that knows it.
        let says = delta.field.read(&Config::default()).as_ref() != Some(&delta.after);
        if since > release && wanted.config.has(name) && says {
            let what = if delta.field.since > release { "" } else { " with this value" };
            let message =
                format!("`{name}`{what} needs nats-server {since}, and this is {release}");
            let remedy = format!("leave it out for this environment, or upgrade to {since}");
            let place = wanted.places.get(name).copied();
            // What a bucket has beside its words follows from one of them.
            if wanted.bucket.is_none_or(|it| it.word(name).is_some()) {
                found.push(Finding::error(Code::TooNew, message).at(place).help(remedy));
            }
        }
    }
    found
}

impl Around<'_> {
    /// In a work queue a message belongs to one consumer, whoever made it: refused with 10100, also
    /// where it is only updated (all releases).
    fn taken(&self, step: &Step, wanted: &Declared) -> Option<Finding> {
        let name = step.address.stream_name();
        if step.address.is_stream() || self.gone.contains(name) || !self.keeps_by(name, "workqueue")
        {
            return None;
        }
        let own = filters(|it| wanted.config.get(it).cloned().unwrap_or_default());
        let meets = |it: &String| own.iter().any(|own| subject::overlap(own, it));
        // Those that change are judged with the spec, and those that go are gone by then.
        let others = consumers_of(&self.live.resources, name)
            .filter(|it| *it.0 != step.address && !self.moving.contains(it.0));
        let mut others = others.filter(|(_, is)| {
            let live = is.config();
            filters(|it| live.get(it).cloned().unwrap_or_default()).iter().any(meets)
        });
        let (other, _) = others.next()?;
        let message = format!(
            "`{}` takes messages of `{other}`, and a work queue gives each to one consumer",
            step.address
        );
        let help = if self.desired.resources.contains_key(other) {
            format!("apply `{other}` too, which gives them up: add `--target {other}`")
        } else {
            format!("narrow its filters, or see that `{other}` is deleted first")
        };
        Some(Finding::error(Code::SubjectOverlap, message).help(help))
    }

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
        let mut consumers = consumers_of(&self.live.resources, name);
        let theirs = |(it, is): &(&Address, &Observed)| {
            !self.recorded.resources.contains_key(it)
                && !adopted(it)
                && !position::is_holder(it)
                && !is.is_ephemeral()
        };
        consumers.find(theirs).map(|(it, _)| it)
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
                let why = speak(step.address.name(), &why).into_owned();
                risks.push(Risk {
                    harm,
                    tally: Tally::of(messages),
                    question: None,
                    why,
                    needed_by: Vec::new(),
                    field,
                    allowed: false,
                });
            }
        }
        risks
    }

    /// A consumer that is destroyed forgets where it was, unless another goes on from there; with
    /// its stream goes more than that, and is counted there.
    fn position_lost(&self, step: &Step, is: &Observed) -> Vec<Cost> {
        let stream = step.address.stream_name();
        let stored = stored(&step.address, self.live);
        if step.address.is_stream() || self.gone.contains(stream) || stored == 0 {
            return Vec::new();
        }
        let held_for = position::held_for(&step.address, is);
        if held_for.is_some_and(|it| self.live.resources.contains_key(&it)) {
            // What it held is that one's again.
            return Vec::new();
        }
        let wanted = self.desired.resources.get(&step.address).map(|it| &it.config);
        let wanted = wanted.filter(|_| step.action == Action::Replace);
        if let Some(wanted) = wanted.filter(|_| step.resumes()) {
            let mut costs = goes_on(wanted, is, stored);
            if step.changes.iter().any(|it| matches!(it.delta.field.loses, Loses::Filtered)) {
                costs.extend(self.filtered(step, is, stored));
            }
            return costs;
        }
        let mut costs = Vec::new();
        if self.keeps_by(stream, "interest") {
            let why = "messages that no other consumer needs would be deleted".to_owned();
            costs.push((Harm::DataLoss, Amount::AtMost(stored), why));
        }
        match wanted {
            Some(_) if self.keeps_by(stream, "workqueue") => costs.extend(unsettled(is)),
            Some(wanted) => costs.extend(starts_over(wanted, is, stored)),
            None => {}
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
            tally: Tally::of(Amount::AtMost(step.stored)),
            question: None,
            needed_by: Vec::new(),
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
        if stored > 0 && narrows && self.keeps_by(step.address.stream_name(), "interest") {
            let why = "messages that no consumer wants any more would be deleted".to_owned();
            costs.push((Harm::DataLoss, Amount::AtMost(stored), why));
        }
        if stored > 0 && !within(&after, &before) {
            let why = "matching messages behind its position would be skipped".to_owned();
            costs.push((Harm::Delivery, Amount::AtMost(stored), why));
        }
        costs
    }

    fn keeps_by(&self, stream: &str, retention: &str) -> bool {
        let stream = self.live.resources.get(&Address::stream(stream));
        stream.is_some_and(|it| it.config().text("retention") == Some(retention))
    }
}

/// A consumer that is made again and goes on where the one before it stood.
fn goes_on(wanted: &Config, is: &Observed, stored: u64) -> Vec<Cost> {
    let (most, exactly) = position::redelivered(wanted, is.facts, stored);
    if most == 0 {
        return Vec::new();
    }
    let amount = if exactly { Amount::Exactly(most) } else { Amount::AtMost(most) };
    let why = "it would go on behind its last acknowledgement";
    vec![(Harm::Redelivery, amount, why.to_owned())]
}

/// A work queue still holds what is not acknowledged, and gives it to whoever comes next.
fn unsettled(is: &Observed) -> Option<Cost> {
    let Facts::Consumer { ack_pending, .. } = is.facts else { return None };
    let why = "they were delivered, and nobody acknowledged them".to_owned();
    (ack_pending > 0).then_some((Harm::Redelivery, Amount::Exactly(ack_pending), why))
}

/// A consumer that is made again and begins where its declaration says, which is somewhere else.
fn starts_over(wanted: &Config, is: &Observed, stored: u64) -> Option<Cost> {
    let Facts::Consumer { pending, ack_pending, .. } = is.facts else { return None };
    let next = position::next(is.facts).unwrap_or(1);
    let unread = pending + ack_pending;
    let again = stored.saturating_sub(pending);
    let (starts, start) = (wanted.text("deliver_policy"), wanted.get("opt_start_seq"));
    let start = start.and_then(Value::as_u64);
    let skips = match starts {
        Some("new") => Some(Amount::Exactly(unread)),
        Some("last" | "last_per_subject" | "by_start_time") => Some(Amount::AtMost(unread)),
        Some("by_start_sequence") if start > Some(next) => Some(Amount::AtMost(unread)),
        _ => None,
    };
    let follows_on = starts == Some("by_start_sequence") && start >= Some(next);
    match skips {
        Some(amount) if unread > 0 => Some((
            Harm::Delivery,
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
                    let delta = delta.spoken(address);
                    let (name, value) = (delta.field.name, delta.field.show(&delta.before));
                    format!("{remedy}, or set `{name}` to `{value}` to take it over as it is")
                },
            ),
        ),
        Some(false) | None => return None,
    };
    Some(Finding::error(Code::Protected, message).help(help))
}

/// A replacement is refused where messages would go with it.
fn replacement(step: &Step, is: &Observed) -> Option<Finding> {
    let (change, why) = refusal(step)?;
    let address = &step.address;
    let Delta { field, before, .. } = change.delta.spoken(address);
    let name = field.name;
    let back = if before.is_null() {
        format!("remove `{name}` again")
    } else {
        format!("set `{name}` back to `{}`", field.show(&before))
    };
    let messages = count(Some(is.messages()).filter(|it| *it > 0)?, "message");
    let message = format!(
        "`{name}` cannot be changed ({why}), and replacing `{address}` would delete its {messages}"
    );
    Some(Finding::error(Code::Replacement, message).help(format!(
        "{back}; or declare a second stream beside it and move the messages, since this jsplan has \
         no migrations yet"
    )))
}

/// The filters of a consumer; without any it reads everything.
pub(super) fn filters(value: impl Fn(&str) -> Value) -> Vec<String> {
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
                Harm::DataLoss | Harm::Delivery | Harm::Redelivery if stored == 0 => return None,
                Harm::DataLoss | Harm::Delivery | Harm::Redelivery => Amount::AtMost(stored),
                Harm::OneWay | Harm::Destroy | Harm::Availability | Harm::Takeover => {
                    Amount::Nothing
                }
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
    if amount.most() == Some(0) {
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
