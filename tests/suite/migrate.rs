//! Migrations as people meet them: what a plan says, where a run stops, what a failure leaves, and
//! who may go on. That no message is lost on the way is shown by `tests/migrate`.

use jsplan::io::{run, server::Server};
use serde_json::{Value, json};

use super::{
    proof::lose_the_end,
    support::{
        client::{ask, create_consumer, meddle, messages, publish, stream, streams},
        project::{Project, wait_for},
        server::server,
    },
};

/// A stream as it was, and as it is to be.
const OLD: &str = "[streams.OLD]\nsubjects = [\"a.v1.>\"]\nmax_age = \"1d\"\n\
                   [streams.OLD.consumers.READER]\nack_policy = \"explicit\"\n";
const NEW: &str = "[streams.NEW]\nsubjects = [\"a.v2.>\"]\nmax_age = \"1d\"\n\
                   [streams.NEW.consumers.READER]\nack_policy = \"explicit\"\n";

/// The same subjects under another name.
const RENAMED: &str = "[streams.NEW]\nsubjects = [\"a.v1.>\"]\nmax_age = \"1d\"\n\
                       [streams.NEW.consumers.READER]\nack_policy = \"explicit\"\n";

const MAP: &str = "a.v1.>=a.v2.>";

/// Writes a migration for a strategy, with what a test changes of it.
fn migration(project: &Project, strategy: &str, change: impl Fn(String) -> String) {
    let command =
        ["migrate", "new", "next", "--strategy", strategy, "--from", "OLD", "--to", "NEW"];
    let map: &[&str] = if strategy == "new-subjects" { &["--map", MAP] } else { &[] };
    let written = project.run(&[&command, map].concat()).ended(0);
    let path = written.stdout.trim().to_owned();
    project.write(&path, &change(project.read(&path)));
    project.run(&["migrate", "hash"]).ended(0);
}

/// A soak that is over as soon as somebody looks.
fn brief(text: String) -> String {
    text.replace("idle = \"72h\"", "at_least = \"1ms\"")
}

/// The same without a gate to be approved.
fn at_once(text: String) -> String {
    brief(text).replace("approve = [\"test\"]\n", "")
}

/// Goes on until the soak is over, which counts whole seconds.
fn finish(project: &Project) {
    wait_for("the soak is over", || {
        let run = project.run(&["migrate", "apply", "--auto-approve"]).ended(0);
        run.stderr.contains("0001 next is done")
    });
}

/// A project whose stream holds messages, and whose spec is then this.
fn begun(server: &Server, spec: &str) -> Project {
    let project = Project::new(server, OLD);
    project.apply();
    publish(server, "a.v1.x", 50);
    project.write_spec(spec);
    project
}

#[test]
fn an_apply_runs_to_the_gate_and_goes_on_from_it_once_it_is_approved() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", brief);
    let plan = ["plan", "--detailed-exitcode"];
    project.run(&plan).ended(2).says("copy       make NEW").says("then waits for approval");
    let said = project.apply().says("50 messages equal, in order").says("waits for approval");
    said.says("jsplan migrate apply --approve 0001");
    let status = project.run(&["migrate", "status"]).ended(0);
    status.says("50 messages equal, in order, on 1 subject").says("50 a.v2.x");
    // What waits for somebody is no change, and nothing is done without them.
    project.run(&plan).ended(0).says("waits for approval of `ready`");
    project.apply();
    assert_eq!(stream(&server, "NEW")["subjects"], json!(["_jsplan.parked.NEW"]));
    project.run(&["apply", "--auto-approve", "--approve", "0001"]).ended(0).says("a soak of");
    finish(&project);
    assert_eq!(stream(&server, "NEW")["subjects"], json!(["a.v2.>"]));
    assert_eq!(stream(&server, "NEW")["sources"], json!(null));
    assert_eq!(stream(&server, "OLD")["sealed"], json!(true));
    project.plans_empty();
    // In each environment the block of what was retired can go at its own time.
    project.write_spec(NEW);
    project.plans_empty();
    assert_eq!(messages(&server, "OLD"), 50);
}

