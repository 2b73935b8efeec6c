//! Where a state is kept, its predecessors, its journal and its lock: in files of the project, or in
//! a key-value bucket that those who apply share.
//!
//! Both keep the same texts, sealed in the same way, and both are held to the same tests. What they
//! have in common is here; `file` and `kv` know how a text is kept, and `seen` which was the last.

mod file;
mod kv;
mod seen;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::{file::Files, kv::Kv, seen::Seen};
use super::{
    clock,
    fault::{self, Point},
    files,
    nats::{self, Session},
    who,
};
use crate::{
    spec::Kept,
    state::{self, State},
    units::show_duration,
};

/// The states of one environment.
#[derive(Debug)]
pub struct Store {
    environment: String,
    backend: Backend,
    seen: Seen,
}

#[derive(Debug)]
enum Backend {
    File(Files),
    Kv(Arc<Kv>),
}

/// A lock on a store; it ends with this value.
///
/// One on files ends with the process too. One in a bucket does not: nobody can tell a holder that
/// is gone from one that is slow, so somebody has to say so.
#[derive(Debug)]
pub struct Lock {
    holder: Holder,
    held: Held,
}

#[derive(Debug)]
enum Held {
    File(std::fs::File),
    Kv { kv: Arc<Kv>, sequence: u64 },
}

/// The journal of an apply: each finished step is kept before a new one is begun.
///
/// Writing the whole state after each step would cost time in proportion to all there is.
#[derive(Debug)]
pub struct Journal(Pen);

#[derive(Debug)]
enum Pen {
    File(file::Lines),
    Kv(kv::Lines),
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

/// How a lock stands.
#[derive(Debug)]
pub enum Status {
    /// Nobody holds it.
    Free,
    /// Nobody holds it; the last who did ended without letting go of it.
    Left(Holder),
    /// Somebody holds it; `None` where it does not say who.
    Held(Option<Holder>),
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The bucket could not be read or written.
    #[error("the state in bucket `{bucket}`: {source}")]
    Server {
        /// The bucket.
        bucket: String,
        /// What happened.
        source: nats::error::Error,
    },
    /// The bucket is not there, and cannot be made.
    #[error("the bucket `{bucket}` for the state cannot be made: {source}")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// What happened.
        source: nats::error::Error,
    },
    /// The bucket would not keep a state.
    #[error("the bucket `{bucket}` cannot keep a state: {reason}")]
    BadBucket {
        /// The bucket.
        bucket: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The state is damaged, or of another format.
    #[error("{place}: {source}")]
    State {
        /// The file, or the key.
        place: String,
        /// What is wrong with it.
        source: state::Error,
    },
    /// The state belongs to another environment.
    #[error("{place} is the state of environment `{found}`, not of `{wanted}`")]
    OtherEnvironment {
        /// The file, or the key.
        place: String,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// An older state stands where a later one was.
    #[error("{place} {}, and serial {seen} of it was seen here before", went_back(*.found))]
    Backwards {
        /// The file, or the key.
        place: String,
        /// The serial that is there; `None` where there is no state at all.
        found: Option<u64>,
        /// The serial that was there.
        seen: u64,
    },
    /// Somebody wrote the state without holding its lock.
    #[error("the state of `{environment}` was written by somebody else meanwhile")]
    Raced {
        /// The environment.
        environment: String,
    },
    /// Somebody else is at work.
    #[error("the state of `{environment}` is locked{}", held_by(holder.as_ref()))]
    Locked {
        /// The environment.
        environment: String,
        /// By whom, if the lock says so.
        holder: Option<Holder>,
        /// Whether the lock outlives its holder.
        outlives: bool,
    },
    /// The lock was taken away while it was held.
    #[error("the lock of `{environment}` was taken away by `force-unlock` (it was {id})")]
    LockLost {
        /// The environment.
        environment: String,
        /// The id it had.
        id: String,
    },
    /// Nobody holds the lock that should be taken away.
    #[error("the state of `{environment}` is not locked")]
    NotLocked {
        /// The environment.
        environment: String,
    },
    /// The lock has another id.
    #[error("the lock has another id than `{given}`: it is held{}", held_by(Some(holder)))]
    OtherLock {
        /// The id that was given.
        given: String,
        /// Who holds it.
        holder: Holder,
    },
    /// The lock is held by a process that runs.
    #[error("the lock is held by a process that runs{}", held_by(holder.as_ref()))]
    HolderRuns {
        /// Who holds it.
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
    holder.map_or_else(String::new, |it| format!(" {}", it.described()))
}

fn went_back(found: Option<u64>) -> String {
    found.map_or_else(|| "is gone".to_owned(), |it| format!("has serial {it}"))
}

impl Holder {
    fn new(operation: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            operation: operation.to_owned(),
            who: format!("{}, process {}", who::user_at_host(), std::process::id()),
            since: clock::now(),
        }
    }

    /// Who, for what, since when and for how long, under which id.
    #[must_use]
    pub fn described(&self) -> String {
        let Self { id, operation, who, since } = self;
        let age = clock::seconds_since(since);
        let age = age.map_or_else(String::new, |it| {
            format!(", {} ago", show_duration(it.saturating_mul(1_000_000_000)))
        });
        format!("by {who} for `{operation}` since {since}{age} (lock {id})")
    }
}

impl Store {
    /// The store of an environment in files of its project.
    #[must_use]
    pub fn new(project: &Path, environment: &str) -> Self {
        let folder = project.join("state");
        Self {
            environment: environment.to_owned(),
            seen: Seen::new(&folder, environment),
            backend: Backend::File(Files::new(folder, environment)),
        }
    }

    /// The store of an environment in a bucket; what was seen of it is remembered in the project.
    #[must_use]
    pub fn shared(project: &Path, environment: &str, kept: &Kept, session: Session) -> Self {
        Self {
            environment: environment.to_owned(),
            seen: Seen::new(&project.join("state"), environment),
            backend: Backend::Kv(Arc::new(Kv::new(session, kept, environment))),
        }
    }

    /// Where the state is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.backend {
            Backend::File(files) => files.place(),
            Backend::Kv(kv) => kv.place(),
        }
    }

