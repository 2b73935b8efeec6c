//! jsplan: NATS JetStream planned and applied from versioned TOML specs.
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
mod letters;
pub mod config;
pub mod seal;
pub mod signature;
mod units;
mod subject;
pub mod schema;
pub mod address;
pub mod finding;

// The decisions: values in, values out.
pub mod spec;
pub mod forecast;
pub mod live;
pub mod state;
pub mod mark;
pub mod target;
pub mod sides;
mod position;
pub mod permissions;
pub mod diff;
pub mod drift;
pub mod reconcile;
pub mod plan;
pub mod event;
pub mod history;
pub mod migration;
pub mod import;
pub mod rebuild;
pub mod render;
pub mod reference;

// The world: the only modules that touch it.
pub mod io;

// The command line.
pub mod cli;
