//! Everything about the server is shown against the real one.

mod connect;
mod observe;
mod support;
