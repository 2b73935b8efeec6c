//! The faults of other tools, each shown not to be one of ours. `docs/reference/peer-faults.md`
//! lists them all beside their tests.

use jsplan::schema::Release;
use serde_json::{Value, json};

use crate::support::{
    client::{ask, create, meddle, messages, publish, stream},
    project::Project,
    server::{cluster, server, server_since},
};

const MS: u64 = 1_000_000;

fn consumer(server: &jsplan::io::server::Server, stream: &str, name: &str) -> Value {
    ask(server, &format!("CONSUMER.INFO.{stream}.{name}"), &Value::Null)
}

#[test]
fn what_the_server_updates_in_place_is_never_replaced() {
    let server = server_since(Release(2, 12, 0));
    let spec = |stream: &str, push: &str, pull: &str| {
        format!(
            "[streams.S]\nsubjects = ['s.*']\n{stream}\n\
             [streams.S.consumers.PUSH]\nack_policy = 'explicit'\ndeliver_subject = 'to'\n{push}\n\
             [streams.S.consumers.PULL]\nack_policy = 'explicit'\n{pull}\n"
        )
    };
    let project = Project::new(&server, &spec("", "deliver_group = 'a'", ""));
    project.apply();
    publish(&server, "s.a", 10);
    let names = ["PUSH", "PULL"];
    let born = || names.map(|it| consumer(&server, "S", it)["created"].clone());
    let before = born();
    project.write_spec(&spec(
        "allow_msg_ttl = true\nallow_msg_schedules = true\nallow_atomic = true",
        "deliver_group = 'b'\nrate_limit_bps = 8000",
        "num_replicas = 1\npriority_policy = 'overflow'\npriority_groups = ['jobs']",
    ));
    let allowed = ["data-loss=stream.S", "one-way=stream.S"];
    project.apply_allowing(&allowed).says("0 added, 3 changed, 0 destroyed");
    assert_eq!((messages(&server, "S"), born()), (10, before));
    let config = &consumer(&server, "S", "PULL")["config"];
    assert_eq!(config["priority_groups"], json!(["jobs"]));
    project.plans_empty();
}

#[test]
fn a_mirror_is_promoted_with_its_messages() {
    let server = server_since(Release(2, 12, 0));
    let origin = "[streams.S]\nsubjects = ['s']\n";
    let project =
        Project::new(&server, &format!("{origin}[streams.M]\nmirror = {{ name = 'S' }}\n"));
    project.apply();
    publish(&server, "s", 10);
    crate::support::project::wait_for("the mirror", || messages(&server, "M") == 10);
    project.write_spec(&format!("{origin}[streams.M]\nsubjects = ['m']\n"));
    let allowed = ["data-loss=stream.M", "one-way=stream.M"];
    project.apply_allowing(&allowed).says("0 added, 1 changed, 0 destroyed");
    assert_eq!(messages(&server, "M"), 10);
    project.plans_empty();
}

#[test]
fn what_the_server_always_refuses_is_never_planned_as_an_update() {
    let server = server();
    let spec = |stream: &str, consumer: &str| {
        format!(
            "[streams.S]\nsubjects = ['s']\n{stream}\n\
             [streams.S.consumers.C]\nack_policy = 'explicit'\n{consumer}\n"
        )
    };
    let project = Project::new(&server, &spec("deny_delete = true", ""));
    project.apply();
    publish(&server, "s", 10);
    for (fields, what) in [
        (spec("deny_delete = true\nretention = 'workqueue'", ""), "stream.S"),
        (spec("", ""), "stream.S"),
        (spec("deny_delete = true\npersist_mode = 'async'", ""), "stream.S"),
        (spec("deny_delete = true", "max_waiting = 5"), "consumer.S.C"),
        (spec("deny_delete = true", "deliver_subject = 'to'"), "consumer.S.C"),
    ] {
        project.write_spec(&fields);
        let plan = project.run(&["plan"]);
        plan.says(what).never_says(&format!("# {what} will be updated in-place"));
    }
}

