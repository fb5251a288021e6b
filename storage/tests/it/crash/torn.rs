//! The last writes cut at every byte, wherever they went. Row 3.

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
    explore::reopen,
    ledger::{Ledger, Trust},
    run::{Clock, Run},
    script::{Step, parse},
    variants,
};
use crate::fake_disk::FakeDisk;

#[test]
fn writes_torn_at_every_byte_before_each_sync_lose_nothing_that_was_answered() {
    let steps = parse(
        "
        append a 2x30
        append b 1x10
        send a 1x600
        send a 2x20
        wait
    ",
    );
    let mut images = 0;
    for options in variants(SyncPolicy::Always) {
        images += tear(&steps, &options).unwrap();
    }
    println!("images torn at a byte: {images}, lost: 0");
    assert!(images > 5000, "{images}");
}

/// Stops before each sync of a history, and tears what waits for it.
fn tear(steps: &[Step], options: &Options) -> Result<u64, String> {
    let mut images = 0;
    for point in 0.. {
        let disk = FakeDisk::new();
        disk.stop_after(point);
        let Ok(mut run) = Run::open(&disk, options, Ledger::default(), Clock::default()) else { continue };
        let outcome = run.steps(steps);
        let (ledger, _) = run.end()?;
        if outcome.is_ok() {
            break;
        }
        if disk.last_change() != "sync" {
            continue;
        }
        let mut torn = disk.torn_images();
        // A byte that is written over the same one tears nothing.
        torn.dedup();
        for (number, image) in torn.iter().enumerate() {
            reopen(&FakeDisk::with(image), &ledger, Trust::Answers, options).map_err(|error| {
                format!("{error}\nimage {number} after {point} changes: {}", disk.trace(20))
            })?;
            images += 1;
        }
    }
    Ok(images)
}
