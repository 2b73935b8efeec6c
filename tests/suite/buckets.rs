//! Buckets: what jsplan makes serves their clients, and what clients make is adopted as it is.

use std::collections::BTreeMap;

use async_nats::jetstream::{
    self, Context, kv, object_store,
    stream::{Source, StorageType},
};
use futures_util::StreamExt as _;
use jsplan::{
    address::Address,
    config::Config,
    finding::Severity,
    io::{run, server::Server},
    schema::{
        Release,
        bucket::{Bucket, lift},
    },
    spec,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::support::{
    client::{create, meddle, messages, stream},
    project::{Project, wait_for},
    server::{server, server_since},
};

/// A bucket is given markers of what its limits delete.
const MARKERS: Release = Release(2, 11, 2);

/// A mirror becomes a stream of its own.
const PROMOTION: Release = Release(2, 12, 0);

/// A bucket as a client asked for it, its request taken from the wire, and how a person writes it.
#[derive(Deserialize)]
struct Made {
    client: String,
    request: Value,
    spec: String,
}

fn made_by_clients() -> Vec<Made> {
    serde_json::from_str(include_str!("buckets.json")).expect("the file is ours")
}

async fn client(server: &Server) -> Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("a connection"))
}

/// The words of a lifted bucket make the stream that the spec makes.
#[track_caller]
fn is_lifted(server: &Server, text: &str) {
    let text = format!("[server]\nurl = \"nats://127.0.0.1:4222\"\n{text}");
    let loaded = spec::load("test.toml", |_| Ok(text.clone()));
    let errors = loaded.findings.iter().filter(|it| it.severity == Severity::Error).count();
    assert_eq!(errors, 0, "{:?}", loaded.findings);
    for (address, declared) in loaded.desired.expect("it is right").resources {
        let lifted = lift(&Config::of(&stream(server, address.name()))).expect("a bucket");
        let lowered = lifted.kind.lower(&lifted.name, &lifted.words);
        assert_eq!(sorted(lowered), sorted(declared.config), "{address}");
    }
}

/// A configuration whose sources stand in the order of their names.
fn sorted(config: Config) -> Value {
    let mut config = config.into_value();
    if let Some(sources) = config.get_mut("sources").and_then(Value::as_array_mut) {
        sources.sort_by_key(ToString::to_string);
    }
    config
}

#[test]
fn buckets_that_other_clients_made_are_adopted_as_they_are() {
    let server = server_since(MARKERS);
    let made = made_by_clients();
    let mut whole = String::new();
    for Made { client, request, spec } in &made {
        create(&server, request);
        is_lifted(&server, spec);
        let project = Project::new(&server, spec);
        project
            .run(&["plan"])
            .ended(0)
            .says("Plan: 1 to import, 0 to add, 0 to change, 0 to destroy.")
            .never_says("warning");
        whole += &format!("# {client}\n{spec}\n");
    }
    let project = Project::new(&server, &whole);
    project.run(&["drift"]).ended(0).never_says("UNMANAGED");
    project.apply();
    project.plans_empty();
    project.run(&["drift"]).ended(0).says(&format!("{} in sync", made.len()));
}

#[test]
fn a_bucket_of_jsplan_serves_its_clients() {
    let server = server();
    let spec = "[kv.SETTINGS]\nhistory = 3\nmax_value_size = \"1KiB\"\n";
    let project = Project::new(&server, spec);
    project.apply().says("kv.SETTINGS: Creation complete");
    run(async {
        let bucket = client(&server).await.get_key_value("SETTINGS").await.expect("it is there");
        let mut changes = bucket.watch("theme").await.expect("it is watched");
        for value in ["light", "dark", "darker", "darkest"] {
            bucket.put("theme", value.into()).await.expect("it is stored");
        }
        let last = bucket.get("theme").await.expect("an answer").expect("a value");
        assert_eq!(last, "darkest");
        let first = changes.next().await.expect("a change").expect("it can be read");
        assert_eq!((first.value, first.operation), ("light".into(), kv::Operation::Put));
        let history = bucket.history("theme").await.expect("a history");
        assert_eq!(history.count().await, 3);
        bucket.put("theme", "x".repeat(2048).into()).await.expect_err("it is too large");
        let status = bucket.status().await.expect("a status");
        assert_eq!((status.bucket(), status.history()), ("SETTINGS", 3));
        bucket.purge("theme").await.expect("the key is purged");
        assert!(bucket.get("theme").await.expect("an answer").is_none());
    });
    project.plans_empty();
}

