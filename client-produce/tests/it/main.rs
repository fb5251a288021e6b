//! The producer against a server that does, on command, what real ones do rarely.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod exactly_once;
mod fake;
mod faults;
mod partitions;
mod pipeline;
