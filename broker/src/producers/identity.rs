//! [`ProducerIdentity`], what a producer is called.

/// A producer, and which of those that have gone under its id. Both stand in each of its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// Never given twice.
    pub id: i64,
    /// 0 at first.
    pub epoch: i16,
}