#[test]
fn an_object_store_of_jsplan_serves_its_clients() {
    let server = server();
    let project = Project::new(&server, "[object.FILES]\ncompression = true\n");
    project.apply().says("object.FILES: Creation complete");
    run(async {
        let store = client(&server).await.get_object_store("FILES").await.expect("it is there");
        for content in ["first", "second"] {
            store.put("a.txt", &mut content.as_bytes()).await.expect("it is stored");
        }
        let mut read = String::new();
        let mut object = store.get("a.txt").await.expect("it is there");
        object.read_to_string(&mut read).await.expect("it can be read");
        assert_eq!(read, "second");
        store.delete("a.txt").await.expect("it is deleted");
    });
    project.plans_empty();
}

#[test]
fn buckets_of_async_nats_are_adopted_as_they_are() {
    let server = server_since(MARKERS);
    run(async {
        let client = client(&server).await;
        let full = kv::Config {
            bucket: "FULL".to_owned(),
            description: "everything".to_owned(),
            max_value_size: 1024,
            history: 5,
            max_age: std::time::Duration::from_secs(3600),
            max_bytes: 1 << 20,
            storage: StorageType::Memory,
            compression: true,
            limit_markers: Some(std::time::Duration::from_secs(60)),
            ..Default::default()
        };
        client.create_key_value(full).await.expect("it is made");
        let mirror = Source { name: "FULL".to_owned(), ..Default::default() };
        let mirror =
            kv::Config { bucket: "COPY".to_owned(), mirror: Some(mirror), ..Default::default() };
        client.create_key_value(mirror).await.expect("it is made");
        let files = object_store::Config {
            bucket: "FILES".to_owned(),
            description: Some("files".to_owned()),
            ..Default::default()
        };
        client.create_object_store(files).await.expect("it is made");
    });
    let spec = "[kv.FULL]\ndescription = \"everything\"\nmax_value_size = \"1KiB\"\nhistory = 5\n\
                ttl = \"1h\"\nmax_bytes = \"1MiB\"\nstorage = \"memory\"\ncompression = true\n\
                limit_marker_ttl = \"1m\"\n[kv.COPY]\nmirror = { name = \"FULL\" }\n\
                [object.FILES]\ndescription = \"files\"\n";
    is_lifted(&server, spec);
    let project = Project::new(&server, spec);
    project.run(&["plan"]).ended(0).says("Plan: 3 to import, 0 to add, 0 to change, 0 to destroy.");
    project.apply();
    project.plans_empty();
}

/// async-nats gives it neither subjects nor rewrites, so that its keys are those of the origin.
#[test]
fn what_async_nats_copies_is_no_bucket_until_it_is_adopted() {
    let server = server();
    let project = Project::new(&server, "[kv.A]\n[kv.B]\nsources = [{ name = \"A\" }]\n");
    run(async {
        let client = client(&server).await;
        let named = |it: &str| kv::Config { bucket: it.to_owned(), ..Default::default() };
        let origin = client.create_key_value(named("A")).await.expect("it is made");
        let source = Source { name: "A".to_owned(), ..Default::default() };
        let copy = kv::Config { sources: Some(vec![source]), ..named("B") };
        client.create_key_value(copy).await.expect("it is made");
        origin.put("key", "value".into()).await.expect("it is stored");
    });
    assert!(lift(&Config::of(&stream(&server, "KV_B"))).is_none());
    project
        .allowing(&["plan"], &["redelivery=kv.B"])
        .ended(0)
        .says("`kv.B` is not what its clients count on: `subjects` is unset")
        .says("2 to import, 0 to add, 1 to change");
    project.apply_allowing(&["redelivery=kv.B"]);
    project.plans_empty();
}

