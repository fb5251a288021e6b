//! What a producer asks the server beside the stream of its messages: who it is, and how many partitions there are.

use std::{collections::BTreeSet, convert::Infallible, fmt, sync::Arc, time::Duration};

use minikafka_client_connection::{Backoff, Client, causes};
use minikafka_proto::v1::{DescribeTopicRequest, InitProducerRequest};
use tokio::time;
use tonic::{Code, Status};

use crate::{
    Refusal,
    errand::{Errand, Missing},
    lane::Identity,
    partitioner::Partitions,
    queue::Queue,
    settings::Delivery,
};

/// Asks everything once, at the beginning. Where the server does not answer a question now, the producer goes on
/// asking later.
///
/// # Errors
/// When nobody knows how many partitions there are: keys would go to the wrong ones.
pub(crate) async fn introduce(queue: &Queue, client: &mut Client) -> Result<(), Failure> {
    if queue.delivery() == Delivery::ExactlyOnce {
        // Without a name nothing is sent, and messages fail in time.
        let _ = ask_identity(queue, client, None).await;
    }
    ask_partitions(queue, client, Missing::Leave).await
}

/// Asks whatever the queue wants to know, until it is dropped.
pub(crate) async fn run_errands(queue: &Queue, mut client: Client) -> Infallible {
    let mut backoff = Backoff::new();
    loop {
        let answered = match queue.next_errand().await {
            Errand::Identity(previous) => ask_identity(queue, &mut client, previous).await,
            Errand::Partitions(missing) => ask_partitions(queue, &mut client, missing).await,
        };
        match answered {
            Ok(()) => backoff.reset(),
            Err(failure) => {
                queue.note_unreachable(failure.to_string().into());
                time::sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// An answer that does not help.
#[derive(Debug)]
pub(crate) struct Failure(Status);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(&self.0) {
            Some(_) => f.write_str(&causes(&self.0)),
            None => f.write_str(self.0.message()),
        }
    }
}

async fn ask_identity(queue: &Queue, client: &mut Client, previous: Option<Identity>) -> Result<(), Failure> {
    let request = InitProducerRequest {
        producer_id: previous.map(|identity| identity.id),
        producer_epoch: previous.map(|identity| identity.epoch.into()),
    };
    match client.init_producer(request).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            let identity = i16::try_from(reply.producer_epoch)
                .ok()
                .filter(|epoch| *epoch >= 0 && reply.producer_id >= 0)
                .map(|epoch| Identity { id: reply.producer_id, epoch });
            let nonsense = || Failure(Status::internal("the server gave an identity that cannot be"));
            // A server that does not say when it forgets does not forget.
            let expiry = (reply.expiry_ms > 0).then(|| Duration::from_millis(reply.expiry_ms));
            queue.set_identity(identity.ok_or_else(nonsense)?, expiry);
            Ok(())
        }
        Err(status) if status.code() == Code::Unimplemented => {
            tracing::warn!(
                topic = queue.topic(),
                "the server is too old for idempotent producers: a message whose reply is lost is not sent again"
            );
            queue.give_up_exactly_once();
            Ok(())
        }
        // Somebody else has taken it over, or the server does not know it: it lost its data.
        Err(status)
            if previous.is_some()
                && matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) =>
        {
            queue.lose_identity();
            Ok(())
        }
        Err(status) => Err(Failure(status)),
    }
}

async fn ask_partitions(queue: &Queue, client: &mut Client, missing: Missing) -> Result<(), Failure> {
    let create_missing = missing == Missing::Create;
    let request = DescribeTopicRequest { topic: queue.topic().to_owned(), create_missing };
    match client.describe_topic(request).await {
        Ok(reply) => {
            let partitions = reply.into_inner().partitions;
            let lost = partitions.iter().filter(|each| each.is_lost).map(|each| each.partition).collect();
            let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
            queue.set_partitions(Some(Partitions { count, lost }));
            Ok(())
        }
        // A server from before there were several.
        Err(status) if status.code() == Code::Unimplemented => {
            queue.set_partitions(Some(Partitions { count: 1, lost: BTreeSet::new() }));
            Ok(())
        }
        // There is none yet, or there cannot be one: the first message will tell; unless that needs to know.
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
            match missing {
                Missing::Leave => queue.set_partitions(None),
                Missing::Create => queue.refuse_topic(Arc::new(Refusal::from(&status))),
            }
            Ok(())
        }
        Err(status) => Err(Failure(status)),
    }
}
