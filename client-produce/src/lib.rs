//! The producer of MiniKafka: messages in, batched and pipelined over one stream, each stored once.
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
//! # Where a message goes
//!
//! A topic has one or more partitions, each with an order and numbers of its own. A message with a key goes where the
//! hash of the key says, as with Kafka's clients; one without goes to the partition whose turn it is, batch by batch, among
//! those that are in service as far as the producer knows: it asks now and then, and learns it from a refusal;
//! [`Message::partition`] and [`ProducerBuilder::partition`] say otherwise. [`Receipt::partition`] tells.
//!
//! # What a send promises
//!
//! A message whose number came back is stored, once, as durably as the server promises. What one task sends to one
//! partition is stored in that order. A message that failed says in its [`SendError`] whether it is not stored, or nobody
//! knows:
//!
//! | what happens | what the producer does |
//! |---|---|
//! | no connection | tries again with growing pauses, until the delivery timeout of a message is over |
//! | the stream breaks, or the server is killed | sends what has no reply again, as it was: what was stored before is not stored again |
//! | the server stops gracefully | what has no reply was not stored and goes out over the next connection |
//! | the server refuses for good | the message fails; later ones go on, after those under way are answered |
//! | the server refuses for now (disk full) | sends again after the time that the server names, and what was behind it after it |
//! | the server finds a batch too large | sends its halves, down to single messages; likewise |
//! | a request is so large that the server ends the stream | likewise, over the next connection |
//! | the server fails inside (its disk, for one) | sends again until it is mended and restarted, which then knows whether it has the batch |
//! | the delivery timeout is over | what was sent and has no answer fails with [`SendError::OutcomeUnknown`]; what was not sent says why |
//! | the server remembers the producer no longer (its data is lost, or nothing was sent for a day) | what was sent and has no answer fails with [`SendError::OutcomeUnknown`]; the rest goes on under a new epoch |
//! | another producer has taken over its identity | what is refused for that fails; the rest goes on under a new identity |
//!
//! That is so while the producer [is idempotent](Producer::is_idempotent). Without it, by
//! [choice](ProducerBuilder::idempotent) or since the server is too old for it, a broken stream and a failure inside the
//! server leave the outcome of what was written unknown at once, and what comes back later may be overtaken by what was
//! under way behind it.
//!
//! # How it works
//!
//! A caller encodes its message straight into the open record batch of its partition ([`minikafka_record`]). A background
//! task holds one bidirectional gRPC stream for all of them, which takes a batch whenever fewer than `in_flight_max` wait
//! for their replies. No timer holds messages back: an idle producer sends the first message at once, and what
//! comes until there is a reply forms the next batch. So batches are small when there is little to do and
//! large when there is much. Batches may be [compressed](ProducerBuilder::compression) on their way out.
//!
//! The server gives the producer an identity. Each batch carries it, and the sequence of its first message among those of
//! its partition, since it is sent first: by them the server knows what it has. Where a batch has failed, its sequences
//! are missing; the producer then waits until nothing is under way to that partition, and begins again at 0 under the
//! next epoch of its identity.

mod batch;
mod errand;
mod error;
mod introduction;
mod lane;
mod message;
mod outbound;
mod partitioner;
mod positions;
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
