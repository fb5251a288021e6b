//! Record batches through their public face: what is built is read, what is wrong is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compression;
mod golden;
mod hostile;
mod kafka;
mod messages;

use bytes::{Bytes, BytesMut};
use minikafka_record::{
    BatchBuilder, BatchError, Compression, Expansion, Offset, ProducerStamp, RecordBatch, Sequence,
};
use proptest::{collection::vec, prelude::*};

use crate::messages::{build, framed, message, read};

proptest! {
    #[test]
    fn what_is_built_is_read(messages in vec(message(), 1..20)) {
        let batch = RecordBatch::parse(build(&messages)).unwrap();
        batch.validate().unwrap();
        prop_assert_eq!(read(&batch), messages);
    }

    #[test]
    fn moving_a_batch_changes_its_offsets_only(messages in vec(message(), 1..9), base in 0..u64::MAX / 4) {
        let sent = messages.clone();
        let batch = RecordBatch::parse(build(&messages)).unwrap();
        let mut out = BytesMut::from(&b"before"[..]);
        batch.append_to(&mut out, Offset::new(base), 5, 1234);
        let mut rest = out.freeze().slice(6..);
        let moved = RecordBatch::split_from(&mut rest).unwrap().unwrap();
        prop_assert!(rest.is_empty());
        moved.validate().unwrap();
        prop_assert_eq!((moved.base_offset(), moved.header().leader_epoch), (Offset::new(base), 5));
        prop_assert_eq!(moved.end_offset(), Offset::new(base).plus(messages.len() as u64));
        let mut expected = messages;
        if expected.iter().all(|message| message.timestamp == -1) {
            expected.iter_mut().for_each(|message| message.timestamp = 1234);
        }
        prop_assert_eq!(read(&moved), expected);
        // The same bytes, whether somebody else holds them or not.
        let own = RecordBatch::parse(Bytes::from(batch.bytes().to_vec())).unwrap();
        for batch in [batch.clone(), own] {
            prop_assert_eq!(&batch.placed(Offset::new(base), 5, 1234), moved.bytes());
        }
        prop_assert_eq!(batch.bytes(), &build(&sent), "a copy was to be made");
    }

    #[test]
    fn a_flipped_bit_is_noticed(messages in vec(message(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = build(&messages).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        let outcome = RecordBatch::parse(bytes.into()).and_then(|batch| batch.validate());
        // Base offset and leader epoch are the log's to assign, so nothing covers them.
        prop_assert_eq!(outcome.is_ok(), at < 8 || (12..16).contains(&at), "byte {}: {:?}", at, outcome);
    }

    #[test]
    fn any_bytes_behind_a_true_checksum_are_read_or_refused(
        mut body in vec(any::<u8>(), 40..120),
        count in 0..40i32,
        plausible in any::<bool>(),
    ) {
        if plausible {
            body[..2].fill(0);
            body[2..6].copy_from_slice(&(count - 1).to_be_bytes());
            body[22..30].copy_from_slice(&(-1i64).to_be_bytes());
            body[36..40].copy_from_slice(&count.to_be_bytes());
            let timestamps = framed(&body).records().map_while(Result::ok).map(|record| record.timestamp);
            let max_timestamp = timestamps.max().unwrap_or(-1);
            body[14..22].copy_from_slice(&max_timestamp.to_be_bytes());
        }
        let batch = framed(&body);
        let all_read = batch.records().all(|record| record.is_ok());
        if batch.validate().is_ok() {
            prop_assert!(all_read, "what is accepted can be read");
            prop_assert_eq!(batch.records().count(), batch.count());
            let max_timestamp = batch.records().map(|record| record.unwrap().timestamp).max();
            prop_assert_eq!(Some(batch.header().max_timestamp), max_timestamp);
        }
    }

    #[test]
    fn any_bytes_at_all_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let mut rest = Bytes::from(bytes);
        while let Ok(Some(batch)) = RecordBatch::split_from(&mut rest) {
            let _ = (batch.validate(), batch.records().size_hint(), batch.records().count());
        }
    }
}

/// A sound batch with some bytes replaced and its checksum mended.
fn patched(at: usize, bytes: &[u8]) -> Result<(), BatchError> {
    let mut builder = BatchBuilder::new();
    (0..3).for_each(|_| builder.push(7, None, Some(b"value"), &[]));
    let mut batch = builder.finish(Offset::ZERO, 0).to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = minikafka_record::crc32c(&batch[21..]).to_be_bytes();
    batch[17..21].copy_from_slice(&crc);
    RecordBatch::parse(batch.into())?.validate()
}

#[test]
fn each_rule_is_named() {
    assert_eq!(patched(0, &[]), Ok(()));
    for (at, bytes, rule) in [
        (8, &[0, 0, 0, 1][..], "length 1 is impossible"),
        (8, &[0xff, 0xff, 0xff, 0xff], "length -1 is impossible"),
        (8, &[0x7f, 0xff, 0xff, 0xff], "cut short"),
        (16, &[1], "format 1 is not supported"),
        (21, &[0, 1], "cannot be decompressed as gzip"),
        (21, &[0, 2], "cannot be decompressed as snappy"),
        (21, &[0, 3], "cannot be decompressed as lz4: it does not begin with an LZ4 frame"),
        (21, &[0, 4], "cannot be decompressed as zstd"),
        (21, &[0, 7], "unknown compression"),
        (21, &[0, 0x08], "append times are the server's own"),
        (21, &[0, 0x40], "undefined bits"),
        (21, &[0x80, 0], "undefined bits"),
        (21, &[0, 0x20], "control batches"),
        (21, &[0, 0x10], "transactions"),
        (43, &[0, 0, 0, 0, 0, 0, 0, 9], "record batch of producer 9 has epoch -1 and sequence -1"),
        (43, &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0], "record batch of producer 9 has epoch 0 and sequence -1"),
        (35, &[0, 0, 0, 0, 0, 0, 0, 6], "claims a maximum timestamp of 6, the largest of its records is 7"),
        (35, &[0, 0, 0, 0, 0, 0, 0, 8], "claims a maximum timestamp of 8, the largest of its records is 7"),
        (35, &[0xff; 8], "claims a maximum timestamp of -1, the largest of its records is 7"),
        (27, &[0xff; 8], "claims a maximum timestamp of 7, the largest of its records is -1"),
        (57, &[0, 0, 0, 0], "at least one record"),
        (57, &[0x7f, 0xff, 0xff, 0xff], "last offset delta is the count less one"),
        (23, &[0, 0, 0, 9], "last offset delta is the count less one"),
        (61, &[0x7e], "length reaches beyond the batch"),
        (64, &[2], "offset delta is out of sequence"),
        (66, &[0x7e], "value reaches beyond the record"),
    ] {
        let error = patched(at, bytes).expect_err(rule).to_string();
        assert!(error.contains(rule), "{error} instead of {rule}");
    }
    let many = patched(23, &[0, 0, 0x0f, 0xff]).unwrap_err();
    assert!(matches!(many, BatchError::Count { .. }));
}

