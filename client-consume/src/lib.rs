//! The consumers of MiniKafka: messages out, in order, from any position, alone or in a group.
//!
//! ```
//! use std::time::Duration;
//!
//! use minikafka_client_consume::{Consumer, Position};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! # let producer = minikafka_client_produce::Producer::connect(host, "greetings").await?;
//! # producer.send("hello").await?;
//! let mut consumer = Consumer::subscribe(host, "greetings").await?;
//! let messages = consumer.poll(Duration::from_secs(1)).await?;
//! assert_eq!(messages[0].number, 1);
//! assert_eq!(messages[0].value.as_deref(), Some(&b"hello"[..]));
//! assert_eq!(consumer.position("greetings", 0), Some(2));
//!
//! consumer.seek("greetings", 0, Position::Number(1))?; // all over again
//! # assert_eq!(consumer.poll(Duration::from_secs(1)).await?.len(), 1);
//! # drop((producer, consumer));
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or as a stream, which waits for what is not written yet:
//!
//! ```
//! use minikafka_client_consume::Consumer;
//! use tokio_stream::StreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! # let producer = minikafka_client_produce::Producer::connect(host, "greetings").await?;
//! # producer.send("hello").await?;
//! let mut messages = Consumer::subscribe(host, "greetings").await?.into_stream();
//! while let Some(message) = messages.next().await {
//!     println!("{:?}", message?.value);
//! #   break;
//! }
//! # drop((producer, messages));
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Several partitions, several topics
//!
//! A consumer reads all partitions of its topics, also those that they get later. Messages of one partition come in
//! order; a [`Message`] says where it comes from; partitions that are behind take turns.
//! [`ConsumerBuilder::partition`] chooses. Each partition has a position of its own:
//!
//! ```text
//!   1     start          position            end
//!   | evicted |  read before  |  read next ... |  not written yet
//! ```
//!
//! The position is the number of the next message. It advances over what [`Consumer::poll`] returns and
//! nothing else; on every error it is unchanged. When eviction overtakes it, or it lies beyond the end, the
//! [`ResetPolicy`] decides, and [`Consumer::take_jump`] tells.
//!
//! # Lost partitions
//!
//! A partition whose log the server's disk has lost is out of service until an operator restores it. That stops nobody:
//! [`Consumer::poll`] and the streams say it once for each such partition, with [`ConsumeError::PartitionLost`], and go
//! on with the others. The partition is asked for again whenever a stream is opened, and else after pauses that grow from
//! 1 s to 32 s; once it is there it is read from the position on, or from the end that it has then if that is where to
//! start. [`Consumer::lost_partitions`] tells which are lost now.
//! Only when all partitions are, there is nothing to [`subscribe`](ConsumerBuilder::subscribe) to, and that fails.
//!
//! # Groups
//!
//! Members of a group share the partitions, and the server keeps the positions:
//!
//! ```
//! use std::time::Duration;
//!
//! use minikafka_client_consume::{GroupConsumer, Position};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! # let producer = minikafka_client_produce::Producer::connect(host, "orders").await?;
//! # producer.send("an order").await?;
//! let builder = GroupConsumer::builder(host, "billing").subscribe("orders").start(Position::Earliest);
//! let mut consumer = builder.join_consumer_group().await?;
//! for message in consumer.poll(Duration::from_secs(10)).await? {
//!     println!("{} {} {:?}", message.partition, message.number, message.value);
//! #   assert_eq!(message.number, 1);
//! }
//! // What the last poll returned counts as done now, and is committed. Whoever joins next goes on from there.
//! consumer.leave_consumer_group().await?;
//! # drop(producer);
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Or by hand, with a word to whoever reads on:
//!
//! ```
//! # use std::time::Duration;
//! # use minikafka_client_consume::{GroupConsumer, Position, PositionToCommit, TopicPartition};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! # let producer = minikafka_client_produce::Producer::connect(host, "orders").await?;
//! # producer.send("an order").await?;
//! # let builder = GroupConsumer::builder(host, "billing").subscribe("orders").start(Position::Earliest);
//! let mut consumer = builder.commit_by_hand().join_consumer_group().await?;
//! while let Some(message) = consumer.poll(Duration::from_secs(10)).await?.pop() {
//!     // ... store what came of the messages, and then:
//!     let of = TopicPartition::new(message.topic, message.partition);
//!     let metadata = "stored in row 17".to_owned();
//!     consumer.commit_positions([PositionToCommit { of, number: message.number + 1, metadata }]).await?;
//! #   break;
//! }
//! // Whoever reads on finds it there.
//! let of = TopicPartition::new("orders", 0);
//! let committed = consumer.committed(&[of.clone()]).await?;
//! assert_eq!((committed[&of].number, &*committed[&of].metadata), (2, "stored in row 17"));
//! # consumer.leave_consumer_group().await?;
//! # drop(producer);
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A partition moves to another member while this one polls, which then has polled messages that it has not committed yet.
//! With a [`RebalanceListener`] it commits them before the other one begins, and nothing comes twice:
//!
//! ```
//! # use std::time::Duration;
//! # use minikafka_client_consume::{GroupConsumer, Position};
//! use minikafka_client_consume::{RebalanceListener, Revocation, TopicPartition};
//!
//! struct Committing;
//!
//! impl RebalanceListener for Committing {
//!     async fn on_revoked(&self, revocation: Revocation) {
//!         // ... wait for what is still being worked on, and then:
//!         if let Err(error) = revocation.commit().await {
//!             eprintln!("what was polled comes again: {error}");
//!         }
//!     }
//!
//!     fn on_lost(&self, partitions: &[TopicPartition]) {
//!         eprintln!("others have {partitions:?}, too late to commit");
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! # let producer = minikafka_client_produce::Producer::connect(host, "orders").await?;
//! # producer.send("an order").await?;
//! let builder = GroupConsumer::builder(host, "billing").subscribe("orders").start(Position::Earliest);
//! let mut consumer = builder.commit_by_hand().rebalance_listener(Committing).join_consumer_group().await?;
//! let messages = consumer.poll(Duration::from_secs(10)).await?;
//! # assert_eq!(messages.len(), 1);
//! // To leave is to give up everything: it is committed.
//! consumer.leave_consumer_group().await?;
//! # let builder = GroupConsumer::builder(host, "billing").subscribe("orders").commit_by_hand();
//! # let mut heir = builder.join_consumer_group().await?;
//! # let of = TopicPartition::new("orders", 0);
//! # assert_eq!(heir.committed(&[of.clone()]).await?[&of].number, 2);
//! # heir.leave_consumer_group().await?;
//! # drop(producer);
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! One stream brings record batches of all partitions as they are stored. They are checked against their checksums,
//! decompressed if their producer has compressed them, and cut into messages, about 1 MiB at a time: what is
//! not compressed shares the bytes of the reply. When the stream breaks, the next one is opened at the
//! positions, after pauses that grow from 50 ms to 2 s. A member of a group has a second stream on the same connection,
//! on which a background task shows that it lives. Each stream has a window of its own for what is not taken yet, so
//! that neither large messages nor a slow caller hold that up.

mod builder;
mod consumer;
mod discovery;
mod error;
mod group;
mod link;
mod lost;
mod message;
mod messages;
mod position;
mod reader;
mod reads;
mod topic_partition;

pub use builder::ConsumerBuilder;
pub use consumer::Consumer;
pub use error::ConsumeError;
pub use group::{
    CommittedPosition, GroupConsumer, GroupConsumerBuilder, PositionToCommit, RebalanceListener, Revocation,
};
pub use message::Message;
pub use messages::Messages;
pub use minikafka_client_connection::{Address, AddressError};
pub use minikafka_record::Header;
pub use position::{MissingTopic, Position, ResetPolicy};
pub use reader::Jump;
pub use topic_partition::TopicPartition;
