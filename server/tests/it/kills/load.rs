//! [`Load`], producers that keep their streams full and readers at the ends of topics, until the server is dead.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use minikafka_proto::v1::{
    Message, MessageList, ProduceRequest, ProduceStreamRequest, SubscribeRequest, produce_request::Payload,
    produce_stream_response::Result as Outcome,
};
use minikafka_record::{BatchBuilder, Offset};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Client, connect_to,
    ledger::{Ledger, Seen, Sent},
    reading::topic_name,
    rng::Rng,
    value::{Draft, Id, Source, draw_lens},
};
use crate::support::number;

/// Requests that wait for their replies, of each producer.
const IN_FLIGHT_MAX: usize = 6;
/// Topics that are read while they are written.
const TAILED: u8 = 3;

/// Counts acknowledged messages, and says when there are enough.
#[derive(Debug)]
pub(crate) struct Load {
    enough: u64,
    acknowledged: AtomicU64,
    done: Notify,
}

impl Load {
    pub(crate) fn new(enough: u64) -> Load {
        Load { enough, acknowledged: AtomicU64::new(0), done: Notify::new() }
    }

    pub(crate) async fn is_done(&self) {
        self.done.notified().await;
    }

    fn count(&self, messages: u64) {
        let before = self.acknowledged.fetch_add(messages, Ordering::Relaxed);
        if before < self.enough && before + messages >= self.enough {
            self.done.notify_one();
        }
    }

    /// Until nobody answers any more. What was sent, answered and seen is in the ledger then.
    pub(crate) async fn run(&self, address: &str, ledger: &mut Ledger, mut rng: Rng) {
        ledger.begin_round();
        let mut readers = JoinSet::new();
        for topic in 0..TAILED {
            let client = connect_to(address).await;
            if let Some(from) = ledger.end_of(topic) {
                readers.spawn(tail(client, topic, from));
            }
        }
        let mut producers = Vec::new();
        for source in Source::all() {
            let (next, chain) = ledger.next_of(source);
            let sent = Sent { source, first: next, drafts: Vec::new(), numbers: Vec::new() };
            let producer = Producer { load: self, rng: rng.fork(), chain, waiting: VecDeque::new(), sent };
            producers.push(producer.run(connect_to(address).await));
        }
        for sent in futures_util::future::join_all(producers).await {
            ledger.add_sent(sent);
        }
        for seen in readers.join_all().await {
            ledger.add_seen(seen);
        }
    }
}

/// A producer of one topic, with one stream.
struct Producer<'l> {
    load: &'l Load,
    rng: Rng,
    chain: u64,
    /// How many messages are in each request without a reply, the oldest first.
    waiting: VecDeque<usize>,
    sent: Sent,
}

impl Producer<'_> {
    async fn run(mut self, mut client: Client) -> Sent {
        let (requests, outbox) = mpsc::channel(1);
        let Ok(replies) = client.produce_stream(ReceiverStream::new(outbox)).await else { return self.sent };
        let mut replies = replies.into_inner();
        loop {
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => match reply.result.expect("a reply has a result") {
                        Outcome::Produced(produced) => self.note(produced.first_number, produced.count),
                        // It was asked to stop; nothing after this is stored.
                        Outcome::Error(error) if error.reason == "STOPPING" => return self.sent,
                        Outcome::Error(error) => panic!("{:?}: {error:?}", self.sent.source),
                    },
                    Ok(None) | Err(_) => return self.sent,
                },
                slot = requests.reserve(), if self.waiting.len() < IN_FLIGHT_MAX => match slot {
                    Ok(slot) => slot.send(self.next()),
                    Err(_) => return self.sent,
                },
            }
        }
    }

    fn note(&mut self, first: u64, count: u32) {
        let expected = self.waiting.pop_front().expect("a reply has a request");
        assert_eq!(expected, count as usize, "all messages of a request are answered together");
        self.sent.numbers.extend(first..first + u64::from(count));
        self.load.count(count.into());
    }

    fn next(&mut self) -> ProduceStreamRequest {
        let lens = draw_lens(&mut self.rng);
        let values: Vec<Vec<u8>> = lens.iter().map(|&len| self.draft(len)).collect();
        self.waiting.push_back(values.len());
        let payload = if self.rng.percent(40) {
            let mut builder = BatchBuilder::new();
            values.iter().for_each(|value| builder.push(1_700_000_000_000, None, Some(value), &[]));
            Payload::RecordBatch(builder.finish(Offset::ZERO, 0))
        } else {
            let message = |value| Message { value: Some(Bytes::from(value)), ..Message::default() };
            Payload::Messages(MessageList { messages: values.into_iter().map(message).collect() })
        };
        let topic = topic_name(self.sent.source.topic);
        let produce = ProduceRequest { topic, payload: Some(payload), ..ProduceRequest::default() };
        ProduceStreamRequest { request_id: self.sent.drafts.len() as u64, produce: Some(produce) }
    }

    fn draft(&mut self, len: u32) -> Vec<u8> {
        let Sent { source, first, drafts, .. } = &mut self.sent;
        let draft = Draft::after(self.chain, *source, len);
        let id = Id { source: *source, sequence: *first + drafts.len() as u32 };
        self.chain = draft.chain;
        drafts.push(draft);
        draft.value(id)
    }
}

/// Reads on from the end of a topic. What a reader has seen was committed, so it counts like an answer.
async fn tail(mut client: Client, topic: u8, from: u64) -> Seen {
    let mut seen = Seen { topic, messages: Vec::new() };
    let request =
        SubscribeRequest { topic: topic_name(topic), from: number(from), ..SubscribeRequest::default() };
    let Ok(replies) = client.subscribe(request).await else { return seen };
    let mut replies = replies.into_inner();
    while let Ok(Some(reply)) = replies.message().await {
        seen.messages.extend(reply.messages.into_iter().map(|message| {
            let value = message.value.expect("every message has a value");
            (message.number, Id::parse(&value).expect("every message says what it is"))
        }));
    }
    seen
}
