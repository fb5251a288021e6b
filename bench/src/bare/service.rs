//! [`Service`]: the gRPC API with nothing behind it but, perhaps, a group commit. What tonic allows.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use minikafka_proto::v1::{
    self, ProduceRequest, ProduceResponse, ProduceStreamRequest, ProduceStreamResponse, SubscribeRequest,
    SubscribeResponse,
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Outcome,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::GroupCommit;
use crate::logs;

/// The topic whose subscribers get the same blobs for ever; those of others get what is produced.
pub(crate) const BLOBS_TOPIC: &str = "blobs";
/// Bytes of the batches that a blob is made of.
pub(crate) const BLOB_BATCH_BYTES: usize = 256 << 10;
/// Bytes of their records.
pub(crate) const BLOB_RECORD_LEN: usize = 1024;
/// Batches of a blob: as many as MiniKafka puts into a reply.
const BLOB_BATCHES: usize = 4;
/// Replies of one stream that may be on their way.
const PENDING_MAX: usize = 8 * 1024;
/// Bytes that may wait for the disk, as with MiniKafka.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Payloads that a subscriber may lag behind; then the producers wait.
const LAG_MAX: usize = 4096;
/// Bytes after which a reply to a subscriber takes no more.
const REPLY_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    commit: Option<GroupCommit>,
    room: Arc<Semaphore>,
    has_subscribers: AtomicBool,
    subscribers: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Service {
    /// With a group commit, it answers when that has synced; without, at once.
    pub(crate) fn new(commit: Option<GroupCommit>) -> Service {
        Service(Arc::new(Inner {
            commit,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
            has_subscribers: AtomicBool::new(false),
            subscribers: Mutex::default(),
        }))
    }

    /// Serves with the settings that our own server has.
    pub(crate) async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let incoming = TcpListenerStream::new(listener).inspect(|socket| {
            if let Ok(socket) = socket {
                let _ = socket.set_nodelay(true);
            }
        });
        tonic::transport::Server::builder()
            .max_frame_size(256 << 10)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .add_service(MiniKafkaServiceServer::new(self))
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    }

    /// Takes a payload; the answer comes when it is committed.
    async fn take(&self, payload: Option<Payload>) -> Result<oneshot::Receiver<Result<(), String>>, Status> {
        let bytes = flatten(payload);
        if self.0.has_subscribers.load(Ordering::Relaxed) {
            let subscribers = self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for subscriber in subscribers {
                // One that went away misses nothing.
                let _ = subscriber.send(bytes.clone()).await;
            }
        }
        let (answer, answered) = oneshot::channel();
        match &self.0.commit {
            None => _ = answer.send(Ok(())),
            Some(commit) => {
                let room = self.0.room.clone().acquire_many_owned(bytes.len().min(WAITING_BYTES_MAX) as u32);
                let room = room.await.map_err(|_| Status::internal("closed"))?;
                commit.append(
                    &bytes,
                    Box::new(move |outcome| {
                        drop(room);
                        // Who went away does not want to know.
                        let _ = answer.send(outcome);
                    }),
                );
            }
        }
        Ok(answered)
    }
}

/// The bytes of a payload. A list is copied together, which is the least that storing it takes.
fn flatten(payload: Option<Payload>) -> Bytes {
    match payload {
        None => Bytes::new(),
        Some(Payload::RecordBatch(batch)) => batch,
        Some(Payload::Messages(list)) => {
            let values = list.messages.iter().filter_map(|message| message.value.as_ref());
            let mut bytes = Vec::with_capacity(values.clone().map(Bytes::len).sum());
            values.for_each(|value| bytes.extend_from_slice(value));
            bytes.into()
        }
    }
}

#[tonic::async_trait]
impl MiniKafkaService for Service {
    async fn produce(&self, request: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        let answered = self.take(request.into_inner().payload).await?;
        committed(answered.await)?;
        Ok(Response::new(produced()))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<BoxStream<ProduceStreamResponse>>, Status> {
        let mut requests = request.into_inner();
        if self.0.commit.is_none() && !self.0.has_subscribers.load(Ordering::Relaxed) {
            return Ok(Response::new(requests.map(|request| Ok(reply(request?.request_id))).boxed()));
        }
        let (replies, pending) = mpsc::channel(PENDING_MAX);
        let service = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let answered = service.take(request.produce.and_then(|produce| produce.payload)).await;
                if replies.send((request.request_id, answered)).await.is_err() {
                    return;
                }
            }
        });
        let replies = ReceiverStream::new(pending).then(|(request_id, answered)| async move {
            committed(answered?.await)?;
            Ok(reply(request_id))
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<BoxStream<SubscribeResponse>>, Status> {
        if request.into_inner().topic == BLOBS_TOPIC {
            let payload = logs::Payload::batch(BLOB_BATCH_BYTES, BLOB_RECORD_LEN);
            let record_batches = vec![payload.bytes; BLOB_BATCHES];
            let response = SubscribeResponse { record_batches, ..SubscribeResponse::default() };
            return Ok(Response::new(stream::repeat_with(move || Ok(response.clone())).boxed()));
        }
        let (sender, receiver) = mpsc::channel(LAG_MAX);
        self.0.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.0.has_subscribers.store(true, Ordering::Relaxed);
        // The first reply confirms the subscription.
        let confirmed = stream::iter([Ok(SubscribeResponse::default())]);
        let relayed = stream::unfold(receiver, |mut receiver| async move {
            let mut record_batches = vec![receiver.recv().await?];
            let mut bytes = record_batches[0].len();
            while bytes < REPLY_BYTES
                && let Ok(batch) = receiver.try_recv()
            {
                bytes += batch.len();
                record_batches.push(batch);
            }
            Some((Ok(SubscribeResponse { record_batches, ..Default::default() }), receiver))
        });
        Ok(Response::new(confirmed.chain(relayed).boxed()))
    }

    async fn create_topic(
        &self,
        _: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        // There are no topics: all are fine.
        Ok(Response::new(v1::CreateTopicResponse::default()))
    }
}

fn committed(answer: Result<Result<(), String>, oneshot::error::RecvError>) -> Result<(), Status> {
    match answer {
        Ok(outcome) => outcome.map_err(Status::internal),
        Err(_) => Err(Status::internal("the committer is gone")),
    }
}

fn produced() -> ProduceResponse {
    ProduceResponse { first_number: 1, count: 1, ..ProduceResponse::default() }
}

fn reply(request_id: u64) -> ProduceStreamResponse {
    ProduceStreamResponse { request_id, result: Some(Outcome::Produced(produced())) }
}
