//! [`Producer`], the handle that messages go through.

use std::{sync::Arc, time::Duration};

use minikafka_client_connection as connection;
use minikafka_record::Compression;

use crate::{
    Address, ConnectError, FlushError, Message, Receipt, SendError,
    introduction::introduce,
    queue::Queue,
    settings::{Delivery, Settings},
    worker::Worker,
};

/// Sends messages to one topic of one server. Cheap to clone: the clones share one stream and one buffer, and
/// what one task sends to one partition stays in order.
///
/// When the last clone is dropped, what was enqueued is still sent, as long as the runtime lives; to know
/// that it arrived, [`close`](Producer::close).
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// The end of the last handle closes the queue.
#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The options of a [`Producer`]; see [`Producer::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect`"]
pub struct ProducerBuilder {
    host: String,
    settings: Settings,
}

impl Producer {
    /// A producer for `topic` with the default options. `host` is `host:port`, `:port` for this machine, or
    /// `http://host:port`.
    ///
    /// # Errors
    /// As [`ProducerBuilder::connect`].
    pub async fn connect(host: &str, topic: &str) -> Result<Producer, ConnectError> {
        Producer::builder(host, topic).connect().await
    }

    /// The options of a producer for `topic`.
    pub fn builder(host: &str, topic: &str) -> ProducerBuilder {
        ProducerBuilder { host: host.to_owned(), settings: Settings::new(topic) }
    }

    /// Sends a message and waits for its number in its partition. The topic is created when it is not there.
    ///
    /// Many calls at once share batches; one after the other, each costs a round trip and a sync of the
    /// server's disk. To send fast from one task, [`enqueue`](Producer::enqueue).
    ///
    /// # Errors
    /// See the variants of [`SendError`] for what the caller can do.
    pub async fn send<'m>(&self, message: impl Into<Message<'m>>) -> Result<u64, SendError> {
        self.handle.queue.enqueue(&message.into()).await?.await
    }

    /// Enqueues a message and returns the promise of its number. Waits only while the buffer is full; and, with a key,
    /// while nobody knows how many partitions the topic will have: it is created then.
    ///
    /// Cancel-safe: when the call is dropped before it returns, the message is not enqueued.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] and [`SendError::Closed`]; all others come by the receipt.
    pub async fn enqueue<'m>(&self, message: impl Into<Message<'m>>) -> Result<Receipt, SendError> {
        self.handle.queue.enqueue(&message.into()).await
    }

    /// Waits until every message that was enqueued before is acknowledged or has failed, which it has by the
    /// delivery timeout.
    ///
    /// # Errors
    /// The first failure, in the order of enqueueing, since the last flush.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.handle.queue.flush().await
    }

    /// Takes in no more messages, from no clone, and [`flush`](Producer::flush)es.
    ///
    /// # Errors
    /// As `flush`.
    pub async fn close(self) -> Result<(), FlushError> {
        self.handle.queue.close();
        self.handle.queue.flush().await
    }

    /// The first failure so far, without waiting; the next [`flush`](Producer::flush) reports it too. For
    /// those who enqueue without looking at receipts and want to stop early.
    pub fn failure(&self) -> Option<FlushError> {
        self.handle.queue.failure()
    }

    /// Whether what is sent again is stored once: so it is unless it was
    /// [turned off](ProducerBuilder::idempotent), or the server is too old for it.
    pub fn is_idempotent(&self) -> bool {
        self.handle.queue.delivery() == Delivery::ExactlyOnce
    }

    /// How many messages, from the first one enqueued on, are acknowledged or have failed.
    pub fn settled(&self) -> u64 {
        self.handle.queue.settled()
    }
}

impl ProducerBuilder {
    /// How long a message may take from entering the buffer to its acknowledgement, retries included. At most for as
    /// long as the server remembers producers, which is a day by default: what is sent again later could be stored twice,
    /// unless the producer is not [idempotent](ProducerBuilder::idempotent). Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> ProducerBuilder {
        self.settings.timeout = timeout;
        self
    }

    /// How large a batch of several messages may become, in bytes before compression. A larger message
    /// travels alone. Default: 256 KiB.
    pub fn batch_bytes_max(mut self, bytes: usize) -> ProducerBuilder {
        self.settings.batch_bytes_max = bytes;
        self
    }

    /// How many bytes of messages may wait for their acknowledgement; at this bound
    /// [`enqueue`](Producer::enqueue) waits. Default: 32 MiB.
    pub fn buffer_bytes_max(mut self, bytes: u32) -> ProducerBuilder {
        self.settings.buffer_bytes_max = bytes.max(1);
        self
    }

    /// How many batches may wait for a reply at once, for each partition. Default: 5, which is the most while the
    /// producer is [idempotent](ProducerBuilder::idempotent). At 1, no message ever overtakes one that the server
    /// asked to send again later, even if it is not.
    pub fn in_flight_max(mut self, batches: usize) -> ProducerBuilder {
        self.settings.in_flight_max = batches.max(1);
        self
    }

    /// Whether a message that has to be sent again, because its reply was lost, is stored once. Default: yes. Without
    /// it, nobody knows whether such a message is stored: it fails with [`SendError::OutcomeUnknown`].
    pub fn idempotent(mut self, idempotent: bool) -> ProducerBuilder {
        self.settings.delivery = if idempotent { Delivery::ExactlyOnce } else { Delivery::AtMostOnce };
        self
    }

    /// Sends to this partition, counted from 0. Default: messages with a key go where its hash says, murmur2, as
    /// with Kafka's clients; those without go to all partitions in turn, batch by batch, but not to those that the
    /// server's disk has lost. A message may [say otherwise](Message::partition).
    pub fn partition(mut self, partition: u32) -> ProducerBuilder {
        self.settings.partition = Some(partition);
        self
    }

    /// Compresses batches before they are sent; servers keep them as they are, and consumers decompress them.
    /// Default: [`Compression::None`].
    ///
    /// A batch that does not become smaller is sent as it is. The larger batches are, the smaller they
    /// become: one message at a time is hardly worth it. A message keeps to the server's limit before it is
    /// compressed, too. The task that writes to the connection compresses, which takes it about 0.3 ms for
    /// 256 KiB with [`Compression::Zstd`] and 1.5 ms with [`Compression::Gzip`].
    pub fn compression(mut self, compression: Compression) -> ProducerBuilder {
        self.settings.compression = compression;
        self
    }

    /// Connects, with one attempt, so that a wrong address shows at once, and asks the server for an identity and
    /// for the partitions of the topic. From then on the producer
    /// reconnects by itself. It runs a task on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be read, or nobody answers there.
    pub async fn connect(self) -> Result<Producer, ConnectError> {
        let address: Address = self.host.parse()?;
        let unreachable =
            |cause: String| ConnectError::Unreachable { address: address.to_string(), cause: cause.into() };
        let client = connection::connect(address.clone()).await.map_err(unreachable)?;
        let queue = Arc::new(Queue::new(self.settings));
        introduce(&queue, &mut client.clone()).await.map_err(|cause| unreachable(cause.to_string()))?;
        tokio::spawn(Worker::new(address, queue.clone()).run(client));
        Ok(Producer { handle: Arc::new(Handle { queue }) })
    }
}
