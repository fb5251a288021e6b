//! What hostile batches cost in memory, counted by the allocator. A binary of its own, with a single test,
//! because the count is that of the process. What zstd allocates is not counted, as it comes from C: its
//! windows are bounded, and the largest is tested in `it/hostile.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use minikafka_record::{BatchBuilder, BatchError, Compression, Expansion, Offset, RecordBatch};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Pieces of records, a block or a window of 64 KiB, and what there is of small things, with room to grow.
const LITTLE: usize = 512 * 1024;

/// The most bytes that were allocated at once while `work` ran, beside those that were before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

/// A batch of `count` records without a timestamp, with these compressed bytes in their place.
fn packed(codec: Compression, packed: &[u8], count: i32) -> RecordBatch {
    let code = Compression::ALL.iter().position(|other| *other == codec).unwrap() as i16;
    let mut body =
        [&code.to_be_bytes()[..], &(count - 1).to_be_bytes(), &[0xff; 30], &count.to_be_bytes()].concat();
    body.extend(packed);
    let mut bytes = vec![0; 21];
    bytes[8..12].copy_from_slice(&(body.len() as i32 + 9).to_be_bytes());
    bytes[16] = 2;
    bytes[17..21].copy_from_slice(&minikafka_record::crc32c(&body).to_be_bytes());
    bytes.extend(body);
    RecordBatch::parse(bytes.into()).unwrap()
}

/// One record of zeros that goes on for ever, as far as a reader can tell: it claims nearly 2 GiB.
fn endless_record(len: usize) -> Vec<u8> {
    let mut records = vec![0xfe, 0xff, 0xff, 0xff, 0x0f];
    records.resize(len, 0);
    records
}

/// Records of `value_len` zeros.
fn records(count: i32, value_len: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    let value = vec![0; value_len];
    (0..count).for_each(|_| builder.push(-1, None, Some(&value), &[]));
    builder.finish(Offset::ZERO, 0)[61..].to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    lz4_in_blocks(BlockSize::Max64KB, bytes)
}

fn lz4_in_blocks(size: BlockSize, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(FrameInfo::new().block_size(size), Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn framed_snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in bytes.chunks(32 * 1024) {
        let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
        out.extend((block.len() as i32).to_be_bytes());
        out.extend(block);
    }
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const STREAMS: [(Compression, Compress); 4] = [
    (Compression::Gzip, gzip),
    (Compression::Snappy, framed_snappy),
    (Compression::Lz4, lz4),
    (Compression::Zstd, zstd),
];

#[test]
fn memory_is_bounded_by_what_is_there() {
    claims_cost_nothing();
    bombs_cost_a_piece();
    a_record_costs_what_is_there_of_it();
    reading_costs_a_piece();
}

fn claims_cost_nothing() {
    for (codec, bytes) in [
        (Compression::Snappy, &b"\xff\xff\xff\xff\x0f\0a"[..]),
        (Compression::Snappy, b"\x80\x80\x80\x80\x04\0a"),
        (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff"),
        (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff\x0f\0a"),
        // Content of 2^62 bytes in blocks of 4 MiB, which look back: a stored one, and one that is
        // compressed.
        (Compression::Lz4, b"\x04\x22\x4d\x18\x48\x70\0\0\0\0\0\0\0\x40\xf6\x01\0\0\x80\0"),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x40\x70\xdf\x03\0\0\0\x10a\0"),
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x40\x01\0\0"),
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\0\x68\x01\0\0"),
        // A name that has no end.
        (Compression::Gzip, b"\x1f\x8b\x08\x08\0\0\0\0\0\x03aaaaaaa"),
        // An extra field of 64 KiB.
        (Compression::Gzip, b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\xff\xffaaaaaaa"),
    ] {
        for count in [1, 1000, 9_000_000] {
            let batch = packed(codec, bytes, count);
            let (outcome, peak) =
                peak_of(|| (batch.validate(), batch.records().next().is_some_and(|r| r.is_ok())));
            assert!(matches!(outcome, (Err(_), false)), "{codec} {bytes:?}");
            assert!(peak < LITTLE, "{peak} bytes for {codec} {bytes:?}");
        }
    }
    // Plain batches claim counts and lengths, too.
    let (outcome, peak) =
        peak_of(|| packed(Compression::None, &[0xfe, 0xff, 0xff, 0xff, 0x0f], i32::MAX).validate());
    assert!(outcome.is_err() && peak < 4096, "{peak} bytes");
}

/// What is over the limit is seen, and never held.
fn bombs_cost_a_piece() {
    const COUNT: i32 = 70_000;
    let records = records(COUNT, 1000);
    assert!(records.len() > Expansion::MAX.records_bytes_max());
    let refuse = |bomb: &RecordBatch, limit: Expansion, bound: usize| {
        let (outcome, peak) = peak_of(|| bomb.validate_within(limit));
        assert_eq!(outcome, Err(BatchError::Expanded { max: limit.records_bytes_max() }));
        assert!(peak < bound, "{peak} bytes for {:?}", bomb.header().compression());
    };
    for (codec, compress) in STREAMS {
        let bomb = packed(codec, &compress(&records), COUNT);
        refuse(&bomb, Expansion::MAX, LITTLE);
        refuse(&bomb, Expansion::of_batches(1 << 20), LITTLE);
    }
    // The largest blocks of LZ4 have to be held.
    let largest = lz4_in_blocks(BlockSize::Max4MB, &records);
    refuse(&packed(Compression::Lz4, &largest, COUNT), Expansion::MAX, (4 << 20) + LITTLE);
    // In one block of Snappy there are no pieces; so the limit is looked at before.
    let block = snap::raw::Encoder::new().compress_vec(&records).unwrap();
    refuse(&packed(Compression::Snappy, &block, COUNT), Expansion::MAX, LITTLE);
}

fn a_record_costs_what_is_there_of_it() {
    let limit = Expansion::of_batches(3 << 20);
    for (codec, compress) in STREAMS {
        let batch = packed(codec, &compress(&endless_record(10 << 20)), 1);
        let (outcome, peak) = peak_of(|| batch.validate_within(limit));
        assert!(matches!(outcome, Err(BatchError::RecordTooLarge { .. })), "{codec}: {outcome:?}");
        assert!(peak < LITTLE, "{peak} bytes for {codec}");
        // A reader has no such limit but that of all records.
        for (len, bound) in [(1 << 10, LITTLE), (1 << 20, 4 << 20)] {
            let mut record = vec![0x80, 0x80, 0x80, 0x20]; // 32 MiB
            record.resize(len, 0);
            let batch = packed(codec, &compress(&record), 1);
            let (record, peak) = peak_of(|| batch.records().next());
            assert!(matches!(record, Some(Err(BatchError::Record { .. }))), "{codec}: {record:?}");
            assert!(peak < bound, "{peak} bytes for {codec} with {len} bytes");
        }
    }
}

fn reading_costs_a_piece() {
    let records = records(300_000, 0);
    for (codec, compress) in STREAMS {
        let batch = packed(codec, &compress(&records), 300_000);
        batch.validate().unwrap();
        let (count, peak) = peak_of(|| batch.records().filter(Result::is_ok).count());
        assert_eq!(count, 300_000);
        assert!(peak < LITTLE, "{peak} bytes for {codec}");
    }
}
