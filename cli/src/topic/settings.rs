//! The settings of a topic as they are written on the command line.

use std::{str::FromStr, time::Duration};

use minikafka_flags::{parse_byte_size, parse_duration};
use minikafka_proto::v1::{TopicSetting, TopicSettings};

/// Stands for "no limit" in the API.
const UNLIMITED: i64 = -1;

/// The flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Age at which messages are evicted, as in 24h; never; or default: as the server has it
    #[arg(long, value_name = "DURATION", value_parser = Setting::<Age>::from_str, allow_hyphen_values = true)]
    retention: Option<Setting<Age>>,
    /// Size of a partition above which its oldest messages are evicted, as in 10GiB; unlimited; or default
    #[arg(long, value_name = "SIZE", value_parser = Setting::<Bytes>::from_str)]
    retention_bytes: Option<Setting<Bytes>>,
    /// Largest message or batch, as in 1MiB; or default
    #[arg(long, value_name = "SIZE", value_parser = Setting::<Bytes>::from_str)]
    message_max: Option<Setting<Bytes>>,
}

impl Settings {
    /// What is to be set, and what is to be left to the server.
    pub(super) fn changes(&self) -> anyhow::Result<(TopicSettings, Vec<TopicSetting>)> {
        let mut reset = Vec::new();
        let retention_ms = match &self.retention {
            Some(Setting::Default) => {
                reset.push(TopicSetting::RetentionMs);
                None
            }
            Some(Setting::Unlimited) => Some(UNLIMITED),
            Some(Setting::At(Age(age))) => Some(i64::try_from(age.as_millis())?),
            None => None,
        };
        let retention_bytes = match self.retention_bytes {
            Some(Setting::Default) => {
                reset.push(TopicSetting::RetentionBytes);
                None
            }
            Some(Setting::Unlimited) => Some(UNLIMITED),
            Some(Setting::At(Bytes(bytes))) => Some(i64::try_from(bytes)?),
            None => None,
        };
        let message_bytes_max = match self.message_max {
            Some(Setting::Default) => {
                reset.push(TopicSetting::MessageBytesMax);
                None
            }
            Some(Setting::Unlimited) => {
                anyhow::bail!("-message-max: a message has a limit, at most the server's")
            }
            Some(Setting::At(Bytes(bytes))) => Some(bytes),
            None => None,
        };
        Ok((TopicSettings { retention_ms, retention_bytes, message_bytes_max }, reset))
    }
}

/// What is wanted of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting<T> {
    /// The server's.
    Default,
    Unlimited,
    At(T),
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Setting<T>, T::Err> {
        match text {
            "default" => Ok(Setting::Default),
            "never" | "unlimited" => Ok(Setting::Unlimited),
            limit => limit.parse().map(Setting::At),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Age(Duration);

impl FromStr for Age {
    type Err = minikafka_flags::DurationError;

    fn from_str(text: &str) -> Result<Age, Self::Err> {
        parse_duration(text).map(Age)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(u64);

impl FromStr for Bytes {
    type Err = minikafka_flags::ByteSizeError;

    fn from_str(text: &str) -> Result<Bytes, Self::Err> {
        parse_byte_size(text).map(Bytes)
    }
}
