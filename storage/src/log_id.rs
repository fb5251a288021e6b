//! [`LogId`], which log, and [`TopicId`], which topic for good.

use std::{fmt, str::FromStr};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::StorageError;

/// The identity of a topic: changes when a topic is deleted and created again under the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> TopicId {
        TopicId(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A new one, from the system's randomness: a UUID of version 4 (RFC 9562).
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<TopicId, StorageError> {
        let mut bytes = random_bytes::<16>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(TopicId(bytes))
    }
}

/// Bytes from the system's randomness. The system call, not the device: it needs no file descriptor.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], StorageError> {
    let mut bytes = [0; N];
    // So few bytes come at once.
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| StorageError::io("asking for randomness", "getrandom", error.into()))?;
    Ok(bytes)
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TopicId {
    type Err = LogIdError;

    /// Parses 32 lowercase hexadecimal digits.
    fn from_str(text: &str) -> Result<TopicId, LogIdError> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(LogIdError);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| LogIdError)?;
        Ok(TopicId(value.to_be_bytes()))
    }
}

/// Not the text of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a topic id: 32 hexadecimal digits")]
pub struct LogIdError;

/// Which log: a partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Name of the topic. Storage takes any text; the broker has rules.
    pub topic: String,
    /// Partition, from 0.
    pub partition: u32,
    /// Identity of the topic.
    pub topic_id: TopicId,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
