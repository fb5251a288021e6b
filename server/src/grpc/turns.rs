//! [`Turns`]: readers of many partitions that share one stream.
//!
//! ```text
//!   waiting: at the end of their partitions, each woken by its high watermark
//!      |  ^
//!      v  |
//!   ready: a queue; the first has its turn: one fetch, sent in as many replies as it takes
//! ```
//!
//! A turn is one fetch, so those that are behind share the stream by bytes as they are stored, and each gets at least
//! one message. Only the reader whose turn it is holds messages, and the one after it what is fetched ahead:
//! the number of partitions does not matter. Those that wait cost their future, and nobody looks at them.

use std::{
    collections::{HashMap, VecDeque},
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use minikafka_proto::v1::{ReadResponse, TopicPartition};

use super::{
    reader::{Chunk, Form, Reader},
    refusal::Refusal,
};

/// Tells a reader from all others of its stream, also from an earlier one of the same partition.
type Id = u64;
/// Resolves when there is something to say.
type Waiting = Pin<Box<dyn Future<Output = Id> + Send>>;

/// See the module.
#[derive(Default)]
pub(super) struct Turns {
    readers: HashMap<Id, Seat>,
    by_partition: HashMap<TopicPartition, Id>,
    last_id: Id,
    /// Those that may have something to say, each once; and some that are gone.
    ready: VecDeque<Id>,
    /// How many are gone at most.
    gone: usize,
    waiting: FuturesUnordered<Abortable<Waiting>>,
}

/// A reader among others.
struct Seat {
    reader: Reader,
    read_id: u64,
    /// Ends its wait when it goes.
    wait: Option<AbortHandle>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(wait) = &self.wait {
            wait.abort();
        }
    }
}

impl Turns {
    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Takes in a reader, in the place of an earlier one of the same partition.
    pub(super) fn add(&mut self, reader: Reader, read_id: u64) {
        let key = key(&reader);
        self.last_id += 1;
        let id = self.last_id;
        self.remove([&key].into_iter());
        self.by_partition.insert(key, id);
        self.readers.insert(id, Seat { reader, read_id, wait: None });
        self.ready.push_back(id);
    }

    /// Lets readers go.
    pub(super) fn remove<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        for partition in partitions {
            if let Some(id) = self.by_partition.remove(partition) {
                self.readers.remove(&id);
                self.gone += 1;
            }
        }
        // Now and then, so that neither the queue grows nor each removal costs a walk over it.
        if self.gone > self.readers.len() {
            self.ready.retain(|id| self.readers.contains_key(id));
            self.gone = 0;
        }
    }

    /// Answers all of them in this form from now on.
    pub(super) fn change_form(&mut self, form: Form) {
        self.readers.values_mut().for_each(|seat| seat.reader.change_form(form));
    }

    /// The next reply, in turn; waits until there is one. A reader that fails says why and is removed.
    ///
    /// Cancel-safe: a reader keeps its turn until its reply is returned.
    ///
    /// # Errors
    /// When the server stops.
    pub(super) async fn next(&mut self) -> Result<ReadResponse, Refusal> {
        loop {
            while let Some(Some(woken)) = self.waiting.next().now_or_never() {
                self.take_in(woken);
            }
            let Some(&id) = self.ready.front() else {
                match self.waiting.next().await {
                    Some(woken) => self.take_in(woken),
                    None => pending().await,
                }
                continue;
            };
            let Some(seat) = self.readers.get_mut(&id) else {
                self.ready.pop_front();
                continue;
            };
            match seat.reader.next(Duration::ZERO).await {
                Ok(chunk) => {
                    let reply = (!chunk.is_empty()).then(|| reply(&seat.reader, seat.read_id, chunk));
                    if seat.reader.is_between_fetches() {
                        self.end_turn(id);
                    }
                    if let Some(reply) = reply {
                        return Ok(reply);
                    }
                }
                Err(refusal) if refusal.is_stopping() => return Err(refusal),
                Err(refusal) => {
                    let error = failure(key(&seat.reader), seat.read_id, refusal);
                    self.ready.pop_front();
                    self.by_partition.remove(&key(&seat.reader));
                    self.readers.remove(&id);
                    return Ok(error);
                }
            }
        }
    }

    fn take_in(&mut self, woken: Result<Id, Aborted>) {
        // One that is gone has aborted its wait.
        if let Ok(id) = woken
            && let Some(seat) = self.readers.get_mut(&id)
        {
            seat.wait = None;
            self.ready.push_back(id);
        }
    }

    /// The first has had its turn.
    fn end_turn(&mut self, id: Id) {
        self.ready.pop_front();
        let Some(seat) = self.readers.get_mut(&id) else { return };
        if seat.reader.is_behind() {
            self.ready.push_back(id);
        } else {
            let news = seat.reader.wait();
            let waiting: Waiting = Box::pin(async move {
                news.await;
                id
            });
            let (handle, registration) = AbortHandle::new_pair();
            seat.wait = Some(handle);
            self.waiting.push(Abortable::new(waiting, registration));
        }
        // The disk is read for the next one while the network is written to.
        if let Some(next) = self.ready.front().and_then(|next| self.readers.get_mut(next)) {
            next.reader.fetch_ahead();
        }
    }
}

fn key(reader: &Reader) -> TopicPartition {
    let partition = reader.partition();
    TopicPartition { topic: partition.topic().to_owned(), partition: partition.number() }
}

/// What a reader says.
pub(super) fn reply(reader: &Reader, read_id: u64, chunk: Chunk) -> ReadResponse {
    let TopicPartition { topic, partition } = key(reader);
    ReadResponse {
        topic,
        partition,
        read_id,
        messages: chunk.messages,
        record_batches: chunk.record_batches,
        next_number: chunk.next_number,
        start_number: chunk.start_number,
        end_number: chunk.end_number,
        leader_epoch: chunk.leader_epoch,
        error: None,
    }
}

/// Why a partition is not read.
pub(super) fn failure(of: TopicPartition, read_id: u64, refusal: Refusal) -> ReadResponse {
    let TopicPartition { topic, partition } = of;
    ReadResponse { topic, partition, read_id, error: Some(refusal.into()), ..ReadResponse::default() }
}
