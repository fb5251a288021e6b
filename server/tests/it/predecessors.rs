//! What two smaller systems promise of partitions, keys and groups, and where they break their promises: all of it must
//! be right here, for users who come from there. As the client libraries see it; one test for each promise.
//!
//! Elsewhere: that a topic is created once only is `topics::a_topic_lives_and_dies`. Their clusters, shells and wire
//! formats are not of this server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use minikafka_broker::{AutoCreate, BrokerConfig};
use minikafka_client_consume::{
    ConsumeError, Consumer, GroupConsumer, GroupConsumerBuilder, Message, Position,
};
use minikafka_client_produce::{Message as Draft, Producer};
use minikafka_proto::v1::{CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest};
use minikafka_record::partition_of_key;
use minikafka_server::Server;
use minikafka_storage::filesystem::{FileStorage, Options};

use crate::support::{Fixture, poll, soon, topic_dirs};

/// How long a poll waits that need not find anything.
const A_MOMENT: Duration = Duration::from_millis(20);

/// A session that outlives every pause of a busy machine.
const NOBODY_DIES: Duration = Duration::from_secs(60);

/// Where a message is: topic, partition and number.
type Place = (String, u32, u64);

/// Messages by their places, each as often as it came.
#[derive(Debug, Default)]
struct Seen(BTreeMap<Place, usize>);

impl Seen {
    fn add(&mut self, messages: &[Message]) {
        for it in messages {
            *self.0.entry((it.topic.to_string(), it.partition, it.number)).or_default() += 1;
        }
    }

    fn is_all_of(&self, topic: &str, counts: &[u64]) -> bool {
        let has = |(partition, number)| self.0.contains_key(&(topic.to_owned(), partition, number));
        let partitions = (0..).zip(counts);
        partitions.flat_map(|(partition, count)| (1..=*count).map(move |number| (partition, number))).all(has)
    }

    fn again(&self) -> usize {
        self.0.values().filter(|times| **times > 1).count()
    }
}

async fn create(fixture: &Fixture, topic: &str, partitions: u32) {
    let request = CreateTopicRequest { topic: topic.into(), partitions, settings: None };
    fixture.v1.clone().create_topic(request).await.unwrap();
}

fn host(fixture: &Fixture) -> String {
    fixture.server.local_addr().to_string()
}

/// Produces one message to each of these partitions.
async fn produce_to_each(fixture: &Fixture, topic: &str, partitions: std::ops::Range<u32>) {
    let producer = Producer::connect(&host(fixture), topic).await.unwrap();
    for partition in partitions {
        producer.enqueue(Draft::new("x").partition(partition)).await.unwrap();
    }
    producer.close().await.unwrap();
}

fn member(fixture: &Fixture, group: &str, topic: &str) -> GroupConsumerBuilder {
    GroupConsumer::builder(&host(fixture), group)
        .subscribe(topic)
        .start(Position::Earliest)
        .session_timeout(NOBODY_DIES)
}

/// Polls members in turn until it is as wished.
async fn until(
    members: &mut [&mut GroupConsumer],
    seen: &mut Seen,
    is_as_wished: impl Fn(&[&mut GroupConsumer], &Seen) -> bool,
) {
    let polling = async {
        while !is_as_wished(members, seen) {
            for member in members.iter_mut() {
                seen.add(&member.poll(A_MOMENT).await.unwrap());
            }
        }
    };
    soon(polling).await;
}

fn shares(members: &[&mut GroupConsumer]) -> Vec<usize> {
    let mut shares: Vec<_> = members.iter().map(|member| member.partitions().count()).collect();
    shares.sort_unstable();
    shares
}

/// Whether each partition has exactly one of the members, with as many for each as there can be.
fn are_even(members: &[&mut GroupConsumer], partitions: usize) -> bool {
    let shares = shares(members);
    let all: BTreeSet<_> = members.iter().flat_map(|member| member.partitions()).collect();
    shares.iter().sum::<usize>() == partitions
        && all.len() == partitions
        && shares.last().unwrap() - shares.first().unwrap() <= 1
}

mod franz {
    use super::*;

