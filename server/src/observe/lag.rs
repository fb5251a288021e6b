//! The lag of consumer groups, looked up when somebody scrapes.

use std::time::Duration;

use minikafka_broker::GroupLag;

use super::Observed;

/// Groups whose lag is told, the first so many by name: clients choose the names, and a page has to be read.
const GROUPS_TOLD_MAX: usize = 1000;
/// How long the partitions and logs may be looked at. Half of what a scrape has for them: a disk that answers slowly costs
/// the ages of some groups, one that does not answer at all costs all of them.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// What is known of the lag of groups.
#[derive(Debug, Default)]
pub(super) struct Lags {
    pub(super) groups: Vec<GroupLag>,
    /// Groups there are beside them.
    pub(super) untold: u64,
}

impl Lags {
    /// Of the groups there are, `count` of them.
    pub(super) async fn look(observed: &Observed, count: u64) -> Lags {
        let look = |broker: &minikafka_broker::Broker| broker.group_lags(GROUPS_TOLD_MAX, LOOK_TIME);
        let groups = observed.ask(look).await.unwrap_or_default();
        Lags { untold: count.saturating_sub(groups.len() as u64), groups }
    }

    /// Groups of which it is not known how old what they have not read is.
    pub(super) fn without_age(&self) -> u64 {
        let ageless = self.groups.iter().filter(|group| group.age.is_none()).count();
        self.untold + ageless as u64
    }
}
