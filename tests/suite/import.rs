//! Import as a person who adopts an account meets it, and the layout of specs from the command line.

use std::fs;

use jsplan::io::server::Server;
use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, stream},
    project::Project,
    server::server,
};

const SECOND: u64 = 1_000_000_000;

/// An account as others left it: two streams, three consumers, a bucket and a stream that is only
/// named like one.
fn account() -> Server {
    let server = server();
    create(
        &server,
        &json!({ "name": "ORDERS", "subjects": ["orders.>"], "max_age": 7 * 86400 * SECOND,
            "max_bytes": 1 << 30, "description": "The \"orders\"\nof all \u{1b}[31m",
            "metadata": { "team": "a", "owner.of": "b c" } }),
    );
    create(&server, &json!({ "name": "café@1", "storage": "memory", "duplicate_window": SECOND }));
    create(
        &server,
        &json!({ "name": "KV_CONFIG", "subjects": ["$KV.CONFIG.>"], "max_msgs_per_subject": 5,
            "discard": "new", "allow_rollup_hdrs": true, "deny_delete": true }),
    );
    create(&server, &json!({ "name": "KV_OLD", "subjects": ["old.>"] }));
    consumer(
        &server,
        json!({ "durable_name": "BILLING", "ack_policy": "explicit",
        "backoff": [SECOND / 10, SECOND], "max_deliver": 3 }),
    );
    consumer(&server, json!({ "durable_name": "audit_TAIL", "ack_policy": "none" }));
    consumer(
        &server,
        json!({ "name": "PASSING", "ack_policy": "explicit",
        "inactive_threshold": 3600 * SECOND }),
    );
    server
}

fn consumer(server: &Server, config: Value) {
    let name = config["durable_name"].as_str().or(config["name"].as_str()).expect("a name");
    let subject = format!("CONSUMER.CREATE.ORDERS.{name}");
    let answer = ask(server, &subject, &json!({ "stream_name": "ORDERS", "config": config }));
    assert!(answer["error"].is_null(), "{answer}");
}

fn spec(project: &Project) -> String {
    project.read("environments/test.toml")
}

#[test]
fn an_account_becomes_spec_and_state_and_plans_empty() {
    let server = account();
    let project =
        Project::new(&server, "\n# What all streams share.\n[defaults.stream]\nmax_msgs = 9\n");
    let before = spec(&project);
    let shown =
        project.run(&["import", "--all"]).ended(0).says("would be imported, and plan empty");
    assert_eq!(spec(&project), before, "without `--write` nothing is changed");
    assert!(!project.path("state/test.json").exists());
    insta::assert_snapshot!(shown.stdout);
    let written = project.run(&["import", "--all", "--write"]).ended(0).says("No changes.");
    assert!(written.stdout.contains("2 streams, 2 buckets and 2 consumers imported"), "{written}");
    assert!(spec(&project).starts_with(&before), "what stood there stays");
    assert_eq!(spec(&project), format!("{before}\n{}", shown.stdout));
    project.plans_empty();
    project.run(&["fmt", "--check"]).ended(0);
    project.run(&["import", "--all", "--write"]).ended(0).says("everything is managed");
    project.run(&["import", "stream.ORDERS"]).ended(0).says("stream.ORDERS is managed already");
}

#[test]
fn what_is_named_is_imported_and_what_cannot_be_is_said() {
    let server = account();
    consumer(&server, json!({ "durable_name": "jsplan_hold_left", "ack_policy": "explicit" }));
    let project = Project::new(&server, "");
    let before = spec(&project);
    for (address, why) in [
        ("stream.ORDRES", "did you mean `stream.ORDERS`?"),
        ("consumer.ORDERS.BILLING", "import `stream.ORDERS`, and its consumers come with it"),
        ("consumer.ORDERS.PASSING", "is an ephemeral consumer"),
        ("consumer.ORDERS.jsplan_hold_left", "holds the position of another consumer"),
        ("ORDERS", "is no address"),
    ] {
        project.run(&["import", address, "--write"]).ended(1).says(why);
    }
    project.run(&["import", "--all", "--match", "("]).ended(1).says("`--match` is no pattern");
    project.run(&["import", "--all", "--match", "^x"]).ended(0).says("no unmanaged stream matches");
    assert_eq!(spec(&project), before);
    let stream = project.run(&["import", "stream.ORDERS", "--write"]).ended(0);
    stream.says("1 stream and 2 consumers imported").says("1 ephemeral consumer left alone");
    project.run(&["import", "--all", "--match", "^CONF", "--write"]).ended(0).says("1 bucket");
    assert!(spec(&project).contains("[kv.CONFIG]\nhistory = 5\n"), "{}", spec(&project));
    project.plans_empty();
}

#[test]
fn a_name_that_no_rule_makes_and_a_value_that_is_overridden_are_left_out() {
    let server = account();
    let project = Project::new(
        &server,
        "[naming]\ndurable = \"{service}_{name}\"\n[override.stream]\nstorage = \"file\"\n",
    );
    let all = project.run(&["import", "--all", "--write"]).ended(0);
    let all = all.says("`consumer.ORDERS.BILLING` is not imported: its name does not follow");
    all.says("`storage` is memory live, and `[override.stream]` makes it file");
    let text = spec(&project);
    assert!(text.contains("[streams.ORDERS.consumers.TAIL]\nservice = \"audit\"\n"), "{text}");
    assert!(!text.contains("BILLING") && !text.contains("café"), "{text}");
    project.plans_empty();
    let before = spec(&project);
    project.run(&["import", "stream.café@1", "--write"]).ended(1).says("nothing was changed");
    assert_eq!(spec(&project), before);
}

