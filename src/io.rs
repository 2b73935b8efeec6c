//! The world: network, files, clock, environment, terminal. Nothing outside this folder names it.
//!
//! As in the crate, each module names only those above it.

pub mod terminal;
pub mod clock;
pub mod who;
pub mod files;
pub mod nats;
pub mod store;
pub mod apply;
pub mod process;
pub mod binary;
pub mod server;
pub mod sandbox;
pub mod rehearse;

use std::{cell::RefCell, error::Error, future::Future, time::Duration};

use tokio::task::JoinHandle;

use self::terminal::{Color, Terminal};
use crate::render;

/// Runs a future to its end on this thread.
///
/// One thread is enough: the work is waiting, and starting more costs a short command a millisecond.
///
/// # Panics
///
/// Where the operating system gives no event queue, or inside another `run`.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the operating system gives an event queue");
    let result = runtime.block_on(future);
    runtime.block_on(the_end());
    // A name that is still being looked up would otherwise hold the command back for seconds.
    runtime.shutdown_background();
    result
}

thread_local! {
    /// What is begun when a value goes, and cannot be awaited there.
    static LAST: RefCell<Vec<JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
}

/// Begins something when a value goes, and has [`run`] wait for it; a failure is said.
pub(crate) fn before_the_end<E: Error>(last: impl Future<Output = Result<(), E>> + Send + 'static) {
    // Outside of `run` there is nobody who would carry it out.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let task = runtime.spawn(async {
        if let Err(error) = last.await {
            let said = render::talk::failure(&error.to_string(), None);
            Terminal::new(Color::Auto).say(&said);
        }
    });
    LAST.with_borrow_mut(|it| it.push(task));
}

async fn the_end() {
    const LONGEST: Duration = Duration::from_secs(10);
    for task in LAST.take() {
        let _ = tokio::time::timeout(LONGEST, task).await;
    }
}

/// Runs a future until it ends, or until somebody presses Ctrl-C or asks the process to end: then
/// what it holds is let go of in order, instead of with the process.
pub(crate) async fn unless_interrupted<T>(
    future: impl Future<Output = T>,
    interrupted: impl FnOnce() -> T,
) -> T {
    tokio::select! {
        // It listens before anything is begun, and a start that blocks is still taken back.
        biased;
        () = self::interrupted() => interrupted(),
        result = future => result,
    }
}

/// Ends once somebody presses Ctrl-C, or asks the process to end as schedulers do.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut asked) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = asked.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
