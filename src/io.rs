//! The world: network, files, clock, environment, terminal. Nothing outside this folder names it.

pub mod clock;
pub mod files;
pub mod store;
pub mod terminal;
