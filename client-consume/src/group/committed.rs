//! Positions that the server has stored, and what was left with them.

use std::collections::{BTreeMap, HashMap};

use minikafka_client_connection::{Backoff, GroupClient};
use minikafka_proto::v1::{self, FetchPositionsRequest, FetchPositionsResponse, PartitionPosition};
use tokio::time::{self, Instant};

use super::{GroupConsumer, commit::TIMEOUT};
use crate::{
    ConsumeError, TopicPartition,
    error::{Verdict, has_reason, is_lost, judge},
};

/// How many positions are asked for at once: with the most metadata that they can have, the reply is half of what a
/// client takes that was told nothing else.
const ASKED_MAX: usize = 500;

/// A position that a group has stored; see [`GroupConsumer::committed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedPosition {
    /// Number of the message to read next.
    pub number: u64,
    /// What was left with it; empty: nothing.
    pub metadata: String,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub commit_time_ms: i64,
}

impl GroupConsumer {
    /// What the group has stored of these partitions, whoever of its members has committed that: positions, and what was
    /// left with them. Partitions of which nothing is stored are left out, as are those that are not there. The member need
    /// not read them. What it is committing automatically just now counts.
    ///
    /// # Errors
    /// [`ConsumeError::Unreachable`] after the timeout, and what the server refuses.
    pub async fn committed(
        &mut self,
        of: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, CommittedPosition>, ConsumeError> {
        let deadline = Instant::now() + self.options.timeout;
        let handle = self.commit_handle();
        let mut question = Question::new(handle.group.clone(), of);
        let mut backoff = Backoff::new();
        self.finish_commit().await?;
        loop {
            // The connection may be another one each time.
            let asked = match handle.board.standing().client {
                Some(client) => time::timeout_at(deadline, question.ask(client)).await,
                None => Ok(Err(Verdict::TryAgain("it is not a member just now".into()))),
            };
            let cause = match asked {
                Ok(Ok(())) => return Ok(question.stored.into_iter().collect()),
                // Without members and positions it is none.
                Ok(Err(Verdict::Fail(error))) if has_reason(&error, &["GROUP_NOT_FOUND"]) => {
                    return Ok(BTreeMap::new());
                }
                Ok(Err(Verdict::Fail(error))) => return Err(error),
                Ok(Err(Verdict::TryAgain(cause))) => cause,
                Err(_elapsed) => "the server does not answer".into(),
            };
            if Instant::now() >= deadline {
                return Err(handle.unreachable(cause));
            }
            time::sleep(backoff.next_wait()).await;
        }
    }
}

/// Positions that are stored.
pub(super) type Positions = HashMap<TopicPartition, CommittedPosition>;

/// The positions that a group has stored of these partitions. Asks until there is an answer.
///
/// # Errors
/// What the server says, when asking again does not help.
pub(super) async fn positions(
    client: GroupClient,
    group: String,
    of: Vec<TopicPartition>,
) -> Result<Positions, ConsumeError> {
    let (mut question, mut backoff) = (Question::new(group, &of), Backoff::new());
    loop {
        match question.ask(client.clone()).await {
            Ok(()) => return Ok(question.stored),
            Err(Verdict::TryAgain(_)) => time::sleep(backoff.next_wait()).await,
            Err(Verdict::Fail(error)) => return Err(error),
        }
    }
}

/// Partitions whose positions are asked for, as far as they are not known yet.
struct Question {
    group: String,
    /// What is left to ask, with the page.
    requests: Vec<(Vec<TopicPartition>, String)>,
    stored: Positions,
}

impl Question {
    fn new(group: String, of: &[TopicPartition]) -> Question {
        let requests = of.chunks(ASKED_MAX).map(|of| (of.to_vec(), String::new())).collect();
        Question { group, requests, stored: Positions::new() }
    }

    /// Asks for the rest. What the server refuses is halved, as in [`commit`](super::commit::commit): a partition that is
    /// not there any more has no position. May be dropped, and called again.
    async fn ask(&mut self, mut client: GroupClient) -> Result<(), Verdict> {
        while let Some((of, page_token)) = self.requests.last() {
            let request = FetchPositionsRequest {
                group: self.group.clone(),
                partitions: of.iter().map(v1::TopicPartition::from).collect(),
                page_token: page_token.clone(),
                ..FetchPositionsRequest::default()
            };
            let verdict = match time::timeout(TIMEOUT, client.fetch_positions(request)).await {
                Ok(Ok(reply)) => {
                    self.take(reply.into_inner());
                    continue;
                }
                Ok(Err(status)) => judge(&status),
                Err(_elapsed) => Verdict::TryAgain("the server does not answer".into()),
            };
            match verdict {
                Verdict::Fail(error) if !is_lost(&error) => self.narrow(error)?,
                verdict => return Err(verdict),
            }
        }
        Ok(())
    }

    /// The answer to the last request.
    fn take(&mut self, reply: FetchPositionsResponse) {
        let Some((of, _)) = self.requests.pop() else { return };
        let FetchPositionsResponse { positions, next_page_token } = reply;
        let position = |at: PartitionPosition| {
            let PartitionPosition { topic, partition, number, metadata, commit_time_ms } = at;
            (TopicPartition::new(topic, partition), CommittedPosition { number, metadata, commit_time_ms })
        };
        self.stored.extend(positions.into_iter().map(position));
        if !next_page_token.is_empty() {
            self.requests.push((of, next_page_token));
        }
    }

    /// Something in the last request is refused.
    fn narrow(&mut self, error: ConsumeError) -> Result<(), Verdict> {
        let Some((mut of, page_token)) = self.requests.pop() else { return Ok(()) };
        if of.len() > 1 {
            let half = of.split_off(of.len() / 2);
            self.requests.extend([half, of].map(|of| (of, String::new())));
            return Ok(());
        }
        if matches!(error, ConsumeError::NotFound { .. }) {
            return Ok(());
        }
        self.requests.push((of, page_token));
        Err(Verdict::Fail(error))
    }
}