#[test]
fn keys_of_a_source_are_keys_of_the_bucket() {
    let server = server();
    let spec = "[kv.A]\n[kv.B]\nsources = [{ name = \"A\" }]\n\
                [kv.C]\nmirror = { name = \"A\" }\n";
    let project = Project::new(&server, spec);
    project.apply();
    run(async {
        let client = client(&server).await;
        let origin = client.get_key_value("A").await.expect("it is there");
        let copy = client.get_key_value("B").await.expect("it is there");
        let mut changes = copy.watch("key").await.expect("it is watched");
        origin.put("key", "value".into()).await.expect("it is stored");
        let change = changes.next().await.expect("a change").expect("it can be read");
        assert_eq!((change.key.as_str(), change.value), ("key", "value".into()));
    });
    project.plans_empty();
    let copies = "$KV.B.>";
    assert_eq!(stream(&server, "KV_B")["subjects"], json!([copies]));
    assert_eq!(stream(&server, "KV_C")["mirror"], json!({ "name": "KV_A" }));
}

#[test]
fn a_mirror_becomes_a_bucket_of_its_own_without_what_it_copied() {
    let server = server_since(PROMOTION);
    let project = Project::new(&server, "[kv.A]\n[kv.B]\nmirror = { name = \"A\" }\n");
    project.apply();
    run(async {
        let client = client(&server).await;
        let origin = client.get_key_value("A").await.expect("it is there");
        origin.put("old", "value".into()).await.expect("it is stored");
    });
    wait_for("the copy", || messages(&server, "KV_B") == 1);
    project.write_spec("[kv.A]\n[kv.B]\n");
    let allowed = ["data-loss=kv.B", "one-way=kv.B"];
    project
        .allowing(&["plan"], &allowed)
        .ended(0)
        .says("it never mirrors again")
        .says("what `kv.B` copied stays under the keys of `A`, out of its reach");
    project.apply_allowing(&allowed);
    project.plans_empty();
    run(async {
        let bucket = client(&server).await.get_key_value("B").await.expect("it is there");
        bucket.put("new", "value".into()).await.expect("it is stored");
        assert_eq!(bucket.get("new").await.expect("an answer"), Some("value".into()));
        assert_eq!(bucket.get("old").await.expect("an answer"), None);
    });
    assert_eq!(messages(&server, "KV_B"), 2);
}

#[test]
fn a_shorter_history_deletes_values_and_a_longer_one_none() {
    let server = server();
    let project = Project::new(&server, "[kv.B]\nhistory = 2\n");
    project.apply();
    let put = |values: u64| {
        run(async {
            let bucket = client(&server).await.get_key_value("B").await.expect("it is there");
            for value in 0..values {
                bucket.put("key", value.to_string().into()).await.expect("it is stored");
            }
        });
    };
    put(2);
    project.write_spec("[kv.B]\nhistory = 5\n");
    project.apply().says("history 2 -> 5");
    put(5);
    assert_eq!(messages(&server, "KV_B"), 5);
    project.write_spec("[kv.B]\nhistory = 1\n");
    project
        .run(&["plan"])
        .ended(1)
        .says("messages beyond `history` would be deleted")
        .says("--allow data-loss=kv.B")
        .never_says("max_msgs_per_subject");
    project.run(&["apply", "--auto-approve", "--allow", "data-loss=kv.B"]).ended(0);
    assert_eq!(messages(&server, "KV_B"), 1);
    project.plans_empty();
}

#[test]
fn a_bucket_that_is_none_any_more_is_drift_and_is_put_back() {
    let server = server();
    let project = Project::new(&server, "[kv.B]\n[object.O]\n");
    project.apply();
    meddle(&server, "KV_B", &json!({ "discard": "old", "allow_rollup_hdrs": false }));
    meddle(&server, "OBJ_O", &json!({ "allow_direct": false }));
    assert!(lift(&Config::of(&stream(&server, "KV_B"))).is_none());
    project.run(&["drift"]).ended(2).says("kv.B").says("ACCEPTED").says("object.O");
    project
        .run(&["plan"])
        .ended(0)
        .says("not-a-bucket")
        .says("`kv.B` is not what its clients count on")
        .says("0 to add, 1 to change, 0 to destroy");
    project.apply();
    project.run(&["plan"]).ended(0).says("No changes.").never_says("not-a-bucket");
    assert!(lift(&Config::of(&stream(&server, "KV_B"))).is_some());
    assert_eq!(stream(&server, "OBJ_O")["allow_direct"], false);
}

