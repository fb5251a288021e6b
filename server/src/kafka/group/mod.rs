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

use kafka_protocol::{messages::ApiKey, protocol::StrBytes};
use minikafka_broker::{ClassicMember, Error};

use super::{
    dispatch::{Caller, Work},
    door::Door,
    large_reply::{described, told},
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
            told!(door, request, |door, request| ready(find_coordinator::find(door, version, request)))
        }
        ApiKey::JoinGroup => {
            let (caller, client_id) = (caller.clone(), request.client_id());
            told!(door, request, |door, request| join::join(door, &caller, client_id, version, request))
        }
        ApiKey::SyncGroup => {
            let caller = caller.clone();
            told!(door, request, |door, request| sync::sync(door, &caller, version, request))
        }
        ApiKey::Heartbeat => told!(door, request, |door, request| ready(heartbeat::heartbeat(door, request))),
        ApiKey::LeaveGroup => told!(door, request, |door, request| leave::leave(door, version, request)),
        ApiKey::ConsumerGroupHeartbeat => {
            let (caller, client_id) = (caller.clone(), request.client_id());
            told!(door, request, |door, request| {
                consumer_heartbeat::heartbeat(door, &caller, client_id, version, request)
            })
        }
        ApiKey::OffsetCommit => {
            told!(door, request, |door, request| offset_commit::commit(door, version, request))
        }
        ApiKey::OffsetDelete => told!(door, request, |door, request| offset_delete::delete(door, request)),
        ApiKey::DeleteGroups => told!(door, request, |door, request| delete_groups::delete(door, request)),
        ApiKey::ConsumerGroupDescribe => described!(door, request, |door, request| ready(
            consumer_describe::describe(door, version, request)
        )),
        ApiKey::OffsetFetch => {
            described!(door, request, |door, request| ready(offset_fetch::fetch(door, version, request)))
        }
        ApiKey::ListGroups => {
            described!(door, request, |door, request| ready(list_groups::list(door, version, request)))
        }
        ApiKey::DescribeGroups => described!(door, request, |door, request| ready(
            describe_groups::describe(door, version, request)
        )),
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
