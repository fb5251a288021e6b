//! [`Fake`], an in-process server that follows a script.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Reply,
    *,
};
use minikafka_record::{Compression, Record, RecordBatch};

use tokio::{net::TcpListener, runtime::Runtime, sync::Semaphore};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What happens to one request on a stream.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Accept,
    Refuse(RequestError),
    /// Accepts once [`Fake::release`] was called for it.
    AcceptWhenReleased,
    /// Stores it, and the stream breaks before the reply.
    BreakAfterStoring,
    /// Stores nothing and ends the stream with OK.
    EndWithOk,
    /// Stores nothing and ends the stream, as a server does that finds a request too large to be read.
    EndAsTooLarge,
    /// Ends the stream so unless the batch has a single message.
    EndAsTooLargeUnlessSingle,
    /// Refuses batches of more than one message, as a server with a small limit does.
    RefuseAsTooLargeUnlessSingle,
}

/// A server on a free port, in a runtime of its own so that it can be killed. Requests beyond the script are
/// accepted.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    state: Arc<FakeState>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct FakeState {
    script: Mutex<VecDeque<Step>>,
    log: Mutex<Log>,
    releases: Releases,
    memory: Arc<Mutex<Memory>>,
    /// Of the topic; 0: it is not there.
    partitions: AtomicU32,
    /// Those of them that are lost.
    lost: Mutex<Vec<u32>>,
    /// That it gets when it is created; 0: only by hand.
    partitions_when_created: AtomicU32,
    /// After which producers are forgotten, as the server says.
    expiry_ms: AtomicU64,
    knows_producers: bool,
}

/// What a server knows of producers and has numbered: it outlives the server, if it is kept.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    next_id: i64,
    /// By producer and partition.
    producers: HashMap<(i64, u32), Known>,
    /// Messages by partition.
    numbers: HashMap<u32, u64>,
}

#[derive(Debug, Default)]
struct Known {
    epoch: i16,
    next: i32,
    /// Sequence, count and number of the last batches.
    last: VecDeque<(i32, usize, u64)>,
}

impl Memory {
    /// Numbers a batch, or says why it is not stored. `Err(Ok(..))`: it is already.
    fn take(&mut self, batch: &RecordBatch, partition: u32) -> Result<u64, Result<u64, &'static str>> {
        let next_number = self.numbers.entry(partition).or_insert(1);
        let number = *next_number;
        if let Some(stamp) = batch.header().producer() {
            let is_known = self.producers.contains_key(&(stamp.id, partition));
            if !is_known && stamp.sequence.get() != 0 {
                return Err(Err("UNKNOWN_PRODUCER"));
            }
            let known = self.producers.entry((stamp.id, partition)).or_default();
            if stamp.epoch < known.epoch {
                return Err(Err("PRODUCER_FENCED"));
            }
            if stamp.epoch > known.epoch {
                *known = Known { epoch: stamp.epoch, ..Known::default() };
            }
            let sequence = stamp.sequence.get();
            let same = known.last.iter().find(|last| (last.0, last.1) == (sequence, batch.count()));
            if let Some((_, _, number)) = same {
                return Err(Ok(*number));
            }
            if sequence != known.next {
                return Err(Err("OUT_OF_SEQUENCE"));
            }
            known.next += batch.count() as i32;
            known.last.push_back((sequence, batch.count(), number));
            if known.last.len() > 5 {
                known.last.pop_front();
            }
        }
        *next_number += batch.count() as u64;
        Ok(number)
    }
}

/// A semaphore that begins without permits.
struct Releases(Semaphore);

impl Default for Releases {
    fn default() -> Self {
        Releases(Semaphore::new(0))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The messages stored, in order: number 1 first.
    pub(crate) records: Vec<Record>,
    /// Their values.
    pub(crate) stored: Vec<String>,
    /// Messages of each request, in order of arrival, stored or not.
    pub(crate) batch_counts: Vec<usize>,
    /// How they were compressed.
    pub(crate) codecs: Vec<Compression>,
    /// Partition of each message stored.
    pub(crate) partitions: Vec<u32>,
    /// Epoch of each message stored; -1 without a producer.
    pub(crate) epochs: Vec<i16>,
}

impl Fake {
    pub(crate) fn start(script: impl IntoIterator<Item = Step>) -> Fake {
        Fake::start_at("127.0.0.1:0".parse().unwrap(), script)
    }

