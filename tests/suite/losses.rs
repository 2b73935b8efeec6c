//! What loses messages, skips them, delivers them again or cannot be taken back: the plan says so
//! with the number, without consent nothing happens, and with it what was said does.

use std::fs;

use jsplan::{
    forecast::{Amount, Limits, Question},
    io::{fault::VARIABLE, nats::connect, run, server::Server},
    schema::Release,
    spec::Connection,
};
use serde_json::{Value, json};

use crate::support::{
    client::{ask, done, is_old, is_taken, messages, publish, publish_mortal, stream, streams},
    loss::{LIMITS, Loss, filled, hundred, hundred_on, limited, read_by, take},
    project::{Output, Project, wait_for},
    server::{server, server_since, server_with},
};

/// A mirror may become a stream of its own.
const PROMOTION: Release = Release(2, 12, 0);

/// A stream and a change of it, a hundred messages between the two.
#[track_caller]
fn lowered(before: &str, after: &str, says: &[&str], left: u64) {
    let (before, after) = (format!("{LIMITS}{before}"), format!("{LIMITS}{after}"));
    let allow = &["data-loss=stream.L"];
    let loss = Loss { before: &before, after: &after, fill: &hundred, says, allow };
    let (_server, project) = loss.leaves(left);
    project.plans_empty();
}

#[test]
fn limits_that_are_lowered_delete_what_is_beyond_them() {
    lowered("", "max_msgs = 10", &["deletes the 90 oldest of 100 messages"], 10);
    // A record of a file takes 30 bytes beside subject and payload.
    lowered("", "max_bytes = 1000", &["deletes the 77 oldest of 100 messages"], 23);
    let (memory, small) = ("storage = \"memory\"", "storage = \"memory\"\nmax_bytes = 1000");
    lowered(memory, small, &["deletes the 65 oldest of 100 messages"], 35);
    lowered("", "max_msgs_per_subject = 1", &["deletes 90 of 100 messages"], 10);
    let each = "discard = \"new\"\nmax_msgs_per_subject = 10\ndiscard_new_per_subject = true";
    let fewer = "discard = \"new\"\nmax_msgs_per_subject = 3\ndiscard_new_per_subject = true";
    lowered(each, fewer, &["deletes 70 of 100 messages"], 30);
    // What is denied to clients is not denied to limits.
    let denied = "deny_delete = true\ndeny_purge = true";
    let limited = "deny_delete = true\ndeny_purge = true\nmax_msgs = 10";
    lowered(denied, limited, &["deletes the 90 oldest of 100 messages"], 10);
}

#[test]
fn an_age_deletes_what_is_older_now_and_the_rest_as_it_gets_there() {
    let after = &format!("{LIMITS}max_age = \"100ms\"");
    let fill = |server: &Server| {
        hundred(server);
        wait_for("they get old", || is_old(&ask(server, "STREAM.INFO.L", &Value::Null)));
    };
    let says = &["deletes all 100 messages", "Data: 100 messages would be deleted by 1 action."];
    let allow = &["data-loss=stream.L"];
    Loss { before: LIMITS, after, fill: &fill, says, allow }.leaves(0);
    let after = &format!("{LIMITS}max_age = \"10s\"");
    let says = &["deletes all 100 messages within 10s"];
    let (server, project) = Loss { before: LIMITS, after, fill: &hundred, says, allow }.happens();
    wait_for("they get as old", || messages(&server, "L") == 0);
    project.plans_empty();
}

#[test]
fn a_limit_that_refuses_deletes_nothing_until_it_gives_way() {
    let server = server();
    let project = filled(&server);
    project.write_spec(&format!("{LIMITS}max_msgs = 10\ndiscard = \"new\""));
    project.run(&["plan"]).ended(0).says("new messages are refused").says("no message would be");
    project.apply();
    assert_eq!(messages(&server, "L"), 100, "the safer way loses nothing");
    project.write_spec(&format!("{LIMITS}max_msgs = 10"));
    project.run(&["plan"]).ended(1).says("deletes the 90 oldest of 100 messages");
    project.run(&["apply", "--auto-approve"]).ended(1);
    assert_eq!(messages(&server, "L"), 100);
    project.run(&["apply", "--auto-approve", "--allow", "data-loss=stream.L"]).ended(0);
    assert_eq!(messages(&server, "L"), 10);
}

