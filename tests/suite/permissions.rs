//! Roles: users whose permissions are exactly what jsplan prints do their part, and no more.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use async_nats::ConnectOptions;
use futures_util::StreamExt as _;
use jsplan::io::{clock::until, run, server::Server};
use serde_json::Value;

use crate::support::{
    client::is_old,
    project::{Output, Project},
    server::{server, server_with},
};

const ROLES: [&str; 6] = ["planner", "applier", "destroyer", "drift", "verifier", "migrator"];

const MADE: &str = "expect.account = \"APP\"\n\
    [streams.ORDERS]\nsubjects = [\"orders.>\"]\n\
    [streams.ORDERS.consumers.export]\nack_policy = \"explicit\"\n";

const CHANGED: &str = "expect.account = \"APP\"\n\
    [streams.ORDERS]\nsubjects = [\"orders.>\"]\ndescription = \"changed\"\n\
    [streams.ORDERS.consumers.export]\nack_policy = \"explicit\"\nmax_deliver = 5\n\
    pause_until = \"2126-01-01T00:00:00Z\"\n";

const GONE: &str = "expect.account = \"APP\"\n";

/// What is deleted, for those who ask for consent.
const CONSENT: [&str; 6] = [
    "apply",
    "--auto-approve",
    "--allow",
    "destroy=stream.ORDERS",
    "--allow",
    "destroy=consumer.ORDERS.export",
];

/// What jsplan prints for a role, as it is pasted into the entry of a user.
fn block(project: &Project, role: &str, more: &[&str]) -> String {
    project.run(&[&["permissions", "--role", role], more].concat()).ended(0).stdout
}

/// The subjects of a role, and whether each is for publishing.
fn lines(project: &Project, role: &str) -> Vec<(String, bool)> {
    let printed = block(project, role, &["--format", "json"]);
    let printed: Value = serde_json::from_str(&printed).expect("it is JSON");
    let of = |way: &str| {
        let subjects = printed["permissions"][way]["allow"].as_array().expect("a list").clone();
        subjects.into_iter().map(|it| it.as_str().expect("a subject").to_owned())
    };
    of("publish").map(|it| (it, true)).chain(of("subscribe").map(|it| (it, false))).collect()
}

fn user(name: &str, permissions: &str) -> String {
    format!("{{ user: {name}, password: p\n{permissions} }}\n")
}

/// One account, `APP`, with these users and one who may do everything.
fn account(users: &[String]) -> String {
    let admin = user("admin", "");
    format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {admin} {} ] }} }}\njetstream {{}}",
        users.concat()
    )
}

fn as_user(server: &Server, name: &str) -> String {
    server.url().replace("://", &format!("://{name}:p@"))
}

/// A project, and a server with a user for each role.
fn roles() -> (Project, Server) {
    let project = Project::new(&server(), MADE);
    let users = ROLES.map(|role| user(role, &block(&project, role, &[])));
    let server = server_with(&account(&users));
    (project, server)
}

async fn admin(url: &str) -> async_nats::Client {
    let options = ConnectOptions::with_user_and_password("admin".to_owned(), "p".to_owned());
    options.connect(url).await.expect("a connection")
}

/// The subjects of all requests to the API while something is done.
fn listened(server: &Server, doing: impl FnOnce()) -> BTreeSet<String> {
    let url = server.url().to_owned();
    let (ready, is_ready) = mpsc::channel();
    let listener = thread::spawn({
        let url = url.clone();
        move || {
            run(async {
                let client = admin(&url).await;
                let mut requests = client.subscribe("$JS.API.>").await.expect("it may listen");
                let mut end = client.subscribe("end").await.expect("it may listen");
                client.flush().await.expect("a connection");
                ready.send(()).expect("somebody waits");
                let mut heard = BTreeSet::new();
                loop {
                    tokio::select! {
                        biased;
                        Some(request) = requests.next() => drop(heard.insert(request.subject.to_string())),
                        _ = end.next() => return heard,
                    }
                }
            })
        }
    });
    is_ready.recv().expect("it listens");
    doing();
    run(async {
        let client = admin(&url).await;
        client.publish("end", "".into()).await.expect("a connection");
        client.flush().await.expect("a connection");
    });
    listener.join().expect("it ends")
}

