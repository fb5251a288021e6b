//! What Kafka knows of topics, and what holds of it here.

use std::time::Duration;

use minikafka_broker::{
    BrokerConfig, Effective, SettingSource, TopicDescription, TopicSetting, TopicSettings,
};
use minikafka_storage::Durability;

use super::{
    super::super::door::Door,
    Entry,
    Kind::{Boolean, Double, Int, List, Long, Text},
    Source, Synonym, limit,
};

/// A setting of topics.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) name: &'static str,
    pub(super) kind: super::Kind,
    pub(super) held: Held,
    about: &'static str,
}

/// What decides about its value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// It can be set, for a topic or for the server.
    Setting(TopicSetting),
    /// It is always so.
    Always(&'static str),
    /// The storage does, from case to case.
    Storage,
    /// How many messages may wait for a sync.
    FlushMessages,
    /// How long they may wait.
    FlushMs,
}

/// Never, in milliseconds or messages.
const NEVER: &str = "9223372036854775807";
/// There are no topics that keep the newest message of each key.
const NO_COMPACTION: &str = "Without effect: nothing is compacted.";
/// There are no other tiers.
const NO_TIERS: &str = "Without effect: there is no remote storage.";
/// Batches are stored as they are.
const NO_RECOMPRESSION: &str = "Without effect: nothing is compressed again.";
const ONE_NODE: &str = "There is one node.";
const OF_THE_STORAGE: &str = "The storage cuts its files by what is kept, and by itself.";

const fn config(name: &'static str, kind: super::Kind, held: Held, about: &'static str) -> Config {
    Config { name, kind, held, about }
}

/// All of them, by name.
pub(super) static CONFIGS: [Config; 33] = [
    config("cleanup.policy", List, Held::Always("delete"), "Old messages are evicted."),
    config("compression.gzip.level", Int, Held::Always("-1"), NO_RECOMPRESSION),
    config("compression.lz4.level", Int, Held::Always("9"), NO_RECOMPRESSION),
    config(
        "compression.type",
        Text,
        Held::Always("producer"),
        "Batches are stored as their producers sent them.",
    ),
    config("compression.zstd.level", Int, Held::Always("3"), NO_RECOMPRESSION),
    config("delete.retention.ms", Long, Held::Always("86400000"), NO_COMPACTION),
    config("file.delete.delay.ms", Long, Held::Always("0"), "Files are deleted at once."),
    config("flush.messages", Long, Held::FlushMessages, "Chosen for the server, with -sync."),
    config("flush.ms", Long, Held::FlushMs, "Chosen for the server, with -sync."),
    config("follower.replication.throttled.replicas", List, Held::Always(""), ONE_NODE),
    config("index.interval.bytes", Int, Held::Storage, OF_THE_STORAGE),
    config("leader.replication.throttled.replicas", List, Held::Always(""), ONE_NODE),
    config("local.retention.bytes", Long, Held::Always("-2"), NO_TIERS),
    config("local.retention.ms", Long, Held::Always("-2"), NO_TIERS),
    config("max.compaction.lag.ms", Long, Held::Always(NEVER), NO_COMPACTION),
    config(
        "max.message.bytes",
        Int,
        Held::Setting(TopicSetting::MessageBytesMax),
        "Largest batch, as it is sent.",
    ),
    config(
        "message.timestamp.after.max.ms",
        Long,
        Held::Always(NEVER),
        "Timestamps are the producers' affair: age goes by the time of the append.",
    ),
    config(
        "message.timestamp.before.max.ms",
        Long,
        Held::Always(NEVER),
        "Timestamps are the producers' affair: age goes by the time of the append.",
    ),
    config(
        "message.timestamp.type",
        Text,
        Held::Always("CreateTime"),
        "Timestamps are the producers'; a batch that has none gets the time of the append.",
    ),
    config("min.cleanable.dirty.ratio", Double, Held::Always("0.5"), NO_COMPACTION),
    config("min.compaction.lag.ms", Long, Held::Always("0"), NO_COMPACTION),
    config("min.insync.replicas", Int, Held::Always("1"), ONE_NODE),
    config("preallocate", Boolean, Held::Always("false"), "Files grow as they are written."),
    config("remote.log.copy.disable", Boolean, Held::Always("false"), NO_TIERS),
    config("remote.log.delete.on.disable", Boolean, Held::Always("false"), NO_TIERS),
    config("remote.storage.enable", Boolean, Held::Always("false"), NO_TIERS),
    config(
        "retention.bytes",
        Long,
        Held::Setting(TopicSetting::RetentionBytes),
        "Bytes that a partition may take up; -1: no limit.",
    ),
    config(
        "retention.ms",
        Long,
        Held::Setting(TopicSetting::Retention),
        "Time from its append on after which a message is evicted; -1: never.",
    ),
    config("segment.bytes", Int, Held::Storage, OF_THE_STORAGE),
    config("segment.index.bytes", Int, Held::Storage, OF_THE_STORAGE),
    config("segment.jitter.ms", Long, Held::Always("0"), OF_THE_STORAGE),
    config("segment.ms", Long, Held::Storage, OF_THE_STORAGE),
    config("unclean.leader.election.enable", Boolean, Held::Always("false"), ONE_NODE),
];

