//! What was applied before, and the way back to it.

use std::fs;

use jsplan::{schema::Release, state::State};
use serde_json::{Map, Value, json};

use crate::{
    fields::{consumers, everything},
    support::{
        client::{ask, create, done, messages, publish, stream, streams},
        project::{Project, wait_for},
        server::{server, server_since},
    },
};

const FIRST: &str = r#"
[streams.S]
subjects = ["s.>"]
max_age = "7d"
[streams.S.consumers.C]
ack_policy = "explicit"
[kv.B]
history = 5
"#;

/// Changed in place, made and taken away.
const SECOND: &str = r#"
[streams.S]
subjects = ["s.>", "more.>"]
max_age = "1d"
[streams.S.consumers.C]
ack_policy = "explicit"
max_ack_pending = 50
[streams.S.consumers.D]
ack_policy = "explicit"
[streams.NEW]
subjects = ["new"]
[kv.B]
history = 9
ttl = "1h"
"#;

const THIRD: &str = r#"
[streams.S]
subjects = ["s.>"]
max_age = "1d"
description = "the third"
[streams.S.consumers.D]
ack_policy = "explicit"
[object.O]
"#;

/// The configurations that the state holds, by address.
fn recorded(project: &Project) -> Value {
    let mut found = project.state()["resources"].clone();
    for it in found.as_object_mut().expect("an object").values_mut() {
        *it = it["config"].take();
        // The marks of the state are put on by what makes a resource, and an import makes none.
        if let Some(labels) = it["metadata"].as_object_mut() {
            labels.retain(|label, _| !label.starts_with("jsplan."));
        }
    }
    found
}

fn history(project: &Project) -> Vec<Value> {
    let shown = project.run(&["history", "--json"]).ended(0).stdout;
    let shown: Value = serde_json::from_str(&shown).expect("it is JSON");
    shown["applies"].as_array().expect("a list").clone()
}

#[test]
fn every_apply_is_listed_and_each_can_be_gone_back_to_and_forward_again() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.run(&["history"]).ended(0).says("Nothing was applied yet");
    project.apply().never_says("To undo");
    let first = recorded(&project);
    project.write_spec(SECOND);
    project.apply().says("To undo: jsplan rollback --to 1");
    let second = recorded(&project);
    project.write_spec(THIRD);
    let bucket = "destroy=kv.B";
    project.run(&["apply", "--auto-approve", "--allow", bucket]).ended(0);
    let third = recorded(&project);
    let listed: Vec<_> = history(&project)
        .iter()
        .map(|it| (it["serial"].clone(), it["operation"].clone(), it["totals"]["added"].clone()))
        .collect();
    let apply = |serial: u64, added: u64| (json!(serial), json!("apply"), json!(added));
    assert_eq!(listed, [apply(3, 1), apply(2, 2), apply(1, 3)]);
    let ways = [(2, &second), (1, &first), (3, &third), (1, &first), (2, &second)];
    for (serial, (to, wanted)) in (3..).zip(ways) {
        let to = to.to_string();
        let ran = project.run(&["rollback", "--to", &to, "--auto-approve"]).ended(0);
        ran.says("Rollback complete!").says(&format!("jsplan rollback --to {serial}"));
        assert_eq!(recorded(&project), *wanted, "after going back to {to}");
        let last = &history(&project)[0];
        assert_eq!(last["operation"], format!("rollback {to}"));
        assert_eq!(last["complete"], true);
        project.run(&["rollback", "--to", &to, "--auto-approve"]).ended(0).says("No changes.");
    }
    project.run(&["plan", "--detailed-exitcode"]).ended(2);
    project.write_spec(SECOND);
    project.plans_empty();
}

#[test]
fn after_a_rollback_the_next_plan_says_what_the_spec_still_wants() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.write_spec(SECOND);
    project.apply();
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    back.says("The spec says something else");
    project.run(&["plan"]).ended(0).says("Plan: 2 to add, 3 to change, 0 to destroy.");
    project.write_spec(FIRST);
    let again = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    again.says("No changes.");
    project.write_spec(SECOND);
    project.apply();
    project.write_spec(FIRST);
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    back.never_says("The spec says something else");
    project.plans_empty();
}

