//! Applying on a real server: what is done, what is refused, what is asked.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, meddle, messages, publish, stream, streams},
    loss::limited,
    project::{Project, wait_for},
    server::server,
};

const ORDERS: &str = r#"
[streams.ORDERS]
subjects = ["orders.>"]
max_age = "7d"
[streams.ORDERS.consumers.BILLING]
ack_policy = "explicit"
"#;

#[test]
fn an_apply_makes_what_the_spec_says_and_the_next_plan_is_empty() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project
        .run(&["plan", "--detailed-exitcode"])
        .ended(2)
        .says("Plan: 2 to add, 0 to change, 0 to destroy.");
    project.apply().says("Apply complete! Resources: 2 added, 0 changed, 0 destroyed.");
    project.plans_empty();
    assert_eq!(stream(&server, "ORDERS")["max_age"], 7 * 24 * 3_600_000_000_000_u64);
    let state = project.state();
    assert_eq!(state["serial"], 1);
    assert_eq!(state["resources"]["stream.ORDERS"]["origin"], "created");
}

#[test]
fn removing_a_line_resets_the_field_and_leaves_the_others() {
    let server = server();
    let spec = "[streams.S]\nsubjects = [\"s\"]\nmax_age = \"1h\"\nallow_direct = true\n";
    let project = Project::new(&server, spec);
    project.apply();
    project.write_spec("[streams.S]\nsubjects = [\"s\"]\nallow_direct = true\n");
    project.run(&["plan"]).ended(0).says("max_age = 1h -> unlimited");
    project.apply();
    let config = stream(&server, "S");
    assert_eq!((&config["max_age"], &config["allow_direct"]), (&json!(0), &json!(true)));
    project.plans_empty();
}

#[test]
fn labels_of_others_survive_an_update() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nmetadata = { team = \"a\" }\n");
    project.apply();
    meddle(&server, "S", &json!({ "metadata": { "team": "a", "_nats.custom": "kept" } }));
    project.write_spec("[streams.S]\nmetadata = { team = \"b\" }\n");
    project.apply();
    let labels = &stream(&server, "S")["metadata"];
    assert_eq!((&labels["team"], &labels["_nats.custom"]), (&json!("b"), &json!("kept")));
    project.plans_empty();
}

#[test]
fn an_unmanaged_stream_is_listed_and_never_touched() {
    let server = server();
    create(&server, &json!({ "name": "THEIRS", "subjects": ["theirs"] }));
    let project = Project::new(&server, ORDERS);
    project.run(&["plan"]).ended(0).says("stream.THEIRS");
    project.apply();
    project.write_spec("");
    project.run(&["apply", "--destroy", "--auto-approve"]).ended(0);
    assert_eq!(streams(&server), ["THEIRS"]);
}

#[test]
fn what_is_live_and_wanted_is_adopted_as_it_is() {
    let server = server();
    create(&server, &json!({ "name": "S", "subjects": ["s"] }));
    publish(&server, "s", 10);
    let project = Project::new(&server, "[streams.S]\nsubjects = [\"s\"]\n");
    project.run(&["plan"]).ended(0).says("Plan: 1 to import, 0 to add, 0 to change, 0 to destroy.");
    project.apply();
    assert_eq!(project.state()["resources"]["stream.S"]["origin"], "adopted");
    assert_eq!(messages(&server, "S"), 10);
    project.plans_empty();
}

#[test]
fn a_change_that_would_delete_messages_is_counted_and_stopped_until_it_is_allowed() {
    let server = server();
    let project = limited(&server);
    project.run(&["apply", "--auto-approve"]).ended(1).says("90 messages");
    assert_eq!(messages(&server, "L"), 100);
    let allow = ["apply", "--auto-approve", "--allow", "data-loss=stream.L"];
    project.run(&allow).ended(0).says("Data: 90 messages would be deleted by 1 action.");
    assert_eq!(messages(&server, "L"), 10);
    project.plans_empty();
}

#[test]
fn a_stream_that_holds_messages_is_not_replaced() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nsubjects = [\"s\"]\n");
    project.apply();
    publish(&server, "s", 3);
    project.write_spec("[streams.S]\nsubjects = [\"s\"]\nstorage = \"memory\"\n");
    project
        .run(&["apply", "--auto-approve"])
        .ended(1)
        .says("error[replacement]")
        .says("jsplan migrate new NAME --strategy same-subjects-mirror --from");
    assert_eq!(messages(&server, "S"), 3);
}

