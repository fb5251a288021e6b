//! [`FakeFile`], an open file on a fake disk.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
};

use minikafka_storage::filesystem::disk::DiskFile;

use super::{Class, Errno, FakeDisk, names::NodeId, state::Verdict};

/// An open file.
#[derive(Debug)]
pub(super) struct FakeFile {
    disk: FakeDisk,
    node: NodeId,
    /// The name that it was opened by.
    path: PathBuf,
}

impl FakeFile {
    pub(super) fn new(disk: FakeDisk, node: NodeId, path: &Path) -> FakeFile {
        FakeFile { disk, node, path: path.to_owned() }
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        let state = self.disk.begin(Class::Look, "read", &self.path)?;
        if state.plan.is_spoilt(&self.path, &(position..position + bytes.len() as u64)) {
            return Err(Errno::Eio.error());
        }
        let mut state = self.disk.pass_read_gate(state);
        let read = state.file(self.node).read(bytes, position);
        state.read_bytes += read as u64;
        Ok(read)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.disk.state();
        let len = state.plan.write_bytes_max.unwrap_or(usize::MAX).min(bytes.len());
        let bytes = &bytes[..len];
        let range = position..position + bytes.len() as u64;
        let (len, outcome) = match state.begin(Class::Change, "write", &self.path, range) {
            Verdict::Go => {
                let free_bytes = state.free_bytes();
                let len = state.file(self.node).fitting(position as usize, bytes.len(), free_bytes);
                let full = len == 0 && !bytes.is_empty();
                (len, if full { Err(Errno::Enospc.error()) } else { Ok(len) })
            }
            Verdict::Fail(error) if state.stopped => return Err(error),
            // A full disk says so before anything is written; any other error may come at any time.
            Verdict::Fail(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
            Verdict::Fail(error) => (state.some_part(bytes.len()), Err(error)),
            Verdict::Stop => (state.some_part(bytes.len()), Err(Errno::Eio.error())),
        };
        let sequence = state.next_sequence();
        state.file_mut(self.node).write(sequence, position as usize, &bytes[..len]);
        self.disk.0.gate.notify_all();
        outcome
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.begin(Class::Look, "len", &self.path)?;
        Ok(state.file(self.node).live().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.begin(Class::Change, "set_len", &self.path)?;
        let sequence = state.next_sequence();
        state.file_mut(self.node).set_len(sequence, len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        match state.begin(Class::Change, "sync", &self.path, 0..0) {
            Verdict::Go => {}
            Verdict::Fail(error) if state.stopped => return Err(error),
            Verdict::Fail(error) => {
                state.note_sync(self.node, &self.path);
                state.forget_unsynced(self.node, &self.path);
                return Err(error);
            }
            Verdict::Stop => {
                self.disk.0.gate.notify_all();
                return Err(Errno::Eio.error());
            }
        }
        state.note_sync(self.node, &self.path);
        // What is written while it waits is not its business.
        let upto = state.sequence;
        let mut state = self.disk.pass_gate(&self.path, state)?;
        if !state.lies.sync(&self.path) {
            state.file_mut(self.node).sync(upto);
        }
        Ok(())
    }

    fn will_read(&self, _: u64, _: u64) {}
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        self.disk.state().close_handle(self.node);
    }
}
