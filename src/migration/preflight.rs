//! What only the live messages of a stream tell about a migration before it begins: whether the
//! server would copy all of them, and whether the copy would keep them.
//!
//! None of it shows on the way: each ends with fewer messages, and the server says that there is no
//! lag.

use std::collections::BTreeMap;

use super::proof::{Copying, Pair, mapped};
use crate::{
    config::Config,
    finding::{Code, Finding, Place},
    schema::Release,
    subject,
    units::count,
};

/// What one look at every message of the origin found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The origin as it is configured.
    pub from: Config,
    /// How many messages it holds.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many there are on each subject.
    pub subjects: BTreeMap<String, u64>,
    /// Bytes of the largest, headers and payload.
    pub largest: u64,
    /// Bytes of the longest headers.
    pub headers: u64,
    /// How many bear the id of an earlier one; `None` where there are too many ids to say.
    pub repeated: Option<u64>,
    /// How many have a time to live of their own.
    pub mortal: u64,
    /// How many ask that those before them be deleted.
    pub rollups: u64,
    /// How many say that they were copied from somewhere.
    pub sourced: u64,
    /// What keeps its replicas from being where they should be.
    pub unsettled: Option<String>,
}

/// From this release on a mirror can become a stream of its own.
const PROMOTION: Release = Release(2, 12, 0);

/// From this release on nobody can publish what the server writes into its copies.
const UNFORGED: Release = Release(2, 15, 0);

/// From this release on a copy takes messages that roll up, whether it lets others do so or not;
/// before, a source stops at the first of them (2.10.26 to 2.12.8).
const ROLLED: Release = Release(2, 14, 0);

/// Room that a message may need beyond its own bytes: the server adds where it copied it from.
const ROOM: u64 = 256;

/// Bytes that copying adds to each message, at least.
const ADDED: u64 = 66;

/// Most bytes of headers.
const HEADERS: u64 = 65_535;

/// Whether the copy must be made without a window for duplicates, which it gets only when it takes
/// messages of its own: with one the server drops what bears the id of another message, however long
/// after that it was published.
#[must_use]
pub fn window_waits(facts: &Facts, copying: Copying) -> bool {
    copying == Copying::Source && facts.repeated != Some(0)
}

/// What stands in the way of a copy, made as `to` says; each is found where the migration is
/// written.
#[must_use]
pub fn preflight(
    facts: &Facts,
    pair: &Pair<'_>,
    to: &Config,
    release: Release,
    place: Place,
) -> Vec<Finding> {
    let judged = Judged { facts, pair, to };
    let mut found = judged.origin();
    found.extend(judged.mapping());
    found.extend(judged.sizes());
    found.extend(judged.limits());
    found.extend(judged.ages());
    found.extend(judged.ids());
    found.extend(judged.release(release));
    found.into_iter().map(|it| it.at(place)).collect()
}

struct Judged<'a> {
    facts: &'a Facts,
    pair: &'a Pair<'a>,
    to: &'a Config,
}

