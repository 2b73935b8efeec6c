//! The state: looked at, mended, damaged, restored.

use std::{fs, os::unix::fs::PermissionsExt as _};

use jsplan::state::{
    State,
    journal::{Done, Line},
};

use crate::support::{
    client::{ask, streams},
    project::{Project, wait_for},
    server::server,
};

/// The line of a journal that says that a resource is gone.
fn gone(address: &str) -> String {
    let address = address.parse().expect("an address");
    Line::Done(Done { step: 1, address, recorded: None }).text()
}

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n[streams.S.consumers.C]\n";

#[test]
fn list_show_and_show_json_say_what_is_owned() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "stream.S\nconsumer.S.C\n");
    project.run(&["state", "show", "stream.S"]).ended(0).says("subjects").says("num_replicas");
    project.run(&["state", "show", "stream.T"]).ended(1).says("did you mean `stream.S`?");
    project.run(&["show"]).ended(0).says("stream.S").says("serial 1");
    let output = project.run(&["show", "--json"]).ended(0);
    serde_json::from_str::<serde_json::Value>(&output.stdout).expect("stdout is JSON");
}

#[test]
fn what_is_let_go_of_stays_on_the_server_and_is_adopted_again() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    project.run(&["state", "rm", "stream.S"]).ended(0).says("stays on the server");
    assert_eq!(streams(&server), ["S"]);
    project.run(&["plan"]).ended(0).says("1 to import");
    project.apply();
    project.plans_empty();
}

#[test]
fn mv_records_a_resource_under_another_address() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    project.run(&["state", "mv", "consumer.S.C", "consumer.S.D"]).ended(0);
    project.run(&["state", "list"]).ended(0).says("consumer.S.D");
    project.run(&["state", "mv", "stream.S", "consumer.S.E"]).ended(1);
}

#[test]
fn a_damaged_state_is_never_taken_for_an_empty_one() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let path = project.path("state/test.json");
    let whole = fs::read(&path).expect("the state is there");
    for damaged in [&whole[..0], &whole[..whole.len() / 2], &whole[..whole.len() - 1]] {
        fs::write(&path, damaged).expect("a file can be written");
        project.run(&["plan"]).ended(1).says("cannot be trusted").says("state restore");
        project.run(&["state", "verify"]).ended(1);
    }
    let flipped: Vec<u8> =
        whole.iter().enumerate().map(|(at, it)| if at == 40 { it ^ 1 } else { *it }).collect();
    fs::write(&path, flipped).expect("a file can be written");
    project.run(&["apply", "--auto-approve"]).ended(1).says("cannot be trusted");
    fs::write(&path, whole).expect("a file can be written");
    project.run(&["state", "verify"]).ended(0).says("serial 1");
    project.plans_empty();
}

#[test]
fn a_kept_predecessor_is_restored_under_a_new_serial() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let none = project.run(&["state", "restore"]).ended(0).says("state rebuild");
    assert_eq!(none.stdout, "", "talk is no list");
    project.run(&["state", "rm", "consumer.S.C"]).ended(0);
    fs::write(project.path("state/test.json"), "").expect("a file can be written");
    project.run(&["state", "restore"]).ended(0).says("1");
    project.run(&["state", "restore", "1"]).ended(0).says("State serial 3.");
    project.run(&["state", "list"]).ended(0).says("consumer.S.C");
    project.plans_empty();
}

#[test]
fn push_refuses_what_would_lose_something() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let pulled = project.run(&["state", "pull"]).ended(0).stdout;
    fs::write(project.path("one.json"), &pulled).expect("a file can be written");
    project.run(&["state", "rm", "consumer.S.C"]).ended(0);
    project.run(&["state", "push", "one.json"]).ended(1).says("serial 1, and the present one 2");
    project.run(&["state", "push", "--force", "one.json"]).ended(0);
    assert_eq!(project.run(&["state", "pull"]).ended(0).stdout, pulled);
    project.run(&["state", "restore"]).ended(0).says("2\n");
    fs::write(project.path("state/test.json"), "damaged").expect("a file can be written");
    project.run(&["state", "push", "--force", "one.json"]).ended(0);
    fs::write(project.path("no.json"), "{}").expect("a file can be written");
    project.run(&["state", "push", "no.json"]).ended(1).says("push what `jsplan state pull`");
    let elsewhere = self::server();
    let other = Project::new(&elsewhere, SPEC);
    other.apply();
    let foreign = other.run(&["state", "pull"]).ended(0).stdout;
    fs::write(project.path("two.json"), foreign).expect("a file can be written");
    project.run(&["state", "push", "two.json"]).ended(1).says("another lineage");
}

