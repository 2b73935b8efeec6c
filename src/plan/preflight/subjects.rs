//! Subjects beside those of every other stream of the account, whoever manages it.

use std::collections::BTreeSet;

use super::{Outlook, Streams, Written};
use crate::{
    address::Address,
    finding::{Code, Finding},
    subject::{self, Subjects},
};

/// Every subject of the account, with the stream that stores it.
struct Owned<'a> {
    by: Vec<(&'a str, &'a str)>,
    taken: Subjects<'a>,
}

pub(super) fn check(outlook: &Outlook<'_>, streams: &Streams<'_>, found: &mut Vec<Finding>) {
    let mut owned = Owned { by: Vec::new(), taken: Subjects::default() };
    for (name, glance) in streams {
        for subject in glance.subjects() {
            owned.taken.insert(subject, owned.by.len());
            owned.by.push((name, subject));
        }
    }
    for written in outlook.written_streams() {
        overlaps(outlook, written, &owned, found);
        if written.is_made() || written.change("republish").is_some() {
            circle(outlook, written.address, streams, &owned, found);
        }
    }
    for written in outlook.written_consumers() {
        delivery(outlook, written, &owned, found);
    }
}

impl<'a> Owned<'a> {
    /// The streams that store messages of a subject, each with the subject it does so by.
    fn meeting(&self, subject: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.taken.meeting(subject).into_iter().map(|it| self.by[it])
    }
}

/// Within an account a subject is stored by one stream: the server refuses a second with 10065.
fn overlaps(
    outlook: &Outlook<'_>,
    written: &Written<'_>,
    owned: &Owned<'_>,
    found: &mut Vec<Finding>,
) {
    let will = written.config["subjects"].as_array().into_iter().flatten();
    let before = written.change("subjects").map(|it| &it.delta.before);
    if !written.is_made() && before.is_none() {
        return;
    }
    let had = |it: &&serde_json::Value| {
        before.and_then(|it| it.as_array()).is_some_and(|had| had.contains(it))
    };
    for subject in will.filter(|it| !had(it)).filter_map(|it| it.as_str()) {
        let others = owned.meeting(subject).filter(|(name, _)| *name != written.address.name());
        // A few for each subject are enough: a `>` meets them all.
        found.extend(others.take(3).map(|(other, earlier)| {
            let finding = overlap(outlook, subject, &Address::stream(other), earlier);
            outlook.at(written.address, "subjects", finding)
        }));
    }
}

fn overlap(outlook: &Outlook<'_>, subject: &str, other: &Address, earlier: &str) -> Finding {
    let stranger = if outlook.manages(other) { "" } else { ", which jsplan does not manage" };
    let name = other.name();
    let message = if subject == earlier {
        format!("`{subject}` is stored by the live stream `{name}`{stranger}")
    } else {
        format!(
            "`{subject}` takes messages that the live stream `{name}` stores as `{earlier}`{stranger}"
        )
    };
    let gives_up = outlook.manages(other) && !outlook.around.ask.targets.is_empty();
    let help = if gives_up {
        format!("plan without `--target`, or add `--target {other}` where the spec moves it away")
    } else {
        format!(
            "narrow one of the two: a subject is stored by one stream of an account; \
             `nats stream edit {name}` changes what the other takes"
        )
    };
    Finding::error(Code::SubjectOverlap, message).help(help)
}

/// What is pushed into a stream is stored again. The spec's own streams are judged with the spec.
fn delivery(
    outlook: &Outlook<'_>,
    written: &Written<'_>,
    owned: &Owned<'_>,
    found: &mut Vec<Finding>,
) {
    let Some(subject) = written.config["deliver_subject"].as_str() else { return };
    if !written.is_made() && written.change("deliver_subject").is_none() {
        return;
    }
    let unseen =
        |(name, _): &(&str, &str)| !outlook.is_as_declared(&Address::stream(name), "subjects");
    let Some((name, text)) = owned.meeting(subject).find(unseen) else { return };
    let message =
        format!("what is pushed to `{subject}` is stored by the live stream `{name}` as `{text}`");
    // The server looks at the consumer's own stream only, and refuses that with 10081.
    let finding = if name == written.address.stream_name() {
        Finding::error(Code::SubjectOverlap, message)
            .help("push to a subject outside the stream: this would go round for ever")
    } else {
        Finding::warning(Code::SubjectOverlap, message)
            .help("push to a subject that no stream stores, unless that is the purpose")
    };
    found.push(outlook.at(written.address, "deliver_subject", finding));
}

/// Streams that republish into each other never end. The server only sees a stream that republishes
/// into itself (all releases).
fn circle(
    outlook: &Outlook<'_>,
    address: &Address,
    streams: &Streams<'_>,
    owned: &Owned<'_>,
    found: &mut Vec<Finding>,
) {
    let mut seen = BTreeSet::new();
    let mut next = vec![address.name()];
    while let Some(here) = next.pop() {
        let dest = streams.get(here).and_then(|it| it.republish.as_ref()).map(|it| &it.dest);
        let Some(dest) = dest.filter(|it| !it.is_empty()) else { continue };
        for (name, _) in owned.meeting(&subject::mapped(dest)) {
            if name == address.name() && here != name {
                let message = format!(
                    "what `{name}` publishes again comes back to it, through `{here}` at the last"
                );
                let finding = Finding::warning(Code::SubjectOverlap, message)
                    .help("break the circle: a message in it goes round for ever");
                found.push(outlook.at(address, "republish", finding));
                return;
            }
            if seen.insert(name) {
                next.push(name);
            }
        }
    }
}