    /// The state, or a new one where there is none yet; with what a killed apply left in its
    /// journal. One that is older than what was seen here before is refused.
    pub async fn load(&self) -> Result<State, Error> {
        self.load_with(|saved| self.seen.check(saved, || format!("`{}`", self.place()))).await
    }

    /// The state, even where a later one was seen before.
    pub async fn load_any(&self) -> Result<State, Error> {
        self.load_with(|_| Ok(())).await
    }

    async fn load_with(
        &self,
        check: impl FnOnce(Option<&State>) -> Result<(), Error>,
    ) -> Result<State, Error> {
        // The journal first: a state that is saved in between has taken it in.
        let journal = match &self.backend {
            Backend::File(files) => files.journal()?,
            Backend::Kv(kv) => kv.journal().await?,
        };
        let text = match &self.backend {
            Backend::File(files) => files.text()?,
            Backend::Kv(kv) => kv.text().await?,
        };
        let saved = text.map(|it| self.parse(&format!("`{}`", self.place()), &it)).transpose()?;
        check(saved.as_ref())?;
        let state = saved.unwrap_or_else(|| State::new(&self.environment));
        Ok(match journal {
            Some(journal) => state.replayed(&journal),
            None => state,
        })
    }

    /// Reads a text as a state of this environment.
    pub fn parse(&self, place: &str, text: &str) -> Result<State, Error> {
        let place = place.to_owned();
        let state = match State::read(text) {
            Ok(state) => state,
            Err(source) => return Err(Error::State { place, source }),
        };
        if state.environment == self.environment {
            return Ok(state);
        }
        let (found, wanted) = (state.environment, self.environment.clone());
        Err(Error::OtherEnvironment { place, found, wanted })
    }

