//! jsplan: NATS JetStream planned, applied and watched from versioned TOML specs.
//!
//! The library exists for the program's own tests and pages; it is not a stable interface.
//!
//! ```text
//!  environments/*.toml ─ io::files ─ spec::load ──▶ Desired ┐
//!  state/*.json ──────── io::store ─ State::read ─▶ State ──┼─ plan() ─▶ Plan ─┬─ render ─ io::terminal
//!  nats-server ───────── io::nats ── observe ─────▶ Live ───┘                  └─ io::apply ─ Event ─▶ render
//! ```
//!
//! The modules below stand in reading order; each names only those above it.

// The vocabulary: what things are.
pub mod address;
pub mod config;
pub mod finding;
pub mod schema;
pub mod subject;
pub mod units;

// The decisions: values in, values out.
pub mod diff;
pub mod drift;
pub mod live;
pub mod plan;
pub mod spec;
pub mod state;

// The world: what only this layer touches.
pub mod io;
