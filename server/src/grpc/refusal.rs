//! [`Refusal`]: what each error of the broker is in gRPC. The one table of this door.

use std::time::Duration;

use http::Response;
use minikafka_broker::{Broker, Error, GroupError, TopicSetting};
use minikafka_proto::v1::RequestError;
use minikafka_record::BatchError;
use minikafka_storage::Durability;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of all reasons, as in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "minikafka";
/// Space returns when messages are evicted or somebody cleans up; produce resumes by itself within so much
/// time.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(2);
/// A server that stops is back soon, or another one is there.
const RETRY_WHEN_STOPPING: Duration = Duration::from_secs(1);
/// A log that has failed is opened again, at most so often.
const RETRY_WHEN_FAILED: Duration = Duration::from_secs(1);
/// The write that failed is over; the next one may succeed at once.
const RETRY_WHEN_ABORTED: Duration = Duration::from_millis(100);

/// Large requests that are under way are done within so much time.
const RETRY_WHEN_TOO_MANY_BYTES: Duration = Duration::from_secs(1);

/// Why a request is refused, in the terms of gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: Code,
    /// Stable, for programs.
    reason: &'static str,
    /// For people.
    message: String,
    metadata: Vec<(&'static str, String)>,
    /// After which time the same request may succeed; `None`: never.
    retry_after: Option<Duration>,
}

/// Turns errors of the broker into refusals: `.map_err(refuse(broker))`.
pub(super) fn refuse(broker: &Broker) -> impl Fn(Error) -> Refusal + use<> {
    let durability = broker.durability();
    move |error| Refusal::of(&error, durability)
}

impl Refusal {
    /// The table.
    pub(super) fn of(error: &Error, durability: Durability) -> Refusal {
        let (code, reason) = match error {
            Error::InvalidTopicName(_) => (Code::InvalidArgument, "INVALID_TOPIC_NAME"),
            Error::InvalidRequest(_) => (Code::InvalidArgument, "INVALID_REQUEST"),
            Error::InvalidBatch(_) => (Code::InvalidArgument, "INVALID_BATCH"),
            Error::MessageTooLarge { .. } | Error::BatchTooLarge(_) => {
                (Code::InvalidArgument, "MESSAGE_TOO_LARGE")
            }
            Error::InvalidPartitions { .. } => (Code::InvalidArgument, "INVALID_PARTITIONS"),
            Error::InvalidSetting { .. } => (Code::InvalidArgument, "INVALID_SETTING"),
            Error::TopicNotFound(_) | Error::TopicIdNotFound(_) => (Code::NotFound, "TOPIC_NOT_FOUND"),
            Error::PartitionNotFound { .. } => (Code::NotFound, "PARTITION_NOT_FOUND"),
            Error::TopicExists(_) => (Code::AlreadyExists, "TOPIC_EXISTS"),
            Error::OutOfRange { .. } => (Code::OutOfRange, "NUMBER_OUT_OF_RANGE"),
            Error::StaleLeaderEpoch { .. } => (Code::FailedPrecondition, "STALE_LEADER_EPOCH"),
            Error::OutOfSequence { .. } => (Code::FailedPrecondition, "OUT_OF_SEQUENCE"),
            Error::UnknownProducer { .. } => (Code::FailedPrecondition, "UNKNOWN_PRODUCER"),
            Error::ProducerFenced { .. } => (Code::FailedPrecondition, "PRODUCER_FENCED"),
            Error::TooManyPartitions { .. } => (Code::ResourceExhausted, "TOO_MANY_PARTITIONS"),
            Error::Full(_) if durability == Durability::Memory => (Code::ResourceExhausted, "MEMORY_FULL"),
            Error::Full(_) => (Code::ResourceExhausted, "DISK_FULL"),
            Error::Stopping => (Code::Unavailable, "STOPPING"),
            Error::Aborted => (Code::Unavailable, "ABORTED"),
            Error::Damaged { .. } | Error::PartitionLost { .. } => (Code::DataLoss, "DAMAGED"),
            // Nothing of it is stored, and the log is opened again by and by.
            Error::Poisoned { .. } => (Code::Unavailable, "STORAGE_FAILED"),
            Error::OutcomeUnknown { .. } => (Code::Internal, "STORAGE_FAILED"),
            Error::Group(error) => of_group(error),
            // The error can grow: what has no row yet is the server's fault, not the caller's.
            _ => (Code::Internal, "STORAGE_FAILED"),
        };
        let metadata = match error {
            Error::OutOfRange { start, high_watermark, .. } => {
                vec![("start", start.number().to_string()), ("end", high_watermark.number().to_string())]
            }
            Error::InvalidSetting { setting, .. } => vec![("setting", setting.to_string())],
            Error::Damaged { from, next, .. } => {
                // Ranges are half-open, so the end of what is lost is where to go on.
                let behind = next.iter().flat_map(|next| ["to", "next"].map(|key| (key, next.number())));
                let numbers = [("from", from.number())].into_iter().chain(behind);
                numbers.map(|(key, number)| (key, number.to_string())).collect()
            }
            Error::Group(GroupError::PositionOutOfRange { topic, partition, end, .. }) => {
                vec![("topic", topic.clone()), ("partition", partition.to_string()), ("end", end.to_string())]
            }
            _ => Vec::new(),
        };
        let retry_after = match error {
            Error::Full(_) => Some(RETRY_WHEN_FULL),
            Error::Stopping => Some(RETRY_WHEN_STOPPING),
            Error::Aborted => Some(RETRY_WHEN_ABORTED),
            Error::Poisoned { .. } => Some(RETRY_WHEN_FAILED),
            _ => None,
        };
        Refusal { code, reason, message: error.to_string(), metadata, retry_after }
    }

