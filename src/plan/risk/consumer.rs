//! What a consumer's step costs: messages it would skip, get again, or let go of.

use serde_json::Value;

use super::{
    Around, Risk, When,
    count::{ALL, Until, live_filters, unread},
    stream::spoken,
};
use crate::{
    address::Address,
    config::Config,
    forecast::{Amount, Question, Reader},
    live::{Facts, Observed},
    plan::{Action, Change, Step},
    position,
    schema::{Harm, Loses},
    subject,
};

/// The filters of a consumer; without any it reads everything.
pub(in crate::plan) fn filters(value: impl Fn(&str) -> Value) -> Vec<String> {
    let (one, several) = (value("filter_subject"), value("filter_subjects"));
    let texts = several.as_array().into_iter().flatten().chain([&one]).filter_map(Value::as_str);
    let found: Vec<_> = texts.filter(|it| !it.is_empty()).map(ToOwned::to_owned).collect();
    if found.is_empty() { vec![ALL.to_owned()] } else { found }
}

/// The value of a field once the step is done.
pub(super) fn will(step: &Step, is: &Observed, name: &str) -> Value {
    let changed = step.changes.iter().find(|it| it.delta.field.name == name);
    let stays = || is.config().get(name).cloned().unwrap_or_default();
    changed.map_or_else(stays, |it| it.delta.after.clone())
}

