//! Saved plans: what one holds, whom it is from, and when it is refused.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

use std::fs;

use jsplan::{plan::file, seal};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, create_consumer, meddle, messages, publish, stream, streams},
    loss::limited,
    project::Project,
    server::{server, server_with},
};

const ORDERS: &str = r#"
[streams.ORDERS]
subjects = ["orders.>"]
max_age = "7d"
[streams.ORDERS.consumers.BILLING]
ack_policy = "explicit"
"#;

/// A project in which `ORDERS` is live, and a plan `saved` that makes its `max_age` 14 days.
fn with_a_plan(server: &jsplan::io::server::Server) -> Project {
    let project = Project::new(server, ORDERS);
    project.apply();
    project.write_spec(&ORDERS.replace("7d", "14d"));
    project.run(&["plan", "--out", "saved"]).ended(0);
    project
}

/// Replaces the file of a plan by what it would be had it been made like this.
fn remade(project: &Project, change: impl FnOnce(&mut file::Saved)) {
    let mut saved = file::read(&project.read("saved")).expect("it was just written");
    change(&mut saved);
    let text = file::write(&saved.plan, &saved.sources, &saved.by);
    fs::write(project.path("saved"), text).expect("a file can be written");
}

fn id(project: &Project) -> String {
    let plan: Value = serde_json::from_str(&project.read("saved")).expect("a plan is JSON");
    plan["id"].as_str().expect("a plan has an id").to_owned()
}

#[test]
fn a_review_shows_the_blocks_of_the_plan_with_their_places_and_who_made_it() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    let planned = project.run(&["plan", "--out", "saved"]).ended(0).stdout;
    let shown = project.run(&["show", "saved"]).ended(0).says("by tester@host").stdout;
    let blocks = planned.split_once('\n').expect("a head").1;
    assert!(blocks.contains("environments/test.toml:4") && shown.ends_with(blocks), "{shown}");
    let applied = project.run(&["apply", "saved"]).ended(0).says("Checked: state serial 0").stdout;
    assert!(applied.contains(blocks), "{applied}");
}

#[test]
fn a_plan_can_be_read_where_there_is_neither_a_project_nor_a_server() {
    let server = server();
    let project = with_a_plan(&server);
    drop(server);
    let elsewhere = Project::new(&crate::support::server::server(), "");
    fs::remove_dir_all(elsewhere.path("environments")).expect("it is ours");
    fs::copy(project.path("saved"), elsewhere.path("saved")).expect("a file can be copied");
    let shown = elsewhere.run(&["show", "saved"]).ended(0).says("max_age = 7d -> 14d");
    shown.never_says("applied");
    let json = elsewhere.run(&["show", "saved", "--json"]).ended(0).stdout;
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(
        json["jsplan"]["saved"],
        json!({ "by": "tester@host", "signed_by": null, "refusal": null })
    );
}

#[test]
fn a_plan_that_was_applied_is_used_however_often_the_state_has_moved_on_since() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project.run(&["plan", "--out", "saved"]).ended(0);
    project.run(&["apply", "saved"]).ended(0);
    let used = "was used already: it was applied at";
    project.run(&["apply", "saved"]).ended(1).says(used).says("as serial 1");
    project.write_spec(&ORDERS.replace("7d", "14d"));
    project.apply();
    project.run(&["apply", "saved"]).ended(1).says(used).says("by tester@host, as serial 1");
    project.run(&["show", "saved"]).ended(0).says("Cannot be applied: the plan was used already");
    assert_eq!(project.state()["serial"], 2);
}

#[test]
fn a_plan_that_failed_half_way_is_used_and_says_that_not_all_was_done() {
    let server = server();
    let spec = "[streams.A]\nsubjects = [\"a\"]\n[streams.B]\nsubjects = [\"taken.b\"]\n";
    let project = Project::new(&server, spec);
    project.run(&["plan", "--out", "saved"]).ended(0);
    create(&server, &json!({ "name": "THEIRS", "subjects": ["taken.>"] }));
    project.run(&["apply", "saved"]).ended(1).says("10065");
    project
        .run(&["apply", "saved"])
        .ended(1)
        .says("as serial 1, and not all of it was done")
        .says("the new plan holds what is left");
}

