//! A client that knows nothing of jsplan: what it sees is the truth to compare with.

use std::time::{Duration, Instant};

use jsplan::io::clock::until;
use serde_json::{Value, json};

/// A connection that sends raw requests to the API.
pub(crate) struct Client(async_nats::Client);

impl Client {
    /// Connects without credentials.
    pub(crate) async fn connect(url: &str) -> Self {
        Self(async_nats::connect(url).await.expect("a connection"))
    }

    /// The reply to a request behind `$JS.API`.
    pub(crate) async fn ask(&self, subject: &str, body: Value) -> Value {
        serde_json::from_slice(&self.raw(subject, body).await).expect("JSON")
    }

    /// The bytes of that reply.
    pub(crate) async fn raw(&self, subject: &str, body: Value) -> Vec<u8> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let subject = format!("$JS.API.{subject}");
        let reply = self.0.request(subject, body.into()).await.expect("a reply");
        reply.payload.to_vec()
    }

    /// Makes a stream in memory that takes the subject of its own name.
    pub(crate) async fn stream(&self, name: &str) {
        let body = json!({ "name": name, "subjects": [name], "storage": "memory" });
        self.done(&format!("STREAM.CREATE.{name}"), body).await;
    }

    /// Makes a durable pull consumer.
    pub(crate) async fn consumer(&self, stream: &str, name: &str) {
        let config = json!({ "durable_name": name, "ack_policy": "explicit" });
        let body = json!({ "stream_name": stream, "config": config });
        self.done(&format!("CONSUMER.CREATE.{stream}.{name}"), body).await;
    }

    /// Sends a request until it succeeds, as one must where a leader is still being elected.
    pub(crate) async fn at_last(&self, subject: &str, body: Value) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let done = until(deadline, Duration::from_millis(100), async || {
            let body = body.to_string().into_bytes();
            let reply = self.0.request(format!("$JS.API.{subject}"), body.into()).await;
            let reply = reply.ok().and_then(|it| serde_json::from_slice::<Value>(&it.payload).ok());
            reply.is_some_and(|it| it.get("error").is_none())
        });
        assert!(done.await, "{subject}");
    }

    /// Sends a request that must succeed.
    pub(crate) async fn done(&self, subject: &str, body: Value) -> Value {
        let reply = self.ask(subject, body).await;
        assert!(reply.get("error").is_none(), "{subject}: {reply}");
        reply
    }

    /// How many requests the API has taken, this one included.
    pub(crate) async fn requests(&self) -> u64 {
        self.ask("INFO", Value::Null).await["api"]["total"].as_u64().expect("a number")
    }
}
