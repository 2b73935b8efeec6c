//! What only the account as a whole decides: the plan says it first, and the server agrees.

use std::fmt::Write as _;

use jsplan::io::server::Server;
use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, publish, stream, streams},
    project::{Project, wait_for},
    server::{server, server_with},
};

/// An account with little room.
const SMALL: &str = "jetstream { max_memory_store: 1TiB, max_file_store: 1PiB }
accounts { SMALL {
    users = [{ user: a, password: a }]
    jetstream {
        max_mem: 10000, max_file: 100000, max_streams: 3, max_consumers: 2, max_ack_pending: 50
        mem_max_stream_bytes: 6000, disk_max_stream_bytes: 60000
    }
} }
no_auth_user: a
";

/// The server's `err_code` for a request; 0 where it takes it.
fn code(server: &Server, subject: &str, body: &Value) -> u64 {
    ask(server, subject, body)["error"]["err_code"].as_u64().unwrap_or_default()
}

/// The plan stops with this, the server refuses the same with that, and neither changed anything.
#[track_caller]
fn both_refuse(server: &Server, spec: &str, says: &str, subject: &str, body: &Value, err: u64) {
    let before = streams(server);
    Project::new(server, spec).run(&["plan"]).ended(1).says(says);
    assert_eq!(code(server, subject, body), err, "{subject}: {body}");
    assert_eq!(streams(server), before);
}

#[test]
fn a_subject_that_another_stream_stores_is_refused_by_the_plan_and_by_the_server() {
    let server = server();
    create(&server, &json!({ "name": "LEGACY", "subjects": ["orders.*"] }));
    both_refuse(
        &server,
        "[streams.S]\nsubjects = [\"orders.new\"]\n",
        "error[subject-overlap]: `orders.new` takes messages that the live stream `LEGACY` stores",
        "STREAM.CREATE.S",
        &json!({ "name": "S", "subjects": ["orders.new"] }),
        10065,
    );
}

#[test]
fn streams_swap_their_subjects_and_keep_their_messages() {
    let server = server();
    let spec = |a: &str, b: &str, c: &str| {
        format!(
            "[streams.A]\nsubjects = [\"keep\", \"{a}\"]\n[streams.B]\nsubjects = [\"{b}\"]\n\
             [streams.C]\nsubjects = [\"{c}\"]\n"
        )
    };
    let project = Project::new(&server, &spec("a", "b", "c"));
    project.apply();
    publish(&server, "b", 3);
    project.write_spec(&spec("b", "c", "a"));
    project
        .run(&["plan"])
        .ended(0)
        .says("publishers find no stream for a moment")
        .says("will take its new subjects, now that they are free");
    project.apply().says("Apply complete! Resources: 0 added, 3 changed, 0 destroyed.");
    project.plans_empty();
    assert_eq!(stream(&server, "A")["subjects"], json!(["b", "keep"]));
    assert_eq!(stream(&server, "B")["subjects"], json!(["c"]));
    publish(&server, "b", 1);
    let held = |name: &str| {
        ask(&server, &format!("STREAM.INFO.{name}"), &Value::Null)["state"]["messages"].clone()
    };
    assert_eq!((held("A"), held("B")), (json!(1), json!(3)));
}

#[test]
fn a_saved_swap_is_applied_as_it_was_reviewed() {
    let server = server();
    let spec = |a: &str, b: &str| {
        format!("[streams.A]\nsubjects = [\"{a}\"]\n[streams.B]\nsubjects = [\"{b}\"]\n")
    };
    let project = Project::new(&server, &spec("a", "b"));
    project.apply();
    project.write_spec(&spec("b", "a"));
    project.run(&["plan", "--out", "swap"]).ended(0);
    project.run(&["apply", "swap"]).ended(0);
    project.plans_empty();
}

