//! The library's own servers, as tests start and treat them.

use std::path::PathBuf;

use jsplan::{
    io::{
        binary,
        server::{JETSTREAM, Server},
    },
    schema::Release,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A server with JetStream and nothing else.
pub(crate) fn server() -> Server {
    server_with(JETSTREAM)
}

/// A server with this configuration.
pub(crate) fn server_with(config: &str) -> Server {
    Server::start(&nats_server(), config).expect("a nats-server starts")
}

/// A server that knows what came with this release: that of the other tests unless it is older.
pub(crate) fn server_since(release: Release) -> Server {
    let version = binary::version(&nats_server()).expect("it says what it is");
    if Release::parse(&version) < release { server_of(binary::FETCHED) } else { server() }
}

/// A server of a certain release.
pub(crate) fn server_of(release: Release) -> Server {
    let program = binary::release(release, &mut |_| {}).expect("each release can be had");
    Server::start(&program, JETSTREAM).expect("a nats-server starts")
}

/// Three of them in one cluster.
pub(crate) fn cluster() -> Vec<Server> {
    cluster_with(JETSTREAM)
}

/// Three of them, each with this configuration.
pub(crate) fn cluster_with(config: &str) -> Vec<Server> {
    Server::start_cluster(&nats_server(), config).expect("a cluster starts")
}

/// The program, found as jsplan itself finds it.
pub(crate) fn nats_server() -> PathBuf {
    binary::find(None, &mut |_| {}).expect("a nats-server can be had")
}

/// Host and port.
pub(crate) fn place(server: &Server) -> &str {
    server.url().rsplit_once('/').expect("an address").1
}

/// Makes it stop answering, without closing anything.
pub(crate) fn freeze(server: &Server) {
    suspend(server.pid());
}

/// Makes a process of ours stop where it is.
pub(crate) fn suspend(pid: u32) {
    let pid = signal(pid, Signal::STOP);
    // The signal is only asked for, and one of its threads might still answer.
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), stopped).expect("it stops");
}

/// Lets it go on.
pub(crate) fn thaw(server: &Server) {
    signal(server.pid(), Signal::CONT);
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) -> Pid {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, signal).expect("it is ours");
    pid
}
