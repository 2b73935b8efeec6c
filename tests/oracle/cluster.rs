//! What only a cluster decides: replicas, placement, moves with a change of replicas, and what these
//! do to consumers. Each transition goes through jsplan as a user runs it, on three servers of every
//! release: what the plan says they do, and then nothing is left to plan.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use async_nats::ConnectOptions;
use jsplan::{
    config::Config,
    io::{binary, clock::wait_until, run, server::Server},
    schema::{Field, Release, complete, consumer::CONSUMER, stream::STREAM},
};
use serde_json::Value;

use crate::{
    account::{Outcome, toml},
    client::{done, publish},
    project::{Output, Project},
    random::{Found, assert_right},
    readback::shown,
    servers::programs,
    ways::{Wanted, Way, ways},
};

/// How many clusters there are at a time.
const CLUSTERS: usize = 2;

/// How long a cluster may take to get to where it goes, on a machine that is busy with others: an
/// election takes some seconds of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one answer is waited for: who has no leader gives none.
const ANSWER: Duration = Duration::from_secs(2);

/// The account may reserve little memory, and as much of the disk as it likes.
const CONFIG: &str = "jetstream { max_memory_store: 1TiB, max_file_store: 1PiB }
    accounts { SMALL { users = [{ user: a, password: a }], jetstream { max_mem: 10000 } } }
    no_auth_user: a\n";

/// What is consented to.
const ALLOW: [&str; 4] = ["--allow", "data-loss=stream.S", "--allow", "delivery=stream.S"];

/// What the plan does not say and the server refuses, by a word of its answer.
const UNSEEN: &[(&str, &str)] =
    &[("/10005)", "which tags the servers have is nothing that a client sees")];

/// The stream `S` of one cluster on its way through some settings.
struct Trial<'a> {
    server: &'a Server,
    release: Release,
    project: Project,
}

#[test]
fn what_is_planned_for_a_cluster_is_what_it_does() {
    let waiting = Mutex::new(VecDeque::from(programs()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = || {
        let mut found = Vec::new();
        while let Some(program) = next() {
            found.push(on_cluster(&program));
        }
        found
    };
    let mut found: Vec<(Release, Found)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..CLUSTERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|it| it.join().expect("no release breaks it")).collect()
    });
    found.sort_by_key(|it| it.0);
    for (release, (outcomes, wrong)) in &found {
        let tried = outcomes.values().sum::<usize>() + wrong.len();
        println!("{release}: {tried} changes in a cluster, {outcomes:?}, {} wrong", wrong.len());
    }
    assert_right(&found);
}

/// Every way on one cluster, one after another.
fn on_cluster(program: &Path) -> (Release, Found) {
    let release = Release::parse(&binary::version(program).expect("it says what it is"));
    let servers = Server::start_cluster(program, CONFIG).expect("a cluster starts");
    let server = &servers[0];
    let (mut outcomes, mut wrong) = (BTreeMap::new(), Vec::new());
    for way in ways(release) {
        let trial = Trial { server, release, project: Project::new(server, "") };
        if let Err(why) = trial.go(&way, &mut outcomes) {
            wrong.push(format!("{}: {why}", way.name));
        }
        assert!(eventually(|| is_cleared(server)), "{release}: {} leaves something", way.name);
    }
    (release, (outcomes, wrong))
}

/// Deletes every stream; whether none is left.
fn is_cleared(server: &Server) -> bool {
    let names = perhaps(server, "STREAM.NAMES", &Value::Null);
    for name in names["streams"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        perhaps(server, &format!("STREAM.DELETE.{name}"), &Value::Null);
    }
    names["total"] == 0
}

