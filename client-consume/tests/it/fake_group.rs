//! [`FakeGroup`], a server whose one group does what it is told, and tells what its members said, in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use minikafka_client_consume::{ConsumeError, GroupConsumer, GroupConsumerBuilder, Position};
use minikafka_proto::v1::{
    group_service_server::{GroupService, GroupServiceServer},
    join_request::Message as Said,
    join_response::Message as Reply,
    mini_kafka_service_server::{MiniKafkaService, MiniKafkaServiceServer},
    position::At,
    *,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::{
    StreamExt as _,
    wrappers::{TcpListenerStream, UnboundedReceiverStream},
};
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    fake::{batch, refusal, reply},
    reading::LONG,
};

/// What a member did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// On a stream of its own, the first of which is 0.
    Said(usize, Said),
    Committed(CommitPositionsRequest),
    /// Asked which positions are stored of these partitions.
    Asked(Vec<u32>),
}

/// See the module. Each partition of each topic has ten messages.
pub(crate) struct FakeGroup {
    host: String,
    state: State,
    serving: JoinHandle<()>,
}

type State = Arc<Mutex<Inner>>;

#[derive(Default)]
struct Inner {
    /// How many were opened.
    connections: usize,
    events: Vec<Event>,
    streams: Vec<mpsc::UnboundedSender<Result<JoinResponse, Status>>>,
    /// What the next requests to join are refused with.
    refused_joins: VecDeque<Status>,
    /// What the next commits are refused with.
    refusals: VecDeque<Status>,
    /// Commits of these partitions are refused always.
    unwanted: HashMap<u32, Status>,
    /// What the next questions for positions are refused with.
    refused_questions: VecDeque<Status>,
    /// Questions for these partitions are refused always.
    gone: Vec<u32>,
    stored: HashMap<u32, u64>,
    /// When the next question for positions is answered, with what was stored when it was asked.
    answers_when: Option<oneshot::Receiver<()>>,
    is_silent: bool,
    /// Beside what was asked for, readers get so many replies of a MiB.
    flood: usize,
}

impl FakeGroup {
    pub(crate) async fn start() -> FakeGroup {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = State::default();
        let (groups, messages) = (Service(state.clone()), Service(state.clone()));
        let counting = state.clone();
        let incoming = TcpListenerStream::new(listener).map(move |opened| {
            counting.lock().unwrap().connections += 1;
            opened
        });
        let serving = tokio::spawn(async move {
            let served = tonic::transport::Server::builder()
                .add_service(GroupServiceServer::new(groups))
                .add_service(MiniKafkaServiceServer::new(messages))
                .serve_with_incoming(incoming);
            served.await.unwrap();
        });
        FakeGroup { host, state, serving }
    }

    /// Options of a member that reads topic "t" from its start.
    pub(crate) fn member(&self) -> GroupConsumerBuilder {
        GroupConsumer::builder(&self.host, "g").subscribe("t").start(Position::Earliest)
    }

    /// Assigns these partitions of topic "t", with their positions, over the newest stream.
    pub(crate) fn assign(&self, member_epoch: u64, partitions: &[(u32, Option<u64>)]) {
        let assigned = |(partition, position): &(u32, Option<u64>)| AssignedPartition {
            topic: "t".into(),
            partition: *partition,
            position: *position,
        };
        let partitions = partitions.iter().map(assigned).collect();
        self.send(Ok(Reply::Assignment(Assignment { member_epoch, partitions })));
    }

    /// Ends the newest stream.
    pub(crate) fn end_stream(&self, status: Status) {
        self.send(Err(status));
    }

    fn send(&self, reply: Result<Reply, Status>) {
        let reply = reply.map(|message| JoinResponse { message: Some(message) });
        self.lock().streams.last().expect("somebody has joined").send(reply).unwrap();
    }

    /// Answers nothing that members say, from now on.
    pub(crate) fn fall_silent(&self) {
        self.lock().is_silent = true;
    }

    /// From now on, sends readers so many replies of a MiB beside what they have asked for.
    pub(crate) fn flood(&self, replies: usize) {
        self.lock().flood = replies;
    }

    pub(crate) fn refuse_next_join(&self, status: Status) {
        self.lock().refused_joins.push_back(status);
    }

    pub(crate) fn refuse_next_commit(&self, status: Status) {
        self.lock().refusals.push_back(status);
    }

