//! [`Rarely`], a future that is looked at only when it has something to say.
//!
//! Whoever waits for one of several futures polls all of them whenever one is woken. Beside one that is woken thousands of
//! times a second stand some that end a connection one day: each look at these takes locks that all connections share.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls the future when it has been woken, and the first time.
pub(super) struct Rarely<F> {
    future: Pin<Box<F>>,
    alarm: Arc<Alarm>,
    /// The alarm's.
    waker: Waker,
}

struct Alarm {
    rings: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> Rarely<F> {
    pub(super) fn new(future: F) -> Rarely<F> {
        let alarm = Arc::new(Alarm { rings: AtomicBool::new(true), task: AtomicWaker::new() });
        Rarely { future: Box::pin(future), waker: alarm.clone().into(), alarm }
    }
}

impl<F: Future> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // In this order: an alarm between the two wakes the task.
        self.alarm.task.register(cx.waker());
        if !self.alarm.rings.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Rarely { future, waker, .. } = &mut *self;
        future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn};

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn it_is_polled_when_it_is_woken_and_not_when_others_are() {
        let (sender, mut receiver) = oneshot::channel();
        let polled = Cell::new(0);
        let mut rarely = Rarely::new(poll_fn(|cx| {
            polled.set(polled.get() + 1);
            receiver.poll_unpin(cx)
        }));
        let mut cx = Context::from_waker(Waker::noop());
        (0..3).for_each(|_| assert!(rarely.poll_unpin(&mut cx).is_pending()));
        assert_eq!(polled.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(rarely.poll_unpin(&mut cx), Poll::Ready(Ok(7)));
        assert_eq!(polled.get(), 2);
    }

    #[tokio::test]
    async fn who_waits_for_it_is_woken() {
        let (sender, receiver) = oneshot::channel();
        let waiting = tokio::spawn(Rarely::new(receiver));
        tokio::task::yield_now().await;
        sender.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }
}
