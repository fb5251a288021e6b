//! [`Snapshot`], what a partition knows of its producers at some place of its log, and how it is written down.
//!
//! Fields are only ever added, under new numbers. The blob's own checksum is the storage's.

use bytes::Bytes;
use minikafka_record::{Offset, Sequence};
use minikafka_storage::Index;
use prost::Message;

use super::state::{BATCHES_KEPT, Place};

/// Everything that is stored in entries before an index, and perhaps some that is stored behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first entry that may have something to add.
    pub(super) next_index: Index,
    /// Offset of its first record.
    pub(super) next_offset: Offset,
    /// Producers with their epochs and the last batches, the oldest first.
    pub(super) producers: Vec<(i64, i16, Vec<Place>)>,
}

impl Snapshot {
    pub(super) fn encode(&self) -> Vec<u8> {
        let producers = self.producers.iter().map(|(id, epoch, places)| WireProducer {
            id: *id,
            epoch: (*epoch).into(),
            batches: places.iter().map(WireBatch::from).collect(),
        });
        WireSnapshot {
            next_index: self.next_index,
            next_offset: self.next_offset.get(),
            producers: producers.collect(),
        }
        .encode_to_vec()
    }

    /// # Errors
    /// What is wrong with the bytes.
    pub(super) fn decode(bytes: Bytes) -> Result<Snapshot, String> {
        let wire = WireSnapshot::decode(bytes).map_err(|error| error.to_string())?;
        let producers = wire.producers.into_iter().map(|producer| {
            let epoch = i16::try_from(producer.epoch).map_err(|_| format!("epoch {}", producer.epoch))?;
            let skipped = producer.batches.len().saturating_sub(BATCHES_KEPT);
            let batches = producer.batches.iter().skip(skipped).map(WireBatch::place);
            Ok((producer.id, epoch, batches.collect::<Result<_, String>>()?))
        });
        Ok(Snapshot {
            next_index: wire.next_index,
            next_offset: Offset::new(wire.next_offset),
            producers: producers.collect::<Result<_, String>>()?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireSnapshot {
    #[prost(uint64, tag = "1")]
    next_index: u64,
    #[prost(uint64, tag = "2")]
    next_offset: u64,
    #[prost(message, repeated, tag = "3")]
    producers: Vec<WireProducer>,
}

#[derive(Clone, PartialEq, Message)]
struct WireProducer {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int32, tag = "2")]
    epoch: i32,
    #[prost(message, repeated, tag = "3")]
    batches: Vec<WireBatch>,
}

#[derive(Clone, PartialEq, Message)]
struct WireBatch {
    #[prost(int32, tag = "1")]
    sequence: i32,
    #[prost(uint32, tag = "2")]
    count: u32,
    #[prost(uint64, tag = "3")]
    base_offset: u64,
    #[prost(int64, tag = "4")]
    append_time_ms: i64,
}

impl From<&Place> for WireBatch {
    fn from(place: &Place) -> WireBatch {
        WireBatch {
            sequence: place.sequence.get(),
            count: place.count,
            base_offset: place.base_offset.get(),
            append_time_ms: place.append_time,
        }
    }
}

impl WireBatch {
    fn place(&self) -> Result<Place, String> {
        Ok(Place {
            sequence: Sequence::new(self.sequence).ok_or_else(|| format!("sequence {}", self.sequence))?,
            count: self.count,
            base_offset: Offset::new(self.base_offset),
            append_time: self.append_time_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.2.0 wrote it: later versions read it.
    const GOLDEN: [u8; 36] = [
        8, 9, 16, 100, 26, 30, 8, 7, 16, 2, 26, 9, 8, 10, 16, 5, 24, 90, 32, 232, 7, 26, 13, 8, 255, 255,
        255, 255, 7, 16, 1, 24, 99, 32, 233, 7,
    ];

    fn snapshot() -> Snapshot {
        let place = |sequence, count, offset, append_time| Place {
            sequence: Sequence::new(sequence).unwrap(),
            count,
            base_offset: Offset::new(offset),
            append_time,
        };
        let places = vec![place(10, 5, 90, 1000), place(i32::MAX, 1, 99, 1001)];
        Snapshot { next_index: 9, next_offset: Offset::new(100), producers: vec![(7, 2, places)] }
    }

    #[test]
    fn what_is_written_is_read_and_stays_as_it_is() {
        assert_eq!(snapshot().encode(), GOLDEN);
        assert_eq!(Snapshot::decode(Bytes::from_static(&GOLDEN)), Ok(snapshot()));
        assert_eq!(Snapshot::decode(Bytes::new()), Ok(Snapshot::default()));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        assert!(Snapshot::decode(Bytes::from_static(b"\xff\xff")).is_err());
        let producers = vec![WireProducer { id: 1, epoch: 1 << 20, batches: Vec::new() }];
        let wire = WireSnapshot { producers, ..WireSnapshot::default() };
        assert_eq!(Snapshot::decode(wire.encode_to_vec().into()), Err("epoch 1048576".to_owned()));
    }
}
