//! Input that nobody should send: it is refused or read, and never a reason to panic. What it may cost in
//! memory is tested apart, in `tests/memory.rs`.

use std::io::Write as _;

use minikafka_record::{Compression, RecordBatch};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::messages::{CODECS, build, framed, message, packed};

/// What is accepted can be read, and what can be read to its end has as many records as it says.
fn check(batch: &RecordBatch) {
    let outcome = batch.validate();
    let records: Result<Vec<_>, _> = batch.records().collect();
    if outcome.is_ok() {
        assert_eq!(records.expect("what is accepted can be read").len(), batch.count());
    }
}

proptest! {
    #[test]
    fn any_bytes_in_the_place_of_compressed_records_are_read_or_refused(
        bytes in vec(any::<u8>(), 0..300),
        codec in select(&CODECS[..]),
        count in -1..40i32,
    ) {
        check(&packed(codec, &bytes, count));
    }

    #[test]
    fn any_bytes_behind_the_beginning_of_a_codec_are_read_or_refused(
        bytes in vec(any::<u8>(), 0..300),
        (codec, beginning) in select(BEGINNINGS),
        count in 1..40i32,
    ) {
        check(&packed(codec, &[beginning, &bytes].concat(), count));
    }

    #[test]
    fn flipped_bits_behind_a_true_checksum_are_noticed_or_harmless(
        messages in vec(message(), 1..9),
        codec in select(&CODECS[..]),
        flips in vec((any::<prop::sample::Index>(), 0..8u8), 1..4),
    ) {
        let messages: Vec<_> = messages.iter().cycle().take(messages.len() * 20).cloned().collect();
        let batch = RecordBatch::parse(build(&messages)).unwrap().compress(codec);
        let mut body = batch.bytes()[21..].to_vec();
        for (at, bit) in flips {
            let at = at.index(body.len());
            body[at] ^= 1u8 << bit;
        }
        check(&framed(&body));
    }

    #[test]
    fn compressed_nonsense_is_read_or_refused(
        bytes in vec(any::<u8>(), 0..300),
        codec in select(&CODECS[..]),
        count in 1..40i32,
    ) {
        let compressed = match codec {
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(&bytes).unwrap(),
            _ => zstd::bulk::compress(&bytes, 1).unwrap(),
        };
        let codec = if codec == Compression::Snappy { codec } else { Compression::Zstd };
        check(&packed(codec, &compressed, count));
    }
}

/// Sound headers, so that what follows is looked at.
const BEGINNINGS: &[(Compression, &[u8])] = &[
    (Compression::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    (Compression::Gzip, b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03"),
    (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"),
    (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x20"),
    (Compression::Snappy, b"\x80\x01"),
    (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x40\x82"),
    (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x40\x82\x40\0\0\0"),
    (Compression::Lz4, b"\x04\x22\x4d\x18\x40\x40\xc0\x40\0\0\0"),
    (Compression::Zstd, b"\x28\xb5\x2f\xfd"),
    (Compression::Zstd, b"\x28\xb5\x2f\xfd\0\x58"),
    (Compression::Zstd, b"\x28\xb5\x2f\xfd\x20\x40"),
];

#[test]
fn a_multitude_of_nothing_is_read_and_ends() {
    let times = |piece: &[u8]| piece.repeat(100_000);
    // No attributes, no differences, no key, no value, no headers.
    let record = &[12, 0, 0, 0, 1, 1, 0][..];
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(record).unwrap();
    let snappy_block = [&(snappy.len() as i32).to_be_bytes()[..], &snappy].concat();
    for (codec, begin, nothing, something) in [
        (Compression::Gzip, vec![], gzip(b""), gzip(record)),
        (Compression::Zstd, vec![], zstd(b""), zstd(record)),
        // A frame of no bytes that is to be skipped.
        (Compression::Zstd, vec![], b"\x50\x2a\x4d\x18\0\0\0\0".to_vec(), zstd(record)),
        (
            Compression::Snappy,
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec(),
            b"\0\0\0\x01\0".to_vec(),
            snappy_block,
        ),
        // Blocks that are not compressed, of no bytes and of seven, and the end of the frame.
        (
            Compression::Lz4,
            b"\x04\x22\x4d\x18\x60\x40\x82".to_vec(),
            b"\0\0\0\x80".to_vec(),
            [b"\x07\0\0\x80", record, b"\0\0\0\0"].concat(),
        ),
    ] {
        let batch = packed(codec, &[begin, times(&nothing), something].concat(), 1);
        batch.validate().unwrap();
        assert_eq!(batch.records().filter(Result::is_ok).count(), 1, "{codec}");
    }
}

#[test]
fn claims_are_refused_with_their_rule() {
    for (codec, bytes, rule) in [
        // A length of 4 GiB - 1, and one of 16 MiB.
        (Compression::Snappy, &b"\xff\xff\xff\xff\x0f\0a"[..], "claims more bytes than it can become"),
        (Compression::Snappy, b"\x80\x80\x80\x08\0a", "claims more bytes than it can become"),
        (
            Compression::Snappy,
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff",
            "length reaches beyond the batch",
        ),
        (
            Compression::Snappy,
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff",
            "length reaches beyond the batch",
        ),
        (Compression::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0", "length is cut off"),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x70\x73\0\0\x40\0", "the frame is cut off"),
        (
            Compression::Lz4,
            b"\x04\x22\x4d\x18\x60\x40\x82\x01\0\x01\0",
            "a block is larger than the frame says",
        ),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x40\x83", "the checksum of the frame's header is wrong"),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x60\x30\x82", "impossible block size"),
        (Compression::Lz4, b"\x04\x22\x4d\x18\x61\x40\x82", "needs a dictionary"),
        (Compression::Lz4, b"\x04\x22\x4d\x18\xa0\x40\x82", "of another version"),
        (Compression::Lz4, b"\x02\x21\x4c\x18\0\0\0\0", "does not begin with an LZ4 frame"),
        // A window of 16 MiB; 128 MiB; a single segment that claims 2^63 bytes.
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\0\x70\x01\0\0", "requires too much memory"),
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\0\x88\x01\0\0", "requires too much memory"),
        (Compression::Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x80\x01\0\0", "requires too much memory"),
    ] {
        let error = packed(codec, bytes, 1).validate().unwrap_err().to_string();
        assert!(error.contains(rule), "{error} instead of {rule}");
        assert!(error.contains(codec.name()), "{error}");
    }
}
