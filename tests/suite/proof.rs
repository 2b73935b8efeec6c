//! That one stream holds what another holds is proved against servers that copy, and against copies
//! that were made wrong by hand.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    ops::Range,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use jsplan::{
    io::{
        migrate::{Error, Progress, place::first_at, verify, wait},
        run,
        server::Server,
    },
    migration::proof::{Copying, Failure, Pair, Part, mapped},
    schema::Release,
    state::ledger::Proof,
};
use serde_json::{Value, json};

use crate::support::{
    client::{Client, ask, create, done, messages},
    copy::{Sent, follow, mapping, numbered, origin, pair, send, send_raw, session, verified},
    project::wait_for,
    server::{cluster, server, server_of},
};

const OLD: Release = Release(2, 10, 26);

/// The oldest of those that are tested of which a mirror can become a stream of its own.
const PROMOTED: Release = Release(2, 12, 8);

/// Messages with everything in them that a message may have.
fn motley(numbers: Range<u64>) -> Vec<Sent> {
    let one = |it: u64| {
        let mut headers = vec![("X-Number".to_owned(), it.to_string())];
        if it.is_multiple_of(3) {
            headers.extend([("X-Twice".into(), "b".into()), ("X-Twice".into(), "a".into())]);
            headers.extend([("x-twice".into(), "ü 漢".into()), ("Empty".into(), String::new())]);
        }
        if it.is_multiple_of(5) {
            headers.push(("Nats-Msg-Id".into(), format!("id {it}")));
            headers.push(("Nats-Expected-Stream".into(), "A".into()));
        }
        let subject = ["a.x.1", "a.y.2", "a.ü.漢", "a.z.3"][it as usize % 4].to_owned();
        let length = [0, 1, 10, 300, 5000][it as usize % 5];
        let payload = (0..length).map(|at| (at * 31 + it * 7) as u8).collect();
        let headers = if it.is_multiple_of(7) { Vec::new() } else { headers };
        Sent { subject, headers, payload }
    };
    numbers.map(one).collect()
}

/// Headers that async-nats ends its connection over.
const ODD: &[&[u8]] = &[
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\na name: x\r\n\r\n",
    b"NATS/1.0\r\nRaw: \xff\xfe\r\nNats-Msg-Id: odd\r\n\r\n",
    b"NATS/1.0\r\nFolded: one\r\n two\r\n\r\n",
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 404 No Messages\r\nX: 1\r\n\r\n",
];

#[test]
fn equal_streams_prove_equal_whatever_is_in_their_messages() {
    for server in [server_of(OLD), server()] {
        let to = mapping(&[("a.*.*", "b.{{wildcard(2)}}.{{wildcard(1)}}")]);
        origin(&server, &json!({}));
        send(&server, "A", &motley(0..2100));
        follow(&server, &to, &json!({}));
        prove_all(&server, "B", pair(Copying::Source, &to));
    }
}

#[test]
fn a_mirror_proves_equal_whatever_is_in_its_messages() {
    // Before, a mirror stops for good at a message that says which stream it is for (2.10.26).
    for server in [server_of(PROMOTED), server()] {
        origin(&server, &json!({}));
        send(&server, "A", &motley(0..2100));
        create(&server, &json!({ "name": "B", "mirror": { "name": "A" } }));
        prove_all(&server, "B", pair(Copying::Mirror, &[]));
    }
}

