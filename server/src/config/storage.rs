//! [`StorageConfig`], where messages are stored.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use minikafka_broker::BrokerConfig;
use minikafka_flags::{format_byte_size, parse_byte_size, parse_duration};
use minikafka_storage::{
    Storage, StorageError,
    filesystem::{FileStorage, Options, SyncPolicy},
    memory::MemoryStorage,
};

use crate::open_files::segments_max;

use super::{
    ConfigError, MEMORY_BYTES_MIN, default_memory_limit_bytes, in_range,
    source::{Rule, Source},
};

/// Where messages are stored.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageConfig {
    /// In the memory of the process: the end of the process takes all messages.
    Memory {
        /// Most bytes that it takes up.
        limit_bytes: u64,
    },
    /// In files.
    Filesystem {
        /// The data directory, created when it is not there.
        root: PathBuf,
        /// When the disk is synced.
        sync: SyncPolicy,
    },
}

const ROOT_DEFAULT: &str = "./minikafka-data";
/// Files give space back segment by segment: with so many of them, what is evicted and still takes up space is a
/// small part of what is kept.
const SEGMENTS_KEPT: u32 = 4;
/// Shortest time that a segment is written to, unless it is full: each costs a file and a few syncs.
const SEGMENT_AGE_MIN: Duration = Duration::from_secs(1);
/// Smallest segment, unless a message is larger.
pub(super) const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;

impl StorageConfig {
    /// Opens the storage for a broker: recovers what is there and locks the directory. How long and how much the
    /// broker keeps decides how files are cut. Blocks on the disk.
    ///
    /// # Errors
    /// When the directory is foreign, locked, damaged or cannot be written.
    pub fn open(&self, broker: &BrokerConfig) -> Result<Arc<dyn Storage>, StorageError> {
        match self {
            StorageConfig::Memory { limit_bytes } => Ok(Arc::new(MemoryStorage::new(*limit_bytes))),
            // The directory, or one of those that it is to be created in, is a file.
            StorageConfig::Filesystem { root, .. } if root.ancestors().any(Path::is_file) => {
                Err(StorageError::Io {
                    action: "opening data directory",
                    path: root.clone(),
                    source: Arc::new(io::ErrorKind::NotADirectory.into()),
                })
            }
            StorageConfig::Filesystem { root, sync } => {
                Ok(Arc::new(FileStorage::open(root, options(*sync, broker))?))
            }
        }
    }
}

fn options(sync: SyncPolicy, broker: &BrokerConfig) -> Options {
    let default = Options::default();
    let part_of = |bytes: u64| (bytes / u64::from(SEGMENTS_KEPT)).max(SEGMENT_BYTES_MIN);
    Options {
        sync,
        open_files: default.open_files.min(segments_max()),
        segment_age: broker.retention.map(|age| (age / SEGMENTS_KEPT).max(SEGMENT_AGE_MIN)),
        segment_bytes: broker
            .retention_bytes
            .map_or(default.segment_bytes, |bytes| part_of(bytes).min(default.segment_bytes)),
        ..default
    }
}

/// The storage, and a warning for each setting that has no effect on it.
pub(super) fn check(source: &Source) -> Result<(StorageConfig, Vec<String>), ConfigError> {
    let storage = choose(source)?;
    let root = source.get("root_dir", |s| &s.root_dir);
    let sync = source.get("sync", |s| &s.sync);
    let limit = source.get("memory_limit", |s| &s.memory_limit);
    let (kind, useless) = match storage {
        StorageConfig::Memory { .. } => ("memory", vec![root, sync]),
        StorageConfig::Filesystem { .. } => ("filesystem", vec![limit]),
    };
    // An empty directory is what chooses memory.
    let given =
        useless.iter().filter_map(|given| Some((&given.name, given.text.filter(|text| !text.is_empty())?)));
    let warnings = given.map(|(name, text)| format!("{name}={text} has no effect: the storage is {kind}"));
    let warnings = warnings.collect();
    Ok((storage, warnings))
}

fn choose(source: &Source) -> Result<StorageConfig, ConfigError> {
    let root = source.get("root_dir", |s| &s.root_dir);
    let kind = source.get("storage", |s| &s.storage);
    let sync = source.get("sync", |s| &s.sync).parse(sync_policy)?.unwrap_or(SyncPolicy::Always);
    let limit_bytes = source.get("memory_limit", |s| &s.memory_limit).parse(|text| {
        in_range(parse_byte_size(text)?, MEMORY_BYTES_MIN..=i64::MAX as u64, format_byte_size)
    })?;
    let memory =
        || StorageConfig::Memory { limit_bytes: limit_bytes.unwrap_or_else(default_memory_limit_bytes) };
    let filesystem = |root: &str| StorageConfig::Filesystem { root: PathBuf::from(root), sync };
    match (kind.text, root.text) {
        (Some("memory"), _) | (None, Some("")) => Ok(memory()),
        (Some("filesystem"), Some("")) => {
            Err(root.refuse("it is empty, which means memory, but the storage is to be filesystem"))
        }
        (Some("filesystem") | None, root) => Ok(filesystem(root.unwrap_or(ROOT_DEFAULT))),
        (Some(_), _) => Err(kind.refuse("it is filesystem or memory")),
    }
}

fn sync_policy(text: &str) -> Result<SyncPolicy, Rule> {
    match text {
        "always" => Ok(SyncPolicy::Always),
        "never" => Ok(SyncPolicy::Never),
        _ => match parse_duration(
            text.strip_prefix("every:")
                .ok_or("it is always, never, or every: and a duration, as in every:100ms")?,
        )? {
            interval if interval.is_zero() => {
                Err("an interval is more than zero: choose always to sync at once".into())
            }
            interval => Ok(SyncPolicy::Every(interval)),
        },
    }
}
