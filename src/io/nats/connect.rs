//! A connection as the spec describes it → what the client needs, and its failures in our words.

use std::{error::Error as _, fs, io, time::Duration};

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr, rustls};

use super::{
    context::{self, Context},
    error::{Error, escaped},
    secret,
};
use crate::{
    finding::Finding,
    spec::{
        Connection, Secret,
        connection::{is_open, looks_secret, unencrypted},
    },
    units,
};

/// How long one server has to answer a new connection.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// A clustered LIST waits 4 s for servers that are gone before it says what is missing.
const SHORTEST: Duration = Duration::from_secs(4);

/// A connection, resolved: contexts and secrets read. It has no `Debug`, since it holds secrets.
pub(super) struct Route {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) options: ConnectOptions,
    /// What API subjects begin with.
    pub(super) prefix: String,
    /// What reply subjects begin with.
    pub(super) inbox: String,
    /// The longest wait for one answer.
    pub(super) timeout: Duration,
    /// What others could read of what was read here.
    pub(super) cautions: Vec<Finding>,
}

/// How a client says who it is.
enum Identity {
    Creds(String),
    Bearer(String),
    Nkey(String),
    User(String, String),
    Token(String),
}

/// Reads what the connection refers to, its context first and its own settings over it.
pub(super) fn resolve(connection: &Connection) -> Result<Route, Error> {
    let context = context(connection)?;
    let (servers, in_url) = servers(connection, &context)?;
    let own = own_identity(connection)?;
    // Of its own settings the spec was judged where it was read.
    let foreign = own.is_none();
    let identity = own.or(context_identity(&context)?).or(in_url);
    let mut cautions = readable(connection, &context);
    if foreign && identity.is_some() && !is_encrypted(connection, &context) {
        let place = servers.iter().find(|it| is_open(it.scheme(), it.host())).map(place);
        cautions.extend(place.as_deref().map(unencrypted));
    }
    let inbox = inbox(connection, &context)?;
    let options = with_identity(ConnectOptions::new(), identity)?;
    let options = with_tls(options, connection, &context)?
        .connection_timeout(CONNECT)
        .custom_inbox_prefix(&inbox);
    let prefix = prefix(connection, &context)?;
    Ok(Route { servers, options, prefix, inbox, timeout: timeout(connection)?, cautions })
}

/// What subjects begin with: those of the API, and those of its answers.
pub(super) fn subjects(connection: &Connection) -> Result<(String, String), Error> {
    let context = context(connection)?;
    Ok((prefix(connection, &context)?, inbox(connection, &context)?))
}

fn context(connection: &Connection) -> Result<Context, Error> {
    connection.context.as_deref().map_or_else(|| Ok(Context::default()), context::read)
}

/// Files with secrets that others may read.
fn readable(connection: &Connection, context: &Context) -> Vec<Finding> {
    let Connection { password, token, creds, nkey, .. } = connection;
    let own = [password, token, creds, nkey].into_iter().flatten().cloned();
    let key = either(connection.tls_key.as_deref(), &context.key);
    let paths = [set(&context.creds), set(&context.nkey), key].into_iter().flatten();
    let files = own.chain(paths.map(|it| Secret::File(it.to_owned())));
    let named = connection.context.as_deref().and_then(|name| Some((name, context::path(name)?)));
    let named = named.and_then(|(name, path)| {
        let holds = [&context.token, &context.password, &context.user_jwt, &context.user_seed];
        let holds = holds.iter().any(|it| !it.is_empty()) || context.url.contains('@');
        secret::readable(&path, &format!("context {name}")).filter(|_| holds)
    });
    named.into_iter().chain(files.filter_map(|it| secret::caution(&it))).collect()
}

fn is_encrypted(connection: &Connection, context: &Context) -> bool {
    let Connection { tls_ca, tls_cert, tls_first, .. } = connection;
    let given = tls_ca.is_some() || tls_cert.is_some() || *tls_first;
    given || context.tls_first || !context.ca.is_empty() || !context.cert.is_empty()
}

fn inbox(connection: &Connection, context: &Context) -> Result<String, Error> {
    let inbox = either(connection.inbox_prefix.as_deref(), &context.inbox_prefix);
    subject("inbox_prefix", inbox.unwrap_or("_INBOX"))
}

/// What went wrong, told by its cause rather than by the layer that met it.
pub(super) fn failure(servers: &[ServerAddr], error: &ConnectError) -> Error {
    let at = places(servers);
    let reason = || escaped(&error.source().unwrap_or(error).to_string());
    match error.kind() {
        ConnectErrorKind::Dns => Error::Resolve { at },
        ConnectErrorKind::AuthorizationViolation => Error::Unauthorized { at },
        ConnectErrorKind::Authentication => {
            Error::Unreachable { at, reason: "the nkey cannot sign the server's challenge".into() }
        }
        ConnectErrorKind::TimedOut => Error::ConnectTimeout { at, seconds: CONNECT.as_secs() },
        ConnectErrorKind::Tls => Error::Tls { at, reason: reason() },
        ConnectErrorKind::Io | ConnectErrorKind::ServerParse | ConnectErrorKind::MaxReconnects => {
            broken(at, error.source(), reason())
        }
    }
}

