//! The connection to nats-server, and requests to its JetStream API.
//!
//! JetStream is spoken raw: the client's typed configurations drop fields they do not know, and
//! fail whole pages on a value they do not know. Of the client only messages are used.

mod connect;
mod context;
pub(crate) mod ends;
pub mod error;
mod event;
pub(crate) mod loan;
pub(crate) mod message;
mod observe;
mod probe;
pub(crate) mod reader;
mod secret;
pub(crate) mod uses;
mod wire;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Request, RequestError, RequestErrorKind};
use tokio::{sync::watch, time::timeout};

pub(crate) use self::secret::resolve_seed;
use self::{
    error::{Error, escaped},
    event::{Reports, Watch},
    wire::Account,
};
use crate::{
    address::Address,
    finding::Finding,
    io::clock,
    live::{Live, Observed, Server},
    schema::Release,
    spec::Connection,
};

/// How long an answer that gets lost is asked for again, a restart or an election included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster has to find a leader: longer than an election takes, and no longer than
/// somebody should wait to hear that most of the servers are gone. Whoever has begun to write waits
/// for [`PATIENCE`] instead.
pub(crate) const ELECTION: Duration = Duration::from_secs(10);

/// How long a lost connection waits at most before it is tried again.
const RECONNECT: Duration = Duration::from_millis(250);

/// How often a cluster without a leader is asked again.
const PACE: Duration = Duration::from_millis(250);

/// How long the account's name is waited for: it is good to know, and nothing hangs on it.
const COURTESY: Duration = Duration::from_secs(1);

/// One connection to one account.
pub struct Session {
    client: Client,
    reports: watch::Receiver<Reports>,
    /// What API subjects begin with.
    prefix: String,
    /// The longest wait for one answer.
    timeout: Duration,
    /// Whether the API has ever answered: if so, silence is a restart and not a wrong prefix.
    answered: AtomicBool,
    /// What others could read of what the connection was made with.
    cautions: Vec<Finding>,
    /// Whether anything was sent that changes something.
    written: AtomicBool,
}

/// The reply to a request that was carried out.
pub struct Answer {
    subject: String,
    message: Message,
}

/// Connects as the spec says, under a client name that the server's operators see.
///
/// The first connection is tried once, and fails for good; a later loss is mended on its own.
pub async fn connect(connection: &Connection, name: &str) -> Result<Session, Error> {
    let route = connect::resolve(connection)?;
    let (sender, reports) = watch::channel(Reports::new(route.inbox));
    let options = route.options.name(name).event_callback(move |event| {
        sender.send_modify(|it| it.note(&event));
        async {}
    });
    // The client gives a connection up at the third ping in silence, after one and a half times the
    // wait for an answer: a frozen server is left for another one soon after that, and not minutes
    // later. A server that is only busy fails a request first, which loses nothing but the answer.
    let options = options
        .ping_interval(route.timeout / 2)
        .reconnect_delay_callback(|tries| RECONNECT.min(Duration::from_millis(1 << tries.min(8))));
    let servers = route.servers;
    // Looking up a name is not under the client's own bound.
    let longest = connect::CONNECT * u32::try_from(servers.len()).unwrap_or(u32::MAX);
    let client = match timeout(longest, options.connect(servers.as_slice())).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(connect::failure(&servers, &error)),
        Err(_) => {
            let (at, seconds) = (connect::places(&servers), longest.as_secs());
            return Err(Error::ConnectTimeout { at, seconds });
        }
    };
    let (prefix, timeout, cautions) = (route.prefix, route.timeout, route.cautions);
    let (answered, written) = (AtomicBool::new(false), AtomicBool::new(false));
    Ok(Session { client, reports, prefix, timeout, answered, cautions, written })
}

/// What the subjects of a connection begin with: those of the API, and those of its answers.
pub(crate) fn subjects(connection: &Connection) -> Result<(String, String), Error> {
    connect::subjects(connection)
}

impl Session {
    /// What is to be said of how the connection came to be: files and networks that leak secrets.
    pub(crate) fn cautions(&self) -> &[Finding] {
        &self.cautions
    }