    pub(crate) fn start_at(addr: SocketAddr, script: impl IntoIterator<Item = Step>) -> Fake {
        Fake::with(addr, script, Arc::default(), true)
    }

    /// A server from before there were idempotent producers.
    pub(crate) fn old(script: impl IntoIterator<Item = Step>) -> Fake {
        Fake::with("127.0.0.1:0".parse().unwrap(), script, Arc::default(), false)
    }

    /// A server that goes on from what another one knew.
    pub(crate) fn again(
        (addr, memory): (SocketAddr, Arc<Mutex<Memory>>),
        script: impl IntoIterator<Item = Step>,
    ) -> Fake {
        Fake::with(addr, script, memory, true)
    }

    fn with(
        addr: SocketAddr,
        script: impl IntoIterator<Item = Step>,
        memory: Arc<Mutex<Memory>>,
        knows_producers: bool,
    ) -> Fake {
        let state = Arc::new(FakeState {
            script: Mutex::new(script.into_iter().collect()),
            memory,
            partitions: 1.into(),
            partitions_when_created: 1.into(),
            expiry_ms: 86_400_000.into(),
            knows_producers,
            ..Default::default()
        });
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = MiniKafkaServiceServer::new(Service { state: state.clone() })
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20);
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        Fake { addr, state, runtime: Some(runtime) }
    }

    pub(crate) fn host(&self) -> String {
        self.addr.to_string()
    }

    /// Lets `count` requests of [`Step::AcceptWhenReleased`] go on.
    pub(crate) fn release(&self, count: usize) {
        self.state.releases.0.add_permits(count);
    }

    pub(crate) fn log(&self) -> Log {
        self.state.log.lock().unwrap().clone()
    }

    /// Waits until `count` requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        while self.log().batch_counts.len() < count {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn set_partitions(&self, partitions: u32) {
        self.state.partitions.store(partitions, Ordering::Relaxed);
    }

    /// These partitions are lost from now on, as far as somebody asks.
    pub(crate) fn lose(&self, partitions: &[u32]) {
        *self.state.lost.lock().unwrap() = partitions.to_vec();
    }

    /// The topic is not there, and gets so many partitions when somebody asks for it; 0: it is not created.
    pub(crate) fn set_partitions_when_created(&self, partitions: u32) {
        self.set_partitions(0);
        self.state.partitions_when_created.store(partitions, Ordering::Relaxed);
    }

    pub(crate) fn set_expiry(&self, expiry: Duration) {
        self.state.expiry_ms.store(expiry.as_millis() as u64, Ordering::Relaxed);
    }

    /// As [`kill`](Fake::kill), for a server that remembers.
    pub(crate) fn kill_and_remember(self) -> (SocketAddr, Arc<Mutex<Memory>>) {
        let memory = self.state.memory.clone();
        (self.kill(), memory)
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

impl FakeState {
    fn next_step(&self) -> Step {
        self.script.lock().unwrap().pop_front().unwrap_or(Step::Accept)
    }

    /// `None` ends the stream with OK.
    async fn serve(&self, request: ProduceStreamRequest) -> Result<Option<ProduceStreamResponse>, Status> {
        let produce = request.produce.unwrap();
        let partition = produce.partition.unwrap();
        let Some(Payload::RecordBatch(bytes)) = produce.payload else { panic!("the client sends batches") };
        let batch = RecordBatch::parse(bytes).unwrap();
        batch.validate().unwrap();
        self.note(&batch);
        let step = self.next_step();
        let result = match step {
            Step::Accept => self.store(&batch, partition),
            Step::AcceptWhenReleased => {
                self.releases.0.acquire().await.unwrap().forget();
                self.store(&batch, partition)
            }
            Step::Refuse(error) => Reply::Error(error),
            Step::RefuseAsTooLargeUnlessSingle if batch.count() > 1 => Reply::Error(too_large()),
            Step::RefuseAsTooLargeUnlessSingle => self.store(&batch, partition),
            Step::BreakAfterStoring => {
                self.store(&batch, partition);
                return Err(Status::internal("broken on command"));
            }
            Step::EndAsTooLargeUnlessSingle if batch.count() == 1 => self.store(&batch, partition),
            Step::EndAsTooLarge | Step::EndAsTooLargeUnlessSingle => return Err(too_large_to_read()),
            Step::EndWithOk => return Ok(None),
        };
        Ok(Some(ProduceStreamResponse { request_id: request.request_id, result: Some(result) }))
    }

    /// Says whether it is there then.
    fn create_topic(&self) -> bool {
        let partitions = self.partitions_when_created.load(Ordering::Relaxed);
        self.partitions.store(partitions, Ordering::Relaxed);
        partitions > 0
    }

    fn note(&self, batch: &RecordBatch) {
        let mut log = self.log.lock().unwrap();
        log.batch_counts.push(batch.count());
        log.codecs.push(batch.header().compression().unwrap());
    }

    fn store(&self, batch: &RecordBatch, partition: u32) -> Reply {
        let partitions = self.partitions.load(Ordering::Relaxed);
        if partition >= partitions.max(1) {
            return Reply::Error(error(tonic::Code::NotFound, "PARTITION_NOT_FOUND"));
        }
        if partitions == 0 && !self.create_topic() {
            return Reply::Error(error(tonic::Code::NotFound, "TOPIC_NOT_FOUND"));
        }
        let count = batch.count() as u32;
        let first_number = match self.memory.lock().unwrap().take(batch, partition) {
            Ok(first_number) => first_number,
            Err(Err(reason)) => return Reply::Error(error(tonic::Code::FailedPrecondition, reason)),
            Err(Ok(first_number)) => {
                let produced = ProduceResponse { first_number, count, duplicate: true, ..Default::default() };
                return Reply::Produced(produced);
            }
        };
        let mut log = self.log.lock().unwrap();
        for record in batch.records() {
            let record = record.unwrap();
            log.stored.push(String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"null")).into_owned());
            log.records.push(record);
            log.partitions.push(partition);
            log.epochs.push(batch.header().producer_epoch);
        }
        Reply::Produced(ProduceResponse { first_number, count, ..Default::default() })
    }
}

