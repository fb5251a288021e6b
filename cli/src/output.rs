//! [`Output`], for whom to print, and how.

use std::io::{self, Write as _, stdout};

use clap::ValueEnum;
use serde::Serialize;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints lines for people.
pub(crate) fn text(text: &str) -> io::Result<()> {
    stdout().write_all(text.as_bytes())
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut stdout = stdout().lock();
    serde_json::to_writer(&mut stdout, value)?;
    stdout.write_all(b"\n")
}