#[test]
fn a_swap_that_is_killed_is_finished_by_the_next_apply() {
    let server = server();
    let spec = |first: &str, second: &str| {
        (0..60).fold(String::new(), |mut text, it| {
            writeln!(text, "[streams.A{it:02}]\nsubjects = [\"{first}.{it}\"]").expect("a text");
            writeln!(text, "[streams.B{it:02}]\nsubjects = [\"{second}.{it}\"]").expect("a text");
            text
        })
    };
    let project = Project::new(&server, &spec("a", "b"));
    project.apply();
    project.write_spec(&spec("b", "a"));
    let parked = |from: usize| {
        let page = ask(&server, "STREAM.LIST", &json!({}));
        let all = page["streams"].as_array().cloned().unwrap_or_default();
        let subjects = all.iter().filter_map(|it| it["config"]["subjects"][0].as_str());
        subjects.filter(|it| it.starts_with("_jsplan.parked.")).count() >= from
    };
    for reached in [1, 30] {
        let mut apply = project.start(&["apply", "--auto-approve", "--parallelism", "1"]);
        wait_for("streams are parked", || parked(reached));
        apply.kill().expect("it is ours");
        apply.wait().expect("it ends");
        project.run(&["plan", "--detailed-exitcode"]).ended(2);
    }
    project.apply();
    project.plans_empty();
    assert!(!parked(1));
    assert_eq!(stream(&server, "A07")["subjects"], json!(["b.7"]));
}

#[test]
fn a_copy_of_nothing_is_a_warning_and_the_server_takes_it() {
    let server = server();
    let project = Project::new(&server, "[streams.COPY]\nmirror = { name = \"ORDRES\" }\n");
    project.run(&["plan"]).ended(0).says("warning[origin]: `COPY` copies `ORDRES`");
    project.apply();
    project.plans_empty();
}

#[test]
fn a_circle_of_copies_and_a_copy_that_is_too_small_are_refused_by_both() {
    let server = server();
    create(
        &server,
        &json!({ "name": "OTHER", "subjects": ["o"], "max_msg_size": 2000,
        "sources": [{ "name": "S" }] }),
    );
    both_refuse(
        &server,
        "[streams.S]\nsubjects = [\"s\"]\nsources = [{ name = \"OTHER\" }]\n",
        "error[conflict]: `S` copies a stream that copies `S`",
        "STREAM.CREATE.S",
        &json!({ "name": "S", "subjects": ["s"], "sources": [{ "name": "OTHER" }] }),
        10052,
    );
    both_refuse(
        &server,
        "[streams.M]\nmax_msg_size = 1000\nmirror = { name = \"OTHER\" }\n",
        "error[origin]: `max_msg_size` is 1000",
        "STREAM.CREATE.M",
        &json!({ "name": "M", "max_msg_size": 1000, "mirror": { "name": "OTHER" } }),
        10030,
    );
}

#[test]
fn limits_of_consumers_change_in_the_order_that_the_server_takes() {
    let server = server();
    let spec = |limit: u32, own: u32| {
        format!(
            "[streams.S]\nconsumer_limits = {{ max_ack_pending = {limit} }}\n\
             [streams.S.consumers.C]\nack_policy = \"explicit\"\nmax_ack_pending = {own}\n"
        )
    };
    let project = Project::new(&server, &spec(900, 900));
    project.apply();
    for (limit, own) in [(500, 400), (800, 700)] {
        project.write_spec(&spec(limit, own));
        project.apply();
        project.plans_empty();
    }
    let config = json!({ "durable_name": "STRANGER", "ack_policy": "explicit" });
    let body = json!({ "stream_name": "S", "config": config });
    assert_eq!(code(&server, "CONSUMER.CREATE.S.STRANGER", &body), 0);
    project.write_spec(&spec(700, 600));
    project.run(&["plan"]).ended(1).says("`STRANGER` (`max_ack_pending` is 800)");
    let mut config = stream(&server, "S");
    config["consumer_limits"] = json!({ "max_ack_pending": 700 });
    assert_eq!(code(&server, "STREAM.UPDATE.S", &config), 10069);
}

