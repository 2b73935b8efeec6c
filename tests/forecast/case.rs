//! One case: what the plan says would be lost, and what is lost once it is sent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jsplan::{
    forecast::Amount,
    io::clock::until,
    plan::{Plan, risk::When},
    schema::Harm,
    state::State,
};
use serde_json::Value;

use crate::{
    bench::{Bench, Declaration},
    draw::{Case, Change, Reader},
};

/// Time between the old half of a stream's messages and the new one.
pub(crate) const GAP: Duration = Duration::from_millis(1200);

/// Fields of a stream, as they are written.
type Fields = BTreeMap<&'static str, String>;

/// What came of a case.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) kind: &'static str,
    pub(crate) predicted: Amount,
    pub(crate) measured: u64,
}

/// A case that was set up, and its record.
pub(crate) struct Prepared {
    case: Case,
    state: State,
}

impl Prepared {
    /// Makes the stream and its consumers, and publishes the old half.
    pub(crate) async fn begin(bench: &Bench, case: Case) -> Self {
        let desired = declared(&case, &BTreeMap::new(), &case.readers).desired();
        let mut state = State::new("test");
        let plan = bench.plan(&desired, &state).await;
        bench.send(&plan).await.unwrap_or_else(|why| panic!("{why}: {case:?}"));
        bench.record(&desired, &mut state).await;
        bench.publish(&case.name, &case.old).await;
        Self { case, state }
    }

    /// Publishes the new half, and lets the consumers read.
    pub(crate) async fn fill(&self, bench: &Bench) {
        let Case { name, new, gaps, readers, .. } = &self.case;
        bench.publish(name, new).await;
        bench.delete(name, gaps).await;
        for reader in readers {
            bench.read(name, reader).await;
        }
    }

    /// Plans the change, sends it, and compares.
    pub(crate) async fn judge(mut self, bench: &Bench) -> Result<Outcome, String> {
        let info = bench.stream(&self.case.name).await;
        if let Change::Release { .. } = self.case.change {
            let fields = self.fields(&info);
            let desired = declared(&self.case, &fields, &self.case.readers).desired();
            bench.send(&bench.plan(&desired, &self.state).await).await?;
            bench.record(&desired, &mut self.state).await;
        }
        let (kind, fields, readers) = self.wanted(&info);
        let desired = declared(&self.case, &fields, &readers).desired();
        let stored = bench.messages(&self.case.name).await;
        let plan = bench.plan(&desired, &self.state).await;
        if bench.messages(&self.case.name).await != stored {
            return Err(format!("{kind}: to count changes what is counted: {:?}", self.case));
        }
        let skips = kind == "filters: skipped";
        let harm = if skips { Harm::Delivery } else { Harm::DataLoss };
        let predicted = predicted(&plan, harm)?;
        let measured = if skips {
            self.skipped(bench, &plan, &readers[0]).await?
        } else {
            self.lost(bench, &plan, predicted.most()).await?
        };
        let right = match predicted {
            Amount::Nothing => measured == 0,
            Amount::Exactly(number) => measured == number,
            Amount::AtMost(number) => measured <= number,
            Amount::Unknown(_) => false,
        };
        if right {
            return Ok(Outcome { kind, predicted, measured });
        }
        let changes: Vec<_> =
            plan.steps.iter().flat_map(|it| &it.changes).map(|it| &it.delta).collect();
        let risks: Vec<_> = plan.steps.iter().flat_map(|it| &it.risks).collect();
        let Case { storage, retention, discard, readers, change, gaps, .. } = &self.case;
        Err(format!(
            "{kind}: predicted {predicted:?}, measured {measured}\n  {storage} {retention} {discard} \
             {change:?} gaps {gaps:?}\n  readers {readers:?}\n  changes {changes:?}\n  risks {risks:?}"
        ))
    }

