//! What a stream's step costs: limits, interest, subjects, copies, its end.

use serde_json::Value;

use super::{
    Around, Fate, Risk, When,
    consumer::{at_most, will},
    count::{ALL, Until},
};
use crate::{
    address::Address,
    config::Config,
    diff::Delta,
    forecast::{Amount, Limits, Question},
    live::{Facts, Observed},
    plan::{Action, Change, Step, call::parked},
    schema::{
        Harm, Loses, Release, Verdict,
        stream::{copied, recopied},
    },
    subject,
    units::count,
};

/// From here on an interest stream without consumers keeps nothing of what it has.
const DROPS_UNREAD: Release = Release(2, 15, 0);

impl Around<'_> {
    pub(super) fn of_stream(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        match step.action {
            Action::Delete | Action::Replace => self.destroyed(step),
            Action::Update => self.changed(step, is),
            Action::Create | Action::Bind | Action::Adopt | Action::Record | Action::Forget => {
                Vec::new()
            }
        }
    }

    fn changed(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let mut risks = self.limits(step, is);
        for Change { delta, verdict, .. } in &step.changes {
            let name = delta.field.name;
            let mut found = match delta.field.loses {
                Loses::Nothing | Loses::Lowered | Loses::Released => Vec::new(),
                Loses::Filtered | Loses::Idling => Vec::new(),
                Loses::Uninterested => self.uninterested(step, delta),
                Loses::Unbound => self.unbound(step, delta),
                Loses::Promoted => self.promoted(step, delta),
                Loses::Recopied => self.recopied(delta),
                Loses::Expiring => self.expiring(step, delta),
                Loses::When(..) => spoken(delta).into_iter().collect(),
            };
            if *verdict == Verdict::OneWay {
                let why = format!("`{name}` cannot be taken back by an update");
                found.push(Risk::of(Harm::OneWay, Amount::Nothing, why));
            }
            let placed = |it: Risk| Risk { field: Some(name.to_owned()), ..it };
            risks.extend(found.into_iter().map(placed));
        }
        risks
    }

    /// A stream that goes takes everything along, and leaves its copies behind.
    fn destroyed(&self, step: &Step) -> Vec<Risk> {
        let name = step.address.name();
        let what = (Harm::Destroy, "its messages would be deleted");
        let copies: Vec<_> = self.copies(name).map(|it| format!("`{it}`")).collect();
        let mut risks = vec![self.everything(what, name)];
        if !copies.is_empty() {
            let copies = copies.join(", ");
            let verb = if copies.contains(',') { "copy" } else { "copies" };
            let why = format!("{copies} {verb} it, and would never copy anything again");
            let safer = "make a copy a stream of its own first";
            let risk = Risk::of(Harm::Delivery, Amount::Nothing, why);
            risks.push(Risk { safer: Some(safer.to_owned()), ..risk });
        }
        risks
    }

    /// Streams that stay and copy this one, whoever owns them. They would wait for the sequences of
    /// the one that is gone, also where there is another of its name (all releases).
    fn copies<'a>(&'a self, origin: &'a str) -> impl Iterator<Item = &'a Address> {
        let goes = |it: &Address| matches!(self.fates.get(it), Some(Fate::Gone | Fate::Remade));
        let names = move |config: &Config| {
            let local = |it: &&Value| it.get("external").is_none();
            copied(config).map(|it| it.1).filter(local).any(|it| it["name"] == origin)
        };
        let streams = self.live.resources.iter().take_while(|it| it.0.is_stream());
        let streams = streams.filter(move |it| it.0.name() != origin && !goes(it.0));
        // Few streams copy, and fewer have the name in their configuration at all.
        let may = streams.filter(move |it| it.1.raw.get().contains(origin));
        let copies = may.filter(move |(address, is)| {
            let changes = self.fates.get(*address) == Some(&Fate::Changed);
            match self.desired.resources.get(*address).filter(|_| changes) {
                Some(wanted) => names(&wanted.config),
                None => names(&is.config()),
            }
        });
        copies.map(|it| it.0)
    }

    /// Lower limits delete what is over them, at once and under the new way to discard, which keeps
    /// what number and bytes would delete (all releases). All limits of a step are one question.
    fn limits(&self, step: &Step, is: &Observed) -> Vec<Risk> {
        let live = is.config();
        let was = Limits::of(|name| live.get(name).cloned().unwrap_or_default());
        let limits = Limits::of(|name| will(step, is, name));
        let Facts::Stream { messages, bytes, .. } = is.facts else { return Vec::new() };
        let released = was.discard_new && !limits.discard_new;
        let lower = |before: Option<u64>, after: Option<u64>| {
            after.is_some_and(|it| it < before.unwrap_or(u64::MAX))
        };
        let lowered = [
            ("max_msgs", lower(was.max_msgs, limits.max_msgs)),
            ("max_bytes", lower(was.max_bytes, limits.max_bytes)),
            ("max_msgs_per_subject", lower(was.max_msgs_per_subject, limits.max_msgs_per_subject)),
            ("max_age", lower(was.max_age, limits.max_age)),
        ];
        let lowered: Vec<&str> = lowered.iter().filter(|it| it.1).map(|it| it.0).collect();
        if lowered.is_empty() && !released {
            return Vec::new();
        }
        let over = |most: Option<u64>, stands: u64| most.is_some_and(|it| stands > it);
        let sizes = [
            ("max_msgs", over(limits.max_msgs, messages)),
            ("max_bytes", over(limits.max_bytes, bytes)),
        ];
        let sizes = sizes.iter().filter(|it| it.1).map(|it| it.0);
        let sizes: Vec<&str> = sizes.filter(|it| released || lowered.contains(it)).collect();
        let others = [
            ("max_msgs_per_subject", over(limits.max_msgs_per_subject, messages)),
            ("max_age", messages > 0),
        ];
        let others = others.iter().filter(|it| it.1 && lowered.contains(&it.0)).map(|it| it.0);
        let others: Vec<&str> = others.collect();
        let mut risks = Vec::new();
        if limits.discard_new && !sizes.is_empty() {
            risks.push(refusing(&sizes, &limits, messages));
        }
        let sizes = if limits.discard_new { Vec::new() } else { sizes };
        let bites: Vec<&str> = sizes.iter().chain(&others).copied().collect();
        risks.extend(self.beyond(step, is, (&lowered, &bites), limits));
        let keeps = others.is_empty() && !released && !bites.is_empty();
        if let Some(risk) = risks.last_mut().filter(|it| keeps && it.question.is_some()) {
            let safer = "with `discard = \"new\"` nothing is deleted, and new messages are refused";
            risk.safer = Some(safer.to_owned());
        }
        risks.extend(self.outliving(step, &risks, &lowered));
        risks
    }

    /// What limits no longer allow: those of `bites` are exceeded.
    fn beyond(
        &self,
        step: &Step,
        is: &Observed,
        (lowered, bites): (&[&str], &[&str]),
        limits: Limits,
    ) -> Option<Risk> {
        let stored = is.messages();
        let names = if bites.is_empty() { lowered } else { bites };
        // Where only number and bytes are lowered and new messages are refused, nothing ever goes.
        let sizes = |it: &&&str| matches!(**it, "max_msgs" | "max_bytes");
        if limits.discard_new && names.iter().all(|it| sizes(&it)) {
            return None;
        }
        // Each limit by itself leaves so many at least; none is enforced beyond its own.
        let leaves = bites.iter().map(|it| match *it {
            "max_msgs" => limits.max_msgs.unwrap_or(stored),
            "max_msgs_per_subject" => limits.max_msgs_per_subject.unwrap_or(stored),
            _ => 0,
        });
        let most = stored.saturating_sub(leaves.min().unwrap_or(stored));
        let bound = match bites {
            [] => Amount::Nothing,
            ["max_msgs"] => Amount::Exactly(most),
            _ => Amount::AtMost(most),
        };
        let why = format!("messages beyond {} would be deleted", listed(names));
        let stream = step.address.name();
        let question = Question::Beyond { stream: stream.to_owned(), limits };
        let risk = self.counted((Harm::DataLoss, why), question, bound);
        let field = names.first().copied().unwrap_or("discard").to_owned();
        Some(self.with_needs(Risk { field: Some(field), ..risk }, stream))
    }

    /// What a shorter life does not delete at once it deletes sooner than it would have gone.
    fn outliving(&self, step: &Step, risks: &[Risk], lowered: &[&str]) -> Option<Risk> {
        let limits = risks.iter().find_map(|it| match &it.question {
            Some(Question::Beyond { limits, .. }) => Some((limits.max_age?, &it.tally)),
            Some(_) | None => None,
        });
        let (age, gone) = limits.filter(|_| lowered.contains(&"max_age"))?;
        let stored = step.stored;
        let left = match &gone.messages {
            Amount::Nothing => Amount::Exactly(stored),
            Amount::Exactly(gone) => Amount::Exactly(stored.saturating_sub(*gone)),
            Amount::AtMost(_) | Amount::Unknown(_) => Amount::AtMost(stored),
        };
        if left.most() == Some(0) {
            return None;
        }
        let why = "what is left would be deleted as it reaches `max_age`";
        let risk = Risk::of(Harm::DataLoss, left, why);
        Some(Risk { when: When::Within(age), field: Some("max_age".to_owned()), ..risk })
    }

    /// Once interest decides, what every consumer has done with is deleted; what none of them
    /// matches stays, and nobody gets it. Its consumers are made before.
    fn uninterested(&self, step: &Step, delta: &Delta) -> Vec<Risk> {
        let name = step.address.name();
        if delta.after != "interest" {
            return Vec::new();
        }
        let readers = self.readers(name, &step.address, Until::Deletions);
        if readers.is_empty() {
            return self.unread(name);
        }
        let bound = match (self.unneeded(name, &readers), readers.as_slice()) {
            (Amount::Exactly(most), [one]) if one.filters.iter().any(|it| it == ALL) => {
                Amount::Exactly(most)
            }
            (it, _) => it.most().map_or(it, Amount::AtMost),
        };
        let mut filters: Vec<String> = readers.iter().flat_map(|it| it.filters.clone()).collect();
        filters.sort();
        filters.dedup();
        let stream = name.to_owned();
        let question = Question::Settled { stream: stream.clone(), readers };
        let why = "messages that every consumer has done with would be deleted";
        let settled = self.counted((Harm::DataLoss, why), question, bound);
        let mut risks = vec![if self.has_passers_by(name) { at_most(settled) } else { settled }];
        if !filters.iter().any(|it| it == ALL) {
            let question = Question::Matching { stream, filters: all(), except: filters };
            let why = "no consumer matches them, so they would stay and never be delivered";
            let bound = Amount::AtMost(step.stored);
            risks.push(self.counted((Harm::Delivery, why), question, bound));
        }
        risks
    }

    /// Interest decides, and nobody has any.
    fn unread(&self, stream: &str) -> Vec<Risk> {
        let (release, safer) = (
            self.live.server.release,
            Some("declare its consumers too: they are made first".to_owned()),
        );
        let drops = "while it has no consumer, what is published is acknowledged and not stored";
        let drops = Risk::of(Harm::Delivery, Amount::Nothing, drops);
        let stored = if release >= DROPS_UNREAD {
            let what = (Harm::DataLoss, "without a consumer nothing would be kept");
            self.everything(what, stream)
        } else {
            let what = (Harm::Delivery, "without a consumer nothing stored would be delivered");
            self.everything(what, stream)
        };
        let stored = if self.has_passers_by(stream) { at_most(stored) } else { stored };
        [stored, drops].map(|it| Risk { safer: safer.clone(), ..it }).into()
    }

    /// Subjects that are given up: what is stored on them tells that somebody publishes there.
    fn unbound(&self, step: &Step, delta: &Delta) -> Vec<Risk> {
        let texts = |it: &Value| -> Vec<String> {
            let list = it.as_array().into_iter().flatten().filter_map(Value::as_str);
            list.map(ToOwned::to_owned).collect()
        };
        let after = texts(&delta.after);
        let covered = |by: &[String], it: &str| by.iter().any(|wider| subject::covers(wider, it));
        let mut lost = texts(&delta.before);
        let parked = parked(step.address.name());
        lost.retain(|it| !covered(&after, it) && *it != parked);
        if lost.is_empty() {
            return Vec::new();
        }
        let taken = self.taken_subjects(&step.address);
        let why = "a subject that is given up is no longer stored";
        let mut risks = vec![Risk::of(Harm::Availability, Amount::Nothing, why)];
        lost.retain(|it| !covered(&taken, it));
        let meets = |it: &&String| lost.iter().any(|lost| subject::overlap(lost, it));
        let except: Vec<String> = after.iter().chain(&taken).filter(meets).cloned().collect();
        if !lost.is_empty() {
            let names: Vec<&str> = lost.iter().map(String::as_str).collect();
            let why = format!(
                "stored on {}, and such messages would find no stream any more",
                listed(&names)
            );
            let stream = step.address.name().to_owned();
            let question = Question::Matching { stream, filters: lost, except };
            let bound = Amount::AtMost(step.stored);
            risks.push(self.counted((Harm::Delivery, why), question, bound));
        }
        risks
    }

    /// Subjects that other streams have once the plan is carried out, as far as it changes them.
    fn taken_subjects(&self, but: &Address) -> Vec<String> {
        let takes = |it: &&Address| {
            let fate = self.fates.get(*it);
            *it != but && matches!(fate, Some(Fate::Made | Fate::Changed | Fate::Remade))
        };
        let streams = self.desired.resources.iter().filter(|it| it.0.is_stream() && takes(&it.0));
        let subjects = streams.flat_map(|it| it.1.config.texts("subjects"));
        subjects.map(ToOwned::to_owned).collect()
    }

    /// A mirror that becomes a stream of its own.
    fn promoted(&self, step: &Step, delta: &Delta) -> Vec<Risk> {
        if !delta.after.is_null() || delta.before.is_null() {
            return Vec::new();
        }
        let origin = delta.before["name"].as_str().unwrap_or_default();
        let why = format!("what was not copied from `{origin}` yet would stay behind");
        let one_way = Risk::of(Harm::OneWay, Amount::Nothing, "it never mirrors again");
        let left = match self.sight(&delta.before) {
            Sight::Absent => return vec![one_way],
            Sight::Seen(is) => {
                let (stream, origin) = (step.address.name().to_owned(), origin.to_owned());
                let bound = Amount::AtMost(is.messages());
                self.counted((Harm::DataLoss, why), Question::Uncopied { stream, origin }, bound)
            }
            Sight::Hidden => Risk::of(Harm::DataLoss, Amount::Unknown(hidden(origin)), why),
        };
        let safer = format!("stop what publishes to `{origin}`, and wait until all is copied");
        vec![Risk { safer: Some(safer), ..left }, one_way]
    }

    /// A source that is copied otherwise is copied from its start, beside what was copied before.
    fn recopied(&self, delta: &Delta) -> Vec<Risk> {
        let again = |source: &Value| {
            let origin = source["name"].as_str().unwrap_or_default();
            let why = format!("`{origin}` would be copied once more, from its start");
            let is = match self.sight(source) {
                Sight::Absent => return None,
                Sight::Seen(is) => is,
                Sight::Hidden => {
                    let unknown = Amount::Unknown(hidden(origin));
                    return Some(Risk::of(Harm::Redelivery, unknown, why));
                }
            };
            let stream = origin.to_owned();
            let question = Question::Matching { stream, filters: matched(source), except: vec![] };
            Some(self.counted((Harm::Redelivery, why), question, Amount::AtMost(is.messages())))
        };
        recopied(&delta.before, &delta.after).filter_map(again).collect()
    }

    /// How much is known of the stream that a copy names.
    fn sight(&self, source: &Value) -> Sight<'_> {
        let address = Address::stream(source["name"].as_str().unwrap_or_default());
        let far = source.get("external").is_some_and(|it| !it.is_null());
        match self.live.resources.get(&address).filter(|_| !far) {
            Some(is) => Sight::Seen(is),
            None if far || self.live.unknown.contains_key(&address) => Sight::Hidden,
            None => Sight::Absent,
        }
    }

    /// Messages that came with a time to live, which nobody minded so far.
    fn expiring(&self, step: &Step, delta: &Delta) -> Vec<Risk> {
        if delta.after != true {
            return Vec::new();
        }
        let stream = step.address.name();
        let question = Question::TimeToLive { stream: stream.to_owned() };
        let why = "messages whose own `Nats-TTL` has passed would be deleted, and others in time";
        let bound = Amount::AtMost(step.stored);
        let risk = self.counted((Harm::DataLoss, why), question, bound);
        vec![self.with_needs(risk, stream)]
    }

    /// Whether a stream is kept by interest when a step comes to one of its consumers: a stream
    /// turns to interest after its consumers are made and changed, and before they are deleted.
    pub(super) fn keeps_by_interest(&self, step: &Step) -> bool {
        let name = step.address.stream_name();
        let stream = Address::stream(name);
        let changes = self.fates.get(&stream) == Some(&Fate::Changed);
        let wanted = self.desired.resources.get(&stream).filter(|_| changes);
        let after = wanted.map(|it| it.config.text("retention").unwrap_or("limits"));
        let is = self.keeps_by(name, "interest");
        let will = after.map_or(is, |it| it == "interest");
        if step.action == Action::Delete { will } else { is && will }
    }

    pub(super) fn keeps_by(&self, stream: &str, retention: &str) -> bool {
        let stream = self.live.resources.get(&Address::stream(stream));
        stream.is_some_and(|it| it.config().text("retention") == Some(retention))
    }
}

