//! [`Fake`], an in-process server whose read streams follow a script.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    *,
};
use minikafka_record::{BatchBuilder, Compression, Offset};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What one request to read is answered with, and then.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) replies: Vec<ReadResponse>,
    pub(crate) then: Then,
}

/// What happens after the replies.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Nothing more comes.
    Hang,
    /// The stream ends with OK.
    End,
    /// It ends with an error.
    Fail(Status),
    /// The partition gets an error, and the stream goes on.
    Refuse(Code, &'static str, &'static [(&'static str, u64)]),
}

/// A server on a free port, in a runtime of its own so that it can be killed. Requests beyond the script
/// are not answered.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    state: Arc<FakeState>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct FakeState {
    scripts: Mutex<VecDeque<Script>>,
    requests: Mutex<Vec<ReadRequest>>,
    /// How many partitions there are, of any topic; none: there is no topic.
    partitions: AtomicU32,
}

/// A batch of the messages with these numbers: "message 1" and so on, each with its number as timestamp.
pub(crate) fn batch(numbers: RangeInclusive<u64>) -> Bytes {
    let base = Offset::from_number(*numbers.start()).unwrap();
    let mut builder = BatchBuilder::new();
    for number in numbers {
        builder.push(number as i64, None, Some(format!("message {number}").as_bytes()), &[]);
    }
    builder.finish(base, 0)
}

/// A compressed batch of the messages with these numbers, each of `len` zeros.
pub(crate) fn compressed(codec: Compression, numbers: RangeInclusive<u64>, len: usize) -> Bytes {
    let base = Offset::from_number(*numbers.start()).unwrap();
    let mut builder = BatchBuilder::new();
    let value = vec![0; len];
    numbers.for_each(|number| builder.push(number as i64, None, Some(&value), &[]));
    builder.finish_compressed(codec, base, 0)
}

/// A reply with these batches, about a partition where these numbers are readable.
pub(crate) fn reply(
    batches: impl IntoIterator<Item = RangeInclusive<u64>>,
    readable: Range<u64>,
) -> ReadResponse {
    let batches: Vec<_> = batches.into_iter().collect();
    let next_number = batches.last().map_or(readable.end, |last| last.end() + 1);
    ReadResponse {
        topic: "t".into(),
        record_batches: batches.into_iter().map(batch).collect(),
        next_number,
        start_number: readable.start,
        end_number: readable.end,
        ..Default::default()
    }
}

/// A status as the server makes them.
pub(crate) fn refusal(code: Code, reason: &str, metadata: &[(&str, u64)]) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(name, number)| ((*name).to_owned(), number.to_string())).collect();
    let details = ErrorDetails::with_error_info(reason, "minikafka", metadata);
    Status::with_error_details(code, format!("{reason} on command"), details)
}

impl Fake {
    pub(crate) fn start(scripts: impl IntoIterator<Item = Script>) -> Fake {
        Fake::start_at("127.0.0.1:0".parse().unwrap(), scripts)
    }

    pub(crate) fn start_at(addr: SocketAddr, scripts: impl IntoIterator<Item = Script>) -> Fake {
        let scripts = Mutex::new(scripts.into_iter().collect());
        let partitions = AtomicU32::new(1);
        let state = Arc::new(FakeState { scripts, partitions, ..Default::default() });
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = MiniKafkaServiceServer::new(Service { state: state.clone() });
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Fake { addr, state, runtime: Some(runtime) }
    }

    pub(crate) fn host(&self) -> String {
        self.addr.to_string()
    }

    /// How many partitions there are from now on.
    pub(crate) fn set_partitions(&self, partitions: u32) {
        self.state.partitions.store(partitions, Ordering::Relaxed);
    }

    /// The requests to read so far.
    pub(crate) fn requests(&self) -> Vec<ReadRequest> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Where they wanted to start.
    pub(crate) fn wanted(&self) -> Vec<position::At> {
        let add = self.requests().into_iter().flat_map(|request| request.add);
        add.map(|partition| partition.from.unwrap().at.unwrap()).collect()
    }

    /// Ends at once, as with kill -9: connections are reset.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.stop();
        self.addr
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for a runtime is not allowed on a thread of another one.
            let stopping = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(60)));
            stopping.join().unwrap();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Service {
    state: Arc<FakeState>,
}

type Answer<T> = Result<Response<T>, Status>;

impl FakeState {
    /// What comes of a request, and whether the stream goes on.
    fn answer(
        &self,
        request: &ReadRequest,
        replies: &mpsc::UnboundedSender<Result<ReadResponse, Status>>,
    ) -> bool {
        self.requests.lock().unwrap().push(request.clone());
        if request.add.is_empty() {
            return true;
        }
        let script = self.scripts.lock().unwrap().pop_front();
        let Script { replies: scripted, then } =
            script.unwrap_or(Script { replies: Vec::new(), then: Then::Hang });
        let read_id = |topic: &str, partition| {
            let about = |add: &&ReadPartition| add.topic == topic && add.partition == partition;
            request.add.iter().find(about).map_or(0, |add| add.read_id)
        };
        for mut reply in scripted {
            reply.read_id = read_id(&reply.topic, reply.partition);
            let _ = replies.send(Ok(reply));
        }
        match then {
            Then::Hang => return true,
            Then::End => {}
            Then::Fail(status) => {
                let _ = replies.send(Err(status));
            }
            Then::Refuse(code, reason, metadata) => {
                let metadata = metadata.iter().map(|(name, number)| ((*name).to_owned(), number.to_string()));
                let error = RequestError {
                    code: code as i32,
                    reason: reason.to_owned(),
                    message: format!("{reason} on command"),
                    metadata: metadata.collect(),
                    retry_after_ms: None,
                };
                let ReadPartition { topic, partition, read_id, .. } = request.add[0].clone();
                let error = Some(error);
                let refused = ReadResponse { topic, partition, read_id, error, ..Default::default() };
                let _ = replies.send(Ok(refused));
                return true;
            }
        }
        false
    }
}

#[tonic::async_trait]
impl MiniKafkaService for Service {
    async fn read(&self, request: Request<Streaming<ReadRequest>>) -> Answer<BoxStream<ReadResponse>> {
        let (replies, outgoing) = mpsc::unbounded_channel();
        let (state, mut requests) = (self.state.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if !state.answer(&request, &replies) {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }

    async fn describe_topic(&self, request: Request<DescribeTopicRequest>) -> Answer<DescribeTopicResponse> {
        let partitions = self.state.partitions.load(Ordering::Relaxed);
        if partitions == 0 {
            return Err(refusal(Code::NotFound, "TOPIC_NOT_FOUND", &[]));
        }
        let scripts = self.state.scripts.lock().unwrap();
        let first = scripts.front().and_then(|script| script.replies.first());
        let (start_number, end_number) = first.map_or((1, 1), |reply| (reply.start_number, reply.end_number));
        let describe = |partition| PartitionDescription {
            partition,
            start_number,
            end_number,
            ..PartitionDescription::default()
        };
        Ok(Response::new(DescribeTopicResponse {
            name: request.into_inner().topic,
            partitions: (0..partitions).map(describe).collect(),
            ..DescribeTopicResponse::default()
        }))
    }

    async fn subscribe(&self, _: Request<SubscribeRequest>) -> Answer<BoxStream<SubscribeResponse>> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }
}
