//! What an error about groups means in Kafka: one row for each.

use kafka_protocol::ResponseError;
use minikafka_broker::{Error, GroupError};

use crate::kafka::{door::Door, errors};

impl Door {
    /// The code that a client is told about an error of a group.
    pub(super) fn refuse_group(&self, error: &Error) -> i16 {
        self.counts.error(code(error))
    }
}

/// The code of an error.
pub(super) fn code(error: &Error) -> ResponseError {
    match error {
        Error::Group(error) => of_group(error),
        // Clients look for the coordinator again after a while, and then ask again.
        Error::Stopping
        | Error::Aborted
        | Error::Full(_)
        | Error::Poisoned { .. }
        | Error::OutcomeUnknown { .. }
        | Error::Storage(_) => ResponseError::CoordinatorNotAvailable,
        other => errors::code(other),
    }
}

pub(super) fn of_group(error: &GroupError) -> ResponseError {
    use ResponseError as Code;
    match error {
        GroupError::InvalidName(_) => Code::InvalidGroupId,
        GroupError::NotFound(_) => Code::GroupIdNotFound,
        GroupError::UnknownMember { .. } | GroupError::NotOwner { .. } => Code::UnknownMemberId,
        GroupError::Fenced { .. } => Code::FencedMemberEpoch,
        GroupError::StaleEpoch { .. } => Code::StaleMemberEpoch,
        GroupError::NotEmpty { .. } | GroupError::Occupied(_) => Code::NonEmptyGroup,
        GroupError::OtherProtocol { .. } | GroupError::InconsistentProtocol(_) => {
            Code::InconsistentGroupProtocol
        }
        GroupError::TopicInUse { .. } => Code::GroupSubscribedToTopic,
        GroupError::InstanceInUse { .. } => Code::UnreleasedInstanceId,
        GroupError::TooManyMembers { .. } => Code::GroupMaxSizeReached,
        GroupError::TooManyGroups { .. } | GroupError::TooMuchState { .. } => Code::PolicyViolation,
        GroupError::PositionOutOfRange { .. } => Code::OffsetOutOfRange,
        GroupError::MetadataTooLarge { .. } => Code::OffsetMetadataTooLarge,
        GroupError::RebalanceInProgress(_) => Code::RebalanceInProgress,
        GroupError::IllegalGeneration { .. } => Code::IllegalGeneration,
        GroupError::MemberIdRequired { .. } => Code::MemberIdRequired,
        GroupError::InstanceFenced { .. } => Code::FencedInstanceId,
        GroupError::InvalidPattern { .. } => Code::InvalidRegularExpression,
        GroupError::InvalidSessionTimeout { .. } => Code::InvalidSessionTimeout,
        // The error can grow: what has no row yet is the server's fault.
        _ => Code::UnknownServerError,
    }
}