impl Trial<'_> {
    /// What is behind a wrong step begins somewhere else than it was meant to, and is left out.
    fn go(&self, way: &Way, outcomes: &mut BTreeMap<Outcome, usize>) -> Result<(), String> {
        for (number, wanted) in way.steps.iter().enumerate() {
            let outcome = self.declare(wanted, number);
            let outcome = outcome.map_err(|it| format!("step {number}: {it}"))?;
            *outcomes.entry(outcome).or_default() += 1;
            if number == 0 {
                publish(self.server, "s", way.messages);
                way.others.iter().for_each(|(subject, body)| done(self.server, subject, body));
            }
        }
        let stored = || self.info()["state"]["messages"].as_u64();
        match eventually(|| stored() == Some(way.messages)) {
            true => Ok(()),
            false => Err(format!("{:?} of {} messages are left", stored(), way.messages)),
        }
    }

    /// Declares what is wanted, and holds what jsplan says of it against what the cluster does.
    fn declare(&self, wanted: &Wanted, number: usize) -> Result<Outcome, String> {
        let spec = spec(wanted, number);
        self.project.write_spec(&spec);
        let planned = self.run(&[&["plan"], &ALLOW[..]].concat());
        if planned.code != 0 {
            return match self.refuses(wanted) {
                true => Ok(Outcome::Refused),
                false => Err(format!("taken, though:\n{planned}\n{spec}")),
            };
        }
        let applied = self.run(&[&["apply", "--auto-approve"], &ALLOW[..]].concat());
        if applied.code != 0 {
            let unseen = UNSEEN.iter().any(|(word, _)| applied.stderr.contains(word));
            return if unseen { Ok(Outcome::Unseen) } else { Err(format!("{applied}\n{spec}")) };
        }
        let plan = || self.run(&["plan", "--detailed-exitcode"]);
        if !eventually(|| plan().code == 0) {
            return Err(format!("this is left:\n{}\n{spec}", plan()));
        }
        let mut wrong = Vec::new();
        eventually(|| {
            wrong = self.surprises(wanted);
            wrong.is_empty()
        });
        if wrong.is_empty() { Ok(Outcome::Taken) } else { Err(wrong.join(", ")) }
    }

    /// Runs jsplan, and again where it asks for that: a consumer of a stream that was scaled may have
    /// no leader for longer than a plan waits (2.15.1).
    fn run(&self, arguments: &[&str]) -> Output {
        let run = || Some(self.project.run(arguments));
        let told = || run().filter(|it| !it.stderr.contains("error[unreadable]"));
        wait_until(PATIENCE, told).unwrap_or_else(|| self.project.run(arguments))
    }

    /// Whether the cluster refuses what the plan did not let through.
    fn refuses(&self, wanted: &Wanted) -> bool {
        let mut config = self.live();
        for (name, value) in wanted.stream.as_object().into_iter().flatten() {
            config[name] = value.clone();
        }
        !self.ask("STREAM.UPDATE.S", &config)["error"].is_null()
    }

    /// Where the stream and its consumer are not what was wanted, whatever jsplan says of them.
    fn surprises(&self, wanted: &Wanted) -> Vec<String> {
        let mut wrong = self.differences(STREAM, &wanted.stream, &self.live());
        if let Some(consumer) = &wanted.consumer {
            let is = self.config("CONSUMER.INFO.S.C");
            wrong.extend(self.differences(CONSUMER, consumer, &is));
        }
        // Where a stream is, one replica alone tells.
        let node = &wanted.stream["placement"]["tags"][0];
        let leader = self.info()["cluster"]["leader"].take();
        if wanted.stream["num_replicas"] == 1 && !node.is_null() && leader != *node {
            wrong.push(format!("{leader} leads, and {node} should"));
        }
        wrong
    }

    fn differences(&self, rows: &'static [Field], wanted: &Value, is: &Value) -> Vec<String> {
        let wanted = complete(rows, &Config::of(wanted), self.release);
        let is = Config::of(is);
        let fields =
            rows.iter().filter(|it| ["num_replicas", "placement", "retention"].contains(&it.name));
        let differ = |it: &Field| {
            let (found, wanted) = (shown(it, &is), shown(it, &wanted));
            (found != wanted).then(|| format!("`{}` is {found}, and not {wanted}", it.name))
        };
        fields.filter_map(differ).collect()
    }

    fn live(&self) -> Value {
        self.config("STREAM.INFO.S")
    }

    fn config(&self, subject: &str) -> Value {
        let config = || Some(self.ask(subject, &Value::Null)["config"].take());
        wait_until(PATIENCE, || config().filter(|it| !it.is_null())).unwrap_or_default()
    }

    /// What somebody answers at last: while a stream moves nobody does.
    fn ask(&self, subject: &str, body: &Value) -> Value {
        let answer = || Some(perhaps(self.server, subject, body));
        wait_until(PATIENCE, || answer().filter(|it| !it.is_null())).unwrap_or_default()
    }

    fn info(&self) -> Value {
        perhaps(self.server, "STREAM.INFO.S", &Value::Null)
    }
}

/// Each step changes the consumer in some way.
fn spec(wanted: &Wanted, number: usize) -> String {
    let mut stream = toml(STREAM, &wanted.stream);
    stream.insert("subjects".to_owned(), vec!["s"].into());
    if let Some(consumer) = &wanted.consumer {
        let mut consumer = toml(CONSUMER, consumer);
        consumer.insert("description".to_owned(), number.to_string().into());
        let consumers = toml::Table::from_iter([("C".to_owned(), consumer.into())]);
        stream.insert("consumers".to_owned(), consumers.into());
    }
    let streams = toml::Table::from_iter([("S".to_owned(), stream.into())]);
    let spec = toml::Table::from_iter([("streams".to_owned(), streams.into())]);
    toml::to_string(&spec).expect("TOML")
}

/// What the API says; null where nobody answers.
fn perhaps(server: &Server, subject: &str, body: &Value) -> Value {
    run(async {
        let options = ConnectOptions::new().request_timeout(Some(ANSWER));
        let client = options.connect(server.url()).await.ok()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = client.request(format!("$JS.API.{subject}"), body.into()).await.ok()?;
        serde_json::from_slice(&reply.payload).ok()
    })
    .unwrap_or_default()
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    wait_until(PATIENCE, || holds().then_some(())).is_some()
}