/// Whether a subject is one of those that a pattern stands for.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut patterns, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (patterns.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(pattern), Some(token)) if pattern == "*" || pattern == token => {}
            _ => return false,
        }
    }
}

#[track_caller]
fn denied(output: Output, subject: &str, role: &str) {
    output
        .ended(1)
        .says(&format!("permission denied: the user may not publish to `{subject}`"))
        .says(&format!("jsplan permissions --role {role}"))
        .never_says("no answer");
}

#[test]
fn each_role_does_its_part_and_no_more() {
    let (project, server) = roles();
    let as_role =
        |role: &str, arguments: &[&str]| project.run_elsewhere(arguments, &as_user(&server, role));
    let apply = ["apply", "--auto-approve"];
    for role in ROLES {
        as_role(role, &["plan"]).ended(0).says("Plan: 2 to add");
    }
    for role in ["planner", "drift", "verifier"] {
        denied(as_role(role, &apply), "$JS.API.STREAM.CREATE.ORDERS", "applier");
    }
    as_role("applier", &apply).ended(0).says("2 added");
    as_role("drift", &["drift"]).ended(0).says("in sync");
    project.write_spec(CHANGED);
    denied(as_role("planner", &apply), "$JS.API.STREAM.UPDATE.ORDERS", "applier");
    as_role("applier", &apply).ended(0).says("2 changed");
    as_role("planner", &["plan", "--detailed-exitcode"]).ended(0).says("No changes.");
    as_role("planner", &["import", "--all"]).ended(0);
    project.write_spec(GONE);
    denied(as_role("applier", &CONSENT), "$JS.API.CONSUMER.DELETE.ORDERS.export", "destroyer");
    as_role("destroyer", &CONSENT).ended(0).says("2 destroyed");
}

#[test]
fn whatever_a_role_sends_is_in_its_list_and_all_of_its_list_is_sent() {
    let (project, server) = roles();
    let as_role = |role: &str, arguments: &[&str]| {
        project.run_elsewhere(arguments, &as_user(&server, role)).ended(0);
    };
    let holds = |role: &str, heard: &BTreeSet<String>| {
        let lines = lines(&project, role);
        for subject in heard {
            let known = lines.iter().any(|(it, publish)| *publish && matches(it, subject));
            assert!(known, "{role}: `{subject}` is sent, and not in the list");
        }
        // Of a request that names the account nobody in it hears.
        for (line, _) in lines.iter().filter(|it| it.1 && it.0.starts_with("$JS.")) {
            assert!(heard.iter().any(|it| matches(line, it)), "{role}: nobody sends `{line}`");
        }
    };
    let plans = |role: &str| {
        as_role(role, &["plan"]);
        as_role(role, &["drift"]);
        as_role(role, &["import", "--all"]);
    };
    // What is expected and not there is asked for by its name.
    let missing = format!("{MADE}[streams.ORDERS.consumers.other]\nack_policy = \"explicit\"\n");
    let heard = listened(&server, || {
        as_role("destroyer", &["apply", "--auto-approve"]);
        project.write_spec(&missing);
        as_role("destroyer", &["plan"]);
        project.write_spec(CHANGED);
        as_role("destroyer", &["apply", "--auto-approve"]);
        project.write_spec(GONE);
        as_role("destroyer", &CONSENT);
    });
    holds("destroyer", &heard);
    project.write_spec(MADE);
    let heard = listened(&server, || {
        as_role("applier", &["apply", "--auto-approve"]);
        project.write_spec(&missing);
        as_role("applier", &["apply", "--auto-approve"]);
        project.write_spec(&missing.replace("orders.>", "orders.*"));
        as_role("applier", &["apply", "--auto-approve"]);
        project.write_spec(CHANGED);
        as_role("applier", &["apply", "--auto-approve", "--target", "consumer.ORDERS.export"]);
    });
    holds("applier", &heard);
    project.write_spec(
        &format!("{missing}[streams.NEW]\nsubjects = [\"new\"]\n").replace("other", "another"),
    );
    for role in ["planner", "drift"] {
        holds(role, &listened(&server, || plans(role)));
    }
}

