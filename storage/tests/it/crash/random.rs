//! Long random histories with crash upon crash on the same disk, the memory backend as the oracle. Rows 1, 2
//! and 3.
//!
//! MINIKAFKA_SEEDS says how many histories (for a hunt, thousands), MINIKAFKA_SEED the first of them.

use minikafka_storage::{
    Log, Storage,
    filesystem::{Options, SyncPolicy},
    memory::MemoryStorage,
};

use super::{
    check::check,
    explore::trust_after_loss,
    inspected,
    ledger::{Content, Ledger, Trust, World},
    run::{Clock, Run, open},
    script::{random, text},
    tiny,
};
use crate::{
    backend::{append, id},
    fake_disk::{FakeDisk, Image, PowerLoss, Rng},
    oracle::assert_same,
};

/// Histories in a run of the tests.
const SEEDS: u64 = 60;
/// Crashes in a history.
const CRASHES: u64 = 6;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

#[test]
fn random_histories_survive_crash_upon_crash() {
    let first = number_from_env("MINIKAFKA_SEED", 0);
    let count = number_from_env("MINIKAFKA_SEEDS", SEEDS);
    let mut entries = 0;
    for seed in first..first + count {
        match history(seed) {
            Ok(found) => entries += found,
            Err(error) => panic!("MINIKAFKA_SEED={seed} MINIKAFKA_SEEDS=1: {error}"),
        }
    }
    println!("histories: {count}, crashes: {}, entries checked: {entries}, lost: 0", count * CRASHES);
}

fn random_options(rng: &mut Rng) -> Options {
    let sync = if rng.percent(80) { SyncPolicy::Always } else { SyncPolicy::Never };
    Options {
        segment_bytes: rng.between(300, 3000),
        tail_bytes: rng.below(2000),
        journal_bytes: [0, 12 * 1024, 40 * 1024][rng.below(3) as usize],
        journal_files: [2, 3, 8, 12][rng.below(4) as usize],
        direct_bytes: [0, 300, 1500, u64::MAX][rng.below(4) as usize],
        small_round_bytes: [0, 700, u64::MAX][rng.below(3) as usize],
        early_bytes: [200, 1000, u64::MAX][rng.below(3) as usize],
        ..tiny(sync)
    }
}

/// What a history knows of itself between two crashes.
struct History {
    rng: Rng,
    options: Options,
    ledger: Ledger,
    clock: Clock,
    image: Image,
    /// What happened last, for those who look for a bug: threads make each run a little different.
    story: String,
}

/// Lives through a history. Gives the number of entries that were found after crashes.
fn history(seed: u64) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let options = random_options(&mut rng);
    let (ledger, clock, image) = (Ledger::default(), Clock::default(), Image::default());
    let mut history = History { rng, options, ledger, clock, image, story: String::new() };
    let mut entries = 0;
    for _ in 0..CRASHES {
        let trust = history.live()?;
        let trust = history.crash_while_opening(trust);
        let disk = FakeDisk::with(&history.image);
        inspected::verify(&history.image)?;
        let recovered = {
            let storage = open(&disk, &history.options).map_err(|error| format!("opening: {error}"))?;
            check(&storage, &history.ledger, trust)
                .map_err(|error| format!("{error}\n{trust:?}, {:?}\n{}", history.options, history.story))?
        };
        history.ledger = recovered;
        history.image = disk.live_image();
        entries += history.ledger.contents().map(|(_, content)| content.attempts.len() as u64).sum::<u64>();
    }
    Ok(entries)
}

impl History {
    /// Works until the disk stops or there is nothing more to do, and crashes.
    fn live(&mut self) -> Result<Trust, String> {
        let disk = FakeDisk::with(&self.image);
        let changes = if self.rng.percent(20) { 30 } else { 400 };
        disk.stop_after(self.rng.below(changes));
        let steps = random(&mut self.rng, 80);
        let context = |error: String| format!("{error}\n{}{}", text(&steps), disk.trace(40));
        match Run::open(&disk, &self.options, self.ledger.clone(), self.clock) {
            Ok(mut run) => {
                for (number, step) in steps.iter().enumerate() {
                    match run.step(step) {
                        Err(_) if disk.is_stopped() => break,
                        Err(error) => return Err(context(format!("{step} failed without a fault: {error}"))),
                        Ok(()) if number % 16 == 15 => _ = disk.unstopped(|| compare_with_memory(&run)),
                        Ok(()) => {}
                    }
                }
                (self.ledger, self.clock) = run.end().map_err(context)?;
                self.story = context("before the crash:".to_owned());
            }
            Err((_, error)) if !disk.is_stopped() => return Err(context(format!("opening: {error}"))),
            Err(_) => {}
        }
        Ok(self.crash(&disk))
    }

    /// Takes some image of the disk.
    fn crash(&mut self, disk: &FakeDisk) -> Trust {
        let (image, trust) = match self.rng.below(10) {
            0..3 => (disk.live_image(), Trust::Answers),
            3..5 => (disk.image_after(&PowerLoss::NothingUnsynced), trust_after_loss(&self.options)),
            _ => (disk.image_after(&PowerLoss::seeded(self.rng.next())), trust_after_loss(&self.options)),
        };
        self.image = image;
        self.story += &format!("crashed, {trust:?}\n");
        trust
    }

    /// Perhaps crashes once more, or twice, while the storage and its logs are opened.
    fn crash_while_opening(&mut self, mut trust: Trust) -> Trust {
        while self.rng.percent(40) {
            let disk = FakeDisk::with(&self.image);
            disk.stop_after(self.rng.below(40));
            if let Ok(storage) = open(&disk, &self.options) {
                for topic in self.ledger.logs.keys() {
                    if storage.list().is_ok_and(|list| list.contains(&id(topic))) {
                        // It may fail: the disk stops.
                        let _ = storage.open(&id(topic));
                    }
                }
            }
            self.story += &format!("while opening:\n{}", disk.trace(40));
            if self.crash(&disk) == Trust::Demands {
                trust = Trust::Demands;
            }
        }
        trust
    }
}

/// Compares all answers with those of a memory backend that was given the same.
fn compare_with_memory(run: &Run) {
    let memory = MemoryStorage::new(u64::MAX);
    for (topic, content) in run.ledger.contents() {
        let Some(log) = run.log(topic) else { continue };
        let oracle = memory.open(&id(topic)).unwrap();
        fill(&*oracle, content);
        assert_same(&*oracle, &*log);
    }
}

fn fill(oracle: &dyn Log, content: &Content) {
    oracle.reset(content.removed, content.base).unwrap();
    append(oracle, content.entries()).unwrap();
    oracle.trim(content.starts.1).unwrap();
}

impl Ledger {
    /// The logs that are there, when nothing is in doubt.
    fn contents(&self) -> impl Iterator<Item = (&str, &Content)> {
        self.logs.iter().filter_map(|(topic, worlds)| match &worlds[..] {
            [World::Present(content)] => Some((topic.as_str(), content)),
            _ => None,
        })
    }
}
