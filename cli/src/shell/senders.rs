//! [`Senders`], the producers of the topics that were sent to.

use std::{collections::HashMap, time::Duration};

use minikafka_client_produce::{Message, Producer};

use super::grammar::Sending;

/// Long enough for a server to restart; whoever types has given up by then.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Each has a connection, and an identity that the server remembers: they are kept, and not without end.
const PRODUCERS_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Senders {
    host: String,
    by_topic: HashMap<String, Producer>,
}

impl Senders {
    pub(super) fn new(host: &str) -> Senders {
        Senders { host: host.to_owned(), by_topic: HashMap::new() }
    }

    /// Sends a message. Returns its partition and its number there.
    ///
    /// When the call is dropped before it returns, the message may be stored or not.
    pub(super) async fn send(&mut self, sending: &Sending) -> anyhow::Result<(u32, u64)> {
        let Sending { key, partition, topic, message } = sending;
        let mut message = Message::new(message.as_str());
        if let Some(key) = key {
            message = message.key(key.as_str());
        }
        if let Some(partition) = partition {
            message = message.partition(*partition);
        }
        let producer = self.producer(topic).await?;
        let receipt = producer.enqueue(message).await?;
        let of = receipt.partition();
        match receipt.await {
            Ok(number) => Ok((of, number)),
            Err(error) => {
                // It is said: it is no news to a later flush.
                let _ = producer.flush().await;
                Err(error.into())
            }
        }
    }

    /// The topic is not what it was: what a producer knows of it is void.
    pub(super) fn forget(&mut self, topic: &str) {
        self.by_topic.remove(topic);
    }

    async fn producer(&mut self, topic: &str) -> anyhow::Result<&Producer> {
        if !self.by_topic.contains_key(topic) {
            let producer = Producer::builder(&self.host, topic).timeout(TIMEOUT).connect().await?;
            if self.by_topic.len() >= PRODUCERS_MAX {
                self.by_topic.clear();
            }
            self.by_topic.insert(topic.to_owned(), producer);
        }
        Ok(&self.by_topic[topic])
    }
}