    /// A producer and a topic: added, sent to, removed.
    #[tokio::test]
    async fn topics_are_added_sent_to_and_removed() {
        let config = BrokerConfig { auto_create: AutoCreate::Disabled, ..BrokerConfig::default() };
        let fixture = Fixture::start(Server::builder().memory().broker(config)).await;
        let producer = Producer::connect(&host(&fixture), "t").await.unwrap();
        producer.send("nobody has added it").await.unwrap_err();
        create(&fixture, "t", 1).await;
        assert_eq!(producer.send("a").await.unwrap(), 1);
        fixture.v1.clone().delete_topic(DeleteTopicRequest { topic: "t".into() }).await.unwrap();
        producer.send("it is removed").await.unwrap_err();
    }

    #[tokio::test]
    async fn a_message_reaches_one_member_of_each_group() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 4).await;
        let mut one = member(&fixture, "g", "t").join_consumer_group().await.unwrap();
        let mut two = member(&fixture, "g", "t").join_consumer_group().await.unwrap();
        let mut seen = Seen::default();
        until(&mut [&mut one, &mut two], &mut seen, |members, _| are_even(members, 4)).await;
        for _ in 0..10 {
            produce_to_each(&fixture, "t", 0..4).await;
        }
        until(&mut [&mut one, &mut two], &mut seen, |_, seen| seen.is_all_of("t", &[10; 4])).await;
        assert_eq!(seen.again(), 0, "{seen:?}");
        let mut other = member(&fixture, "another", "t").join_consumer_group().await.unwrap();
        until(&mut [&mut other], &mut Seen::default(), |_, seen| seen.is_all_of("t", &[10; 4])).await;
    }

    #[tokio::test]
    async fn a_new_group_starts_at_the_end_unless_told_otherwise() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 1).await;
        produce_to_each(&fixture, "t", 0..1).await;
        let told_nothing = GroupConsumer::builder(&host(&fixture), "new").subscribe("t");
        let mut new = told_nothing.join_consumer_group().await.unwrap();
        let mut told = member(&fixture, "told", "t").join_consumer_group().await.unwrap();
        let mut seen = Seen::default();
        until(&mut [&mut new], &mut seen, |members, _| members[0].position("t", 0) == Some(2)).await;
        produce_to_each(&fixture, "t", 0..1).await;
        until(&mut [&mut new], &mut seen, |_, seen| seen.0.contains_key(&("t".into(), 0, 2))).await;
        assert_eq!(seen.0.len(), 1, "{seen:?}");
        until(&mut [&mut told], &mut Seen::default(), |_, seen| seen.is_all_of("t", &[2])).await;
    }

    #[tokio::test]
    async fn members_subscribe_and_unsubscribe_as_they_like() {
        let fixture = Fixture::memory().await;
        for topic in ["a", "b"] {
            create(&fixture, topic, 1).await;
            produce_to_each(&fixture, topic, 0..1).await;
        }
        let mut one = member(&fixture, "g", "a").join_consumer_group().await.unwrap();
        let mut seen = Seen::default();
        until(&mut [&mut one], &mut seen, |_, seen| seen.is_all_of("a", &[1])).await;
        one.subscribe("b");
        one.unsubscribe("a");
        until(&mut [&mut one], &mut seen, |_, seen| seen.is_all_of("b", &[1])).await;
        produce_to_each(&fixture, "a", 0..1).await;
        produce_to_each(&fixture, "b", 0..1).await;
        until(&mut [&mut one], &mut seen, |_, seen| seen.is_all_of("b", &[2])).await;
        assert!(!seen.is_all_of("a", &[2]), "{seen:?}");
        one.subscribe("a");
        until(&mut [&mut one], &mut seen, |_, seen| seen.is_all_of("a", &[2])).await;
        assert_eq!(seen.again(), 0, "{seen:?}");
    }

    /// There, all of them went to one.
    #[tokio::test]
    async fn partitions_are_spread_evenly_over_members_that_come_and_go() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 12).await;
        let mut members = Vec::new();
        let mut seen = Seen::default();
        for _ in 1..=5 {
            members.push(member(&fixture, "g", "t").join_consumer_group().await.unwrap());
            let mut members: Vec<_> = members.iter_mut().collect();
            until(&mut members, &mut seen, |members, _| are_even(members, 12)).await;
        }
        while members.len() > 1 {
            members.remove(0).leave_consumer_group().await.unwrap();
            let mut members: Vec<_> = members.iter_mut().collect();
            until(&mut members, &mut seen, |members, _| are_even(members, 12)).await;
        }
    }

    /// In large: `under_fire` in the tests of the consumer.
    #[tokio::test]
    async fn members_that_join_leave_or_die_lose_and_skip_no_message() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 4).await;
        let builder = member(&fixture, "g", "t");
        let join = || builder.clone().join_consumer_group();
        let mut seen = Seen::default();
        let mut first = join().await.unwrap();
        produce_to_each(&fixture, "t", 0..4).await;
        until(&mut [&mut first], &mut seen, |_, seen| seen.is_all_of("t", &[1; 4])).await;
        // One joins, without waiting until it has its share.
        let mut second = join().await.unwrap();
        produce_to_each(&fixture, "t", 0..4).await;
        until(&mut [&mut first, &mut second], &mut seen, |members, seen| {
            seen.is_all_of("t", &[2; 4]) && are_even(members, 4)
        })
        .await;
        // One leaves.
        first.leave_consumer_group().await.unwrap();
        produce_to_each(&fixture, "t", 0..4).await;
        until(&mut [&mut second], &mut seen, |_, seen| seen.is_all_of("t", &[3; 4])).await;
        assert_eq!(seen.again(), 0, "nobody has died yet: {seen:?}");
        // One dies, with messages that it has not committed, if it comes to that.
        let soon_dead = builder.clone().commit_by_hand().session_timeout(Duration::from_secs(1));
        let mut third = soon_dead.join_consumer_group().await.unwrap();
        let (mut lost, mut count) = (Seen::default(), 3);
        let polling = async {
            while lost.0.is_empty() {
                produce_to_each(&fixture, "t", 0..4).await;
                count += 1;
                seen.add(&second.poll(A_MOMENT).await.unwrap());
                // A busy machine may have let it die already.
                lost.add(&third.poll(A_MOMENT).await.unwrap_or_default());
            }
        };
        soon(polling).await;
        drop(third);
        until(&mut [&mut second], &mut seen, |members, seen| {
            seen.is_all_of("t", &[count; 4]) && are_even(members, 4)
        })
        .await;
    }

    /// There, a "-" in a name was taken for the end of it.
    #[tokio::test]
    async fn names_may_have_hyphens_spaces_and_letters_of_the_world() {
        let root = tempfile::tempdir().unwrap();
        // "t-1" is not partition 1 of "t".
        let names = ["t", "t-1", "t-1-0", "a topic of 3 words", "größe", "メッセージ", "100%25"];
        let partitions = |name: &str| if name == "t" { 2 } else { 1 };
        let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
        for name in names {
            create(&fixture, name, partitions(name)).await;
            produce_to_each(&fixture, name, 0..partitions(name)).await;
            let mut one = member(&fixture, name, name).join_consumer_group().await.unwrap();
            let counts = vec![1; partitions(name) as usize];
            let mut seen = Seen::default();
            until(&mut [&mut one], &mut seen, |_, seen| seen.is_all_of(name, &counts)).await;
            assert_eq!(seen.0.len(), counts.len(), "{name}: nothing of others: {seen:?}");
            one.leave_consumer_group().await.unwrap();
        }
        fixture.stop().await;
        let fixture = Fixture::start(Server::builder().filesystem(root.path())).await;
        for name in names {
            produce_to_each(&fixture, name, 0..1).await;
            let mut one = member(&fixture, name, name).join_consumer_group().await.unwrap();
            let mut seen = Seen::default();
            let second = (name.to_owned(), 0, 2);
            until(&mut [&mut one], &mut seen, |_, seen| seen.0.contains_key(&second)).await;
            assert_eq!(seen.0.len(), 1, "{name}: it goes on where it was: {seen:?}");
            one.leave_consumer_group().await.unwrap();
        }
        fixture.stop().await;
    }

    /// There, several that came at once were one.
    #[tokio::test]
    async fn messages_keep_their_boundaries() {
        let fixture = Fixture::memory().await;
        let large = "x".repeat(100_000);
        let values = ["a", "", "two\nlines\r\n", "\0", "{\"Value\": \"a\"}", " ", &large, "größe", "a"];
        let producer = Producer::connect(&host(&fixture), "t").await.unwrap();
        for value in values {
            producer.enqueue(value).await.unwrap();
        }
        producer.close().await.unwrap();
        let mut one = member(&fixture, "g", "t").join_consumer_group().await.unwrap();
        let mut read = Vec::new();
        while read.len() < values.len() {
            read.extend(soon(one.poll(Duration::from_secs(10))).await.unwrap());
        }
        assert!(read.iter().map(|message| message.value.as_deref().unwrap()).eq(values.map(str::as_bytes)));
    }
}

