//! Poll: messages once, perhaps after a wait.

use std::time::Duration;

use minikafka_broker::{Broker, Error, Partition};
use minikafka_proto::v1::{MissingTopic, PollRequest, PollResponse, Position, position::At};
use tokio::time::{Instant, timeout_at};

use super::{
    position::{self, Topic, known},
    reader::{Chunk, Reader, Wishes},
    refusal::{Refusal, refuse},
};

/// Longest wait: clients and proxies give up on calls that take longer.
const WAIT_MAX: Duration = Duration::from_secs(300);

pub(super) async fn poll(broker: &Broker, request: PollRequest) -> Result<PollResponse, Refusal> {
    let wishes = Wishes::new(request.max_bytes, request.reset_policy, request.encoding)?;
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.into()).min(WAIT_MAX);
    let Some((partition, topic)) = partition(broker, &request, deadline).await? else {
        return Ok(not_created(request.from.as_ref()));
    };
    partition.check_leader_epoch(request.leader_epoch).map_err(refuse(broker))?;
    let position = position::resolve(broker, &partition, request.from.as_ref(), topic).await?;
    let mut reader = Reader::new(broker.clone(), partition, position, wishes);
    Ok(reader.next(deadline.saturating_duration_since(Instant::now())).await?.into())
}

/// The partition to read, perhaps after a wait; `None` when it was waited for in vain.
async fn partition(
    broker: &Broker,
    request: &PollRequest,
    deadline: Instant,
) -> Result<Option<(Partition, Topic)>, Refusal> {
    let missing: MissingTopic = known(request.missing_topic, "missing_topic")?;
    match broker.partition(&request.topic, request.partition) {
        Ok(partition) => Ok(Some((partition, Topic::Found))),
        Err(Error::TopicNotFound(_)) if missing == MissingTopic::Wait => {
            let created = broker.partition_when_created(&request.topic, request.partition);
            match timeout_at(deadline, created).await {
                Ok(Ok(partition)) => Ok(Some((partition, Topic::Awaited))),
                Ok(Err(error)) => Err(refuse(broker)(error)),
                Err(_) => Ok(None),
            }
        }
        Err(error) => Err(refuse(broker)(error)),
    }
}

/// Who waits for a topic in vain is answered as by an empty one, and goes on where he wanted to start.
fn not_created(from: Option<&Position>) -> PollResponse {
    let next_number = match from.and_then(|from| from.at.as_ref()) {
        Some(At::Number(number)) => *number,
        _ => 1,
    };
    PollResponse { next_number, start_number: 1, end_number: 1, ..PollResponse::default() }
}

impl From<Chunk> for PollResponse {
    fn from(chunk: Chunk) -> PollResponse {
        PollResponse {
            messages: chunk.messages,
            record_batches: chunk.record_batches,
            next_number: chunk.next_number,
            start_number: chunk.start_number,
            end_number: chunk.end_number,
            leader_epoch: chunk.leader_epoch,
        }
    }
}
