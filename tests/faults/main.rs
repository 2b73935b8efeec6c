//! What networks and servers do to an apply: replies and requests that are lost, connections that are
//! cut, servers that are killed or frozen, leaders that change, and others who write at the same time.

#![expect(clippy::print_stdout, reason = "the figures are for `docs/reliability.md`")]

mod cluster;
mod losses;
mod races;
mod support;
mod work;
