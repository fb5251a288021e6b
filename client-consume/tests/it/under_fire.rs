//! Rebalance under fire: members join, leave, pause and die at random over 64 partitions while a producer runs. Row 16 of
//! the table of faults: no gap, and again comes only what was delivered since the last commit.
//!
//! `MINIKAFKA_FIRE_SECONDS` says how long, `MINIKAFKA_FIRE_SEED` repeats the choices of a run.
//!
//! The ledger knows everything that was produced, delivered and certainly committed, and says at once when
//!
//! - a message is delivered that was committed before it was delivered,
//! - a member delivers messages of a partition after another one has begun to deliver those of that partition.
//!
//! At the end everything that was produced must have been delivered.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use minikafka_client_consume::{ConsumeError, GroupConsumer, Message, TopicPartition};

use crate::setup::Rig;

const PARTITIONS: u32 = 64;
const MEMBERS: u64 = 10;
/// Short, so that there are many in a run.
const SESSION_TIMEOUT: Duration = Duration::from_secs(1);
const TOPIC: &str = "fire";

/// A small generator of pseudo-random numbers (xorshift64*), so that a seed repeats its choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn time(&mut self, at_most: Duration) -> Duration {
        Duration::from_millis(self.below(at_most.as_millis() as u64))
    }
}

/// The time from when a member gets a partition until it loses it.
type Tenure = u64;

#[derive(Default)]
struct Ledger {
    partitions: BTreeMap<u32, Page>,
    tenures: Tenure,
    faults: Vec<String>,
    delivered: u64,
    again: u64,
    ends: BTreeMap<&'static str, u64>,
}

/// What is known of a partition.
#[derive(Default)]
struct Page {
    /// Messages 1 to this one were acknowledged.
    produced: u64,
    /// How often each was delivered; message 1 first.
    delivered: Vec<u32>,
    /// Everything before this number is certainly committed.
    committed: u64,
    /// Who delivered last.
    owner: Tenure,
}

impl Ledger {
    fn deliver(&mut self, tenure: Tenure, message: &Message) {
        let page = self.partitions.entry(message.partition).or_default();
        let number = message.number;
        if number < page.committed {
            let (partition, committed) = (message.partition, page.committed);
            self.faults.push(format!("{partition}/{number} comes again after the commit of {committed}"));
        }
        if tenure < page.owner {
            let (partition, owner) = (message.partition, page.owner);
            self.faults.push(format!("{partition}/{number}: tenure {tenure} delivers after tenure {owner}"));
        }
        page.owner = page.owner.max(tenure);
        let at = number as usize - 1;
        page.delivered.resize(page.delivered.len().max(at + 1), 0);
        page.delivered[at] += 1;
        self.delivered += 1;
        self.again += u64::from(page.delivered[at] > 1);
    }

    fn commit(&mut self, partition: u32, number: u64) {
        let page = self.partitions.entry(partition).or_default();
        page.committed = page.committed.max(number);
    }

    /// What was produced and never delivered.
    fn missing(&self) -> Vec<(u32, u64)> {
        let missing = |(partition, page): (&u32, &Page)| {
            let is_missing =
                |number: &u64| page.delivered.get(*number as usize - 1).is_none_or(|times| *times == 0);
            (1..=page.produced).find(is_missing).map(|number| (*partition, number))
        };
        self.partitions.iter().filter_map(missing).collect()
    }
}

/// What everybody shares.
#[derive(Clone)]
struct Fire {
    host: String,
    ledger: Arc<Mutex<Ledger>>,
    stopping: Arc<AtomicBool>,
}

/// A partition in the hands of a member.
struct Held {
    tenure: Tenure,
    /// What comes next.
    next: Option<u64>,
}

/// A member, and what the ledger has to know of it.
struct Member {
    consumer: GroupConsumer,
    ledger: Arc<Mutex<Ledger>>,
    /// The partitions that it had after the last poll, each with its epoch.
    tenures: BTreeMap<(u32, u64), Held>,
    commits_by_hand: bool,
}

impl Member {
    async fn poll(&mut self, wait: Duration) {
        match self.consumer.poll(wait).await {
            Ok(messages) => {
                self.see_partitions();
                self.deliver(&messages);
            }
            Err(ConsumeError::MembershipLost { .. }) => {
                *self.ledger.lock().unwrap().ends.entry("lost").or_default() += 1;
                self.tenures.clear();
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                self.see_partitions();
            }
        }
    }

    /// Those that it has no more were committed, unless that is done by hand: until then it has them.
    fn see_partitions(&mut self) {
        let mut ledger = self.ledger.lock().unwrap();
        let held = |of: &TopicPartition| {
            (of.partition, self.consumer.epoch(&of.topic, of.partition).expect("it reads what it has"))
        };
        let now: BTreeSet<_> = self.consumer.partitions().map(held).collect();
        let gone: Vec<_> = self.tenures.keys().filter(|held| !now.contains(held)).copied().collect();
        for held in gone {
            if let Some(Held { next: Some(next), .. }) = self.tenures.remove(&held)
                && !self.commits_by_hand
            {
                ledger.commit(held.0, next);
            }
        }
        for held in now {
            self.tenures.entry(held).or_insert_with(|| {
                ledger.tenures += 1;
                Held { tenure: ledger.tenures, next: None }
            });
        }
    }

