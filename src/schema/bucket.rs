//! Buckets: key-value (ADR-8) and object store (ADR-20), in the words of the NATS clients.
//!
//! A bucket is a stream of a certain name and make. A spec describes it in the rows below; `lower`
//! makes the stream of them, `lift` reads them back from one. Plans and applies know streams only;
//! what people read goes through [`Bucket::word`] and [`speak`].

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{
    Field,
    Kind::{Bool, Bytes, Duration, Labels, Number, OneOf, Set, Subject, Table, Text, Time},
    Release,
    Unset::{False, Name, Number as Count, Unlimited},
    Word, Writer,
    stream::{EXTERNAL, PLACEMENT, REPUBLISH, SOURCE_CONSUMER, STORAGE, STREAM, TRANSFORM},
};
use crate::config::Config;

/// A kind of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Keys with values, and some history of each: `[kv.NAME]`.
    Kv,
    /// Objects in chunks: `[object.NAME]`.
    Object,
}

/// A field that the stream of every bucket has, and what clients lose where it is another.
#[derive(Debug)]
pub struct Always {
    /// The stream's field.
    pub field: &'static str,
    /// Its value.
    pub value: fn() -> Value,
    /// What no longer works without it.
    pub without: &'static str,
}

const DISCARD: Always = Always {
    field: "discard",
    value: || "new".into(),
    without: "at a limit what was stored first is dropped, where clients count on a refusal",
};
const ROLLUP: Always = Always {
    field: "allow_rollup_hdrs",
    value: || true.into(),
    without: "clients cannot purge a key, or replace what they know of an object",
};
const DENY_DELETE: Always = Always {
    field: "deny_delete",
    value: || true.into(),
    without: "single revisions can be taken out of a history",
};

/// The rows of a key-value bucket.
pub const KV: &[Field] = &[
    Field::new("description", Text, "What the bucket is for.").word(same("description")),
    Field::new("history", Number, "How many values are kept of each key, 1 to 64.")
        .unset(Count(1))
        .word(Word { field: "max_msgs_per_subject", lower: clone, lift: limited }),
    Field::new("ttl", Duration, "How long a value is kept.")
        .unset(Unlimited(0))
        .word(same("max_age")),
    Field::new("limit_marker_ttl", Duration, "How long a marker stays where a value expired.")
        .since(2, 11, 0)
        .word(same("subject_delete_marker_ttl")),
    Field::new("max_value_size", Bytes, "Largest value accepted.")
        .unset(Unlimited(-1))
        .word(same("max_msg_size")),
    MAX_BYTES,
    STORED,
    REPLICAS,
    PLACED,
    Field::new("republish", Table(REPUBLISH), "Publish stored values again.")
        .word(same("republish")),
    COMPRESSED,
    LABELS,
    Field::new("mirror", Table(ORIGIN), "Copy another bucket, and nothing else.").word(Word {
        field: "mirror",
        lower: lower_mirror,
        lift: lift_mirror,
    }),
    Field::new("sources", Set(&Table(ORIGIN)), "Copy other buckets, beside own values.")
        .word(Word { field: "sources", lower: lower_sources, lift: lift_sources }),
];

/// The rows of an object store.
pub const OBJECT: &[Field] = &[
    Field::new("description", Text, "What the store is for.").word(same("description")),
    Field::new("ttl", Duration, "How long an object is kept.")
        .unset(Unlimited(0))
        .word(same("max_age")),
    MAX_BYTES,
    STORED,
    REPLICAS,
    PLACED,
    COMPRESSED,
    LABELS,
];

const MAX_BYTES: Field =
    Field::new("max_bytes", Bytes, "Most bytes kept.").unset(Unlimited(-1)).word(same("max_bytes"));
const STORED: Field = Field::new("storage", OneOf(STORAGE), "Where it is kept.")
    .unset(Name("file"))
    .word(same("storage"));
const REPLICAS: Field = Field::new("num_replicas", Number, "How many servers hold a copy.")
    .unset(Count(1))
    .word(same("num_replicas"));
