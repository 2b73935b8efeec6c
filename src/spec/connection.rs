//! `[server]`: how a server is reached, by whom, and what it must turn out to be; and
//! `[state.server]`, which is another one.

use serde_json::Value;
use toml::de::DeValue;

use super::{
    Connection, Expect, Secret,
    value::{Fields, Key, Reader, Toml, Written},
};
use crate::{
    finding::{Code, Finding, Place},
    schema::Kind,
};

/// `[server]` as one file has it, or as several have laid over each other.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Where the table begins, in the last file that has one.
    pub(super) place: Option<Place>,
    fields: Fields,
}

pub(crate) const SERVER: &[Key] = &[
    (
        "url",
        Kind::Set(&Kind::Text),
        "The servers of one cluster: `nats://HOST:4222`, or a list of them.",
    ),
    ("context", Kind::Text, "A context of the `nats` CLI, which brings servers and credentials."),
    ("user", Kind::Text, "The user's name."),
    ("password", Kind::Text, "Where the password is: `env:NAME` or `file:PATH`."),
    ("token", Kind::Text, "Where the token is: `env:NAME` or `file:PATH`."),
    ("creds", Kind::Text, "Where the credentials are: `env:NAME` or `file:PATH`."),
    ("nkey", Kind::Text, "Where the seed of the nkey is: `env:NAME` or `file:PATH`."),
    ("domain", Kind::Text, "The JetStream domain."),
    ("api_prefix", Kind::Subject, "The prefix of the JetStream API, where it is not `$JS.API`."),
    ("inbox_prefix", Kind::Subject, "The prefix of reply subjects."),
    ("timeout", Kind::Duration, "Longest wait for one answer."),
];
pub(crate) const ONE_URL: Key =
    ("url", Kind::Text, "The servers of one cluster: `nats://HOST:4222`, or a list of them.");
pub(crate) const TLS: &[Key] = &[
    ("tls.ca", Kind::Text, "Path of the certificate of the authority."),
    ("tls.cert", Kind::Text, "Path of the client's certificate."),
    ("tls.key", Kind::Text, "Path of the key of the client's certificate."),
    ("tls.first", Kind::Bool, "Speak TLS before the server's greeting."),
];
pub(crate) const EXPECT: &[Key] = &[
    ("expect.cluster", Kind::Text, "The cluster's name."),
    ("expect.account", Kind::Text, "The account."),
    ("expect.domain", Kind::Text, "The JetStream domain."),
];

/// Two ways to find a server: of a later layer, one replaces both of an earlier one.
const WAYS: &[&str] = &["url", "context"];
/// Ways to prove who one is, and what comes with each.
const PROOFS: &[&str] = &["user", "password", "token", "creds", "nkey"];
const SECRETS: &[&str] = &["password", "token", "creds", "nkey"];

/// Reads `[server]` of one file. What looks like a secret is refused, and kept from being shown.
pub(super) fn read(reader: &mut Reader<'_>, given: &Toml<'_>) -> Server {
    read_at("server", &[("tls", TLS), ("expect", EXPECT)], reader, given)
}

/// Reads `[state.server]` of one file.
pub(super) fn read_of_state(reader: &mut Reader<'_>, given: &Toml<'_>) -> Server {
    read_at("state.server", &[("tls", TLS)], reader, given)
}

