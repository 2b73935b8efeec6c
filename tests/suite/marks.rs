//! Marks of ownership: what is written bears one, and what bears another's is not taken unasked.

use serde_json::{Value, json};

use crate::support::{
    client::{consumer, create, meddle, stream},
    project::Project,
    server::server,
};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n[streams.S.consumers.C]\n";

fn lineage(of: &Value) -> Option<&str> {
    of["metadata"]["jsplan.lineage"].as_str()
}

#[test]
fn what_is_written_bears_the_mark_of_its_state_and_what_is_adopted_is_left_alone() {
    let server = server();
    create(&server, &json!({ "name": "OLD", "subjects": ["old"] }));
    let project = Project::new(&server, &format!("{SPEC}[streams.OLD]\nsubjects = [\"old\"]\n"));
    project.apply().says("1 imported");
    let ours = project.state()["lineage"].as_str().expect("a text").to_owned();
    for marked in [stream(&server, "S"), consumer(&server, "S", "C")["config"].clone()] {
        assert_eq!(lineage(&marked), Some(ours.as_str()), "{marked}");
        assert_eq!(marked["metadata"]["jsplan.environment"], "test");
    }
    assert_eq!(lineage(&stream(&server, "OLD")), None);
    project.run(&["drift"]).ended(0);
    project.write_spec(&format!(
        "{SPEC}[streams.OLD]\nsubjects = [\"old\"]\nmax_msgs = 9\nmetadata = {{ team = \"a\" }}\n"
    ));
    project.apply();
    let old = stream(&server, "OLD");
    assert_eq!(lineage(&old), Some(ours.as_str()));
    assert_eq!(old["metadata"]["team"], "a");
    project.plans_empty();
}

#[test]
fn what_another_state_owns_is_taken_only_where_that_is_allowed() {
    let server = server();
    let first = Project::new(&server, SPEC);
    first.apply();
    let second = Project::new(&server, &SPEC.replace("\"s\"]", "\"s\"]\nmax_msgs = 9"));
    let refused = second.run(&["apply", "--auto-approve"]).ended(1);
    refused.says("earlier state of this environment").says("state rebuild").says("owner]");
    assert_eq!(stream(&server, "S")["max_msgs"], -1);
    let both = ["--allow", "takeover=stream.S", "--allow", "takeover=consumer.S.C"];
    second.run(&[&["apply", "--auto-approve"][..], &both].concat()).ended(0);
    second.plans_empty();
    let theirs = second.state()["lineage"].as_str().expect("a text").to_owned();
    assert_eq!(lineage(&stream(&server, "S")), Some(theirs.as_str()));
    // The first sees drift, and does not silently fight back.
    let refused = first.run(&["apply", "--auto-approve"]).ended(1);
    refused.says("another state owns it too").says("jsplan state rm");
    first.run(&["plan", "--destroy"]).ended(1).says("takeover=stream.S");
    let gone = first.run(&["state", "rm", "stream.S"]).ended(0);
    gone.says("another state takes it with `--allow takeover=stream.S`");
}

#[test]
fn of_all_only_what_nobody_owns_is_imported() {
    let server = server();
    let first = Project::new(&server, SPEC);
    first.apply();
    create(&server, &json!({ "name": "FREE", "subjects": ["free"] }));
    let second = Project::new(&server, "");
    let all = second.run(&["import", "--all", "--write"]).ended(0);
    all.says("`stream.S` is not imported").says("owns it");
    assert_eq!(second.run(&["state", "list"]).ended(0).stdout, "stream.FREE\n");
    second.run(&["import", "stream.S", "--write"]).ended(0);
    let owned = second.run(&["state", "list"]).ended(0).stdout;
    assert_eq!(owned, "stream.FREE\nstream.S\nconsumer.S.C\n");
    second.plans_empty();
}

#[test]
fn a_rebuilt_state_takes_what_is_marked_and_says_what_is_not() {
    let server = server();
    create(&server, &json!({ "name": "OLD", "subjects": ["old"] }));
    let spec = format!("{SPEC}[streams.OLD]\nsubjects = [\"old\"]\n");
    let project = Project::new(&server, &spec);
    project.apply();
    project.run(&["state", "rebuild"]).ended(1).says("the state is whole: serial 1");
    let lineage = project.state()["lineage"].clone();
    for file in ["state/test.json", "state/test.seen"] {
        std::fs::remove_file(project.path(file)).expect("it is there");
    }
    let rebuilt = project.run(&["state", "rebuild"]).ended(0);
    rebuilt.says("2 resources with its mark").says("adopts them:\n  stream.OLD\n");
    assert_eq!(project.state()["lineage"], lineage);
    project.apply().says("1 imported");
    project.plans_empty();
    // What differs from the spec is owned all the same, and planned.
    meddle(&server, "S", &json!({ "max_msgs": 7 }));
    std::fs::remove_file(project.path("state/test.json")).expect("it is there");
    project.run(&["state", "rebuild"]).ended(0);
    project.run(&["plan"]).ended(0).says("1 to import, 0 to add, 1 to change, 0 to destroy");
    project.write_spec("");
    project.run(&["plan"]).ended(0).says("consumer.S.C will be destroyed");
}
