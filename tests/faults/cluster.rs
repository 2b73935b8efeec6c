//! Three servers that lose one of them, or their leader, or most of them, while jsplan is at work.

use std::{
    collections::BTreeSet,
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use jsplan::io::{clock::until, run, server::Server};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    project::{Output, Project, wait_for},
    server::{cluster, cluster_with, freeze, thaw},
};

/// How often a leader is killed, frozen, and so on; see docs/reliability.md.
const ROUNDS: &str = "JSPLAN_FAULTS_ROUNDS";

const STREAMS: usize = 60;

fn rounds() -> u64 {
    env::var(ROUNDS).ok().map_or(1, |it| it.parse().expect("a number of rounds"))
}

/// Streams with copies on every server, each with a consumer now and then.
fn spec(age: u64) -> String {
    let one = |it| {
        let stream = format!(
            "[streams.S{it:02}]\nsubjects = [\"s.{it}\"]\nnum_replicas = 3\nmax_age = \"{age}h\"\n"
        );
        let consumer = format!("[streams.S{it:02}.consumers.C]\nack_policy = \"explicit\"\n");
        if it % 6 == 0 { stream + &consumer } else { stream }
    };
    (0..STREAMS).map(one).collect()
}

/// A project that knows every server of the cluster.
fn project(servers: &[Server], spec: &str) -> Project {
    let urls: Vec<&str> = servers.iter().map(Server::url).collect();
    Project::at(&urls.join(","), spec)
}

/// Which of the servers leads the cluster; `None` while nobody does.
fn leader(servers: &[Server]) -> Option<usize> {
    let names = servers.iter().filter_map(|it| it.monitor("/jsz"));
    let name =
        names.filter_map(|it| it["meta_cluster"]["leader"].as_str().map(str::to_owned)).next();
    let number: usize = name?.strip_prefix("node")?.parse().ok()?;
    number.checked_sub(1)
}

/// How many streams a server holds.
fn held(server: &Server) -> u64 {
    server.monitor("/jsz").and_then(|it| it["streams"].as_u64()).unwrap_or_default()
}

/// Everything is as the spec says, and the state holds exactly what is live.
fn holds(project: &Project, servers: &[Server]) {
    let planned = || project.run(&["plan", "--detailed-exitcode"]);
    // A server that has just come back catches up for some seconds.
    wait_for("the plan is empty", || planned().code == 0);
    planned().ended(0).says("No changes.");
    let owned = project.run(&["state", "list"]).ended(0).stdout;
    let owned: BTreeSet<String> =
        owned.lines().filter_map(|it| it.strip_prefix("stream.")).map(str::to_owned).collect();
    let answer = run(async {
        Client::connect(servers[0].url()).await.ask("STREAM.NAMES", &json!({})).await
    });
    let live = answer["streams"].as_array().expect("there are streams");
    let live: BTreeSet<String> = live.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(owned, live);
    assert_eq!(live.len(), STREAMS);
}

#[test]
fn the_leader_is_killed_while_streams_are_made_and_nobody_notices() {
    for round in 0..rounds() {
        let mut servers = cluster();
        let project = project(&servers, &spec(1));
        let begun = Instant::now();
        let apply = project.start(&["apply", "--auto-approve"]);
        let leading = leader(&servers).expect("there is a leader");
        wait_for("some are made", || held(&servers[leading]) > 10);
        servers[leading].kill();
        wait_for("another leads", || leader(&servers).is_some_and(|it| it != leading));
        servers[leading].restart().expect("it starts again");
        Output::ending(apply).ended(0);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(90), "round {round}: {took:?}");
        holds(&project, &servers);
    }
}

#[test]
fn the_leader_is_frozen_while_streams_are_made_and_nobody_notices() {
    const FROZEN: Duration = Duration::from_millis(2500);
    for _ in 0..rounds() {
        let servers = cluster();
        let project = project(&servers, &spec(1));
        let apply = project.start(&["apply", "--auto-approve"]);
        let leading = leader(&servers).expect("there is a leader");
        wait_for("some are made", || held(&servers[leading]) > 10);
        freeze(&servers[leading]);
        let begun = Instant::now();
        wait_for("it was frozen long enough", || begun.elapsed() > FROZEN);
        thaw(&servers[leading]);
        Output::ending(apply).ended(0);
        holds(&project, &servers);
    }
}

