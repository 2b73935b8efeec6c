//! The floor: the same requests over one blocking socket, and nothing else.
//!
//! A reply is parsed only as far as the next requests need it: names and consumer counts.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

/// A NATS connection that knows only PUB and MSG.
pub(crate) struct Socket {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    asked: u64,
}

impl Socket {
    /// Connects and subscribes to its own replies.
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes the option");
        let writer = stream.try_clone().expect("a socket can be cloned");
        let mut socket =
            Self { reader: BufReader::with_capacity(1 << 18, stream), writer, asked: 0 };
        socket.line();
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"floor\",\"headers\":true,\
                     \"no_responders\":true}\r\nSUB _F.* 1\r\nPING\r\n";
        socket.writer.write_all(hello.as_bytes()).expect("the socket is open");
        while socket.line() != "PONG" {}
        socket
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("the socket is open");
        line.trim_end().to_owned()
    }

    /// Sends requests without waiting.
    fn send(&mut self, requests: &[(String, String)]) {
        let mut batch = String::new();
        for (subject, body) in requests {
            self.asked += 1;
            batch.push_str(&format!(
                "PUB {subject} _F.{} {}\r\n{body}\r\n",
                self.asked,
                body.len()
            ));
        }
        self.writer.write_all(batch.as_bytes()).expect("the socket is open");
    }

    /// The payload of the next reply, whichever it is.
    fn receive(&mut self) -> Vec<u8> {
        loop {
            let line = self.line();
            if line == "PING" {
                self.writer.write_all(b"PONG\r\n").expect("the socket is open");
                continue;
            }
            let Some(message) = line.strip_prefix("MSG ") else { continue };
            let length: usize = message
                .rsplit(' ')
                .next()
                .and_then(|it| it.parse().ok())
                .expect("MSG has a length");
            let mut payload = vec![0; length + 2];
            self.reader.read_exact(&mut payload).expect("the payload follows");
            payload.truncate(length);
            return payload;
        }
    }

    /// Everything a plan reads: INFO and NAMES, the LIST pages, a CONSUMER.LIST per stream with
    /// consumers; `window` requests in flight. Returns the bytes read.
    pub(crate) fn read_all(&mut self, streams: usize, window: usize) -> usize {
        let page = |it: usize| format!("{{\"offset\":{it}}}");
        let mut bytes = 0;
        let mut first = vec![("$JS.API.INFO".to_owned(), String::new())];
        first.extend(
            (0..streams.div_ceil(1024).max(1))
                .map(|it| ("$JS.API.STREAM.NAMES".to_owned(), page(it * 1024))),
        );
        bytes += self.exchange(first.into(), window, |_| Vec::new());
        let lists: VecDeque<_> = (0..streams.div_ceil(256))
            .map(|it| ("$JS.API.STREAM.LIST".to_owned(), page(it * 256)))
            .collect();
        bytes + self.exchange(lists, window, consumers_of)
    }

    /// Sends with a bounded window; each reply may ask for more.
    fn exchange(
        &mut self,
        mut waiting: VecDeque<(String, String)>,
        window: usize,
        more: impl Fn(&[u8]) -> Vec<(String, String)>,
    ) -> usize {
        let (mut in_flight, mut bytes) = (0, 0);
        while in_flight > 0 || !waiting.is_empty() {
            let room = (window - in_flight).min(waiting.len());
            let batch: Vec<_> = waiting.drain(..room).collect();
            in_flight += batch.len();
            self.send(&batch);
            let payload = self.receive();
            in_flight -= 1;
            bytes += payload.len();
            waiting.extend(more(&payload));
        }
        bytes
    }
}

/// The CONSUMER.LIST requests that a STREAM.LIST page asks for; found by search, not by parsing.
fn consumers_of(page: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(page).unwrap_or_default();
    if !text.contains("stream_list_response") {
        return Vec::new();
    }
    let mut requests = Vec::new();
    for entry in text.split("{\"config\":{\"name\":\"").skip(1) {
        let name = entry.split('"').next().unwrap_or_default();
        let count = entry.split("\"consumer_count\":").nth(1).unwrap_or_default();
        let count: usize =
            count.split([',', '}']).next().and_then(|it| it.parse().ok()).unwrap_or_default();
        let subject = format!("$JS.API.CONSUMER.LIST.{name}");
        let pages = (0..count.div_ceil(256)).map(|it| format!("{{\"offset\":{}}}", it * 256));
        requests.extend(pages.map(|it| (subject.clone(), it)));
    }
    requests
}
