//! A server of one release, and the streams of the cases on it: made and changed as jsplan plans
//! it, filled and read by a client that knows nothing of jsplan.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;
use jsplan::{
    io::{
        clock::until,
        nats::{self, Session},
        run,
        server::{JETSTREAM, Server},
    },
    plan::{Ask, Plan, plan},
    schema::Release,
    spec::{self, Connection, Desired},
    state::{Origin, Recorded, State, journal::Done},
};
use serde_json::{Value, json};

use crate::draw::{Case, Message, Reader};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two connections to one server.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) release: Release,
    client: Client,
}

/// Starts a server, and asks.
pub(crate) fn on<T>(program: &Path, ask: impl AsyncFnOnce(&Bench) -> T) -> T {
    let server = Server::start(program, JETSTREAM).expect("a nats-server starts");
    run(async {
        let connection =
            Connection { urls: vec![server.url().to_owned()], ..Connection::default() };
        let session = nats::connect(&connection, "forecast").await.expect("a connection");
        let release = session.server().await.expect("it says what it is").release;
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let bench = Bench { session, release, client };
        // Where an account's last stream goes, the next one may not come: its folder goes, too.
        let kept = json!({ "name": "KEPT", "subjects": ["KEPT"] });
        bench.done("STREAM.CREATE.KEPT", &kept).await;
        ask(&bench).await
    })
}

impl Bench {
    /// The reply to a request behind `$JS.API`.
    pub(crate) async fn ask(&self, subject: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.client.request(format!("$JS.API.{subject}"), body.into()).await;
        serde_json::from_slice(&reply.expect("a reply").payload).expect("it is JSON")
    }

    async fn done(&self, subject: &str, body: &Value) {
        let reply = self.ask(subject, body).await;
        assert!(reply["error"].is_null(), "{subject} {body}: {reply}");
    }

    /// What the server says of a stream.
    pub(crate) async fn stream(&self, name: &str) -> Value {
        self.ask(&format!("STREAM.INFO.{name}"), &Value::Null).await
    }

    /// How many messages a stream holds.
    pub(crate) async fn messages(&self, name: &str) -> u64 {
        self.stream(name).await["state"]["messages"].as_u64().expect("INFO counts messages")
    }

    /// What jsplan plans for a declaration, every question answered.
    pub(crate) async fn plan(&self, desired: &Desired, state: &State) -> Plan {
        let mut live = self.session.observe(&BTreeSet::new()).await.expect("it is read");
        loop {
            let plan = plan(desired, state, &live, &Ask::default());
            let new = plan.questions.iter().filter(|it| !live.tallies.contains_key(*it));
            let new: Vec<_> = new.cloned().collect();
            if new.is_empty() {
                return plan;
            }
            live.tallies.extend(self.session.tallies(new).await);
        }
    }

    /// Sends what a plan says, and nothing else.
    pub(crate) async fn send(&self, plan: &Plan) -> Result<(), String> {
        for call in plan.steps.iter().flat_map(|it| &it.calls) {
            let body = if call.body.is_null() { String::new() } else { call.body.to_string() };
            let sent = self.session.request(&call.subject, body.into_bytes(), call.level).await;
            sent.map_err(|error| format!("{} {}: {error}", call.subject, call.body))?;
        }
        Ok(())
    }

    /// The state as it is after a declaration was applied.
    pub(crate) async fn record(&self, desired: &Desired, state: &mut State) {
        for (address, wanted) in &desired.resources {
            let is = self.session.read(address).await.expect("it is read").expect("it is there");
            let recorded = Recorded {
                created: is.created,
                origin: Origin::Created,
                prevent_destroy: wanted.prevent_destroy,
                spec_sha256: wanted.sha256.clone(),
                live_sha256: is.sha256,
                config: is.raw,
            };
            state.take(Done { step: 1, address: address.clone(), recorded: Some(recorded) });
        }
    }

