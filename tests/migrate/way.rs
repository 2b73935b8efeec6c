//! A migration of each strategy, from a stream that publishers use to another one, and jsplan that
//! carries it out as people do: up to a gate, past it, to the end.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use jsplan::io::{clock::wait_until, run, server::Server};
use serde_json::{Value, json};

use crate::{
    shelf::{self, Stored},
    support::{
        client::Client,
        project::{Output, Project, wait_for},
        server::{cluster, server},
    },
    traffic::{Moves, Side, Traffic},
};

/// The streams of every migration here.
pub(crate) const OLD: &str = "V1";
pub(crate) const NEW: &str = "V2";

/// How it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    NewSubjects,
    Source,
    Mirror,
    Parallel,
    /// By source, through a program.
    Program,
}

/// Where a migration lets nobody pass without approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gates {
    /// Before subjects change hands, and before the old stream ends.
    Both,
    /// Nowhere: one command does everything.
    None,
    /// Only before the old stream ends.
    Last,
}

/// One that makes a second shape of every message.
const PROGRAM: &str = "exec = [\"sed\", \"-u\", \"-e\", 's/\"seq\":[0-9]*,\"stream\":\"V1\",//', \
                       \"-e\", 's/shape\\\\\":1/shape\\\\\":2/']\ndead_letters = \"DEAD\"\n";

impl Way {
    pub(crate) const ALL: [Self; 5] =
        [Self::NewSubjects, Self::Source, Self::Mirror, Self::Parallel, Self::Program];

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Program => "same-subjects-source with `exec`",
            Self::NewSubjects | Self::Source | Self::Mirror | Self::Parallel => self.strategy(),
        }
    }

    fn strategy(self) -> &'static str {
        match self {
            Self::NewSubjects => "new-subjects",
            Self::Source | Self::Program => "same-subjects-source",
            Self::Mirror => "same-subjects-mirror",
            Self::Parallel => "parallel",
        }
    }

    /// Whether the new stream takes over the very subjects of the old one.
    pub(crate) fn takes_subjects(self) -> bool {
        matches!(self, Self::Source | Self::Mirror | Self::Program)
    }

    fn sides(self) -> [Side; 2] {
        let prefix = if self.takes_subjects() { "old" } else { "new" };
        [Side { stream: OLD, prefix: "old" }, Side { stream: NEW, prefix }]
    }

    fn moves(self) -> Moves {
        match self {
            Self::NewSubjects => Moves::Behind,
            Self::Parallel => Moves::AtOnce,
            Self::Source | Self::Mirror | Self::Program => Moves::Never,
        }
    }

    /// What is declared before, and behind it.
    fn specs(self, replicas: usize) -> [String; 2] {
        let stream = |name: &str, prefix: &str| {
            format!(
                "[streams.{name}]\nsubjects = [\"{prefix}.>\"]\nnum_replicas = {replicas}\n\
                 [streams.{name}.consumers.READER]\nack_policy = \"explicit\"\n"
            )
        };
        let dead = match self {
            Self::Program => {
                format!("[streams.DEAD]\nsubjects = [\"dead.*\"]\nnum_replicas = {replicas}\n")
            }
            Self::NewSubjects | Self::Source | Self::Mirror | Self::Parallel => String::new(),
        };
        let [old, new] = self.sides();
        let stays = format!("[streams.{OLD}.consumers.STAYS]\nack_policy = \"explicit\"\n");
        let before = stream(OLD, old.prefix) + &stays + &dead;
        let after = stream(NEW, new.prefix) + &dead;
        if self.takes_subjects() { [before, after] } else { [before.clone(), after + &before] }
    }

    /// The text of the migration, from what `migrate new` wrote.
    fn text(self, written: &str, gates: Gates) -> String {
        let approve = "approve = [\"test\"]\n";
        // Nobody waits for days here; whether somebody still uses the old stream is decided at a gate.
        let mut text = written.replace("idle = \"72h\"\n", "at_least = \"1ms\"\n");
        if gates != Gates::Both {
            text = text.replace(approve, "");
        }
        if gates != Gates::None {
            let settled = format!("\n[[step]]\nid = \"settled\"\ndo = \"gate\"\n{approve}");
            text = text.replace("at_least = \"1ms\"\n", &format!("at_least = \"1ms\"\n{settled}"));
        }
        if self == Self::Program {
            text = text.replace("do = \"source\"\n", &format!("do = \"source\"\n{PROGRAM}"));
            // What a program made does not go back.
            text = text.replace("[[step]]\nid = \"reverse\"\ndo = \"reverse\"\n", "");
        }
        text
    }
}

/// Servers, and a project with a migration that is yet to be carried out.
pub(crate) struct World {
    pub(crate) way: Way,
    pub(crate) urls: Vec<String>,
    pub(crate) project: Project,
    servers: Mutex<Vec<Server>>,
}

/// What became of a migration.
#[derive(Debug, Default)]
pub(crate) struct Went {
    /// How often jsplan was started.
    pub(crate) commands: usize,
    /// For how long no stream took the subjects, as jsplan says.
    pub(crate) window: Option<u64>,
    pub(crate) said: String,
}

impl World {
    /// One server.
    pub(crate) fn single(way: Way, gates: Gates) -> Self {
        Self::on(vec![server()], way, gates)
    }

    /// Three servers, and streams with a copy on each.
    pub(crate) fn cluster(way: Way, gates: Gates) -> Self {
        Self::on(cluster(), way, gates)
    }

