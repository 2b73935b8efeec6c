//! The latest state that was seen from here, so that an older one in its place is noticed.
//!
//! A bucket can go backwards: a server that loses power may lose what it had acknowledged, and a
//! backup may be restored. So may a file. The note stays on this machine.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use crate::{io::files, state::State};

/// Where the note of an environment is.
#[derive(Debug)]
pub(super) struct Seen {
    folder: PathBuf,
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    lineage: String,
    serial: u64,
}

impl Seen {
    pub(super) fn new(folder: &Path, environment: &str) -> Self {
        Self { folder: folder.to_owned(), path: folder.join(format!("{environment}.seen")) }
    }

    /// The serial that was seen last.
    pub(super) fn serial(&self) -> Option<u64> {
        Some(self.read().ok()??.serial)
    }

    /// Refuses a state of the same lineage that is older than what was seen, or gone; takes note
    /// of a later one.
    pub(super) fn check(
        &self,
        saved: Option<&State>,
        place: impl Fn() -> String,
    ) -> Result<(), Error> {
        let note = self.read()?;
        let found = saved.map(|it| it.serial);
        if let Some(Note { lineage, serial: seen }) = &note {
            let same = saved.is_none_or(|it| it.lineage == *lineage);
            if same && found.unwrap_or_default() < *seen {
                return Err(Error::Backwards { place: place(), found, seen: *seen });
            }
            if same && found == Some(*seen) {
                return Ok(());
            }
        }
        if let Some(saved) = saved {
            match self.note(saved) {
                // Who only reads may have no right to write here.
                Err(Error::File(error)) if error.is_denied() => {}
                noted => noted?,
            }
        }
        Ok(())
    }

    /// Takes note of a state, be it older than the last.
    pub(super) fn note(&self, state: &State) -> Result<(), Error> {
        let note = Note { lineage: state.lineage.clone(), serial: state.serial };
        let text = serde_json::to_string(&note).expect("a note is always written");
        files::make_folder(&self.folder)?;
        Ok(files::replace(&self.path, &(text + "\n"))?)
    }

    /// What is no note is none: it only ever refuses.
    fn read(&self) -> Result<Option<Note>, Error> {
        let text = files::read_torn(&self.path)?;
        Ok(text.and_then(|it| serde_json::from_str(&it).ok()))
    }
}
