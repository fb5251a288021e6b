//! Compressed batches through their public face.

use std::io::Write as _;

use bytes::BytesMut;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use minikafka_record::{BatchBuilder, BatchError, Compression, Expansion, Offset, RecordBatch};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::messages::{CODECS, build, message, packed, payload, read, repetitive};

proptest! {
    #[test]
    fn what_is_compressed_is_read(
        messages in vec(message(), 1..9),
        times in 1..300usize,
        codec in select(&Compression::ALL[..]),
    ) {
        let messages: Vec<_> = messages.iter().cycle().take(messages.len() * times).cloned().collect();
        let plain = RecordBatch::parse(build(&messages)).unwrap();
        let batch = plain.compress(codec);
        batch.validate().unwrap();
        prop_assert!(batch.bytes().len() <= plain.bytes().len());
        prop_assert_eq!(read(&batch), messages);
        prop_assert_eq!(batch.records().size_hint().1.is_some(), true);
    }

    #[test]
    fn moving_a_compressed_batch_leaves_its_records_as_they_are(
        messages in vec(message(), 1..9),
        codec in select(&CODECS[..]),
        base in 0..u64::MAX / 4,
    ) {
        let messages: Vec<_> = messages.iter().cycle().take(messages.len() * 30).cloned().collect();
        let batch = RecordBatch::parse(build(&messages)).unwrap().compress(codec);
        let mut out = BytesMut::new();
        batch.append_to(&mut out, Offset::new(base), 5, 1234);
        let moved = RecordBatch::parse(out.freeze()).unwrap();
        moved.validate().unwrap();
        prop_assert_eq!(payload(&moved), payload(&batch));
        prop_assert_eq!(moved.end_offset(), Offset::new(base).plus(messages.len() as u64));
        let mut expected = messages;
        if expected.iter().all(|message| message.timestamp == -1) {
            expected.iter_mut().for_each(|message| message.timestamp = 1234);
        }
        prop_assert_eq!(read(&moved), expected);
    }
}

#[test]
fn without_timestamps_the_append_time_is_taken_and_nothing_is_compressed_again() {
    for codec in CODECS {
        let batch = repetitive(1000, 10).compress(codec);
        assert_eq!(batch.header().compression(), Some(codec));
        let mut out = BytesMut::new();
        batch.append_to(&mut out, Offset::ZERO, 0, 1234);
        let stored = RecordBatch::parse(out.freeze()).unwrap();
        stored.validate().unwrap();
        assert_eq!(payload(&stored), payload(&batch));
        assert!(read(&stored).iter().all(|message| message.timestamp == 1234));
    }
}

#[test]
fn what_would_grow_and_what_is_compressed_stays_as_it_is() {
    for codec in CODECS {
        let small = repetitive(1, 1);
        assert_eq!(small.compress(codec), small, "{codec}");
        let compressed = repetitive(100, 100).compress(codec);
        assert_eq!(compressed.header().compression(), Some(codec));
        for other in Compression::ALL {
            assert_eq!(compressed.compress(other), compressed);
        }
    }
}

#[test]
fn a_builder_compresses_when_it_is_told_to() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::onto(BytesMut::from(&b"before"[..]));
        (0..100).for_each(|i| builder.push(i, None, Some(b"value"), &[]));
        let batch = RecordBatch::parse(builder.finish_compressed(codec, Offset::new(5), 2)).unwrap();
        assert_eq!(batch.header().compression(), Some(codec));
        assert_eq!((batch.base_offset(), batch.header().leader_epoch), (Offset::new(5), 2));
        batch.validate().unwrap();
        assert_eq!(batch.records().last().unwrap().unwrap().offset, Offset::new(104));
    }
}

#[test]
fn more_records_than_the_limit_are_refused_and_as_many_are_not() {
    let plain = repetitive(100, 1000);
    let len = plain.bytes().len() - 61;
    for codec in CODECS {
        let batch = plain.compress(codec);
        batch.validate_within(Expansion::of_batches(len.div_ceil(8))).unwrap();
        let limit = Expansion::of_batches(len / 8 - 1);
        let error = batch.validate_within(limit).unwrap_err();
        assert_eq!(error, BatchError::Expanded { max: limit.records_bytes_max() }, "{codec}");
        assert!(error.is_too_large());
        assert!(error.to_string().contains("expands to more than"), "{error}");
    }
}

#[test]
fn a_record_over_the_limit_is_refused_however_small_the_batch_is() {
    let plain = repetitive(3, 1000);
    let batch_of_one = repetitive(1, 1000).bytes().len();
    for codec in CODECS {
        let batch = plain.compress(codec);
        batch.validate_within(Expansion::of_batches(batch_of_one)).unwrap();
        let error = batch.validate_within(Expansion::of_batches(batch_of_one - 1)).unwrap_err();
        let max = batch_of_one - 62;
        assert_eq!(error, BatchError::RecordTooLarge { index: 0, size: max + 1, max }, "{codec}");
        assert!(error.is_too_large());
    }
}

