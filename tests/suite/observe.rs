//! Reading an account: how many requests it takes, and what counts as absent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jsplan::{
    address::Address,
    io::{
        clock::until,
        nats::{self, Session, error::Error},
        run,
        server::{JETSTREAM, Server},
    },
    live::Facts,
    schema::Release,
    spec::Connection,
};
use serde_json::{Value, json, value::RawValue};

use crate::support::{
    client::Client,
    server::{cluster, freeze, server, server_with},
};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_millis(250);

async fn session(server: &Server) -> Session {
    let connection = Connection { urls: vec![server.url().to_owned()], ..Connection::default() };
    nats::connect(&connection, "jsplan test").await.expect("a session")
}

fn set(addresses: &[&str]) -> BTreeSet<Address> {
    addresses.iter().map(|it| it.parse().expect("an address")).collect()
}

#[test]
fn a_reading_takes_exactly_as_many_requests_as_promised_on_one_connection() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        for number in 0..300 {
            client.stream(&format!("S{number:03}")).await;
        }
        for number in 0..300 {
            client.consumer("S000", &format!("C{number:03}")).await;
        }
        client.consumer("S001", "ONE").await;
        client.consumer("S299", "ONE").await;

        let connections = || {
            let page = server.monitor("/varz").expect("the server is monitored");
            page["total_connections"].as_u64().expect("a number")
        };
        let earlier = connections();
        let session = session(&server).await;
        let expected = set(&["stream.S007", "consumer.S000.C299", "consumer.S299.ONE"]);
        let before = client.requests().await;
        let live = session.observe(&expected).await.expect("a reading");
        // INFO, a page of names, two of streams, two of the consumers of S000, one of S001 and S299
        // each; and the question itself.
        assert_eq!(client.requests().await - before, 1 + 1 + 2 + (2 + 1 + 1) + 1);
        assert_eq!(connections() - earlier, 1);

        assert_eq!(live.resources.len(), 300 + 302);
        assert!(live.unknown.is_empty(), "{:?}", live.unknown);
        assert!(expected.iter().all(|it| live.resources.contains_key(it)));
        let stream = &live.resources[&Address::stream("S000")];
        assert!(matches!(stream.facts, Facts::Stream { consumers: 300, messages: 0, .. }));
    });
}

#[test]
fn a_name_that_is_expected_and_not_listed_costs_one_request_each() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        client.stream("A").await;
        let session = session(&server).await;
        let expected =
            set(&["stream.A", "stream.B", "stream.C", "consumer.A.GONE", "consumer.B.GONE"]);
        let before = client.requests().await;
        let live = session.observe(&expected).await.expect("a reading");
        // INFO, names, streams; B, C and A.GONE are asked for, B.GONE is absent with its stream.
        assert_eq!(client.requests().await - before, 3 + 3 + 1);
        assert_eq!(live.resources.keys().cloned().collect::<BTreeSet<_>>(), set(&["stream.A"]));
        assert!(live.unknown.is_empty(), "{:?}", live.unknown);
    });
}

#[test]
fn an_empty_account_takes_two_requests() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        let session = session(&server).await;
        let before = client.requests().await;
        let live = session.observe(&BTreeSet::new()).await.expect("a reading");
        assert_eq!(client.requests().await - before, 2 + 1);
        assert!(live.resources.is_empty() && live.unknown.is_empty());
    });
}

#[test]
fn configurations_are_kept_in_the_bytes_of_the_server() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        let odd = json!({ "name": "ODD", "subjects": ["odd.>"], "description": "a \"quoted\" {one}\u{7}" });
        client.done("STREAM.CREATE.ODD", &odd).await;
        client.consumer("ODD", "READER").await;
        let session = session(&server).await;
        let live = session.observe(&BTreeSet::new()).await.expect("a reading");

        let list = client.raw("STREAM.LIST", &Value::Null).await;
        assert_eq!(live.resources[&Address::stream("ODD")].raw.get(), config(&list, "streams"));
        let list = client.raw("CONSUMER.LIST.ODD", &Value::Null).await;
        let consumer = Address::consumer("ODD", "READER");
        assert_eq!(live.resources[&consumer].raw.get(), config(&list, "consumers"));
        let info = client.ask("CONSUMER.INFO.ODD.READER", &Value::Null).await;
        assert_eq!(live.resources[&consumer].created, info["created"].as_str().expect("a time"));
    });
}

/// The configuration of the first entry of a list.
fn config(list: &[u8], key: &str) -> String {
    let raw = |text: &str, key: &str| {
        let map: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text).expect("an object");
        map[key].get().to_owned()
    };
    let entries: Vec<Box<RawValue>> =
        serde_json::from_str(&raw(str::from_utf8(list).expect("text"), key)).expect("a list");
    raw(entries[0].get(), "config")
}

