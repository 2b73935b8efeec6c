//! `jsplan demo`: the main job on a throw-away server, in a throw-away folder.
//!
//! Every command below is run as a user would run it, by the same code; only the folder and the
//! server's address are given behind the scenes.

use std::{path::Path, time::Duration};

use owo_colors::OwoColorize as _;
use serde_json::Value;

use super::{Exit, Failure, Global, apply, drift, migrate, plan, project::Project, sandbox};
use crate::{
    io::{
        self, clock, files,
        nats::{self, Session},
        server::{JETSTREAM, Server},
    },
    migration::FOLDER,
    spec::Connection,
};

/// What `demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: sandbox::Program,
}

const BASE: &str = include_str!("../../environments/base.toml");
const DEV: &str = include_str!("../../environments/dev.toml");

/// The table of `dev` that a limit is added to.
const RAW: &str = "[streams.INGEST_RAW_V1]\n";

/// What the second version of a stream adds to a spec, and how it gets its messages.
const SECOND: &str = "[streams.INGEST_RAW_V2";
const BASELINE: &str = include_str!("../../environments/migrations/0001_baseline.toml");
const MIGRATION: &str = include_str!("../../environments/migrations/0002_ingest_v2.toml");

/// How long the old stream soaks, and how long nobody waits here.
const SOAK: (&str, &str) = ("idle = \"72h\"", "idle = \"1s\"");

/// Runs the demonstration; the server and the folder go whatever happens.
pub(crate) fn run(project: &Project, args: &Args) -> Result<Exit, Failure> {
    let server = Server::start(&args.program.find(project)?, JETSTREAM)?;
    let folder = files::throw_away()?;
    files::make_folder(&folder.path().join("environments"))?;
    let demo = Demo::new(project, folder.path(), server.url());
    demo.write_spec(&without_second(DEV), &without_second(BASE))?;
    io::run(io::unless_interrupted(demo.play(), || Err(Failure::new("interrupted"))))
}

/// The stage: a project folder, and a connection for somebody who is not jsplan.
struct Demo {
    project: Project,
    url: String,
}

impl Demo {
    fn new(project: &Project, folder: &Path, url: &str) -> Self {
        let global = Global {
            env: Some("dev".to_owned()),
            server: Some(url.to_owned()),
            ..Global::default()
        };
        let project = Project::staged(global, project.terminal, folder.to_owned());
        Self { project, url: url.to_owned() }
    }

    async fn play(&self) -> Result<Exit, Failure> {
        self.tell("A nats-server was started just for this. `dev` is declared, nothing is there.");
        self.reviewed().await?;
        self.tell("After an apply the plan is empty, always.");
        self.plan(0).await?;
        self.tell(
            "Work goes on: 1,000 events are published. Then somebody shortens `max_age` by hand.",
        );
        self.meddle().await?;
        self.drift().await?;
        self.tell("An apply puts it back.");
        self.apply().await?;
        self.tell("A limit that would delete messages is counted first, and stopped.");
        let (dev, base) = (without_second(DEV), without_second(BASE));
        self.write_spec(&dev.replacen(RAW, &format!("{RAW}max_msgs = 100\n"), 1), &base)?;
        self.plan(1).await?;
        self.migrated().await?;
        self.tell(
            "The server is ended and the folder removed. Next: README.md, and your own spec.",
        );
        Ok(Exit::Done)
    }

    fn tell(&self, text: &str) {
        let line = format!("\n{} {}\n", "──".dimmed(), text.bold());
        self.project.terminal.say(&line);
    }

    fn command(&self, text: &str) {
        self.project.terminal.say(&format!("\n{} {}\n", "$".dimmed(), text.cyan()));
    }

    /// Version 2 of a stream, with the messages of version 1.
    async fn migrated(&self) -> Result<(), Failure> {
        self.tell(
            "That edit is taken back. Version 2 of the stream goes beside version 1, by a migration: \
             the messages are copied, and that they are all there is proved before it is used.",
        );
        self.write_spec(DEV, BASE)?;
        let folder = self.project.dir.join(FOLDER);
        files::make_folder(&folder)?;
        files::replace(&folder.join("0001_baseline.toml"), BASELINE)?;
        // Nobody waits three days for a demonstration.
        let soaked = MIGRATION.replace(SOAK.0, SOAK.1);
        files::replace(&folder.join("0002_ingest_v2.toml"), &soaked)?;
        self.command("jsplan migrate hash");
        migrate::run(&self.project, &migrate::Command::Hash).await?;
        self.apply().await?;
        self.tell(
            "Publishers move when they like. Once nobody uses version 1 any more it is sealed:",
        );
        self.publish("ingest.v2.raw", 100).await?;
        self.soaked().await?;
        self.command("jsplan migrate status --env dev");
        migrate::run(&self.project, &migrate::Command::status()).await?;
        self.plan(0).await
    }

