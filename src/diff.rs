//! Two configurations → what differs, by the rows; and what an update sends.

use serde_json::{Map, Value};

use crate::{
    address::Address,
    config::{Config, is_reserved},
    position,
    schema::{Field, Kind, Release, Unset, Verdict, Writer},
    spec::Declared,
    units::has_passed,
};

/// One field's before and after; `Null` stands for absent.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The row.
    pub field: &'static Field,
    /// The canonical value now.
    pub before: Value,
    /// The canonical value wanted.
    pub after: Value,
}

impl Delta {
    /// Whether a release makes this change in place.
    #[must_use]
    pub(crate) fn verdict(&self, release: Release) -> Verdict {
        self.field.verdict(release, &self.before, &self.after)
    }

    /// The same as people are told: of a bucket in the bucket's words, where they can say it.
    #[must_use]
    pub fn spoken(&self, of: &Address) -> Self {
        let spoken = of.as_bucket().and_then(|(kind, bucket)| {
            let (field, word) = kind.word(self.field.name)?;
            let lift = |it| (word.lift)(it, bucket);
            Some(Self { field, before: lift(&self.before)?, after: lift(&self.after)? })
        });
        spoken.unwrap_or_else(|| self.clone())
    }
}

/// What an update must change so that `before` becomes what a spec wants: neither what the spec
/// leaves to others, nor what the release does not know and the spec does not name.
#[must_use]
pub(crate) fn towards(
    rows: &'static [Field],
    before: &Config,
    wanted: &Declared,
    kept: &Config,
    (release, at): (Release, &str),
) -> Vec<Delta> {
    let (before, kept) = (meaning(rows, before, at), meaning(rows, kept, at));
    let after = meaning(rows, &wanted.config, at);
    let mut found = deltas(rows, &before, &after, &kept, release);
    found.retain(|it| {
        let name = it.field.name;
        !wanted.ignore.contains(name) && (it.field.since <= release || wanted.config.has(name))
    });
    found
}

/// The fields in which what was read back differs from what was read back before.
#[must_use]
pub(crate) fn moved(
    rows: &'static [Field],
    before: &Config,
    after: &Config,
    at: &str,
) -> Vec<Delta> {
    let (before, after) = (meaning(rows, before, at), meaning(rows, after, at));
    compare(rows, &before, |field| field.read(&after))
}

/// What a configuration says at an instant, in the words of a spec: with the start that was
/// declared, and without what has lapsed.
#[must_use]
pub(crate) fn meaning(rows: &'static [Field], config: &Config, at: &str) -> Config {
    let mut config = position::declared(config);
    for field in rows.iter().filter(|it| matches!(it.unset, Unset::Lapses)) {
        if config.text(field.name).is_some_and(|it| has_passed(it, at)) {
            config.remove(field.name);
        }
    }
    config
}

/// The fields in which `after` differs from `before`, in the order of the rows.
///
/// A field that only the server can fill in is equal wherever `after` leaves it out and `kept`
/// agrees with `before`: `kept` holds what the server once worked out.
#[must_use]
pub(crate) fn deltas(
    rows: &'static [Field],
    before: &Config,
    after: &Config,
    kept: &Config,
    release: Release,
) -> Vec<Delta> {
    compare(rows, before, |it| {
        it.value(after, kept.get(it.name).or_else(|| before.get(it.name)), release)
    })
}

fn compare(
    rows: &'static [Field],
    before: &Config,
    after: impl Fn(&Field) -> Option<Value>,
) -> Vec<Delta> {
    let differ = |field: &'static Field| {
        let was = field.read(before).unwrap_or_default();
        let will = field.kind.carrying(&was, after(field).unwrap_or_default());
        let same = was == will || field.kind.known(&was) == field.kind.known(&will);
        (!same).then_some(Delta { field, before: was, after: will })
    };
    rows.iter().filter(|it| it.writer != Writer::Server).filter_map(differ).collect()
}

/// The live configuration with some fields changed: what an update sends, since an update
/// replaces the whole. Fields without a row stay as they are.
///
/// What the server makes of a sealed stream it is not told: schedules, for one, exclude what sealing
/// makes of `discard` (2.12 to 2.15).
#[must_use]
pub(crate) fn overlay(live: &Config, deltas: &[Delta]) -> Config {
    let mut sent = live.clone();
    deltas
        .iter()
        .for_each(|it| put(&mut sent, it.field, with_reserved_labels(it.field, live, &it.after)));
    let forced = |it: &&Delta| it.field.forced_in(&sent).is_some_and(|by| by.late);
    let forced: Vec<_> = deltas.iter().filter(forced).map(|it| it.field).collect();
    for field in forced {
        put(&mut sent, field, live.get(field.name).cloned().unwrap_or_default());
    }
    sent
}

fn put(config: &mut Config, field: &Field, value: Value) {
    if value.is_null() {
        config.remove(field.name);
    } else {
        config.set(field.name, value);
    }
}

/// Labels that are nobody's to set stay beside those of the spec.
fn with_reserved_labels(field: &Field, live: &Config, value: &Value) -> Value {
    let (Kind::Labels, Some(Value::Object(present))) = (&field.kind, live.get(field.name)) else {
        return value.clone();
    };
    let owned = present.iter().filter(|(key, _)| is_reserved(key));
    let wanted = value.as_object().into_iter().flatten();
    let all: Map<_, _> = owned.chain(wanted).map(|(key, it)| (key.clone(), it.clone())).collect();
    if all.is_empty() { Value::Null } else { all.into() }
}
