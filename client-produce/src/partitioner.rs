//! [`Partitioner`], which partition a message goes to: as Kafka's Java client chooses, so that producers of both
//! worlds agree.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
};

use crate::Message;

/// The partitions of a topic.
#[derive(Debug)]
pub(crate) struct Partitions {
    pub(crate) count: u32,
    /// Those that are out of service.
    pub(crate) lost: BTreeSet<u32>,
}

/// Chooses partitions of a topic.
///
/// A message with a key goes where the hash of the key says. One without goes to the partition whose turn it is;
/// the turn ends with its batch, so that batches are large and spread evenly. Partitions that are out of service have no
/// turn, unless all are: then the server says so.
#[derive(Debug)]
pub(crate) struct Partitioner {
    /// All messages go here, unless they say otherwise.
    fixed: Option<u32>,
    /// How many partitions there are; one while nobody knows.
    count: u32,
    /// Those that are out of service, as far as that is known.
    lost: BTreeSet<u32>,
    sticky: u32,
}

impl Partitioner {
    pub(crate) fn new(fixed: Option<u32>) -> Partitioner {
        Partitioner { fixed, count: 1, lost: BTreeSet::new(), sticky: 0 }
    }

    /// The topic has these partitions.
    pub(crate) fn set_partitions(&mut self, partitions: Partitions) {
        let count = partitions.count.max(1);
        self.lost = partitions.lost;
        if count != self.count {
            self.count = count;
            // Many producers do not begin at the same one.
            self.sticky = (RandomState::new().hash_one(()) % u64::from(count)) as u32;
        }
        self.skip_lost();
    }

    /// The server has refused a batch, because the partition is out of service. Says whether that was not known.
    pub(crate) fn note_lost(&mut self, partition: u32) -> bool {
        let is_news = self.lost.insert(partition);
        self.skip_lost();
        is_news
    }

    /// Whether some are out of service.
    pub(crate) fn knows_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    fn skip_lost(&mut self) {
        let turns = (0..self.count).map(|more| (self.sticky + more) % self.count);
        if let Some(served) = turns.into_iter().find(|partition| !self.lost.contains(partition)) {
            self.sticky = served;
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
            self.skip_lost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Partitioner {
        fn set_count(&mut self, count: u32) {
            self.set_partitions(Partitions { count, lost: BTreeSet::new() });
        }
    }

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
