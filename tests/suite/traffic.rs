//! Changes while somebody publishes as fast as it goes, and somebody else reads: what is acknowledged
//! is there, and what is there is delivered.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use async_nats::{Client, RequestErrorKind};
use futures_util::StreamExt as _;
use jsplan::io::{clock::until, run, server::Server};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{
    client::{ask, consumer, messages},
    project::{Project, wait_for},
    server::server,
};

/// Clients of one server, at work beside what a test does.
struct Traffic<'a> {
    server: &'a Server,
    deadline: Instant,
    /// The test is done with what it does.
    over: AtomicBool,
    /// Nothing more is published.
    quiet: AtomicBool,
    /// Messages that a stream acknowledged.
    taken: AtomicU64,
    /// Messages that one refused.
    refused: AtomicU64,
    /// Messages that the reader has done with.
    read: AtomicU64,
}

impl<'a> Traffic<'a> {
    fn on(server: &'a Server) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        let (over, quiet) = (AtomicBool::new(false), AtomicBool::new(false));
        let [taken, refused, read] = [0; 3].map(AtomicU64::new);
        Self { server, deadline, over, quiet, taken, refused, read }
    }

    /// Publishes on `s.a` while something is done; gives how many messages were acknowledged.
    fn during(&self, act: impl FnOnce()) -> u64 {
        self.ahead(u64::MAX, act)
    }

    /// The same, while no more than so many are unread.
    fn ahead(&self, most: u64, act: impl FnOnce()) -> u64 {
        thread::scope(|it| {
            it.spawn(|| run(self.publish(most)));
            act();
            self.over.store(true, SeqCst);
        });
        self.taken.load(SeqCst)
    }

    /// The same, with a reader who goes on until all was delivered; gives the sequences too.
    fn read_during(&self, act: impl FnOnce()) -> (u64, BTreeSet<u64>) {
        thread::scope(|it| {
            let reader = it.spawn(|| run(self.read()));
            let taken = self.ahead(500, act);
            (taken, reader.join().expect("it reads"))
        })
    }

    /// Waits until so many more are acknowledged.
    fn takes(&self, more: u64) {
        let before = self.taken.load(SeqCst);
        wait_for("messages are acknowledged", || self.taken.load(SeqCst) >= before + more);
    }

    async fn client(&self) -> Client {
        async_nats::connect(self.server.url()).await.expect("a connection")
    }

    async fn publish(&self, ahead: u64) {
        let client = self.client().await;
        let over = || self.over.load(SeqCst);
        let unread = || self.taken.load(SeqCst).saturating_sub(self.read.load(SeqCst));
        while !over() && Instant::now() < self.deadline {
            let pace = Duration::from_millis(1);
            until(self.deadline, pace, async || over() || unread() < ahead).await;
            match client.request("s.a", "message".into()).await {
                Ok(answer) => {
                    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
                    let number =
                        if answer["error"].is_null() { &self.taken } else { &self.refused };
                    number.fetch_add(1, SeqCst);
                }
                Err(error) => assert_eq!(error.kind(), RequestErrorKind::NoResponders),
            }
        }
        self.quiet.store(true, SeqCst);
    }

