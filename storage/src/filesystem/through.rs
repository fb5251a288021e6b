//! [`ThroughFile`], a file that is written through to the disk: past the system's cache, and durable when the write
//! returns.
//!
//! The journal is written a few pages at a time, and somebody waits for each of these writes. Through the cache such a write
//! is a copy, a page that is dirty, and a sync that looks for it; this is one request to the disk, with two thirds of the
//! processor's time and four fifths of the wait (`docs/decisions.md` has the figures). What is large gains nothing by it.
//!
//! `O_DIRECT` wants whole pages of memory and of the file (open(2)), `RWF_DSYNC` makes of a write what a write and an
//! `fdatasync` are (pwritev2(2)). Whatever is not whole pages, and everything where the file system has no such files, is written as usual and
//! synced by [`sync`](DiskFile::sync): who uses it need not know.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::OFlags,
    io::{Errno, ReadWriteFlags, pwritev2},
};

use super::{disk::DiskFile, journal::PAGE_LEN};

#[derive(Debug)]
pub(super) struct ThroughFile {
    /// For reading, and for what is not whole pages.
    usual: File,
    through: File,
    /// Whether something may be there that no sync has made durable, also of those who had the file before.
    is_unsynced: AtomicBool,
}

impl ThroughFile {
    /// Opens a file that is there once more, or gives back what there is where the file system knows no such files.
    pub(super) fn over(usual: File, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match File::options().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path) {
            Ok(through) => Ok(Arc::new(ThroughFile { usual, through, is_unsynced: AtomicBool::new(true) })),
            Err(error) if is_unknown(&error) => Ok(Arc::new(usual)),
            Err(error) => Err(error),
        }
    }

    fn write_through(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        loop {
            match pwritev2(&self.through, slices, position, ReadWriteFlags::DSYNC) {
                Err(Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    fn write_usual(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.is_unsynced.store(true, Ordering::Release);
        self.usual.write_at(slices, position)
    }
}

impl DiskFile for ThroughFile {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        DiskFile::read_at(&self.usual, bytes, position)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if !are_pages(slices, position) {
            return self.write_usual(slices, position);
        }
        match self.write_through(slices, position) {
            // Some file systems open such a file, and take nothing by it.
            Err(error) if is_unknown(&error) => self.write_usual(slices, position),
            outcome => outcome,
        }
    }

    fn len(&self) -> io::Result<u64> {
        DiskFile::len(&self.usual)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.is_unsynced.store(true, Ordering::Release);
        DiskFile::set_len(&self.usual, len)
    }

    fn sync(&self) -> io::Result<()> {
        match self.is_unsynced.swap(false, Ordering::AcqRel) {
            true => self.usual.sync(),
            false => Ok(()),
        }
    }

    fn will_read(&self, position: u64, len: u64) {
        self.usual.will_read(position, len);
    }
}

/// Whether all of it is whole pages, in memory and in the file.
fn are_pages(slices: &[IoSlice<'_>], position: u64) -> bool {
    let is_page = |slice: &IoSlice<'_>| {
        slice.as_ptr().addr().is_multiple_of(PAGE_LEN as usize)
            && slice.len().is_multiple_of(PAGE_LEN as usize)
    };
    position.is_multiple_of(PAGE_LEN) && slices.iter().all(is_page)
}

/// Whether the file system does not know such files.
fn is_unknown(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::OPNOTSUPP].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::{
        disk::{Disk as _, OpenMode, SystemDisk},
        journal::PageBuffer,
    };

    /// On a file system without such files this is about a usual one, which is to be the same.
    #[test]
    fn pages_and_other_bytes_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = SystemDisk.open_through(&path, OpenMode::Create).unwrap();
        let page = PAGE_LEN as usize;
        let mut pages = PageBuffer::default();
        pages.put(&vec![b'p'; 3 * page]);
        let mut expected = pages.to_vec();
        assert_eq!(file.write_at(&[IoSlice::new(&pages)], 0).unwrap(), 3 * page);
        for (from, to, position) in
            [(0, page, page + 1), (1, page, 0), (0, 100, 2 * page), (0, page, 5 * page)]
        {
            let other = vec![position as u8; to - from];
            pages[from..to].copy_from_slice(&other);
            let end = position + other.len();
            expected.resize(expected.len().max(end), 0);
            expected[position..end].copy_from_slice(&other);
            assert_eq!(
                file.write_at(&[IoSlice::new(&pages[from..to])], position as u64).unwrap(),
                other.len()
            );
            file.sync().unwrap();
        }
        let mut read = vec![0; expected.len()];
        super::super::durable::read_exact_at(&*file, &mut read, 0).unwrap();
        assert!(read == expected && std::fs::read(&path).unwrap() == expected);
        file.set_len(10).unwrap();
        assert_eq!(file.len().unwrap(), 10);
        let again = SystemDisk.open_through(&path, OpenMode::Existing).unwrap();
        assert_eq!((again.len().unwrap(), again.read_at(&mut read, 0).unwrap()), (10, 10));
    }

    #[test]
    fn only_whole_pages_go_through() {
        let page = PAGE_LEN as usize;
        let mut pages = PageBuffer::default();
        pages.put(&vec![0; 2 * page]);
        let goes = |slice: &[u8], position: usize| are_pages(&[IoSlice::new(slice)], position as u64);
        assert!(goes(&pages, 0) && goes(&pages[page..], 7 * page));
        assert!(!goes(&pages, 1) && !goes(&pages[1..=page], 0) && !goes(&pages[..page - 1], 0));
    }
}
