//! What jsplan adds to a copy: the same messages, copied by a migration and by a bare stream with
//! sources, in turns.

use std::{
    fs,
    time::{Duration, Instant},
};

use jsplan::io::{clock::wait_until, run, server::Server};
use serde_json::{Value, json};

use crate::{
    support::{
        client::{Client, ask, create, messages},
        project::Project,
        server::server,
    },
    traffic::connect,
    way::{NEW, OLD},
};

const MESSAGES: u64 = 200_000;
const SIZE: usize = 200;
const ROUNDS: usize = 5;

/// Prints a table of both, and of the proof.
pub(crate) fn compare() {
    let server = server();
    let spec = |name: &str| format!("[streams.{name}]\nsubjects = [\"old.>\"]\n");
    let project = Project::new(&server, &spec(OLD));
    project.apply();
    run(fill(&server));
    project.write_spec(&spec(NEW));
    let mut times: [Vec<Duration>; 8] = Default::default();
    for round in 1..=ROUNDS {
        let mut took = Vec::new();
        for (kind, strategy) in [("sources", "source"), ("mirror", "mirror")] {
            took.push(bare(&server, kind));
            took.extend(migrated(&server, &project, (2 * round + took.len() / 4, strategy)));
        }
        eprintln!("round {round}: {took:?}");
        times.iter_mut().zip(took).for_each(|(all, it)| all.push(it));
    }
    let [source, seen, by_source, proof, mirror, _, by_mirror, _] = times.map(median);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("| {MESSAGES} messages of {SIZE} B | the server alone | by jsplan | ratio |");
    println!("|---|---|---|---|");
    for (kind, bare, ours) in [("source", source, by_source), ("mirror", mirror, by_mirror)] {
        let (ratio, bare, ours) = (ratio(ours, bare), bare.as_millis(), ours.as_millis());
        println!("| copied by {kind} | {bare} ms | {ours} ms | {ratio:.2} |");
    }
    println!("| one look at every message, before it | | {} ms | |", seen.as_millis());
    println!("| the proof, behind it | | {} ms | |", proof.as_millis());
}

async fn fill(server: &Server) {
    let client = connect(&[server.url().to_owned()]).await;
    let payload = "x".repeat(SIZE);
    for number in 0..MESSAGES - 1 {
        let (subject, payload) = (format!("old.{}", number % 16), payload.clone());
        // A stream drops what it gets much faster than it stores.
        if number % 500 == 0 {
            client.request(subject, payload.into()).await.expect("it is stored");
        } else {
            client.publish(subject, payload.into()).await.expect("it is sent");
        }
    }
    let last = client.request("old.last", payload.into()).await.expect("it is stored");
    let last: Value = serde_json::from_slice(&last.payload).expect("JSON");
    assert_eq!(last["seq"], MESSAGES, "{last}");
}

/// The server alone: the stream is made, and looked at until it holds everything.
fn bare(server: &Server, kind: &str) -> Duration {
    let origin = json!({ "name": OLD });
    let origin = if kind == "sources" { json!([origin]) } else { origin };
    let begun = Instant::now();
    create(server, &json!({ "name": "BARE", kind: origin, "duplicate_window": 0 }));
    let all = wait_until(Duration::from_secs(60), || {
        (messages(server, "BARE") >= MESSAGES).then_some(())
    });
    let took = begun.elapsed();
    all.expect("the server copies");
    ask(server, "STREAM.DELETE.BARE", &Value::Null);
    took
}

/// The same by a migration: how long it took to look at every message, to copy them, and to prove it.
fn migrated(
    server: &Server,
    project: &Project,
    (number, strategy): (usize, &str),
) -> [Duration; 3] {
    // What was taken back keeps its file.
    let version = format!("{number:04}");
    let folder = "environments/migrations";
    let head = format!(
        "[migration]\nreason = \"speed\"\nstrategy = \"same-subjects-{strategy}\"\nfrom = \"{OLD}\"\n\
         to = \"{NEW}\"\n[[step]]\nid = \"seen\"\ndo = \"gate\"\napprove = [\"test\"]\n\
         [[step]]\nid = \"copy\"\ndo = \"{strategy}\"\n\
         [[step]]\nid = \"caught-up\"\ndo = \"wait\"\n[[step]]\nid = \"copied\"\ndo = \"gate\"\n\
         approve = [\"test\"]\n[[step]]\nid = \"proved\"\ndo = \"verify\"\n[[step]]\nid = \"ready\"\n\
         do = \"gate\"\napprove = [\"test\"]\n[[step]]\nid = \"park\"\ndo = \"park\"\n[[step]]\n\
         id = \"drained\"\ndo = \"wait\"\n[[step]]\nid = \"complete\"\ndo = \"verify\"\n[[step]]\n\
         id = \"bind\"\ndo = \"{}\"\n",
        if strategy == "mirror" { "promote" } else { "bind" }
    );
    fs::create_dir_all(project.path(folder)).expect("a folder can be made");
    fs::write(project.path(folder).join(format!("{version}_speed.toml")), head)
        .expect("it can be written");
    project.run(&["migrate", "hash"]).ended(0);
    let idle = timed(|| drop(project.run(&["migrate", "status"]).ended(0)));
    let apply = ["migrate", "apply", &version, "--auto-approve"];
    let seen = timed(|| drop(project.run(&apply).ended(0).says("approval of `seen`")));
    let approve = ["migrate", "apply", &version, "--approve", &version, "--auto-approve"];
    let copied = timed(|| drop(project.run(&approve).ended(0).says("approval of `copied`")));
    assert_eq!(run(count(server)), MESSAGES);
    let proved = timed(|| drop(project.run(&approve).ended(0).says("equal, in order")));
    project.run(&["migrate", "rollback", &version, "--auto-approve"]).ended(0);
    // What any command takes that does nothing is no part of the copy.
    [seen, copied, proved].map(|it| it.saturating_sub(idle))
}

async fn count(server: &Server) -> u64 {
    let client = Client::connect(server.url()).await;
    let info = client.ask(&format!("STREAM.INFO.{NEW}"), &Value::Null).await;
    info["state"]["messages"].as_u64().unwrap_or_default()
}

fn timed(act: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    act();
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