    /// Whether the server stops, and so everything ends, not this request alone.
    pub(super) fn is_stopping(&self) -> bool {
        self.reason == "STOPPING"
    }

    /// A request that says too little, or what cannot be.
    pub(super) fn invalid_request(message: impl Into<String>) -> Refusal {
        Refusal::new(Code::InvalidArgument, "INVALID_REQUEST", message.into())
    }

    /// A setting that cannot be, whatever the broker says.
    pub(super) fn invalid_setting(setting: TopicSetting, rule: String) -> Refusal {
        Refusal::of(&Error::InvalidSetting { setting, rule }, Durability::Synced)
    }

    /// A request that is far over the limit: it was not even read.
    pub(super) fn too_large(message_bytes_max: usize) -> Refusal {
        let message =
            format!("the request is over the limit of {message_bytes_max} bytes for a message or batch");
        Refusal::new(Code::InvalidArgument, "MESSAGE_TOO_LARGE", message)
    }

    /// A large request while too many others are under way.
    pub(super) fn too_many_bytes() -> Refusal {
        let message = "too many bytes of unfinished requests: try again, or send less at once".to_owned();
        let retry_after = Some(RETRY_WHEN_TOO_MANY_BYTES);
        Refusal { retry_after, ..Refusal::new(Code::ResourceExhausted, "MEMORY_FULL", message) }
    }

    /// A large request that began and did not come to its end.
    pub(super) fn too_slow() -> Refusal {
        let message = "the request took too long to arrive, nothing of it is stored".to_owned();
        Refusal {
            retry_after: Some(RETRY_WHEN_ABORTED),
            ..Refusal::new(Code::Unavailable, "ABORTED", message)
        }
    }

    /// A stored batch that cannot be read although it was checked before it was stored.
    pub(super) fn unreadable(error: &BatchError) -> Refusal {
        Refusal::new(Code::Internal, "STORAGE_FAILED", format!("a stored batch cannot be read: {error}"))
    }

    /// For clients that know one partition in each topic only.
    pub(super) fn several_partitions(topic: &str, partitions: u32) -> Refusal {
        let message = format!("topic \"{topic}\" has {partitions} partitions: use the service minikafka.v1");
        Refusal::new(Code::FailedPrecondition, "SEVERAL_PARTITIONS", message)
    }

    /// Stable, for programs.
    pub(super) fn reason(&self) -> &'static str {
        self.reason
    }

    fn new(code: Code, reason: &'static str, message: String) -> Refusal {
        Refusal { code, reason, message, metadata: Vec::new(), retry_after: None }
    }
}

