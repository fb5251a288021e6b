//! Operations that fail, one in a history: with EIO (row 6) and with ENOSPC (row 7).
//!
//! Whatever fails: every append is answered, what was acknowledged can be read while the storage is open and
//! after it was opened again, no sync of a file is tried again after one has failed, and a log that may have
//! lost bytes takes no more appends. The disk forgets what a failed sync did not write, as Linux does.

use std::collections::BTreeSet;

use minikafka_record::Offset;
use minikafka_storage::{
    Log, StorageError,
    filesystem::{Options, SyncPolicy},
};

use super::{
    check::ensure,
    explore::reopen,
    ledger::{Content, Ledger, Trust, World},
    run::{Clock, Run},
    script::{Step, parse, text},
    variants,
};
use crate::{
    backend::append,
    fake_disk::{Class, Errno, FakeDisk, Fault, PowerLoss},
};

const SCRIPT: &str = "
    append a 2x60
    append b 1x40
    send a 2x300
    send b 2x300
    wait
    append a 1x2000
    trim a 40
    blob a vote 30
    append b 2x300
    truncate b 60
    append b 1x20
    append a 2x300
    append c 1x20
    remove c
    reset b
    append b 2x200
    append a 1x20
";

/// What a history was when its disk had one fault.
struct Lived {
    disk: FakeDisk,
    ledger: Ledger,
    /// Whether the fault happened.
    happened: bool,
}

#[test]
fn a_disk_that_fails_once_loses_nothing_that_was_answered() {
    fail_everywhere(Errno::Eio, Class::Change, usize::MAX);
}

/// A record then takes several writes, of which one fails.
#[test]
fn a_disk_that_writes_little_at_once_and_fails_once_loses_nothing_that_was_answered() {
    fail_everywhere(Errno::Eio, Class::Change, 700);
}

#[test]
fn a_disk_that_cannot_be_read_once_loses_nothing_that_was_answered() {
    fail_everywhere(Errno::Eio, Class::Look, usize::MAX);
}

#[test]
fn a_disk_that_is_full_once_loses_nothing_that_was_answered() {
    fail_everywhere(Errno::Enospc, Class::Change, usize::MAX);
}

fn fail_everywhere(errno: Errno, class: Class, write_bytes_max: usize) {
    let steps = parse(SCRIPT);
    let mut faults = 0;
    for options in variants(SyncPolicy::Always) {
        for after in 0.. {
            let fault = Fault { class, after, count: 1, errno };
            match fail_at(&steps, fault, write_bytes_max, &options) {
                Ok(true) => faults += 1,
                Ok(false) => break,
                Err(error) => panic!("{error}\n{fault:?}, {options:?}\n{}", text(&steps)),
            }
        }
    }
    println!("{errno:?} of a {class:?}: faults: {faults}, lost: 0");
    assert!(faults > 100, "{faults}");
}

/// Lives through a history with a fault, and checks what is left. Says whether the fault happened.
fn fail_at(steps: &[Step], fault: Fault, write_bytes_max: usize, options: &Options) -> Result<bool, String> {
    let disk = FakeDisk::new();
    disk.write_short(write_bytes_max);
    disk.fail(fault);
    let Lived { disk, ledger, happened } = live(disk, steps, fault, options)?;
    let context = |what: &str, error: String| format!("{what}: {error}\nthe changes:\n{}", disk.trace(200));
    ensure!(
        disk.retried_syncs().is_empty(),
        "{}",
        context("synced again", format!("{:?}", disk.retried_syncs()))
    );
    for (what, image) in [
        ("killed", disk.live_image()),
        ("power lost", disk.image_after(&PowerLoss::NothingUnsynced)),
        ("power lost, some kept", disk.image_after(&PowerLoss::seeded(fault.after))),
    ] {
        reopen(&FakeDisk::with(&image), &ledger, Trust::Answers, options)
            .map_err(|error| context(what, error))?;
    }
    // The server is started again, the machine is not: what a failed sync has forgotten can still be read. What
    // is served then must be there for good.
    let served =
        reopen(&disk, &ledger, Trust::Answers, options).map_err(|error| context("restarted", error))?;
    for loss in [PowerLoss::NothingUnsynced, PowerLoss::seeded(fault.after + 1)] {
        reopen(&FakeDisk::with(&disk.image_after(&loss)), &served, Trust::Answers, options)
            .map_err(|error| context("restarted, then power lost", error))?;
    }
    Ok(happened)
}

