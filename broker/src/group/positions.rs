//! Positions: stored, asked for, moved.

use std::collections::{BTreeMap, BTreeSet};

use minikafka_record::Offset;

use super::{
    api::{PositionToStore, PositionsBy, SeekMode, SeekTo, SoughtPosition, StoredPosition, TopicPartition},
    core::{
        Command, Commit, Committer, GroupError, NewPosition, PartitionMap, Position,
        limits::{COMMIT_METADATA_BYTES_MAX, METADATA_BYTES_MAX, POSITIONS_MAX},
    },
    membership::{Waiting, check_group_name},
};
use crate::{Broker, Error, Partition};

impl Broker {
    /// Stores positions of a group: all of them, or none; durable on return. For an outsider the group is created
    /// when it is not there.
    ///
    /// # Errors
    /// [`Error::TopicNotFound`], [`Error::PartitionNotFound`], [`Error::InvalidRequest`], [`Error::Group`] with the
    /// reason, or when it cannot be stored.
    pub async fn commit_positions(
        &self,
        group: &str,
        by: PositionsBy,
        positions: Vec<PositionToStore>,
    ) -> Result<(), Error> {
        self.check_running()?;
        check_group_name(group)?;
        let checked = self.check_positions(positions);
        // Last, so that no generation ends between this and the log's turn.
        let (by, _committing) = match by {
            PositionsBy::Member { member_id, epoch } => (Committer::Member { id: member_id, epoch }, None),
            PositionsBy::Classic(by) => {
                let id = by.member_id.clone();
                let committing = self.0.groups.begin_classic_commit(by)?;
                (Committer::Classic { id }, Some(committing))
            }
            PositionsBy::Outsider => (Committer::Outsider, None),
        };
        let speaks = match &by {
            Committer::Member { id, .. } => self.0.groups.self_named(group, id),
            Committer::Classic { .. } | Committer::Outsider => None,
        };
        // What it says next waits behind this, which is not its fault.
        let _waiting = speaks.as_ref().map(|(key, session)| Waiting::new(&self.0.groups, key, *session));
        self.store_positions(group, by, checked?).await
    }

    async fn store_positions(
        &self,
        group: &str,
        by: Committer,
        positions: PartitionMap<NewPosition>,
    ) -> Result<(), Error> {
        let is_outsider = by == Committer::Outsider;
        let command = Command::Commit(Commit { group: group.to_owned(), by, positions });
        // A member's commit concerns nobody else, so nothing is to be done after it that could be missed.
        match is_outsider {
            true => self.0.groups.submit(command).await?,
            false => self.0.groups.submit_here(command).await?,
        };
        Ok(())
    }

    fn check_positions(&self, positions: Vec<PositionToStore>) -> Result<PartitionMap<NewPosition>, Error> {
        if positions.len() > POSITIONS_MAX {
            return Err(Error::InvalidRequest(format!(
                "{} positions in one commit, there may be {POSITIONS_MAX}",
                positions.len()
            )));
        }
        let mut checked: PartitionMap<NewPosition> = PartitionMap::default();
        let mut metadata_bytes = 0;
        for PositionToStore { of: TopicPartition { topic, partition }, offset, metadata } in positions {
            let found = self.partition(&topic, Some(partition))?;
            let end = found.bounds().high_watermark;
            if offset > end {
                let (number, end) = (offset.number(), end.number());
                return Err(GroupError::PositionOutOfRange { topic, partition, number, end }.into());
            }
            metadata_bytes += metadata.len();
            for (len, max) in
                [(metadata.len(), METADATA_BYTES_MAX), (metadata_bytes, COMMIT_METADATA_BYTES_MAX)]
            {
                if len > max {
                    return Err(GroupError::MetadataTooLarge { len, max }.into());
                }
            }
            if checked.contains(&topic, partition) {
                return Err(Error::InvalidRequest(format!(
                    "topic \"{topic}\" partition {partition} has two positions in one commit"
                )));
            }
            checked.insert(&topic, partition, NewPosition { topic_id: found.topic_id(), offset, metadata });
        }
        Ok(checked)
    }

    /// Checks that a member that has no stream may begin at positions of a group: with an older epoch than its newest, at
    /// those only of what it has had since then.
    ///
    /// # Errors
    /// [`Error::Group`] with the reason.
    pub fn check_member_reads(
        &self,
        group: &str,
        member_id: &str,
        epoch: u64,
        of: Option<&[TopicPartition]>,
    ) -> Result<(), Error> {
        check_group_name(group)?;
        let checked = self.0.groups.machine.read(|groups| {
            let unknown = || {
                let (group, member_id) = (group.to_owned(), member_id.to_owned());
                GroupError::UnknownMember { group, member_id }
            };
            // Of a group without such members, whoever asks is told: as Kafka does, also a classic one with its generation.
            let Some(found) = groups.get(group).filter(|found| !found.members.is_empty()) else {
                return Ok(());
            };
            let member = found.members.get(member_id).filter(|member| member.is_self_named);
            let member = member.ok_or_else(unknown)?;
            member.check_reads(group, member_id, epoch, of.unwrap_or_default())
        });
        Ok(checked?)
    }

    /// Whether a group has this member, and it is one that has no stream.
    pub fn has_member(&self, group: &str, member_id: &str) -> bool {
        self.0.groups.self_named(group, member_id).is_some()
    }

