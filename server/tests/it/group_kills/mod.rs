//! SIGKILL of the server while a group reads, again and again, on one directory and one port; the members come back by
//! themselves.
//!
//! ```text
//!   producer ----> server (killed, started) ----> members: some stay, one comes and goes
//!       |               |                            |
//!       +-- receipts ---+-- positions, after each ---+-- deliveries, commits, tenures
//!                       |   start                    |
//!                     ledger: nothing skipped, nothing again before a commit, one owner at a time
//! ```
//!
//! The moment of a kill is an event drawn from a seed: so many acknowledgements, commits or partitions that changed
//! hands. A round ends when every partition was read on after the restart. `MINIKAFKA_GROUP_KILLS` is the number of
//! kills, `MINIKAFKA_GROUP_KILLS_SEED` the seed; the order of events is up to the machine, so a seed finds a similar
//! history, not the same.

mod ledger;
mod member;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use minikafka_client_consume::GroupConsumerBuilder;
use minikafka_client_produce::{Message, Producer};
use minikafka_proto::v1::{
    CommitPositionsRequest, CreateTopicRequest, FetchPositionsRequest, PartitionPosition,
    group_service_client::GroupServiceClient,
};
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tonic::Code;

use self::{
    ledger::{Events, Ledger},
    member::{Commits, GROUP, Member, TOPIC, text},
};
use crate::{
    kills::{Kind, Process, Rng, connect_to, number},
    support::connect,
};

/// What an ordinary run of the tests has the time for.
const KILLS: u64 = 5;
const PARTITIONS: u32 = 12;
/// Members that stay.
const MEMBERS: u64 = 4;
/// Of those that stay: they must not be lost, however long a restart takes.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Of those that come and go: when one cannot say goodbye, its partitions wait for this.
const SHORT_SESSION_TIMEOUT: Duration = Duration::from_millis(1500);
/// A round takes a second or two; one that hangs fails.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Longer than all kills together keep a message from being stored.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages without an answer: so few that what is read is seldom far behind.
const IN_FLIGHT_MAX: usize = 100;
/// How long a member that comes and goes is there.
const STAY_MILLIS_MAX: u64 = 400;
/// Between two attempts to join while the server is dead.
const TRY_AGAIN: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_group_outlives_kills_of_its_server() {
    let kills = number("MINIKAFKA_GROUP_KILLS", KILLS);
    let seed = number("MINIKAFKA_GROUP_KILLS_SEED", std::process::id().into());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let (root, port) = (TempDir::new().unwrap(), Port::take());
    let mut process = Process::start_at(&port.host, Kind::Program, root.path(), None);
    let create = CreateTopicRequest { topic: TOPIC.to_owned(), partitions: PARTITIONS, ..Default::default() };
    connect_to(&process.address()).await.create_topic(create).await.unwrap();

    let group = Group::start(&port.host, &mut rng).await;
    for kill in 0..kills {
        let before = group.ledger.lock().unwrap().events();
        let round = async {
            group.until(moment(&mut rng, before)).await;
            process.kill();
            let committed = group.ledger.lock().unwrap().committed();
            let kind = if rng.percent(50) { Kind::Program } else { Kind::SmallFiles };
            let next = Process::start_at(&port.host, kind, root.path(), None);
            next.address();
            group.check_positions(&committed).await;
            group.reads_on().await;
            group.check_fencing().await;
            next
        };
        let outcome = tokio::time::timeout(ROUND_MAX, round).await;
        process = outcome.unwrap_or_else(|_| panic!("kill {kill}: {:?}", group.ledger.lock().unwrap()));
        group.ledger.lock().unwrap().assert_faultless();
    }
    let events = group.end().await;
    println!("kill -9 of a group's server: {kills} kills; {events:?}; seed {seed}");
    process.kill();
    assert_eq!(events.lost, 0, "members that stay are not lost");
    assert!(events.commits > 0 && events.tenures > u64::from(PARTITIONS), "there was a group: {events:?}");
}