#[test]
fn what_somebody_else_has_bound_is_not_deleted_on_the_way_back() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", brief);
    project.apply().says("waits for approval");
    meddle(&server, "NEW", &json!({ "subjects": ["a.v2.>"] }));
    publish(&server, "a.v2.x", 7);
    let back = project.run(&["migrate", "rollback", "0001", "--auto-approve"]).ended(1);
    back.says("`NEW` takes a.v2.>, which no step gave it").says("jsplan migrate resume");
    assert_eq!(messages(&server, "NEW"), 57);
    // From behind the bind they go back like all that it took.
    project.run(&["migrate", "apply", "--auto-approve", "--approve", "0001"]).ended(0);
    project.run(&["migrate", "rollback", "0001", "--auto-approve"]).ended(0);
    assert_eq!((messages(&server, "OLD"), streams(&server)), (57, vec!["OLD".to_owned()]));
}

#[test]
fn a_gate_may_stand_before_everything_else() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", |it| {
        let gate = "[[step]]\nid = \"asked\"\ndo = \"gate\"\napprove = [\"test\"]\n\n";
        at_once(it).replacen("[[step]]", &format!("{gate}[[step]]"), 1)
    });
    project.apply().says("waits for approval of `asked`");
    assert_eq!(streams(&server), ["OLD"]);
    project.run(&["migrate", "apply", "--auto-approve", "--approve", "0001"]).ended(0);
    finish(&project);
}

#[test]
fn a_saved_plan_does_the_steps_that_were_reviewed_and_no_others() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", brief);
    project.run(&["plan", "--out", "p"]).ended(0);
    project.run(&["show", "p"]).ended(0).says("copy       make NEW");
    let path = "environments/migrations/0001_next.toml";
    let reviewed = project.read(path);
    project.write(path, &reviewed.replace("within = \"1h\"", "within = \"2h\""));
    project.run(&["apply", "p"]).ended(1).says("integrity");
    project.run(&["migrate", "hash"]).ended(0);
    project.run(&["apply", "p"]).ended(1).says("migration 0001 next is not as it was");
    assert_eq!(streams(&server), ["OLD"]);
    project.write(path, &reviewed);
    project.run(&["migrate", "hash"]).ended(0);
    project.run(&["apply", "p"]).ended(0).says("waits for approval");
    project.run(&["apply", "p"]).ended(1).says("stale");
}

#[test]
fn an_environment_that_asks_for_a_signature_migrates_by_signed_plans_alone() {
    let server = server();
    let project = begun(&server, RENAMED);
    migration(&project, "same-subjects-source", brief);
    let key = "UAH42UG6PV552P5SWLWTBP3H3S5BHAVCO2IEKEXUANJXR75J63RQ5WM6";
    let signed = format!("[environment]\nrequire_signed_by = [\"{key}\"]\n{RENAMED}");
    project.write_spec(&signed);
    for command in [["migrate", "apply"], ["apply", "--parallelism=1"]] {
        let refused = project.run(&[command[0], command[1], "--auto-approve"]);
        refused.ended(1).says("asks for a signed plan");
    }
    assert_eq!(streams(&server), ["OLD"]);
}

#[test]
fn an_environment_waits_until_the_one_before_it_has_done_the_same() {
    let server = server();
    let elsewhere = super::support::server::server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    let second = format!("[server]\nurl = \"{}\"\n{OLD}", elsewhere.url());
    project.write("environments/later.toml", &second);
    project.run_in("later", &["apply", "--auto-approve"]).ended(0);
    project.write("environments/later.toml", &format!("{second}{NEW}"));
    let order =
        |text: String| at_once(text).replace("[\"later\", \"test\"]", "[\"test\", \"later\"]");
    migration(&project, "new-subjects", |it| order(it).replace("approve = [\"later\"]\n", ""));
    let later = |arguments: &[&str]| project.run_in("later", arguments);
    later(&["apply", "--auto-approve"]).ended(0).says("0001 next waits for test to have done it");
    assert_eq!(streams(&elsewhere), ["OLD"], "nothing was begun");
    project.apply();
    finish(&project);
    later(&["migrate", "status", "--all"]).ended(0).says("pending");
    // Another version of it counts for nothing.
    let path = "environments/migrations/0001_next.toml";
    let done = project.read(path);
    project.write(path, &done.replace("within = \"1h\"", "within = \"2h\""));
    project.run(&["migrate", "hash"]).ended(0);
    later(&["plan"]).ended(0).says("test, which did another version of it");
    project.write(path, &done);
    project.run(&["migrate", "hash"]).ended(0);
    later(&["apply", "--auto-approve"]).ended(0).says("1 migration goes on");
    assert_eq!(streams(&elsewhere).len(), 2);
}

