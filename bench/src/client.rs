//! Clients of the plain gRPC API, which MiniKafka and the bare servers are measured with alike.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use futures_util::stream;
use minikafka_proto::v1::{
    Message, MessageList, ProduceRequest, ProduceStreamRequest, ProduceStreamResponse, produce_request,
    produce_stream_response::Result as Outcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

pub(crate) use minikafka_client_connection::Client;

use crate::{
    latencies::Latencies,
    load::Round,
    logs::Payload,
    pacer::{self, Schedule},
};

/// The same request again and again, to one topic or to several in turn, or to the partitions of one.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    topics: Arc<[String]>,
    /// `None`: the server chooses.
    partitions: Option<u32>,
    payload: produce_request::Payload,
    /// Messages of each.
    pub(crate) messages: u64,
}

/// When a stream has sent enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time.
    Time(Duration),
    /// After so many requests.
    Count(u64),
}

/// What a stream has sent, all of it acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) requests: u64,
    pub(crate) messages: u64,
    pub(crate) elapsed: Duration,
}

impl Sent {
    pub(crate) fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

impl Requests {
    /// Lists of `count` messages with values of `value_len` bytes.
    pub(crate) fn list(topic: &str, count: usize, value_len: usize) -> Requests {
        let value = Bytes::from(vec![b'x'; value_len]);
        let messages = vec![Message { value: Some(value), ..Message::default() }; count];
        let payload = produce_request::Payload::Messages(MessageList { messages });
        Requests::new(topic, payload, count as u64)
    }

    /// An encoded batch.
    pub(crate) fn batch(topic: &str, payload: &Payload) -> Requests {
        let batch = produce_request::Payload::RecordBatch(payload.bytes.clone());
        Requests::new(topic, batch, payload.records.into())
    }

    fn new(topic: &str, payload: produce_request::Payload, messages: u64) -> Requests {
        Requests { topics: [topic.to_owned()].into(), partitions: None, payload, messages }
    }

    /// The same to so many partitions in turn.
    pub(crate) fn over_partitions(self, count: u32) -> Requests {
        Requests { partitions: Some(count), ..self }
    }

    /// The same to so many topics in turn, named after the one.
    pub(crate) fn over_topics(self, count: usize) -> Requests {
        let name = &self.topics[0];
        Requests { topics: (0..count).map(|number| format!("{name}-{number}")).collect(), ..self }
    }

    /// One to each topic, which creates those that are not there.
    pub(crate) async fn create_topics(&self, client: &mut Client) -> anyhow::Result<()> {
        for number in 0..self.topics.len() {
            client.produce(self.request(number as u64)).await?;
        }
        Ok(())
    }

    /// One of them.
    pub(crate) fn request(&self, number: u64) -> ProduceRequest {
        ProduceRequest {
            topic: self.topics[number as usize % self.topics.len()].clone(),
            partition: self.partitions.map(|count| (number % u64::from(count)) as u32),
            payload: Some(self.payload.clone()),
            ..ProduceRequest::default()
        }
    }

    /// One of them for a stream.
    pub(crate) fn next(&self, request_id: u64) -> ProduceStreamRequest {
        ProduceStreamRequest { request_id, produce: Some(self.request(request_id)) }
    }
}

/// Sends on one stream as fast as the server takes it, and waits for all replies.
pub(crate) async fn produce_stream(
    mut client: Client,
    requests: &Requests,
    until: Until,
) -> anyhow::Result<Sent> {
    let started = Instant::now();
    let requests = requests.clone();
    let messages = requests.messages;
    let is_over = move |next: u64| match until {
        Until::Time(time) => started.elapsed() >= time,
        Until::Count(count) => next >= count,
    };
    let all = (0..).map_while(move |id| (!is_over(id)).then(|| requests.next(id)));
    let mut replies = client.produce_stream(stream::iter(all)).await?.into_inner();
    let mut sent = 0;
    while let Some(reply) = replies.message().await? {
        check(&reply, sent)?;
        sent += 1;
    }
    Ok(Sent { requests: sent, messages: sent * messages, elapsed: started.elapsed() })
}

/// Sends on one stream for some time, each request after the reply to the one before. The number of the first one
/// tells the topic that it begins with.
pub(crate) async fn produce_one_by_one(
    mut client: Client,
    requests: Requests,
    first: u64,
    time: Duration,
) -> anyhow::Result<Latencies> {
    let (outgoing, incoming) = mpsc::unbounded_channel();
    let mut latencies = Latencies::new();
    let started = Instant::now();
    let mut sent = Instant::now();
    outgoing.send(requests.next(first))?;
    let stream = UnboundedReceiverStream::new(incoming);
    let mut replies = client.produce_stream(stream).await?.into_inner();
    for id in first.. {
        let Some(reply) = replies.message().await? else { bail!("the server ended the stream") };
        check(&reply, id)?;
        latencies.record_since(sent);
        if started.elapsed() >= time {
            break;
        }
        sent = Instant::now();
        outgoing.send(requests.next(id + 1))?;
    }
    Ok(latencies)
}

/// Sends on one stream at a fixed rate, whatever comes back when. Times count from when a request was due.
pub(crate) async fn produce_paced(
    mut client: Client,
    request: impl Fn(u64) -> ProduceStreamRequest + Send + 'static,
    schedule_of: impl FnOnce() -> Schedule,
) -> anyhow::Result<Latencies> {
    let (outgoing, incoming) = mpsc::unbounded_channel();
    // The first request opens the stream, and creates the topic.
    outgoing.send(request(0))?;
    let stream = UnboundedReceiverStream::new(incoming);
    let mut replies = client.produce_stream(stream).await?.into_inner();
    check_next(&mut replies, 0).await?;
    let schedule = schedule_of();
    pacer::spawn(schedule, move |number| outgoing.send(request(number + 1)).is_ok());
    let mut latencies = Latencies::new();
    for number in 0..schedule.count {
        check_next(&mut replies, number + 1).await?;
        latencies.record_since(schedule.due(number));
    }
    Ok(latencies)
}

/// Unary calls for some time, as many in flight.
pub(crate) async fn produce_unary(
    client: Client,
    requests: &Requests,
    in_flight: usize,
    time: Duration,
) -> anyhow::Result<Round> {
    let started = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (mut client, requests) = (client.clone(), requests.clone());
            tokio::spawn(async move {
                let mut latencies = Latencies::new();
                while started.elapsed() < time {
                    let sent = Instant::now();
                    client.produce(requests.request(0)).await?;
                    latencies.record_since(sent);
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Latencies::new();
    for caller in callers {
        latencies.add(&caller.await??);
    }
    Ok(Round { per_second: latencies.count() as f64 / started.elapsed().as_secs_f64(), latencies })
}

async fn check_next(replies: &mut Streaming<ProduceStreamResponse>, request_id: u64) -> anyhow::Result<()> {
    let Some(reply) = replies.message().await? else { bail!("the server ended the stream") };
    check(&reply, request_id)
}

fn check(reply: &ProduceStreamResponse, request_id: u64) -> anyhow::Result<()> {
    ensure!(reply.request_id == request_id, "a reply to {}, not to {request_id}", reply.request_id);
    match &reply.result {
        Some(Outcome::Produced(_)) => Ok(()),
        refused => bail!("refused: {refused:?}"),
    }
}
