//! The command line itself: exit codes, flags, colours, what is said to whom.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{
    client::{create, meddle},
    project::{Project, wait_for},
    server::{nats_server, server},
};

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n";

#[test]
fn a_usage_error_is_a_failure_and_never_looks_like_changes() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.run(&["plan", "--no-such-flag"]).ended(1).says("--no-such-flag");
    project.run(&["plna"]).ended(1).says("plan");
    project
        .run(&["plan", "--allow", "data-los=stream.S"])
        .ended(1)
        .says("did you mean `data-loss`?");
    project.run(&["plan", "--target", "S"]).ended(1).says("`S` is no address");
}

#[test]
fn one_dash_is_as_good_as_two() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.run(&["apply", "-auto-approve"]).ended(0);
    project.run(&["plan", "-detailed-exitcode"]).ended(0);
}

#[test]
fn colour_follows_the_flags_then_the_variables_then_the_terminal() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let colours = |variables: &[(&str, &str)], flags: &[&str]| {
        let arguments = [&["plan"], flags].concat();
        project.run_with(variables, &arguments).ended(0).stdout.contains('\u{1b}')
    };
    assert!(!colours(&[], &[]), "not a terminal");
    assert!(colours(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!colours(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[]));
    assert!(colours(&[("NO_COLOR", "1")], &["--color", "always"]));
    assert!(!colours(&[("CLICOLOR_FORCE", "1")], &["--color", "never"]));
    assert!(!colours(&[("CLICOLOR_FORCE", "1")], &["--no-color"]));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = server();
    let spec: String =
        (0..400).map(|it| format!("[streams.S{it}]\nsubjects = [\"s.{it}\"]\n")).collect();
    let project = Project::new(&server, &spec);
    let mut plan = project.start(&["plan"]);
    let mut first = String::new();
    let stdout = plan.stdout.take().expect("it was piped");
    BufReader::with_capacity(16, stdout).read_line(&mut first).expect("it writes");
    assert!(plan.wait().expect("it ends").success());
}

#[test]
fn how_a_command_ends_does_not_hang_on_its_reader() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let ends = |arguments: &[&str]| {
        let mut child = project.start(arguments);
        drop(child.stdout.take());
        child.wait().expect("it ends").code()
    };
    assert_eq!(ends(&["plan", "--detailed-exitcode"]), Some(2));
    assert_eq!(ends(&["apply", "--auto-approve"]), Some(1), "nobody saw the plan");
    assert_eq!(project.run(&["state", "list"]).ended(0).stdout, "");
    project.apply();
    meddle(&server, "S", &json!({ "max_msgs": 5 }));
    assert_eq!(ends(&["drift"]), Some(2));
}

#[test]
fn a_hint_leads_to_the_same_folder_and_server_and_repeats_no_secret() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let plan = project.run(&["plan", "--out", "p.jsplan"]).ended(0);
    let command = format!("jsplan apply --env test --server {} p.jsplan", server.url());
    assert!(plan.stderr.contains(&command), "{plan}");
    let url = server.url().replace("://", "://ann:secret@");
    let plan = project.run_elsewhere(&["plan", "--chdir", ".", "--out", "p"], &url).ended(0);
    plan.says("--chdir . --server nats://***@127.0.0.1").never_says("secret");
}

#[test]
fn paths_start_from_the_folder_that_is_named() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let spec = format!("[server]\nurl = \"{}\"\nuser = \"ann\"\n", server.url());
    let spec = format!("{spec}password = \"file:secrets/word\"\n");
    fs::create_dir_all(project.path("inner/environments")).expect("a folder can be made");
    fs::create_dir_all(project.path("inner/secrets")).expect("a folder can be made");
    fs::write(project.path("inner/environments/test.toml"), spec).expect("it can be written");
    fs::write(project.path("inner/secrets/word"), "secret").expect("it can be written");
    project.run_as_the_spec_says(&["plan", "--chdir", "inner"]).ended(0).says("No changes.");
    project.run(&["plan", "--chdir", "nowhere"]).ended(1).says("cannot work in `nowhere`");
}

#[test]
fn specs_that_extend_each_other_are_still_found_and_refused() {
    let server = server();
    let project = Project::new(&server, "");
    fs::write(project.path("environments/test.toml"), "extends = \"test.toml\"\n")
        .expect("a file can be written");
    project.run(&["validate"]).ended(1).says("environments/test.toml:1:11");
}

#[test]
fn a_file_that_cannot_be_read_is_named_once() {
    let server = server();
    let project = Project::new(&server, "");
    fs::write(project.path("environments/test.toml"), b"\xff\xfe").expect("it can be written");
    project
        .run(&["validate"])
        .ended(1)
        .says("`environments/test.toml` cannot be read: stream did not contain valid UTF-8");
    fs::create_dir(project.path("taken")).expect("a folder can be made");
    let project = Project::new(&server, SPEC);
    project.run(&["plan", "--out", "no/such/folder"]).ended(1).never_says(".tmp");
}

#[test]
fn one_is_not_many() {
    let server = server();
    let project = Project::new(&server, SPEC);
    project.run(&["validate"]).ended(0).says("is valid: 1 resource.");
    project.apply();
    project.run(&["state", "verify"]).ended(0).says("serial 1, 1 resource.");
}