#[test]
fn a_step_that_fails_leaves_what_is_true_and_what_to_do_about_it() {
    let server = server();
    let second = "[streams.NEW.consumers.SECOND]\nack_policy = \"explicit\"\n";
    let limited = NEW.replacen("max_age", "max_consumers = 2\nmax_age", 1) + second;
    let project = begun(&server, &format!("{OLD}{limited}"));
    migration(&project, "new-subjects", |it| {
        brief(it)
            .replace("do = \"consumers\"\n", "do = \"consumers\"\nonly = [\"READER\"]\n")
            .replacen(
                "[[step]]\nid = \"bind\"",
                "[[step]]\nid = \"more\"\ndo = \"consumers\"\n\n[[step]]\nid = \"bind\"",
                1,
            )
    });
    project.apply().says("waits for approval");
    // Somebody takes a place that was meant for another one.
    create_consumer(&server, "NEW", &json!({ "name": "THEIRS", "durable_name": "THEIRS" }));
    let approve = ["apply", "--auto-approve", "--approve", "0001"];
    let said = project.run(&approve).ended(1);
    said.says("one consumer more than the stream allows").says("jsplan migrate resume");
    let status = project.run(&["migrate", "status"]).ended(0);
    status
        .says("DIRTY")
        .says("`more` stopped")
        .says("now: NEW holds 50 messages")
        .says("repair 0001");
    // Nothing else is begun meanwhile, and nobody takes it for done.
    project.run(&["apply", "--auto-approve"]).ended(1).says("stopped in step `more`");
    let repair = ["migrate", "repair", "0001", "--step", "more", "--reason", "it is"];
    project.run(&repair).ended(1).says("is not what step `more` leads to");
    project
        .write_spec(&format!("{OLD}{}", limited.replace("max_consumers = 2", "max_consumers = 3")));
    project.run(&["migrate", "resume", "--auto-approve"]).ended(0);
    finish(&project);
    project.plans_empty();
}

#[test]
fn a_step_that_somebody_did_by_hand_is_noted_with_a_reason() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", |it| {
        at_once(it).replacen(
            "[[step]]\nid = \"copy\"",
            "[[step]]\nid = \"ready\"\ndo = \"assert\"\nempty = [\"stream.OLD\"]\n\n[[step]]\nid = \"copy\"",
            1,
        )
        .replacen("id = \"ready\"\ndo = \"gate\"", "id = \"go\"\ndo = \"gate\"", 1)
    });
    let said = project.run(&["apply", "--auto-approve"]).ended(1);
    said.says("`stream.OLD` holds 50 messages").says("jsplan migrate resume");
    let repair = |step: &str| {
        project.run(&["migrate", "repair", "0001", "--step", step, "--reason", "it may hold some"])
    };
    repair("copy").ended(1).says("is not the one that is next");
    repair("ready").ended(0).says("step `ready` of 0001 next counts as done");
    project.apply();
    finish(&project);
    let state = project.state();
    let step = &state["migrations"]["0001"]["steps"][0];
    assert_eq!(step["end"], json!({ "repaired": "it may hold some" }));
}

#[test]
fn no_plan_leads_across_the_steps_of_a_migration() {
    let server = server();
    let project = begun(&server, RENAMED);
    migration(&project, "same-subjects-source", brief);
    project.apply();
    project
        .run(&["rollback", "--to", "1", "--auto-approve"])
        .ended(1)
        .says("migrate rollback 0001");
    project.run(&["apply", "--destroy", "--auto-approve"]).ended(1).says("is under way");
    assert_eq!(messages(&server, "OLD"), 50);
}

