//! The servers that are asked: one of each release, and a connection to it.

use std::{
    env,
    path::{Path, PathBuf},
    thread,
};

use jsplan::{
    address::Address,
    io::{
        binary,
        nats::{self, Session},
        run,
        server::{JETSTREAM, Server},
    },
    schema::Release,
    spec::Connection,
};
use serde_json::Value;

use crate::strangers::strangers;

/// Other programs to ask than those of the supported releases, with `:` between them.
const SERVERS: &str = "JSPLAN_ORACLE_SERVERS";

/// One server of a release.
pub(crate) struct Oracle {
    pub(crate) session: Session,
    pub(crate) release: Release,
}

/// What a server makes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The configuration that it reads back.
    Taken(Value),
    /// `err_code`, and what it says.
    Refused(u32, String),
}

/// Asks every release the same, all at once; gives each release's answer, the oldest first.
pub(crate) fn each<T: Send>(question: impl AsyncFn(&Oracle) -> T + Sync) -> Vec<(Release, T)> {
    let question = &question;
    let mut answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            programs().into_iter().map(|it| scope.spawn(move || ask(&it, question))).collect();
        threads.into_iter().map(|it| it.join().expect("no release breaks the question")).collect()
    });
    answers.sort_by_key(|it| it.0);
    answers
}

/// A server whose log is shown where a question about it fails.
struct Asked(Server);

impl Drop for Asked {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.0.log());
        }
    }
}

/// A new server, with nothing in it.
fn ask<T>(program: &Path, question: impl AsyncFn(&Oracle) -> T) -> (Release, T) {
    let server = Asked(Server::start(program, JETSTREAM).expect("a nats-server starts"));
    run(async {
        let url = server.0.url().to_owned();
        let connection = Connection { urls: vec![url], ..Connection::default() };
        let session = nats::connect(&connection, "oracle").await.expect("a connection");
        let release = session.server().await.expect("it says what it is").release;
        let oracle = Oracle { session, release };
        (release, question(&oracle).await)
    })
}

/// The programs to ask: one of each release, unless others are named.
pub(crate) fn programs() -> Vec<PathBuf> {
    match env::var_os(SERVERS) {
        Some(paths) => env::split_paths(&paths).collect(),
        None => binary::ORACLE.map(pinned).to_vec(),
    }
}

fn pinned(release: Release) -> PathBuf {
    binary::release(release, &mut |_| {}).expect("a nats-server can be had")
}

impl Oracle {
    /// Sends a request that carries a configuration, as apply would.
    pub(crate) async fn send(&self, subject: &str, body: &Value, level: u32) -> Answer {
        let answer = self.session.request(subject, body.to_string().into_bytes(), level).await;
        let (address, kind) = match subject.starts_with("STREAM.") {
            true => (Address::stream("any"), "stream"),
            false => (Address::consumer("any", "any"), "consumer"),
        };
        match answer.map(|it| it.observed(&address)) {
            Ok(observed) => {
                let live = observed.expect("it reads back").config().into_value();
                let strangers = strangers(address.rows(), &live, kind);
                assert!(strangers.is_empty(), "{}: no row: {strangers:?}", self.release);
                Answer::Taken(live)
            }
            Err(nats::error::Error::Api { err_code, description, .. }) => {
                Answer::Refused(err_code, description)
            }
            Err(error) => panic!("{subject} {body}: {error}"),
        }
    }

    /// Sends a request that must succeed and gives no configuration back.
    pub(crate) async fn done(&self, subject: &str) {
        let answer = self.session.request(subject, Vec::new(), 0).await;
        answer.map(drop).unwrap_or_else(|error| panic!("{subject}: {error}"));
    }
}