#[test]
fn one_change_is_shown_field_by_field() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.write_spec(SECOND);
    project.apply();
    let shown = project.run(&["history", "2"]).ended(0);
    let shown = shown.says("Serial 1 -> 2").says("~ stream.S").says("max_age  = 7d -> 24h");
    let shown = shown.says("+ stream.NEW").says("+ consumer.S.D").says("~ kv.B");
    shown.says("history = 5 -> 9").says("2 added, 3 changed");
    project.run(&["history", "1"]).ended(0).says("+ stream.S").says("max_age  = 7d");
    project.run(&["history", "9"]).ended(1).says("`jsplan history` lists the serials");
    project.run(&["rollback"]).ended(0).says("SERIAL").says("rollback --to SERIAL");
    project.run(&["rollback", "--to", "9", "--auto-approve"]).ended(1).says("serial 9");
}

#[test]
fn a_stream_that_took_messages_since_is_not_deleted_by_a_rollback_without_consent() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.write_spec(SECOND);
    project.apply();
    publish(&server, "new", 3);
    let back = ["rollback", "--to", "1", "--auto-approve"];
    let refused = project.run(&back).ended(1).says("stream.NEW").says("protected");
    refused.says("apply that, then go back");
    let consent = [&back[..], &["--allow", "destroy=stream.NEW"]].concat();
    project.run(&consent).ended(1).says("protected");
    assert_eq!(messages(&server, "NEW"), 3);
    project.write_spec(&SECOND.replace("[streams.NEW]", "[streams.NEW]\nprevent_destroy = false"));
    project.apply();
    project.run(&back).ended(1).says("--allow destroy=stream.NEW");
    assert_eq!(messages(&server, "NEW"), 3);
    project.run(&consent).ended(0).says("2 destroyed");
    assert!(!streams(&server).contains(&"NEW".to_owned()));
    let forward = project.run(&["rollback", "--to", "3", "--auto-approve"]).ended(0);
    forward.says("created again, empty: its messages are gone");
    assert_eq!(messages(&server, "NEW"), 0);
}

#[test]
fn what_an_update_cannot_take_back_is_said_before_and_refused_after() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    publish(&server, "s.a", 2);
    project.write_spec(&FIRST.replace("max_age", "deny_delete = true\nmax_age"));
    let allow = ["--allow", "one-way=stream.S"];
    let plan = project.run(&[&["plan"][..], &allow].concat()).ended(0);
    let plan = plan.says("Cannot be undone: 1.");
    plan.says("`deny_delete` cannot be taken back by an update");
    let plan = project.run(&[&["plan", "--json"][..], &allow].concat()).ended(0).stdout;
    let plan: Value = serde_json::from_str(&plan).expect("it is JSON");
    assert_eq!(plan["resource_changes"][0]["x_jsplan"]["reversible"], false);
    let apply = project.run(&[&["apply", "--auto-approve"][..], &allow].concat()).ended(0);
    apply.says("To undo what can be undone: jsplan rollback --to 1");
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(1);
    back.says("this cannot be undone").says("--target");
    assert_eq!(messages(&server, "S"), 2);
}

#[test]
fn a_rollback_may_be_saved_reviewed_and_applied_and_is_refused_once_used_or_stale() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    let first = recorded(&project);
    project.write_spec(SECOND);
    project.apply();
    project.run(&["rollback", "--to", "1", "--out", "back.jsplan"]).ended(0).says("Saved the plan");
    project.run(&["show", "back.jsplan"]).ended(0).says("go back to state serial 1");
    project.run(&["apply", "back.jsplan"]).ended(0).says("Rollback complete!");
    assert_eq!(recorded(&project), first);
    project.run(&["apply", "back.jsplan"]).ended(1).says("used already");
    project.run(&["rollback", "--to", "2", "--out", "forth.jsplan"]).ended(0);
    project.apply();
    project.run(&["apply", "forth.jsplan"]).ended(1).says("stale");
    project.run(&["rollback", "--to", "2"]).ended(1).says("save the plan with `--out FILE`");
}

