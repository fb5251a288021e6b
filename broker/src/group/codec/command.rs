//! Commands.

use super::parts::{
    PartitionsRecord, PositionsRecord, TopicRecord, put_partitions, put_positions, take_partitions,
    take_positions, topic_id,
};
use crate::{
    group::core::{Because, Command, Commit, Committer, Join, NamedView, Returning, Subscribe},
    machine::FormatError,
};

/// A command.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CommandRecord {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Join(JoinRecord),
    #[prost(message, tag = "2")]
    Subscribe(SubscribeRecord),
    #[prost(message, tag = "3")]
    Confirm(ConfirmRecord),
    #[prost(message, tag = "4")]
    Remove(RemoveRecord),
    #[prost(message, tag = "5")]
    Commit(CommitRecord),
    #[prost(message, tag = "6")]
    Delete(GroupRecord),
    #[prost(message, tag = "7")]
    Forget(ForgetRecord),
    #[prost(message, tag = "8")]
    SetTopics(TopicsRecord),
    #[prost(message, tag = "9")]
    DropTopics(TopicsRecord),
    #[prost(message, tag = "10")]
    Occupy(GroupRecord),
    #[prost(message, tag = "11")]
    Vacate(VacateRecord),
    #[prost(message, tag = "12")]
    DropPositions(DropPositionsRecord),
}

#[derive(Clone, PartialEq, prost::Message)]
struct JoinRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    member_id: String,
    #[prost(message, optional, tag = "3")]
    returning: Option<ReturningRecord>,
    #[prost(string, tag = "4")]
    instance_id: String,
    #[prost(string, tag = "5")]
    client_id: String,
    #[prost(string, repeated, tag = "6")]
    topics: Vec<String>,
    #[prost(uint32, tag = "7")]
    session_timeout_ms: u32,
    #[prost(uint32, tag = "8")]
    rebalance_timeout_ms: u32,
    #[prost(message, repeated, tag = "9")]
    views: Vec<TopicRecord>,
    #[prost(string, tag = "10")]
    pattern: String,
    #[prost(bool, tag = "11")]
    is_self_named: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReturningRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(message, repeated, tag = "2")]
    owned: Vec<PartitionsRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    member_id: String,
    #[prost(string, repeated, tag = "3")]
    topics: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    views: Vec<TopicRecord>,
    #[prost(uint64, optional, tag = "5")]
    session: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfirmRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    member_id: String,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(message, repeated, tag = "4")]
    owned: Vec<PartitionsRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RemoveRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    member_id: String,
    #[prost(oneof = "BecauseRecord", tags = "3, 4, 5")]
    because: Option<BecauseRecord>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
