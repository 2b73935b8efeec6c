//! Messages that go through a program on their way: each arrives once, in order, as the program makes
//! it, and what it rejects is kept with its reason.

use std::collections::BTreeMap;

use jsplan::io::{run, server::Server};
use serde_json::{Value, json};

use super::support::{
    client::{Client, messages, publish, stream, streams},
    project::{Output, Project, wait_for},
    server::server,
};

const OLD: &str = "[streams.OLD]\nsubjects = [\"a.>\"]\nmax_age = \"1d\"\n";
const NEW: &str = "[streams.NEW]\nsubjects = [\"a.>\"]\nmax_age = \"1d\"\n\
                   [streams.DEAD]\nsubjects = [\"dead.>\"]\n";

/// Rejects what ends in seven, and gives the others a new shape.
const PROGRAM: &str = r#"["sed", "-u", "-E", 's/.*"message [0-9]*7".*/{"reject":"seven"}/;t;s/.*"message ([0-9]+)".*/{"payload":"v2 \1"}/']"#;

/// One that takes its time.
const SLOW: &str =
    r#"["sh", "-c", '''while read -r line; do sleep 0.01; echo "{\"payload\":\"slow\"}"; done''']"#;

fn migration(project: &Project, program: &str) {
    let steps = [
        ("proved", "do = \"wait\"\n"),
        ("same", "do = \"verify\"\n"),
        ("park", "do = \"park\"\n"),
        ("drained", "do = \"wait\"\n"),
        ("complete", "do = \"verify\"\n"),
        ("bind", "do = \"bind\"\n"),
    ];
    let steps: String = steps.map(|(id, does)| format!("[[step]]\nid = \"{id}\"\n{does}")).concat();
    let text = format!(
        "[migration]\nreason = \"amounts are numbers\"\nstrategy = \"same-subjects-source\"\n\
         from = \"OLD\"\nto = \"NEW\"\n[[step]]\nid = \"copy\"\ndo = \"source\"\nexec = {program}\n\
         dead_letters = \"DEAD\"\n{steps}"
    );
    project.write("environments/migrations/0001_shape.toml", &text);
    project.run(&["migrate", "hash"]).ended(0);
}

/// A project whose stream holds messages that are to go through a program.
fn begun(server: &Server, count: u64, program: &str) -> Project {
    let project = Project::new(server, OLD);
    project.apply();
    publish(server, "a.x", count);
    project.write_spec(NEW);
    migration(&project, program);
    project
}

/// What a stream holds, oldest first: payloads, with the headers that say where each comes from.
fn held(server: &Server, name: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let last = stream_last(server, name);
    run(async {
        let client = Client::connect(server.url()).await;
        let mut found = Vec::new();
        for sequence in 1..=last {
            let subject = format!("STREAM.MSG.GET.{name}");
            let reply = client.ask(&subject, &json!({ "seq": sequence })).await;
            let message = &reply["message"];
            let text = |it: &Value| {
                let bytes =
                    data_encoding::BASE64.decode(it.as_str().unwrap_or_default().as_bytes());
                String::from_utf8(bytes.expect("base64")).expect("UTF-8")
            };
            let headers = text(&message["hdrs"]);
            let headers = headers.lines().filter_map(|it| it.split_once(": "));
            let headers = headers.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            found.push((text(&message["data"]), headers));
        }
        found
    })
}

fn stream_last(server: &Server, name: &str) -> u64 {
    let info = super::support::client::ask(server, &format!("STREAM.INFO.{name}"), &Value::Null);
    info["state"]["last_seq"].as_u64().expect("a sequence")
}

