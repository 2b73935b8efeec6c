//! A client that knows nothing of jsplan: what it sees is the truth to compare with.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jsplan::io::{clock::until, run, server::Server};
use serde_json::{Value, json};

/// A connection that sends raw requests to the API.
pub(crate) struct Client(async_nats::Client);

impl Client {
    /// Connects without credentials to one of these addresses, with commas between them.
    pub(crate) async fn connect(urls: &str) -> Self {
        let urls: Vec<_> = urls.split(',').collect();
        Self(async_nats::connect(urls).await.expect("a connection"))
    }

    /// The reply to a request behind `$JS.API`.
    pub(crate) async fn ask(&self, subject: &str, body: &Value) -> Value {
        serde_json::from_slice(&self.raw(subject, body).await).expect("JSON")
    }

    /// The bytes of that reply.
    pub(crate) async fn raw(&self, subject: &str, body: &Value) -> Vec<u8> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.0.request(format!("$JS.API.{subject}"), body.into()).await;
        reply.expect("a reply").payload.to_vec()
    }

    /// Makes a stream in memory that takes the subject of its own name.
    pub(crate) async fn stream(&self, name: &str) {
        let body = json!({ "name": name, "subjects": [name], "storage": "memory" });
        self.done(&format!("STREAM.CREATE.{name}"), &body).await;
    }

    /// Makes a durable pull consumer.
    pub(crate) async fn consumer(&self, stream: &str, name: &str) {
        let config = json!({ "durable_name": name, "ack_policy": "explicit" });
        let body = json!({ "stream_name": stream, "config": config });
        self.done(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
    }

    /// Sends a request until it succeeds, as one must where a leader is still being elected.
    pub(crate) async fn at_last(&self, subject: &str, body: &Value) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let done = until(deadline, Duration::from_millis(100), async || {
            let request = self.0.request(format!("$JS.API.{subject}"), body.to_string().into());
            let reply = request.await;
            let reply = reply.ok().and_then(|it| serde_json::from_slice::<Value>(&it.payload).ok());
            reply.is_some_and(|it| it.get("error").is_none())
        });
        assert!(done.await, "{subject}");
    }

    /// Sends a request that must succeed.
    pub(crate) async fn done(&self, subject: &str, body: &Value) -> Value {
        let reply = self.ask(subject, body).await;
        assert!(reply.get("error").is_none(), "{subject}: {reply}");
        reply
    }

    /// Publishes a message with a payload of its own, and waits until it is stored.
    pub(crate) async fn raw_publish(&self, subject: &str) {
        let answer = self.0.request(subject.to_owned(), format!("on {subject}").into()).await;
        answer.expect("it is stored");
    }

    /// How many requests the API has taken, this one included.
    pub(crate) async fn requests(&self) -> u64 {
        self.ask("INFO", &Value::Null).await["api"]["total"].as_u64().expect("a number")
    }
}

/// The reply to one request behind `$JS.API`, on a connection of its own.
pub(crate) fn ask(server: &Server, subject: &str, body: &Value) -> Value {
    run(async { Client::connect(server.url()).await.ask(subject, body).await })
}

/// The same where nobody may answer for a moment, as while a leader is elected: null then.
pub(crate) fn ask_once(server: &Server, subject: &str) -> Value {
    let wait = Duration::from_secs(2);
    run(async {
        let options = async_nats::ConnectOptions::new().request_timeout(Some(wait));
        let client = options.connect(server.url()).await.ok()?;
        let reply = client.request(format!("$JS.API.{subject}"), "".into()).await.ok()?;
        serde_json::from_slice(&reply.payload).ok()
    })
    .unwrap_or_default()
}

/// Whether the last message of a stream, by its INFO, was stored more than 200 ms ago.
pub(crate) fn is_old(info: &Value) -> bool {
    let at = |it: &Value| it.as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
    let last = at(&info["state"]["last_ts"]).expect("a time");
    at(&info["ts"]).expect("a time").duration_since(last).as_millis() > 200
}

/// The live configuration of a stream.
pub(crate) fn stream(server: &Server, name: &str) -> Value {
    ask(server, &format!("STREAM.INFO.{name}"), &Value::Null)["config"].clone()
}

/// Changes a stream as another client would: the live configuration with some fields replaced.
pub(crate) fn meddle(server: &Server, name: &str, fields: &Value) {
    let mut config = stream(server, name);
    for (field, value) in fields.as_object().expect("fields are an object") {
        config[field] = value.clone();
    }
    done(server, &format!("STREAM.UPDATE.{name}"), &config);
}

/// Makes a stream as another client would.
pub(crate) fn create(server: &Server, config: &Value) {
    let name = config["name"].as_str().expect("a stream has a name");
    done(server, &format!("STREAM.CREATE.{name}"), config);
}

/// Publishes, each message acknowledged.
pub(crate) fn publish(server: &Server, subject: &str, count: u64) {
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        for number in 0..count {
            let payload = format!("message {number}");
            let answer = client.request(subject.to_owned(), payload.into()).await;
            let answer = answer.expect("the stream acknowledges").payload;
            let answer: Value = serde_json::from_slice(&answer).expect("it is JSON");
            assert!(answer["error"].is_null(), "{answer}");
        }
    });
}

