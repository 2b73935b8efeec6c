//! Reading a whole account in as few requests as there can be, as many at once as is safe.
//!
//! Their number is part of the contract: one INFO, the pages of the names and of the streams, the
//! pages of the consumers of those streams that have any, and one INFO for each name that needs
//! confirming. A healthy server is asked nothing beyond that.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{
    ELECTION, PATIENCE, Session,
    error::Error,
    wire::{self, Account, Entry, Page},
};
use crate::{
    address::Address,
    io::clock,
    live::{self, Facts, Live, Observed},
};

/// Requests in flight. The server drops its whole queue, that of all accounts, at 10,000.
const WINDOW: usize = 256;

/// Bytes expected by the requests in flight. The server closes a connection that 64 MiB wait for.
const BYTES: usize = 16 << 20;

/// Entries on a page of names, and on a page of streams or consumers.
const NAMES: usize = 1024;
const LIST: usize = 256;

/// What is missing from a list often is an election that this outlasts.
const PAUSE: Duration = Duration::from_secs(1);

/// Times that a page is asked for, however long the reading has taken by then.
const TRIES: u8 = 3;

/// Reads the account. See [`Session::observe`].
pub(super) async fn observe(
    session: &Session,
    expected: &BTreeSet<Address>,
) -> Result<Live, Error> {
    let at = clock::now();
    let (account, read) = tokio::join!(session.account(), read(session, expected));
    let (info, Reading { resources, unknown, .. }) = read?;
    let account = session.account_at_last(account).await;
    let holds = live::Account { servers: session.servers(), ..info.holds.clone() };
    Ok(Live {
        server: session.describe(account, info),
        at,
        resources,
        unknown,
        account: holds,
        tallies: BTreeMap::new(),
    })
}

/// The names are asked for first because that, unlike INFO, needs a leader of the cluster: without
/// one the server would go on answering from old knowledge.
async fn read<'a>(
    session: &'a Session,
    expected: &'a BTreeSet<Address>,
) -> Result<(Account, Reading<'a>), Error> {
    let first = session.ask("STREAM.NAMES", r#"{"offset":0}"#, wire::names);
    let (info, names) = tokio::join!(session.info(), first);
    let (info, names) = (info?, names?);
    let mut reading = Reading::new(session, expected);
    reading.plan(names.total);
    reading.take_names(names);
    reading.drain().await?;
    // Where one look finds what the last one missed, leaders are being elected; where none does,
    // servers are gone.
    while !reading.again.is_empty() {
        let missing: Vec<Address> = reading.unknown.keys().cloned().collect();
        clock::pause(PAUSE).await;
        reading.queue.extend(mem::take(&mut reading.again));
        reading.drain().await?;
        if reading.unknown.keys().eq(&missing) || reading.begun.elapsed() > ELECTION {
            break;
        }
    }
    reading.confirm_streams();
    reading.drain().await?;
    reading.confirm_consumers();
    reading.drain().await?;
    Ok((info, reading))
}

/// A reading under way.
struct Reading<'a> {
    session: &'a Session,
    begun: Instant,
    /// Whether servers or leaders were missing.
    troubled: bool,
    expected: &'a BTreeSet<Address>,
    queue: VecDeque<Ask>,
    /// Pages on which something was missing.
    again: Vec<Ask>,
    /// Streams that exist, by the list of names.
    named: BTreeSet<String>,
    /// Pages of names still to come.
    names_to_come: usize,
    resources: BTreeMap<Address, Observed>,
    unknown: BTreeMap<Address, String>,
    /// Streams whose consumers could not be listed, and why.
    unlisted: BTreeMap<String, String>,
    /// The largest page of streams so far.
    page: Option<usize>,
    /// The most bytes a consumer took so far.
    consumer: usize,
}

/// A request to be sent, and how often it was.
struct Ask {
    what: What,
    tries: u8,
}

enum What {
    Names {
        offset: usize,
    },
    /// `of` is how many there are, as far as pages were planned.
    Streams {
        offset: usize,
        of: usize,
    },
    Consumers {
        stream: String,
        offset: usize,
        of: usize,
    },
    One(Address),
}

enum Reply {
    Names(Page<String>),
    Streams(Page<Entry>),
    Consumers(Page<Entry>),
    One(Option<Entry>),
}

