//! Hostile texts: whatever a server holds, no output moves a cursor, reorders or hides letters.

use std::fs;

use jsplan::{
    address::Address,
    io::{run, server::Server},
    permissions::{self, Ground, Role},
    render, spec,
};
use serde_json::{Value, json};

use crate::support::{
    client::{Client, create, meddle},
    project::{Output, Project},
    server::{server, server_with},
};

/// Everything at once: clear screen, title, bell, carriage return, a fake line, right to left, no
/// width, DEL, C1, line separators, tags.
const EVIL: &str = "a\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{1b}[32mNo changes.\u{1b}[0m\u{202e}gnp\u{2066}\u{200b}\
                    \u{7f}\u{9b}31m\u{85}\u{2028}\u{2029}\u{feff}\u{e0041}\u{ad}\u{61c}\"'`$(id)\\\t\u{0}";

/// Names that nats-server takes; blanks, dots, slashes and wildcards are refused.
const NAMES: &[&str] = &[
    "esc\u{1b}[2J\u{1b}]0;owned\u{7}",
    "bidi\u{202e}gnp\u{2066}",
    "width\u{200b}\u{2060}\u{feff}",
    "del\u{7f}c1\u{9b}31m",
    "quote\"'`$(id)",
    "--help",
    "-rf",
    "tag\u{e0041}\u{ad}\u{61c}",
];

/// Letters that no output may hold, listed apart from what the program takes for them.
fn harmful(letter: char) -> bool {
    matches!(u32::from(letter),
        0..=0x09 | 0x0b..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe0000..=0xe007f)
}

#[track_caller]
fn harmless(text: &str, of: &str) {
    if let Some(at) = text.find(harmful) {
        let around: String =
            text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{of}: {:?} behind {around:?}", text[at..].chars().next());
    }
}

/// Runs jsplan, and finds nothing harmful in what it says.
#[track_caller]
fn run_safely(project: &Project, arguments: &[&str]) -> Output {
    let output = project.run(arguments);
    harmless(&output.stdout, &format!("stdout of {arguments:?}"));
    harmless(&output.stderr, &format!("stderr of {arguments:?}"));
    output
}

/// A server whose account, domain, streams and consumers have hostile names and texts.
fn hostile() -> Server {
    let server = server_with(
        "accounts { \"acc\\x1b[2J\\xe2\\x80\\xae\": { jetstream: enabled, users: [ { user: u, password: p } ] } }\n\
         no_auth_user: u\njetstream { domain: \"dom\\x1b[2J\" }",
    );
    let mut taken = 0;
    for (at, name) in NAMES.iter().enumerate() {
        let config = json!({
            "name": name, "subjects": [format!("s{at}.{name}.>")], "description": EVIL,
            "metadata": { EVIL: EVIL, "long": "x".repeat(100_000) },
        });
        let made = run(async {
            let client = Client::connect(server.url()).await;
            let made = client.ask(&format!("STREAM.CREATE.{name}"), &config).await;
            let consumer = json!({ "stream_name": name, "config": {
                "durable_name": name, "name": name, "ack_policy": "explicit", "description": EVIL,
                "filter_subject": format!("s{at}.{name}.x"), "metadata": { EVIL: EVIL },
            }});
            let consumer = client.ask(&format!("CONSUMER.CREATE.{name}.{name}"), &consumer).await;
            made["error"].is_null() && consumer["error"].is_null()
        });
        taken += usize::from(made);
    }
    assert!(taken >= 6, "only {taken} names are taken");
    server
}

const SPEC: &str =
    "[streams.S]\nsubjects = [\"s\"]\n[streams.S.consumers.C]\nack_policy = \"explicit\"\n";

