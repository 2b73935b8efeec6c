//! A relay between a client and one server, on 127.0.0.1: it counts requests by subject, and loses what
//! a network or a dying server loses.
//!
//! A request is a published message that names where its reply goes; what else goes either way is
//! passed on. It speaks no TLS, and ends with its value.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    mem,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

/// The longest line, and the largest payload, of either side.
const LONGEST: u64 = 64 << 20;

/// A running relay.
pub(crate) struct Proxy {
    url: String,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

/// What becomes of a request or of a reply, and of the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on.
    Pass,
    /// It is lost, and nobody is told.
    Swallow,
    /// It is lost, and both ends see the connection close.
    Cut,
    /// It waits, and everything else with it, until [`Proxy::go_on`].
    Hold,
}

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the server.
    There,
    /// To the client.
    Back,
}

type Act = Box<dyn FnOnce() -> Then + Send>;

/// Something to do at one request.
struct Rule {
    /// Text in the subject.
    which: String,
    /// How many of those are still to come before it is meant.
    left: usize,
    act: Option<Act>,
    way: Way,
}

#[derive(Default)]
struct Ledger {
    sent: Vec<String>,
    reached: Vec<String>,
    rules: Vec<Rule>,
    /// What is to happen to the replies to come, by their subjects.
    awaited: BTreeMap<String, Vec<Act>>,
    held: bool,
    over: bool,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Condvar,
}

/// One line of the protocol, with its payload.
struct Frame {
    words: Vec<String>,
    bytes: Vec<u8>,
}

impl Proxy {
    /// Listens on any free port, for a server at `host:port`.
    pub(crate) fn new(place: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("nats://{}", listener.local_addr().expect("it listens"));
        let shared = Arc::new(Shared::default());
        let (of_thread, place) = (Arc::clone(&shared), place.to_owned());
        let listening = thread::spawn(move || listen(&of_thread, &listener, &place));
        Self { url, shared, listening: Some(listening) }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Acts before the n-th request from now on (counted from 1) with this text in its subject
    /// reaches the server.
    pub(crate) fn before(
        &self,
        which: &str,
        number: usize,
        act: impl FnOnce() -> Then + Send + 'static,
    ) {
        self.add(which, number, Way::There, Box::new(act));
    }

    /// Acts when the server has replied to that request, and before the client hears of it.
    pub(crate) fn after(
        &self,
        which: &str,
        number: usize,
        act: impl FnOnce() -> Then + Send + 'static,
    ) {
        self.add(which, number, Way::Back, Box::new(act));
    }

    /// How many requests with this text in their subjects clients have sent.
    pub(crate) fn sent(&self, which: &str) -> usize {
        self.shared.ledger().sent.iter().filter(|it| it.contains(which)).count()
    }

    /// How many of them have reached the server.
    pub(crate) fn reached(&self, which: &str) -> usize {
        self.shared.ledger().reached.iter().filter(|it| it.contains(which)).count()
    }

    /// The subjects of all that have reached the server, in order.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.shared.ledger().reached.clone()
    }

