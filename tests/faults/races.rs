//! Others who write at the same time, and a server that needs a moment.

use std::{
    fs,
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use jsplan::io::run;
use serde_json::{Value, json};

use crate::{
    support::{
        client::{Client, ask, meddle, stream},
        project::{Output, Project},
        proxy::{Proxy, Then},
        server::{place, server},
    },
    work::Work,
};

#[test]
fn a_stream_that_is_made_anew_between_the_look_and_the_update_is_noticed() {
    let work = Work::new();
    let url = work.url();
    work.proxy.before("STREAM.UPDATE.KEPT", 1, move || {
        foreign(&url, &[("STREAM.DELETE.KEPT", Value::Null)]);
        foreign(&url, &[("STREAM.CREATE.KEPT", json!({ "name": "KEPT", "subjects": ["kept"] }))]);
        Then::Pass
    });
    work.apply().ended(1).says("stream.KEPT: Modifications failed").says("it was created anew at");
}

#[test]
fn a_consumer_that_goes_between_the_look_and_the_update_is_not_made_again() {
    let work = Work::new();
    let url = work.url();
    work.proxy.before("CONSUMER.CREATE.KEPT.SET", 1, move || {
        foreign(&url, &[("CONSUMER.DELETE.KEPT.SET", Value::Null)]);
        Then::Pass
    });
    work.apply().ended(1).says("consumer.KEPT.SET: Modifications failed").says("10149");
}

#[test]
fn a_stream_that_another_makes_first_is_not_taken_over() {
    let work = Work::new();
    let url = work.url();
    let theirs = json!({ "name": "FRESH", "subjects": ["theirs"] });
    work.proxy.before("STREAM.CREATE.FRESH", 1, move || {
        foreign(&url, &[("STREAM.CREATE.FRESH", theirs)]);
        Then::Pass
    });
    work.apply().ended(1).says("stream.FRESH: Creation failed").says("10058");
}

#[test]
fn a_foreign_update_after_ours_is_named_and_the_apply_fails() {
    let work = Work::new();
    let url = work.url();
    work.proxy.after("STREAM.UPDATE.KEPT", 1, move || {
        let config = json!({ "name": "KEPT", "subjects": ["kept"], "max_age": 60_000_000_000_u64 });
        foreign(&url, &[("STREAM.UPDATE.KEPT", config)]);
        Then::Pass
    });
    let left = "the apply is done, and `max_age` of `stream.KEPT` is still not as planned";
    work.apply().ended(1).says(left).says("somebody else changed it meanwhile");
}

#[test]
fn a_foreign_update_is_not_overwritten_by_one_that_is_sent_again() {
    let work = Work::new();
    let url = work.url();
    work.proxy.before("STREAM.UPDATE.KEPT", 1, move || {
        let config = json!({ "name": "KEPT", "subjects": ["kept"], "max_age": 60_000_000_000_u64 });
        foreign(&url, &[("STREAM.UPDATE.KEPT", config)]);
        Then::Swallow
    });
    let neither = "its configuration is neither what it was nor what was sent";
    work.apply().ended(1).says(neither);
    let server = work.server.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(stream(&server, "KEPT")["max_age"], 60_000_000_000_u64);
}

#[test]
fn a_deletion_without_an_answer_never_hits_what_another_made_under_the_name() {
    let work = Work::new();
    let url = work.url();
    let theirs = json!({ "name": "GONE", "subjects": ["gone"], "description": "theirs" });
    work.proxy.after("STREAM.DELETE.GONE", 1, move || {
        foreign(&url, &[("STREAM.CREATE.GONE", theirs)]);
        Then::Swallow
    });
    work.apply().ended(1).says("stream.GONE: Destruction failed").says("it was created anew at");
    assert_eq!(work.proxy.reached("STREAM.DELETE.GONE"), 1);
    let server = work.server.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(stream(&server, "GONE")["description"], "theirs");
}

/// Requests of another client, which must succeed.
fn foreign(url: &str, requests: &[(&str, Value)]) {
    run(async {
        let client = Client::connect(url).await;
        for (subject, body) in requests {
            client.done(subject, body).await;
        }
    });
}

#[test]
fn a_stream_whose_folder_is_not_free_yet_is_made_a_moment_later() {
    let server = server();
    let proxy = Proxy::new(place(&server));
    let project = Project::at(proxy.url(), "[streams.S]\nsubjects = [\"s\"]\n");
    let block = || {
        let folder = server.dir().join("store/jetstream/$G/streams");
        move || {
            fs::create_dir_all(&folder).expect("a folder can be made");
            fs::write(folder.join("S"), "in the way").expect("a file can be written");
            Then::Pass
        }
    };
    // The server clears what is in the way when it refuses, so that each try is blocked anew.
    for number in 1..=100 {
        proxy.before("STREAM.CREATE.S", number, block());
    }
    let begun = Instant::now();
    project
        .run(&["apply", "--auto-approve"])
        .ended(1)
        .says("stream.S: Creation failed")
        .says("10049");
    let (took, sent) = (begun.elapsed(), proxy.sent("STREAM.CREATE.S"));
    assert!(sent > 5 && sent < 20 && took < Duration::from_secs(5), "{sent} in {took:?}");
    let proxy = Proxy::new(place(&server));
    proxy.before("STREAM.CREATE.S", 1, block());
    let project = Project::at(proxy.url(), "[streams.S]\nsubjects = [\"s\"]\n");
    project.apply();
    assert_eq!(proxy.sent("STREAM.CREATE.S"), 2);
    project.plans_empty();
}

#[test]
fn plans_under_churn_never_miss_what_nobody_touched() {
    const OURS: usize = 100;
    const OTHERS: usize = 200;
    const PLANS: usize = 60;
    let server = server();
    let spec = (0..OURS).map(|it| format!("[streams.OURS_{it}]\nsubjects = [\"ours.{it}\"]\n"));
    let project = Project::new(&server, &spec.collect::<String>());
    project.apply();
    let url = server.url().to_owned();
    thread::scope(|scope| {
        let plans = scope.spawn(|| (0..PLANS).for_each(|_| project.plans_empty()));
        run(async {
            let client = Client::connect(&url).await;
            let mut turns = 0;
            while !plans.is_finished() {
                // Names before and between ours, so that pages move under the reader.
                let name = format!("N_{}", turns % OTHERS);
                if (turns / OTHERS).is_multiple_of(2) {
                    client.stream(&name).await;
                } else {
                    client.done(&format!("STREAM.DELETE.{name}"), &Value::Null).await;
                }
                turns += 1;
            }
            assert!(turns > OTHERS, "{turns} changes while {PLANS} plans were made");
        });
    });
}

#[test]
fn an_account_of_large_configurations_is_planned() {
    const STREAMS: usize = 300;
    let server = server();
    let large = json!({ "large": "x".repeat(100_000) });
    run(async {
        let client = Client::connect(server.url()).await;
        for name in (0..STREAMS).map(|it| format!("S{it}")) {
            let config = json!({ "name": name, "storage": "memory", "metadata": large });
            client.done(&format!("STREAM.CREATE.{name}"), &config).await;
        }
    });
    let project = Project::new(&server, "[streams.OURS]\nsubjects = [\"ours\"]\n");
    project.apply();
    let begun = Instant::now();
    project.plans_empty();
    println!("a plan of {STREAMS} streams of 100 KB each in {} ms", begun.elapsed().as_millis());
}

#[test]
fn two_applies_at_once_are_never_both_at_work_and_each_counts_once() {
    const ROUNDS: u64 = 25;
    let server = server();
    let proxy = Proxy::new(place(&server));
    let project = Project::at(proxy.url(), "[streams.S]\nsubjects = [\"s\"]\n");
    project.apply();
    let mut complete = 1;
    for round in 0..ROUNDS {
        meddle(&server, "S", &json!({ "description": format!("round {round}") }));
        let runs = [0, 1].map(|_| project.start(&["apply", "--auto-approve"]));
        let outputs = runs.map(Output::ending);
        for output in &outputs {
            let locked = output.code == 1 && output.stderr.contains("is locked");
            let idle = output.code == 0 && output.stdout.contains("No changes.");
            let done = output.code == 0 && output.stdout.contains("Apply complete!");
            assert!(locked || idle || done, "{output}");
            complete += u64::from(done);
        }
        assert_eq!(project.state()["serial"], complete);
        assert_eq!(proxy.reached("STREAM.UPDATE") as u64, complete - 1);
    }
    assert_eq!(complete, ROUNDS + 1);
    let info = ask(&server, "STREAM.INFO.S", &Value::Null);
    assert!(info["config"]["description"].is_null(), "{info}");
}