const WITH_SYSTEM: &str = "accounts { APP { jetstream: enabled, users: [{ user: app, password: p }] }, \
                           SYS { users: [{ user: sys, password: p }] } }\n\
                           system_account: SYS\nno_auth_user: app\n\
                           jetstream { max_memory_store: 1TiB, max_file_store: 1PiB }\n";

#[test]
fn leaders_step_down_all_the_time_while_streams_are_changed_and_nobody_notices() {
    let servers = cluster_with(WITH_SYSTEM);
    let project = project(&servers, &spec(1));
    project.apply();
    let over = AtomicBool::new(false);
    let url = servers[0].url().to_owned();
    let steps = thread::scope(|scope| {
        let steps = scope.spawn(|| run(step_down(&url, &over)));
        for age in 2..2 + 5 * rounds() {
            project.write_spec(&spec(age));
            let output = project.run(&["apply", "--auto-approve"]);
            if output.code != 0 {
                over.store(true, Ordering::Relaxed);
            }
            output.ended(0).says(&format!("{STREAMS} changed"));
        }
        over.store(true, Ordering::Relaxed);
        steps.join().expect("it ends")
    });
    assert!(steps > 2, "{steps}");
    holds(&project, &servers);
}

/// Makes the leader of the cluster, and those of streams, step down again and again.
async fn step_down(url: &str, over: &AtomicBool) -> usize {
    const PAUSE: Duration = Duration::from_millis(500);
    let place = url.trim_start_matches("nats://");
    let system = async_nats::connect(format!("nats://sys:p@{place}")).await.expect("a connection");
    let account = async_nats::connect(url).await.expect("a connection");
    let client = Client::connect(url).await;
    let tell = async |of: &async_nats::Client, leader: &str| {
        let subject = format!("$JS.API.{leader}");
        // Whether it did is not waited for: the answer may get lost with the leader.
        let sent = of.publish_with_reply(subject, of.new_inbox(), "".into());
        sent.await.expect("it is sent");
    };
    let mut steps = 0;
    while !over.load(Ordering::Relaxed) {
        let stream = steps % STREAMS;
        tell(&account, &format!("STREAM.LEADER.STEPDOWN.S{stream:02}")).await;
        tell(&system, "META.LEADER.STEPDOWN").await;
        client.at_last("STREAM.NAMES", &json!({})).await;
        steps += 1;
        until(Instant::now() + PAUSE, PAUSE, async || over.load(Ordering::Relaxed)).await;
    }
    steps
}

#[test]
fn what_a_dead_server_holds_is_not_made_again_and_without_most_servers_nothing_is_planned() {
    let mut servers = cluster();
    let spec = "[streams.ALL]\nsubjects = [\"all\"]\nnum_replicas = 3\n\
                [streams.LOST]\nsubjects = [\"lost\"]\nplacement = { tags = [\"node3\"] }\n";
    let project = project(&servers, spec);
    project.apply();
    servers[2].kill();
    let plan = project.run(&["plan"]).ended(1);
    plan.says("`stream.LOST` could not be read: none of its servers answers")
        .never_says("will be created");
    project.run(&["apply", "--auto-approve"]).ended(1).never_says("Creating");

    servers[1].kill();
    // One that has been cut off calls itself the leader until it notices: what it says is still true.
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(30) && refused < 2 {
        let asked = Instant::now();
        let plan = project.run(&["plan"]).ended(1).never_says("will be created");
        slowest = slowest.max(asked.elapsed());
        refused += usize::from(plan.stderr.contains("the JetStream cluster has no leader"));
    }
    println!("{refused} plans refused, the slowest after {} ms", slowest.as_millis());
    assert!(refused == 2 && slowest < Duration::from_secs(15), "{refused} refused, {slowest:?}");
}
