//! What a spec has to say so that it means what is live, over what its layers say already.
//!
//! As little as possible is said: neither what the server fills in, nor what a base, `[defaults]` or
//! `[override]` give. What only the server could have worked out is left to it where it would work
//! out the same anywhere, and written down where it would not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml_edit::Item;

use super::{
    layer::{self, Naming, between, switched_off},
    read::{self, Layer, is_name},
    resource::Resource,
    value::{Fields, Written},
    write::{self, Block},
};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Place, Sources},
    schema::{
        Field, Kind, Release, Writer,
        bucket::{self, Bucket, Lifted},
        stream::STREAM,
    },
};

/// Live resources in the words of a spec.
#[derive(Debug)]
pub struct Described {
    /// The tables alone.
    pub tables: String,
    /// The environment's own file with the tables in it.
    pub file: String,
    /// What is declared by it as it is live.
    pub resources: BTreeSet<Address>,
    /// What is not.
    pub left: BTreeSet<Address>,
    /// Why not; all of them warnings.
    pub findings: Vec<Finding>,
    /// The files, for the places in findings.
    pub sources: Sources,
}

/// Describes live resources for an environment; `path` and `text_of` are those of [`super::load`],
/// which has found nothing wrong with it. A consumer comes with its stream, or the spec declares it.
#[must_use]
pub fn describe(
    path: &str,
    text_of: impl Fn(&str) -> Result<String, String>,
    live: &BTreeMap<Address, Config>,
    release: Release,
) -> Described {
    let mut sources = Sources::default();
    let own = text_of(path).unwrap_or_default();
    // The file was read before: what there was to remark was said.
    let layers = read::layers(path, text_of, &mut sources, &mut Vec::new());
    let spec = layer::flatten(layers, &mut Vec::new());
    let mut description = Description {
        naming: Naming::of(&spec.naming),
        services: services(&spec),
        spec: &spec,
        release,
        blocks: Vec::new(),
        resources: BTreeSet::new(),
        findings: Vec::new(),
    };
    for (address, config) in by_stream(live) {
        description.add(address, config);
    }
    let Description { blocks, resources, findings, .. } = description;
    let left = findings.iter().filter_map(|it| it.about.clone()).collect();
    let mut findings = grouped(findings);
    let written = write::write("", &blocks).and_then(|it| Ok((it, write::write(&own, &blocks)?)));
    let (tables, file) = written.unwrap_or_else(|error| {
        findings.push(Finding::error(Code::Syntax, error.message()).help("check the spec"));
        Default::default()
    });
    Described { tables, file, resources, left, findings, sources }
}

/// Each stream, followed by its consumers: the order of a file.
fn by_stream(live: &BTreeMap<Address, Config>) -> Vec<(&Address, &Config)> {
    let mut all: Vec<_> = live.iter().collect();
    all.sort_by_key(|(it, _)| (it.stream_name(), *it));
    all
}

/// The services that the spec names, so that a name is taken apart as others were put together.
fn services(spec: &Layer) -> BTreeSet<&str> {
    let consumers = spec.streams.values().flat_map(|it| it.consumers.values());
    consumers.filter_map(|it| it.fields.get("service")?.value.as_str()).collect()
}

/// One warning for all that one line of the spec keeps out: in an account of hundreds of streams the
/// same remark about each would bury the others.
fn grouped(findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups: Vec<(Finding, Vec<Address>)> = Vec::new();
    for finding in findings {
        let alike = |(first, _): &&mut (Finding, _)| {
            finding.place.is_some() && (first.place, first.code) == (finding.place, finding.code)
        };
        match groups.iter_mut().find(alike) {
            Some((_, others)) => others.extend(finding.about),
            None => groups.push((finding, Vec::new())),
        }
    }
    groups.into_iter().map(|(first, others)| with_others(first, &others)).collect()
}

fn with_others(mut finding: Finding, others: &[Address]) -> Finding {
    const NAMED: usize = 2;
    let named: Vec<_> = others.iter().take(NAMED).map(|it| format!("`{it}`")).collect();
    let rest = match others.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if !named.is_empty() {
        finding.message += &format!("; likewise {}{rest}", named.join(", "));
    }
    finding
}

struct Description<'a> {
    naming: Naming<'a>,
    services: BTreeSet<&'a str>,
    spec: &'a Layer,
    release: Release,
    blocks: Vec<Block>,
    resources: BTreeSet<Address>,
    findings: Vec<Finding>,
}

/// A live resource in the words in which it is declared.
struct Is<'a> {
    rows: &'static [Field],
    config: &'a Config,
    /// The bucket that the words are about.
    of: Option<(Bucket, &'a str)>,
}

/// What a spec says of one resource already.
struct Said {
    /// By all layers together.
    fields: Fields,
    /// By those that nothing in a resource's own table can change.
    above: Fields,
}

