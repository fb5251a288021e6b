//! Compressed batches: kept as they are sent, read in every form, refused when they become too much.

use bytes::Bytes;
use minikafka_proto::{
    original,
    v1::{Encoding, PollRequest, ProduceRequest, SubscribeRequest, produce_request::Payload},
};
use minikafka_record::{BatchBuilder, Compression, Offset, RecordBatch};
use minikafka_server::Server;
use tonic::Code;

use crate::support::{Fixture, list, message, number, numbers, poll, soon, values, why};

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A compressed batch of these values.
fn compressed(codec: Compression, timestamp: i64, values: &[Vec<u8>]) -> RecordBatch {
    let mut builder = BatchBuilder::new();
    values.iter().for_each(|value| builder.push(timestamp, None, Some(value), &[]));
    let batch = RecordBatch::parse(builder.finish_compressed(codec, Offset::ZERO, 0)).unwrap();
    assert_eq!(batch.header().compression(), Some(codec));
    batch
}

fn request(topic: &str, batch: &RecordBatch) -> ProduceRequest {
    let payload = Some(Payload::RecordBatch(batch.bytes().clone()));
    ProduceRequest { topic: topic.to_owned(), payload, ..ProduceRequest::default() }
}

fn texts(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("again and again, {i}").into_bytes()).collect()
}

#[tokio::test]
async fn every_form_of_reading_knows_every_codec() {
    let directory = tempfile::tempdir().unwrap();
    let on_disk = Server::builder().filesystem(directory.path());
    for fixture in [Fixture::memory().await, Fixture::start(on_disk).await] {
        for codec in CODECS {
            let topic = codec.name();
            fixture.produce(topic, &["before"]).await;
            let sent = compressed(codec, 1234, &texts(1000));
            let produced = fixture.v1.clone().produce(request(topic, &sent)).await.unwrap().into_inner();
            assert_eq!((produced.first_number, produced.count), (2, 1000));
            fixture.produce(topic, &["after"]).await;

            // A list, from the middle of the batch, and another one behind it.
            let wanted = PollRequest { max_bytes: 10_000, ..poll(topic, number(500)) };
            let reply = fixture.poll(wanted).await.unwrap();
            assert_eq!(reply.messages[0].number, 500);
            assert_eq!(values(&reply.messages)[0], "again and again, 498");
            assert_eq!(reply.messages[0].timestamp_ms, Some(1234));
            assert!(reply.messages.len() > 100 && reply.next_number < 1002);
            let reply = fixture.poll(poll(topic, number(reply.next_number))).await.unwrap();
            assert_eq!(*numbers(&reply.messages).last().unwrap(), 1002);
            assert_eq!(*values(&reply.messages).last().unwrap(), "after");

            // The batch: the same bytes, but for what the log assigns.
            let encoding = Encoding::RecordBatches.into();
            let reply = fixture.poll(PollRequest { encoding, ..poll(topic, number(2)) }).await.unwrap();
            let stored = RecordBatch::parse(reply.record_batches[0].clone()).unwrap();
            stored.validate().unwrap();
            assert_eq!((stored.base_offset(), stored.count()), (Offset::new(1), 1000));
            assert_eq!(stored.bytes()[8..12], sent.bytes()[8..12]);
            assert_eq!(stored.bytes()[16..], sent.bytes()[16..]);

            // A subscription.
            let subscribe =
                SubscribeRequest { topic: topic.to_owned(), max_bytes: 5000, ..Default::default() };
            let mut replies = soon(fixture.v1.clone().subscribe(subscribe)).await.unwrap().into_inner();
            let mut read = Vec::new();
            while read.len() < 1002 {
                read.extend(soon(replies.message()).await.unwrap().unwrap().messages);
            }
            assert_eq!(numbers(&read), (1..=1002).collect::<Vec<_>>());
            assert_eq!(values(&read)[1001], "after");

            // The first MiniKafka's.
            let read_from = Some(original::MsgNumber { msg_number: 900 });
            let wanted = original::PollRequest { topic: topic.to_owned(), read_from };
            let reply = fixture.original.clone().poll(wanted).await.unwrap().into_inner();
            assert_eq!(reply.payloads.len(), 103);
            assert_eq!(reply.payloads[0].payload, "again and again, 898");
        }
        fixture.stop().await;
    }
}

