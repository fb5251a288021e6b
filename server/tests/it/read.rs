//! Read: many partitions over one stream.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use minikafka_proto::v1::{
    Anchor, Encoding, Position, ReadPartition, ReadRequest, ReadResponse, ResetPolicy, TopicPartition,
};
use minikafka_record::RecordBatch;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::support::{Fixture, Hands, anchor, batch, number, numbers, soon, values, why};

/// A read stream, and the way to say what to read.
pub(crate) struct Reading {
    requests: mpsc::UnboundedSender<ReadRequest>,
    replies: Streaming<ReadResponse>,
}

pub(crate) fn partition(topic: &str, from: Option<Position>, read_id: u64) -> ReadPartition {
    ReadPartition { topic: topic.to_owned(), from, read_id, ..ReadPartition::default() }
}

impl Reading {
    pub(crate) async fn start(fixture: &Fixture, first: ReadRequest) -> Reading {
        let (requests, incoming) = mpsc::unbounded_channel();
        requests.send(first).unwrap();
        let replies = fixture.v1.clone().read(UnboundedReceiverStream::new(incoming)).await.expect("read");
        Reading { requests, replies: replies.into_inner() }
    }

    async fn of(fixture: &Fixture, add: Vec<ReadPartition>) -> Reading {
        Reading::start(fixture, ReadRequest { add, ..ReadRequest::default() }).await
    }

    fn say(&self, request: ReadRequest) {
        self.requests.send(request).unwrap();
    }

    pub(crate) fn add(&self, partition: ReadPartition) {
        self.say(ReadRequest { add: vec![partition], ..ReadRequest::default() });
    }

    fn remove(&self, topic: &str) {
        let remove = vec![TopicPartition { topic: topic.to_owned(), partition: 0 }];
        self.say(ReadRequest { remove, ..ReadRequest::default() });
    }

    pub(crate) async fn next(&mut self) -> ReadResponse {
        soon(self.replies.message()).await.expect("no error").expect("no end")
    }

    /// The next reply with messages, or an error.
    pub(crate) async fn news(&mut self) -> ReadResponse {
        loop {
            let reply = self.next().await;
            if !reply.messages.is_empty() || !reply.record_batches.is_empty() || reply.error.is_some() {
                return reply;
            }
        }
    }

