//! The shipped environments on real servers: applied, checked by raw requests, planned empty.

use serde_json::{Value, json};

use crate::support::{
    client::{ask, messages, publish, stream},
    project::{Project, wait_for},
    server::{cluster, server},
};

const GIB: u64 = 1 << 30;
const HOUR: u64 = 3_600_000_000_000;
const MS: u64 = 1_000_000;

#[test]
fn dev_applies_on_one_server_and_plans_empty() {
    let server = server();
    let project = Project::shipped(&server, "dev");
    project.apply().says("Apply complete! Resources: 6 added, 0 changed, 0 destroyed.");
    project.plans_empty();
    for name in ["INGEST_RAW_V1", "INGEST_STATUS_V1", "CONSENSUS_EVENTS_V1"] {
        let config = stream(&server, name);
        let storage = if name == "INGEST_RAW_V1" { "file" } else { "memory" };
        assert_eq!(config["num_replicas"], 1, "{name}");
        assert_eq!(config["storage"], storage, "{name}");
        assert!(config["max_bytes"].as_i64() > Some(0), "{name} is bounded by bytes");
        assert!(config["max_age"].as_i64() > Some(0), "{name} is bounded by age");
    }
}

#[test]
fn staging_applies_on_three_servers_and_plans_empty() {
    let servers = cluster();
    let project = Project::shipped(&servers[0], "staging");
    project.apply();
    project.plans_empty();
    for name in ["INGEST_RAW_V1", "INGEST_STATUS_V1", "CONSENSUS_EVENTS_V1"] {
        let config = stream(&servers[1], name);
        assert_eq!(config["storage"], "file", "{name}");
        assert_eq!(config["num_replicas"], 3, "{name}");
    }
}

#[test]
fn prod_is_what_the_design_says_and_plans_empty() {
    let servers = cluster();
    let project = Project::shipped(&servers[0], "prod");
    // It is protected, so somebody has to have seen the plan.
    project.run(&["plan", "--out", "saved"]).ended(0);
    project.run(&["apply", "saved"]).ended(0);
    project.plans_empty();
    let rows = [
        ("INGEST_RAW_V1", "ingest.v1.raw", 7 * 24 * HOUR, "file", 3),
        ("INGEST_STATUS_V1", "ingest.v1.status", 24 * HOUR, "memory", 1),
        ("CONSENSUS_EVENTS_V1", "consensus.v1.*", 30 * 24 * HOUR, "file", 3),
    ];
    for (name, subject, age, storage, replicas) in rows {
        let config = stream(&servers[2], name);
        assert_eq!(config["subjects"], json!([subject]), "{name}");
        assert_eq!(config["max_age"], age, "{name}");
        assert_eq!(config["storage"], storage, "{name}");
        assert_eq!(config["num_replicas"], replicas, "{name}");
        assert_eq!(config["retention"], "limits", "{name}");
        assert!(config["max_bytes"].as_i64() > Some(0), "{name} is bounded by bytes");
    }
    assert_eq!(stream(&servers[0], "INGEST_RAW_V1")["max_bytes"], 50 * GIB);
    let consumers = [
        ("INGEST_RAW_V1", "ANALYTICS_BATCH", 512, vec![100, 250, 500], false),
        ("INGEST_RAW_V1", "REALTIME_PIPE", 256, vec![50, 100, 250], true),
        ("CONSENSUS_EVENTS_V1", "CONSENSUS_AUDIT_TAIL", 128, vec![200, 400], false),
    ];
    for (stream, suffix, in_flight, backoff, push) in consumers {
        let list = ask(&servers[0], &format!("CONSUMER.LIST.{stream}"), &json!({}));
        let list = list["consumers"].as_array().expect("consumers are listed");
        let found = list.iter().find(|it| named(it, suffix)).expect("the consumer is there");
        let config = &found["config"];
        let backoff: Vec<_> = backoff.into_iter().map(|it| it * MS).collect();
        assert_eq!(config["ack_policy"], "explicit", "{suffix}");
        assert_eq!(config["max_ack_pending"], in_flight, "{suffix}");
        assert_eq!(config["backoff"], json!(backoff), "{suffix}");
        assert_eq!(!config["deliver_subject"].is_null(), push, "{suffix}");
    }
}

#[test]
fn the_shipped_migration_leads_every_environment_to_the_second_version() {
    let dev = server();
    let (staging, prod) = (cluster(), cluster());
    let project = Project::shipped(&dev, "dev");
    // Nobody waits three days for a test.
    let path = "environments/migrations/0002_ingest_v2.toml";
    project.write(path, &project.read(path).replace("idle = \"72h\"", "at_least = \"1ms\""));
    project.run(&["migrate", "hash"]).ended(0);
    let on = |env: &str, url: &str, arguments: &[&str]| {
        project.run_plainly(&[arguments, &["--env", env, "--server", url]].concat())
    };
    let (one, two, three) = (dev.url(), staging[0].url(), prod[0].url());
    let made = |env: &str, url: &str| {
        on(env, url, &["plan", "--out", env]).ended(0);
        on(env, url, &["apply", env]).ended(0).says("Apply complete!")
    };
    // The first version is there, and holds messages; prod's is made before staging is through.
    made("prod", three).says("0002 ingest_v2 waits for staging to have done it");
    publish(&prod[0], "ingest.v1.raw", 300);
    let finish = |env: &str, url: &str| {
        wait_for("the soak is over", || {
            let saved = format!("{env}.next");
            on(env, url, &["plan", "--out", &saved]).ended(0);
            let run = on(env, url, &["apply", &saved]).ended(0);
            run.stderr.contains("0002 ingest_v2 is done")
        });
    };
    for (env, url) in [("dev", one), ("staging", two)] {
        made(env, url);
        finish(env, url);
    }
    on("prod", three, &["plan", "--out", "p"]).ended(0).says("copy       make INGEST_RAW_V2");
    on("prod", three, &["apply", "p"])
        .ended(0)
        .says("300 messages equal")
        .says("waits for approval");
    on("prod", three, &["plan", "--out", "p", "--approve", "0002"]).ended(0);
    on("prod", three, &["apply", "p"]).ended(0);
    finish("prod", three);
    on("prod", three, &["plan", "--detailed-exitcode"]).ended(0).says("No changes.");
    assert_eq!(messages(&prod[0], "INGEST_RAW_V2"), 300);
    assert_eq!(stream(&prod[0], "INGEST_RAW_V1")["sealed"], json!(true));
}

/// Durable names carry their service in front.
fn named(consumer: &Value, suffix: &str) -> bool {
    let name = consumer["name"].as_str().unwrap_or_default();
    name.ends_with(&format!("_{suffix}")) && name.len() > suffix.len() + 1
}

#[test]
fn data_in_a_file_stream_survives_a_restart_and_still_plans_empty() {
    let mut server = server();
    let project = Project::shipped(&server, "dev");
    project.apply();
    publish(&server, "ingest.v1.raw", 50);
    server.kill();
    server.restart().expect("it starts again");
    assert_eq!(messages(&server, "INGEST_RAW_V1"), 50);
    project.run(&["plan"]).ended(0).never_says("INGEST_RAW_V1\" {");
}
