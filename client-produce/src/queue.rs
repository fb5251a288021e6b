//! [`Queue`], what stands between the callers and the stream.
//!
//! ```text
//!   enqueue --> open draft --> waiting batches --> in flight --> settled      of each partition
//!                                    ^                 |
//!                                    +--- come back ---+
//!   |------------- room: at most buffer_bytes_max ------------|              of all partitions
//! ```
//!
//! Callers encode into the open draft of a partition; the stream takes batches out when fewer than `in_flight_max`
//! are under way. There is no timer that holds messages back: an idle stream takes the first message at once, and what
//! comes until the next reply forms the next batch.
//!
//! **Invariant:** a batch is in exactly one of these places, and its receipts are answered exactly once.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
    time::Duration,
};

use minikafka_proto::v1::{
    ProduceRequest, ProduceStreamRequest, ProduceStreamResponse, produce_request::Payload,
};
use minikafka_record::{Compression, RecordBatch};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{self, Instant},
};

use minikafka_client_connection::GRPC_MESSAGE_BYTES_MAX;

use crate::{
    FlushError, Message, Receipt, Refusal, SendError,
    errand::Errand,
    lane::Identity,
    partitioner::Partitions,
    settings::{Delivery, Settings},
    state::{Ending, SessionId, Settled, State},
};

/// What a request adds to its batch, generously: the name of the topic and a few small fields.
const REQUEST_OVERHEAD: usize = 4096;
/// The largest message that fits into a request, in bytes.
const MESSAGE_BYTES_MAX: usize = GRPC_MESSAGE_BYTES_MAX - REQUEST_OVERHEAD;

/// See the module. Shared by the handles, the worker and the stream that tonic drains.
///
/// A standard mutex: it is held to encode one message or to move batches, never across an await and never
/// together with another lock.
#[derive(Debug)]
pub(crate) struct Queue {
    settings: Settings,
    state: Mutex<State>,
    /// Free bytes of the buffer; waiting for them is fair.
    room: Semaphore,
    /// Wakes the worker: there is something to send, a new time to wake up, or nothing left to do.
    worker: Notify,
    /// Wakes who runs errands.
    errands: Notify,
    /// Position below which every message is stored or has failed.
    settled: watch::Sender<u64>,
    /// What became of the last question for the topic.
    topic: watch::Sender<Topic>,
}

/// What those hear who wait for a topic.
#[derive(Clone, Debug)]
enum Topic {
    /// Nothing yet, or it was not there, and nobody wanted it to be.
    Unknown,
    /// It is there.
    Known,
    /// It is not there, and the server creates none.
    Refused(Arc<Refusal>),
    /// Nobody asks any more.
    Closed,
}

impl Queue {
    pub(crate) fn new(settings: Settings) -> Queue {
        Queue {
            state: Mutex::new(State::new(&settings)),
            room: Semaphore::new(settings.buffer_bytes_max as usize),
            worker: Notify::new(),
            errands: Notify::new(),
            settled: watch::Sender::new(0),
            topic: watch::Sender::new(Topic::Unknown),
            settings,
        }
    }

