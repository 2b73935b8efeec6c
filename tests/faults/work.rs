//! An apply that does some of everything, and what must hold after it whatever happened meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use jsplan::io::server::Server;
use serde_json::{Value, json};

use crate::support::{
    client::{acknowledge, ask, consumer, messages, publish, pull, streams},
    project::{Output, Project},
    proxy::{Proxy, Then},
    server::{place, server},
};

/// What the subjects of requests begin with.
const API: &str = "$JS.API.";

/// A wait for an answer that is as short as can be.
const TIMEOUT: &str = "timeout = \"4100ms\"\n";

const BEFORE: &str = r#"
[streams.KEPT]
subjects = ["kept"]
max_age = "1h"
[streams.KEPT.consumers.MOVED]
ack_policy = "explicit"
[streams.KEPT.consumers.SET]
ack_policy = "explicit"
[streams.KEPT.consumers.GONE]
ack_policy = "explicit"
[streams.GONE]
subjects = ["gone"]
prevent_destroy = false
"#;

const AFTER: &str = r#"
[streams.KEPT]
subjects = ["kept"]
max_age = "2h"
[streams.KEPT.consumers.MOVED]
ack_policy = "explicit"
max_waiting = 5
[streams.KEPT.consumers.SET]
ack_policy = "explicit"
max_deliver = 7
pause_until = "2100-01-01T00:00:00Z"
[streams.FRESH]
subjects = ["gone", "fresh"]
retention = "interest"
[streams.FRESH.consumers.READER]
ack_policy = "explicit"
"#;

/// One request after the other, so that their order is the same in every run.
const APPLY: [&str; 4] = ["apply", "--auto-approve", "--parallelism", "1"];

/// Messages in the stream that stays, and those that the consumer which is made again is done with.
const MESSAGES: u64 = 20;
const ACKNOWLEDGED: u64 = 5;

/// A server, what stands before it, and a project that is to be applied through that.
pub(crate) struct Work {
    pub(crate) server: Arc<Mutex<Server>>,
    pub(crate) proxy: Proxy,
    pub(crate) project: Project,
}

impl Work {
    /// Everything is as it was before, and the spec says what it is to be.
    pub(crate) fn new() -> Self {
        let server = server();
        let proxy = Proxy::new(place(&server));
        let project = Project::at(proxy.url(), &format!("{TIMEOUT}{BEFORE}"));
        project.run_elsewhere(&APPLY, server.url()).ended(0);
        publish(&server, "kept", MESSAGES);
        let done = pull(&server, "KEPT", "MOVED", usize::try_from(ACKNOWLEDGED).expect("few"));
        acknowledge(&server, &done);
        project.write_spec(&format!("{TIMEOUT}{AFTER}"));
        Self { server: Arc::new(Mutex::new(server)), proxy, project }
    }

    /// How many requests an apply sends that nothing happens to.
    pub(crate) fn requests() -> usize {
        let work = Self::new();
        work.apply().ended(0);
        work.holds();
        work.proxy.sent(API)
    }

    /// Applies, through whatever stands before the server.
    pub(crate) fn apply(&self) -> Output {
        self.project.run_as_the_spec_says(&APPLY)
    }

    /// Where the server itself is.
    pub(crate) fn url(&self) -> String {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).url().to_owned()
    }

    /// Kills the server, wherever it is called.
    pub(crate) fn kill(&self) -> impl FnOnce() + Send + use<> {
        let server = Arc::clone(&self.server);
        move || server.lock().unwrap_or_else(PoisonError::into_inner).kill()
    }

    /// Starts it, on what it has on disk.
    pub(crate) fn restart(&self) -> impl FnOnce() + Send + use<> {
        let server = Arc::clone(&self.server);
        move || {
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            server.restart().expect("it starts again");
        }
    }

    /// Puts on disk what was done: what was acknowledged within some 50 ms of a kill is forgotten (2.15.1),
    /// and nothing that can be asked tells when it is kept. A server that ends in order keeps it.
    pub(crate) fn remembers(&self) {
        self.restart()();
    }

    /// Applies, and waits for nothing.
    pub(crate) fn start(&self) -> Child {
        self.project.start_as_the_spec_says(&APPLY)
    }

    /// What is live is what the spec says and what the state says, and no message was lost.
    #[track_caller]
    pub(crate) fn holds(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = ["plan", "--detailed-exitcode"];
        self.project.run_elsewhere(&plan, server.url()).ended(0).says("No changes.");
        let (owned, live) = (self.owned(), live(&server));
        assert_eq!(owned, live, "the state holds what is live");
        assert_eq!(messages(&server, "KEPT"), MESSAGES);
        let info = consumer(&server, "KEPT", "MOVED");
        assert_eq!(info["num_pending"], MESSAGES - ACKNOWLEDGED, "{info}");
        assert_eq!(info["config"]["max_waiting"], 5);
        let next = pull(&server, "KEPT", "MOVED", 1);
        assert_eq!(next.first().map(|it| it.sequence), Some(ACKNOWLEDGED + 1));
    }

    /// No request that destroys something has reached the server twice.
    #[track_caller]
    pub(crate) fn destroyed_once(&self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for subject in self.proxy.subjects().into_iter().filter(|it| it.contains(".DELETE.")) {
            *counts.entry(subject).or_default() += 1;
        }
        assert!(counts.values().all(|it| *it == 1), "{counts:?}");
    }

    fn owned(&self) -> BTreeSet<String> {
        let state = self.project.state();
        state["resources"].as_object().expect("an object").keys().cloned().collect()
    }
}

/// The addresses of everything there is.
fn live(server: &Server) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for stream in streams(server) {
        let answer = ask(server, &format!("CONSUMER.NAMES.{stream}"), &json!({}));
        let names = answer["consumers"].as_array().cloned().unwrap_or_default();
        let names = names.iter().filter_map(Value::as_str);
        all.extend(names.map(|it| format!("consumer.{stream}.{it}")));
        all.insert(format!("stream.{stream}"));
    }
    all
}

/// Does the same with each of many, several at a time: most of the work is waiting.
pub(crate) fn each<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    const AT_A_TIME: usize = 12;
    let cases: Mutex<VecDeque<T>> = Mutex::new(cases.into_iter().collect());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = next() {
                    check(case);
                }
            });
        }
    });
}

/// What may be lost of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// It was not carried out.
    Request,
    /// It was carried out.
    Reply,
}

/// Does something at the n-th request of the API, or at its reply.
pub(crate) fn at(
    proxy: &Proxy,
    number: usize,
    loss: Loss,
    act: impl FnOnce() -> Then + Send + 'static,
) {
    match loss {
        Loss::Request => proxy.before(API, number, act),
        Loss::Reply => proxy.after(API, number, act),
    }
}
