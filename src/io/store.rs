//! Where a state is kept: `state/<environment>.json`, its predecessors and its lock.
//!
//! The lock is a file of its own that is never renamed: a lock on the state file itself would
//! stop protecting with the first atomic replacement.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    clock,
    fault::{self, Point},
    files, who,
};
use crate::state::{self, State};

/// How many predecessors are kept.
const KEPT: usize = 50;

/// The states of one environment.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    environment: String,
}

/// A lock on a store; it ends with this value, or with the process.
#[derive(Debug)]
pub struct Lock {
    file: fs::File,
}

/// The journal of an apply: each finished step is on disk before a new one is begun.
///
/// Writing the whole state after each step would cost time in proportion to all there is.
#[derive(Debug)]
pub struct Journal {
    file: fs::File,
    path: PathBuf,
}

/// Who holds a lock, since when, for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// Given at locking.
    pub id: String,
    /// `apply`, `state rm` …
    pub operation: String,
    /// `user@host`, and the process.
    pub who: String,
    /// RFC 3339, UTC.
    pub since: String,
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The state is damaged, or of another format.
    #[error("`{}`: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: state::Error,
    },
    /// The file belongs to another environment.
    #[error("`{}` is the state of environment `{found}`, not of `{wanted}`", path.display())]
    OtherEnvironment {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// Somebody else is at work.
    #[error("the state of `{environment}` is locked{}", held_by(holder.as_ref()))]
    Locked {
        /// The environment.
        environment: String,
        /// By whom, if the lock says so.
        holder: Option<Holder>,
    },
    /// There is no predecessor with this serial.
    #[error("no state of `{environment}` with serial {serial} was kept")]
    NoSuchSerial {
        /// The environment.
        environment: String,
        /// The serial asked for.
        serial: u64,
    },
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |Holder { id, operation, who, since }| {
        format!(" by {who} for `{operation}` since {since} (lock {id})")
    })
}

impl Store {
    /// The store of an environment of a project.
    #[must_use]
    pub fn new(project: &Path, environment: &str) -> Self {
        Self { folder: project.join("state"), environment: environment.to_owned() }
    }