impl Description<'_> {
    fn add(&mut self, address: &Address, config: &Config) {
        match address {
            Address::Stream(name) => self.stream(address, name, config),
            Address::Consumer { stream, name } => self.consumer(address, (stream, name), config),
        }
    }

    fn stream(&mut self, address: &Address, name: &str, config: &Config) {
        let Layer { streams, buckets, .. } = self.spec;
        let own = streams.get(name);
        let lifted = bucket::lift(config).filter(|_| own.is_none());
        if let Some(Lifted { kind, name, words }) = lifted {
            let own = buckets.get(&(kind, name.clone())).map(|it| it.fields.clone());
            let said = self.said(Resource::Bucket(kind), own.unwrap_or_default());
            let path = vec![kind.noun().to_owned(), name.clone()];
            let is = Is { rows: kind.rows(), config: &words, of: Some((kind, &name)) };
            return self.put(address, &is, path, &said, None);
        }
        let declared = |(kind, bucket)| buckets.get(&(kind, String::from(bucket)));
        if let Some(bucket) = Bucket::of(name).and_then(declared).filter(|_| own.is_none()) {
            let why = "the spec declares a bucket, and it was made into something else";
            let help = format!("declare it as the stream that it is: `[streams.{name}]`");
            return self.leave(address, Code::NotABucket, why, Some(bucket.place), &help);
        }
        if !is_name(name) {
            return self.leave(address, Code::BadName, "no spec can hold its name", None, NAME);
        }
        let said = self.said(Resource::Stream, own.map(|it| it.fields.clone()).unwrap_or_default());
        let path = vec!["streams".to_owned(), name.to_owned()];
        self.put(address, &Is { rows: address.rows(), config, of: None }, path, &said, None);
    }

    fn consumer(&mut self, address: &Address, (stream, name): (&str, &str), config: &Config) {
        let of = Address::stream(stream);
        let own = self.spec.streams.get(stream);
        if own.is_none() && !self.resources.contains(&of) {
            // What is said of the stream is said of it.
            return;
        }
        let heads = |it: &Block| it.path.first().is_some_and(|it| it == "streams");
        if own.is_none() && !self.blocks.iter().rev().any(|it| heads(it) && it.path[1] == stream) {
            let why = "it belongs to a bucket, and those have no consumers in a spec";
            let help = "leave it to the client that made it, or declare the stream itself";
            return self.leave(address, Code::NotYours, why, None, help);
        }
        let Some((key, service)) = self.key(stream, name) else {
            let rule = self.naming.rule().unwrap_or("{name}");
            let why = format!("its name does not follow the rule `{rule}` of `[naming] durable`");
            let place = self.naming.place();
            return self.leave(address, Code::BadName, &why, place, UNNAMED);
        };
        let own = own.and_then(|it| it.consumers.get(&key)).map(|it| it.fields.clone());
        let service = service.filter(|_| own.is_none());
        let said = self.said(Resource::Consumer, own.unwrap_or_default());
        let path = ["streams", stream, "consumers", &key].map(str::to_owned).to_vec();
        let is = Is { rows: address.rows(), config, of: None };
        self.put(address, &is, path, &said, service);
    }

    fn said(&self, kind: Resource, own: Fields) -> Said {
        let Layer { defaults, overrides, .. } = self.spec;
        let above = overrides.get(&kind).cloned().unwrap_or_default();
        Said { fields: between(kind, own, (defaults, overrides)), above }
    }

    /// The key and the service that the rule for names makes this name of: those the spec has
    /// already, else the first that fit.
    fn key(&self, stream: &str, name: &str) -> Option<(String, Option<String>)> {
        let declared = self.spec.streams.get(stream).into_iter().flat_map(|it| &it.consumers);
        for (key, consumer) in declared {
            let service = consumer.fields.get("service").and_then(|it| it.value.as_str());
            if self.naming.durable(key, service).as_deref() == Some(name) {
                return Some((key.clone(), service.map(str::to_owned)));
            }
        }
        self.naming.apart(name, &self.services)
    }

    /// Adds what has to be said of a resource, or says why it cannot be.
    fn put(
        &mut self,
        address: &Address,
        is: &Is<'_>,
        path: Vec<String>,
        said: &Said,
        service: Option<String>,
    ) {
        match lines(address, is, said, self.release) {
            Err(Unsayable { why, place, help }) => {
                self.leave(address, Code::Conflict, &why, place, &help);
            }
            Ok(fields) => {
                let service = service.map(|it| ("service", Item::Value(write::text(&it))));
                let lines = service.into_iter().chain(fields).collect();
                self.resources.insert(address.clone());
                self.blocks.push(Block { path, lines });
            }
        }
    }

    fn leave(
        &mut self,
        address: &Address,
        code: Code,
        why: &str,
        place: Option<Place>,
        help: &str,
    ) {
        let message = format!("`{address}` is not imported: {why}");
        self.findings.push(Finding::warning(code, message).at(place).about(address).help(help));
    }
}

/// What is said even where it is what the server fills in: left out, it is remarked on.
const SAID: &[&str] = &["ack_policy"];

const NAME: &str = "a name in a spec holds no spaces, no `.`, `*`, `>`, `/` and `\\`";
const UNNAMED: &str =
    "leave it unmanaged, make it anew under a name that follows the rule, or change the rule";

