//! Configurations in files, as the `nats` CLI writes them: `stream info --json`, `consumer info
//! --json`, lists of these, the `backup.json` of `stream backup`, and plain configurations.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Chosen, is_ephemeral, is_server_made};
use crate::{
    address::Address,
    config::Config,
    finding::{Code, Finding},
    position,
    schema::{self, Release},
    spec::Desired,
};

/// Whose rules hold for what comes from a file, which does not say: those of the newest.
pub const RELEASE: Release = Release(u16::MAX, 0, 0);

/// Reads files, given by name and text; what a spec of `desired` cannot take is said.
#[must_use]
pub fn read(files: &[(String, String)], desired: &Desired) -> Chosen {
    let mut saved = Saved::default();
    for (name, text) in files {
        match serde_json::from_str(text) {
            Ok(value) => saved.value(name, &value),
            Err(error) => {
                let message = format!("`{name}` is no JSON: {error}");
                saved.refuse(Finding::error(Code::File, message).help(SHAPES));
            }
        }
    }
    if saved.resources.is_empty() && saved.findings.is_empty() {
        let finding = Finding::error(Code::File, "the files hold neither a stream nor a consumer");
        saved.refuse(finding.help(SHAPES));
    }
    saved.chosen(desired)
}

const SHAPES: &str = "give what `nats stream info --json`, `nats consumer info --json` or \
                      `nats stream backup` wrote";

#[derive(Default)]
struct Saved {
    resources: BTreeMap<Address, Config>,
    findings: Vec<Finding>,
}

impl Saved {
    /// One stream, one consumer, or several in a list.
    fn value(&mut self, file: &str, value: &Value) {
        if let Value::Array(list) = value {
            return list.iter().for_each(|it| self.value(file, it));
        }
        let info = Config::of(value);
        let pages = ["streams", "consumers"].map(|it| info.get(it).filter(|it| it.is_array()));
        if pages.iter().any(Option::is_some) {
            return pages.into_iter().flatten().for_each(|it| self.value(file, it));
        }
        let config = info.get("config").filter(|it| it.is_object()).map(Config::of);
        let config = config.unwrap_or_else(|| info.clone());
        let reads = ["deliver_policy", "ack_policy", "durable_name"];
        let stores = ["subjects", "retention", "storage", "mirror", "sources", "max_msgs"];
        let name = config.text("name").or_else(|| config.text("durable_name"));
        let name = name.or_else(|| info.text("name")).unwrap_or_default().to_owned();
        match (info.text("stream_name"), reads.iter().any(|it| config.has(it))) {
            (Some(stream), true) => self.add(file, Address::consumer(stream, &name), config),
            (None, true) => {
                let message = format!("`{file}` holds the consumer `{name}`, and not its stream");
                let help = "give what `nats consumer info --json` writes: it names the stream";
                self.refuse(Finding::error(Code::File, message).help(help));
            }
            (_, false) if stores.iter().any(|it| config.has(it)) && !name.is_empty() => {
                self.add(file, Address::stream(&name), config);
            }
            (_, false) => {
                let message = format!("`{file}` holds neither a stream nor a consumer");
                self.refuse(Finding::error(Code::File, message).help(SHAPES));
            }
        }
    }

    /// Says it once: a list of names is wrong in as many places as it has names.
    fn refuse(&mut self, finding: Finding) {
        if !self.findings.iter().any(|it| it.message == finding.message) {
            self.findings.push(finding);
        }
    }

    fn add(&mut self, file: &str, address: Address, config: Config) {
        // What was sent to a server lacks what a server fills in.
        let config = config.clone().over(&schema::complete(address.rows(), &config, RELEASE));
        let other = self.resources.get(&address).map(Config::fingerprint);
        if other.is_some_and(|it| it != config.fingerprint()) {
            let message = format!("`{file}` holds another configuration of `{address}`");
            let help = "give each stream and consumer once";
            self.refuse(Finding::error(Code::Duplicate, message).help(help));
            return;
        }
        self.resources.insert(address, config);
    }

    fn chosen(self, desired: &Desired) -> Chosen {
        let Self { resources, findings } = self;
        let mut chosen = Chosen { findings, ..Chosen::default() };
        let streams: BTreeSet<_> =
            resources.keys().chain(desired.resources.keys()).filter(|it| it.is_stream()).collect();
        let orphan = |it: &Address| !streams.contains(&Address::stream(it.stream_name()));
        for (address, config) in &resources {
            if position::is_holder(address) {
                // It ends with the apply that made it.
                continue;
            }
            if is_ephemeral(address, config) || is_server_made(address, config) {
                chosen.ephemeral += 1;
            } else if orphan(address) {
                let message = format!("`{address}` belongs to a stream that is not there");
                let help = "give the file of its stream too, or declare the stream";
                let finding = Finding::error(Code::Missing, message).about(address);
                chosen.findings.push(finding.help(help));
            } else {
                chosen.resources.insert(address.clone(), config.clone());
            }
        }
        chosen
    }
}
