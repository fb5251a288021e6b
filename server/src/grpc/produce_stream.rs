//! Pipelined produce: a task reads requests and hands them to the broker, in order; the replies follow in the
//! same order as they become durable.
//!
//! ```text
//!   requests -> read() -> Partition::produce -> replies: bounded queue of pending replies -> reply() -> client
//! ```
//!
//! The broker bounds the bytes on their way, the queue bounds their number. A client that does not read its
//! replies fills the queue, and is read no further.
//!
//! **Invariant:** every request handed to the broker is answered before the stream ends with OK, so a request
//! without an answer was not stored.

use std::{pin::pin, sync::Arc};

use futures_util::{Stream, stream::unfold};
use minikafka_broker::{Broker, CheckedPayload, Error, Partition, PendingProduce};
use minikafka_proto::v1::{
    ProduceRequest, ProduceStreamRequest, ProduceStreamResponse, produce_stream_response::Result as Outcome,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Instrument, debug_span};

use super::{
    intake::Held,
    message, produce,
    refusal::{Refusal, is_too_large, refuse},
};
use crate::observe::Refusals;

/// Replies of one stream that may be on their way. Enough for small batches to many partitions: what comes to one of them
/// between two syncs is then worth a sync of its own. What these messages hold in memory is bounded by the broker, for all
/// streams together.
const PENDING_MAX: usize = 8 * 1024;

/// Runs a stream until the client ends it or the server stops. Returns the replies.
pub(super) fn run(
    broker: Broker,
    requests: Streaming<ProduceStreamRequest>,
    held: Held,
    stopping: CancellationToken,
    refusals: Arc<Refusals>,
) -> impl Stream<Item = Result<ProduceStreamResponse, Status>> {
    let (replies, pending) = mpsc::channel(PENDING_MAX);
    let handing_over = HandingOver { broker: broker.clone(), last: None, held, replies };
    tokio::spawn(handing_over.read(requests, stopping).in_current_span());
    unfold((broker, pending, refusals), |(broker, mut pending, refusals)| async move {
        let reply: Reply = pending.recv().await?;
        Some((reply.wait(&broker, &refusals).await, (broker, pending, refusals)))
    })
}

/// What a request gets.
enum Reply {
    /// An answer, once it is durable.
    Pending { request_id: u64, partition: u32, produce: PendingProduce },
    /// An error of its own; the stream goes on.
    Refused { request_id: u64, refusal: Refusal },
    /// The end of the stream.
    End(Status),
}

impl Reply {
    async fn wait(self, broker: &Broker, refusals: &Refusals) -> Result<ProduceStreamResponse, Status> {
        let (request_id, outcome) = match self {
            Reply::Pending { request_id, partition, produce } => {
                let produced = produce.await.map(|produced| message::produced(produced, partition));
                (request_id, produced.map_err(refuse(broker)))
            }
            Reply::Refused { request_id, refusal } => (request_id, Err(refusal)),
            Reply::End(status) => return Err(status),
        };
        let result = match outcome {
            Ok(produced) => Outcome::Produced(produced),
            Err(refusal) => {
                refusals.count(refusal.reason());
                Outcome::Error(refusal.into())
            }
        };
        Ok(ProduceStreamResponse { request_id, result: Some(result) })
    }
}

/// The task that reads requests.
struct HandingOver {
    broker: Broker,
    /// The partition of the last request, which most often is that of the next.
    last: Option<Partition>,
    /// The permits for the bytes of the request under way.
    held: Held,
    replies: mpsc::Sender<Reply>,
}

impl HandingOver {
    async fn read(mut self, mut requests: Streaming<ProduceStreamRequest>, stopping: CancellationToken) {
        let mut stopped = pin!(stopping.cancelled());
        let replies = self.replies.clone();
        let mut gone = pin!(replies.closed());
        loop {
            let request = tokio::select! {
                biased;
                () = &mut stopped => return,
                () = &mut gone => return,
                request = requests.message() => request,
            };
            let reply = match request {
                Ok(Some(request)) => match self.hand_over(request).await {
                    Some(reply) => {
                        // The broker has the bytes now, or nobody.
                        self.held.release();
                        reply
                    }
                    None => return,
                },
                Ok(None) => return,
                Err(status) => Reply::End(self.explain(status)),
            };
            let ends = matches!(reply, Reply::End(_));
            if replies.send(reply).await.is_err() || ends {
                return;
            }
        }
    }

    /// Hands a request to the broker; `None` when the server takes nothing more.
    async fn hand_over(&mut self, request: ProduceStreamRequest) -> Option<Reply> {
        let request_id = request.request_id;
        let span = debug_span!("stream_request", id = request_id);
        match self.produce(request).instrument(span).await {
            Ok(reply) => Some(reply),
            Err(Refused::Stopping) => None,
            Err(Refused::Because(refusal)) => Some(Reply::Refused { request_id, refusal }),
        }
    }

    async fn produce(&mut self, request: ProduceStreamRequest) -> Result<Reply, Refused> {
        let request_id = request.request_id;
        let mut request = request.produce.ok_or_else(|| Refusal::invalid_request("the request is empty"))?;
        let payload =
            self.broker.check(message::payload(request.payload.take())?).map_err(refuse(&self.broker))?;
        let partition = self.partition(&request, &payload).await;
        let partition = partition.map_err(|error| self.refused(error))?;
        partition.check_leader_epoch(request.leader_epoch).map_err(|error| self.refused(error))?;
        let produce = partition.produce(payload).await.map_err(|error| self.refused(error))?;
        Ok(Reply::Pending { request_id, partition: partition.number(), produce })
    }

    async fn partition(
        &mut self,
        request: &ProduceRequest,
        payload: &CheckedPayload,
    ) -> Result<Partition, Error> {
        let Some(number) = request.partition else {
            // The last one need not be this one's.
            return produce::partition(&self.broker, request, payload).await;
        };
        let fits =
            |last: &Partition| last.topic() == request.topic && last.number() == number && last.is_open();
        match self.last.take().filter(fits) {
            Some(last) => Ok(self.last.insert(last).clone()),
            None => Ok(self.last.insert(produce::partition(&self.broker, request, payload).await?).clone()),
        }
    }

    fn refused(&self, error: Error) -> Refused {
        match error {
            Error::Stopping => Refused::Stopping,
            error => Refused::Because(refuse(&self.broker)(error)),
        }
    }

    fn explain(&self, status: Status) -> Status {
        if is_too_large(&status) {
            return Refusal::too_large(self.broker.config().message_bytes_max).into();
        }
        status
    }
}

/// Why a request was not taken.
enum Refused {
    /// None is any more: the stream ends, and what has no answer was not stored.
    Stopping,
    /// This one.
    Because(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::Because(refusal)
    }
}
