//! [`ProducerDescription`], what can be said about a producer.

use minikafka_record::{Offset, Sequence};
use minikafka_storage::Millis;

use super::ProducerIdentity;

/// What a partition remembers of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// The partition.
    pub partition: u32,
    /// Who it is.
    pub identity: ProducerIdentity,
    /// Sequence of the last record that it has stored here.
    pub last_sequence: Sequence,
    /// Offset of that record.
    pub last_offset: Offset,
    /// When that was appended, in milliseconds since the Unix epoch.
    pub last_append_time: Millis,
}
