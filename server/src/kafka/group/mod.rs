//! Consumer groups by Kafka's two protocols: members, positions, and looking after groups.
//!
//! ```text
//!   FindCoordinator ---------> this node, which has all groups
//!   JoinGroup, SyncGroup ----> wait, as a long poll does: what comes behind them on the connection waits, too
//!   Heartbeat, LeaveGroup
//!   ConsumerGroupHeartbeat       the newer protocol: joins, goes on and leaves, and waits for the disk at most
//!   OffsetCommit, OffsetFetch, OffsetDelete        positions: the same as at every other door
//!   ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups
//! ```
//!
//! The rules are the broker's (`broker/src/group`; of the classic protocol `broker/src/group/classic`); here is what they are in bytes. One file for each API.
//! What members tell one another goes through as it is; `consumer` takes a look, for those who look at groups.
//!
//! A wait ends early when the client hangs up, or the server stops. The member is not removed by that.

mod consumer;
pub(super) mod consumer_describe;
pub(super) mod consumer_heartbeat;
pub(super) mod delete_groups;
pub(super) mod describe_groups;
mod errors;
pub(super) mod find_coordinator;
pub(super) mod heartbeat;
pub(super) mod join;
pub(super) mod leave;
pub(super) mod list_groups;
pub(super) mod offset_commit;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod sync;

use std::{future::ready, sync::Arc};

use kafka_protocol::{
    messages::{ApiKey, ListGroupsRequest},
    protocol::StrBytes,
};
use minikafka_broker::{ClassicMember, Error};

use super::{
    dispatch::{Caller, Work, outcome},
    door::Door,
    large_reply,
    request::{Offence, Request},
};

/// Begins what a request about groups asks for.
///
/// # Errors
/// When the body cannot be read, or it is about something else.
pub(super) fn begin(door: Arc<Door>, caller: &Caller, request: Request) -> Result<Work, Offence> {
    let head = request.head;
    let version = head.version;
    Ok(match head.key {
        ApiKey::FindCoordinator => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &find_coordinator::find(&door, version, request)) })
        }
        ApiKey::JoinGroup => {
            let (caller, client_id) = (caller.clone(), request.client_id());
            let request = request.decode()?;
            Box::pin(
                async move { outcome(head, &join::join(&door, &caller, client_id, version, request).await) },
            )
        }
        ApiKey::SyncGroup => {
            let (caller, request) = (caller.clone(), request.decode()?);
            Box::pin(async move { outcome(head, &sync::sync(&door, &caller, version, request).await) })
        }
        ApiKey::Heartbeat => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &heartbeat::heartbeat(&door, request)) })
        }
        ApiKey::LeaveGroup => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &leave::leave(&door, version, request).await) })
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let (caller, client_id) = (caller.clone(), request.client_id());
            let request = request.decode()?;
            Box::pin(async move {
                let beat = consumer_heartbeat::heartbeat(&door, &caller, client_id, version, request);
                outcome(head, &beat.await)
            })
        }
        ApiKey::ConsumerGroupDescribe => {
            let request = request.decode()?;
            Box::pin(async move {
                let describe = |request| ready(consumer_describe::describe(&door, version, request));
                large_reply::outcome(&door, head, request, describe).await
            })
        }
        ApiKey::OffsetCommit => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &offset_commit::commit(&door, version, request).await) })
        }
        ApiKey::OffsetFetch => {
            let request = request.decode()?;
            Box::pin(async move {
                let describe = |request| ready(offset_fetch::fetch(&door, version, request));
                large_reply::outcome(&door, head, request, describe).await
            })
        }
        ApiKey::OffsetDelete => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &offset_delete::delete(&door, request).await) })
        }
        ApiKey::ListGroups => {
            let request = request.decode()?;
            Box::pin(async move {
                let describe =
                    |request: ListGroupsRequest| ready(list_groups::list(&door, version, &request));
                large_reply::outcome(&door, head, request, describe).await
            })
        }
        ApiKey::DescribeGroups => {
            let request = request.decode()?;
            Box::pin(async move {
                let describe = |request| ready(describe_groups::describe(&door, version, request));
                large_reply::outcome(&door, head, request, describe).await
            })
        }
        ApiKey::DeleteGroups => {
            let request = request.decode()?;
            Box::pin(async move { outcome(head, &delete_groups::delete(&door, request).await) })
        }
        key => return Err(Offence::Unknown { key: key as i16, version }),
    })
}

/// The member that speaks.
fn member(
    group: &str,
    member_id: &StrBytes,
    instance_id: Option<StrBytes>,
    generation: i32,
) -> ClassicMember {
    ClassicMember {
        group: group.to_owned(),
        member_id: member_id.to_string(),
        instance_id: instance_id.map(|id| id.to_string()),
        generation,
    }
}

/// Waits for other members, until the client hangs up.
async fn wait<T>(caller: &Caller, waiting: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        outcome = waiting => outcome,
        // Nobody hears this, unless the server stops.
        () = caller.gone.cancelled() => Err(Error::Stopping),
    }
}

fn text(text: String) -> StrBytes {
    StrBytes::from_string(text)
}
