//! What jsplan owns: as a table, as a list, and one resource in full.

use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;

use super::{
    ASIDE, NAME, change, cut, escape, labelled,
    text::{address, joined, key, width},
};
use crate::{
    address::{Address, consumers_of},
    config::Config,
    diff::Delta,
    schema::Field,
    state::{Origin, Recorded, State},
    units::{count_of, show_bytes, show_count, show_duration},
};

/// One row a resource, consumers under their stream.
pub(super) fn table(state: &State) -> String {
    let mut text = heading(state);
    if state.resources.is_empty() {
        return text + "\nNothing is recorded yet.\n";
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["ADDRESS", "TYPE", "R", "LIMITS", "PROTECT", "ORIGIN"]);
    for (twig, address, recorded) in rows(state) {
        table.add_row(row(twig, address, recorded));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines: Vec<String> = table.lines().collect();
    if let Some(header) = lines.first_mut() {
        *header = NAME.style(header.trim_end()).to_string();
    }
    text += "\n";
    text += &joined(&lines);
    text + &format!("\n{}.\n", count_of(state.resources.len(), "resource"))
}

/// Addresses, streams first.
pub(super) fn list(state: &State) -> String {
    joined(&state.resources.keys().map(address).collect::<Vec<_>>())
}

/// Every field that was read back, in the order of the rows.
pub(super) fn resource(of: &Address, recorded: &Recorded) -> String {
    let config = recorded.config();
    let shown: Vec<(String, String)> = of
        .rows()
        .iter()
        .filter_map(|field| {
            let after = field.kind.known(&field.read(&config)?);
            let said = Delta { field, before: Value::Null, after }.spoken(of);
            let shown = || (said.field.name.to_owned(), change::value(said.field, &said.after));
            (!said.after.is_null()).then(shown)
        })
        .collect();
    let mut foreign: Vec<(String, String)> = Vec::new();
    for (name, value) in config.iter() {
        let Some(field) = Field::find(of.rows(), name) else {
            foreign.push((key(name), escape(&cut(&value.to_string())).into_owned()));
            continue;
        };
        let inside = field.kind.foreign(name, value).into_iter();
        foreign.extend(inside.map(|(path, it)| {
            (escape(&path).into_owned(), escape(&cut(&it.to_string())).into_owned())
        }));
    }
    let protect = match (recorded.prevent_destroy, of) {
        (Some(true), _) => ", protected",
        (Some(false), _) => ", not protected",
        (None, Address::Stream(_)) => ", protected while it holds messages",
        (None, Address::Consumer { .. }) => "",
    };
    let origin = match recorded.origin {
        Origin::Created => "made by jsplan",
        Origin::Adopted => "adopted",
    };
    let created = escape(&recorded.created);
    let about = format!("# {origin}, created {created}{protect}");
    let mut lines = vec![
        format!("# {}", NAME.style(address(of))),
        ASIDE.style(about).to_string(),
        String::new(),
    ];
    lines.extend(fields(&shown));
    if !foreign.is_empty() {
        lines.push(String::new());
        lines.push(ASIDE.style("# not managed by jsplan").to_string());
        lines.extend(fields(&foreign));
    }
    joined(&lines)
}

fn fields(fields: &[(String, String)]) -> Vec<String> {
    let widest = fields.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    fields.iter().map(|(name, value)| format!("{name:widest$} = {value}")).collect()
}

fn heading(state: &State) -> String {
    let mut parts = vec![
        "jsplan state".to_owned(),
        labelled(&state.environment, None),
        format!("serial {}", state.serial),
    ];
    // The first save gives the lineage.
    if !state.lineage.is_empty() {
        parts.push(format!("lineage {}", escape(&state.lineage)));
    }
    if let Some(target) = &state.target {
        let named = [
            ("account", &target.account),
            ("cluster", &target.cluster),
            ("domain", &target.domain),
        ];
        for (what, name) in named {
            parts.extend(name.as_ref().map(|it| format!("{what} {}", escape(it))));
        }
    }
    let mut text = parts.join(" · ") + "\n";
    if let Some(last) = &state.last_apply {
        let (at, plan, by) = (escape(&last.at), escape(&last.plan), escape(&last.by));
        let short = |it: &str| it.chars().take(8).collect::<String>();
        let commit = last.commit.as_deref().map(escape);
        let commit = commit.map(|it| format!(", commit {}", short(&it))).unwrap_or_default();
        text += &match (last.operation.as_str(), plan.is_empty()) {
            ("apply", false) => {
                format!("Last apply {at}, plan {}, by {by}{commit}\n", short(&plan))
            }
            (what, true) => format!("Last change {at}, {}, by {by}\n", escape(what)),
            (what, false) => {
                let (what, plan) = (escape(what), short(&plan));
                format!("Last change {at}, {what}, plan {plan}, by {by}{commit}\n")
            }
        };
    }
    text
}

/// Each stream with its consumers under it; consumers of foreign streams come last.
fn rows(state: &State) -> Vec<(&'static str, &Address, &Recorded)> {
    let mut rows = Vec::new();
    for (stream, recorded) in &state.resources {
        let Address::Stream(name) = stream else { continue };
        rows.push(("", stream, recorded));
        let mut own = consumers_of(&state.resources, name).peekable();
        while let Some((address, recorded)) = own.next() {
            let twig = if own.peek().is_some() { "├ " } else { "└ " };
            rows.push((twig, address, recorded));
        }
    }
    let orphaned = |it: &Address| !state.resources.contains_key(&Address::stream(it.stream_name()));
    let orphans = state.resources.iter().filter(|(it, _)| !it.is_stream() && orphaned(it));
    rows.extend(orphans.map(|(address, recorded)| ("", address, recorded)));
    rows
}

fn row(twig: &str, of: &Address, recorded: &Recorded) -> [String; 6] {
    let config = recorded.config();
    let replicas = config.number("num_replicas").filter(|it| *it > 0);
    let (kind, limits, protect) = match of {
        Address::Stream(_) => {
            let protect = match recorded.prevent_destroy {
                Some(true) => "yes",
                Some(false) => "no",
                None => "unless empty",
            };
            let retention = || escape(config.text("retention").unwrap_or("limits")).into_owned();
            let kind = of.as_bucket().map_or_else(retention, |it| it.0.noun().to_owned());
            let each = if of.as_bucket().is_some() { "key" } else { "subject" };
            (kind, stream_limits(&config, each), protect)
        }
        Address::Consumer { .. } => {
            let kind = if config.has("deliver_subject") { "push" } else { "pull" };
            (kind.to_owned(), consumer_limits(&config), protected_consumer(recorded))
        }
    };
    let replicas = replicas.map(|it| it.to_string()).unwrap_or_default();
    let address = format!("{twig}{}", address(of));
    [address, kind, replicas, limits, protect.to_owned(), origin(recorded).to_owned()]
}

fn protected_consumer(recorded: &Recorded) -> &'static str {
    if recorded.prevent_destroy == Some(true) { "yes" } else { "" }
}

