//! Producers whose batches come once: the end of their sequences, and what is known after a restart.

use kafka_protocol::messages::{InitProducerIdRequest, produce_response::PartitionProduceResponse};
use minikafka_record::RecordBatch;

use super::{
    client::{Client, batch, batches, fetch_from, stamped, start},
    stopped::{append, serve},
};

const ID: i64 = 7_000;

fn told(answer: &PartitionProduceResponse) -> (i16, i64) {
    (answer.error_code, answer.base_offset)
}

#[tokio::test]
async fn after_the_last_sequence_comes_0_also_within_a_batch_and_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (fixture, mut client) = serve(root.path()).await;
    client.create("t").await;
    drop(client);
    fixture.stop().await;
    let (one, two) = (batch(&["a"]), batch(&["a", "b"]));
    append(root.path(), &RecordBatch::parse(stamped(&one, ID, 0, i32::MAX - 1)).unwrap());

    let (fixture, mut client) = serve(root.path()).await;
    let over_the_end = stamped(&two, ID, 0, i32::MAX);
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 0)).await), (45, -1), "one is missing");
    assert_eq!(told(&client.produce("t", over_the_end.clone()).await), (0, 1));
    assert_eq!(told(&client.produce("t", over_the_end.clone()).await), (0, 1), "once more");
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 0)).await), (45, -1), "0 was in it");
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 1)).await), (0, 3));
    drop(client);
    fixture.stop().await;

    let (_fixture, mut client) = serve(root.path()).await;
    assert_eq!(told(&client.produce("t", over_the_end).await), (0, 1));
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, i32::MAX - 1)).await), (0, 0));
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 2)).await), (0, 4));
}

#[tokio::test]
async fn the_last_sequence_itself_is_followed_by_0() {
    let root = tempfile::tempdir().unwrap();
    let (fixture, mut client) = serve(root.path()).await;
    client.create("t").await;
    drop(client);
    fixture.stop().await;
    let one = batch(&["a"]);
    append(root.path(), &RecordBatch::parse(stamped(&one, ID, 0, i32::MAX)).unwrap());

    let (_fixture, mut client) = serve(root.path()).await;
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 1)).await), (45, -1));
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 0)).await), (0, 1));
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, i32::MAX)).await), (0, 0));
    assert_eq!(told(&client.produce("t", stamped(&one, ID, 0, 1)).await), (0, 2));
}

#[tokio::test]
async fn each_of_the_last_five_batches_is_known_after_a_restart_and_the_one_before_is_not() {
    let root = tempfile::tempdir().unwrap();
    let (fixture, mut client) = serve(root.path()).await;
    client.create("t").await;
    let id = client.ask(4, &InitProducerIdRequest::default().with_transactional_id(None)).await.producer_id.0;
    // Of one record, two records, and so on.
    let values = ["x"; 6];
    let sent: Vec<_> = (0..6).map(|n| (n * (n + 1) / 2, batch(&values[..=n as usize]))).collect();
    for (sequence, batch) in &sent {
        let answer = client.produce("t", stamped(batch, id, 0, *sequence)).await;
        assert_eq!(told(&answer), (0, i64::from(*sequence)));
    }
    drop(client);
    fixture.stop().await;

    let (_fixture, mut client) = serve(root.path()).await;
    for (sequence, batch) in sent[1..].iter().rev() {
        let answer = client.produce("t", stamped(batch, id, 0, *sequence)).await;
        assert_eq!(told(&answer), (0, i64::from(*sequence)), "where it was");
    }
    assert_eq!(told(&client.produce("t", stamped(&sent[0].1, id, 0, 0)).await), (45, -1));
    assert_eq!(client.list(7, "t", -1).await.offset, 21, "nothing is there twice");
}

#[tokio::test]
async fn base_offset_and_leader_epoch_are_the_logs_and_not_the_clients() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    client.produce("t", batch(&["before"])).await;
    let mut claiming = batch(&["a", "b"]).to_vec();
    claiming[..8].copy_from_slice(&77i64.to_be_bytes());
    claiming[12..16].copy_from_slice(&5i32.to_be_bytes());
    assert_eq!(told(&client.produce("t", claiming.into()).await), (0, 1));
    let fetched = client.fetch(12, fetch_from("t", 1)).await;
    let [batch] = &batches(&fetched)[..] else { panic!("{fetched:?}") };
    assert_eq!(batch.base_offset().get(), 1);
    assert_eq!(batch.bytes()[12..16], 0i32.to_be_bytes(), "the term of the one leader");
}