mod kafkaesque {
    use super::*;

    #[tokio::test]
    async fn a_topic_has_one_partition_unless_told_otherwise() {
        let fixture = Fixture::memory().await;
        create(&fixture, "told nothing", 0).await;
        create(&fixture, "told", 3).await;
        fixture.produce("made by its first message", &["x"]).await;
        for (topic, partitions) in [("told nothing", 1), ("told", 3), ("made by its first message", 1)] {
            let request = DescribeTopicRequest { topic: topic.into(), ..DescribeTopicRequest::default() };
            let described = fixture.v1.clone().describe_topic(request).await.unwrap().into_inner();
            assert_eq!(described.partitions.len(), partitions, "{topic}");
        }
    }

    #[tokio::test]
    async fn a_message_has_a_header_a_key_and_a_body() {
        let fixture = Fixture::memory().await;
        let producer = Producer::connect(&host(&fixture), "t").await.unwrap();
        producer.send(Draft::new("body").key("key").header("Header", "say \"hi\", twice")).await.unwrap();
        let mut consumer = Consumer::subscribe(&host(&fixture), "t").await.unwrap();
        let message = soon(consumer.poll(Duration::from_secs(10))).await.unwrap().remove(0);
        assert_eq!(
            (message.key.as_deref(), message.value.as_deref()),
            (Some(&b"key"[..]), Some(&b"body"[..]))
        );
        let header = &message.headers[0];
        let value = header.value.as_deref().unwrap();
        assert_eq!((&*header.name, value), (&b"Header"[..], &b"say \"hi\", twice"[..]));
    }

