//! `plan --rehearse`: what a server would refuse is known before it is asked, and the live one is
//! only read.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{fs, path::PathBuf, process::Command};

use jsplan::{
    io::{
        binary::{self, FETCHED, ORACLE},
        process::find,
        run,
        server::Server,
    },
    schema::Release,
};
use serde_json::{Value, json};

use crate::support::{
    client::{self, Client, ask, publish, streams},
    project::{Output, Project, wait_for},
    server::{cluster, nats_server, server, server_of, server_with},
};

/// A rehearsal: what it said, and what it left behind on the live server and on this machine.
struct Stage {
    project: Project,
    nats_server: String,
}

impl Stage {
    fn new(server: &Server, spec: &str) -> Self {
        Self::with(nats_server(), server, spec)
    }

    /// One that finds the nats-server of this release, and no other.
    fn of(release: Release, server: &Server, spec: &str) -> Self {
        Self::with(binary::release(release, &mut |_| {}).unwrap(), server, spec)
    }

    fn with(program: PathBuf, server: &Server, spec: &str) -> Self {
        let project = Project::new(server, spec);
        fs::create_dir(project.path("tmp")).unwrap();
        Self { project, nats_server: program.display().to_string() }
    }

    fn variables(&self) -> [(String, String); 2] {
        let tmp = self.project.path("tmp").display().to_string();
        [("NATS_SERVER".to_owned(), self.nats_server.clone()), ("TMPDIR".to_owned(), tmp)]
    }

    /// Plans with a rehearsal, after which nothing of it is left.
    #[track_caller]
    fn plan(&self, arguments: &[&str]) -> Output {
        let variables = self.variables();
        let variables = variables.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        let output =
            self.project.run_with(&variables, &[&["plan", "--rehearse"], arguments].concat());
        self.leaves_nothing();
        output
    }

    #[track_caller]
    fn leaves_nothing(&self) {
        let tmp = self.project.path("tmp");
        assert_eq!(find(&tmp.display().to_string()), None, "a server outlived its rehearsal");
        assert_eq!(fs::read_dir(tmp).unwrap().count(), 0, "a folder outlived its rehearsal");
    }
}

/// How many requests of the account the API has taken.
fn taken(server: &Server) -> u64 {
    ask(server, "INFO", &Value::Null)["api"]["total"].as_u64().unwrap()
}

#[test]
fn an_account_and_a_domain_are_rehearsed_as_they_are() {
    let server = server_with(
        "jetstream { domain: hub }\nno_auth_user: a\naccounts { A { users: [{ user: a, password: a }]\n\
         jetstream { max_mem: 0, max_consumers: 1, max_bytes_required: true } } }\n",
    );
    let spec = "[streams.A]\nmax_bytes = 1000\n[streams.A.consumers.ONE]\nack_policy = \"none\"\n";
    let stage = Stage::new(&server, spec);
    stage.plan(&[]).ended(0).says("2 steps applied, plan empty afterwards.");
    // What jsplan can tell by itself is not tried first.
    stage.project.write_spec("[streams.A]\nstorage = \"memory\"\nmax_bytes = 1000\n");
    stage.plan(&[]).ended(1).says("error[limit]").never_says("Rehearsed");
}

/// What only the servers know: whether there is a place like this among them.
const NOWHERE: &str = "placement = { cluster = \"nowhere\" }\n";

#[test]
fn what_only_the_servers_know_is_refused_with_its_place_before_the_live_ones_are_asked() {
    let servers = cluster();
    let stage = Stage::new(
        &servers[0],
        &format!(
            "[streams.NEW]\nsubjects = [\"new\"]\n[streams.AFAR]\nsubjects = [\"afar\"]\n{NOWHERE}\
             [streams.AFAR.consumers.C]\nack_policy = \"explicit\"\n"
        ),
    );
    let output = stage.plan(&["--out", "plan"]).ended(1);
    assert_eq!(streams(&servers[0]), [""; 0]);
    assert!(!stage.project.path("plan").exists(), "a plan that is refused is not saved");
    output
        .says("error[rehearsal]: nats-server refuses to create `stream.AFAR`: no suitable peers")
        .says("(400/10005)")
        .says("environments/test.toml:5:10")
        .says(&format!(
            "Rehearsed on nats-server {} (3 servers): 1 of 3 steps applied, 1 refused, \
                        1 not tried.",
            version()
        ));
}