impl<'a> Reading<'a> {
    fn new(session: &'a Session, expected: &'a BTreeSet<Address>) -> Self {
        Self {
            session,
            begun: Instant::now(),
            troubled: false,
            expected,
            queue: VecDeque::new(),
            again: Vec::new(),
            named: BTreeSet::new(),
            names_to_come: 1,
            resources: BTreeMap::new(),
            unknown: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            page: None,
            consumer: 1024,
        }
    }

    /// Plans the pages of names that follow the first, and those of the streams.
    fn plan(&mut self, streams: usize) {
        for offset in (NAMES..streams).step_by(NAMES) {
            self.names_to_come += 1;
            self.push(What::Names { offset });
        }
        for offset in (0..streams).step_by(LIST) {
            self.push(What::Streams { offset, of: streams });
        }
    }

    fn push(&mut self, what: What) {
        self.queue.push_back(Ask { what, tries: 0 });
    }

    /// Sends what is in the queue, and what the answers add to it, until nothing is left.
    async fn drain(&mut self) -> Result<(), Error> {
        let session = self.session;
        let mut flying = FuturesUnordered::new();
        let mut expected = 0;
        loop {
            while let Some(ask) = self.queue.pop_front() {
                let weight = self.weight(&ask.what);
                let full = flying.len() >= WINDOW || expected + weight > BYTES;
                if full && !flying.is_empty() {
                    self.queue.push_front(ask);
                    break;
                }
                expected += weight;
                // A cluster that has shown to be in trouble has had a part of its time already.
                let start = if self.troubled { self.begun } else { Instant::now() };
                flying.push(async move { (weight, send(session, &ask.what, start).await, ask) });
            }
            let Some((weight, reply, ask)) = flying.next().await else { return Ok(()) };
            expected -= weight;
            match reply {
                Ok(reply) => self.take(ask, reply),
                Err(error) => self.fail(ask, error)?,
            }
        }
    }

    /// Bytes that the answer may have. Before the first page of streams nobody knows: one page of
    /// large configurations can have 25 MB.
    fn weight(&self, what: &What) -> usize {
        match what {
            What::Names { .. } => NAMES * 64,
            What::Streams { .. } => self.page.unwrap_or(BYTES / 4),
            What::Consumers { offset, of, .. } => self.consumer * (of - offset).min(LIST),
            What::One(_) => self.page.unwrap_or(BYTES / 4) / LIST,
        }
    }

    fn take(&mut self, ask: Ask, reply: Reply) {
        match (&ask.what, reply) {
            (_, Reply::Names(page)) => self.take_names(page),
            (What::Streams { offset, of }, Reply::Streams(page)) => {
                self.page = self.page.max(Some(page.bytes));
                // Streams that were made meanwhile: the last page planned is not the last.
                if offset + LIST >= *of && page.total > offset + LIST {
                    self.push(What::Streams { offset: offset + LIST, of: page.total });
                }
                self.take_page(ask, page, Address::Stream);
            }
            (What::Consumers { stream, offset, of }, Reply::Consumers(page)) => {
                self.consumer = self.consumer.max(page.bytes / page.entries.len().max(1));
                let stream = stream.clone();
                if offset + LIST >= *of && page.total > offset + LIST {
                    let (offset, of) = (offset + LIST, page.total);
                    self.push(What::Consumers { stream: stream.clone(), offset, of });
                }
                self.take_page(ask, page, |name| Address::Consumer {
                    stream: stream.clone(),
                    name,
                });
            }
            (What::One(address), Reply::One(Some(entry))) => self.place(address.clone(), entry),
            // What is not there leaves no trace: absent is what is neither found nor unknown.
            (_, Reply::One(_) | Reply::Streams(_) | Reply::Consumers(_)) => {}
        }
    }

    /// When all names are known, an expected stream that is not among them is asked for: between
    /// pages, streams that come and go make others slip through.
    fn take_names(&mut self, page: Page<String>) {
        self.named.extend(page.entries);
        self.names_to_come -= 1;
        if self.names_to_come > 0 {
            return;
        }
        for address in self.expected {
            if let Address::Stream(name) = address
                && !self.named.contains(name)
            {
                self.push(What::One(address.clone()));
            }
        }
    }

