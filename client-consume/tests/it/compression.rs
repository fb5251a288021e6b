//! Messages that come compressed.

use minikafka_client_consume::{ConsumeError, Consumer, Position};
use minikafka_client_produce::Producer;
use minikafka_proto::v1::{ReadResponse, position::At};
use minikafka_record::Compression;
use tokio_stream::StreamExt as _;

use crate::{
    fake::{Fake, Script, Then, compressed, reply},
    reading::{LONG, numbers},
};

/// A reply with these batches of 1000 messages each, and the number of its first message.
fn replies(batches: &[(Compression, usize)]) -> ReadResponse {
    let end = 1000 * batches.len() as u64 + 1;
    let record_batches = (0..)
        .zip(batches)
        .map(|(i, (codec, len))| compressed(*codec, 1000 * i + 1..=1000 * (i + 1), *len))
        .collect();
    ReadResponse { record_batches, next_number: end, ..reply([], 1..end) }
}

#[tokio::test]
async fn all_codecs_are_read() {
    let batches = replies(&Compression::ALL.map(|codec| (codec, 10)));
    let fake = Fake::start([Script { replies: vec![batches], then: Then::Hang }]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    let messages = consumer.poll(LONG).await.unwrap();
    assert_eq!(numbers(&messages), (1..=5000).collect::<Vec<_>>());
    assert_eq!(messages[4321].value.as_deref(), Some(&[0; 10][..]));
    assert_eq!(messages[4321].timestamp_ms, 4322);
}

#[tokio::test]
async fn what_expands_comes_by_the_portion() {
    // Fifty megabytes in a few kilobytes.
    let batches = replies(&[(Compression::Zstd, 10_000); 5]);
    let fake = Fake::start([Script { replies: vec![batches.clone()], then: Then::Hang }]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    let mut next = 1;
    while next <= 5000 {
        let messages = consumer.poll(LONG).await.unwrap();
        assert!(messages.len() <= 105, "{} messages of 10 kB in a portion", messages.len());
        assert_eq!(numbers(&messages), (next..next + messages.len() as u64).collect::<Vec<_>>());
        next += messages.len() as u64;
        assert_eq!(consumer.position("t", 0), Some(next));
    }
    assert_eq!(fake.requests().len(), 1);

    // As a stream, and left in the middle.
    let fake = Fake::start([
        Script { replies: vec![batches.clone()], then: Then::Hang },
        Script { replies: vec![batches], then: Then::Hang },
    ]);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    let mut stream = consumer.stream();
    for number in 1..=1500 {
        assert_eq!(stream.next().await.unwrap().unwrap().number, number);
    }
    consumer.seek("t", 0, Position::Number(4990)).unwrap();
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), (4990..=5000).collect::<Vec<_>>());
    assert_eq!(fake.wanted()[1], At::Number(4990));
}

#[tokio::test]
async fn a_time_inside_a_compressed_batch_is_where_it_starts() {
    let batches = replies(&[(Compression::Lz4, 10_000)]);
    let fake = Fake::start([Script { replies: vec![batches], then: Then::Hang }]);
    let builder = Consumer::builder(&fake.host(), "t").from(Position::Timestamp(900));
    let mut consumer = builder.subscribe().await.unwrap();
    assert_eq!(consumer.position("t", 0), Some(900));
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), (900..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_decompressed_is_asked_for_again() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let good = replies(&[(codec, 2000); 2]);
        let mut bad = good.clone();
        // Cut off, and true to its checksum.
        let mut bytes = bad.record_batches[1].to_vec();
        bytes.truncate(bytes.len() / 2);
        let len = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&len.to_be_bytes());
        let crc = minikafka_record::crc32c(&bytes[21..]).to_be_bytes();
        bytes[17..21].copy_from_slice(&crc);
        bad.record_batches[1] = bytes.into();
        let fake = Fake::start([
            Script { replies: vec![bad], then: Then::Hang },
            Script { replies: vec![good], then: Then::Hang },
        ]);
        let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        while read.len() < 2000 {
            match consumer.poll(LONG).await {
                Ok(messages) => read.extend(numbers(&messages)),
                Err(error) => errors.push((read.len(), error)),
            }
        }
        assert_eq!(read, (1..=2000).collect::<Vec<_>>(), "{codec}");
        assert_eq!(errors.len(), 1, "{codec}: {errors:?}");
        let (read_before, ConsumeError::Corrupt { number, source, .. }) = &errors[0] else {
            panic!("{errors:?}")
        };
        assert_eq!(*number, *read_before as u64 + 1);
        assert!(*read_before >= 500 && source.to_string().contains("batch"), "{codec}: {source}");
        assert_eq!(fake.wanted()[1], At::Number(*number));
    }
}

#[tokio::test]
async fn what_our_producer_compresses_comes_through_a_server() {
    let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await.unwrap();
    let host = server.local_addr().to_string();
    for codec in Compression::ALL {
        // Batches of up to 30 MB, which are over the limit until they are halved.
        let producer = Producer::builder(&host, codec.name())
            .compression(codec)
            .batch_bytes_max(64 << 20)
            .in_flight_max(1)
            .connect()
            .await
            .unwrap();
        let text = |i: u64| format!("{i} {}", "again and again ".repeat(625));
        for i in 1..=3000 {
            producer.enqueue(text(i)).await.unwrap();
        }
        producer.close().await.unwrap();
        let mut consumer = Consumer::subscribe(&host, codec.name()).await.unwrap();
        let mut read = 0;
        while read < 3000 {
            for message in consumer.poll(LONG).await.unwrap() {
                read += 1;
                assert_eq!(message.number, read);
                let is_it = message.value.as_deref() == Some(text(read).as_bytes());
                assert!(is_it, "{codec}: message {read} is another one");
            }
        }
    }
    let size = |topic: &str| server.broker().describe_topic(topic).unwrap().partitions[0].unwrap().size_bytes;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        assert!(size(codec.name()) < size("none") / 5, "{codec}: {} bytes are stored", size(codec.name()));
    }
    server.stop().await.unwrap();
}
