//! [`Backlog`], what waits on a connection behind a request that is not answered yet.
//!
//! A JoinGroup may wait for an hour, and so does all that its client sends behind it. Requests of names and numbers are
//! held in memory meanwhile, decoded: so few bytes of them are read ahead that any number of such connections can be
//! afforded. What brings messages has its bounds in the broker.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

/// Bytes of requests that wait at the same time. Alone a request may be as large as any.
const BYTES_MAX: usize = 64 * 1024;

/// What waits. One task adds, and one takes away.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    less: Notify,
    empty: Notify,
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
        let is_empty = self.requests.fetch_sub(1, Ordering::AcqRel) == 1;
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.less.notify_one();
        if is_empty {
            self.empty.notify_one();
        }
    }

    /// Resolves when nothing has been waiting for so long: whoever waits for a reply is not idle, however long that takes,
    /// and has all of this time after it. Nothing may be added meanwhile.
    pub(super) async fn idle(&self, timeout: Duration) {
        while self.requests.load(Ordering::Acquire) > 0 {
            // One that comes between the look and the wait is kept; one that is too old leads to another look.
            self.empty.notified().await;
        }
        sleep(timeout).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn little_is_read_behind_what_waits_and_anything_behind_nothing() {
        let backlog = Backlog::default();
        let has_room = |bytes| backlog.room(bytes).now_or_never().is_some();
        assert!(has_room(100 * BYTES_MAX));
        backlog.add(10);
        assert!(has_room(BYTES_MAX - 10) && !has_room(BYTES_MAX - 9));
        backlog.done(10);
        backlog.add(100 * BYTES_MAX);
        assert!(!has_room(1));
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken() {
        let backlog = Backlog::default();
        backlog.add(BYTES_MAX);
        backlog.add(0);
        tokio::join!(biased; backlog.room(1), async { backlog.done(BYTES_MAX) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_idle_so_long_after_its_last_reply() {
        let (backlog, timeout) = (Backlog::default(), Duration::from_secs(10));
        let begin = Instant::now();
        backlog.idle(timeout).await;
        assert_eq!(begin.elapsed(), timeout, "nothing was ever asked for");
        // One that was answered before, and two that take longer than a silent client has.
        backlog.add(0);
        backlog.done(0);
        backlog.add(0);
        backlog.add(0);
        let answering = async {
            for _ in 0..2 {
                sleep(2 * timeout).await;
                backlog.done(0);
            }
        };
        let begin = Instant::now();
        tokio::join!(backlog.idle(timeout), answering);
        assert_eq!(begin.elapsed(), 5 * timeout);
    }
}