/// The port is kept from everybody else while the server is dead: a socket that is bound and does not listen refuses
/// connections, and a listener with SO_REUSEADDR, which tokio's listeners have as well, can take its place.
struct Port {
    host: String,
    _socket: TcpSocket,
}

impl Port {
    fn take() -> Port {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Port { host: socket.local_addr().unwrap().to_string(), _socket: socket }
    }
}

/// Whether enough has happened, from now on.
fn moment(rng: &mut Rng, before: Events) -> impl Fn(&Events) -> bool + use<> {
    let (kind, messages, few) = (rng.below(3), rng.between(1, 1500), rng.between(1, 8));
    move |now| match kind {
        0 => now.acknowledged >= before.acknowledged + messages,
        1 => now.commits >= before.commits + few,
        // In the middle of a rebalance.
        _ => now.tenures >= before.tenures + few,
    }
}

/// The members, those who come and go, and the producer.
struct Group {
    host: String,
    ledger: Arc<Mutex<Ledger>>,
    events: watch::Receiver<Events>,
    /// The members that stay, by what the server calls them.
    ids: BTreeMap<u64, String>,
    producing: Task,
    staying: Vec<Task>,
    visiting: Task,
}

/// Goes on until it is told to stop.
struct Task {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Task {
    fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(watch::Receiver<bool>) -> F) -> Task {
        let (stop, told) = watch::channel(false);
        Task { stop, running: tokio::spawn(run(told)) }
    }

    async fn end(&mut self) {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(ROUND_MAX, &mut self.running).await;
        ended.expect("it comes to its end").unwrap();
    }
}

impl Group {
    async fn start(host: &str, rng: &mut Rng) -> Group {
        let ledger = Ledger::new(PARTITIONS);
        let events = ledger.watch();
        let ledger = Arc::new(Mutex::new(ledger));
        let (mut ids, mut staying) = (BTreeMap::new(), Vec::new());
        for member in 0..MEMBERS {
            let commits = commits(member);
            let consumer =
                Member::builder(host, SESSION_TIMEOUT, commits).join_consumer_group().await.unwrap();
            let mut joined = Member::new(member, consumer, ledger.clone(), commits, rng.fork());
            ids.insert(member, joined.id());
            staying.push(Task::start(|leave| async move {
                joined.live(&leave).await;
                joined.leave().await;
            }));
        }
        let producer = Producer::builder(host, TOPIC).timeout(SEND_TIMEOUT).connect().await.unwrap();
        let producing = Task::start(|stop| produce(producer, ledger.clone(), rng.fork(), stop));
        let visiting = Task::start(|stop| visit(host.to_owned(), ledger.clone(), rng.fork(), stop));
        Group { host: host.to_owned(), ledger, events, ids, producing, staying, visiting }
    }

    /// Waits for an event.
    async fn until(&self, has_happened: impl Fn(&Events) -> bool) {
        self.events.clone().wait_for(|events| has_happened(events)).await.unwrap();
    }

    /// Waits until every partition was read on: all of them have an owner who is back.
    async fn reads_on(&self) {
        let before = self.ledger.lock().unwrap().delivered();
        self.until_ledger(|ledger| {
            ledger.delivered().iter().all(|(partition, delivered)| *delivered > before[partition])
        })
        .await;
    }

    /// Waits until the ledger says so.
    async fn until_ledger(&self, is_so: impl Fn(&Ledger) -> bool) {
        let mut events = self.events.clone();
        while !is_so(&self.ledger.lock().unwrap()) {
            events.changed().await.unwrap();
        }
    }

    /// No commit that was acknowledged before the kill is lost.
    async fn check_positions(&self, committed: &BTreeMap<u32, u64>) {
        let request = FetchPositionsRequest { group: GROUP.to_owned(), ..FetchPositionsRequest::default() };
        let mut groups = GroupServiceClient::new(connect(&self.host).await);
        let stored = groups.fetch_positions(request).await.unwrap().into_inner().positions;
        let stored: BTreeMap<u32, u64> = stored.into_iter().map(|at| (at.partition, at.number)).collect();
        let mut ledger = self.ledger.lock().unwrap();
        for (partition, committed) in committed {
            ledger.check_position(*partition, *committed, stored.get(partition).copied());
        }
    }

