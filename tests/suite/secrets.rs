//! Secrets: none is ever repeated, and what others could read of them is said.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use jsplan::{io::server::Server, spec::Connection};
use nkeys::KeyPair;
use serde_json::json;

use crate::support::{
    identity::Operator,
    project::{Output, Project},
    server::{nats_server, place, server, server_with},
};

/// Stands in every secret that is not made up by others.
const CANARY: &str = "canaryZ7f3";

const SPEC: &str = "[streams.S]\nsubjects = [\"s\"]\n\
                    [streams.S.consumers.C]\nack_policy = \"explicit\"\n";

/// Whatever there is to run, what fails among it.
const COMMANDS: &[&[&str]] = &[
    &["validate"],
    &["validate", "--json"],
    &["fmt"],
    &["plan"],
    &["plan", "--json"],
    &["plan", "--out", "saved.jsplan"],
    &["show", "saved.jsplan"],
    &["apply", "saved.jsplan", "--auto-approve"],
    &["apply", "saved.jsplan", "--auto-approve"],
    &["apply", "--auto-approve"],
    &["apply", "--auto-approve", "--target", "stream.NONE"],
    &["drift"],
    &["drift", "--json"],
    &["show"],
    &["show", "--json"],
    &["import", "--all"],
    &["import", "--all", "--write"],
    &["state", "list"],
    &["state", "show", "stream.S"],
    &["state", "pull"],
    &["state", "verify"],
    &["state", "mv", "stream.S", "stream.T"],
    &["state", "restore"],
    &["history"],
    &["history", "--json"],
    &["rollback", "--to", "1"],
    &["lock", "status"],
    &["permissions", "--role", "applier"],
    &["permissions", "--role", "verifier", "--format", "json"],
    &["permissions", "--role", "planner", "--format", "nsc", "--only-listed"],
    &["plan", "--no-such-flag"],
];

/// Of those, what meets a spec or a server that it cannot use.
const FAILING: &[&[&str]] = &[
    &["validate"],
    &["validate", "--json"],
    &["plan", "--out", "saved.jsplan"],
    &["plan", "--json"],
    &["apply", "--auto-approve"],
    &["drift"],
    &["import", "--all"],
    &["state", "list"],
    &["permissions", "--role", "applier"],
];

/// As talkative as a program can be asked to be.
const LOUD: &[(&str, &str)] =
    &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("JSPLAN_LOG", "trace"), ("DEBUG", "1")];

/// A project whose outputs and files are searched for secrets.
struct Searched {
    project: Project,
    secrets: Vec<String>,
    /// What holds secrets because it was put there.
    given: Vec<&'static str>,
}

impl Searched {
    fn new(server: &Server, spec: &str, secrets: &[&str]) -> Self {
        let secrets = secrets.iter().map(|it| (*it).to_owned()).collect();
        Self { project: Project::new(server, spec), secrets, given: Vec::new() }
    }

    fn file(&mut self, name: &'static str, text: &str) {
        let path = self.project.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        fs::write(&path, text).expect("a file can be written");
        self.given.push(name);
    }

    #[track_caller]
    fn clean(&self, text: &str, of: &str) {
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "`{secret}` in {of}:\n{text}");
        }
    }

    /// Runs everything, and finds no secret in what was said and written.
    #[track_caller]
    fn each(&self, commands: &[&[&str]], run: impl Fn(&[&str]) -> Output) {
        for arguments in commands {
            let output = run(arguments);
            self.clean(&output.to_string(), &format!("{arguments:?}"));
        }
        for path in self.project.files().iter().filter(|it| it.is_file()) {
            let given = self.given.iter().any(|it| *path == self.project.path(it));
            if !given {
                let bytes = fs::read(path).expect("it can be read");
                self.clean(&String::from_utf8_lossy(&bytes), &path.display().to_string());
            }
        }
    }

    fn at_home(&self, commands: &[&[&str]], variables: &[(&str, &str)]) {
        let variables = [LOUD, variables].concat();
        self.each(commands, |arguments| self.project.run_at_home(&variables, arguments));
    }
}

fn users() -> Server {
    server_with(&format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {{ user: ann, password: {CANARY} }} ] }} }}\n\
         jetstream {{}}"
    ))
}