#[test]
fn a_plan_of_another_serial_lineage_or_an_older_state_is_refused_by_its_name() {
    let server = server();
    let project = with_a_plan(&server);
    let first = project.read("state/test.json");
    project.run(&["state", "rm", "consumer.ORDERS.BILLING"]).ended(0);
    let stale = "it was made from state serial 1, and the state is at 2";
    project.run(&["apply", "saved"]).ended(1).says("stale").says(stale);
    project.run(&["plan", "--out", "saved"]).ended(0);
    fs::write(project.path("state/test.json"), first).expect("a file can be written");
    project.run(&["apply", "saved"]).ended(1).says("serial 2 of it was seen here before");
    // Another machine has not seen it.
    fs::remove_file(project.path("state/test.seen")).expect("it is ours");
    project.run(&["apply", "saved"]).ended(1).says("the state went back");
    fs::remove_dir_all(project.path("state")).expect("it is ours");
    project.write_spec(ORDERS);
    project.apply_allowing(&["takeover=stream.ORDERS", "takeover=consumer.ORDERS.BILLING"]);
    project.run(&["apply", "saved"]).ended(1).says("another state").says("lineage");
    assert_eq!(stream(&server, "ORDERS")["max_age"], 7 * 24 * 3_600_000_000_000_u64);
}

#[test]
fn a_plan_for_another_environment_or_server_is_refused() {
    let server = server();
    let project = with_a_plan(&server);
    let dev = Project::shipped(&server, "dev");
    fs::copy(project.path("saved"), dev.path("saved")).expect("a file can be copied");
    dev.run(&["apply", "saved"]).ended(1).says("for environment `test`, and this is `dev`");
    let other = server_with("jetstream { domain: hub }\n");
    project.run_elsewhere(&["apply", "saved"], other.url()).ended(1).says("domain `none`");
}

#[test]
fn a_plan_made_for_another_release_of_the_server_is_refused() {
    let server = server();
    let project = with_a_plan(&server);
    remade(&project, |it| {
        it.plan.server.version = "2.9.0".to_owned();
        it.plan.server.release = jsplan::schema::Release(2, 9, 0);
    });
    project.run(&["apply", "saved"]).ended(1).says("was made for nats-server 2.9.0");
}

#[test]
fn an_old_plan_is_refused_and_one_from_the_future_says_so() {
    let server = server();
    let project = with_a_plan(&server);
    remade(&project, |it| it.plan.at = "2020-01-01T00:00:00Z".to_owned());
    project.run(&["apply", "saved"]).ended(1).says("24h is the most that is accepted");
    project.run(&["apply", "saved", "--max-age", "7d"]).ended(1).says("--max-age");
    remade(&project, |it| it.plan.at = "9999-12-30T00:00:00Z".to_owned());
    project.run(&["apply", "saved"]).ended(0).says("in the future by this machine's clock");
    project.write_spec(ORDERS);
    project.run(&["plan", "--out", "saved"]).ended(0);
    remade(&project, |it| it.plan.at = "2020-01-01T00:00:00Z".to_owned());
    project.run(&["apply", "saved", "--max-age", "unlimited"]).ended(0);
}

#[test]
fn only_the_plan_that_is_expected_is_applied_saved_or_not() {
    let server = server();
    let project = with_a_plan(&server);
    let id = id(&project);
    for few in ["1234567", "", "not-an-id", &format!("{id}0")] {
        project.run(&["apply", "saved", "--expect", few]).ended(1).says("64 hexadecimal digits");
    }
    let other = format!("{:0>8}", if id.starts_with("00000000") { "1" } else { "0" });
    project.run(&["apply", "saved", "--expect", &other]).ended(1).says("is expected");
    project.run(&["apply", "--auto-approve", "--expect", &other]).ended(1).says("is expected");
    // The same inputs give the same id, so that nobody has to carry the file along.
    project.run(&["apply", "--auto-approve", "--expect", &id[..8]]).ended(0);
    project.plans_empty();
}