#[test]
fn markers_come_and_go() {
    let server = server_since(MARKERS);
    let project = Project::new(&server, "[kv.B]\nttl = \"1h\"\n");
    project.apply();
    project.write_spec("[kv.B]\nttl = \"1h\"\nlimit_marker_ttl = \"1m\"\n");
    project.apply_allowing(&["one-way=kv.B"]).says("limit_marker_ttl");
    project.plans_empty();
    project.write_spec("[kv.B]\nttl = \"1m\"\n");
    project.apply();
    project.plans_empty();
    let live = stream(&server, "KV_B");
    assert_eq!(
        (&live["allow_msg_ttl"], live.get("subject_delete_marker_ttl")),
        (&json!(true), None)
    );
}

#[test]
fn buckets_that_nobody_manages_are_no_streams() {
    let server = server();
    for Made { request, .. } in made_by_clients().iter().take(3) {
        create(&server, request);
    }
    let project = Project::new(&server, "[streams.S]\nsubjects = [\"s\"]\n");
    let drift = project.run(&["drift"]).ended(0).says("kv.py_plain").says("object.py_obj");
    drift.never_says("KV_").never_says("OBJ_");
    project
        .run(&["plan"])
        .ended(0)
        .says("3 live resources are not managed by jsplan: kv.py_full, kv.py_plain, object.py_obj");
}

#[test]
fn a_bucket_in_json_keeps_the_name_of_its_stream() {
    let server = server();
    let project = Project::new(&server, "[kv.B]\nhistory = 5\ncompression = true\n");
    project.run(&["plan", "--out", "plan.json"]).ended(0);
    let shown = project.run(&["show", "--json", "plan.json"]).ended(0);
    let plan: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let change = &plan["resource_changes"][0];
    assert_eq!(change["address"], "kv.B");
    assert_eq!(change["type"], "jetstream_kv");
    assert_eq!(change["name"], "KV_B");
    let after = &change["change"]["after"];
    assert_eq!((&after["history"], &after["compression"]), (&json!(5), &json!(true)));
    assert_eq!((&after["discard"], after.get("max_msgs_per_subject")), (&json!("new"), None));
    project.run(&["apply", "plan.json"]).ended(0);
    project.plans_empty();
}

#[test]
fn a_bucket_and_its_stream_are_one_address() {
    for (text, bucket) in
        [("stream.KV_B", (Bucket::Kv, "B")), ("stream.OBJ_B", (Bucket::Object, "B"))]
    {
        let address: Address = text.parse().expect("an address");
        assert_eq!(address.as_bucket(), Some(bucket));
        assert_eq!(address.to_string().parse::<Address>().expect("an address"), address);
    }
    // As states were written before there were buckets.
    let old: BTreeMap<Address, u8> =
        serde_json::from_value(json!({ "stream.KV_B": 1 })).expect("an address");
    assert_eq!(serde_json::to_value(&old).expect("JSON"), json!({ "kv.B": 1 }));
    for plain in ["stream.KV_", "stream.KVB", "stream.OBJ"] {
        assert_eq!(plain.parse::<Address>().expect("an address").to_string(), plain);
    }
    for wrong in ["kv.", "kv.a.b", "kv.a b", "object.", "bucket.B"] {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
}

#[test]
fn the_stream_of_a_bucket_may_be_declared_bare() {
    let server = server();
    let spec = "[streams.KV_B]\nsubjects = [\"$KV.B.>\"]\nmax_msgs_per_subject = 2\n";
    let project = Project::new(&server, spec);
    project.apply().says("kv.B: Creation complete");
    project.plans_empty();
    assert_eq!(stream(&server, "KV_B")["discard"], "old");
}