#[test]
fn what_is_done_of_a_migration_cannot_be_edited_and_the_rest_can() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "new-subjects", brief);
    project.apply();
    let path = "environments/migrations/0001_next.toml";
    let done = project.read(path);
    project.write(path, &done.replace("within = \"1h\"", "within = \"2h\""));
    project.run(&["migrate", "hash"]).ended(0);
    project.run(&["plan"]).ended(1).says("was edited in step `caught-up`, which was begun");
    project.write(path, &done.replace("within = \"1m\"", "within = \"2m\""));
    project.run(&["migrate", "hash"]).ended(0);
    let approve = ["apply", "--auto-approve", "--approve", "0001"];
    project.run(&approve).ended(0);
    finish(&project);
}

#[test]
fn a_stream_is_deleted_at_the_end_only_with_consent_that_names_it() {
    let server = server();
    let project = begun(&server, RENAMED);
    migration(&project, "same-subjects-source", |it| {
        at_once(it).replace("mode = \"seal\"", "mode = \"delete\"")
    });
    project.apply();
    wait_for("the soak is over", || {
        let run = project.run(&["migrate", "apply", "--auto-approve"]).ended(0);
        run.stderr.contains("consent to delete OLD with its 50 messages")
    });
    assert_eq!(messages(&server, "OLD"), 50);
    let consent = ["migrate", "apply", "--auto-approve", "--allow", "destroy=stream.OLD"];
    project.run(&consent).ended(0).says("0001 next is done");
    assert_eq!(streams(&server), ["NEW"]);
    project.plans_empty();
    project
        .run(&["migrate", "rollback", "0001", "--auto-approve"])
        .ended(1)
        .says("point of no return");
}

#[test]
fn a_migration_that_was_taken_back_is_left_alone_until_somebody_names_it() {
    let server = server();
    let project = begun(&server, RENAMED);
    migration(&project, "same-subjects-mirror", brief);
    project.apply();
    let back = ["migrate", "rollback", "0001", "--auto-approve"];
    project.run(&back).ended(0).says("discard").says("0001 next was taken back");
    assert_eq!(streams(&server), ["OLD"]);
    project.plans_empty();
    project.apply();
    assert_eq!(streams(&server), ["OLD"]);
    project
        .run(&["migrate", "apply", "0001", "--auto-approve"])
        .ended(0)
        .says("waits for approval");
    project.run(&["apply", "--auto-approve", "--approve", "0001"]).ended(0);
    finish(&project);
    assert_eq!(messages(&server, "NEW"), 50);
    project.plans_empty();
}

#[test]
fn an_environment_that_begins_behind_a_migration_has_nothing_to_migrate() {
    let server = server();
    let project = Project::new(&server, RENAMED);
    migration(&project, "same-subjects-source", brief);
    project.apply().says("2 added").never_says("_jsplan");
    project.plans_empty();
    project.run(&["migrate", "status"]).ended(0).says("baselined");
    assert_eq!(stream(&server, "NEW")["subjects"], json!(["a.v1.>"]));
}

#[test]
fn drift_is_found_in_the_middle_of_a_migration() {
    let server = server();
    let project = begun(&server, RENAMED);
    migration(&project, "same-subjects-source", brief);
    project.apply();
    project.run(&["drift"]).ended(0);
    meddle(&server, "NEW", &json!({ "max_msgs": 7 }));
    project.run(&["drift"]).ended(2).says("max_msgs");
    project.apply();
    project.run(&["drift"]).ended(0);
}

#[test]
fn a_stream_that_moves_no_messages_begins_empty_beside_the_other() {
    let server = server();
    let project = begun(&server, &format!("{OLD}{NEW}"));
    migration(&project, "parallel", at_once);
    project.apply();
    finish(&project);
    assert_eq!((messages(&server, "OLD"), messages(&server, "NEW")), (50, 0));
    project.plans_empty();
}

