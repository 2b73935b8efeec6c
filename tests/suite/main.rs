//! Everything about the server is shown against the real one.

mod apply;
mod buckets;
mod cli;
mod connect;
mod consumers;
mod drift;
mod environments;
mod fields;
mod hostile;
mod import;
mod marks;
mod observe;
mod paths;
mod peers;
mod permissions;
mod preflight;
mod rehearse;
mod sandbox;
mod secrets;
mod state;
mod store;
mod support;