    /// Whether nothing is passed on.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.ledger().held
    }

    /// Passes on what was held, and what comes.
    pub(crate) fn go_on(&self) {
        self.shared.ledger().held = false;
        self.shared.changed.notify_all();
    }

    /// Closes every connection; clients may come again.
    pub(crate) fn cut(&self) {
        close(&mem::take(&mut self.shared.ledger().sockets));
    }

    fn add(&self, which: &str, number: usize, way: Way, act: Act) {
        let rule = Rule { which: which.to_owned(), left: number, act: Some(act), way };
        self.shared.ledger().rules.push(rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ledger().over = true;
        self.shared.changed.notify_all();
        // Only a connection wakes a listener.
        drop(TcpStream::connect(self.url.trim_start_matches("nats://")));
        if let Some(listening) = self.listening.take() {
            drop(listening.join());
        }
        self.cut();
        let threads = mem::take(&mut self.shared.ledger().threads);
        threads.into_iter().for_each(|it| drop(it.join()));
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A test that fails while it holds the lock must not hide behind the lock.
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits while nothing is to pass.
    fn wait(&self) {
        let held = |it: &mut Ledger| it.held && !it.over;
        drop(self.changed.wait_while(self.ledger(), held));
    }

    /// What becomes of a request.
    fn request(&self, subject: &str, reply: &str) -> Then {
        let mut now = Vec::new();
        {
            let mut ledger = self.ledger();
            ledger.sent.push(subject.to_owned());
            let mut later = Vec::new();
            for rule in ledger.rules.iter_mut().filter(|it| subject.contains(&it.which)) {
                rule.left = rule.left.saturating_sub(1);
                let act = if rule.left == 0 { rule.act.take() } else { None };
                match rule.way {
                    Way::There => now.extend(act),
                    Way::Back => later.extend(act),
                }
            }
            if !later.is_empty() {
                ledger.awaited.insert(reply.to_owned(), later);
            }
        }
        let then = self.held(run(now));
        if then == Then::Pass {
            self.ledger().reached.push(subject.to_owned());
        }
        then
    }

    /// What becomes of a message to this subject, which may be a reply.
    fn reply(&self, subject: &str) -> Then {
        let acts = self.ledger().awaited.remove(subject);
        self.held(run(acts.unwrap_or_default()))
    }

    /// What is held goes on in the end.
    fn held(&self, then: Then) -> Then {
        if then != Then::Hold {
            return then;
        }
        self.ledger().held = true;
        self.wait();
        Then::Pass
    }
}

/// Nothing is locked meanwhile: an act may take its time, and look at the relay.
fn run(acts: Vec<Act>) -> Then {
    let results: Vec<Then> = acts.into_iter().map(|act| act()).collect();
    results.into_iter().find(|it| *it != Then::Pass).unwrap_or(Then::Pass)
}

fn listen(shared: &Arc<Shared>, listener: &TcpListener, place: &str) {
    for client in listener.incoming() {
        if shared.ledger().over {
            return;
        }
        // Without a server behind it the client sees its connection close, as it would there.
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(place)) else { continue };
        let ends = || Ok::<_, std::io::Error>([client.try_clone()?, server.try_clone()?]);
        let (Ok(one), Ok(two), Ok(kept)) = (ends(), ends(), ends()) else { continue };
        let mut ledger = shared.ledger();
        ledger.sockets.extend(kept);
        for (ends, way) in [(one, Way::There), (two, Way::Back)] {
            let shared = Arc::clone(shared);
            ledger.threads.push(thread::spawn(move || relay(&shared, ends, way)));
        }
    }
}

/// Passes frames on in one direction, until either end closes.
fn relay(shared: &Shared, ends: [TcpStream; 2], way: Way) {
    let [client, server] = &ends;
    let (from, mut to) = match way {
        Way::There => (client, server),
        Way::Back => (server, client),
    };
    let mut from = BufReader::new(from);
    while let Some(Frame { words, bytes }) = frame(&mut from) {
        shared.wait();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let then = match words.as_slice() {
            ["PUB", subject, reply, _] | ["HPUB", subject, reply, _, _] => {
                shared.request(subject, reply)
            }
            ["MSG" | "HMSG", subject, ..] => shared.reply(subject),
            _ => Then::Pass,
        };
        match then {
            Then::Pass if to.write_all(&bytes).is_ok() => {}
            Then::Swallow => {}
            Then::Pass | Then::Cut | Then::Hold => break,
        }
    }
    close(&ends);
}

fn close(sockets: &[TcpStream]) {
    // What is closed already needs no closing.
    sockets.iter().for_each(|it| drop(it.shutdown(Shutdown::Both)));
}

