//! The connection to nats-server, and requests to its JetStream API.
//!
//! JetStream is spoken raw: the client's typed configurations drop fields they do not know, and
//! fail whole pages on a value they do not know. Of the client only messages are used.

mod connect;
mod context;
pub mod error;
mod event;
pub(crate) mod message;
mod observe;
mod secret;
mod wire;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Request, RequestError, RequestErrorKind};
use tokio::{sync::watch, time::timeout};

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

/// How long reading goes on for an answer that gets lost: elections take up to 9 s.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a cluster has to find a leader: longer than an election takes, and no longer than
/// somebody should wait to hear that most of the servers are gone.
pub(crate) const ELECTION: Duration = Duration::from_secs(10);

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
    Ok(Session { client, reports, prefix, timeout, answered: AtomicBool::new(false), cautions })
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
    /// below `level` refuses it. After [`Error::Timeout`] and [`Error::Lost`] it is unknown whether
    /// it was carried out.
    pub async fn request(&self, subject: &str, body: Vec<u8>, level: u32) -> Result<Answer, Error> {
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
        Ok(self.describe(account, info?))
    }

    /// Reads the whole account: every stream and consumer, each found, unknown, or absent.
    ///
    /// What is `expected` and not found is asked for by name before it counts as absent.
    pub async fn observe(&self, expected: &BTreeSet<Address>) -> Result<Live, Error> {
        observe::observe(self, expected).await
    }

    /// Reads one resource; `None` only where the server says that it is not there.
    pub async fn read(&self, address: &Address) -> Result<Option<Observed>, Error> {
        let found = self.find(address).await?;
        let Some(entry) = found else { return Ok(None) };
        if entry.leaderless {
            return Err(Error::NoLeader);
        }
        Ok(Some(entry.observed))
    }

    async fn find(&self, address: &Address) -> Result<Option<wire::Entry>, Error> {
        let subject = match address {
            Address::Stream(name) => format!("STREAM.INFO.{name}"),
            Address::Consumer { stream, name } => format!("CONSUMER.INFO.{stream}.{name}"),
        };
        match self.ask(&subject, "", |subject, it| wire::one(address, subject, it)).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn info(&self) -> Result<Account, Error> {
        self.ask("INFO", "", wire::account).await
    }

    /// The account's name, where the server says it: users may be denied the question.
    async fn account(&self) -> Option<String> {
        let reply = self.send("$SYS.REQ.USER.INFO", Request::new(), COURTESY).await.ok()?;
        wire::user(&reply.payload)
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

    /// Asks what changes nothing, and again where the answer was lost: at most three times.
    async fn ask<T>(
        &self,
        subject: &str,
        body: &str,
        read: impl Fn(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        for _ in 0..2 {
            match self.ask_since(start, subject, body, &read).await {
                Err(error) if error.is_loss() && start.elapsed() < PATIENCE => {}
                answer => return answer,
            }
        }
        self.ask_since(start, subject, body, &read).await
    }

    /// Asks what changes nothing, once; a cluster that is electing its leader is waited for.
    async fn ask_once<T>(
        &self,
        subject: &str,
        body: &str,
        read: impl Fn(&str, &[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ask_since(Instant::now(), subject, body, &read).await
    }

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
            // Nobody answers for a moment where a server starts again, too.
            let silent =
                matches!(answer, Err(Error::NotEnabled { .. } | Error::WrongPrefix { .. }));
            let electing = matches!(answer, Err(Error::NoLeader))
                || silent && self.answered.load(Ordering::Relaxed);
            if !electing || start.elapsed() >= ELECTION {
                self.answered.fetch_or(answer.is_ok(), Ordering::Relaxed);
                return answer;
            }
            clock::pause(PACE).await;
        }
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
