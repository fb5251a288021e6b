//! Where the text of a setting comes from: a flag, or else a variable.

use super::{ConfigError, Settings, settings::VARIABLE_PREFIX};

/// The rule that a value breaks, whatever error says it.
pub(super) type Rule = Box<dyn std::error::Error>;

/// All texts that were given. Flags win over variables.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) flags: Settings,
    pub(super) variables: Settings,
}

/// One setting as it was given, if it was.
pub(super) struct Given<'a> {
    /// As the user knows it: `MINIKAFKA_ROOT_DIR` or `-root-dir`.
    pub(super) name: String,
    pub(super) text: Option<&'a str>,
}

impl Source {
    /// The setting that `field` picks out. `key` is the field's name, which flag and variable derive from.
    pub(super) fn get(&self, key: &str, field: fn(&Settings) -> &Option<String>) -> Given<'_> {
        match field(&self.flags) {
            Some(text) => Given { name: format!("-{}", key.replace('_', "-")), text: Some(text) },
            None => Given {
                name: format!("{VARIABLE_PREFIX}{}", key.to_uppercase()),
                text: field(&self.variables).as_deref(),
            },
        }
    }
}

impl Given<'_> {
    /// Reads the text, if there is one.
    pub(super) fn parse<T, E: Into<Rule>>(
        &self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        self.text.map(|text| read(text).map_err(|rule| self.refuse(rule))).transpose()
    }

    /// The error about this setting.
    pub(super) fn refuse(&self, rule: impl Into<Rule>) -> ConfigError {
        ConfigError::Setting {
            name: self.name.clone(),
            value: self.text.unwrap_or_default().to_owned(),
            rule: rule.into().to_string(),
        }
    }
}
