//! [`Backlog`], what waits on a connection behind a request that is not answered yet.
//!
//! A JoinGroup may wait for an hour, and so does all that its client sends behind it. Requests of names and numbers are
//! held in memory meanwhile, decoded: so few bytes of them are read ahead that any number of such connections can be
//! afforded. What brings messages has its bounds in the broker.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes of requests that wait at the same time. Alone a request may be as large as any.
const BYTES_MAX: usize = 64 * 1024;

/// What waits. One task adds, and one takes away.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    less: Notify,
}

impl Backlog {
    /// Waits until so many bytes may be added. Cancel safe.
    pub(super) async fn room(&self, bytes: usize) {
        loop {
            // One that comes between the look and the wait is kept.
            let less = self.less.notified();
            let before = self.bytes.load(Ordering::Acquire);
            if before == 0 || before + bytes <= BYTES_MAX {
                return;
            }
            less.await;
        }
    }

    /// A request of so many bytes waits.
    pub(super) fn add(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// It was answered.
    pub(super) fn done(&self, bytes: usize) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.less.notify_one();
    }

    /// Whether the client waits for something.
    pub(super) fn is_waited_for(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn little_is_read_behind_what_waits_and_anything_behind_nothing() {
        let backlog = Backlog::default();
        let has_room = |bytes| backlog.room(bytes).now_or_never().is_some();
        assert!(has_room(100 * BYTES_MAX));
        backlog.add(10);
        assert!(has_room(BYTES_MAX - 10) && !has_room(BYTES_MAX - 9));
        backlog.done(10);
        assert!(!backlog.is_waited_for());
        backlog.add(100 * BYTES_MAX);
        assert!(!has_room(1));
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken() {
        let backlog = Backlog::default();
        backlog.add(BYTES_MAX);
        backlog.add(0);
        tokio::join!(biased; backlog.room(1), async { backlog.done(BYTES_MAX) });
        assert!(backlog.is_waited_for());
    }
}