fn frame(from: &mut BufReader<&TcpStream>) -> Option<Frame> {
    let mut bytes = Vec::new();
    from.by_ref().take(LONGEST).read_until(b'\n', &mut bytes).ok()?;
    if bytes.last() != Some(&b'\n') {
        return None;
    }
    let line = String::from_utf8_lossy(&bytes);
    let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
    if matches!(words.first()?.as_str(), "PUB" | "HPUB" | "MSG" | "HMSG") {
        let size: u64 = words.last()?.parse().ok().filter(|it| *it < LONGEST)?;
        from.by_ref().take(size + 2).read_to_end(&mut bytes).ok()?;
    }
    Some(Frame { words, bytes })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpStream,
        time::Duration,
    };

    use super::{Proxy, Then};
    use crate::support::server::{place, server};

    /// A connection that asks for streams, each with a reply of its own.
    struct Wire(BufReader<TcpStream>);

    impl Wire {
        fn new(proxy: &Proxy) -> Self {
            let place = proxy.url().trim_start_matches("nats://");
            let stream = TcpStream::connect(place).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let mut wire = Self(BufReader::new(stream));
            wire.say("CONNECT {\"verbose\":false}\r\nSUB to.* 1\r\n");
            wire
        }

        fn say(&mut self, text: &str) {
            self.0.get_mut().write_all(text.as_bytes()).expect("it is sent");
        }

        fn ask(&mut self, name: &str) {
            self.say(&format!("PUB $JS.API.STREAM.INFO.{name} to.{name} 0\r\n\r\n"));
        }

        /// Who is replied to next; `None` where the connection closed or nothing comes.
        fn heard(&mut self) -> Option<String> {
            loop {
                let mut line = String::new();
                if self.0.read_line(&mut line).map_or(true, |it| it == 0) {
                    return None;
                }
                if let Some(rest) = line.strip_prefix("MSG to.") {
                    return rest.split(' ').next().map(ToOwned::to_owned);
                }
            }
        }
    }

    #[test]
    fn a_request_or_its_reply_is_lost_where_it_was_asked_for_and_nowhere_else() {
        let server = server();
        let proxy = Proxy::new(place(&server));
        proxy.before("STREAM.INFO", 2, || Then::Swallow);
        proxy.after("STREAM.INFO.C", 1, || Then::Swallow);
        let mut wire = Wire::new(&proxy);
        ["A", "B", "C", "D"].iter().for_each(|it| wire.ask(it));
        assert_eq!([wire.heard(), wire.heard()].map(Option::unwrap_or_default), ["A", "D"]);
        assert_eq!((proxy.sent("STREAM.INFO"), proxy.reached("STREAM.INFO")), (4, 3));
        assert_eq!(proxy.subjects(), ["A", "C", "D"].map(|it| format!("$JS.API.STREAM.INFO.{it}")));
    }

    #[test]
    fn a_connection_is_cut_and_another_is_taken() {
        let server = server();
        let proxy = Proxy::new(place(&server));
        proxy.after("STREAM.INFO", 1, || Then::Cut);
        let mut first = Wire::new(&proxy);
        first.ask("A");
        assert_eq!(first.heard(), None);
        let mut second = Wire::new(&proxy);
        second.ask("B");
        assert_eq!(second.heard().as_deref(), Some("B"));
        proxy.cut();
        assert_eq!(second.heard(), None);
        assert_eq!(proxy.reached("STREAM.INFO"), 2);
    }

    #[test]
    fn what_is_held_comes_when_it_goes_on() {
        let server = server();
        let proxy = Proxy::new(place(&server));
        let mut wire = Wire::new(&proxy);
        wire.ask("A");
        assert_eq!(wire.heard().as_deref(), Some("A"));
        proxy.before("STREAM.INFO", 1, || Then::Hold);
        wire.ask("B");
        wire.0.get_mut().set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        assert_eq!((wire.heard(), proxy.reached("STREAM.INFO.B")), (None, 0));
        assert!(proxy.is_held());
        wire.0.get_mut().set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        proxy.go_on();
        assert_eq!(wire.heard().as_deref(), Some("B"));
    }
}
