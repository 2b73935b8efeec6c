//! Two streams of which one copies the other, and what is published to them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use async_nats::HeaderMap;
use jsplan::{
    io::{
        migrate::{Error, verify},
        nats::{Session, connect},
        run,
        server::Server,
    },
    migration::{
        Mapping,
        proof::{Copying, Pair},
    },
    spec::Connection,
    state::ledger::Proof,
};
use serde_json::{Value, json};

use super::{
    client::{create, messages},
    project::wait_for,
    server::place,
};

/// A connection as jsplan makes it.
pub(crate) async fn session(urls: &str) -> Session {
    let urls = urls.split(',').map(str::to_owned).collect();
    let connection = Connection { urls, ..Connection::default() };
    connect(&connection, "proof").await.expect("a connection")
}

/// `A` and its copy `B`.
pub(crate) fn pair(copying: Copying, mapping: &[Mapping]) -> Pair<'_> {
    Pair { from: "A", to: "B", copying, mapping }
}

pub(crate) fn mapping(pairs: &[(&str, &str)]) -> Vec<Mapping> {
    let of = |it: &(&str, &str)| Mapping { src: it.0.to_owned(), dest: it.1.to_owned() };
    pairs.iter().map(of).collect()
}

/// Makes `A`, which takes `a.>`, with some settings of its own.
pub(crate) fn origin(server: &Server, more: &Value) {
    let mut config = json!({ "name": "A", "subjects": ["a.>"], "storage": "file" });
    merge(&mut config, more);
    create(server, &config);
}

/// Makes `B`, which follows `A`.
pub(crate) fn follow(server: &Server, mapping: &[Mapping], more: &Value) {
    let transforms: Vec<_> =
        mapping.iter().map(|it| json!({ "src": it.src, "dest": it.dest })).collect();
    let source = json!({ "name": "A", "subject_transforms": transforms });
    let mut config = json!({ "name": "B", "storage": "file", "sources": [source] });
    merge(&mut config, more);
    create(server, &config);
}

fn merge(config: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
}

/// A message to publish.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) subject: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Vec<u8>,
}

/// Publishes without waiting for each, and waits until the stream has them all.
pub(crate) fn send(server: &Server, stream: &str, sent: &[Sent]) {
    let before = messages(server, stream);
    run(async {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        for it in sent {
            let mut headers = HeaderMap::new();
            it.headers
                .iter()
                .for_each(|(name, value)| headers.append(name.as_str(), value.as_str()));
            let payload = it.payload.clone().into();
            let sent = client.publish_with_headers(it.subject.clone(), headers, payload).await;
            sent.expect("it is sent");
        }
        client.flush().await.expect("it is sent");
    });
    wait_for("they are stored", || messages(server, stream) == before + sent.len() as u64);
}

/// Simple messages, told apart by their numbers.
pub(crate) fn numbered(subject: &str, numbers: std::ops::Range<u64>) -> Vec<Sent> {
    let one = |it: u64| Sent {
        subject: format!("{subject}.{}", it % 7),
        headers: Vec::new(),
        payload: format!("message {it}").into_bytes(),
    };
    numbers.map(one).collect()
}

/// Publishes bytes that no client would: a block of headers as it is given.
pub(crate) fn send_raw(server: &Server, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut socket = TcpStream::connect(place(server)).expect("it listens");
    let mut text = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n".to_vec();
    let all = headers.len() + payload.len();
    text.extend(format!("HPUB {subject} {} {all}\r\n", headers.len()).bytes());
    text.extend([headers, payload, b"\r\nPING\r\n"].concat());
    socket.write_all(&text).expect("it takes them");
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    while !heard.windows(4).any(|it| it == b"PONG") {
        let length = socket.read(&mut part).expect("it answers");
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&part[..length]);
    }
}

/// Verifies on a connection of its own, from a proof on.
pub(crate) fn verified(server: &Server, pair: Pair<'_>, since: &Proof) -> Result<Proof, Error> {
    run(async {
        let session = session(server.url()).await;
        verify::verify(&session, &pair, since, &mut |_| {}).await
    })
}