#[test]
fn consent_changes_the_id_and_is_in_the_file() {
    let server = server();
    let project = limited(&server);
    project.run(&["plan", "--out", "saved"]).ended(1);
    let blocked = id(&project);
    project.run(&["plan", "--out", "saved", "--allow", "data-loss=stream.L"]).ended(0);
    assert_ne!(id(&project), blocked);
    let plan: Value = serde_json::from_str(&project.read("saved")).expect("a plan is JSON");
    assert_eq!(plan["consent"], json!(["data-loss=stream.L"]));
    project.run(&["show", "saved"]).ended(0).says("(allowed with --allow data-loss=stream.L)");
    project.run(&["apply", "saved"]).ended(0);
    assert_eq!(messages(&server, "L"), 10);
}

#[test]
fn a_plan_that_would_delete_more_than_was_approved_has_another_id() {
    let server = server();
    let project = with_a_block(&server);
    let approve = |allow: &str| {
        project.run(&["plan", "--out", "saved", "--allow", allow]).ended(0);
        id(&project)
    };
    let apply = |allow: &str, id: &str| {
        publish(&server, "full", 1);
        project.run(&["apply", "--auto-approve", "--allow", allow, "--expect", id])
    };
    let exact = "data-loss=stream.FULL";
    apply(exact, &approve(exact)).ended(1).says("is expected").says("ADDRESS:N");
    assert_eq!(messages(&server, "FULL"), 101);
    let up_to = "data-loss=stream.FULL:92";
    apply(up_to, &approve(up_to)).ended(0);
    assert_eq!(messages(&server, "FULL"), 10);
}

#[test]
fn each_missing_consent_is_named_as_it_is_typed_and_a_saved_one_reaches_as_far_as_it_says() {
    let server = server();
    let old = "[streams.OLD]\nsubjects = [\"old\"]\nprevent_destroy = false\n";
    let project = Project::new(&server, &format!("{ORDERS}{old}"));
    project.apply();
    publish(&server, "orders.a", 20);
    publish(&server, "old", 5);
    project.write_spec(&ORDERS.replace("max_age", "max_msgs = 10\nmax_age"));
    let both = ["--allow", "data-loss=stream.ORDERS", "--allow", "destroy=stream.OLD"];
    let plan = ["plan", "--out", "saved"];
    project.run(&plan).ended(1).says(&format!("--out saved {}", both.join(" ")));
    project.run(&[&plan[..], &both].concat()).ended(0);
    publish(&server, "orders.a", 3);
    project.run(&["apply", "saved"]).ended(1).says("13");
    assert_eq!(messages(&server, "ORDERS"), 23);
    let further = ["--allow", "data-loss=stream.ORDERS:300", "--allow", "destroy=stream.OLD"];
    project.run(&[&plan[..], &further].concat()).ended(0);
    assert!(project.read("saved").contains("\"data-loss=stream.ORDERS:300\""));
    publish(&server, "orders.a", 3);
    project.run(&["apply", "saved"]).ended(0);
    assert_eq!(messages(&server, "ORDERS"), 10);
    assert_eq!(streams(&server), ["ORDERS"]);
}

