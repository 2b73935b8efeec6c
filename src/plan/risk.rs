//! What a step costs, and what stops it.

use serde_json::Value;

use super::{Action, Amount, Ask, Change, Risk, Step};
use crate::{
    address::Address,
    finding::{Code, Finding, Severity},
    live::{Facts, Live, Observed},
    schema::{Field, Harm, Loses, Verdict},
    spec::{Declared, Desired},
    state::State,
};

/// Adds to a step what it costs, and to the findings what must not happen.
pub(super) fn assess(
    step: &mut Step,
    desired: &Desired,
    recorded: &State,
    live: &Live,
    ask: &Ask,
    findings: &mut Vec<Finding>,
) {
    let address = step.address.clone();
    let wanted = desired.resources.get(&address);
    let is = live.resources.get(&address);
    let mut stops = Vec::new();
    step.stored = stored(&address, live);
    if let Some(wanted) = wanted {
        stops.extend(too_new(step, wanted, live));
    }
    if let Some(is) = is {
        step.risks = risks(step, is, live);
        if matches!(step.action, Action::Delete | Action::Replace) {
            stops.extend(protection(step, wanted, recorded, is, live));
        }
        if step.action == Action::Replace {
            stops.extend(replacement(step, is));
        }
    }
    for risk in &mut step.risks {
        risk.allowed = ask.allow.contains(&(risk.harm, address.clone()));
        if risk.harm.needs_consent() && !risk.allowed {
            let field = risk.field.as_deref().unwrap_or_default();
            let place = wanted.and_then(|it| it.places.get(field)).copied();
            stops.push(no_consent(&address, risk).at(place));
        }
    }
    let place = step.place;
    step.blocked = stops.iter().any(|it| it.severity == Severity::Error);
    findings.extend(stops.into_iter().map(|it| match it.place {
        Some(_) => it.about(&address),
        None => it.at(place).about(&address),
    }));
}

impl Harm {
    /// Whether an apply needs it to be allowed by name.
    #[must_use]
    pub fn needs_consent(self) -> bool {
        match self {
            Self::DataLoss | Self::Skipped => true,
            Self::Redelivery | Self::OneWay | Self::Availability => false,
        }
    }
}

fn no_consent(address: &Address, risk: &Risk) -> Finding {
    let amount = match risk.messages {
        Amount::Nothing => String::new(),
        Amount::Exactly(count) => format!(" ({} messages)", crate::units::show_count(count)),
        Amount::AtMost(count) => format!(" (at most {} messages)", crate::units::show_count(count)),
    };
    Finding::error(Code::DataLoss, format!("`{address}`: {}{amount}", risk.why))
        .help(format!("to do it all the same, plan with `--allow {}={address}`", risk.harm))
}

/// Fields and values that the server's release does not know.
fn too_new(step: &Step, wanted: &Declared, live: &Live) -> Vec<Finding> {
    let release = live.server.release;
    let mut found = Vec::new();
    for Change { delta, .. } in &step.changes {
        let place = wanted.places.get(delta.field.name).copied();
        let name = delta.field.name;
        let since = delta.field.first_release(&delta.after);
        if since > release && wanted.config.has(name) {
            let message = format!("`{name}` needs nats-server {since}, and this is {release}");
            let remedy = format!("leave it out for this environment, or upgrade to {since}");
            found.push(Finding::error(Code::TooNew, message).at(place).help(remedy));
        }
    }
    let replicas = wanted.config.number("num_replicas").unwrap_or(1);
    let changes = step.changes.iter().any(|it| it.delta.field.name == "num_replicas");
    if changes && replicas > 1 && live.server.cluster.is_none() {
        // nats-server 2.10 to 2.14.5 accept such an update and never make the copies.
        let message = format!("{replicas} replicas need a cluster, and this server stands alone");
        let finding = Finding::error(Code::Replicas, message)
            .at(wanted.places.get("num_replicas").copied())
            .help("set `num_replicas = 1` under `[override.stream]` of this environment");
        found.push(finding);
    }
    found
}

