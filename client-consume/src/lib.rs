//! The consumer of MiniKafka: messages out, in order, from any position.
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
//! assert_eq!(consumer.position(), Some(2));
//!
//! consumer.seek(Position::Number(1)); // all over again
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
//! # Positions
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
//! # How it works
//!
//! One server stream brings record batches as they are stored. They are checked against their checksums,
//! decompressed if their producer has compressed them, and cut into messages, about 1 MiB at a time: what is
//! not compressed shares the bytes of the reply. When the stream breaks, the next one is opened at the
//! position, after pauses that grow from 50 ms to 2 s.

mod consumer;
mod error;
mod link;
mod message;
mod messages;
mod position;
mod reader;

pub use consumer::{Consumer, ConsumerBuilder};
pub use error::ConsumeError;
pub use message::Message;
pub use messages::Messages;
pub use minikafka_client_connection::{Address, AddressError};
pub use minikafka_record::Header;
pub use position::{MissingTopic, Position, ResetPolicy};
pub use reader::Jump;
