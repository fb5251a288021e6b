//! [`State`], the batches of a producer and the rules by which they move. No lock, no task and no socket: the
//! [`queue`](crate::queue) and the [`worker`](crate::worker) have those.

use std::{collections::VecDeque, mem, sync::Arc, task::Waker, time::Duration};

use minikafka_proto::v1::{
    ProduceRequest, ProduceStreamRequest, ProduceStreamResponse, RequestError, produce_request::Payload,
    produce_stream_response::Result as Reply,
};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    FlushError, Message, Receipt, Refusal, SendError,
    batch::{Batch, Draft},
    error::Seconds,
    settings::Settings,
};

/// The reason of a refusal that smaller batches may avoid.
pub(crate) const TOO_LARGE: &str = "MESSAGE_TOO_LARGE";

/// Which of the streams, one after the other, that a producer opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionId(u64);

/// How a stream ended, and so what became of the requests without a reply.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The server ended it with OK: they were not stored.
    Graceful,
    /// The server does not want such streams at all: they were not stored.
    Refused(Arc<Refusal>),
    /// The server ended it because the oldest request without a reply is too large: none of them was stored.
    TooLarge(Arc<Refusal>),
    /// It broke: nobody knows.
    Broken(Arc<str>),
}

/// A batch that is done, and how.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) batch: Batch,
    pub(crate) result: Result<u64, SendError>,
}

/// Whom a change concerns.
#[derive(Debug)]
pub(crate) struct News {
    /// The stream may take a request.
    pub(crate) stream: Option<Waker>,
    /// The worker has to look again.
    pub(crate) worker_is_concerned: bool,
    /// Receipts to answer and room to give back.
    pub(crate) settled: Vec<Settled>,
    /// Position below which everything is settled; only of use when something is.
    pub(crate) settled_position: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    timeout: Duration,
    in_flight_max: usize,
    /// Shrinks when the server finds a batch too large.
    batch_bytes_max: usize,

    /// Position of the next message, in the order of enqueueing.
    end_position: u64,
    draft: Option<Draft>,
    /// Before the draft; ordered by position.
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<InFlight>,
    settled: Vec<Settled>,

    /// How large the next batch may become, as the last one was.
    draft_bytes_expected: usize,
    next_request_id: u64,
    next_session: u64,
    session: Option<SessionId>,
    /// Of the stream, when it has nothing to do.
    stream_waker: Option<Waker>,
    /// The server asked to wait.
    paused_until: Option<Instant>,
    /// Why there is no stream.
    unreachable: Option<Arc<str>>,
    failure: Option<FlushError>,
    worker_is_concerned: bool,
    is_closed: bool,
}

/// A request on the stream; `batch` is gone when its receipts could not wait for the reply.
#[derive(Debug)]
struct InFlight {
    request_id: u64,
    batch: Option<Batch>,
}

impl State {
    pub(crate) fn new(settings: &Settings) -> State {
        State {
            timeout: settings.timeout,
            in_flight_max: settings.in_flight_max,
            batch_bytes_max: settings.batch_bytes_max,
            end_position: 0,
            draft: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            settled: Vec::new(),
            draft_bytes_expected: 0,
            next_request_id: 0,
            next_session: 0,
            session: None,
            stream_waker: None,
            paused_until: None,
            unreachable: None,
            failure: None,
            worker_is_concerned: false,
            is_closed: false,
        }
    }

    /// Takes in a message of at most `bytes` in a batch, which takes up `room` of the buffer.
    pub(crate) fn push(
        &mut self,
        message: &Message<'_>,
        bytes: usize,
        room: usize,
    ) -> Result<Receipt, SendError> {
        if self.is_closed {
            return Err(SendError::Closed);
        }
        if self.draft.as_ref().is_some_and(|draft| draft.len() + bytes > self.batch_bytes_max) {
            self.seal_draft();
        }
        let draft = self.draft.get_or_insert_with(|| {
            let expires_at = Instant::now() + self.timeout;
            Draft::new(self.end_position, expires_at, self.draft_bytes_expected.max(bytes))
        });
        self.end_position += 1;
        self.worker_is_concerned |= self.session.is_none();
        Ok(draft.push(message, room))
    }