#[test]
fn what_a_rollback_cannot_do_is_left_out_of_it_where_that_is_asked() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.write_spec(SECOND);
    project.apply();
    publish(&server, "new", 2);
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(1);
    let command = back.says("Or apply the other").stderr;
    assert!(command.contains("jsplan rollback") && command.contains("--to 1 --skip-blocked"));
    let part = ["rollback", "--to", "1", "--auto-approve", "--skip-blocked"];
    project.run(&part).ended(0).says("stream.NEW  blocked by protected");
    assert_eq!(stream(&server, "KV_B")["max_msgs_per_subject"], 5);
    assert_eq!(messages(&server, "NEW"), 2);
}

#[test]
fn a_rollback_goes_back_with_one_target_alone() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.write_spec(SECOND);
    project.apply();
    let target = ["rollback", "--to", "1", "--auto-approve", "--target", "kv.B"];
    project.run(&target).ended(0).says("0 added, 1 changed, 0 destroyed");
    assert_eq!(stream(&server, "KV_B")["max_msgs_per_subject"], 5);
    assert!(streams(&server).contains(&"NEW".to_owned()));
}

#[test]
fn what_was_adopted_since_is_let_go_of_and_stays_on_the_server() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    create(&server, &json!({ "name": "THEIRS", "subjects": ["theirs"] }));
    project.run(&["import", "stream.THEIRS", "--write"]).ended(0);
    assert_eq!(history(&project)[0]["operation"], "import");
    assert_eq!(history(&project)[0]["totals"]["imported"], 1);
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    back.says("let go of").says("0 destroyed, 1 forgotten");
    assert!(streams(&server).contains(&"THEIRS".to_owned()));
    project.run(&["state", "list"]).ended(0).never_says("THEIRS");
}

#[test]
fn a_change_of_the_state_by_hand_is_in_the_history_and_can_be_gone_back_from() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    project.run(&["state", "rm", "consumer.S.C"]).ended(0);
    project.run(&["state", "restore", "1"]).ended(0);
    let done: Vec<_> = history(&project).iter().map(|it| it["operation"].clone()).collect();
    assert_eq!(done, ["state restore 1", "state rm", "apply"]);
    project.run(&["show"]).ended(0).says("state restore 1");
    let back = project.run(&["rollback", "--to", "2", "--auto-approve"]).ended(0);
    back.says("1 destroyed");
}

#[test]
fn an_apply_that_stopped_midway_is_in_the_history_with_how_far_it_came() {
    let server = server();
    create(&server, &json!({ "name": "OTHER", "subjects": ["taken.>"] }));
    let project = Project::new(&server, FIRST);
    project.apply();
    let spec: String =
        (0..200).map(|it| format!("[streams.S{it:03}]\nsubjects = [\"n.{it}\"]\n")).collect();
    project.write_spec(&format!("{FIRST}\n{spec}"));
    let mut apply = project.start(&["apply", "--auto-approve", "--parallelism", "1"]);
    wait_for("streams appear", || streams(&server).len() >= 20);
    apply.kill().expect("it is ours");
    apply.wait().expect("it ends");
    let last = &history(&project)[0];
    let done = last["steps"]["done"].as_u64().expect("a number");
    assert_eq!((&last["serial"], &last["complete"]), (&json!(2), &json!(false)));
    assert!((1..200).contains(&done) && last["steps"]["planned"] == 200, "{last}");
    project.run(&["history"]).ended(0).says(&format!("stopped after {done} of 200 steps"));
    project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    let left = streams(&server);
    assert!(
        left.len() <= 4,
        "what was finished is gone again, and what was not recorded: {left:?}"
    );
}

#[test]
fn fifty_kept_states_are_listed_and_one_that_is_damaged_hides_no_other() {
    let server = server();
    let project = Project::new(&server, FIRST);
    for number in 0..55 {
        project.write_spec(&FIRST.replace("7d", &format!("{}h", 100 + number)));
        project.apply();
    }
    let serials: Vec<_> = history(&project).iter().map(|it| it["serial"].as_u64()).collect();
    assert_eq!(serials, (5..=55).rev().map(Some).collect::<Vec<_>>());
    fs::write(project.path("state/history/test/000030.json"), "damaged").expect("it is written");
    let listed = project.run(&["history"]).ended(0).says("cannot be trusted");
    assert_eq!(listed.stdout.lines().filter(|it| it.contains("apply")).count(), 50);
    let refused = project.run(&["rollback", "--to", "30", "--auto-approve"]).ended(1);
    refused.says("cannot be trusted");
    project.run(&["rollback", "--to", "5", "--auto-approve"]).ended(0);
    assert_eq!(stream(&server, "S")["max_age"], 104 * 3_600_000_000_000_u64);
}

