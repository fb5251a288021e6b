//! [`Edition`], which keeps what was learnt of a segment's frames from outliving them.
//!
//! A reader, or the writer, makes an index of a segment and stores it without the log's lock. A truncation that
//! cuts the segment meanwhile, or an eviction that removes it, would be followed by an index that speaks of frames
//! that are no more: of what opening takes for a mark that they were durable.

use std::sync::{Arc, Mutex, PoisonError};

/// Which edition of a segment somebody has seen. Clones see the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Edition {
    seen: u64,
    /// The edition there is.
    current: Arc<Mutex<u64>>,
}

impl Edition {
    /// Does something that must not happen once frames were taken away, unless that is so. Whoever wants to take
    /// some away waits for its end.
    pub(super) fn while_current<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (*current == self.seen).then(work)
    }

    /// Frames are about to be taken away: what others have seen is no longer current.
    pub(super) fn renew(&mut self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current += 1;
        self.seen = *current;
    }

    /// All frames are about to go, and nobody has a current edition any more.
    pub(super) fn retire(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_seen_what_was_taken_away_does_nothing_any_more() {
        let mut mine = Edition::default();
        let theirs = mine.clone();
        assert_eq!(theirs.while_current(|| 1), Some(1));
        mine.renew();
        assert_eq!((theirs.while_current(|| 1), mine.while_current(|| 2)), (None, Some(2)));
        mine.retire();
        assert_eq!(mine.while_current(|| 2), None);
    }
}
