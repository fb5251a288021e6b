//! [`LostPartitions`], those of which the server can read nothing.
//!
//! They are said once, left alone and asked for now and then, so that one that an operator has mended is read again. No
//! other partition waits for them.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{self, Sleep};

use crate::{ConsumeError, TopicPartition};

/// The first pause before they are asked for again. Most are mended by a restart of the server, which they are not left
/// alone over: a new stream is told everything.
const PAUSE: Duration = Duration::from_secs(1);
/// It doubles up to this: asking costs next to nothing, but lost partitions stay lost for long.
const PAUSE_MAX: Duration = Duration::from_secs(32);

/// See the module.
#[derive(Debug)]
pub(crate) struct LostPartitions {
    lost: BTreeSet<TopicPartition>,
    /// What nobody has been told yet; at most one for each of them.
    unsaid: VecDeque<(TopicPartition, String)>,
    /// Until all are asked for again; `None` while the answers are on their way.
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
}

impl LostPartitions {
    pub(crate) fn new() -> LostPartitions {
        LostPartitions { lost: BTreeSet::new(), unsaid: VecDeque::new(), pause: None, next_pause: PAUSE }
    }

    /// The server has said that this one is lost, which is to be said once.
    pub(crate) fn note(&mut self, of: TopicPartition, message: String) {
        if self.lost.insert(of.clone()) {
            (self.pause, self.next_pause) = (None, PAUSE);
            self.say_later(of, message);
        }
        if self.pause.is_none() {
            self.pause = Some(Box::pin(time::sleep(self.next_pause)));
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        }
    }

    /// It is read again, or no more, or from elsewhere.
    pub(crate) fn forget(&mut self, of: &TopicPartition) {
        if self.lost.remove(of) {
            self.unsaid.retain(|(unsaid, _)| unsaid != of);
        }
        if self.lost.is_empty() {
            self.pause = None;
        }
    }

    /// Says it with the next chance, if it is still so.
    pub(crate) fn say_later(&mut self, of: TopicPartition, message: String) {
        if self.lost.contains(&of) {
            self.unsaid.push_back((of, message));
        }
    }

    pub(crate) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    pub(crate) fn take_unsaid(&mut self) -> Option<ConsumeError> {
        let (of, message) = self.unsaid.pop_front()?;
        Some(ConsumeError::PartitionLost { of, message })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &TopicPartition> {
        self.lost.iter()
    }

    pub(crate) fn contains(&self, of: &TopicPartition) -> bool {
        self.lost.contains(of)
    }

    /// Those that are to be asked for again, when it is time.
    pub(crate) fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<Vec<TopicPartition>> {
        let Some(pause) = &mut self.pause else { return Poll::Pending };
        ready!(pause.as_mut().poll(context));
        self.pause = None;
        Poll::Ready(self.lost.iter().cloned().collect())
    }
}
