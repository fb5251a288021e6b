//! What Kafka knows of servers, and what holds of it here: all of it is chosen when the server starts.

use std::time::Duration;

use minikafka_broker::{AutoCreate, BrokerConfig, HEARTBEAT_INTERVAL, MEMBER_SESSION_TIMEOUT};
use minikafka_storage::Durability;

use super::{
    super::{
        super::{door::Door, frames::MESSAGES_BYTES_MAX},
        assignment,
    },
    Entry, Kind, Source, Synonym, limit,
    topic::{self, Config},
};

/// A setting of the server that can be chosen: its value, and the one that it has when nobody does.
type Chosen = (&'static str, Kind, fn(&BrokerConfig) -> String, &'static str);

static CHOSEN: [Chosen; 8] = [
    (
        "auto.create.topics.enable",
        Kind::Boolean,
        |config| (config.auto_create == AutoCreate::Enabled).to_string(),
        "-auto-create",
    ),
    ("log.retention.bytes", Kind::Long, |config| limit(config.retention_bytes), "-retention-bytes"),
    ("log.retention.ms", Kind::Long, |config| topic::retention(config.retention), "-retentiontime"),
    ("message.max.bytes", Kind::Int, |config| config.message_bytes_max.to_string(), "-message-max"),
    ("node.id", Kind::Int, |config| config.node_id.0.to_string(), "There is one node."),
    ("num.partitions", Kind::Int, |config| config.partitions.to_string(), "-partitions"),
    (
        "offsets.retention.minutes",
        Kind::Int,
        |config| minutes(config.position_retention).to_string(),
        "-position-retention",
    ),
    (
        "producer.id.expiration.ms",
        Kind::Int,
        |config| config.producer_expiry.as_millis().to_string(),
        "-producer-expiry",
    ),
];

/// Settings of the server that are as those of its topics.
static AS_TOPICS: [(&str, &str); 7] = [
    ("compression.type", "compression.type"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// Everything about the server, by name.
pub(super) fn entries(door: &Door) -> Vec<Entry> {
    let config = door.broker.config();
    let mut entries: Vec<Entry> = CHOSEN.iter().map(|chosen| chosen_entry(chosen, config)).collect();
    let durability = door.broker.durability();
    entries.extend(AS_TOPICS.iter().filter_map(|(name, of_topic)| as_topics(name, of_topic, durability)));
    // Chosen, or made of what was: the default address is nobody's default.
    for (_, endpoint) in door.nodes().into_iter().filter(|(id, _)| *id == door.node_id()) {
        let listener = format!("PLAINTEXT://{endpoint}");
        entries.push(entry("advertised.listeners", Kind::List, listener, Source::Server, "-advertised-host"));
    }
    let idle = door.idle_timeout.as_millis();
    for (name, kind, value) in [
        ("broker.id", Kind::Int, config.node_id.0.to_string()),
        ("connections.max.idle.ms", Kind::Long, idle.to_string()),
        ("default.replication.factor", Kind::Int, assignment::factor(door).to_string()),
        ("delete.topic.enable", Kind::Boolean, true.to_string()),
        ("socket.request.max.bytes", Kind::Int, MESSAGES_BYTES_MAX.to_string()),
    ] {
        entries.push(entry(name, kind, value, Source::Default, ""));
    }
    entries.extend(of_groups());
    entries.sort_by_key(|entry| entry.name);
    entries
}

/// What holds for groups of members of the newer protocol, under the server's names.
fn of_groups() -> Vec<Entry> {
    let millis = |time: Duration| time.as_millis().to_string();
    let entry = |name, time| entry(name, Kind::Int, millis(time), Source::Default, "");
    vec![
        entry("group.consumer.heartbeat.interval.ms", HEARTBEAT_INTERVAL),
        entry("group.consumer.session.timeout.ms", MEMBER_SESSION_TIMEOUT),
    ]
}

/// The same of one group, under the names that groups have them.
pub(super) fn of_group() -> Vec<Entry> {
    let without_prefix = |entry: Entry| {
        let name = entry.name.strip_prefix("group.").unwrap_or(entry.name);
        Entry { name, ..entry }
    };
    of_groups().into_iter().map(without_prefix).collect()
}

fn chosen_entry((name, kind, value, about): &Chosen, config: &BrokerConfig) -> Entry {
    let (own, default) = (value(config), value(&BrokerConfig::default()));
    let source = Source::of_server(&own, &default);
    entry(name, *kind, own, source, about)
}

fn as_topics(name: &'static str, of_topic: &str, durability: Durability) -> Option<Entry> {
    let config = Config::find(of_topic)?;
    Some(entry(name, config.kind, config.fixed(durability)?, Source::Default, ""))
}

fn entry(name: &'static str, kind: Kind, value: String, source: Source, about: &'static str) -> Entry {
    let synonyms = vec![Synonym { name, value: value.clone(), source }];
    Entry { name, value: Some(value), kind, source, is_read_only: true, about, synonyms }
}

/// A part of one counts as one.
fn minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_with_topics_is_listed_there() {
        for (name, of_topic) in AS_TOPICS {
            assert!(as_topics(name, of_topic, Durability::Synced).is_some(), "{name}");
        }
    }
}
