//! [`Printed`], what a member has printed, and [`Repeated`], what of it comes again when it is not committed.

use std::{collections::BTreeMap, fmt};

use minikafka_client_consume::{GroupConsumer, Message, TopicPartition};

/// So many partitions are named.
const NAMED_MAX: usize = 10;

/// The first message of each partition that a member has printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    first: BTreeMap<TopicPartition, u64>,
}

/// What was printed and is not committed.
#[derive(Debug)]
pub(super) struct Repeated {
    /// First message, and the one behind the last, if that is known.
    pub(super) ranges: Vec<(TopicPartition, u64, Option<u64>)>,
}

impl Printed {
    /// These were printed, of one partition all.
    pub(super) fn add(&mut self, messages: &[Message]) {
        if let Some(first) = messages.first() {
            let of = TopicPartition::new(first.topic.clone(), first.partition);
            self.first.entry(of).or_insert(first.number);
        }
    }

    /// Of the partitions that the member still has: what it has given up is committed.
    pub(super) fn uncommitted(&self, consumer: &GroupConsumer) -> Repeated {
        let range = |of: &TopicPartition| {
            let first = *self.first.get(of)?;
            let from = consumer.last_committed(&of.topic, of.partition).unwrap_or(first);
            let to = consumer.position(&of.topic, of.partition);
            to.is_none_or(|to| from < to).then(|| (of.clone(), from, to))
        };
        Repeated { ranges: consumer.partitions().filter_map(range).collect() }
    }
}

impl Repeated {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// A sentence without its full stop.
impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was printed since the last commit may come again")?;
        for (index, (of, from, to)) in self.ranges.iter().take(NAMED_MAX).enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match to {
                // The member was giving it up.
                None => write!(f, "the last messages of {of}")?,
                Some(to) if to - from == 1 => write!(f, "message {from} of {of}")?,
                Some(to) => write!(f, "messages {from} to {} of {of}", to - 1)?,
            }
        }
        match self.ranges.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            1 => f.write_str("; and some of 1 partition more"),
            more => write!(f, "; and some of {more} partitions more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(partitions: u32) -> String {
        let range = |partition: u32| {
            let from = u64::from(partition) + 1;
            let to = (partition != 2).then_some(from + 1 + u64::from(partition % 2));
            (TopicPartition::new("t", partition), from, to)
        };
        Repeated { ranges: (0..partitions).map(range).collect() }.to_string()
    }

    #[test]
    fn partitions_are_named_up_to_a_bound() {
        let all = "what was printed since the last commit may come again";
        assert_eq!(said(0), all);
        let three = said(3);
        for part in ["again: message 1 of ", "; messages 2 to 3 of ", "; the last messages of "] {
            assert!(three.starts_with(all) && three.contains(part), "{three}");
        }
        assert!(said(11).ends_with("; and some of 1 partition more"));
        let many = said(5000);
        assert!(many.ends_with("; and some of 4990 partitions more") && many.len() < 1000, "{many}");
    }
}
