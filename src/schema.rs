//! What a row of a field table can say, and what follows from it.
//!
//! A JetStream field exists as one [`Field`] in [`stream::STREAM`] or [`consumer::CONSUMER`], and a
//! word that clients have for one in [`bucket::KV`] or [`bucket::OBJECT`]. Reading specs, release
//! gates, comparing, rendering and the reference page are loops over rows.

pub mod bucket;
pub mod consumer;
mod kind;
pub mod stream;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;

/// One field of a configuration, under the wire's name.
#[derive(Debug)]
pub struct Field {
    /// The name in TOML, in JSON and in messages.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// One sentence for people.
    pub doc: &'static str,
    /// What the server makes of an absent or zero value.
    pub unset: Unset,
    /// The wire value that stands for `"unlimited"` where leaving it out stands for something else.
    pub endless: Option<i64>,
    /// Something else, from a later release on.
    pub unset_later: Option<(Release, Unset)>,
    /// What the server makes of any value, where another field leaves it no choice; the first
    /// that is set decides.
    pub forced: &'static [Forced],
    /// The first release that knows the field.
    pub since: Release,
    /// What an update may do to it.
    pub update: Update,
    /// A different rule, from a later release on.
    pub later: Option<(Release, Update)>,
    /// The server's `err_code` where it refuses a change; 0 where it takes what does nothing.
    pub refusal: u16,
    /// What an accepted update can cost.
    pub loses: Loses,
    /// Who decides the value.
    pub writer: Writer,
    /// Whether the table it stands in means nothing without it.
    pub required: bool,
    /// What it says of a stream, for a word of buckets.
    pub word: Option<Word>,
}

/// How a word of buckets is said of their stream. Both ways take the name of the bucket.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The stream's field.
    pub field: &'static str,
    /// The word's value as the stream has it.
    pub lower: fn(&Value, &str) -> Value,
    /// And back; `None` where the word cannot say it.
    pub lift: fn(&Value, &str) -> Option<Value>,
}

