//! [`ConfigError`], why the server does not start with these settings.

use clap::error::ErrorKind;

/// Why there is no configuration. The message is one line, but for what clap prints about usage.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting breaks its rule.
    #[error("{name}={value:?}: {rule}")]
    Setting {
        /// The flag or the variable, as the user wrote it.
        name: String,
        /// Its value.
        value: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The command line is not understood, or asks for help or the version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

/// Exit code of a mistake in the usage or in the configuration.
const EXIT_USAGE: u8 = 2;

impl ConfigError {
    /// 0 for a request for help or the version, else 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            ConfigError::Usage(usage) if is_answer(usage) => 0,
            _ => EXIT_USAGE,
        }
    }

    /// Prints help and version on stdout, all else on stderr.
    pub fn print(&self) {
        match self {
            // clap chooses the stream. When it is closed there is nobody to tell.
            ConfigError::Usage(usage) => drop(usage.print()),
            ConfigError::Setting { .. } => eprintln!("server: {self}"),
        }
    }
}

fn is_answer(usage: &clap::Error) -> bool {
    matches!(usage.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}