/// A user's permissions without one of its lines.
fn without(lines: &[(String, bool)], left_out: &str) -> String {
    let of = |publish: bool| {
        let kept = lines.iter().filter(|it| it.1 == publish && it.0 != left_out);
        let kept: Vec<_> = kept.map(|it| format!("{:?}", it.0)).collect();
        // An empty list would allow everything.
        if kept.is_empty() { "\"nothing\"".to_owned() } else { kept.join(", ") }
    };
    format!(
        "permissions: {{ publish: {{ allow: [ {} ] }}, subscribe: {{ allow: [ {} ] }} }}",
        of(true),
        of(false)
    )
}

#[test]
fn without_any_line_of_a_planner_every_command_names_what_is_denied() {
    let missing = "[streams.ORDERS.consumers.other]\nack_policy = \"explicit\"\n\
                   [streams.NEW]\nsubjects = [\"new\"]\n";
    let project = Project::new(&server(), MADE);
    let lines = lines(&project, "planner");
    let name = |at: usize| format!("without{at}");
    let users: Vec<_> =
        lines.iter().enumerate().map(|(at, it)| user(&name(at), &without(&lines, &it.0))).collect();
    let server = server_with(&account(&users));
    let admin = as_user(&server, "admin");
    project.run_elsewhere(&["apply", "--auto-approve"], &admin).ended(0);
    project.write_spec(&format!("{MADE}{missing}"));
    project.run_elsewhere(&["plan"], &admin).ended(0);
    for (at, (line, publish)) in lines.iter().enumerate() {
        let named = line.trim_end_matches(".*").trim_end_matches(".>").trim_end_matches(".*");
        for command in ["plan", "apply", "import", "drift"] {
            let arguments: &[&str] = match command {
                "apply" => &["apply", "--auto-approve"],
                "import" => &["import", "--all"],
                other => &[other],
            };
            let output = project.run_elsewhere(arguments, &as_user(&server, &name(at)));
            // An import leaves out what it cannot read, and says so.
            assert!(
                output.code != 0 || command == "import",
                "{command} without `{line}`: {output}"
            );
            let output = output.says(named).never_says("no answer");
            if *publish && line.starts_with("$JS.") {
                output.says("the user may not publish to");
            }
        }
    }
}

#[test]
fn without_any_line_of_a_writer_some_step_is_denied() {
    let project = Project::new(&server(), MADE);
    let reads: BTreeSet<String> = lines(&project, "planner").into_iter().map(|it| it.0).collect();
    let lines = lines(&project, "destroyer");
    let writes = || lines.iter().map(|it| &it.0).filter(|it| !reads.contains(*it));
    let accounts: String = (0..)
        .zip(writes())
        .map(|(at, line)| {
            let user = user(&format!("w{at}"), &without(&lines, line));
            format!("A{at} {{ jetstream: enabled, users: [ {user} ] }}\n")
        })
        .collect();
    let server = server_with(&format!("accounts {{ {accounts} }}\njetstream {{}}"));
    for (at, line) in (0..).zip(writes()) {
        let project = Project::new(&server, "");
        let url = as_user(&server, &format!("w{at}"));
        let denied: Vec<_> = [MADE, CHANGED, GONE]
            .into_iter()
            .map(|spec| {
                project.write_spec(&spec.replace("APP", &format!("A{at}")));
                project.run_elsewhere(&CONSENT, &url)
            })
            .filter(|it| it.code != 0)
            .collect();
        let first = denied.into_iter().next().unwrap_or_else(|| panic!("`{line}` is not needed"));
        first.says("permission denied").says(line.trim_end_matches(".*").trim_end_matches(".*"));
    }
}