/// Proves the copy at once and piece by piece, which comes to the same.
fn prove_all(server: &Server, name: &str, pair: Pair<'_>) {
    wait_for("it copies", || messages(server, name) == 2100);
    let proof = verified(server, pair, &Proof::default()).expect("they are equal");
    assert_eq!((proof.messages, proof.origin, proof.copy, proof.gone), (2100, 2100, 2100, 0));
    // What the client cannot read is read all the same, be it few or many.
    ODD.iter().for_each(|it| send_raw(server, "a.odd.1", it, b"odd"));
    wait_for("it copies", || messages(server, name) == 2106);
    let few = verified(server, pair, &proof).expect("they are equal");
    send(server, "A", &motley(2100..2700));
    wait_for("it copies", || messages(server, name) == 2706);
    let whole = verified(server, pair, &Proof::default()).expect("they are equal");
    assert_eq!(whole.messages, 2706);
    assert_eq!(whole.subjects, by_subject(server, name), "the server counts the same");
    for since in [proof, few] {
        let more = verified(server, pair, &since).expect("they are equal");
        assert_eq!(more, whole, "a digest goes on where it was");
    }
    for name in ["A", name] {
        let left = ask(server, &format!("CONSUMER.NAMES.{name}"), &json!({}))["consumers"].clone();
        assert!(!left.to_string().contains("probe"), "{left}");
    }
}

/// What the server holds on each subject.
fn by_subject(server: &Server, stream: &str) -> BTreeMap<String, u64> {
    let info = ask(server, &format!("STREAM.INFO.{stream}"), &json!({ "subjects_filter": ">" }));
    serde_json::from_value(info["state"]["subjects"].clone()).expect("counts by subject")
}

#[test]
fn however_many_subjects_there_are_only_so_many_are_counted_by_name() {
    let server = server();
    origin(&server, &json!({}));
    let sent =
        |it| Sent { subject: format!("a.{it:03}"), headers: Vec::new(), payload: Vec::new() };
    let sent: Vec<_> = (0..300).map(sent).collect();
    send(&server, "A", &sent);
    follow(&server, &[], &json!({}));
    wait_for("it copies", || messages(&server, "B") == 300);
    let proof = verified(&server, pair(Copying::Source, &[]), &Proof::default()).expect("equal");
    let counted = by_subject(&server, "B").into_iter().take(Proof::SUBJECTS).collect();
    assert_eq!((proof.messages, proof.subjects), (300, counted));
}

#[test]
fn subjects_are_mapped_as_the_server_maps_them() {
    let cases: &[&[(&str, &str)]] = &[
        &[("a.>", "b.>")],
        &[("a.*.*", "$2.x.{{wildcard(1)}}")],
        &[("a.*.>", "b.{{ Wildcard(1) }}.c.>")],
        &[("a.1", "one"), ("a.2.*", "two.{{wildcard(1)}}")],
        &[("a.x.>", ""), ("a.1", "b.1")],
        &[(">", "all.>")],
        &[("a.*", "same.$1.$1")],
    ];
    let subjects = ["a.1", "a.2", "a.2.3", "a.x.y", "a.x.y.z", "a.1.2", "a.ü.3"];
    for server in [server(), server_of(OLD)] {
        origin(&server, &json!({}));
        for subject in subjects {
            let sent = Sent { subject: subject.into(), headers: Vec::new(), payload: b"x".into() };
            send(&server, "A", &[sent]);
        }
        for case in cases {
            let mapping = mapping(case);
            let wanted: Vec<_> = subjects.iter().filter_map(|it| mapped(&mapping, it)).collect();
            follow(&server, &mapping, &json!({}));
            wait_for("it copies", || messages(&server, "B") == wanted.len() as u64);
            let subject = |it: usize| {
                let found = ask(&server, "STREAM.MSG.GET.B", &json!({ "seq": it }));
                found["message"]["subject"].as_str().expect("a message").to_owned()
            };
            let found: Vec<_> = (1..=wanted.len()).map(subject).collect();
            assert_eq!(found, wanted, "{case:?}");
            let proof = verified(&server, pair(Copying::Source, &mapping), &Proof::default());
            assert_eq!(proof.expect("they are equal").messages, wanted.len() as u64);
            done(&server, "STREAM.DELETE.B", &Value::Null);
        }
    }
}