/// The rows about groups.
fn of_group(error: &GroupError) -> (Code, &'static str) {
    match error {
        GroupError::InvalidName(_) => (Code::InvalidArgument, "INVALID_GROUP_NAME"),
        GroupError::NotFound(_) => (Code::NotFound, "GROUP_NOT_FOUND"),
        GroupError::UnknownMember { .. } => (Code::NotFound, "UNKNOWN_MEMBER"),
        GroupError::Fenced { .. } => (Code::FailedPrecondition, "MEMBER_FENCED"),
        GroupError::StaleEpoch { .. } => (Code::FailedPrecondition, "STALE_MEMBER_EPOCH"),
        GroupError::NotOwner { .. } => (Code::FailedPrecondition, "NOT_OWNER"),
        GroupError::NotEmpty { .. } | GroupError::Occupied(_) => {
            (Code::FailedPrecondition, "GROUP_NOT_EMPTY")
        }
        GroupError::OtherProtocol { .. } => (Code::FailedPrecondition, "INCONSISTENT_GROUP_PROTOCOL"),
        GroupError::InstanceInUse { .. } => (Code::AlreadyExists, "INSTANCE_IN_USE"),
        GroupError::TooManyGroups { .. } => (Code::ResourceExhausted, "TOO_MANY_GROUPS"),
        GroupError::TooMuchState { .. } => (Code::ResourceExhausted, "GROUP_STATE_FULL"),
        GroupError::TooManyMembers { .. } => (Code::ResourceExhausted, "TOO_MANY_MEMBERS"),
        GroupError::PositionOutOfRange { .. } => (Code::InvalidArgument, "POSITION_OUT_OF_RANGE"),
        GroupError::MetadataTooLarge { .. } => (Code::InvalidArgument, "METADATA_TOO_LARGE"),
        // The error can grow, and what has no row yet is the server's fault.
        _ => (Code::Internal, "STORAGE_FAILED"),
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let metadata: std::collections::HashMap<String, String> =
            refusal.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(refusal.reason, DOMAIN, metadata);
        if let Some(retry_after) = refusal.retry_after {
            details.set_retry_info(Some(retry_after));
        }
        Status::with_error_details(refusal.code, refusal.message, details)
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> RequestError {
        RequestError {
            code: refusal.code as i32,
            reason: refusal.reason.to_owned(),
            message: refusal.message,
            metadata: refusal.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            retry_after_ms: refusal.retry_after.map(|after| after.as_millis() as u64),
        }
    }
}

/// How large a request may be that is read at all. What is over the limit by little is read and refused with
/// its size; what is over by much is not, and refused by [`explain_too_large`].
///
/// A list of messages can take up more bytes as a request than as a batch: time stamps are whole, not
/// differences. Twice is enough for every list that makes a batch within the limit.
pub(crate) fn request_bytes_max(message_bytes_max: usize) -> usize {
    const REST_OF_THE_REQUEST: usize = 64 * 1024;
    2 * message_bytes_max + REST_OF_THE_REQUEST
}

/// Whether a status is tonic's about a request over [`request_bytes_max`]: `OUT_OF_RANGE` without our
/// details.
pub(super) fn is_too_large(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.details().is_empty()
}

/// Puts our refusal in the place of tonic's when a request was over [`request_bytes_max`]: a code of its own,
/// and the limit that counts.
pub(crate) fn explain_too_large(
    response: Response<tonic::body::Body>,
    message_bytes_max: usize,
) -> Response<tonic::body::Body> {
    // A status in the head is that of a failed unary call; all others come in the trailers.
    match Status::from_header_map(response.headers()) {
        Some(status) if is_too_large(&status) => {
            Status::from(Refusal::too_large(message_bytes_max)).into_http()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use minikafka_record::{Offset, Sequence};

    use super::*;

    fn of(error: &Error) -> Refusal {
        Refusal::of(error, Durability::Synced)
    }

    fn damaged(next: Option<u64>) -> Error {
        Error::Damaged {
            topic: "t".into(),
            partition: 0,
            from: Offset::new(4),
            next: next.map(Offset::new),
            reason: "crc".into(),
        }
    }

    fn out_of_sequence() -> Error {
        let (sequence, expected) = (Sequence::ZERO.plus(5), Sequence::ZERO);
        Error::OutOfSequence { topic: "t".into(), partition: 0, id: 1, sequence, expected }
    }

    fn unknown_producer() -> Error {
        Error::UnknownProducer { topic: "t".into(), partition: 0, id: 1, sequence: Sequence::ZERO.plus(5) }
    }

    #[test]
    fn every_error_has_its_code_and_reason() {
        let out_of_range = Error::OutOfRange {
            topic: "t".into(),
            partition: 0,
            wanted: Offset::new(9),
            start: Offset::new(2),
            high_watermark: Offset::new(5),
        };
        let shrinking = Error::InvalidPartitions { topic: "t".into(), rule: "shrinks".into() };
        for (error, code, reason) in [
            (Error::InvalidRequest("x".into()), Code::InvalidArgument, "INVALID_REQUEST"),
            (Error::MessageTooLarge { size: 2, max: 1 }, Code::InvalidArgument, "MESSAGE_TOO_LARGE"),
            (BatchError::Expanded { max: 1 }.into(), Code::InvalidArgument, "MESSAGE_TOO_LARGE"),
            (BatchError::Length { length: 1 }.into(), Code::InvalidArgument, "INVALID_BATCH"),
            (Error::TopicNotFound("t".into()), Code::NotFound, "TOPIC_NOT_FOUND"),
            (Error::TopicExists("t".into()), Code::AlreadyExists, "TOPIC_EXISTS"),
            (out_of_range, Code::OutOfRange, "NUMBER_OUT_OF_RANGE"),
            (
                Error::ProducerFenced { id: 1, epoch: 2, current: 3 },
                Code::FailedPrecondition,
                "PRODUCER_FENCED",
            ),
            (out_of_sequence(), Code::FailedPrecondition, "OUT_OF_SEQUENCE"),
            (unknown_producer(), Code::FailedPrecondition, "UNKNOWN_PRODUCER"),
            (
                Error::TooManyPartitions { there: 1, more: 1, max: 1 },
                Code::ResourceExhausted,
                "TOO_MANY_PARTITIONS",
            ),
            (shrinking, Code::InvalidArgument, "INVALID_PARTITIONS"),
            (Error::PartitionLost { topic: "t".into(), partition: 3 }, Code::DataLoss, "DAMAGED"),
            (Error::Full("x".into()), Code::ResourceExhausted, "DISK_FULL"),
            (Error::Stopping, Code::Unavailable, "STOPPING"),
            (Error::Aborted, Code::Unavailable, "ABORTED"),
            (damaged(None), Code::DataLoss, "DAMAGED"),
        ] {
            let retryable = error.is_retryable();
            let refusal = of(&error);
            assert_eq!((refusal.code, refusal.reason), (code, reason));
            assert_eq!(refusal.retry_after.is_some(), retryable, "{reason}");
        }
        let full = Refusal::of(&Error::Full("x".into()), Durability::Memory);
        assert_eq!(full.reason, "MEMORY_FULL");
    }

    #[test]
    fn a_setting_that_is_refused_is_named() {
        let error = Error::InvalidSetting { setting: TopicSetting::RetentionBytes, rule: "too few".into() };
        let refusal = of(&error);
        assert_eq!((refusal.code, refusal.reason), (Code::InvalidArgument, "INVALID_SETTING"));
        assert_eq!(refusal.metadata, [("setting", "retention_bytes".to_owned())]);
        assert_eq!(refusal.message, "retention_bytes: too few");
    }

    #[test]
    fn a_status_and_a_request_error_say_the_same() {
        let error = Error::OutOfRange {
            topic: "t".into(),
            partition: 0,
            wanted: Offset::new(9),
            start: Offset::new(2),
            high_watermark: Offset::new(5),
        };
        let status = Status::from(of(&error));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NUMBER_OUT_OF_RANGE", "minikafka"));
        assert_eq!((info.metadata["start"].as_str(), info.metadata["end"].as_str()), ("3", "6"));
        assert!(!is_too_large(&status));
        let request_error = RequestError::from(of(&error));
        assert_eq!(request_error.code, Code::OutOfRange as i32);
        assert_eq!(request_error.message, status.message());
        assert_eq!(request_error.metadata, info.metadata);
    }

    #[test]
    fn damage_names_what_is_lost_and_where_to_go_on() {
        for (next, lost, metadata) in [
            (
                Some(8),
                "messages 5 to 8 (reading goes on at 9)",
                vec![("from", "5"), ("to", "9"), ("next", "9")],
            ),
            (Some(5), "message 5 (reading goes on at 6)", vec![("from", "5"), ("to", "6"), ("next", "6")]),
            (None, "messages from 5 on", vec![("from", "5")]),
        ] {
            let Refusal { message, metadata: found, .. } = of(&damaged(next));
            let found: Vec<_> = found.iter().map(|(key, number)| (*key, number.as_str())).collect();
            let expected = format!("topic \"t\" partition 0 has lost {lost} to damage of the disk: crc");
            assert_eq!((message, found), (expected, metadata));
        }
    }

    #[test]
    fn waiting_helps_where_it_says_so() {
        let status = Status::from(of(&Error::Full("no space".into())));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(RETRY_WHEN_FULL));
        assert_eq!(RequestError::from(of(&Error::Stopping)).retry_after_ms, Some(1000));
        assert!(Status::from(of(&Error::TopicNotFound("t".into()))).get_details_retry_info().is_none());
    }
}
