//! [`Input`], the bytes to send, read by a thread of their own.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
    thread,
};

use anyhow::Context as _;
use tokio::sync::mpsc::{self, Receiver};

/// Large enough that a system call costs little beside its bytes.
const BLOCK_BYTES: usize = 128 << 10;
/// Enough that reading and sending overlap.
const BLOCKS_MAX: usize = 4;

/// The bytes to send, block by block.
///
/// Reads block, so they have a thread: the connection is looked after while a terminal or a pipe is silent. The
/// thread is never joined; a read that is under way ends with the process.
#[derive(Debug)]
pub(crate) struct Input {
    blocks: Receiver<io::Result<Vec<u8>>>,
    bytes: Option<u64>,
}

impl Input {
    /// The standard input.
    pub(crate) fn stdin() -> Input {
        Input::of(io::stdin())
    }

    /// Bytes of unknown number.
    pub(super) fn of(source: impl Read + Send + 'static) -> Input {
        Input { blocks: read(source), bytes: None }
    }

    /// A file.
    pub(super) fn file(path: &Path) -> anyhow::Result<Input> {
        let open = || -> io::Result<Input> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(ErrorKind::IsADirectory.into());
            }
            let bytes = metadata.is_file().then_some(metadata.len());
            Ok(Input { blocks: read(file), bytes })
        };
        open().with_context(|| format!("cannot read {}", path.display()))
    }

    /// How many bytes there are, when that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The next block, which is not empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        self.blocks.recv().await.transpose().context("cannot read the input")
    }

    /// The next block, when it is there already.
    pub(super) fn try_next(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.blocks.try_recv().ok()
    }
}

fn read(mut source: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (blocks, receiver) = mpsc::channel(BLOCKS_MAX);
    thread::spawn(move || {
        loop {
            let mut block = vec![0; BLOCK_BYTES];
            let read = match source.read(&mut block) {
                Ok(0) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(len) => {
                    block.truncate(len);
                    Ok(block)
                }
                Err(error) => Err(error),
            };
            let is_end = read.is_err();
            if blocks.blocking_send(read).is_err() || is_end {
                return;
            }
        }
    });
    receiver
}
