//! Messages that can be told apart, and made again from sixteen bytes.
//!
//! ```text
//!     topic 1 | producer 1 | sequence 4 | chain 8 | noise
//! ```
//!
//! The chain of a message is made of that of the message which its producer sent before to the same topic. So
//! the last message stands for all before it, and no message is like another.

use super::rng::Rng;

/// Those that live as long as the test.
pub(crate) const TOPICS: u8 = 8;
/// Half of the topics have two, the others one.
pub(crate) const PRODUCERS: u8 = 12;

const HEADER_LEN: usize = 14;
/// Of the smallest message.
pub(crate) const LEN_MIN: u64 = 20;
/// Of the largest message: several times what goes straight to a segment.
pub(crate) const LEN_MAX: u64 = 200 << 10;

/// A producer of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) topic: u8,
    pub(crate) producer: u8,
}

/// Which message: its source, and its place among what the source has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) source: Source,
    pub(crate) sequence: u32,
}

/// All there is to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) chain: u64,
    pub(crate) len: u32,
}

impl Source {
    pub(crate) fn all() -> impl Iterator<Item = Source> {
        (0..PRODUCERS).map(|producer| Source { topic: producer % TOPICS, producer })
    }
}

impl Id {
    /// Of what a message says it is.
    pub(crate) fn parse(value: &[u8]) -> Option<Id> {
        let (header, _) = value.split_at_checked(HEADER_LEN)?;
        let source = Source { topic: header[0], producer: header[1] };
        Some(Id { source, sequence: u32::from_be_bytes(header[2..6].try_into().ok()?) })
    }
}

impl Draft {
    /// The message after the one of this chain.
    pub(crate) fn after(chain: u64, source: Source, len: u32) -> Draft {
        let place = u64::from(source.topic) << 8 | u64::from(source.producer);
        Draft { chain: Rng::new(chain ^ place << 32 ^ u64::from(len)).next(), len }
    }

    pub(crate) fn value(&self, id: Id) -> Vec<u8> {
        let len = self.len as usize;
        let mut value = Vec::with_capacity(len + 8);
        value.extend([id.source.topic, id.source.producer]);
        value.extend(id.sequence.to_be_bytes());
        value.extend(self.chain.to_be_bytes());
        let mut noise = Rng::new(self.chain);
        while value.len() < len {
            value.extend(noise.next().to_be_bytes());
        }
        value.truncate(len);
        value
    }
}

/// Lengths of the messages of one request: mostly many small ones; some that share the journal with them; few
/// that are worth a write of their own.
pub(crate) fn draw_lens(rng: &mut Rng) -> Vec<u32> {
    let (count, len_max) = match rng.below(100) {
        0..70 => (rng.between(1, 20), 300),
        70..93 => (rng.between(1, 4), 12 << 10),
        _ => (1, LEN_MAX),
    };
    (0..count).map(|_| rng.between(LEN_MIN, len_max) as u32).collect()
}
