//! Mirrors and sources beside the streams they copy. Origins of other accounts and domains are not
//! judged: nothing is known of them, and the server does not look either.

use super::{Glance, Outlook, Streams, Written};
use crate::{
    address::Address,
    finding::{Code, Finding, closest},
    schema::{Release, stream::leads_back},
    units::show_bytes,
};

pub(super) fn check(outlook: &Outlook<'_>, streams: &Streams<'_>, found: &mut Vec<Finding>) {
    for written in outlook.written_streams() {
        let Some(glance) = streams.get(written.address.name()) else { continue };
        let field = if glance.mirror.is_some() { "mirror" } else { "sources" };
        let changed = written.is_made() || written.change(field).is_some();
        let mut findings: Vec<Finding> = Vec::new();
        for origin in glance.origins() {
            findings.extend(too_large(streams, written, origin));
            if changed {
                findings.extend(missing(outlook, streams, written, origin));
                findings.extend(queue(outlook, streams, origin));
            }
        }
        let copied = |it| streams.get(it).into_iter().flat_map(Glance::origins);
        if changed && leads_back(written.address.name(), copied) {
            findings.push(circle(written.address));
        }
        found.extend(findings.into_iter().map(|it| outlook.at(written.address, field, it)));
    }
}

/// The server takes a copy of nothing, and copies nothing.
fn missing(
    outlook: &Outlook<'_>,
    streams: &Streams<'_>,
    written: &Written<'_>,
    origin: &str,
) -> Option<Finding> {
    let unknown = outlook.around.live.unknown.contains_key(&Address::stream(origin));
    if unknown || streams.contains_key(origin) {
        return None;
    }
    let name = written.address.name();
    let message =
        format!("`{name}` copies `{origin}`, which is neither in the spec nor on the server");
    let near = closest(origin, streams.keys().copied().filter(|it| *it != name));
    let near = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
    let help = format!(
        "the server takes it and copies nothing until there is such a stream: declare it, or \
         correct the name{near}"
    );
    Some(Finding::warning(Code::Origin, message).help(help))
}

/// Refused with 10030 and 10046, at every update of the copy.
fn too_large(streams: &Streams<'_>, written: &Written<'_>, origin: &str) -> Option<Finding> {
    let size = |name: &str| streams.get(name)?.max_msg_size.filter(|it| *it > 0);
    let (own, theirs) = (size(written.address.name())?, size(origin)?);
    let message = format!(
        "`max_msg_size` is {}, and messages of `{origin}` may have {}",
        show_bytes(own),
        show_bytes(theirs)
    );
    let help = "raise it to that of the origin, or leave it out";
    (own < theirs).then(|| Finding::error(Code::Origin, message).help(help))
}

/// What copying does to a work queue hangs on the release.
fn queue(outlook: &Outlook<'_>, streams: &Streams<'_>, origin: &str) -> Option<Finding> {
    let retention = streams.get(origin)?.retention.as_deref();
    if retention != Some("workqueue") {
        return None;
    }
    let release = outlook.around.live.server.release;
    Some(if release < Release(2, 14, 0) {
        let message = format!(
            "`{origin}` is a work queue: nats-server {release} takes what is copied out of it, and \
             lets no unfiltered consumer in beside the copy"
        );
        Finding::warning(Code::Origin, message)
            .help("copy a stream with the retention `limits`, or upgrade to 2.14.0")
    } else {
        let message =
            format!("`{origin}` is a work queue: a message stays in it until it is copied, too");
        Finding::note(Code::Origin, message)
            .help("watch the copy: one that stops fills the queue, which then stops at its limits")
    })
}

fn circle(address: &Address) -> Finding {
    let message = format!("`{0}` copies a stream that copies `{0}`", address.name());
    Finding::error(Code::Conflict, message).help(
        "break the circle: remove one of the copies; streams that jsplan does not manage count, too",
    )
}
