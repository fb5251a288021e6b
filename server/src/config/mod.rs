//! [`Config`]: what can be chosen at the start, checked.
//!
//! A setting comes from a flag or from a variable, as text ([`Settings`]); flags win. Here the texts become
//! types, or one [`ConfigError`] that names the flag or the variable, the value and the rule.

mod address;
mod error;
mod kafka;
mod log;
mod memory;
mod settings;
mod source;
mod storage;

use std::{ffi::OsString, time::Duration};

use clap::{
    Command, FromArgMatches,
    error::{ContextKind, ContextValue},
};
use minikafka_broker::{AutoCreate, BrokerConfig};
use minikafka_flags::{go_style, parse_duration};

pub use address::{Address, AddressError};
pub use error::ConfigError;
pub use kafka::{Advertised, KafkaConfig, Listen};
pub use log::{LogConfig, LogFormat};
pub use memory::default_memory_limit_bytes;
pub use minikafka_flags::{ByteSizeError, format_byte_size, parse_byte_size, round_byte_size};
pub use settings::{Settings, VARIABLE_PREFIX};
use source::{Given, Source};
pub use storage::StorageConfig;

use crate::kafka::MESSAGES_BYTES_MAX as KAFKA_REQUEST_BYTES_MAX;

/// Everything that can be chosen at the start, with its default filled in. The names, the defaults and the
/// rules stand in [`Settings`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where gRPC and HTTP are served.
    pub host: Address,
    /// Where Kafka clients are served.
    pub kafka: KafkaConfig,
    /// Where messages are stored.
    pub storage: StorageConfig,
    /// How topics are kept.
    pub broker: BrokerConfig,
    /// What is logged.
    pub log: LogConfig,
    /// What deserves a word once there is a log: a variable that nobody knows, a setting without effect.
    pub warnings: Vec<String>,
}

/// Smallest limit of a message: room for what people call a message.
const MESSAGE_BYTES_MIN: u64 = 1024;
/// Largest limit of a message. Readers hold a whole message in memory, and so do we, several times.
const MESSAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Smallest limit of the memory storage: a few segments of messages.
const MEMORY_BYTES_MIN: u64 = 1024 * 1024;
/// Shortest time for which producers are remembered: longer than clients go on sending a message again, 30 s with ours
/// and two minutes with Kafka's, or it would be stored twice.
const PRODUCER_EXPIRY_MIN: Duration = Duration::from_secs(5 * 60);
/// Smallest size to which a partition can be limited: the smallest segment.
const RETENTION_BYTES_MIN: u64 = storage::SEGMENT_BYTES_MIN;
/// Most partitions that can be allowed: each costs memory and, with traffic, an open file.
const PARTITIONS_LIMIT_MAX: u64 = 1_000_000;

