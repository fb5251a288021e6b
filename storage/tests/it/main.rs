//! What storage promises, checked through its public face.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backend;
mod contract;
mod crash;
mod cut_files;
mod fake_disk;
mod faults;
mod filesystem;
mod inspect;
mod oracle;
mod original;
