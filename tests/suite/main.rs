//! Everything about the server is shown against the real one.

mod apply;
mod cli;
mod cluster;
mod connect;
mod drift;
mod environments;
mod fields;
mod observe;
mod preflight;
mod sandbox;
mod state;
mod support;
