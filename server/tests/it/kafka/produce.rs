//! Produce: what is taken, what is refused and with which code, and producers that send again.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use minikafka_broker::BrokerConfig;
use minikafka_record::{Compression, Offset, crc32c};
use minikafka_server::Server;
use rustix::process::Signal;

use super::client::{
    ALL, Client, TIME, batch, batches, compressed, fetch_from, produce, stamped, start, start_with, values,
};
use crate::binary::Running;

#[tokio::test]
async fn batches_are_taken_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for (offset, version) in (0..).step_by(2).zip(3..=11) {
        let answer = client.produce_version(version, "t", batch(&["a", "b"])).await;
        assert_eq!((answer.error_code, answer.base_offset, answer.log_append_time_ms), (0, offset, -1));
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
    }
    assert_eq!(values(&client.fetch(4, fetch_from("t", 0)).await).len(), 18);
}

#[tokio::test]
async fn a_leader_that_has_it_is_enough_or_all() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    for (acks, code) in [(1, 0), (ALL, 0), (2, 21), (-2, 21)] {
        let response = client.ask(9, &produce("t", 0, acks, batch(&["a"]))).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, code, "acks={acks}");
    }
    assert_eq!(values(&client.fetch(4, fetch_from("t", 0)).await).len(), 2);
}

#[tokio::test]
async fn a_maximum_timestamp_that_a_client_gets_wrong_is_put_right() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    // None at all, as of old versions of sarama, and one that is too small, as of kafkajs when only some messages have a time.
    for (n, claimed) in [(0, -1i64), (1, TIME)] {
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let topic = format!("{codec}-{n}");
            client.create(&topic).await;
            let sound = compressed(codec, 500);
            let mut wrong = sound.to_vec();
            wrong[35..43].copy_from_slice(&claimed.to_be_bytes());
            let crc = crc32c(&wrong[21..]).to_be_bytes();
            wrong[17..21].copy_from_slice(&crc);
            assert_eq!(client.produce(&topic, wrong.into()).await.error_code, 0, "{topic}");
            assert_eq!(client.list(7, &topic, TIME + 321).await.offset, 321, "{topic}");
            assert_eq!(client.list(7, &topic, TIME + 500).await.offset, -1, "{topic}");
            let fetched = client.fetch(12, fetch_from(&topic, 0)).await;
            assert_eq!(batches(&fetched)[0].bytes()[12..], sound[12..], "{topic}");
        }
    }
}

#[tokio::test]
async fn each_mistake_has_its_code_and_nothing_is_stored() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let sound = batch(&["a", "b"]);
    let changed = |at: usize, byte: u8| {
        let mut bytes = BytesMut::from(&sound[..]);
        bytes[at] = byte;
        bytes.freeze()
    };
    let twice = Bytes::from([&sound[..], &sound[..]].concat());
    let mistakes = [
        ("a wrong checksum", changed(70, 0xff), 2),
        ("an old format", changed(16, 1), 87),
        ("two batches", twice, 87),
        ("cut off", sound.slice(..sound.len() - 1), 2),
        ("nothing", Bytes::new(), 2),
        ("too large", batch(&[&"x".repeat(4 << 20)]), 10),
    ];
    for (what, records, code) in mistakes {
        let answer = client.produce("t", records).await;
        assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{what}");
        assert!(answer.error_message.is_some(), "{what}");
    }
    for (topic, partition, code) in [("nowhere", 0, 3), ("t", 1, 3), ("t", -1, 3), ("demo topic", 0, 17)] {
        let response = client.ask(9, &produce(topic, partition, ALL, sound.clone())).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, code, "{topic} {partition}");
    }
    assert_eq!(client.list(7, "t", -1).await.offset, 0);
    assert_eq!(fixture.server.broker().topics("", 10).len(), 1, "a produce creates no topic");
}

#[tokio::test]
async fn clients_from_before_zstd_cannot_bring_it() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let zstd = compressed(Compression::Zstd, 50);
    assert_eq!(client.produce_version(6, "t", zstd.clone()).await.error_code, 76);
    assert_eq!(client.produce_version(7, "t", zstd).await.error_code, 0);
}

#[tokio::test]
async fn the_limit_of_a_topic_counts() {
    let config = BrokerConfig { message_bytes_max: 2000, ..BrokerConfig::default() };
    let fixture = start_with(Server::builder().memory().broker(config)).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    assert_eq!(client.produce("t", batch(&[&"x".repeat(1900)])).await.error_code, 0);
    assert_eq!(client.produce("t", batch(&[&"x".repeat(2000)])).await.error_code, 10);
}

#[tokio::test]
async fn several_partitions_are_answered_each_for_itself() {
    let fixture = start().await;
    fixture.server.broker().create_topic("t", 3).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let mut request = produce("t", 0, ALL, batch(&["a"]));
    let one = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data =
        [2, 0, 9, 1].into_iter().map(|index| one.clone().with_index(index)).collect();
    request.topic_data.extend(produce("u", 0, ALL, batch(&["a"])).topic_data);
    let response = client.ask(9, &request).await;
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let codes: Vec<_> = answers.map(|answer| (answer.index, answer.error_code)).collect();
    assert_eq!(codes, [(2, 0), (0, 0), (9, 3), (1, 0), (0, 3)]);
}

