//! What endangers a copy is found before it is begun, and what a program makes is proved as well.

use std::time::Duration;

use jsplan::{
    config::Config,
    finding::{Finding, Severity, Sources},
    io::{
        binary::ORACLE,
        migrate::{
            Error, scan,
            verify::{Given, Taken, verify_made},
            wait,
        },
        run,
        server::Server,
    },
    migration::{
        Mapping,
        preflight::{Facts, preflight, window_waits},
        proof::{Copying, Failure, Pair},
    },
    schema::Release,
    state::ledger::Proof,
};
use serde_json::{Value, json};

use crate::support::{
    client::{create, done, messages},
    copy::{Sent, follow, mapping, numbered, origin, pair, send, session, verified},
    project::wait_for,
    server::{server, server_of},
};

fn scanned(server: &Server) -> Facts {
    run(async {
        let session = session(server.url()).await;
        scan::scan(&session, "A", &mut |_| {}).await.expect("it is read")
    })
}

fn with(headers: &[(&str, &str)]) -> Sent {
    let headers = headers.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
    Sent { subject: "a.1".into(), headers, payload: b"x".to_vec() }
}

/// The errors, and the rest.
fn found(
    facts: &Facts,
    pair: &Pair<'_>,
    to: &Value,
    release: Release,
) -> (Vec<String>, Vec<String>) {
    let mut sources = Sources::default();
    let file = sources.add("m.toml".into(), "[migration]".into());
    let place = jsplan::finding::Place::new(file, 0..11);
    let all = preflight(facts, pair, &Config::of(to), release, place);
    let (errors, rest): (Vec<Finding>, Vec<_>) =
        all.into_iter().partition(|it| it.severity == Severity::Error);
    let text = |all: Vec<Finding>| all.into_iter().map(|it| it.message).collect();
    (text(errors), text(rest))
}

const NEW: Release = Release(2, 15, 1);
const OLD: Release = Release(2, 10, 26);

#[test]
fn one_look_at_every_message_finds_what_endangers_a_copy() {
    for server in [server(), server_of(OLD)] {
        origin(&server, &json!({ "duplicate_window": 100_000_000, "allow_rollup_hdrs": true }));
        send(&server, "A", &numbered("a", 0..1000));
        send(&server, "A", &[with(&[("Nats-Msg-Id", "1")]), with(&[("Nats-Msg-Id", "2")])]);
        let old = || {
            let info = crate::support::client::ask(&server, "STREAM.INFO.A", &Value::Null);
            crate::support::client::is_old(&info)
        };
        wait_for("the window is over", old);
        send(&server, "A", &[with(&[("Nats-Msg-Id", "1")])]);
        let large = Sent { payload: vec![0; 7000], ..with(&[("A-Header", "of some length")]) };
        send(&server, "A", &[large]);
        let facts = scanned(&server);
        assert_eq!((facts.messages, facts.repeated), (1004, Some(1)));
        let length = "NATS/1.0\r\nA-Header: of some length\r\n\r\n".len() as u64;
        assert_eq!((facts.largest, facts.headers), (7000 + length, length));
        assert_eq!(facts.subjects.values().sum::<u64>(), 1004);
        assert_eq!((facts.mortal, facts.rollups, facts.sourced), (0, 0, 0));
        assert!(facts.unsettled.is_none());
        assert!(window_waits(&facts, Copying::Source) && !window_waits(&facts, Copying::Mirror));
    }
}

#[test]
fn each_trap_is_refused_where_the_server_would_lose_messages_and_say_nothing() {
    let server = server();
    origin(&server, &json!({}));
    send(&server, "A", &numbered("a", 0..70));
    let facts = scanned(&server);
    let one =
        |to: &Value, mapping: &[Mapping], copying| found(&facts, &pair(copying, mapping), to, NEW);
    let (errors, notes) = one(&json!({}), &[], Copying::Source);
    assert!(errors.is_empty() && notes.is_empty(), "{errors:?} {notes:?}");
    let size = facts.largest;
    let cases = [
        (json!({ "max_msg_size": size }), "`max_msg_size`"),
        (json!({ "max_bytes": facts.bytes }), "`max_bytes`"),
        (json!({ "max_msgs": 69 }), "`max_msgs`"),
        (json!({ "max_age": 1_000_000 }), "live shorter"),
        (json!({ "retention": "interest" }), "consumers wait for"),
        (json!({ "max_msgs_per_subject": 9 }), "7 messages would be deleted"),
    ];
    for (to, says) in cases {
        let (errors, _) = one(&to, &[], Copying::Source);
        assert!(errors.len() == 1 && errors[0].contains(says), "{to}: {errors:?}");
    }
    let some = mapping(&[("a.1", "b.1"), ("a.2", "b.2")]);
    let (errors, _) = one(&json!({}), &some, Copying::Source);
    assert!(errors[0].starts_with("50 messages of 70 messages would not be copied"), "{errors:?}");
    let all = mapping(&[("a.*", "b.one")]);
    let (errors, _) = one(&json!({ "max_msgs_per_subject": 10 }), &all, Copying::Source);
    assert!(errors[0].starts_with("60 messages would be deleted again"), "{errors:?}");
    let computed = mapping(&[("a.*", "b.{{partition(3,1)}}")]);
    let (errors, _) = one(&json!({}), &computed, Copying::Source);
    assert!(errors[0].starts_with("nobody can prove"), "{errors:?}");
    let (errors, notes) = found(&facts, &pair(Copying::Mirror, &[]), &json!({}), OLD);
    assert!(errors[0].contains("only from 2.12.0 on") && notes.len() == 1, "{errors:?} {notes:?}");
    let queue = Facts { from: Config::of(&json!({ "retention": "workqueue" })), ..facts.clone() };
    let (errors, _) = found(&queue, &pair(Copying::Source, &[]), &json!({}), NEW);
    assert!(errors[0].contains("is a work queue"), "{errors:?}");
    let repeated = Facts { repeated: Some(3), ..facts.clone() };
    let window = json!({ "duplicate_window": 1_000_000_000 });
    let (errors, notes) = found(&repeated, &pair(Copying::Source, &[]), &window, NEW);
    assert!(errors[0].contains("earlier one (3)") && notes.len() == 1, "{errors:?}");
    let sourced = Facts { sourced: 1, ..facts };
    let (_, notes) = found(&sourced, &pair(Copying::Source, &[]), &json!({}), OLD);
    assert!(notes[0].contains("skip others"), "{notes:?}");
}