#[test]
fn a_wrong_maximum_timestamp_is_put_right_and_nothing_else() {
    let mut builder = BatchBuilder::new();
    (0..50).for_each(|n| builder.push(7 + n, None, Some(b"value"), &[]));
    let plain = RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap();
    for batch in [plain.compress(Compression::Gzip), plain] {
        assert_eq!(batch.clone().mended_within(Expansion::MAX).unwrap(), batch);
        for claimed in [-1i64, 0, 55, 57, i64::MAX] {
            let mut wrong = batch.bytes().to_vec();
            wrong[35..43].copy_from_slice(&claimed.to_be_bytes());
            let crc = minikafka_record::crc32c(&wrong[21..]).to_be_bytes();
            wrong[17..21].copy_from_slice(&crc);
            let wrong = RecordBatch::parse(wrong.into()).unwrap();
            assert_eq!(wrong.validate(), Err(BatchError::MaxTimestamp { claimed, found: 56 }));
            assert_eq!(wrong.mended_within(Expansion::MAX).unwrap(), batch);
        }
    }
    let mut broken = BatchBuilder::new();
    broken.push(7, None, Some(b"value"), &[]);
    let mut broken = broken.finish(Offset::ZERO, 0).to_vec();
    broken[35] = 1;
    let broken = RecordBatch::parse(broken.into()).unwrap().mended_within(Expansion::MAX);
    assert!(broken.is_err(), "its checksum says that the network has changed it");
}

