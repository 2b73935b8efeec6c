//! Who uses a stream, and when somebody did last.

use serde::Deserialize;
use serde_json::json;

use super::{Session, error::Error, wire};
use crate::io::clock;

/// What was done last with a stream, and when.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    /// In words: `the last message came`.
    pub(crate) what: String,
    /// RFC 3339.
    pub(crate) at: String,
}

#[derive(Deserialize)]
struct Info {
    state: State,
}

#[derive(Deserialize)]
struct State {
    last_seq: u64,
    last_ts: String,
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<Consumer>>,
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    delivered: Delivered,
    #[serde(default)]
    num_waiting: u64,
    #[serde(default)]
    push_bound: bool,
}

#[derive(Deserialize)]
struct Delivered {
    last_active: Option<String>,
}

impl Session {
    /// The last use of a stream: a message that came, where publishers `may` send any, or a delivery
    /// to a durable consumer; now, where somebody waits for one. `None` where nothing was ever done.
    pub(crate) async fn last_use(
        &self,
        stream: &str,
        may: Publishing,
    ) -> Result<Option<Use>, Error> {
        let mut found = Vec::new();
        if may == Publishing::Open {
            let read = |subject: &str, it: &[u8]| wire::read::<Info>(subject, it);
            let info = self.ask(&format!("STREAM.INFO.{stream}"), "", read).await?;
            let State { last_seq, last_ts: at } = info.state;
            let what = "the last message came".to_owned();
            found.extend((last_seq > 0).then_some(Use { what, at }));
        }
        for consumer in self.consumers(stream).await? {
            let Consumer { name, delivered, num_waiting, push_bound } = consumer;
            if num_waiting > 0 || push_bound {
                let what = format!("somebody waits for messages of `{name}`, as seen");
                found.push(Use { what, at: clock::now() });
            } else if let Some(at) = delivered.last_active {
                found.push(Use { what: format!("`{name}` was given a message"), at });
            }
        }
        let instant = |it: &Use| it.at.parse::<jiff::Timestamp>().ok();
        Ok(found.into_iter().max_by_key(instant))
    }

    async fn consumers(&self, stream: &str) -> Result<Vec<Consumer>, Error> {
        let mut all = Vec::new();
        loop {
            let body = json!({ "offset": all.len() }).to_string();
            let read = |subject: &str, it: &[u8]| wire::read::<Page>(subject, it);
            let page = self.ask(&format!("CONSUMER.LIST.{stream}"), &body, read).await?;
            let more = page.consumers.unwrap_or_default();
            let done = more.is_empty();
            all.extend(more);
            if done || all.len() >= page.total {
                all.retain(|it| !it.name.starts_with("jsplan_"));
                return Ok(all);
            }
        }
    }
}

/// Whether a stream takes what publishers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// It does.
    Open,
    /// It is parked: what comes is copied.
    Parked,
}