/// What is protected stays, whoever wants it gone.
fn protection(
    step: &Step,
    wanted: Option<&Declared>,
    recorded: &State,
    is: &Observed,
    live: &Live,
) -> Vec<Finding> {
    let address = &step.address;
    let was = recorded.resources.get(address);
    let said =
        wanted.map_or_else(|| was.and_then(|it| it.prevent_destroy), |it| it.prevent_destroy);
    let messages = is.messages();
    let mut found = Vec::new();
    if said == Some(true) {
        let message = format!("`{address}` would be destroyed, and has `prevent_destroy = true`");
        found.push(
            Finding::error(Code::Protected, message)
                .help("set `prevent_destroy = false` in the spec and apply that first"),
        );
    } else if said.is_none() && messages > 0 && step.action == Action::Delete {
        let count = crate::units::show_count(messages);
        let message = format!("`{address}` would be destroyed with its {count} messages");
        found.push(Finding::error(Code::Protected, message).help(
            "what holds messages is protected; put it back into the spec with \
             `prevent_destroy = false`, apply that, then remove it",
        ));
    }
    if was.is_some_and(|was| crate::drift::recreated(address, was, is)) {
        let message =
            format!("`{address}` is not the one jsplan made: it was created {}", is.created);
        found.push(Finding::error(Code::Recreated, message).help(format!(
            "`jsplan state rm {address}` lets go of it; nothing on the server changes"
        )));
    }
    let with_it = strangers(address, desired_or_recorded(recorded), live);
    if let Some(stranger) = with_it {
        let message =
            format!("destroying `{address}` would destroy `{stranger}`, which is not managed");
        found.push(Finding::error(Code::Protected, message).help("remove or adopt it first"));
    }
    found
}

fn desired_or_recorded(recorded: &State) -> impl Fn(&Address) -> bool + '_ {
    |address| recorded.resources.contains_key(address)
}

/// A live consumer of a stream that nobody manages.
fn strangers<'a>(
    stream: &Address,
    managed: impl Fn(&Address) -> bool,
    live: &'a Live,
) -> Option<&'a Address> {
    let Address::Stream(name) = stream else { return None };
    let of_it = |it: &&Address| it.stream_name() == name && *it != stream;
    live.resources.keys().filter(of_it).find(|it| !managed(it))
}

/// A replacement is refused where messages would go with it.
fn replacement(step: &Step, is: &Observed) -> Option<Finding> {
    if is.messages() == 0 {
        return None;
    }
    let fixed = step.changes.iter().find_map(|it| match it.verdict {
        Verdict::Refused(why) => Some((it, why)),
        Verdict::InPlace | Verdict::OneWay => None,
    });
    let (change, why) = fixed?;
    let address = &step.address;
    let name = change.delta.field.name;
    let count = crate::units::show_count(is.messages());
    let message = format!(
        "`{name}` cannot be changed ({why}), and replacing `{address}` would delete its {count} \
         messages"
    );
    Some(Finding::error(Code::Replacement, message).help(format!(
        "set `{name}` back to `{}`; or declare a second stream beside it and move the messages, \
         since this jsplan has no migrations yet",
        change.delta.field.show(&change.delta.before)
    )))
}

fn risks(step: &Step, is: &Observed, live: &Live) -> Vec<Risk> {
    let mut risks = Vec::new();
    let mut add = |harm, messages, why: String, field: Option<&str>| {
        let field = field.map(ToOwned::to_owned);
        risks.push(Risk { harm, messages, why, field, allowed: false });
    };
    let stored = stored(&step.address, live);
    match step.action {
        Action::Delete | Action::Replace if is.messages() > 0 => {
            let why = "its messages would be deleted".to_owned();
            add(Harm::DataLoss, Amount::Exactly(is.messages()), why, None);
        }
        Action::Delete | Action::Replace => {
            for (harm, messages, why) in position_lost(step, is, live) {
                add(harm, messages, why, None);
            }
        }
        Action::Update => {
            for change in &step.changes {
                if let Some((harm, messages, why)) = cost(change, step, is, stored) {
                    add(harm, messages, why, Some(change.delta.field.name));
                }
            }
        }
        Action::Create | Action::Bind | Action::Adopt | Action::Record | Action::Forget => {}
    }
    risks
}

