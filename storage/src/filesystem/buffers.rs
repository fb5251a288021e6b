//! [`Buffers`], the memory that readers read the disk into: used again and again, because memory that is new has to be
//! cleared first, which costs as much as reading from the system's cache.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// What is kept for the next readers, at most: a few replies of the usual size, or one of the largest.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Smaller ones are not worth a lock.
const KEPT_LEN_MIN: usize = 128 * 1024;

/// Buffers that nobody uses. Cheap to clone: all have the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// A buffer of this length. What is in it is what was read last, or zeros.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let bytes = self.take_kept(len).unwrap_or_else(|| vec![0; len]);
        Buffer { bytes, len, buffers: self.clone() }
    }

    fn take_kept(&self, len: usize) -> Option<Vec<u8>> {
        if len < KEPT_LEN_MIN {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Much larger ones are left to those who read much.
        let at = kept.iter().position(|bytes| (len..=2 * len).contains(&bytes.len()))?;
        Some(kept.swap_remove(at))
    }

    fn give_back(&self, bytes: Vec<u8>) {
        if !(KEPT_LEN_MIN..=KEPT_BYTES_MAX).contains(&bytes.len()) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(bytes);
        // The oldest goes: what readers want now is the newest.
        while kept.iter().map(Vec::len).sum::<usize>() > KEPT_BYTES_MAX {
            kept.remove(0);
        }
    }
}

/// One of them, in use until it is dropped, or the last of the [`Bytes`] that it was made into.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    buffers: Buffers,
}

impl Buffer {
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.buffers.give_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &Buffers) -> Vec<usize> {
        buffers.0.lock().unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_looks_at_it() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(KEPT_LEN_MIN + 10);
        buffer.as_mut().fill(7);
        buffer.truncate(KEPT_LEN_MIN);
        let bytes = buffer.freeze();
        let part = bytes.slice(3..5);
        drop(bytes);
        assert_eq!((kept(&buffers), &part[..]), (vec![], &[7, 7][..]));
        drop(part);
        assert_eq!(kept(&buffers), [KEPT_LEN_MIN + 10]);
        let buffer = buffers.take(KEPT_LEN_MIN);
        assert_eq!((buffer.as_ref().len(), kept(&buffers)), (KEPT_LEN_MIN, vec![]));
    }

    #[test]
    fn what_is_kept_is_bounded_and_of_use() {
        let buffers = Buffers::default();
        let taken: Vec<_> = (0..20).map(|_| buffers.take(1 << 20)).collect();
        drop(taken);
        assert_eq!(kept(&buffers), [1 << 20; 8]);
        drop(buffers.take(KEPT_LEN_MIN - 1));
        drop(buffers.take(KEPT_BYTES_MAX + 1));
        assert_eq!(kept(&buffers), [1 << 20; 8]);
        drop(buffers.take(4 << 20));
        assert_eq!(kept(&buffers), [1 << 20, 1 << 20, 1 << 20, 1 << 20, 4 << 20], "the oldest go");
        let small: Vec<_> = (0..5).map(|_| buffers.take(1 << 20)).collect();
        assert_eq!(kept(&buffers), [4 << 20], "a small reader does not hold a large buffer");
        drop(small);
    }
}
