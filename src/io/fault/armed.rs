//! What [`VARIABLE`] says, carried out. Some of, with `;` between them:
//!
//! - `abort=after-done:2` ends the process where it comes to that point for the second time;
//! - `pause=after-done:2:PATH` makes a file where it comes to that point, and goes on once somebody
//!   has removed it;
//! - `disk=7:28` has the seventh operation on a file fail with that number of the system, and
//!   `disk=7+:28` all from it on; a write that fails has written half;
//! - `record=PATH` notes every point and operation there, a JSON object a line.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{Operation, Point};
use crate::io::clock::wait_until;

/// The variable that says what fails.
pub const VARIABLE: &str = "JSPLAN_FAILPOINTS";

/// What is to happen.
#[derive(Default)]
struct Orders {
    abort: Option<(String, usize)>,
    pause: Option<((String, usize), PathBuf)>,
    disk: Option<Disk>,
    record: Option<PathBuf>,
}

struct Disk {
    nth: usize,
    and_after: bool,
    error: i32,
}

static ORDERS: LazyLock<Orders> = LazyLock::new(|| {
    let text = env::var(VARIABLE).unwrap_or_default();
    let mut orders = Orders::default();
    for order in text.split(';') {
        match order.split_once('=') {
            Some(("abort", point)) => orders.abort = numbered(point),
            Some(("pause", point)) => {
                orders.pause = point
                    .rsplit_once(':')
                    .and_then(|(at, file)| Some((numbered(at)?, file.into())));
            }
            Some(("disk", failure)) => orders.disk = disk(failure),
            Some(("record", path)) => orders.record = Some(path.into()),
            Some(_) | None => {}
        }
    }
    orders
});

static HITS: [AtomicUsize; POINTS.len()] = [const { AtomicUsize::new(0) }; POINTS.len()];
static OPERATIONS: AtomicUsize = AtomicUsize::new(0);

const POINTS: [(Point, &str); 23] = [
    (Point::Locked, "locked"),
    (Point::Reconciled, "reconciled"),
    (Point::Settled, "settled"),
    (Point::PredecessorKept, "predecessor-kept"),
    (Point::JournalBegun, "journal-begun"),
    (Point::BeforeIntent, "before-intent"),
    (Point::AfterIntent, "after-intent"),
    (Point::PremiseRead, "premise-read"),
    (Point::BeforeRequest, "before-request"),
    (Point::AfterRequest, "after-request"),
    (Point::BeforeReadBack, "before-read-back"),
    (Point::AfterReadBack, "after-read-back"),
    (Point::BeforeDone, "before-done"),
    (Point::AfterDone, "after-done"),
    (Point::BeforeEnd, "before-end"),
    (Point::AfterEnd, "after-end"),
    (Point::LookedAgain, "looked-again"),
    (Point::TextWritten, "text-written"),
    (Point::TextSynced, "text-synced"),
    (Point::TextRenamed, "text-renamed"),
    (Point::FolderSynced, "folder-synced"),
    (Point::BeforeRemoval, "before-removal"),
    (Point::AfterRemoval, "after-removal"),
];

/// The names of all points, in their order.
pub fn names() -> impl Iterator<Item = &'static str> {
    POINTS.iter().map(|it| it.1)
}

/// Where a test may end the process.
pub(crate) fn at(point: Point) {
    let name = POINTS[point as usize].1;
    record(&json!({ "point": name }));
    let hit = HITS[point as usize].fetch_add(1, Ordering::Relaxed) + 1;
    let is_here = |(it, nth): &(String, usize)| it == name && *nth == hit;
    if ORDERS.abort.as_ref().is_some_and(is_here) {
        std::process::abort();
    }
    if let Some((_, file)) = ORDERS.pause.as_ref().filter(|it| is_here(&it.0)) {
        drop(std::fs::write(file, ""));
        wait_until(Duration::from_secs(60), || (!file.exists()).then_some(()));
    }
}

/// Where a test may have an operation fail.
pub(crate) fn before(operation: Operation<'_>, path: &Path) -> io::Result<()> {
    let number = OPERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    let failing =
        ORDERS.disk.as_ref().filter(|it| number == it.nth || it.and_after && number > it.nth);
    let Some(Disk { error, .. }) = failing else {
        record(&described(operation, path));
        return Ok(());
    };
    if let Operation::Write(bytes) = operation {
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(&bytes[..bytes.len() / 2])?;
    }
    Err(io::Error::from_raw_os_error(*error))
}

fn described(operation: Operation<'_>, path: &Path) -> Value {
    let (name, more) = match operation {
        Operation::Read => ("read", Value::Null),
        Operation::Open => ("open", Value::Null),
        Operation::Create => ("create", Value::Null),
        Operation::Write(bytes) => ("write", String::from_utf8_lossy(bytes).into()),
        Operation::Sync => ("sync", Value::Null),
        Operation::Rename(to) => ("rename", to.to_string_lossy().into()),
        Operation::SyncFolder => ("sync-folder", Value::Null),
        Operation::Remove => ("remove", Value::Null),
        Operation::MakeFolder => ("make-folder", Value::Null),
    };
    json!({ "operation": name, "path": path, "with": more })
}

fn record(line: &Value) {
    let Some(path) = &ORDERS.record else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // A record that cannot be written makes its test fail, and nothing else.
    drop(file.and_then(|mut it| it.write_all(format!("{line}\n").as_bytes())));
}

fn numbered(text: &str) -> Option<(String, usize)> {
    let (name, number) = text.split_once(':')?;
    Some((name.to_owned(), number.parse().ok()?))
}

fn disk(text: &str) -> Option<Disk> {
    let (nth, error) = text.split_once(':')?;
    let and_after = nth.ends_with('+');
    let nth = nth.trim_end_matches('+').parse().ok()?;
    Some(Disk { nth, and_after, error: error.parse().ok()? })
}