impl Config {
    /// Reads the variables and the command line of a process; the first of `args` is the program's name.
    ///
    /// # Errors
    /// The first setting that breaks its rule, a mistake in the usage, or a request for help or the version:
    /// [`ConfigError::exit_code`] says which of both.
    pub fn load(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Config, ConfigError> {
        let command = Settings::command_line();
        let matches = command.clone().try_get_matches_from(go_style(args, &command));
        let matches = matches.map_err(|error| without_hidden_tip(error, &command))?;
        let flags = Settings::from_arg_matches(&matches)?;
        let (variables, warnings) = Settings::from_variables(variables)?;
        let mut config = Config::check(&Source { flags, variables })?;
        config.warnings.extend(warnings);
        Ok(config)
    }

    fn check(source: &Source) -> Result<Config, ConfigError> {
        refuse_what_is_not_there_yet(source)?;
        let default = BrokerConfig::default();
        let message_bytes_max = source
            .get("message_max", |s| &s.message_max)
            .parse(|text| {
                in_range(parse_byte_size(text)?, MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX, format_byte_size)
            })?
            .map_or(default.message_bytes_max, |bytes| bytes as usize);
        let partitions_max = count(&source.get("partitions_max", |s| &s.partitions_max))?
            .map_or(default.partitions_max, |count| count as usize);
        let broker = BrokerConfig {
            retention: retention(source)?.or(default.retention),
            retention_bytes: retention_bytes(source)?,
            auto_create: auto_create(source)?,
            producer_expiry: producer_expiry(source)?.unwrap_or(default.producer_expiry),
            position_retention: position_retention(source)?.unwrap_or(default.position_retention),
            partitions: partitions(source, partitions_max)?.unwrap_or(default.partitions),
            partitions_max,
            message_bytes_max,
            // A few of the largest messages must be able to wait side by side.
            waiting_bytes_max: default.waiting_bytes_max.max(4 * message_bytes_max),
            ..default
        };
        let (storage, mut warnings) = storage::check(source)?;
        let kafka = kafka(source)?;
        warnings.extend(about_kafka(source, &kafka, message_bytes_max));
        Ok(Config {
            host: source.get("host", |s| &s.host).parse(str::parse)?.unwrap_or_default(),
            kafka,
            storage,
            broker,
            log: source.get("log", |s| &s.log).parse(str::parse)?.unwrap_or_default(),
            warnings,
        })
    }
}

fn kafka(source: &Source) -> Result<KafkaConfig, ConfigError> {
    let listen = source.get("kafka_host", |s| &s.kafka_host).parse(str::parse)?.unwrap_or(Listen::Default);
    Ok(KafkaConfig {
        advertised: source.get("advertised_host", |s| &s.advertised_host).parse(str::parse)?,
        ..KafkaConfig::listening(listen)
    })
}

/// What is set and does not count at that door.
fn about_kafka(source: &Source, kafka: &KafkaConfig, message_bytes_max: usize) -> Option<String> {
    if kafka.listen == Listen::Off {
        let Given { name, text } = source.get("advertised_host", |s| &s.advertised_host);
        return text.map(|text| format!("{name}={text} has no effect: no Kafka clients are served"));
    }
    let max = KAFKA_REQUEST_BYTES_MAX;
    let Given { name, text } = source.get("message_max", |s| &s.message_max);
    let text = text.filter(|_| message_bytes_max > max)?;
    let max = format_byte_size(max as u64);
    Some(format!("{name}={text} counts for Kafka clients up to {max} only: a request of theirs has no more"))
}

/// Partitions of a topic that nobody has chosen them for.
fn partitions(source: &Source, max: usize) -> Result<Option<u32>, ConfigError> {
    let given = source.get("partitions", |s| &s.partitions);
    match count(&given)? {
        Some(count) if count as usize > max => Err(given
            .refuse(format!("a topic would have more than all topics may have, {max}: see partitions-max"))),
        count => Ok(count.map(|count| count as u32)),
    }
}

fn retention(source: &Source) -> Result<Option<Duration>, ConfigError> {
    source.get("retentiontime", |s| &s.retentiontime).parse(|text| match parse_duration(text)? {
        Duration::ZERO => Err("messages would be gone at once: choose more than zero".into()),
        retention => Ok::<_, source::Rule>(retention),
    })
}

fn producer_expiry(source: &Source) -> Result<Option<Duration>, ConfigError> {
    source.get("producer_expiry", |s| &s.producer_expiry).parse(|text| match parse_duration(text)? {
        expiry if expiry < PRODUCER_EXPIRY_MIN => {
            Err("producers would be forgotten while they still send again: it is at least 5m".into())
        }
        expiry => Ok::<_, source::Rule>(expiry),
    })
}

fn position_retention(source: &Source) -> Result<Option<Duration>, ConfigError> {
    source.get("position_retention", |s| &s.position_retention).parse(|text| match parse_duration(text)? {
        Duration::ZERO => Err("positions would be gone with the last member: choose more than zero".into()),
        retention => Ok::<_, source::Rule>(retention),
    })
}

fn retention_bytes(source: &Source) -> Result<Option<u64>, ConfigError> {
    source.get("retention_bytes", |s| &s.retention_bytes).parse(|text| {
        in_range(parse_byte_size(text)?, RETENTION_BYTES_MIN..=i64::MAX as u64, format_byte_size)
    })
}

fn auto_create(source: &Source) -> Result<AutoCreate, ConfigError> {
    let given = source.get("auto_create", |s| &s.auto_create).parse(|text| match text {
        "true" => Ok(AutoCreate::Enabled),
        "false" => Ok(AutoCreate::Disabled),
        _ => Err("it is true or false"),
    })?;
    Ok(given.unwrap_or(AutoCreate::Enabled))
}

/// A number of partitions.
fn count(given: &Given<'_>) -> Result<Option<u64>, ConfigError> {
    given.parse(|text| {
        let count = text.parse().map_err(|_| source::Rule::from("it is a whole number"))?;
        in_range(count, 1..=PARTITIONS_LIMIT_MAX, |count| count)
    })
}

/// Doors and clusters to come have their names already, so that nobody believes to have opened one.
fn refuse_what_is_not_there_yet(source: &Source) -> Result<(), ConfigError> {
    for given in [
        source.get("line_host", |s| &s.line_host),
        source.get("cluster_host", |s| &s.cluster_host),
        source.get("node_id", |s| &s.node_id),
        source.get("join", |s| &s.join),
    ] {
        given.parse(|text| {
            if text == "off" { Ok(()) } else { Err("not supported in this version, it can only be off") }
        })?;
    }
    Ok(())
}

/// An error about the usage that does not offer a flag which is reserved.
fn without_hidden_tip(mut error: clap::Error, command: &Command) -> clap::Error {
    let hidden: Vec<String> = command
        .get_arguments()
        .filter(|arg| arg.is_hide_set())
        .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
        .collect();
    if let Some(ContextValue::String(tip)) = error.get(ContextKind::SuggestedArg)
        && hidden.contains(tip)
    {
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// `value`, if it lies in `range`; `show` prints the bounds.
fn in_range<T: std::fmt::Display>(
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    show: impl Fn(u64) -> T,
) -> Result<u64, source::Rule> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("it is {} to {}", show(*range.start()), show(*range.end())).into())
    }
}

#[cfg(test)]
mod tests;