fn read_at(
    path: &str,
    tables: &[(&'static str, &'static [Key])],
    reader: &mut Reader<'_>,
    given: &Toml<'_>,
) -> Server {
    let Some(table) = reader.table_of(path, given) else { return Server::default() };
    let single = table.get("url").filter(|it| matches!(it.get_ref(), DeValue::String(_)));
    let inside = tables.iter().map(|it| it.0).chain(single.map(|_| "url"));
    let inside: Vec<_> = inside.collect();
    let mut fields = reader.section(path, SERVER, &inside, given);
    // Under a key that nobody knows may stand a password whose key is misspelt.
    let known = |name: &str| SERVER.iter().any(|it| it.0 == name) || inside.contains(&name);
    for (_, value) in table.iter().filter(|it| !known(it.0.get_ref())) {
        reader.secrets.push(reader.place(value.span()));
    }
    if let Some(url) = single {
        let Written { value, place } = reader.key(&ONE_URL, url);
        fields.insert("url", Written { value: vec![value].into(), place });
    }
    for (name, keys) in tables {
        if let Some(inner) = table.get(*name) {
            fields.append(&mut reader.section(&format!("{path}.{name}"), keys, &[], inner));
        }
    }
    judge(reader, &mut fields);
    Server { place: Some(reader.place(given.span())), fields }
}

/// Lays a later file's `[server]` over an earlier one's.
pub(super) fn lay(below: &mut Server, mut above: Server) {
    for group in [WAYS, PROOFS] {
        if group.iter().any(|it| above.fields.contains_key(it)) {
            below.fields.retain(|name, _| !group.contains(name));
        }
    }
    below.fields.append(&mut above.fields);
    below.place = above.place.or(below.place);
}

/// The connection, and what is missing or doubled in it. `spec` is the beginning of the spec.
pub(super) fn connection(
    server: &Server,
    spec: Place,
    findings: &mut Vec<Finding>,
) -> (Connection, Expect) {
    if server.first(WAYS).is_none() {
        let message = "the spec does not say which server it is for";
        let help = "under `[server]`, add `url = \"nats://HOST:4222\"`, or `context = \"NAME\"` of \
                    the `nats` CLI";
        let place = server.place.unwrap_or(spec);
        findings.push(Finding::error(Code::Missing, message).at(place).help(help));
    }
    let text = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let expect = Expect {
        cluster: text("expect.cluster"),
        account: text("expect.account"),
        domain: text("expect.domain"),
    };
    (judged(server, findings), expect)
}

/// The connection of a state that is kept on a server of its own.
pub(super) fn connection_of_state(
    server: &Server,
    spec: Place,
    findings: &mut Vec<Finding>,
) -> Connection {
    if server.first(WAYS).is_none() {
        let message = "`[state.server]` does not say which server it is";
        let help = "add `url` or `context`; without the table it is the environment's own server";
        let place = server.place.unwrap_or(spec);
        findings.push(Finding::error(Code::Missing, message).at(place).help(help));
    }
    judged(server, findings)
}

fn judged(server: &Server, findings: &mut Vec<Finding>) -> Connection {
    exclusive(server, findings);
    protected(server, findings);
    required(server, findings);
    let text = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let hidden = |name: &str| server.get(name).and_then(Value::as_str).and_then(Secret::parse);
    let urls = server.get("url").and_then(Value::as_array).into_iter().flatten();
    Connection {
        urls: urls.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        context: text("context"),
        user: text("user"),
        password: hidden("password"),
        token: hidden("token"),
        creds: hidden("creds"),
        nkey: hidden("nkey"),
        tls_ca: text("tls.ca"),
        tls_cert: text("tls.cert"),
        tls_key: text("tls.key"),
        tls_first: server.get("tls.first") == Some(&Value::Bool(true)),
        domain: text("domain"),
        api_prefix: text("api_prefix"),
        inbox_prefix: text("inbox_prefix"),
        timeout: server.get("timeout").and_then(Value::as_i64),
    }
}

impl Server {
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).map(|it| &it.value)
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, Place)> {
        names.iter().find_map(|it| Some((*it, self.fields.get(it)?.place)))
    }
}