#[test]
fn what_the_account_has_no_room_for_is_refused_by_both() {
    let server = server_with(SMALL);
    create(&server, &json!({ "name": "HELD", "storage": "memory", "max_bytes": 6000 }));
    let bytes = |storage: &str, bytes: u64| {
        let spec = format!("[streams.S]\nstorage = \"{storage}\"\nmax_bytes = {bytes}\n");
        (spec, json!({ "name": "S", "storage": storage, "max_bytes": bytes }))
    };
    for (storage, size, says, err) in [
        ("memory", 4001, "it would reserve 4,001 bytes more in memory storage", 10028),
        ("file", 60001, "the account allows a stream 60,000 bytes", 10122),
    ] {
        let (spec, body) = bytes(storage, size);
        both_refuse(&server, &spec, says, "STREAM.CREATE.S", &body, err);
    }
    Project::new(&server, &bytes("memory", 4000).0).apply();
    both_refuse(
        &server,
        "[streams.FREE]\nstorage = \"memory\"\n",
        "the account has 0 bytes left of 10,000 bytes",
        "STREAM.CREATE.FREE",
        &json!({ "name": "FREE", "storage": "memory" }),
        10028,
    );
    create(&server, &json!({ "name": "THIRD" }));
    both_refuse(
        &server,
        "[streams.FOURTH]\n",
        "it would be one stream more than the account allows: 3",
        "STREAM.CREATE.FOURTH",
        &json!({ "name": "FOURTH" }),
        10027,
    );
}

#[test]
fn an_update_reserves_only_the_difference() {
    let server = server_with(SMALL);
    let spec = |a: u64, b: u64| {
        format!(
            "[streams.A]\nstorage = \"memory\"\nmax_bytes = {a}\n\
             [streams.B]\nstorage = \"memory\"\nmax_bytes = {b}\n"
        )
    };
    let project = Project::new(&server, &spec(5000, 4000));
    project.apply();
    project.write_spec(&spec(6000, 4000));
    project.apply();
    project.write_spec(&spec(6000, 4001));
    project.run(&["plan"]).ended(1).says("error[limit]: it would reserve 1 byte more");
    project.write_spec(&spec(5000, 5000));
    project.run(&["plan"]).ended(1).says("error[limit]");
    for (a, b) in [(5000, 4000), (5000, 5000)] {
        project.write_spec(&spec(a, b));
        project.apply();
        project.plans_empty();
    }
}

#[test]
fn consumers_are_counted_for_each_stream() {
    let server = server_with(SMALL);
    let consumer = |stream: &str, name: &str, most: u32| {
        format!(
            "[streams.{stream}.consumers.{name}]\nack_policy = \"explicit\"\n\
             max_ack_pending = {most}\n"
        )
    };
    let spec = "[streams.S]\n[streams.T]\nmax_consumers = 1\n".to_owned();
    let four = spec.clone() + &consumer("S", "A", 50) + &consumer("S", "B", 1);
    let project = Project::new(&server, &(four.clone() + &consumer("T", "A", 50)));
    project.apply();
    project.plans_empty();
    let body = |stream: &str, name: &str, most: u32| {
        let config = json!({ "durable_name": name, "ack_policy": "explicit",
            "max_ack_pending": most });
        json!({ "stream_name": stream, "config": config })
    };
    project.write_spec(&(four.clone() + &consumer("S", "C", 1)));
    project.run(&["plan"]).ended(1).says("one consumer more than the account allows `S`: 2");
    assert_eq!(code(&server, "CONSUMER.CREATE.S.C", &body("S", "C", 1)), 10026);
    project.write_spec(&(spec + &consumer("S", "A", 51)));
    project.run(&["plan"]).ended(1).says("`max_ack_pending` is 51, and the account allows 50");
    assert_eq!(code(&server, "CONSUMER.CREATE.S.A", &body("S", "A", 51)), 10121);
}

#[test]
fn an_account_that_wants_every_stream_bounded_is_obeyed() {
    let server = server_with(&SMALL.replace("max_streams: 3", "max_bytes_required: true"));
    both_refuse(
        &server,
        "[streams.S]\n",
        "error[limit]: the account requires every stream to have `max_bytes`",
        "STREAM.CREATE.S",
        &json!({ "name": "S" }),
        10113,
    );
    Project::new(&server, "[streams.S]\nmax_bytes = 1000\n").apply();
}

