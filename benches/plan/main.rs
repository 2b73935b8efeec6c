//! jsplan against the floor, interleaved in one run: `cargo bench`.
//!
//! Prints a Markdown table for `docs/performance.md`. Medians of the rounds; ratios are of the
//! medians. `--minimal URL` makes this program the process that only connects and lists.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the product")]

mod floor;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jsplan::{
    address::Address,
    io::{
        binary, nats,
        server::{JETSTREAM, Server},
    },
    plan::{Ask, plan},
    spec::{self, Connection},
    state::State,
};
use serde_json::Value;

const JSPLAN: &str = env!("CARGO_BIN_EXE_jsplan");
const ROUNDS: usize = 15;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|it| it == "--minimal") {
        return jsplan::io::run(minimal(&arguments[at + 1]));
    }
    println!("| measured | value | goal |\n|---|---|---|");
    large(1000, 3);
    small();
    creates(100);
}

/// A process that connects, asks INFO and STREAM.LIST, and ends.
async fn minimal(url: &str) {
    let client = async_nats::connect(url).await.expect("the server listens");
    for subject in ["$JS.API.INFO", "$JS.API.STREAM.LIST"] {
        client.request(subject, "".into()).await.expect("the server answers");
    }
}

fn start() -> Server {
    let binary = binary::find(None, &mut |it| eprintln!("{it}")).expect("a nats-server");
    Server::start(&binary, JETSTREAM).expect("it starts")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, value: &str, goal: &str) {
    println!("| {what} | {value} | {goal} |");
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// Writes a project of many streams into a folder.
fn project(folder: &Path, url: &str, streams: usize, consumers: usize, storage: &str) {
    let mut text = format!(
        "[environment]\nprotected = false\n[server]\nurl = \"{url}\"\n[override.stream]\n\
         storage = \"{storage}\"\n"
    );
    for it in 0..streams {
        text += &format!(
            "[streams.S{it:05}]\ndescription = \"Stream {it} of the benchmark\"\n\
             subjects = [\"a.{it}.*\", \"b.{it}.*\"]\nmax_age = \"7d\"\nmax_bytes = \"1GiB\"\n\
             metadata = {{ team = \"platform\", tier = \"gold\", part = \"{it}\" }}\n"
        );
        for at in 0..consumers {
            text += &format!(
                "[streams.S{it:05}.consumers.C{at}]\nack_policy = \"explicit\"\n\
                 filter_subject = \"a.{it}.*\"\nmax_ack_pending = 512\n\
                 metadata = {{ team = \"platform\", part = \"{at}\" }}\n"
            );
        }
    }
    fs::create_dir_all(folder.join("environments")).expect("a folder can be made");
    fs::write(folder.join("environments/bench.toml"), text).expect("a file can be written");
}

fn jsplan(folder: &Path, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let output = Command::new(JSPLAN)
        .args(arguments)
        .arg("--chdir")
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("jsplan runs");
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
    took
}

/// The API requests a server has answered; asking is one of them.
async fn requests(client: &async_nats::Client) -> u64 {
    let answer = client.request("$JS.API.INFO", "".into()).await.expect("the server answers");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("an answer is JSON");
    answer["api"]["total"].as_u64().expect("INFO counts requests")
}

/// An unchanged plan of many streams, engine against floor.
fn large(streams: usize, consumers: usize) {
    let server = start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    project(folder.path(), server.url(), streams, consumers, "memory");
    jsplan(folder.path(), &["apply", "--auto-approve"]);
    let text = fs::read_to_string(folder.path().join("environments/bench.toml")).expect("written");
    let loaded = spec::load("environments/bench.toml", |_| Ok(text.clone()));
    let desired = loaded.desired.expect("the spec is right");
    let state = fs::read_to_string(folder.path().join("state/bench.json")).expect("written");
    let state = State::read(&state).expect("the state is whole");
    let expected: BTreeSet<Address> = desired.resources.keys().cloned().collect();
    let connection = Connection { urls: vec![server.url().to_owned()], ..Connection::default() };
    let mut socket = floor::Socket::connect(server.url().trim_start_matches("nats://"));
    let (mut engine, mut bare) = (Vec::new(), Vec::new());
    let mut asked = 0;
    jsplan::io::run(async {
        let session = nats::connect(&connection, "bench").await.expect("the server listens");
        let counter = async_nats::connect(server.url()).await.expect("the server listens");
        for round in 0..ROUNDS * 2 {
            if round % 2 == 0 {
                let begun = Instant::now();
                socket.read_all(streams, 64);
                bare.push(begun.elapsed());
                continue;
            }
            let before = requests(&counter).await;
            let begun = Instant::now();
            let live = session.observe(&expected).await.expect("the server answers");
            let plan = plan(&desired, &state, &live, &Ask::default());
            engine.push(begun.elapsed());
            assert!(plan.is_empty(), "the plan is empty");
            asked = requests(&counter).await - before - 1;
        }
    });
    let formula = 1 + streams.div_ceil(1024) + streams.div_ceil(256) + streams;
    let (engine, bare) = (median(engine), median(bare));
    let what = format!("unchanged plan, {streams} streams and {} consumers", streams * consumers);
    row(&format!("requests of an {what}"), &format!("{asked}, formula {formula}"), "equal");
    let value = format!("{} against {}: {:.2} x", ms(engine), ms(bare), ratio(engine, bare));
    row(&format!("engine against floor, {what}"), &value, "1.35 x, aim 1.15 x");
    let whole = median((0..5).map(|_| jsplan(folder.path(), &["plan"])).collect());
    row(&format!("whole process, {what}"), &ms(whole), "");
    memory(folder.path(), streams * (1 + consumers));
}

/// The peak of the largest `jsplan` so far would hide an apply's, so this one runs under a shell
/// that reports its own children only.
fn memory(folder: &Path, objects: usize) {
    let script = format!(
        "import resource, subprocess\nsubprocess.run([{JSPLAN:?}, 'plan', '--chdir', {:?}], \
         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)\n\
         print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
        folder.display().to_string()
    );
    let output = Command::new("python3").args(["-c", &script]).output().expect("python3 runs");
    let peak: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    let goal = 12 * 1024 + objects * 9 / 2;
    let value = format!("{:.1} MB", peak as f64 / 1024.0);
    let goal = format!("{:.1} MB", goal as f64 / 1024.0);
    row(&format!("peak memory, {objects} objects"), &value, &goal);
}

/// A whole `plan` of three streams against a process that only connects and lists.
fn small() {
    let server = start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    project(folder.path(), server.url(), 3, 2, "memory");
    jsplan(folder.path(), &["apply", "--auto-approve"]);
    let this = std::env::current_exe().expect("a process knows its program");
    let (mut ours, mut minimal) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS * 3 {
        let begun = Instant::now();
        let status = Command::new(&this).args(["--minimal", server.url()]).status();
        assert!(status.expect("this program runs").success());
        minimal.push(begun.elapsed());
        ours.push(jsplan(folder.path(), &["plan"]));
    }
    let (ours, minimal) = (median(ours), median(minimal));
    let value = format!("{} against {}: {:.2} x", ms(ours), ms(minimal), ratio(ours, minimal));
    row("whole `plan` of 3 streams against connect and list", &value, "2.5 x");
}

/// Creates with 16 in flight against one at a time, each as a whole apply on a new server.
fn creates(streams: usize) {
    let (mut wide, mut narrow) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (parallelism, times) in [("16", &mut wide), ("1", &mut narrow)] {
            let server = start();
            let folder = tempfile::tempdir().expect("a folder can be made");
            project(folder.path(), server.url(), streams, 0, "file");
            let arguments = ["apply", "--auto-approve", "--parallelism", parallelism];
            times.push(jsplan(folder.path(), &arguments));
        }
    }
    let (wide, narrow) = (median(wide), median(narrow));
    let value = format!("{} against {}: {:.2} x", ms(wide), ms(narrow), ratio(narrow, wide));
    row(&format!("{streams} stream creates, 16 in flight against 1"), &value, "1.5 x faster");
}