fn stream_limits(config: &Config, each: &str) -> String {
    let limit = |name| config.number(name).filter(|it| *it > 0);
    let number = |it: i64| show_count(it.unsigned_abs());
    let mut words = Vec::new();
    words.extend(limit("max_age").map(show_duration));
    words.extend(limit("max_bytes").map(show_bytes));
    words.extend(limit("max_msgs").map(|it| format!("{} msgs", number(it))));
    words.extend(limit("max_msgs_per_subject").map(|it| format!("{} per {each}", number(it))));
    if config.has("mirror") {
        words.push("mirror".to_owned());
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn consumer_limits(config: &Config) -> String {
    let mut words = Vec::new();
    words.extend(config.number("ack_wait").map(|it| format!("ack {}", show_duration(it))));
    let in_flight = config.number("max_ack_pending").filter(|it| *it > 0);
    words.extend(in_flight.map(|it| format!("{} in flight", show_count(it.unsigned_abs()))));
    let tries = config.number("max_deliver").filter(|it| *it > 0);
    words.extend(tries.map(|it| format!("{} tries", show_count(it.unsigned_abs()))));
    words.join(", ")
}

fn origin(recorded: &Recorded) -> &'static str {
    match recorded.origin {
        Origin::Created => "created",
        Origin::Adopted => "adopted",
    }
}
