//! `minikafka bench`: it measures, checks what it measures, and says so when a server does not keep its word.

use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use minikafka_proto::v1::{
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    produce_request::Payload,
    produce_stream_response::Result as Reply,
    *,
};
use minikafka_record::{Offset, RecordBatch};
use serde_json::Value;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    program::{Ended, MINIKAFKA, Program, run},
    server::TestServer,
};

fn bench(host: &str, args: &[&str]) -> Ended {
    run(MINIKAFKA, &[&["bench"], args, &["-host", host]].concat(), b"")
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[test]
fn each_run_is_reported_with_all_that_it_takes_to_see_it_again() {
    let server = TestServer::filesystem();
    let ended = bench(server.host(), &["produce", "-messages", "3000", "-producers", "3", "-size", "200"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let text = ended.text();
    for expected in [
        "command       minikafka bench produce -messages 3000 -producers 3 -size 200 -host ",
        "machine       ",
        "durability    synced",
        "produced      3000 messages in ",
        "acknowledged  p50 ",
        "verified      3000 sound, 0 lost, 0 repeated, 0 changed",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    let topics = run(MINIKAFKA, &["topic", "list", "-host", server.host()], b"");
    assert_eq!(topics.text(), "", "the topic of the run is gone");
}

#[test]
fn programs_get_numbers() {
    let server = TestServer::memory();
    let report = json(&bench(server.host(), &["consume", "-messages", "1000", "-output", "json"]));
    assert_eq!((&report["benchmark"], &report["durability"]), (&"consume".into(), &"memory".into()));
    assert_eq!((&report["consumed"]["messages"], &report["verified"]["sound"]), (&1000.into(), &1000.into()));
    assert!(report["consumed"]["messages_per_second"].as_f64().unwrap() > 0.0);
    let args = ["latency", "-messages", "100", "-rate", "2000", "-warmup", "0s", "-output", "json"];
    let report = json(&bench(server.host(), &args));
    let (acknowledged, delivered) = (&report["acknowledged_ms"], &report["delivered_ms"]);
    for times in [acknowledged, delivered] {
        assert!(times["p50"].as_f64().unwrap() <= times["max"].as_f64().unwrap(), "{times}");
    }
    assert_eq!((&report["rate"], &report["verified"]["lost"]), (&2000.0.into(), &0.into()));
}

#[test]
fn each_producer_writes_to_all_partitions() {
    let server = TestServer::memory();
    server.create_topic("spread", 5);
    for (what, producers) in [("produce", "1"), ("latency", "3")] {
        let args = [what, "-topic", "spread", "-messages", "50", "-producers", producers, "-output", "json"];
        let report = json(&bench(server.host(), &args));
        assert_eq!(
            (&report["partitions"], &report["verified"]["sound"]),
            (&5.into(), &50.into()),
            "{report}"
        );
    }
    let described =
        run(MINIKAFKA, &["topic", "describe", "spread", "-output", "json", "-host", server.host()], b"");
    for partition in json(&described)["partitions"].as_array().unwrap() {
        let end = partition["end_number"].as_u64().unwrap();
        assert!((20..=22).contains(&end), "100 messages over 5 partitions: {partition}");
    }
}

#[test]
fn a_topic_that_is_there_is_used_and_stays() {
    let server = TestServer::memory();
    server.produce("orders", "one\n");
    let report =
        json(&bench(server.host(), &["produce", "-topic", "orders", "-messages", "10", "-output", "json"]));
    assert_eq!((&report["topic"], &report["verified"]["sound"]), (&"orders".into(), &10.into()));
    let topics = run(MINIKAFKA, &["topic", "list", "-host", server.host()], b"");
    assert_eq!(topics.text(), "orders\n");
}

/// A run that is interrupted in its middle: it ends soon, and nothing of it stays.
#[test]
fn who_is_interrupted_cleans_up() {
    let server = TestServer::memory();
    let list = |what| run(MINIKAFKA, &[what, "list", "-host", server.host()], b"").text();
    for (args, signal) in [
        (&["produce", "-partitions", "3"][..], "INT"),
        (&["latency", "-producers", "2", "-rate", "100"], "TERM"),
        (&["groups", "-members", "2", "-partitions", "3", "-rate", "100"], "INT"),
    ] {
        let of_run = [&["bench"], args, &["-duration", "1h", "-host", server.host()]].concat();
        let mut bench = Program::start(MINIKAFKA, &of_run);
        let is_sent = || {
            let topic = list("topic").trim().to_owned();
            let describe = ["topic", "describe", &topic, "-output", "json", "-host", server.host()];
            let text = run(MINIKAFKA, &describe, b"").text();
            let described: Value = serde_json::from_str(&text).unwrap_or_default();
            let partitions = described["partitions"].as_array().cloned().unwrap_or_default();
            partitions.iter().any(|partition| partition["end_number"].as_u64() > Some(1))
        };
        while !is_sent() {
            assert!(!bench.has_ended(), "{args:?}");
        }
        bench.signal(signal);
        let ended = bench.end();
        let said = "minikafka: interrupted; deleting topic \"bench-";
        assert!(ended.code == 130 && ended.stderr.starts_with(said), "{}: {}", ended.code, ended.stderr);
        assert_eq!((ended.text().as_str(), ended.stderr.lines().count()), ("", 1));
        assert_eq!((list("topic"), list("group")), (String::new(), String::new()), "{args:?}");
    }
}

#[test]
fn nonsense_is_refused() {
    let server = TestServer::memory();
    for (args, rule) in [
        (&["produce", "-size", "35"][..], "36"),
        (&["produce", "-size", "67108865"], "36..=67108864"),
        (
            &["produce", "-producers", "10000", "-partitions", "21"],
            "210000 chains to check, and at most 200000",
        ),
        (&["groups", "-partitions", "200001"], "200001 chains to check"),
        (&["produce", "-rate", "0"], "from 0.001"),
        (&["latency", "-rate", "1e300"], "to 1000000000"),
        (&["groups", "-messages", "1", "-rate", "1e-300"], "from 0.001"),
        (&["produce", "-messages", "1", "-duration", "1s"], "cannot be used with"),
        (&["produce", "-producers", "0"], "producers"),
    ] {
        let ended = bench(server.host(), args);
        assert!(ended.code == 2 && ended.stderr.contains(rule), "{args:?}: {}", ended.stderr);
    }
    let ended = bench(server.host(), &["produce", "-topic", "missing", "-messages", "1"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "minikafka: topic \"missing\" not found\n"));
}

/// A server that delivers one batch twice.
#[derive(Clone)]
struct Stutterer {
    stored: Arc<Mutex<Vec<RecordBatch>>>,
    twice: Twice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twice {
    /// The first batch, at once.
    First,
    /// The last batch, in a reply of its own behind all that is to come.
    Last,
}

impl Stutterer {
    /// What is delivered, as it lies in the partition.
    fn log(&self) -> Vec<RecordBatch> {
        let stored = self.stored.lock().unwrap().clone();
        match self.twice {
            Twice::First => stored.first().into_iter().chain(&stored).cloned().collect(),
            Twice::Last => stored.iter().chain(stored.last()).cloned().collect(),
        }
    }
}

fn messages_of(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.count() as u64).sum()
}

#[tonic::async_trait]
impl MiniKafkaService for Stutterer {
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
        Ok(Response::new(DeleteTopicResponse {}))
    }

    async fn describe_topic(
        &self,
        _: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        let end_number = messages_of(&self.log()) + 1;
        let partitions = vec![PartitionDescription { end_number, ..Default::default() }];
        Ok(Response::new(DescribeTopicResponse { partitions, ..Default::default() }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<BoxStream<ProduceStreamResponse>>, Status> {
        let stored = self.stored.clone();
        Ok(Response::new(Box::pin(request.into_inner().map(move |request| {
            let ProduceStreamRequest { request_id, produce } = request?;
            let Some(Payload::RecordBatch(bytes)) = produce.unwrap().payload else { panic!("no batch") };
            let batch = RecordBatch::parse(bytes).unwrap();
            let mut stored = stored.lock().unwrap();
            let next = messages_of(&stored);
            let (first_number, count) = (next + 1, batch.count() as u32);
            stored.push(batch);
            let produced = ProduceResponse { first_number, count, ..Default::default() };
            Ok(ProduceStreamResponse { request_id, result: Some(Reply::Produced(produced)) })
        }))))
    }

    async fn read(
        &self,
        request: Request<Streaming<ReadRequest>>,
    ) -> Result<Response<BoxStream<ReadResponse>>, Status> {
        let log = self.log();
        let mut requests = request.into_inner();
        let wanted = requests.message().await?.unwrap().add.remove(0);
        let mut next = 0;
        let mut encoded: Vec<_> = log
            .iter()
            .map(|batch| {
                let mut out = BytesMut::new();
                batch.append_to(&mut out, Offset::new(next), 0, 0);
                next += batch.count() as u64;
                out.freeze()
            })
            .collect();
        let late =
            encoded.split_off(if self.twice == Twice::Last { encoded.len() - 1 } else { encoded.len() });
        let end_of_early = messages_of(&log[..encoded.len()]) + 1;
        let confirmed = ReadResponse {
            topic: wanted.topic,
            partition: wanted.partition,
            read_id: wanted.read_id,
            next_number: 1,
            start_number: 1,
            end_number: next + 1,
            ..Default::default()
        };
        let early = ReadResponse { record_batches: encoded, next_number: end_of_early, ..confirmed.clone() };
        let late = ReadResponse { record_batches: late, next_number: next + 1, ..confirmed.clone() };
        let replies = [Some(confirmed), Some(early), (self.twice == Twice::Last).then_some(late)];
        let replies =
            tokio_stream::iter(replies.into_iter().flatten().map(Ok)).chain(tokio_stream::pending());
        // The stream of requests lives as long as that of the replies.
        Ok(Response::new(Box::pin(replies.map(move |reply| {
            let _open = &requests;
            reply
        }))))
    }
}

fn is_found_out(twice: Twice) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = MiniKafkaServiceServer::new(Stutterer { stored: Arc::default(), twice });
    let server = tonic::transport::Server::builder().add_service(service);
    runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let ended = bench(&address, &["produce", "-messages", "50"]);
    assert_eq!(ended.code, 1, "{twice:?}: {}", ended.text());
    assert!(ended.stderr.contains("came again or late"), "{twice:?}: {}", ended.stderr);
    assert!(!ended.text().contains(" 0 repeated"), "{twice:?}: {}", ended.text());
}

#[test]
fn a_server_that_does_not_keep_its_word_is_found_out() {
    [Twice::First, Twice::Last].into_iter().for_each(is_found_out);
}
