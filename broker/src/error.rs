//! [`Error`]: what can go wrong, by what the caller can do about it.

use minikafka_record::{BatchError, Offset, Sequence};
use minikafka_storage::{StorageError, TopicId};

use crate::{GroupError, TopicNameError, TopicSetting};

/// An error of the broker. Every door maps it to its own codes in one table.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Choose another name.
    #[error(transparent)]
    InvalidTopicName(#[from] TopicNameError),
    /// Mend the request.
    #[error("{0}")]
    InvalidRequest(String),
    /// Mend the batch: nothing of it is stored.
    #[error(transparent)]
    InvalidBatch(BatchError),
    /// Send less at once, or raise the limit: nothing is wrong with the batch but what it expands to.
    #[error(transparent)]
    BatchTooLarge(BatchError),
    /// Send less at once, or raise the limit.
    #[error("a message or batch of {size} bytes is over the limit of {max} bytes")]
    MessageTooLarge {
        /// Bytes that it would take up as a batch.
        size: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// Create the topic, or wait for it.
    #[error("topic \"{0}\" not found")]
    TopicNotFound(String),
    /// Ask for the topic by name: it may have been deleted, and made anew with another id.
    #[error("no topic has the id {0}")]
    TopicIdNotFound(TopicId),
    /// Choose another partition.
    #[error("partition {partition} of topic \"{topic}\" not found: it has {partitions}")]
    PartitionNotFound {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// It is there already.
    #[error("topic \"{0}\" exists already")]
    TopicExists(String),
    /// Go on inside the range.
    #[error("message {} is out of range of topic \"{topic}\" partition {partition}: {} is the oldest kept, {} the next to come",
        .wanted.number(), .start.number(), .high_watermark.number())]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked for.
        wanted: Offset,
        /// The first offset that can be read.
        start: Offset,
        /// The first offset that cannot be read yet.
        high_watermark: Offset,
    },
    /// Ask who leads now.
    #[error(
        "leader epoch {wanted} of topic \"{topic}\" partition {partition} is stale or unknown, it is {current}"
    )]
    StaleLeaderEpoch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked for.
        wanted: u64,
        /// What it is.
        current: u64,
    },
    /// Send what is missing first: nothing of the request is stored.
    #[error(
        "producer {id} sent sequence {sequence} to topic \"{topic}\" partition {partition}, where {expected} is next: batches between them are missing, or it is too old to be remembered"
    )]
    OutOfSequence {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The producer.
        id: i64,
        /// What it sent.
        sequence: Sequence,
        /// What is next.
        expected: Sequence,
    },
    /// Go on under a new identity: nothing of the request is stored.
    #[error(
        "topic \"{topic}\" partition {partition} does not know producer {id}, or no longer: it begins at sequence 0, not {sequence}"
    )]
    UnknownProducer {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The producer.
        id: i64,
        /// What it sent.
        sequence: Sequence,
    },
    /// Stop: another one has taken over. Nothing of the request is stored.
    #[error("epoch {epoch} of producer {id} is over: epoch {current} has begun")]
    ProducerFenced {
        /// The producer.
        id: i64,
        /// What it said.
        epoch: i16,
        /// The newest.
        current: i16,
    },
    /// Mend the number of partitions.
    #[error("topic \"{topic}\" {rule}")]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// What it breaks.
        rule: String,
    },
    /// Mend the setting.
    #[error("{setting}: {rule}")]
    InvalidSetting {
        /// Which one.
        setting: TopicSetting,
        /// What it breaks.
        rule: String,
    },
    /// Delete topics, or raise the limit.
    #[error("{more} more partitions are too many: there are {there}, and {max} are allowed over all topics")]
    TooManyPartitions {
        /// How many there are.
        there: usize,
        /// How many more are wanted.
        more: usize,
        /// The limit.
        max: usize,
    },
    /// Restore the directory of its log and restart the server, or delete the topic: it is never made anew, because
    /// nobody knows which numbers it has given.
    #[error(
        "the log of topic \"{topic}\" partition {partition} is missing or damaged: restore it and restart the server, or delete the topic"
    )]
    PartitionLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// Wait for space: reads go on, and produce resumes by itself.
    #[error("{0}")]
    Full(String),
    /// Try again, perhaps elsewhere: nothing of the request is stored.
    #[error("the server is stopping")]
    Stopping,
    /// Try again: entries before this one failed, nothing of the request is stored.
    #[error("an earlier write failed, nothing of this request is stored")]
    Aborted,
    /// Go on at `next`, or restore the data.
    #[error("topic \"{topic}\" partition {partition} has lost {} to damage of the disk: {reason}", lost(*.from, *.next))]
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset that was asked for and is lost.
        from: Offset,
        /// The first offset behind what is lost, where reading goes on; `None` when that is not known.
        next: Option<Offset>,
        /// What storage says.
        reason: String,
    },
    /// Mend the disk, and look whether the topic is there: that shows with the next change of a topic, or a restart.
    #[error(
        "topic \"{topic}\" is out of service, but nobody knows whether its deletion is on the disk, and it may be back once the disk works: {source}"
    )]
    NotDeleted {
        /// The topic.
        topic: String,
        /// Why.
        source: Box<Error>,
    },
    /// Delete the topic again, or restart the server: both try again.
    #[error("topic \"{topic}\" is deleted, but removing its messages from the disk failed: {source}")]
    NotRemoved {
        /// The topic.
        topic: String,
        /// Why.
        source: Box<Error>,
    },
    /// Move the directories of all but one of them away.
    #[error("there are {} topics \"{topic}\" with messages, move all but one away; their ids are {}",
        .ids.len(), .ids.iter().map(TopicId::to_string).collect::<Vec<_>>().join(", "))]
    AmbiguousTopic {
        /// The name that they share.
        topic: String,
        /// Their ids.
        ids: Vec<TopicId>,
    },
    /// Try again later: the log is opened again when somebody appends, and that succeeds once the disk works. Nothing
    /// of the request is stored; reads go on.
    #[error(
        "topic \"{topic}\" partition {partition} takes no messages since its disk failed, nothing of this request is stored; reads go on; it is tried again, and succeeds once the disk works: {reason}"
    )]
    Poisoned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What failed first.
        reason: String,
    },
    /// As [`Error::Poisoned`], but the messages were on their way: once the log is opened again they are there or not.
    #[error(
        "the disk failed while topic \"{topic}\" partition {partition} took these messages, they may or may not be there once it is opened again: {source}"
    )]
    OutcomeUnknown {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What failed.
        source: StorageError,
    },
    /// Start the version that has written it, or a later one.
    #[error("log \"{log}\" holds what this version cannot read, a later one has written it: {what}")]
    LaterVersion {
        /// The log.
        log: String,
        /// What, and why.
        what: String,
    },
    /// What the reason says: it is about a consumer group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Look at the server's disk.
    #[error("storage failed: {0}")]
    Storage(StorageError),
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Error {
        if error.is_too_large() { Error::BatchTooLarge(error) } else { Error::InvalidBatch(error) }
    }
}

/// What is lost, and where to go on, in numbers.
fn lost(from: Offset, next: Option<Offset>) -> String {
    let first = from.number();
    // The number of a message is the offset behind it.
    match next.map(|next| (next.get(), next.number())) {
        None => format!("messages from {first} on"),
        Some((last, next)) if last <= first => format!("message {first} (reading goes on at {next})"),
        Some((last, next)) => format!("messages {first} to {last} (reading goes on at {next})"),
    }
}

impl Error {
    /// Whether the same request may succeed later, and nothing of it is stored now.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Full(_) | Error::Stopping | Error::Aborted | Error::Poisoned { .. })
    }
}
