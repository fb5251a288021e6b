//! [`Receipt`], the promise of a message's number, and [`Outcome`], what the receipts of one batch share.
//!
//! A million messages a second leave no room for a channel per message: all receipts of a batch look into one
//! [`Outcome`], and only those that are awaited leave a waker there.

use std::{
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use crate::SendError;

/// The promise of a message's number in its [`partition`](Receipt::partition): a future that is ready once the message is acknowledged or has failed.
///
/// Dropping a receipt does not drop the message; [`Producer::flush`](crate::Producer::flush) tells whether
/// those without a receipt failed.
#[derive(Debug)]
pub struct Receipt {
    outcome: Arc<Outcome>,
    /// Which message of the batch, from 0.
    index: u32,
    partition: u32,
    /// Where the waker of this receipt is kept, once it waits.
    slot: Option<usize>,
}

impl Receipt {
    pub(crate) fn new(outcome: Arc<Outcome>, index: u32, partition: u32) -> Receipt {
        Receipt { outcome, index, partition, slot: None }
    }

    /// The partition that the message goes to: numbers count in each of its own.
    pub fn partition(&self) -> u32 {
        self.partition
    }
}

impl Future for Receipt {
    type Output = Result<u64, SendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let receipt = self.get_mut();
        let mut state = receipt.outcome.lock();
        if let Some(result) = state.result_of(receipt.index) {
            return Poll::Ready(result);
        }
        match receipt.slot {
            Some(slot) => state.wakers[slot].clone_from(context.waker()),
            None => {
                receipt.slot = Some(state.wakers.len());
                state.wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

/// What became of the messages of one batch.
///
/// A standard mutex: it is held for a look or a push, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One part, unless the batch had to be split.
    parts: Vec<Part>,
    wakers: Vec<Waker>,
}

#[derive(Debug)]
struct Part {
    /// The messages it is about, as indexes into the batch.
    indexes: Range<u32>,
    /// The number of the first of them.
    result: Result<u64, SendError>,
}

impl Outcome {
    /// Settles the messages at `indexes`: they are stored from the given number on, or failed.
    pub(crate) fn settle(&self, indexes: Range<u32>, result: Result<u64, SendError>) {
        let mut state = self.lock();
        state.parts.push(Part { indexes, result });
        // Those that are not meant look again and leave no second waker: they have their slot.
        state.wakers.iter().for_each(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds an outcome")
    }
}

impl State {
    fn result_of(&self, index: u32) -> Option<Result<u64, SendError>> {
        let part = self.parts.iter().find(|part| part.indexes.contains(&index))?;
        Some(part.result.clone().map(|first| first + u64::from(index - part.indexes.start)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_split_batch_is_settled_in_parts_and_wakes_who_waits() {
        let outcome = Arc::new(Outcome::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let mut receipts: Vec<_> = (0..4).map(|index| Receipt::new(outcome.clone(), index, 0)).collect();
        let mut poll = |index: usize| Pin::new(&mut receipts[index]).poll(&mut context);

        assert!(poll(3).is_pending());
        assert!(poll(3).is_pending());
        outcome.settle(0..2, Ok(10));
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "one receipt waits, however often it was polled");
        assert!(matches!(poll(1), Poll::Ready(Ok(11))));
        assert!(poll(2).is_pending());
        outcome.settle(2..4, Err(SendError::Closed));
        assert!(matches!(poll(3), Poll::Ready(Err(SendError::Closed))));
    }
}