#[test]
fn everything_that_moved_is_shown_at_once_field_by_field_and_nothing_is_changed() {
    let server = server();
    let spec = |age: &str| {
        format!(
            "[streams.S]\nsubjects = [\"s\"]\nmax_age = \"{age}\"\n[streams.S.consumers.GONE]\n\
             ack_policy = \"explicit\"\nmax_ack_pending = {}\n[streams.S.consumers.ANEW]\n\
             ack_policy = \"explicit\"\nmax_ack_pending = {}\n",
            age.len(),
            age.len()
        )
    };
    let project = Project::new(&server, &spec("7d"));
    project.apply();
    project.write_spec(&format!("{}[streams.NEW]\nsubjects = [\"new\"]\n", spec("14d")));
    project.run(&["plan", "--out", "saved"]).ended(0);
    meddle(&server, "S", &json!({ "max_age": 3_600_000_000_000_u64, "description": "by hand" }));
    for name in ["GONE", "ANEW"] {
        ask(&server, &format!("CONSUMER.DELETE.S.{name}"), &Value::Null);
    }
    let anew = json!({ "name": "ANEW", "durable_name": "ANEW", "ack_policy": "explicit",
        "max_ack_pending": 2 });
    create_consumer(&server, "S", &anew);
    create(&server, &json!({ "name": "NEW", "subjects": ["elsewhere"] }));
    let said = project.run(&["apply", "saved"]).ended(1).says("4 resources have moved");
    let said = said
        .says("stream.S was changed on the server")
        .says("consumer.S.GONE is gone from the server")
        .says("consumer.S.ANEW was deleted, and made again at ")
        .says("stream.NEW is on the server now, and was not");
    let row = |field: &str| {
        let line = said.stderr.lines().find(|it| it.trim_start().starts_with(field));
        line.expect("the field is shown").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("planned"), "planned from live now the plan sets");
    assert_eq!(row("max_age"), "max_age 7d 1h 14d");
    assert_eq!(row("description"), "description unset \"by hand\" unset");
    assert_eq!(stream(&server, "S")["max_age"], 3_600_000_000_000_u64);
    assert_eq!(stream(&server, "NEW")["subjects"], json!(["elsewhere"]));
}

#[test]
fn what_does_not_concern_a_plan_does_not_make_it_stale() {
    let server = server();
    let project = with_a_plan(&server);
    create(&server, &json!({ "name": "THEIRS", "subjects": ["theirs"] }));
    project.run(&["apply", "saved"]).ended(0);
    project.plans_empty();
}

#[test]
fn a_spec_that_says_something_else_by_now_is_shown_where_it_does() {
    let server = server();
    let project = with_a_plan(&server);
    project.write_spec(&ORDERS.replace("7d", "21d"));
    let said = project.run(&["apply", "saved"]).ended(1);
    let said = said.says("stream.ORDERS was edited in the spec").says("a resource has moved");
    let row = said.stderr.lines().find(|it| it.trim_start().starts_with("max_age"));
    let row: Vec<_> = row.expect("the field is shown").split_whitespace().collect();
    assert_eq!(row, ["max_age", "14d", "21d"]);
    project.write_spec(&format!("{}[streams.MORE]\n", ORDERS.replace("7d", "14d")));
    project.run(&["apply", "saved"]).ended(1).says("stream.MORE was edited in the spec");
    project.write_spec("[streams.ORDERS]\nsubjects = [\"orders.>\"]\nmax_age = \"14d\"\n");
    project.run(&["apply", "saved"]).ended(1).says("consumer.ORDERS.BILLING was edited");
}

#[test]
fn a_signed_plan_is_applied_where_its_signature_is_asked_for_and_no_other_is() {
    let server = server();
    let project = with_a_plan(&server);
    let (ours, theirs) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = ours.seed().expect("it has one");
    let (ours, theirs) = (ours.public_key(), theirs.public_key());
    let require = |key: &str| project.run(&["apply", "saved", "--require-signed-by", key]);
    require(&ours).ended(1).says("the plan is not signed, and `--require-signed-by` asks for it");
    fs::write(project.path("seed"), &seed).expect("a file can be written");
    let said = project.run(&["plan", "--out", "saved", "--sign", "file:seed"]).ended(0);
    let said = said.never_says(&seed);
    assert!(!project.read("saved").contains(&seed), "{said}");
    project.run(&["show", "saved"]).ended(0).says(&format!("signed by {ours}"));
    require(&theirs).ended(1).says(&format!("is signed by `{ours}`, which `--require-signed-by`"));
    require("UNOT").ended(1).says("a user's public key starts with `U`");
    let both = ["--require-signed-by", &theirs, "--require-signed-by", &ours];
    project.run(&[&["apply", "saved"], &both[..]].concat()).ended(0);
    project.run(&[&["apply", "saved"], &both[..]].concat()).ended(1).says("used already");
}