const PLACED: Field = Field::new("placement", Table(PLACEMENT), "Where in the cluster it lives.")
    .word(same("placement"));
const COMPRESSED: Field = Field::new("compression", Bool, "Compress what is on disk.")
    .since(2, 10, 0)
    .unset(False)
    .word(Word { field: "compression", lower: lower_compression, lift: lift_compression });
const LABELS: Field = Field::new("metadata", Labels, "Labels for people and tools.")
    .since(2, 10, 0)
    .word(same("metadata"));

/// The bucket that is mirrored, or one of those that are copied.
const ORIGIN: &[Field] = &[
    Field::new("name", Text, "The origin: the name of a bucket.").required(),
    Field::new("opt_start_seq", Number, "The first sequence to copy."),
    Field::new("opt_start_time", Time, "The first instant to copy."),
    Field::new("filter_subject", Subject, "Only values on these subjects."),
    Field::new(
        "subject_transforms",
        Set(&Table(TRANSFORM)),
        "Rewrites on the way; left out, the keys of a source become keys of this bucket.",
    )
    .since(2, 10, 0),
    Field::new("domain", Text, "The JetStream domain of the origin; short for `external`."),
    Field::new("external", Table(EXTERNAL), "An origin in another account or domain."),
    Field::new("consumer", Table(SOURCE_CONSUMER), "Read through a durable consumer.")
        .since(2, 14, 0),
];

/// What a stream is, read as a bucket.
#[derive(Debug, Clone)]
pub struct Lifted {
    /// Which kind of bucket it is.
    pub kind: Bucket,
    /// The bucket's name.
    pub name: String,
    /// The words that say more than the defaults do.
    pub words: Config,
}

impl Bucket {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Kv, Self::Object];

    /// The bucket that a stream's name stands for: its kind and its own name.
    #[must_use]
    pub fn of(stream: &str) -> Option<(Self, &str)> {
        let own = |it: Self| Some((it, stream.strip_prefix(it.prefix())?));
        Self::ALL.into_iter().find_map(own).filter(|(_, name)| is_bucket_name(name))
    }

    /// The name of a bucket's stream.
    #[must_use]
    pub fn stream(self, bucket: &str) -> String {
        format!("{}{bucket}", self.prefix())
    }

    /// `kv` or `object`: its table in a spec, and the first part of its address.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Object => "object",
        }
    }

    /// The words that describe it.
    #[must_use]
    pub fn rows(self) -> &'static [Field] {
        match self {
            Self::Kv => KV,
            Self::Object => OBJECT,
        }
    }

    /// What its stream is beside what the words say. No client changes these, and all count on them.
    #[must_use]
    pub fn always(self) -> &'static [Always] {
        match self {
            Self::Kv => &[DISCARD, ROLLUP, DENY_DELETE],
            Self::Object => &[DISCARD, ROLLUP],
        }
    }

    /// What clients lose where a field of the stream is not as buckets have it.
    #[must_use]
    pub fn without(self, field: &str) -> Option<&'static str> {
        if field == "subjects" {
            return Some("what clients put is not stored");
        }
        self.always().iter().find(|it| it.field == field).map(|it| it.without)
    }

    /// The row whose word says a field of the stream.
    #[must_use]
    pub fn word(self, field: &str) -> Option<(&'static Field, Word)> {
        let says = |row: &'static Field| Some((row, row.word.filter(|it| it.field == field)?));
        self.rows().iter().find_map(says)
    }

    /// The stream of a bucket: what is written, and what clients write beside it.
    ///
    /// A value that was found wrong is `Null` here, and stays so.
    #[must_use]
    pub fn lower(self, bucket: &str, words: &Config) -> Config {
        let mut stream = Config::default();
        stream.set("name", self.stream(bucket).into());
        for Always { field, value, without: _ } in self.always() {
            stream.set(field, value());
        }
        stream.set("allow_direct", true.into());
        if words.has("mirror") {
            stream.set("mirror_direct", true.into());
        } else {
            stream.set("subjects", self.subjects(bucket).into());
        }
        if words.has("limit_marker_ttl") {
            stream.set("allow_msg_ttl", true.into());
        }
        let unset = Config::default();
        for row in self.rows() {
            let Some(Word { field, lower, .. }) = row.word else { continue };
            if let Some(value) = words.get(row.name) {
                stream.set(field, lower(value, bucket));
                continue;
            }
            let default = row.read(&unset).map(|it| lower(&it, bucket));
            let streams = Field::find(STREAM, field).and_then(|it| it.read(&unset));
            if let Some(default) = default.filter(|it| Some(it) != streams.as_ref()) {
                stream.set(field, default);
            }
        }
        stream
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Kv => "KV_",
            Self::Object => "OBJ_",
        }
    }

    fn subjects(self, bucket: &str) -> Vec<String> {
        match self {
            Self::Kv => vec![keys(bucket)],
            Self::Object => vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        }
    }
}

