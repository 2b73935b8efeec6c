//! The world: network, files, clock, processes and the environment. Only this layer touches it.

pub mod clock;
pub mod process;

pub mod binary;
pub mod server;

pub mod sandbox;