    /// Sends one request and waits for its reply; it is never sent twice.
    ///
    /// `subject` is what stands behind the API prefix: `STREAM.CREATE.ORDERS`. A server whose API is
    /// below `level` refuses it. After an error that [leaves it open](Self::leaves_open) it is unknown
    /// whether it was carried out.
    pub async fn request(&self, subject: &str, body: Vec<u8>, level: u32) -> Result<Answer, Error> {
        self.written.store(true, Ordering::Relaxed);
        let subject = self.full(subject);
        let mut request = Request::new().payload(body.into());
        if level > 0 {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Required-Api-Level", level.to_string());
            request = request.headers(headers);
        }
        let message = self.send(&subject, request, self.timeout).await?;
        wire::accept(&subject, &message.payload)?;
        Ok(Answer { subject, message })
    }

    /// Publishes a message, and waits until a stream has stored it.
    pub(crate) async fn publish(&self, subject: &str, payload: Vec<u8>) -> Result<(), Error> {
        let request = Request::new().payload(payload.into());
        let message = self.send(subject, request, self.timeout).await?;
        wire::accept(subject, &message.payload)
    }

    /// The release of the server at the other end.
    pub(crate) fn release(&self) -> Release {
        Release::parse(&self.client.server_info().version)
    }

    /// Who answers, and for whom.
    pub async fn server(&self) -> Result<Server, Error> {
        let (account, info) = tokio::join!(self.account(), self.info());
        let info = info?;
        Ok(self.describe(self.account_at_last(account).await, info))
    }

    /// Reads the whole account: every stream and consumer, each found, unknown, or absent.
    ///
    /// What is `expected` and not found is asked for by name before it counts as absent.
    pub async fn observe(&self, expected: &BTreeSet<Address>) -> Result<Live, Error> {
        observe::observe(self, expected).await
    }

    /// Reads one resource; `None` only where the server says that it is not there.
    pub async fn read(&self, address: &Address) -> Result<Option<Observed>, Error> {
        let found = self.find(address, Instant::now()).await?;
        let Some(entry) = found else { return Ok(None) };
        if entry.leaderless {
            return Err(Error::NoLeader);
        }
        Ok(Some(entry.observed))
    }

    /// Reads one resource by one request, and waits for it a part of the usual time only: of those
    /// who look again and again.
    pub(crate) async fn glance(&self, address: &Address) -> Result<Option<Observed>, Error> {
        let subject = self.full(&info_of(address));
        let reply = self.send(&subject, Request::new(), self.timeout / 4).await;
        let entry = reply.and_then(|it| wire::one(address, &subject, &it.payload));
        match present(entry)? {
            Some(entry) if entry.leaderless => Err(Error::NoLeader),
            entry => Ok(entry.map(|it| it.observed)),
        }
    }

    /// Whether an error does not say if a request was carried out, or comes from servers that are
    /// electing one of them, or starting: then asking again may tell.
    pub(crate) fn leaves_open(&self, error: &Error) -> bool {
        error.is_loss() || self.is_electing(error)
    }

    async fn find(&self, address: &Address, start: Instant) -> Result<Option<wire::Entry>, Error> {
        let read = |subject: &str, it: &[u8]| wire::one(address, subject, it);
        present(self.ask_on(start, &info_of(address), "", read).await)
    }

    async fn info(&self) -> Result<Account, Error> {
        self.ask("INFO", "", wire::account).await
    }