#[test]
fn a_stamp_goes_with_the_batch_compressed_or_not() {
    let producer = ProducerStamp { id: 1 << 40, epoch: 7, sequence: Sequence::new(i32::MAX).unwrap() };
    let mut builder = BatchBuilder::new();
    (0..50).for_each(|_| builder.push(7, None, Some(b"value"), &[]));
    builder.stamp(producer);
    let plain = RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap();
    for batch in [plain.compress(Compression::Zstd), plain] {
        batch.validate().unwrap();
        assert_eq!(batch.header().producer(), Some(producer));
        let other = ProducerStamp { epoch: 8, sequence: Sequence::ZERO, ..producer };
        for stamp in [Some(other), None] {
            let stamped = batch.stamped(stamp);
            stamped.validate().unwrap();
            assert_eq!(stamped.header().producer(), stamp);
            assert_eq!(stamped.stamped(Some(producer)), batch);
        }
    }
    let mut without = BatchBuilder::new();
    without.push(7, None, Some(b"value"), &[]);
    let without = RecordBatch::parse(without.finish(Offset::ZERO, 0)).unwrap();
    assert_eq!(without.header().producer(), None);
}

#[test]
fn without_timestamps_the_append_time_is_taken_however_the_batch_says_so() {
    let mut builder = BatchBuilder::new();
    (0..3).for_each(|_| builder.push(-1, None, Some(b"value"), &[]));
    let plain = builder.finish(Offset::ZERO, 0);
    // The same timestamps, as a base of 0 and deltas of -1: the third byte of each record, zigzag-encoded.
    let mut shifted = plain.to_vec();
    let record_len = (plain.len() - 61) / 3;
    shifted[27..35].fill(0);
    (0..3).for_each(|record| shifted[61 + record * record_len + 2] = 1);
    let crc = minikafka_record::crc32c(&shifted[21..]).to_be_bytes();
    shifted[17..21].copy_from_slice(&crc);
    for bytes in [plain, shifted.into()] {
        let batch = RecordBatch::parse(bytes).unwrap();
        batch.validate().unwrap();
        let mut out = BytesMut::new();
        batch.append_to(&mut out, Offset::ZERO, 0, 1234);
        let stored = RecordBatch::parse(out.freeze()).unwrap();
        stored.validate().unwrap();
        assert!(read(&stored).iter().all(|message| message.timestamp == 1234));
    }
}

#[test]
fn a_batch_is_placed_where_it_lies_if_nobody_else_has_it_and_it_wastes_no_room() {
    let mut builder = BatchBuilder::new();
    builder.push(7, None, Some(&[b'x'; 1000]), &[]);
    let bytes = builder.finish(Offset::ZERO, 0);
    let roomy = |room: usize| {
        let mut lying = BytesMut::with_capacity(bytes.len() + room);
        lying.extend_from_slice(&bytes);
        lying.freeze()
    };
    let is_in_place = |bytes: Bytes| {
        let lay_at = bytes.as_ptr();
        RecordBatch::parse(bytes).unwrap().placed(Offset::new(5), 3, 1234).as_ptr() == lay_at
    };
    assert!(is_in_place(roomy(0)));
    assert!(is_in_place(roomy(50)));
    assert!(!is_in_place(roomy(200)));
    assert!(!is_in_place(bytes.clone()));
}
