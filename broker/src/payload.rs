//! [`Payload`]: what producers bring, in either of its two forms.

use bytes::Bytes;
use minikafka_record::{
    BATCH_HEADER_LEN, BatchBuilder, Compression, Expansion, Header, ProducerStamp, RecordBatch,
    partition_of_key,
};

use crate::Error;

/// What a request costs in memory while it waits, beside its messages.
const REQUEST_OVERHEAD_BYTES: usize = 512;

/// What a producer brings: a list of messages, or a record batch that it has encoded itself.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Messages, in order; at least one.
    Messages(Vec<NewMessage>),
    /// One encoded record batch, compressed or not. It is stored as it is, but for a maximum timestamp that is not that of its
    /// records: that is put right.
    Batch(Bytes),
    /// One encoded record batch, whose bytes are nearly all of what they are a slice of. It is stored where it lies,
    /// if nobody else holds any of that by then, and not copied.
    LoneBatch(Bytes),
}

/// A message to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Milliseconds since the Unix epoch; `None`: the append time.
    pub timestamp: Option<i64>,
    /// Key, if any.
    pub key: Option<Bytes>,
    /// The message; `None` is null, which is not empty.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<Header>,
}

/// A payload that keeps all the rules; see [`Broker::check`](crate::Broker::check).
#[derive(Debug)]
pub struct CheckedPayload {
    pub(crate) form: Form,
    /// An upper bound of the bytes it takes up in an entry.
    pub(crate) bytes: usize,
    /// What it takes up beside them while it waits.
    overhead_bytes: usize,
    pub(crate) count: u32,
    /// Whether it is a batch that may be stored where it lies.
    pub(crate) is_lone: bool,
}

#[derive(Debug)]
pub(crate) enum Form {
    Messages(Vec<NewMessage>),
    Batch(RecordBatch),
}

impl Payload {
    /// Checks the payload; `bytes_max` limits it as a batch, and what a compressed one expands to: see
    /// [`Expansion::of_batches`].
    pub(crate) fn check(self, bytes_max: usize) -> Result<CheckedPayload, Error> {
        match self {
            Payload::Messages(messages) => check_messages(messages, bytes_max),
            Payload::Batch(bytes) => check_batch(bytes, bytes_max, false),
            Payload::LoneBatch(bytes) => check_batch(bytes, bytes_max, true),
        }
    }
}

impl CheckedPayload {
    /// Checks the limit of a topic that has one of its own, below the server's.
    pub(crate) fn check_within(&self, bytes_max: usize) -> Result<(), Error> {
        if self.bytes > bytes_max {
            return Err(Error::MessageTooLarge { size: self.bytes, max: bytes_max });
        }
        match &self.form {
            // What it expands to was checked against the server's limit.
            Form::Batch(batch) if batch.header().compression() != Some(Compression::None) => {
                Ok(batch.validate_within(Expansion::of_batches(bytes_max))?)
            }
            _ => Ok(()),
        }
    }

    /// The partition, of so many, that the keys of its messages say; `None` when there are no keys, or nobody can
    /// see them.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] when they say different ones.
    pub(crate) fn partition_of_keys(&self, partitions: u32) -> Result<Option<u32>, Error> {
        let Form::Messages(messages) = &self.form else { return Ok(None) };
        let keys = messages.iter().filter_map(|message| message.key.as_deref());
        let mut wanted = keys.map(|key| partition_of_key(key, partitions));
        let first = wanted.next();
        match wanted.find(|partition| Some(*partition) != first) {
            Some(_) => Err(Error::InvalidRequest(
                "the keys of these messages belong to several partitions: send those of each partition in a request of its own".to_owned(),
            )),
            None => Ok(first),
        }
    }

    /// Bytes that it occupies while it waits.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes + self.overhead_bytes
    }

    /// The idempotent producer that it comes from, if any.
    pub(crate) fn producer(&self) -> Option<ProducerStamp> {
        match &self.form {
            Form::Batch(batch) => batch.header().producer(),
            Form::Messages(_) => None,
        }
    }
}

fn check_messages(messages: Vec<NewMessage>, bytes_max: usize) -> Result<CheckedPayload, Error> {
    if messages.is_empty() {
        return Err(Error::InvalidRequest("a produce request has at least one message".to_owned()));
    }
    let records: usize = messages
        .iter()
        .map(|m| BatchBuilder::record_len_max(m.key.as_deref(), m.value.as_deref(), &m.headers))
        .sum();
    let bytes = BATCH_HEADER_LEN + records;
    if bytes > bytes_max {
        return Err(Error::MessageTooLarge { size: bytes, max: bytes_max });
    }
    let count = u32::try_from(messages.len()).expect("a record has bytes, and they are limited");
    let headers: usize = messages.iter().map(|message| message.headers.len()).sum();
    // A small message takes up far more as a struct than as bytes.
    let overhead_bytes =
        REQUEST_OVERHEAD_BYTES + messages.len() * size_of::<NewMessage>() + headers * size_of::<Header>();
    Ok(CheckedPayload { form: Form::Messages(messages), bytes, overhead_bytes, count, is_lone: false })
}

fn check_batch(bytes: Bytes, bytes_max: usize, is_lone: bool) -> Result<CheckedPayload, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::MessageTooLarge { size: bytes.len(), max: bytes_max });
    }
    let batch = RecordBatch::parse(bytes)?.mended_within(Expansion::of_batches(bytes_max))?;
    let count = u32::try_from(batch.count()).expect("the count of a batch is an i32");
    Ok(CheckedPayload {
        bytes: batch.bytes().len(),
        form: Form::Batch(batch),
        overhead_bytes: REQUEST_OVERHEAD_BYTES,
        count,
        is_lone,
    })
}
