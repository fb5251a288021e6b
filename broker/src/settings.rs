//! Settings of a topic over the server's defaults.
//!
//! What is not set for a topic follows the server's configuration, also when that changes. [`TopicLimits`] is what
//! comes of both, where produce and retention look at it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{BrokerConfig, Error, eviction::Limits};

/// Smallest `retention_bytes`: less than that is not kept apart by the storage.
const RETENTION_BYTES_MIN: u64 = 1024 * 1024;
/// Smallest `message_bytes_max`.
const MESSAGE_BYTES_MIN: u64 = 1024;
/// Stands for "no limit" in [`TopicLimits`].
const UNLIMITED: u64 = u64::MAX;

/// A limit that may be lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// There is none.
    Unlimited,
    /// This much.
    At(T),
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    pub fn at(self) -> Option<T> {
        match self {
            Limit::Unlimited => None,
            Limit::At(limit) => Some(limit),
        }
    }
}

/// What is set for a topic; `None`: as the server has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// Age at which messages are evicted; at least a millisecond.
    pub retention: Option<Limit<Duration>>,
    /// Bytes that each partition may take up in its storage; at least 1 MiB.
    pub retention_bytes: Option<Limit<u64>>,
    /// Largest message or batch in bytes; at least 1 KiB, at most what the server allows.
    pub message_bytes_max: Option<u64>,
}

/// The name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicSetting {
    /// `retention` of [`TopicSettings`].
    Retention,
    /// `retention_bytes` of [`TopicSettings`].
    RetentionBytes,
    /// `message_bytes_max` of [`TopicSettings`].
    MessageBytesMax,
}

/// A change of a topic: all of it happens, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicChange {
    /// Number of partitions from now on: as many as there are, or more. `None`: as it is.
    pub partitions: Option<u32>,
    /// Settings to set.
    pub set: TopicSettings,
    /// Settings to leave to the server again.
    pub reset: Vec<TopicSetting>,
}

/// A value, and who has chosen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective<T> {
    /// The value.
    pub value: T,
    /// Who has chosen it.
    pub source: SettingSource,
}

/// Who has chosen a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// The server's configuration.
    Server,
    /// Somebody, for this topic.
    Topic,
}

impl fmt::Display for TopicSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicSetting::Retention => "retention_ms",
            TopicSetting::RetentionBytes => "retention_bytes",
            TopicSetting::MessageBytesMax => "message_bytes_max",
        })
    }
}

impl TopicSettings {
    /// Checks each setting.
    pub(crate) fn check(&self, config: &BrokerConfig) -> Result<(), Error> {
        let refuse = |setting, rule| Err(Error::InvalidSetting { setting, rule });
        if let Some(Limit::At(age)) = self.retention
            && age < Duration::from_millis(1)
        {
            let rule = format!("a retention of {age:?} is none: it is at least a millisecond, or never");
            return refuse(TopicSetting::Retention, rule);
        }
        if let Some(Limit::At(bytes)) = self.retention_bytes
            && bytes < RETENTION_BYTES_MIN
        {
            let rule = format!("{bytes} bytes are too few: a partition keeps at least {RETENTION_BYTES_MIN}");
            return refuse(TopicSetting::RetentionBytes, rule);
        }
        let server_max = config.message_bytes_max as u64;
        match self.message_bytes_max {
            Some(bytes) if bytes < MESSAGE_BYTES_MIN.min(server_max) => {
                let rule = format!("{bytes} bytes are too few for a message: at least {MESSAGE_BYTES_MIN}");
                refuse(TopicSetting::MessageBytesMax, rule)
            }
            Some(bytes) if bytes > server_max => {
                let rule = format!("{bytes} bytes are over the server's limit of {server_max}");
                refuse(TopicSetting::MessageBytesMax, rule)
            }
            _ => Ok(()),
        }
    }

