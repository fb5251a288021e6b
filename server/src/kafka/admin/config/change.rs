//! What a client wants to be set, as a change for the broker.

use std::{collections::BTreeSet, time::Duration};

use kafka_protocol::{ResponseError, messages::create_topics_request::CreatableTopicConfig};
use minikafka_broker::{Error, Limit, TopicChange, TopicSetting, TopicSettings};
use minikafka_storage::Durability;

use super::{
    super::super::{
        door::Door,
        refused::{Outcome, Refused},
    },
    Kind,
    topic::{self, CONFIGS, Config, Held},
};

/// What is to be done with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Set,
    /// As the server has it.
    Reset,
    /// Adds to a list.
    Append,
    /// Takes from a list.
    Subtract,
}

impl Operation {
    /// The one that has this number in the protocol.
    pub(super) fn of(number: i8) -> Outcome<Operation> {
        match number {
            0 => Ok(Operation::Set),
            1 => Ok(Operation::Reset),
            2 => Ok(Operation::Append),
            3 => Ok(Operation::Subtract),
            _ => Err(Refused::new(ResponseError::InvalidRequest, format!("there is no operation {number}"))),
        }
    }
}

/// A wish about one setting.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    pub(super) name: &'a str,
    pub(super) operation: Operation,
    pub(super) value: Option<&'a str>,
}

/// The settings of a new topic.
pub(in super::super) fn settings(door: &Door, configs: &[CreatableTopicConfig]) -> Outcome<TopicSettings> {
    let wishes = configs.iter().map(|config| Wish {
        name: &config.name,
        operation: Operation::Set,
        value: config.value.as_deref(),
    });
    Ok(change(door.broker.durability(), wishes)?.set)
}

/// What all wishes come to.
pub(super) fn change<'a>(
    durability: Durability,
    wishes: impl IntoIterator<Item = Wish<'a>>,
) -> Outcome<TopicChange> {
    let (mut change, mut seen) = (TopicChange::default(), BTreeSet::new());
    for wish in wishes {
        if !seen.insert(wish.name) {
            let rule = format!("{} is there several times", wish.name);
            return Err(Refused::new(ResponseError::InvalidRequest, rule));
        }
        add(&mut change, durability, &wish)?;
    }
    Ok(change)
}

/// Leaves to the server what can be set and is not.
pub(super) fn reset_others(mut change: TopicChange) -> TopicChange {
    for config in &CONFIGS {
        let Held::Setting(setting) = config.held else { continue };
        let is_set = match setting {
            TopicSetting::Retention => change.set.retention.is_some(),
            TopicSetting::RetentionBytes => change.set.retention_bytes.is_some(),
            TopicSetting::MessageBytesMax => change.set.message_bytes_max.is_some(),
        };
        if !is_set && !change.reset.contains(&setting) {
            change.reset.push(setting);
        }
    }
    change
}

/// An error of the broker, with Kafka's name of the setting.
pub(in super::super) fn refuse(error: Error) -> Refused {
    match error {
        Error::InvalidSetting { setting, rule } => invalid(topic::name(setting), &rule),
        error => error.into(),
    }
}

fn add(change: &mut TopicChange, durability: Durability, wish: &Wish<'_>) -> Outcome<()> {
    let name = wish.name;
    let Some(config) = Config::find(name) else {
        return Err(invalid(name, "there is no such setting of topics"));
    };
    let is_of_lists = matches!(wish.operation, Operation::Append | Operation::Subtract);
    if is_of_lists && config.kind != Kind::List {
        return Err(invalid(name, "it is no list"));
    }
    let value = match (wish.operation, wish.value) {
        (Operation::Reset, _) => None,
        (_, Some(value)) => Some(value.trim()),
        (_, None) => return Err(invalid(name, "there is no value to set")),
    };
    match (config.held, value) {
        (Held::Setting(setting), None) => {
            change.reset.push(setting);
            Ok(())
        }
        (Held::Setting(setting), Some(value)) => set(&mut change.set, setting, value),
        // What cannot be changed is as the server has it.
        (_, None) => Ok(()),
        (_, Some(value)) => check_fixed(config, durability, wish.operation, value),
    }
}