/// Takes all steps that can be taken, whatever fails.
fn live(disk: FakeDisk, steps: &[Step], fault: Fault, options: &Options) -> Result<Lived, String> {
    let count = |disk: &FakeDisk| match fault.class {
        Class::Change => disk.changes(),
        Class::Look => disk.looks(),
    };
    let mut run = match Run::open(&disk, options, Ledger::default(), Clock::default()) {
        Ok(run) => run,
        Err((ledger, error)) => {
            ensure!(count(&disk) > fault.after, "opening failed without a fault: {error}");
            return Ok(Lived { disk, ledger, happened: true });
        }
    };
    let mut failed = BTreeSet::new();
    for step in steps {
        if step.topic().is_some_and(|topic| failed.contains(topic)) {
            continue;
        }
        let Err(error) = run.step(step) else { continue };
        ensure!(count(&disk) > fault.after, "{step} failed without a fault: {error}");
        // Nobody knows how the log is, until it is opened again.
        let is_in_doubt = matches!(step, Step::Truncate { .. } | Step::Reset { .. } | Step::Remove { .. });
        if let Some(topic) = step.topic()
            && is_in_doubt
            && !matches!(error, StorageError::Full(_))
        {
            failed.insert(topic.to_owned());
        }
    }
    run.settle();
    let happened = count(&disk) > fault.after;
    disk.heal();
    for topic in run.topics() {
        let checked = match failed.contains(&topic) {
            true => check_reopens(&mut run, &topic),
            false => check_still_served(&mut run, &topic),
        };
        checked.map_err(|error| format!("log {topic}: {error}"))?;
    }
    let (ledger, _) = run.end()?;
    Ok(Lived { disk, ledger, happened })
}

/// Everything acknowledged can be read after the fault; the log takes appends, or has poisoned itself and takes them
/// once it was opened again.
fn check_still_served(run: &mut Run, topic: &str) -> Result<(), String> {
    let log = run.log(topic).expect("an open log");
    let worlds = run.ledger.worlds(topic);
    let [World::Present(content)] = &worlds[..] else { return Ok(()) };
    check_acknowledged(&*log, content)?;
    let answer = run.send(topic, 1, 10).map_err(|error| error.to_string())?;
    match answer.wait() {
        Ok(()) => return Ok(()),
        Err(StorageError::Poisoned(_)) => {}
        // It was the writer's fault, of which the log learns only now: who waits is told what it was, and nobody after.
        Err(error @ StorageError::Io { .. }) => {
            let next = run.send(topic, 1, 10).map_err(|error| error.to_string())?.wait();
            ensure!(matches!(next, Err(StorageError::Poisoned(_))), "an append after \"{error}\": {next:?}");
        }
        Err(error) => return Err(format!("an append after the fault: {error}")),
    }
    check_acknowledged(&*log, content)?;
    let again = run.recover(topic).map_err(|error| format!("opening it again: {error}"))?;
    check_acknowledged(&*again, content)?;
    ensure!(again.bounds().damaged == 0, "opened again it has damage: {:?}", again.bounds());
    ensure!(again.bounds().start >= log.bounds().start, "the start went back");
    for _ in 0..2 {
        let answer = run.send(topic, 1, 10).map_err(|error| error.to_string())?;
        answer.wait().map_err(|error| format!("an append after it was opened again: {error}"))?;
    }
    let outcome = append(&*log, Vec::new());
    ensure!(matches!(outcome, Err(StorageError::Reopened)), "the old handle says {outcome:?}");
    let outcome = log.read(log.bounds().start, log.bounds().end, 1);
    ensure!(matches!(outcome, Err(StorageError::Reopened)), "the old handle reads {outcome:?}");
    Ok(())
}

