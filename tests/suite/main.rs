//! Everything about the server is shown against the real one.

mod apply;
mod cli;
mod connect;
mod drift;
mod environments;
mod observe;
mod state;
mod support;