fn set(settings: &mut TopicSettings, setting: TopicSetting, value: &str) -> Outcome<()> {
    let name = topic::name(setting);
    let number: i64 = value.parse().map_err(|_| invalid(name, &format!("{value:?} is no number")))?;
    let limit = match (u64::try_from(number), number) {
        (Ok(limit), _) => Limit::At(limit),
        (Err(_), -1) if setting != TopicSetting::MessageBytesMax => Limit::Unlimited,
        _ => return Err(invalid(name, &format!("{number} is too small"))),
    };
    match setting {
        TopicSetting::Retention => {
            settings.retention = Some(match limit {
                Limit::At(limit) => Limit::At(Duration::from_millis(limit)),
                Limit::Unlimited => Limit::Unlimited,
            });
        }
        TopicSetting::RetentionBytes => settings.retention_bytes = Some(limit),
        TopicSetting::MessageBytesMax => settings.message_bytes_max = limit.at(),
    }
    Ok(())
}

/// What is always the same can be set to that.
fn check_fixed(config: &Config, durability: Durability, operation: Operation, value: &str) -> Outcome<()> {
    let Some(held) = config.fixed(durability) else {
        return Err(invalid(config.name, "it cannot be set here: the storage decides about it"));
    };
    let is_same = match (config.kind, operation) {
        (Kind::List, _) => {
            let (held, named) = (items(&held), items(value));
            match operation {
                Operation::Append => named.is_subset(&held),
                Operation::Subtract => named.is_disjoint(&held),
                Operation::Set | Operation::Reset => named == held,
            }
        }
        (Kind::Boolean, _) => value.eq_ignore_ascii_case(&held),
        _ => value == held,
    };
    match is_same {
        true => Ok(()),
        false => Err(invalid(config.name, &format!("it is {held:?} here and cannot be changed"))),
    }
}

fn items(list: &str) -> BTreeSet<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn invalid(name: &str, rule: &str) -> Refused {
    Refused::new(ResponseError::InvalidConfig, format!("{name}: {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, operation: Operation, value: Option<&str>) -> Outcome<TopicChange> {
        change(Durability::Synced, [Wish { name, operation, value }])
    }

    #[test]
    fn what_can_be_set_becomes_a_change() {
        let day = one("retention.ms", Operation::Set, Some(" 86400000 ")).unwrap();
        assert_eq!(day.set.retention, Some(Limit::At(Duration::from_secs(86_400))));
        let forever = one("retention.bytes", Operation::Set, Some("-1")).unwrap();
        assert_eq!(forever.set.retention_bytes, Some(Limit::Unlimited));
        let reset = one("max.message.bytes", Operation::Reset, None).unwrap();
        assert_eq!(reset.reset, [TopicSetting::MessageBytesMax]);
        assert_eq!(reset_others(day).reset, [TopicSetting::MessageBytesMax, TopicSetting::RetentionBytes]);
    }

    #[test]
    fn what_holds_already_can_be_set_to_that_and_nothing_else() {
        use Operation::{Append, Reset, Set, Subtract};
        for (name, operation, value, is_taken) in [
            ("cleanup.policy", Set, Some("delete"), true),
            ("cleanup.policy", Set, Some("compact"), false),
            ("cleanup.policy", Set, Some("compact,delete"), false),
            ("cleanup.policy", Append, Some("delete"), true),
            ("cleanup.policy", Append, Some("compact"), false),
            ("cleanup.policy", Subtract, Some("compact"), true),
            ("cleanup.policy", Subtract, Some("delete"), false),
            ("cleanup.policy", Reset, None, true),
            ("preallocate", Set, Some("FALSE"), true),
            ("flush.messages", Set, Some("1"), true),
            ("flush.messages", Set, Some("1000"), false),
            ("segment.bytes", Set, Some("1048576"), false),
            ("segment.bytes", Reset, None, true),
            ("retention.ms", Append, Some("1"), false),
            ("retention.ms", Set, Some("-2"), false),
            ("retention.ms", Set, Some("soon"), false),
            ("retention.ms", Set, None, false),
            ("max.message.bytes", Set, Some("-1"), false),
            ("no.such.setting", Reset, None, false),
        ] {
            let outcome = one(name, operation, value);
            assert_eq!(outcome.is_ok(), is_taken, "{name} {operation:?} {value:?}: {outcome:?}");
            if let Err(refused) = outcome {
                assert_eq!(refused.code, ResponseError::InvalidConfig);
                assert!(refused.message.unwrap().starts_with(name));
            }
        }
    }

    #[test]
    fn a_setting_is_named_once() {
        let wish = Wish { name: "retention.ms", operation: Operation::Set, value: Some("1000") };
        let refused = change(Durability::Synced, [wish.clone(), wish]).unwrap_err();
        assert_eq!(refused.code, ResponseError::InvalidRequest);
    }
}