    /// Replaces the state, and ends the journal that led to it.
    pub async fn save(&self, state: &State, lock: &Lock) -> Result<(), Error> {
        lock.check(&self.environment).await?;
        match &self.backend {
            Backend::File(files) => {
                files.replace(&state.write())?;
                fault::at(Point::BeforeRemoval);
                files.end_journal()?;
            }
            Backend::Kv(kv) => {
                kv.replace(state.serial, &state.write()).await?;
                fault::at(Point::BeforeRemoval);
                kv.end_journal().await?;
            }
        }
        fault::at(Point::AfterRemoval);
        self.seen.note(state)
    }

    /// Makes room for another state: what a killed apply left in its journal goes into the present
    /// one as it was loaded, and that is kept as a predecessor.
    pub async fn settle(&self, loaded: &State, lock: &Lock) -> Result<(), Error> {
        let left = match &self.backend {
            Backend::File(files) => {
                files.sweep()?;
                files.journal()?
            }
            Backend::Kv(kv) => kv.journal().await?,
        };
        if left.is_some() {
            self.save(loaded, lock).await?;
        }
        let Backend::File(files) = &self.backend else {
            // A bucket keeps the past of its keys.
            return Ok(());
        };
        let Some(text) = files.text()? else { return Ok(()) };
        let serial = self.parse(&format!("`{}`", self.place()), &text)?.serial;
        files.keep(serial, &text)
    }

    /// Keeps a state that cannot be read, before it is replaced by one that can; says where.
    pub(crate) async fn set_aside(&self, _: &Lock) -> Result<Option<String>, Error> {
        match &self.backend {
            Backend::File(files) => files.set_aside(),
            Backend::Kv(kv) => Ok(kv.text().await?.map(|_| format!("the past of {}", kv.place()))),
        }
    }

    /// Opens the journal of an apply that leads to `next`.
    pub async fn begin(&self, next: &State, lock: &Lock) -> Result<Journal, Error> {
        lock.check(&self.environment).await?;
        let pen = match (&self.backend, &lock.held) {
            (Backend::Kv(kv), Held::Kv { sequence, .. }) => {
                let id = lock.holder.id.clone();
                Pen::Kv(kv::Lines::begin(kv, &next.journal(), *sequence, id).await?)
            }
            (Backend::File(files), _) => Pen::File(files.begin(&next.journal())?),
            (Backend::Kv(_), Held::File(_)) => {
                return Err(Error::NotLocked { environment: self.environment.clone() });
            }
        };
        fault::at(Point::JournalBegun);
        Ok(Journal(pen))
    }

    /// The serials of the kept predecessors, oldest first.
    pub async fn kept(&self) -> Result<Vec<u64>, Error> {
        match &self.backend {
            Backend::File(files) => files.kept(),
            Backend::Kv(kv) => kv.kept().await,
        }
    }

    /// The kept predecessor with a serial.
    pub async fn load_kept(&self, serial: u64) -> Result<State, Error> {
        let text = match &self.backend {
            Backend::File(files) => files.predecessor(serial)?,
            Backend::Kv(kv) => kv.predecessor(serial).await?,
        };
        match text {
            Some(text) => self.parse(&format!("serial {serial} of `{}`", self.place()), &text),
            None => Err(Error::NoSuchSerial { environment: self.environment.clone(), serial }),
        }
    }

    /// The latest serial that is known of, damaged, gone or kept: the next is later than it.
    pub(crate) async fn latest(&self) -> Result<u64, Error> {
        // One that cannot be read may have been a step ahead of the last that was kept.
        let after = self.kept().await?.last().map(|it| it + 1);
        Ok(after.max(self.seen.serial()?).unwrap_or_default())
    }