/// New messages are refused as long as a limit is exceeded.
fn refusing(names: &[&str], limits: &Limits, stored: u64) -> Risk {
    let over = match (names, limits.max_msgs) {
        (["max_msgs"], Some(most)) => count(stored.saturating_sub(most), "message") + " over it",
        (_, _) => "what is over it".to_owned(),
    };
    let why = format!(
        "new messages are refused until {} is kept again; `discard = \"old\"` would delete {over}",
        listed(names)
    );
    let risk = Risk::of(Harm::Availability, Amount::Nothing, why);
    Risk { field: names.first().map(|it| (*it).to_owned()), ..risk }
}

/// A cost that its row tells whole.
pub(super) fn spoken(delta: &Delta) -> Option<Risk> {
    let Loses::When(harm, why, applies) = delta.field.loses else { return None };
    applies(&delta.before, &delta.after).then(|| Risk::of(harm, Amount::Nothing, why))
}

/// The subjects of an origin that a source copies.
fn matched(source: &Value) -> Vec<String> {
    let transforms = source["subject_transforms"].as_array().into_iter().flatten();
    let sources = transforms.filter_map(|it| it["src"].as_str());
    let filters: Vec<String> = source["filter_subject"]
        .as_str()
        .into_iter()
        .chain(sources)
        .map(ToOwned::to_owned)
        .collect();
    if filters.is_empty() { all() } else { filters }
}

fn all() -> Vec<String> {
    vec![ALL.to_owned()]
}

fn hidden(origin: &str) -> String {
    format!("`{origin}` cannot be seen from here")
}

/// An origin, seen from this account.
enum Sight<'a> {
    /// It is there.
    Seen(&'a Observed),
    /// There is none.
    Absent,
    /// It is elsewhere, or could not be read.
    Hidden,
}

/// `a`, `a` and `b`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "its limits".to_owned(),
    }
}
