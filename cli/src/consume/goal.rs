//! [`Goal`], when to end.

use std::num::NonZeroU64;

use crate::interrupt::INTERRUPTED;

/// When to end; whatever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// After so many messages more.
    pub(super) count: Option<NonZeroU64>,
    pub(super) end: End,
}

/// Whether there is an end to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The topic goes on without end.
    None,
    /// Where the topic ends at the start.
    AtStart,
}

impl Goal {
    pub(crate) fn new(count: Option<NonZeroU64>, until_end: bool) -> Goal {
        Goal { count, end: if until_end { End::AtStart } else { End::None } }
    }

    /// Ctrl-C is how one ends what has no end of its own; anything else it cuts short.
    pub(super) fn exit_code_when_interrupted(self) -> u8 {
        match (self.count, self.end) {
            (None, End::None) => 0,
            _ => INTERRUPTED,
        }
    }
}
