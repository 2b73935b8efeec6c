//! The kinds of resource a spec describes: what each takes, and what belongs to another.

use super::value::Key;
use crate::schema::{
    Field, Kind, Writer,
    bucket::{Bucket, KV},
    consumer::CONSUMER,
    stream::STREAM,
};

/// A kind of resource, as a spec describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    Stream,
    Consumer,
    Bucket(Bucket),
}

/// What a resource says beside the server's fields. `enabled = false` is how an environment leaves
/// out what its base declares: removing the table would only bring the base back.
const SETTINGS: &[Key] = &[
    ("enabled", Kind::Bool),
    ("prevent_destroy", Kind::Bool),
    ("ignore", Kind::Set(&Kind::Text)),
    ("reason", Kind::Text),
    ("service", Kind::Text),
];

impl Resource {
    pub(super) const ALL: [Self; 4] =
        [Self::Stream, Self::Consumer, Self::Bucket(Bucket::Kv), Self::Bucket(Bucket::Object)];

    pub(super) fn rows(self) -> &'static [Field] {
        match self {
            Self::Stream => STREAM,
            Self::Consumer => CONSUMER,
            Self::Bucket(kind) => kind.rows(),
        }
    }

    pub(super) fn settings(self) -> impl Iterator<Item = &'static Key> {
        SETTINGS.iter().filter(move |it| self == Self::Consumer || it.0 != "service")
    }

    /// What it is called in `[defaults]` and `[override]`.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Consumer => "consumer",
            Self::Bucket(kind) => kind.noun(),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Stream => "a stream",
            Self::Consumer => "a consumer",
            Self::Bucket(Bucket::Kv) => "a bucket",
            Self::Bucket(Bucket::Object) => "an object store",
        }
    }

    pub(super) fn naming(self) -> &'static str {
        match self {
            Self::Stream => "remove the line, and name the stream in `[streams.NAME]`",
            Self::Consumer => {
                "remove the line: `[naming] durable`, `service` and the key make the name"
            }
            Self::Bucket(_) => "remove the line, and name the bucket in its table",
        }
    }

    /// What a key is to another kind of resource, and where or how it is written.
    pub(super) fn elsewhere(self, name: &str) -> Option<(String, String)> {
        let of = |kind: Self| {
            let row = Field::find(kind.rows(), name).is_some_and(|it| it.writer == Writer::Spec);
            row || kind.settings().any(|it| it.0 == name)
        };
        let to = |other: Self, table: &str| {
            let message = format!("`{name}` belongs to {}, not to {}", other.title(), self.title());
            (message, format!("move it under `{table}`"))
        };
        match self {
            Self::Stream if of(Self::Consumer) => {
                Some(to(Self::Consumer, "[streams.NAME.consumers.KEY]"))
            }
            Self::Consumer if of(Self::Stream) => Some(to(Self::Stream, "[streams.NAME]")),
            Self::Stream => {
                let word = Field::find(KV, name)?.word?;
                let message = format!("`{name}` is a word of buckets");
                Some((message, format!("write `{}`, as a stream has it", word.field)))
            }
            Self::Consumer => None,
            Self::Bucket(kind) => streams_own(kind, self.title(), name),
        }
    }
}

/// A field of streams under a bucket: the word for it, or that there is none.
fn streams_own(kind: Bucket, title: &str, name: &str) -> Option<(String, String)> {
    if name == "consumers" {
        let message = format!("{title} has no consumers: its clients make their own");
        return Some((message, "remove the table".to_owned()));
    }
    if let Some((row, _)) = kind.word(name) {
        let message = format!("`{name}` is the stream's word");
        return Some((message, format!("write `{}`, as the clients of {title} do", row.name)));
    }
    let field = Field::find(STREAM, name)?;
    if field.writer == Writer::Key {
        let message = format!("`{name}` follows from the key of the table");
        return Some((message, Resource::Bucket(kind).naming().to_owned()));
    }
    let message = format!("`{name}` is not for {title} to say");
    let help = format!(
        "remove it, or declare the stream itself: `[streams.{}]` takes every field",
        kind.stream("NAME")
    );
    Some((message, help))
}
