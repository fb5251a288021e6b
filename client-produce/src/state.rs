//! [`State`], the batches of a producer and the rules by which they move. No lock, no task and no socket: the
//! [`queue`](crate::queue) and the [`worker`](crate::worker) have those. What concerns one partition alone is in its
//! [`Lane`].

mod expiry;
mod replies;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use minikafka_proto::v1::{ProduceRequest, ProduceStreamRequest, produce_request::Payload};
use tokio::time::Instant;

use crate::{
    FlushError, Message, Receipt, Refusal, SendError,
    batch::{Batch, Draft},
    errand::{Errand, Errands},
    lane::{Identity, Lane},
    partitioner::{Partitioner, Partitions},
    settings::{Delivery, Settings},
};

/// The reason of a refusal that smaller batches may avoid.
pub(crate) const TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// The reason of a refusal that says that there are fewer partitions than we thought.
const NO_PARTITION: &str = "PARTITION_NOT_FOUND";
/// The reason of a refusal that says that a partition is out of service.
const LOST: &str = "DAMAGED";
/// How long a partition waits after the server failed inside: it may be restarted any moment, and knows then what it
/// has.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

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
    /// There is an errand to run.
    pub(crate) has_errand: bool,
    /// Receipts to answer and room to give back.
    pub(crate) settled: Vec<Settled>,
    /// Position below which everything is settled; only of use when something is.
    pub(crate) settled_position: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    timeout: Duration,
    delivery: Delivery,
    in_flight_max: usize,
    /// Shrinks when the server finds a batch too large.
    batch_bytes_max: usize,

    /// Position of the next message, in the order of enqueueing.
    end_position: u64,
    partitioner: Partitioner,
    lanes: BTreeMap<u32, Lane>,
    /// The lanes with something to send, in the order in which they have their turn.
    queued: VecDeque<u32>,
    /// Drafts and waiting batches of all lanes.
    parked: usize,
    /// Of all lanes, in the order of the stream.
    in_flight: VecDeque<InFlight>,
    /// By first position: when each batch expires, and its partition. So those that expire first come first.
    unsettled: BTreeMap<u64, (Instant, u32)>,
    settled: Vec<Settled>,
    errands: Errands,

    next_request_id: u64,
    next_session: u64,
    session: Option<SessionId>,
    /// Of the stream, when it has nothing to do.
    stream_waker: Option<Waker>,
    /// The server asked to wait.
    paused_until: Option<Instant>,
    /// Lanes that rest, and until when; the first to wake up comes first.
    resting: VecDeque<(Instant, u32)>,
    /// Why there is no stream.
    unreachable: Option<Arc<str>>,
    failure: Option<FlushError>,
    worker_is_concerned: bool,
    stream_is_concerned: bool,
    is_closed: bool,
}

/// A request on the stream; `batch` is gone when its receipts could not wait for the reply.
#[derive(Debug)]
struct InFlight {
    request_id: u64,
    partition: u32,
    batch: Option<Batch>,
}

