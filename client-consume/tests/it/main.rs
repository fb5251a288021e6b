//! The consumer against a server that does, on command, what real ones do rarely.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod committed;
mod compression;
mod connections;
mod fake;
mod fake_group;
mod faults;
mod group_setup;
mod groups;
mod listeners;
mod lost;
mod many;
mod members;
mod reading;
mod rebalances;
mod refused_members;
mod setup;
mod under_fire;
