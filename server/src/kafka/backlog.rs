//! [`Backlog`], what waits on a connection: requests that were begun and are not answered yet.
//!
//! A JoinGroup may wait for an hour, and so does all that its client sends behind it. Requests of names and numbers are
//! held in memory meanwhile, decoded: so few bytes of them are read ahead that any number of such connections can be
//! afforded. What brings messages has its bounds in the broker, but for long answers, which are counted here.
//!
//! The two halves of a connection share it, and they are one task: the one that reads is polled first, and what it adds the
//! other one finds when it is polled right after. So nobody is woken for that, which for a client with one request under way
//! would be a turn of the task for each.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Bytes of requests that wait at the same time. Alone a request may be as large as any.
const BYTES_MAX: usize = 64 * 1024;
/// Requests that are read and not answered yet. Clients have five under way by default.
const PIPELINE_MAX: usize = 64;
/// Longer than any connection lives.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
/// Who waits for a reply is not looked at more often.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// Requests of one connection, in their order. One half of the connection adds, and one takes away.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    /// Never contended: it is there because a task may move from thread to thread.
    waiting: Mutex<Waiting<T>>,
    /// There is less of it, and somebody waits for that.
    less: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Those that nobody works on yet.
    queue: VecDeque<T>,
    /// Requests that have begun to arrive and are not answered.
    unanswered: usize,
    /// The bytes of those among them that count.
    bytes: usize,
    is_closed: bool,
    is_room_wanted: bool,
    /// When there was nothing unanswered any more.
    quiet_since: Instant,
}

impl<T> Backlog<T> {
    /// Nothing waits.
    pub(super) fn new() -> Backlog<T> {
        let waiting = Waiting {
            queue: VecDeque::new(),
            unanswered: 0,
            bytes: 0,
            is_closed: false,
            is_room_wanted: false,
            quiet_since: Instant::now(),
        };
        Backlog { waiting: Mutex::new(waiting), less: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins to arrive.
    pub(super) fn begin(&self) {
        self.lock().unanswered += 1;
    }

    /// Waits until the request that has begun may be one more of so many bytes. Cancel safe.
    pub(super) async fn room(&self, bytes: usize) {
        self.less_until(|waiting| waiting.bytes == 0 || waiting.bytes + bytes <= BYTES_MAX).await;
    }

    /// Waits until the request that has begun may be one more. Cancel safe.
    pub(super) async fn turn(&self) {
        self.less_until(|waiting| waiting.unanswered <= PIPELINE_MAX).await;
    }

    async fn less_until(&self, has_room: impl Fn(&Waiting<T>) -> bool) {
        loop {
            // One that comes between the look and the wait is kept.
            let less = self.less.notified();
            {
                let mut waiting = self.lock();
                waiting.is_room_wanted = !has_room(&waiting);
                if !waiting.is_room_wanted {
                    return;
                }
            }
            less.await;
        }
    }

    /// The request that has begun, of so many bytes, waits for its answer.
    pub(super) fn add(&self, request: T, bytes: usize) {
        let mut waiting = self.lock();
        waiting.queue.push_back(request);
        waiting.bytes += bytes;
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// The next request to be answered; `None`: there are no more. Nobody is woken for it: it is for a task that polls it
    /// itself after each turn of the half that adds, and not for what polls a future only when that was woken.
    pub(super) async fn next(&self) -> Option<T> {
        poll_fn(|_| {
            let mut waiting = self.lock();
            match waiting.queue.pop_front() {
                None if !waiting.is_closed => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }

    /// A request of so many bytes was answered.
    pub(super) fn done(&self, bytes: usize) {
        let mut waiting = self.lock();
        waiting.unanswered -= 1;
        waiting.bytes -= bytes;
        if waiting.unanswered == 0 {
            waiting.quiet_since = Instant::now();
        }
        if waiting.is_room_wanted {
            self.less.notify_one();
        }
    }

    /// Resolves when nothing has been waiting for so long: whoever waits for a reply is not idle, however long that takes,
    /// and has all of this time after it. Looks once in so much time.
    pub(super) async fn idle(&self, timeout: Duration) {
        let mut now = Instant::now();
        while let Some(due) = self.idle_at(now, timeout) {
            sleep_until(due).await;
            now = Instant::now();
        }
    }

    /// When it may be idle; `None`: now.
    fn idle_at(&self, now: Instant, timeout: Duration) -> Option<Instant> {
        let waiting = self.lock();
        let (since, time) = match waiting.unanswered {
            0 => (waiting.quiet_since, timeout),
            _ => (now, timeout.max(LOOK_MIN)),
        };
        // A time beyond all clocks is far enough.
        let due = since.checked_add(time).unwrap_or(now + FAR);
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A backlog with requests of so many bytes.
    fn backlog(requests: &[usize]) -> Backlog<()> {
        let backlog = Backlog::new();
        for bytes in requests {
            backlog.begin();
            backlog.add((), *bytes);
        }
        backlog
    }

    #[test]
    fn little_is_read_behind_what_waits_and_anything_behind_nothing() {
        let has_room = |backlog: &Backlog<()>, bytes| backlog.room(bytes).now_or_never().is_some();
        assert!(has_room(&backlog(&[]), 100 * BYTES_MAX));
        assert!(has_room(&backlog(&[10]), BYTES_MAX - 10) && !has_room(&backlog(&[10]), BYTES_MAX - 9));
        assert!(!has_room(&backlog(&[100 * BYTES_MAX]), 1));
        let many = backlog(&[0; PIPELINE_MAX]);
        assert!(many.turn().now_or_never().is_some());
        many.begin();
        assert!(many.turn().now_or_never().is_none() && has_room(&many, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_or_a_turn_is_woken() {
        let limit = Duration::from_secs(1);
        let full = backlog(&[BYTES_MAX, 0]);
        let room = tokio::time::timeout(limit, full.room(1));
        assert!(tokio::join!(biased; room, async { full.done(BYTES_MAX) }).0.is_ok());
        let many = backlog(&[0; PIPELINE_MAX + 1]);
        let turn = tokio::time::timeout(limit, many.turn());
        assert!(tokio::join!(biased; turn, async { many.done(0) }).0.is_ok());
    }

    #[test]
    fn requests_come_in_their_order_and_then_nothing() {
        let backlog = Backlog::new();
        let next = || backlog.next().now_or_never();
        (1..=2).for_each(|request| backlog.add(request, 0));
        assert_eq!([next(), next(), next()], [Some(Some(1)), Some(Some(2)), None]);
        backlog.add(3, 0);
        backlog.close();
        assert_eq!([next(), next(), next()], [Some(Some(3)), Some(None), Some(None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_idle_so_long_after_its_last_reply() {
        let timeout = Duration::from_secs(10);
        let begin = Instant::now();
        backlog(&[]).idle(timeout).await;
        assert_eq!(begin.elapsed(), timeout, "nothing was ever asked for");
        // One that was answered before, and two that take longer than a silent client has.
        let backlog = backlog(&[0, 0, 0]);
        backlog.done(0);
        let answering = async {
            for _ in 0..2 {
                tokio::time::sleep(2 * timeout).await;
                backlog.done(0);
            }
        };
        let begin = Instant::now();
        tokio::join!(backlog.idle(timeout), answering);
        assert_eq!(begin.elapsed(), 5 * timeout);
        // One that only begins to arrive.
        backlog.begin();
        for timeout in [timeout, Duration::ZERO, Duration::MAX] {
            assert!(backlog.idle(timeout).now_or_never().is_none());
        }
    }
}
