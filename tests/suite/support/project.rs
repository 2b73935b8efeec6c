//! A project in a folder of its own, and jsplan run in it as a user runs it.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    time::{Duration, Instant},
};

use jsplan::io::server::Server;
use serde_json::Value;
use tempfile::TempDir;

const JSPLAN: &str = env!("CARGO_BIN_EXE_jsplan");

/// A folder with `environments/` and `state/`, and the server it is used on.
pub(crate) struct Project {
    folder: TempDir,
    url: String,
    env: String,
}

/// What a run of jsplan said, and how it ended.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stdout, stderr, code } = self;
        write!(f, "{stdout}--- stderr ---\n{stderr}--- exit {code} ---")
    }
}

impl Output {
    /// The output, where the run ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// The output, where it holds this text on stdout or stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "no `{text}` in:\n{self}"
        );
        self
    }

    /// The output, where it holds this text nowhere.
    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "`{text}` in:\n{self}");
        self
    }
}

impl Project {
    /// One environment, `test`, with this spec, on this server.
    pub(crate) fn new(server: &Server, spec: &str) -> Self {
        Self::at(server.url(), spec)
    }

    /// One environment, `test`, with this spec, on whatever answers at these addresses, with commas
    /// between them.
    pub(crate) fn at(url: &str, spec: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            url: url.to_owned(),
            env: "test".to_owned(),
        };
        fs::create_dir(project.path("environments")).expect("a folder can be made");
        project.write_spec(spec);
        project
    }

    /// The shipped environments, one of them chosen, on this server.
    pub(crate) fn shipped(server: &Server, env: &str) -> Self {
        let project = Self { env: env.to_owned(), ..Self::new(server, "") };
        fs::remove_file(project.path("environments/test.toml")).expect("it was written");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["environments", "environments/migrations"] {
            let files = fs::read_dir(shipped.join(folder)).expect("environments ship");
            for file in files.filter_map(Result::ok).filter(|it| it.path().is_file()) {
                let name = file.file_name().into_string().expect("a name");
                let text = fs::read_to_string(file.path()).expect("a file can be read");
                project.write(&format!("{folder}/{name}"), &text);
            }
        }
        project
    }

    /// Replaces the spec of `test`; `[server]` is added.
    pub(crate) fn write_spec(&self, spec: &str) {
        let urls: Vec<_> = self.url.split(',').map(|it| format!("\"{it}\"")).collect();
        let text = format!("[server]\nurl = [{}]\n{spec}", urls.join(", "));
        fs::write(self.path("environments/test.toml"), text).expect("a file can be written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    /// Writes a file of the project, and the folder it is in.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// The parsed state of the environment.
    pub(crate) fn state(&self) -> Value {
        let path = format!("state/{}.json", self.env);
        serde_json::from_str(&self.read(&path)).expect("a state is JSON")
    }

    /// Every file of the project, by path.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder of ours").filter_map(Result::ok) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
                found.push(entry.path());
            }
        }
        found.sort();
        found
    }

    fn command(&self, arguments: &[&str], url: &str) -> Command {
        let mut command = Command::new(JSPLAN);
        command
            .args(arguments)
            .args(["--env", &self.env, "--server", url])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("USER", "tester")
            .env("HOSTNAME", "host")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs jsplan to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Output::of(self.command(arguments, &self.url).output().expect("jsplan runs"))
    }

    /// Runs jsplan to its end in an environment of another name, wherever its server is.
    pub(crate) fn run_in(&self, env: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(JSPLAN);
        command.args(arguments).arg(format!("--env={env}")).current_dir(self.folder.path());
        Output::of(command.env_clear().stdin(Stdio::null()).output().expect("jsplan runs"))
    }

    /// Runs jsplan to its end with some variables set.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = self.command(arguments, &self.url);
        Output::of(command.envs(variables.iter().copied()).output().expect("jsplan runs"))
    }

    /// Runs jsplan to its end on another server.
    pub(crate) fn run_elsewhere(&self, arguments: &[&str], url: &str) -> Output {
        Output::of(self.command(arguments, url).output().expect("jsplan runs"))
    }

    /// Runs jsplan to its end on the server that the spec names.
    pub(crate) fn run_as_the_spec_says(&self, arguments: &[&str]) -> Output {
        Output::ending(self.start_as_the_spec_says(arguments))
    }

    /// Runs exactly these words to their end.
    pub(crate) fn run_plainly(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(JSPLAN);
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        Output::of(command.output().expect("jsplan runs"))
    }

    /// Starts jsplan on the server that the spec names, and does not wait for it.
    pub(crate) fn start_as_the_spec_says(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(JSPLAN);
        command.args(arguments).args(["--env", &self.env]).current_dir(self.folder.path());
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("jsplan runs")
    }

    /// The same with some variables set, and the project as the home of its user.
    pub(crate) fn run_at_home(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(JSPLAN);
        command.args(arguments).args(["--env", &self.env]).current_dir(self.folder.path());
        command.env_clear().env("HOME", self.folder.path()).envs(variables.iter().copied());
        Output::of(command.stdin(Stdio::null()).output().expect("jsplan runs"))
    }

    /// Runs jsplan on a terminal of its own, with this typed into it if it asks.
    pub(crate) fn run_on_terminal(&self, arguments: &[&str], typed: &str) -> Output {
        let plain = self.command(arguments, &self.url);
        let mut line = format!("exec {JSPLAN:?}");
        for argument in plain.get_args() {
            line += &format!(" {argument:?}");
        }
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .current_dir(self.folder.path())
            .env("NO_COLOR", "1")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`script` gives a terminal");
        let mut said = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut stdout = Vec::new();
        while !String::from_utf8_lossy(&stdout).contains("Do you want") {
            if said.read_until(b'\n', &mut stdout).expect("it can be read") == 0 {
                break;
            }
        }
        let mut input = child.stdin.take().expect("it was piped");
        // Where nothing is asked, nobody listens.
        let _ = input.write_all(typed.as_bytes());
        drop(input);
        said.read_to_end(&mut stdout).expect("it can be read");
        let rest = child.wait_with_output().expect("it ends");
        Output::of(process::Output { stdout, ..rest })
    }

    /// Starts jsplan and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(&[], arguments)
    }

    /// Starts jsplan with some variables set, and does not wait for it.
    pub(crate) fn start_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Child {
        let mut command = self.command(arguments, &self.url);
        command.envs(variables.iter().copied()).spawn().expect("jsplan runs")
    }

    /// Applies, and expects success.
    #[track_caller]
    pub(crate) fn apply(&self) -> Output {
        self.run(&["apply", "--auto-approve"]).ended(0)
    }

    /// Applies what costs something, with consent.
    #[track_caller]
    pub(crate) fn apply_allowing(&self, consents: &[&str]) -> Output {
        self.allowing(&["apply", "--auto-approve"], consents).ended(0)
    }

    /// Runs jsplan to its end with consent to some harm.
    pub(crate) fn allowing(&self, arguments: &[&str], consents: &[&str]) -> Output {
        let consents = consents.iter().flat_map(|it| ["--allow", *it]);
        self.run(&arguments.iter().copied().chain(consents).collect::<Vec<_>>())
    }

    /// Plans, and expects that nothing is left to do.
    #[track_caller]
    pub(crate) fn plans_empty(&self) {
        self.run(&["plan", "--detailed-exitcode"]).ended(0).says("No changes.");
    }
}

impl Output {
    /// Waits for the end of a run.
    pub(crate) fn ending(run: Child) -> Self {
        Self::of(run.wait_with_output().expect("it ends"))
    }

    fn of(output: process::Output) -> Self {
        let text = |it: Vec<u8>| String::from_utf8(it).expect("jsplan writes UTF-8");
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

/// Waits until a condition holds, at most a minute.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