#[test]
fn only_the_owner_may_read_state_and_plan() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    project.run(&["plan", "--destroy", "--out", "plan.jsplan"]).ended(0);
    for file in ["state/test.json", "plan.jsplan"] {
        let mode = fs::metadata(project.path(file)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn an_apply_killed_at_any_moment_loses_nothing_and_the_next_one_finishes_it() {
    let server = server();
    let spec: String =
        (0..200).map(|it| format!("[streams.S{it:03}]\nsubjects = [\"s.{it}\"]\n")).collect();
    let project = Project::new(&server, &spec);
    for reached in [1, 60, 120] {
        let mut apply = project.start(&["apply", "--auto-approve", "--parallelism", "2"]);
        wait_for("streams appear", || streams(&server).len() >= reached);
        apply.kill().expect("it is ours");
        apply.wait().expect("it ends");
        let live = streams(&server);
        project.run(&["state", "verify"]).ended(0);
        let owned = project.run(&["state", "list"]).ended(0).stdout;
        for address in owned.lines() {
            let name = address.trim_start_matches("stream.").to_owned();
            assert!(live.contains(&name), "{address} is recorded and not live");
        }
        assert!(owned.lines().count() + 2 >= live.len(), "a finished step was forgotten");
        project.run(&["plan"]).ended(0).says("0 to change, 0 to destroy");
    }
    project.apply();
    project.plans_empty();
    assert_eq!(streams(&server).len(), 200);
    let owned = project.state()["resources"].as_object().expect("an object").len();
    assert_eq!(owned, 200);
}

#[test]
fn a_torn_line_of_a_journal_is_left_aside_and_a_journal_of_another_state_wholly() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let before = project.run(&["state", "pull"]).ended(0).stdout;
    let mut state = State::read(&before).expect("it is whole");
    state.serial += 1;
    let whole = state.journal() + &gone("consumer.S.C");
    let torn = whole.clone() + gone("stream.S").trim_end();
    let path = project.path("state/test.journal");
    fs::write(&path, &torn).expect("a file can be written");
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "stream.S\n");
    fs::write(&path, torn.replace(&state.lineage, "another")).expect("a file can be written");
    assert_eq!(project.run(&["state", "pull"]).ended(0).stdout, before);
    fs::write(&path, &torn).expect("a file can be written");
    project.apply().says("1 to import");
    assert!(!path.exists());
    project.plans_empty();
    assert_eq!(project.state()["serial"], 3);
}

#[test]
fn a_journal_that_was_cut_within_a_letter_stops_nothing() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let mut state = State::read(&project.run(&["state", "pull"]).stdout).expect("it is whole");
    state.serial += 1;
    let mut torn = (state.journal() + &gone("consumer.S.C")).into_bytes();
    torn.extend(&"0123456789abcdef {\"é".as_bytes()[..20]);
    fs::write(project.path("state/test.journal"), torn).expect("a file can be written");
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "stream.S\n");
}

#[test]
fn what_a_killed_apply_did_is_kept_before_the_state_is_changed_by_hand() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let mut state = State::read(&project.run(&["state", "pull"]).stdout).expect("it is whole");
    state.serial += 1;
    let journal = state.journal() + &gone("consumer.S.C");
    fs::write(project.path("state/test.journal"), journal).expect("a file can be written");
    project.run(&["state", "rm", "stream.S"]).ended(0).says("State serial 3.");
    project.run(&["state", "restore", "2"]).ended(0);
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "stream.S\n");
}

#[test]
fn destroy_takes_only_what_is_owned_and_leaves_an_empty_state() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    ask(
        &server,
        "CONSUMER.CREATE.S.THEIRS",
        &serde_json::json!({ "stream_name": "S", "config": { "durable_name": "THEIRS" } }),
    );
    project
        .run(&["apply", "--destroy", "--auto-approve"])
        .ended(1)
        .says("consumer.S.THEIRS")
        .says("not managed");
    ask(&server, "CONSUMER.DELETE.S.THEIRS", &serde_json::Value::Null);
    project.run(&["apply", "--destroy", "--auto-approve"]).ended(0).says("2 destroyed");
    assert!(streams(&server).is_empty());
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "");
}

#[test]
fn a_state_of_a_later_format_is_refused_by_its_version_whatever_else_it_holds() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.apply();
    let state = project.state();
    let seal = |mut value: serde_json::Value| {
        value["version"] = 2.into();
        value.as_object_mut().expect("an object").remove("sha256");
        jsplan::seal::write(&value)
    };
    let mut strange = state.clone();
    strange["resources"] = "kept elsewhere since version 2".into();
    for later in [state, strange] {
        fs::write(project.path("state/test.json"), seal(later)).expect("a file can be written");
        project.run(&["plan"]).ended(1).says("format version 2").says("knows up to 1");
    }
}
