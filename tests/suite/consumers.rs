//! Consumers on a real server: pauses, positions that outlive a replacement, and what is left to
//! those who made it.

use std::collections::BTreeSet;

use jsplan::schema::Release;
use serde_json::{Value, json};

use crate::support::{
    client::{
        Delivery, acknowledge, ask, consumer, create, create_consumer, listen, messages, publish,
        pull, streams,
    },
    project::{Project, wait_for},
    server::{server, server_since, server_with},
};

/// A consumer can be paused.
const PAUSES: Release = Release(2, 11, 0);

/// What was delivered and not acknowledged may come again.
const AGAIN: &[&str] = &["redelivery=consumer.S.C"];

const LATER: &str = "2099-01-01T00:00:00Z";

fn spec(stream: &str, consumer: &str) -> String {
    format!("[streams.S]\nsubjects = [\"s.>\"]\n{stream}\n[streams.S.consumers.C]\n{consumer}\n")
}

fn names(server: &jsplan::io::server::Server) -> Vec<String> {
    let answer = ask(server, "CONSUMER.NAMES.S", &json!({}));
    let names = answer["consumers"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect()
}

#[test]
fn a_pause_is_set_changed_and_lifted_by_its_own_request() {
    let server = server_since(PAUSES);
    let paused = |line: &str| spec("", &format!("ack_policy = \"explicit\"\n{line}"));
    let project = Project::new(&server, &paused(&format!("pause_until = \"{LATER}\"")));
    project.apply();
    assert_eq!(consumer(&server, "S", "C")["paused"], true);
    project.plans_empty();

    project.write_spec(&paused("pause_until = \"2098-01-01T02:00:00+02:00\"\ndescription = \"d\""));
    project.run(&["plan"]).ended(0).says("1 to change");
    project.apply();
    let config = &consumer(&server, "S", "C")["config"];
    assert_eq!(config["pause_until"], "2098-01-01T00:00:00Z");
    assert_eq!(config["description"], "d");
    project.plans_empty();

    project.write_spec(&paused(""));
    project.apply();
    assert!(consumer(&server, "S", "C")["paused"].is_null());
    project.plans_empty();
}

#[test]
fn a_pause_by_hand_is_drift_and_is_lifted_unless_it_is_left_to_others() {
    let server = server_since(PAUSES);
    let left = "ack_policy = \"explicit\"\nignore = [\"pause_until\"]\nreason = \"operators\"";
    let project = Project::new(&server, &spec("", "ack_policy = \"explicit\""));
    project.apply();
    let pause = json!({ "pause_until": LATER });
    ask(&server, "CONSUMER.PAUSE.S.C", &pause);
    project.run(&["drift"]).ended(2).says("pause_until");
    project.apply();
    assert!(consumer(&server, "S", "C")["paused"].is_null());
    project.run(&["drift"]).ended(0);

    project.write_spec(&spec("", left));
    project.apply();
    ask(&server, "CONSUMER.PAUSE.S.C", &pause);
    project.run(&["drift"]).ended(0);
    project.apply();
    assert_eq!(consumer(&server, "S", "C")["paused"], true);
}

#[test]
fn a_pause_that_has_passed_is_none() {
    let server = server_since(PAUSES);
    let project = Project::new(&server, &spec("", "ack_policy = \"explicit\""));
    project.apply();
    ask(&server, "CONSUMER.PAUSE.S.C", &json!({ "pause_until": "2020-01-01T00:00:00Z" }));
    assert_eq!(consumer(&server, "S", "C")["config"]["pause_until"], "2020-01-01T00:00:00Z");
    project.run(&["drift"]).ended(0);
    project.plans_empty();
    let past = "ack_policy = \"explicit\"\npause_until = \"2021-01-01T00:00:00Z\"";
    project.write_spec(&spec("", past));
    project.apply();
    project.plans_empty();
}

/// Consumes 20 messages in part, replaces the consumer, and gives what comes afterwards.
fn replaced(stream: &str, before: &str, after: &str, says: &str) -> (Vec<u64>, u64) {
    let server = server();
    let project = Project::new(&server, &spec(stream, before));
    project.apply();
    publish(&server, "s.a", 20);
    let first = pull(&server, "S", "C", 8);
    // Out of order: 1 to 3 and 6 are done with; 4, 5, 7 and 8 are under way.
    acknowledge(&server, first.iter().filter(|it| [1, 2, 3, 6].contains(&it.sequence)));
    wait_for("the acknowledgements count", || consumer(&server, "S", "C")["num_ack_pending"] == 4);
    project.write_spec(&spec(stream, after));
    project.allowing(&["plan"], AGAIN).ended(0).says(says);
    project.apply_allowing(AGAIN);
    project.plans_empty();
    project.run(&["drift"]).ended(0);
    assert_eq!(names(&server), ["C"]);

    project.write_spec(&spec(
        stream,
        &format!("{after}\ndescription = \"d\"\nmetadata = {{ a = \"b\" }}"),
    ));
    project.run(&["plan"]).ended(0).says("will be updated in-place");
    project.apply();
    project.plans_empty();
    let stored = messages(&server, "S");
    let rest = pull(&server, "S", "C", 30);
    (rest.iter().map(|it| it.sequence).collect(), stored)
}

#[test]
fn a_replaced_consumer_goes_on_behind_its_last_acknowledgement() {
    let keeps = "must be replaced, and keeps its position";
    let (rest, _) = replaced(
        "",
        "ack_policy = \"explicit\"",
        "ack_policy = \"explicit\"\nmax_waiting = 5",
        keeps,
    );
    assert_eq!(rest, (4..=20).collect::<Vec<_>>(), "nothing is skipped, and 4 to 8 come again");
}

#[test]
fn the_redeliveries_of_a_replaced_consumer_are_foretold() {
    let (rest, _) = replaced(
        "",
        "ack_policy = \"explicit\"",
        "ack_policy = \"explicit\"\nmem_storage = true",
        "at most 5 of 20 messages again",
    );
    let seen: BTreeSet<u64> = (1..=8).collect();
    assert_eq!(rest.iter().filter(|it| seen.contains(it)).count(), 5);
}

#[test]
fn an_interest_stream_loses_nothing_where_its_only_consumer_is_replaced() {
    let (rest, stored) = replaced(
        "retention = \"interest\"",
        "ack_policy = \"explicit\"",
        "ack_policy = \"explicit\"\nmax_waiting = 5",
        "keeps its position",
    );
    assert_eq!(stored, 16, "what was acknowledged is gone, and nothing else");
    assert_eq!(rest, [4, 5].into_iter().chain(7..=20).collect::<Vec<_>>());
}

#[test]
fn a_work_queue_gives_what_is_not_done_with_to_the_replacement() {
    let (rest, stored) = replaced(
        "retention = \"workqueue\"",
        "ack_policy = \"explicit\"",
        "ack_policy = \"explicit\"\nmax_waiting = 5",
        "4 of 16 messages again",
    );
    assert_eq!(stored, 16);
    assert_eq!(rest, [4, 5].into_iter().chain(7..=20).collect::<Vec<_>>());
}

#[test]
fn a_consumer_that_began_with_what_is_new_does_not_begin_anew() {
    let server = server();
    let new = "ack_policy = \"explicit\"\ndeliver_policy = \"new\"";
    let project = Project::new(&server, "[streams.S]\nsubjects = [\"s.>\"]\n");
    project.apply();
    publish(&server, "s.a", 10);
    project.write_spec(&spec("", new));
    project.apply();
    publish(&server, "s.a", 5);
    project.write_spec(&spec("", &format!("{new}\nmax_waiting = 5")));
    project.apply();
    project.plans_empty();
    let rest: Vec<_> = pull(&server, "S", "C", 20).iter().map(|it| it.sequence).collect();
    assert_eq!(rest, (11..=15).collect::<Vec<_>>());
}

#[test]
fn a_saved_plan_goes_on_where_the_consumer_stands_when_it_is_applied() {
    let server = server();
    let project = Project::new(&server, &spec("", "ack_policy = \"explicit\""));
    project.apply();
    publish(&server, "s.a", 20);
    project.write_spec(&spec("", "ack_policy = \"explicit\"\nmax_waiting = 5"));
    project.run(&["plan", "--out", "plan.jsplan"]).ended(0);
    acknowledge(&server, &pull(&server, "S", "C", 12));
    project.run(&["apply", "plan.jsplan"]).ended(0);
    let rest: Vec<_> = pull(&server, "S", "C", 20).iter().map(|it| it.sequence).collect();
    assert_eq!(rest, (13..=20).collect::<Vec<_>>());
}

#[test]
fn another_start_is_a_wish_and_not_undone() {
    let server = server();
    let project = Project::new(&server, &spec("", "ack_policy = \"explicit\""));
    project.apply();
    publish(&server, "s.a", 10);
    acknowledge(&server, &pull(&server, "S", "C", 5));
    let replaced = "ack_policy = \"explicit\"\nmax_waiting = 5";
    project.write_spec(&spec("", replaced));
    project.apply_allowing(AGAIN);
    let again = format!("{replaced}\ndeliver_policy = \"by_start_sequence\"\nopt_start_seq = 2");
    project.write_spec(&spec("", &again));
    project.allowing(&["plan"], AGAIN).ended(0).says("it would start again");
    project.apply_allowing(AGAIN);
    project.plans_empty();
    let rest: Vec<_> = pull(&server, "S", "C", 20).iter().map(|it| it.sequence).collect();
    assert_eq!(rest, (2..=10).collect::<Vec<_>>());
}

/// Leaves what an apply leaves that is killed behind some of the requests of a replacement.
#[test]
fn a_replacement_that_is_cut_short_anywhere_is_finished_by_the_next_apply() {
    for done in 0..4 {
        let server = server();
        let interest = "retention = \"interest\"";
        let project = Project::new(&server, &spec(interest, "ack_policy = \"explicit\""));
        project.apply();
        publish(&server, "s.a", 10);
        acknowledge(&server, &pull(&server, "S", "C", 4));
        project.write_spec(&spec(interest, "ack_policy = \"explicit\"\nmax_waiting = 5"));
        project.allowing(&["plan", "--out", "plan.jsplan"], AGAIN).ended(0);
        for call in &requests(&project.read("plan.jsplan"))[..done] {
            let subject = call["subject"].as_str().expect("a subject");
            let answer = ask(&server, subject, &call["body"]);
            assert!(answer["error"].is_null(), "{answer}");
        }
        project.apply_allowing(AGAIN);
        project.plans_empty();
        assert_eq!(names(&server), ["C"], "after {done} requests");
        assert_eq!(consumer(&server, "S", "C")["config"]["max_waiting"], 5);
        let rest: Vec<_> = pull(&server, "S", "C", 20).iter().map(|it| it.sequence).collect();
        assert_eq!(rest, (5..=10).collect::<Vec<_>>(), "after {done} requests");
    }
}

/// The requests of a saved plan.
fn requests(plan: &str) -> Vec<Value> {
    let plan: Value = serde_json::from_str(plan).expect("a plan is JSON");
    plan["steps"][0]["calls"].as_array().cloned().expect("calls are a list")
}

#[test]
fn what_clients_make_as_they_run_is_neither_listed_nor_counted() {
    let server = server();
    let project = Project::new(&server, &spec("", "ack_policy = \"explicit\""));
    project.apply();
    let hour = 3_600_000_000_000_u64;
    let config = json!({ "name": "PASSING", "ack_policy": "explicit", "inactive_threshold": hour });
    create_consumer(&server, "S", &config);
    project.run(&["plan"]).ended(0).never_says("PASSING").says("No changes.");
    project.run(&["drift"]).ended(0).never_says("PASSING").says("2 of 2");
    project.write_spec("");
    project.run(&["apply", "--destroy", "--auto-approve"]).ended(0);
    assert!(streams(&server).is_empty());
}

#[test]
fn a_consumer_that_does_not_last_is_replaced_by_one_that_does() {
    let server = server();
    create(&server, &json!({ "name": "S", "subjects": ["s.>"] }));
    publish(&server, "s.a", 5);
    let hour = 3_600_000_000_000_u64;
    let config = json!({ "name": "C", "ack_policy": "explicit", "inactive_threshold": hour });
    create_consumer(&server, "S", &config);
    acknowledge(&server, &pull(&server, "S", "C", 2));
    let wanted = "ack_policy = \"explicit\"\nprevent_destroy = false";
    let project = Project::new(&server, &spec("", wanted));
    project.apply_allowing(AGAIN);
    assert_eq!(consumer(&server, "S", "C")["config"]["durable_name"], "C");
    let rest: Vec<_> = pull(&server, "S", "C", 9).iter().map(|it| it.sequence).collect();
    assert_eq!(rest, [3, 4, 5]);
    project.plans_empty();
}

#[test]
fn what_the_server_makes_to_copy_a_stream_is_neither_listed_nor_touched() {
    let server = server();
    let origin = "[streams.S]\nsubjects = [\"s.>\"]\nretention = \"workqueue\"\n";
    let project =
        Project::new(&server, &format!("{origin}[streams.COPY]\nsources = [{{ name = \"S\" }}]\n"));
    project.apply();
    publish(&server, "s.a", 5);
    wait_for("the copy is there", || messages(&server, "COPY") == 5);
    project.run(&["plan"]).ended(0).says("No changes.").never_says("JS_");
    project.run(&["drift"]).ended(0).never_says("JS_");
    assert!(names(&server).iter().all(|it| it.starts_with("JS_SRC_")), "{:?}", names(&server));
}

fn sequences(of: &[Delivery]) -> Vec<u64> {
    of.iter().map(|it| it.sequence).collect()
}

#[test]
fn of_two_consumers_of_an_interest_stream_one_is_replaced_and_neither_loses_anything() {
    let server = server();
    let spec = |more: &str| {
        format!(
            "[streams.S]\nsubjects = [\"s.>\"]\nretention = \"interest\"\n\
             [streams.S.consumers.A]\nack_policy = \"explicit\"\nfilter_subject = \"s.a\"\n{more}\n\
             [streams.S.consumers.B]\nack_policy = \"explicit\"\nfilter_subject = \"s.b\"\n"
        )
    };
    let project = Project::new(&server, &spec(""));
    project.apply();
    publish(&server, "s.a", 5);
    publish(&server, "s.b", 5);
    acknowledge(&server, &pull(&server, "S", "A", 2));
    acknowledge(&server, &pull(&server, "S", "B", 1));
    project.write_spec(&spec("max_waiting = 5"));
    let again = ["redelivery=consumer.S.A"];
    project.allowing(&["plan"], &again).ended(0).says("keeps its position");
    project.apply_allowing(&again);
    project.plans_empty();
    assert_eq!(names(&server), ["A", "B"]);
    assert_eq!(messages(&server, "S"), 7, "what was acknowledged is gone, and nothing else");
    assert_eq!(sequences(&pull(&server, "S", "A", 10)), [3, 4, 5]);
    assert_eq!(sequences(&pull(&server, "S", "B", 10)), [7, 8, 9, 10]);
}

#[test]
fn a_push_consumer_goes_on_where_it_stood() {
    for (retention, again) in [("limits", "6 of 10 messages"), ("interest", "all 6 messages")] {
        let server = server();
        let stream = format!("retention = \"{retention}\"");
        let push = "ack_policy = \"explicit\"\ndeliver_subject = \"push.c\"";
        let project = Project::new(&server, &spec(&stream, push));
        project.apply();
        publish(&server, "s.a", 10);
        acknowledge(&server, &listen(&server, "push.c", 10)[..4]);
        project.write_spec(&spec(&stream, &format!("{push}\nidle_heartbeat = \"5s\"")));
        project
            .allowing(&["plan"], AGAIN)
            .ended(0)
            .says("must be replaced, and keeps its position")
            .says(again);
        project.apply_allowing(AGAIN);
        project.plans_empty();
        assert_eq!(names(&server), ["C"]);
        assert_eq!(sequences(&listen(&server, "push.c", 6)), [5, 6, 7, 8, 9, 10]);
    }
}

/// Delivers 8 of 20 messages, acknowledges up to the sixth at once, replaces the consumer, and gives
/// what comes afterwards.
fn after_six(own: &str) -> Vec<u64> {
    let server = server();
    let project = Project::new(&server, &spec("", own));
    project.apply();
    publish(&server, "s.a", 20);
    let first = pull(&server, "S", "C", 8);
    if !own.contains("none") {
        acknowledge(&server, first.iter().filter(|it| it.sequence == 6));
        wait_for("it counts", || consumer(&server, "S", "C")["ack_floor"]["stream_seq"] == 6);
    }
    project.write_spec(&spec("", &format!("{own}\nmax_waiting = 5")));
    project.allowing(&["plan"], AGAIN).ended(0).says("keeps its position");
    project.apply_allowing(AGAIN);
    project.plans_empty();
    assert_eq!(names(&server), ["C"]);
    sequences(&pull(&server, "S", "C", 30))
}

#[test]
fn an_acknowledgement_of_all_before_it_is_kept() {
    assert_eq!(after_six("ack_policy = \"all\""), (7..=20).collect::<Vec<_>>());
}

#[test]
fn without_acknowledgements_what_was_delivered_is_done_with() {
    assert_eq!(after_six("ack_policy = \"none\""), (9..=20).collect::<Vec<_>>());
}

#[test]
fn what_was_given_up_on_is_delivered_once_more_and_what_follows_is_not_lost() {
    let own = "ack_policy = \"explicit\"\nmax_deliver = 1";
    let keeps = "keeps its position";
    let (rest, _) = replaced("", own, &format!("{own}\nmax_waiting = 5"), keeps);
    assert_eq!(rest, (4..=20).collect::<Vec<_>>());
}

/// An account whose streams may have two consumers each.
const TWO: &str = "jetstream { max_memory_store: 1GiB, max_file_store: 1GiB }
accounts { TWO { users = [{ user: a, password: a }], jetstream { max_consumers: 2 } } }
no_auth_user: a
";

/// Somebody takes the room that a replacement needs, before it begins or half way.
#[test]
fn a_replacement_that_the_server_refuses_midway_loses_nothing_and_is_finished_by_the_next() {
    for done in [0, 2] {
        let server = server_with(TWO);
        let interest = "retention = \"interest\"";
        let project = Project::new(&server, &spec(interest, "ack_policy = \"explicit\""));
        project.apply();
        publish(&server, "s.a", 10);
        acknowledge(&server, &pull(&server, "S", "C", 4));
        project.write_spec(&spec(interest, "ack_policy = \"explicit\"\nmax_waiting = 5"));
        project.allowing(&["plan", "--out", "plan.jsplan"], AGAIN).ended(0);
        for call in &requests(&project.read("plan.jsplan"))[..done] {
            let answer = ask(&server, call["subject"].as_str().expect("a subject"), &call["body"]);
            assert!(answer["error"].is_null(), "{answer}");
        }
        let stranger = json!({ "name": "STRANGER", "durable_name": "STRANGER",
            "ack_policy": "explicit", "filter_subject": "s.other" });
        create_consumer(&server, "S", &stranger);
        // The saved plan does not know; a new one does.
        project.run(&["apply", "plan.jsplan"]).ended(1);
        project.run(&["plan"]).ended(1).says("the account allows `S`");
        assert_eq!(messages(&server, "S"), 6, "after {done} requests");
        ask(&server, "CONSUMER.DELETE.S.STRANGER", &Value::Null);
        project.apply_allowing(AGAIN);
        project.plans_empty();
        assert_eq!(names(&server), ["C"], "after {done} requests");
        assert_eq!(consumer(&server, "S", "C")["config"]["max_waiting"], 5);
        let rest = sequences(&pull(&server, "S", "C", 20));
        assert_eq!(rest, (5..=10).collect::<Vec<_>>(), "after {done} requests");
    }
}
