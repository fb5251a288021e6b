//! Damage of the disk at the doors: said, skipped where nobody can be told, and served to nobody. Row 4.

use std::{fs, path::Path, sync::Arc, time::Duration};

use minikafka_broker::BrokerConfig;
use minikafka_proto::{
    original::{self, MsgNumber},
    v1::{DescribeTopicRequest, Encoding, PollRequest, ReadRequest, ResetPolicy, SubscribeRequest},
};
use minikafka_server::Server;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::read::{Reading, partition};
use crate::support::{Fixture, Hands, number, numbers, only_topic, poll, soon, values, why};

async fn start(root: &Path) -> Fixture {
    start_at(root, &Hands::default()).await
}

async fn start_at(root: &Path, hands: &Hands) -> Fixture {
    let retention = Some(Duration::from_secs(100));
    let config = BrokerConfig { retention, clock: Arc::new(hands.clone()), ..BrokerConfig::default() };
    Fixture::start(Server::builder().filesystem(root).broker(config)).await
}

/// Flips a bit of `text` where it lies in a segment.
pub(crate) fn damage(root: &Path, text: &str) {
    let log = only_topic(root);
    let files = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|found| found == "log")) {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|found| found == text.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            return;
        }
    }
    panic!("{text} is nowhere");
}

/// A server whose disk has lost some of ten messages, "message 0" to "message 9", between two runs.
async fn damaged(root: &Path, lost: impl IntoIterator<Item = u64>) -> Fixture {
    let fixture = start(root).await;
    for offset in 0..10 {
        fixture.produce("t", &[&format!("message {offset}")]).await;
    }
    fixture.stop().await;
    lost.into_iter().for_each(|offset| damage(root, &format!("message {offset}")));
    start(root).await
}

/// The numbers that an error about damage names: from, to, next.
fn named(status: &Status) -> [u64; 3] {
    assert_eq!(why(status), (Code::DataLoss, "DAMAGED".to_owned()));
    let info = status.get_details_error_info().unwrap();
    ["from", "to", "next"].map(|key| info.metadata[key].parse().unwrap())
}

#[tokio::test]
async fn a_poll_names_what_is_lost_and_the_rest_is_served() {
    let root = tempfile::tempdir().unwrap();
    let fixture = damaged(root.path(), [0, 4, 5, 6]).await;
    for encoding in [Encoding::Messages, Encoding::RecordBatches] {
        for reset_policy in [ResetPolicy::Fail, ResetPolicy::Earliest, ResetPolicy::Latest] {
            let ask = |from| PollRequest {
                encoding: encoding.into(),
                reset_policy: reset_policy.into(),
                ..poll("t", number(from))
            };
            // No policy chooses damage over an error: it is no matter of a position that is out of range.
            for (from, lost) in [(1, [1, 2, 2]), (5, [5, 8, 8]), (6, [6, 8, 8]), (7, [7, 8, 8])] {
                let status = fixture.poll(ask(from)).await.expect_err("lost");
                assert_eq!(named(&status), lost, "{status}");
                assert!(status.message().contains(&format!("reading goes on at {}", lost[2])), "{status}");
            }
            assert_eq!(fixture.poll(ask(2)).await.unwrap().next_number, 5, "up to what is lost");
            assert_eq!(fixture.poll(ask(8)).await.unwrap().next_number, 11);
        }
    }
    let before = fixture.poll(poll("t", number(2))).await.unwrap();
    assert_eq!(values(&before.messages), ["message 1", "message 2", "message 3"]);
    assert_eq!(fixture.produce("t", &["new"]).await.first_number, 11, "no number is used again");
    fixture.stop().await;
}

#[tokio::test]
async fn a_subscription_ends_at_what_is_lost_and_is_taken_up_behind_it() {
    let root = tempfile::tempdir().unwrap();
    let fixture = damaged(root.path(), [4, 5]).await;
    let mut seen = Vec::new();
    let mut from = 1;
    for ended in [Some([5, 7, 7]), None] {
        let request = SubscribeRequest { topic: "t".into(), from: number(from), ..Default::default() };
        let mut replies = fixture.v1.clone().subscribe(request).await.unwrap().into_inner();
        let outcome = loop {
            match soon(replies.message()).await {
                Ok(reply) => seen.extend(numbers(&reply.unwrap().messages)),
                Err(status) => break Some(named(&status)),
            }
            if seen.last() == Some(&10) {
                break None;
            }
        };
        assert_eq!(outcome, ended);
        from = outcome.map_or(0, |[.., next]| next);
    }
    assert_eq!(seen, [1, 2, 3, 4, 7, 8, 9, 10]);
}