pub(crate) fn too_large() -> RequestError {
    let message = "too large on command".into();
    RequestError { message, ..error(tonic::Code::InvalidArgument, "MESSAGE_TOO_LARGE") }
}

pub(crate) fn error(code: tonic::Code, reason: &str) -> RequestError {
    RequestError { code: code as i32, reason: reason.into(), message: reason.into(), ..Default::default() }
}

fn too_large_to_read() -> Status {
    let details = ErrorDetails::with_error_info("MESSAGE_TOO_LARGE", "minikafka", HashMap::new());
    Status::with_error_details(tonic::Code::InvalidArgument, "over the limit on command", details)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MiniKafkaService for Service {
    async fn init_producer(&self, request: Request<InitProducerRequest>) -> Answer<InitProducerResponse> {
        if !self.state.knows_producers {
            return Err(Status::unimplemented("not yet"));
        }
        let request = request.into_inner();
        let (producer_id, producer_epoch) = match (request.producer_id, request.producer_epoch) {
            (Some(id), Some(epoch)) => (id, epoch + 1),
            _ => {
                let mut memory = self.state.memory.lock().unwrap();
                memory.next_id += 1;
                (memory.next_id, 0)
            }
        };
        let expiry_ms = self.state.expiry_ms.load(Ordering::Relaxed);
        Ok(Response::new(InitProducerResponse { producer_id, producer_epoch, expiry_ms }))
    }

    async fn describe_topic(&self, request: Request<DescribeTopicRequest>) -> Answer<DescribeTopicResponse> {
        let is_there = self.state.partitions.load(Ordering::Relaxed) > 0;
        let is_created = !is_there && request.into_inner().create_missing && self.state.create_topic();
        if !is_there && !is_created {
            return Err(Status::not_found("no topic"));
        }
        let count = self.state.partitions.load(Ordering::Relaxed) as usize;
        let mut partitions = vec![PartitionDescription::default(); count];
        for lost in self.state.lost.lock().unwrap().iter().map(|lost| *lost as usize) {
            partitions[lost] =
                PartitionDescription { partition: lost as u32, is_lost: true, ..Default::default() };
        }
        Ok(Response::new(DescribeTopicResponse { partitions, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Answer<BoxStream<ProduceStreamResponse>> {
        let state = self.state.clone();
        let mut requests = request.into_inner();
        let (replies, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                match state.serve(request).await.transpose() {
                    Some(Ok(reply)) => drop(replies.send(Ok(reply)).await),
                    Some(Err(status)) => return drop(replies.send(Err(status)).await),
                    None => return,
                }
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))))
    }
}
