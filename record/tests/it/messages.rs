//! Messages, batches of them, and batches that nobody has built.

use bytes::Bytes;
use minikafka_record::{BatchBuilder, Compression, Header, Offset, RecordBatch};
use proptest::{collection::vec, option, prelude::*};

/// A record without its offset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let bytes = || vec(any::<u8>(), 0..40);
    // Few timestamps around -1, which means none, and the extremes, whose differences wrap around.
    let timestamp = prop_oneof![any::<i64>(), -3..3i64, Just(i64::MIN), Just(i64::MAX)];
    (timestamp, option::of(bytes()), option::of(bytes()), vec((bytes(), option::of(bytes())), 0..4))
        .prop_map(|(timestamp, key, value, headers)| Message { timestamp, key, value, headers })
}

pub(crate) fn build(messages: &[Message]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for message in messages {
        let headers: Vec<Header> = message
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.clone().into(), value: value.clone().map(Bytes::from) })
            .collect();
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        let before = builder.len();
        builder.push(message.timestamp, key, value, &headers);
        assert!(builder.len() - before <= BatchBuilder::record_len_max(key, value, &headers));
    }
    builder.finish(Offset::ZERO, 0)
}

pub(crate) fn read(batch: &RecordBatch) -> Vec<Message> {
    let owned = |bytes: Option<Bytes>| bytes.map(Vec::from);
    batch
        .records()
        .map(|record| {
            let record = record.unwrap();
            let headers =
                record.headers.into_iter().map(|header| (header.name.into(), owned(header.value))).collect();
            Message {
                timestamp: record.timestamp,
                key: owned(record.key),
                value: owned(record.value),
                headers,
            }
        })
        .collect()
}

/// What a batch has under its checksum, with a sound front.
pub(crate) fn framed(body: &[u8]) -> RecordBatch {
    let mut bytes = vec![0; 21];
    bytes[8..12].copy_from_slice(&(body.len() as i32 + 9).to_be_bytes());
    bytes[16] = 2;
    bytes[17..21].copy_from_slice(&minikafka_record::crc32c(body).to_be_bytes());
    bytes.extend(body);
    RecordBatch::parse(bytes.into()).unwrap()
}

/// A batch that claims `count` records without a timestamp, with `packed` in their place.
pub(crate) fn packed(codec: Compression, packed: &[u8], count: i32) -> RecordBatch {
    let mut body = vec![0; 40];
    body[1] = Compression::ALL.iter().position(|other| *other == codec).unwrap() as u8;
    body[2..6].copy_from_slice(&(count - 1).to_be_bytes());
    body[6..14].fill(0xff);
    body[14..22].fill(0xff);
    body[22..30].fill(0xff);
    body[36..40].copy_from_slice(&count.to_be_bytes());
    body.extend(packed);
    framed(&body)
}

/// The records of a batch, as they are in it.
pub(crate) fn payload(batch: &RecordBatch) -> Bytes {
    batch.bytes().slice(61..)
}

/// A batch that becomes much smaller, of `count` records without a timestamp.
pub(crate) fn repetitive(count: usize, value_len: usize) -> RecordBatch {
    let mut builder = BatchBuilder::new();
    (0..count).for_each(|_| builder.push(-1, None, Some(&vec![7; value_len]), &[]));
    RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap()
}

/// All codecs that do something.
pub(crate) const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