/// What holds for a topic, of what can be set.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Settings {
    retention: Effective<Option<Duration>>,
    retention_bytes: Effective<Option<u64>>,
    message_bytes_max: Effective<u64>,
}

impl Settings {
    /// For a topic that has these.
    pub(in super::super) fn of(settings: &TopicSettings, config: &BrokerConfig) -> Settings {
        Settings {
            retention: settings.retention(config),
            retention_bytes: settings.retention_bytes(config),
            message_bytes_max: settings.message_bytes_max(config),
        }
    }

    /// Value and source of one of them.
    fn value(&self, setting: TopicSetting) -> (String, SettingSource) {
        match setting {
            TopicSetting::Retention => (retention(self.retention.value), self.retention.source),
            TopicSetting::RetentionBytes => (limit(self.retention_bytes.value), self.retention_bytes.source),
            TopicSetting::MessageBytesMax => {
                (self.message_bytes_max.value.to_string(), self.message_bytes_max.source)
            }
        }
    }
}

impl From<&TopicDescription> for Settings {
    fn from(topic: &TopicDescription) -> Settings {
        Settings {
            retention: topic.retention,
            retention_bytes: topic.retention_bytes,
            message_bytes_max: topic.message_bytes_max,
        }
    }
}

impl Config {
    pub(super) fn find(name: &str) -> Option<&'static Config> {
        CONFIGS.iter().find(|config| config.name == name)
    }

    /// The value of one that cannot be set for a topic; `None`: there is none.
    pub(super) fn fixed(&self, durability: Durability) -> Option<String> {
        match (self.held, durability) {
            (Held::Setting(_) | Held::Storage, _) => None,
            (Held::Always(value), _) => Some(value.to_owned()),
            (Held::FlushMessages, Durability::Synced) => Some("1".to_owned()),
            (Held::FlushMs, Durability::Periodic(interval)) => Some(interval.as_millis().to_string()),
            (Held::FlushMessages | Held::FlushMs, _) => Some(NEVER.to_owned()),
        }
    }

    fn entry(&self, door: &Door, settings: &Settings) -> Entry {
        let entry = Entry {
            name: self.name,
            value: None,
            kind: self.kind,
            source: Source::Default,
            is_read_only: true,
            about: self.about,
            synonyms: Vec::new(),
        };
        let Held::Setting(setting) = self.held else {
            return Entry { value: self.fixed(door.broker.durability()), ..entry };
        };
        let (value, source) = settings.value(setting);
        let (name, config) = (of_server(setting), door.broker.config());
        let (own, default) = (server_value(setting, config), server_value(setting, &BrokerConfig::default()));
        let server = Synonym { name, source: Source::of_server(&own, &default), value: own };
        let (source, mut synonyms) = match source {
            SettingSource::Server => (server.source, Vec::new()),
            SettingSource::Topic => {
                let set = Synonym { name: self.name, value: value.clone(), source: Source::Topic };
                (Source::Topic, vec![set])
            }
        };
        synonyms.push(server);
        Entry { value: Some(value), source, is_read_only: false, synonyms, ..entry }
    }
}

/// Everything about a topic.
pub(in super::super) fn entries(door: &Door, settings: &Settings) -> Vec<Entry> {
    CONFIGS.iter().map(|config| config.entry(door, settings)).collect()
}

/// Kafka's name of a setting.
pub(super) fn name(setting: TopicSetting) -> &'static str {
    match setting {
        TopicSetting::Retention => "retention.ms",
        TopicSetting::RetentionBytes => "retention.bytes",
        TopicSetting::MessageBytesMax => "max.message.bytes",
    }
}

/// Kafka's name of what it is where no topic has chosen.
fn of_server(setting: TopicSetting) -> &'static str {
    match setting {
        TopicSetting::Retention => "log.retention.ms",
        TopicSetting::RetentionBytes => "log.retention.bytes",
        TopicSetting::MessageBytesMax => "message.max.bytes",
    }
}

fn server_value(setting: TopicSetting, config: &BrokerConfig) -> String {
    Settings::of(&TopicSettings::default(), config).value(setting).0
}

pub(super) fn retention(age: Option<Duration>) -> String {
    limit(age.map(|age| age.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once_and_in_order() {
        let names: Vec<&str> = CONFIGS.iter().map(|config| config.name).collect();
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        for setting in [TopicSetting::Retention, TopicSetting::RetentionBytes, TopicSetting::MessageBytesMax]
        {
            let config = Config::find(name(setting)).expect("it is listed");
            assert!(matches!(config.held, Held::Setting(held) if held == setting));
        }
    }

    #[test]
    fn what_a_sync_means_is_said_in_kafkas_terms() {
        let minute = Durability::Periodic(Duration::from_secs(60));
        for (name, durability, value) in [
            ("flush.messages", Durability::Synced, "1"),
            ("flush.ms", Durability::Synced, NEVER),
            ("flush.messages", minute, NEVER),
            ("flush.ms", minute, "60000"),
            ("flush.ms", Durability::Memory, NEVER),
        ] {
            assert_eq!(Config::find(name).expect("it is listed").fixed(durability).as_deref(), Some(value));
        }
    }
}
