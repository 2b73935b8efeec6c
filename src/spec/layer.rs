//! Layers → one environment: the base below, the environment's own file on top.
//!
//! Field by field, `[defaults]` of all layers lie under the resources of all layers, and `[override]`
//! of all layers over them. Within each the later layer wins. A bucket is no stream here: what is
//! said of all streams, such as a `max_age`, would take values out of buckets that nobody thought of.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde_json::{Value, json};

use super::{
    Declared, Desired, Environment, connection, is_environment, keeping,
    policy::{self, Policy, Stance},
    read::{Blanket, Block, Layer, Stream, is_name},
    resource::Resource,
    value::{Fields, Written, quoted},
};
use crate::{
    address::Address,
    config::{Config, sha256},
    finding::{Code, Finding, Place, Sources, did_you_mean},
    schema::{
        Field,
        bucket::{self, Bucket},
        consumer::CONSUMER,
        stream::STREAM,
    },
};

/// What resources say to the rules of the policy.
pub(super) type Stances = BTreeMap<Address, Stance>;

/// Lays the layers over each other, the first at the bottom.
pub(super) fn merge(
    path: &str,
    layers: Vec<Layer>,
    sources: &Sources,
    findings: &mut Vec<Finding>,
) -> (Desired, Policy, Stances) {
    let Layer { environment, server, state, naming, policy, defaults, overrides, streams, buckets } =
        flatten(layers, findings);
    let spec = sources.first_line();
    let name = name_of(path, spec, findings);
    let (server, expect) = connection::connection(&server, spec, findings);
    let keeping = keeping::keeping(&state, spec, findings);
    let protected = environment.get("protected").map(|it| &it.value);
    let protected = protected == Some(&Value::Bool(true));
    let signers = environment.get("require_signed_by").and_then(|it| it.value.as_array());
    let signers = signers.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned));
    let require_signed_by = signers.collect();
    let environment = Environment { name, protected, require_signed_by, server, expect, keeping };
    let naming = Naming::of(&naming);
    let mut resources =
        Resources { declared: BTreeMap::new(), stances: Stances::new(), sources, findings };
    let over = (&defaults, &overrides);
    for (name, stream) in streams {
        resources.stream(&name, stream, over, naming);
    }
    for ((kind, name), block) in buckets {
        resources.bucket(kind, &name, block, over);
    }
    let Resources { declared, stances, .. } = resources;
    (Desired { environment, resources: declared, moves: Vec::new() }, policy, stances)
}

/// What all layers say together; `[defaults]` and `[override]` still stand apart.
pub(super) fn flatten(layers: Vec<Layer>, findings: &mut Vec<Finding>) -> Layer {
    let mut merged = Layer::default();
    for layer in layers {
        lay(&mut merged, layer, findings);
    }
    merged
}

/// An environment is named for its file.
fn name_of(path: &str, spec: Place, findings: &mut Vec<Finding>) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.strip_suffix(".toml").unwrap_or(file);
    if !is_environment(name) {
        let message = format!("{} is no name for an environment", quoted(name));
        let help = "rename the file: lower-case letters, digits, `_` and `-`, at most 64 of them";
        findings.push(Finding::error(Code::BadName, message).at(spec).help(help));
    }
    name.to_owned()
}

fn lay(below: &mut Layer, above: Layer, findings: &mut Vec<Finding>) {
    let Layer { environment, server, state, naming, policy, defaults, overrides, streams, buckets } =
        above;
    below.environment.extend(environment);
    connection::lay(&mut below.server, server);
    keeping::lay(&mut below.state, state);
    below.naming.extend(naming);
    policy::lay(&mut below.policy, policy);
    for (kind, fields) in defaults {
        below.defaults.entry(kind).or_default().extend(fields);
    }
    for (kind, fields) in overrides {
        below.overrides.entry(kind).or_default().extend(fields);
    }
    for (name, bucket) in buckets {
        match below.buckets.entry(name) {
            Entry::Occupied(mut entry) => entry.get_mut().fields.extend(bucket.fields),
            Entry::Vacant(entry) => drop(entry.insert(bucket)),
        }
    }
    let known: BTreeSet<String> = below.streams.keys().cloned().collect();
    for (name, stream) in streams {
        match below.streams.entry(name) {
            Entry::Occupied(mut entry) => lay_stream(entry.get_mut(), stream, findings),
            Entry::Vacant(entry) => {
                let whole = ["subjects", "mirror", "sources"];
                if !whole.iter().any(|it| stream.fields.contains_key(it)) {
                    findings.extend(stranger("stream", entry.key(), stream.place, &known));
                }
                entry.insert(stream);
            }
        }
    }
}