impl Around<'_> {
    pub(super) fn of_consumer(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        // With its stream goes more than that, and is counted there.
        if self.gone.contains(step.address.stream_name()) {
            return Vec::new();
        }
        match step.action {
            Action::Delete => self.given_up(step, is),
            Action::Replace => self.made_again(step, is),
            Action::Update => self.updated(step, is),
            Action::Create | Action::Bind | Action::Adopt | Action::Record | Action::Forget => {
                Vec::new()
            }
        }
    }

    fn updated(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let mut risks = self.filtered(step, is);
        for Change { delta, .. } in &step.changes {
            let found = if matches!(delta.field.loses, Loses::Idling) {
                self.idling(step, is, &delta.before, &delta.after)
            } else {
                spoken(delta)
            };
            let field = Some(delta.field.name.to_owned());
            risks.extend(found.map(|it| Risk { field, ..it }));
        }
        risks
    }

    /// A consumer that goes: where interest keeps, what only it waited for goes with it.
    fn given_up(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let held_for = position::held_for(&step.address, is);
        if held_for.is_some_and(|it| self.live.resources.contains_key(&it)) {
            // What it held is that one's again.
            return Vec::new();
        }
        let mut risks = Vec::new();
        if self.keeps_by_interest(step) {
            risks.push(self.let_go(step, None));
            if !risks.iter().all(Risk::is_latent) {
                return risks;
            }
        }
        risks.extend(forgotten(is));
        if self.keeps_by(step.address.stream_name(), "workqueue") {
            risks.extend(unsettled(is));
        }
        risks
    }

    /// A consumer that is made again, where it stood or elsewhere.
    fn made_again(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let Some(wanted) = self.desired.resources.get(&step.address).map(|it| &it.config) else {
            return Vec::new();
        };
        if step.resumes() {
            let mut risks: Vec<Risk> = goes_on(wanted, is, step.stored).into_iter().collect();
            risks.extend(self.filtered(step, is));
            return risks;
        }
        if self.keeps_by(step.address.stream_name(), "workqueue") {
            let mut risks: Vec<Risk> = unsettled(is).into_iter().collect();
            risks.extend(self.filtered(step, is));
            return risks;
        }
        let mut risks = Vec::new();
        if self.keeps_by_interest(step) {
            risks.push(self.let_go(step, None));
        }
        risks.extend(self.starts_over(step, wanted, is));
        risks
    }

    /// Messages of an interest stream that nobody waits for once a consumer is gone, or `stays`
    /// with other filters.
    fn let_go(&self, step: &Step, stays: Option<Vec<String>>) -> Risk {
        let stream = step.address.stream_name();
        let until = if step.action == Action::Delete { Until::End } else { Until::Creations };
        let mut readers = self.readers(stream, &step.address, until);
        let why = match stays {
            None => "messages that no other consumer needs would be deleted",
            Some(_) => "messages that no consumer wants any more would be deleted",
        };
        let name = step.address.name().to_owned();
        readers.extend(stays.map(|filters| Reader { name, filters, to_come: false }));
        readers.sort();
        let bound = self.unneeded(stream, &readers);
        let question = Question::Unneeded { stream: stream.to_owned(), readers };
        let risk = self.counted((Harm::DataLoss, why), question, bound);
        // What clients' own consumers still wait for stays as long as they do.
        if self.has_passers_by(stream) { at_most(risk) } else { risk }
    }

    /// A filter that widens does not go back for what it passed; one that narrows lets go of
    /// messages, which are deleted where interest is all that keeps them, and wait for nobody in a
    /// work queue.
    fn filtered(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let field = step.changes.iter().find(|it| matches!(it.delta.field.loses, Loses::Filtered));
        let Some(field) = field.map(|it| it.delta.field.name) else { return Vec::new() };
        let (before, after) = (live_filters(is), filters(|name| will(step, is, name)));
        let (stream, consumer) = (step.address.stream_name(), step.address.name());
        let mut risks = Vec::new();
        let narrows = !within(&before, &after);
        if narrows && self.keeps_by_interest(step) {
            risks.push(self.let_go(step, Some(after.clone())));
        }
        if narrows && self.keeps_by(stream, "workqueue") {
            risks.extend(self.orphaned(step, &before, &after));
        }
        if !within(&after, &before) {
            let why = "matching messages behind its position would be skipped";
            let except = if meet(&before, &after) { before } else { Vec::new() };
            let question = Question::Passed {
                stream: stream.to_owned(),
                consumer: consumer.to_owned(),
                filters: after,
                except,
            };
            risks.push(self.counted((Harm::Delivery, why), question, passed(is, step.stored)));
        }
        let placed = |it: Risk| Risk { field: Some(field.to_owned()), ..it };
        risks.into_iter().map(placed).collect()
    }

    /// Messages of a work queue that the consumer gives up, and that no other one takes.
    fn orphaned(&self, step: &Step, before: &[String], after: &[String]) -> Option<Risk> {
        let stream = step.address.stream_name();
        let others = self.readers(stream, &step.address, Until::End);
        let mut except: Vec<String> = others.into_iter().flat_map(|it| it.filters).collect();
        except.extend(after.iter().cloned());
        except.sort();
        except.dedup();
        if within(before, &except) {
            return None;
        }
        let question =
            Question::Matching { stream: stream.to_owned(), filters: before.to_vec(), except };
        let why = "no consumer would take them, so they would wait for one";
        let bound = Amount::AtMost(step.stored);
        Some(self.counted((Harm::Delivery, why), question, bound))
    }

    /// A durable consumer that is to go when nobody uses it.
    fn idling(&self, step: &Step, is: &Observed, before: &Value, after: &Value) -> Option<Risk> {
        let time = after.as_u64().filter(|it| *it > 0)?;
        if before.as_u64().is_some_and(|before| before > 0 && before <= time) {
            return None;
        }
        let risk = if self.keeps_by_interest(step) {
            let risk = self.let_go(step, None);
            let why = "it is deleted, and messages that no other consumer needs with it";
            Risk { why: why.to_owned(), ..risk }
        } else {
            let why = "it is deleted with its position, and what it had not done with is missed";
            self.unread_by(step, is, why)
        };
        if risk.is_latent() {
            let why = "an idle consumer is deleted with its position";
            return Some(Risk::of(Harm::Availability, Amount::Nothing, why));
        }
        Some(Risk { when: When::Idle(time), ..risk })
    }

    fn unread_by(&self, step: &Step, is: &Observed, why: &str) -> Risk {
        let (stream, consumer) = (step.address.stream_name(), step.address.name());
        let question =
            Question::Unread { stream: stream.to_owned(), consumer: consumer.to_owned() };
        self.counted((Harm::Delivery, why), question, Amount::Exactly(unread(is)))
    }

    /// A consumer that is made again and begins where its declaration says, which is elsewhere.
    fn starts_over(&self, step: &Step, wanted: &Config, is: &Observed) -> Option<Risk> {
        let next = position::next(is.facts).unwrap_or(1);
        let starts = wanted.text("deliver_policy");
        let start = wanted.get("opt_start_seq").and_then(Value::as_u64);
        let all = match starts {
            Some("new") => Some(true),
            Some("last" | "last_per_subject" | "by_start_time") => Some(false),
            Some("by_start_sequence") if start > Some(next) => Some(false),
            _ => None,
        };
        if let Some(all) = all {
            let why = "its position would be lost: what it has not done with would be skipped";
            let risk = self.unread_by(step, is, why);
            return Some(if all { risk } else { at_most(risk) });
        }
        if starts == Some("by_start_sequence") && start >= Some(next) {
            return None;
        }
        let question = Question::Passed {
            stream: step.address.stream_name().to_owned(),
            consumer: step.address.name().to_owned(),
            filters: filters(|it| wanted.get(it).cloned().unwrap_or_default()),
            except: Vec::new(),
        };
        let why = "its position would be lost: it would start again";
        let risk = self.counted((Harm::Redelivery, why), question, passed(is, step.stored));
        Some(if starts == Some("by_start_sequence") { at_most(risk) } else { risk })
    }

    /// A consumer that somebody deleted has taken its position along, which nobody else knows.
    pub(super) fn delivered_again(&self, step: &Step) -> Option<Risk> {
        let Address::Consumer { stream, .. } = &step.address else { return None };
        let missing = self.recorded.resources.contains_key(&step.address);
        let starts = step.calls.last().map(|it| &it.body["config"]["deliver_policy"])?;
        let starts = starts.as_str().unwrap_or("all");
        let goes_back = !matches!(starts, "new" | "last");
        // What is in a work queue is not done with.
        let stays = !self.gone.contains(stream.as_str()) && !self.keeps_by(stream, "workqueue");
        if !(missing && goes_back && stays) {
            return None;
        }
        let filters = self.wanted(&step.address);
        let question = Question::Matching { stream: stream.clone(), filters, except: Vec::new() };
        let why = "its position is lost: it starts again";
        let bound = Amount::AtMost(step.stored);
        // Nobody knows how far it had come.
        let risk = at_most(self.counted((Harm::Redelivery, why), question, bound));
        (!risk.is_latent()).then_some(risk)
    }
}

