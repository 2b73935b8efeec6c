//! Drift: what other clients did, seen with old and new.

use jsplan::io::server::JETSTREAM;
use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, meddle, publish, streams},
    project::Project,
    server::{server, server_with},
};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\nmax_age = \"7d\"\n\
                    [streams.S.consumers.C]\nack_policy = \"explicit\"\nack_wait = \"30s\"\n";

#[test]
fn a_field_changed_by_another_client_is_drift_with_old_and_new() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    project.run(&["drift"]).ended(0).says("2 in sync");
    meddle(&server, "S", &json!({ "max_age": 3_600_000_000_000_u64, "duplicate_window": 0 }));
    project.run(&["drift"]).ended(2).says("CHANGED").says("stream.S").says("7d -> 1h");
    project
        .run(&["plan"])
        .ended(0)
        .says("Objects have changed outside of jsplan")
        .says("reverts drift");
    project.apply();
    project.run(&["drift"]).ended(0);
}

#[test]
fn drift_as_json_names_class_field_old_and_new() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    meddle(&server, "S", &json!({ "max_msgs": 5 }));
    let output = project.run(&["drift", "--json"]).ended(2);
    let json: Value = serde_json::from_str(&output.stdout).expect("stdout is JSON");
    let text = json.to_string();
    for part in ["stream.S", "changed", "max_msgs"] {
        assert!(text.contains(part), "{part} in {json:#}");
    }
}

#[test]
fn a_wrong_server_is_refused_and_no_drift() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let other = server_with(&accounts("APP", "none"));
    project
        .run_elsewhere(&["drift"], other.url())
        .ended(1)
        .says("the state was applied to account `$G`, and this is `APP`")
        .never_says("MISSING");
    let other = server_with(&accounts("APP", "$SYS.REQ.USER.INFO"));
    project
        .run_elsewhere(&["drift"], other.url())
        .ended(1)
        .says("account `$G`, and this server does not say which this is")
        .says("let the user publish to `$SYS.REQ.USER.INFO`");
}

#[test]
fn a_user_who_may_not_ask_for_the_account_is_in_no_other_one() {
    let server = server_with(&accounts("APP", "$SYS.REQ.USER.INFO"));
    let project = Project::new(&server, SPEC);
    project.run(&["plan", "--out", "plan.jsplan"]).ended(0);
    let admin = server.url().replace("://", "://all:p@");
    project.run_elsewhere(&["apply", "plan.jsplan"], &admin).ended(0);
    project.run_elsewhere(&["drift"], &admin).ended(0);
    meddle(&server, "S", &json!({ "max_msgs": 5 }));
    project.run_elsewhere(&["apply", "--auto-approve"], &admin).ended(0);
    assert_eq!(project.state()["target"]["account"], "APP");
    project.run_elsewhere(&["drift"], &admin).ended(0);
}

/// One account, in which whoever says nothing may not publish to this subject.
fn accounts(name: &str, denied: &str) -> String {
    format!(
        "accounts {{ {name} {{ jetstream: enabled, users: [ {{ user: all, password: p }}, \
         {{ user: some, password: p, permissions: {{ publish: {{ deny: \"{denied}\" }} }} }} \
         ] }} }}\nno_auth_user: some\n{JETSTREAM}"
    )
}

#[test]
fn a_stream_deleted_by_hand_is_missing_and_its_return_is_shown_first() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    publish(&server, "s", 5);
    ask(&server, "STREAM.DELETE.S", &Value::Null);
    project.run(&["drift"]).ended(2).says("MISSING").says("stream.S");
    project.run(&["plan"]).ended(0).says("was deleted outside of jsplan");
    assert!(streams(&server).is_empty());
    project.apply();
    assert_eq!(streams(&server), ["S"]);
    project.plans_empty();
}

#[test]
fn a_stream_made_anew_by_somebody_else_is_not_taken_for_ours() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    ask(&server, "STREAM.DELETE.S", &Value::Null);
    create(&server, &json!({ "name": "S", "subjects": ["s"] }));
    project.run(&["drift"]).ended(2).says("CHANGED");
    project.write_spec("");
    project.run(&["apply", "--auto-approve"]).ended(1).says("error[recreated]");
    assert_eq!(streams(&server), ["S"]);
}

#[test]
fn an_ignored_field_is_left_to_others() {
    let server = server();
    let spec = "[streams.S]\nsubjects = [\"s\"]\nmax_msgs = 10\nignore = [\"max_msgs\"]\n\
                reason = \"the application sets it\"\n";
    let project = Project::new(&server, spec);
    project.apply();
    meddle(&server, "S", &json!({ "max_msgs": 20 }));
    project.run(&["drift"]).ended(0).says("ACCEPTED");
    project.plans_empty();
}

#[test]
fn a_spec_that_moved_on_is_pending_and_no_drift() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    project.write_spec(&SPEC.replace("7d", "8d"));
    project.run(&["drift"]).ended(0).says("PENDING").says("7d -> 8d");
}
