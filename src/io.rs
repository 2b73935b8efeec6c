//! The world: network, files, clock, processes and the environment. Only this layer touches it.
//!
//! As in the crate, each module names only those above it.

pub mod clock;
pub mod process;
pub mod binary;
pub mod server;
pub mod sandbox;