    /// Who produces one by one, and who leaves it to the server.
    #[tokio::test]
    async fn a_key_decides_by_its_hash_and_without_one_partitions_take_turns() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 5).await;
        let producer = Producer::connect(&host(&fixture), "t").await.unwrap();
        let (mut of_keys, mut turns) = (BTreeMap::<String, BTreeSet<u32>>::new(), Vec::new());
        for i in 0..40 {
            let key = format!("key {}", i % 8);
            let receipt = producer.enqueue(Draft::new("x").key(key.clone())).await.unwrap();
            of_keys.entry(key).or_default().insert(receipt.partition());
            receipt.await.unwrap();
        }
        for (key, partitions) in of_keys {
            assert_eq!(partitions, BTreeSet::from([partition_of_key(key.as_bytes(), 5)]), "{key}");
        }
        for _ in 0..10 {
            let receipt = producer.enqueue("x").await.unwrap();
            turns.push(receipt.partition());
            receipt.await.unwrap();
        }
        let expected: Vec<u32> = (0..10).map(|turn| (turns[0] + turn) % 5).collect();
        assert_eq!(turns, expected);
    }

    #[tokio::test]
    async fn partitions_of_a_group_are_exclusive_and_who_finds_none_left_waits_for_one() {
        let fixture = Fixture::memory().await;
        create(&fixture, "t", 2).await;
        let join = || member(&fixture, "g", "t").join_consumer_group();
        let (mut one, mut two) = (join().await.unwrap(), join().await.unwrap());
        let mut seen = Seen::default();
        until(&mut [&mut one, &mut two], &mut seen, |members, _| are_even(members, 2)).await;
        let mut late = join().await.unwrap();
        for round in 1..=3 {
            produce_to_each(&fixture, "t", 0..2).await;
            let mut members = [&mut one, &mut two, &mut late];
            until(&mut members, &mut seen, |_, seen| seen.is_all_of("t", &[round; 2])).await;
            assert_eq!(shares(&members), [0, 1, 1]);
        }
        assert_eq!(late.partitions().count(), 0, "none is left, and nobody loses one for it");
        assert!(!late.member_id().is_empty(), "it is a member all the same");
        one.leave_consumer_group().await.unwrap();
        until(&mut [&mut two, &mut late], &mut seen, |members, _| are_even(members, 2)).await;
        produce_to_each(&fixture, "t", 0..2).await;
        until(&mut [&mut two, &mut late], &mut seen, |_, seen| seen.is_all_of("t", &[4; 2])).await;
        assert_eq!(seen.again(), 0, "{seen:?}");
    }

    /// A storage with small segments, and without a journal, so that what is acknowledged is in them.
    fn small_segments(root: &std::path::Path) -> Arc<FileStorage> {
        let options = Options { segment_bytes: 4096, journal_bytes: 0, ..Options::default() };
        Arc::new(FileStorage::open(root, options).expect("the storage opens"))
    }

    #[tokio::test]
    async fn an_offset_is_read_from_to_the_end_over_all_segments_of_a_partition() {
        let root = tempfile::tempdir().unwrap();
        let fixture = Fixture::start(Server::builder().storage(small_segments(root.path()))).await;
        create(&fixture, "t", 3).await;
        let producer = Producer::builder(&host(&fixture), "t").partition(1).connect().await.unwrap();
        let body = |number: u64| format!("{number} {}", "x".repeat(1000));
        for number in 1..=40 {
            producer.send(body(number)).await.unwrap();
        }
        producer.close().await.unwrap();
        // A directory for each partition, with segments rolled by size, each with its index.
        let mut directories = topic_dirs(root.path());
        directories.sort();
        let name = |at: usize| directories[at].file_name().unwrap().to_string_lossy().into_owned();
        assert!((0..3).all(|partition| name(partition).starts_with(&format!("t-{partition}."))));
        let files = std::fs::read_dir(&directories[1]).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let count = |end: &str| files.iter().filter(|file| file.ends_with(end)).count();
        assert!(count(".log") >= 10 && count(".index") >= count(".log") - 1, "{files:?}");

        for from in [1, 2, 17, 40] {
            let builder = Consumer::builder(&host(&fixture), "t").partition(1).from(Position::Number(from));
            let mut consumer = builder.subscribe().await.unwrap();
            let mut read = Vec::new();
            while read.last().is_none_or(|last: &Message| last.number < 40) {
                read.extend(soon(consumer.poll(Duration::from_secs(10))).await.unwrap());
            }
            assert!(read.iter().map(|message| message.number).eq(from..=40), "from {from}");
            let is_it = |it: &Message| it.value.as_deref() == Some(body(it.number).as_bytes());
            assert!(read.iter().all(is_it));
        }
        fixture.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error_and_the_connection_goes_on() {
        let config = BrokerConfig { auto_create: AutoCreate::Disabled, ..BrokerConfig::default() };
        let fixture = Fixture::start(Server::builder().memory().broker(config)).await;
        create(&fixture, "t", 1).await;
        let producer = Producer::connect(&host(&fixture), "t").await.unwrap();
        soon(producer.send(Draft::new("x").partition(7))).await.unwrap_err();
        let nobody = Producer::connect(&host(&fixture), "nobody").await.unwrap();
        soon(nobody.send("x")).await.unwrap_err();
        soon(fixture.poll(poll("nobody", None))).await.unwrap_err();
        for builder in [
            Consumer::builder(&host(&fixture), "t").partition(7),
            Consumer::builder(&host(&fixture), "nobody"),
        ] {
            let error = soon(builder.subscribe()).await.unwrap_err();
            assert!(matches!(error, ConsumeError::NotFound { .. }), "{error}");
        }
        assert_eq!(soon(producer.send("y")).await.unwrap(), 1, "nothing was stored");
        assert_eq!(soon(fixture.poll(poll("t", None))).await.unwrap().messages.len(), 1);
    }
}
