//! The settings of a topic as they are written on the command line.

use std::str::FromStr;

use minikafka_flags::{parse_byte_size, parse_duration};
use minikafka_proto::v1::{TopicSetting, TopicSettings};

/// Stands for "no limit" in the API.
const UNLIMITED: i64 = -1;

/// The flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Age at which messages are evicted, as in 24h; never; or default: as the server has it
    #[arg(long, value_name = "DURATION", value_parser = Setting::<Millis>::from_str, allow_hyphen_values = true)]
    retention: Option<Setting<Millis>>,
    /// Size of a partition above which its oldest messages are evicted, as in 10GiB; unlimited; or default
    #[arg(long, value_name = "SIZE", value_parser = Setting::<Bytes>::from_str)]
    retention_bytes: Option<Setting<Bytes>>,
    /// Largest message or batch, as in 1MiB; or default
    #[arg(long, value_name = "SIZE", value_parser = message_max)]
    message_max: Option<Setting<Bytes>>,
}

impl Settings {
    /// What is to be set, and what is to be left to the server.
    pub(super) fn changes(&self) -> (TopicSettings, Vec<TopicSetting>) {
        let mut reset = Vec::new();
        let mut value = |of: TopicSetting, setting: Option<Setting<i64>>| match setting? {
            Setting::Default => {
                reset.push(of);
                None
            }
            Setting::Unlimited => Some(UNLIMITED),
            Setting::At(limit) => Some(limit),
        };
        let bytes =
            |setting: Option<Setting<Bytes>>| setting.map(|setting| setting.map(|Bytes(bytes)| bytes));
        let retention = self.retention.map(|setting| setting.map(|Millis(millis)| millis));
        let settings = TopicSettings {
            retention_ms: value(TopicSetting::RetentionMs, retention),
            retention_bytes: value(TopicSetting::RetentionBytes, bytes(self.retention_bytes)),
            // Never unlimited.
            message_bytes_max: value(TopicSetting::MessageBytesMax, bytes(self.message_max))
                .map(i64::cast_unsigned),
        };
        (settings, reset)
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

impl<T> Setting<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Setting::Default => Setting::Default,
            Setting::Unlimited => Setting::Unlimited,
            Setting::At(limit) => Setting::At(change(limit)),
        }
    }
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

fn message_max(text: &str) -> Result<Setting<Bytes>, String> {
    match text.parse()? {
        Setting::Unlimited => Err("a message has a limit, at most the server's".to_owned()),
        setting => Ok(setting),
    }
}

/// Milliseconds, at least one: the API knows no shorter time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Millis(i64);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Millis, String> {
        let duration = parse_duration(text).map_err(|error| error.to_string())?;
        match i64::try_from(duration.as_millis()) {
            Ok(millis @ 1..) => Ok(Millis(millis)),
            Ok(_) => Err("it is at least 1ms, or never".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(i64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let bytes = parse_byte_size(text).map_err(|error| error.to_string())?;
        match i64::try_from(bytes) {
            Ok(bytes @ 1..) => Ok(Bytes(bytes)),
            Ok(_) => Err("it is more than zero bytes".to_owned()),
            Err(_) => Err(format!("it is at most {} bytes", i64::MAX)),
        }
    }
}