#[test]
fn an_environment_that_asks_for_a_signature_takes_nothing_else_whoever_asks() {
    let server = server();
    let (ours, theirs) = (KeyPair::new_user(), KeyPair::new_user());
    let seeds = [&ours, &theirs].map(|it| it.seed().expect("it has one"));
    let spec = format!("[environment]\nrequire_signed_by = [\"{}\"]\n{ORDERS}", ours.public_key());
    let project = Project::new(&server, &spec);
    let asks = "`[environment] require_signed_by`";
    project.run(&["apply", "--auto-approve"]).ended(1).says(asks).says("--sign SECRET");
    project.run_on_terminal(&["apply"], "yes\n").ended(1).says(asks);
    project.run(&["plan", "--out", "saved"]).ended(0);
    project.run(&["apply", "saved"]).ended(1).says("is not signed").says(asks);
    let sign = ["plan", "--out", "saved", "--sign", "env:SEED"];
    project.run_with(&[("SEED", &seeds[1])], &sign).ended(0);
    let theirs = theirs.public_key();
    project.run(&["apply", "saved", "--require-signed-by", &theirs]).ended(1).says(asks);
    project.run_with(&[("SEED", &seeds[0])], &sign).ended(0);
    project.run(&["apply", "saved"]).ended(0);
    assert_eq!(streams(&server), ["ORDERS"]);
}

#[test]
fn a_seed_is_taken_by_reference_alone_and_never_repeated() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    let seed = KeyPair::new_user().seed().expect("it has one");
    let plan = |sign: &str| project.run(&["plan", "--out", "saved", "--sign", sign]).ended(1);
    plan(&seed).says("`--sign` is no reference").never_says(&seed);
    plan("env:NOT_SET").says("the variable is not set");
    let account = KeyPair::new_account().seed().expect("it has one");
    fs::write(project.path("seed"), &account).expect("a file can be written");
    plan("file:seed").says("`SU`").never_says(&account);
    project.run(&["plan", "--sign", "env:SEED"]).ended(1).says("--out");
    assert!(!project.path("saved").exists());
    project.write_spec(&format!("[environment]\nrequire_signed_by = [\"{seed}\"]\n"));
    project.run(&["plan"]).ended(1).says("error[inline-secret]").never_says(&seed);
}

#[test]
fn no_byte_of_a_plan_can_be_changed_and_none_can_be_missing() {
    let server = server();
    let project = with_a_plan(&server);
    let seed = KeyPair::new_user().seed().expect("it has one");
    let unsigned = project.read("saved");
    let sign = ["plan", "--out", "saved", "--sign", "env:SEED"];
    project.run_with(&[("SEED", &seed)], &sign).ended(0);
    let signed = project.read("saved");
    let mut refused = 0;
    for text in [unsigned, signed] {
        assert!(file::read(&text).is_ok());
        for length in (0..text.len()).filter(|it| text.is_char_boundary(*it)) {
            assert!(file::read(&text[..length]).is_err(), "cut at {length}");
            refused += 1;
        }
        for at in 0..text.len() {
            // Over eight neighbours every bit is flipped; what is no text any more is never read.
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << (at % 8);
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(file::read(&flipped).is_err(), "byte {at} flipped");
            refused += 1;
        }
        assert!(file::read(&format!("{text} ")).is_err());
    }
    println!("{refused} damaged plans");
}

#[test]
fn a_plan_that_was_changed_and_sealed_again_is_still_refused() {
    let server = server();
    let project = with_a_plan(&server);
    let plan: Value = serde_json::from_str(&project.read("saved")).expect("a plan is JSON");
    let sealed = |change: &dyn Fn(&mut Value)| {
        let mut plan = plan.clone();
        plan.as_object_mut().expect("an object").remove("sha256");
        change(&mut plan);
        fs::write(project.path("saved"), seal::write(&plan)).expect("a file can be written");
        project.run(&["apply", "saved"]).ended(1)
    };
    sealed(&|it| it["version"] = json!(999)).says("format version 999");
    sealed(&|it| it["later"] = json!(1)).says("not laid out as jsplan lays it out");
    sealed(&|it| it["steps"][0]["calls"][0]["body"]["max_age"] = json!(1))
        .says("id does not match");
}

