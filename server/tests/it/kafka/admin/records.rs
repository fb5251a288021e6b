//! DeleteRecords, and OffsetForLeaderEpoch, which is about what is there.

use kafka_protocol::messages::{
    DeleteRecordsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use minikafka_server::Server;

use super::super::client::{Client, batch, fetch_from, name, start, start_with, values};

fn before(topic: &str, offsets: &[(i32, i64)]) -> DeleteRecordsTopic {
    let partition = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let partitions = offsets.iter().map(partition).collect();
    DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(partitions)
}

async fn delete(client: &mut Client, version: i16, topics: Vec<DeleteRecordsTopic>) -> Vec<(i16, i64)> {
    let response = client.ask(version, &DeleteRecordsRequest::default().with_topics(topics)).await;
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.error_code, partition.low_watermark)).collect()
}

#[tokio::test]
async fn records_before_an_offset_are_gone_in_every_version() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a", "b", "c", "d", "e"])).await;
    for version in 0..=2 {
        let offset = i64::from(version) + 1;
        let results = delete(&mut client, version, vec![before("t", &[(0, offset)])]).await;
        assert_eq!(results, [(0, offset)]);
        assert_eq!(client.list(7, "t", -2).await.offset, offset);
        let gone = client.fetch(12, fetch_from("t", offset - 1)).await;
        assert_eq!((gone.error_code, gone.log_start_offset), (1, offset));
        // A batch comes whole; its reader skips what it has not asked for.
        assert_eq!(values(&client.fetch(12, fetch_from("t", offset)).await).len(), 5);
    }
    assert_eq!(delete(&mut client, 2, vec![before("t", &[(0, -1)])]).await, [(0, 5)], "all of them");
    let next = client.produce("t", batch(&["f"])).await;
    assert_eq!((next.base_offset, next.log_start_offset), (5, 5));
}

#[tokio::test]
async fn each_partition_has_a_result() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a"])).await;
    let topics = vec![
        before("t", &[(0, 2), (0, -2), (1, 0), (-1, 0), (0, 0)]),
        before("u", &[(0, 0)]),
        before("demo topic", &[(0, 0)]),
    ];
    let expected = [(1, -1), (1, -1), (3, -1), (3, -1), (0, 0), (3, -1), (17, -1)];
    assert_eq!(delete(&mut client, 2, topics).await, expected);
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a", "b", "c"])).await;
    assert_eq!(delete(&mut client, 2, vec![before("t", &[(0, 2)])]).await, [(0, 2)]);
    drop(client);
    fixture.stop().await;
    let fixture = start_with(Server::builder().filesystem(directory.path())).await;
    let mut client = Client::connect(&fixture).await;
    assert_eq!(client.list(7, "t", -2).await.offset, 2);
    assert_eq!(client.list(7, "t", -1).await.offset, 3);
}

#[tokio::test]
async fn the_one_term_ends_where_the_records_do() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["a", "b"])).await;
    let wanted = |current, epoch| {
        OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch)
    };
    let partitions = vec![
        wanted(-1, 0),
        wanted(0, 0),
        wanted(-1, 5),
        wanted(-1, -1),
        wanted(5, 0),
        wanted(-1, 0).with_partition(1),
    ];
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(partitions);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    for version in 2..=4 {
        let response = client.ask(version, &request).await;
        let ends: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|end| (end.error_code, end.leader_epoch, end.end_offset))
            .collect();
        assert_eq!(ends, [(0, 0, 2), (0, 0, 2), (0, -1, -1), (0, -1, -1), (75, -1, -1), (3, -1, -1)]);
    }
}
