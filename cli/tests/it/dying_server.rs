//! What `produce` says when a server, one that knows nothing of idempotent producers, stores messages and dies
//! before its reply.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Reply,
    *,
};
use minikafka_record::RecordBatch;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::program::{PRODUCE, Program};

/// Accepts one message, and breaks the stream instead of the second reply.
struct DyingServer {
    requests: Arc<AtomicUsize>,
}

impl DyingServer {
    /// Its address, and the count of requests it has seen.
    fn start(runtime: &tokio::runtime::Runtime) -> (String, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = MiniKafkaServiceServer::new(DyingServer { requests: requests.clone() });
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (address, requests)
    }
}

#[test]
fn the_first_line_with_an_unknown_outcome_is_named() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (address, requests) = DyingServer::start(&runtime);
    let mut produce = Program::start(PRODUCE, &["-host", &address, "-topic", "t"]);
    produce.says("the server is old: a line whose reply is lost is not sent again");
    produce.write(b"one\n");
    while requests.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    // The stream breaks while the input is silent: that must not hide it.
    produce.write(b"two\nthree\n");
    let line = produce.says("first unconfirmed line");
    assert!(line.starts_with("produce: line 2 is the first unconfirmed line: outcome unknown"), "{line}");
    assert!(line.contains("died on command"), "{line}");
    assert!(line.contains("; the line before it is stored; later lines may be stored or not"), "{line}");
    assert_eq!(produce.end().code, 1);
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MiniKafkaService for DyingServer {
    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Answer<BoxStream<ProduceStreamResponse>> {
        let requests = self.requests.clone();
        Ok(Response::new(Box::pin(request.into_inner().map(move |request| {
            if requests.fetch_add(1, Ordering::Relaxed) > 0 {
                return Err(Status::internal("died on command"));
            }
            let request = request?;
            let Some(Payload::RecordBatch(bytes)) = request.produce.unwrap().payload else {
                panic!("no batch")
            };
            let count = RecordBatch::parse(bytes).unwrap().count() as u32;
            let produced = ProduceResponse { first_number: 1, count, ..Default::default() };
            Ok(ProduceStreamResponse {
                request_id: request.request_id,
                result: Some(Reply::Produced(produced)),
            })
        }))))
    }
}