#[test]
fn what_is_taken_out_of_a_spec_is_reset_on_the_server() {
    let server = server();
    // To take a limit for consumers away is refused by 2.12.8 while one has it (10069).
    let bare = "[streams.ORIGIN]\nsubjects = ['o']\n[streams.S]\nsubjects = ['s.*']\n\
                consumer_limits = { max_ack_pending = 60 }\n\
                [streams.S.consumers.C]\nack_policy = 'explicit'\n";
    let full = "[streams.ORIGIN]\nsubjects = ['o']\n\
                [streams.S]\nsubjects = ['s.*']\nmax_age = '1h'\nduplicate_window = '1m'\n\
                max_msgs_per_subject = 5\nno_ack = true\ncompression = 's2'\nallow_direct = true\n\
                allow_rollup_hdrs = true\ndescription = 'a'\nmetadata = { a = 'b' }\n\
                sources = [{ name = 'ORIGIN' }]\n\
                republish = { src = 's.a', dest = 'again' }\n\
                subject_transform = { src = 's.*', dest = 's.x' }\n\
                consumer_limits = { max_ack_pending = 50 }\n\
                [streams.S.consumers.C]\nack_policy = 'explicit'\nbackoff = ['1s', '2s']\n\
                max_deliver = 5\nmax_ack_pending = 50\nfilter_subjects = ['s.a', 's.b']\n\
                headers_only = true\nmax_batch = 5\nmax_expires = '1s'\n\
                description = 'a'\nmetadata = { a = 'b' }\n";
    let project = Project::new(&server, full);
    project.apply();
    project.plans_empty();
    project.write_spec(bare);
    project.apply();
    project.plans_empty();
    let config = stream(&server, "S");
    for name in ["no_ack", "allow_direct", "allow_rollup_hdrs"] {
        assert_ne!(config[name], true, "{name}");
    }
    for name in ["sources", "republish", "subject_transform", "description"] {
        assert!(config[name].is_null(), "{name}");
    }
    assert_eq!((&config["max_age"], &config["compression"]), (&json!(0), &json!("none")));
    assert_eq!(config["consumer_limits"]["max_ack_pending"], 60);
    assert!(config["metadata"].get("a").is_none());
    let config = &consumer(&server, "S", "C")["config"];
    for name in ["backoff", "filter_subjects", "headers_only", "max_expires", "description"] {
        assert!(config[name].is_null(), "{name}");
    }
    assert_eq!(config["max_deliver"], -1);
}

#[test]
fn an_update_of_one_field_leaves_the_others() {
    let server = server();
    let spec = |description: &str, republish: &str| {
        format!(
            "[streams.S]\nsubjects = ['s.*']\ndescription = '{description}'\nno_ack = true\n\
             compression = 's2'\nallow_direct = true\nplacement = {{ tags = ['a'] }}\n\
             consumer_limits = {{ inactive_threshold = '1h', max_ack_pending = 50 }}\n{republish}"
        )
    };
    let republish = "republish = { src = 's.a', dest = 'again', headers_only = true }\n";
    let project = Project::new(&server, &spec("before", republish));
    project.apply();
    let before = stream(&server, "S");
    assert_eq!(before["republish"]["headers_only"], true);
    project.write_spec(&spec("after", republish));
    project.apply();
    let mut expected = before;
    expected["description"] = "after".into();
    assert_eq!(stream(&server, "S"), expected);
    project.write_spec(&spec("after", ""));
    project.apply();
    expected.as_object_mut().expect("a configuration").remove("republish");
    assert_eq!(stream(&server, "S"), expected);
    project.plans_empty();
}