#[test]
fn each_message_arrives_once_as_the_program_makes_it_and_what_it_rejects_is_kept_with_its_reason() {
    let server = server();
    let project = begun(&server, 600, PROGRAM);
    let said = project.apply();
    said.says("540 messages copied through the program, 60 messages to the dead letters")
        .says("540 messages equal, in order, 60 rejected")
        .says("0001 shape is done");
    let made: Vec<String> = held(&server, "NEW").into_iter().map(|it| it.0).collect();
    let expected = (0..600).filter(|it| it % 10 != 7).map(|it| format!("v2 {it}"));
    assert_eq!(made, expected.collect::<Vec<_>>());
    let dead = held(&server, "DEAD");
    assert_eq!(dead.len(), 60);
    assert_eq!(dead[0].0, "message 7", "it is kept as it was");
    assert_eq!(dead[0].1["Jsplan-Reason"], "seven");
    assert_eq!(dead[0].1["Jsplan-Origin"], "OLD 8");
    assert_eq!(stream(&server, "NEW")["subjects"], json!(["a.>"]));
    project.plans_empty();
}

#[test]
fn a_copy_that_is_killed_goes_on_behind_the_last_message_that_arrived() {
    let server = server();
    let project = begun(&server, 700, SLOW);
    let mut child = project.start(&["apply", "--auto-approve"]);
    wait_for("some have arrived", || {
        streams(&server).contains(&"NEW".to_owned()) && messages(&server, "NEW") >= 256
    });
    child.kill().expect("it runs");
    Output::ending(child);
    let first = messages(&server, "NEW");
    assert!(first < 700, "it was killed in the middle, at {first}");
    project.run(&["apply", "--auto-approve"]).ended(1).says("stopped in step `copy`");
    let said = project.run(&["migrate", "resume", "--auto-approve"]).ended(0);
    said.says("0001 shape is done");
    let origins = held(&server, "NEW").into_iter().map(|it| it.1["Jsplan-Origin"].clone());
    let expected = (1..=700).map(|it| format!("OLD {it}"));
    assert_eq!(origins.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn a_program_that_gives_up_is_named_and_another_one_goes_on() {
    let server = server();
    let project = begun(&server, 300, r#"["sed", "-u", "-e", 's/.*/{"payload":"x"}/;7q']"#);
    let said = project.run(&["apply", "--auto-approve"]).ended(1);
    said.says("ended before it answered every line").says("jsplan migrate resume");
    // Another answer than the first would be found by the proof.
    migration(&project, r#"["sed", "-u", "-e", 's/.*/{"payload":"x"}/']"#);
    project.run(&["migrate", "resume", "--auto-approve"]).ended(0).says("0001 shape is done");
    assert_eq!(messages(&server, "NEW"), 300);
}

#[test]
fn what_a_program_must_not_answer_is_said_with_the_message_it_is_about() {
    let cases = [
        (r#"["sed", "-u", "-e", "s/.*/nonsense/"]"#, "answered message 1 with what is no answer"),
        (r#"["sed", "-u", "-e", 's/.*/{"payloat":"x"}/']"#, "unknown field `payloat`"),
        (r#"["sed", "-u", "-e", 's/.*/{"headers":{"A":1}}/']"#, "header `A` is no text"),
        (r#"["./nowhere"]"#, "`./nowhere` cannot be run"),
    ];
    for (program, complaint) in cases {
        let server = server();
        let project = begun(&server, 3, program);
        project.run(&["apply", "--auto-approve"]).ended(1).says(complaint);
        assert_eq!(messages(&server, "NEW"), 0);
        // Nothing was taken away, and all of it goes again.
        project.run(&["migrate", "rollback", "0001", "--auto-approve"]).ended(0);
        assert_eq!(messages(&server, "OLD"), 3);
    }
}

#[test]
fn a_program_that_changes_its_mind_is_caught_before_anything_is_bound() {
    let server = server();
    let counts = r#"["sh", "-c", '''while read -r line; do echo "{\"payload\":\"$$\"}"; done''']"#;
    let project = begun(&server, 20, counts);
    project.run(&["apply", "--auto-approve"]).ended(1).says("message 1 of the origin");
    assert_eq!(stream(&server, "OLD")["subjects"], json!(["a.>"]));
}
