//! Which subjects take the same messages: of streams, and of the filters of consumers.

use serde_json::Value;

use super::{Check, Last};
use crate::{
    address::{Address, consumers_of},
    config::Config,
    finding::{Code, Finding, Place},
    spec::Declared,
    subject::{self, Subjects},
};

/// What a stream stores: its subjects, or its own name where it has none and copies nothing.
pub(crate) fn stored(config: &Config) -> Vec<&str> {
    let subjects = config.texts("subjects");
    let wrong = config.get("subjects") == Some(&Value::Null);
    if subjects.is_empty() && !copies(config) && !wrong {
        return config.text("name").into_iter().collect();
    }
    subjects
}

/// Whether messages come from other streams, perhaps beside those of own subjects.
fn copies(config: &Config) -> bool {
    let sources = config.get("sources");
    config.get("mirror").is_some() || sources.is_some_and(|it| *it != Value::Array(Vec::new()))
}

/// What a consumer reads of its stream: its filters, or everything.
fn filters(config: &Config) -> Vec<&str> {
    let mut filters = config.texts("filter_subjects");
    filters.extend(config.text("filter_subject").filter(|it| !it.is_empty()));
    let wrong =
        ["filter_subject", "filter_subjects"].iter().any(|it| config.get(it) == Some(&Value::Null));
    if filters.is_empty() && !wrong {
        filters.push(">");
    }
    filters
}

/// The field in which a filter was written.
fn filter_field(config: &Config) -> &'static str {
    if config.has("filter_subject") { "filter_subject" } else { "filter_subjects" }
}