/// Messages in the stream that a resource is or reads.
fn stored(address: &Address, live: &Live) -> u64 {
    live.resources.get(&Address::stream(address.stream_name())).map_or(0, Observed::messages)
}

type Cost = (Harm, Amount, String);

/// A consumer that is destroyed forgets where it was.
fn position_lost(step: &Step, is: &Observed, live: &Live) -> Vec<Cost> {
    let Facts::Consumer { pending, ack_pending, .. } = is.facts else { return Vec::new() };
    let stream = live.resources.get(&Address::stream(step.address.stream_name()));
    let retention = stream.map(Observed::config);
    let stored = stored(&step.address, live);
    let mut costs = Vec::new();
    if stored > 0 && retention.as_ref().and_then(|it| it.text("retention")) == Some("interest") {
        let why = "messages that no other consumer needs would be deleted".to_owned();
        costs.push((Harm::DataLoss, Amount::AtMost(stored), why));
    }
    if step.action == Action::Replace {
        let unread = pending + ack_pending;
        let again = stored.saturating_sub(pending);
        let config = is.config();
        match config.text("deliver_policy") {
            Some("new" | "last" | "last_per_subject") if unread > 0 => costs.push((
                Harm::Skipped,
                Amount::Exactly(unread),
                "its position would be lost: what it has not delivered would be skipped".to_owned(),
            )),
            _ if again > 0 => costs.push((
                Harm::Redelivery,
                Amount::AtMost(again),
                "its position would be lost: it would start again".to_owned(),
            )),
            _ => {}
        }
    }
    costs
}

/// What one accepted change costs.
fn cost(change: &Change, step: &Step, is: &Observed, stored: u64) -> Option<Cost> {
    let delta = &change.delta;
    if change.verdict == Verdict::OneWay {
        let why = format!("`{}` cannot be taken back by an update", delta.field.name);
        return Some((Harm::OneWay, Amount::Nothing, why));
    }
    match delta.field.loses {
        Loses::Nothing => None,
        Loses::Lowered => lowered(change, step, is),
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
    let refuses = discards_new(step, is) && matches!(name, "max_msgs" | "max_bytes");
    let amount = match name {
        "max_msgs" => Amount::Exactly(messages.saturating_sub(limit)),
        "max_msgs_per_subject" => Amount::AtMost(messages.saturating_sub(limit)),
        "max_bytes" if bytes <= limit => Amount::Exactly(0),
        _ => Amount::AtMost(messages),
    };
    match amount {
        Amount::Exactly(0) | Amount::AtMost(0) => None,
        _ if refuses => {
            let why = format!("new messages are refused until `{name}` is kept again");
            Some((Harm::Availability, Amount::Nothing, why))
        }
        amount => {
            Some((Harm::DataLoss, amount, format!("messages beyond `{name}` would be deleted")))
        }
    }
}

/// The number of a limit; `None` where there is none.
fn limit(value: &Value) -> Option<u64> {
    value.as_u64().filter(|it| *it > 0)
}

/// Limits are enforced under the discard policy of the new configuration.
fn discards_new(step: &Step, is: &Observed) -> bool {
    let changed = step.changes.iter().find(|it| it.delta.field.name == "discard");
    match changed {
        Some(change) => change.delta.after == "new",
        None => is.config().text("discard") == Some("new"),
    }
}

impl Field {
    /// The first release that knows this field and this value of it.
    #[must_use]
    pub fn first_release(&self, value: &Value) -> crate::schema::Release {
        let crate::schema::Kind::OneOf(choices) = self.kind else { return self.since };
        let choice = choices.iter().find(|it| value == it.name);
        choice.map_or(self.since, |it| it.since.max(self.since))
    }
}