    /// Takes the lock, or says who holds it.
    pub async fn lock(&self, operation: &str) -> Result<Lock, Error> {
        let holder = Holder::new(operation);
        let held = match &self.backend {
            Backend::File(files) => files.lock(&holder)?.map(Held::File),
            Backend::Kv(kv) => {
                let locked = kv.lock(&holder).await?;
                locked.map(|sequence| Held::Kv { kv: Arc::clone(kv), sequence })
            }
        };
        match held {
            Ok(held) => {
                fault::at(Point::Locked);
                Ok(Lock { holder, held })
            }
            Err(holder) => Err(Error::Locked {
                environment: self.environment.clone(),
                holder,
                outlives: self.outlives_holders(),
            }),
        }
    }

    /// Takes the lock, and tries again for a while where somebody holds it.
    pub async fn lock_within(&self, operation: &str, longest: Duration) -> Result<Lock, Error> {
        const FIRST: Duration = Duration::from_millis(100);
        const LONGEST: Duration = Duration::from_secs(16);
        let deadline = Instant::now() + longest;
        let mut pause = FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lock(operation).await {
                Err(Error::Locked { .. }) if !left.is_zero() => {}
                answer => return answer,
            }
            clock::pause(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Whether a lock outlives a holder that is killed.
    #[must_use]
    pub fn outlives_holders(&self) -> bool {
        match &self.backend {
            Backend::File(_) => false,
            Backend::Kv(_) => true,
        }
    }

    /// How the lock stands.
    pub async fn status(&self) -> Result<Status, Error> {
        match &self.backend {
            Backend::File(files) => files.status(),
            Backend::Kv(kv) => Ok(match kv.holder().await? {
                Some((_, holder)) => Status::Held(holder),
                None => Status::Free,
            }),
        }
    }

    /// Takes the lock away from a holder that is gone.
    pub async fn force_unlock(&self, id: &str) -> Result<(), Error> {
        let holder = match self.status().await? {
            Status::Held(holder) => holder,
            Status::Free | Status::Left(_) => {
                return Err(Error::NotLocked { environment: self.environment.clone() });
            }
        };
        if let Some(holder) = holder.clone().filter(|it| it.id != id) {
            return Err(Error::OtherLock { given: id.to_owned(), holder });
        }
        match &self.backend {
            // What the operating system holds ends with the process, and by nothing else.
            Backend::File(_) => Err(Error::HolderRuns { holder }),
            Backend::Kv(kv) => kv.force_unlock(id).await,
        }
    }
}

impl Journal {
    /// Adds whole lines; they are kept when this returns. An apply whose lock was taken away adds
    /// nothing more.
    pub async fn append(&self, lines: &str) -> Result<(), Error> {
        match &self.0 {
            Pen::File(pen) => pen.append(lines),
            Pen::Kv(pen) => pen.append(lines).await,
        }
    }
}

impl Lock {
    /// The id by which it can be taken away.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.holder.id
    }

    /// Whether it is still held: one in a bucket can be taken away.
    pub async fn is_held(&self) -> Result<bool, Error> {
        match &self.held {
            Held::File(_) => Ok(true),
            Held::Kv { kv, sequence } => kv.is_locked_by(*sequence).await,
        }
    }

    async fn check(&self, environment: &str) -> Result<(), Error> {
        if self.is_held().await? {
            return Ok(());
        }
        Err(Error::LockLost { environment: environment.to_owned(), id: self.holder.id.clone() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        match &self.held {
            Held::File(file) => {
                // What is left in the file would only mislead.
                let _ = file.set_len(0);
                // A process that is just being started holds a copy of the handle for a moment.
                let _ = file.unlock();
            }
            Held::Kv { kv, sequence } => {
                let (kv, sequence) = (Arc::clone(kv), *sequence);
                super::before_the_end(async move { kv.unlock(sequence).await });
            }
        }
    }
}

/// A lineage nobody else has.
#[must_use]
pub(crate) fn lineage() -> String {
    Uuid::new_v4().to_string()
}