impl Check<'_> {
    /// Within an account a subject is stored by one stream, and by that once.
    pub(super) fn subjects(&mut self) {
        let desired = self.desired;
        let streams = desired.resources.iter().filter(|it| it.0.is_stream());
        // Mirrors own no subjects.
        let owners = streams.filter(|it| !it.1.config.has("mirror"));
        let owned: Vec<_> = owners
            .flat_map(|(address, it)| stored(&it.config).into_iter().map(move |s| (address, it, s)))
            .collect();
        let mut taken = Subjects::default();
        for (number, (address, declared, text)) in owned.iter().enumerate() {
            // A few findings for each subject are enough: a `>` among a thousand meets them all.
            for earlier in taken.meeting(text).into_iter().take(3) {
                self.overlap((address, declared, text), owned[earlier]);
            }
            taken.insert(text, number);
        }
        self.deliveries(&taken, &owned);
    }

    fn overlap(
        &mut self,
        (address, declared, text): (&Address, &Declared, &str),
        (other, first, earlier): (&Address, &Declared, &str),
    ) {
        let same = address == other;
        let last = if same && text == earlier { Last::Yes } else { Last::No };
        let place = self.item(declared, "subjects", text, last);
        let spot = self.sources.spot(self.item(first, "subjects", earlier, Last::No));
        let message = match (same, text == earlier) {
            (true, true) => format!("`{text}` stands twice"),
            (true, false) => format!("`{text}` takes messages that `{earlier}` takes already"),
            (false, true) => format!("`{text}` is stored by `{}` too: see {spot}", other.name()),
            (false, false) => format!(
                "`{text}` takes messages that `{}` stores as `{earlier}`: see {spot}",
                other.name()
            ),
        };
        let help = match (same, declared.config.has("subjects")) {
            (true, _) => "remove one, or narrow it: within a stream no two subjects may meet",
            (false, true) => "narrow one of them: a subject is stored by one stream of an account",
            (false, false) => "add `subjects`: without them the stream stores its own name",
        };
        let finding = Finding::error(Code::SubjectOverlap, message).at(place).about(address);
        self.findings.push(finding.help(help));
    }

    /// What is pushed into a stream's subjects is stored again.
    fn deliveries(&mut self, taken: &Subjects<'_>, owned: &[(&Address, &Declared, &str)]) {
        for (address, declared) in &self.desired.resources {
            let Some(subject) = declared.config.text("deliver_subject") else { continue };
            let meeting = taken.meeting(subject);
            let Some((stream, _, text)) = meeting.first().map(|it| owned[*it]) else { continue };
            let message = format!(
                "what is pushed to `{subject}` is stored by `{}` as `{text}`",
                stream.name()
            );
            let finding = if stream.name() == address.stream_name() {
                Finding::error(Code::SubjectOverlap, message)
                    .help("push to a subject outside the stream: this would go round for ever")
            } else {
                Finding::warning(Code::SubjectOverlap, message)
                    .help("push to a subject that no stream stores, unless that is the purpose")
            };
            self.report(address, declared, "deliver_subject", finding);
        }
    }

    /// The filters of one consumer, among each other and beside what the stream stores.
    pub(super) fn filters(&mut self, address: &Address, declared: &Declared, stream: &Declared) {
        let config = &declared.config;
        let filters = filters(config);
        let mut taken = Subjects::default();
        for (number, text) in filters.iter().enumerate() {
            for earlier in taken.meeting(text).into_iter().filter_map(|it| filters.get(it)) {
                self.filter_overlap(address, declared, text, earlier);
            }
            taken.insert(text, number);
        }
        let stored = stored(&stream.config);
        let rewrites = stream.config.get("subject_transform").is_some();
        if copies(&stream.config) || rewrites || stored.is_empty() {
            return;
        }
        let dead = |it: &&str| !stored.iter().any(|subject| subject::overlap(it, subject));
        for text in filters.iter().copied().filter(dead) {
            let place = self.item(declared, filter_field(config), text, Last::No);
            let message =
                format!("`{text}` matches nothing that `{}` stores", address.stream_name());
            let finding = Finding::warning(Code::BadSubject, message).at(place).about(address);
            let names: Vec<_> = stored.iter().take(4).map(|it| format!("`{it}`")).collect();
            self.findings.push(finding.help(format!("it stores {}", names.join(", "))));
        }
    }

    fn filter_overlap(
        &mut self,
        address: &Address,
        declared: &Declared,
        text: &str,
        earlier: &str,
    ) {
        let last = if text == earlier { Last::Yes } else { Last::No };
        let place = self.item(declared, filter_field(&declared.config), text, last);
        let finding = if text == earlier {
            Finding::error(Code::SubjectOverlap, format!("the filter `{text}` stands twice"))
                .help("remove one of them")
        } else if subject::covers(text, earlier) || subject::covers(earlier, text) {
            let message = format!("the filters `{earlier}` and `{text}` take the same messages");
            Finding::error(Code::SubjectOverlap, message).help("keep the wider one")
        } else {
            // Refused up to 2.12.4, which a plan says; taken from 2.12.5 on.
            return;
        };
        self.findings.push(finding.at(place).about(address));
    }

    /// In a work queue a message belongs to one consumer.
    pub(super) fn queue(&mut self, stream: &Address) {
        let mut owned: Vec<(&Address, &str, Place)> = Vec::new();
        let mut taken = Subjects::default();
        for (address, declared) in consumers_of(&self.desired.resources, stream.name()) {
            let filters = filters(&declared.config);
            for text in &filters {
                let Some((other, earlier, place)) =
                    taken.meeting(text).first().and_then(|it| owned.get(*it)).copied()
                else {
                    continue;
                };
                let spot = self.sources.spot(place);
                let message = format!(
                    "`{text}` takes messages of `{}` (`{earlier}`, {spot}), and a work queue gives \
                     each to one consumer",
                    other.name()
                );
                let finding = Finding::error(Code::SubjectOverlap, message);
                let help = "give every consumer of the stream filters of its own";
                self.report(address, declared, filter_field(&declared.config), finding.help(help));
                break;
            }
            for text in filters {
                taken.insert(text, owned.len());
                owned.push((address, text, declared.place));
            }
        }
    }
}
