//! Every crash point of small histories. Rows 1, 2 and 3 of the table of faults; row 5 by the way.

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
    explore::{Exploration, Figures, explore},
    script::parse,
    variants,
};
use crate::fake_disk::Lies;

fn explore_all(name: &str, script: &str, all: &[Options]) {
    let steps = parse(script);
    let mut figures = Figures::default();
    for options in all {
        let exploration = Exploration { options: options.clone(), lies: || Lies::None, losses: 2, seed: 0 };
        match explore(&steps, &exploration) {
            Ok(found) => figures += found,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    println!("{name}: {figures}");
}

fn policies() -> Vec<Options> {
    [variants(SyncPolicy::Always), variants(SyncPolicy::Never)].concat()
}

#[test]
fn appends_to_a_few_logs() {
    let script = "
        append a 1x20
        append b 3x50
        send a 2x30
        send b 1x30
        send c 1x10
        wait
        append a 1x700
        append c 2x20
        send a 1x40
    ";
    explore_all("appends", script, &policies());
}

#[test]
fn large_appends_beside_small_ones() {
    let script = "
        append a 1x20
        append a 2x3000
        append a 1x20
        send a 1x4000
        send b 1x20
        send a 1x20
        wait
        append b 1x5000
        append a 1x20
    ";
    explore_all("large appends", script, &policies());
}

#[test]
fn segments_roll_and_the_journal_turns_over() {
    let script = "
        append a 2x200
        append b 2x200
        append a 2x200
        append b 2x200
        append a 2x200
        append a 2x200
        append b 2x200
        append a 2x200
        append b 2x200
        send a 5x100
        send a 5x100
        wait
    ";
    explore_all("rolls", script, &policies());
}

#[test]
fn trims() {
    let script = "
        append a 4x60
        trim a 30
        append a 3x200
        trim a 50
        trim a 100
        append a 2x60
        append b 6x150
        trim b 90
        send b 1x10
    ";
    explore_all("trims", script, &policies());
}

#[test]
fn truncations() {
    let script = "
        append a 4x60
        truncate a 50
        append a 3x200
        send a 2x200
        truncate a 30
        append a 1x20
        trim a 40
        append a 6x120
        truncate a 0
        append a 1x20
        truncate a 100
        send a 1x20
    ";
    explore_all("truncations", script, &policies());
}

#[test]
fn resets() {
    let script = "
        append a 3x60
        reset a
        append a 2x60
        append b 1x20
        reset a
        reset a
        append a 4x150
        trim a 50
        reset a
        append a 1x20
        send b 1x20
        reset b
    ";
    explore_all("resets", script, &policies());
}

#[test]
fn logs_come_and_go() {
    let script = "
        open a
        append a 2x60
        remove a
        append a 1x40
        append b 3x200
        remove b
        open b
        send b 1x20
        remove a
        append b 1x20
        append a 1x20
    ";
    explore_all("creates and removes", script, &policies());
}

#[test]
fn blobs() {
    let script = "
        blob a vote 20
        send a 2x40
        blob a vote 30
        blob a snapshot 900
        append b 1x20
        send a 1x20
        blob a vote 0
        reset a
        blob a snapshot 10
    ";
    explore_all("blobs", script, &policies());
}

#[test]
fn clean_stops() {
    let script = "
        append a 3x60
        reopen
        append a 2x200
        append b 1x20
        reopen
        trim a 60
        reopen
        truncate a 70
        send b 2x100
        reopen
        append b 1x20
        blob b vote 10
        reopen
    ";
    explore_all("clean stops", script, &policies());
}