    fn seal_draft(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.draft_bytes_expected = draft.len().min(self.batch_bytes_max);
            self.waiting.push_back(draft.seal());
        }
    }

    /// The next request, when there is one and it may be sent.
    pub(crate) fn next_request(&mut self, settings: &Settings) -> Option<ProduceStreamRequest> {
        if !self.may_send() {
            return None;
        }
        if self.waiting.is_empty() {
            self.seal_draft();
        }
        let batch = self.waiting.pop_front()?;
        let produce = ProduceRequest {
            topic: settings.topic.clone(),
            partition: settings.partition,
            payload: Some(Payload::RecordBatch(batch.bytes.clone())),
            leader_epoch: None,
        };
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        self.in_flight.push_back(InFlight { request_id, batch: Some(batch) });
        Some(ProduceStreamRequest { request_id, produce: Some(produce) })
    }

    fn may_send(&self) -> bool {
        self.in_flight.len() < self.in_flight_max && self.paused_until.is_none()
    }

    /// Keeps the waker of a stream that has nothing to do.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        self.stream_waker = Some(waker.clone());
    }

    /// See [`Queue::take_reply`](crate::queue::Queue::take_reply).
    pub(crate) fn take_reply(&mut self, reply: ProduceStreamResponse) -> Result<(), String> {
        let request_id = reply.request_id;
        let in_flight =
            self.in_flight.pop_front_if(|request| request.request_id == request_id).ok_or_else(|| {
                format!("the server replied to request {request_id}, which is not the next one")
            })?;
        let Some(batch) = in_flight.batch else {
            return Ok(()); // too late: its receipts are answered
        };
        match reply.result {
            Some(Reply::Produced(produced)) => self.settle(batch, Ok(produced.first_number)),
            Some(Reply::Error(error)) => self.take_refusal(batch, error),
            None => {
                self.settle(batch, Err(outcome_unknown("the server's reply is empty")));
                return Err("the server's reply is empty".to_owned());
            }
        }
        Ok(())
    }

    fn take_refusal(&mut self, mut batch: Batch, error: RequestError) {
        let retry_after_ms = error.retry_after_ms;
        let is_too_large = error.reason == TOO_LARGE;
        let code = Code::from_i32(error.code);
        let refusal = Arc::new(Refusal { code, reason: error.reason, message: error.message });
        if let Some(after_ms) = retry_after_ms {
            // Everything waits, not only this batch: fewer messages overtake it, and the others would most
            // likely be refused for the same cause.
            let until = Instant::now() + Duration::from_millis(after_ms).min(self.timeout);
            self.paused_until = self.paused_until.max(Some(until));
            self.worker_is_concerned = true;
            batch.refusal = Some(refusal);
            return self.come_back(batch);
        }
        if matches!(code, Code::Internal | Code::Unknown) {
            // The server failed in the middle of it, as when a disk does not say whether it has synced.
            let cause = refusal.to_string();
            return self.settle(batch, Err(outcome_unknown(&cause)));
        }
        if is_too_large {
            return self.make_smaller(batch, refusal);
        }
        self.settle(batch, Err(SendError::Refused(refusal)));
    }

    /// Puts the halves of a batch that is too large back where it was. A single message has none: it is
    /// refused.
    fn make_smaller(&mut self, batch: Batch, refusal: Arc<Refusal>) {
        if batch.count() == 1 {
            return self.settle(batch, Err(SendError::Refused(refusal)));
        }
        self.batch_bytes_max = self.batch_bytes_max.min(batch.bytes.len() / 2);
        let halves = batch.split().expect("a batch that was encoded here can be read");
        halves.into_iter().for_each(|half| self.come_back(half));
    }

    /// Puts a batch that is surely not stored back where it was.
    fn come_back(&mut self, batch: Batch) {
        let at = self.waiting.partition_point(|other| other.first_position < batch.first_position);
        self.waiting.insert(at, batch);
    }

    fn settle(&mut self, batch: Batch, result: Result<u64, SendError>) {
        if let Err(error) = &result
            && self.failure.as_ref().is_none_or(|failure| batch.first_position < failure.position)
        {
            self.failure = Some(FlushError { position: batch.first_position, error: error.clone() });
        }
        self.settled.push(Settled { batch, result });
    }

    pub(crate) fn begin_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.session = Some(session);
        self.unreachable = None;
        session
    }

    pub(crate) fn is_current(&self, session: SessionId) -> bool {
        self.session == Some(session)
    }

    pub(crate) fn end_session(&mut self, ending: Ending) {
        self.session = None;
        self.stream_waker = None;
        let mut without_reply = mem::take(&mut self.in_flight);
        if let Ending::TooLarge(refusal) = &ending
            && let Some(batch) = without_reply.pop_front().and_then(|request| request.batch)
        {
            self.make_smaller(batch, refusal.clone());
        }
        for batch in without_reply.into_iter().filter_map(|request| request.batch) {
            match &ending {
                Ending::Graceful | Ending::TooLarge(_) => self.come_back(batch),
                Ending::Refused(refusal) => self.settle(batch, Err(SendError::Refused(refusal.clone()))),
                Ending::Broken(cause) => {
                    self.settle(batch, Err(SendError::OutcomeUnknown { cause: cause.clone() }));
                }
            }
        }
        if let Ending::Broken(cause) = ending {
            self.unreachable = Some(cause);
        }
    }

    pub(crate) fn note_unreachable(&mut self, cause: Arc<str>) {
        self.unreachable = Some(cause);
    }

    /// When something expires or a pause ends; `None` when there is nothing to wait for.
    pub(crate) fn next_wake_up(&self) -> Option<Instant> {
        let in_flight = self.in_flight.iter().filter_map(|request| request.batch.as_ref());
        in_flight
            .chain(self.waiting.front())
            .map(|batch| batch.expires_at)
            .chain(self.draft.as_ref().map(Draft::expires_at))
            .chain(self.paused_until)
            .min()
    }

    /// Fails what has expired and ends a pause that is over.
    pub(crate) fn wake_up(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        for index in 0..self.in_flight.len() {
            let request = &mut self.in_flight[index];
            if let Some(batch) = request.batch.take_if(|batch| batch.expires_at <= now) {
                let cause = format!("no reply within {}", Seconds(self.timeout));
                self.settle(batch, Err(outcome_unknown(&cause)));
            }
        }
        if self.draft.as_ref().is_some_and(|draft| draft.expires_at() <= now) {
            self.seal_draft();
        }
        while let Some(batch) = self.waiting.pop_front_if(|batch| batch.expires_at <= now) {
            let error = self.why_not_sent(&batch);
            self.settle(batch, Err(error));
        }
    }

    fn why_not_sent(&self, batch: &Batch) -> SendError {
        let waited = self.timeout;
        match (&batch.refusal, &self.unreachable) {
            (Some(refusal), _) => SendError::Busy { refusal: refusal.clone(), waited },
            (None, Some(cause)) => SendError::Unreachable { cause: cause.clone(), waited },
            (None, None) => SendError::Timeout { waited },
        }
    }

    /// Takes in no more messages.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.worker_is_concerned = true;
    }

    /// The worker is gone: fails everything.
    pub(crate) fn abandon(&mut self) {
        self.close();
        self.end_session(Ending::Broken("the producer's task was stopped".into()));
        self.seal_draft();
        for batch in mem::take(&mut self.waiting) {
            self.settle(batch, Err(SendError::Closed));
        }
    }

    /// Whether there is something to send.
    pub(crate) fn has_work(&self) -> bool {
        self.draft.is_some() || !self.waiting.is_empty()
    }

    /// Whether nothing is left to do, and nothing will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_closed && !self.has_work() && self.in_flight.iter().all(|request| request.batch.is_none())
    }

    /// Position of the next message.
    pub(crate) fn end_position(&self) -> u64 {
        self.end_position
    }

    pub(crate) fn failure(&self) -> Option<FlushError> {
        self.failure.clone()
    }

    pub(crate) fn take_failure(&mut self) -> Option<FlushError> {
        self.failure.take()
    }

    /// Whom the changes since the last call concern.
    pub(crate) fn take_news(&mut self) -> News {
        let settled = mem::take(&mut self.settled);
        let is_finished = self.is_finished();
        let stream_is_concerned = is_finished || (self.may_send() && self.has_work());
        News {
            stream: if stream_is_concerned { self.stream_waker.take() } else { None },
            worker_is_concerned: mem::take(&mut self.worker_is_concerned) || is_finished,
            settled_position: if settled.is_empty() { 0 } else { self.settled_position() },
            settled,
        }
    }

    /// Position below which everything is settled.
    fn settled_position(&self) -> u64 {
        let in_flight = self.in_flight.iter().filter_map(|request| request.batch.as_ref());
        let oldest_batch = in_flight.chain(self.waiting.front()).map(|batch| batch.first_position).min();
        let oldest = oldest_batch.or_else(|| self.draft.as_ref().map(Draft::first_position));
        oldest.unwrap_or(self.end_position)
    }
}

fn outcome_unknown(cause: &str) -> SendError {
    SendError::OutcomeUnknown { cause: cause.into() }
}
