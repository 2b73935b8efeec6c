//! What the suite has of servers, clients and projects, and a few signals.

use std::process::Child;

use rustix::process::Signal;

#[path = "../suite/support/client.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod client;
#[path = "../suite/support/project.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod project;
#[path = "../suite/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../suite/support/server.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod server;

/// What Ctrl-C does.
pub(crate) fn interrupt(run: &Child) {
    server::signal(run.id(), Signal::INT);
}
