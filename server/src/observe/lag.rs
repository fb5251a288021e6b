//! [`GroupLag`]: how far consumer groups are behind, looked up when somebody scrapes.

use std::time::Duration;

use minikafka_broker::{Broker, GroupDescription, Lag};
use tokio::time::timeout;

use super::ASK_TIMEOUT;

/// Groups whose lag is told: clients choose the names, and each costs a look into the log for each of its
/// partitions. The first so many, by name.
const GROUPS_TOLD_MAX: usize = 100;

/// How far a group is behind.
#[derive(Debug)]
pub(super) struct GroupLag {
    pub(super) group: String,
    /// Messages that are there and not read, over all partitions with a position.
    pub(super) messages: u64,
    /// Age of the oldest of them.
    pub(super) age: Duration,
}

impl GroupLag {
    fn of(group: String, description: &GroupDescription) -> GroupLag {
        let lags = || description.positions.iter().filter_map(|position| position.lag);
        let messages = lags().map(|Lag { messages, .. }| messages).sum();
        let age = lags().map(|Lag { age, .. }| age).max().unwrap_or_default();
        GroupLag { group, messages, age }
    }

    /// Of the groups there are. What cannot be known in time is left out.
    pub(super) async fn all(broker: &Broker) -> Vec<GroupLag> {
        let mut lags = Vec::new();
        let ask = async {
            for summary in broker.groups("", GROUPS_TOLD_MAX) {
                // It may be gone by now, or a log cannot be read: then there is nothing to tell.
                if let Ok(description) = broker.describe_group(&summary.name).await {
                    lags.push(GroupLag::of(summary.name, &description));
                }
            }
        };
        let in_time = timeout(ASK_TIMEOUT, ask).await;
        if in_time.is_err() {
            tracing::debug!(told = lags.len(), "the lag of some groups is not told: there was no time");
        }
        lags
    }
}
