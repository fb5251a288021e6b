//! `minikafka bench` when something fails in the middle: it cleans up, and in the right order.

use std::{
    io,
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_stream_response::Result as Reply,
    *,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    program::{MINIKAFKA, run},
    server::TestServer,
};

/// Lets one connection through to a server, and refuses all others. Returns its address.
fn door_for_one(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        // Before a byte of the first one is passed on.
        drop(listener);
        let server = TcpStream::connect(server).unwrap();
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            // Either side may go away.
            thread::spawn(move || _ = io::copy(&mut from, &mut to));
        }
    });
    address
}

#[test]
fn a_run_that_cannot_connect_twice_leaves_no_topic() {
    let server = TestServer::memory();
    let ended = run(MINIKAFKA, &["bench", "groups", "-host", &door_for_one(server.host())], b"");
    assert_eq!((ended.code, ended.text().as_str()), (1, ""), "{}", ended.stderr);
    let topics = run(MINIKAFKA, &["topic", "list", "-host", server.host()], b"");
    assert_eq!(topics.text(), "");
}

/// What a [`Hesitant`] server has done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Refused,
    Stored,
    Deleted,
}

/// How long it gives the client to do what it should not.
const HESITATION: Duration = Duration::from_millis(500);

/// A server of a topic with two partitions. It refuses what is sent to the first one, and only then stores what is sent
/// to the second one, a while later.
#[derive(Clone)]
struct Hesitant(Arc<watch::Sender<Vec<Deed>>>);

impl Hesitant {
    fn note(&self, deed: Deed) {
        self.0.send_modify(|deeds| deeds.push(deed));
    }

    async fn until(&self, deed: Deed) {
        let mut deeds = self.0.subscribe();
        deeds.wait_for(|deeds| deeds.contains(&deed)).await.unwrap();
    }

    async fn answer(self, request: ProduceStreamRequest, replies: mpsc::Sender<Answer>) {
        let partition = request.produce.unwrap().partition.unwrap();
        let (result, deed) = if partition == 0 {
            let message = "there is no room for this".to_owned();
            let error = RequestError {
                code: Code::InvalidArgument.into(),
                reason: "NO".to_owned(),
                message,
                ..Default::default()
            };
            (Reply::Error(error), Deed::Refused)
        } else {
            self.until(Deed::Refused).await;
            let _ = tokio::time::timeout(HESITATION, self.until(Deed::Deleted)).await;
            (
                Reply::Produced(ProduceResponse { first_number: 1, count: 1, ..Default::default() }),
                Deed::Stored,
            )
        };
        self.note(deed);
        let reply = ProduceStreamResponse { request_id: request.request_id, result: Some(result) };
        // A client that has gone away shows in the order of the deeds.
        let _ = replies.send(Ok(reply)).await;
    }
}

type Answer = Result<ProduceStreamResponse, Status>;

#[tonic::async_trait]
impl MiniKafkaService for Hesitant {
    async fn create_topic(
        &self,
        _: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        Ok(Response::new(CreateTopicResponse::default()))
    }

    async fn delete_topic(
        &self,
        _: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        self.note(Deed::Deleted);
        Ok(Response::new(DeleteTopicResponse {}))
    }

    async fn describe_topic(
        &self,
        _: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let partition = |partition| PartitionDescription { partition, end_number: 1, ..Default::default() };
        let partitions = vec![partition(0), partition(1)];
        Ok(Response::new(DescribeTopicResponse { partitions, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<BoxStream<ProduceStreamResponse>>, Status> {
        let (replies, receiver) = mpsc::channel(10);
        let (server, mut requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                tokio::spawn(server.clone().answer(request, replies.clone()));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[test]
fn the_topic_of_a_run_that_fails_is_deleted_when_nothing_is_on_its_way_any_more() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hesitant = Hesitant(Arc::new(watch::Sender::new(Vec::new())));
    let service = MiniKafkaServiceServer::new(hesitant.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let args = ["bench", "produce", "-partitions", "2", "-messages", "2", "-host", &address];
    let ended = run(MINIKAFKA, &args, b"");
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
    assert_eq!(ended.stderr, "minikafka: refused: there is no room for this (NO)\n");
    assert_eq!(*hesitant.0.borrow(), [Deed::Refused, Deed::Stored, Deed::Deleted]);
}
