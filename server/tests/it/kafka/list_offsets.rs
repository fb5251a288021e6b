//! ListOffsets: the ends, and records by time, also inside of compressed batches.

use kafka_protocol::messages::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use minikafka_record::{BatchBuilder, Compression, Offset};

use super::client::{Client, TIME, batch, compressed, name, start};

#[tokio::test]
async fn the_ends_are_known_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a", "b", "c"])).await;
    for version in 1..=10 {
        let epoch = if version >= 4 { 0 } else { -1 };
        for (wanted, offset) in [(-1, 3), (-2, 0)] {
            let found = client.list(version, "t", wanted).await;
            assert_eq!(
                (found.error_code, found.offset, found.timestamp),
                (0, offset, -1),
                "version {version}"
            );
            assert_eq!(found.leader_epoch, epoch, "version {version}");
        }
    }
}

#[tokio::test]
async fn a_partition_is_looked_at_once_in_a_request() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.create("u").await;
    let wanted = |partition, time| {
        ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time)
    };
    let topic =
        |topic, partitions| ListOffsetsTopic::default().with_name(name(topic)).with_partitions(partitions);
    let topics = vec![
        topic("t", vec![wanted(0, -1), wanted(0, -3)]),
        topic("u", vec![wanted(0, -1)]),
        topic("t", vec![wanted(0, -2)]),
    ];
    let response = client.ask(7, &ListOffsetsRequest::default().with_topics(topics)).await;
    let codes: Vec<i16> =
        response.topics.iter().flat_map(|topic| &topic.partitions).map(|found| found.error_code).collect();
    assert_eq!(codes, [0, 42, 0, 42]);
}

#[tokio::test]
async fn the_very_record_is_found_inside_of_a_batch() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let topic = codec.to_string();
        client.create(&topic).await;
        client.produce(&topic, batch(&["a", "b"])).await;
        client.produce(&topic, compressed(codec, 500)).await;
        for (time, offset, found_time) in [
            (0, 0, TIME),
            (TIME + 1, 1, TIME + 1),
            (TIME + 2, 4, TIME + 2),
            (TIME + 321, 323, TIME + 321),
            (TIME + 499, 501, TIME + 499),
            (TIME + 500, -1, -1),
        ] {
            let found = client.list(7, &topic, time).await;
            assert_eq!(
                (found.error_code, found.offset, found.timestamp),
                (0, offset, found_time),
                "{codec} {time}"
            );
            assert_eq!(found.leader_epoch, if offset < 0 { -1 } else { 0 }, "the record's");
        }
    }
}

#[tokio::test]
async fn the_record_with_the_largest_timestamp_is_found() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let empty = client.list(7, "t", -3).await;
    assert_eq!((empty.error_code, empty.offset, empty.timestamp), (0, -1, -1));
    for times in [vec![5, 9, 7], vec![TIME, TIME + 80, TIME + 3], vec![TIME + 80, 1], vec![TIME + 79]] {
        let mut builder = BatchBuilder::new();
        times.iter().for_each(|time| builder.push(*time, None, Some(b"x"), &[]));
        assert_eq!(client.produce("t", builder.finish(Offset::ZERO, 0)).await.error_code, 0);
    }
    // The first one of two.
    let found = client.list(7, "t", -3).await;
    assert_eq!((found.error_code, found.offset, found.timestamp), (0, 4, TIME + 80));
    assert_eq!(found.leader_epoch, 0);
    assert_eq!(client.list(6, "t", -3).await.error_code, 35, "a version that does not know it");
    assert_eq!(client.list(7, "t", -4).await.error_code, 35);
}

#[tokio::test]
async fn there_is_one_tier() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a", "b"])).await;
    for version in 8..=10 {
        let local = client.list(version, "t", -4).await;
        assert_eq!((local.error_code, local.offset, local.leader_epoch), (0, 0, 0), "version {version}");
    }
    for version in 9..=10 {
        let tiered = client.list(version, "t", -5).await;
        assert_eq!((tiered.error_code, tiered.offset, tiered.leader_epoch), (0, -1, -1), "version {version}");
    }
    assert_eq!(client.list(8, "t", -5).await.error_code, 35);
    assert_eq!(client.list(10, "t", -6).await.error_code, 35);
}

#[tokio::test]
async fn what_is_not_there_is_said_for_each_partition() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let partition = |index, epoch| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_current_leader_epoch(epoch)
            .with_timestamp(-1)
    };
    let topic =
        |topic, partitions| ListOffsetsTopic::default().with_name(name(topic)).with_partitions(partitions);
    for (there, code) in [(partition(0, -1), 0), (partition(0, 5), 75), (partition(0, 0), 0)] {
        let topics = vec![
            topic("t", vec![partition(1, -1), there, partition(-1, -1)]),
            topic("u", vec![partition(0, -1)]),
        ];
        let response = client.ask(7, &ListOffsetsRequest::default().with_topics(topics)).await;
        let codes = response.topics.iter().flat_map(|topic| &topic.partitions).map(|found| found.error_code);
        assert_eq!(codes.collect::<Vec<_>>(), [3, code, 3, 3]);
    }
}
