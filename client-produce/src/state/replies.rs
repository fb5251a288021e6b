//! What replies mean for the batches that they are about.

use std::{sync::Arc, time::Duration};

use minikafka_proto::v1::{ProduceStreamResponse, RequestError, produce_stream_response::Result as Reply};
use tokio::time::Instant;
use tonic::Code;

use super::{LOST, NO_PARTITION, PAUSE_AFTER_FAILURE, State, TOO_LARGE, outcome_unknown};
use crate::{
    Refusal, SendError,
    batch::Batch,
    lane::{Break, Fate},
    settings::Delivery,
};

impl State {
    /// See [`Queue::take_reply`](crate::queue::Queue::take_reply).
    pub(crate) fn take_reply(&mut self, reply: ProduceStreamResponse) -> Result<(), String> {
        let request_id = reply.request_id;
        let in_flight =
            self.in_flight.pop_front_if(|request| request.request_id == request_id).ok_or_else(|| {
                format!("the server replied to request {request_id}, which is not the next one")
            })?;
        self.stream_is_concerned = true;
        let partition = in_flight.partition;
        let lane = self.lanes.entry(partition).or_default();
        lane.in_flight -= 1;
        let Some(batch) = in_flight.batch else {
            return Ok(()); // too late: its receipts are answered
        };
        match reply.result {
            Some(Reply::Produced(produced)) => {
                lane.note_stored();
                self.errands.note_stored();
                self.settle(batch, Ok(produced.first_number));
            }
            Some(Reply::Error(error)) => self.take_refusal(partition, batch, error),
            None => {
                self.fail(partition, batch, outcome_unknown("the server's reply is empty"));
                return Err("the server's reply is empty".to_owned());
            }
        }
        Ok(())
    }

    fn take_refusal(&mut self, partition: u32, mut batch: Batch, error: RequestError) {
        let RequestError { reason, message, retry_after_ms, .. } = error;
        let code = Code::from_i32(error.code);
        let refusal = Arc::new(Refusal { code, reason, message });
        if let Some(after_ms) = retry_after_ms {
            // Everything waits, not only this batch: the others would most likely be refused for the same cause.
            self.pause(Duration::from_millis(after_ms));
            batch.refusal = Some(refusal);
            return self.come_back(partition, batch);
        }
        if let Some(reason) = Break::of(&refusal.reason, self.delivery) {
            return match self.lane(partition).take_break(reason, &mut batch) {
                Fate::Again => self.come_back(partition, batch),
                Fate::Unknown => self.fail(partition, batch, outcome_unknown(&refusal.to_string())),
            };
        }
        match (code, self.delivery) {
            // The server failed in the middle of it, as when a disk does not say whether it has synced.
            (Code::Internal | Code::Unknown, Delivery::ExactlyOnce) => {
                self.rest(partition);
                batch.may_be_stored = true;
                batch.refusal = Some(refusal);
                self.come_back(partition, batch);
            }
            (Code::Internal | Code::Unknown, Delivery::AtMostOnce) => {
                self.fail(partition, batch, outcome_unknown(&refusal.to_string()));
            }
            _ if refusal.reason == TOO_LARGE => self.make_smaller(partition, batch, refusal),
            _ => {
                let is_news = refusal.reason == LOST && self.partitioner.note_lost(partition);
                if is_news || refusal.reason == NO_PARTITION {
                    self.errands.want_partitions();
                }
                self.refuse(partition, batch, refusal);
            }
        }
    }

    /// Lets one partition wait: it may have failed alone.
    fn rest(&mut self, partition: u32) {
        if !std::mem::replace(&mut self.lane(partition).is_resting, true) {
            self.resting.push_back((Instant::now() + PAUSE_AFTER_FAILURE, partition));
            self.worker_is_concerned = true;
        }
    }

    fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time.min(self.timeout);
        self.paused_until = self.paused_until.max(Some(until));
        self.worker_is_concerned = true;
    }

    /// Puts the halves of a batch that is too large back where it was. A single message has none: it is
    /// refused. Nor has one that may be stored: the server knows it as a whole, and would take its halves for news.
    pub(super) fn make_smaller(&mut self, partition: u32, batch: Batch, refusal: Arc<Refusal>) {
        if batch.count() > 1 {
            self.batch_bytes_max = self.batch_bytes_max.min(batch.len() / 2);
        }
        if batch.count() == 1 || batch.may_be_stored {
            return self.refuse(partition, batch, refusal);
        }
        let first = batch.first_position();
        let expires_at = batch.expires_at;
        self.unsettled.remove(&first);
        let halves = batch.split().expect("a batch that was encoded here can be read");
        for half in halves {
            self.unsettled.insert(half.first_position(), (expires_at, partition));
            self.come_back(partition, half);
        }
    }

    /// The server does not take a batch, and will not.
    pub(super) fn refuse(&mut self, partition: u32, batch: Batch, refusal: Arc<Refusal>) {
        let error = match batch.may_be_stored {
            true => outcome_unknown(&format!("sent again, it was refused: {refusal}")),
            false => SendError::Refused(refusal),
        };
        self.fail(partition, batch, error);
    }
}
