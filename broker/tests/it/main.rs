//! What the broker promises to its doors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;
mod faults;
mod fetch;
mod overtaken;
mod produce;
mod restart;
mod retention;
mod rig;
mod setup;
mod size_retention;
mod topics;