#[test]
fn no_output_about_a_hostile_account_is_harmful() {
    let server = hostile();
    create(
        &server,
        &json!({ "name": "S", "subjects": ["s"], "description": EVIL,
        "metadata": { EVIL: EVIL } }),
    );
    let project = Project::new(&server, SPEC);
    run_safely(&project, &["plan"]).ended(0).says("\\u{1b}[2J");
    run_safely(&project, &["plan", "--json"]).ended(0);
    run_safely(&project, &["plan", "--out", "saved.jsplan"]).ended(0);
    run_safely(&project, &["show", "saved.jsplan"]).ended(0);
    run_safely(&project, &["show", "saved.jsplan", "--json"]).ended(0);
    harmless(&project.read("saved.jsplan"), "the saved plan");
    run_safely(&project, &["import", "--all"]);
    run_safely(&project, &["apply", "--auto-approve"]).ended(0);
    meddle(&server, "S", &json!({ "description": EVIL, "metadata": { EVIL: EVIL } }));
    run_safely(&project, &["plan"]).ended(0);
    run_safely(&project, &["drift"]).ended(2);
    run_safely(&project, &["drift", "--json"]).ended(2);
    run_safely(&project, &["apply", "--refresh-only", "--auto-approve"]).ended(0);
    for arguments in [
        &["show"][..],
        &["show", "--json"],
        &["state", "list"],
        &["state", "pull"],
        &["history"],
        &["history", "--json"],
    ] {
        run_safely(&project, arguments).ended(0);
    }
    run_safely(&project, &["state", "show", "stream.S"]).ended(0).says("\\u001B[2J");
    harmless(&project.read("state/test.json"), "the state");
    run_safely(&project, &["rollback", "--to", "1"]);
    run_safely(&project, &["plan", "--destroy"]);
    for name in NAMES {
        let address = format!("stream.{name}");
        run_safely(&project, &["plan", "--target", &address]);
        run_safely(&project, &["import", &address]);
        run_safely(&project, &["state", "show", &address]).ended(1);
        run_safely(&project, &["state", "rm", &address]).ended(1);
    }
}

#[test]
fn what_an_import_writes_of_a_hostile_account_is_harmless() {
    let server = hostile();
    let project = Project::new(&server, "");
    run_safely(&project, &["import", "--all", "--write"]).ended(0).says("is not imported");
    for path in project.files().iter().filter(|it| it.is_file()) {
        let text = fs::read_to_string(path).expect("it is text");
        harmless(&text, &path.display().to_string());
    }
    run_safely(&project, &["plan", "--detailed-exitcode"]).ended(0);
    run_safely(&project, &["state", "list"]).ended(0);
    for name in NAMES {
        run_safely(&project, &["state", "show", &format!("consumer.{name}.{name}")]);
    }
    run_safely(&project, &["drift"]).ended(0);
}

#[test]
fn a_long_text_is_cut_and_differs_all_the_same() {
    let server = server();
    let long = |last: &str| format!("{}{last}", "x".repeat(4000));
    create(&server, &json!({ "name": "S", "subjects": ["s"], "description": long("a") }));
    let project = Project::new(
        &server,
        &format!("[streams.S]\nsubjects = [\"s\"]\ndescription = {:?}\n", long("b")),
    );
    let plan = project.run(&["plan"]).ended(0);
    assert!(plan.stdout.len() < 6_000, "{plan}");
    plan.says("2,977 more letters, sha256 ");
    let json = project.run(&["plan", "--json"]).ended(0).stdout;
    assert!(json.contains(&long("a")), "what machines read is whole");
}

#[test]
fn a_server_reads_the_permissions_of_hostile_names() {
    let loaded = spec::load("environments/dev.toml", |_| {
        Ok("[server]\nurl = \"nats://127.0.0.1:4222\"\n".to_owned())
    });
    let desired = loaded.desired.expect("it is a spec");
    let owned = NAMES.iter().map(|it| Address::consumer(it, it)).collect();
    let ground = Ground {
        prefixes: vec!["$JS.API".to_owned()],
        inbox: "_INBOX".to_owned(),
        owned,
        only_listed: true,
        ..Ground::default()
    };
    let lines = permissions::lines(&desired, &ground, Role::Destroyer);
    let printed = render::permissions::conf(&desired.environment, Role::Destroyer, &ground, &lines);
    harmless(&printed, "the block");
    let shell = render::permissions::nsc(&desired.environment, Role::Destroyer, &ground, &lines);
    harmless(&shell, "the command");
    let server = server_with(&format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {{ user: u, password: p\n{printed} }} ] }} }}\n\
         no_auth_user: u\njetstream {{}}"
    ));
    let read: Value = run(async {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let reply = client.request("$SYS.REQ.USER.INFO", "".into()).await.expect("a reply");
        serde_json::from_slice(&reply.payload).expect("it is JSON")
    });
    let allowed = read["data"]["permissions"]["publish"]["allow"].as_array().expect("a list");
    for line in lines.iter().filter(|it| it.subject.starts_with('$')) {
        assert!(allowed.contains(&json!(line.subject)), "{:?} in {allowed:?}", line.subject);
    }
}