impl State {
    pub(crate) fn new(settings: &Settings) -> State {
        State {
            timeout: settings.timeout,
            delivery: settings.delivery,
            in_flight_max: settings.in_flight_max(),
            batch_bytes_max: settings.batch_bytes_max,
            end_position: 0,
            partitioner: Partitioner::new(settings.partition),
            lanes: BTreeMap::new(),
            queued: VecDeque::new(),
            parked: 0,
            in_flight: VecDeque::new(),
            unsettled: BTreeMap::new(),
            settled: Vec::new(),
            errands: Errands::new(),
            next_request_id: 0,
            next_session: 0,
            session: None,
            stream_waker: None,
            paused_until: None,
            resting: VecDeque::new(),
            unreachable: None,
            failure: None,
            worker_is_concerned: false,
            stream_is_concerned: false,
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
        let mut partition = self.partitioner.choose(message);
        let is_full = |draft: &Draft| draft.len() + bytes > self.batch_bytes_max;
        let draft = self.lanes.get(&partition).and_then(|lane| lane.draft.as_ref());
        if draft.is_some_and(is_full) {
            self.seal_draft(partition);
            // A message without a key goes to the next partition now.
            partition = self.partitioner.choose(message);
            let draft = self.lanes.get(&partition).and_then(|lane| lane.draft.as_ref());
            if draft.is_some_and(|draft| draft.len() + bytes > self.batch_bytes_max) {
                self.seal_draft(partition);
            }
        }
        let lane = self.lanes.entry(partition).or_default();
        let draft = lane.draft.get_or_insert_with(|| {
            let expires_at = Instant::now() + self.timeout;
            self.unsettled.insert(self.end_position, (expires_at, partition));
            self.parked += 1;
            Draft::new(partition, expires_at, lane.draft_bytes_expected.max(bytes))
        });
        let receipt = draft.push(message, room, self.end_position);
        if !mem::replace(&mut lane.is_queued, true) {
            self.queued.push_back(partition);
        }
        self.end_position += 1;
        self.worker_is_concerned |= self.session.is_none();
        self.stream_is_concerned |= self.takes_drafts();
        Ok(receipt)
    }

    /// Whether a message cannot be taken in before it is known how many partitions there are: its key says where it
    /// goes, and the same key has to go there for ever. Asks for the topic then.
    pub(crate) fn needs_topic(&mut self, message: &Message<'_>) -> bool {
        let needs = !self.is_closed && !self.errands.knows_topic() && self.partitioner.goes_by_key(message);
        if needs {
            self.errands.want_topic();
            self.worker_is_concerned = true;
        }
        needs
    }

    /// Takes in a message that cannot be sent: its receipt says why.
    pub(crate) fn push_failed(&mut self, message: &Message<'_>, room: usize, error: SendError) -> Receipt {
        let mut draft = Draft::new(0, Instant::now(), 0);
        let receipt = draft.push(message, room, self.end_position);
        self.end_position += 1;
        self.fail(0, draft.seal(), error);
        receipt
    }

    fn seal_draft(&mut self, partition: u32) {
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        if let Some(draft) = lane.draft.take() {
            lane.draft_bytes_expected = draft.len().min(self.batch_bytes_max);
            lane.waiting.push_back(draft.seal());
            self.stream_is_concerned |= lane.in_flight < self.in_flight_max;
        }
        self.partitioner.note_sealed(partition);
    }

    /// Whether drafts go out before they are full. Only while few requests are under way over all partitions:
    /// what comes meanwhile makes batches large. Full ones go as soon as their partition has room.
    fn takes_drafts(&self) -> bool {
        self.in_flight.len() < self.in_flight_max
    }

    /// The next request, when there is one and it may be sent.
    pub(crate) fn next_request(&mut self, settings: &Settings) -> Option<ProduceStreamRequest> {
        if !self.may_send() {
            return None;
        }
        let name = self.name();
        for _ in 0..self.queued.len() {
            let partition = self.queued.pop_front()?;
            let takes_draft = self.takes_drafts();
            let lane = self.lanes.get_mut(&partition)?;
            let had_draft = lane.draft.as_ref().map(Draft::len);
            let batch = lane.take_next(takes_draft, self.in_flight_max, name);
            if let (Some(len), None) = (had_draft, &lane.draft) {
                lane.draft_bytes_expected = len.min(self.batch_bytes_max);
                self.partitioner.note_sealed(partition);
            }
            lane.is_queued = lane.has_work();
            if lane.is_queued {
                self.queued.push_back(partition);
            }
            match batch {
                Some(batch) => return Some(self.request(settings, partition, batch)),
                None if name.is_some_and(|name| lane.wants_identity(name)) => self.errands.want_identity(),
                None => {}
            }
        }
        None
    }

    fn request(&mut self, settings: &Settings, partition: u32, mut batch: Batch) -> ProduceStreamRequest {
        let produce = ProduceRequest {
            topic: settings.topic.clone(),
            partition: Some(partition),
            payload: Some(Payload::RecordBatch(batch.encode())),
            leader_epoch: None,
        };
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        self.parked -= 1;
        self.errands.note_sent();
        self.in_flight.push_back(InFlight { request_id, partition, batch: Some(batch) });
        ProduceStreamRequest { request_id, produce: Some(produce) }
    }

    fn may_send(&self) -> bool {
        self.paused_until.is_none() && (self.delivery == Delivery::AtMostOnce || self.name().is_some())
    }

    /// Under which name batches are sent now, if they have one at all.
    fn name(&self) -> Option<Identity> {
        match self.delivery {
            Delivery::ExactlyOnce => self.errands.identity(),
            Delivery::AtMostOnce => None,
        }
    }

    /// Keeps the waker of a stream that has nothing to do.
    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        self.stream_waker = Some(waker.clone());
    }

    /// Puts a batch back where it was, to be sent again.
    fn come_back(&mut self, partition: u32, batch: Batch) {
        self.parked += 1;
        self.stream_is_concerned = true;
        let lane = self.lane(partition);
        lane.come_back(batch);
        if !mem::replace(&mut lane.is_queued, true) {
            self.queued.push_back(partition);
        }
    }

    fn lane(&mut self, partition: u32) -> &mut Lane {
        self.lanes.entry(partition).or_default()
    }

    fn fail(&mut self, partition: u32, batch: Batch, error: SendError) {
        self.lane(partition).note_failed(&batch);
        let position = batch.first_position();
        if self.failure.as_ref().is_none_or(|failure| position < failure.position) {
            self.failure = Some(FlushError { position, error: error.clone() });
        }
        self.settle(batch, Err(error));
    }

    fn settle(&mut self, batch: Batch, result: Result<u64, SendError>) {
        self.unsettled.remove(&batch.first_position());
        self.settled.push(Settled { batch, result });
    }

