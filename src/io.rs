//! The world: network, files, clock, environment, terminal. Nothing outside this folder names it.
//!
//! As in the crate, each module names only those above it.

pub mod terminal;
pub mod clock;
pub mod who;
pub mod git;
pub mod files;
pub mod nats;
pub mod store;
pub mod apply;
pub mod process;
pub mod binary;
pub mod server;
pub mod sandbox;
pub mod rehearse;

use std::future::Future;

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
    // A name that is still being looked up would otherwise hold the command back for seconds.
    runtime.shutdown_background();
    result
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