#[test]
fn an_empty_stream_is_replaced_with_its_consumers() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project.apply();
    project.write_spec(&ORDERS.replace("max_age", "storage = \"memory\"\nmax_age"));
    project.run(&["plan"]).ended(0).says("must be replaced").says("forces replacement");
    project.apply();
    assert_eq!(stream(&server, "ORDERS")["storage"], "memory");
    let info = ask(&server, "CONSUMER.INFO.ORDERS.BILLING", &Value::Null);
    assert_eq!(info["config"]["ack_policy"], "explicit");
    project.plans_empty();
}

#[test]
fn what_holds_messages_is_not_destroyed_unless_the_spec_lets_go_of_it_first() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nsubjects = [\"s\"]\n");
    project.apply();
    publish(&server, "s", 7);
    project.write_spec("");
    project.run(&["apply", "--auto-approve"]).ended(1).says("error[protected]");
    assert_eq!(messages(&server, "S"), 7);
    project.write_spec("[streams.S]\nsubjects = [\"s\"]\nprevent_destroy = false\n");
    project.apply();
    project.write_spec("");
    project.run(&["apply", "--auto-approve"]).ended(1).says("7 messages");
    project.apply_allowing(&["destroy=stream.S"]);
    assert!(streams(&server).is_empty());
    project.plans_empty();
}

#[test]
fn a_failure_half_way_says_what_is_done_failed_and_not_started() {
    let server = server();
    let spec = "[streams.A]\nsubjects = [\"a\"]\n[streams.B]\nsubjects = [\"taken.b\"]\n\
                [streams.B.consumers.C]\nack_policy = \"explicit\"\n";
    let project = Project::new(&server, spec);
    project.run(&["plan", "--out", "saved"]).ended(0);
    create(&server, &json!({ "name": "THEIRS", "subjects": ["taken.>"] }));
    project
        .run(&["apply", "saved"])
        .ended(1)
        .says("10065")
        .says("1 of 3 actions done, 1 failed, 1 not started")
        .says("consumer.B.C");
    let state = project.state();
    let owned: Vec<_> = state["resources"].as_object().expect("an object").keys().collect();
    assert_eq!(owned, ["stream.A"]);
}

#[test]
fn without_a_terminal_and_without_consent_nothing_is_even_read() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project.run(&["apply"]).ended(1).says("no terminal to ask on").says("--auto-approve");
    assert!(!project.path("state").exists());
}

#[test]
fn only_the_whole_word_yes_is_a_yes() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project.run_on_terminal(&["apply"], "y\n").ended(1).says("Apply cancelled.");
    assert!(streams(&server).is_empty());
    project.run_on_terminal(&["apply"], "yes\n").ended(0).says("Apply complete!");
    assert_eq!(streams(&server), ["ORDERS"]);
}

#[test]
fn a_protected_environment_asks_for_its_name() {
    let server = server();
    let spec = format!("[environment]\nprotected = true\n{ORDERS}");
    let project = Project::new(&server, &spec);
    project.run_on_terminal(&["apply"], "yes\n").ended(1).says("Apply cancelled.");
    assert!(streams(&server).is_empty());
    project.run_on_terminal(&["apply"], "test\n").ended(0).says("Apply complete!");
}

#[test]
fn a_target_brings_what_it_stands_on_and_an_unknown_one_is_an_error() {
    let server = server();
    let project = Project::new(&server, &format!("{ORDERS}[streams.OTHER]\nsubjects = [\"o\"]\n"));
    project
        .run(&["plan", "--target", "stream.ORDRES"])
        .ended(1)
        .says("did you mean `stream.ORDERS`?");
    project
        .run(&["apply", "--auto-approve", "--target", "consumer.ORDERS.BILLING"])
        .ended(0)
        .says("2 added");
    assert_eq!(streams(&server), ["ORDERS"]);
}