    pub(crate) fn begin_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.session = Some(session);
        self.unreachable = None;
        if self.partitioner.knows_lost() {
            // They may have been restored while the server was away.
            self.errands.want_partitions();
        }
        session
    }

    pub(crate) fn is_current(&self, session: SessionId) -> bool {
        self.session == Some(session)
    }

    pub(crate) fn end_session(&mut self, ending: Ending) {
        self.session = None;
        self.stream_waker = None;
        self.lanes.values_mut().for_each(Lane::end_session);
        let mut without_reply = mem::take(&mut self.in_flight);
        if let Ending::TooLarge(refusal) = &ending
            && let Some(InFlight { partition, batch: Some(batch), .. }) = without_reply.pop_front()
        {
            self.make_smaller(partition, batch, refusal.clone());
        }
        for InFlight { partition, batch, .. } in without_reply {
            let Some(mut batch) = batch else { continue };
            match (&ending, self.delivery) {
                (Ending::Graceful | Ending::TooLarge(_), _) => self.come_back(partition, batch),
                (Ending::Refused(refusal), _) => self.refuse(partition, batch, refusal.clone()),
                (Ending::Broken(_), Delivery::ExactlyOnce) => {
                    batch.may_be_stored = true;
                    self.come_back(partition, batch);
                }
                (Ending::Broken(cause), Delivery::AtMostOnce) => {
                    self.fail(partition, batch, SendError::OutcomeUnknown { cause: cause.clone() });
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

    /// What to ask the server beside the stream.
    pub(crate) fn next_errand(&mut self) -> Option<Errand> {
        self.errands.next(self.delivery)
    }

    /// The server says under which name to go on, and after which time it forgets who sends nothing: a batch that is
    /// sent again later than that could be stored twice.
    pub(crate) fn set_identity(&mut self, identity: Identity, expiry: Option<Duration>) {
        self.errands.set_identity(identity);
        self.timeout = expiry.map_or(self.timeout, |expiry| self.timeout.min(expiry));
        self.stream_is_concerned = true;
    }

    /// How long a message may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Why messages are not sent, with what they have waited.
    pub(crate) fn why_no_topic(&self) -> SendError {
        match &self.unreachable {
            Some(cause) => SendError::Unreachable { cause: cause.clone(), waited: self.timeout },
            None => SendError::Timeout { waited: self.timeout },
        }
    }

    /// The server does not let the producer go on under a new epoch of its name.
    pub(crate) fn lose_identity(&mut self) {
        self.errands.lose_identity();
    }

    /// The server knows no idempotent producers.
    pub(crate) fn give_up_exactly_once(&mut self) {
        self.delivery = Delivery::AtMostOnce;
        self.stream_is_concerned = true;
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            for batch in self.lane(partition).give_up_sequences() {
                self.parked -= 1;
                let cause = "sent again, it could be stored twice: the server knows no idempotent producers";
                self.fail(partition, batch, outcome_unknown(cause));
            }
        }
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The topic has these partitions; `None` when it is not there yet.
    pub(crate) fn set_partitions(&mut self, partitions: Option<Partitions>) {
        self.errands.set_topic(partitions.is_some());
        if let Some(partitions) = partitions {
            self.partitioner.set_partitions(partitions);
        }
    }

    /// Nobody waits for the topic any more, or it is not created.
    pub(crate) fn leave_topic(&mut self) {
        self.errands.leave_topic();
    }

    /// Takes in no more messages.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.errands.leave_topic();
        self.worker_is_concerned = true;
    }

    /// The worker is gone: fails everything.
    pub(crate) fn abandon(&mut self) {
        self.close();
        let cause: Arc<str> = "the producer's task was stopped".into();
        self.end_session(Ending::Broken(cause.clone()));
        let partitions: Vec<u32> = self.lanes.keys().copied().collect();
        for partition in partitions {
            self.seal_draft(partition);
            for batch in mem::take(&mut self.lane(partition).waiting) {
                self.parked -= 1;
                let error = match batch.may_be_stored {
                    true => SendError::OutcomeUnknown { cause: cause.clone() },
                    false => SendError::Closed,
                };
                self.fail(partition, batch, error);
            }
        }
    }

    /// Whether there is something to send, or to find out before something can be.
    pub(crate) fn has_work(&self) -> bool {
        self.parked > 0 || self.errands.wants_topic()
    }

    /// Whether nothing is left to do, and nothing will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_closed && self.unsettled.is_empty()
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
        let may_send = mem::take(&mut self.stream_is_concerned) && self.may_send() && self.has_work();
        News {
            stream: if is_finished || may_send { self.stream_waker.take() } else { None },
            worker_is_concerned: mem::take(&mut self.worker_is_concerned) || is_finished,
            has_errand: self.errands.are_news(),
            settled_position: if settled.is_empty() { 0 } else { self.settled_position() },
            settled,
        }
    }

    /// Position below which everything is settled.
    fn settled_position(&self) -> u64 {
        self.unsettled.first_key_value().map_or(self.end_position, |(position, _)| *position)
    }
}

fn outcome_unknown(cause: &str) -> SendError {
    SendError::OutcomeUnknown { cause: cause.into() }
}
