//! What a connection reports beside its replies: denials and losses.
//!
//! nats-server answers a request that the user may not send with an error of its own, that names
//! the subject and no request. Whoever waits for the reply watches these reports.

use std::collections::BTreeMap;

use async_nats::{Event, ServerError};
use tokio::sync::watch;

use super::error::{Error, escaped};

/// Everything reported so far, in numbered order.
#[derive(Debug)]
pub(super) struct Reports {
    /// What reply subjects begin with.
    inbox_prefix: String,
    last: u64,
    /// When the connection broke last.
    lost: u64,
    /// When each subject was denied last.
    denied: BTreeMap<String, u64>,
    /// The reply subject that was denied on this connection.
    inbox: Option<String>,
}

impl Reports {
    /// Nothing reported yet.
    pub(super) fn new(inbox_prefix: String) -> Self {
        Self { inbox_prefix, last: 0, lost: 0, denied: BTreeMap::new(), inbox: None }
    }

    /// Takes note of an event; most say nothing about any request.
    pub(super) fn note(&mut self, event: &Event) {
        self.last += 1;
        match event {
            Event::Disconnected => {
                self.lost = self.last;
                // Replies are subscribed to anew on the next connection.
                self.inbox = None;
            }
            Event::ServerError(ServerError::Other(text)) => self.note_error(text),
            Event::Connected
            | Event::LameDuckMode
            | Event::Draining
            | Event::Closed
            | Event::SlowConsumer(_)
            | Event::ServerError(_)
            | Event::ClientError(_) => {}
        }
    }

    fn note_error(&mut self, text: &str) {
        let Some((_, rest)) = text.split_once("Permissions Violation for ") else { return };
        let mut parts = rest.splitn(3, '"');
        let (Some(kind), Some(subject)) = (parts.next(), parts.next()) else { return };
        match kind.trim() {
            "Publish to" => {
                self.denied.insert(subject.to_owned(), self.last);
            }
            // Other subscriptions than that of the replies concern no request.
            "Subscription to" if subject.starts_with(&self.inbox_prefix) => {
                self.inbox = Some(escaped(subject));
            }
            _ => {}
        }
    }

    /// Why a request that was sent after the report `since` will have no reply, if that is known.
    fn failure(&self, subject: &str, since: u64) -> Option<Error> {
        let subject_text = || subject.to_owned();
        if let Some(inbox) = &self.inbox {
            return Some(Error::DeniedInbox { subject: inbox.clone() });
        }
        let denied = |it: &str| self.denied.get(it).is_some_and(|it| *it > since);
        // A server of the domain maps the subject to its own prefix before it looks whether the
        // user may, and names that one (2.15.1).
        if let Some(subject) = [subject_text(), within(subject)].into_iter().find(|it| denied(it)) {
            return Some(Error::Denied { subject });
        }
        (self.lost > since).then(|| Error::Lost { subject: subject_text() })
    }
}

/// A subject of the API of some domain as that domain's own servers say it.
fn within(subject: &str) -> String {
    match subject.split('.').collect::<Vec<_>>().as_slice() {
        ["$JS", _, "API", "$KV", rest @ ..] => format!("$KV.{}", rest.join(".")),
        ["$JS", _, "API", rest @ ..] => format!("$JS.API.{}", rest.join(".")),
        _ => subject.to_owned(),
    }
}

/// One request's view of the reports, from the moment before it is sent.
#[derive(Clone)]
pub(super) struct Watch {
    reports: watch::Receiver<Reports>,
    since: u64,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn new(reports: &watch::Receiver<Reports>) -> Self {
        let mut reports = reports.clone();
        let since = reports.borrow_and_update().last;
        Self { reports, since }
    }

    /// Waits for a report that leaves the request without a reply, and says which.
    pub(super) async fn failure(mut self, subject: &str) -> Error {
        loop {
            if let Some(failure) = self.reports.borrow_and_update().failure(subject, self.since) {
                return failure;
            }
            if self.reports.changed().await.is_err() {
                return Error::Lost { subject: subject.to_owned() };
            }
        }
    }
}
