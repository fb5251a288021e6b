//! Settings of topics, on the wire and in the broker.

use std::time::Duration;

use minikafka_broker::{Limit, SettingSource, TopicChange, TopicSetting, TopicSettings};
use minikafka_proto::v1::{
    AlterTopicRequest, SettingSource as WireSource, TopicSetting as WireSetting,
    TopicSettings as WireSettings,
};

use super::refusal::Refusal;

/// Stands for "no limit".
const UNLIMITED: i64 = -1;

/// Settings of a request; the broker checks what each may be.
pub(super) fn settings(wire: Option<WireSettings>) -> Result<TopicSettings, Refusal> {
    let wire = wire.unwrap_or_default();
    let retention = wire.retention_ms.map(|ms| limit(TopicSetting::Retention, ms)).transpose()?;
    let retention_bytes = wire.retention_bytes.map(|bytes| limit(TopicSetting::RetentionBytes, bytes));
    Ok(TopicSettings {
        retention: retention.map(|limit| match limit {
            Limit::Unlimited => Limit::Unlimited,
            Limit::At(ms) => Limit::At(Duration::from_millis(ms)),
        }),
        retention_bytes: retention_bytes.transpose()?,
        message_bytes_max: wire.message_bytes_max,
    })
}

/// What a request asks to change.
pub(super) fn change(request: &AlterTopicRequest) -> Result<TopicChange, Refusal> {
    let reset = request.reset.iter().map(|setting| match WireSetting::try_from(*setting) {
        Ok(WireSetting::RetentionMs) => Ok(TopicSetting::Retention),
        Ok(WireSetting::RetentionBytes) => Ok(TopicSetting::RetentionBytes),
        Ok(WireSetting::MessageBytesMax) => Ok(TopicSetting::MessageBytesMax),
        Ok(WireSetting::Unspecified) | Err(_) => {
            Err(Refusal::invalid_request(format!("there is no setting {setting} that could be reset")))
        }
    });
    Ok(TopicChange {
        partitions: request.partitions,
        set: settings(request.set)?,
        reset: reset.collect::<Result<_, _>>()?,
    })
}

pub(super) fn source(source: SettingSource) -> WireSource {
    match source {
        SettingSource::Server => WireSource::Server,
        SettingSource::Topic => WireSource::Topic,
    }
}

fn limit(setting: TopicSetting, number: i64) -> Result<Limit<u64>, Refusal> {
    match u64::try_from(number) {
        Ok(number) => Ok(Limit::At(number)),
        Err(_) if number == UNLIMITED => Ok(Limit::Unlimited),
        Err(_) => Err(Refusal::invalid_setting(
            setting,
            format!("{number} is negative: {UNLIMITED} alone stands for no limit"),
        )),
    }
}