#[test]
fn interest_deletes_what_no_consumer_waits_for() {
    let nobody = &format!("{LIMITS}retention = \"interest\"");
    let says = &["deletes all 100 messages", "is acknowledged and not stored"];
    let allow = &["data-loss=stream.L", "delivery=stream.L"];
    let loss = Loss { before: LIMITS, after: nobody, fill: &hundred, says, allow };
    let (server, _project) = loss.happens_on(server_since(Release(2, 15, 0)));
    assert_eq!(messages(&server, "L"), 0);
    publish(&server, "L.1", 5);
    assert_eq!(messages(&server, "L"), 0, "acknowledged and not stored");
    let (before, after) = (&read_by("limits", &[("R", ">")]), &read_by("interest", &[("R", ">")]));
    let fill = |server: &Server| {
        hundred(server);
        take(server, "R", 40);
    };
    let (says, allow) = (&["deletes 40 of 100 messages"], &["data-loss=stream.L"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(60);
    // What nobody matches is neither deleted nor delivered.
    let (before, after) =
        (&read_by("limits", &[("R", "L.1")]), &read_by("interest", &[("R", "L.1")]));
    let (says, allow) = (&["90 of 100 messages"], &["delivery=stream.L"]);
    let (server, _project) = Loss { before, after, fill: &hundred, says, allow }.leaves(100);
    take(&server, "R", 100);
    wait_for("what was delivered goes", || messages(&server, "L") == 90);
}

#[test]
fn what_cannot_be_taken_back_takes_consent() {
    let allow = &["one-way=stream.L"];
    for field in ["sealed", "deny_delete", "deny_purge"] {
        let after = &format!("{LIMITS}{field} = true");
        let says = &[&*format!("not possible: `{field}` cannot be taken back by an update")];
        let loss = Loss { before: LIMITS, after, fill: &hundred, says, allow };
        let (server, project) = loss.leaves(100);
        assert_eq!(stream(&server, "L")[field], true);
        project.write_spec(LIMITS);
        project.allowing(&["apply", "--auto-approve"], allow).ended(1).says("error[replacement]");
        assert_eq!((&stream(&server, "L")[field], messages(&server, "L")), (&json!(true), 100));
    }
}

/// A stream `O`, and `L` that copies it.
fn copied(how: &str) -> String {
    let origin = "[streams.O]\nsubjects = [\"O.>\"]\nprevent_destroy = false\n";
    format!("{origin}[streams.L]\n{how}\n")
}

/// A hundred messages of `O`, and `L` has copied them.
fn hundred_copied(server: &Server) {
    hundred_on(server, "O");
    wait_for("it copies", || messages(server, "L") == 100);
}

#[test]
fn a_mirror_that_becomes_a_stream_leaves_its_origin_for_good() {
    let before = &copied("mirror = { name = \"O\" }");
    let after = &copied("subjects = [\"L.>\"]");
    let (says, allow) = (&["not possible: it never mirrors again"], &["one-way=stream.L"]);
    let loss = Loss { before, after, fill: &hundred_copied, says, allow };
    let (server, _project) = loss.happens_on(server_since(PROMOTION));
    assert_eq!(messages(&server, "L"), 100);
    // One that takes no more is behind for good.
    let full = "max_msgs = 10\ndiscard = \"new\"";
    let before = &copied(&format!("{full}\nmirror = {{ name = \"O\" }}"));
    let after = &copied(&format!("{full}\nsubjects = [\"L.>\"]"));
    let fill = |server: &Server| {
        hundred_on(server, "O");
        wait_for("it copies what it may", || messages(server, "L") == 10);
    };
    let says = &["leaves 90 messages behind: what was not copied from `O` yet"];
    let allow = &["data-loss=stream.L", "one-way=stream.L"];
    let loss = Loss { before, after, fill: &fill, says, allow };
    let (server, project) = loss.happens_on(server_since(PROMOTION));
    assert_eq!(messages(&server, "L"), 10);
    project.plans_empty();
}

#[test]
fn an_origin_that_goes_leaves_its_copies_behind_for_good() {
    let says = &[
        "deletes all 100 messages, with their stream",
        "`stream.L` copies it, and would never copy anything again",
        "safer: make a copy a stream of its own first",
    ];
    let allow = &["destroy=stream.O", "delivery=stream.O"];
    for how in ["mirror = { name = \"O\" }", "sources = [{ name = \"O\" }]"] {
        let (before, after) = (&copied(how), &format!("[streams.L]\n{how}\n"));
        let loss = Loss { before, after, fill: &hundred_copied, says, allow };
        let (server, project) = loss.happens();
        assert_eq!((streams(&server), messages(&server, "L")), (vec!["L".to_owned()], 100));
        // Another one of its name is copied by who begins with it, and by nobody else.
        project.write_spec(&format!("{before}[streams.ANEW]\n{how}\n"));
        project.apply();
        publish(&server, "O.1", 10);
        wait_for("the new one copies", || messages(&server, "ANEW") == 10);
        assert_eq!(messages(&server, "L"), 100);
    }
}

#[test]
fn a_source_that_changes_is_copied_again() {
    let source =
        |it: &str| copied(&format!("sources = [{{ name = \"O\", filter_subject = \"{it}\" }}]"));
    let (before, after) = (&source("O.>"), &source("O.*"));
    let (says, allow) = (&["copies 100 messages again"], &["redelivery=stream.L"]);
    let (server, _project) = Loss { before, after, fill: &hundred_copied, says, allow }.happens();
    wait_for("it copies again", || messages(&server, "L") == 200);
}

#[test]
fn lives_that_begin_to_count_end_at_once_where_they_are_over() {
    let mortal = "prevent_destroy = false\nallow_msg_ttl = true\n";
    let copied = |how: &str| copied(how).replace("prevent_destroy = false\n", mortal);
    let before = &copied("sources = [{ name = \"O\" }]");
    let after = &copied("sources = [{ name = \"O\" }]\nallow_msg_ttl = true");
    let fill = |server: &Server| {
        publish_mortal(server, "O.1", 10, "1s");
        publish(server, "O.2", 5);
        wait_for("they end in the origin", || messages(server, "O") == 5);
        wait_for("it copies", || messages(server, "L") == 15);
    };
    let (says, allow) =
        (&["deletes 10 of 15 messages"], &["data-loss=stream.L", "one-way=stream.L"]);
    Loss { before, after, fill: &fill, says, allow }.leaves(5);
}

#[test]
fn a_subject_that_is_given_up_finds_no_stream_any_more() {
    let stream = |subjects: &str| format!("[streams.L]\n{subjects}\n");
    let (all, one, other) = ("subjects = [\"L.>\"]", "subjects = [\"L.1\"]", "subjects = [\"M\"]");
    // Without any it takes what is published under its own name.
    for (after, says) in [(one, "90 of 100 messages"), (other, "all 100"), ("", "all 100")] {
        let (before, after) = (&stream(all), &stream(after));
        let says = &[says, "such messages would find no stream any more"];
        let loss = Loss { before, after, fill: &hundred, says, allow: &["delivery=stream.L"] };
        let (server, project) = loss.leaves(100);
        assert!(!is_taken(&server, "L.2"), "{after}");
        project.plans_empty();
    }
}

#[test]
fn a_shorter_history_of_a_bucket_deletes_what_is_beyond_it() {
    let fill = |server: &Server| hundred_on(server, "$KV.B");
    let (before, after) = ("[kv.B]\nhistory = 10\n", "[kv.B]\nhistory = 1\n");
    let says = &["deletes 90 of 100 messages", "beyond `history`"];
    let loss = Loss { before, after, fill: &fill, says, allow: &["data-loss=kv.B"] };
    let (server, project) = loss.happens();
    assert_eq!(messages(&server, "KV_B"), 10);
    project.plans_empty();
}

#[test]
fn a_stream_goes_only_where_its_protection_went_before_it_and_with_consent() {
    let server = server();
    let protected = |it: bool| format!("{LIMITS}sealed = true\nprevent_destroy = {it}");
    let project = filled(&server);
    project.write_spec(&protected(true));
    project.apply_allowing(&["one-way=stream.L"]);
    let destroy = &["destroy=stream.L"];
    // The state still protects what the spec does not name any more.
    project.write_spec("");
    let refused = project.allowing(&["apply", "--auto-approve"], destroy).ended(1);
    refused.says("error[protected]").says("has `prevent_destroy = true`");
    assert_eq!(messages(&server, "L"), 100);
    let before = &protected(false);
    project.write_spec(before);
    project.apply();
    project.write_spec("");
    project.run(&["plan"]).ended(1).says("deletes all 100 messages, with their stream");
    project.run(&["apply", "--auto-approve"]).ended(1).says("--allow destroy=stream.L");
    assert_eq!(messages(&server, "L"), 100, "no seal keeps the server from deleting it");
    project.apply_allowing(destroy);
    assert!(streams(&server).is_empty());
}

#[test]
fn no_consent_replaces_a_stream_that_holds_messages() {
    let server = server();
    let project = filled(&server);
    let changes = ["storage = \"memory\"", "retention = \"workqueue\"", "first_seq = 500"];
    for change in changes {
        project.write_spec(&format!("{LIMITS}prevent_destroy = false\n{change}"));
        let consents = ["data-loss=stream.L", "destroy=stream.L", "delivery=stream.L"];
        for arguments in [&["plan"][..], &["apply", "--auto-approve"]] {
            let refused = project.allowing(arguments, &consents).ended(1);
            refused.says("deletes all 100 messages, with their stream").says("error[replacement]");
        }
        assert_eq!(messages(&server, "L"), 100, "{change}");
    }
}

#[test]
fn what_has_grown_since_it_was_planned_is_refused() {
    let server = server();
    let project = limited(&server);
    project.run(&["plan", "--out", "p", "--allow", "data-loss=stream.L"]).ended(0);
    publish(&server, "L.1", 10);
    let refused = project.run(&["apply", "p"]).ended(1);
    refused.says("90 messages were planned and allowed, and now it is 100");
    assert_eq!(messages(&server, "L"), 110);
    assert_eq!(stream(&server, "L")["max_msgs"], -1);
    let history = project.run(&["history"]).ended(0);
    history.says("stopped after 0 of 1 steps").never_says("deleted");
    // Of one that died nobody knows how much it deleted.
    let consent = ["apply", "--auto-approve", "--allow", "data-loss=stream.L"];
    project.run_with(&[(VARIABLE, "abort=before-request:1")], &consent);
    project.run(&["history"]).ended(0).says("at most 100 messages deleted");
    assert_eq!(messages(&server, "L"), 110);
    // A consent may leave room for what comes.
    project.run(&["plan", "--out", "p", "--allow", "data-loss=stream.L:300"]).ended(0);
    publish(&server, "L.1", 10);
    project.run(&["apply", "p"]).ended(0);
    assert_eq!(messages(&server, "L"), 10);
}

#[test]
fn what_was_empty_when_it_was_planned_stays_once_it_holds_something() {
    let server = server();
    let mine = &format!("{LIMITS}prevent_destroy = false\n");
    let project = Project::new(&server, mine);
    project.apply();
    for (after, number) in [(format!("{mine}storage = \"memory\""), 5), (String::new(), 10)] {
        ask(&server, "STREAM.PURGE.L", &Value::Null);
        project.write_spec(&after);
        project.run(&["plan", "--out", "p"]).ended(0).says("Data: no message would be deleted.");
        publish(&server, "L.1", number);
        project.run(&["apply", "p"]).ended(1).says(&format!("now it is {number}"));
        assert_eq!(messages(&server, "L"), number);
    }
}

#[test]
fn what_goes_beyond_what_was_said_is_an_incident_with_its_number() {
    let server = server();
    let project = limited(&server);
    let held = project.path("held");
    let order = format!("pause=before-read-back:1:{}", held.display());
    let apply = ["apply", "--auto-approve", "--allow", "data-loss=stream.L"];
    let apply = project.start_with(&[(VARIABLE, &order)], &apply);
    wait_for("the answer is there", || held.exists());
    done(&server, "STREAM.PURGE.L", &json!({ "keep": 3 }));
    fs::remove_file(held).expect("it waits for that");
    let incident = Output::ending(apply).ended(1);
    incident.says("deleted 97 messages, planned 90").says("beyond plan").says("State saved");
    project.plans_empty();
}

/// May look at streams and consumers, and at no message.
const PLANNER: &str = r#"accounts { APP { jetstream: enabled, users: [
    { user: admin, password: p },
    { user: planner, password: p, permissions: { subscribe: ["_INBOX.>"], publish: [
        "$SYS.REQ.USER.INFO", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*" ] } }
] } }
no_auth_user: admin
jetstream {}"#;

#[test]
fn who_may_not_read_counts_by_what_streams_say_and_names_what_is_denied() {
    let server = server_with(PLANNER);
    let project = filled(&server);
    let url = server.url().replace("//", "//planner:p@");
    let plan = |change: &str, consent: &str| {
        project.write_spec(&format!("{LIMITS}{change}"));
        project.run_elsewhere(&["plan", "--allow", &format!("data-loss=stream.L{consent}")], &url)
    };
    plan("max_msgs = 10", "").ended(0).says("deletes the 90 oldest of 100 messages");
    plan("max_msgs_per_subject = 1", "").ended(0).says("deletes 90 of 100 messages");
    // Of what it cannot count it knows that no more than all can go.
    for change in ["max_bytes = 1000", "max_msgs = 50\nmax_msgs_per_subject = 1"] {
        plan(change, "").ended(0).says("deletes at most ");
    }
    run(async {
        let connection = Connection { urls: vec![url], ..Connection::default() };
        let session = connect(&connection, "planner").await.expect("a connection");
        let limits = Limits { max_bytes: Some(1000), ..Limits::default() };
        let tally = session.tally(&Question::Beyond { stream: "L".to_owned(), limits }).await;
        let why = "needs read: may not publish to `$JS.API.STREAM.MSG.GET.L`";
        assert_eq!(tally.messages, Amount::Unknown(why.to_owned()));
    });
}

#[test]
fn counting_leaves_nothing_behind() {
    let server = server();
    let project = filled(&server);
    project.write_spec(&format!("{LIMITS}max_bytes = 1000"));
    project.run(&["plan"]).ended(1).says("deletes the 77 oldest");
    assert_eq!(ask(&server, "STREAM.INFO.L", &Value::Null)["state"]["consumer_count"], 0);
}
