//! The command line of MiniKafka. The three programs in `src/bin` read their flags and call what is here.
//!
//! | program | what it does | where |
//! |---|---|---|
//! | `produce` | sends the lines of its input, or of a file, as messages | [`produce`] |
//! | `consume` | prints the messages of a topic | [`consume`] |
//! | `minikafka` | lists, describes, creates, alters and deletes topics | [`topic`] |
//! | | looks into the data directory of a server that does not run | [`storage`] |
//! | | lists, describes, moves and deletes consumer groups | [`group`] |
//! | | lists the idempotent producers of topics | [`producer`] |
//! | | takes commands from a person or a script, one after the other | [`shell`] |
//! | | measures a server | [`mod@bench`] |
//! | | prints what a shell needs to complete command lines | [`completion`] |
//!
//! All of them: data on stdout, talk on stderr. They exit with 0 when they did what they were told, 1 when they
//! could not, 2 when they were told nonsense, 130 when Ctrl-C cut them short. Flags take one dash or two.

// `say!` says it, and cannot panic.
#![deny(clippy::print_stderr)]

#[macro_use]
mod talk;

pub mod bench;
mod command_line;
pub mod completion;
pub mod consume;
mod count;
mod exit;
pub mod group;
mod host;
mod interrupt;
pub mod machine;
mod output;
mod place;
mod positive;
pub mod produce;
pub mod producer;
pub mod shell;
pub mod storage;
mod table;
mod target;
pub mod topic;

pub use command_line::read;
pub use exit::run;

/// The programs in the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
