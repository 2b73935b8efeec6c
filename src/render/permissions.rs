//! What a user must be allowed: for a server's configuration, for `nsc`, and as JSON.

use serde_json::{Map, Value, json};

use super::escape;
use crate::{
    letters::is_invisible,
    permissions::{Ground, Line, Part, Role, Way},
    spec::Environment,
};

/// Where the answers to every client arrive that is told nothing else.
const SHARED: &str = "_INBOX";

/// A block for the entry of a user in the configuration of nats-server.
#[must_use]
pub fn conf(environment: &Environment, role: Role, ground: &Ground, lines: &[Line]) -> String {
    let mut text = head(environment, role, ground);
    text += "# It goes into the entry of that user:\n";
    text += "#     users: [ { user: ..., password: ..., permissions: { ... } } ]\n";
    text += &doubled(ground);
    text += "permissions: {\n";
    for (way, name) in [(Way::Publish, "publish"), (Way::Subscribe, "subscribe")] {
        if way == Way::Subscribe {
            text += &inbox(role, ground, "  # ");
        }
        text += &format!("  {name}: {{\n    allow: [\n");
        let mut last = "";
        for Line { subject, why, .. } in lines.iter().filter(|it| it.way == way) {
            // Names of one kind stand under one sentence.
            if *why != last {
                text += &format!("      # {why}\n");
            }
            text += &format!("      {}\n", in_conf(subject));
            last = why;
        }
        text += "    ]\n  }\n";
    }
    text + "}\n"
}

/// A command that makes the user, where accounts are an operator's.
#[must_use]
pub fn nsc(environment: &Environment, role: Role, ground: &Ground, lines: &[Line]) -> String {
    let mut text = head(environment, role, ground);
    text += &doubled(ground);
    text += &inbox(role, ground, "# ");
    text += &format!("nsc add user --name jsplan_{role}");
    for Line { way, subject, .. } in lines {
        let flag = match way {
            Way::Publish => "--allow-pub",
            Way::Subscribe => "--allow-sub",
        };
        text += &format!(" \\\n  {flag} {}", in_shell(subject));
    }
    text + "\n"
}

/// The same as one JSON object, with what each subject is for.
#[must_use]
pub fn json(environment: &Environment, role: Role, ground: &Ground, lines: &[Line]) -> Value {
    let of = |way| lines.iter().filter(move |it| it.way == way).map(|it| it.subject.as_str());
    let allow = |way| json!({ "allow": of(way).collect::<Vec<_>>() });
    let why: Map<_, _> = lines.iter().map(|it| (it.subject.clone(), it.why.into())).collect();
    json!({
        "environment": environment.name,
        "role": role.to_string(),
        "inbox_prefix": ground.inbox,
        "permissions": { "publish": allow(Way::Publish), "subscribe": allow(Way::Subscribe) },
        "why": why,
    })
}

fn head(environment: &Environment, role: Role, ground: &Ground) -> String {
    let name = escape(&environment.name);
    if ground.part == Part::State {
        return format!(
            "# What nats-server has to allow jsplan's {role} of environment `{name}` where its state\n\
             # is kept, and nothing else.\n"
        );
    }
    format!(
        "# What nats-server has to allow jsplan's {role} of environment `{name}`, and nothing else:\n\
         # it {}.\n",
        role.does()
    )
}

/// A remark on subjects of which a server asks for one form or the other.
fn doubled(ground: &Ground) -> String {
    let [outer, inner] = ground.prefixes.as_slice() else { return String::new() };
    format!(
        "# A server of the domain asks for the subjects of `{inner}`, one that leads there over a leaf\n\
         # node for those of `{outer}`: leave out the ones that yours does not ask for.\n",
        outer = escape(outer),
    )
}

/// A remark on answers that others can read.
fn inbox(role: Role, ground: &Ground, indent: &str) -> String {
    if ground.inbox != SHARED {
        return String::new();
    }
    format!(
        "{indent}Every client of the account receives its answers below `{SHARED}`. To let this user\n\
         {indent}read none but its own, set `inbox_prefix = \"{SHARED}_{role}\"` under `[server]` or\n\
         {indent}in its context, and print this again.\n"
    )
}

/// A text of nats-server's configuration. Names of streams may hold anything but dots and blanks.
fn in_conf(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            it if is_invisible(it) => quoted += &hexadecimal(it),
            it => quoted.push(it),
        }
    }
    quoted + "\""
}

/// A word of a shell.
fn in_shell(text: &str) -> String {
    if !text.contains(is_invisible) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut quoted = String::from("$'");
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => quoted.extend(['\\', letter]),
            it if is_invisible(it) => quoted += &hexadecimal(it),
            it => quoted.push(it),
        }
    }
    quoted + "'"
}

/// The bytes of a letter, as both of the above write them.
fn hexadecimal(letter: char) -> String {
    letter.encode_utf8(&mut [0; 4]).bytes().map(|it| format!("\\x{it:02x}")).collect()
}
