//! The decision: three values in, a plan out. Nothing is read, nothing is written, nothing fails.
//!
//! What could be refused is a finding in the plan, beside what would have been done.

pub mod order;