    /// Goes on once the soak is over, which counts whole seconds.
    async fn soaked(&self) -> Result<(), Failure> {
        clock::pause(Duration::from_secs(2)).await;
        self.command("jsplan migrate apply --env dev --auto-approve");
        let go_on = migrate::Command::Apply(migrate::Apply::approved());
        done(migrate::run(&self.project, &go_on).await?)
    }

    fn write_spec(&self, dev: &str, base: &str) -> Result<(), Failure> {
        let folder = self.project.dir.join("environments");
        files::replace(&folder.join("base.toml"), base)?;
        Ok(files::replace(&folder.join("dev.toml"), dev)?)
    }

    async fn plan(&self, expected: u8) -> Result<(), Failure> {
        self.command("jsplan plan --env dev");
        let exit = plan::run(&self.project, &plan::Args::default()).await;
        match (exit, expected) {
            (Ok(_), 0) => Ok(()),
            (Err(failure), 1) if failure.message.is_empty() => Ok(()),
            (Err(failure), _) => Err(failure),
            (Ok(_), _) => Err(Failure::new("a plan that deletes messages was not refused")),
        }
    }

    /// A plan that is saved, and then applied as it was reviewed.
    async fn reviewed(&self) -> Result<(), Failure> {
        self.command("jsplan plan --env dev --out plan.jsplan");
        plan::run(&self.project, &plan::Args::into_file(plan::Asked::default(), "plan.jsplan"))
            .await?;
        self.command("jsplan apply --env dev plan.jsplan");
        done(apply::run(&self.project, &apply::Args::of_file("plan.jsplan")).await?)
    }

    async fn apply(&self) -> Result<(), Failure> {
        self.command("jsplan apply --env dev --auto-approve");
        done(apply::run(&self.project, &apply::Args::approved()).await?)
    }

    async fn drift(&self) -> Result<(), Failure> {
        self.command("jsplan drift --env dev");
        match drift::run(&self.project, &drift::Args::default()).await? {
            Exit::Changes => Ok(()),
            Exit::Done | Exit::Failed => Err(Failure::new("the change was not seen as drift")),
        }
    }

    /// What another client does: publishes, and changes a stream without jsplan.
    async fn meddle(&self) -> Result<(), Failure> {
        self.publish("ingest.v1.raw", 1000).await?;
        shorten(&self.connect().await?).await
    }

    async fn connect(&self) -> Result<Session, Failure> {
        let connection = Connection { urls: vec![self.url.clone()], ..Connection::default() };
        Ok(nats::connect(&connection, "somebody else").await?)
    }

    async fn publish(&self, subject: &str, count: u64) -> Result<(), Failure> {
        let session = self.connect().await?;
        for number in 0..count {
            session.publish(subject, format!("event {number}").into_bytes()).await?;
        }
        Ok(())
    }
}

/// A spec of a time before there was a second version: what is about that stands in blocks.
fn without_second(spec: &str) -> String {
    let blocks = spec.split("\n\n").filter(|it| !it.contains(SECOND));
    blocks.collect::<Vec<_>>().join("\n\n")
}

fn done(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Done => Ok(()),
        Exit::Failed | Exit::Changes => Err(Failure::new("the apply failed")),
    }
}

async fn shorten(session: &Session) -> Result<(), Failure> {
    let answer = session.request("STREAM.INFO.INGEST_RAW_V1", Vec::new(), 0).await?;
    let mut answer: Value = serde_json::from_slice(answer.bytes())?;
    let mut config = answer["config"].take();
    config["max_age"] = (12_u64 * 3600 * 1_000_000_000).into();
    let body = serde_json::to_vec(&config)?;
    session.request("STREAM.UPDATE.INGEST_RAW_V1", body, 0).await?;
    Ok(())
}
