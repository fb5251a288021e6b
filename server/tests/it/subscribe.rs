//! Subscribe.

use std::sync::Arc;

use minikafka_proto::v1::{
    Anchor, Encoding, MissingTopic, Position, ResetPolicy, SubscribeRequest, SubscribeResponse,
};
use tonic::{Code, Streaming};

use crate::support::{Fixture, Hands, anchor, batch, number, numbers, soon, values, why};

fn request(topic: &str, from: Option<Position>) -> SubscribeRequest {
    SubscribeRequest { topic: topic.to_owned(), from, ..SubscribeRequest::default() }
}

async fn subscribe(fixture: &Fixture, request: SubscribeRequest) -> Streaming<SubscribeResponse> {
    soon(fixture.v1.clone().subscribe(request)).await.expect("subscribe").into_inner()
}

async fn next(replies: &mut Streaming<SubscribeResponse>) -> SubscribeResponse {
    soon(replies.message()).await.expect("no error").expect("no end")
}

#[tokio::test]
async fn what_is_there_comes_first_then_what_is_written() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a", "b"]).await;
    let mut replies = subscribe(&fixture, request("t", None)).await;
    let first = next(&mut replies).await;
    assert_eq!(values(&first.messages), ["a", "b"]);
    assert_eq!((first.next_number, first.start_number, first.end_number), (3, 1, 3));
    for text in ["c", "d"] {
        fixture.produce("t", &[text]).await;
        assert_eq!(values(&next(&mut replies).await.messages), [text]);
    }
}

#[tokio::test]
async fn the_first_reply_confirms_the_position() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a", "b"]).await;
    let mut replies = subscribe(&fixture, request("t", anchor(Anchor::Latest))).await;
    let first = next(&mut replies).await;
    assert_eq!((first.messages.len(), first.next_number), (0, 3));
    fixture.produce("t", &["c"]).await;
    assert_eq!(values(&next(&mut replies).await.messages), ["c"]);
}

#[tokio::test]
async fn two_readers_read_independently() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a", "b"]).await;
    let mut one = subscribe(&fixture, request("t", number(1))).await;
    let mut two = subscribe(&fixture, request("t", number(2))).await;
    assert_eq!(values(&next(&mut one).await.messages), ["a", "b"]);
    assert_eq!(values(&next(&mut two).await.messages), ["b"]);
    fixture.produce("t", &["c"]).await;
    assert_eq!(values(&next(&mut one).await.messages), ["c"]);
    assert_eq!(values(&next(&mut two).await.messages), ["c"]);
}

#[tokio::test]
async fn flow_control_slows_the_server_down_and_loses_nothing() {
    let fixture = Fixture::memory().await;
    let text = "x".repeat(64 * 1024);
    let texts = vec![text.as_str(); 16];
    for _ in 0..16 {
        fixture.v1.clone().produce(batch("t", &texts)).await.unwrap();
    }
    for encoding in [Encoding::Messages, Encoding::RecordBatches] {
        let wanted = SubscribeRequest { max_bytes: 200_000, encoding: encoding.into(), ..request("t", None) };
        let mut idle = subscribe(&fixture, wanted.clone()).await;
        let mut busy = subscribe(&fixture, wanted).await;
        // One connection carries both: the one that is not read must not stop the other.
        for replies in [&mut busy, &mut idle] {
            let mut read = 1;
            while read <= 256 {
                let reply = next(replies).await;
                let first = reply.messages.first().map_or(read, |message| message.number);
                assert_eq!(first, read);
                read = reply.next_number;
            }
            assert_eq!(read, 257);
        }
    }
}

