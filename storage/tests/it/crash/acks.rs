//! Nothing is answered before it is durable: at the moment of each answer, what is synced alone holds the
//! entry. Row 2.

use std::sync::Arc;

use minikafka_storage::{Storage, filesystem::SyncPolicy};

use super::{
    ledger::Ledger,
    run::{Clock, Run, Samples, open},
    script::parse,
    variants,
};
use crate::{backend::id, fake_disk::FakeDisk};

#[test]
fn every_answer_comes_after_the_sync() {
    let steps = parse(
        "
        append a 1x20
        append b 3x50
        send a 2x30
        send b 1x30
        send c 1x10
        wait
        append a 1x700
        send a 2x3000
        send b 2x200
        send a 2x200
        wait
        trim a 50
        reset b
        send b 2x200
        send b 2x200
        append c 3x300
        append a 1x5000
        remove c
        append c 1x20
        reopen
        send a 1x20
        append c 1x20
        wait
    ",
    );
    let mut checked = 0;
    for options in variants(SyncPolicy::Always) {
        let disk = FakeDisk::new();
        let mut run = Run::open(&disk, &options, Ledger::default(), Clock::default()).unwrap();
        let samples = Samples::default();
        run.samples = Some(Arc::clone(&samples));
        run.steps(&steps).unwrap();
        run.end().unwrap();
        for (image, topic, entry) in samples.lock().unwrap().iter() {
            let storage = open(&FakeDisk::with(image), &options).unwrap();
            let log = storage.open(&id(topic)).unwrap();
            let next = log.bounds().next_index;
            assert!(
                next > entry.index,
                "{topic}: {} was answered, {next} is the next: {options:?}",
                entry.index
            );
            let found = log.entries(entry.index..entry.index + 1, 1).unwrap();
            assert_eq!(found, std::slice::from_ref(entry), "{topic}: {options:?}");
            checked += 1;
        }
    }
    println!("answers checked at their moment: {checked}, early: 0");
    assert!(checked > 60);
}