    /// Positions of a group, ordered: of these partitions, or all with `None`. Those without one are left out.
    ///
    /// # Errors
    /// When the group is not there, or a partition that is named.
    pub fn group_positions(
        &self,
        group: &str,
        of: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, StoredPosition)>, Error> {
        check_group_name(group)?;
        for TopicPartition { topic, partition } in of.into_iter().flatten() {
            self.check_partition(topic, *partition)?;
        }
        let wanted: Option<BTreeSet<(&str, u32)>> =
            of.map(|of| of.iter().map(|of| (of.topic.as_str(), of.partition)).collect());
        let stored = self.0.groups.machine.read(|groups| {
            let positions = groups.require(group)?.positions.iter();
            let positions = positions.filter(|(topic, number, _)| {
                wanted.as_ref().is_none_or(|wanted| wanted.contains(&(*topic, *number)))
            });
            let found = positions
                .map(|(topic, number, position)| (TopicPartition::new(topic, number), position.clone()));
            Ok::<_, GroupError>(found.collect::<Vec<_>>())
        })?;
        let is_current = |(of, position): &(TopicPartition, Position)| self.is_of(of, position);
        Ok(stored.into_iter().filter(is_current).map(|(of, position)| (of, position.into())).collect())
    }

    /// Whether a position is of the topic that has its name today.
    pub(super) fn is_of(&self, of: &TopicPartition, position: &Position) -> bool {
        self.0.topics.get(&of.topic).is_some_and(|topic| topic.id == position.topic_id)
    }

    /// Moves positions of a group without members, or shows where they would go: of whole topics, and of single
    /// partitions beside them; of all that are stored when neither is named. The group is created when it is not
    /// there.
    ///
    /// # Errors
    /// When the group has members, also for a preview, a topic or partition is not there, or a log cannot be read.
    pub async fn seek_group(
        &self,
        group: &str,
        topics: &[String],
        partitions: &[TopicPartition],
        to: SeekTo,
        mode: SeekMode,
    ) -> Result<Vec<SoughtPosition>, Error> {
        self.check_running()?;
        check_group_name(group)?;
        // What is shown is what would be done; whether it still may, those only know who move it.
        self.0
            .groups
            .machine
            .read(|groups| groups.get(group).map_or(Ok(()), |found| found.check_empty(group)))?;
        let before: BTreeMap<TopicPartition, StoredPosition> = match self.group_positions(group, None) {
            Err(Error::Group(GroupError::NotFound(_))) if !topics.is_empty() || !partitions.is_empty() => {
                BTreeMap::new()
            }
            found => found?.into_iter().collect(),
        };
        let mut wanted: BTreeSet<TopicPartition> = partitions.iter().cloned().collect();
        for topic in topics {
            let count = self.describe_topic(topic)?.summary.partitions;
            wanted.extend((0..count).map(|number| TopicPartition::new(topic, number)));
        }
        if topics.is_empty() && partitions.is_empty() {
            wanted.extend(before.keys().cloned());
        }
        if wanted.len() > POSITIONS_MAX {
            return Err(Error::InvalidRequest(format!(
                "{} positions at once, there may be {POSITIONS_MAX}",
                wanted.len()
            )));
        }
        let (mut sought, mut positions) = (Vec::new(), PartitionMap::default());
        for of in wanted {
            let partition = self.partition(&of.topic, Some(of.partition))?;
            let offset = place(&partition, to).await?;
            let position = NewPosition { topic_id: partition.topic_id(), offset, metadata: String::new() };
            positions.insert(&of.topic, of.partition, position);
            let from = before.get(&of).map(|position| position.offset);
            sought.push(SoughtPosition { of, from, to: offset });
        }
        if mode == SeekMode::Move {
            self.store_positions(group, Committer::Outsider, positions).await?;
        }
        Ok(sought)
    }

    /// Lets go of positions of a group whose members, if it has any, do not read the topics; durable on return.
    /// Those that are not stored are none.
    ///
    /// # Errors
    /// When the group is not there, a topic is read, or that cannot be stored.
    pub async fn drop_positions(&self, group: &str, of: &[TopicPartition]) -> Result<(), Error> {
        self.check_running()?;
        check_group_name(group)?;
        if let Some(read) = of.iter().find(|of| self.0.groups.classic().may_read(group, &of.topic)) {
            let (group, topic) = (group.to_owned(), read.topic.clone());
            return Err(GroupError::TopicInUse { group, topic }.into());
        }
        let of = of.iter().map(|of| (of.topic.as_str(), of.partition)).collect();
        self.0.groups.submit(Command::DropPositions { group: group.to_owned(), of }).await?;
        Ok(())
    }

    /// Deletes a group without members, and its positions; durable on return.
    ///
    /// # Errors
    /// When the group is not there or has members, or that cannot be stored.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.check_running()?;
        check_group_name(group)?;
        self.0.groups.submit(Command::Delete { group: group.to_owned() }).await?;
        Ok(())
    }
}

/// An offset that is there.
async fn place(partition: &Partition, to: SeekTo) -> Result<Offset, Error> {
    let bounds = partition.bounds();
    Ok(match to {
        SeekTo::Earliest => bounds.start,
        SeekTo::Latest => bounds.high_watermark,
        SeekTo::Offset(offset) => offset.clamp(bounds.start, bounds.high_watermark),
        SeekTo::Timestamp(timestamp) => {
            partition.offset_at(timestamp).await?.unwrap_or(bounds.high_watermark)
        }
    })
}

impl From<Position> for StoredPosition {
    fn from(position: Position) -> StoredPosition {
        let Position { offset, metadata, committed_at, .. } = position;
        StoredPosition { offset, metadata, committed_at }
    }
}
