//! What the suites share: real servers, identities, and an independent client.

pub mod client;
pub mod identity;
pub mod server;