    fn deliver(&mut self, messages: &[Message]) {
        let mut ledger = self.ledger.lock().unwrap();
        for message in messages {
            let of_partition = self.tenures.range_mut((message.partition, 0)..=(message.partition, u64::MAX));
            let (_, held) = of_partition.into_iter().next_back().expect("it reads what it has");
            if let Some(next) = held.next
                && next != message.number
            {
                let fault = format!("{}/{} comes, not {next}", message.partition, message.number);
                ledger.faults.push(fault);
            }
            held.next = Some(message.number + 1);
            ledger.deliver(held.tenure, message);
        }
    }

    async fn commit(&mut self) {
        if self.consumer.commit().await.is_ok() {
            self.note_committed();
        }
    }

    fn note_committed(&self) {
        let mut ledger = self.ledger.lock().unwrap();
        for ((partition, _), held) in &self.tenures {
            held.next.iter().for_each(|next| ledger.commit(*partition, *next));
        }
    }

    async fn leave(self) {
        let Member { consumer, ledger, tenures, commits_by_hand } = self;
        if consumer.leave_consumer_group().await.is_ok() && !commits_by_hand {
            let mut ledger = ledger.lock().unwrap();
            for ((partition, _), held) in tenures {
                held.next.iter().for_each(|next| ledger.commit(partition, *next));
            }
        }
    }
}

impl Fire {
    async fn join(&self, random: &mut Random) -> Member {
        let commits_by_hand = random.below(2) == 0;
        let builder = GroupConsumer::builder(&self.host, "g")
            .subscribe(TOPIC)
            .start(minikafka_client_consume::Position::Earliest)
            .session_timeout(SESSION_TIMEOUT)
            .timeout(Duration::from_secs(30));
        let builder = match commits_by_hand {
            true => builder.commit_by_hand(),
            false => builder.commit_interval(random.time(Duration::from_millis(500))),
        };
        let consumer = builder.join_consumer_group().await.expect("it joins");
        Member { consumer, ledger: self.ledger.clone(), tenures: BTreeMap::new(), commits_by_hand }
    }

    /// Lives as members do, one life after the other.
    async fn live(&self, mut random: Random) {
        while !self.stopping.load(Ordering::Relaxed) {
            let mut member = self.join(&mut random).await;
            let end = Instant::now() + random.time(Duration::from_secs(4));
            while Instant::now() < end {
                member.poll(random.time(Duration::from_millis(100))).await;
                if member.commits_by_hand && random.below(4) == 0 {
                    member.commit().await;
                }
                if random.below(200) == 0 {
                    self.note("pauses");
                    // Its whole world stands still, heartbeats included: sometimes for longer than its session.
                    thread::sleep(random.time(2 * SESSION_TIMEOUT));
                }
            }
            if random.below(2) == 0 {
                self.note("leaves");
                member.leave().await;
            } else {
                self.note("dies");
                drop(member);
            }
        }
    }

    async fn produce(&self, rig: &Rig, mut random: Random) {
        while !self.stopping.load(Ordering::Relaxed) {
            let partition = random.below(u64::from(PARTITIONS)) as u32;
            let count = 1 + random.below(20);
            let first = self.ledger.lock().unwrap().partitions.entry(partition).or_default().produced + 1;
            rig.produce(TOPIC, partition, first..=first + count - 1).await;
            self.ledger.lock().unwrap().partitions.entry(partition).or_default().produced += count;
            tokio::task::yield_now().await;
        }
    }

    fn note(&self, end: &'static str) {
        *self.ledger.lock().unwrap().ends.entry(end).or_default() += 1;
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rebalance_under_fire() {
    let seconds = number_from("MINIKAFKA_FIRE_SECONDS").unwrap_or(15);
    let seed = number_from("MINIKAFKA_FIRE_SEED").unwrap_or_else(|| RandomState::new().hash_one(())) | 1;
    println!("MINIKAFKA_FIRE_SEED={seed}");
    let rig = Arc::new(Rig::start().await);
    rig.create(TOPIC, PARTITIONS).await;
    let fire = Fire { host: rig.host(), ledger: Arc::default(), stopping: Arc::default() };
    // A world of its own for each, which can stand still.
    let members: Vec<_> = (0..MEMBERS)
        .map(|member| {
            let fire = fire.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(fire.live(Random(seed.wrapping_add(member * 7919) | 1)));
            })
        })
        .collect();
    let producing = {
        let (fire, rig) = (fire.clone(), rig.clone());
        tokio::spawn(async move { fire.produce(&rig, Random(seed)).await })
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    fire.stopping.store(true, Ordering::Relaxed);
    producing.await.unwrap();
    tokio::task::spawn_blocking(|| members.into_iter().for_each(|member| member.join().unwrap()))
        .await
        .unwrap();

    let mut last = fire.join(&mut Random(seed)).await;
    let reading = async {
        while !fire.ledger.lock().unwrap().missing().is_empty() {
            last.poll(Duration::from_millis(100)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(30), reading).await;
    let ledger = fire.ledger.lock().unwrap();
    let produced: u64 = ledger.partitions.values().map(|page| page.produced).sum();
    println!(
        "{produced} produced, {} delivered, {} of them again, {} tenures, {:?}, skipped: {}, faults: {}",
        ledger.delivered,
        ledger.again,
        ledger.tenures,
        ledger.ends,
        ledger.missing().len(),
        ledger.faults.len()
    );
    assert!(ledger.faults.is_empty(), "{:#?}", ledger.faults);
    assert!(outcome.is_ok(), "not delivered, the first of each partition: {:?}", ledger.missing());
    assert!(ledger.tenures > 100 && produced > 100, "there was a fire");
}
