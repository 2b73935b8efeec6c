//! Connecting: every way to be somebody, and every way to fail, each with its own words.

use std::{env, fs, net::TcpListener, path::Path, process::Command};

use jsplan::{
    io::{
        nats::{self, Session, error::Error},
        run,
        server::{JETSTREAM, Server},
    },
    spec::{Connection, Secret},
};
use nkeys::KeyPair;
use tempfile::TempDir;

use crate::support::{
    client::Client,
    identity::{Authority, Operator},
    server::{freeze, place, server, server_with},
};

fn to(server: &Server) -> Connection {
    Connection { urls: vec![server.url().to_owned()], ..Connection::default() }
}

async fn connect(connection: &Connection) -> Result<Session, Error> {
    nats::connect(connection, "jsplan test").await
}

/// The message of a failure and its remedy, with what differs between runs taken out.
fn told(error: &Error, place: &str) -> String {
    let help = error.help().unwrap_or_else(|| "none".to_owned());
    format!("{error}\nhelp: {help}").replace(place, "HOST:PORT")
}

/// What connecting and asking for the server fails with.
fn failure(connection: &Connection) -> Error {
    run(async {
        match connect(connection).await {
            Ok(session) => session.server().await.map(|it| format!("{it:?}")),
            Err(error) => Err(error),
        }
    })
    .expect_err("a failure")
}

/// The account behind a connection that must work.
fn account(connection: &Connection) -> String {
    run(async {
        let session = connect(connection).await.expect("a session");
        session.server().await.expect("a server").account.unwrap_or_default()
    })
}

/// A file that a reference points to.
fn secret_file(server: &Server, text: &str) -> Option<Secret> {
    let path = server.dir().join("secret");
    fs::write(&path, text).expect("a file");
    Some(Secret::File(path.to_string_lossy().into_owned()))
}

#[test]
fn a_refused_port_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let place = free.expect("a port").to_string();
    let connection = Connection { urls: vec![format!("nats://{place}")], ..Connection::default() };
    insta::assert_snapshot!(told(&failure(&connection), &place));
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    let connection = Connection {
        urls: vec!["nats://no-such-host.invalid".to_owned()],
        ..Connection::default()
    };
    insta::assert_snapshot!(told(&failure(&connection), "HOST:PORT"));
}