#[test]
fn an_environment_is_named_unless_there_is_only_one() {
    let server = server();
    let project = Project::shipped(&server, "deb");
    project
        .run(&["plan"])
        .ended(1)
        .says("there is no environment `deb`")
        .says("did you mean `dev`?");
    let project = Project::shipped(&server, "base");
    project.run(&["plan"]).ended(1).says("`base` is no environment: another spec extends it");
    let project = Project::shipped(&server, "../dev");
    project.run(&["plan"]).ended(1).says("there is no environment");
}

#[test]
fn every_shipped_environment_is_valid() {
    let server = server();
    for env in ["dev", "staging", "prod"] {
        Project::shipped(&server, env).run(&["validate"]).ended(0).says("is valid: 9 resources");
    }
}

#[test]
fn validate_as_json_says_where_each_mistake_is() {
    let server = server();
    let project = Project::new(&server, "[streams.S]\nmax_mesages = 5\nmax_age = 5\n");
    let output = project.run(&["validate", "--json"]).ended(1);
    let json: Value = serde_json::from_str(&output.stdout).expect("stdout is JSON");
    assert_eq!((&json["valid"], &json["error_count"]), (&json!(false), &json!(2)));
    assert_eq!(json["diagnostics"][0]["range"]["start"]["line"], 4);
}

#[test]
fn what_a_server_says_cannot_move_the_cursor() {
    let server = server();
    let evil = "\u{1b}[2J\u{1b}]0;title\u{7} \u{202e}No changes.";
    create(&server, &json!({ "name": "S", "subjects": ["s"], "description": evil }));
    let project = Project::new(&server, SPEC);
    for arguments in [&["plan"][..], &["plan", "--json"], &["drift"], &["apply", "--auto-approve"]]
    {
        let output = project.run(arguments);
        for text in [&output.stdout, &output.stderr] {
            let harmful = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
            assert!(!text.contains(harmful), "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn a_refused_connection_names_the_place_and_the_remedy() {
    let project = {
        let server = server();
        Project::new(&server, SPEC)
    };
    project.run(&["plan"]).ended(1).says("127.0.0.1").says("help:");
}

#[test]
fn plan_as_json_is_terraforms_representation() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let output = project.run(&["plan", "--json"]).ended(0);
    let json: Value = serde_json::from_str(&output.stdout).expect("stdout is JSON");
    let change = &json["resource_changes"][0];
    assert_eq!(json["format_version"], "1.2");
    assert_eq!(
        (&change["address"], &change["type"]),
        (&json!("stream.S"), &json!("jetstream_stream"))
    );
    assert_eq!(change["change"]["actions"], json!(["create"]));
}

#[test]
fn a_sandbox_runs_until_it_is_ended() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let binary = nats_server().display().to_string();
    let up = ["sandbox", "up", "--port", "0", "--nats-server", &binary];
    let url = project.run(&up).ended(0).stdout.trim().to_owned();
    project.run(&up).ended(1).says("a sandbox is running at");
    project.run(&["sandbox", "status"]).ended(0).says(&url);
    project.run_elsewhere(&["apply", "--auto-approve"], &url).ended(0).says("1 added");
    project.run(&["sandbox", "down"]).ended(0).says("Ended 1 server");
    project.run(&["sandbox", "status"]).ended(1).says("there is no sandbox");
    assert!(!project.path("state/sandbox").exists());
}

#[test]
fn the_demo_shows_the_main_job_and_leaves_nothing_behind() {
    let server = server();
    let project = Project::new(&server, SPEC);
    let binary = nats_server().display().to_string();
    let before = project.files();
    let temporary = project.path("tmp");
    fs::create_dir(&temporary).expect("a folder can be made");
    let variables = [("TMPDIR", temporary.to_str().expect("it is UTF-8"))];
    project
        .run_with(&variables, &["demo", "--nats-server", &binary, "--color", "never"])
        .ended(0)
        .says("Plan: 6 to add, 0 to change, 0 to destroy.")
        .says("No changes. Your infrastructure matches the configuration.")
        .says("max_age  24h -> 12h")
        .says("Apply complete! Resources: 0 added, 1 changed, 0 destroyed.")
        .says("900 messages would be deleted by 1 action.")
        .says("stream.INGEST_RAW_V2: Creation complete");
    assert_eq!(fs::read_dir(&temporary).expect("it is there").count(), 0);
    let mut ended = project.start_with(&variables, &["demo", "--nats-server", &binary]);
    wait_for("it is at work", || {
        let folders = fs::read_dir(&temporary).expect("it is there");
        folders.filter_map(Result::ok).any(|it| it.path().join("state/dev.lock").exists())
    });
    let sent = Command::new("kill").args(["-TERM", &ended.id().to_string()]).status();
    assert!(sent.expect("`kill` runs").success());
    assert_eq!(ended.wait().expect("it ends").code(), Some(1));
    assert_eq!(fs::read_dir(&temporary).expect("it is there").count(), 0);
    fs::remove_dir(&temporary).expect("it is empty");
    assert_eq!(project.files(), before);
}

#[test]
fn the_schema_is_printed_without_an_environment() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_jsplan"))
        .arg("schema")
        .current_dir(folder.path())
        .output()
        .expect("jsplan runs");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("it is text");
    assert_eq!(printed, jsplan::reference::schema::schema());
}
