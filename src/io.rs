//! The world: network, files, clock, environment, terminal. Nothing outside this folder names it.
//!
//! As in the crate, each module names only those above it.

pub mod terminal;
pub mod clock;
pub mod fault;
pub mod who;
pub mod git;
pub mod files;
pub mod nats;
pub mod store;
pub mod apply;
pub mod migrate;
pub mod process;
pub mod binary;
pub mod server;
pub mod sandbox;
pub mod rehearse;

use std::{cell::RefCell, error::Error, future::Future, time::Duration};

use tokio::task::JoinHandle;

use self::terminal::{Color, Terminal};
use crate::render;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

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

/// Runs a future that sees to the first Ctrl-C itself, wherever it is by then; so it does where the
/// process is asked to end. The second ends the process on the spot, with the code of the signal,
/// once it is said what that leaves behind.
#[expect(
    clippy::disallowed_methods,
    reason = "who asks twice wants no order; locks and files end with the process"
)]
pub(crate) async fn ending_at_the_second<T>(
    future: impl Future<Output = T>,
    leaves: impl FnOnce(),
) -> T {
    let (asked, seen) = watch::channel(false);
    let ends = async {
        let mut signals = Signals::listen();
        signals.next().await;
        asked.send_replace(true);
        let code = signals.next().await;
        leaves();
        std::process::exit(code)
    };
    tokio::select! {
        biased;
        never = ends => never,
        result = ASKED.scope(seen, future) => result,
    }
}

/// Runs a future to its end, whatever signals come: who asked for the end is heard behind it. The
/// second signal still ends the process.
pub(crate) async fn undisturbed<T>(future: impl Future<Output = T>) -> T {
    let (never, seen) = watch::channel(false);
    let result = ASKED.scope(seen, future).await;
    drop(never);
    result
}

tokio::task_local! {
    /// Whether somebody asked for the end since the command began.
    static ASKED: watch::Receiver<bool>;
}

/// Ends once somebody presses Ctrl-C, or asks the process to end as schedulers do.
async fn interrupted() {
    match ASKED.try_with(watch::Receiver::clone) {
        Ok(mut asked) => drop(asked.wait_for(|it| *it).await),
        Err(_) => drop(Signals::listen().next().await),
    }
}

/// The signals that ask a process to end.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Self { interrupt: listen(interrupt), terminate: listen(terminate) }
    }

    /// Waits for one of them; gives the code with which a shell says that it ended a process.
    async fn next(&mut self) -> i32 {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => 130,
            () = one(&mut self.terminate) => 143,
        }
    }
}
