//! SIGKILL under load, again and again, with a checker that knows each acknowledgement. Row 1 of the table of
//! faults.
//!
//! ```text
//!     start -> check what is there -> load -> kill -> start -> check ...       one directory, all rounds
//!                     |                |
//!                     +--- ledger -----+   what was sent, what was answered, what was read before
//! ```
//!
//! - `process`: the server, in a process of its own: the program as it is, or one whose files are so small that
//!   segments, the journal and indexes turn over all the time. They take turns on the same directory.
//! - `load`: producers that keep their streams full, and readers at the end of the topics.
//! - `value`: messages that can be told apart and made again; `ledger`: the checker.
//! - `reading`: how the checker gets at the messages; `short_lived`: a topic that is deleted and made again.
//!
//! The moment of a kill is a count of acknowledgements, drawn from a seed. In some rounds the server is killed
//! while it opens as well, is asked to stop before, or evicts. `MINIKAFKA_KILLS` is the number of rounds,
//! `MINIKAFKA_KILLS_SEED` the seed; the order of events is up to the machine, so a seed finds a similar
//! history, not the same.

mod ledger;
mod load;
mod process;
mod reading;
mod rng;
mod short_lived;
mod value;

use std::{env, fmt, path::Path, thread, time::Duration};

use minikafka_proto::v1::mini_kafka_service_client::MiniKafkaServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;

use self::{ledger::Ledger, load::Load, short_lived::ShortLived};
pub(crate) use self::{
    process::{Kind, Process},
    rng::Rng,
};
use crate::support::connect;

pub(crate) type Client = MiniKafkaServiceClient<Channel>;

/// What an ordinary run of the tests has the time for.
const ROUNDS: u64 = 20;
/// A round takes a second or so; one that hangs fails.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Of the rounds that evict: short, so that what the round before wrote is evicted in this one.
const RETENTION: Duration = Duration::from_secs(1);
/// Longest time that an opening server lives, if it is not to come to its end: some openings take longer.
const OPENING_MICROS_MAX: u64 = 30_000;
/// Longest time that a stopping server lives, if it is not to come to its end.
const STOPPING_MICROS_MAX: u64 = 30_000;
/// Every so many rounds everything is read, and not only what is new and samples.
const READ_ALL: u64 = 20;

/// What a round is like.
#[derive(Clone, Copy, Debug)]
struct Plan {
    kind: Kind,
    /// Whether messages grow old while it runs.
    evicts: bool,
    /// Kills while it opens, before it may open.
    openings: u64,
    /// The acknowledged messages after which it is killed.
    acknowledged: u64,
    /// How long it has to stop gracefully, if it has.
    stopping: Option<Duration>,
}

impl Plan {
    fn draw(rng: &mut Rng) -> Plan {
        let kind = if rng.percent(40) { Kind::Program } else { Kind::SmallFiles };
        // Most kills hit servers that have just begun or are busy; some hit one with much behind it.
        let most = if rng.percent(20) { 12_000 } else { 2000 };
        let stops = matches!(kind, Kind::Program) && rng.percent(30);
        Plan {
            kind,
            evicts: rng.percent(20),
            openings: if rng.percent(25) { rng.between(1, 3) } else { 0 },
            acknowledged: rng.between(1, most),
            stopping: stops.then(|| Duration::from_micros(rng.below(STOPPING_MICROS_MAX))),
        }
    }
}

#[derive(Debug, Default)]
struct Figures {
    rounds: u64,
    kills: u64,
    stops: u64,
    evicting: u64,
    deleted: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { rounds, kills, stops, evicting, deleted } = self;
        write!(
            f,
            "{rounds} rounds, {kills} kills, {stops} of them while stopping, {evicting} rounds with eviction, \
             {deleted} topics deleted"
        )
    }
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_doubled_or_moved() {
    let rounds = number("MINIKAFKA_KILLS", ROUNDS);
    let seed = number("MINIKAFKA_KILLS_SEED", std::process::id().into());
    println!("seed {seed}");
    let root = TempDir::new().unwrap();
    let mut hunt = Hunt::new(root.path(), seed);
    for round in 0..rounds {
        hunt.round(round).await;
    }
    hunt.end().await;
    println!("kill -9: {}; {}; seed {seed}", hunt.figures, hunt.ledger);
}

struct Hunt<'r> {
    root: &'r Path,
    rng: Rng,
    ledger: Ledger,
    short_lived: ShortLived,
    /// Whether the server before this one evicted.
    evicted: bool,
    figures: Figures,
}

impl Hunt<'_> {
    fn new(root: &Path, seed: u64) -> Hunt<'_> {
        let rng = Rng::new(seed);
        let short_lived = ShortLived::default();
        Hunt {
            root,
            rng,
            ledger: Ledger::default(),
            short_lived,
            evicted: false,
            figures: Figures::default(),
        }
    }

    async fn round(&mut self, round: u64) {
        let plan = Plan::draw(&mut self.rng);
        let seed = self.rng.fork();
        for _ in 0..plan.openings {
            let process = Process::start(plan.kind, self.root, None);
            thread::sleep(Duration::from_micros(self.rng.below(OPENING_MICROS_MAX)));
            process.kill();
            self.figures.kills += 1;
        }
        let retention = plan.evicts.then_some(RETENTION);
        let mut process = Process::start(plan.kind, self.root, retention);
        let address = process.address();
        let lived = async {
            self.check(&address, plan.evicts, round.is_multiple_of(READ_ALL)).await;
            self.load(&address, plan, seed, &mut process).await;
        };
        if tokio::time::timeout(ROUND_MAX, lived).await.is_err() {
            panic!("round {round} hangs: {plan:?}");
        }
        process.kill();
        self.evicted = plan.evicts;
        self.figures.rounds += 1;
        self.figures.kills += 1;
        self.figures.stops += u64::from(plan.stopping.is_some());
        self.figures.evicting += u64::from(plan.evicts);
    }

    /// Checks what the last kill has left.
    async fn check(&mut self, address: &str, evicts: bool, all: bool) {
        let mut client = connect_to(address).await;
        let retention = (evicts || self.evicted).then_some(RETENTION);
        for topic in 0..value::TOPICS {
            reading::check_new(&mut client, &mut self.ledger, topic, retention).await;
            if all {
                reading::check_all(&mut client, &mut self.ledger, topic).await;
            } else {
                reading::check_samples(&mut client, &mut self.ledger, topic, &mut self.rng).await;
            }
        }
        self.figures.deleted = self.short_lived.check(&mut client, retention.is_some()).await;
    }

    /// Keeps the server busy until it is dead.
    async fn load(&mut self, address: &str, plan: Plan, seed: Rng, process: &mut Process) {
        let load = Load::new(plan.acknowledged);
        let producing = load.run(address, &mut self.ledger, seed);
        let deleting = self.short_lived.run(connect_to(address).await);
        let killing = async {
            load.is_done().await;
            if let Some(time) = plan.stopping {
                process.stop();
                // The moment is what matters, not that it is reached.
                tokio::time::sleep(time).await;
            }
            process.signal_kill();
        };
        tokio::join!(producing, deleting, killing);
    }

    /// Reads everything once more.
    async fn end(&mut self) {
        let process = Process::start(Kind::Program, self.root, None);
        let address = process.address();
        self.check(&address, false, true).await;
        process.kill();
    }
}

pub(crate) async fn connect_to(address: &str) -> Client {
    // Messages have to get in and out whatever surrounds them.
    MiniKafkaServiceClient::new(connect(address).await).max_decoding_message_size(16 << 20)
}
