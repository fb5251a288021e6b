//! [`Compression`], and the codecs behind it.
//!
//! Each codec is read as a stream, so that nobody has to believe a size that the input claims: what a step
//! of a codec allocates is bounded by the bytes that are there, or by a constant of the format.
//!
//! | codec | what Kafka's clients send | source | memory of a step |
//! |---|---|---|---|
//! | gzip | one or more members | RFC 1952 | a window of 32 KiB |
//! | snappy | blocks in the framing of snappy-java, or one block without a frame (librdkafka) | `format_description.txt` of Snappy, `SnappyOutputStream` of snappy-java | one block: at most 22 times its compressed bytes |
//! | lz4 | one frame | LZ4 Frame Format 1.6 | one block: at most 255 times its compressed bytes and 4 MiB |
//! | zstd | one or more frames | RFC 8878 | a window of at most 8 MiB, which the RFC asks every reader for |
//!
//! What ends early, goes on behind its end or fails a checksum of the codec is refused, even where all
//! records could be read: other readers may not be as forgiving.

mod lz4;
mod snappy;

use std::{
    fmt,
    io::{self, Read, Write as _},
    str::FromStr,
};

use bytes::{Buf as _, Bytes};
use flate2::{bufread::MultiGzDecoder, write::GzEncoder};
use zstd::stream::read::Decoder as ZstdDecoder;

/// The largest window of a zstd frame, as a power of two: the 8 MiB that RFC 8878 asks every reader for. All
/// levels up to 19 keep to it.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Kafka's default.
const ZSTD_LEVEL: i32 = 3;
/// Kafka's default, which is zlib's.
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(6);

/// How the records of a batch are compressed.
///
/// The names, in text, are those of Kafka's `compression.type`:
///
/// ```
/// use minikafka_record::Compression;
///
/// assert_eq!("zstd".parse(), Ok(Compression::Zstd));
/// assert_eq!(Compression::Lz4.to_string(), "lz4");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Small and slow.
    Gzip,
    /// Fast and not so small.
    Snappy,
    /// Faster still.
    Lz4,
    /// Small and fast.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their codes.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The name, as in Kafka's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// The code in the attributes of a batch.
    pub(crate) const fn code(self) -> i16 {
        self as i16
    }

    /// The codec of a code; `None` for one that nobody has defined.
    pub(crate) fn from_code(code: i16) -> Option<Compression> {
        Compression::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Compression, UnknownCompression> {
        Compression::ALL.into_iter().find(|codec| codec.name() == name).ok_or(UnknownCompression)
    }
}

/// A name that is none of a [`Compression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression: choose none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompression;

/// Reads what `compressed` expands to. The reader may fail with a [`BatchError`](crate::BatchError) inside
/// when a step alone would make more than `bytes_max`.
pub(crate) fn reader(
    codec: Compression,
    compressed: Bytes,
    bytes_max: usize,
) -> io::Result<Box<dyn Read + Send + Sync>> {
    Ok(match codec {
        Compression::None => Box::new(compressed.reader()),
        Compression::Gzip => Box::new(MultiGzDecoder::new(compressed.reader())),
        Compression::Snappy => Box::new(snappy::Reader::new(compressed, bytes_max)),
        Compression::Lz4 => Box::new(lz4::Reader::new(compressed)),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::with_buffer(compressed.reader())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Compresses with the codec's default level.
///
/// # Errors
/// When the codec fails, which none does for any bytes; only for want of memory.
pub(crate) fn compress(codec: Compression, plain: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Compression::None => Ok(plain.to_vec()),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), GZIP_LEVEL);
            encoder.write_all(plain)?;
            encoder.finish()
        }
        Compression::Snappy => snappy::compress(plain),
        Compression::Lz4 => lz4::compress(plain),
        Compression::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL),
    }
}

/// An error of a format, with the rule that is broken.
fn malformed(rule: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}
