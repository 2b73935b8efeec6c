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
mod history;
mod import;
mod interrupt;
mod losses;
mod marks;
mod observe;
mod peers;
mod preflight;
mod rehearse;
mod sandbox;
mod saved;
mod state;
mod store;
mod support;