    /// These settings after a change.
    pub(crate) fn changed(mut self, change: &TopicChange) -> Result<TopicSettings, Error> {
        for setting in &change.reset {
            let is_set = match setting {
                TopicSetting::Retention => change.set.retention.is_some(),
                TopicSetting::RetentionBytes => change.set.retention_bytes.is_some(),
                TopicSetting::MessageBytesMax => change.set.message_bytes_max.is_some(),
            };
            if is_set {
                let rule = "it cannot be set and reset at once".to_owned();
                return Err(Error::InvalidSetting { setting: *setting, rule });
            }
            match setting {
                TopicSetting::Retention => self.retention = None,
                TopicSetting::RetentionBytes => self.retention_bytes = None,
                TopicSetting::MessageBytesMax => self.message_bytes_max = None,
            }
        }
        Ok(TopicSettings {
            retention: change.set.retention.or(self.retention),
            retention_bytes: change.set.retention_bytes.or(self.retention_bytes),
            message_bytes_max: change.set.message_bytes_max.or(self.message_bytes_max),
        })
    }

    /// Age at which messages are evicted; `None`: never.
    pub fn retention(&self, config: &BrokerConfig) -> Effective<Option<Duration>> {
        Effective::of(self.retention.map(Limit::at), config.retention)
    }

    /// Bytes that a partition may take up; `None`: no limit.
    pub fn retention_bytes(&self, config: &BrokerConfig) -> Effective<Option<u64>> {
        Effective::of(self.retention_bytes.map(Limit::at), config.retention_bytes)
    }

    /// Largest message or batch. The server may have lowered its limit below the topic's since that was set.
    pub fn message_bytes_max(&self, config: &BrokerConfig) -> Effective<u64> {
        let server_max = config.message_bytes_max as u64;
        Effective::of(self.message_bytes_max.filter(|bytes| *bytes <= server_max), server_max)
    }
}

impl<T> Effective<T> {
    fn of(topic: Option<T>, server: T) -> Effective<T> {
        match topic {
            Some(value) => Effective { value, source: SettingSource::Topic },
            None => Effective { value: server, source: SettingSource::Server },
        }
    }
}

/// What counts for a topic. Shared by its partitions, which look at it with each commit, so there is no lock.
#[derive(Debug)]
pub(crate) struct TopicLimits {
    age_max_ms: AtomicU64,
    bytes_max: AtomicU64,
    message_bytes_max: AtomicU64,
}

impl TopicLimits {
    pub(crate) fn new(settings: &TopicSettings, config: &BrokerConfig) -> TopicLimits {
        let [age_max_ms, bytes_max, message_bytes_max] = effective(settings, config).map(AtomicU64::new);
        TopicLimits { age_max_ms, bytes_max, message_bytes_max }
    }

    pub(crate) fn set(&self, settings: &TopicSettings, config: &BrokerConfig) {
        let limits = [&self.age_max_ms, &self.bytes_max, &self.message_bytes_max];
        for (limit, value) in limits.into_iter().zip(effective(settings, config)) {
            limit.store(value, Ordering::Release);
        }
    }

    /// What is kept.
    pub(crate) fn kept(&self) -> Limits {
        let limit =
            |limit: &AtomicU64| Some(limit.load(Ordering::Acquire)).filter(|limit| *limit != UNLIMITED);
        Limits {
            age_max: limit(&self.age_max_ms).map(Duration::from_millis),
            bytes_max: limit(&self.bytes_max),
        }
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.load(Ordering::Acquire) as usize
    }
}

/// Age in milliseconds, bytes of a partition, bytes of a message.
fn effective(settings: &TopicSettings, config: &BrokerConfig) -> [u64; 3] {
    let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(UNLIMITED);
    [
        settings.retention(config).value.map_or(UNLIMITED, millis),
        settings.retention_bytes(config).value.unwrap_or(UNLIMITED),
        settings.message_bytes_max(config).value,
    ]
}
