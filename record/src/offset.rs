//! [`Offset`], the position of a record in its partition.

use std::fmt;

/// The position of a record in its partition, counted from 0.
///
/// The public API counts *message numbers* from 1: number = offset + 1. Offsets stay below 2^63, the range of
/// Kafka's signed field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);
    /// The largest offset there can be.
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// The offset `value`; larger values than [`Offset::MAX`] become it.
    pub const fn new(value: u64) -> Offset {
        if value > Offset::MAX.0 { Offset::MAX } else { Offset(value) }
    }

    /// The offset of message `number`; `None` for 0, which numbers no message.
    pub const fn from_number(number: u64) -> Option<Offset> {
        match number {
            0 => None,
            n => Some(Offset::new(n - 1)),
        }
    }

    /// Its value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its value as Kafka's signed field.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// The message number of the record here.
    pub const fn number(self) -> u64 {
        self.0 + 1
    }

    /// The offset `count` records further on.
    pub const fn plus(self, count: u64) -> Offset {
        Offset::new(self.0.saturating_add(count))
    }

    /// How many records lie in `[earlier, self)`; 0 when `earlier` is not earlier.
    pub const fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
