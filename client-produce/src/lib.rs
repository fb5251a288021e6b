//! The producer of MiniKafka: messages in, batched and pipelined over one stream.
//!
//! ```
//! use minikafka_client_produce::{Message, Producer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = minikafka_server::Server::builder().memory().start("127.0.0.1:0").await?;
//! # let host = &server.local_addr().to_string();
//! let producer = Producer::connect(host, "greetings").await?;
//!
//! // One by one, each with its number:
//! assert_eq!(producer.send("hello").await?, 1);
//!
//! // Fast: enqueue, and ask once whether everything arrived.
//! for i in 0..1000 {
//!     producer.enqueue(Message::new(format!("message {i}")).key("k")).await?;
//! }
//! producer.close().await?;
//! # server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a send promises
//!
//! A message whose number came back is stored, as durably as the server promises. One that failed says in its
//! [`SendError`] whether it is not stored, or nobody knows:
//!
//! | what happens | what the producer does |
//! |---|---|
//! | no connection | tries again with growing pauses, until the delivery timeout of a message is over |
//! | the server refuses for good | the message fails; later ones go on |
//! | the server refuses for now (disk full) | sends again after the time that the server names; later messages that were under way may be stored before |
//! | the server finds a batch too large | sends its halves, down to single messages; likewise |
//! | a request is so large that the server ends the stream | likewise; what else was under way was not stored and goes out over the next connection |
//! | the server fails inside (its disk, for one) | the message fails with [`SendError::OutcomeUnknown`]; later ones go on |
//! | the server stops gracefully | what has no reply was not stored and goes out over the next connection |
//! | the stream breaks | what was written and has no reply fails with [`SendError::OutcomeUnknown`] and is not sent again; the rest goes out over the next connection |
//!
//! # How it works
//!
//! A caller encodes its message straight into the open record batch ([`minikafka_record`]). A background task
//! holds one bidirectional gRPC stream, which takes a batch whenever fewer than `in_flight_max` wait for
//! their replies. No timer holds messages back: an idle producer sends the first message at once, and what
//! comes until there is a reply forms the next batch. So batches are small when there is little to do and
//! large when there is much. Batches may be [compressed](ProducerBuilder::compression) on their way out.

mod batch;
mod error;
mod message;
mod outbound;
mod producer;
mod queue;
mod receipt;
mod settings;
mod state;
mod worker;

pub use error::{ConnectError, FlushError, Refusal, SendError};
pub use message::{Message, Payload};
pub use minikafka_client_connection::{Address, AddressError};
pub use minikafka_record::Compression;
pub use producer::{Producer, ProducerBuilder};
pub use receipt::Receipt;
