//! The snapshot of a machine: its state, and up to where the log is in it.
//!
//! A blob of the log, so it is replaced as a whole, durable when that returns, and checksummed by storage. In it
//! is one protobuf message; fields are only ever added.

use minikafka_record::Offset;
use minikafka_storage::{Log, LogId, Storage, StorageError};
use prost::Message as _;

use super::FormatError;

/// Name of the blob.
const BLOB: &str = "snapshot";

/// What the blob holds.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Snapshot {
    /// The log below this offset is in the state.
    #[prost(uint64, tag = "1")]
    offset: u64,
    /// The state, as its machine encodes it.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) state: Vec<u8>,
}

impl Snapshot {
    pub(super) fn new(offset: Offset, state: Vec<u8>) -> Snapshot {
        Snapshot { offset: offset.get(), state }
    }

    pub(super) fn offset(&self) -> Offset {
        Offset::new(self.offset)
    }

    /// The last one, if there is any.
    pub(super) fn load(storage: &dyn Storage, id: &LogId) -> Result<Option<Snapshot>, LoadError> {
        let blob = storage.load_blob(id, BLOB).map_err(LoadError::Storage)?;
        let decode =
            |blob: bytes::Bytes| Snapshot::decode(blob).map_err(|error| LoadError::Format(error.into()));
        blob.map(decode).transpose()
    }

    /// Stores it in the place of the last one, and trims the log up to it.
    pub(super) fn store(&self, storage: &dyn Storage, id: &LogId, log: &dyn Log) -> Result<(), StorageError> {
        storage.store_blob(id, BLOB, &self.encode_to_vec())?;
        log.trim(self.offset())
    }
}

/// Why there is no snapshot to begin with.
pub(super) enum LoadError {
    Storage(StorageError),
    Format(FormatError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_stays_as_it_is() {
        let snapshot = Snapshot::new(Offset::new(300), b"state".to_vec());
        let golden = [&[0x08, 0xac, 0x02, 0x12, 0x05][..], b"state"].concat();
        assert_eq!(snapshot.encode_to_vec(), golden);
        assert_eq!(Snapshot::decode(&golden[..]).unwrap(), snapshot);
    }
}