#[test]
fn a_password_behind_a_variable_or_a_file_is_never_repeated() {
    let server = users();
    let by = |reference: &str| format!("user = \"ann\"\npassword = \"{reference}\"\n{SPEC}");
    Searched::new(&server, &by("env:WORD"), &[CANARY]).at_home(COMMANDS, &[("WORD", CANARY)]);
    let mut searched = Searched::new(&server, &by("file:word"), &[CANARY]);
    searched.file("word", CANARY);
    searched.at_home(COMMANDS, &[]);
    // A wrong one is a secret, too: perhaps of somewhere else.
    let wrong = format!("{CANARY}-wrong");
    Searched::new(&server, &by("env:WORD"), &[CANARY]).at_home(FAILING, &[("WORD", &wrong)]);
}

#[test]
fn a_token_a_seed_and_credentials_are_never_repeated() {
    let token = server_with(&format!("authorization {{ token: {CANARY} }}\njetstream {{}}"));
    let spec = format!("token = \"env:WORD\"\n{SPEC}");
    Searched::new(&token, &spec, &[CANARY]).at_home(COMMANDS, &[("WORD", CANARY)]);

    let pair = KeyPair::new_user();
    let seed = pair.seed().expect("a seed");
    let config = format!(
        "accounts {{ APP {{ jetstream: enabled, users: [ {{ nkey: {} }} ] }} }}\njetstream {{}}",
        pair.public_key()
    );
    let spec = format!("nkey = \"env:SEED\"\n{SPEC}");
    Searched::new(&server_with(&config), &spec, &[&seed]).at_home(COMMANDS, &[("SEED", &seed)]);

    let operator = Operator::new();
    let creds = operator.creds();
    let lines: Vec<&str> = creds.lines().filter(|it| it.len() > 40).collect();
    let spec = format!("creds = \"file:user.creds\"\n{SPEC}");
    let mut searched = Searched::new(&server_with(&operator.config), &spec, &lines);
    searched.file("user.creds", &creds);
    searched.at_home(COMMANDS, &[]);
    searched.file("user.creds", &creds.replace("JWT", "TWJ"));
    searched.at_home(FAILING, &[]);
}

#[test]
fn a_user_in_an_address_is_never_repeated() {
    let server = users();
    let searched = Searched::new(&server, SPEC, &[CANARY]);
    let url = format!("nats://ann:{CANARY}@{}", place(&server));
    searched.each(COMMANDS, |arguments| searched.project.run_elsewhere(arguments, &url));
    for url in [
        format!("nats://ann:{CANARY}-wrong@{}", place(&server)),
        format!("nats://{CANARY}@{}", place(&server)),
        format!("http://ann:{CANARY}@{}", place(&server)),
        format!("ann:{CANARY}@:x"),
        format!("nats://ann:{CANARY}@{},nats://bob:{CANARY}@127.0.0.1:1", place(&server)),
    ] {
        searched.each(FAILING, |arguments| searched.project.run_elsewhere(arguments, &url));
    }
}

#[test]
fn what_a_context_holds_is_never_repeated() {
    let server = users();
    let seed = KeyPair::new_user().seed().expect("a seed");
    let key = format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----");
    let url = server.url();
    let with_user = format!("nats://ann:{CANARY}@{}", place(&server));
    for context in [
        json!({ "url": url, "user": "ann", "password": CANARY }),
        json!({ "url": url, "user": "ann", "password": format!("{CANARY}-wrong") }),
        json!({ "url": url, "token": CANARY }),
        json!({ "url": with_user }),
        json!({ "url": url, "nkey": seed }),
        json!({ "url": url, "creds": format!("-----BEGIN NATS USER JWT-----\n{CANARY}") }),
        json!({ "url": url, "user_jwt": format!("eyJ.{CANARY}"), "user_seed": seed }),
        json!({ "url": url, "cert": "cert.pem", "key": key, "user": "ann", "password": CANARY }),
        json!({ "url": url, "cert": key, "key": "key.pem" }),
        json!({ "password": [CANARY], "token": { "a": seed } }),
    ] {
        let spec = "[server]\ncontext = \"dev\"\n".to_owned() + SPEC;
        let mut searched = Searched::new(&server, "", &[CANARY, &seed]);
        fs::write(searched.project.path("environments/test.toml"), spec).expect("it is a file");
        searched.file(".config/nats/context/dev.json", &context.to_string());
        searched.at_home(FAILING, &[]);
    }
}