fn lay_stream(below: &mut Stream, above: Stream, findings: &mut Vec<Finding>) {
    below.fields.extend(above.fields);
    let known: BTreeSet<String> = below.consumers.keys().cloned().collect();
    for (key, consumer) in above.consumers {
        match below.consumers.entry(key) {
            Entry::Occupied(mut entry) => entry.get_mut().fields.extend(consumer.fields),
            Entry::Vacant(entry) => {
                if !consumer.fields.contains_key("ack_policy") {
                    findings.extend(stranger("consumer", entry.key(), consumer.place, &known));
                }
                entry.insert(consumer);
            }
        }
    }
}

/// A few fields under a new name that is almost one of the base are likely meant for that one.
fn stranger(kind: &str, name: &str, place: Place, known: &BTreeSet<String>) -> Option<Finding> {
    let help = did_you_mean(name, known.iter().map(String::as_str))?;
    let message = format!("{} is a new {kind}: no base declares it", quoted(name));
    Some(Finding::warning(Code::UnknownKey, message).at(place).help(help))
}

/// What stands for the key in the rule.
const NAME: &str = "{name}";

/// How durable consumers are named.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    written: Option<&'a Written>,
}

impl<'a> Naming<'a> {
    pub(super) fn of(naming: &'a Fields) -> Self {
        Self { written: naming.get("durable") }
    }

    /// `[naming] durable`, where it is written.
    pub(super) fn rule(self) -> Option<&'a str> {
        self.written?.value.as_str()
    }

    /// Where it is written.
    pub(super) fn place(self) -> Option<Place> {
        self.written.map(|it| it.place)
    }

    /// A key, and a service where the rule asks for one, of which it makes this name. Where a name
    /// comes apart in several ways, a service that is known decides, else the shortest.
    pub(super) fn apart(
        self,
        name: &str,
        known: &BTreeSet<&str>,
    ) -> Option<(String, Option<String>)> {
        let rule = self.rule().unwrap_or(NAME);
        let of = |service: Option<&str>| {
            let named = rule.replace("{service}", service.unwrap_or_default());
            let (head, tail) = named.split_once(NAME)?;
            let key = name.strip_prefix(head)?.strip_suffix(tail.split(NAME).last()?)?;
            let fits = is_name(key) && service.is_none_or(is_name);
            let fits = fits && self.durable(key, service).as_deref() == Some(name);
            fits.then(|| (key.to_owned(), service.map(str::to_owned)))
        };
        let Some((head, tail)) = rule.split_once("{service}") else { return of(None) };
        let borders = name.char_indices().map(|it| it.0);
        known.iter().find_map(|it| of(Some(it))).or_else(|| match name.strip_prefix(head) {
            Some(rest) => borders.filter_map(|it| rest.get(..it)).find_map(|it| of(Some(it))),
            None => {
                let rest = name.strip_suffix(tail)?;
                borders.rev().filter_map(|it| rest.get(it..)).find_map(|it| of(Some(it)))
            }
        })
    }

    /// The name on the server; `None` where the rule asks for a service and there is none.
    pub(super) fn durable(&self, key: &str, service: Option<&str>) -> Option<String> {
        match (self.rule(), service) {
            (None, None) => Some(key.to_owned()),
            (None, Some(service)) => Some(format!("{service}_{key}")),
            (Some(rule), None) if rule.contains("{service}") => None,
            (Some(rule), service) => {
                let named = rule.replace("{service}", service.unwrap_or_default());
                Some(named.replace("{name}", key))
            }
        }
    }
}

/// What has been put together so far.
struct Resources<'a> {
    declared: BTreeMap<Address, Declared>,
    stances: Stances,
    sources: &'a Sources,
    findings: &'a mut Vec<Finding>,
}