#[tokio::test]
async fn a_read_stream_says_what_is_lost_and_goes_on_with_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let fixture = damaged(root.path(), [4, 5]).await;
    fixture.produce("other", &["1"]).await;
    let add = vec![partition("t", None, 1), partition("other", None, 2)];
    let mut reading = Reading::start(&fixture, ReadRequest { add, ..ReadRequest::default() }).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&10) {
        let reply = reading.news().await;
        match reply.error {
            Some(error) => {
                assert_eq!((reply.topic.as_str(), error.reason.as_str()), ("t", "DAMAGED"));
                assert_eq!(error.metadata["next"], "7");
                reading.add(partition("t", number(7), 3));
            }
            None if reply.topic == "t" => seen.extend(numbers(&reply.messages)),
            None => assert_eq!(values(&reply.messages), ["1"]),
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 7, 8, 9, 10]);
}

#[tokio::test]
async fn the_original_goes_on_behind_what_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let fixture = damaged(root.path(), [0, 4, 5, 9]).await;
    for (from, expected) in [(0, &["1", "2", "3", "6", "7", "8"][..]), (5, &["6", "7", "8"])] {
        let request =
            original::PollRequest { topic: "t".into(), read_from: Some(MsgNumber { msg_number: from }) };
        let reply = fixture.original.clone().poll(request).await.unwrap().into_inner();
        let texts: Vec<_> = reply.payloads.iter().map(|payload| payload.payload.to_vec()).collect();
        let expected: Vec<_> = expected.iter().map(|text| format!("message {text}").into_bytes()).collect();
        assert_eq!(texts, expected, "from {from}");
    }
}

#[tokio::test]
async fn the_original_is_not_stuck_when_only_lost_messages_are_left() {
    let root = tempfile::tempdir().unwrap();
    let fixture = damaged(root.path(), [8, 9]).await;
    let ask =
        |from| original::PollRequest { topic: "t".into(), read_from: Some(MsgNumber { msg_number: from }) };
    let poll = async |from| {
        let reply = fixture.original.clone().poll(ask(from)).await.unwrap().into_inner();
        (reply.payloads.len(), reply.new_read_from.unwrap().msg_number)
    };
    let (count, next) = poll(9).await;
    assert_eq!(count, 0);
    fixture.produce("t", &["new"]).await;
    assert_eq!(poll(next).await, (1, 12));
}

#[tokio::test]
async fn damage_is_described_and_stays_after_another_restart() {
    let root = tempfile::tempdir().unwrap();
    let mut fixture = damaged(root.path(), [4, 5]).await;
    for _ in 0..2 {
        fixture.poll(poll("t", number(5))).await.expect_err("lost");
        let request = DescribeTopicRequest { topic: "t".into(), ..Default::default() };
        let described = fixture.v1.clone().describe_topic(request).await.unwrap().into_inner();
        let partition = &described.partitions[0];
        assert_eq!((partition.start_number, partition.end_number), (1, 11));
        assert_eq!(partition.damaged_messages, 2);
        fixture.stop().await;
        fixture = start(root.path()).await;
    }
}

#[tokio::test]
async fn what_is_lost_is_evicted_with_its_neighbours_and_not_before() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start_at(root.path(), &hands).await;
    // One each 10 seconds: of ages 50, 40, 30, 20, 10.
    for offset in 0..5 {
        fixture.produce("t", &[&format!("message {offset}")]).await;
        hands.pass(Duration::from_secs(10));
    }
    fixture.stop().await;
    for offset in [0, 1, 4] {
        damage(root.path(), &format!("message {offset}"));
    }
    let fixture = start_at(root.path(), &hands).await;
    for (pass, start) in [(0, 1), (65, 1), (10, 4), (10, 6)] {
        hands.pass(Duration::from_secs(pass));
        fixture.server.broker().evict().await.unwrap();
        let bounds = fixture.server.broker().partition("t", None).unwrap().bounds();
        assert_eq!(bounds.start.number(), start, "after {pass} s more");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_topic_of_which_all_is_lost_is_kept_for_its_time() {
    let root = tempfile::tempdir().unwrap();
    let hands = Hands::default();
    let fixture = start_at(root.path(), &hands).await;
    fixture.produce("t", &["message"]).await;
    fixture.stop().await;
    damage(root.path(), "message");
    let fixture = start_at(root.path(), &hands).await;
    assert_eq!(named(&fixture.poll(poll("t", number(1))).await.expect_err("lost")), [1, 2, 2]);
    hands.outlive(&fixture).await;
    assert_eq!(why(&fixture.poll(poll("t", number(1))).await.expect_err("gone")).0, Code::OutOfRange);
}