#[test]
fn a_message_that_rolls_up_holds_up_a_copy_of_older_servers() {
    for release in ORACLE {
        let server = server_of(release);
        origin(&server, &json!({ "allow_rollup_hdrs": true }));
        send(&server, "A", &numbered("a", 0..70));
        run(async {
            let client = async_nats::connect(server.url()).await.expect("a connection");
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Rollup", "sub");
            client.request_with_headers("a.3", headers, "all".into()).await.expect("an answer");
        });
        send(&server, "A", &numbered("a", 70..77));
        let facts = scanned(&server);
        assert_eq!((facts.messages, facts.rollups), (68, 1));
        let (errors, _) = found(&facts, &pair(Copying::Source, &[]), &json!({}), release);
        follow(&server, &[], &json!({}));
        let caught = run(async {
            let session = session(server.url()).await;
            let short = Duration::from_secs(1);
            let pair = pair(Copying::Source, &[]);
            wait::caught_up(&session, &pair, short, &mut |_| {}).await
        });
        match errors.as_slice() {
            [] => assert_eq!(caught.expect("it comes").copied, 78, "{release}"),
            [one] => {
                assert!(one.contains("roll up"), "{one}");
                let late = matches!(caught, Err(Error::Late { copied: 70, last: 78, .. }));
                assert!(late, "{release}: {caught:?}");
            }
            several => panic!("{several:?}"),
        }
        done(&server, "STREAM.DELETE.B", &Value::Null);
        follow(&server, &[], &json!({ "allow_rollup_hdrs": true }));
        wait_for("it copies", || messages(&server, "B") == 68);
        let proof = verified(&server, pair(Copying::Source, &[]), &Proof::default());
        assert_eq!(proof.expect("they are equal").messages, 68);
    }
}

/// What a program would make: numbers doubled, and nothing of every seventh.
fn made(taken: Vec<Taken>) -> Vec<Given> {
    let make = |it: Taken| {
        let text = String::from_utf8(it.payload).expect("a text");
        let number: u64 = text.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number");
        if number.is_multiple_of(7) {
            return Given::Rejected;
        }
        let headers = vec![("X-Was".to_owned(), text)];
        let payload = format!("{}", number * 2).into_bytes();
        Given::Made { subject: format!("{}.new", it.subject), headers, payload }
    };
    taken.into_iter().map(make).collect()
}

#[test]
fn what_a_program_made_is_proved_against_what_it_makes() {
    let server = server();
    origin(&server, &json!({}));
    send(&server, "A", &numbered("a", 0..1400));
    create(&server, &json!({ "name": "B", "subjects": ["b.>"] }));
    let to = mapping(&[("a.>", "b.>")]);
    let copies = |numbers: std::ops::Range<u64>| {
        let copy = |number: u64| {
            let headers = vec![
                ("Jsplan-Origin".to_owned(), format!("A {}", number + 1)),
                ("Nats-Msg-Id".to_owned(), format!("A {}", number + 1)),
                ("X-Was".to_owned(), format!("message {number}")),
            ];
            let subject = format!("b.{}.new", number % 7);
            Sent { subject, headers, payload: format!("{}", number * 2).into_bytes() }
        };
        numbers.filter(|it| !it.is_multiple_of(7)).map(copy).collect::<Vec<_>>()
    };
    send(&server, "B", &copies(0..1400));
    let verified = |since: &Proof| {
        run(async {
            let session = session(server.url()).await;
            let pair = pair(Copying::Program, &to);
            let make = async |it| Ok(made(it));
            verify_made(&session, &pair, since, &mut |_| {}, make).await
        })
    };
    let proof = verified(&Proof::default()).expect("it is right");
    assert_eq!((proof.messages, proof.rejected, proof.origin), (1200, 200, 1400));
    send(&server, "A", &numbered("a", 1400..1410));
    send(&server, "B", &copies(1400..1410));
    let tail = verified(&proof).expect("it is right");
    assert_eq!((tail.messages, tail.rejected), (1208, 202));
    assert_eq!(verified(&Proof::default()).expect("it is right"), tail);
    // One that was rejected is there all the same.
    let mut wrong = copies(1..2);
    wrong[0].headers[0].1 = "A 1415".into();
    wrong[0].headers[1].1 = "another".into();
    send(&server, "A", &numbered("a", 1410..1415));
    send(&server, "B", &copies(1410..1414));
    send(&server, "B", &wrong);
    let failed = verified(&tail);
    assert!(
        matches!(failed, Err(Error::Failure(Failure::Extra { origin: 1415, copy: 1213 }))),
        "{failed:?}"
    );
}