/// Fields of a bucket's stream that clients set each in their own way, and that stay as they are
/// once the bucket exists: nats-py 2.16 makes buckets without direct gets and with message TTLs,
/// where the Go client does neither; and the server gives a mirror the direct gets of its origin.
#[must_use]
pub fn left_open(stream: &Config) -> Vec<&'static str> {
    let mut open = vec!["allow_direct", "mirror_direct"];
    if !stream.has("subject_delete_marker_ttl") {
        open.push("allow_msg_ttl");
    }
    open
}

/// The bucket that a stream is; `None` where the words cannot say all that it is.
///
/// `lower` makes the same stream of it again, but for what is left open.
#[must_use]
pub fn lift(stream: &Config) -> Option<Lifted> {
    // The window that the server worked out is kept, so the rules of any release tell the same.
    const RELEASE: Release = Release(u16::MAX, 0, 0);
    let (kind, name) = Bucket::of(stream.text("name")?)?;
    let (mut words, unset) = (Config::default(), Config::default());
    for row in kind.rows() {
        let Some(word) = row.word else { continue };
        let Some(value) = Field::find(STREAM, word.field)?.read(stream) else { continue };
        let said = (word.lift)(&value, name)?;
        words.set(row.name, said);
        if row.read(&words) == row.read(&unset) {
            words.remove(row.name);
        }
    }
    let lowered = kind.lower(name, &words);
    let open = left_open(&lowered);
    let same = |row: &Field| {
        let kept = stream.get(row.name);
        open.contains(&row.name)
            || row.value(stream, kept, RELEASE) == row.value(&lowered, kept, RELEASE)
    };
    let whole = STREAM.iter().filter(|it| it.writer == Writer::Spec).all(same);
    whole.then(|| Lifted { kind, name: name.to_owned(), words })
}

/// A sentence about a stream in the words of the bucket that it is.
#[must_use]
pub fn speak<'a>(stream: &str, text: &'a str) -> Cow<'a, str> {
    let Some((kind, _)) = Bucket::of(stream) else { return Cow::Borrowed(text) };
    let mut said = Cow::Borrowed(text);
    for row in kind.rows() {
        let Some(word) = row.word.filter(|it| it.field != row.name) else { continue };
        let field = format!("`{}`", word.field);
        if said.contains(&field) {
            said = Cow::Owned(said.replace(&field, &format!("`{}`", row.name)));
        }
    }
    said
}

/// Whether clients take a text as the name of a bucket.
#[must_use]
pub fn is_bucket_name(text: &str) -> bool {
    // With its prefix it is the name of a stream, which ends at 255.
    (1..=251).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}

