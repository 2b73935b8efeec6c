//! Everything about the server is shown against the real one.

mod apply;
mod buckets;
mod cli;
mod connect;
mod consumers;
mod crash;
mod disk;
mod drift;
mod environments;
mod fields;
mod import;
mod interrupt;
mod observe;
mod peers;
mod preflight;
mod rehearse;
mod sandbox;
mod state;
mod support;