    /// Pulls from consumer `C` of `S` and acknowledges, whether or not it is there at the moment.
    /// What it gives up on at the first attempt has to come again.
    async fn read(&self) -> BTreeSet<u64> {
        let client = self.client().await;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.expect("a subscription");
        let (mut found, mut given_up) = (BTreeSet::new(), BTreeSet::new());
        let is_done =
            || self.quiet.load(SeqCst) && self.read.load(SeqCst) >= self.taken.load(SeqCst);
        while !is_done() && Instant::now() < self.deadline {
            let (subject, ask) =
                ("$JS.API.CONSUMER.MSG.NEXT.S.C", r#"{"batch":50,"no_wait":true}"#);
            let sent = client.publish_with_reply(subject, inbox.clone(), ask.into());
            sent.await.expect("it is sent");
            let mut replies = Vec::new();
            // Without anywhere to acknowledge it says that there is nothing, or nobody.
            while let Ok(Some(answer)) = timeout(Duration::from_millis(100), answers.next()).await
                && let Some(reply) = answer.reply
            {
                replies.push(reply);
            }
            for reply in replies {
                let sequence = reply.split('.').nth(5).and_then(|it| it.parse().ok());
                let sequence: u64 = sequence.expect("an acknowledgement names the sequence");
                if sequence.is_multiple_of(10) && given_up.insert(sequence) {
                    continue;
                }
                found.insert(sequence);
                client.publish(reply, "+ACK".into()).await.expect("it is sent");
            }
            client.flush().await.expect("it is sent");
            self.read.store(found.len() as u64, SeqCst);
        }
        found
    }
}

fn spec(stream: &str, consumers: &[(&str, &str)]) -> String {
    let mut spec = format!("[streams.S]\nsubjects = [\"s.>\"]\n{stream}\n");
    for (name, more) in consumers {
        spec += &format!("[streams.S.consumers.{name}]\nack_policy = \"explicit\"\n{more}\n");
    }
    spec
}

#[test]
fn a_consumer_that_is_made_again_while_others_publish_and_read_skips_nothing() {
    for retention in ["limits", "interest", "workqueue"] {
        let server = server();
        let stream = format!("retention = \"{retention}\"");
        let waiting =
            |it: u64| spec(&stream, &[("C", &format!("ack_wait = \"1s\"\nmax_waiting = {it}"))]);
        let project = Project::new(&server, &waiting(500));
        project.apply();
        let traffic = Traffic::on(&server);
        let (taken, read) = traffic.read_during(|| {
            for round in 1..=5 {
                traffic.takes(100);
                project.write_spec(&waiting(500 + round));
                // How many come again hangs on the moment.
                let again = ["redelivery=consumer.S.C:unknown"];
                project.apply_allowing(&again).says("1 added, 0 changed, 1 destroyed");
                assert_eq!(consumer(&server, "S", "C")["config"]["max_waiting"], 500 + round);
            }
            traffic.takes(100);
        });
        let skipped: Vec<_> = (1..=taken).filter(|it| !read.contains(it)).collect();
        assert!(skipped.is_empty(), "{retention}: {skipped:?} of {taken} are skipped");
        let kept = if retention == "limits" { taken } else { 0 };
        wait_for("what is acknowledged goes", || messages(&server, "S") == kept);
    }
}

#[test]
fn an_interest_stream_that_is_made_while_others_publish_stores_all_that_it_acknowledges() {
    let server = server();
    let made = spec("retention = \"interest\"", &[("A", ""), ("B", "")]);
    for round in 0..5 {
        let project = Project::new(&server, &made);
        let traffic = Traffic::on(&server);
        let taken = traffic.during(|| {
            project.apply();
            traffic.takes(100);
        });
        assert_eq!(messages(&server, "S"), taken, "round {round}: what is acknowledged is there");
        for name in ["A", "B"] {
            assert_eq!(consumer(&server, "S", name)["num_pending"], taken, "round {round}");
        }
        project.plans_empty();
        ask(&server, "STREAM.DELETE.S", &Value::Null);
    }
}

#[test]
fn a_stream_that_turns_to_interest_while_others_publish_keeps_all_for_consumers_made_with_it() {
    let server = server();
    let project = Project::new(&server, &spec("", &[]));
    project.apply();
    let traffic = Traffic::on(&server);
    let taken = traffic.during(|| {
        traffic.takes(100);
        project.write_spec(&spec("retention = \"interest\"", &[("A", ""), ("B", "")]));
        project.apply();
        traffic.takes(100);
    });
    assert_eq!(messages(&server, "S"), taken);
    for name in ["A", "B"] {
        assert_eq!(consumer(&server, "S", name)["num_pending"], taken);
    }
}

#[test]
fn a_limit_that_refuses_loses_nothing_while_others_publish() {
    let server = server();
    let project = Project::new(&server, &spec("", &[]));
    project.apply();
    let traffic = Traffic::on(&server);
    let taken = traffic.during(|| {
        traffic.takes(100);
        project.write_spec(&spec("max_msgs = 10\ndiscard = \"new\"", &[]));
        project.apply();
        wait_for("new ones are refused", || traffic.refused.load(SeqCst) > 100);
        project.write_spec(&spec("discard = \"new\"", &[]));
        project.apply();
        traffic.takes(100);
    });
    assert_eq!(messages(&server, "S"), taken);
}