/// Whether any stream takes what is published there.
pub(crate) fn is_taken(server: &Server, subject: &str) -> bool {
    use async_nats::RequestErrorKind::NoResponders;
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        match client.request(subject.to_owned(), "".into()).await {
            Ok(_) => true,
            Err(error) if error.kind() == NoResponders => false,
            Err(error) => panic!("{error}"),
        }
    })
}

/// What the server did for its clients while something went on: each request with its answer.
pub(crate) fn audited(server: &Server, act: impl FnOnce() + Send) -> Vec<(String, Value)> {
    const LAST: &str = "$JS.API.STREAM.INFO.THE_LAST";
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        let mut told = client.subscribe("$JS.EVENT.ADVISORY.API").await.expect("a subscription");
        client.flush().await.expect("the server knows of it");
        // On a thread of its own, since it may well run what waits for answers itself.
        std::thread::scope(|it| drop(it.spawn(act)));
        client.request(LAST, "".into()).await.expect("an answer");
        let mut found = Vec::new();
        while let Some(message) = told.next().await {
            let audit: Value = serde_json::from_slice(&message.payload).expect("it is JSON");
            let subject = audit["subject"].as_str().expect("a subject").to_owned();
            if subject == LAST {
                break;
            }
            let response = audit["response"].as_str().expect("an answer");
            found.push((subject, serde_json::from_str(response).expect("it is JSON")));
        }
        found
    })
}

/// How many messages a stream holds.
pub(crate) fn messages(server: &Server, name: &str) -> u64 {
    let info = ask(server, &format!("STREAM.INFO.{name}"), &Value::Null);
    info["state"]["messages"].as_u64().expect("INFO counts messages")
}

/// The names of the live streams.
pub(crate) fn streams(server: &Server) -> Vec<String> {
    let answer = ask(server, "STREAM.NAMES", &json!({}));
    let names = answer["streams"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect()
}

/// Sends a request that must succeed, on a connection of its own.
pub(crate) fn done(server: &Server, subject: &str, body: &Value) {
    run(async { Client::connect(server.url()).await.done(subject, body).await });
}

/// One delivery to a pull consumer.
pub(crate) struct Delivery {
    /// The sequence of the message in its stream.
    pub(crate) sequence: u64,
    /// Where its acknowledgement goes.
    reply: String,
}

impl Delivery {
    /// `$JS.ACK.stream.consumer.delivered.stream_seq.…`
    fn at(reply: &str) -> Self {
        let sequence = reply.split('.').nth(5).and_then(|it| it.parse().ok());
        let sequence = sequence.expect("an acknowledgement names the sequence");
        Self { sequence, reply: reply.to_owned() }
    }
}

/// Pulls up to so many messages that are there.
pub(crate) fn pull(server: &Server, stream: &str, consumer: &str, most: usize) -> Vec<Delivery> {
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        // A message comes under its own subject, so that it has to have an inbox of its own.
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.expect("a subscription");
        let mut found = Vec::new();
        for _ in 0..most {
            let ask = r#"{"batch":1,"no_wait":true}"#;
            let sent = client.publish_with_reply(subject.clone(), inbox.clone(), ask.into());
            sent.await.expect("it is sent");
            let message = answers.next().await.expect("an answer");
            // An answer without anywhere to acknowledge it says that there is nothing.
            let Some(reply) = message.reply else { break };
            found.push(Delivery::at(&reply));
        }
        found
    })
}

/// Listens where a consumer pushes, until so many messages have come.
pub(crate) fn listen(server: &Server, subject: &str, count: usize) -> Vec<Delivery> {
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        let mut pushed = client.subscribe(subject.to_owned()).await.expect("a subscription");
        let mut found = Vec::new();
        while found.len() < count {
            let message = pushed.next().await.expect("a message");
            // A heartbeat has nowhere to be acknowledged.
            found.extend(message.reply.map(|it| Delivery::at(&it)));
        }
        found
    })
}

/// Acknowledges, and waits until each is taken note of.
pub(crate) fn acknowledge<'a>(server: &Server, deliveries: impl IntoIterator<Item = &'a Delivery>) {
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        for delivery in deliveries {
            let taken = client.request(delivery.reply.clone(), "+ACK".into()).await;
            taken.expect("the server takes note");
        }
    });
}

/// What the API says of a consumer.
pub(crate) fn consumer(server: &Server, stream: &str, name: &str) -> Value {
    ask(server, &format!("CONSUMER.INFO.{stream}.{name}"), &Value::Null)
}

/// Makes a consumer as another client would.
pub(crate) fn create_consumer(server: &Server, stream: &str, config: &Value) {
    let name = config["name"].as_str().expect("a consumer has a name");
    let body = json!({ "stream_name": stream, "config": config });
    done(server, &format!("CONSUMER.CREATE.{stream}.{name}"), &body);
}

/// Publishes messages that have a time to live.
pub(crate) fn publish_mortal(server: &Server, subject: &str, count: u64, life: &str) {
    run(async {
        let Client(client) = Client::connect(server.url()).await;
        for _ in 0..count {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-TTL", life);
            let answer = client.request_with_headers(subject.to_owned(), headers, "x".into()).await;
            let answer: Value =
                serde_json::from_slice(&answer.expect("an answer").payload).expect("it is JSON");
            assert!(answer["error"].is_null(), "{answer}");
        }
    });
}