#[test]
fn what_somebody_takes_away_is_drift() {
    let server = server();
    let spec = "[streams.S]\nsubjects = ['s.*']\nplacement = { tags = ['a'] }\n\
                republish = { src = 's.a', dest = 'again' }\n\
                subject_transform = { src = 's.*', dest = 's.x' }\n";
    let project = Project::new(&server, spec);
    project.apply();
    meddle(
        &server,
        "S",
        &json!({ "placement": null, "republish": null, "subject_transform": null }),
    );
    let drift = project.run(&["drift"]).ended(2);
    drift.says("placement").says("republish").says("subject_transform");
    project.apply();
    assert_eq!(stream(&server, "S")["republish"]["dest"], "again");
    project.plans_empty();
}

#[test]
fn durations_below_a_second_are_exact() {
    let server = server();
    let spec = "[streams.S]\nmax_age = '1500ms'\nduplicate_window = '500ms'\n\
                [streams.S.consumers.C]\nack_policy = 'explicit'\nbackoff = ['250ms', '1500ms']\n\
                max_deliver = 3\n";
    let project = Project::new(&server, spec);
    project.apply();
    project.plans_empty();
    let config = stream(&server, "S");
    assert_eq!(
        (&config["max_age"], &config["duplicate_window"]),
        (&json!(1500 * MS), &json!(500 * MS))
    );
    let config = &consumer(&server, "S", "C")["config"];
    assert_eq!(config["backoff"], json!([250 * MS, 1500 * MS]));
    assert_eq!(config["ack_wait"], 250 * MS);
}

#[test]
fn one_filter_in_a_list_stays_a_list() {
    let server = server();
    let spec = "[streams.S]\nsubjects = ['s.*']\n\
                [streams.S.consumers.C]\nack_policy = 'explicit'\nfilter_subjects = ['s.a']\n";
    let project = Project::new(&server, spec);
    project.apply();
    project.plans_empty();
    assert_eq!(consumer(&server, "S", "C")["config"]["filter_subjects"], json!(["s.a"]));
}

#[test]
fn tags_without_a_cluster_reach_the_server() {
    let server = server();
    let project = Project::new(
        &server,
        "[streams.S]\nplacement = { tags = ['a', 'b'] }\n[kv.K]\nplacement = { tags = ['a'] }\n",
    );
    project.apply();
    project.plans_empty();
    assert_eq!(stream(&server, "S")["placement"]["tags"], json!(["a", "b"]));
    assert_eq!(stream(&server, "KV_K")["placement"]["tags"], json!(["a"]));
}

#[test]
fn limits_for_consumers_are_written_and_read_in_one_unit() {
    let server = server();
    let spec = "[streams.S]\nconsumer_limits = { inactive_threshold = '90s' }\n";
    let project = Project::new(&server, spec);
    project.apply();
    project.plans_empty();
    project.run(&["drift"]).ended(0);
    assert_eq!(stream(&server, "S")["consumer_limits"]["inactive_threshold"], 90_000 * MS);
}

#[test]
fn a_name_that_holds_the_word_of_another_kind_is_only_a_name() {
    let server = server();
    let spec = "[streams.A_CONSUMER_B]\n[streams.A_CONSUMER_B.consumers.X_STREAM_Y]\n\
                ack_policy = 'explicit'\n[streams.JETSTREAM_STREAM_A]\n[kv.A_ENTRY_B]\n";
    let project = Project::new(&server, spec);
    project.apply().says("4 added");
    project.plans_empty();
    let list = project.run(&["state", "list"]).ended(0);
    for address in [
        "stream.A_CONSUMER_B",
        "consumer.A_CONSUMER_B.X_STREAM_Y",
        "stream.JETSTREAM_STREAM_A",
        "kv.A_ENTRY_B",
    ] {
        assert!(list.stdout.contains(address), "{list}");
    }
}

#[test]
fn labels_that_the_server_writes_are_no_drift() {
    let server = server_since(Release(2, 11, 0));
    let project = Project::new(&server, "[streams.S]\nmetadata = { team = 'a' }\n");
    project.apply();
    let label = stream(&server, "S")["metadata"]["_nats.req.level"].clone();
    assert!(label.is_string(), "the server writes labels of its own");
    project.run(&["drift"]).ended(0);
    project.plans_empty();
}

