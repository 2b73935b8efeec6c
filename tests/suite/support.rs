//! What the suites share: real servers, identities, and an independent client.

pub(crate) mod client;
pub(crate) mod copy;
pub(crate) mod identity;
pub(crate) mod loss;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod server;