#[test]
fn a_secret_in_a_spec_is_refused_and_never_repeated() {
    let server = server();
    let seed = KeyPair::new_user().seed().expect("a seed");
    for lines in [
        format!("user = \"ann\"\npassword = \"{CANARY}\""),
        format!("token = \"{CANARY}\""),
        format!("token = {CANARY}"),
        format!("token = \"{CANARY}"),
        format!("password = '{CANARY}\nuser = \"ann\""),
        format!("nkey = \"{seed}\""),
        format!("nkey = \"env:{seed}\""),
        format!("nkey = \"file:{seed}\""),
        format!("creds = \"\"\"-----BEGIN NATS USER JWT-----\n{CANARY}\"\"\""),
        format!("tls.key = \"\"\"-----BEGIN PRIVATE KEY-----\n{CANARY}\"\"\"\ntls.cert = \"a\""),
        format!("user = \"ann\"\npasword = \"{CANARY}\""),
        format!("user = \"ann\"\nuser = \"bob\"\npassword = \"{CANARY}\""),
    ] {
        let mut searched = Searched::new(&server, &format!("{lines}\n{SPEC}"), &[CANARY, &seed]);
        searched.given.push("environments/test.toml");
        searched.project.run_at_home(LOUD, &["validate"]).ended(1).says("test.toml:");
        searched.at_home(FAILING, &[]);
    }
    for url in ["nats://ann:canaryZ7f3@host", "nats://canaryZ7f3@host:1", "ann:canaryZ7f3@host"] {
        let mut searched = Searched::new(&server, "", &[CANARY]);
        searched.file("environments/test.toml", &format!("[server]\nurl = \"{url}\"\n{SPEC}"));
        searched.at_home(FAILING, &[]);
        searched.file("environments/test.toml", &format!("[server]\nurl = \"{url}\n{SPEC}"));
        searched.at_home(FAILING, &[]);
    }
}

#[test]
fn a_rehearsal_takes_no_secret_along() {
    let server = users();
    let spec = format!("user = \"ann\"\npassword = \"env:WORD\"\n{SPEC}");
    let searched = Searched::new(&server, &spec, &[CANARY]);
    let binary = nats_server().display().to_string();
    let variables = [("WORD", CANARY), ("NATS_SERVER", binary.as_str())];
    let output = searched.project.run_at_home(&variables, &["plan", "--rehearse"]);
    searched.clean(&output.to_string(), "a rehearsal");
}

#[test]
fn a_connection_is_debugged_without_its_password() {
    let urls = vec![format!("nats://ann:{CANARY}@host:4222")];
    let shown = format!("{:?}", Connection { urls, ..Connection::default() });
    assert_eq!(shown.contains("nats://***@host:4222"), !shown.contains(CANARY), "{shown}");
}

#[test]
fn credentials_that_cross_a_network_unencrypted_are_warned_of() {
    let server = server();
    let validated = |url: &str, more: &str| {
        let project = Project::new(&server, "");
        let spec = format!("[server]\nurl = \"{url}\"\n{more}\n{SPEC}");
        fs::write(project.path("environments/test.toml"), spec).expect("it can be written");
        project.run(&["validate"]).ended(0)
    };
    let user = "user = \"ann\"\npassword = \"env:WORD\"";
    validated("nats://prod.example:4222", user)
        .says("warning[unprotected]: credentials may go to `nats://prod.example:4222` unencrypted")
        .says("write `tls://HOST:4222`");
    validated("nats://127.evil.example", user).says("warning[unprotected]");
    for quiet in
        ["tls://prod.example", "nats://127.0.0.1:4222", "nats://localhost", "nats://[::1]:4222"]
    {
        validated(quiet, user).never_says("unprotected");
    }
    validated("nats://prod.example", "").never_says("unprotected");
    validated("nats://prod.example", &format!("{user}\ntls.ca = \"ca.pem\""))
        .never_says("unprotected");
}

#[test]
fn a_secret_that_others_may_read_is_warned_of() {
    let server = users();
    let spec = format!("user = \"ann\"\npassword = \"file:word\"\n{SPEC}");
    let project = Project::new(&server, &spec);
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    fs::write(project.path("word"), CANARY).expect("it can be written");
    mode(&project.path("word"), 0o640);
    project
        .run_at_home(&[], &["plan"])
        .ended(0)
        .says(
            "warning[unprotected]: others may read the secret behind `file:word`: its mode is 640",
        )
        .says("chmod 600");
    mode(&project.path("word"), 0o600);
    project.run_at_home(&[], &["plan"]).ended(0).never_says("unprotected");

    let context = project.path(".config/nats/context/dev.json");
    fs::create_dir_all(context.parent().expect("a folder")).expect("a folder");
    let text = json!({ "url": server.url(), "user": "ann", "password": CANARY }).to_string();
    fs::write(&context, text).expect("it can be written");
    mode(&context, 0o644);
    let plan = || project.run_at_home(&[], &["plan", "--context", "dev"]).ended(0);
    plan().says("others may read the secret behind `context dev`: its mode is 644");
    mode(&context, 0o600);
    plan().never_says("unprotected");
}