    fn take_page(&mut self, ask: Ask, page: Page<Entry>, address: impl Fn(String) -> Address) {
        let missing: BTreeMap<String, String> = page.missing.into_iter().collect();
        for entry in page.entries {
            // A stream whose servers are all gone is listed from memory, and missing as well.
            if !missing.contains_key(&entry.name) {
                self.place(address(entry.name.clone()), entry);
            }
        }
        if missing.is_empty() {
            return;
        }
        self.troubled = true;
        for (name, reason) in missing {
            self.unknown.insert(address(name), reason);
        }
        self.again.push(ask);
    }

    fn place(&mut self, address: Address, entry: Entry) {
        if entry.leaderless {
            self.unknown.insert(address, "it has no leader".to_owned());
            return;
        }
        self.unknown.remove(&address);
        let facts = entry.observed.facts;
        let known = self.resources.insert(address.clone(), entry.observed).is_some();
        if let (Address::Stream(stream), Facts::Stream { consumers, .. }, false) =
            (address, facts, known)
        {
            let of = usize::try_from(consumers).unwrap_or(usize::MAX);
            for offset in (0..of).step_by(LIST) {
                self.push(What::Consumers { stream: stream.clone(), offset, of });
            }
        }
    }

    fn fail(&mut self, ask: Ask, error: Error) -> Result<(), Error> {
        let Ask { what, tries } = ask;
        let again = tries + 1 < TRIES || self.begun.elapsed() < PATIENCE;
        if error.is_loss() && again {
            // Too many bytes at once may be what ended the connection: from here on, one by one.
            if matches!(error, Error::Lost { .. }) {
                self.page = Some(BYTES);
                self.consumer = self.consumer.max(BYTES / LIST / 4);
            }
            self.queue.push_front(Ask { what, tries: tries.saturating_add(1) });
            return Ok(());
        }
        let denied = matches!(error, Error::Denied { .. } | Error::DeniedInbox { .. });
        match what {
            What::One(address) => {
                self.unknown.insert(address, error.to_string());
            }
            What::Consumers { stream, .. } if error.is_absence() => {
                // Somebody deleted the stream meanwhile.
                self.resources.retain(|it, _| it.stream_name() != stream);
            }
            What::Consumers { stream, .. } if !denied => {
                self.unlisted.insert(stream, error.to_string());
            }
            What::Names { .. } | What::Streams { .. } | What::Consumers { .. } => {
                return Err(error);
            }
        }
        Ok(())
    }

    /// A stream that has a name and was on no page slipped through.
    fn confirm_streams(&mut self) {
        for name in mem::take(&mut self.named) {
            let address = Address::Stream(name);
            if !self.resources.contains_key(&address) && !self.unknown.contains_key(&address) {
                self.push(What::One(address));
            }
        }
    }

    /// Expected consumers that were on no page: absent with their stream, unknown with it, or asked
    /// for.
    fn confirm_consumers(&mut self) {
        for address in self.expected {
            let Address::Consumer { stream, .. } = address else { continue };
            if self.resources.contains_key(address) || self.unknown.contains_key(address) {
                continue;
            }
            let of = Address::Stream(stream.clone());
            if let Some(reason) = self.unknown.get(&of) {
                let reason = format!("its stream is unknown: {reason}");
                self.unknown.insert(address.clone(), reason);
            } else if let Some(reason) = self.unlisted.get(stream) {
                self.unknown.insert(address.clone(), reason.clone());
            } else if self.resources.contains_key(&of) {
                self.push(What::One(address.clone()));
            }
        }
    }
}

async fn send(session: &Session, what: &What, start: Instant) -> Result<Reply, Error> {
    let from = |offset: &usize| format!(r#"{{"offset":{offset}}}"#);
    match what {
        What::Names { offset } => {
            let page = session.ask_since(start, "STREAM.NAMES", &from(offset), wire::names).await;
            page.map(Reply::Names)
        }
        What::Streams { offset, .. } => {
            let page = session.ask_since(start, "STREAM.LIST", &from(offset), wire::streams).await;
            page.map(Reply::Streams)
        }
        What::Consumers { stream, offset, .. } => {
            let subject = format!("CONSUMER.LIST.{stream}");
            let page = session.ask_since(start, &subject, &from(offset), wire::consumers).await;
            page.map(Reply::Consumers)
        }
        What::One(address) => session.find(address, start).await.map(Reply::One),
    }
}