/// Whether every subject of some filters is matched by others.
fn within(inner: &[String], outer: &[String]) -> bool {
    inner.iter().all(|it| outer.iter().any(|wider| subject::covers(wider, it)))
}

fn meet(one: &[String], other: &[String]) -> bool {
    one.iter().any(|it| other.iter().any(|other| subject::overlap(it, other)))
}

/// What is lost is no more than what was counted.
pub(super) fn at_most(mut risk: Risk) -> Risk {
    if let Amount::Exactly(most) = risk.tally.messages {
        risk.tally.messages = Amount::AtMost(most);
    }
    risk
}

/// What one reading says of messages up to the last that was delivered.
fn passed(is: &Observed, stored: u64) -> Amount {
    match is.facts {
        Facts::Consumer { pending, delivered, .. } => {
            Amount::AtMost(stored.saturating_sub(pending).min(delivered))
        }
        Facts::Stream { .. } => Amount::Nothing,
    }
}

/// A consumer that is made again and goes on where the one before it stood.
fn goes_on(wanted: &Config, is: &Observed, stored: u64) -> Option<Risk> {
    let (most, exactly) = position::redelivered(wanted, is.facts, stored);
    let amount = if exactly { Amount::Exactly(most) } else { Amount::AtMost(most) };
    let why = "it would go on behind its last acknowledgement";
    (most > 0).then(|| Risk::of(Harm::Redelivery, amount, why))
}

/// A work queue still holds what is not acknowledged, and gives it to whoever comes next.
fn unsettled(is: &Observed) -> Option<Risk> {
    let Facts::Consumer { ack_pending, .. } = is.facts else { return None };
    let why = "they were delivered, and nobody acknowledged them";
    (ack_pending > 0).then(|| Risk::of(Harm::Redelivery, Amount::Exactly(ack_pending), why))
}

/// The place of a consumer in its stream, which nobody else knows. What it has not done with stays
/// stored, so it is not counted again.
fn forgotten(is: &Observed) -> Option<Risk> {
    let Facts::Consumer { ack_floor, delivered, .. } = is.facts else { return None };
    let (amount, why) = match unread(is) {
        0 => (Amount::Nothing, "its position would be forgotten"),
        some => {
            let why = "its position would be forgotten, with what it has not done with";
            (Amount::Exactly(some), why)
        }
    };
    (ack_floor > 0 || delivered > 0).then(|| Risk::of(Harm::Destroy, amount, why))
}