/// What is wrong with single values; such a value becomes `Null`.
fn judge(reader: &mut Reader<'_>, fields: &mut Fields) {
    for (name, written) in fields {
        let found = match &written.value {
            Value::String(text) => text_problem(name, text),
            Value::Array(urls) if urls.is_empty() => {
                let message = "`url` names no server".to_owned();
                Some((Code::Missing, message, "write \"nats://HOST:4222\"".to_owned()))
            }
            Value::Array(urls) => urls.iter().filter_map(Value::as_str).find_map(url_problem),
            Value::Number(it) if it.as_i64() == Some(0) => {
                let message = format!("`{name}` is 0: no answer could ever come");
                Some((Code::BadValue, message, "write a duration such as \"10s\"".to_owned()))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        };
        let Some((code, message, help)) = found else { continue };
        reader.findings.push(Finding::error(code, message).at(written.place).help(help));
        if code == Code::InlineSecret {
            reader.secrets.push(written.place);
        }
        written.value = Value::Null;
    }
}

type Problem = (Code, String, String);

fn text_problem(name: &str, text: &str) -> Option<Problem> {
    let problem = |code, message: String, help: &str| Some((code, message, help.to_owned()));
    let reference = ["env:", "file:"].iter().find_map(|it| text.strip_prefix(it));
    if SECRETS.contains(&name) && reference.is_none_or(looks_secret) {
        let message = format!("`{name}` is no reference, and a spec is no place for a secret");
        let help = "write where it is: \"env:NAME\" for a variable, \"file:PATH\" for a file";
        return problem(Code::InlineSecret, message, help);
    }
    if SECRETS.contains(&name) && Secret::parse(text).is_none() {
        let message = format!("`{name}` refers to nothing");
        return problem(Code::BadValue, message, "write \"env:NAME\" or \"file:PATH\"");
    }
    if name.starts_with("tls.") && text.contains("-----BEGIN") {
        let message = format!("`{name}` holds the text of a file");
        return problem(Code::InlineSecret, message, "write the path of the file instead");
    }
    if text.is_empty() {
        let help = format!("write its value, or remove the line of `{name}`");
        return problem(Code::BadValue, format!("`{name}` is empty"), &help);
    }
    if name == "context" && text.contains(['/', '\\']) {
        let message = format!("`context` is {text:?}, which is a path");
        return problem(Code::BadName, message, "write a name that `nats context ls` shows");
    }
    if name.ends_with("_prefix") && text.contains(['*', '>']) {
        let message = format!("`{name}` is {text:?}, and a prefix has no wildcards");
        return problem(Code::BadSubject, message, "write it without `*` and `>`");
    }
    if name.ends_with("domain") && text.contains(['.', '*', '>', ' ']) {
        let message = format!("`{name}` is {text:?}, and a domain is one token");
        return problem(Code::BadName, message, "write the domain's name alone, such as \"hub\"");
    }
    None
}

fn url_problem(url: &str) -> Option<Problem> {
    let problem = |code, message: String, help: &str| Some((code, message, help.to_owned()));
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let host = rest.trim_end_matches('/');
    if host.contains('@') {
        let message = "`url` holds a user, a password or a token".to_owned();
        let help = "write \"nats://HOST:4222\", and `user`, `password` or `token` on their own";
        return problem(Code::InlineSecret, message, help);
    }
    if !["nats", "tls"].contains(&scheme) {
        let message = format!("`url` begins with {:?}", format!("{scheme}://"));
        return problem(
            Code::BadValue,
            message,
            "write \"nats://HOST:4222\" or \"tls://HOST:4222\"",
        );
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        Some(_) | None => (host, "4222"),
    };
    let strange = |it: char| it.is_whitespace() || it.is_control() || "/?#,".contains(it);
    if name.is_empty() || name.contains(strange) || port.parse::<u16>().is_err() {
        let message = format!("`url` is {url:?}, which names no server");
        return problem(
            Code::BadValue,
            message,
            "write \"nats://HOST:4222\"; several go into a list",
        );
    }
    None
}

/// Credentials that would cross a network for everybody to read.
fn protected(server: &Server, findings: &mut Vec<Finding>) {
    let encrypted =
        TLS.iter().any(|it| server.get(it.0).is_some_and(|it| *it != Value::Bool(false)));
    let Some((_, place)) = server.first(&["url"]).filter(|_| !encrypted) else { return };
    if server.first(PROOFS).is_none() {
        return;
    }
    let urls = server.get("url").and_then(Value::as_array).into_iter().flatten();
    let open = urls.filter_map(Value::as_str).find(|url| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
        let host = rest.trim_end_matches('/');
        let named = host.rsplit_once(':').filter(|it| !it.1.ends_with(']')).map_or(host, |it| it.0);
        is_open(scheme, named.trim_start_matches('[').trim_end_matches(']'))
    });
    findings.extend(open.map(|it| unencrypted(it).at(place)));
}

