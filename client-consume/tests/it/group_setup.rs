//! What tests of groups on a real server say often.

use std::{collections::BTreeMap, time::Duration};

use minikafka_client_connection::{GroupClient, connect_to_groups};
use minikafka_client_consume::{GroupConsumer, GroupConsumerBuilder, Position};
use minikafka_proto::v1::{DescribeGroupRequest, DescribeGroupResponse};

use crate::{
    reading::LONG,
    setup::{Rig, Seen},
};

impl Rig {
    pub(crate) async fn groups(&self) -> GroupClient {
        connect_to_groups(self.host().parse().unwrap()).await.unwrap()
    }

    /// Options of a member that starts at the first message, and looks alive often.
    pub(crate) fn member(&self, group: &str) -> GroupConsumerBuilder {
        GroupConsumer::builder(&self.host(), group)
            .start(Position::Earliest)
            .session_timeout(Duration::from_secs(5))
    }

    pub(crate) async fn describe_group(&self, group: &str) -> DescribeGroupResponse {
        let request = DescribeGroupRequest { group: group.into(), ..DescribeGroupRequest::default() };
        self.groups().await.describe_group(request).await.unwrap().into_inner()
    }

    /// The positions that a group has stored in a topic, by partition.
    pub(crate) async fn positions(&self, group: &str, topic: &str) -> BTreeMap<u32, u64> {
        let described = self.describe_group(group).await;
        let of_topic = described.positions.into_iter().filter(|position| position.topic == topic);
        of_topic.filter_map(|position| Some((position.partition, position.number?))).collect()
    }
}

/// Polls until so many messages have come.
pub(crate) async fn read(consumer: &mut GroupConsumer, count: usize) -> Seen {
    let mut seen = Seen::default();
    let reading = async {
        while seen.count() < count {
            seen.add(&consumer.poll(LONG).await.unwrap());
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("messages come");
    seen
}

/// Polls members in turn until it is as wished; what comes meanwhile is returned.
pub(crate) async fn settle(
    members: &mut [&mut GroupConsumer],
    is_as_wished: impl Fn(&[&mut GroupConsumer]) -> bool,
) -> Seen {
    let mut seen = Seen::default();
    let settling = async {
        while !is_as_wished(members) {
            for member in members.iter_mut() {
                seen.add(&member.poll(Duration::from_millis(5)).await.unwrap());
            }
        }
    };
    tokio::time::timeout(LONG, settling).await.expect("the group settles");
    seen
}

/// A topic of four partitions with ten messages each.
pub(crate) async fn rig() -> Rig {
    let rig = Rig::start().await;
    rig.create("t", 4).await;
    for partition in 0..4 {
        rig.produce("t", partition, 1..=10).await;
    }
    rig
}

/// How many partitions each member has.
pub(crate) fn shares(members: &[&mut GroupConsumer]) -> Vec<usize> {
    members.iter().map(|member| member.partitions().count()).collect()
}
