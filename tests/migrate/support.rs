//! What the suite has of servers, clients and projects.

#[path = "../suite/support/client.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod client;
#[path = "../suite/support/project.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod project;
#[path = "../suite/support/server.rs"]
#[expect(dead_code, reason = "the suite asks for more")]
pub(crate) mod server;
