//! Partitions that the server's disk has lost, beside others.

use std::{fs, net::SocketAddr, path::Path};

use minikafka_client_consume::{ConsumeError, Consumer, GroupConsumer, Message, Position, TopicPartition};
use minikafka_server::Server;
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    fake::{Fake, Script, Then, reply},
    reading::{LONG, numbers},
    setup::{A_MOMENT, Rig, Seen},
};

async fn start(root: &Path, addr: &str) -> Rig {
    Rig::of(Server::builder().filesystem(root).start(addr).await.unwrap()).await
}

/// Takes the logs of these partitions of topic q away, to a place beside.
fn lose(root: &Path, partitions: &[u32]) {
    move_logs(&root.join("logs"), &root.join("aside"), partitions);
}

/// Puts them back.
fn mend(root: &Path, partitions: &[u32]) {
    move_logs(&root.join("aside"), &root.join("logs"), partitions);
}

fn move_logs(from: &Path, to: &Path, partitions: &[u32]) {
    fs::create_dir_all(to).unwrap();
    for partition in partitions {
        let prefix = format!("q-{partition}.");
        let mut logs = fs::read_dir(from).unwrap().map(|log| log.unwrap().file_name());
        let log = logs.find(|name| name.to_string_lossy().starts_with(&prefix)).unwrap();
        fs::rename(from.join(&log), to.join(&log)).unwrap();
    }
}

/// A server that has lost these of the three partitions of topic q, each with five messages.
async fn with_lost(partitions: &[u32]) -> (TempDir, Rig) {
    let root = tempfile::tempdir().unwrap();
    let rig = start(root.path(), "127.0.0.1:0").await;
    rig.create("q", 3).await;
    for partition in 0..3 {
        rig.produce("q", partition, 1..=5).await;
    }
    rig.server.stop().await.unwrap();
    lose(root.path(), partitions);
    let rig = start(root.path(), "127.0.0.1:0").await;
    (root, rig)
}

/// Which partition an error says is lost.
fn lost(error: &ConsumeError) -> u32 {
    let ConsumeError::PartitionLost { of, message } = error else { panic!("{error}") };
    assert!(error.is_retryable());
    assert!(message.contains(&format!("topic \"q\" partition {}", of.partition)), "{message}");
    of.partition
}

/// What was read, and which partitions were said to be lost.
#[derive(Debug, Default)]
struct Heard {
    seen: Seen,
    lost: Vec<u32>,
}

impl Heard {
    fn take(&mut self, polled: Result<Vec<Message>, ConsumeError>) {
        match polled {
            Ok(messages) => self.seen.add(&messages),
            Err(error) => self.lost.push(lost(&error)),
        }
    }

    fn is_all(&self, messages: usize, lost: usize) -> bool {
        self.seen.count() >= messages && self.lost.len() >= lost
    }
}

#[tokio::test]
async fn a_lost_partition_is_said_once_and_the_others_are_read() {
    let (_root, rig) = with_lost(&[1]).await;
    for from in [Position::Earliest, Position::Timestamp(0)] {
        let mut consumer = Consumer::builder(&rig.host(), "q").from(from).subscribe().await.unwrap();
        let mut heard = Heard::default();
        while !heard.is_all(10, 1) {
            heard.take(consumer.poll(LONG).await);
        }
        heard.take(consumer.poll(A_MOMENT).await);
        assert_eq!((heard.lost, heard.seen.count()), (vec![1], 10));
        assert!(consumer.lost_partitions().eq([&TopicPartition::new("q", 1)]));
        assert_eq!((consumer.range("q", 1), consumer.range("q", 2)), (None, Some(1..6)));
    }
    // Also what comes then.
    let mut consumer = Consumer::builder(&rig.host(), "q").from(Position::Latest).subscribe().await.unwrap();
    rig.produce("q", 2, 6..=6).await;
    let mut heard = Heard::default();
    while !heard.is_all(1, 1) {
        heard.take(consumer.poll(LONG).await);
    }
}

