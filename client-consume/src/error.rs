//! [`ConsumeError`]. Its variants say what the caller can do.

use std::sync::Arc;

use minikafka_proto::v1::RequestError;
use minikafka_record::BatchError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use minikafka_client_connection::causes;

use crate::{AddressError, TopicPartition};

/// Why no messages came. The position is unchanged, whatever the error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The address is to be corrected.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server could not be reached in time: poll again, the consumer goes on trying.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        /// The server, as host:port.
        address: String,
        /// What went wrong last.
        cause: Arc<str>,
    },
    /// The topic or the partition is not there, or was deleted: create it, or poll again later.
    #[error("{message}")]
    NotFound {
        /// The partition, if one was read.
        of: Option<TopicPartition>,
        /// A sentence that names it.
        message: String,
    },
    /// The position is evicted or beyond the end: seek into `start..=end`. Numbers are the server's.
    #[error("{message}")]
    OutOfRange {
        /// The partition.
        of: TopicPartition,
        /// Number of the oldest message kept.
        start: u64,
        /// One past the last readable message.
        end: u64,
        /// A sentence that names both.
        message: String,
    },
    /// The server's disk has lost messages: seek to `next` to go on behind them.
    #[error("{message}")]
    Damaged {
        /// The partition.
        of: TopicPartition,
        /// Number of the first message that is lost.
        from: u64,
        /// Number of the next readable message.
        next: u64,
        /// A sentence that names them.
        message: String,
    },
    /// The server's disk has lost the log of the partition, or so much of it that nobody knows where to go on. Poll again
    /// for the messages of the others. It is said once: the consumer leaves the partition alone, and tries now and then
    /// whether it is back.
    #[error("{message}")]
    PartitionLost {
        /// The partition.
        of: TopicPartition,
        /// A sentence that names it.
        message: String,
    },
    /// What came is not a valid record batch: poll again, it may have been changed on the way.
    #[error("reading {of} at message {number}: {source}")]
    Corrupt {
        /// The partition.
        of: TopicPartition,
        /// Number of the next message, as far as it is known; else 0.
        number: u64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The consumer is no longer the member of its group that it was: it has joined anew, or does so with the next
    /// poll. What was read and not committed comes again, to whoever reads it now.
    #[error("lost the membership in group \"{group}\": {cause}")]
    MembershipLost {
        /// The group.
        group: String,
        /// Why.
        cause: Arc<str>,
    },
    /// The server fails over positions of the group again and again, and what was read and is not committed comes again
    /// if its reader dies. Poll again: the consumer goes on trying.
    #[error("positions of group \"{group}\" are not stored: {cause}")]
    NotCommitted {
        /// The group.
        group: String,
        /// What the server said last.
        cause: Arc<str>,
    },
    /// The server refuses the request and will refuse it again.
    #[error("{message}")]
    Refused {
        /// The kind of error, as gRPC names it.
        code: Code,
        /// Stable and for programs: `INVALID_TOPIC_NAME`. Empty when the server gave none.
        reason: String,
        /// A sentence for people.
        message: String,
    },
}

impl ConsumeError {
    /// Whether polling again may help, without doing anything else.
    pub fn is_retryable(&self) -> bool {
        use ConsumeError::{Corrupt, MembershipLost, NotCommitted, PartitionLost, Unreachable};
        matches!(
            self,
            Unreachable { .. }
                | Corrupt { .. }
                | PartitionLost { .. }
                | MembershipLost { .. }
                | NotCommitted { .. }
        )
    }
}

/// What an answer of the server means to who reads.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Asking again may help.
    TryAgain(Arc<str>),
    /// It will not.
    Fail(ConsumeError),
}

/// The server names a reason with each error of its own. A status without one was made on the way, by a proxy
/// or by the transport.
pub(crate) fn judge(status: &Status) -> Verdict {
    let details = status.get_error_details();
    let message = status.message().to_owned();
    let Some(info) = details.error_info() else {
        return judge_without_reason(status);
    };
    Verdict::Fail(match info.reason.as_str() {
        "TOPIC_NOT_FOUND" | "PARTITION_NOT_FOUND" => ConsumeError::NotFound { of: None, message },
        "STOPPING" => return Verdict::TryAgain(message.into()),
        _ if details.retry_info().is_some() => return Verdict::TryAgain(message.into()),
        reason => ConsumeError::Refused { code: status.code(), reason: reason.to_owned(), message },
    })
}

/// The same for an error of one partition.
pub(crate) fn judge_partition(error: RequestError, of: &TopicPartition) -> Verdict {
    let RequestError { code, reason, message, metadata, retry_after_ms } = error;
    let number = |name| metadata.get(name).and_then(|number| number.parse().ok());
    let of = of.clone();
    Verdict::Fail(match reason.as_str() {
        "TOPIC_NOT_FOUND" | "PARTITION_NOT_FOUND" => ConsumeError::NotFound { of: Some(of), message },
        "NUMBER_OUT_OF_RANGE" => {
            let (start, end) = (number("start").unwrap_or(0), number("end").unwrap_or(0));
            ConsumeError::OutOfRange { of, start, end, message }
        }
        "DAMAGED" => match number("next") {
            Some(next) => ConsumeError::Damaged { of, from: number("from").unwrap_or(0), next, message },
            None => ConsumeError::PartitionLost { of, message },
        },
        _ if retry_after_ms.is_some() => return Verdict::TryAgain(message.into()),
        _ => ConsumeError::Refused { code: Code::from_i32(code), reason, message },
    })
}

/// Whether the server itself has said so: then the connection to it works.
pub(crate) fn is_answer(status: &Status) -> bool {
    status.get_details_error_info().is_some()
}

/// Whether the server no longer knows who asks as a member of the group.
pub(crate) fn is_lost(error: &ConsumeError) -> bool {
    has_reason(error, &["UNKNOWN_MEMBER", "MEMBER_FENCED", "GROUP_NOT_FOUND"])
}

/// Whether saying the same to a group again may help, and does no harm: the server has failed, a sync of its disk for
/// example, and does not know what has become of the request. It opens what has failed again by itself.
pub(crate) fn may_heal(error: &ConsumeError) -> bool {
    matches!(error, ConsumeError::Refused { code: Code::Internal, .. })
}

/// Whether the server has refused a request, for one of these reasons.
pub(crate) fn has_reason(error: &ConsumeError, reasons: &[&str]) -> bool {
    matches!(error, ConsumeError::Refused { reason, .. } if reasons.contains(&reason.as_str()))
}

fn judge_without_reason(status: &Status) -> Verdict {
    match status.code() {
        code @ (Code::Unimplemented
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition) => {
            let message = status.message().to_owned();
            Verdict::Fail(ConsumeError::Refused { code, reason: String::new(), message })
        }
        _ if std::error::Error::source(status).is_some() => Verdict::TryAgain(causes(status).into()),
        _ => Verdict::TryAgain(status.message().into()),
    }
}
