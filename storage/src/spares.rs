//! [`Spares`], the memory that large entries leave behind: used again and again, because memory that is new has to be
//! cleared by the system first, page by page, which costs as much as receiving what comes into it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};

/// What is kept, at most, over all logs of a storage.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Smaller ones come from memory that the allocator has, mostly.
const KEPT_LEN_MIN: usize = 48 * 1024;
/// At most this share of what is asked for may be left unused.
const SLACK_SHARE: usize = 32;

/// Memory that nobody uses. Cheap to clone: all have the same.
#[derive(Clone, Debug, Default)]
pub struct Spares(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    buffers: VecDeque<BytesMut>,
    bytes: usize,
    /// How many more may be kept: one for each time that somebody has asked.
    asked: usize,
}

impl Spares {
    /// An empty buffer for so many bytes, and hardly more. `None`: there is none, or so small a one is soon made.
    #[must_use]
    pub fn take(&self, len: usize) -> Option<BytesMut> {
        if len < KEPT_LEN_MIN {
            return None;
        }
        let mut kept = self.lock();
        kept.asked = kept.asked.saturating_add(1);
        let fits = |spare: &BytesMut| (len..=len + len / SLACK_SHARE).contains(&spare.capacity());
        // The newest: it is in the processor's cache, perhaps.
        let at = kept.buffers.iter().rposition(fits)?;
        let spare = kept.buffers.remove(at)?;
        kept.bytes -= spare.capacity();
        Some(spare)
    }

    /// Keeps the memory of these bytes if it is large enough and nobody else holds any of it, and somebody has asked for
    /// such.
    pub fn keep(&self, bytes: Bytes) {
        if !Spares::is_worth_keeping(&bytes) {
            return;
        }
        let Ok(mut spare) = bytes.try_into_mut() else { return };
        spare.clear();
        // What lies before these bytes belongs to it, too.
        let _ = spare.try_reclaim(spare.capacity() + 1);
        if spare.capacity() > KEPT_BYTES_MAX {
            return;
        }
        // They go once nothing is locked.
        let mut oldest = Vec::new();
        let mut kept = self.lock();
        if kept.asked == 0 {
            return;
        }
        kept.asked -= 1;
        kept.bytes += spare.capacity();
        kept.buffers.push_back(spare);
        // What is wanted next is like what came last.
        while kept.bytes > KEPT_BYTES_MAX {
            let Some(spare) = kept.buffers.pop_front() else { break };
            kept.bytes -= spare.capacity();
            oldest.push(spare);
        }
    }

    /// Whether it is large enough.
    pub(crate) fn is_worth_keeping(bytes: &Bytes) -> bool {
        bytes.len() >= KEPT_LEN_MIN
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1_000_000;

    fn kept(spares: &Spares) -> Vec<usize> {
        spares.lock().buffers.iter().map(BytesMut::capacity).collect()
    }

    /// Nobody has left anything, and so many have asked.
    fn asked(times: usize) -> Spares {
        let spares = Spares::default();
        (0..times).for_each(|_| assert!(spares.take(LEN).is_none()));
        spares
    }

    #[test]
    fn memory_is_used_again_once_nobody_else_holds_it() {
        let spares = asked(2);
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
        let spares = asked(1);
        spares.keep(vec![0; LEN].into());
        assert!(spares.take(LEN + 1).is_none() && spares.take(LEN - LEN / 16).is_none());
        assert!(spares.take(LEN - LEN / 64).is_some());
        spares.keep(vec![0; KEPT_LEN_MIN - 1].into());
        spares.keep(Bytes::from_static(&[0; KEPT_LEN_MIN]));
        assert_eq!(kept(&spares), []);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let spares = asked(20);
        (0..20).for_each(|n| spares.keep(vec![0; LEN + n].into()));
        assert_eq!(kept(&spares), (12..20).map(|n| LEN + n).collect::<Vec<_>>());
        assert_eq!(spares.take(LEN).unwrap().capacity(), LEN + 19, "the newest");
        spares.keep(vec![0; KEPT_BYTES_MAX + 1].into());
        let sum: usize = kept(&spares).iter().sum();
        assert_eq!((kept(&spares).len(), spares.lock().bytes), (7, sum));
    }

    #[test]
    fn nothing_is_kept_for_which_nobody_has_asked() {
        let spares = asked(2);
        (0..5).for_each(|_| spares.keep(vec![0; LEN].into()));
        assert_eq!(kept(&spares), [LEN, LEN]);
    }
}