    /// Who has lost a partition to somebody else cannot commit it any more, also after a kill.
    async fn check_fencing(&self) {
        let mut groups = GroupServiceClient::new(connect(&self.host).await);
        for (member, member_id) in &self.ids {
            let Some((partition, tenure)) = self.ledger.lock().unwrap().lost_by(*member) else { continue };
            let position =
                PartitionPosition { topic: TOPIC.to_owned(), partition, number: 1, ..Default::default() };
            let request = CommitPositionsRequest {
                group: GROUP.to_owned(),
                member_id: member_id.clone(),
                member_epoch: tenure.epoch,
                positions: vec![position],
            };
            let status = groups.commit_positions(request).await.expect_err("it is fenced");
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        }
    }

    /// Everything that was acknowledged is delivered, and all leave.
    async fn end(mut self) -> Events {
        self.producing.end().await;
        self.visiting.end().await;
        let all_read = self.until_ledger(|ledger| ledger.behind().is_empty());
        let read = tokio::time::timeout(ROUND_MAX, all_read).await;
        assert!(read.is_ok(), "not delivered: {:?}", self.ledger.lock().unwrap());
        for member in &mut self.staying {
            member.end().await;
        }
        let ledger = self.ledger.lock().unwrap();
        ledger.assert_faultless();
        ledger.events()
    }
}

fn commits(member: u64) -> Commits {
    match member % 2 {
        0 => Commits::ByHand,
        _ => Commits::Every(Duration::from_millis(20)),
    }
}

/// Sends to all partitions in random turns, and takes the receipts in: nothing fails.
async fn produce(producer: Producer, ledger: Arc<Mutex<Ledger>>, mut rng: Rng, stop: watch::Receiver<bool>) {
    let (receipts, mut inbox) = mpsc::channel(IN_FLIGHT_MAX);
    let acknowledging = tokio::spawn(async move {
        while let Some((partition, receipt)) = inbox.recv().await {
            let receipt: minikafka_client_produce::Receipt = receipt;
            let number = receipt.await.unwrap_or_else(|error| panic!("partition {partition}: {error}"));
            ledger.lock().unwrap().acknowledge(partition, number);
        }
    });
    let mut next = [1; PARTITIONS as usize];
    while !*stop.borrow() {
        let partition = rng.below(u64::from(PARTITIONS)) as u32;
        let number: &mut u64 = &mut next[partition as usize];
        let message = Message::new(text(partition, *number)).partition(partition);
        *number += 1;
        let receipt = producer.enqueue(message).await.unwrap();
        receipts.send((partition, receipt)).await.unwrap();
    }
    drop(receipts);
    acknowledging.await.unwrap();
}

/// Members that come, read a little, and leave or die, one after the other: each moves partitions twice.
async fn visit(host: String, ledger: Arc<Mutex<Ledger>>, mut rng: Rng, stop: watch::Receiver<bool>) {
    for number in MEMBERS.. {
        if *stop.borrow() {
            return;
        }
        let commits = commits(number);
        let builder: GroupConsumerBuilder = Member::builder(&host, SHORT_SESSION_TIMEOUT, commits);
        // Nobody is there just now, perhaps.
        let Ok(consumer) = builder.join_consumer_group().await else {
            tokio::time::sleep(TRY_AGAIN).await;
            continue;
        };
        let mut member = Member::new(number, consumer, ledger.clone(), commits, rng.fork());
        let (leave, told) = watch::channel(false);
        let stay = Duration::from_millis(rng.below(STAY_MILLIS_MAX));
        // When it goes is drawn: nothing waits for it.
        tokio::spawn(async move {
            tokio::time::sleep(stay).await;
            leave.send_replace(true);
        });
        member.live(&told).await;
        if rng.percent(70) {
            member.leave().await;
        }
    }
}
