//! Positions on their way to the server.

use std::{sync::Arc, time::Duration};

use minikafka_client_connection::GroupClient;
use minikafka_proto::v1::{CommitPositionsRequest, PartitionPosition};
use tokio::time;

use crate::{
    ConsumeError, TopicPartition,
    error::{Verdict, has_reason, is_answer, is_lost, judge, may_heal},
};

/// A server takes requests of positions as large as its largest batch, megabytes by default. This is far below that, so
/// that thousands of positions are one request, and one that takes less says so: what it refuses is halved.
const REQUEST_BYTES_MAX: usize = 256 << 10;
/// What a position takes up beside the name of its topic and its metadata, at most.
const POSITION_BYTES: usize = 48;
/// How long the server has for an answer. It is asked again after that.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A position for [`GroupConsumer::commit_positions`](crate::GroupConsumer::commit_positions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionToCommit {
    /// The partition.
    pub of: TopicPartition,
    /// Number of the message to read next.
    pub number: u64,
    /// What is to be remembered with it: at most 4096 bytes.
    pub metadata: String,
}

/// Who commits.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    pub(crate) group: String,
    pub(crate) member_id: Arc<str>,
    pub(crate) epoch: u64,
}

/// What came of a commit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stored: Vec<(TopicPartition, u64)>,
    /// Refused for good.
    pub(crate) refused: Vec<(TopicPartition, ConsumeError)>,
    /// Why the rest was not stored.
    pub(crate) cut_short: Option<CutShort>,
}

impl Outcome {
    /// The first refusal for good, if there is one. A partition that is not there any more has no position to store.
    pub(super) fn into_refusal(self) -> Result<(), ConsumeError> {
        let mut refusals = self.refused.into_iter().map(|(_, error)| error);
        refusals.find(|error| !matches!(error, ConsumeError::NotFound { .. })).map_or(Ok(()), Err)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum CutShort {
    /// There was no answer, or not one to what was asked. Trying again helps.
    TryAgain(Arc<str>),
    /// The server has failed. Trying again may help, and does no harm.
    Failed(Arc<str>),
    /// The member is lost.
    Lost(Arc<str>),
}

/// Stores positions, each or not. The server takes all of a request or nothing, so what it refuses is halved until the
/// one is found that it does not want.
pub(crate) async fn commit(
    mut client: GroupClient,
    who: Committer,
    positions: Vec<PositionToCommit>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut requests = split(positions);
    while let Some(mut positions) = requests.pop() {
        let request = CommitPositionsRequest {
            group: who.group.clone(),
            member_id: who.member_id.to_string(),
            member_epoch: who.epoch,
            positions: positions.iter().map(PartitionPosition::from).collect(),
        };
        let mut is_answered = false;
        let verdict = match time::timeout(TIMEOUT, client.commit_positions(request)).await {
            Ok(Ok(_)) => {
                outcome.stored.extend(positions.into_iter().map(|each| (each.of, each.number)));
                continue;
            }
            Ok(Err(status)) => {
                is_answered = is_answer(&status);
                judge(&status)
            }
            Err(_elapsed) => Verdict::TryAgain("the server does not answer".into()),
        };
        match verdict {
            Verdict::TryAgain(cause) if is_answered => outcome.cut_short = Some(CutShort::Failed(cause)),
            Verdict::TryAgain(cause) => outcome.cut_short = Some(CutShort::TryAgain(cause)),
            Verdict::Fail(error) if is_lost(&error) => {
                outcome.cut_short = Some(CutShort::Lost(error.to_string().into()));
            }
            // Whether it is stored, the server does not know.
            Verdict::Fail(error) if may_heal(&error) => {
                outcome.cut_short = Some(CutShort::Failed(error.to_string().into()));
            }
            // The next assignment is on its way.
            Verdict::Fail(error) if has_reason(&error, &["STALE_MEMBER_EPOCH"]) => {
                outcome.cut_short = Some(CutShort::TryAgain(error.to_string().into()));
            }
            Verdict::Fail(_) if positions.len() > 1 => {
                let half = positions.split_off(positions.len() / 2);
                requests.extend([half, positions]);
            }
            Verdict::Fail(error) => outcome.refused.extend(positions.pop().map(|each| (each.of, error))),
        }
        if outcome.cut_short.is_some() {
            break;
        }
    }
    outcome
}

/// By requests that the server takes, the last one first.
fn split(positions: Vec<PositionToCommit>) -> Vec<Vec<PositionToCommit>> {
    let mut requests: Vec<Vec<PositionToCommit>> = Vec::new();
    let mut bytes = REQUEST_BYTES_MAX;
    for position in positions {
        let more = POSITION_BYTES + position.of.topic.len() + position.metadata.len();
        match requests.last_mut() {
            Some(last) if bytes + more <= REQUEST_BYTES_MAX => {
                last.push(position);
                bytes += more;
            }
            _ => {
                requests.push(vec![position]);
                bytes = more;
            }
        }
    }
    requests.reverse();
    requests
}

impl From<&PositionToCommit> for PartitionPosition {
    fn from(position: &PositionToCommit) -> PartitionPosition {
        PartitionPosition {
            topic: position.of.topic.to_string(),
            partition: position.of.partition,
            number: position.number,
            metadata: position.metadata.clone(),
            commit_time_ms: 0,
        }
    }
}
