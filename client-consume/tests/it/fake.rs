//! [`Fake`], an in-process server whose subscriptions follow a script.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    ops::{Range, RangeInclusive},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    *,
};
use minikafka_record::{BatchBuilder, Compression, Offset};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, codegen::BoxStream};
use tonic_types::{ErrorDetails, StatusExt as _};

/// One subscription: what it answers, and then.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) replies: Vec<SubscribeResponse>,
    pub(crate) then: Then,
}

/// What happens after the replies of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Nothing more comes.
    Hang,
    /// The stream ends with OK.
    End,
    /// It ends with an error.
    Fail(Status),
}

/// A server on a free port, in a runtime of its own so that it can be killed. Subscriptions beyond the script
/// hang.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    state: Arc<FakeState>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct FakeState {
    scripts: Mutex<VecDeque<Script>>,
    requests: Mutex<Vec<SubscribeRequest>>,
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

/// A reply with these batches, of a topic where these numbers are readable.
pub(crate) fn reply(
    batches: impl IntoIterator<Item = RangeInclusive<u64>>,
    readable: Range<u64>,
) -> SubscribeResponse {
    let batches: Vec<_> = batches.into_iter().collect();
    let next_number = batches.last().map_or(readable.end, |last| last.end() + 1);
    SubscribeResponse {
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
        let state = Arc::new(FakeState { scripts, ..Default::default() });
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

    /// The subscriptions so far.
    pub(crate) fn requests(&self) -> Vec<SubscribeRequest> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Where the subscriptions so far wanted to start.
    pub(crate) fn wanted(&self) -> Vec<position::At> {
        self.requests().into_iter().map(|request| request.from.unwrap().at.unwrap()).collect()
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

#[tonic::async_trait]
impl MiniKafkaService for Service {
    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Answer<BoxStream<SubscribeResponse>> {
        self.state.requests.lock().unwrap().push(request.into_inner());
        let script = self.state.scripts.lock().unwrap().pop_front();
        let Script { replies, then } = script.unwrap_or(Script { replies: Vec::new(), then: Then::Hang });
        let replies = tokio_stream::iter(replies).map(Ok);
        Ok(Response::new(match then {
            Then::Hang => Box::pin(replies.chain(tokio_stream::pending())),
            Then::End => Box::pin(replies),
            Then::Fail(status) => Box::pin(replies.chain(tokio_stream::once(Err(status)))),
        }))
    }
}