#[test]
fn the_limit_is_eight_times_that_of_a_batch_and_64_mib() {
    let limit = Expansion::of_batches(3 << 20);
    assert_eq!((limit.records_bytes_max(), limit.record_bytes_max()), (24 << 20, (3 << 20) - 61));
    for large in [512 << 20, usize::MAX] {
        assert_eq!(Expansion::of_batches(large).records_bytes_max(), Expansion::MAX.records_bytes_max());
    }
    assert_eq!(Expansion::MAX.records_bytes_max(), 64 << 20);
    assert_eq!(Expansion::of_batches(0).record_bytes_max(), 0);
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused() {
    for codec in CODECS {
        let whole = repetitive(20, 50).compress(codec);
        assert_eq!(whole.header().compression(), Some(codec));
        let compressed = payload(&whole);
        packed(codec, &compressed, 20).validate().unwrap();
        for len in 0..compressed.len() {
            let error = packed(codec, &compressed[..len], 20).validate().expect_err("it is cut off");
            let is_named = match error {
                BatchError::Compressed { codec: named, .. } => named == codec,
                // Snappy in blocks ends where any block ends.
                BatchError::Record { .. } => codec == Compression::Snappy,
                _ => false,
            };
            assert!(is_named, "{codec} cut off at {len}: {error}");
        }
        for stray in [&[0][..], &[0xff; 4], &[0; 30]] {
            let longer = [&compressed, stray].concat();
            let error = packed(codec, &longer, 20).validate().expect_err("it goes on");
            assert!(matches!(error, BatchError::Compressed { .. }), "{codec} and {stray:?}: {error}");
        }
        // One record more, and one less, than the header says.
        for (count, rule) in [(19, "there are bytes behind the last record"), (21, "its length is cut off")] {
            let error = packed(codec, &compressed, count).validate().unwrap_err().to_string();
            assert!(error.contains(rule), "{codec}: {error}");
        }
    }
}

#[test]
fn several_members_and_frames_are_read_where_the_format_has_them() {
    let records = payload(&repetitive(10, 30));
    let (one, other) = records.split_at(100);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 19).unwrap();
    packed(Compression::Gzip, &[gzip(one), gzip(other)].concat(), 10).validate().unwrap();
    packed(Compression::Zstd, &[zstd(one), zstd(other)].concat(), 10).validate().unwrap();
    let lz4 = |bytes: &[u8]| lz4(bytes, FrameInfo::new());
    let error = packed(Compression::Lz4, &[lz4(one), lz4(other)].concat(), 10).validate().unwrap_err();
    assert!(error.to_string().contains("bytes behind the end of the frame"), "{error}");
}

fn lz4(bytes: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    // In two parts: a block that is not full.
    let (one, other) = bytes.split_at(bytes.len() / 3);
    encoder.write_all(one).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(other).unwrap();
    encoder.finish().unwrap()
}

/// Records of which some can be compressed and others cannot, over several blocks.
fn mixed() -> RecordBatch {
    let mut noise = 1u64;
    let mut builder = BatchBuilder::new();
    for i in 0..1500 {
        let value: Vec<u8> = (0..200)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if i % 500 < 400 { (noise >> 62) as u8 } else { (noise >> 56) as u8 }
            })
            .collect();
        builder.push(-1, None, Some(&value), &[]);
    }
    RecordBatch::parse(builder.finish(Offset::ZERO, 0)).unwrap()
}

#[test]
fn all_kinds_of_lz4_frames_are_read() {
    let plain = mixed();
    let records = payload(&plain);
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for (block_checksums, content_checksum) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(size)
                    .block_checksums(block_checksums)
                    .content_checksum(content_checksum)
                    .content_size(content_checksum.then_some(records.len() as u64));
                let mut frame = lz4(&records, info);
                let batch = packed(Compression::Lz4, &frame, 1500);
                batch.validate().unwrap();
                assert_eq!(read(&batch), read(&plain));
                if content_checksum {
                    let last = frame.len() - 1;
                    frame[last] ^= 1;
                    let error = packed(Compression::Lz4, &frame, 1500).validate().unwrap_err().to_string();
                    assert!(error.contains("the checksum of the content is wrong"), "{error}");
                }
            }
        }
    }
}

#[test]
fn batches_of_many_pieces_are_read() {
    let plain = mixed();
    for codec in CODECS {
        let batch = plain.compress(codec);
        assert_eq!(batch.header().compression(), Some(codec));
        batch.validate().unwrap();
        assert_eq!(read(&batch), read(&plain), "{codec}");
    }
    // As librdkafka does it: one block.
    let block = snap::raw::Encoder::new().compress_vec(&payload(&plain)).unwrap();
    let batch = packed(Compression::Snappy, &block, 1500);
    batch.validate().unwrap();
    assert_eq!(read(&batch), read(&plain));
}
