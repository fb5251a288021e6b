//! [`Partitioner`], which partition a message goes to: as Kafka's Java client chooses, so that producers of both
//! worlds agree.

use std::hash::{BuildHasher as _, RandomState};

use crate::Message;

/// Chooses partitions of a topic.
///
/// A message with a key goes where the hash of the key says. One without goes to the partition whose turn it is;
/// the turn ends with its batch, so that batches are large and spread evenly.
#[derive(Debug)]
pub(crate) struct Partitioner {
    /// All messages go here, unless they say otherwise.
    fixed: Option<u32>,
    /// How many partitions there are; one while nobody knows.
    count: u32,
    sticky: u32,
}

impl Partitioner {
    pub(crate) fn new(fixed: Option<u32>) -> Partitioner {
        Partitioner { fixed, count: 1, sticky: 0 }
    }

    /// The topic has so many partitions.
    pub(crate) fn set_count(&mut self, count: u32) {
        let count = count.max(1);
        if count != self.count {
            self.count = count;
            // Many producers do not begin at the same one.
            self.sticky = (RandomState::new().hash_one(()) % u64::from(count)) as u32;
        }
    }

    pub(crate) fn choose(&self, message: &Message<'_>) -> u32 {
        match (message.wanted_partition().or(self.fixed), message.key_bytes()) {
            (Some(partition), _) => partition,
            (None, Some(key)) => minikafka_record::partition_of_key(key, self.count),
            (None, None) => self.sticky,
        }
    }

    /// Whether the key of a message says where it goes.
    pub(crate) fn goes_by_key(&self, message: &Message<'_>) -> bool {
        message.wanted_partition().or(self.fixed).is_none() && message.key_bytes().is_some()
    }

    /// A batch of a partition is full or on its way.
    pub(crate) fn note_sealed(&mut self, partition: u32) {
        if partition == self.sticky {
            self.sticky = (self.sticky + 1) % self.count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_where_is_believed() {
        let mut partitioner = Partitioner::new(Some(7));
        partitioner.set_count(3);
        assert_eq!(partitioner.choose(&Message::new("a").key("k")), 7);
        assert_eq!(partitioner.choose(&Message::new("a").partition(1)), 1);
    }

    #[test]
    fn messages_without_keys_go_round_batch_by_batch() {
        let mut partitioner = Partitioner::new(None);
        partitioner.set_count(3);
        let message = Message::new("a");
        let first = partitioner.choose(&message);
        let mut seen = Vec::new();
        for _ in 0..6 {
            let partition = partitioner.choose(&message);
            assert_eq!(partitioner.choose(&message), partition, "until its batch is full");
            partitioner.note_sealed((partition + 1) % 3);
            partitioner.note_sealed(partition);
            seen.push(partition);
        }
        let expected: Vec<u32> = (0..6).map(|turn| (first + turn) % 3).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn keys_go_where_kafka_sends_them() {
        let mut partitioner = Partitioner::new(None);
        partitioner.set_count(1000);
        // Utils.toPositive(Utils.murmur2(key)) % 1000 of Kafka's Java client, by its own test values.
        for (key, hash) in
            [("21", -973932308_i32), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)]
        {
            let expected = (hash & 0x7fff_ffff) as u32 % 1000;
            assert_eq!(partitioner.choose(&Message::new("a").key(key)), expected, "{key}");
        }
    }
}