impl Judged<'_> {
    /// A limit of the copy; `None` where there is none.
    fn limit(&self, name: &str) -> Option<u64> {
        self.to.number(name).and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0)
    }

    fn is_on(config: &Config, name: &str) -> bool {
        config.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// What kinds of streams cannot be copied, or be copies.
    fn origin(&self) -> Vec<Finding> {
        let Pair { from, to, .. } = self.pair;
        let mut found = Vec::new();
        match self.facts.from.text("retention") {
            Some("workqueue") => found.push(
                error(format!("`{from}` is a work queue: what is copied is also worked off there"))
                    .help("let its workers finish it, then make `to` with the strategy `parallel`"),
            ),
            Some("interest") => found.push(
                Finding::warning(
                    Code::Unproven,
                    format!("`{from}` keeps messages by interest: those that go are not copied"),
                )
                .help("what its consumers acknowledge before it is copied is not in the copy"),
            ),
            Some(_) | None => {}
        }
        if self.to.text("retention") == Some("interest") {
            found.push(
                error(format!("`{to}` would keep only what consumers wait for, and has none yet"))
                    .help("let it keep messages by `limits`, or make it with `parallel`"),
            );
        }
        if Self::is_on(&self.facts.from, "allow_msg_counter") {
            let counts = format!("`{from}` counts: its copy has sums of its own, and no messages");
            found.push(error(counts).help("nothing can prove such a copy by content"));
        }
        if let Some(reason) = &self.facts.unsettled {
            found.push(
                error(format!("`{from}` is not settled: {reason}"))
                    .help("wait until all of its replicas are current, then try again"),
            );
        }
        found
    }

    /// Whether every message is copied, and to a subject of its own.
    fn mapping(&self) -> Vec<Finding> {
        let mapping = self.pair.mapping;
        if let Some(computed) = mapping.iter().find(|it| !subject::is_plain(&it.dest)) {
            return vec![
                error(format!("nobody can prove what `{}` makes of a subject", computed.dest))
                    .help("map subjects by `{{wildcard(1)}}` or `$1` alone"),
            ];
        }
        let mut goes: BTreeMap<String, u64> = BTreeMap::new();
        let (mut lost, mut example) = (0, None);
        for (subject, number) in &self.facts.subjects {
            match mapped(mapping, subject) {
                Some(to) => *goes.entry(to).or_default() += number,
                None => {
                    lost += number;
                    example = example.or(Some(subject));
                }
            }
        }
        let mut found = Vec::new();
        if let Some(example) = example {
            let all = count(self.facts.messages, "message");
            found.push(
                error(format!(
                    "{} of {all} would not be copied: their subjects are not mapped, such as `{example}`",
                    count(lost, "message")
                ))
                .help("map every subject, the last with `src = \">\"` and no change if need be"),
            );
        }
        let most = self.limit("max_msgs_per_subject").unwrap_or(u64::MAX);
        let beyond: u64 = goes.values().map(|it| it.saturating_sub(most)).sum();
        if beyond > 0 {
            found.push(
                error(format!(
                    "{} would be deleted again: `{}` keeps {most} on a subject, and more come to one",
                    count(beyond, "message"),
                    self.pair.to
                ))
                .help("raise `max_msgs_per_subject`, or map subjects so that they stay apart"),
            );
        }
        found
    }

    /// Whether each message fits.
    fn sizes(&self) -> Vec<Finding> {
        let Facts { largest, headers, .. } = *self.facts;
        let added = if self.pair.copying == Copying::Mirror { 0 } else { ROOM };
        let mut found = Vec::new();
        if let Some(most) = self.limit("max_msg_size").filter(|it| *it < largest + added) {
            found.push(
                error(format!(
                    "the largest message has {largest} bytes, copying adds up to {added}, and \
                     `max_msg_size` is {most}: the first that is too large holds up all behind it"
                ))
                .help(format!("set `max_msg_size` to {} at least", largest + added)),
            );
        }
        if headers + added > HEADERS {
            found.push(error(format!(
                "the longest headers have {headers} bytes, and no room for what copying adds"
            )));
        }
        found
    }

    /// Whether all fit together.
    fn limits(&self) -> Vec<Finding> {
        let Facts { messages, bytes, .. } = *self.facts;
        let added = if self.pair.copying == Copying::Mirror { 0 } else { ADDED * messages };
        let needs = [("max_msgs", messages), ("max_bytes", bytes + added)];
        let short = needs.into_iter().filter_map(|(field, needed)| {
            let most = self.limit(field).filter(|it| *it < needed)?;
            let said = format!("`{field}` is {most}, and what there is to copy takes {needed}");
            Some(error(said).help(format!("set `{field}` to {needed} at least, and more to grow")))
        });
        short.collect()
    }

    /// Whether they live as long as in the origin.
    fn ages(&self) -> Vec<Finding> {
        let Self { facts, pair, .. } = self;
        let age = |config: &Config| config.number("max_age").filter(|it| *it > 0);
        let mut found = Vec::new();
        match (age(self.to), age(&facts.from)) {
            (Some(new), old) if old.is_none_or(|it| new < it) => {
                let shorter =
                    format!("messages live shorter in `{}` than in `{}`", pair.to, pair.from);
                found.push(
                    error(shorter).help("keep `max_age` for the migration, and lower it later"),
                );
            }
            (Some(_), _) if pair.copying != Copying::Mirror => {
                let anew = format!("the age of messages begins anew in `{}`", pair.to);
                let note = Finding::note(Code::Unproven, anew);
                found.push(note.help("a mirror keeps the time at which each was stored"));
            }
            (Some(_) | None, _) => {}
        }
        let allowed = |config| Self::is_on(config, "allow_msg_ttl");
        match (allowed(self.to), allowed(&facts.from), facts.mortal) {
            (_, _, 0) | (true, true, _) | (false, false, _) => {}
            (true, false, number) => found.push(
                error(format!(
                    "{} would be deleted again: they have a time to live, and only `{}` heeds it",
                    count(number, "message"),
                    pair.to
                ))
                .help("leave `allow_msg_ttl` out"),
            ),
            (false, true, number) => found.push(
                Finding::warning(
                    Code::Unproven,
                    format!(
                        "{} would stay: they have a time to live, which `{}` does not heed",
                        count(number, "message"),
                        pair.to
                    ),
                )
                .help("set `allow_msg_ttl` from the beginning: set later, it deletes them at once"),
            ),
        }
        found
    }

    /// Whether messages would be taken for others.
    fn ids(&self) -> Vec<Finding> {
        let Self { facts, pair, .. } = self;
        let mut found = Vec::new();
        let repeated = facts.repeated.map_or("too many to count".to_owned(), |it| it.to_string());
        let window = self.limit("duplicate_window");
        if window_waits(facts, pair.copying) {
            if window.is_some() {
                found.push(
                    error(format!(
                        "messages bear the id of an earlier one ({repeated}): `duplicate_window` \
                         would drop them as they are copied"
                    ))
                    .help("the copy is to have no window until it takes messages of its own"),
                );
            }
            found.push(Finding::note(
                Code::Unproven,
                format!(
                    "a message that is sent to `{}` again after the switch is stored twice",
                    pair.from
                ),
            ));
        }
        if pair.copying == Copying::Mirror {
            found.push(Finding::note(
                Code::Unproven,
                format!("`{}` does not know the ids of what it mirrored: what is sent again after the switch is stored twice", pair.to),
            ));
        }
        found
    }

    /// What hangs on the release of the server.
    fn release(&self, release: Release) -> Vec<Finding> {
        let Self { facts, pair, .. } = self;
        let mut found = Vec::new();
        if pair.copying == Copying::Mirror && release < PROMOTION {
            let said = format!(
                "a mirror becomes a stream only from {PROMOTION} on, and this is {release}"
            );
            found.push(
                Finding::error(Code::TooNew, said).help("use the strategy `same-subjects-source`"),
            );
        }
        if facts.rollups > 0 && release < ROLLED && !Self::is_on(self.to, "allow_rollup_hdrs") {
            let rollups = count(facts.rollups, "message");
            let said = format!("{rollups} roll up those before them, and hold up all behind them");
            found.push(error(said).help("set `allow_rollup_hdrs`, which is taken off later"));
        }
        let copies =
            !matches!(self.facts.from.get("sources"), None | Some(serde_json::Value::Null))
                || self.facts.from.has("mirror");
        if facts.sourced > 0 && !copies && release < UNFORGED {
            found.push(
                Finding::warning(
                    Code::Unproven,
                    format!(
                        "{} claim to be copied from elsewhere, and were published: such a message \
                         to `{}` has the server skip others when it starts again",
                        count(facts.sourced, "message"),
                        pair.to
                    ),
                )
                .help("give it no subjects before all is copied, or use 2.15 or later"),
            );
        }
        found
    }
}

fn error(message: String) -> Finding {
    Finding::error(Code::Unproven, message)
}