#[tokio::test]
async fn what_is_stored_are_the_bytes_that_were_sent() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for codec in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let topic = codec.to_string();
        client.create(&topic).await;
        let sent = match codec {
            Compression::None => batch(&["a", "b"]),
            _ => compressed(codec, 100),
        };
        client.produce(&topic, batch(&["before"])).await;
        client.produce(&topic, sent.clone()).await;
        let fetched = batches(&client.fetch(12, fetch_from(&topic, 1)).await);
        let [batch] = &fetched[..] else { panic!("{fetched:?}") };
        assert_eq!(batch.base_offset().get(), 1, "{codec}");
        // Base offset and leader epoch are the log's, and the length between them is the same.
        assert_eq!(batch.bytes()[16..], sent[16..], "{codec}");
    }
}

#[tokio::test]
async fn large_batches_are_stored_as_they_were_sent_alone_or_not() {
    let fixture = start().await;
    fixture.server.broker().create_topic("t", 2).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let sent = [batch(&[&"a".repeat(200_000)]), batch(&[&"b".repeat(50_000)])];
    // Alone in its frame, then both in one.
    assert_eq!(client.produce("t", sent[0].clone()).await.error_code, 0);
    let mut request = produce("t", 0, ALL, sent[0].clone());
    let one = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data.push(one.with_index(1).with_records(Some(sent[1].clone())));
    client.ask::<ProduceRequest>(9, &request).await;
    for (partition, expected) in [(0, vec![&sent[0], &sent[0]]), (1, vec![&sent[1]])] {
        let partition = fixture.server.broker().partition("t", Some(partition)).unwrap();
        let fetched = partition.fetch(Offset::ZERO, 1 << 20, Duration::ZERO).await.unwrap();
        assert_eq!(fetched.batches.len(), expected.len());
        for (number, (stored, sent)) in fetched.batches.iter().zip(expected).enumerate() {
            assert_eq!(stored.base_offset(), Offset::new(number as u64));
            assert_eq!(stored.bytes()[16..], sent[16..]);
        }
    }
}

/// The id of a new producer.
async fn new_producer(client: &mut Client) -> i64 {
    client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await.producer_id.0
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_where_it_was() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = new_producer(&mut client).await;
    let pair = batch(&["a", "b"]);
    for n in 0..5 {
        let answer = client.produce("t", stamped(&pair, id, 0, 2 * n)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(2 * n)));
    }
    for n in 0..5 {
        let again = client.produce("t", stamped(&pair, id, 0, 2 * n)).await;
        assert_eq!((again.error_code, again.base_offset), (0, i64::from(2 * n)), "one of the last five");
    }
    let gap = client.produce("t", stamped(&pair, id, 0, 12)).await;
    assert_eq!((gap.error_code, gap.base_offset), (45, -1));
    // The client begins a new epoch by itself, and the old one is over.
    assert_eq!(client.produce("t", stamped(&pair, id, 1, 0)).await.base_offset, 10);
    assert_eq!(client.produce("t", stamped(&pair, id, 0, 10)).await.error_code, 47);
    let unknown = client.produce("t", stamped(&pair, id + 1_000_000, 0, 10)).await;
    // Java's producers begin anew once they know where the log begins, and send the same again until then.
    assert_eq!((unknown.error_code, unknown.base_offset, unknown.log_start_offset), (59, -1, 0));
    assert_eq!(client.list(7, "t", -1).await.offset, 12);
}

#[tokio::test]
async fn the_same_batch_twice_on_its_way_is_stored_once() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = new_producer(&mut client).await;
    let mut ids = Vec::new();
    for n in [0, 0, 1, 1, 2] {
        ids.push((n, client.send(9, &produce("t", 0, ALL, stamped(&batch(&["a"]), id, 0, n))).await));
    }
    for (n, id) in ids {
        let answer =
            client.reply::<ProduceRequest>(9, id).await.responses.remove(0).partition_responses.remove(0);
        assert_eq!((answer.error_code, answer.base_offset), (0, n.into()));
    }
    assert_eq!(client.list(7, "t", -1).await.offset, 3);
}

#[tokio::test]
async fn what_is_known_of_producers_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let single = batch(&["a"]);
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let id = new_producer(&mut client).await;
    for n in 0..3 {
        assert_eq!(client.produce("t", stamped(&single, id, 0, n)).await.base_offset, i64::from(n));
    }
    fixture.stop().await;

    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    assert_eq!(client.produce("t", stamped(&single, id, 0, 1)).await.base_offset, 1);
    assert_eq!(client.produce("t", stamped(&single, id, 0, 4)).await.error_code, 45);
    assert_eq!(client.produce("t", stamped(&single, id, 0, 3)).await.base_offset, 3);
    assert_ne!(new_producer(&mut client).await, id);
}

#[tokio::test]
async fn what_is_known_of_producers_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["-root-dir", directory.path().to_str().unwrap(), "-kafka-host", "127.0.0.1:0"];
    let single = batch(&["a"]);
    let running = Running::start(&args);
    let mut client = Client::connect_to(running.kafka.as_deref().unwrap()).await;
    client.create("t").await;
    let id = new_producer(&mut client).await;
    for n in 0..3 {
        assert_eq!(client.produce("t", stamped(&single, id, 0, n)).await.error_code, 0);
    }
    running.signal(Signal::KILL);
    running.wait();

    let again = Running::start(&args);
    let mut client = Client::connect_to(again.kafka.as_deref().unwrap()).await;
    assert_eq!(client.produce("t", stamped(&single, id, 0, 2)).await.base_offset, 2);
    assert_eq!(client.produce("t", stamped(&single, id, 0, 3)).await.base_offset, 3);
    assert_eq!(client.list(7, "t", -1).await.offset, 4);
}