    /// What the change is called, and what it leads to.
    fn wanted(&self, info: &Value) -> (&'static str, Fields, Vec<Reader>) {
        let mut fields = self.fields(info);
        let mut readers = self.case.readers.clone();
        let kind = match &self.case.change {
            Change::Limits { .. } => limits(&fields),
            Change::Release { .. } => {
                fields.insert("discard", r#""old""#.to_owned());
                "discard"
            }
            Change::Interest => {
                fields.insert("retention", r#""interest""#.to_owned());
                "retention"
            }
            Change::Filters(filters) => {
                readers[0].filters.clone_from(filters);
                if self.case.retention == "limits" { "filters: skipped" } else { "filters" }
            }
            Change::Deletion => {
                readers.remove(0);
                "deletion"
            }
        };
        (kind, fields, readers)
    }

    /// How many messages are gone once a plan is sent.
    async fn lost(&self, bench: &Bench, plan: &Plan, most: Option<u64>) -> Result<u64, String> {
        let name = &self.case.name;
        let before = bench.messages(name).await;
        bench.send(plan).await?;
        // What is too old goes a moment later.
        let most = most.unwrap_or(before);
        let mut lost = 0;
        until(Instant::now() + Duration::from_millis(300), Duration::from_millis(5), async || {
            lost = before - bench.messages(name).await;
            lost >= most
        })
        .await;
        Ok(lost)
    }

    /// How many messages on newly wanted subjects a consumer is never given.
    async fn skipped(&self, bench: &Bench, plan: &Plan, after: &Reader) -> Result<u64, String> {
        let Case { name, readers, .. } = &self.case;
        let before = &readers[0];
        bench.send(plan).await?;
        let body = serde_json::json!({ "subjects_filter": ">" });
        let info = bench.ask(&format!("STREAM.INFO.{name}"), &body).await;
        let is_new = |subject: &str| {
            let short = subject.strip_prefix(&format!("{name}.")).unwrap_or(subject);
            matches(&after.filters, short) && !matches(&before.filters, short)
        };
        let subjects = info["state"]["subjects"].as_object().into_iter().flatten();
        let there: u64 = subjects.filter(|it| is_new(it.0)).filter_map(|it| it.1.as_u64()).sum();
        let reader = Reader { given: 10_000, acked: 0, ..after.clone() };
        let given = bench.read(name, &reader).await;
        Ok(there - given.iter().filter(|it| is_new(it)).count() as u64)
    }

    /// The limits of the change, as they are written.
    fn fields(&self, info: &Value) -> Fields {
        let state = &info["state"];
        let number = |name: &str| state[name].as_u64().unwrap_or_default();
        let share = |of: u64, share: f64| ((of as f64 * share) as u64).max(1).to_string();
        let mut fields = BTreeMap::new();
        let (messages, bytes, per_subject, age, discard) = match self.case.change {
            Change::Limits { messages, bytes, per_subject, age, discard } => {
                (messages, bytes, per_subject, age, discard)
            }
            Change::Release { messages } => (Some(messages), None, None, false, None),
            Change::Interest | Change::Filters(_) | Change::Deletion => return fields,
        };
        fields.extend(messages.map(|it| ("max_msgs", share(number("messages"), it))));
        fields.extend(bytes.map(|it| ("max_bytes", share(number("bytes"), it))));
        fields.extend(per_subject.map(|it| ("max_msgs_per_subject", it.to_string())));
        fields.extend(discard.map(|it| ("discard", format!("{it:?}"))));
        if age {
            fields.extend(between(info).map(|it| ("max_age", format!("\"{it}ms\""))));
        }
        fields
    }
}

/// An age that only the old half is beyond.
fn between(info: &Value) -> Option<u128> {
    let at = |it: &Value| it.as_str()?.parse::<jiff::Timestamp>().ok();
    let (now, newest) = (at(&info["ts"])?, at(&info["state"]["last_ts"])?);
    let since = now.duration_since(newest).unsigned_abs() + GAP / 2;
    Some(since.as_millis())
}

fn limits(fields: &Fields) -> &'static str {
    let limits: Vec<_> = fields.keys().filter(|it| it.starts_with("max_")).collect();
    match limits[..] {
        [] => "none",
        [one] => one,
        [..] => "several limits",
    }
}

/// Everything of one class that happens with the steps.
fn predicted(plan: &Plan, harm: Harm) -> Result<Amount, String> {
    let risks = plan.steps.iter().flat_map(|it| &it.risks);
    let mut sum = 0;
    let mut exact = true;
    for risk in risks.filter(|it| it.harm == harm && it.when == When::AtOnce) {
        match &risk.tally.messages {
            Amount::Nothing => {}
            Amount::Exactly(number) => sum += number,
            Amount::AtMost(number) => {
                sum += number;
                exact = false;
            }
            Amount::Unknown(why) => return Err(format!("unknown: {why}")),
        }
    }
    Ok(match (sum, exact) {
        (0, _) => Amount::Nothing,
        (sum, true) => Amount::Exactly(sum),
        (sum, false) => Amount::AtMost(sum),
    })
}

fn declared<'a>(case: &'a Case, more: &Fields, readers: &'a [Reader]) -> Declaration<'a> {
    let quoted = |it: &str| format!("{it:?}");
    let mut fields = BTreeMap::from([
        ("storage", quoted(case.storage)),
        ("retention", quoted(case.retention)),
        ("discard", quoted(case.discard)),
        ("duplicate_window", quoted("100ms")),
    ]);
    fields.extend(case.each.map(|it| ("max_msgs_per_subject", it.to_string())));
    fields.extend(more.iter().map(|(name, value)| (*name, value.clone())));
    let consumer = |it: &'a Reader| (it.name.as_str(), it.filters.clone(), it.ack);
    Declaration { name: &case.name, fields, consumers: readers.iter().map(consumer).collect() }
}

/// Whether one of these filters takes a subject of two words.
fn matches(filters: &[&str], subject: &str) -> bool {
    let one = |filter: &&str| {
        let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
        loop {
            match (filter.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(a), Some(b)) if a == "*" || a == b => {}
                (_, _) => return false,
            }
        }
    };
    filters.iter().any(one)
}
