//! What the account and the cluster have room for: streams, consumers, bytes, replicas.
//!
//! Sums follow the order of the steps: what a later step frees is no room for an earlier one. Of
//! steps that run side by side the worst is taken, that everything is taken before anything is freed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Glance, Outlook, Written};
use crate::{
    address::Address,
    finding::{Code, Finding, Severity},
    live::Room,
    plan::{Action, Step},
    schema::Release,
    units::{count, show_bytes},
};

pub(super) fn check(outlook: &Outlook<'_>, found: &mut Vec<Finding>) {
    for written in outlook.written.values() {
        found.extend(replicas(outlook, written));
        if written.address.is_stream() {
            found.extend(size(outlook, written));
        }
    }
    reservations(outlook, found);
    streams(outlook, found);
    consumers(outlook, found);
}

/// The deletions that have to come first: of streams where the account has no room for what is made
/// beside them, of consumers where their stream has none. The steps are not in order yet, so that
/// everything counts as taken before anything is freed.
pub(super) fn freeing(outlook: &Outlook<'_>) -> BTreeSet<Address> {
    let (mut of_streams, mut of_consumers) = (Vec::new(), Vec::new());
    reservations(outlook, &mut of_streams);
    streams(outlook, &mut of_streams);
    consumers(outlook, &mut of_consumers);
    let short = of_consumers.iter().filter_map(|it| it.about.as_ref());
    let short: BTreeSet<&str> = short.map(Address::stream_name).collect();
    let frees = |it: &&&Address| {
        let streams = it.is_stream() && !of_streams.is_empty();
        streams || !it.is_stream() && short.contains(it.stream_name())
    };
    outlook.gone.iter().filter(frees).map(|it| (*it).clone()).collect()
}

/// A copy needs a server of its own: refused with 10074 and 10005.
fn replicas(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    let live = outlook.around.live;
    let own = written.config["num_replicas"].as_u64().filter(|it| *it > 1)?;
    let before = written.change("num_replicas").map(|it| it.delta.before.as_u64());
    if !written.is_made() && before.is_none_or(|it| it >= Some(own)) {
        return None;
    }
    let servers = live.account.servers;
    let kind = written.address.kind();
    let (message, help) = if live.server.cluster.is_none() {
        // nats-server 2.10 to 2.14.5 accept such an update and never make the copies.
        (
            format!("{own} replicas need a cluster, and this server stands alone"),
            format!("set `num_replicas = 1` under `[override.{kind}]` of this environment"),
        )
    } else if servers > 0 && usize::try_from(own).is_ok_and(|it| it > servers) {
        (
            format!(
                "{own} replicas need {own} servers, and the cluster names {}",
                count(servers as u64, "server")
            ),
            "lower `num_replicas`, or wait until all servers of the cluster are there".to_owned(),
        )
    } else {
        return None;
    };
    let finding = Finding::error(Code::Replicas, message).help(help);
    Some(outlook.at(written.address, "num_replicas", finding))
}

/// What the account asks of the `max_bytes` of each stream: refused with 10113 and 10122.
fn size(outlook: &Outlook<'_>, written: &Written<'_>) -> Option<Finding> {
    let account = &outlook.around.live.account;
    let own = written.config["max_bytes"].as_i64().filter(|it| *it > 0);
    let finding = if let Some(own) = own {
        let most = room(outlook, written.config).each.filter(|it| own > *it)?;
        let message = format!(
            "`max_bytes` is {}, and the account allows a stream {}",
            bytes(own),
            bytes(most)
        );
        Finding::error(Code::Limit, message).help("lower it, or have the account's limit raised")
    } else {
        if !account.max_bytes_required {
            return None;
        }
        Finding::error(Code::Limit, "the account requires every stream to have `max_bytes`")
            .help("set `max_bytes`, for all streams under `[defaults.stream]` of this environment")
    };
    Some(outlook.at(written.address, "max_bytes", finding))
}

