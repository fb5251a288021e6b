//! Leaders' terms, of a log that several leaders have written.

use kafka_protocol::messages::{
    DeleteRecordsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use minikafka_record::{BatchBuilder, Offset, RecordBatch};
use tempfile::TempDir;

use super::{
    client::{Client, TIME, batch, batches, fetch_from, name},
    stopped::{append, serve},
};
use crate::support::Fixture;

/// Offsets 0 and 1 are of term 0, 2 of term 3, and 3 to 5 of term 5. Offset `n` has the time `TIME + n`.
async fn three_terms() -> (TempDir, Fixture, Client) {
    let root = tempfile::tempdir().unwrap();
    let (fixture, mut client) = serve(root.path()).await;
    client.create("t").await;
    drop(client);
    fixture.stop().await;
    for (base, count, epoch) in [(0, 2, 0), (2, 1, 3), (3, 3, 5)] {
        let mut builder = BatchBuilder::new();
        (base..base + count).for_each(|offset| builder.push(TIME + offset, None, Some(b"x"), &[]));
        append(root.path(), &RecordBatch::parse(builder.finish(Offset::new(base as u64), epoch)).unwrap());
    }
    let (fixture, client) = serve(root.path()).await;
    (root, fixture, client)
}

fn ask_for(epochs: &[(i32, i32)]) -> OffsetForLeaderEpochRequest {
    let partitions = epochs.iter().map(|(current, epoch)| {
        OffsetForLeaderPartition::default().with_current_leader_epoch(*current).with_leader_epoch(*epoch)
    });
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(partitions.collect());
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

async fn ends(client: &mut Client, epochs: &[(i32, i32)]) -> Vec<(i16, i32, i64)> {
    let response = client.ask(4, &ask_for(epochs)).await;
    let found = response.topics[0].partitions.iter();
    found.map(|end| (end.error_code, end.leader_epoch, end.end_offset)).collect()
}

#[tokio::test]
async fn a_record_is_listed_with_its_own_term() {
    let (_root, _fixture, mut client) = three_terms().await;
    let by_time = [(0, 0), (1, 0), (2, 3), (3, 5), (5, 5)];
    for (offset, epoch) in by_time {
        let found = client.list(7, "t", TIME + offset).await;
        assert_eq!((found.error_code, found.offset, found.leader_epoch), (0, offset, epoch));
        assert_eq!(client.list(3, "t", TIME + offset).await.leader_epoch, -1, "an old version has no term");
    }
    // The latest, the earliest, and the newest.
    for (place, offset, epoch) in [(-1, 6, 5), (-2, 0, 0), (-3, 5, 5)] {
        let found = client.list(7, "t", place).await;
        assert_eq!((found.error_code, found.offset, found.leader_epoch), (0, offset, epoch));
    }
}

#[tokio::test]
async fn a_term_ends_where_the_next_one_begins() {
    let (_root, _fixture, mut client) = three_terms().await;
    let found = ends(&mut client, &[(-1, 0), (-1, 1), (-1, 2), (5, 3), (-1, 4), (-1, 5)]).await;
    assert_eq!(found, [(0, 0, 2), (0, 0, 2), (0, 0, 2), (0, 3, 3), (0, 3, 3), (0, 5, 6)]);
    // Nobody has begun those; who believes in another leader than there is hears that first.
    let found = ends(&mut client, &[(-1, 6), (-1, -1), (4, 3), (6, 3)]).await;
    assert_eq!(found, [(0, -1, -1), (0, -1, -1), (74, -1, -1), (75, -1, -1)]);
}

#[tokio::test]
async fn what_is_deleted_leaves_the_terms_of_the_rest() {
    let (_root, _fixture, mut client) = three_terms().await;
    let before = DeleteRecordsPartition::default().with_offset(2);
    let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![before]);
    let request = DeleteRecordsRequest::default().with_timeout_ms(5000).with_topics(vec![topic]);
    assert_eq!(client.ask(2, &request).await.topics[0].partitions[0].error_code, 0);
    let earliest = client.list(7, "t", -2).await;
    assert_eq!((earliest.offset, earliest.leader_epoch), (2, 3));
    assert_eq!(ends(&mut client, &[(-1, 0), (-1, 3), (-1, 5)]).await, [(0, 0, 2), (0, 3, 3), (0, 5, 6)]);
}

#[tokio::test]
async fn the_last_term_goes_on() {
    let (_root, _fixture, mut client) = three_terms().await;
    let answer = client.produce("t", batch(&["a"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 6));
    let fetched = client.fetch(12, fetch_from("t", 6)).await;
    let [batch] = &batches(&fetched)[..] else { panic!("{fetched:?}") };
    assert_eq!(batch.header().leader_epoch, 5);
    assert_eq!(ends(&mut client, &[(5, 5)]).await, [(0, 5, 7)]);
}