/// A log of which nobody knows how it is can be opened again, and has no damage.
fn check_reopens(run: &mut Run, topic: &str) -> Result<(), String> {
    let again = run.recover(topic).map_err(|error| format!("opening it again: {error}"))?;
    ensure!(again.bounds().damaged == 0, "opened again it has damage: {:?}", again.bounds());
    append(&*again, Vec::new()).map_err(|error| format!("an append after it was opened again: {error}"))
}

fn check_acknowledged(log: &dyn Log, content: &Content) -> Result<(), String> {
    let bounds = log.bounds();
    let must = content.must(Trust::Answers);
    ensure!(bounds.next_index >= must, "acknowledged up to {must}, it goes to {}", bounds.next_index);
    for entry in content.entries().iter().filter(|entry| entry.index < must) {
        if entry.end_offset() <= bounds.start || entry.base_offset < bounds.start || entry.record_count == 0 {
            continue;
        }
        let found = log
            .read(entry.base_offset, entry.base_offset.plus(1), 1)
            .map_err(|error| format!("reading {} after the fault: {error}", entry.base_offset))?;
        let expected = entry.batches().next().expect("it has records");
        ensure!(found[0].bytes() == expected.bytes(), "another batch at {}", entry.base_offset);
    }
    Ok(())
}

/// A disk that stays full: appends are refused, reads and evictions go on, and with space come the appends.
#[test]
fn a_full_disk_refuses_appends_and_nothing_else() {
    for options in variants(SyncPolicy::Always) {
        let disk = FakeDisk::new();
        disk.set_capacity(400 * 1024);
        let options = Options { segment_bytes: 20_000, ..options };
        let mut run =
            Run::open(&disk, &options, Ledger::default(), Clock::default()).map_err(|(_, e)| e).unwrap();
        let small = |topic: &str| Step::Append { topic: topic.to_owned(), entries: 1, bytes: 2000 };
        run.step(&small("b")).unwrap();
        let refused = loop {
            if let Err(error) = run.step(&small("a")) {
                break error;
            }
        };
        assert!(matches!(refused, StorageError::Full(_)), "{refused:?}");
        assert!(refused.is_retryable());
        let log = run.log("a").unwrap();
        let full = log.bounds();
        assert!(full.end > Offset::new(20), "{full:?}");
        let [World::Present(content)] = &run.ledger.worlds("a")[..] else { panic!("the log is there") };
        check_acknowledged(&*log, content).unwrap();
        assert_eq!(full.end, full.durable, "a refused message takes no number");
        // Internal writes go on: eviction, and a removal.
        run.step(&Step::Trim { topic: "a".to_owned(), percent: 80 }).unwrap();
        run.step(&Step::Remove { topic: "b".to_owned() }).unwrap();
        let freed = disk.free_bytes();
        assert!(freed > 100 * 1024, "{freed}");
        // Space is asked for again after a moment, and only when somebody appends.
        let started = std::time::Instant::now();
        while let Err(error) = run.step(&small("a")) {
            assert!(matches!(error, StorageError::Full(_)), "{error:?}");
            assert!(started.elapsed() < std::time::Duration::from_secs(30), "still refused after 30 s");
            std::thread::yield_now();
        }
        let (ledger, _) = run.end().unwrap();
        let image = disk.image_after(&PowerLoss::NothingUnsynced);
        reopen(&FakeDisk::with(&image), &ledger, Trust::Answers, &options).unwrap();
    }
}