#[tokio::test]
async fn without_timestamps_the_append_time_is_taken() {
    let fixture = Fixture::memory().await;
    for codec in CODECS {
        let sent = compressed(codec, -1, &texts(100));
        let produced = fixture.v1.clone().produce(request("t", &sent)).await.unwrap().into_inner();
        let reply = fixture.poll(poll("t", number(produced.first_number))).await.unwrap();
        assert_eq!(reply.messages.len(), 100);
        let times = reply.messages.iter().map(|message| message.timestamp_ms);
        assert!(times.into_iter().all(|time| time == Some(produced.append_time_ms)));
    }
}

#[tokio::test]
async fn bombs_are_refused_with_the_limit() {
    let fixture = Fixture::with(|config| config.message_bytes_max = 10_000).await;
    for codec in CODECS {
        let many = compressed(codec, 0, &vec![vec![7; 1000]; 81]);
        let large = compressed(codec, 0, &[vec![7; 10_000]]);
        assert!(many.bytes().len() < 10_000 && large.bytes().len() < 10_000);
        for (batch, limit) in [(many, "80000 bytes"), (large, "9939 bytes")] {
            let status = fixture.v1.clone().produce(request("t", &batch)).await.expect_err(limit);
            assert_eq!(why(&status), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
            assert!(status.message().contains(limit), "{status}");
        }
        let mut bytes = compressed(codec, 0, &texts(100)).bytes().to_vec();
        bytes.pop();
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        let crc = minikafka_record::crc32c(&bytes[21..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
        let cut = RecordBatch::parse(bytes.into()).unwrap();
        let status = fixture.v1.clone().produce(request("t", &cut)).await.expect_err("cut off");
        assert_eq!(why(&status), (Code::InvalidArgument, "INVALID_BATCH".to_owned()));
        assert!(status.message().contains(codec.name()), "{status}");
    }
    assert_eq!(fixture.produce("t", &["first"]).await.first_number, 1, "nothing was stored");
}

#[tokio::test]
async fn a_default_client_reads_whatever_a_compressed_batch_brings() {
    let fixture = Fixture::memory().await;
    for codec in CODECS {
        // Seven of the largest messages there can be.
        let sent = compressed(codec, 0, &vec![vec![b'x'; (3 << 20) - 100]; 7]);
        fixture.v1.clone().produce(request(codec.name(), &sent)).await.unwrap();
        let (mut next, mut read) = (1, 0);
        while read < 7 {
            // The stub is a default client: it fails beyond 4 MiB.
            let wanted = PollRequest { max_bytes: u32::MAX, ..poll(codec.name(), number(next)) };
            let reply = fixture.poll(wanted).await.unwrap();
            next = reply.next_number;
            read += reply.messages.len();
            assert!(
                reply
                    .messages
                    .iter()
                    .all(|message| message.value.as_ref().map(Bytes::len) == Some((3 << 20) - 100))
            );
        }
        assert_eq!((next, read), (8, 7));
    }
}

#[tokio::test]
async fn a_time_inside_a_compressed_batch_is_found() {
    let fixture = Fixture::memory().await;
    for codec in CODECS {
        let mut builder = BatchBuilder::new();
        (0..1000).for_each(|i| builder.push(1000 + i, None, Some(b"value"), &[]));
        let batch = RecordBatch::parse(builder.finish_compressed(codec, Offset::ZERO, 0)).unwrap();
        fixture.v1.clone().produce(request(codec.name(), &batch)).await.unwrap();
        fixture.v1.clone().produce(list(codec.name(), vec![message("later")])).await.unwrap();
        let at = minikafka_proto::v1::position::At::TimestampMs(1500);
        let from = Some(minikafka_proto::v1::Position { at: Some(at) });
        let reply = fixture.poll(poll(codec.name(), from)).await.unwrap();
        assert_eq!(reply.messages[0].number, 501, "{codec}");
    }
}