#[test]
fn a_plan_of_targets_or_of_another_mode_says_so_when_it_is_applied() {
    let server = server();
    let project = Project::new(&server, &format!("{ORDERS}[streams.OTHER]\nsubjects = [\"o\"]\n"));
    project.run(&["plan", "--out", "saved", "--target", "stream.ORDERS"]).ended(0);
    project.run(&["apply", "saved"]).ended(0).says("Made with `--target`: it is a part");
    project.apply();
    project.run(&["plan", "--out", "saved", "--refresh-only"]).ended(0);
    meddle(&server, "ORDERS", &json!({ "description": "by hand" }));
    project.run(&["plan", "--out", "saved", "--refresh-only"]).ended(0);
    project.run(&["apply", "saved"]).ended(0).says("Made with `--refresh-only`");
    project.run(&["plan", "--out", "saved", "--destroy"]).ended(0);
    project
        .run(&["apply", "saved"])
        .ended(0)
        .says("Made with `--destroy`")
        .says("Destroy complete!");
    assert!(streams(&server).is_empty());
}

const BLOCKED: &str = r#"
[streams.FULL]
subjects = ["full"]
max_msgs = 10
[streams.FREE]
subjects = ["free"]
max_age = "1h"
"#;

/// A project in which a limit of `FULL` would delete messages, and `FREE` can be changed.
fn with_a_block(server: &jsplan::io::server::Server) -> Project {
    let before = BLOCKED.replace("max_msgs = 10\n", "").replace("max_age = \"1h\"\n", "");
    let project = Project::new(server, &before);
    project.apply();
    publish(server, "full", 100);
    project.write_spec(BLOCKED);
    project
}

#[test]
fn what_is_blocked_hides_nothing_and_the_rest_can_be_applied_from_a_file() {
    let server = server();
    let project = with_a_block(&server);
    let skip = "jsplan apply --env test --server";
    project
        .run(&["plan", "--out", "saved"])
        .ended(1)
        .says("Plan: 0 to add, 2 to change, 0 to destroy.")
        .says("Blocked: 1.")
        .says("It cannot be applied as it is: 1 action is blocked.")
        .says("--out saved --allow data-loss=stream.FULL")
        .says(skip)
        .says("saved --skip-blocked");
    project.run(&["apply", "saved"]).ended(1).says("1 action is blocked").says("--skip-blocked");
    assert_eq!(stream(&server, "FREE")["max_age"], 0);
    project
        .run(&["apply", "saved", "--skip-blocked"])
        .ended(0)
        .says("Left out: 1 action.")
        .says("stream.FULL  blocked by data-loss")
        .says("Resources: 0 added, 1 changed, 0 destroyed.");
    assert_eq!(messages(&server, "FULL"), 100);
    assert_eq!(stream(&server, "FREE")["max_age"], 3_600_000_000_000_u64);
    project.run(&["apply", "saved", "--skip-blocked"]).ended(1).says("not all of it was done");
}

#[test]
fn the_rest_of_a_plan_that_is_made_at_once_can_be_applied_too() {
    let server = server();
    let project = with_a_block(&server);
    project.run(&["apply", "--auto-approve"]).ended(1).says("--skip-blocked");
    project.run(&["apply", "--auto-approve", "--skip-blocked"]).ended(0).says("1 changed");
    let nothing = project.run(&["apply", "--auto-approve", "--skip-blocked"]).ended(1);
    nothing.says("nothing is left to apply");
    assert_eq!(messages(&server, "FULL"), 100);
}

