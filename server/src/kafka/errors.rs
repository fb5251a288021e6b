//! What an error of the broker means in Kafka: one row for each.

use kafka_protocol::ResponseError;
use minikafka_broker::Error;
use minikafka_record::BatchError;

/// The code of an error. Clients try again by themselves where Kafka's documentation says that it is retriable.
pub(super) fn code(error: &Error) -> ResponseError {
    use ResponseError as Code;
    match error {
        Error::InvalidTopicName(_) => Code::InvalidTopicException,
        Error::InvalidRequest(_) => Code::InvalidRequest,
        Error::InvalidBatch(error) => of_batch(error),
        Error::BatchTooLarge(_) | Error::MessageTooLarge { .. } => Code::MessageTooLarge,
        Error::TopicNotFound(_) | Error::PartitionNotFound { .. } => Code::UnknownTopicOrPartition,
        Error::TopicIdNotFound(_) => Code::UnknownTopicId,
        Error::TopicExists(_) => Code::TopicAlreadyExists,
        Error::OutOfRange { .. } => Code::OffsetOutOfRange,
        Error::StaleLeaderEpoch { wanted, current, .. } if wanted < current => Code::FencedLeaderEpoch,
        Error::StaleLeaderEpoch { .. } => Code::UnknownLeaderEpoch,
        Error::OutOfSequence { .. } => Code::OutOfOrderSequenceNumber,
        Error::UnknownProducer { .. } => Code::UnknownProducerId,
        Error::ProducerFenced { .. } => Code::InvalidProducerEpoch,
        Error::InvalidPartitions { .. } => Code::InvalidPartitions,
        Error::InvalidSetting { .. } => Code::InvalidConfig,
        Error::TooManyPartitions { .. } => Code::PolicyViolation,
        // Nothing is stored, and a client that looks for the leader and tries again does the right thing.
        Error::Stopping | Error::Aborted => Code::NotLeaderOrFollower,
        Error::Full(_)
        | Error::Poisoned { .. }
        | Error::OutcomeUnknown { .. }
        | Error::PartitionLost { .. }
        | Error::Damaged { .. }
        | Error::NotDeleted { .. }
        | Error::NotRemoved { .. }
        | Error::AmbiguousTopic { .. }
        | Error::LaterVersion { .. }
        | Error::Storage(_) => Code::KafkaStorageError,
        // The error can grow: what has no row yet is the server's fault.
        _ => Code::UnknownServerError,
    }
}

fn of_batch(error: &BatchError) -> ResponseError {
    match error {
        // The bytes were changed or lost on the way: sending them again helps.
        BatchError::Checksum { .. } | BatchError::Truncated { .. } | BatchError::Length { .. } => {
            ResponseError::CorruptMessage
        }
        // The checksum was right, so the client has made them so.
        _ => ResponseError::InvalidRecord,
    }
}

#[cfg(test)]
mod tests {
    use minikafka_record::{Offset, Sequence};

    use super::*;

    #[test]
    fn every_error_has_its_code() {
        let (topic, partition) = ("t".to_owned(), 0);
        let stale =
            |wanted, current| Error::StaleLeaderEpoch { topic: "t".into(), partition, wanted, current };
        let sequence = Sequence::ZERO;
        let out_of_range = Error::OutOfRange {
            topic: topic.clone(),
            partition,
            wanted: Offset::ZERO,
            start: Offset::ZERO,
            high_watermark: Offset::ZERO,
        };
        let out_of_sequence =
            Error::OutOfSequence { topic: topic.clone(), partition, id: 1, sequence, expected: sequence };
        for (error, wanted) in [
            (out_of_range, 1),
            (BatchError::Checksum { stored: 1, computed: 2 }.into(), 2),
            (Error::TopicNotFound(topic.clone()), 3),
            (Error::Stopping, 6),
            (Error::MessageTooLarge { size: 2, max: 1 }, 10),
            (BatchError::Expanded { max: 1 }.into(), 10),
            (Error::TopicExists(topic.clone()), 36),
            (Error::InvalidRequest("x".into()), 42),
            (out_of_sequence, 45),
            (Error::ProducerFenced { id: 1, epoch: 1, current: 2 }, 47),
            (Error::Full("x".into()), 56),
            (Error::UnknownProducer { topic, partition, id: 1, sequence }, 59),
            (stale(1, 2), 74),
            (stale(2, 1), 75),
            (BatchError::Magic { magic: 1 }.into(), 87),
            (BatchError::TrailingBytes { extra: 1 }.into(), 87),
        ] {
            assert_eq!(code(&error).code(), wanted, "{error}");
        }
    }
}