#[test]
fn names_may_stand_instead_of_wildcards() {
    let project = Project::new(&server(), MADE);
    let listed = ["--only-listed"];
    let printed = block(&project, "destroyer", &listed);
    assert!(!printed.contains("CREATE.*") && !printed.contains("DELETE.*"), "{printed}");
    let server = server_with(&account(&[user("destroyer", &printed)]));
    let url = as_user(&server, "destroyer");
    for spec in [MADE, CHANGED, GONE] {
        project.write_spec(spec);
        let printed = block(&project, "destroyer", &listed);
        // What left the spec is the state's still, and is there to be deleted.
        assert!(printed.contains("\"$JS.API.STREAM.DELETE.ORDERS\""), "{printed}");
        project.run_elsewhere(&CONSENT, &url).ended(0);
    }
    project.write_spec(&MADE.replace("ORDERS", "OTHER"));
    denied(
        project.run_elsewhere(&["apply", "--auto-approve"], &url),
        "$JS.API.STREAM.INFO.OTHER",
        "planner",
    );
}

#[test]
fn whoever_may_not_read_messages_does_not_know_how_many_go_and_a_verifier_does() {
    let project = Project::new(&server(), MADE);
    let reader = user("reader", &block(&project, "applier", &["--stream", "ORDERS"]));
    let users = ["planner", "applier", "verifier"].map(|it| user(it, &block(&project, it, &[])));
    let server = server_with(&account(&[users.concat(), reader]));
    let as_role =
        |role: &str, arguments: &[&str]| project.run_elsewhere(arguments, &as_user(&server, role));
    as_role("applier", &["apply", "--auto-approve"]).ended(0);
    run(async {
        let client = admin(server.url()).await;
        for number in 0..40 {
            let stored = client.request("orders.new", format!("message {number}").into()).await;
            stored.expect("the stream stores it");
        }
        let aged = async || {
            let info = client.request("$JS.API.STREAM.INFO.ORDERS", "".into()).await;
            let info: Value = serde_json::from_slice(&info.expect("INFO").payload).expect("JSON");
            is_old(&info)
        };
        let longest = Instant::now() + Duration::from_secs(60);
        assert!(until(longest, Duration::from_millis(2), aged).await, "they do not get old");
    });
    let limited = |limits: &str| {
        project.write_spec(&MADE.replace("[\"orders.>\"]\n", &format!("[\"orders.>\"]\n{limits}")));
    };
    // What counts and bytes of the stream tell needs no right to read; the rest does.
    limited("max_msgs = 10\n");
    as_role("planner", &["plan"]).says("deletes the 30 oldest of 40 messages");
    limited("max_bytes = 500\n");
    as_role("planner", &["plan"]).says("deletes at most 40 messages").never_says("no answer");
    let mut heard = listened(&server, || {
        as_role("verifier", &["plan"]).says("of 40 messages").never_says("at most");
    });
    limited("max_age = \"100ms\"\nduplicate_window = \"100ms\"\n");
    heard.extend(listened(&server, || {
        as_role("verifier", &["plan"]).says("deletes all 40 messages").never_says("at most");
    }));
    for (line, _) in lines(&project, "verifier").iter().filter(|it| it.0.contains("ORDERS")) {
        assert!(heard.iter().any(|it| matches(line, it)), "nobody sends `{line}`: {heard:?}");
    }
    let consent = ["apply", "--auto-approve", "--allow", "data-loss=stream.ORDERS"];
    limited("max_bytes = 500\n");
    as_role("applier", &consent).ended(0).says("1 changed");
    limited("max_bytes = 400\n");
    as_role("reader", &consent).ended(0).says("1 changed");
}

/// A stream with messages whose subjects another one is to take, through a program that rejects some.
const MOVED: &str = "expect.account = \"APP\"\n\
    [streams.NEW]\nsubjects = [\"orders.>\"]\n\
    [streams.DEAD]\nsubjects = [\"dead.>\"]\n";
const MIGRATION: &str = r#"[migration]
reason = "a new shape"
strategy = "same-subjects-source"
from = "ORDERS"
to = "NEW"
[[step]]
id = "copy"
do = "source"
exec = ["sed", "-u", "-E", 's/.*"message 3".*/{"reject":"three"}/;t;s/.*/{"payload":"x"}/']
dead_letters = "DEAD"
[[step]]
id = "wait"
do = "wait"
[[step]]
id = "verify"
do = "verify"
[[step]]
id = "park"
do = "park"
[[step]]
id = "drain"
do = "wait"
[[step]]
id = "prove"
do = "verify"
[[step]]
id = "bind"
do = "bind"
"#;