#[test]
fn a_plan_that_works_is_rehearsed_without_a_trace_and_then_applies() {
    let server = server();
    let spec = "[streams.A]\nsubjects = [\"a.>\"]\nmax_age = \"1h\"\n\
                [streams.A.consumers.C]\nack_policy = \"explicit\"\n\
                [streams.GONE]\nsubjects = [\"gone\"]\nprevent_destroy = false\n";
    let stage = Stage::new(&server, spec);
    stage.project.apply();
    publish(&server, "a.1", 10);
    stage.project.write_spec(
        "[streams.A]\nsubjects = [\"a.>\", \"b\"]\nmax_age = \"2h\"\n\
         [streams.A.consumers.C]\nack_policy = \"explicit\"\nmax_deliver = 5\n\
         [streams.EVENTS]\nretention = \"interest\"\nsubjects = [\"events\"]\n\
         [streams.EVENTS.consumers.C]\nack_policy = \"explicit\"\n\
         [streams.COPY]\nmirror = { name = \"A\" }\n",
    );
    let (live, state) = (client::stream(&server, "A"), stage.project.state());
    let before = taken(&server);
    stage.project.run(&["plan"]).ended(0);
    let between = taken(&server);
    stage.plan(&["--out", "plan"]).ended(0).says(&format!(
        "Rehearsed on nats-server {} (1 server): 7 steps applied, plan empty afterwards.",
        version()
    ));
    assert_eq!(taken(&server) - between, between - before, "it asks what a plan asks");
    assert_eq!(client::stream(&server, "A"), live);
    assert_eq!((stage.project.state(), streams(&server)), (state, vec!["A".into(), "GONE".into()]));
    stage.project.run(&["apply", "plan"]).ended(0);
    stage.project.plans_empty();
    stage.plan(&[]).ended(0).says("No changes.").never_says("Rehearsed");
}

#[test]
fn whatever_is_live_is_taken_over_so_that_it_can_be_rehearsed_on_every_release() {
    for release in ORACLE {
        let server = server_of(release);
        run(an_account_with_a_past(&server));
        let stage = Stage::of(
            release,
            &server,
            "[streams.TWICE]\nsubjects = [\"work.a\"]\n[streams.WORK]\nsubjects = [\"work.b\"]\n\
             retention = \"workqueue\"\n[streams.WORK.consumers.ALL]\nack_policy = \"explicit\"\n",
        );
        let end = "(1 server): 3 steps applied, plan empty afterwards.";
        stage.plan(&[]).ended(0).never_says("rehearsal]").says(&format!("{release} {end}"));
    }
}

/// Streams and consumers that cannot be made anew with the very configuration they have.
async fn an_account_with_a_past(server: &Server) {
    let client = Client::connect(server.url()).await;
    for stream in [
        json!({ "name": "SEALED", "subjects": ["sealed"] }),
        // Made before its origin, so that the server did not see whether that allows direct reads.
        json!({ "name": "COPY", "mirror": { "name": "ORIGIN" } }),
        json!({ "name": "ORIGIN", "subjects": ["origin"], "allow_direct": true }),
        json!({ "name": "BOTH", "metadata": { "owner": "them" }, "sources": [{ "name": "COPY" }] }),
        json!({ "name": "WORK", "subjects": ["work.>"], "retention": "workqueue" }),
    ] {
        let name = stream["name"].as_str().unwrap();
        client.done(&format!("STREAM.CREATE.{name}"), &stream).await;
    }
    let sealed = json!({ "name": "SEALED", "subjects": ["sealed"], "sealed": true });
    client.done("STREAM.UPDATE.SEALED", &sealed).await;
    client.consumer("WORK", "ALL").await;
    let late = json!({ "stream_name": "ORIGIN", "config": {
        "durable_name": "LATE", "ack_policy": "explicit",
        "deliver_policy": "by_start_sequence", "opt_start_seq": 15,
    } });
    client.done("CONSUMER.CREATE.ORIGIN.LATE", &late).await;
    let passing = json!({ "stream_name": "ORIGIN", "config": { "ack_policy": "none" } });
    client.done("CONSUMER.CREATE.ORIGIN", &passing).await;
}