#[test]
fn the_facts_are_those_of_the_server() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        client.stream("A").await;
        client.consumer("A", "READER").await;
        let publisher = async_nats::connect(server.url()).await.expect("a connection");
        for _ in 0..5 {
            publisher.request("A", "hello".into()).await.expect("an acknowledgement");
        }
        let body = json!({ "batch": 2, "expires": 1_000_000_000_u64 }).to_string();
        let pull = "$JS.API.CONSUMER.MSG.NEXT.A.READER";
        // Messages keep their own subject, so the reply needs a subscription of its own.
        let inbox = publisher.new_inbox();
        let request = async_nats::Request::new().payload(body.into()).inbox(inbox);
        publisher.send_request(pull, request).await.expect("a message");

        let session = session(&server).await;
        let live = session.observe(&BTreeSet::new()).await.expect("a reading");
        let stream = &live.resources[&Address::stream("A")];
        assert_eq!(stream.messages(), 5);
        let consumer = live.resources[&Address::consumer("A", "READER")].facts;
        let Facts::Consumer { pending, ack_pending, ack_floor, .. } = consumer else {
            panic!("{consumer:?}");
        };
        assert_eq!((pending, ack_pending, ack_floor), (3, 2, 0));
    });
}

#[test]
fn the_consumers_that_the_server_makes_for_sources_are_left_out() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        client.stream("ORIGIN").await;
        for (name, key, value) in [
            ("COPY", "sources", json!([{ "name": "ORIGIN" }])),
            ("TWIN", "mirror", json!({ "name": "ORIGIN" })),
        ] {
            let body = json!({ "name": name, key: value, "storage": "memory" });
            client.done(&format!("STREAM.CREATE.{name}"), &body).await;
        }
        let session = session(&server).await;
        let live = session.observe(&BTreeSet::new()).await.expect("a reading");
        let found: BTreeSet<_> = live.resources.keys().cloned().collect();
        assert_eq!(found, set(&["stream.COPY", "stream.ORIGIN", "stream.TWIN"]));
    });
}

#[test]
fn the_server_and_the_account_are_known() {
    let server = server_with(
        "accounts { APP { jetstream: enabled, users: [ { user: u, password: p } ] } }\n\
         no_auth_user: u\njetstream { domain: hub }",
    );
    run(async {
        let known = session(&server).await.server().await.expect("a server");
        assert_eq!(known.account.as_deref(), Some("APP"));
        assert_eq!(known.domain.as_deref(), Some("hub"));
        assert_eq!(known.cluster, None);
        assert!(known.release >= Release(2, 9, 0), "{known:?}");
        assert_eq!(Release::parse(&known.version), known.release);
    });
}

#[test]
fn a_denied_list_is_named_at_once() {
    let server = server_with(&denying("$JS.API.STREAM.LIST"));
    run(async {
        let session = session(&server).await;
        Client::connect(server.url()).await.stream("A").await;
        let start = Instant::now();
        let error = session.observe(&BTreeSet::new()).await.expect_err("a denial");
        let Error::Denied { subject } = &error else { panic!("{error}") };
        assert_eq!(subject, "$JS.API.STREAM.LIST");
        assert!(start.elapsed().as_secs() < 3, "it was not waited for");
    });
}

#[test]
fn what_may_not_be_confirmed_is_unknown_and_not_absent() {
    let server = server_with(&denying("$JS.API.STREAM.INFO.*"));
    run(async {
        let session = session(&server).await;
        let live = session.observe(&set(&["stream.A", "consumer.A.C"])).await.expect("a reading");
        assert!(live.resources.is_empty());
        let reasons: Vec<String> =
            live.unknown.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        insta::assert_snapshot!(reasons.join("\n"));
    });
}

#[test]
fn a_denied_question_for_the_account_costs_nothing() {
    let server = server_with(&denying("$SYS.REQ.USER.INFO"));
    run(async {
        let session = session(&server).await;
        let start = Instant::now();
        let live = session.observe(&BTreeSet::new()).await.expect("a reading");
        assert_eq!(live.server.account, None);
        assert!(start.elapsed().as_millis() < 900, "it was not waited for");
    });
}