/// The subjects of all keys of a bucket.
fn keys(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// A word that only has another name.
const fn same(field: &'static str) -> Word {
    Word { field, lower: clone, lift: some }
}

fn clone(value: &Value, _: &str) -> Value {
    value.clone()
}

fn some(value: &Value, _: &str) -> Option<Value> {
    Some(value.clone())
}

/// A history always has an end.
fn limited(value: &Value, _: &str) -> Option<Value> {
    let endless = value.as_i64().is_some_and(|it| it < 1);
    (!endless).then(|| value.clone())
}

fn lower_compression(value: &Value, _: &str) -> Value {
    value.as_bool().map_or(Value::Null, |it| if it { "s2".into() } else { "none".into() })
}

fn lift_compression(value: &Value, _: &str) -> Option<Value> {
    match value.as_str() {
        Some("s2") => Some(true.into()),
        Some("none") => Some(false.into()),
        None if value.is_null() => Some(Value::Null),
        Some(_) | None => None,
    }
}

fn lower_mirror(value: &Value, _: &str) -> Value {
    value.as_object().map_or(Value::Null, |it| lower_origin(it).into())
}

fn lift_mirror(value: &Value, _: &str) -> Option<Value> {
    let Some(origin) = value.as_object() else { return Some(value.clone()) };
    lift_origin(origin).map(Value::Object)
}

fn lower_sources(value: &Value, bucket: &str) -> Value {
    let Some(sources) = value.as_array() else { return Value::Null };
    let lower = |source: &Map<String, Value>| {
        let mut lowered = lower_origin(source);
        if !source.contains_key("subject_transforms")
            && let Some(transform) = keys_of_source(&lowered, bucket)
        {
            lowered.insert("subject_transforms".to_owned(), transform);
        }
        Value::Object(lowered)
    };
    sources.iter().filter_map(Value::as_object).map(lower).collect()
}

fn lift_sources(value: &Value, bucket: &str) -> Option<Value> {
    let Some(sources) = value.as_array() else { return Some(value.clone()) };
    let lift = |source: &Value| {
        let source = source.as_object()?;
        let mut lifted = lift_origin(source)?;
        let usual = keys_of_source(source, bucket);
        match (source.get("subject_transforms"), usual) {
            (given, usual) if given == usual.as_ref() => {
                lifted.remove("subject_transforms");
            }
            (None, Some(_)) => {
                lifted.insert("subject_transforms".to_owned(), json!([]));
            }
            (_, _) => {}
        }
        Some(Value::Object(lifted))
    };
    sources.iter().map(lift).collect()
}

/// The rewrite that turns the keys of a source into keys of the bucket. A source of the same name
/// lives elsewhere, and its keys are right already.
fn keys_of_source(source: &Map<String, Value>, bucket: &str) -> Option<Value> {
    let origin = source.get("name")?.as_str()?.strip_prefix(Bucket::Kv.prefix())?;
    let differs = origin != bucket || !source.contains_key("external");
    // The server takes a filter or a rewrite, never both.
    let rewritten = differs && !source.contains_key("filter_subject");
    rewritten.then(|| json!([{ "src": keys(origin), "dest": keys(bucket) }]))
}

/// A bucket's name becomes that of its stream, unless it is that already, as clients have it; a
/// domain becomes the prefix of its API, since the server knows no domains.
fn lower_origin(origin: &Map<String, Value>) -> Map<String, Value> {
    let mut lowered = origin.clone();
    if let Some(name) = origin.get("name").and_then(Value::as_str)
        && !name.starts_with(Bucket::Kv.prefix())
    {
        lowered.insert("name".to_owned(), Bucket::Kv.stream(name).into());
    }
    if let Some(Value::String(domain)) = lowered.remove("domain") {
        lowered.insert("external".to_owned(), json!({ "api": format!("$JS.{domain}.API") }));
    }
    lowered
}

fn lift_origin(origin: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut lifted = origin.clone();
    let name = origin.get("name")?.as_str()?.strip_prefix(Bucket::Kv.prefix())?;
    lifted.insert("name".to_owned(), name.into());
    if let Some(domain) = origin.get("external").and_then(domain) {
        lifted.remove("external");
        lifted.insert("domain".to_owned(), domain.into());
    }
    Some(lifted)
}

/// The domain that an `external` stands for, where it says nothing else.
fn domain(external: &Value) -> Option<&str> {
    let external = external.as_object()?;
    let delivers = external.get("deliver").is_some_and(|it| *it != "");
    let domain = external.get("api")?.as_str()?.strip_prefix("$JS.")?.strip_suffix(".API")?;
    (!delivers && !domain.contains('.')).then_some(domain)
}