fn room(outlook: &Outlook<'_>, config: &Value) -> Room {
    let account = &outlook.around.live.account;
    if config["storage"] == "memory" { account.memory } else { account.file }
}

/// The sum of all `max_bytes`, each times its replicas: refused with 10028 and 10047.
fn reservations(outlook: &Outlook<'_>, found: &mut Vec<Finding>) {
    let account = &outlook.around.live.account;
    for (storage, room) in [("memory", account.memory), ("file", account.file)] {
        let Some(most) = room.most else { continue };
        let takes = |it: &Step| needs(outlook, it, storage) > 0;
        if !outlook.steps.iter().any(takes) {
            continue;
        }
        let live = outlook.around.live.resources.iter().filter(|(it, _)| it.is_stream());
        let counted = live.map(|(_, is)| Glance::of(is).reserves(storage));
        let counted = counted.fold(0, i64::saturating_add);
        // What could not be read is in what the server counts itself.
        let mut taken = Sum::new(counted.max(room.reserved));
        for wave in outlook.steps.chunk_by(|a, b| a.wave == b.wave) {
            for step in wave.iter().filter(|it| it.address.is_stream()) {
                let needs = needs(outlook, step, storage);
                let left = most.saturating_sub(taken.now);
                taken.add(reserves(outlook, step, storage));
                if needs > left {
                    let mut finding = too_little(needs, left, most, storage);
                    if counts_loosely(outlook) {
                        finding.severity = Severity::Warning;
                    }
                    found.push(outlook.at(&step.address, "max_bytes", finding));
                    // One finding is enough to know by how much it is too little.
                    break;
                }
            }
            taken.end_of_wave();
        }
    }
}

/// Before 2.14 a cluster counts the replicas of what is there and not of what is made, or the other
/// way round (2.10.26, 2.11.11, 2.12.8), and may refuse every later update.
fn counts_loosely(outlook: &Outlook<'_>) -> bool {
    let server = &outlook.around.live.server;
    server.cluster.is_some() && server.release < Release(2, 14, 0)
}

fn too_little(needs: i64, left: i64, most: i64, storage: &str) -> Finding {
    let message = format!(
        "it would reserve {} more in {storage} storage, and the account has {} left of {}",
        bytes(needs),
        bytes(left.max(0)),
        bytes(most)
    );
    Finding::error(Code::Limit, message).help(
        "lower `max_bytes` or `num_replicas`, free some elsewhere and apply that first, or have \
         the account's limit raised",
    )
}

/// A size that says that it is one.
fn bytes(number: i64) -> String {
    let shown = show_bytes(number);
    if shown.ends_with('B') { shown } else { count(number.unsigned_abs(), "byte") }
}

/// The bytes that must be left for a step. A stream without a limit reserves none, and is made only
/// where one is left (all releases).
fn needs(outlook: &Outlook<'_>, step: &Step, storage: &str) -> i64 {
    let made = step.action == Action::Create && step.address.is_stream();
    let here = step.calls.last().and_then(|it| it.body["storage"].as_str()).unwrap_or("file");
    reserves(outlook, step, storage).max(i64::from(made && here == storage))
}

/// How many bytes more a step reserves; less than none where it frees some.
fn reserves(outlook: &Outlook<'_>, step: &Step, storage: &str) -> i64 {
    let live = || outlook.around.live.resources.get(&step.address).map(Glance::of);
    let sent = || step.calls.last().map(|it| Glance::sent(&it.body));
    let (before, after) = match step.action {
        _ if !step.address.is_stream() => (None, None),
        Action::Create => (None, sent()),
        Action::Update | Action::Replace => (live(), sent()),
        Action::Delete => (live(), None),
        Action::Bind | Action::Adopt | Action::Record | Action::Forget => (None, None),
    };
    let of = |it: Option<Glance>| it.map(|it| it.reserves(storage)).unwrap_or_default();
    of(after).saturating_sub(of(before))
}