#[tokio::test]
async fn a_stream_says_it_and_does_not_end() {
    let (_root, rig) = with_lost(&[0, 2]).await;
    let mut stream = Consumer::subscribe(&rig.host(), "q").await.unwrap().into_stream();
    let mut heard = Heard::default();
    while !heard.is_all(5, 2) {
        heard.take(stream.next().await.unwrap().map(|message| vec![message]));
    }
    heard.lost.sort_unstable();
    assert_eq!((heard.lost, heard.seen.count()), (vec![0, 2], 5));
    rig.produce("q", 1, 6..=6).await;
    assert_eq!(stream.next().await.unwrap().unwrap().number, 6);
}

#[tokio::test]
async fn a_member_keeps_its_lost_partition_and_reads_the_others() {
    let (_root, rig) = with_lost(&[1]).await;
    for start in [Position::Earliest, Position::Latest] {
        let builder = GroupConsumer::builder(&rig.host(), &format!("{start:?}")).subscribe("q").start(start);
        let mut member = builder.join_consumer_group().await.unwrap();
        assert_eq!(lost(&member.settle(LONG).await.unwrap_err()), 1);
        assert!(member.settle(LONG).await.unwrap(), "there is nothing more to wait for");
        assert_eq!((member.partitions().count(), member.lost_partitions().count()), (3, 1));
        let mut heard = Heard::default();
        while start == Position::Earliest && !heard.is_all(10, 0) {
            heard.take(member.poll(LONG).await);
        }
        heard.take(member.poll(A_MOMENT).await);
        assert!(heard.lost.is_empty(), "said before");
        member.leave_consumer_group().await.unwrap();
    }
}

#[tokio::test]
async fn what_an_operator_has_mended_is_read() {
    let (root, rig) = with_lost(&[1]).await;
    let addr: SocketAddr = rig.server.local_addr();
    let mut consumer = Consumer::subscribe(&rig.host(), "q").await.unwrap();
    let mut heard = Heard::default();
    while !heard.is_all(10, 1) {
        heard.take(consumer.poll(LONG).await);
    }
    rig.server.stop().await.unwrap();
    mend(root.path(), &[1]);
    let _rig = start(root.path(), &addr.to_string()).await;
    while heard.seen.count() < 15 {
        match consumer.poll(LONG).await {
            Err(ConsumeError::Unreachable { .. }) => {}
            polled => heard.take(polled),
        }
    }
    assert_eq!((heard.lost, consumer.lost_partitions().count()), (vec![1], 0));
}

#[tokio::test]
async fn a_topic_of_which_all_is_lost_is_not_subscribed_to() {
    let (_root, rig) = with_lost(&[0, 1, 2]).await;
    lost(&Consumer::subscribe(&rig.host(), "q").await.unwrap_err());
    let only = Consumer::builder(&rig.host(), "q").partition(2).subscribe().await;
    assert_eq!(lost(&only.unwrap_err()), 2);
}

#[tokio::test]
async fn it_is_asked_for_again_and_said_no_more() {
    let gone = || Then::Refuse(Code::DataLoss, "DAMAGED", &[]);
    let mut other = reply([1..=2], 1..3);
    other.partition = 1;
    let fake = Fake::start([
        Script { replies: vec![other], then: gone() },
        Script { replies: vec![], then: gone() },
        Script { replies: vec![reply([1..=3], 1..4)], then: Then::Hang },
    ]);
    fake.set_partitions(2);
    let mut consumer = Consumer::subscribe(&fake.host(), "t").await.unwrap();
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [1, 2]);
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(matches!(error, ConsumeError::PartitionLost { .. }), "{error}");
    assert_eq!(numbers(&consumer.poll(LONG).await.unwrap()), [1, 2, 3]);
    assert_eq!(consumer.lost_partitions().count(), 0);
    let asked: Vec<_> = fake.requests().iter().map(|request| request.add.len()).collect();
    assert_eq!(asked, [2, 1, 1], "the other one is read on");
}
