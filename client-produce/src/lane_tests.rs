//! How sequences are given and what a gap leads to.

use tokio::time::Instant;

use super::*;
use crate::Message;

const NAME: Identity = Identity { id: 7, epoch: 0 };
const NEXT: Identity = Identity { id: 7, epoch: 1 };

/// A lane with batches of these lengths to send.
fn lane(counts: impl IntoIterator<Item = u64>) -> Lane {
    let mut lane = Lane::default();
    let mut position = 0;
    for count in counts {
        let mut draft = Draft::new(0, Instant::now(), 0);
        for _ in 0..count {
            draft.push(&Message::new("x"), 1, position);
            position += 1;
        }
        lane.waiting.push_back(draft.seal());
    }
    lane
}

fn take(lane: &mut Lane, name: Identity) -> Option<Batch> {
    lane.take_next(true, 5, Some(name))
}

/// Epoch and sequence.
fn stamp(batch: &Batch) -> (i16, i32) {
    let stamp = batch.stamp.unwrap();
    (stamp.epoch, stamp.sequence.get())
}

/// The server refuses a batch of this lane.
fn break_at(lane: &mut Lane, reason: Break, mut batch: Batch) -> Fate {
    lane.in_flight -= 1;
    let fate = lane.take_break(reason, &mut batch);
    if fate == Fate::Again {
        lane.come_back(batch);
    }
    fate
}

#[test]
fn sequences_count_messages_and_stay_with_their_batch() {
    let mut lane = lane([3, 2, 1]);
    let batches: Vec<_> = std::iter::from_fn(|| take(&mut lane, NAME)).collect();
    assert_eq!(batches.iter().map(stamp).collect::<Vec<_>>(), [(0, 0), (0, 3), (0, 5)]);
    lane.end_session();
    batches.into_iter().rev().for_each(|batch| lane.come_back(batch));
    let again: Vec<_> = std::iter::from_fn(|| take(&mut lane, NEXT)).map(|batch| stamp(&batch)).collect();
    assert_eq!(again, [(0, 0), (0, 3), (0, 5)], "in order, under the name that they have");
}

#[test]
fn at_most_five_are_under_way() {
    let mut lane = lane([1; 9]);
    assert_eq!(std::iter::from_fn(|| take(&mut lane, NAME)).count(), 5);
}

#[test]
fn behind_one_that_comes_back_the_others_do_too_before_any_goes_out_again() {
    let mut lane = lane([1; 4]);
    let mut batches: VecDeque<_> = (0..3).filter_map(|_| take(&mut lane, NAME)).collect();
    lane.in_flight -= 1;
    lane.come_back(batches.pop_front().unwrap());
    for batch in batches {
        assert!(take(&mut lane, NAME).is_none(), "some are on their way still");
        assert_eq!(break_at(&mut lane, Break::OutOfSequence, batch), Fate::Again);
    }
    let again: Vec<_> = std::iter::from_fn(|| take(&mut lane, NAME)).map(|batch| stamp(&batch)).collect();
    assert_eq!(again, [(0, 0), (0, 1), (0, 2), (0, 3)]);
}

#[test]
fn a_gap_waits_for_a_new_name_and_for_what_may_be_stored() {
    let mut lane = lane([1; 4]);
    let mut batches: VecDeque<_> = (0..3).filter_map(|_| take(&mut lane, NAME)).collect();
    lane.note_stored();
    // The stream breaks, and the time of the first is over before there is another.
    lane.end_session();
    lane.note_failed(&batches.pop_front().unwrap());
    for mut batch in batches {
        batch.may_be_stored = true;
        lane.come_back(batch);
    }
    assert!(!lane.wants_identity(NAME), "first it asks what became of them");
    let asked: Vec<_> = std::iter::from_fn(|| take(&mut lane, NAME)).collect();
    assert_eq!(asked.iter().map(stamp).collect::<Vec<_>>(), [(0, 1), (0, 2)]);
    // The first was not stored, and so these were not.
    for batch in asked {
        assert_eq!(break_at(&mut lane, Break::OutOfSequence, batch), Fate::Again);
    }
    assert!(take(&mut lane, NAME).is_none());
    assert!(lane.wants_identity(NAME));
    let again: Vec<_> = std::iter::from_fn(|| take(&mut lane, NEXT)).map(|batch| stamp(&batch)).collect();
    assert_eq!(again, [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn what_may_be_stored_is_unknown_once_the_server_has_forgotten() {
    for (reason, has_stored) in
        [(Break::Unknown, true), (Break::Unknown, false), (Break::OutOfSequence, true)]
    {
        let mut lane = lane([1; 2]);
        let mut first = take(&mut lane, NAME).unwrap();
        if has_stored {
            lane.note_stored();
        }
        first.may_be_stored = true;
        assert_eq!(break_at(&mut lane, reason, first), Fate::Unknown, "{reason:?}");
        assert!(lane.wants_identity(NAME));
        // One that was sent once is not stored.
        let next = take(&mut lane, NEXT).unwrap();
        assert_eq!(stamp(&next), (1, 0));
        assert_eq!(break_at(&mut lane, reason, next), Fate::Again);
    }
}
