//! Producers under fire: connections are cut at any byte and the server is killed, again and again, and each message
//! is there once, in the order of its key. Row 15 of the table of faults.
//!
//! ```text
//!   producers --> proxy --> server       the proxy cuts, the server is killed with SIGKILL and started again
//!       |                     |
//!       +-- every receipt     +-- every message, read at the end: the same, once each
//! ```
//!
//! `MINIKAFKA_FIRE` is the number of kills, `MINIKAFKA_FIRE_SEED` the seed; the order of events is up to the machine,
//! so a seed finds a similar history, not the same.

mod proxy;

use std::{collections::BTreeMap, time::Duration};

use minikafka_client_produce::{Compression, Message, Producer, Receipt};
use minikafka_proto::v1::{CreateTopicRequest, PollRequest};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::proxy::Proxy;
use crate::{
    kills::{Kind, Process, Rng, connect_to, number},
    support,
};

/// What an ordinary run of the tests has the time for.
const KILLS: u64 = 8;
/// Longer than all kills together keep a message from being stored.
const TIMEOUT: Duration = Duration::from_secs(120);
/// A round takes a second or two; one that hangs fails.
const ROUND_MAX: Duration = Duration::from_secs(60);
const TOPIC: &str = "fire";
const PARTITIONS: u32 = 6;
const PRODUCERS: u64 = 3;
const KEYS: u64 = 12;
/// Receipts that wait to be looked at.
const RECEIPTS_MAX: usize = 4000;

/// A message: its producer, its key, and its place among those of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    producer: u64,
    key: u64,
    place: u64,
}

impl Id {
    fn key(self) -> String {
        format!("{}-{}", self.producer, self.key)
    }

    fn value(self, noise: usize) -> String {
        format!("{} {} {} {}", self.producer, self.key, self.place, "x".repeat(noise))
    }

