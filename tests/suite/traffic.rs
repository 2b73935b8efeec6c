//! Changes while somebody publishes.