#[test]
fn what_would_not_arrive_is_refused_before_anything_is_made() {
    let cases = [
        ("max_msgs = 49\n", "`max_msgs`"),
        ("max_msg_size = 9\n", "`max_msg_size`"),
        ("max_bytes = 300\n", "`max_bytes`"),
        ("max_msgs_per_subject = 5\n", "messages would be deleted"),
    ];
    for (limit, complaint) in cases {
        let server = server();
        let limited = RENAMED.replacen("max_age", &format!("{limit}max_age"), 1);
        let project = begun(&server, &limited);
        migration(&project, "same-subjects-source", brief);
        project.run(&["apply", "--auto-approve"]).ended(1).says(complaint);
        assert_eq!(streams(&server), ["OLD"], "{limit}");
        assert!(project.state()["migrations"].is_null(), "nothing was begun");
    }
}

/// What the server says to a message with this id.
fn published(server: &Server, id: &str) -> Value {
    run(async {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let answer = client.request_with_headers("a.v1.x", headers, "text".into()).await;
        serde_json::from_slice(&answer.expect("an answer").payload).expect("JSON")
    })
}

#[test]
fn a_retry_across_the_switch_is_recognised_unless_ids_repeat() {
    for repeats in [false, true] {
        let server = server();
        let window = if repeats { "duplicate_window = \"100ms\"\n" } else { "" };
        let project =
            Project::new(&server, &OLD.replacen("max_age", &format!("{window}max_age"), 1));
        project.apply();
        let first = published(&server, "one");
        assert!(first["error"].is_null() && first["duplicate"].is_null(), "{first}");
        let mut held = 1;
        if repeats {
            wait_for("the window is over", || published(&server, "one")["duplicate"].is_null());
            held += 1;
        }
        project.write_spec(RENAMED);
        migration(&project, "same-subjects-source", at_once);
        project.apply().says(&format!("{held} message"));
        assert_eq!(messages(&server, "NEW"), held, "none was dropped as a duplicate");
        let again = published(&server, "one");
        assert_eq!(again["duplicate"] == json!(true), !repeats, "{again}");
    }
}

#[test]
fn a_stream_that_lost_its_end_after_it_was_copied_is_never_switched_from() {
    for strategy in ["same-subjects-source", "same-subjects-mirror"] {
        let mut server = server();
        let project = Project::new(&server, OLD);
        project.apply();
        let publish = |server: &Server| {
            for _ in 0..3 {
                // All of one length, so that a number of them is a number of bytes.
                publish(server, "a.v1.x", 10);
            }
        };
        publish(&server);
        project.write_spec(RENAMED);
        migration(&project, strategy, brief);
        project.apply().says("30 messages equal");
        let info = ask(&server, "STREAM.INFO.OLD", &Value::Null);
        let each = info["state"]["bytes"].as_u64().expect("a number") / 30;
        lose_the_end(&mut server, "OLD", each, 10);
        for _ in 0..2 {
            super::support::client::publish(&server, "a.v1.y", 5);
        }
        wait_for("counts and sequences are equal", || {
            (messages(&server, "OLD"), messages(&server, "NEW")) == (30, 30)
        });
        let approve = ["migrate", "apply", "--auto-approve", "--approve", "0001"];
        let said = project.run_elsewhere(&approve, server.url()).ended(1);
        said.says("`OLD`").never_says("is done");
        assert_eq!(stream(&server, "OLD")["subjects"], json!(["a.v1.>"]), "{strategy}");
        assert_ne!(stream(&server, "NEW")["subjects"], json!(["a.v1.>"]), "{strategy}");
    }
}

#[test]
fn a_state_in_a_bucket_keeps_the_ledger_too() {
    let server = server();
    let kept = "[state]\nbackend = \"kv\"\nbucket = \"STATES\"\n";
    let project = Project::new(&server, &format!("{kept}{OLD}"));
    project.apply();
    publish(&server, "a.v1.x", 50);
    project.write_spec(&format!("{kept}{RENAMED}"));
    migration(&project, "same-subjects-source", at_once);
    project.apply();
    finish(&project);
    project.plans_empty();
    project.run(&["migrate", "status"]).ended(0).says("done");
}