#[test]
fn what_is_left_out_is_what_the_server_makes_of_it() {
    let server = server();
    create(&server, &json!({ "name": "RAW", "subjects": ["raw"] }));
    let config = json!({ "durable_name": "C", "ack_policy": "explicit" });
    let body = json!({ "stream_name": "RAW", "config": config });
    ask(&server, "CONSUMER.CREATE.RAW.C", &body);
    let project = Project::new(
        &server,
        "[streams.OURS]\nsubjects = ['ours']\n\
         [streams.OURS.consumers.C]\nack_policy = 'explicit'\n",
    );
    project.apply();
    let same = |mut raw: Value, mut ours: Value, own: &[&str]| {
        for name in own {
            (raw[*name], ours[*name]) = (Value::Null, Value::Null);
        }
        assert_eq!(raw, ours);
    };
    same(stream(&server, "RAW"), stream(&server, "OURS"), &["name", "subjects", "metadata"]);
    let config = |stream: &str| consumer(&server, stream, "C")["config"].clone();
    same(config("RAW"), config("OURS"), &["name", "metadata"]);
    assert_eq!(config("OURS")["ack_wait"], 30_000 * MS);
}

#[test]
fn an_apply_leaves_the_spec_as_it_was_written() {
    let server = server();
    let project = Project::new(&server, "# A comment.\n[streams.S]   # Another.\nmax_age='1h'\n");
    let before = project.read("environments/test.toml");
    project.apply();
    project.run(&["drift"]).ended(0);
    assert_eq!(project.read("environments/test.toml"), before);
}

#[test]
fn a_pinned_client_needs_no_timeout() {
    let server = server_since(Release(2, 11, 0));
    let project = Project::new(
        &server,
        "[streams.S]\n[streams.S.consumers.C]\nack_policy = 'explicit'\n\
         priority_policy = 'pinned_client'\npriority_groups = ['g']\n",
    );
    project.apply();
    project.plans_empty();
    assert_eq!(consumer(&server, "S", "C")["config"]["priority_policy"], "pinned_client");
}

#[test]
fn labels_and_markers_of_a_bucket_survive_another_change() {
    let server = server_since(Release(2, 11, 2));
    let spec = |history: u8| {
        format!(
            "[kv.K]\nhistory = {history}\nlimit_marker_ttl = '90s'\nmetadata = {{ team = 'a' }}\n\
             description = 'what services are told'\n"
        )
    };
    let project = Project::new(&server, &spec(1));
    project.apply();
    project.write_spec(&spec(5));
    project.apply().says("0 added, 1 changed, 0 destroyed");
    let config = stream(&server, "KV_K");
    assert_eq!(config["max_msgs_per_subject"], 5);
    assert_eq!(config["metadata"]["team"], "a");
    assert_eq!(config["subject_delete_marker_ttl"], 90_000 * MS);
    project.plans_empty();
}

#[test]
fn copies_of_a_bucket_reach_the_server() {
    let servers = cluster();
    let project = Project::new(&servers[0], "[kv.K]\nnum_replicas = 1\n");
    project.apply();
    project.write_spec("[kv.K]\nnum_replicas = 3\n");
    project.apply().says("0 added, 1 changed, 0 destroyed");
    assert_eq!(stream(&servers[0], "KV_K")["num_replicas"], 3);
    project.plans_empty();
}

#[test]
fn why_a_bucket_was_not_made_is_said() {
    let server = server();
    create(&server, &json!({ "name": "OTHER", "subjects": ["$KV.K.>"] }));
    let project = Project::new(&server, "[kv.K]\n");
    project.run(&["apply", "--auto-approve"]).ended(1).says("kv.K").says("overlap");
}
