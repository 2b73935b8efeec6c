//! What a change of a stream asks of the consumers it has, and the account of consumers.

use serde_json::Value;

use super::{Outlook, Written};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding},
    schema::{Field, Release, stream::CONSUMER_LIMITS},
};

pub(super) fn check(outlook: &Outlook<'_>, found: &mut Vec<Finding>) {
    for written in outlook.written_streams().filter(|it| !it.is_made()) {
        found.extend(beyond_limits(outlook, written));
        found.extend(other_replicas(outlook, written));
    }
    for written in outlook.written_consumers() {
        found.extend(in_flight(outlook, written));
        found.extend(too_early(outlook, written));
    }
}

/// Every consumer has to keep to the limits that a stream is given: refused with 10069.
fn beyond_limits(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    const NAMED: usize = 3;
    let delta = &written.change("consumer_limits")?.delta;
    let release = outlook.around.live.server.release;
    let mut beyond = Vec::new();
    let mut unset = false;
    for address in outlook.live_consumers(written.address.name()) {
        // What is deleted goes before limits change.
        let Some(config) = outlook.after(address) else { continue };
        let over = |limit: &&Field| is_over(&config, limit.name, &delta.after, release);
        if let Some(limit) = CONSUMER_LIMITS.iter().find(over) {
            let value = limit.show(config.get(limit.name).unwrap_or(&Value::Null));
            beyond.push(format!("`{}` (`{}` is {value})", address.name(), limit.name));
            unset |= limit_of(&delta.after, limit.name) <= 0;
        }
    }
    if beyond.is_empty() {
        return None;
    }
    let more = match beyond.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    beyond.truncate(NAMED);
    let named = beyond.join(", ");
    let message = format!("consumers are beyond the new `consumer_limits`: {named}{more}");
    let mut help = "lower them first, or raise the limits".to_owned();
    if unset {
        help +=
            "; before 2.14 a limit that is left out, or removed, counts as 0 while limits change";
    }
    let finding = Finding::error(Code::Limit, message).help(help);
    Some(outlook.at(written.address, "consumer_limits", finding))
}

/// Measured: 2.10.26, 2.11.11 and 2.12.8 compare with a limit that is not set, 2.14.6 does not.
const FORGIVING: Release = Release(2, 14, 0);

fn is_over(config: &Config, name: &str, limits: &Value, release: Release) -> bool {
    let limit = limit_of(limits, name);
    let has = config.number(name).unwrap_or_default();
    has > limit && (limit > 0 || release < FORGIVING)
}

fn limit_of(limits: &Value, name: &str) -> i64 {
    limits[name].as_i64().unwrap_or_default()
}

/// Before 2.15 a stream only becomes one of interest where every consumer has as many replicas as it
/// has: refused with 10051 in a cluster.
fn other_replicas(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    let server = &outlook.around.live.server;
    if server.release >= Release(2, 15, 0) || server.cluster.is_none() {
        return None;
    }
    if written.change("retention")?.delta.after == "limits" {
        return None;
    }
    let replicas = written.config["num_replicas"].as_i64().unwrap_or(1).max(1);
    let other = |it: &&Address| {
        // What is raised is raised after its stream.
        let now = observed(outlook, it).filter(|it| it.number("num_replicas") < Some(replicas));
        let now = now.filter(|it| it.number("num_replicas") > Some(0));
        let own = now.or_else(|| outlook.after(it)).or_else(|| observed(outlook, it));
        let own = own.and_then(|it| it.number("num_replicas")).unwrap_or_default();
        own > 0 && own != replicas
    };
    let consumer = outlook.live_consumers(written.address.name()).find(other)?;
    let message = format!(
        "`{}` has other `num_replicas` than its stream, and nats-server {} keeps such a stream at \
         `limits`",
        consumer.name(),
        server.release
    );
    let help = format!("give `{consumer}` `num_replicas = {replicas}` or 0 first");
    let finding = Finding::error(Code::Conflict, message).help(help);
    Some(outlook.at(written.address, "retention", finding))
}

/// Refused with 10121; -1 is beyond no limit (all releases).
fn in_flight(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    let most = outlook.around.live.account.max_ack_pending?;
    let own = written.config["max_ack_pending"].as_i64().filter(|it| *it > most)?;
    if !written.is_made() && written.change("max_ack_pending").is_none() {
        return None;
    }
    let message = format!("`max_ack_pending` is {own}, and the account allows {most}");
    let help = "lower it, or leave it out: the server then takes what the account allows";
    let finding = Finding::error(Code::Limit, message).help(help);
    Some(outlook.at(written.address, "max_ack_pending", finding))
}

/// A consumer that its stream waits for has no more replicas than the stream has until then: refused
/// with 10126.
fn too_early(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    let stream = Address::stream(written.address.stream_name());
    let waits = outlook.written.get(&stream).filter(|it| it.step.wave > written.step.wave)?;
    let now = waits.change("num_replicas")?.delta.before.as_u64()?;
    let own = written.config["num_replicas"].as_u64().filter(|it| *it > now)?;
    let message = format!(
        "`num_replicas` is {own}, and `{}` has {now} until its consumers are there",
        stream.name()
    );
    let help = format!("change `num_replicas` of `{stream}` alone and apply, then the rest");
    let finding = Finding::error(Code::Conflict, message).help(help);
    Some(outlook.at(written.address, "num_replicas", finding))
}

fn observed(outlook: &Outlook<'_>, address: &Address) -> Option<Config> {
    outlook.around.live.resources.get(address).map(crate::live::Observed::config)
}