    async fn end(&mut self) -> Result<(), Status> {
        loop {
            match soon(self.replies.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}

fn reason(reply: &ReadResponse) -> &str {
    &reply.error.as_ref().expect("an error").reason
}

#[tokio::test]
async fn each_partition_is_confirmed_and_then_comes_what_it_has() {
    let fixture = Fixture::memory().await;
    fixture.produce("a", &["a1", "a2", "a3"]).await;
    fixture.produce("b", &["b1", "b2"]).await;
    let add = vec![partition("a", number(2), 7), partition("b", anchor(Anchor::Latest), 8)];
    let mut reading = Reading::of(&fixture, add).await;
    for (topic, read_id, next_number) in [("a", 7, 2), ("b", 8, 3)] {
        let reply = reading.next().await;
        assert_eq!((reply.topic.as_str(), reply.partition, reply.read_id), (topic, 0, read_id));
        assert_eq!((reply.messages.len(), reply.next_number, reply.start_number), (0, next_number, 1));
    }
    let reply = reading.next().await;
    assert_eq!((reply.topic.as_str(), values(&reply.messages)), ("a", vec!["a2", "a3"]));
    assert_eq!((reply.next_number, reply.end_number), (4, 4));
    for (topic, text) in [("b", "b3"), ("a", "a4"), ("b", "b4")] {
        fixture.produce(topic, &[text]).await;
        let reply = reading.next().await;
        assert_eq!((reply.topic.as_str(), values(&reply.messages)), (topic, vec![text]));
    }
    drop(reading.requests);
    fixture.produce("a", &["a5"]).await;
    let reply = soon(reading.replies.message()).await.unwrap().unwrap();
    assert_eq!(values(&reply.messages), ["a5"], "a client that says nothing more goes on reading");
}

#[tokio::test]
async fn those_that_are_behind_take_turns() {
    let fixture = Fixture::memory().await;
    let text = "x".repeat(10_000);
    for topic in ["a", "b", "c"] {
        for _ in 0..20 {
            fixture.v1.clone().produce(batch(topic, &[text.as_str(); 10])).await.unwrap();
        }
    }
    for encoding in [Encoding::Messages, Encoding::RecordBatches] {
        let add = ["a", "b", "c"].map(|topic| partition(topic, None, 0)).to_vec();
        let first = ReadRequest { add, max_bytes: 100_000, encoding: encoding.into(), ..Default::default() };
        let mut reading = Reading::start(&fixture, first).await;
        let mut next: BTreeMap<String, u64> = BTreeMap::new();
        while next.len() < 3 || next.values().any(|next| *next <= 200) {
            let reply = reading.next().await;
            if let Some(expected) = next.insert(reply.topic.clone(), reply.next_number)
                && let Some(message) = reply.messages.first()
            {
                assert_eq!(message.number, expected, "no gap in {}", reply.topic);
            }
            if next.len() == 3 {
                let (least, most) = (next.values().min().unwrap(), next.values().max().unwrap());
                // A turn is one batch of ten messages here.
                assert!(most - least <= 20, "{next:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_partition_goes_on_at_another_position_and_tells_which() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["1", "2", "3"]).await;
    let mut reading = Reading::of(&fixture, vec![partition("t", None, 1)]).await;
    assert_eq!(numbers(&reading.news().await.messages), [1, 2, 3]);
    reading.add(partition("t", number(2), 2));
    let reply = reading.news().await;
    assert_eq!((reply.read_id, numbers(&reply.messages)), (2, vec![2, 3]));
    // Removed, it is silent; another one goes on.
    reading.remove("t");
    fixture.produce("u", &["u1"]).await;
    reading.add(partition("u", None, 3));
    let reply = reading.news().await;
    assert_eq!((reply.topic.as_str(), reply.read_id), ("u", 3));
    fixture.produce("t", &["4"]).await;
    fixture.produce("u", &["u2"]).await;
    assert_eq!(values(&reading.next().await.messages), ["u2"]);
    reading.add(partition("t", number(4), 4));
    let reply = reading.news().await;
    assert_eq!((reply.read_id, values(&reply.messages)), (4, vec!["4"]));
}

#[tokio::test]
async fn a_position_that_moves_a_thousand_times_leaves_nothing_behind() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["1"]).await;
    let mut reading = Reading::of(&fixture, vec![partition("t", anchor(Anchor::Latest), 0)]).await;
    for read_id in 1..=1000 {
        reading.add(partition("t", anchor(Anchor::Latest), read_id));
    }
    let mut reply = reading.next().await;
    while reply.read_id < 1000 {
        reply = reading.next().await;
    }
    fixture.produce("t", &["2"]).await;
    let reply = reading.next().await;
    assert_eq!((reply.read_id, values(&reply.messages)), (1000, vec!["2"]));
    fixture.produce("t", &["3"]).await;
    assert_eq!(values(&reading.next().await.messages), ["3"], "each message once");
}

#[tokio::test]
async fn the_form_of_replies_changes_on_the_way() {
    let fixture = Fixture::memory().await;
    // More than fits into the windows of a client that does not read.
    let text = "x".repeat(100_000);
    fixture.v1.clone().produce(batch("t", &[text.as_str(); 30])).await.unwrap();
    let first = ReadRequest { add: vec![partition("t", None, 0)], max_bytes: 250_000, ..Default::default() };
    let mut reading = Reading::start(&fixture, first).await;
    assert_eq!(numbers(&reading.news().await.messages), [1, 2]);
    reading.say(ReadRequest { encoding: Encoding::RecordBatches.into(), ..Default::default() });
    let mut seen = 2;
    loop {
        let reply = reading.news().await;
        seen = reply.messages.last().map_or(seen, |message| message.number);
        if let Some(bytes) = reply.record_batches.first() {
            let whole = RecordBatch::parse(bytes.clone()).unwrap();
            assert_eq!((whole.base_offset().number(), whole.end_offset().number()), (1, 31));
            assert!(seen < 30, "the batch comes again because its rest was not sent: {seen}");
            break;
        }
    }
}

#[tokio::test]
async fn an_error_of_one_partition_is_its_own() {
    let fixture = Fixture::memory().await;
    fixture.produce("good", &["1"]).await;
    let wrong = [
        (partition("good", number(9), 1), "NUMBER_OUT_OF_RANGE"),
        (partition("good", number(0), 2), "INVALID_REQUEST"),
        (partition("missing", None, 3), "TOPIC_NOT_FOUND"),
        (ReadPartition { partition: 7, ..partition("good", None, 4) }, "PARTITION_NOT_FOUND"),
        (ReadPartition { leader_epoch: Some(3), ..partition("good", None, 5) }, "STALE_LEADER_EPOCH"),
        (ReadPartition { reset_policy: 77, ..partition("good", None, 6) }, "INVALID_REQUEST"),
        (partition("../x", None, 7), "INVALID_TOPIC_NAME"),
    ];
    let add = wrong.iter().map(|(wrong, _)| wrong.clone()).chain([partition("good", None, 8)]).collect();
    let mut reading = Reading::of(&fixture, add).await;
    for (wrong, expected) in &wrong {
        let reply = reading.next().await;
        let asked = (&wrong.topic, wrong.partition, wrong.read_id);
        assert_eq!((&reply.topic, reply.partition, reply.read_id), asked);
        assert_eq!(reason(&reply), *expected);
    }
    assert_eq!(values(&reading.news().await.messages), ["1"]);
    reading.add(partition("good", number(9), 9));
    let error = reading.news().await.error.unwrap();
    assert_eq!(error.code, Code::OutOfRange as i32);
    assert_eq!((error.metadata["start"].as_str(), error.metadata["end"].as_str()), ("1", "2"));
    reading.say(ReadRequest { encoding: 99, ..Default::default() });
    assert_eq!(why(&reading.end().await.unwrap_err()).0, Code::InvalidArgument);
}

#[tokio::test]
async fn out_of_range_goes_on_as_the_policy_says() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["1", "2"]).await;
    let with = |policy: ResetPolicy, read_id| ReadPartition {
        reset_policy: policy.into(),
        ..partition("t", number(9), read_id)
    };
    let mut reading = Reading::of(&fixture, vec![with(ResetPolicy::Latest, 1)]).await;
    assert_eq!(reading.next().await.next_number, 3);
    reading.add(with(ResetPolicy::Earliest, 2));
    assert_eq!(reading.next().await.next_number, 1);
    assert_eq!(numbers(&reading.news().await.messages), [1, 2]);
}

#[tokio::test]
async fn eviction_that_overtakes_one_leaves_the_others_alone() {
    let hands = Hands::default();
    let fixture = Fixture::with(|config| config.clock = Arc::new(hands.clone())).await;
    let text = "x".repeat(1 << 20);
    for topic in ["failing", "earliest"] {
        for _ in 0..20 {
            fixture.produce(topic, &[&text]).await;
        }
    }
    let earliest =
        ReadPartition { reset_policy: ResetPolicy::Earliest.into(), ..partition("earliest", None, 2) };
    let mut reading = Reading::of(&fixture, vec![partition("failing", None, 1), earliest]).await;
    reading.news().await;
    hands.outlive(&fixture).await;
    fixture.produce("failing", &["last"]).await;
    fixture.produce("earliest", &["last"]).await;
    let mut seen = HashMap::new();
    while seen.len() < 2 {
        let reply = reading.news().await;
        if reply.error.is_some() {
            assert_eq!((reason(&reply), reply.read_id), ("NUMBER_OUT_OF_RANGE", 1));
            seen.insert(reply.topic, 0);
        } else if let Some(last) = reply.messages.iter().find(|message| message.number == 21) {
            assert_eq!(reply.topic, "earliest");
            seen.insert(reply.topic, last.number);
        }
    }
    // The one that failed is not read any more.
    fixture.produce("failing", &["more"]).await;
    fixture.produce("earliest", &["more"]).await;
    assert_eq!(reading.next().await.topic, "earliest");
}

#[tokio::test]
async fn it_survives_topics_and_ends_with_the_server() {
    let fixture = Fixture::memory().await;
    fixture.produce("doomed", &["a"]).await;
    fixture.produce("kept", &["a"]).await;
    let add = vec![partition("doomed", None, 1), partition("kept", None, 2)];
    let mut reading = Reading::of(&fixture, add).await;
    let mut without_partitions = Reading::of(&fixture, Vec::new()).await;
    reading.news().await;
    reading.news().await;
    fixture.server.broker().delete_topic("doomed").await.unwrap();
    let reply = reading.next().await;
    assert_eq!((reason(&reply), reply.topic.as_str()), ("TOPIC_NOT_FOUND", "doomed"));
    fixture.produce("kept", &["b"]).await;
    assert_eq!(values(&reading.next().await.messages), ["b"]);
    let Fixture { server, .. } = fixture;
    let stopped = tokio::spawn(server.stop());
    for reading in [&mut reading, &mut without_partitions] {
        let status = reading.end().await.unwrap_err();
        assert_eq!(why(&status), (Code::Unavailable, "STOPPING".to_owned()));
    }
    soon(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_without_partitions_and_requests_ends_well() {
    let fixture = Fixture::memory().await;
    fixture.produce("t", &["a"]).await;
    let mut reading = Reading::of(&fixture, vec![partition("t", None, 1)]).await;
    reading.news().await;
    reading.remove("t");
    drop(reading.requests);
    assert!(soon(reading.replies.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_thousand_idle_partitions_wake_only_for_what_is_written() {
    let fixture = Fixture::memory().await;
    let topics: Vec<_> = (0..1000).map(|i| format!("t{i}")).collect();
    for topic in &topics {
        fixture.server.broker().create_topic(topic, 1).await.unwrap();
    }
    let add = topics.iter().map(|topic| partition(topic, None, 0)).collect();
    let mut reading = Reading::of(&fixture, add).await;
    for topic in &topics {
        assert_eq!(&reading.next().await.topic, topic);
    }
    for topic in ["t3", "t999", "t500", "t3"] {
        fixture.produce(topic, &[topic]).await;
        let reply = reading.next().await;
        assert_eq!((reply.topic.as_str(), values(&reply.messages)), (topic, vec![topic]));
    }
}
