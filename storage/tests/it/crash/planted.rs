//! Planted bugs: the suite must find each. What it does not find, it does not prove. Row 20.
//!
//! Planted in the disk, which pretends: as if the backend had forgotten to ask. Those that need a change of the
//! backend are not here.

use std::path::Path;

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
    explore::{Exploration, explore},
    script::parse,
    tiny, variants,
};
use crate::fake_disk::Lies;

const SCRIPT: &str = "
    append a 3x60
    append b 2x50
    append a 2x300
    trim a 50
    blob a vote 30
    append a 2x300
    truncate a 60
    append a 1x2000
    remove b
    append b 1x20
    reset b
    append b 3x300
    append a 2x300
    append b 2x300
    append a 2x300
";

/// Plants a bug.
type Plant = fn() -> Lies;

/// Whether the suite finds out with any of the options.
fn is_found(lies: Plant, all: &[Options]) -> bool {
    all.iter().any(|options| {
        let exploration = Exploration { options: options.clone(), lies, losses: 2, seed: 0 };
        match explore(&parse(SCRIPT), &exploration) {
            Ok(figures) => {
                println!("not found: {figures}");
                false
            }
            Err(error) => {
                println!("found: {}", error.lines().next().unwrap_or_default());
                true
            }
        }
    })
}

fn in_journal(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("journal"))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[test]
fn without_a_bug_nothing_is_found() {
    assert!(!is_found(|| Lies::None, &variants(SyncPolicy::Always)));
}

#[test]
fn a_segment_that_is_not_synced_is_found() {
    let lies: Plant = || Lies::Sync(|path| has_extension(path, "log") && !in_journal(path));
    for options in variants(SyncPolicy::Always) {
        assert!(is_found(lies, std::slice::from_ref(&options)), "{options:?}");
    }
}

#[test]
fn a_journal_that_is_not_synced_is_found() {
    let journal = Options { direct_bytes: u64::MAX, ..tiny(SyncPolicy::Always) };
    assert!(is_found(|| Lies::Sync(in_journal), &[journal]));
}

#[test]
fn a_manifest_that_is_not_synced_is_found() {
    assert!(is_found(|| Lies::Sync(|path| path.ends_with("manifest")), &[tiny(SyncPolicy::Always)]));
}

#[test]
fn a_blob_that_is_not_synced_is_found() {
    let lies: Plant = || Lies::Sync(|path| file_name(path).starts_with("blob-"));
    assert!(is_found(lies, &[tiny(SyncPolicy::Always)]));
}

#[test]
fn directories_that_are_not_synced_are_found() {
    let lies: [(&str, Plant); 3] = [
        ("that of the logs", || Lies::SyncDir(|dir| dir.ends_with("logs"))),
        ("that of the journal", || Lies::SyncDir(|dir| dir.ends_with("journal"))),
        ("that of a log", || Lies::SyncDir(|dir| dir.parent().is_some_and(|above| above.ends_with("logs")))),
    ];
    for (name, lies) in lies {
        assert!(is_found(lies, &variants(SyncPolicy::Always)), "{name}");
    }
}