    pub(crate) fn refuse_commits_of(&self, partition: u32, status: Status) {
        self.lock().unwanted.insert(partition, status);
    }

    /// Takes commits of this partition again.
    pub(crate) fn want_commits_of(&self, partition: u32) {
        self.lock().unwanted.remove(&partition);
    }

    pub(crate) fn refuse_next_question(&self, status: Status) {
        self.lock().refused_questions.push_back(status);
    }

    /// Knows nothing of this partition any more, when it is asked for its position.
    pub(crate) fn lose(&self, partition: u32) {
        self.lock().gone.push(partition);
    }

    /// Holds back the answer to the next question for positions until told to send it.
    pub(crate) fn hold_next_answer(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        self.lock().answers_when = Some(receiver);
        sender
    }

    /// Somebody else has come to this position.
    pub(crate) fn store(&self, partition: u32, number: u64) {
        self.lock().stored.insert(partition, number);
    }

    /// The position that is stored of a partition of "t".
    pub(crate) fn stored(&self, partition: u32) -> Option<u64> {
        self.lock().stored.get(&partition).copied()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Polls a member until something has happened; what comes meanwhile is returned.
    pub(crate) async fn until(
        &self,
        member: &mut GroupConsumer,
        has_happened: impl Fn(&[Event]) -> bool,
    ) -> Vec<(u32, u64)> {
        let mut seen = Vec::new();
        let waiting = async {
            while !has_happened(&self.events()) {
                match member.poll(std::time::Duration::from_millis(5)).await {
                    Ok(messages) => seen.extend(messages.iter().map(|it| (it.partition, it.number))),
                    Err(error) => assert!(matches!(error, ConsumeError::Unreachable { .. }), "{error}"),
                }
            }
        };
        tokio::time::timeout(LONG, waiting).await.expect("it happens");
        seen
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }
}

impl Drop for FakeGroup {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whether a member has said that it reads these partitions, in answer to this epoch.
pub(crate) fn owns(epoch: u64, partitions: &[u32]) -> impl Fn(&[Event]) -> bool {
    let partitions = partitions.to_vec();
    move |events| {
        let is_it = |event: &Event| match event {
            Event::Said(_, Said::Owned(owned)) => {
                let owned_partitions: Vec<_> = owned.partitions.iter().map(|of| of.partition).collect();
                owned.member_epoch == epoch && owned_partitions == partitions
            }
            _ => false,
        };
        events.iter().any(is_it)
    }
}

/// What was committed, by request: partitions and numbers.
pub(crate) fn commits(events: &[Event]) -> Vec<Vec<(u32, u64)>> {
    let committed = |event: &Event| match event {
        Event::Committed(commit) => {
            Some(commit.positions.iter().map(|position| (position.partition, position.number)).collect())
        }
        Event::Said(..) | Event::Asked(_) => None,
    };
    events.iter().filter_map(committed).collect()
}

/// Of which partitions the positions were asked for, by request.
pub(crate) fn questions(events: &[Event]) -> Vec<Vec<u32>> {
    let asked = |event: &Event| match event {
        Event::Asked(partitions) => Some(partitions.clone()),
        Event::Said(..) | Event::Committed(_) => None,
    };
    events.iter().filter_map(asked).collect()
}

/// The requests to join.
pub(crate) fn joins(events: &[Event]) -> Vec<JoinGroup> {
    let join = |event: &Event| match event {
        Event::Said(_, Said::Join(join)) => Some(join.clone()),
        _ => None,
    };
    events.iter().filter_map(join).collect()
}

struct Service(State);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GroupService for Service {
    async fn join(&self, request: Request<Streaming<JoinRequest>>) -> Answer<BoxStream<JoinResponse>> {
        let (replies, outgoing) = mpsc::unbounded_channel();
        let stream = {
            let mut inner = self.0.lock().unwrap();
            inner.streams.push(replies.clone());
            inner.streams.len() - 1
        };
        let (state, mut requests) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(JoinRequest { message: Some(said) })) = requests.message().await {
                let mut inner = state.lock().unwrap();
                let answer = match &said {
                    Said::Join(join) => {
                        let is_back = !join.member_id.is_empty();
                        let new_id = format!("member {stream}");
                        let member_id = if is_back { join.member_id.clone() } else { new_id };
                        Some(Reply::Joined(Joined { member_id, member_epoch: 1, heartbeat_interval_ms: 100 }))
                    }
                    Said::Heartbeat(_) => Some(Reply::Heartbeat(HeartbeatReply {})),
                    Said::Leave(_) => {
                        inner.events.push(Event::Said(stream, said));
                        // Without a sender the stream ends.
                        inner.streams[stream] = mpsc::unbounded_channel().0;
                        return;
                    }
                    Said::Owned(_) | Said::Subscribe(_) => None,
                };
                if !matches!(said, Said::Heartbeat(_)) {
                    inner.events.push(Event::Said(stream, said));
                }
                if let Some(refusal) = inner.refused_joins.pop_front().filter(|_| answer.is_some()) {
                    let _ = replies.send(Err(refusal));
                    return;
                }
                if let Some(answer) = answer.filter(|_| !inner.is_silent) {
                    let _ = replies.send(Ok(JoinResponse { message: Some(answer) }));
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }

    async fn commit_positions(
        &self,
        request: Request<CommitPositionsRequest>,
    ) -> Answer<CommitPositionsResponse> {
        let request = request.into_inner();
        let mut inner = self.0.lock().unwrap();
        if let Some(refusal) = inner.refusals.pop_front() {
            return Err(refusal);
        }
        let unwanted = |position: &PartitionPosition| inner.unwanted.get(&position.partition).cloned();
        if let Some(refusal) = request.positions.iter().find_map(unwanted) {
            return Err(refusal);
        }
        for position in &request.positions {
            inner.stored.insert(position.partition, position.number);
        }
        inner.events.push(Event::Committed(request));
        Ok(Response::new(CommitPositionsResponse {}))
    }

    async fn fetch_positions(
        &self,
        request: Request<FetchPositionsRequest>,
    ) -> Answer<FetchPositionsResponse> {
        let position = |(partition, number): (&u32, &u64)| PartitionPosition {
            topic: "t".into(),
            partition: *partition,
            number: *number,
            ..PartitionPosition::default()
        };
        let asked: Vec<u32> = request.into_inner().partitions.iter().map(|of| of.partition).collect();
        let (positions, answers_when) = {
            let mut inner = self.0.lock().unwrap();
            inner.events.push(Event::Asked(asked.clone()));
            if let Some(refusal) = inner.refused_questions.pop_front() {
                return Err(refusal);
            }
            if asked.iter().any(|partition| inner.gone.contains(partition)) {
                return Err(refusal(Code::NotFound, "PARTITION_NOT_FOUND", &[]));
            }
            let stored = inner.stored.iter().filter(|(partition, _)| asked.contains(partition));
            (stored.map(position).collect(), inner.answers_when.take())
        };
        if let Some(answers_when) = answers_when {
            let _ = answers_when.await;
        }
        Ok(Response::new(FetchPositionsResponse { positions, ..FetchPositionsResponse::default() }))
    }
}

#[tonic::async_trait]
impl MiniKafkaService for Service {
    /// One reply for each partition, with all of its messages from the position on.
    async fn read(&self, request: Request<Streaming<ReadRequest>>) -> Answer<BoxStream<ReadResponse>> {
        let (replies, outgoing) = mpsc::unbounded_channel();
        let flood = ReadResponse { record_batches: vec![vec![0; 1 << 20].into()], ..ReadResponse::default() };
        let (state, mut requests) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                for add in request.add {
                    let from = match add.from.and_then(|from| from.at) {
                        Some(At::Number(number)) => number,
                        Some(At::Anchor(anchor)) if anchor == i32::from(Anchor::Latest) => 11,
                        // Later than all that is there.
                        Some(At::TimestampMs(i64::MAX)) => 11,
                        _ => 1,
                    };
                    let ReadPartition { topic, partition, read_id, .. } = add;
                    let place = ReadResponse { topic, partition, read_id, ..reply([], 1..11) };
                    let _ = replies.send(Ok(ReadResponse { next_number: from, ..place.clone() }));
                    if from <= 10 {
                        let record_batches = vec![batch(from..=10)];
                        let _ = replies.send(Ok(ReadResponse { record_batches, next_number: 11, ..place }));
                    }
                }
                let replies_of_a_mib = state.lock().unwrap().flood;
                for _ in 0..replies_of_a_mib {
                    let _ = replies.send(Ok(flood.clone()));
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }
}
