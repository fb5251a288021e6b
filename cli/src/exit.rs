//! What a program ends with.

use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

/// Runs a program and turns its outcome into an exit code. An error is said on stderr, as one line that begins with
/// the program's name.
///
/// A reader of stdout that goes away, as `head` does, is no error: nobody wants the rest.
pub async fn run(program: &str, work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    match work.await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