    /// On servers that hold nothing.
    pub(crate) fn on(servers: Vec<Server>, way: Way, gates: Gates) -> Self {
        let urls: Vec<_> = servers.iter().map(|it| it.url().to_owned()).collect();
        let [before, after] = way.specs(servers.len());
        let project = Project::at(&urls.join(","), &before);
        project.apply();
        project.write_spec(&after);
        let map = ["--map", "old.>=new.>"];
        let mut new = vec![
            "migrate",
            "new",
            "move",
            "--strategy",
            way.strategy(),
            "--from",
            OLD,
            "--to",
            NEW,
        ];
        if way == Way::NewSubjects {
            new.extend(map);
        }
        project.run(&new).ended(0);
        let path = project.path("environments/migrations/0001_move.toml");
        let written = project.read("environments/migrations/0001_move.toml");
        fs::write(path, way.text(&written, gates)).expect("it can be written");
        project.run(&["migrate", "hash"]).ended(0);
        project.run(&["migrate", "lint"]).ended(0);
        Self { way, urls, project, servers: Mutex::new(servers) }
    }

    /// The servers, for the next world; what this one made is deleted.
    pub(crate) fn clear(self) -> Vec<Server> {
        run(async {
            let client = Client::connect(&self.urls.join(",")).await;
            for name in [NEW, OLD, "DEAD"] {
                client.ask(&format!("STREAM.DELETE.{name}"), &Value::Null).await;
            }
        });
        self.servers.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic::new(&self.urls, self.way.sides(), self.way.moves())
    }

    /// What a client without any part in it is told.
    pub(crate) fn ask(&self, subject: &str, body: &Value) -> Value {
        run(async { Client::connect(&self.urls.join(",")).await.ask(subject, body).await })
    }

    /// What is there of what publishers sent: in the new stream, and where messages stay in the old
    /// one, there too.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let new = shelf::read(&self.urls, NEW);
        if self.way == Way::Parallel {
            let mut all = shelf::read(&self.urls, OLD);
            all.extend(new);
            return all;
        }
        new
    }

    /// How each step stands, and what is waited for.
    pub(crate) fn status(&self) -> Value {
        let mut output = None;
        // Where the only server is down nothing can be said.
        wait_for("the server answers", || {
            let said = self.run(&["migrate", "status", "--json"]);
            output = (said.code == 0).then_some(said.stdout);
            output.is_some()
        });
        let status: Value =
            serde_json::from_str(&output.expect("it answered")).expect("it is JSON");
        status["migrations"][0].clone()
    }

    /// Runs jsplan, which must not hang.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        let mut run = self.project.start(arguments);
        let ended = wait_until(Duration::from_secs(60), || run.try_wait().transpose());
        if ended.is_none() {
            // It has no end of its own: what it said is worth more than the rest of the test.
            run.kill().expect("it is ours");
        }
        Output::ending(run)
    }

    /// Goes on until every step before this one is done; from where a command failed too.
    #[track_caller]
    pub(crate) fn goes_before(&self, step: &str, went: &mut Went) {
        self.goes(went, |status| {
            let steps = status["steps"].as_array().expect("steps");
            let mut before = steps.iter().take_while(|it| it["id"] != step);
            before.all(|it| it["state"] == "done")
        });
    }

    /// Goes on to the end.
    #[track_caller]
    pub(crate) fn goes_to_its_end(&self, went: &mut Went) {
        self.goes(went, |status| status["standing"] == "done");
    }

    #[track_caller]
    fn goes(&self, went: &mut Went, is_there: impl Fn(&Value) -> bool) {
        const MOST: usize = 12;
        let begun = Instant::now();
        for _ in 0..MOST {
            let status = self.status();
            if is_there(&status) {
                return;
            }
            let waits = status["waits_for"].as_str().is_some_and(|it| it.starts_with("approval"));
            let next = status["next"].as_array().is_none_or(Vec::is_empty);
            let begun = status["steps"][0]["state"] != "waiting";
            let command: &[&str] = match (status["standing"] == "DIRTY", waits && next, begun) {
                (true, ..) => &["migrate", "resume", "--auto-approve"],
                (_, true, _) => &["migrate", "apply", "--approve", "0001", "--auto-approve"],
                (_, _, true) => &["migrate", "resume", "--auto-approve"],
                (_, _, false) => &["migrate", "apply", "--auto-approve"],
            };
            if status["waits_for"].as_str().is_some_and(|it| it.starts_with("soak")) {
                // jsplan counts in seconds.
                let second = Timestamp::now().as_second();
                let next = || (Timestamp::now().as_second() > second).then_some(());
                wait_until(Duration::from_secs(2), next);
            }
            let output = self.run(command);
            went.note(command, &output);
        }
        panic!("it does not get there, after {:?}:\n{}", begun.elapsed(), went.said);
    }

    /// All of it, with publishers that move where they have to.
    #[track_caller]
    pub(crate) fn migrates(&self, traffic: &Traffic) -> Went {
        let mut went = Went::default();
        self.goes_before("settled", &mut went);
        if !self.way.takes_subjects() {
            traffic.move_one_by_one();
        }
        self.goes_to_its_end(&mut went);
        went
    }

    /// Where a consumer stands: its acknowledged floor.
    pub(crate) fn floor(&self, stream: &str, consumer: &str) -> u64 {
        let info = self.ask(&format!("CONSUMER.INFO.{stream}.{consumer}"), &json!({}));
        info["ack_floor"]["stream_seq"].as_u64().unwrap_or_else(|| panic!("{info}"))
    }
}

impl Went {
    pub(crate) fn note(&mut self, command: &[&str], output: &Output) {
        self.commands += 1;
        let said = format!("$ jsplan {}\n{output}\n", command.join(" "));
        if std::env::var_os("JSPLAN_SAY").is_some() {
            println!("{said}");
        }
        self.said += &said;
        for line in output.stderr.lines() {
            let Some((_, rest)) = line.split_once("for at most ") else { continue };
            let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
            self.window = self.window.max(digits.parse().ok());
        }
    }
}