    /// Takes in a message, once there is room for it, and it is known where it goes.
    ///
    /// Cancel-safe: a message is enqueued or it is not.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] and [`SendError::Closed`].
    pub(crate) async fn enqueue(&self, message: &Message<'_>) -> Result<Receipt, SendError> {
        let bytes = message.encoded_len_max();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { bytes, limit: MESSAGE_BYTES_MAX });
        }
        // A message larger than the whole buffer waits until it has the buffer to itself.
        let room = self.settings.buffer_bytes_max.min(bytes as u32);
        let permit = self.room.acquire_many(room).await.map_err(|_| SendError::Closed)?;
        let receipt = match self.topic_for(message).await {
            Ok(()) => self.with(|state| state.push(message, bytes, room as usize))?,
            Err(SendError::Closed) => return Err(SendError::Closed),
            Err(error) => self.with(|state| state.push_failed(message, room as usize, error)),
        };
        // From here on the batch owns the room.
        permit.forget();
        Ok(receipt)
    }

    /// Waits, if the key of a message says where it goes, until it is known how many partitions there are.
    ///
    /// # Errors
    /// Why that cannot be known.
    async fn topic_for(&self, message: &Message<'_>) -> Result<(), SendError> {
        // The way that nearly every message takes costs next to nothing.
        if matches!(*self.topic.borrow(), Topic::Known) {
            return Ok(());
        }
        // Before the question, so that no answer is missed.
        let mut answers = self.topic.subscribe();
        if !self.with(|state| state.needs_topic(message)) {
            return Ok(());
        }
        let answer = async {
            // The sender is this queue's own, and cannot be gone.
            while answers.changed().await.is_ok() {
                match answers.borrow_and_update().clone() {
                    Topic::Unknown => {}
                    Topic::Known => return Ok(()),
                    Topic::Refused(refusal) => return Err(SendError::Refused(refusal)),
                    Topic::Closed => break,
                }
            }
            Err(SendError::Closed)
        };
        let timeout = self.with(|state| state.timeout());
        match time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.with(|state| {
                // The last one that waits ends the question. Whoever comes subscribes first, and asks anew.
                if self.topic.receiver_count() == 1 {
                    state.leave_topic();
                }
                state.why_no_topic()
            })),
        }
    }

    /// Waits until what was enqueued before is settled.
    ///
    /// # Errors
    /// The first failure since the last flush.
    pub(crate) async fn flush(&self) -> Result<(), FlushError> {
        let end = self.with(|state| state.end_position());
        // An error would mean that the sender is gone, and this queue holds it.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= end).await;
        self.with(State::take_failure).map_or(Ok(()), Err)
    }

    /// The first failure since the last flush.
    pub(crate) fn failure(&self) -> Option<FlushError> {
        self.with(|state| state.failure())
    }

    /// How many messages, from the first on, are settled.
    pub(crate) fn settled(&self) -> u64 {
        *self.settled.borrow()
    }

    /// Takes in no more messages.
    pub(crate) fn close(&self) {
        self.room.close();
        self.with(State::close);
        self.topic.send_replace(Topic::Closed);
    }

    /// Waits until there is something to send: `true`; or, once closed, nothing left to do: `false`.
    pub(crate) async fn wait_for_work(&self) -> bool {
        loop {
            let (has_work, is_finished) = self.with(|state| (state.has_work(), state.is_finished()));
            if has_work || is_finished {
                return has_work;
            }
            self.worker.notified().await;
        }
    }

    /// Waits until the worker has to look again; see [`next_wake_up`](Queue::next_wake_up).
    pub(crate) async fn notified(&self) {
        self.worker.notified().await;
    }

    /// Whether the queue is closed and everything is settled.
    pub(crate) fn is_finished(&self) -> bool {
        self.with(|state| state.is_finished())
    }

    /// When [`wake_up`](Queue::wake_up) is to be called next.
    pub(crate) fn next_wake_up(&self) -> Instant {
        // A batch that comes later cannot expire earlier than its timeout.
        let latest = |state: &State| Instant::now() + state.timeout();
        self.with(|state| state.next_wake_up().map_or(latest(state), |next| next.min(latest(state))))
    }

    /// Fails what has expired and goes on with what was paused.
    pub(crate) fn wake_up(&self) {
        self.with(|state| state.wake_up(Instant::now()));
    }

    /// A stream is about to open; it takes requests with [`next_request`](Queue::next_request).
    pub(crate) fn begin_session(&self) -> SessionId {
        self.with(State::begin_session)
    }

    /// The next request to write to the stream; `None` when there is none now, and `waker` is woken when
    /// there is.
    ///
    /// # Errors
    /// When the session is over.
    pub(crate) fn next_request(
        &self,
        session: SessionId,
        waker: &Waker,
    ) -> Result<Option<ProduceStreamRequest>, SessionOver> {
        let request = self.with(|state| {
            if !state.is_current(session) || state.is_finished() {
                return Err(SessionOver);
            }
            Ok(state.next_request(&self.settings).or_else(|| {
                state.set_waker(waker);
                None
            }))
        })?;
        // Without the lock, so that callers go on enqueueing.
        Ok(request.map(|request| compress(request, self.settings.compression)))
    }

    /// Settles the request that a reply is about.
    ///
    /// # Errors
    /// A sentence, when the reply makes no sense.
    pub(crate) fn take_reply(&self, reply: ProduceStreamResponse) -> Result<(), String> {
        self.with(|state| state.take_reply(reply))
    }

    /// The stream has ended.
    pub(crate) fn end_session(&self, ending: Ending) {
        self.with(|state| state.end_session(ending));
    }

    /// No stream could be opened.
    pub(crate) fn note_unreachable(&self, cause: Arc<str>) {
        self.with(|state| state.note_unreachable(cause));
    }

    /// Waits until there is something to ask the server.
    pub(crate) async fn next_errand(&self) -> Errand {
        loop {
            if let Some(errand) = self.with(State::next_errand) {
                return errand;
            }
            self.errands.notified().await;
        }
    }

    /// See [`State::set_identity`].
    pub(crate) fn set_identity(&self, identity: Identity, expiry: Option<Duration>) {
        self.with(|state| state.set_identity(identity, expiry));
    }

    /// See [`State::lose_identity`].
    pub(crate) fn lose_identity(&self) {
        self.with(State::lose_identity);
    }

    /// See [`State::give_up_exactly_once`].
    pub(crate) fn give_up_exactly_once(&self) {
        self.with(State::give_up_exactly_once);
    }

    pub(crate) fn delivery(&self) -> Delivery {
        self.with(|state| state.delivery())
    }

    /// See [`State::set_partitions`].
    pub(crate) fn set_partitions(&self, partitions: Option<Partitions>) {
        let topic = if partitions.is_some() { Topic::Known } else { Topic::Unknown };
        self.with(|state| state.set_partitions(partitions));
        self.topic.send_replace(topic);
    }

    /// The topic is not there, and the server does not create it.
    pub(crate) fn refuse_topic(&self, refusal: Arc<Refusal>) {
        self.with(State::leave_topic);
        self.topic.send_replace(Topic::Refused(refusal));
    }

    pub(crate) fn topic(&self) -> &str {
        &self.settings.topic
    }

    /// The worker ends, whatever is left.
    pub(crate) fn abandon(&self) {
        self.room.close();
        self.with(State::abandon);
        self.topic.send_replace(Topic::Closed);
    }

    /// Runs `change` under the lock, then, without it, tells everyone whom the change concerns.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let news = state.take_news();
        drop(state);
        if let Some(waker) = news.stream {
            waker.wake();
        }
        if news.worker_is_concerned {
            self.worker.notify_one();
        }
        if news.has_errand {
            self.errands.notify_one();
        }
        if !news.settled.is_empty() {
            self.publish(news.settled, news.settled_position);
        }
        result
    }

    fn publish(&self, settled: Vec<Settled>, settled_position: u64) {
        for Settled { batch, result } in settled {
            batch.settle(result);
            self.room.add_permits(batch.room);
        }
        self.settled.send_if_modified(|position| {
            let is_news = *position < settled_position;
            *position = settled_position.max(*position);
            is_news
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the queue")
    }
}

/// The request as it goes over the wire. The queue keeps its batch as it was: it may have to be split.
fn compress(mut request: ProduceStreamRequest, codec: Compression) -> ProduceStreamRequest {
    if codec != Compression::None
        && let Some(ProduceRequest { payload: Some(Payload::RecordBatch(bytes)), .. }) = &mut request.produce
    {
        let batch = RecordBatch::parse(bytes.clone()).expect("a batch that was encoded here can be read");
        *bytes = batch.compress(codec).into_bytes();
    }
    request
}

/// The stream asked for a request after its session was over.
#[derive(Debug)]
pub(crate) struct SessionOver;
