//! [`LogConfig`], what is logged and how.

use std::{
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What is logged on stderr, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important thing that is logged.
    pub level: LevelFilter,
    /// For people or for programs.
    pub format: LogFormat,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One line of JSON for each event.
    Json,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { level: LevelFilter::INFO, format: LogFormat::Text }
    }
}

impl FromStr for LogConfig {
    type Err = &'static str;

    /// Reads a level, a format, or both with a comma.
    fn from_str(text: &str) -> Result<LogConfig, &'static str> {
        const RULE: &str = "it is a level (error, warn, info, debug, trace, off), a format (text, json) or both, as in debug,json";
        let mut level = None;
        let mut format = None;
        for word in text.split(',').map(str::trim) {
            let taken = match word {
                "text" => format.replace(LogFormat::Text).is_some(),
                "json" => format.replace(LogFormat::Json).is_some(),
                "off" => level.replace(LevelFilter::OFF).is_some(),
                "error" => level.replace(LevelFilter::ERROR).is_some(),
                "warn" => level.replace(LevelFilter::WARN).is_some(),
                "info" => level.replace(LevelFilter::INFO).is_some(),
                "debug" => level.replace(LevelFilter::DEBUG).is_some(),
                "trace" => level.replace(LevelFilter::TRACE).is_some(),
                _ => return Err(RULE),
            };
            if taken {
                return Err(RULE);
            }
        }
        let default = LogConfig::default();
        Ok(LogConfig { level: level.unwrap_or(default.level), format: format.unwrap_or(default.format) })
    }
}

impl LogConfig {
    /// Starts logging, for the whole process. Does nothing if somebody else did before.
    pub fn start(self) {
        // Libraries have little to say to the user of a server, and h2 says it per frame: only `trace` asks
        // them.
        let libraries =
            if self.level == LevelFilter::TRACE { self.level } else { self.level.min(LevelFilter::WARN) };
        let filter = Targets::new()
            .with_target("minikafka", self.level)
            .with_target("server", self.level) // the binary's own lines
            .with_default(libraries);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_target(false)
            .with_ansi(io::stderr().is_terminal());
        let lines = match self.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        // An error means that there is a subscriber already: an embedding program's choice wins.
        let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_level_a_format_or_both() {
        let log = |level, format| Ok(LogConfig { level, format });
        for (text, wanted) in [
            ("debug", log(LevelFilter::DEBUG, LogFormat::Text)),
            ("json", log(LevelFilter::INFO, LogFormat::Json)),
            ("warn,json", log(LevelFilter::WARN, LogFormat::Json)),
            ("text, off", log(LevelFilter::OFF, LogFormat::Text)),
        ] {
            assert_eq!(text.parse::<LogConfig>(), wanted, "{text}");
        }
        for text in ["", "loud", "info,debug", "json,json", "info,"] {
            assert!(text.parse::<LogConfig>().is_err(), "{text}");
        }
    }
}