    fn parse(value: &[u8]) -> Id {
        let text = std::str::from_utf8(value).unwrap();
        let mut numbers = text.split(' ').map_while(|word| word.parse().ok());
        let [producer, key, place] = std::array::from_fn(|_| numbers.next().unwrap());
        Id { producer, key, place }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_stored_once_and_in_the_order_of_its_key() {
    let kills = number("MINIKAFKA_FIRE", KILLS);
    let seed = number("MINIKAFKA_FIRE_SEED", std::process::id().into());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let root = TempDir::new().unwrap();
    let proxy = Proxy::start(rng.fork()).await;
    let mut process = Process::start(Kind::SmallFiles, root.path(), None);
    let create = CreateTopicRequest { topic: TOPIC.to_owned(), partitions: PARTITIONS, ..Default::default() };
    connect_to(&process.address()).await.create_topic(create).await.unwrap();
    proxy.send_to(Some(process.address()));

    let load = Load::start(&proxy, &mut rng).await;
    for kill in 0..kills {
        let wanted = load.acknowledged() + rng.between(1, 4000);
        let reached = tokio::time::timeout(ROUND_MAX, load.reaches(wanted)).await;
        assert!(reached.is_ok(), "nothing is acknowledged after kill {kill}");
        if rng.percent(25) {
            process.stop();
        }
        proxy.send_to(None);
        process.kill();
        let kind = if rng.percent(50) { Kind::Program } else { Kind::SmallFiles };
        process = Process::start(kind, root.path(), None);
        proxy.send_to(Some(process.address()));
    }
    proxy.calm_down();
    let receipts = load.finish().await;

    let count = check(&process.address(), &receipts).await;
    println!(
        "producers under fire: {kills} kills, {} connections cut, {count} messages, each there once and in order; seed {seed}",
        proxy.cuts()
    );
    process.kill();
}

/// Producers that send until they are told to stop.
struct Load {
    stop: watch::Sender<bool>,
    acknowledged: watch::Sender<u64>,
    tasks: Vec<JoinHandle<BTreeMap<Id, (u32, u64)>>>,
}

impl Load {
    async fn start(proxy: &Proxy, rng: &mut Rng) -> Load {
        let (stop, acknowledged) = (watch::Sender::new(false), watch::Sender::new(0));
        let mut tasks = Vec::new();
        for producer in 0..PRODUCERS {
            let codec = if producer == 0 { Compression::Lz4 } else { Compression::None };
            let builder = Producer::builder(&proxy.address, TOPIC)
                .timeout(TIMEOUT)
                .compression(codec)
                .batch_bytes_max(rng.between(200, 8000) as usize);
            // The first attempt may be cut, too.
            let connected = loop {
                if let Ok(connected) = builder.clone().connect().await {
                    break connected;
                }
            };
            let (receipts, inbox) = mpsc::channel(RECEIPTS_MAX);
            let sending = Sending { producer: connected, number: producer, rng: rng.fork(), receipts };
            tokio::spawn(sending.run(stop.subscribe()));
            tasks.push(tokio::spawn(collect(inbox, acknowledged.clone())));
        }
        Load { stop, acknowledged, tasks }
    }

    fn acknowledged(&self) -> u64 {
        *self.acknowledged.borrow()
    }

    async fn reaches(&self, wanted: u64) {
        let mut acknowledged = self.acknowledged.subscribe();
        acknowledged.wait_for(|acknowledged| *acknowledged >= wanted).await.unwrap();
    }

    /// Where every message went.
    async fn finish(self) -> BTreeMap<Id, (u32, u64)> {
        self.stop.send_replace(true);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            all.extend(tokio::time::timeout(TIMEOUT, task).await.expect("it comes to its end").unwrap());
        }
        all
    }
}

struct Sending {
    producer: Producer,
    number: u64,
    rng: Rng,
    receipts: mpsc::Sender<(Id, Receipt)>,
}

impl Sending {
    async fn run(mut self, stop: watch::Receiver<bool>) {
        let mut places = [0; KEYS as usize];
        while !*stop.borrow() {
            let key = self.rng.below(KEYS);
            let place = &mut places[key as usize];
            let id = Id { producer: self.number, key, place: *place };
            *place += 1;
            let noise_max = if self.rng.percent(2) { 20_000 } else { 100 };
            let noise = self.rng.below(noise_max) as usize;
            let message = Message::new(id.value(noise)).key(id.key());
            let receipt = self.producer.enqueue(message).await.unwrap();
            self.receipts.send((id, receipt)).await.unwrap();
        }
    }
}

/// Takes the receipts in: nothing fails.
async fn collect(
    mut receipts: mpsc::Receiver<(Id, Receipt)>,
    acknowledged: watch::Sender<u64>,
) -> BTreeMap<Id, (u32, u64)> {
    let mut all = BTreeMap::new();
    while let Some((id, receipt)) = receipts.recv().await {
        let partition = receipt.partition();
        let number = receipt.await.unwrap_or_else(|error| panic!("{id:?}: {error}"));
        all.insert(id, (partition, number));
        acknowledged.send_modify(|acknowledged| *acknowledged += 1);
    }
    all
}

/// Reads everything and compares. Returns how much there was.
async fn check(address: &str, receipts: &BTreeMap<Id, (u32, u64)>) -> usize {
    let mut client = connect_to(address).await;
    let mut next_places: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut count = 0;
    for partition in 0..PARTITIONS {
        let mut next = 1;
        loop {
            let request =
                PollRequest { partition: Some(partition), ..support::poll(TOPIC, support::number(next)) };
            let reply = client.poll(request).await.unwrap().into_inner();
            for message in &reply.messages {
                let id = Id::parse(message.value.as_deref().unwrap());
                assert_eq!(message.key.as_deref(), Some(id.key().as_bytes()));
                let place = next_places.entry((id.producer, id.key)).or_default();
                assert_eq!(id.place, *place, "{id:?} is number {} of partition {partition}", message.number);
                *place += 1;
                assert_eq!(receipts.get(&id), Some(&(partition, message.number)), "{id:?}");
                count += 1;
            }
            next = reply.next_number;
            if next >= reply.end_number {
                break;
            }
        }
    }
    assert_eq!(count, receipts.len(), "everything that was acknowledged is there");
    count
}