#[test]
fn what_needs_something_blocked_is_left_out_with_it_and_a_stream_keeps_its_subjects() {
    let server = server();
    let before = "[streams.A]\nsubjects = [\"a\", \"moves\"]\n[streams.B]\nsubjects = [\"b\"]\n";
    let project = Project::new(&server, before);
    project.apply();
    publish(&server, "b", 5);
    // B takes a subject of A, and cannot: A alone must not give it up.
    let after = "[streams.A]\nsubjects = [\"a\"]\n[streams.B]\nsubjects = [\"b\", \"moves\"]\n\
                 max_msgs = 1\n[streams.B.consumers.C]\nfilter_subject = \"moves\"\n\
                 ack_policy = \"explicit\"\n[streams.NEW]\nsubjects = [\"new\"]\n";
    project.write_spec(after);
    project
        .run(&["apply", "--auto-approve", "--skip-blocked"])
        .ended(0)
        .says("consumer.B.C  needs stream.B")
        .says("stream.A      needs stream.B")
        .says("Resources: 1 added, 0 changed, 0 destroyed.");
    assert_eq!(stream(&server, "A")["subjects"], json!(["a", "moves"]));
    assert_eq!(streams(&server).len(), 3);
}

#[test]
fn what_is_wrong_with_the_whole_is_never_skipped() {
    let server = server();
    let project = Project::new(&server, &format!("{ORDERS}[server.expect]\ncluster = \"prod\"\n"));
    project.run(&["plan", "--out", "saved"]).ended(1).never_says("Saved");
    assert!(!project.path("saved").exists());
    project.run(&["apply", "--auto-approve", "--skip-blocked"]).ended(1).says("wrong-target");
    assert!(streams(&server).is_empty());
}

#[test]
fn deleting_messages_is_confirmed_with_the_name_of_the_environment() {
    let server = server();
    let project = with_a_block(&server);
    let apply = ["apply", "--allow", "data-loss=stream.FULL"];
    let question = "Enter \"test\" to confirm deleting 90 messages:";
    project.run_on_terminal(&apply, "yes\n").ended(1).says(question).says("Apply cancelled.");
    assert_eq!(messages(&server, "FULL"), 100);
    project.run_on_terminal(&apply, "test\n").ended(0).says("Apply complete!");
    assert_eq!(messages(&server, "FULL"), 10);
}

#[test]
fn a_protected_environment_takes_no_plan_that_nobody_has_seen() {
    let server = server();
    let project = Project::new(&server, &format!("[environment]\nprotected = true\n{ORDERS}"));
    project.run(&["apply", "--auto-approve"]).ended(1).says("approves what nobody has seen");
    assert!(streams(&server).is_empty());
    project.run(&["plan", "--out", "saved"]).ended(0);
    let id = id(&project);
    project.run(&["apply", "--auto-approve", "--expect", &id]).ended(0);
    project.write_spec(&format!("[environment]\nprotected = true\n{}", ORDERS.replace("7d", "1d")));
    project.run(&["plan", "--out", "saved"]).ended(0);
    project.run(&["apply", "saved"]).ended(0);
    assert_eq!(streams(&server), ["ORDERS"]);
}

#[test]
fn a_program_is_told_of_errors_in_the_shape_of_a_plan() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nmax_mesages = 1\n");
    let json = |project: &Project| -> Value {
        let out = project.run(&["plan", "--json"]).ended(1).stdout;
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).expect("it is JSON")
    };
    let found = json(&project);
    let first = &found["jsplan"]["diagnostics"][0];
    assert_eq!((&found["errored"], &found["applyable"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&first["code"], &first["range"]["start"]["line"]),
        (&json!("unknown-key"), &json!(4))
    );
    let project = with_a_block(&server);
    let found = json(&project);
    let first = &found["jsplan"]["diagnostics"][0];
    assert_eq!((&first["code"], &first["address"]), (&json!("data-loss"), &json!("stream.FULL")));
    let gone = crate::support::server::server();
    let url = gone.url().to_owned();
    drop(gone);
    let out = project.run_elsewhere(&["plan", "--json"], &url).ended(1).stdout;
    let found: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(found["jsplan"]["diagnostics"][0]["severity"], "error");
}