/// A sum in which a wave takes first and frees last.
struct Sum {
    now: i64,
    freed: i64,
}

impl Sum {
    fn new(now: i64) -> Self {
        Self { now, freed: 0 }
    }

    fn add(&mut self, more: i64) {
        let sum = if more > 0 { &mut self.now } else { &mut self.freed };
        *sum = sum.saturating_add(more);
    }

    fn end_of_wave(&mut self) {
        self.now = self.now.saturating_add(self.freed);
        self.freed = 0;
    }
}

/// The number of streams of the account: refused with 10027.
fn streams(outlook: &Outlook<'_>, found: &mut Vec<Finding>) {
    let live = outlook.around.live;
    let Some(most) = live.account.max_streams.and_then(|it| i64::try_from(it).ok()) else { return };
    let known = live.resources.keys().chain(live.unknown.keys());
    let there = i64::try_from(known.filter(|it| it.is_stream()).count()).unwrap_or(i64::MAX);
    let steps = outlook.steps.iter().filter(|it| it.address.is_stream());
    let Some(first) = overflow(steps, there, most) else { return };
    let message = format!("it would be one stream more than the account allows: {most}");
    let finding = Finding::error(Code::Limit, message).help("have the account's limit raised");
    found.push(outlook.at(&first.address, "name", finding));
}

/// The number of consumers of each stream, by its own limit and that of the account: refused with
/// 10026.
fn consumers(outlook: &Outlook<'_>, found: &mut Vec<Finding>) {
    let mut concerned: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in outlook.steps.iter().filter(|it| !it.address.is_stream()) {
        concerned.entry(step.address.stream_name()).or_default().push(step);
    }
    let account = outlook.around.live.account.max_consumers.and_then(|it| i64::try_from(it).ok());
    for (name, steps) in concerned {
        if !steps.iter().any(|it| it.action == Action::Create || it.resumes()) {
            continue;
        }
        let stream = outlook.after(&Address::stream(name));
        let own = stream.and_then(|it| it.number("max_consumers")).filter(|it| *it > 0);
        let Some(most) = own.into_iter().chain(account).min() else { continue };
        let there = i64::try_from(outlook.live_consumers(name).count()).unwrap_or(i64::MAX);
        let Some(first) = overflow(steps.into_iter(), there, most) else { continue };
        let whose = if own == Some(most) { "the stream" } else { "the account" };
        let (message, help) = if first.resumes() {
            let message = format!(
                "making `{}` again takes one more consumer for a moment, and {whose} allows \
                 `{name}` no more than {most}",
                first.address
            );
            (message, "raise the limit, or make one after the other with `--target`")
        } else {
            let message =
                format!("it would be one consumer more than {whose} allows `{name}`: {most}");
            (message, "raise the limit")
        };
        let finding = Finding::error(Code::Limit, message).help(help);
        found.push(outlook.at(&first.address, "name", finding));
    }
}

/// The first step that makes one more than there may be.
fn overflow<'a>(steps: impl Iterator<Item = &'a Step>, there: i64, most: i64) -> Option<&'a Step> {
    let steps: Vec<&Step> = steps.collect();
    let mut sum = Sum::new(there);
    for wave in steps.chunk_by(|a, b| a.wave == b.wave) {
        for step in wave {
            let more = match step.action {
                // Another one holds the position of a consumer that is made again.
                Action::Replace if step.resumes() => {
                    sum.add(-1);
                    1
                }
                Action::Create => 1,
                Action::Delete => -1,
                Action::Update
                | Action::Replace
                | Action::Bind
                | Action::Adopt
                | Action::Record
                | Action::Forget => 0,
            };
            sum.add(more);
            if more > 0 && sum.now > most {
                return Some(step);
            }
        }
        sum.end_of_wave();
    }
    None
}