/// The servers, for messages.
pub(super) fn places(servers: &[ServerAddr]) -> String {
    let places: Vec<String> = servers.iter().map(|it| format!("`{}`", place(it))).collect();
    places.join(", ")
}

fn broken(at: String, source: Option<&(dyn std::error::Error + 'static)>, reason: String) -> Error {
    // Said by the client where the server hangs up on somebody who waits for it to speak.
    if reason == "expected INFO, got nothing" {
        let reason = "the server sends no greeting, as one does that expects TLS first".to_owned();
        return Error::Tls { at, reason };
    }
    let Some(error) = source.and_then(|it| it.downcast_ref::<io::Error>()) else {
        return Error::Unreachable { at, reason };
    };
    if error.get_ref().is_some_and(|it| it.is::<rustls::Error>()) {
        return Error::Tls { at, reason };
    }
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Error::Refused { at };
    }
    Error::Unreachable { at, reason: error.kind().to_string() }
}

/// The servers without the users and passwords in their addresses, and the first of those.
fn servers(
    connection: &Connection,
    context: &Context,
) -> Result<(Vec<ServerAddr>, Option<Identity>), Error> {
    let mut servers = Vec::new();
    let mut identity = None;
    let of_context = context.url.split(',').map(str::trim).filter(|it| !it.is_empty());
    let urls: Vec<&str> = match connection.urls.as_slice() {
        [] => of_context.collect(),
        urls => urls.iter().map(String::as_str).collect(),
    };
    for url in urls {
        let address = address(url)?;
        if let (None, Some(user)) = (&identity, address.username()) {
            identity = Some(match address.password() {
                Some(password) => Identity::User(decoded(user), decoded(password)),
                None => Identity::Token(decoded(user)),
            });
        }
        let bare = format!("{}://{}", address.scheme(), place(&address));
        servers.push(bare.parse().map_err(|it| bad_url(url, it))?);
    }
    if servers.is_empty() {
        return Err(Error::NoServer);
    }
    Ok((servers, identity))
}

fn address(url: &str) -> Result<ServerAddr, Error> {
    let address: ServerAddr = url.parse().map_err(|it| bad_url(url, it))?;
    if address.host().is_empty() {
        return Err(bad_url(url, "it has no host"));
    }
    if !matches!(address.scheme(), "nats" | "tls") {
        return Err(bad_url(url, "only `nats` and `tls` are spoken"));
    }
    Ok(address)
}

fn bad_url(url: &str, reason: impl ToString) -> Error {
    let shown = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    };
    Error::BadUrl { url: escaped(&shown), reason: reason.to_string() }
}

/// `host:port`, as it can be written into an address again.
fn place(address: &ServerAddr) -> String {
    match address.host() {
        host if host.contains(':') => format!("[{host}]:{}", address.port()),
        host => format!("{host}:{}", address.port()),
    }
}

/// The text behind `%41` and its like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|it| str::from_utf8(it).ok());
        match pair.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn own_identity(connection: &Connection) -> Result<Option<Identity>, Error> {
    let Connection { user, password, token, creds, nkey, .. } = connection;
    Ok(Some(if let Some(creds) = creds {
        Identity::Creds(secret::resolve_creds(creds)?)
    } else if let Some(nkey) = nkey {
        Identity::Nkey(secret::resolve_seed(nkey)?)
    } else if let Some(user) = user {
        let password = password.as_ref().map(|it| secret::resolve("password", it)).transpose()?;
        Identity::User(user.clone(), password.unwrap_or_default())
    } else if let Some(token) = token {
        Identity::Token(secret::resolve("token", token)?)
    } else {
        return Ok(None);
    }))
}

/// In the order of the `nats` CLI; what is empty is not set.
fn context_identity(context: &Context) -> Result<Option<Identity>, Error> {
    let Context { token, user, password, creds, nkey, user_jwt, user_seed, .. } = context;
    Ok(Some(if !user.is_empty() {
        Identity::User(user.clone(), password.clone())
    } else if !creds.is_empty() {
        Identity::Creds(secret::resolve_creds(&Secret::File(creds.clone()))?)
    } else if !nkey.is_empty() {
        Identity::Nkey(secret::resolve_seed(&Secret::File(nkey.clone()))?)
    } else if !user_jwt.is_empty() && user_seed.is_empty() {
        Identity::Bearer(user_jwt.clone())
    } else if !user_jwt.is_empty() {
        Identity::Creds(format!(
            "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{user_seed}\n------END USER NKEY SEED------\n"
        ))
    } else if !token.is_empty() {
        Identity::Token(token.clone())
    } else {
        return Ok(None);
    }))
}