fn denying(subject: &str) -> String {
    format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {{ user: u, password: p, \
         permissions: {{ publish: {{ deny: [\"{subject}\"] }} }} }} ] }} }}\n\
         no_auth_user: u\n{JETSTREAM}"
    )
}

#[test]
fn a_resource_that_is_not_there_reads_as_none() {
    let server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        client.stream("A").await;
        let session = session(&server).await;
        for (address, there) in [
            ("stream.A", true),
            ("stream.B", false),
            ("consumer.A.C", false),
            ("consumer.B.C", false),
        ] {
            let read =
                session.read(&address.parse().expect("an address")).await.expect("an answer");
            assert_eq!(read.is_some(), there, "{address}");
        }
    });
}

#[test]
fn a_reply_to_a_create_is_its_read_back_and_an_error_keeps_its_codes() {
    let server = server();
    run(async {
        let session = session(&server).await;
        let create = |subjects: &str| {
            json!({ "name": "A", "subjects": [subjects] }).to_string().into_bytes()
        };
        let address = Address::stream("A");
        let answer = session.request("STREAM.CREATE.A", create("a"), 0).await.expect("a stream");
        let observed = answer.observed(&address).expect("a read-back");
        assert_eq!(observed.config().texts("subjects"), ["a"]);
        let read = session.read(&address).await.expect("an answer").expect("a stream");
        assert_eq!(observed.created, read.created);

        let refused = session.request("STREAM.CREATE.A", create("b"), 0).await;
        let Err(Error::Api { code, err_code, .. }) = refused else { panic!("not refused") };
        assert_eq!((code, err_code), (400, 10058));
    });
}

#[test]
fn a_read_survives_a_restart_of_the_server_and_a_write_says_that_it_is_unknown() {
    let mut server = server();
    run(async {
        let client = Client::connect(server.url()).await;
        client.done("STREAM.CREATE.A", &json!({ "name": "A", "subjects": ["a"] })).await;
        let session = session(&server).await;
        session.server().await.expect("an answer");

        freeze(&server);
        let write = session.request("STREAM.CREATE.B", br#"{"name":"B"}"#.to_vec(), 0);
        let (written, ()) = tokio::join!(write, async { server.kill() });
        assert!(matches!(written, Err(Error::Lost { .. })), "{:?}", written.err());

        let address = Address::stream("A");
        let read = session.read(&address);
        let (read, restarted) = tokio::join!(read, async { server.restart() });
        restarted.expect("it starts again");
        assert!(read.expect("an answer").is_some());
    });
}

#[test]
fn what_a_dead_server_held_is_unknown_and_the_rest_is_read() {
    let mut servers = cluster();
    run(async {
        let client = Client::connect(servers[0].url()).await;
        for (name, tag, replicas) in [("KEPT", "node1", 1), ("LOST", "node3", 1), ("ALL", "", 3)] {
            let tags = if tag.is_empty() { json!([]) } else { json!([tag]) };
            let body = json!({
                "name": name, "subjects": [name], "num_replicas": replicas,
                "placement": { "tags": tags },
            });
            client.at_last(&format!("STREAM.CREATE.{name}"), &body).await;
            client.consumer(name, "READER").await;
        }
        let expected = set(&["stream.LOST", "consumer.LOST.READER", "stream.NEW"]);
        let session = session(&servers[0]).await;
        let live = session.observe(&expected).await.expect("a reading");
        assert_eq!((live.resources.len(), live.unknown.len()), (6, 0), "{:?}", live.unknown);
        assert_eq!(live.server.cluster.as_deref(), Some("sandbox"));

        servers[2].kill();
        let start = Instant::now();
        let live = session.observe(&expected).await.expect("a reading");
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
        for address in set(&["stream.LOST", "consumer.LOST.READER"]) {
            assert!(live.unknown.contains_key(&address), "{address}: {:?}", live.unknown);
            assert!(!live.resources.contains_key(&address), "{address}");
        }
        for address in set(&["stream.KEPT", "consumer.KEPT.READER"]) {
            assert!(live.resources.contains_key(&address), "{address}: {:?}", live.unknown);
        }
        insta::assert_snapshot!(live.unknown[&Address::stream("LOST")]);

        // What has copies elsewhere is known again when they have elected a leader.
        let healed = set(&["stream.ALL", "consumer.ALL.READER"]);
        let known = until(Instant::now() + HALF_A_MINUTE, PACE, async || {
            let live = session.observe(&expected).await.expect("a reading");
            healed.iter().all(|it| live.resources.contains_key(it))
        });
        assert!(known.await, "still unknown");
    });
}

#[test]
fn a_cluster_that_has_lost_most_of_its_servers_is_not_read() {
    let mut servers = cluster();
    run(async {
        let client = Client::connect(servers[0].url()).await;
        client.at_last("STREAM.CREATE.A", &json!({ "name": "A", "num_replicas": 3 })).await;
        let session = session(&servers[0]).await;
        session.observe(&BTreeSet::new()).await.expect("a reading");
        servers[1].kill();
        servers[2].kill();
        // A leader that has been cut off answers for some seconds more, until it notices.
        let refused = until(Instant::now() + HALF_A_MINUTE, PACE, async || {
            matches!(session.observe(&set(&["stream.A"])).await, Err(Error::NoLeader))
        });
        assert!(refused.await, "it is read");
    });
}
