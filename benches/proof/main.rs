//! The proof of a copy against what reading alone takes: `cargo bench --bench proof`.
//!
//! Prints a Markdown table. The floor is the same client that pulls both streams at once and looks at
//! nothing; rounds are interleaved, and each figure is a median.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the product")]

use std::{
    fs,
    time::{Duration, Instant},
};

use async_nats::{
    Client,
    jetstream::consumer::{AckPolicy, pull::Config},
};
use futures_util::StreamExt as _;
use jsplan::{
    io::{
        binary,
        migrate::{scan, verify, wait},
        nats::{self, Session},
        server::{JETSTREAM, Server},
    },
    migration::proof::{Copying, Pair},
    spec::Connection,
    state::ledger::Proof,
};
use serde_json::{Value, json};

const MESSAGES: u64 = 200_000;
const TAIL: u64 = 300;
const BYTES: usize = 200;
const ROUNDS: usize = 7;
const BATCH: u64 = 2048;
const TICK_MS: u64 = 10;

const PAIR: Pair<'_> = Pair { from: "A", to: "B", copying: Copying::Source, mapping: &[] };

fn main() {
    let binary = binary::find(None, &mut |it| eprintln!("{it}")).expect("a nats-server");
    let server = Server::start(&binary, JETSTREAM).expect("it starts");
    println!("| measured | value |\n|---|---|");
    jsplan::io::run(measure(&server));
}

/// How long cores have worked, in ticks of the kernel.
#[derive(Default)]
struct Worked {
    server: u64,
    ours: u64,
}

impl Worked {
    fn by(server: &Server) -> Self {
        let of = |process: &str| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
            let ticks = stat.split(' ').skip(13).take(2);
            ticks.map(|it| it.parse::<u64>().expect("a number")).sum()
        };
        Self { server: of(&server.pid().to_string()), ours: of("self") }
    }

    fn add(&mut self, before: Self, after: Self) {
        self.server += after.server - before.server;
        self.ours += after.ours - before.ours;
    }
}

async fn measure(server: &Server) {
    let client = async_nats::connect(server.url()).await.expect("the server listens");
    let connection = Connection { urls: vec![server.url().to_owned()], ..Connection::default() };
    let session = nats::connect(&connection, "bench").await.expect("the server listens");
    create(&client, &json!({ "name": "A", "subjects": ["a.>"] })).await;
    publish(&client, 0..MESSAGES).await;
    let begun = Instant::now();
    create(&client, &json!({ "name": "B", "sources": [{ "name": "A" }] })).await;
    wait::caught_up(&session, &PAIR, Duration::from_secs(60), &mut |_| {}).await.expect("it comes");
    row("the server's own copy", begun.elapsed(), MESSAGES);
    let (mut bare, mut usual, mut proved, mut seen) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut proof = Proof::default();
    let mut worked = Worked::default();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        tokio::join!(pull(&client, "A"), pull(&client, "B"));
        bare.push(begun.elapsed());
        let begun = Instant::now();
        tokio::join!(consume(&client, "A"), consume(&client, "B"));
        usual.push(begun.elapsed());
        let (begun, before) = (Instant::now(), Worked::by(server));
        proof = whole(&session, &Proof::default()).await;
        proved.push(begun.elapsed());
        worked.add(before, Worked::by(server));
        let begun = Instant::now();
        scan::scan(&session, "A", &mut |_| {}).await.expect("it is read");
        seen.push(begun.elapsed());
    }
    let (bare, usual, proved) = (median(bare), median(usual), median(proved));
    row("both streams read by the client's own pull consumer", usual, MESSAGES);
    row("both streams pulled and thrown away", bare, MESSAGES);
    row("both streams compared", proved, MESSAGES);
    let against = |it: Duration| proved.as_secs_f64() / it.as_secs_f64();
    println!("| compared against the client's own pull consumer | {:.2} x |", against(usual));
    println!("| compared against pulled and thrown away | {:.2} x |", against(bare));
    let Worked { server: theirs, ours } = worked;
    let each = |ticks: u64| ticks * TICK_MS / ROUNDS as u64;
    println!("| a core's time of a comparison, the server's | {} ms |", each(theirs));
    println!("| a core's time of a comparison, jsplan's | {} ms |", each(ours));
    row("one look at the headers of the origin", median(seen), MESSAGES);
    tails(&client, &session, proof).await;
}

