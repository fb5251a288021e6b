//! [`Message`], what is sent.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use minikafka_record::{BatchBuilder, Header};

/// A message to send: a value and, if wished, a key, headers, a timestamp and a partition.
///
/// Anything made of bytes is a message already: `&str`, `String`, `&[u8]`, `Vec<u8>`, [`Bytes`]. Borrowed
/// bytes are copied once, straight into the encoded batch.
///
/// ```
/// use minikafka_client_produce::Message;
///
/// let plain: Message = "hello".into();
/// let full = Message::new("hello").key("greetings").header("lang", "en").timestamp_ms(1_700_000_000_000);
/// let tombstone = Message::null().key("greetings");
/// ```
#[derive(Clone, Debug)]
pub struct Message<'a> {
    value: Option<Payload<'a>>,
    key: Option<Payload<'a>>,
    headers: Vec<Header>,
    timestamp_ms: Option<i64>,
    partition: Option<u32>,
}

/// Bytes of a message, lent or given.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Lent by the caller.
    Borrowed(&'a [u8]),
    /// Given away.
    Owned(Bytes),
}

impl<'a> Message<'a> {
    /// A message of these bytes; none at all is a message too, the empty one.
    pub fn new(value: impl Into<Payload<'a>>) -> Message<'a> {
        Message { value: Some(value.into()), ..Message::null() }
    }

    /// A message whose value is null, which is not the same as empty: a tombstone, to those who compact by
    /// key.
    pub fn null() -> Message<'a> {
        Message { value: None, key: None, headers: Vec::new(), timestamp_ms: None, partition: None }
    }

    /// Sets the key. Messages of one key go to one partition, and stay in order.
    #[must_use]
    pub fn key(self, key: impl Into<Payload<'a>>) -> Message<'a> {
        Message { key: Some(key.into()), ..self }
    }

    /// Adds a header. Headers keep their order and names may repeat.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Message<'a> {
        let value = Some(Bytes::copy_from_slice(value.as_ref()));
        self.headers.push(Header { name: Bytes::copy_from_slice(name.as_bytes()), value });
        self
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch. Without it, a message carries the time at
    /// which it was enqueued.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Message<'a> {
        Message { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// Sends it to this partition, counted from 0, whatever its key or the producer says.
    #[must_use]
    pub fn partition(self, partition: u32) -> Message<'a> {
        Message { partition: Some(partition), ..self }
    }

    pub(crate) fn wanted_partition(&self) -> Option<u32> {
        self.partition
    }

    pub(crate) fn key_bytes(&self) -> Option<&[u8]> {
        bytes(self.key.as_ref())
    }

    /// An upper bound of its bytes in a batch.
    pub(crate) fn encoded_len_max(&self) -> usize {
        BatchBuilder::record_len_max(bytes(self.key.as_ref()), bytes(self.value.as_ref()), &self.headers)
    }

    /// Appends it to a batch.
    pub(crate) fn encode(&self, batch: &mut BatchBuilder) {
        let timestamp_ms = self.timestamp_ms.unwrap_or_else(now_ms);
        batch.push(timestamp_ms, bytes(self.key.as_ref()), bytes(self.value.as_ref()), &self.headers);
    }
}

fn bytes<'p>(payload: Option<&'p Payload<'_>>) -> Option<&'p [u8]> {
    payload.map(|payload| match payload {
        Payload::Borrowed(bytes) => *bytes,
        Payload::Owned(bytes) => &bytes[..],
    })
}

/// Milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Payload<'a> {
        Payload::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Payload<'a> {
        Payload::Borrowed(bytes)
    }
}

impl<'a> From<&'a str> for Payload<'a> {
    fn from(text: &'a str) -> Payload<'a> {
        Payload::Borrowed(text.as_bytes())
    }
}

impl From<String> for Payload<'_> {
    fn from(text: String) -> Self {
        Payload::Owned(text.into())
    }
}

impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Payload::Owned(bytes.into())
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Payload::Owned(bytes)
    }
}

impl<'a, P: Into<Payload<'a>>> From<P> for Message<'a> {
    fn from(value: P) -> Message<'a> {
        Message::new(value)
    }
}
