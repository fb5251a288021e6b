//! [`Output`], stdout in large pieces.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    os::fd::AsFd as _,
};

use minikafka_client_consume::Message;

use super::format::Format;

/// Large enough that a system call costs little beside its bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// Stdout, buffered: not by lines, as the standard library does it.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<File>,
    format: Format,
}

impl Output {
    pub(crate) fn stdout(format: Format) -> io::Result<Output> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Output { stdout: BufWriter::with_capacity(BUFFER_BYTES, stdout), format })
    }

    pub(crate) fn print(&mut self, message: &Message) -> io::Result<()> {
        self.format.write(&mut self.stdout, message)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}
