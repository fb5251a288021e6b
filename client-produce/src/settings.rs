//! [`Settings`], what a producer was built with.

use std::time::Duration;

use minikafka_record::Compression;

/// Thirty seconds bridge a restart of the server, and are not too long to wait for bad news.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Larger batches gain little; smaller ones cost the server a write each.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// As much as a fast producer sends in the tenth of a second that a slow disk takes to sync.
const BUFFER_BYTES_MAX: u32 = 32 << 20;
/// Enough to keep both directions busy. Servers remember as many batches of an idempotent producer, so it is the limit
/// there.
const IN_FLIGHT_MAX: usize = 5;

/// What a producer was built with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) topic: String,
    /// Of all messages that do not say theirs. `None`: by key, or in turn.
    pub(crate) partition: Option<u32>,
    /// From enqueueing a message to its acknowledgement.
    pub(crate) timeout: Duration,
    pub(crate) batch_bytes_max: usize,
    pub(crate) buffer_bytes_max: u32,
    /// As chosen.
    pub(crate) in_flight_max: usize,
    pub(crate) compression: Compression,
    pub(crate) delivery: Delivery,
}

/// What becomes of a message whose reply is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is sent again, and the server stores it once.
    ExactlyOnce,
    /// It is not sent again: nobody knows whether it is stored.
    AtMostOnce,
}

impl Settings {
    /// Requests without a reply, for each partition.
    pub(crate) fn in_flight_max(&self) -> usize {
        match self.delivery {
            Delivery::ExactlyOnce => self.in_flight_max.min(IN_FLIGHT_MAX),
            Delivery::AtMostOnce => self.in_flight_max,
        }
    }

    pub(crate) fn new(topic: &str) -> Settings {
        Settings {
            topic: topic.to_owned(),
            partition: None,
            timeout: TIMEOUT,
            batch_bytes_max: BATCH_BYTES_MAX,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            in_flight_max: IN_FLIGHT_MAX,
            compression: Compression::None,
            delivery: Delivery::ExactlyOnce,
        }
    }
}