#[test]
fn what_is_left_to_others_is_judged_beside_what_is_sent() {
    let server = server();
    let spec = |age: &str| {
        format!(
            "[streams.S]\nsubjects = [\"s\"]\nmax_age = \"{age}\"\n\
             ignore = [\"duplicate_window\"]\nreason = \"operators\"\n"
        )
    };
    let project = Project::new(&server, &spec("1h"));
    project.apply();
    let second = 1_000_000_000_u64;
    let mut config = stream(&server, "S");
    config["duplicate_window"] = json!(600 * second);
    assert_eq!(code(&server, "STREAM.UPDATE.S", &config), 0);
    project.write_spec(&spec("1m"));
    project.run(&["plan"]).ended(1).says("`ignore` leaves `duplicate_window` 10m as it is");
    config["max_age"] = json!(60 * second);
    assert_eq!(code(&server, "STREAM.UPDATE.S", &config), 10052);
    project.write_spec(&spec("10m"));
    project.apply();
    project.plans_empty();
}

/// A queue with consumers, each with its filter.
fn queue(consumers: &[(&str, &str)]) -> String {
    let stream =
        "[streams.Q]\nsubjects = [\"x\", \"y\", \"z\"]\nretention = \"workqueue\"\n".to_owned();
    consumers.iter().fold(stream, |mut text, (name, filter)| {
        writeln!(
            text,
            "[streams.Q.consumers.{name}]\nack_policy = \"explicit\"\nfilter_subject = \"{filter}\""
        )
        .expect("a text");
        text
    })
}

#[test]
fn consumers_of_a_work_queue_hand_their_filters_over() {
    let server = server();
    let project = Project::new(&server, &queue(&[("A", "z"), ("B", "y"), ("C", "x")]));
    project.apply();
    // C goes, B takes what it had, and A what B had.
    project.write_spec(&queue(&[("A", "y"), ("B", "x")]));
    project.apply();
    project.plans_empty();
    let filter = |name: &str| {
        let answer = ask(&server, &format!("CONSUMER.INFO.Q.{name}"), &Value::Null);
        answer["config"]["filter_subject"].clone()
    };
    assert_eq!((filter("A"), filter("B")), (json!("y"), json!("x")));
}

#[test]
fn a_swap_of_filters_is_refused_by_the_plan_and_by_the_server() {
    let server = server();
    let project = Project::new(&server, &queue(&[("A", "x"), ("B", "y")]));
    project.apply();
    project.write_spec(&queue(&[("A", "y"), ("B", "x")]));
    project
        .run(&["plan"])
        .ended(1)
        .says("no order of these steps works")
        .says("each takes a filter that another one still has");
    let config = json!({ "durable_name": "A", "ack_policy": "explicit", "filter_subject": "y" });
    let body = json!({ "stream_name": "Q", "config": config, "action": "update" });
    assert_eq!(code(&server, "CONSUMER.CREATE.Q.A", &body), 10100);
    // The way that the plan names.
    for filters in [[("A", "z"), ("B", "y")], [("A", "y"), ("B", "x")]] {
        project.write_spec(&queue(&filters));
        project.apply();
        project.plans_empty();
    }
}

#[test]
fn what_goes_makes_room_for_what_comes() {
    let server = server_with(&SMALL.replace("max_streams: 3", "max_streams: 2"));
    let spec = |name: &str, limits: &str, consumers: &[(&str, u32)]| {
        let memory = "storage = \"memory\"\nmax_bytes = 6000";
        let mut text = format!("[streams.{name}]\n{memory}\n[streams.S]\n{limits}\n");
        for (name, most) in consumers {
            let consumer = format!("ack_policy = \"explicit\"\nmax_ack_pending = {most}");
            writeln!(text, "[streams.S.consumers.{name}]\n{consumer}").expect("a text");
        }
        text
    };
    let project = Project::new(&server, &spec("OLD", "", &[("A", 50), ("B", 10)]));
    project.apply();
    // A stream, a consumer, and limits that the consumer that goes is beyond.
    let limits = "consumer_limits = { max_ack_pending = 20 }";
    project.write_spec(&spec("NEW", limits, &[("B", 10), ("C", 20)]));
    project.apply();
    project.plans_empty();
    assert_eq!(streams(&server), ["NEW", "S"]);
}
