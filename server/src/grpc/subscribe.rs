//! Subscribe: a stream that is pulled. The next reply is fetched when HTTP/2 has room for it, so the
//! pace of a slow reader is its own.
//!
//! One that does not read at all costs the reply that waits in HTTP/2, the room that its encoding took, the
//! batches that it was cut from, and those of the next reply, which are fetched while this one is sent: about
//! 3.5 MB with replies of 1 MiB, and in proportion with larger ones.

use std::time::Duration;

use futures_util::{Stream, stream::unfold};
use minikafka_broker::{Broker, Error, Partition};
use minikafka_proto::v1::{MissingTopic, SubscribeRequest, SubscribeResponse};
use tonic::Status;

use super::{
    position::{self, Topic, known},
    reader::{Chunk, Reader, Wishes},
    refusal::{Refusal, refuse},
};

/// How long a reader waits at a time. It is woken by what it waits for; this only bounds a single wait.
const WAIT: Duration = Duration::from_secs(3600);

/// Starts a subscription. What can be refused at once is refused here; the first reply confirms the position.
pub(super) async fn subscribe(
    broker: Broker,
    request: SubscribeRequest,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>>, Refusal> {
    let wishes = Wishes::new(request.max_bytes, request.reset_policy, request.encoding)?;
    let missing: MissingTopic = known(request.missing_topic, "missing_topic")?;
    let start = match broker.partition(&request.topic, request.partition) {
        Ok(partition) => {
            let (reader, chunk) = open(&broker, partition, &request, wishes, Topic::Found).await?;
            State::Opened(reader, chunk)
        }
        Err(Error::TopicNotFound(_)) if missing == MissingTopic::Wait => {
            State::Waiting(broker, request, wishes)
        }
        Err(error) => return Err(refuse(&broker)(error)),
    };
    Ok(unfold(start, |state| async move {
        match state.step().await? {
            Ok((chunk, reader)) => Some((Ok(chunk.into()), State::Reading(reader))),
            Err(refusal) => Some((Err(refusal.into()), State::Ended)),
        }
    }))
}

/// Where a subscription stands.
// One of each per stream, and it moves on within it: the size of the largest is no waste.
#[allow(clippy::large_enum_variant)]
enum State {
    /// The topic is not there yet.
    Waiting(Broker, SubscribeRequest, Wishes),
    /// The first reply is there.
    Opened(Reader, Chunk),
    /// On the way.
    Reading(Reader),
    /// An error was sent.
    Ended,
}

impl State {
    /// The next reply, with the reader that goes on from it; `None` after the end.
    async fn step(self) -> Option<Result<(Chunk, Reader), Refusal>> {
        match self {
            State::Waiting(broker, request, wishes) => Some(wait(&broker, &request, wishes).await),
            State::Opened(reader, chunk) => Some(Ok((chunk, reader))),
            State::Reading(reader) => Some(read(reader).await),
            State::Ended => None,
        }
    }
}

async fn wait(
    broker: &Broker,
    request: &SubscribeRequest,
    wishes: Wishes,
) -> Result<(Chunk, Reader), Refusal> {
    let created = broker.partition_when_created(&request.topic, request.partition).await;
    let partition = created.map_err(refuse(broker))?;
    let (reader, chunk) = open(broker, partition, request, wishes, Topic::Awaited).await?;
    Ok((chunk, reader))
}

/// Finds the position, and what is there already.
async fn open(
    broker: &Broker,
    partition: Partition,
    request: &SubscribeRequest,
    wishes: Wishes,
    topic: Topic,
) -> Result<(Reader, Chunk), Refusal> {
    partition.check_leader_epoch(request.leader_epoch).map_err(refuse(broker))?;
    let position = position::resolve(broker, &partition, request.from.as_ref(), topic).await?;
    let mut reader = Reader::new(broker.clone(), partition, position, wishes);
    let chunk = reader.next(Duration::ZERO).await?;
    Ok((reader, chunk))
}

async fn read(mut reader: Reader) -> Result<(Chunk, Reader), Refusal> {
    loop {
        let chunk = reader.next(WAIT).await?;
        if !chunk.is_empty() {
            reader.fetch_ahead();
            return Ok((chunk, reader));
        }
    }
}

impl From<Chunk> for SubscribeResponse {
    fn from(chunk: Chunk) -> SubscribeResponse {
        SubscribeResponse {
            messages: chunk.messages,
            record_batches: chunk.record_batches,
            next_number: chunk.next_number,
            start_number: chunk.start_number,
            end_number: chunk.end_number,
            leader_epoch: chunk.leader_epoch,
        }
    }
}