    /// Publishes, and waits until all of it is stored.
    pub(crate) async fn publish(&self, stream: &str, messages: &[Message]) {
        let Some((last, rest)) = messages.split_last() else { return };
        let subject = |it: &Message| format!("{stream}.{}", it.subject);
        for it in rest {
            let mut headers = HeaderMap::new();
            it.header.iter().for_each(|it| headers.insert("Any", "h".repeat(*it)));
            let payload = vec![b'x'; it.payload].into();
            let sent = match headers.is_empty() {
                true => self.client.publish(subject(it), payload).await,
                false => self.client.publish_with_headers(subject(it), headers, payload).await,
            };
            sent.expect("it is sent");
        }
        let answer = self.client.request(subject(last), vec![b'x'; last.payload].into()).await;
        let answer = answer.expect("it is stored").payload;
        let answer: Value = serde_json::from_slice(&answer).expect("it is JSON");
        assert!(answer["error"].is_null(), "{stream}: {answer}");
    }

    /// Deletes single messages, those of them that there are.
    pub(crate) async fn delete(&self, stream: &str, sequences: &[u64]) {
        for sequence in sequences {
            let body = json!({ "seq": sequence, "no_erase": true });
            self.ask(&format!("STREAM.MSG.DELETE.{stream}"), &body).await;
        }
    }

    /// Lets a consumer take what it is to be given, and acknowledge its share; gives the subjects.
    pub(crate) async fn read(&self, stream: &str, reader: &Reader) -> Vec<String> {
        let Reader { name, given, acked, ack, .. } = reader;
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.expect("a subscription");
        if *given > 0 {
            let ask = json!({ "batch": given, "no_wait": true }).to_string();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
            let sent = self.client.publish_with_reply(subject, inbox, ask.into()).await;
            sent.expect("it is sent");
        }
        let mut found = Vec::new();
        while found.len() < *given {
            let message = answers.next().await.expect("an answer");
            let Some(reply) = message.reply else { break };
            found.push(message.subject.to_string());
            if *ack != "none" && *acked > 0 && found.len() % acked == 0 {
                self.client.request(reply, "+ACK".into()).await.expect("it takes note");
            }
        }
        found
    }

    /// Waits until the server's clock is so far behind the last message of a stream.
    pub(crate) async fn age(&self, stream: &str, by: Duration) {
        let old = async || {
            let info = self.stream(stream).await;
            let at = |it: &Value| it.as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
            let (now, last) = (at(&info["ts"]), at(&info["state"]["last_ts"]));
            now.zip(last).is_some_and(|(now, last)| now.duration_since(last).unsigned_abs() > by)
        };
        let deadline = Instant::now() + PATIENCE;
        assert!(until(deadline, Duration::from_millis(20), old).await, "time passes");
    }

    /// Takes the streams of some cases away again.
    pub(crate) async fn clear(&self, cases: &[Case]) {
        for case in cases {
            self.done(&format!("STREAM.DELETE.{}", case.name), &Value::Null).await;
        }
    }
}

/// The declaration of one stream and its consumers.
pub(crate) struct Declaration<'a> {
    pub(crate) name: &'a str,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// Name, filters and policy of each consumer.
    pub(crate) consumers: Vec<(&'a str, Vec<&'static str>, &'a str)>,
}

impl Declaration<'_> {
    pub(crate) fn desired(&self) -> Desired {
        let name = self.name;
        let mut text = format!("[server]\nurl = \"nats://127.0.0.1:4222\"\n[streams.{name}]\n");
        text += &format!("subjects = [\"{name}.>\"]\nprevent_destroy = false\n");
        for (field, value) in &self.fields {
            text += &format!("{field} = {value}\n");
        }
        for (consumer, filters, ack) in &self.consumers {
            text += &format!("[streams.{name}.consumers.{consumer}]\nack_policy = \"{ack}\"\n");
            let filters: Vec<_> = filters.iter().map(|it| format!("{name}.{it}")).collect();
            text += &format!("filter_subjects = {filters:?}\nprevent_destroy = false\n");
        }
        let loaded = spec::load("environments/test.toml", |_| Ok(text.clone()));
        loaded.desired.unwrap_or_else(|| panic!("{:?}\n{text}", loaded.findings))
    }
}
