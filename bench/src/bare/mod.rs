//! What the machine allows: the least code that does what MiniKafka does, without what makes it MiniKafka.

mod commit;
mod kafka;
mod plain;
mod service;
mod stub;

pub(crate) use commit::GroupCommit;
pub(crate) use kafka::{sink, source};
pub(crate) use plain::{Sync, write, write_handed_over};
pub(crate) use service::{BLOB_BATCH_BYTES, BLOB_RECORD_LEN, BLOBS_TOPIC, Service};
pub(crate) use stub::{Keep, stub};