#[test]
fn what_a_base_says_is_not_said_again_and_what_it_says_otherwise_is() {
    let server = account();
    let project = Project::new(&server, "");
    let base = "[streams.ORDERS]\nsubjects = [\"orders.>\"]\nmax_age = \"7d\"\nmax_bytes = \"5GiB\"\n\
                no_ack = true\n[streams.ORDERS.consumers.BILLING]\nack_policy = \"explicit\"\n\
                description = \"invoices\"\n";
    fs::write(project.path("environments/base.toml"), base).expect("it can be written");
    let own = format!(
        "extends = \"base.toml\"\n{}[streams.ORDERS] # ours\nmax_bytes = \"2GiB\" # half\n",
        spec(&project)
    );
    fs::write(project.path("environments/test.toml"), &own).expect("it can be written");
    project.run(&["import", "stream.ORDERS", "--write"]).ended(0).says("No changes.");
    let text = spec(&project);
    let ours = text.split_once("[streams.ORDERS] # ours\n").expect("it stays").1;
    insta::assert_snapshot!(ours);
    project.plans_empty();
}

#[test]
fn nothing_is_changed_where_the_spec_would_not_hold() {
    let server = account();
    let project = Project::new(&server, "[streams.PLANNED]\nsubjects = [\"orders.new\"]\n");
    let before = spec(&project);
    project.run(&["import", "stream.café@1", "--write"]).ended(0);
    project.write_spec("[streams.PLANNED]\nsubjects = [\"orders.new\"]\n");
    let state = project.read("state/test.json");
    let refused = project.run(&["import", "stream.ORDERS", "--write"]).ended(1);
    refused.says("orders.new").says("nothing was changed");
    assert_eq!(spec(&project), before);
    assert_eq!(project.read("state/test.json"), state);
}

#[test]
fn what_the_nats_cli_saved_becomes_a_spec_that_the_next_plan_adopts() {
    let server = account();
    let project = Project::new(&server, "");
    let file = |name: &str, value: &Value| {
        let path = project.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, value.to_string()).expect("it can be written");
    };
    let info = |subject: &str| ask(&server, subject, &Value::Null);
    file("orders.json", &info("STREAM.INFO.ORDERS"));
    file("consumers.json", &json!([info("CONSUMER.INFO.ORDERS.BILLING")]));
    file("plain.json", &stream(&server, "KV_CONFIG"));
    file("backup/café@1/backup.json", &info("STREAM.INFO.café@1"));
    // As it was sent to a server, which is to fill in the rest.
    file("sent.json", &json!({ "name": "SENT", "subjects": ["sent"] }));
    project
        .run(&["import", "--from", "sent.json"])
        .ended(0)
        .says("[streams.SENT]\nsubjects = [\"sent\"]\n")
        .says("1 stream would be written. `--write` adds this to environments/test.toml.");
    let all = ["import", "--from", "orders.json", "consumers.json", "plain.json", "backup"];
    project.run(&all).ended(0).says("[streams.ORDERS.consumers.BILLING]").says("[kv.CONFIG]");
    project.run(&[&all[..], &["--write"]].concat()).ended(0).says("written to the spec");
    project.run(&["plan"]).ended(0).says("Plan: 4 to import, 0 to add, 0 to change, 0 to destroy.");
    project.apply();
    project.plans_empty();
    file("odd.json", &json!({ "hello": "world" }));
    file("names.json", &json!(["ORDERS", "SENT"]));
    file("nothing.json", &json!([]));
    file("kinds.json", &json!({ "name": "KINDS", "subjects": "kinds" }));
    file("orphan.json", &info("CONSUMER.INFO.ORDERS.audit_TAIL")["config"]);
    for (name, why) in [
        ("odd.json", "holds neither a stream nor a consumer"),
        ("names.json", "error[file]: `names.json` holds neither a stream nor a consumer"),
        ("names.json", "\n1 error\n"),
        ("nothing.json", "the files hold neither a stream nor a consumer"),
        ("kinds.json", "\"kinds\" is no value of its kind"),
        ("orphan.json", "and not its stream"),
        ("environments/test.toml", "is no JSON"),
        ("none.json", "cannot read"),
    ] {
        project.run(&["import", "--from", name]).ended(1).says(why);
    }
}

#[test]
fn fmt_names_what_it_changed_and_leaves_what_is_no_toml() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nmax_age='168h'   # a week\n");
    fs::write(project.path("environments/other.toml"), "[streams.S\n").expect("it can be written");
    let untidy = spec(&project);
    let check = project.run(&["fmt", "--check"]).ended(1);
    assert_eq!(check.stdout, "environments/test.toml\n");
    check.says("environments/other.toml:1");
    assert_eq!(spec(&project), untidy);
    project.run(&["fmt"]).ended(1);
    assert!(spec(&project).contains("max_age = \"7d\" # a week\n"), "{}", spec(&project));
    assert_eq!(project.read("environments/other.toml"), "[streams.S\n");
    project.run(&["fmt", "environments/test.toml", "--check"]).ended(0);
}
