//! The checker finds what it is there for.

use minikafka_proto::v1::Message;

use super::*;

const SOURCE: Source = Source { topic: 1, producer: 1 };

/// Five messages were sent and the first three acknowledged, as numbers 1 to 3.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.add_sent(sent(&ledger, 5, &[1, 2, 3]));
    ledger
}

fn sent(ledger: &Ledger, count: u32, numbers: &[u64]) -> Sent {
    let (first, mut chain) = ledger.next_of(SOURCE);
    let drafts = (0..count).map(|_| {
        let draft = Draft::after(chain, SOURCE, 50);
        chain = draft.chain;
        draft
    });
    Sent { source: SOURCE, first, drafts: drafts.collect(), numbers: numbers.to_vec() }
}

fn value(ledger: &Ledger, sequence: u32) -> Vec<u8> {
    ledger.sent[&SOURCE][sequence as usize].value(Id { source: SOURCE, sequence })
}

/// Lost, duplicated, reordered and wrong, when these sequences are there from this number on.
fn faults(ledger: &mut Ledger, from: u64, sequences: &[u32]) -> [u64; 4] {
    let values: Vec<_> = sequences.iter().map(|&sequence| value(ledger, sequence)).collect();
    look(ledger, from, 1, &values)
}

fn look(ledger: &mut Ledger, from: u64, start: u64, values: &[Vec<u8>]) -> [u64; 4] {
    let end = from + values.len() as u64;
    let message = |(number, value): (u64, &Vec<u8>)| Message {
        number,
        value: Some(value.clone().into()),
        ..Message::default()
    };
    let messages = (from..).zip(values).map(message).collect();
    let retention = (start > 1).then_some(Duration::ZERO);
    let reply = PollResponse {
        messages,
        next_number: end,
        end_number: end,
        start_number: start,
        ..Default::default()
    };
    let mut check = ledger.check(SOURCE.topic);
    check.reply(&reply, retention);
    check.finish(end);
    let Faults { lost, duplicated, reordered, wrong, .. } = ledger.faults;
    [lost, duplicated, reordered, wrong]
}

#[test]
fn what_is_unknown_is_there_or_not() {
    for there in [&[0, 1, 2][..], &[0, 1, 2, 3], &[0, 1, 2, 3, 4]] {
        assert_eq!(faults(&mut ledger(), 1, there), [0; 4], "{there:?}");
    }
    let mut ledger = ledger();
    faults(&mut ledger, 1, &[0, 1, 2, 3]);
    ledger.add_sent(sent(&ledger, 2, &[5]));
    assert_eq!(faults(&mut ledger, 5, &[5, 6]), [0; 4]);
    assert_eq!((ledger.acknowledged, ledger.unknown), (4, 3));
    ledger.assert_faultless();
}

#[test]
fn faults_are_found() {
    for (there, expected) in [
        (&[][..], [3, 0, 0, 0]),
        (&[0, 1], [1, 0, 0, 0]),
        (&[0, 1, 2, 2], [0, 1, 0, 0]),
        (&[0, 1, 2, 4], [0, 0, 1, 0]),
        (&[0, 1, 2, 4, 3], [0, 0, 2, 0]),
        (&[0, 2, 1], [2, 0, 2, 0]),
    ] {
        assert_eq!(faults(&mut ledger(), 1, there), expected, "{there:?}");
    }
}

#[test]
fn what_nobody_sent_is_found() {
    let mut ledger = ledger();
    let mut values: Vec<_> = (0..5).map(|sequence| value(&ledger, sequence)).collect();
    *values[4].last_mut().unwrap() ^= 1;
    assert_eq!(look(&mut ledger, 1, 1, &values), [0, 0, 0, 1]);
}

#[test]
fn what_was_not_there_stays_away() {
    let mut ledger = ledger();
    faults(&mut ledger, 1, &[0, 1, 2]);
    ledger.add_sent(sent(&ledger, 1, &[]));
    assert_eq!(faults(&mut ledger, 4, &[3]), [0, 0, 1, 0]);
}

#[test]
fn a_number_never_changes() {
    let mut ledger = ledger();
    faults(&mut ledger, 1, &[0, 1, 2]);
    let [first, other] = [0, 3].map(|sequence| value(&ledger, sequence));
    ledger.check_again(1, 1, &first);
    ledger.assert_faultless();
    ledger.check_again(1, 1, &other);
    assert_eq!(ledger.faults.wrong, 1);
    // Another message gets a number that has one.
    ledger.add_sent(sent(&ledger, 1, &[2]));
    assert_eq!(ledger.faults.wrong, 2);
}

#[test]
fn what_is_evicted_need_not_be_there() {
    let mut evicted = ledger();
    let rest = [value(&evicted, 2), value(&evicted, 3)];
    assert_eq!(look(&mut evicted, 3, 3, &rest), [0; 4]);
    let mut all = ledger();
    assert_eq!(look(&mut all, 6, 6, &[]), [0; 4]);
    assert_eq!(all.start_of(1), 6);
}

#[test]
fn what_is_young_must_be_there() {
    let mut ledger = ledger();
    let mut check = ledger.check(1);
    check.start(3, None);
    assert_eq!(ledger.faults.lost, 1);
}