/// The shape of a value.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number,
    /// A whole number of bytes, written `"50GiB"`.
    Bytes,
    /// Nanoseconds, written `"7d"`.
    Duration,
    /// An instant in RFC 3339, compared in UTC.
    Time,
    /// Free text.
    Text,
    /// A subject, wildcards allowed.
    Subject,
    /// A subject without wildcards.
    Literal,
    /// Keys with texts; those under `_nats.` are the server's own, those under `jsplan.` this
    /// program's, and neither are compared.
    Labels,
    /// One of a closed set of names.
    OneOf(&'static [Choice]),
    /// Values whose order means nothing.
    Set(&'static Kind),
    /// Values in order.
    List(&'static Kind),
    /// Fields of its own.
    Table(&'static [Field]),
}

/// One value of a closed set; values are gated by release too.
#[derive(Debug)]
pub struct Choice {
    /// The name on the wire.
    pub name: &'static str,
    /// The first release that takes it.
    pub since: Release,
}

/// What the server fills in for a field that is absent or zero.
#[derive(Debug, Clone, Copy)]
pub enum Unset {
    /// Nothing: the key stays away.
    Absent,
    /// `false`.
    False,
    /// A number.
    Number(i64),
    /// A name.
    Name(&'static str),
    /// The wire value that stands for `"unlimited"`.
    Unlimited(i64),
    /// Whatever the rest of the configuration implies.
    Derived(fn(&Config) -> Option<Value>),
    /// Worked out from limits that no client can see, so the present value stays; the function
    /// fits it to the rest of the configuration.
    Kept(fn(&Config, Option<Value>) -> Option<Value>),
    /// Nothing, and an instant that has passed is as good as nothing.
    Lapses,
}

/// A value that follows from another field, whatever is written.
#[derive(Debug)]
pub struct Forced {
    /// The field that does it, where it is set.
    pub by: &'static str,
    /// The value.
    pub value: fn() -> Value,
    /// Whether the server judges a request before it does this, so that a request which has done it
    /// already can be refused.
    pub late: bool,
}

/// What an update may do to a field.
#[derive(Debug, Clone, Copy)]
pub enum Update {
    /// Any change is made in place.
    Free,
    /// The server refuses every change.
    Fixed,
    /// It can be switched on, and never off again.
    OneWay,
    /// Any change is made in place, by a request of this name that carries the field alone: an
    /// update ignores it.
    Request(&'static str),
    /// Some changes only; the sentence is the message of the plan and of the reference.
    Only(&'static str, fn(before: &Value, after: &Value) -> bool),
}

/// What a change that the server accepts can cost.
#[derive(Debug, Clone, Copy)]
pub enum Loses {
    /// Nothing.
    Nothing,
    /// Stored messages beyond the limit, where it is lowered.
    Lowered,
    /// Stored messages that stand beyond a limit, where refusing new ones gives way to dropping
    /// old ones.
    Released,
    /// Stored messages that a changed filter skips, or lets go of.
    Filtered,
    /// Stored messages that no consumer waits for, once interest decides what is kept.
    Uninterested,
    /// What would be published on subjects that are given up.
    Unbound,
    /// What a mirror has not copied yet, and that it mirrors at all.
    Promoted,
    /// Nothing: what a source had copied is copied again, where it is copied otherwise.
    Recopied,
    /// Stored messages whose own time to live has passed, once it is honoured.
    Expiring,
    /// A consumer that nobody uses, with its position.
    Idling,
    /// A class of harm, where the function says so; the sentence tells what happens.
    When(Harm, &'static str, fn(before: &Value, after: &Value) -> bool),
}

/// A class of harm that a change can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Stored messages are deleted.
    DataLoss,
    /// Stored messages are never delivered, or published ones never stored.
    Delivery,
    /// Messages are delivered again.
    Redelivery,
    /// The change cannot be taken back by an update.
    OneWay,
    /// A resource goes, with what it holds or remembers.
    Destroy,
    /// Publishing, delivery or durability suffers.
    Availability,
    /// What another state owns is changed, or taken.
    Takeover,
}

/// Who decides a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The spec.
    Spec,
    /// The resource's own name in the spec.
    Key,
    /// The server, for its own purposes.
    Server,
}

/// `err_code` of a stream update that is refused, where the field has none of its own.
const INVALID_STREAM: u16 = 10052;

/// What people write, and are shown, where there is no limit.
pub(crate) const UNLIMITED: &str = "unlimited";

/// A nats-server release: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u16, pub u16, pub u16);

/// The oldest release that is supported.
pub const OLDEST: Release = Release(2, 10, 0);

/// Whether a change can be made in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// By an update.
    InPlace,
    /// By an update that no later update undoes.
    OneWay,
    /// Not at all; the sentence says why.
    Refused(&'static str),
}

impl Release {
    /// Reads `2.15.1`, `v2.11.0` or `2.12.0-RC.1`; what is unreadable counts as 0.
    #[must_use]
    pub fn parse(version: &str) -> Self {
        let mut parts = version
            .trim_start_matches('v')
            .split(['.', '-', '+'])
            .map(|it| it.parse().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        Self(next(), next(), next())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Harm {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::DataLoss,
        Self::Delivery,
        Self::Redelivery,
        Self::OneWay,
        Self::Destroy,
        Self::Availability,
        Self::Takeover,
    ];

    /// Whether an apply needs it to be allowed by name.
    pub(crate) fn needs_consent(self) -> bool {
        match self {
            Self::DataLoss
            | Self::Delivery
            | Self::Redelivery
            | Self::OneWay
            | Self::Destroy
            | Self::Takeover => true,
            Self::Availability => false,
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataLoss => "data-loss",
            Self::Delivery => "delivery",
            Self::Redelivery => "redelivery",
            Self::OneWay => "one-way",
            Self::Destroy => "destroy",
            Self::Availability => "availability",
            Self::Takeover => "takeover",
        })
    }
}

impl Choice {
    /// A name that every supported release takes.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, since: Release(2, 2, 0) }
    }

    const fn since(mut self, major: u16, minor: u16, patch: u16) -> Self {
        self.since = Release(major, minor, patch);
        self
    }
}

impl Forced {
    const fn by(by: &'static str, value: fn() -> Value) -> Self {
        Self { by, value, late: false }
    }

    const fn late(mut self) -> Self {
        self.late = true;
        self
    }
}

impl Field {
    /// A row of which nothing is said but its name, its kind and one sentence.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            doc,
            unset: Unset::Absent,
            endless: None,
            unset_later: None,
            forced: &[],
            since: Release(2, 2, 0),
            update: Update::Free,
            later: None,
            refusal: INVALID_STREAM,
            loses: Loses::Nothing,
            writer: Writer::Spec,
            required: false,
            word: None,
        }
    }

    const fn unset(mut self, unset: Unset) -> Self {
        self.unset = unset;
        self
    }

    const fn unset_from(mut self, major: u16, minor: u16, patch: u16, unset: Unset) -> Self {
        self.unset_later = Some((Release(major, minor, patch), unset));
        self
    }

    const fn forced(mut self, forced: &'static [Forced]) -> Self {
        self.forced = forced;
        self
    }

    const fn endless(mut self, wire: i64) -> Self {
        self.endless = Some(wire);
        self
    }

    const fn since(mut self, major: u16, minor: u16, patch: u16) -> Self {
        self.since = Release(major, minor, patch);
        self
    }

    const fn update(mut self, rule: Update) -> Self {
        self.update = rule;
        self
    }

    const fn update_from(mut self, major: u16, minor: u16, patch: u16, rule: Update) -> Self {
        self.later = Some((Release(major, minor, patch), rule));
        self
    }

    const fn refused_with(mut self, err_code: u16) -> Self {
        self.refusal = err_code;
        self
    }

    const fn loses(mut self, loses: Loses) -> Self {
        self.loses = loses;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn written_by(mut self, writer: Writer) -> Self {
        self.writer = writer;
        self
    }

    const fn word(mut self, word: Word) -> Self {
        self.word = Some(word);
        self
    }

    /// The update rule of a release.
    #[must_use]
    pub fn rule(&self, release: Release) -> Update {
        match self.later {
            Some((from, rule)) if release >= from => rule,
            Some(_) | None => self.update,
        }
    }

    /// Whether a release takes this change in place; `Null` stands for absent.
    #[must_use]
    pub fn verdict(&self, release: Release, before: &Value, after: &Value) -> Verdict {
        match self.rule(release) {
            Update::Free | Update::Request(_) => Verdict::InPlace,
            Update::Fixed => Verdict::Refused("it is fixed at creation"),
            Update::OneWay if before == &Value::Bool(true) => {
                Verdict::Refused("it is one-way: once on, it stays on")
            }
            Update::OneWay => Verdict::OneWay,
            Update::Only(_, allows) if allows(before, after) => Verdict::InPlace,
            Update::Only(sentence, _) => Verdict::Refused(sentence),
        }
    }

    /// The canonical value that a release makes of a configuration that is sent to it.
    ///
    /// `kept` is the value that stays where only the server can know it.
    #[must_use]
    pub fn value(&self, sent: &Config, kept: Option<&Value>, release: Release) -> Option<Value> {
        if let Some(forced) = self.forced_in(sent) {
            return Some((forced.value)());
        }
        if let Some(set) = self.set(sent) {
            return Some(set);
        }
        let unset = match self.unset_later {
            Some((from, later)) if release >= from => later,
            Some(_) | None => self.unset,
        };
        match unset {
            Unset::Derived(derive) => {
                derive(sent).and_then(|it| self.kind.canonical(&it)).or_else(|| self.zero())
            }
            // Zero in so many words asks for what the server makes of it.
            Unset::Kept(fit) if sent.has(self.name) => fit(sent, None),
            Unset::Kept(fit) => fit(sent, kept.and_then(|it| self.kind.canonical(it))),
            Unset::Absent
            | Unset::Lapses
            | Unset::False
            | Unset::Number(_)
            | Unset::Name(_)
            | Unset::Unlimited(_) => self.zero(),
        }
    }

    /// What leaves this field no choice in a configuration.
    pub(crate) fn forced_in(&self, config: &Config) -> Option<&'static Forced> {
        let is_set = |it: &Value| !(it.is_null() || *it == false || *it == 0);
        self.forced.iter().find(|it| config.get(it.by).is_some_and(is_set))
    }

    /// The canonical value of this field in a configuration that was read back: there the server
    /// has filled in everything, and leaves out only what says nothing.
    #[must_use]
    pub fn read(&self, config: &Config) -> Option<Value> {
        self.set(config).or_else(|| self.zero())
    }

    /// The canonical value that stands in a configuration.
    fn set(&self, config: &Config) -> Option<Value> {
        let set = self.kind.canonical(config.get(self.name)?)?;
        let endless =
            if let Unset::Unlimited(wire) = self.unset { Some(wire) } else { self.endless };
        let below_zero = set.as_i64().is_some_and(|it| it < 0);
        Some(endless.filter(|_| below_zero).map_or(set, Value::from))
    }

    /// What an absent value says by itself.
    fn zero(&self) -> Option<Value> {
        match self.unset {
            Unset::Number(number) | Unset::Unlimited(number) => Some(number.into()),
            Unset::Name(name) => Some(name.into()),
            Unset::Absent | Unset::Lapses | Unset::False | Unset::Derived(_) | Unset::Kept(_) => {
                matches!(self.kind, Kind::Bool).then_some(Value::Bool(false))
            }
        }
    }

    /// A canonical value as a spec would write it: `"7d"`, `50GiB`, `unlimited`.
    #[must_use]
    pub fn show(&self, value: &Value) -> String {
        if self.is_unlimited(value) { UNLIMITED.to_owned() } else { self.kind.show(value) }
    }

    /// Whether a canonical value is the one that stands for no limit.
    pub(crate) fn is_unlimited(&self, value: &Value) -> bool {
        let wire = value.as_i64();
        matches!(self.unset, Unset::Unlimited(it) if wire == Some(it))
            || wire.is_some() && wire == self.endless
    }

    /// The first release that knows this field and this value of it.
    #[must_use]
    pub fn first_release(&self, value: &Value) -> Release {
        self.kind.first_release(value).map_or(self.since, |it| it.max(self.since))
    }

    /// The row of a name.
    pub(crate) fn find(rows: &'static [Self], name: &str) -> Option<&'static Self> {
        rows.iter().find(|it| it.name == name)
    }
}

/// The level of the JetStream API that the fields and values of a configuration need; 0 where every
/// server knows them.
#[must_use]
pub fn api_level(rows: &'static [Field], config: &Config) -> u32 {
    const LEVELS: [(Release, u32); 4] = [
        (Release(2, 11, 0), 1),
        (Release(2, 12, 0), 2),
        (Release(2, 14, 0), 4),
        (Release(2, 15, 0), 5),
    ];
    let needed = rows.iter().filter_map(|it| {
        let value = it.kind.canonical(config.get(it.name)?)?;
        Some(it.first_release(&value))
    });
    let needed = needed.max().unwrap_or(Release(0, 0, 0));
    LEVELS.iter().rev().find(|(since, _)| needed >= *since).map_or(0, |(_, level)| *level)
}

/// The configuration that a server would read back: every field with what is filled in.
#[must_use]
pub fn complete(rows: &'static [Field], config: &Config, release: Release) -> Config {
    let mut full = config.clone();
    for field in rows.iter().filter(|it| it.since <= release) {
        match field.value(config, None, release) {
            Some(value) => full.set(field.name, value),
            None => drop(full.remove(field.name)),
        }
    }
    full
}