#[tokio::test]
async fn out_of_range_is_an_error_or_goes_on_as_the_policy_says() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a", "b"]).await;
    let with =
        |policy: ResetPolicy| SubscribeRequest { reset_policy: policy.into(), ..request("t", number(9)) };
    let status = fixture.v1.clone().subscribe(with(ResetPolicy::Fail)).await.expect_err("out of range");
    assert_eq!(why(&status), (Code::OutOfRange, "NUMBER_OUT_OF_RANGE".to_owned()));
    let first = next(&mut subscribe(&fixture, with(ResetPolicy::Earliest)).await).await;
    assert_eq!(numbers(&first.messages), [1, 2]);
    let first = next(&mut subscribe(&fixture, with(ResetPolicy::Latest)).await).await;
    assert_eq!((first.messages.len(), first.next_number), (0, 3));
}

#[tokio::test]
async fn a_reader_that_eviction_overtakes_goes_on_as_the_policy_says() {
    let hands = Hands::default();
    let fixture = Fixture::with(|config| config.clock = Arc::new(hands.clone())).await;
    let text = "x".repeat(1 << 20);
    for _ in 0..40 {
        fixture.produce("t", &[&text]).await;
    }
    let with =
        |policy: ResetPolicy| SubscribeRequest { reset_policy: policy.into(), ..request("t", number(1)) };
    let mut failing = subscribe(&fixture, with(ResetPolicy::Fail)).await;
    let mut earliest = subscribe(&fixture, with(ResetPolicy::Earliest)).await;
    // Neither is read meanwhile: what they were sent fills their windows.
    hands.outlive(&fixture).await;
    fixture.produce("t", &["last"]).await;
    let status = soon(async {
        loop {
            if let Err(status) = failing.message().await {
                break status;
            }
        }
    })
    .await;
    assert_eq!(why(&status), (Code::OutOfRange, "NUMBER_OUT_OF_RANGE".to_owned()));
    let mut seen = Vec::new();
    while seen.last() != Some(&41) {
        seen.extend(numbers(&next(&mut earliest).await.messages));
    }
    assert!(seen.len() < 41 && seen.is_sorted(), "{seen:?}");
}

#[tokio::test]
async fn a_missing_topic_is_an_error_or_waited_for() {
    let fixture = Fixture::memory().await;
    let status = fixture.v1.clone().subscribe(request("t", None)).await.expect_err("no topic");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    for from in [None, number(1), anchor(Anchor::Latest)] {
        let wanted = SubscribeRequest { missing_topic: MissingTopic::Wait.into(), ..request("t", from) };
        // The stream is there at once; its first reply comes with the topic.
        let mut replies = subscribe(&fixture, wanted).await;
        let reading = tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.is_empty() {
                seen.extend(next(&mut replies).await.messages);
            }
            seen
        });
        // The subscription was first: from its point of view even the first message comes after the latest.
        fixture.produce("t", &["a"]).await;
        let seen = soon(reading).await.unwrap();
        assert_eq!(values(&seen), ["a"], "{from:?}");
        fixture.server.broker().delete_topic("t").await.unwrap();
    }
}

#[tokio::test]
async fn it_ends_with_the_topic_and_with_the_server() {
    let fixture = Fixture::memory().await;
    fixture.produce("doomed", &["a"]).await;
    fixture.produce("kept", &["a"]).await;
    let mut doomed = subscribe(&fixture, request("doomed", None)).await;
    let mut kept = subscribe(&fixture, request("kept", None)).await;
    let wanted = SubscribeRequest { missing_topic: MissingTopic::Wait.into(), ..request("later", None) };
    let mut waiting = subscribe(&fixture, wanted).await;
    next(&mut doomed).await;
    next(&mut kept).await;
    fixture.server.broker().delete_topic("doomed").await.unwrap();
    let status = soon(doomed.message()).await.expect_err("the topic is gone");
    assert_eq!(why(&status), (Code::NotFound, "TOPIC_NOT_FOUND".to_owned()));
    let Fixture { server, .. } = fixture;
    let stopped = tokio::spawn(server.stop());
    for replies in [&mut kept, &mut waiting] {
        let status = soon(replies.message()).await.expect_err("the server stops");
        assert_eq!(why(&status), (Code::Unavailable, "STOPPING".to_owned()));
    }
    soon(stopped).await.unwrap().unwrap();
}