/// Why a spec cannot say what is live, and what to do.
struct Unsayable {
    why: String,
    place: Option<Place>,
    help: String,
}

/// What has to stand in the resource's own table.
fn lines(
    address: &Address,
    is: &Is<'_>,
    said: &Said,
    release: Release,
) -> Result<Vec<(&'static str, Item)>, Unsayable> {
    if switched_off(&said.fields) {
        let place = said.fields.get("enabled").map(|it| it.place);
        let help = "remove `enabled = false` if it is to be managed here".to_owned();
        return Err(Unsayable { why: "the spec switches it off".to_owned(), place, help });
    }
    let ignored = said.fields.get("ignore").and_then(|it| it.value.as_array());
    let ignored =
        |it: &Field| ignored.is_some_and(|names| names.iter().any(|name| name == it.name));
    let rows = is.rows.iter().filter(|it| it.writer == Writer::Spec && !ignored(it));
    let mut lines = Vec::new();
    for field in rows {
        let given = said.fields.get(field.name);
        let Some(value) = is.missing(field, given.map(|it| &it.value), release) else { continue };
        if let Some(over) = said.above.get(field.name) {
            return Err(overridden(address, field, &value, over));
        }
        let line = is.taken_back(field, value, release).and_then(|it| write::line(field, &it));
        let line = line.map_err(|why| Unsayable {
            why: format!("its `{}` cannot be written: {why}", field.name),
            place: given.map(|it| it.place),
            help: "leave it unmanaged, or change it on the server first".to_owned(),
        })?;
        lines.push((field.name, line));
    }
    Ok(lines)
}

impl Is<'_> {
    /// What has to be said of a field so that it means what is live, `Null` for its absence; `None`
    /// where what is said of it, or nothing, means that already.
    fn missing(&self, field: &Field, said: Option<&Value>, release: Release) -> Option<Value> {
        let unsaid = SAID.contains(&field.name) && said.is_none();
        if !unsaid && self.means_it(field, said, release) {
            return None;
        }
        let value = match self.of {
            None => field.read(self.config),
            // A word is written as it was lifted: within it even an empty list says something.
            Some(_) => self.config.get(field.name).cloned().or_else(|| field.read(self.config)),
        };
        Some(in_order(field, value.unwrap_or_default(), self.config))
    }

    /// Whether a field means what is live where this is said of it.
    fn means_it(&self, field: &Field, said: Option<&Value>, release: Release) -> bool {
        let mut meant = self.config.clone();
        match said {
            Some(value) => meant.set(field.name, value.clone()),
            None => drop(meant.remove(field.name)),
        }
        if let Some((kind, name)) = self.of {
            // What a word means is what its stream becomes by it.
            let row = field.word.and_then(|it| Field::find(STREAM, it.field));
            let stream = |words: &Config| row.and_then(|it| it.read(&kind.lower(name, words)));
            return stream(&meant) == stream(self.config);
        }
        let is = field.read(self.config);
        // What other fields force they force here too, but saying something else is refused.
        let denied = !field.forced.is_empty() && said.is_some() && field.read(&meant) != is;
        field.value(&meant, None, release) == is && !denied
    }

    /// The value that is written: for `Null` one that takes back what a layer below says.
    fn taken_back(&self, field: &Field, value: Value, release: Release) -> Result<Value, String> {
        if !value.is_null() {
            return Ok(value);
        }
        let nothing = write::nothing(&field.kind);
        let nothing = nothing.filter(|it| self.means_it(field, Some(it), release));
        // The field is there and cannot be read, as files by hand have it.
        let odd = self.config.get(field.name).filter(|it| field.kind.canonical(it).is_none());
        nothing.ok_or_else(|| match odd {
            Some(value) => format!("{value} is no value of its kind"),
            None => "a layer below sets it, and no value takes that back".to_owned(),
        })
    }
}

/// A set in the order in which the server has it: that is how somebody once wrote it.
fn in_order(field: &Field, value: Value, live: &Config) -> Value {
    let (Kind::Set(kind), Value::Array(mut items)) = (&field.kind, value.clone()) else {
        return value;
    };
    let live = live.get(field.name).and_then(Value::as_array);
    let live: Vec<_> = live.into_iter().flatten().map(|it| kind.canonical(it)).collect();
    items.sort_by_key(|it| live.iter().position(|its| its.as_ref() == Some(it)));
    Value::Array(items)
}

fn overridden(address: &Address, field: &Field, live: &Value, over: &Written) -> Unsayable {
    let (name, kind) = (field.name, address.kind());
    let shown = |it: &Value| if it.is_null() { "absent".to_owned() } else { field.show(it) };
    let why = format!(
        "`{name}` is {} live, and `[override.{kind}]` makes it {}",
        shown(live),
        shown(&over.value)
    );
    let help = format!(
        "take `{name}` out of `[override.{kind}]`, where it holds for every {kind}; or bring the \
         {kind} to it first"
    );
    Unsayable { why, place: Some(over.place), help }
}