/// A copy by hand, with the headers of a server's own: up to 2.14 anybody may publish them.
fn forged(server: &Server, messages: impl Iterator<Item = (u64, String)>) {
    let forge = |(origin, payload): (u64, String)| Sent {
        subject: format!("b.{}", (origin - 1) % 7),
        headers: vec![("Nats-Stream-Source".to_owned(), format!("A {origin} > > a.>"))],
        payload: payload.into_bytes(),
    };
    create(server, &json!({ "name": "B", "subjects": ["b.>"] }));
    send(server, "B", &messages.map(forge).collect::<Vec<_>>());
}

#[test]
fn whatever_is_wrong_with_a_copy_is_found_and_named() {
    let server = server_of(OLD);
    let count = 1500;
    origin(&server, &json!({}));
    send(&server, "A", &numbered("a", 0..count));
    let right = || (1..=count).map(|it| (it, format!("message {}", it - 1)));
    let to = mapping(&[("a.>", "b.>")]);
    let verify = |copy: Vec<(u64, String)>| {
        forged(&server, copy.into_iter());
        let found = verified(&server, pair(Copying::Source, &to), &Proof::default());
        done(&server, "STREAM.DELETE.B", &Value::Null);
        match found {
            Err(Error::Failure(failure)) => Err(failure),
            found => Ok(found.expect("nothing else fails")),
        }
    };
    assert_eq!(verify(right().collect()).expect("it is right").messages, count);
    let changed = |at: u64| {
        let change = move |(it, payload): (u64, String)| {
            (it, if it == at { payload.replace('m', "n") } else { payload })
        };
        right().map(change).collect::<Vec<_>>()
    };
    for at in [1, 700, 1500] {
        let found = verify(changed(at)).expect_err("a byte is another");
        let Failure::Different { origin, copy, what, ours, theirs } = found else {
            panic!("{found}")
        };
        assert_eq!((origin, copy, what), (at, at, Part::Payload));
        assert_ne!(ours, theirs);
    }
    let missing = verify(right().filter(|it| it.0 != 700).collect());
    assert_eq!(missing, Err(Failure::Missing { origin: 700, subject: "b.6".into() }));
    let cut = verify(right().filter(|it| it.0 <= 1490).collect());
    assert_eq!(cut, Err(Failure::Behind { origin: 1491, subject: "b.6".into() }));
    let twice = right().flat_map(|it| if it.0 == 700 { vec![it.clone(), it] } else { vec![it] });
    assert_eq!(verify(twice.collect()), Err(Failure::Duplicated { origin: 700, copy: 701 }));
    let mut swapped: Vec<_> = right().collect();
    swapped.swap(699, 700);
    assert_eq!(verify(swapped), Err(Failure::Disordered { origin: 700, copy: 701 }));
    let beyond = right().chain([(1501, "never".to_owned())]);
    let rewound = Failure::Rewound { stream: "A".into(), sequence: 1501 };
    assert_eq!(verify(beyond.collect()), Err(rewound));
    // What the copy got of its own is nobody's mistake, and neither is what the origin deletes.
    let body = json!({ "seq": 700 });
    done(&server, "STREAM.MSG.DELETE.A", &body);
    done(&server, "STREAM.PURGE.A", &json!({ "seq": 101 }));
    let proof = verify(right().filter(|it| it.0 > 50).collect()).expect("it is right");
    assert_eq!((proof.messages, proof.gone), (1399, 51));
}

/// The files in which a stream keeps its messages, the last one last.
fn blocks(server: &Server, stream: &str) -> Vec<PathBuf> {
    let folder = server.dir().join(format!("store/jetstream/$G/streams/{stream}/msgs"));
    let files = fs::read_dir(folder).expect("it has a folder");
    let mut blocks: Vec<_> = files.map(|it| it.expect("an entry").path()).collect();
    blocks.retain(|it| it.extension().is_some_and(|it| it == "blk"));
    blocks.sort();
    blocks
}