enum BecauseRecord {
    #[prost(uint64, tag = "3")]
    Left(u64),
    #[prost(uint64, tag = "4")]
    Silent(u64),
    #[prost(int64, tag = "5")]
    HeldOn(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommitRecord {
    #[prost(string, tag = "1")]
    group: String,
    /// Nobody of the group when there is neither this nor `classic`.
    #[prost(message, optional, tag = "2")]
    by: Option<CommitterRecord>,
    #[prost(message, repeated, tag = "3")]
    positions: Vec<PositionsRecord>,
    /// The name of a classic member.
    #[prost(string, optional, tag = "4")]
    classic: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VacateRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(uint64, tag = "2")]
    occupation: u64,
    #[prost(uint64, tag = "3")]
    generation: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DropPositionsRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, repeated, tag = "2")]
    of: Vec<PartitionsRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommitterRecord {
    #[prost(string, tag = "1")]
    member_id: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GroupRecord {
    #[prost(string, tag = "1")]
    group: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForgetRecord {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(int64, tag = "2")]
    empty_since: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TopicsRecord {
    #[prost(message, repeated, tag = "1")]
    topics: Vec<TopicRecord>,
}

impl From<&Command> for CommandRecord {
    fn from(command: &Command) -> CommandRecord {
        let kind = match command.clone() {
            Command::Join(join) => Kind::Join(join.into()),
            Command::Subscribe(of) => Kind::Subscribe(SubscribeRecord {
                group: of.group,
                member_id: of.member_id,
                topics: of.topics.into_iter().collect(),
                views: of.views.iter().map(TopicRecord::from).collect(),
                session: of.session,
            }),
            Command::Confirm { group, member_id, epoch, owned } => {
                Kind::Confirm(ConfirmRecord { group, member_id, epoch, owned: put_partitions(&owned) })
            }
            Command::Remove { group, member_id, because } => {
                let because = match because {
                    Because::Left { session } => BecauseRecord::Left(session),
                    Because::Silent { session } => BecauseRecord::Silent(session),
                    Because::HeldOn { revoking_since } => BecauseRecord::HeldOn(revoking_since),
                };
                Kind::Remove(RemoveRecord { group, member_id, because: Some(because) })
            }
            Command::Commit(Commit { group, by, positions }) => {
                let (by, classic) = match by {
                    Committer::Member { id, epoch } => (Some(CommitterRecord { member_id: id, epoch }), None),
                    Committer::Classic { id } => (None, Some(id)),
                    Committer::Outsider => (None, None),
                };
                Kind::Commit(CommitRecord { group, by, positions: put_positions(&positions), classic })
            }
            Command::DropPositions { group, of } => {
                Kind::DropPositions(DropPositionsRecord { group, of: put_partitions(&of) })
            }
            Command::Occupy { group } => Kind::Occupy(GroupRecord { group }),
            Command::Vacate { group, occupation, generation } => {
                Kind::Vacate(VacateRecord { group, occupation, generation })
            }
            Command::Delete { group } => Kind::Delete(GroupRecord { group }),
            Command::Forget { group, empty_since } => Kind::Forget(ForgetRecord { group, empty_since }),
            Command::SetTopics { views } => {
                Kind::SetTopics(TopicsRecord { topics: views.iter().map(TopicRecord::from).collect() })
            }
            Command::DropTopics { topics } => {
                let record = |(topic, id): (String, minikafka_storage::TopicId)| TopicRecord {
                    topic,
                    topic_id: id.as_bytes().to_vec(),
                    partitions: 0,
                };
                Kind::DropTopics(TopicsRecord { topics: topics.into_iter().map(record).collect() })
            }
        };
        CommandRecord { kind: Some(kind) }
    }
}

impl From<Join> for JoinRecord {
    fn from(join: Join) -> JoinRecord {
        let returning = join.returning.map(|returning| ReturningRecord {
            epoch: returning.epoch,
            owned: put_partitions(&returning.owned),
        });
        JoinRecord {
            group: join.group,
            member_id: join.member_id,
            returning,
            instance_id: join.instance_id,
            client_id: join.client_id,
            topics: join.topics.into_iter().collect(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            views: join.views.iter().map(TopicRecord::from).collect(),
            pattern: join.pattern,
            is_self_named: join.is_self_named,
        }
    }
}

impl TryFrom<CommandRecord> for Command {
    type Error = FormatError;

    fn try_from(record: CommandRecord) -> Result<Command, FormatError> {
        let kind =
            record.kind.ok_or_else(|| FormatError::new("a command about groups of an unknown kind"))?;
        Ok(match kind {
            Kind::Join(join) => Command::Join(join.try_into()?),
            Kind::Subscribe(of) => Command::Subscribe(Subscribe {
                group: of.group,
                member_id: of.member_id,
                session: of.session,
                topics: of.topics.into_iter().collect(),
                views: take_views(of.views)?,
            }),
            Kind::Confirm(ConfirmRecord { group, member_id, epoch, owned }) => {
                Command::Confirm { group, member_id, epoch, owned: take_partitions(&owned) }
            }
            Kind::Remove(RemoveRecord { group, member_id, because }) => {
                let because = match because {
                    Some(BecauseRecord::Left(session)) => Because::Left { session },
                    Some(BecauseRecord::Silent(session)) => Because::Silent { session },
                    Some(BecauseRecord::HeldOn(revoking_since)) => Because::HeldOn { revoking_since },
                    None => return Err(FormatError::new("a member is removed for an unknown reason")),
                };
                Command::Remove { group, member_id, because }
            }
            Kind::Commit(CommitRecord { group, by, positions, classic }) => {
                let by = match (by, classic) {
                    (Some(CommitterRecord { member_id, epoch }), _) => {
                        Committer::Member { id: member_id, epoch }
                    }
                    (None, Some(id)) => Committer::Classic { id },
                    (None, None) => Committer::Outsider,
                };
                Command::Commit(Commit { group, by, positions: take_positions(positions)? })
            }
            Kind::DropPositions(DropPositionsRecord { group, of }) => {
                Command::DropPositions { group, of: take_partitions(&of) }
            }
            Kind::Occupy(GroupRecord { group }) => Command::Occupy { group },
            Kind::Vacate(VacateRecord { group, occupation, generation }) => {
                Command::Vacate { group, occupation, generation }
            }
            Kind::Delete(GroupRecord { group }) => Command::Delete { group },
            Kind::Forget(ForgetRecord { group, empty_since }) => Command::Forget { group, empty_since },
            Kind::SetTopics(TopicsRecord { topics }) => Command::SetTopics { views: take_views(topics)? },
            Kind::DropTopics(TopicsRecord { topics }) => {
                let topics = topics.into_iter().map(|record| Ok((record.topic, topic_id(&record.topic_id)?)));
                Command::DropTopics { topics: topics.collect::<Result<_, FormatError>>()? }
            }
        })
    }
}

impl TryFrom<JoinRecord> for Join {
    type Error = FormatError;

    fn try_from(record: JoinRecord) -> Result<Join, FormatError> {
        let returning = record
            .returning
            .map(|returning| Returning { epoch: returning.epoch, owned: take_partitions(&returning.owned) });
        Ok(Join {
            group: record.group,
            member_id: record.member_id,
            returning,
            instance_id: record.instance_id,
            client_id: record.client_id,
            topics: record.topics.into_iter().collect(),
            pattern: record.pattern,
            is_self_named: record.is_self_named,
            session_timeout_ms: record.session_timeout_ms,
            rebalance_timeout_ms: record.rebalance_timeout_ms,
            views: take_views(record.views)?,
        })
    }
}

fn take_views(records: Vec<TopicRecord>) -> Result<Vec<NamedView>, FormatError> {
    records.into_iter().map(NamedView::try_from).collect()
}
