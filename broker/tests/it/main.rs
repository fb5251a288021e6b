//! What the broker promises to its doors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod classic_groups;
mod clock;
mod doubt;
mod evict_before;
mod faults;
mod fetch;
mod group_pauses;
mod group_trouble;
mod groups;
mod lag;
mod machine;
mod metadata;
mod overtaken;
mod produce;
mod producers;
mod restart;
mod retention;
mod rig;
mod settings;
mod setup;
mod size_retention;
mod topics;