/// Loses the last messages of a stream, as a loss of power does before they are on disk.
pub(crate) fn lose_the_end(server: &mut Server, stream: &str, each: u64, number: u64) {
    let last = |server: &Server| {
        let info = ask(server, &format!("STREAM.INFO.{stream}"), &Value::Null);
        info["state"]["last_seq"].as_u64().expect("a number")
    };
    let before = last(server);
    server.kill();
    let block = blocks(server, stream).pop().expect("a file");
    let file = File::options().write(true).open(&block).expect("it is there");
    let length = file.metadata().expect("it has a length").len();
    file.set_len(length - each * number).expect("it can be cut");
    let state = block.with_file_name("index.db");
    drop(fs::remove_file(state));
    server.restart().expect("it starts again");
    assert_eq!(last(server), before - number);
}

#[test]
fn an_origin_that_lost_its_end_after_it_was_copied_is_found_by_content_alone() {
    for copying in [Copying::Source, Copying::Mirror] {
        let mut server = server();
        origin(&server, &json!({}));
        // All of one length, so that a number of them is a number of bytes.
        let fixed = |it: Range<u64>| {
            let one = |it: u64| Sent {
                subject: "a.1".into(),
                headers: Vec::new(),
                payload: format!("{it:010}").into_bytes(),
            };
            it.map(one).collect::<Vec<_>>()
        };
        send(&server, "A", &fixed(0..1000));
        match copying {
            Copying::Mirror => {
                create(&server, &json!({ "name": "B", "mirror": { "name": "A" } }));
            }
            Copying::Source | Copying::Program => follow(&server, &[], &json!({})),
        }
        wait_for("it copies", || messages(&server, "B") == 1000);
        let proof = verified(&server, pair(copying, &[]), &Proof::default());
        let proof = proof.expect("they are equal");
        let bytes = ask(&server, "STREAM.INFO.A", &Value::Null)["state"]["bytes"].clone();
        lose_the_end(&mut server, "A", bytes.as_u64().expect("a number") / 1000, 100);
        // It is seen at once, and it is seen once all numbers are equal again.
        let rewound = |sequence| Failure::Rewound { stream: "A".into(), sequence };
        let failed = |since: &Proof| match verified(&server, pair(copying, &[]), since) {
            Err(Error::Failure(failure)) => failure,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed(&Proof::default()), rewound(901));
        assert_eq!(failed(&proof), rewound(1000));
        send(&server, "A", &fixed(2000..2100));
        wait_for("counts are equal", || {
            let info = ask(&server, "STREAM.INFO.B", &Value::Null);
            let lag = match copying {
                Copying::Mirror => info["mirror"]["lag"].clone(),
                Copying::Source | Copying::Program => info["sources"][0]["lag"].clone(),
            };
            (messages(&server, "A"), messages(&server, "B"), lag) == (1000, 1000, json!(0))
        });
        let Failure::Different { origin, copy, what, .. } = failed(&Proof::default()) else {
            panic!("it is different")
        };
        assert_eq!((origin, copy, what), (901, 901, Part::Payload));
        assert_eq!(failed(&proof), rewound(1000));
    }
}

