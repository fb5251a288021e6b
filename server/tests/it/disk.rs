//! The same face over files: what the disk adds is that it is there again after a restart.

use std::{path::Path, sync::Arc};

use minikafka_broker::BrokerConfig;
use minikafka_proto::v1::{
    DescribeTopicRequest, Durability, Encoding, Message, PollRequest, Position, SubscribeRequest,
    position::At,
};
use minikafka_record::RecordBatch;
use minikafka_server::Server;
use tonic::Code;

use crate::support::{Fixture, Hands, batch, list, message, number, numbers, poll, soon, values, why};

async fn start(root: &Path, hands: &Hands) -> Fixture {
    let config = BrokerConfig { clock: Arc::new(hands.clone()), ..BrokerConfig::default() };
    Fixture::start(Server::builder().filesystem(root).broker(config)).await
}

#[tokio::test]
async fn messages_of_both_forms_are_there_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start(root.path(), &hands).await;
    let at = |text: &str, timestamp_ms| Message { timestamp_ms: Some(timestamp_ms), ..message(text) };
    fixture.v1.clone().produce(list("demo topic", vec![at("a", 100), at("b", 200)])).await.unwrap();
    fixture.v1.clone().produce(batch("demo topic", &["c", "d"])).await.unwrap();
    let request = DescribeTopicRequest { topic: "demo topic".into(), ..Default::default() };
    let before = fixture.v1.clone().describe_topic(request.clone()).await.unwrap().into_inner();
    assert_eq!(before.durability, i32::from(Durability::Synced));
    fixture.stop().await;

    let again = start(root.path(), &hands).await;
    let after = again.v1.clone().describe_topic(request).await.unwrap().into_inner();
    assert_eq!((after.id, after.partitions[0].end_number), (before.id, 5));
    for (from, wanted) in [
        (None, &["a", "b", "c", "d"][..]),
        (number(4), &["d"]),
        (Some(Position { at: Some(At::TimestampMs(150)) }), &["b", "c", "d"]),
    ] {
        let reply = again.poll(poll("demo topic", from)).await.unwrap();
        assert_eq!(values(&reply.messages), wanted, "{from:?}");
    }
    let encoded = PollRequest { encoding: Encoding::RecordBatches.into(), ..poll("demo topic", number(1)) };
    let reply = again.poll(encoded).await.unwrap();
    let last = RecordBatch::parse(reply.record_batches.last().unwrap().clone()).unwrap();
    last.validate().unwrap();
    assert_eq!((last.base_offset().number(), reply.next_number), (3, 5));
    assert_eq!(again.produce("demo topic", &["e"]).await.first_number, 5);
    again.stop().await;
}

#[tokio::test]
async fn a_reader_goes_from_the_files_to_what_is_written_now() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start(root.path(), &hands).await;
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        fixture.produce("t", &[&text]).await;
    }
    fixture.stop().await;

    let again = start(root.path(), &hands).await;
    let request = SubscribeRequest { topic: "t".into(), max_bytes: 250_000, ..SubscribeRequest::default() };
    let mut replies = again.v1.clone().subscribe(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while seen.len() < 100 {
        seen.extend(numbers(&soon(replies.message()).await.unwrap().unwrap().messages));
    }
    again.produce("t", &["now"]).await;
    seen.extend(numbers(&soon(replies.message()).await.unwrap().unwrap().messages));
    assert_eq!(seen, (1..=101).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_grew_too_old_is_gone_and_numbers_go_on() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start(root.path(), &hands).await;
    fixture.produce("t", &["a", "b"]).await;
    hands.outlive(&fixture).await;
    fixture.stop().await;

    let again = start(root.path(), &hands).await;
    let status = again.poll(poll("t", number(1))).await.expect_err("evicted");
    assert_eq!(why(&status), (Code::OutOfRange, "NUMBER_OUT_OF_RANGE".to_owned()));
    assert_eq!(again.produce("t", &["c"]).await.first_number, 3);
    let reply = again.poll(poll("t", None)).await.unwrap();
    assert_eq!((values(&reply.messages), reply.start_number), (vec!["c"], 3));
    again.stop().await;
}

#[tokio::test]
async fn a_deleted_topic_stays_deleted() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start(root.path(), &hands).await;
    fixture.produce("t", &["a"]).await;
    fixture.server.broker().delete_topic("t").await.unwrap();
    fixture.stop().await;
    let again = start(root.path(), &hands).await;
    let status = again.poll(poll("t", None)).await.expect_err("deleted");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
}
