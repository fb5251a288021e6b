//! The programs as a user runs them, against an embedded server.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

mod bench;
mod bench_failures;
mod bench_groups;
mod completion;
mod consume;
mod damage;
mod dying_server;
mod group;
mod groups;
mod killed_server;
mod outages;
mod partitions;
mod produce;
mod program;
mod pseudo_terminal;
mod server;
mod shell;
mod shell_scripts;
mod storage;
mod topic;
mod usage;