#[test]
fn a_migrator_moves_messages_and_without_any_line_of_that_it_is_denied() {
    let first = server_with(&account(&[]));
    let project = Project::new(&first, MADE);
    // What the spec no longer declares is known from the state.
    project.run_elsewhere(&["apply", "--auto-approve"], &as_user(&first, "admin")).ended(0);
    project.write_spec(MOVED);
    let lines = lines(&project, "migrator");
    let more = |it: &&(String, bool)| it.0.starts_with("_jsplan.copy") || it.0.starts_with("dead");
    let left_out: Vec<_> = lines.iter().filter(more).collect();
    assert_eq!(left_out.len(), 4, "those of all streams: {left_out:?}");
    // Which of them is copied to only the migrations know.
    let needed = |it: &&&(String, bool)| ["_jsplan.copy.NEW.>", "dead.>"].contains(&it.0.as_str());
    for (left_out, _) in left_out.iter().filter(needed) {
        let users = [
            user("migrator", &block(&project, "migrator", &[])),
            user("less", &without(&lines, left_out)),
        ];
        let server = server_with(&account(&users));
        let project = Project::new(&server, MADE);
        let as_user = |name: &str, arguments: &[&str]| {
            project.run_elsewhere(arguments, &as_user(&server, name))
        };
        let apply = ["apply", "--auto-approve"];
        as_user("migrator", &apply).ended(0).says("2 added");
        run(async {
            let client = admin(server.url()).await;
            for number in 0..6 {
                let stored = client.request("orders.new", format!("message {number}").into()).await;
                stored.expect("the stream stores it");
            }
        });
        project.write_spec(MOVED);
        project.write("environments/migrations/0001_shape.toml", MIGRATION);
        project.run(&["migrate", "hash"]).ended(0);
        let named = left_out.trim_end_matches(".>");
        as_user("less", &apply)
            .ended(1)
            .says("permission denied")
            .says(named)
            .says("--role migrator");
        let heard = listened(&server, || {
            as_user("migrator", &["migrate", "resume", "--auto-approve"]).ended(0).says("is done");
        });
        for subject in &heard {
            assert!(lines.iter().any(|it| it.1 && matches(&it.0, subject)), "`{subject}`");
        }
    }
}

/// The state of the environment, shared in a bucket.
fn shared(spec: &str) -> String {
    spec.replace("[streams.ORDERS]\n", "[state]\nbackend = \"kv\"\n[streams.ORDERS]\n")
}

#[test]
fn a_shared_state_is_read_by_all_and_written_by_those_who_apply() {
    let project = Project::new(&server(), &shared(MADE));
    let printed = block(&project, "planner", &[]);
    assert!(printed.contains("$JS.API.STREAM.MSG.GET.KV_jsplan_state"), "{printed}");
    assert!(!printed.contains("$KV"), "{printed}");
    let users = ROLES.map(|role| user(role, &block(&project, role, &[])));
    let server = server_with(&account(&users));
    let as_role =
        |role: &str, arguments: &[&str]| project.run_elsewhere(arguments, &as_user(&server, role));
    as_role("applier", &["apply", "--auto-approve"]).ended(0).says("2 added");
    for role in ROLES {
        as_role(role, &["plan", "--detailed-exitcode"]).ended(0).says("No changes.");
        as_role(role, &["state", "list"]).ended(0).says("stream.ORDERS");
    }
    let rm = ["state", "rm", "consumer.ORDERS.export"];
    denied(as_role("planner", &rm), "$KV.jsplan_state.test.lock", "applier");
    // The bucket is no resource of a plan, and its keys are those of the environment alone.
    let listed = ["permissions", "--role", "applier", "--only-listed"];
    as_role("planner", &listed).ended(0).says("\"$KV.jsplan_state.test.>\"");
    as_role("applier", &rm).ended(0);
}