    /// The account's name, where the server says it: users may be denied the question. An error means
    /// that the answer was lost.
    async fn account(&self) -> Result<Option<String>, Error> {
        match self.send("$SYS.REQ.USER.INFO", Request::new(), COURTESY).await {
            Ok(reply) => Ok(wire::user(&reply.payload)),
            Err(error) if error.is_loss() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The same, asked once more where the answer was lost and others have come since.
    async fn account_at_last(&self, first: Result<Option<String>, Error>) -> Option<String> {
        match first {
            Ok(account) => account,
            Err(_) => self.account().await.ok().flatten(),
        }
    }

    fn describe(&self, account: Option<String>, info: Account) -> Server {
        let greeting = self.client.server_info();
        Server {
            release: self.release(),
            version: greeting.version,
            api_level: info.api_level,
            cluster: greeting.cluster.filter(|it| !it.is_empty()),
            domain: info.domain,
            account,
        }
    }

    /// How many servers of the cluster are named to clients, all of them by the end of the greeting.
    fn servers(&self) -> usize {
        let greeting = self.client.server_info();
        if greeting.cluster.is_some() { greeting.connect_urls.len() } else { 0 }
    }

    /// What a stream has yet to do before its replicas are where they should be; `None` where they
    /// are.
    pub(crate) async fn unsettled(&self, stream: &str) -> Result<Option<String>, Error> {
        self.ask(&format!("STREAM.INFO.{stream}"), "", wire::unsettled).await
    }

    /// Asks what changes nothing, and again as long as the answer gets lost.
    async fn ask<T>(
        &self,
        subject: &str,
        body: &str,
        read: impl Fn(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ask_on(Instant::now(), subject, body, read).await
    }

    /// The same, where the wait began earlier.
    async fn ask_on<T>(
        &self,
        start: Instant,
        subject: &str,
        body: &str,
        read: impl Fn(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            match self.ask_since(start, subject, body, &read).await {
                Err(error) if error.is_loss() && start.elapsed() < PATIENCE => {
                    clock::pause(PACE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Asks what changes nothing, once; a cluster that is electing its leader is waited for.
    ///
    /// A server that does not yet know that the leader is gone gives no answer at all, so the time
    /// spent on that counts towards the wait for a new one.
    async fn ask_since<T>(
        &self,
        start: Instant,
        subject: &str,
        body: &str,
        read: impl Fn(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let subject = self.full(subject);
        loop {
            let request = Request::new().payload(body.to_owned().into());
            let reply = self.send(&subject, request, self.timeout).await;
            let answer = reply.and_then(|it| read(&subject, &it.payload));
            let electing = answer.as_ref().is_err_and(|it| self.is_electing(it));
            let longest = if self.written.load(Ordering::Relaxed) { PATIENCE } else { ELECTION };
            if !electing || start.elapsed() >= longest {
                self.answered.fetch_or(answer.is_ok(), Ordering::Relaxed);
                return answer;
            }
            clock::pause(PACE).await;
        }
    }

    /// Nobody answers for a moment where a server starts again, too.
    fn is_electing(&self, error: &Error) -> bool {
        let silent = matches!(error, Error::NotEnabled { .. } | Error::WrongPrefix { .. });
        matches!(error, Error::NoLeader) || silent && self.answered.load(Ordering::Relaxed)
    }

    async fn send(
        &self,
        subject: &str,
        request: Request,
        longest: Duration,
    ) -> Result<Message, Error> {
        let watch = Watch::new(&self.reports);
        let request = request.timeout(Some(longest));
        tokio::select! {
            biased;
            reply = self.client.send_request(subject.to_owned(), request) => {
                reply.map_err(|it| self.unanswered(subject, longest, &it))
            }
            failure = watch.failure(subject) => Err(failure),
        }
    }

    fn unanswered(&self, subject: &str, longest: Duration, error: &RequestError) -> Error {
        let subject = subject.to_owned();
        match error.kind() {
            RequestErrorKind::TimedOut => Error::Timeout { subject, seconds: longest.as_secs() },
            RequestErrorKind::NoResponders if self.prefix == "$JS.API" => {
                Error::NotEnabled { of: "server" }
            }
            RequestErrorKind::NoResponders => Error::WrongPrefix { prefix: self.prefix.clone() },
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Error::Unsendable { subject, reason: escaped(&error.to_string()) }
            }
            RequestErrorKind::Other => Error::Lost { subject },
        }
    }

    fn full(&self, subject: &str) -> String {
        format!("{}.{subject}", self.prefix)
    }
}

impl Answer {
    /// The reply as it came: JSON.
    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.message.payload
    }

    /// The resource in the reply to a create or an update: its read-back.
    pub fn observed(&self, address: &Address) -> Result<Observed, Error> {
        Ok(wire::one(address, &self.subject, &self.message.payload)?.observed)
    }
}

/// The question for one resource.
fn info_of(address: &Address) -> String {
    match address {
        Address::Stream(name) => format!("STREAM.INFO.{name}"),
        Address::Consumer { stream, name } => format!("CONSUMER.INFO.{stream}.{name}"),
    }
}

/// That a resource is not there is an answer, and no error.
fn present(entry: Result<wire::Entry, Error>) -> Result<Option<wire::Entry>, Error> {
    match entry {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error),
    }
}
