//! Crashing at every operation of a history, and looking at what is left.

use std::fmt;

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
    check::check,
    inspected,
    ledger::{Ledger, Trust},
    run::{Clock, Run, open},
    script::{Step, text},
};
use crate::fake_disk::{FakeDisk, Image, Lies, PowerLoss};

/// How to explore a history.
#[derive(Clone, Debug)]
pub(super) struct Exploration {
    pub(super) options: Options,
    pub(super) lies: fn() -> Lies,
    /// Power losses with some of the unsynced changes, for each crash point.
    pub(super) losses: u64,
    pub(super) seed: u64,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) points: u64,
    pub(super) images: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash points: {}, images: {}, lost: 0", self.points, self.images)
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.points += other.points;
        self.images += other.images;
    }
}

/// Crashes at every operation of a history, and checks what each kind of crash leaves.
///
/// # Errors
/// What is wrong, with everything that is needed to see it again.
pub(super) fn explore(steps: &[Step], exploration: &Exploration) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for point in 0.. {
        let disk = FakeDisk::new();
        disk.lie((exploration.lies)());
        disk.stop_after(point);
        let context = |error: String, crash: &str| {
            let seed = exploration.seed;
            format!(
                "{error}\n{crash}, after {point} changes, seed {seed}, {:?}, of this history:\n{}\
                 the last changes:\n{}",
                exploration.options,
                text(steps),
                disk.trace(40)
            )
        };
        let (ledger, clock) = live(&disk, steps, exploration).map_err(|error| context(error, "before"))?;
        for (crash, image, trust) in crashes(&disk, exploration, point) {
            check_image(&image, &ledger, clock, trust, exploration)
                .map_err(|error| context(error, &crash))?;
            figures.images += 1;
        }
        figures.points += 1;
        if !disk.is_stopped() {
            break;
        }
    }
    Ok(figures)
}

/// Works through a history until the disk stops.
fn live(disk: &FakeDisk, steps: &[Step], exploration: &Exploration) -> Result<(Ledger, Clock), String> {
    let mut run = match Run::open(disk, &exploration.options, Ledger::default(), Clock::default()) {
        Ok(run) => run,
        Err((ledger, _)) if disk.is_stopped() => return Ok((ledger, Clock::default())),
        Err((_, error)) => return Err(format!("opening failed without a fault: {error}")),
    };
    let outcome = run.steps(steps);
    match outcome {
        Err(error) if !disk.is_stopped() => return Err(format!("a step failed without a fault: {error}")),
        _ => {}
    }
    run.end()
}

/// What each kind of crash leaves of a disk, and what must be there.
fn crashes(disk: &FakeDisk, exploration: &Exploration, point: u64) -> Vec<(String, Image, Trust)> {
    let synced = trust_after_loss(&exploration.options);
    let mut losses = vec![PowerLoss::NothingUnsynced];
    let first_seed = exploration.seed + point * exploration.losses;
    losses.extend((first_seed..first_seed + exploration.losses).map(PowerLoss::seeded));
    let losses = losses.iter().map(|loss| (format!("{loss:?}"), disk.image_after(loss), synced));
    let mut crashes = vec![("killed".to_owned(), disk.live_image(), Trust::Answers)];
    crashes.extend(losses);
    crashes
}

/// What must be there when the power goes.
pub(super) fn trust_after_loss(options: &Options) -> Trust {
    match options.sync {
        SyncPolicy::Always => Trust::Answers,
        SyncPolicy::Every(_) | SyncPolicy::Never => Trust::Demands,
    }
}

/// Opens what a crash has left, checks it, goes on with it, loses what is not synced and checks again.
pub(super) fn check_image(
    image: &Image,
    ledger: &Ledger,
    clock: Clock,
    trust: Trust,
    exploration: &Exploration,
) -> Result<(), String> {
    inspected::verify(image)?;
    let disk = FakeDisk::with(image);
    disk.lie((exploration.lies)());
    let recovered = reopen(&disk, ledger, trust, &exploration.options)?;
    let opened = Run::open(&disk, &exploration.options, recovered, clock);
    let mut run = opened.map_err(|(_, error)| format!("opening for the second time: {error}"))?;
    let topics: Vec<String> = ledger.logs.keys().cloned().collect();
    for topic in topics.iter().map(String::as_str).chain(["new"]) {
        let step = Step::Append { topic: topic.to_owned(), entries: 1, bytes: 10 };
        run.step(&step).map_err(|error| format!("after the crash, {step}: {error}"))?;
    }
    let (ledger, _) = run.end()?;
    let before = disk.trace(40);
    let (loss, trust) = match exploration.options.sync {
        SyncPolicy::Always => (disk.image_after(&PowerLoss::NothingUnsynced), Trust::Answers),
        SyncPolicy::Every(_) | SyncPolicy::Never => (disk.live_image(), Trust::Answers),
    };
    let disk = FakeDisk::with(&loss);
    reopen(&disk, &ledger, trust, &exploration.options)
        .map_err(|error| format!("the second time: {error}\nthe changes before it:\n{before}"))?;
    Ok(())
}

/// Opens a storage on a disk and checks it.
pub(super) fn reopen(
    disk: &FakeDisk,
    ledger: &Ledger,
    trust: Trust,
    options: &Options,
) -> Result<Ledger, String> {
    let storage = open(disk, options).map_err(|error| format!("opening: {error}"))?;
    check(&storage, ledger, trust)
}