/// Whether what is sent to a host crosses a network unencrypted, unless the server insists.
pub(crate) fn is_open(scheme: &str, host: &str) -> bool {
    let digits = |it: &str| it.parse::<u8>().is_ok();
    let loops = host.starts_with("127.") && host.split('.').all(digits);
    let named = host == "localhost" || host.ends_with(".localhost") || host == "::1";
    scheme == "nats" && !loops && !named
}

/// What is said of credentials that go to such a place.
pub(crate) fn unencrypted(place: &str) -> Finding {
    let message = format!("credentials may go to `{place}` unencrypted");
    Finding::warning(Code::Unprotected, message)
        .help("write `tls://HOST:4222`: with `nats://` whoever answers decides whether to encrypt")
}

/// Whether a text that should say where a secret is looks like the secret itself: a file's text, a
/// seed, or a token of an operator.
pub(crate) fn looks_secret(text: &str) -> bool {
    let seed = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit();
    text.contains("-----BEGIN")
        || text.starts_with("eyJ") && text.contains('.')
        || text.starts_with("SU") && text.len() == 58 && text.bytes().all(seed)
}

/// Addresses as they may be repeated: who connects, and by what secret, stays out.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(it, rest)| (it, rest));
    let between = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{between}***@{host}"),
        None => url.to_owned(),
    }
}

/// Settings of which there can be one.
fn exclusive(server: &Server, findings: &mut Vec<Finding>) {
    let mut conflict = |first: &str, (second, place): (&str, Place), help: &str| {
        let message = format!("`{second}` stands beside `{first}`");
        findings.push(Finding::error(Code::Conflict, message).at(place).help(help));
    };
    if let Some((context, _)) = server.first(&["context"]) {
        let brought = ["url", "user", "password", "token", "creds", "nkey"];
        let brought = brought.iter().chain(TLS.iter().map(|it| &it.0));
        for other in brought.filter_map(|it| server.first(&[*it])) {
            let help = "a context brings its servers and credentials: keep one or the other";
            conflict(context, other, help);
        }
        return;
    }
    let proofs = [&["user", "password"][..], &["token"], &["creds"], &["nkey"]];
    let mut proofs = proofs.iter().filter_map(|it| server.first(it));
    if let Some((first, _)) = proofs.next() {
        let help = "keep the one by which the server knows you";
        proofs.for_each(|it| conflict(first, it, help));
    }
    if let (Some((first, _)), Some(second)) =
        (server.first(&["domain"]), server.first(&["api_prefix"]))
    {
        let help = "a domain stands for the prefix `$JS.DOMAIN.API`: keep one of the two";
        conflict(first, second, help);
    }
}

/// Settings that need another.
fn required(server: &Server, findings: &mut Vec<Finding>) {
    let pairs = [
        (
            "user",
            "password",
            "add `password = \"env:NAME\"`; a token has a key of its own, `token`",
        ),
        ("password", "user", "add `user`; a password belongs to one"),
        ("tls.cert", "tls.key", "add `key`, the path of the certificate's key"),
        ("tls.key", "tls.cert", "add `cert`, the path of the key's certificate"),
    ];
    for (has, lacks, help) in pairs {
        let Some((_, place)) = server.first(&[has]).filter(|_| server.get(lacks).is_none()) else {
            continue;
        };
        let message = format!("`{has}` stands without `{lacks}`");
        findings.push(Finding::error(Code::Missing, message).at(place).help(help));
    }
}
