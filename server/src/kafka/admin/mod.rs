//! Administration: topics are made, changed and deleted, and what holds for them is looked at, all of it by the same
//! functions of the broker as at every other door.
//!
//! Each request names several things and gets a result for each; what is named twice gets one, which refuses it. A
//! change is durable before its result is told, so the time that a client allows for it is of no use here. What is
//! only to be validated goes through the same checks and changes nothing.

mod assignment;
pub(super) mod cluster;
pub(super) mod config;
pub(super) mod config_resources;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod leader_epoch;
pub(super) mod log_dirs;
mod once;
pub(super) mod producers;
pub(super) mod topic_partitions;

use std::sync::Arc;

use kafka_protocol::messages::{ApiKey, CreateTopicsRequest};

use super::{
    dispatch::Work,
    door::Door,
    large_reply::{self, described, told},
    request::{Offence, Request},
};

/// Whether something is to be done, or only to be found out whether it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Do,
    Validate,
}

impl Purpose {
    fn of(validate_only: bool) -> Purpose {
        if validate_only { Purpose::Validate } else { Purpose::Do }
    }
}

/// Begins what a request asks for.
///
/// # Errors
/// When the body cannot be read, or it is no request of these.
pub(super) fn begin(door: Arc<Door>, request: Request) -> Result<Work, Offence> {
    let version = request.head.version;
    Ok(match request.head.key {
        ApiKey::CreateTopics => {
            let (head, request) = (request.head, request.decode::<CreateTopicsRequest>()?);
            Box::pin(async move {
                if request.validate_only {
                    let validate = |request| create_topics::create(&door, version, request);
                    return large_reply::describe(&door, head, request, validate).await;
                }
                let created = create_topics::create(&door, version, request).await;
                large_reply::tell(&door, head, &created).await
            })
        }
        ApiKey::DeleteTopics => {
            told!(door, request, |door, request| delete_topics::delete(door, version, request))
        }
        ApiKey::CreatePartitions => {
            told!(door, request, |door, request| create_partitions::create(door, version, request))
        }
        ApiKey::DeleteRecords => {
            told!(door, request, |door, request| delete_records::delete(door, version, request))
        }
        ApiKey::DescribeConfigs => {
            described!(door, request, |door, request| config::describe::describe(door, version, request))
        }
        ApiKey::AlterConfigs => {
            told!(door, request, |door, request| config::alter::replace(door, version, request))
        }
        ApiKey::IncrementalAlterConfigs => {
            told!(door, request, |door, request| config::alter::change(door, version, request))
        }
        ApiKey::ListConfigResources => {
            described!(door, request, |door, request| config_resources::list(door, version, request))
        }
        ApiKey::DescribeCluster => {
            told!(door, request, |door, request| cluster::describe(door, version, request))
        }
        ApiKey::DescribeLogDirs => {
            described!(door, request, |door, request| log_dirs::describe(door, version, request))
        }
        ApiKey::OffsetForLeaderEpoch => {
            told!(door, request, |door, request| leader_epoch::look_up(door, version, request))
        }
        ApiKey::DescribeProducers => {
            described!(door, request, |door, request| producers::describe(door, version, request))
        }
        ApiKey::DescribeTopicPartitions => {
            described!(door, request, |door, request| topic_partitions::describe(door, version, request))
        }
        key => return Err(Offence::Unknown { key: key as i16, version }),
    })
}