#[test]
fn refresh_only_lets_the_state_follow_the_server() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    project.apply();
    meddle(&server, "ORDERS", &json!({ "description": "by hand" }));
    project.run(&["drift"]).ended(2);
    project.run(&["apply", "--refresh-only", "--auto-approve"]).ended(0);
    assert_eq!(stream(&server, "ORDERS")["description"], "by hand");
    project.run(&["drift"]).ended(0).says("PENDING");
    project.run(&["plan", "--detailed-exitcode"]).ended(2).says("- description = \"by hand\"");
    project.apply();
    project.plans_empty();
}

#[test]
fn an_interest_stream_takes_messages_only_once_its_consumers_are_there() {
    let server = server();
    let spec = "[streams.S]\nsubjects = [\"s.>\"]\nretention = \"interest\"\n\
                [streams.S.consumers.C]\nack_policy = \"explicit\"\n";
    let project = Project::new(&server, spec);
    project.run(&["plan"]).ended(0).says("now that its consumers are there");
    project.apply();
    assert_eq!(stream(&server, "S")["subjects"], json!(["s.>"]));
    publish(&server, "s.one", 5);
    assert_eq!(messages(&server, "S"), 5);
    project.plans_empty();
}

#[test]
fn subjects_are_released_before_another_stream_takes_them() {
    let server = server();
    let project = Project::new(&server, "[streams.A]\nsubjects = [\"x\", \"y\"]\n");
    project.apply();
    project.write_spec("[streams.A]\nsubjects = [\"x\"]\n[streams.B]\nsubjects = [\"y\"]\n");
    project.apply();
    assert_eq!(stream(&server, "B")["subjects"], json!(["y"]));
    project.plans_empty();
}

#[test]
fn two_applies_at_once_are_never_both_at_work() {
    let server = server();
    let project = Project::new(&server, ORDERS);
    let store = jsplan::io::store::Store::new(&project.path(""), "test");
    let held = jsplan::io::run(store.lock("a test")).expect("nobody else holds it");
    project.run(&["apply", "--auto-approve"]).ended(1).says("is locked by").says("a test");
    drop(held);
    project.apply();
}

#[test]
fn ctrl_c_lets_what_is_in_flight_finish_and_says_what_is_left() {
    let server = server();
    let spec: String =
        (0..200).map(|it| format!("[streams.S{it:03}]\nsubjects = [\"s.{it}\"]\n")).collect();
    let project = Project::new(&server, &spec);
    for signal in ["-INT", "-TERM"] {
        let before = streams(&server).len();
        let apply = project.start(&["apply", "--auto-approve", "--parallelism", "1"]);
        wait_for("a stream appears", || streams(&server).len() > before);
        let sent = Command::new("kill").args([signal, &apply.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success());
        let ended = apply.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("Interrupt received.") && said.contains("Apply interrupted:"));
        let owned = project.run(&["state", "list"]).ended(0).stdout;
        assert_eq!(owned.lines().count(), streams(&server).len(), "what was begun was finished");
    }
    project.apply();
    project.plans_empty();
}

#[test]
fn a_resource_of_two_steps_is_counted_once() {
    let server = server();
    let spec = "[streams.S]\nsubjects = [\"s\"]\nretention = \"interest\"\n\
                [streams.S.consumers.C]\nack_policy = \"explicit\"\n";
    Project::new(&server, spec).apply().says("Verified: 2 resources re-read");
}

#[test]
fn the_wrong_server_is_refused() {
    let server = server();
    let project = Project::new(&server, &format!("{ORDERS}[server.expect]\ncluster = \"prod\"\n"));
    project.run(&["apply", "--auto-approve"]).ended(1).says("error[wrong-target]");
    assert!(streams(&server).is_empty());
}

#[test]
fn a_field_the_server_is_too_old_for_and_replicas_without_a_cluster_are_found_at_plan_time() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nnum_replicas = 3\n");
    project.run(&["plan"]).ended(1).says("error[replicas]").says("environments/test.toml:4");
}

#[test]
fn a_target_that_is_gone_after_its_apply_is_no_failure() {
    let server = server();
    let project = Project::new(&server, &format!("{ORDERS}[streams.OTHER]\nsubjects = [\"o\"]\n"));
    project.apply();
    project.write_spec(ORDERS);
    project
        .run(&["apply", "--auto-approve", "--target", "stream.OTHER"])
        .ended(0)
        .says("1 destroyed");
    project.plans_empty();
}
