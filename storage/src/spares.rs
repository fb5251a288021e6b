//! [`Spares`], the memory that large entries leave behind: used again and again, because memory that is new has to be
//! cleared by the system first, page by page, which costs as much as receiving what comes into it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

/// What is kept, at most, over all logs of a storage.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Smaller ones come from memory that the allocator has, mostly.
const KEPT_LEN_MIN: usize = 256 * 1024;
/// At most this share of what is asked for may be left unused.
const SLACK_SHARE: usize = 32;

/// Memory that nobody uses. Cheap to clone: all have the same.
#[derive(Clone, Debug, Default)]
pub struct Spares(Arc<Mutex<Vec<BytesMut>>>);

impl Spares {
    /// An empty buffer for so many bytes, and hardly more. `None`: there is none, or so small a one is soon made.
    #[must_use]
    pub fn take(&self, len: usize) -> Option<BytesMut> {
        if len < KEPT_LEN_MIN {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|spare| (len..=len + len / SLACK_SHARE).contains(&spare.capacity()))?;
        Some(kept.swap_remove(at))
    }

    /// Keeps the memory of these bytes if it is large enough and nobody else holds any of it.
    pub fn keep(&self, bytes: Bytes) {
        if bytes.len() < KEPT_LEN_MIN {
            return;
        }
        let Ok(mut spare) = bytes.try_into_mut() else { return };
        spare.clear();
        // What lies before these bytes belongs to it, too.
        let _ = spare.try_reclaim(spare.capacity() + 1);
        if spare.capacity() > KEPT_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(spare);
        // The oldest goes: what is wanted next is like what came last.
        while kept.iter().map(BytesMut::capacity).sum::<usize>() > KEPT_BYTES_MAX {
            kept.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1_000_000;

    fn kept(spares: &Spares) -> Vec<usize> {
        spares.0.lock().unwrap().iter().map(BytesMut::capacity).collect()
    }

    #[test]
    fn memory_is_used_again_once_nobody_else_holds_it() {
        let spares = Spares::default();
        let mut frame = BytesMut::with_capacity(LEN);
        frame.resize(LEN, 7);
        let place = frame.as_ptr();
        // As an entry is: all but what surrounds it.
        let entry = frame.freeze().slice(100..LEN - 1);
        let reader = entry.clone();
        spares.keep(entry);
        assert!(spares.take(LEN).is_none() && reader.iter().all(|byte| *byte == 7), "it is read");
        spares.keep(reader);
        let spare = spares.take(LEN).unwrap();
        assert_eq!((spare.as_ptr(), spare.len(), spare.capacity()), (place, 0, LEN));
        assert!(spares.take(LEN).is_none());
    }

    #[test]
    fn nobody_gets_less_or_much_more_than_is_asked_for() {
        let spares = Spares::default();
        spares.keep(vec![0; LEN].into());
        assert!(spares.take(LEN + 1).is_none() && spares.take(LEN - LEN / 16).is_none());
        assert!(spares.take(LEN - LEN / 64).is_some());
        spares.keep(vec![0; KEPT_LEN_MIN - 1].into());
        spares.keep(Bytes::from_static(&[0; KEPT_LEN_MIN]));
        assert_eq!(kept(&spares), []);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let spares = Spares::default();
        (0..20).for_each(|n| spares.keep(vec![0; LEN + n].into()));
        assert_eq!(kept(&spares), (12..20).map(|n| LEN + n).collect::<Vec<_>>());
        spares.keep(vec![0; KEPT_BYTES_MAX + 1].into());
        assert_eq!(kept(&spares).len(), 8);
    }
}
