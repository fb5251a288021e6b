//! [`ProducerStamp`] and [`Sequence`]: what tells a batch that is sent again from a new one.

use std::fmt;

/// Who sent a batch, and which of theirs it is. Batches of producers that do not care have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer; not negative.
    pub id: i64,
    /// Which of those that have gone under this id, one after the other; not negative.
    pub epoch: i16,
    /// Sequence of the first record; the others count on from it.
    pub sequence: Sequence,
}

/// Counts the records that a producer sends to one partition: 0, 1, 2..., and after 2^31 - 1 again 0, as in
/// Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence(i32);

impl Sequence {
    /// The first.
    pub const ZERO: Sequence = Sequence(0);

    /// The sequence `value`; `None` when it is negative.
    pub const fn new(value: i32) -> Option<Sequence> {
        if value < 0 { None } else { Some(Sequence(value)) }
    }

    /// Its value.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The sequence `count` records further on.
    ///
    /// ```
    /// use minikafka_record::Sequence;
    ///
    /// assert_eq!(Sequence::ZERO.plus(3).get(), 3);
    /// assert_eq!(Sequence::new(i32::MAX).unwrap().plus(1), Sequence::ZERO);
    /// ```
    #[must_use]
    pub const fn plus(self, count: u32) -> Sequence {
        Sequence(((self.0 as u64 + count as u64) % (i32::MAX as u64 + 1)) as i32)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_around_as_in_kafka() {
        let near_the_end = Sequence::new(i32::MAX - 2).unwrap();
        assert_eq!(near_the_end.plus(2).get(), i32::MAX);
        assert_eq!(near_the_end.plus(3), Sequence::ZERO);
        assert_eq!(near_the_end.plus(10).get(), 7);
        assert_eq!(Sequence::new(-1), None);
    }
}
