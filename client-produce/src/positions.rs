//! [`Positions`], where the messages of a batch stand in the order of enqueueing.

/// Positions, ascending. Those of a batch follow each other where everything goes to one partition, and are few
/// ranges otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    runs: Vec<Run>,
    count: u32,
}

/// Positions that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Which message of the batch is the first of them.
    index: u32,
    position: u64,
}

impl Positions {
    pub(crate) fn push(&mut self, position: u64) {
        let follows =
            self.runs.last().is_some_and(|run| run.position + u64::from(self.count - run.index) == position);
        if !follows {
            self.runs.push(Run { index: self.count, position });
        }
        self.count += 1;
    }

    /// Position of a message of the batch.
    pub(crate) fn get(&self, index: u32) -> u64 {
        let after = self.runs.partition_point(|run| run.index <= index);
        self.runs.get(after.wrapping_sub(1)).map_or(0, |run| run.position + u64::from(index - run.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_position() {
        let expected = [3, 4, 5, 9, 11, 12, 40];
        let mut positions = Positions::default();
        expected.iter().for_each(|position| positions.push(*position));
        assert_eq!(positions.runs.len(), 4);
        for (index, position) in (0..).zip(expected) {
            assert_eq!(positions.get(index), position);
        }
    }
}