#[test]
fn what_ages_out_and_is_deleted_and_published_meanwhile_disturbs_no_proof() {
    let server = server();
    origin(&server, &json!({ "max_msgs": 3000 }));
    send(&server, "A", &numbered("a", 0..3000));
    let to = mapping(&[("a.>", "b.>")]);
    follow(&server, &to, &json!({}));
    let (over, published) = (AtomicBool::new(false), AtomicU64::new(0));
    let proofs = thread::scope(|it| {
        it.spawn(|| {
            run(async {
                let client = async_nats::connect(server.url()).await.expect("a connection");
                while !over.load(Ordering::Relaxed) {
                    let number = published.fetch_add(1, Ordering::Relaxed);
                    let payload = format!("more {number}").into();
                    client.request("a.more", payload).await.expect("it is stored");
                    if number.is_multiple_of(10) {
                        // One in the middle goes.
                        let body = json!({ "seq": 1500 + number }).to_string().into();
                        let gone = client.request("$JS.API.STREAM.MSG.DELETE.A", body).await;
                        gone.expect("an answer");
                    }
                }
            });
        });
        let mut proofs = vec![Proof::default()];
        let proof = |since: &Proof| {
            let within = Duration::from_secs(20);
            run(async {
                let session = session(server.url()).await;
                let pair = pair(Copying::Source, &to);
                let standing = wait::caught_up(&session, &pair, within, &mut |_| {}).await?;
                let stands = standing.caught_up() && !standing.is_rewound();
                stands.then_some(()).ok_or(Error::Given(format!("{standing:?}")))?;
                verify::verify(&session, &pair, since, &mut |_| {}).await
            })
        };
        let mut failed = None;
        for number in 0..12 {
            let since = if number % 3 == 0 { &Proof::default() } else { &proofs[proofs.len() - 1] };
            match proof(since) {
                Ok(proof) => proofs.push(proof),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(failed.is_none(), "{}", failed.expect("it failed"));
        proofs
    });
    let last = proofs.last().expect("there are some");
    assert!(last.gone > 0 && last.origin > 3000, "{last:?}");
}

#[test]
fn a_proof_that_goes_on_reads_only_what_is_new() {
    let server = server();
    origin(&server, &json!({}));
    send(&server, "A", &numbered("a", 0..5000));
    follow(&server, &[], &json!({}));
    wait_for("it copies", || messages(&server, "B") == 5000);
    run(async {
        let session = session(server.url()).await;
        let client = Client::connect(server.url()).await;
        let pair = pair(Copying::Source, &[]);
        let mut told = Vec::new();
        let mut tell = |it| told.push(it);
        let whole = verify::verify(&session, &pair, &Proof::default(), &mut tell).await;
        let whole = whole.expect("they are equal");
        assert_eq!(told.last().map(|it| (it.done, it.of)), Some((5000, 5000)));
        let before = client.requests().await;
        let same = verify::verify(&session, &pair, &whole, &mut |_| {}).await;
        assert_eq!(same.expect("they are equal"), whole);
        // Both INFO twice, the anchor, and one look behind the end of the copy.
        let asked = client.requests().await - before - 1;
        assert!(asked <= 6, "{asked} requests");
        let many: Vec<_> = (0..200).map(|it| format!("a.{it}")).collect();
        for subject in &many {
            client.raw_publish(subject).await;
        }
        let standing = wait::drained(&session, &pair, Duration::from_secs(10), &mut |_| {}).await;
        assert_eq!(standing.expect("it comes").copied, 5200);
        let before = client.requests().await;
        let begun = std::time::Instant::now();
        let tail = verify::verify(&session, &pair, &whole, &mut |_| {}).await;
        let (tail, took) = (tail.expect("they are equal"), begun.elapsed());
        assert_eq!((tail.messages, tail.origin), (5200, 5200));
        let asked = client.requests().await - before - 1;
        assert!(asked <= 6 + 2 * 202, "{asked} requests");
        assert!(took < Duration::from_millis(500), "{took:?}");
    });
}

#[test]
fn no_wait_is_fooled_by_a_copy_that_copies_nothing() {
    let short = Duration::from_millis(400);
    let server = server();
    let waits =
        |name: &str, source: &Value, more: &Value, mapping: &[jsplan::migration::Mapping]| {
            let mut config = json!({ "name": name, "sources": [source] });
            for (field, value) in more.as_object().into_iter().flatten() {
                config[field] = value.clone();
            }
            create(&server, &config);
            run(async {
                let session = session(server.url()).await;
                let pair = Pair { to: name, ..pair(Copying::Source, mapping) };
                let caught = wait::caught_up(&session, &pair, short, &mut |_| {}).await;
                let drained = wait::drained(&session, &pair, short, &mut |_| {}).await;
                (caught, drained)
            })
        };
    origin(&server, &json!({}));
    let large = Sent { subject: "a.9".into(), headers: Vec::new(), payload: vec![b'x'; 1000] };
    send(&server, "A", &numbered("a", 0..10));
    send(&server, "A", &[large.clone(), large]);
    let late = |(caught, drained): (Result<_, Error>, Result<_, Error>)| {
        for found in [caught, drained] {
            let Err(Error::Late { copied, last, .. }) = found else { panic!("{found:?}") };
            assert!(copied < last, "{copied} of {last}");
        }
    };
    late(waits("NOBODY", &json!({ "name": "ABSENT" }), &json!({}), &[]));
    late(waits("FILTER", &json!({ "name": "A", "filter_subject": "b.>" }), &json!({}), &[]));
    late(waits("SIZE", &json!({ "name": "A" }), &json!({ "max_msg_size": 500 }), &[]));
    let full = json!({ "max_msgs": 3, "discard": "new" });
    late(waits("FULL", &json!({ "name": "A" }), &full, &[]));
    late(waits("UNREAD", &json!({ "name": "A" }), &json!({ "retention": "interest" }), &[]));
    // What is not to be copied is not waited for.
    let transform = json!({ "src": "a.1", "dest": "c.1" });
    let some = json!({ "name": "A", "subject_transforms": [transform] });
    let (caught, drained) = waits("SOME", &some, &json!({}), &mapping(&[("a.1", "c.1")]));
    assert!(caught.expect("it comes").caught_up() && drained.expect("it comes").caught_up());
    let (caught, _) = waits("GOOD", &json!({ "name": "A" }), &json!({}), &[]);
    assert_eq!(caught.expect("it comes").copied, 12);
}

#[test]
fn duplicates_that_a_copy_drops_are_missing() {
    let server = server();
    origin(&server, &json!({ "duplicate_window": 100_000_000 }));
    let with_id = |it: u64| Sent {
        subject: "a.1".into(),
        headers: vec![("Nats-Msg-Id".into(), format!("{}", it % 5))],
        payload: format!("{it}").into_bytes(),
    };
    send(&server, "A", &(0..5).map(with_id).collect::<Vec<_>>());
    let old = || {
        let info = ask(&server, "STREAM.INFO.A", &Value::Null);
        crate::support::client::is_old(&info)
    };
    wait_for("the window is over", old);
    send(&server, "A", &(5..10).map(with_id).collect::<Vec<_>>());
    follow(&server, &[], &json!({ "duplicate_window": 120_000_000_000_u64 }));
    wait_for("it copies", || messages(&server, "B") == 5);
    run(async {
        let session = session(server.url()).await;
        let pair = pair(Copying::Source, &[]);
        let short = Duration::from_millis(400);
        let caught = wait::caught_up(&session, &pair, short, &mut |_| {}).await;
        let Err(Error::Late { copied: 5, last: 10, .. }) = caught else { panic!("{caught:?}") };
    });
    send(&server, "A", &numbered("a", 10..11));
    wait_for("it copies", || messages(&server, "B") == 6);
    let found = verified(&server, pair(Copying::Source, &[]), &Proof::default());
    let Err(Error::Failure(Failure::Missing { origin: 6, .. })) = found else {
        panic!("{found:?}")
    };
}

#[test]
fn a_place_in_the_origin_is_found_in_a_copy_with_messages_of_its_own() {
    let server = server();
    origin(&server, &json!({}));
    send(&server, "A", &numbered("a", 0..300));
    follow(&server, &[], &json!({ "subjects": ["own.>"] }));
    let mut copied = 300;
    for (own, more) in [(1, 300), (70, 1), (3, 299), (2000, 0)] {
        wait_for("it copies", || messages(&server, "B") >= copied);
        send(&server, "B", &numbered("own", 0..own));
        copied += own + more;
        let sent = messages(&server, "A");
        send(&server, "A", &numbered("a", sent..sent + more));
    }
    wait_for("it copies", || messages(&server, "B") == 900 + 2074);
    run(async {
        let session = session(server.url()).await;
        let pair = pair(Copying::Source, &[]);
        let cases = [(0, 1), (1, 1), (300, 300), (301, 302), (600, 601), (601, 672), (602, 676)];
        for (origin, wanted) in cases {
            let found = first_at(&session, &pair, origin).await.expect("an answer");
            assert_eq!(found, wanted, "{origin}");
        }
        assert_eq!(first_at(&session, &pair, 900).await.expect("an answer"), 974);
        assert_eq!(first_at(&session, &pair, 901).await.expect("an answer"), 2975);
        let standing = wait::standing(&session, &pair).await.expect("an answer");
        assert_eq!((standing.copied, standing.last), (900, 900));
        let proof = verify::verify(&session, &pair, &Proof::default(), &mut |_| {}).await;
        let proof = proof.expect("they are equal");
        assert_eq!((proof.messages, proof.copy), (900, 974));
        // The way back: what the copy took of its own is found where it went.
        let back = Pair { from: "B", to: "A", ..pair };
        let client = Client::connect(server.url()).await;
        client.done("STREAM.UPDATE.B", &json!({ "name": "B", "subjects": ["own.>"] })).await;
        let source = json!({ "name": "B", "opt_start_seq": 975 });
        let body = json!({ "name": "A", "subjects": ["a.>"], "sources": [source] });
        client.done("STREAM.UPDATE.A", &body).await;
        let since = Proof { origin: 974, copy: 900, ..Proof::default() };
        let long = Duration::from_secs(20);
        wait::caught_up(&session, &back, long, &mut |_| {}).await.expect("it comes");
        let proof = verify::verify(&session, &back, &since, &mut |_| {}).await;
        assert_eq!(proof.expect("they are equal").messages, 2000);
        assert_eq!(first_at(&session, &back, 975).await.expect("an answer"), 901);
        assert_eq!(first_at(&session, &back, 2000).await.expect("an answer"), 1926);
    });
}

#[test]
fn a_leader_that_dies_while_both_are_read_changes_nothing() {
    let mut servers = cluster();
    let urls: Vec<_> = servers.iter().map(|it| it.url().to_owned()).collect();
    let leader = |info: &Value| {
        let name =
            info["cluster"]["leader"].as_str()?.strip_prefix("node")?.parse::<usize>().ok()?;
        name.checked_sub(1)
    };
    run(async {
        let client = Client::connect(&urls.join(",")).await;
        let config = json!({ "name": "A", "subjects": ["a.>"], "num_replicas": 3 });
        client.at_last("STREAM.CREATE.A", &config).await;
    });
    send(&servers[0], "A", &numbered("a", 0..20_000));
    run(async {
        let client = Client::connect(&urls.join(",")).await;
        let config = json!({ "name": "B", "num_replicas": 3, "sources": [{ "name": "A" }] });
        client.at_last("STREAM.CREATE.B", &config).await;
    });
    wait_for("it copies", || messages(&servers[0], "B") == 20_000);
    for name in ["A", "B"] {
        let leader = leader(&ask(&servers[0], &format!("STREAM.INFO.{name}"), &Value::Null));
        let leader = leader.expect("it has a leader");
        let mut dead = false;
        let proof = run(async {
            let session = session(&urls.join(",")).await;
            let mut tell = |it: Progress| {
                if it.done > 0 && !dead {
                    servers[leader].kill();
                    dead = true;
                }
            };
            verify::verify(&session, &pair(Copying::Source, &[]), &Proof::default(), &mut tell)
                .await
        });
        assert!(dead);
        assert_eq!(proof.expect("they are equal").messages, 20_000);
        servers[leader].restart().expect("it starts again");
    }
}
