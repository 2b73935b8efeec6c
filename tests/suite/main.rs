//! Everything about the server is shown against the real one.

mod apply;
mod cli;
mod connect;
mod consumers;
mod drift;
mod environments;
mod fields;
mod observe;
mod sandbox;
mod state;
mod support;
