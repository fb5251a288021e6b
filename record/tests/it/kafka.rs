//! Against an independent codec: what we write, `kafka-protocol` reads, and the other way round. It shares no
//! code with ours but the libraries of gzip, snappy and zstd; its LZ4 is the one in C.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{self as theirs, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordBatchDecoder, RecordBatchEncoder},
};
use minikafka_record::{Compression, Offset, RecordBatch};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::messages::{Message, build, read};

/// Messages as they can say them: names of headers are text and do not repeat, and timestamps do not wrap.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let bytes = || vec(0..4u8, 0..60);
    let headers = vec(option::of(bytes()), 0..3).prop_map(|values| {
        let names = ["a", "", "naïve"].map(|name| name.as_bytes().to_vec());
        names.into_iter().zip(values).collect()
    });
    let message = (-1..2_000_000_000_000i64, option::of(bytes()), option::of(bytes()), headers)
        .prop_map(|(timestamp, key, value, headers)| Message { timestamp, key, value, headers });
    vec(message, 1..60)
}

fn to_theirs(offset: i64, message: &Message) -> theirs::Record {
    let name = |name: &Vec<u8>| StrBytes::from_string(String::from_utf8(name.clone()).unwrap());
    let headers: IndexMap<_, _> =
        message.headers.iter().map(|(key, value)| (name(key), value.clone().map(Bytes::from))).collect();
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: theirs::TimestampType::Creation,
        offset,
        // It wants them to rise with the offsets, and takes the first for that of the batch.
        sequence: offset as i32 - 1,
        timestamp: message.timestamp,
        key: message.key.clone().map(Bytes::from),
        value: message.value.clone().map(Bytes::from),
        headers,
    }
}

fn from_theirs(record: theirs::Record) -> Message {
    let headers = record
        .headers
        .into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.map(Vec::from)))
        .collect();
    Message {
        timestamp: record.timestamp,
        key: record.key.map(Vec::from),
        value: record.value.map(Vec::from),
        headers,
    }
}

fn codec_of_theirs(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

proptest! {
    #[test]
    fn what_we_write_they_read(messages in messages(), codec in select(&Compression::ALL[..])) {
        let plain = RecordBatch::parse(build(&messages)).unwrap();
        let mut moved = BytesMut::new();
        plain.compress(codec).append_to(&mut moved, Offset::new(70), 3, 1234);
        let batch = RecordBatch::parse(moved.freeze()).unwrap();
        let set = RecordBatchDecoder::decode(&mut batch.bytes().clone()).unwrap();
        prop_assert_eq!(Some(set.compression as i16), batch.header().compression().map(|c| c as i16));
        let offsets: Vec<i64> = set.records.iter().map(|record| record.offset).collect();
        prop_assert_eq!(offsets, (70..70 + messages.len() as i64).collect::<Vec<_>>());
        // Without any timestamp, all have got the append time.
        let mut expected = messages;
        if expected.iter().all(|message| message.timestamp == -1) {
            expected.iter_mut().for_each(|message| message.timestamp = 1234);
        }
        prop_assert_eq!(set.records.into_iter().map(from_theirs).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_they_write_we_read(messages in messages(), codec in select(&Compression::ALL[..])) {
        let records: Vec<_> = (0..).zip(&messages).map(|(offset, message)| to_theirs(offset, message)).collect();
        let options = theirs::RecordEncodeOptions { version: 2, compression: codec_of_theirs(codec) };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        let batch = RecordBatch::parse(bytes.freeze()).unwrap();
        prop_assert_eq!(batch.header().compression(), Some(codec));
        batch.validate().unwrap();
        prop_assert_eq!(read(&batch), messages);
    }
}
