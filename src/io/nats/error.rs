//! What can go wrong between here and a server: told apart, since each has its own remedy.

use std::time::Duration;

use crate::{
    finding::did_you_mean,
    permissions,
    render::{cut, escape},
};

/// What the server or the way to it did not do. No message holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The connection names neither a server nor a context.
    #[error("the environment names no server")]
    NoServer,
    /// A server's address that is none.
    #[error("`{url}` is no address of a server: {reason}")]
    BadUrl {
        /// The address, without user and password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting of the connection that cannot be.
    #[error("`{name} = \"{value}\"` cannot be: {reason}")]
    BadSetting {
        /// The key in the spec.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A secret that is not where its reference points.
    #[error("`{reference}` gives no {what}: {reason}")]
    Secret {
        /// What was looked for: password, token …
        what: &'static str,
        /// The reference, as it was written.
        reference: String,
        /// Why there is nothing.
        reason: String,
    },
    /// A `nats` context that is not there.
    #[error("there is no `nats` context `{name}`")]
    NoContext {
        /// The name that was asked for.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A `nats` context that cannot be used.
    #[error("the `nats` context `{name}` cannot be read: {reason}")]
    BadContext {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody listens there.
    #[error("cannot connect to {at}: the connection is refused")]
    Refused {
        /// The servers that were tried.
        at: String,
    },
    /// The host has no address.
    #[error("cannot connect to {at}: the host name does not resolve")]
    Resolve {
        /// The servers that were tried.
        at: String,
    },
    /// Nobody answered in time.
    #[error("cannot connect to {at}: no answer within {seconds} s")]
    ConnectTimeout {
        /// The servers that were tried.
        at: String,
        /// How long each had.
        seconds: u64,
    },
    /// The two sides do not agree on encryption or on who they are.
    #[error("cannot connect to {at}: TLS failed: {reason}")]
    Tls {
        /// The servers that were tried.
        at: String,
        /// What was wrong.
        reason: String,
    },
    /// The server does not take the credentials.
    #[error("{at} refuses the credentials")]
    Unauthorized {
        /// The servers that were tried.
        at: String,
    },
    /// Any other way in which no connection came to be.
    #[error("cannot connect to {at}: {reason}")]
    Unreachable {
        /// The servers that were tried.
        at: String,
        /// What happened.
        reason: String,
    },
    /// The server or the account has no JetStream.
    #[error("JetStream is not enabled for this {of}")]
    NotEnabled {
        /// `server` or `account`.
        of: &'static str,
    },
    /// Nobody answers on this API prefix.
    #[error("nobody answers on `{prefix}`")]
    WrongPrefix {
        /// The prefix that was asked on.
        prefix: String,
    },
    /// No answer in time.
    #[error("no answer to `{subject}` within {seconds} s")]
    Timeout {
        /// The whole subject of the request.
        subject: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection broke while a request was on its way.
    #[error("the connection was lost during `{subject}`")]
    Lost {
        /// The whole subject of the request.
        subject: String,
    },
    /// The user may not send this request.
    #[error(
        "permission denied: the user may not publish to `{subject}` (see `jsplan permissions \
         --role {}`)",
        permissions::role_for(subject)
    )]
    Denied {
        /// The whole subject of the request.
        subject: String,
    },
    /// The user may not receive replies.
    #[error("permission denied: the user cannot receive replies on `{subject}`")]
    DeniedInbox {
        /// The subject of the replies.
        subject: String,
    },
    /// The cluster has nobody to decide.
    #[error("the JetStream cluster has no leader")]
    NoLeader,
    /// The request is larger than the server takes, or its subject is none.
    #[error("`{subject}` cannot be sent: {reason}")]
    Unsendable {
        /// The whole subject of the request.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server says no.
    #[error("{description} ({code}/{err_code})")]
    Api {
        /// The class of the error, after HTTP; nats-server is careless with it.
        code: u16,
        /// The error itself.
        err_code: u32,
        /// The server's words, escaped.
        description: String,
    },
    /// An answer that JetStream would not give.
    #[error("the answer to `{subject}` is not JetStream's: {reason}")]
    Unreadable {
        /// The whole subject of the request.
        subject: String,
        /// Where reading it ended.
        reason: String,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NoServer => "set `url` or `context` under `[server]`",
            Self::BadUrl { .. } => "write it as `nats://host:4222` or `tls://host:4222`",
            Self::BadSetting { .. } => "correct it under `[server]`",
            Self::Secret { reference, .. } => return Some(secret_help(reference)),
            Self::NoContext { name, known } => return Some(context_help(name, known)),
            Self::BadContext { .. } => "see what is wrong with `nats context validate`",
            Self::Refused { .. } => {
                "check that the server runs, and that host and port are its own"
            }
            Self::Resolve { .. } => "check the host in `url`, and that this network knows it",
            Self::ConnectTimeout { .. } => {
                "check the network and its firewalls; a server with `handshake_first` needs \
                 `tls_first = true`"
            }
            Self::Tls { .. } => {
                "check `tls_ca`, `tls_cert`, `tls_key` and `tls_first` against the server's own \
                 settings, and that its certificate names this host"
            }
            Self::Unauthorized { .. } => {
                "check `user` and `password`, `token`, `nkey` or `creds` under `[server]`, and that \
                 they have not expired"
            }
            Self::Unreachable { .. } => "see the server's log for its side of it",
            Self::NotEnabled { of: "account" } => {
                "check that the credentials are of the right account, and enable JetStream for it"
            }
            Self::NotEnabled { .. } => "start the server with `-js`, or with a `jetstream` block",
            Self::WrongPrefix { .. } => {
                "check `domain` and `api_prefix` under `[server]`: the name must be that of the \
                 server's JetStream domain, or of the account's import"
            }
            Self::Timeout { .. } => {
                "whether a change was carried out is unknown: look at the server's health, then run \
                 the command again, which reads first what was done"
            }
            Self::Lost { .. } => {
                "whether a change was carried out is unknown: run the command again, which reads \
                 first what was done"
            }
            Self::Denied { .. } => {
                "use a user who may, or let the server's operator allow what `jsplan permissions` prints"
            }
            Self::DeniedInbox { .. } => {
                "set `inbox_prefix` under `[server]`, or in the context, to a prefix that the user \
                 may subscribe to"
            }
            Self::NoLeader => "wait for the election, and see that most of the servers run",
            Self::Unreadable { .. } => "check that `url` leads to nats-server",
            Self::Unsendable { .. } | Self::Api { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// Whether there was no reply, so that asking again may give one.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Lost { .. })
    }

    /// Whether the server refuses because replicas of the stream are on their way elsewhere.
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self, Self::Api { err_code: 10124 | 10226, .. })
    }

    /// Whether there is no such message.
    pub(crate) fn is_no_message(&self) -> bool {
        matches!(self, Self::Api { err_code: 10037, .. })
    }

    /// Whether another resource has the name.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Api { err_code: 10058, .. })
    }

    /// Whether there are not as many servers as copies are asked for.
    pub(crate) fn is_too_many_replicas(&self) -> bool {
        matches!(self, Self::Api { err_code: 10005 | 10023 | 10074, .. })
    }

    /// Whether a message was not stored because another came before it.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { err_code: 10071 | 10164, .. })
    }

    /// How long a request that was refused may be sent again, because what stands in its way goes.
    ///
    /// While a server still removes the folder of a stream, or of an account with its last one, another
    /// cannot have its own (2.10.26, 2.11.11, 2.15.1: one of a thousand, for some milliseconds). A
    /// server that was just lost is missed where a stream is to be placed, until it is back.
    pub(crate) fn passes_within(&self) -> Option<Duration> {
        let Self::Api { code, err_code, description } = self else { return None };
        match (code, err_code) {
            (500, 10049) => Some(Duration::from_secs(2)),
            (_, 10005) if description.contains("offline") => Some(super::PATIENCE),
            (_, _) => None,
        }
    }

    /// Whether the server says that the resource is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Api { code: 404, err_code: 10059 | 10014, .. })
    }
}

/// Text of a server or a file, made harmless and of bounded length.
pub(super) fn escaped(text: &str) -> String {
    escape(&cut(text)).into_owned()
}

fn secret_help(reference: &str) -> String {
    match reference.split_once(':') {
        Some(("env", name)) => format!("set the environment variable `{name}`"),
        _ => "check the path, and that this user may read the file".to_owned(),
    }
}

fn context_help(name: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "there are none: make one with `nats context add`, or set `url`".to_owned();
    }
    let list: Vec<String> = known.iter().map(|it| format!("`{it}`")).collect();
    let list = list.join(", ");
    match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(near) => format!("{near} there are {list}"),
        None => format!("there are {list}"),
    }
}