#[test]
fn an_address_is_never_repeated_with_its_password() {
    for url in ["http://user:hunter2@host", "nats://user:hunter2@host:99999", "user:hunter2@:1"] {
        let connection = Connection { urls: vec![url.to_owned()], ..Connection::default() };
        let told = told(&failure(&connection), "HOST:PORT");
        assert!(matches!(failure(&connection), Error::BadUrl { .. }), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_connection_without_a_server_is_told_what_to_set() {
    insta::assert_snapshot!(told(&failure(&Connection::default()), "HOST:PORT"));
}

#[test]
fn a_server_that_does_not_answer_is_given_up_on() {
    let server = server();
    freeze(&server);
    insta::assert_snapshot!(told(&failure(&to(&server)), place(&server)));
}

#[test]
fn a_request_without_an_answer_names_its_subject_and_the_wait() {
    let server = server();
    let error = run(async {
        let connection = Connection { timeout: Some(4_100_000_000), ..to(&server) };
        let session = connect(&connection).await.expect("a session");
        freeze(&server);
        session.request("STREAM.CREATE.A", br#"{"name":"A"}"#.to_vec(), 0).await.err()
    });
    insta::assert_snapshot!(told(&error.expect("a failure"), place(&server)));
}

#[test]
fn a_timeout_that_a_cluster_cannot_keep_is_refused() {
    let server = server();
    let connection = Connection { timeout: Some(4_000_000_000), ..to(&server) };
    insta::assert_snapshot!(told(&failure(&connection), place(&server)));
}

const USERS: &str = "accounts { APP { jetstream: enabled, users: [ { user: u, password: p%40ss } ] } }\n\
                     jetstream {}";

#[test]
fn a_user_comes_with_a_password_by_reference() {
    let server = server_with(USERS);
    let user = Some("u".to_owned());
    let password = secret_file(&server, "p%40ss\n");
    assert_eq!(account(&Connection { user: user.clone(), password, ..to(&server) }), "APP");

    let wrong = secret_file(&server, "hunter2\n");
    let error = failure(&Connection { user, password: wrong, ..to(&server) });
    insta::assert_snapshot!(told(&error, place(&server)));
}

#[test]
fn a_user_in_an_address_is_used_and_never_shown() {
    let server = server_with(USERS);
    let url = |password: &str| format!("nats://u:{password}@{}", place(&server));
    let with = |password: &str| Connection { urls: vec![url(password)], ..Connection::default() };
    assert_eq!(account(&with("p%2540ss")), "APP");
    let error = failure(&with("hunter2"));
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_secret_may_be_in_the_environment() {
    // Set by cargo for every test, so that this process need not change its own environment.
    let token = env::var("CARGO_PKG_NAME").expect("the tests are run by cargo");
    let server = server_with(&format!("authorization {{ token: {token} }}\n{JETSTREAM}"));
    let token = Some(Secret::Env("CARGO_PKG_NAME".to_owned()));
    account(&Connection { token, ..to(&server) });

    let token = Some(Secret::Env("JSPLAN_NO_SUCH_TOKEN".to_owned()));
    let error = failure(&Connection { token, ..to(&server) });
    insta::assert_snapshot!(told(&error, place(&server)));
}

#[test]
fn a_file_with_a_secret_that_is_not_there_is_named() {
    let server = server();
    let creds = Some(Secret::File("no/such.creds".to_owned()));
    insta::assert_snapshot!(told(&failure(&Connection { creds, ..to(&server) }), place(&server)));
}

#[test]
fn a_token_file_is_no_credentials_file() {
    let server = server();
    let creds = secret_file(&server, "hunter2");
    let error = failure(&Connection { creds, ..to(&server) });
    assert!(matches!(error, Error::Secret { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn an_nkey_signs_the_challenge_of_the_server() {
    let user = KeyPair::new_user();
    let config = format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {{ nkey: {} }} ] }} }}\n{JETSTREAM}",
        user.public_key()
    );
    let server = server_with(&config);
    let seed = format!("-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n", {
        user.seed().expect("a seed")
    });
    let nkey = secret_file(&server, &seed);
    assert_eq!(account(&Connection { nkey, ..to(&server) }), "APP");

    let nkey = secret_file(&server, &KeyPair::new_user().seed().expect("a seed"));
    let error = failure(&Connection { nkey, ..to(&server) });
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

#[test]
fn a_credentials_file_names_the_account_of_an_operator() {
    let operator = Operator::new();
    let server = server_with(&operator.config);
    let creds = secret_file(&server, &operator.creds());
    assert_eq!(account(&Connection { creds, ..to(&server) }), operator.account());

    let stranger = secret_file(&server, &Operator::new().creds());
    let error = failure(&Connection { creds: stranger, ..to(&server) });
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

/// A server that speaks TLS, and the folder of its files and of those of its clients.
struct Tls {
    server: Server,
    files: TempDir,
}

impl Tls {
    fn start(options: &str) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let authority = Authority::new("own");
        let (certificate, key) = authority.issue("127.0.0.1");
        let (client, client_key) = authority.issue("client");
        for (name, text) in [
            ("server.pem", certificate),
            ("server.key", key),
            ("client.pem", client),
            ("client.key", client_key),
            ("ca.pem", authority.certificate()),
            ("other.pem", Authority::new("other").certificate()),
        ] {
            fs::write(files.path().join(name), text).expect("a file");
        }
        let at = files.path().display();
        let server = server_with(&format!(
            "tls {{ cert_file: \"{at}/server.pem\", key_file: \"{at}/server.key\", \
             ca_file: \"{at}/ca.pem\"{options} }}\n{JETSTREAM}"
        ));
        Self { server, files }
    }

    fn file(&self, name: &str) -> Option<String> {
        Some(self.files.path().join(name).to_string_lossy().into_owned())
    }
}

#[test]
fn tls_needs_the_authority_behind_the_server() {
    let tls = Tls::start("");
    let with = |ca: &str| Connection { tls_ca: tls.file(ca), ..to(&tls.server) };
    account(&with("ca.pem"));
    insta::assert_snapshot!(told(&failure(&with("other.pem")), place(&tls.server)));
}

#[test]
fn a_file_of_tls_that_is_not_there_is_named() {
    let server = server();
    let connection = Connection { tls_ca: Some("no/such.pem".to_owned()), ..to(&server) };
    insta::assert_snapshot!(told(&failure(&connection), place(&server)));
}

#[test]
fn a_server_may_ask_for_the_certificate_of_the_client() {
    let tls = Tls::start(", verify: true");
    let bare = Connection { tls_ca: tls.file("ca.pem"), ..to(&tls.server) };
    let error = failure(&bare);
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let (tls_cert, tls_key) = (tls.file("client.pem"), tls.file("client.key"));
    account(&Connection { tls_cert, tls_key, ..bare });
}

#[test]
fn tls_may_come_before_the_greeting() {
    let tls = Tls::start(", handshake_first: true");
    let late = Connection { tls_ca: tls.file("ca.pem"), ..to(&tls.server) };
    insta::assert_snapshot!(told(&failure(&late), place(&tls.server)));
    account(&Connection { tls_first: true, ..late });
}

#[test]
fn encryption_that_was_asked_for_is_not_given_up() {
    let tls = Tls::start("");
    let plain = server();
    let connection = Connection { tls_ca: tls.file("ca.pem"), ..to(&plain) };
    let error = failure(&connection);
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

#[test]
fn a_server_without_jetstream_is_told_apart_from_an_account_without() {
    let server = server_with("");
    insta::assert_snapshot!("server", told(&failure(&to(&server)), place(&server)));
    let server = server_with(
        "accounts { APP { users: [ { user: u, password: p } ] } }\nno_auth_user: u\n\
         jetstream {}",
    );
    insta::assert_snapshot!("account", told(&failure(&to(&server)), place(&server)));
}

#[test]
fn a_domain_is_part_of_the_prefix() {
    let server = server_with("jetstream { domain: hub }");
    let domain = |it: &str| Connection { domain: Some(it.to_owned()), ..to(&server) };
    account(&domain("hub"));
    account(&Connection { api_prefix: Some("$JS.hub.API.".to_owned()), ..to(&server) });
    insta::assert_snapshot!(told(&failure(&domain("hob")), place(&server)));
}

const INBOX: &str = "accounts { APP { jetstream: enabled, users: [ { user: u, password: p, \
                     permissions: { subscribe: [\"_INBOX_planner.>\"] } } ] } }\n\
                     no_auth_user: u\njetstream {}";

#[test]
fn replies_come_on_the_prefix_that_the_user_may_read() {
    let server = server_with(INBOX);
    let inbox_prefix = Some("_INBOX_planner".to_owned());
    assert_eq!(account(&Connection { inbox_prefix, ..to(&server) }), "APP");
    let error = failure(&to(&server));
    let Error::DeniedInbox { subject } = &error else { panic!("{error}") };
    insta::assert_snapshot!(told(&error, subject));
}

#[test]
fn a_write_that_is_denied_is_named() {
    let server = server_with(
        "accounts { APP { jetstream: enabled, users: [ { user: u, password: p, \
         permissions: { publish: { deny: [\"$JS.API.STREAM.DELETE.*\"] } } } ] } }\n\
         no_auth_user: u\njetstream {}",
    );
    let error = run(async {
        Client::connect(server.url()).await.stream("A").await;
        let session = connect(&to(&server)).await.expect("a session");
        session.request("STREAM.DELETE.A", Vec::new(), 0).await.err()
    });
    insta::assert_snapshot!(told(&error.expect("a denial"), place(&server)));
}

/// Runs a test once more, in a process of its own whose environment is this.
fn again(test: &str, variables: &[(&str, &Path)]) {
    let binary = env::current_exe().expect("this program");
    let mut command = Command::new(binary);
    command.args(["--exact", test, "--nocapture"]).envs(variables.iter().copied());
    let output = command.output().expect("it runs");
    let talk = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{talk}{}", String::from_utf8_lossy(&output.stderr));
    assert!(talk.contains("1 passed"), "{talk}");
}

#[test]
fn a_context_of_the_nats_cli_says_where_and_who() {
    let in_context =
        |name: &str| Connection { context: Some(name.to_owned()), ..Connection::default() };
    if env::var_os("JSPLAN_IN_CONTEXT").is_some() {
        assert_eq!(account(&in_context("dev")), "APP");
        let error = failure(&in_context("prod"));
        assert!(matches!(error, Error::BadContext { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        insta::assert_snapshot!(told(&failure(&in_context("dve")), "HOST:PORT"));
        assert!(matches!(failure(&in_context("../context/dev")), Error::NoContext { .. }));
        return;
    }
    let server = server_with(USERS);
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("nats").join("context");
    fs::create_dir_all(&folder).expect("a folder");
    let dev = serde_json::json!({
        "description": "", "url": server.url(), "user": "u", "password": "p%40ss", "token": "",
        "creds": "", "nkey": "", "cert": "", "color_scheme": "", "something_new": [1],
    });
    fs::write(folder.join("dev.json"), dev.to_string()).expect("a context");
    fs::write(folder.join("prod.json"), "{\"password\": [\"hunter2\"]}").expect("a context");
    again(
        "connect::a_context_of_the_nats_cli_says_where_and_who",
        &[("XDG_CONFIG_HOME", home.path()), ("JSPLAN_IN_CONTEXT", Path::new("1"))],
    );
}

#[test]
fn credentials_may_be_in_a_variable_as_text_or_as_a_path() {
    const TEXT: &str = "JSPLAN_CREDS_TEXT";
    const FILE: &str = "JSPLAN_CREDS_FILE";
    if let Ok(url) = env::var("JSPLAN_CREDS_URL") {
        for name in [TEXT, FILE] {
            let creds = Some(Secret::Env(name.to_owned()));
            account(&Connection { urls: vec![url.clone()], creds, ..Connection::default() });
        }
        return;
    }
    let operator = Operator::new();
    let server = server_with(&operator.config);
    let (text, file) = (operator.creds(), server.dir().join("user.creds"));
    fs::write(&file, &text).expect("a file");
    again(
        "connect::credentials_may_be_in_a_variable_as_text_or_as_a_path",
        &[("JSPLAN_CREDS_URL", Path::new(server.url())), (TEXT, Path::new(&text)), (FILE, &file)],
    );
}
