//! [`Lane`], what a producer has for one partition, and the rules by which its batches get their sequences.
//!
//! ```text
//!   draft --> waiting --> (in flight: in the state, which has them in the order of the stream) --> settled
//!                ^                |
//!                +--- comes back -+     with the sequence that it had
//! ```
//!
//! A batch gets the next sequence when it is sent first, and keeps it. When one of them fails for good, its
//! sequences are missing, and the server would refuse all that follow: the lane has a gap. It then waits until
//! nothing is in flight, asks about batches whose outcome nobody knows under the name that they have, and goes on
//! under a new epoch, where sequences begin again.

use std::collections::VecDeque;

use minikafka_record::{ProducerStamp, Sequence};

use crate::{
    batch::{Batch, Draft},
    settings::Delivery,
};

/// What a producer is called. Both numbers stand in each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) draft: Option<Draft>,
    /// Before the draft; ordered by position.
    pub(crate) waiting: VecDeque<Batch>,
    /// How many are in flight.
    pub(crate) in_flight: usize,
    /// Whether it sends nothing for a while, after the server failed inside.
    pub(crate) is_resting: bool,
    /// Whether it is among those that the stream looks at.
    pub(crate) is_queued: bool,
    /// How large the next batch may become, as the last one was.
    pub(crate) draft_bytes_expected: usize,
    /// Under which name it sends; `None` before it does.
    identity: Option<Identity>,
    next_sequence: Sequence,
    /// Whether anything was stored under that name.
    has_stored: bool,
    /// Whether sequences are missing.
    has_gap: bool,
    /// Whether something came back while others were in flight: they will, too.
    is_returning: bool,
}

impl Lane {
    pub(crate) fn has_work(&self) -> bool {
        self.draft.is_some() || !self.waiting.is_empty()
    }

    /// The next batch to send, when there is one and it may be sent. A draft that is not full is, if
    /// `takes_draft`.
    pub(crate) fn take_next(
        &mut self,
        takes_draft: bool,
        in_flight_max: usize,
        name: Option<Identity>,
    ) -> Option<Batch> {
        if self.is_resting || self.in_flight >= in_flight_max {
            return None;
        }
        let Some(name) = name else {
            // Without sequences, the server takes what comes in any order.
            self.fill(takes_draft);
            return self.waiting.pop_front().inspect(|_| self.in_flight += 1);
        };
        if self.is_returning && self.in_flight > 0 {
            return None;
        }
        self.is_returning = false;
        self.mend(Some(name));
        let batch = if self.has_gap {
            let unknown = self.waiting.iter().position(|batch| batch.may_be_stored)?;
            self.waiting.remove(unknown)
        } else {
            self.fill(takes_draft);
            self.waiting.pop_front()
        };
        let mut batch = batch?;
        if batch.stamp.is_none() {
            let Identity { id, epoch } = *self.identity.get_or_insert(name);
            batch.stamp = Some(ProducerStamp { id, epoch, sequence: self.next_sequence });
            self.next_sequence = self.next_sequence.plus(batch.count());
        }
        self.in_flight += 1;
        Some(batch)
    }

    fn fill(&mut self, takes_draft: bool) {
        if self.waiting.is_empty() && takes_draft {
            self.waiting.extend(self.draft.take().map(Draft::seal));
        }
    }

    /// Whether it can only go on under a newer name than this.
    pub(crate) fn wants_identity(&self, name: Identity) -> bool {
        self.may_begin_anew() && self.has_work() && self.identity == Some(name)
    }

    /// Whether it has a gap and nothing left whose outcome is unknown.
    fn may_begin_anew(&self) -> bool {
        self.has_gap && self.in_flight == 0 && !self.waiting.iter().any(|batch| batch.may_be_stored)
    }

    /// Goes on under a new name, if it has to and there is one: sequences begin again.
    fn mend(&mut self, name: Option<Identity>) {
        if self.may_begin_anew() && self.identity != name {
            self.identity = None;
            self.next_sequence = Sequence::ZERO;
            (self.has_gap, self.has_stored) = (false, false);
            self.waiting.iter_mut().for_each(|batch| batch.stamp = None);
        }
    }

    /// A batch was stored.
    pub(crate) fn note_stored(&mut self) {
        self.has_stored = true;
    }

    /// A batch will not be sent again, and nobody knows that it is stored.
    pub(crate) fn note_failed(&mut self, batch: &Batch) {
        self.has_gap |= batch.stamp.is_some();
    }

    /// The server refused a batch since it does not go on from what it has. Says what that means for the batch.
    pub(crate) fn take_break(&mut self, reason: Break, batch: &mut Batch) -> Fate {
        let is_explained = self.has_gap || self.is_returning;
        let is_not_stored = match reason {
            // The server knows its last five batches, and all that are under way are among them.
            Break::OutOfSequence => is_explained,
            // It knows none, so nothing was stored, unless it has forgotten.
            Break::Unknown => is_explained && !self.has_stored,
        };
        if is_not_stored {
            batch.may_be_stored = false;
        } else {
            self.has_gap = true;
        }
        if batch.may_be_stored { Fate::Unknown } else { Fate::Again }
    }

    /// Puts a batch back where it was.
    pub(crate) fn come_back(&mut self, batch: Batch) {
        self.is_returning |= self.in_flight > 0;
        let position = batch.first_position();
        let at = self.waiting.partition_point(|other| other.first_position() < position);
        self.waiting.insert(at, batch);
    }

    /// The stream has ended: nothing is in flight.
    pub(crate) fn end_session(&mut self) {
        self.in_flight = 0;
        self.is_returning = false;
    }

    /// The server knows no idempotent producers. Returns the batches that may be stored: they cannot be sent again.
    pub(crate) fn give_up_sequences(&mut self) -> Vec<Batch> {
        let (unknown, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|batch| batch.may_be_stored);
        self.waiting = rest.into();
        self.waiting.iter_mut().for_each(|batch| batch.stamp = None);
        (self.has_gap, self.is_returning) = (false, false);
        unknown
    }
}

/// How the server's memory of a producer and ours differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// It expects another sequence.
    OutOfSequence,
    /// It does not know the producer.
    Unknown,
}

impl Break {
    /// What a reason says, if it is about that.
    pub(crate) fn of(reason: &str, delivery: Delivery) -> Option<Break> {
        match (delivery, reason) {
            (Delivery::ExactlyOnce, "OUT_OF_SEQUENCE") => Some(Break::OutOfSequence),
            (Delivery::ExactlyOnce, "UNKNOWN_PRODUCER") => Some(Break::Unknown),
            _ => None,
        }
    }
}

/// What becomes of a batch that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is not stored, and is sent again.
    Again,
    /// It may be stored, and the server cannot tell.
    Unknown,
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
