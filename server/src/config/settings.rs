//! [`Settings`], the texts of all settings, and their documentation: `--help` is made of it.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{Arg, Command, CommandFactory, Parser};
use serde::Deserialize;

use super::ConfigError;

/// What the name of every variable begins with.
pub const VARIABLE_PREFIX: &str = "MINIKAFKA_";

/// Variables that only the commands read: no reason for a warning.
const OF_THE_COMMANDS: [&str; 1] = ["MINIKAFKA_SHELL_HISTORY"];

const EXAMPLES: &str = "Examples:
  server                               on 127.0.0.1:9999, Kafka clients on 9092, a week in ./minikafka-data
  server -host :9999 -retentiontime 1h30m      on all interfaces, for an hour and a half
  server -storage memory -memory-limit 1GiB    in memory only
  MINIKAFKA_ROOT_DIR=/var/lib/minikafka server -log info,json

Every flag has a variable: -root-dir is MINIKAFKA_ROOT_DIR. Flags win over variables.
Sizes are written 512KiB, 3MiB, 2GiB or in bytes, durations 300ms, 3s, 10m, 1h30m.
Exit codes: 0 stopped by SIGINT or SIGTERM, 1 failure, 2 bad usage or configuration.";

/// The settings as texts: what one source gives, unchecked. A field is named as its variable without the
/// prefix and as its flag with `_` for `-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Parser)]
#[command(name = "server", version, about = "MiniKafka's server: a message log in one binary", after_help = EXAMPLES)]
#[command(disable_help_subcommand = true, args_override_self = true)]
#[serde(default)]
pub struct Settings {
    /// Where to serve gRPC and HTTP: host:port, or :port for all interfaces [default: 127.0.0.1:9999]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Where to serve Kafka clients: host:port, :port for all interfaces, or off [default: 127.0.0.1:9092, if it
    /// is free]
    #[arg(long, value_name = "ADDRESS")]
    pub kafka_host: Option<String>,
    /// What Kafka clients are told to connect to: host:port, or host [default: where they are served; the
    /// machine's name when that is all interfaces]
    #[arg(long, value_name = "ADDRESS")]
    pub advertised_host: Option<String>,
    /// Age at which messages are evicted, more than zero [default: 168h]
    #[arg(long, value_name = "DURATION", alias = "retention-time", allow_hyphen_values = true)]
    pub retentiontime: Option<String>,
    /// Size above which the oldest messages of a partition are evicted, segment by segment, whatever their age
    /// [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub retention_bytes: Option<String>,
    /// How long positions of a consumer group are kept from the moment on when it has no members [default: 168h]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub position_retention: Option<String>,
    /// Where to store messages: filesystem or memory [default: filesystem]
    #[arg(long, value_name = "KIND")]
    pub storage: Option<String>,
    /// Directory for the filesystem storage, created when it is not there; empty means -storage memory
    /// [default: ./minikafka-data]
    #[arg(long, value_name = "PATH")]
    pub root_dir: Option<String>,
    /// When the disk is synced: always (before the acknowledgement), every:100ms or never; with the last
    /// two, power loss may take acknowledged messages [default: always]
    #[arg(long, value_name = "WHEN")]
    pub sync: Option<String>,
    /// Most bytes that the memory storage takes up [default: half of the memory, or of the cgroup's limit]
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// Partitions of a topic that a produce creates, or anybody who does not say how many [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub partitions: Option<String>,
    /// Most partitions that there may be, over all topics [default: 10000]
    #[arg(long, value_name = "COUNT")]
    pub partitions_max: Option<String>,
    /// Largest message or batch; default gRPC clients read at most 4 MiB. A compressed batch may expand to
    /// eight times as much, at most 64 MiB [default: 3MiB]
    #[arg(long, value_name = "SIZE")]
    pub message_max: Option<String>,
    /// How long a partition remembers an idempotent producer that sends nothing to it, at least 5m: until
    /// then, what it sends again is not stored again [default: 24h]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub producer_expiry: Option<String>,
    /// Whether a produce, or a Kafka client that asks for a topic, creates it: true or false [default: true]
    #[arg(long, value_name = "BOOL")]
    pub auto_create: Option<String>,
    /// What to log on stderr: a level (error, warn, info, debug, trace, off), a format (text, json) or both,
    /// as in debug,json [default: info,text]
    #[arg(long, value_name = "LOG")]
    pub log: Option<String>,

    /// Not in this version.
    #[arg(long, hide = true)]
    pub line_host: Option<String>,
    /// Not in this version.
    #[arg(long, hide = true)]
    pub cluster_host: Option<String>,
    /// Not in this version.
    #[arg(long, hide = true)]
    pub node_id: Option<String>,
    /// Not in this version.
    #[arg(long, hide = true)]
    pub join: Option<String>,
}

impl Settings {
    /// The command line: all flags, each with the variable that does the same.
    pub fn command_line() -> Command {
        <Settings as CommandFactory>::command().mut_args(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let variable = variable_of(&arg);
            arg.help(format!("{help} [{variable}]"))
        })
    }

    /// Reads the variables that begin with [`VARIABLE_PREFIX`], with a warning for each that nobody knows.
    ///
    /// # Errors
    /// When the value of one of them is not UTF-8.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Settings, Vec<String>), ConfigError> {
        let known = Settings::variable_names();
        let mut ours = Vec::new();
        let mut warnings = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else { continue };
            if OF_THE_COMMANDS.contains(&name) {
                continue;
            }
            if !known.contains(name) {
                warnings.push(format!("unknown variable {name} is ignored: see --help for those there are"));
                continue;
            }
            let value = value.into_string().map_err(|value| ConfigError::Setting {
                name: name.to_owned(),
                value: value.to_string_lossy().into_owned(),
                rule: "it is not UTF-8".to_owned(),
            })?;
            ours.push((name.to_owned(), value));
        }
        warnings.sort();
        let settings =
            envy::prefixed(VARIABLE_PREFIX).from_iter(ours).map_err(|error| ConfigError::Setting {
                name: format!("{VARIABLE_PREFIX}*"),
                value: String::new(),
                rule: error.to_string(),
            })?;
        Ok((settings, warnings))
    }

    /// The name of every variable.
    fn variable_names() -> BTreeSet<String> {
        Settings::command_line().get_arguments().map(variable_of).collect()
    }
}

/// The variable that does the same as a flag.
fn variable_of(flag: &Arg) -> String {
    format!("{VARIABLE_PREFIX}{}", flag.get_id().as_str().to_uppercase())
}