#[test]
fn a_cluster_is_rehearsed_as_a_cluster_of_the_same_name() {
    let servers = cluster();
    run(async {
        let body = json!({ "name": "OLD", "subjects": ["old"], "num_replicas": 3 });
        Client::connect(servers[0].url()).await.at_last("STREAM.CREATE.OLD", &body).await;
    });
    let spec = "[streams.OLD]\nsubjects = [\"old\"]\nnum_replicas = 3\nmax_age = \"1h\"\n\
                [streams.NEW]\nsubjects = [\"new\"]\nnum_replicas = 3\n\
                placement = { cluster = \"sandbox\", tags = [\"node1\"] }\n";
    let stage = Stage::new(&servers[0], &spec.replace("node1", "ssd"));
    stage
        .plan(&[])
        .ended(0)
        .says("note[rehearsal]: each server of the rehearsal carries every tag")
        .says("(3 servers): 2 steps applied, plan empty afterwards.");
    stage.project.write_spec(&spec.replace("\"sandbox\"", "\"nowhere\""));
    stage
        .plan(&[])
        .ended(1)
        .says("error[rehearsal]: nats-server refuses to create `stream.NEW`: no suitable peers")
        .says("(400/10005)")
        .says("(3 servers): 1 of 2 steps applied, 1 refused.");
    assert_eq!(streams(&servers[0]), ["OLD"]);
}

#[test]
fn a_rehearsal_at_another_release_than_the_live_one_says_so() {
    let older = Release(2, 12, 8);
    let server = server_of(older);
    let spec = "[streams.A]\nsubjects = [\"a\"]\n[streams.A.consumers.C]\nack_policy = \"none\"\n";
    Stage::of(older, &server, spec)
        .plan(&[])
        .ended(0)
        .never_says("warning")
        .says("Rehearsed on nats-server 2.12.8 (1 server): 2 steps applied");
    // Nothing can be fetched here: neither pip nor Go is in the PATH.
    Stage::of(FETCHED, &server, spec)
        .plan(&[])
        .ended(0)
        .says("warning[rehearsal]: the live server is 2.12.8, and the rehearsal was on 2.15.1")
        .says("Rehearsed on nats-server 2.15.1 (1 server): 2 steps applied");
}

#[test]
fn a_plan_that_has_errors_is_not_rehearsed_and_says_so() {
    let server = server();
    let stage = Stage::new(&server, "[streams.A]\nnum_replicas = 3\n");
    stage.plan(&[]).ended(1).says("Not rehearsed: the plan has errors").never_says("Rehearsing");
}

#[test]
fn a_rehearsal_is_in_the_machine_readable_plan() {
    let servers = cluster();
    let stage = Stage::new(&servers[0], &format!("[streams.A]\n{NOWHERE}"));
    let output = stage.plan(&["--json"]).ended(1);
    let plan: Value = serde_json::from_str(&output.stdout).unwrap();
    let rehearsal = &plan["jsplan"]["rehearsal"];
    assert_eq!((&plan["applyable"], &plan["errored"]), (&json!(false), &json!(true)));
    assert_eq!(rehearsal["version"], version());
    assert_eq!((&rehearsal["steps"], &rehearsal["applied"]), (&json!(1), &json!(0)));
    assert_eq!(rehearsal["diagnostics"][0]["code"], "rehearsal");
    assert_eq!(rehearsal["diagnostics"][0]["address"], "stream.A");
    assert_eq!(rehearsal["diagnostics"][0]["range"]["start"]["line"], 3);
}

#[test]
fn a_rehearsal_that_is_interrupted_leaves_nothing_behind() {
    let servers = cluster();
    let stage = Stage::new(&servers[0], "[streams.A]\nsubjects = [\"a\"]\nnum_replicas = 3\n");
    let tmp = stage.project.path("tmp");
    let variables = stage.variables();
    let variables = variables.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
    let child = stage.project.start_with(&variables, &["plan", "--rehearse"]);
    wait_for("its servers start", || find(&tmp.display().to_string()).is_some());
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted") && said.contains("nothing was changed"), "{said}");
    stage.leaves_nothing();
}

fn version() -> String {
    binary::version(&nats_server()).unwrap()
}