    /// The path of the state.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.environment))
    }

    fn history(&self) -> PathBuf {
        self.folder.join("history").join(&self.environment)
    }

    fn journal(&self) -> PathBuf {
        self.folder.join(format!("{}.journal", self.environment))
    }

    /// The state, or a new one where there is none yet; with what a killed apply left in its
    /// journal.
    pub async fn load(&self) -> Result<State, Error> {
        // The journal first: a state that is saved in between has taken it in.
        let journal = files::read_torn(&self.journal())?;
        let path = self.path();
        let state = match files::read_if_there(&path)? {
            Some(text) => self.parse(&path, &text)?,
            None => State::new(&self.environment),
        };
        Ok(match journal {
            Some(journal) => state.replayed(&journal),
            None => state,
        })
    }

    /// Reads a text as a state of this environment.
    pub fn parse(&self, path: &Path, text: &str) -> Result<State, Error> {
        let path = path.to_owned();
        let state = match State::read(text) {
            Ok(state) => state,
            Err(source) => return Err(Error::State { path, source }),
        };
        if state.environment == self.environment {
            return Ok(state);
        }
        let (found, wanted) = (state.environment, self.environment.clone());
        Err(Error::OtherEnvironment { path, found, wanted })
    }

    /// Replaces the state, and ends the journal that led to it.
    pub(crate) async fn save(&self, state: &State, _: &Lock) -> Result<(), Error> {
        files::make_folder(&self.folder)?;
        files::replace(&self.path(), &state.write())?;
        fault::at(Point::BeforeRemoval);
        files::remove_if_there(&self.journal())?;
        fault::at(Point::AfterRemoval);
        Ok(())
    }

    /// Makes room for another state: what a killed apply left in its journal goes into the present
    /// one as it was loaded, and that is kept as a predecessor.
    pub(crate) async fn settle(&self, loaded: &State, lock: &Lock) -> Result<(), Error> {
        files::sweep(&self.folder, &format!("{}.", self.environment))?;
        files::sweep(&self.history(), "")?;
        if self.journal().exists() {
            self.save(loaded, lock).await?;
        }
        self.keep_predecessor(lock).await
    }

    /// Opens the journal of an apply that leads to `next`.
    pub(crate) async fn begin(&self, next: &State, _: &Lock) -> Result<Journal, Error> {
        let path = self.journal();
        files::make_folder(&self.folder)?;
        files::replace(&path, &next.journal())?;
        let file = files::open_to_append(&path)?;
        fault::at(Point::JournalBegun);
        Ok(Journal { file, path })
    }

    /// Keeps a copy of the present state under its serial, before it is replaced by a later one.
    async fn keep_predecessor(&self, _: &Lock) -> Result<(), Error> {
        let path = self.path();
        let Some(text) = files::read_if_there(&path)? else { return Ok(()) };
        let state = self.parse(&path, &text)?;
        files::make_folder(&self.history())?;
        files::replace(&self.predecessor(state.serial), &text)?;
        let kept = self.kept().await?;
        for serial in &kept[..kept.len().saturating_sub(KEPT)] {
            files::remove_if_there(&self.predecessor(*serial))?;
        }
        fault::at(Point::PredecessorKept);
        Ok(())
    }

    fn predecessor(&self, serial: u64) -> PathBuf {
        self.history().join(format!("{serial:06}.json"))
    }

    /// The serials of the kept predecessors, oldest first.
    pub(crate) async fn kept(&self) -> Result<Vec<u64>, Error> {
        let folder = self.history();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(it) => return Err(files::Error::new("read", &folder, it).into()),
        };
        let serial = |it: fs::DirEntry| it.path().file_stem()?.to_str()?.parse().ok();
        let mut serials: Vec<u64> = entries.filter_map(Result::ok).filter_map(serial).collect();
        serials.sort_unstable();
        Ok(serials)
    }

    /// The kept predecessor with a serial.
    pub(crate) async fn load_kept(&self, serial: u64) -> Result<State, Error> {
        let path = self.predecessor(serial);
        match files::read_if_there(&path)? {
            Some(text) => self.parse(&path, &text),
            None => Err(Error::NoSuchSerial { environment: self.environment.clone(), serial }),
        }
    }

    /// Takes the lock, or says who holds it.
    pub async fn lock(&self, operation: &str) -> Result<Lock, Error> {
        files::make_folder(&self.folder)?;
        let path = self.folder.join(format!("{}.lock", self.environment));
        let file = files::open_to_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let holder = serde_json::from_str(&text).ok();
                return Err(Error::Locked { environment: self.environment.clone(), holder });
            }
            Err(fs::TryLockError::Error(it)) => {
                return Err(files::Error::new("lock", &path, it).into());
            }
        }
        let holder = Holder {
            id: Uuid::new_v4().to_string(),
            operation: operation.to_owned(),
            who: format!("{}, process {}", who::user_at_host(), std::process::id()),
            since: clock::now(),
        };
        let text = serde_json::to_string(&holder).expect("a holder is always written");
        files::overwrite(&file, &path, &text)?;
        fault::at(Point::Locked);
        Ok(Lock { file })
    }
}

impl Journal {
    /// Adds whole lines; they are on disk when this returns.
    pub(crate) async fn append(&self, lines: &str) -> Result<(), Error> {
        Ok(files::append(&self.file, &self.path, lines)?)
    }
}

/// A lineage nobody else has.
#[must_use]
pub(crate) fn lineage() -> String {
    Uuid::new_v4().to_string()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What is left in the file would only mislead; the lock itself ends with the handle.
        let _ = self.file.set_len(0);
    }
}
