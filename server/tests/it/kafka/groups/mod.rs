//! Consumer groups, as Kafka clients see them.

mod across;
mod consumer;
mod consumer_positions;
mod consumer_trouble;
mod coordinator;
mod instances;
mod looking;
mod members;
mod positions;
mod restart;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse,
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        offset_fetch_response::OffsetFetchResponsePartition,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};

use super::client::{Client, name};
use crate::support::Fixture;

/// The session timeout of members that nobody waits for.
const SESSION_MS: i32 = 60_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// What a consumer says when it wants to read these topics.
fn subscription(topics: &[&str]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(-1);
    out.freeze()
}

/// What a leader says that a consumer is to read.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(1);
    out.put_i16(topic.len() as i16);
    out.put_slice(topic.as_bytes());
    out.put_i32(partitions.len() as i32);
    partitions.iter().for_each(|partition| out.put_i32(*partition));
    out.put_i32(-1);
    out.freeze()
}

fn protocol(name: &str, metadata: Bytes) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata)
}

/// A join of group "g" that reads topic "t".
fn join_request(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(SESSION_MS)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", subscription(&["t"]))])
}

/// A member of group "g" with a connection of its own.
struct Member {
    client: Client,
    id: StrBytes,
    generation: i32,
}

/// The request of a member that waits for others.
struct Joining(i32);
struct Syncing(i32);

impl Member {
    /// It has a name, and is no member yet.
    async fn new(fixture: &Fixture) -> Member {
        let mut client = Client::connect(fixture).await;
        let told = client.ask(9, &join_request("")).await;
        assert_eq!((told.error_code, told.generation_id), (79, -1));
        assert!(told.member_id.starts_with("test-"), "it begins with the client's name");
        Member { client, id: told.member_id, generation: -1 }
    }

    async fn begin_join(&mut self) -> Joining {
        Joining(self.client.send(9, &join_request(&self.id)).await)
    }

    async fn finish_join(&mut self, Joining(id): Joining) -> JoinGroupResponse {
        let joined = self.client.reply::<JoinGroupRequest>(9, id).await;
        assert_eq!(joined.error_code, 0);
        self.generation = joined.generation_id;
        joined
    }

    async fn join(&mut self) -> JoinGroupResponse {
        let joining = self.begin_join().await;
        self.finish_join(joining).await
    }

    async fn begin_sync(&mut self, assignments: &[(&str, Bytes)]) -> Syncing {
        let assignment = |(member, bytes): &(&str, Bytes)| {
            let of = SyncGroupRequestAssignment::default().with_member_id(text(member));
            of.with_assignment(bytes.clone())
        };
        let request = SyncGroupRequest::default()
            .with_group_id(group("g"))
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation)
            .with_assignments(assignments.iter().map(assignment).collect());
        Syncing(self.client.send(5, &request).await)
    }

    async fn finish_sync(&mut self, Syncing(id): Syncing) -> SyncGroupResponse {
        self.client.reply::<SyncGroupRequest>(5, id).await
    }

    async fn sync(&mut self, assignments: &[(&str, Bytes)]) -> SyncGroupResponse {
        let syncing = self.begin_sync(assignments).await;
        self.finish_sync(syncing).await
    }

    async fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation);
        self.client.ask(4, &request).await.error_code
    }

    /// Commits an offset of partition 0 of topic "t".
    async fn commit(&mut self, offset: i64) -> i16 {
        let request = commit_request(&[(0, offset, "")])
            .with_member_id(self.id.clone())
            .with_generation_id_or_member_epoch(self.generation);
        self.client.ask(9, &request).await.topics[0].partitions[0].error_code
    }

    async fn leave(mut self) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(group("g")).with_member_id(self.id.clone());
        self.client.ask(2, &request).await.error_code
    }
}

/// A topic "t" with messages, and a member that reads its partition 0 alone.
async fn alone(fixture: &Fixture) -> Member {
    topic(fixture).await;
    let mut member = Member::new(fixture).await;
    member.join().await;
    let id = member.id.clone();
    let synced = member.sync(&[(&id, assignment("t", &[0]))]).await;
    assert_eq!((synced.error_code, synced.assignment), (0, assignment("t", &[0])));
    member
}

/// A topic "t" of three messages.
async fn topic(fixture: &Fixture) {
    fixture.produce("t", &["a", "b", "c"]).await;
}

/// Commits of partitions of topic "t" in group "g": number, offset, metadata.
fn commit_request(positions: &[(i32, i64, &str)]) -> OffsetCommitRequest {
    let position = |(partition, offset, metadata): &(i32, i64, &str)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text(metadata)))
    };
    let partitions = positions.iter().map(position).collect();
    let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(partitions);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// What group "g" has stored for partition 0 of topic "t".
async fn fetched(client: &mut Client, version: i16) -> OffsetFetchResponsePartition {
    let topic = OffsetFetchRequestTopic::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![topic]));
    client.ask(version, &request).await.topics.remove(0).partitions.remove(0)
}
