//! States in files: `state/<environment>.json`, its predecessors, its journal and its lock.
//!
//! The lock is a file of its own that is never renamed: a lock on the state file itself would stop
//! protecting with the first atomic replacement.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, Holder, Status};
use crate::io::{
    clock,
    fault::{self, Point},
    files,
};

/// How many predecessors are kept.
const KEPT: usize = 50;

/// The files of one environment.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    environment: String,
}

/// A journal that is open.
#[derive(Debug)]
pub(super) struct Lines {
    file: fs::File,
    path: PathBuf,
}

impl Files {
    pub(super) fn new(folder: PathBuf, environment: &str) -> Self {
        Self { folder, environment: environment.to_owned() }
    }

    /// The path of the state within the project.
    pub(super) fn place(&self) -> String {
        format!("state/{}.json", self.environment)
    }

    fn named(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.environment))
    }

    fn past(&self) -> PathBuf {
        self.folder.join("history").join(&self.environment)
    }

    fn path_of(&self, serial: u64) -> PathBuf {
        self.past().join(format!("{serial:06}.json"))
    }

    pub(super) fn text(&self) -> Result<Option<String>, Error> {
        Ok(files::read_torn(&self.named("json"))?)
    }

    pub(super) fn journal(&self) -> Result<Option<String>, Error> {
        Ok(files::read_torn(&self.named("journal"))?)
    }

    pub(super) fn replace(&self, text: &str) -> Result<(), Error> {
        files::make_folder(&self.folder)?;
        Ok(files::replace(&self.named("json"), text)?)
    }

    /// Removes what a death left half written.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        files::sweep(&self.folder, &format!("{}.", self.environment))?;
        Ok(files::sweep(&self.past(), "")?)
    }

    pub(super) fn end_journal(&self) -> Result<(), Error> {
        Ok(files::remove_if_there(&self.named("journal"))?)
    }

    pub(super) fn begin(&self, head: &str) -> Result<Lines, Error> {
        let path = self.named("journal");
        files::make_folder(&self.folder)?;
        files::replace(&path, head)?;
        let file = files::open_to_append(&path)?;
        Ok(Lines { file, path })
    }

    /// Keeps a copy of the present state under its serial, before it is replaced by a later one.
    pub(super) fn keep(&self, serial: u64, text: &str) -> Result<(), Error> {
        files::make_folder(&self.past())?;
        files::replace(&self.path_of(serial), text)?;
        let kept = self.kept()?;
        for serial in &kept[..kept.len().saturating_sub(KEPT)] {
            files::remove_if_there(&self.path_of(*serial))?;
        }
        fault::at(Point::PredecessorKept);
        Ok(())
    }

    /// Copies a state that cannot be read; its name is no serial, so it is no predecessor.
    pub(super) fn set_aside(&self) -> Result<Option<String>, Error> {
        let Some(text) = files::read_torn(&self.named("json"))? else { return Ok(None) };
        let name = format!("damaged-{}.json", clock::now().replace(':', ""));
        files::make_folder(&self.past())?;
        files::replace(&self.past().join(&name), &text)?;
        Ok(Some(format!("state/history/{}/{name}", self.environment)))
    }

    pub(super) fn kept(&self) -> Result<Vec<u64>, Error> {
        let folder = self.past();
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

    pub(super) fn predecessor(&self, serial: u64) -> Result<Option<String>, Error> {
        Ok(files::read_if_there(&self.path_of(serial))?)
    }

    /// Takes the lock, or gives who holds it.
    pub(super) fn lock(&self, holder: &Holder) -> Result<Result<fs::File, Option<Holder>>, Error> {
        files::make_folder(&self.folder)?;
        let path = self.named("lock");
        let file = files::open_to_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(Err(read_holder(&path))),
            Err(fs::TryLockError::Error(it)) => {
                return Err(files::Error::new("lock", &path, it).into());
            }
        }
        let text = serde_json::to_string(&holder).expect("a holder is always written");
        files::overwrite(&file, &path, &text)?;
        Ok(Ok(file))
    }

    pub(super) fn status(&self) -> Result<Status, Error> {
        let path = self.named("lock");
        let error = |it| files::Error::new("look at the lock", &path, it);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(Status::Free),
            Err(it) => return Err(error(it).into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(read_holder(&path).map_or(Status::Free, Status::Left)),
            Err(fs::TryLockError::WouldBlock) => Ok(Status::Held(read_holder(&path))),
            Err(fs::TryLockError::Error(it)) => Err(error(it).into()),
        }
    }
}

fn read_holder(path: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

impl Lines {
    /// Adds whole lines; they are on disk when this returns.
    pub(super) fn append(&self, lines: &str) -> Result<(), Error> {
        Ok(files::append(&self.file, &self.path, lines)?)
    }
}
