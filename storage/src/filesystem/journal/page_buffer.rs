//! [`PageBuffer`], bytes that begin at a page of memory: a disk takes those as they are.

use std::ops::{Deref, DerefMut};

use super::PAGE_LEN;

/// Bytes that begin at a multiple of [`PAGE_LEN`] in memory, and grow.
#[derive(Debug, Default)]
pub(in crate::filesystem) struct PageBuffer {
    /// The first ones are skipped, up to a page.
    bytes: Vec<u8>,
    start: usize,
}

impl PageBuffer {
    /// Makes it empty, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.truncate(0);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    /// Bytes that there is memory for.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() - self.start
    }

    /// Sees to it that so many bytes more have room.
    pub(super) fn reserve(&mut self, more: usize) {
        let len = self.len() + more;
        if len <= self.capacity() && self.start_is_page() {
            return;
        }
        let page = PAGE_LEN as usize;
        let mut bytes: Vec<u8> = Vec::with_capacity(page + len.max(2 * self.len()));
        let start = bytes.as_ptr().align_offset(page);
        bytes.resize(start, 0);
        bytes.extend_from_slice(self);
        *self = PageBuffer { bytes, start };
    }

    fn start_is_page(&self) -> bool {
        self.as_ptr().addr().is_multiple_of(PAGE_LEN as usize)
    }

    pub(in crate::filesystem) fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Puts zeros behind it until it has so many bytes.
    pub(super) fn fill(&mut self, len: usize) {
        self.reserve(len.saturating_sub(self.len()));
        self.bytes.resize(self.start + len, 0);
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_page_however_it_grows() {
        let mut buffer = PageBuffer::default();
        let mut expected = Vec::new();
        for len in [1, 10, 4086, 1, 100_000, 0, 3_000_000] {
            buffer.put(&vec![len as u8; len]);
            expected.resize(expected.len() + len, len as u8);
            assert!(buffer.start_is_page() && buffer[..] == expected);
        }
        buffer.fill(expected.len() + 5);
        expected.resize(expected.len() + 5, 0);
        assert!(buffer.start_is_page() && buffer[..] == expected);
        let capacity = buffer.capacity();
        buffer.clear();
        buffer.put(&expected);
        assert!(buffer.start_is_page() && buffer[..] == expected && buffer.capacity() == capacity);
    }
}
