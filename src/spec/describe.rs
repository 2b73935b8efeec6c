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
    value::{Fields, Written},
    write::{self, Block},
};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding, Place, Sources},
    schema::{Field, Kind, Unset, Writer},
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
    /// What is not, and why; all of them warnings.
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
        blocks: Vec::new(),
        resources: BTreeSet::new(),
        findings: Vec::new(),
    };
    for (address, config) in by_stream(live) {
        description.add(address, config);
    }
    let Description { blocks, resources, mut findings, .. } = description;
    let written = write::write("", &blocks).and_then(|it| Ok((it, write::write(&own, &blocks)?)));
    let (tables, file) = written.unwrap_or_else(|error| {
        findings.push(Finding::error(Code::Syntax, error.message()).help("check the spec"));
        Default::default()
    });
    Described { tables, file, resources, findings, sources }
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

struct Description<'a> {
    naming: Naming<'a>,
    services: BTreeSet<&'a str>,
    spec: &'a Layer,
    blocks: Vec<Block>,
    resources: BTreeSet<Address>,
    findings: Vec<Finding>,
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
        if !is_name(name) {
            return self.leave(address, Code::BadName, "no spec can hold its name", None, NAME);
        }
        let Layer { defaults, overrides, streams, .. } = self.spec;
        let own = streams.get(name).map(|it| it.fields.clone()).unwrap_or_default();
        let fields = between(&defaults.stream, own, &overrides.stream);
        let said = Said { fields, above: overrides.stream.clone() };
        let path = vec!["streams".to_owned(), name.to_owned()];
        self.put(address, config, path, &said, None);
    }

    fn consumer(&mut self, address: &Address, (stream, name): (&str, &str), config: &Config) {
        let of = Address::stream(stream);
        let Layer { defaults, overrides, streams, .. } = self.spec;
        let own = streams.get(stream);
        if own.is_none() && !self.resources.contains(&of) {
            // What is said of the stream is said of it.
            return;
        }
        let Some((key, service)) = self.key(stream, name) else {
            let rule = self.naming.rule().unwrap_or("{name}");
            let why = format!("its name does not follow the rule `{rule}` of `[naming] durable`");
            let place = self.naming.place();
            return self.leave(address, Code::BadName, &why, place, UNNAMED);
        };
        let own = own.and_then(|it| it.consumers.get(&key)).map(|it| it.fields.clone());
        let new = own.is_none();
        let fields = between(&defaults.consumer, own.unwrap_or_default(), &overrides.consumer);
        let said = Said { fields, above: overrides.consumer.clone() };
        let path = ["streams", stream, "consumers", &key].map(str::to_owned).to_vec();
        self.put(address, config, path, &said, service.filter(|_| new));
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
        config: &Config,
        path: Vec<String>,
        said: &Said,
        service: Option<String>,
    ) {
        match lines(address, config, said) {
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
    config: &Config,
    said: &Said,
) -> Result<Vec<(&'static str, Item)>, Unsayable> {
    if switched_off(&said.fields) {
        let place = said.fields.get("enabled").map(|it| it.place);
        let help = "remove `enabled = false` if it is to be managed here".to_owned();
        return Err(Unsayable { why: "the spec switches it off".to_owned(), place, help });
    }
    let ignored = said.fields.get("ignore").and_then(|it| it.value.as_array());
    let ignored =
        |it: &Field| ignored.is_some_and(|names| names.iter().any(|name| name == it.name));
    let rows = address.rows().iter().filter(|it| it.writer == Writer::Spec && !ignored(it));
    let mut lines = Vec::new();
    for field in rows {
        let Some(value) = missing(field, config, &said.fields) else { continue };
        if let Some(over) = said.above.get(field.name) {
            return Err(overridden(address, field, &value, over));
        }
        let line = write::line(field, &value).map_err(|why| Unsayable {
            why: format!("its `{}` cannot be written: {why}", field.name),
            place: said.fields.get(field.name).map(|it| it.place),
            help: "leave it unmanaged, or change it on the server first".to_owned(),
        })?;
        lines.push((field.name, line));
    }
    Ok(lines)
}

/// What has to be said of a field so that it means what is live, `Null` for its absence; `None`
/// where that is meant already.
fn missing(field: &Field, live: &Config, said: &Fields) -> Option<Value> {
    // What people set while the resource runs is no part of its declaration.
    if matches!(field.unset, Unset::AsIs) && !said.contains_key(field.name) {
        return None;
    }
    let is = field.value(live, live.get(field.name));
    let mut meant = live.clone();
    match said.get(field.name) {
        Some(written) => meant.set(field.name, written.value.clone()),
        None => drop(meant.remove(field.name)),
    }
    if field.value(&meant, None) == is {
        return None;
    }
    Some(in_order(field, is.unwrap_or_default(), live))
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
