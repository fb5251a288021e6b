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
    large_reply,
    request::{Offence, Request},
};

/// Decodes a request, and leaves it to `$answer`.
macro_rules! work {
    ($door:ident, $request:ident, $answer:path) => {{
        let head = $request.head;
        let request = $request.decode()?;
        Box::pin(async move {
            let response = $answer(&$door, head.version, request).await;
            large_reply::tell(&$door, head, &response).await
        })
    }};
}

/// The same for what may be described at length.
macro_rules! description {
    ($door:ident, $request:ident, $answer:path) => {{
        let head = $request.head;
        let request = $request.decode()?;
        Box::pin(async move {
            let describe = |request| $answer(&$door, head.version, request);
            large_reply::describe(&$door, head, request, describe).await
        })
    }};
}

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
    Ok(match request.head.key {
        ApiKey::CreateTopics => {
            let (head, request) = (request.head, request.decode::<CreateTopicsRequest>()?);
            Box::pin(async move {
                if request.validate_only {
                    let validate = |request| create_topics::create(&door, head.version, request);
                    return large_reply::describe(&door, head, request, validate).await;
                }
                let created = create_topics::create(&door, head.version, request).await;
                large_reply::tell(&door, head, &created).await
            })
        }
        ApiKey::DeleteTopics => work!(door, request, delete_topics::delete),
        ApiKey::CreatePartitions => work!(door, request, create_partitions::create),
        ApiKey::DeleteRecords => work!(door, request, delete_records::delete),
        ApiKey::DescribeConfigs => description!(door, request, config::describe::describe),
        ApiKey::AlterConfigs => work!(door, request, config::alter::replace),
        ApiKey::IncrementalAlterConfigs => work!(door, request, config::alter::change),
        ApiKey::ListConfigResources => description!(door, request, config_resources::list),
        ApiKey::DescribeCluster => work!(door, request, cluster::describe),
        ApiKey::DescribeLogDirs => description!(door, request, log_dirs::describe),
        ApiKey::OffsetForLeaderEpoch => work!(door, request, leader_epoch::look_up),
        ApiKey::DescribeProducers => description!(door, request, producers::describe),
        ApiKey::DescribeTopicPartitions => description!(door, request, topic_partitions::describe),
        key => return Err(Offence::Unknown { key: key as i16, version: request.head.version }),
    })
}