impl Resources<'_> {
    fn stream(
        &mut self,
        name: &str,
        stream: Stream,
        over: (&Blanket, &Blanket),
        naming: Naming<'_>,
    ) {
        let fields = between(Resource::Stream, stream.fields, over);
        if switched_off(&fields) {
            return;
        }
        let address = Address::stream(name);
        self.stances.insert(address.clone(), stance(&fields));
        let mut declared = declare(STREAM, stream.place, fields);
        declared.config.set("name", name.into());
        self.add(address, declared);
        for (key, consumer) in stream.consumers {
            let fields = between(Resource::Consumer, consumer.fields, over);
            if !switched_off(&fields) {
                self.consumer(name, &key, Block { fields, ..consumer }, naming);
            }
        }
    }

    fn bucket(&mut self, kind: Bucket, name: &str, block: Block, over: (&Blanket, &Blanket)) {
        let fields = between(Resource::Bucket(kind), block.fields, over);
        if !switched_off(&fields) {
            let address = Address::bucket(kind, name);
            self.stances.insert(address.clone(), stance(&fields));
            let declared = declare(kind.rows(), block.place, fields);
            self.add(address, lowered(kind, name, declared));
        }
    }

    fn consumer(&mut self, stream: &str, key: &str, consumer: Block, naming: Naming<'_>) {
        let Block { place, fields } = consumer;
        let service = fields.get("service").and_then(|it| it.value.as_str());
        let wrong = fields.get("service").is_some_and(|it| it.value.is_null());
        let Some(name) = naming.durable(key, service) else {
            if !wrong {
                let rule = naming.rule().unwrap_or_default();
                let message =
                    format!("`{key}` has no `service`, and the rule for durable names is `{rule}`");
                let help =
                    "add `service = \"NAME\"`, or take `{service}` out of `[naming] durable`";
                self.findings.push(Finding::error(Code::Missing, message).at(place).help(help));
            }
            return;
        };
        if name.len() > 255 && is_name(key) {
            let message = format!("the durable name of `{key}` has {} letters", name.len());
            let help = "shorten the key or the service: at most 255 together";
            self.findings.push(Finding::error(Code::BadName, message).at(place).help(help));
        }
        let address = Address::consumer(stream, &name);
        self.stances.insert(address.clone(), stance(&fields));
        let mut declared = declare(CONSUMER, place, fields);
        declared.config.set("name", name.as_str().into());
        declared.config.set("durable_name", name.into());
        self.add(address, declared);
    }

    fn add(&mut self, address: Address, mut declared: Declared) {
        declared.sha256 = digest(&declared);
        if let Some(other) = self.declared.get(&address) {
            let spot = self.sources.spot(other.place);
            let (message, help) = match &address {
                Address::Consumer { name, .. } => (
                    format!("`{name}` is the durable name of two consumers: see {spot}"),
                    "rename one of the keys, or give it another `service`",
                ),
                Address::Stream(name) => (
                    format!(
                        "`{address}` is the stream `{name}`, which is declared too: see {spot}"
                    ),
                    "keep one: the bucket in the words of its clients, or the bare stream",
                ),
            };
            let finding = Finding::error(Code::Duplicate, message).at(declared.place);
            self.findings.push(finding.about(&address).help(help));
            return;
        }
        self.declared.insert(address, declared);
    }
}

/// A resource's own fields, with what lies under and over all of its kind.
pub(super) fn between(kind: Resource, own: Fields, (below, above): (&Blanket, &Blanket)) -> Fields {
    let (below, above) = (below.get(&kind), above.get(&kind));
    if below.is_none() && above.is_none() {
        return own;
    }
    let mut fields = below.cloned().unwrap_or_default();
    fields.extend(own);
    let above = above.into_iter().flatten();
    fields.extend(above.map(|(name, written)| (*name, written.clone())));
    fields
}

pub(super) fn switched_off(fields: &Fields) -> bool {
    fields.get("enabled").is_some_and(|it| it.value == Value::Bool(false))
}

fn stance(fields: &Fields) -> Stance {
    let service = fields.get("service").and_then(|it| it.value.as_str());
    Stance { service: service.map(str::to_owned), exceptions: fields.get("exceptions").cloned() }
}

/// Parts the settings from the server's fields.
fn declare(rows: &'static [Field], place: Place, fields: Fields) -> Declared {
    let mut declared = Declared {
        bucket: None,
        config: Config::default(),
        places: BTreeMap::new(),
        place,
        prevent_destroy: None,
        ignore: BTreeSet::new(),
        sha256: String::new(),
    };
    for (name, Written { value, place }) in fields {
        match name {
            "enabled" | "reason" | "service" | "exceptions" => continue,
            "prevent_destroy" => declared.prevent_destroy = value.as_bool(),
            "ignore" => {
                let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                let named = names.filter_map(|it| Field::find(rows, it));
                declared.ignore = named.map(|it| it.name).collect();
            }
            field => declared.config.set(field, value),
        }
        declared.places.insert(name, place);
    }
    declared
}

/// A bucket's words become the fields of its stream, wherever a word stood for one.
fn lowered(kind: Bucket, name: &str, words: Declared) -> Declared {
    let field = |word: &'static str| {
        let row = Field::find(kind.rows(), word).and_then(|it| it.word);
        row.map_or(word, |it| it.field)
    };
    let config = kind.lower(name, &words.config);
    let mut ignore: BTreeSet<_> = words.ignore.iter().map(|it| field(it)).collect();
    ignore.extend(bucket::left_open(&config));
    let places = words.places.iter().map(|(word, place)| (field(word), *place)).collect();
    Declared { bucket: Some(kind), config, ignore, places, ..words }
}

/// The digest of what matters to the server or the state, and of nothing else.
fn digest(declared: &Declared) -> String {
    let Declared { config, prevent_destroy, ignore, .. } = declared;
    let ignore: Vec<&str> = ignore.iter().copied().collect();
    let matters = json!({ "config": config, "prevent_destroy": prevent_destroy, "ignore": ignore });
    sha256(matters.to_string())
}