/// Tails of several lengths: what is between a parked origin and a bound copy.
async fn tails(client: &Client, session: &Session, mut proof: Proof) {
    for length in [0, 20, TAIL, 500, 2000] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let sent = proof.origin;
            publish(client, sent..sent + length).await;
            let long = Duration::from_secs(60);
            wait::caught_up(session, &PAIR, long, &mut |_| {}).await.expect("it comes");
            let begun = Instant::now();
            proof = whole(session, &proof).await;
            times.push(begun.elapsed());
        }
        row(&format!("a tail of {length}"), median(times), length);
    }
}

async fn whole(session: &Session, since: &Proof) -> Proof {
    verify::verify(session, &PAIR, since, &mut |_| {}).await.expect("they are equal")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn row(what: &str, time: Duration, messages: u64) {
    let (ms, each) = (time.as_secs_f64() * 1e3, messages as f64 / time.as_secs_f64() / 1e3);
    println!("| {what} | {ms:.1} ms, {each:.0} k messages/s |");
}

async fn create(client: &Client, config: &Value) {
    let subject = format!("$JS.API.STREAM.CREATE.{}", config["name"].as_str().expect("a name"));
    client.request(subject, config.to_string().into()).await.expect("an answer");
}

async fn publish(client: &Client, numbers: std::ops::Range<u64>) {
    let last = numbers.end;
    for number in numbers {
        let mut payload = format!("{number:020}").into_bytes();
        payload.resize(BYTES, b'x');
        client.publish(format!("a.{}", number % 50), payload.into()).await.expect("it is sent");
        // Those that nobody acknowledges are dropped where too many wait.
        if number.is_multiple_of(10_000) {
            stored(client, number + 1).await;
        }
    }
    stored(client, last).await;
}

async fn stored(client: &Client, number: u64) {
    client.flush().await.expect("it is sent");
    let deadline = Instant::now() + Duration::from_secs(60);
    let there = async || {
        let info = client.request("$JS.API.STREAM.INFO.A", "".into()).await.expect("an answer");
        let info: Value = serde_json::from_slice(&info.payload).expect("JSON");
        info["state"]["messages"] == number
    };
    assert!(jsplan::io::clock::until(deadline, Duration::from_millis(1), there).await);
}

/// Every message of a stream, as a program of the client library reads them.
async fn consume(client: &Client, stream: &str) {
    let config = Config { ack_policy: AckPolicy::None, memory_storage: true, ..Config::default() };
    let context = async_nats::jetstream::new(client.clone());
    let made = context.create_consumer_on_stream(config, stream).await.expect("it is made");
    let messages = made.stream().max_messages_per_batch(BATCH as usize).messages().await;
    let mut messages = messages.expect("a subscription").take(MESSAGES as usize);
    while let Some(message) = messages.next().await {
        message.expect("a message");
    }
}

/// Every message of a stream, asked for ahead.
async fn pull(client: &Client, stream: &str) {
    let config = json!({ "name": "floor", "ack_policy": "none", "mem_storage": true });
    let body = json!({ "stream_name": stream, "config": config }).to_string();
    let made = format!("$JS.API.CONSUMER.CREATE.{stream}.floor");
    client.request(made, body.into()).await.expect("an answer");
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.expect("a subscription");
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.floor");
    let ask = json!({ "batch": BATCH, "expires": 5_000_000_000_u64 }).to_string();
    let (mut due, mut come) = (0, 0);
    while come < MESSAGES {
        if due <= BATCH {
            let asked = client.publish_with_reply(next.clone(), inbox.clone(), ask.clone().into());
            asked.await.expect("it is sent");
            due += BATCH;
            continue;
        }
        let message = messages.next().await.expect("a message");
        if message.reply.is_some() {
            (due, come) = (due - 1, come + 1);
        }
    }
    let gone = client.request(format!("$JS.API.CONSUMER.DELETE.{stream}.floor"), "".into()).await;
    gone.expect("an answer");
}