#[test]
fn without_any_line_of_a_shared_state_its_commands_are_denied() {
    let project = Project::new(&server(), &shared(MADE));
    let lines = lines(&project, "applier");
    // With wildcards, those for streams stand for the bucket's too.
    let of_state = |it: &&(String, bool)| it.0.contains("jsplan_state");
    let name = |at: usize| format!("s{at}");
    let of_state: Vec<_> = lines.iter().filter(of_state).collect();
    assert_eq!(of_state.len(), 2, "{of_state:?}");
    let users: Vec<_> =
        (0..).zip(&of_state).map(|(at, it)| user(&name(at), &without(&lines, &it.0))).collect();
    let server = server_with(&account(&users));
    for (at, (line, _)) in (0..).zip(&of_state) {
        let apply = ["apply", "--auto-approve"];
        let output = project.run_elsewhere(&apply, &as_user(&server, &name(at)));
        output.ended(1).says("permission denied").says(line.trim_end_matches(".>"));
    }
}

#[test]
fn a_state_on_another_server_has_a_user_of_its_own() {
    let own = "[state]\nbackend = \"kv\"\n[state.server]\nurl = \"nats://127.0.0.1:1\"\n\
               inbox_prefix = \"_INBOX_state\"\n[streams.ORDERS]\n";
    let project = Project::new(&server(), &MADE.replace("[streams.ORDERS]\n", own));
    let resources = block(&project, "applier", &[]);
    assert!(!resources.contains("jsplan_state"), "{resources}");
    insta::assert_snapshot!(block(&project, "applier", &["--state"]));
    let project = Project::new(&server(), MADE);
    project
        .run(&["permissions", "--role", "applier", "--state"])
        .ended(1)
        .says("the state has no server of its own");
}

#[test]
fn the_block_follows_the_domain_and_the_prefix_of_replies() {
    let idle = server();
    let own = "domain = \"hub\"\ninbox_prefix = \"_INBOX_applier\"\n";
    let project = Project::new(&idle, &format!("{own}{MADE}"));
    let printed = |project: &Project| {
        project.run_as_the_spec_says(&["permissions", "--role", "applier"]).ended(0).stdout
    };
    let block = printed(&project);
    assert!(block.contains("$JS.hub.API.INFO") && !block.contains("_INBOX."), "{block}");
    let hub = |block: &str| {
        let users = format!("no_auth_user: applier\n{}", account(&[user("applier", block)]));
        server_with(&users.replace("jetstream {}", "jetstream { domain: hub }"))
    };
    let (server, outer) = (hub(&block), hub(&block.replace("$JS.API", "$JS.other.API")));
    let project = Project::new(&server, &format!("{own}{MADE}"));
    project.run_as_the_spec_says(&["apply", "--auto-approve"]).ended(0).says("2 added");
    // The server of the domain asks for its own prefix, and the denial is of that one.
    let project = Project::new(&outer, &format!("{own}{MADE}"));
    project
        .run_as_the_spec_says(&["plan"])
        .ended(1)
        .says("permission denied: the user may not publish to `$JS.API.")
        .never_says("no answer");
}

#[test]
fn a_shell_reads_the_command_of_nsc_as_the_same_subjects() {
    let project = Project::new(&server(), MADE);
    for role in ROLES {
        let command = block(&project, role, &["--format", "nsc", "--only-listed"]);
        let script = format!("nsc() {{ printf '%s\\n' \"$@\"; }}\n{command}");
        let output = Command::new("sh").args(["-c", &script]).output().expect("a shell runs");
        let words = String::from_utf8(output.stdout).expect("it is text");
        let printed = block(&project, role, &["--format", "json", "--only-listed"]);
        let printed: Value = serde_json::from_str(&printed).expect("it is JSON");
        let why = printed["why"].as_object().expect("an object");
        assert!(why.keys().all(|it| words.lines().any(|word| word == it)), "{words}");
        let flags = words.lines().filter(|it| it.starts_with("--allow-")).count();
        assert_eq!(flags, why.len(), "{words}");
    }
}

#[test]
fn the_block_of_an_applier_reads_like_this() {
    let project = Project::new(&server(), MADE);
    insta::assert_snapshot!(block(&project, "applier", &[]));
    project.run(&["permissions", "--role", "palnner"]).ended(1).says("`palnner` is no role");
}
