//! Where a consumer stands in its stream, and how it goes on from there when it is made anew.
//!
//! A consumer that begins behind another one's acknowledgements is declared to begin somewhere
//! else. What was declared is kept in a label, so that the two are still the same to a comparison.
//! While the one is gone and the other not yet there, a third holds the position: it keeps the
//! messages of an interest stream, and tells the next plan where to go on after a crash.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    address::Address,
    config::{Config, sha256},
    live::{Facts, Live, Observed},
    schema::consumer::START,
};

/// The label that holds the declared start, as JSON.
const STARTED: &str = "jsplan.start";

/// The label of a consumer that holds a position, with the name of the one it holds it for.
const HOLDS: &str = "jsplan.holds";

/// What the name of a consumer that holds a position begins with.
const HOLDER: &str = "jsplan_hold_";

/// A configuration with the start that was declared, wherever it really began.
#[must_use]
pub(crate) fn declared(config: &Config) -> Config {
    let Some(start) = label(config, STARTED).and_then(|it| Config::parse(it).ok()) else {
        return config.clone();
    };
    let mut config = without_start(config);
    for name in START {
        if let Some(value) = start.get(name) {
            config.set(name, value.clone());
        }
    }
    with_label(&mut config, STARTED, None);
    config
}

/// A declared configuration that goes on where a consumer stands.
#[must_use]
pub(crate) fn resumed(wanted: &Config, facts: Facts) -> Config {
    let Some(sequence) = next(facts).or_else(|| earliest(wanted)) else { return wanted.clone() };
    beginning_at(wanted, sequence)
}

/// A declared configuration that goes on where another consumer held the position; as declared
/// where the declaration has changed meanwhile.
#[must_use]
pub(crate) fn taken_over(wanted: &Config, holder: &Config) -> Config {
    let meant = declared(holder);
    let moved = START.iter().any(|it| meant.get(it) != wanted.get(it));
    match holder.get("opt_start_seq").and_then(Value::as_u64) {
        Some(sequence) if !moved => beginning_at(wanted, sequence),
        Some(_) | None => wanted.clone(),
    }
}

/// The consumer that holds the position of another.
#[must_use]
pub(crate) fn holder(of: &Address) -> Address {
    let digest = sha256(of.name());
    Address::consumer(of.stream_name(), &format!("{HOLDER}{}", &digest[..16]))
}

/// Whether a consumer bears the name of one that holds a position.
#[must_use]
pub(crate) fn is_holder(address: &Address) -> bool {
    !address.is_stream() && address.name().starts_with(HOLDER)
}

/// What a consumer is made from that reads what another reads, so that it stays stored.
#[must_use]
pub(crate) fn holding(of: &Address, live: &Config, wanted: &Config) -> Config {
    let name = holder(of).name().to_owned();
    let mut config = Config::default();
    for field in ["filter_subject", "filter_subjects"] {
        live.get(field).into_iter().for_each(|it| config.set(field, it.clone()));
    }
    for field in START {
        wanted.get(field).into_iter().for_each(|it| config.set(field, it.clone()));
    }
    config.set("name", name.clone().into());
    config.set("durable_name", name.into());
    config.set("ack_policy", "explicit".into());
    config.set("metadata", json!({ HOLDS: of.name() }));
    config
}

/// The consumers that hold positions, by those they hold them for.
#[must_use]
pub(crate) fn held(live: &Live) -> BTreeMap<Address, (&Address, &Observed)> {
    let holders = live.resources.iter().filter(|it| is_holder(it.0));
    holders.filter_map(|(address, is)| Some((held_for(address, is)?, (address, is)))).collect()
}

/// The consumer whose position another one holds.
#[must_use]
pub(crate) fn held_for(address: &Address, is: &Observed) -> Option<Address> {
    let config = is_holder(address).then(|| is.config())?;
    let of = Address::consumer(address.stream_name(), label(&config, HOLDS)?);
    (holder(&of) == *address).then_some(of)
}

/// The most messages that are delivered again where a consumer goes on where it stands, and whether
/// it is just as many; all that is `stored` where nothing says from where on it has delivered.
#[must_use]
pub(crate) fn redelivered(wanted: &Config, facts: Facts, stored: u64) -> (u64, bool) {
    let Facts::Consumer { ack_pending, ack_floor, delivered, deliveries, pending, .. } = facts
    else {
        return (0, true);
    };
    // Repeated deliveries of one message count each, and no message is between the two twice.
    let most = deliveries.min(delivered.saturating_sub(ack_floor));
    // Behind its start such a consumer has left out all but the last message of each subject.
    let leaves_out = wanted.text("deliver_policy") == Some("last_per_subject");
    let unknown = next(facts).is_none() && earliest(wanted).is_some();
    if unknown || leaves_out && most + pending > 0 {
        return (stored, false);
    }
    (most, most == ack_pending)
}

/// The first sequence that is not known to be done with; `None` where nothing says so: up to 2.12
/// the floor is 0 until something is acknowledged, wherever the consumer began.
#[must_use]
pub(crate) fn next(facts: Facts) -> Option<u64> {
    let Facts::Consumer { ack_floor, delivered, deliveries, .. } = facts else { return None };
    if ack_floor > 0 {
        return Some(ack_floor + 1);
    }
    (deliveries == 0).then_some(delivered + 1)
}

/// Where a consumer begins that has delivered, and of which nothing says from where on: its start
/// as declared, unless that has moved on since.
fn earliest(wanted: &Config) -> Option<u64> {
    match wanted.text("deliver_policy") {
        None | Some("all" | "by_start_sequence" | "by_start_time") => None,
        Some(_) => Some(1),
    }
}

pub(crate) fn beginning_at(wanted: &Config, sequence: u64) -> Config {
    let declared = match wanted.text("deliver_policy") {
        None | Some("all") => Some(1),
        Some("by_start_sequence") => wanted.get("opt_start_seq").and_then(Value::as_u64),
        Some(_) => None,
    };
    if declared == Some(sequence) {
        return wanted.clone();
    }
    let start = START.iter().filter_map(|it| Some(((*it).to_owned(), wanted.get(it)?.clone())));
    let start: Config = start.collect();
    let mut config = without_start(wanted);
    config.set("deliver_policy", "by_start_sequence".into());
    config.set("opt_start_seq", sequence.into());
    with_label(&mut config, STARTED, Some(start.to_json()));
    config
}

fn without_start(config: &Config) -> Config {
    let fields = config.iter().filter(|(name, _)| !START.contains(&name.as_str()));
    fields.map(|(name, it)| (name.clone(), it.clone())).collect()
}

fn label<'a>(config: &'a Config, key: &str) -> Option<&'a str> {
    config.get("metadata")?.get(key)?.as_str()
}

fn with_label(config: &mut Config, key: &str, value: Option<String>) {
    let mut labels: Map<_, _> =
        config.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    labels.remove(key);
    labels.extend(value.map(|it| (key.to_owned(), it.into())));
    if labels.is_empty() {
        config.remove("metadata");
    } else {
        config.set("metadata", labels.into());
    }
}
