//! A client that knows nothing of jsplan: what it sees is the truth to compare with.

use serde_json::{Value, json};

/// A connection that sends raw requests to the API.
pub struct Client(async_nats::Client);

impl Client {
    /// Connects without credentials.
    pub async fn connect(url: &str) -> Self {
        Self(async_nats::connect(url).await.expect("a connection"))
    }

    /// The reply to a request behind `$JS.API`.
    pub async fn ask(&self, subject: &str, body: Value) -> Value {
        serde_json::from_slice(&self.raw(subject, body).await).expect("JSON")
    }

    /// The bytes of that reply.
    pub async fn raw(&self, subject: &str, body: Value) -> Vec<u8> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let subject = format!("$JS.API.{subject}");
        let reply = self.0.request(subject, body.into()).await.expect("a reply");
        reply.payload.to_vec()
    }

    /// Makes a stream in memory that takes the subject of its own name.
    pub async fn stream(&self, name: &str) {
        let body = json!({ "name": name, "subjects": [name], "storage": "memory" });
        self.done(&format!("STREAM.CREATE.{name}"), body).await;
    }

    /// Makes a durable pull consumer.
    pub async fn consumer(&self, stream: &str, name: &str) {
        let config = json!({ "durable_name": name, "ack_policy": "explicit" });
        let body = json!({ "stream_name": stream, "config": config });
        self.done(&format!("CONSUMER.CREATE.{stream}.{name}"), body).await;
    }

    /// Sends a request that must succeed.
    pub async fn done(&self, subject: &str, body: Value) -> Value {
        let reply = self.ask(subject, body).await;
        assert!(reply.get("error").is_none(), "{subject}: {reply}");
        reply
    }

    /// How many requests the API has taken, this one included.
    pub async fn requests(&self) -> u64 {
        self.ask("INFO", Value::Null).await["api"]["total"].as_u64().expect("a number")
    }
}