#[test]
fn a_state_from_before_there_was_a_history_is_read_and_listed() {
    let server = server();
    let project = Project::new(&server, FIRST);
    project.apply();
    let mut old = project.state();
    let last = old["last_apply"].as_object_mut().expect("an object");
    for name in ["operation", "commit", "steps", "totals", "deletes"] {
        last.remove(name).expect("it is written");
    }
    old.as_object_mut().expect("an object").remove("sha256");
    fs::write(project.path("state/test.json"), jsplan::seal::write(&old)).expect("it is written");
    State::read(&project.read("state/test.json")).expect("it is whole");
    project.run(&["history"]).ended(0).says("apply");
    project.write_spec(SECOND);
    project.apply();
    project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    assert_eq!(ask(&server, "STREAM.INFO.NEW", &Value::Null)["error"]["err_code"], 10059);
}

#[test]
fn the_commit_of_the_project_is_recorded_wherever_git_keeps_it() {
    const ONE: &str = "0123456789abcdef0123456789abcdef01234567";
    const TWO: &str = "89abcdef0123456789abcdef0123456789abcdef";
    let server = server();
    let project = Project::new(&server, FIRST);
    let write = |name: &str, text: &str| {
        let path = project.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
        fs::write(path, text).expect("it is written");
    };
    let commit = || {
        let number = project.state()["serial"].as_u64().unwrap_or_default();
        project.write_spec(&FIRST.replace("7d", &format!("{}h", 100 + number)));
        project.apply();
        project.state()["last_apply"]["commit"].clone()
    };
    project.apply();
    assert_eq!(project.state()["last_apply"]["commit"], Value::Null, "there is no repository");
    write(".git/HEAD", "ref: refs/heads/main\n");
    assert_eq!(commit(), Value::Null, "nothing is committed");
    write(".git/packed-refs", &format!("# pack-refs\n{ONE} refs/heads/main\n"));
    assert_eq!(commit(), ONE, "of a branch that was packed");
    write(".git/refs/heads/main", &format!("{TWO}\n"));
    assert_eq!(commit(), TWO, "of a branch that has moved since");
    write(".git/HEAD", &format!("{ONE}\n"));
    assert_eq!(commit(), ONE, "of no branch");
    fs::rename(project.path(".git"), project.path("shared")).expect("it can be moved");
    write("shared/worktrees/here/HEAD", "ref: refs/heads/main\n");
    write("shared/worktrees/here/commondir", "../..\n");
    write(".git", "gitdir: shared/worktrees/here\n");
    assert_eq!(commit(), TWO, "of a further work tree");
    project.run(&["show"]).ended(0).says("commit 89abcdef");
}

#[test]
fn whatever_an_account_held_is_made_again_as_it_was_recorded() {
    let server = server_since(Release(2, 14, 0));
    let project = Project::new(&server, "");
    for config in everything() {
        create(&server, &config);
    }
    create(&server, &json!({ "name": "S", "subjects": ["a", "b"] }));
    for config in consumers() {
        let name = config["durable_name"].as_str().expect("a name");
        let body = json!({ "stream_name": "S", "config": config });
        done(&server, &format!("CONSUMER.CREATE.S.{name}"), &body);
    }
    project.run(&["import", "--all", "--write"]).ended(0);
    let before = recorded(&project);
    assert_eq!(before.as_object().map(Map::len), Some(10), "{before:#}");
    let names = streams(&server);
    for name in &names {
        done(&server, &format!("STREAM.DELETE.{name}"), &Value::Null);
    }
    let back = project.run(&["rollback", "--to", "1", "--auto-approve"]).ended(0);
    back.says("created again, empty").says("10 added, 0 changed, 0 destroyed");
    assert_eq!(recorded(&project), before);
    project.plans_empty();
}
