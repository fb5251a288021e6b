//! [`ClusterId`], which tells one cluster from another.

use std::fmt;

use minikafka_storage::{StorageError, TopicId};

use crate::Broker;

/// The identity of a cluster, which a server on its own has, too: made at the first start on an empty directory, and
/// kept. A UUID of version 4 (RFC 9562) whose first bit is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> ClusterId {
        ClusterId(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A new one.
    pub(crate) fn random() -> Result<ClusterId, StorageError> {
        let mut bytes = *TopicId::random()?.as_bytes();
        // As Kafka writes it, in base64, it would begin with a dash else at times, and tools take it for an option.
        bytes[0] &= 0x7f;
        Ok(ClusterId(bytes))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Broker {
    /// The cluster that this server belongs to. It has another one when that was lost together with what the server
    /// knew of its topics.
    pub fn cluster_id(&self) -> ClusterId {
        let known = self.0.metadata.read(|metadata| metadata.cluster_id());
        known.expect("a broker is opened with a cluster id")
    }
}
