//! What becomes of batches whose time is over.

use tokio::time::Instant;

use super::{State, outcome_unknown};
use crate::{SendError, batch::Batch, error::Seconds};

impl State {
    /// When something expires or a pause ends; `None` when there is nothing to wait for.
    pub(crate) fn next_wake_up(&self) -> Option<Instant> {
        let first = self.unsettled.first_key_value().map(|(_, (expires_at, _))| *expires_at);
        let rested = self.resting.front().map(|(until, _)| *until);
        first.into_iter().chain(rested).chain(self.paused_until).min()
    }

    /// Fails what has expired and ends a pause that is over.
    pub(crate) fn wake_up(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.stream_is_concerned = true;
        }
        while let Some((_, partition)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.lane(partition).is_resting = false;
            self.stream_is_concerned = true;
        }
        while let Some((position, (expires_at, partition))) = self.unsettled.pop_first() {
            if expires_at > now {
                self.unsettled.insert(position, (expires_at, partition));
                break;
            }
            self.expire(position, partition);
        }
    }

    /// Fails a batch whose time is over.
    fn expire(&mut self, position: u64, partition: u32) {
        let is_it = |batch: &Batch| batch.first_position() == position;
        for request in &mut self.in_flight {
            if let Some(batch) = request.batch.take_if(|batch| is_it(batch)) {
                let cause = format!("no reply within {}", Seconds(self.timeout));
                return self.fail(partition, batch, outcome_unknown(&cause));
            }
        }
        if self.lane(partition).draft.as_ref().is_some_and(|draft| draft.first_position() == position) {
            self.seal_draft(partition);
        }
        let waiting = &mut self.lane(partition).waiting;
        let batch = waiting.iter().position(is_it).and_then(|at| waiting.remove(at));
        if let Some(batch) = batch {
            self.parked -= 1;
            let error = self.why_not_sent(&batch);
            self.fail(partition, batch, error);
        }
    }

    fn why_not_sent(&self, batch: &Batch) -> SendError {
        let waited = self.timeout;
        let what = match (&batch.refusal, &self.unreachable) {
            (Some(refusal), _) => SendError::Busy { refusal: refusal.clone(), waited },
            (None, Some(cause)) => SendError::Unreachable { cause: cause.clone(), waited },
            (None, None) => SendError::Timeout { waited },
        };
        if batch.may_be_stored { outcome_unknown(&what.to_string()) } else { what }
    }
}
