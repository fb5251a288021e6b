//! Crashes, faults and damage: the filesystem backend on a fake disk, against a ledger of what it promised.
//!
//! ```text
//!     script  ->  run  ->  storage  ->  fake disk  ->  image  ->  storage  ->  check
//!     (steps)     |                        (crash)                               |
//!                 +----- ledger: what was begun, what was answered --------------+
//! ```
//!
//! - `points`: every crash point of small histories; `random`: long ones, crash upon crash.
//! - `failing`: operations that fail, and a disk that fills up; `slow`: syncs that take their time.
//! - `reopened`: logs that have failed and are opened again while the others go on; `panics`: threads that end.
//! - `refused`: parts of which the disk takes the first half only.
//! - `reverted`: a failed sync behind which the file is as it was before.
//! - `racing`: readers, and a log that changes under them; `checkpoints`: how much an opening reads.
//! - `killed`: what one process did not sync, and the next one goes by.
//! - `acks`: what is durable at the moment of an answer; `places`: in which file.
//! - `torn`: writes cut at every byte; `flips`: flipped bits; `golden`: what earlier versions wrote.
//! - `damaged`: damage that was found is known for good; `unreadable`: bytes that cannot be read.
//! - `planted`: bugs that the suites must find. A checker that finds nothing proves nothing.
//!
//! Numbered rows are those of the table of faults that must not hurt.

mod acks;
mod check;
mod checkpoints;
mod damaged;
mod explore;
mod failing;
mod flips;
mod golden;
mod inspected;
mod killed;
mod ledger;
mod panics;
mod places;
mod planted;
mod points;
mod racing;
mod random;
mod refused;
mod reopened;
mod reverted;
mod run;
mod script;
mod slow;
mod together;
mod torn;
mod unreadable;

use std::time::Duration;

use minikafka_storage::filesystem::{Options, SyncPolicy};

/// Everything happens often.
fn tiny(sync: SyncPolicy) -> Options {
    Options {
        sync,
        segment_bytes: 900,
        tail_bytes: 300,
        open_files: 3,
        journal_bytes: 16 * 1024,
        journal_files: 3,
        journal_pause: Duration::ZERO,
        direct_bytes: 500,
        small_round_bytes: 0,
        ..Options::default()
    }
}

/// The ways that an append may take to the disk: the journal, the segment, either by its size, and without
/// syncs.
fn variants(sync: SyncPolicy) -> Vec<Options> {
    let tiny = tiny(sync);
    match sync {
        SyncPolicy::Always => vec![
            Options { direct_bytes: u64::MAX, ..tiny.clone() },
            Options { direct_bytes: 0, early_bytes: 100, ..tiny.clone() },
            Options { journal_bytes: 0, ..tiny.clone() },
            tiny,
        ],
        SyncPolicy::Every(_) | SyncPolicy::Never => vec![tiny],
    }
}