fn with_identity(
    options: ConnectOptions,
    identity: Option<Identity>,
) -> Result<ConnectOptions, Error> {
    let Some(identity) = identity else { return Ok(options) };
    Ok(match identity {
        // The parser looks for a line break behind the last line.
        Identity::Creds(text) => {
            options.credentials(&format!("{text}\n")).map_err(|_| Error::Secret {
                what: "credentials",
                reference: "creds".to_owned(),
                reason: "it is no credentials file: a user JWT and an nkey seed are wanted"
                    .to_owned(),
            })?
        }
        Identity::Bearer(jwt) => options.jwt(jwt, |_| async { Ok(Vec::new()) }),
        Identity::Nkey(seed) => options.nkey(seed),
        Identity::User(user, password) => options.user_and_password(user, password),
        Identity::Token(token) => options.token(token),
    })
}

fn with_tls(
    mut options: ConnectOptions,
    connection: &Connection,
    context: &Context,
) -> Result<ConnectOptions, Error> {
    let ca = file("tls_ca", either(connection.tls_ca.as_deref(), &context.ca))?;
    let cert = file("tls_cert", either(connection.tls_cert.as_deref(), &context.cert))?;
    let key = file("tls_key", either(connection.tls_key.as_deref(), &context.key))?;
    // Whoever names certificates does not want to be talked out of encryption by the server.
    options = options.require_tls(ca.is_some() || cert.is_some());
    if let Some(ca) = ca {
        options = options.add_root_certificates(ca.into());
    }
    match (cert, key) {
        (Some(cert), Some(key)) => {
            options = options.add_client_certificate(cert.into(), key.into());
        }
        (Some(value), None) => {
            return Err(Error::BadSetting {
                name: "tls_cert",
                value,
                reason: "`tls_key` is missing",
            });
        }
        (None, Some(value)) => {
            return Err(Error::BadSetting {
                name: "tls_key",
                value,
                reason: "`tls_cert` is missing",
            });
        }
        (None, None) => {}
    }
    let first = connection.tls_first || context.tls_first;
    Ok(if first { options.tls_first() } else { options })
}

/// A path that can be opened, so that a missing file is not taken for a failure of TLS.
fn file(name: &'static str, path: Option<&str>) -> Result<Option<String>, Error> {
    let Some(path) = path.map(secret::home) else { return Ok(None) };
    match fs::File::open(&path) {
        Ok(_) => Ok(Some(path)),
        Err(_) => {
            // Somebody may have put the text of the key where its path belongs.
            let value = if looks_secret(&path) { "***".to_owned() } else { escaped(&path) };
            Err(Error::BadSetting { name, value, reason: "the file cannot be read" })
        }
    }
}

fn prefix(connection: &Connection, context: &Context) -> Result<String, Error> {
    let Connection { domain, api_prefix, .. } = connection;
    // A domain in the spec is meant to win over a prefix in the context.
    let own = (api_prefix.as_deref(), domain.as_deref());
    let of_context = (set(&context.jetstream_api_prefix), set(&context.jetstream_domain));
    let (prefix, domain) = if own == (None, None) { of_context } else { own };
    match (prefix, domain) {
        (Some(prefix), _) => subject("api_prefix", prefix.trim_end_matches('.')),
        (None, Some(domain)) => Ok(format!("$JS.{}.API", subject("domain", domain)?)),
        (None, None) => Ok("$JS.API".to_owned()),
    }
}

fn timeout(connection: &Connection) -> Result<Duration, Error> {
    let Some(given) = connection.timeout else { return Ok(Duration::from_secs(10)) };
    let length = Duration::from_nanos(u64::try_from(given).unwrap_or_default());
    if length <= SHORTEST {
        return Err(Error::BadSetting {
            name: "timeout",
            value: units::show_duration(given),
            reason: "a cluster takes up to 4s to find out that a server is gone",
        });
    }
    Ok(length)
}

/// Text that can begin a subject: tokens without wildcards or spaces.
fn subject(name: &'static str, text: &str) -> Result<String, Error> {
    let token =
        |it: &str| !it.is_empty() && !it.contains(|c: char| c.is_whitespace() || "*>".contains(c));
    if text.split('.').all(token) {
        return Ok(text.to_owned());
    }
    let reason = "it is no subject without wildcards";
    Err(Error::BadSetting { name, value: escaped(text), reason })
}

fn either<'a>(own: Option<&'a str>, of_context: &'a str) -> Option<&'a str> {
    own.or(set(of_context))
}

fn set(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
