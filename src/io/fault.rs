//! Where tests cut a command short, and where they let its disk fail.
//!
//! A program that is built for use has none of it: each function here is empty there. The tests
//! turn on the feature `failpoints`, and `JSPLAN_FAILPOINTS` then says what is to happen.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use self::armed::{VARIABLE, names};
#[cfg(feature = "failpoints")]
pub(crate) use self::armed::{at, before};

#[cfg(not(feature = "failpoints"))]
use std::io;
use std::path::Path;

/// A moment of an apply, in the order in which they come.
#[derive(Clone, Copy)]
pub(crate) enum Point {
    /// The lock is held.
    Locked,
    /// What an earlier apply left is decided, and not saved yet.
    Reconciled,
    /// What an earlier apply left is saved.
    Settled,
    /// The predecessor of the state is kept.
    PredecessorKept,
    /// The journal has its first line.
    JournalBegun,
    /// The next steps are chosen.
    BeforeIntent,
    /// They are in the journal.
    AfterIntent,
    /// What a step was decided from is still so.
    PremiseRead,
    /// A request leaves.
    BeforeRequest,
    /// Its answer is there.
    AfterRequest,
    /// What the answer does not show is read.
    BeforeReadBack,
    /// It is read.
    AfterReadBack,
    /// Some steps are done.
    BeforeDone,
    /// That is in the journal.
    AfterDone,
    /// No step is left to be begun or waited for.
    BeforeEnd,
    /// That is in the journal.
    AfterEnd,
    /// Everything was read again.
    LookedAgain,
    /// The new text of a file is beside it, and not synced.
    TextWritten,
    /// It is synced.
    TextSynced,
    /// It has the name of the file.
    TextRenamed,
    /// So it is on disk.
    FolderSynced,
    /// The state is saved, and the journal still there.
    BeforeRemoval,
    /// The journal is gone.
    AfterRemoval,
}

/// What is about to be done to a file.
#[cfg_attr(
    not(feature = "failpoints"),
    expect(dead_code, reason = "what is about to be written only matters to the tests")
)]
#[derive(Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// Its text is read.
    Read,
    /// It is opened to be written.
    Open,
    /// A new one is made beside it.
    Create,
    /// Bytes are added to its end.
    Write(&'a [u8]),
    /// Its bytes go to disk.
    Sync,
    /// It takes the place of another.
    Rename(&'a Path),
    /// The names in it, a folder, go to disk.
    SyncFolder,
    /// It is removed.
    Remove,
    /// It is made, a folder.
    MakeFolder,
}

/// Where a test may end the process.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn at(_: Point) {}

/// Where a test may have an operation fail.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn before(_: Operation<'_>, _: &Path) -> io::Result<()> {
    Ok(())
}
