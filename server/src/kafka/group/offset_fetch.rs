//! OffsetFetch: positions that groups have stored. What has none is answered with -1, and so is a group that is not
//! there.
//!
//! Without transactions every position is a stable one. The leader's term is not kept with positions, and -1.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};
use minikafka_broker::{Error, GroupError, StoredPosition, TopicPartition};

use super::text;
use crate::kafka::{
    door::Door,
    shape::{BOOL, ELEMENTS_MAX, Field, I32, INTS, TEXT, array},
    topic_name,
};

pub(in crate::kafka) static SHAPE: &[Field] =
    &[TEXT.until(7), array(TOPIC).until(7), array(GROUP).since(8), BOOL.since(7)];
static TOPIC: &[Field] = &[TEXT, INTS];
static GROUP: &[Field] = &[TEXT, TEXT.since(9), I32.since(9), array(TOPIC)];

/// The first version that asks for several groups at once.
const SEVERAL_SINCE: i16 = 8;
/// The first version with a code for the group.
const CODE_SINCE: i16 = 2;
/// Nothing is stored, or known.
const NONE: i64 = -1;

/// What is asked for of a group: `None` is everything that is stored.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;
/// Partitions of topics, with what is stored for each.
type Found = Vec<(TopicName, Vec<(i32, Option<StoredPosition>)>)>;

/// Everything that is asked for.
pub(super) fn fetch(door: &Door, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let mut looking = Looking { door, seen: HashSet::new(), room: ELEMENTS_MAX };
    if version >= SEVERAL_SINCE {
        let groups = request.groups.into_iter().map(|group| looking.group(group)).collect();
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let topic = |of: OffsetFetchRequestTopic| (of.name, of.partition_indexes);
    let wanted = request.topics.map(|topics| topics.into_iter().map(topic).collect());
    let (found, code) = looking.look(&request.group_id, None, wanted);
    let partition = |(index, stored): (i32, Option<StoredPosition>)| {
        let (offset, metadata) = position(stored);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_metadata(Some(metadata))
            .with_committed_leader_epoch(-1)
            .with_error_code(code)
    };
    let topic = |(name, partitions): (TopicName, Vec<_>)| {
        let partitions = partitions.into_iter().map(partition).collect();
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions)
    };
    let response = OffsetFetchResponse::default().with_topics(found.into_iter().map(topic).collect());
    if version >= CODE_SINCE { response.with_error_code(code) } else { response }
}

/// The positions of the groups of a request.
struct Looking<'a> {
    door: &'a Door,
    /// Groups that were asked for already: to answer them again could make any reply out of a small request.
    seen: HashSet<String>,
    /// Positions that the reply may have besides.
    room: usize,
}

impl Looking<'_> {
    fn group(&mut self, request: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let topic = |of: OffsetFetchRequestTopics| (of.name, of.partition_indexes);
        let wanted = request.topics.map(|topics| topics.into_iter().map(topic).collect());
        // Who asks from outside has no epoch.
        let epoch = u64::try_from(request.member_epoch).ok();
        let by = request.member_id.as_deref().zip(epoch);
        let (found, code) = self.look(&request.group_id, by, wanted);
        let partition = |(index, stored): (i32, Option<StoredPosition>)| {
            let (offset, metadata) = position(stored);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_metadata(Some(metadata))
                .with_committed_leader_epoch(-1)
                .with_error_code(code)
        };
        let topic = |(name, partitions): (TopicName, Vec<_>)| {
            let partitions = partitions.into_iter().map(partition).collect();
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions)
        };
        OffsetFetchResponseGroup::default()
            .with_group_id(request.group_id)
            .with_topics(found.into_iter().map(topic).collect())
            .with_error_code(code)
    }

    /// What is stored, and what is wrong with the group.
    fn look(&mut self, group: &str, by: Option<(&str, u64)>, wanted: Wanted) -> (Found, i16) {
        let refused = if self.seen.insert(group.to_owned()) {
            match self.stored(group, by, wanted.as_deref()) {
                Ok(stored) if stored.len() <= self.room => {
                    self.room -= stored.len();
                    return (arrange(stored, wanted), 0);
                }
                Ok(_) => self.door.counts.error(ResponseError::InvalidRequest),
                // It asks for its epoch, and then again.
                Err(Error::Group(GroupError::Fenced { .. })) => {
                    self.door.counts.error(ResponseError::StaleMemberEpoch)
                }
                Err(error) => self.door.refuse_group(&error),
            }
        } else {
            self.door.counts.error(ResponseError::InvalidRequest)
        };
        let asked = |(name, partitions): (TopicName, Vec<i32>)| {
            (name, partitions.into_iter().map(|index| (index, None)).collect())
        };
        (wanted.into_iter().flatten().map(asked).collect(), refused)
    }

    fn stored(
        &self,
        group: &str,
        by: Option<(&str, u64)>,
        wanted: Option<&[(TopicName, Vec<i32>)]>,
    ) -> Result<BTreeMap<TopicPartition, StoredPosition>, Error> {
        let of = wanted.map(|wanted| {
            let there = |(topic, partitions): &(TopicName, Vec<i32>)| {
                // A partition that is out of service keeps its position: without one, its reader would begin anew elsewhere.
                let there = partitions.iter().filter_map(|index| self.door.number_of(topic, *index).ok());
                let of = there.map(|number| TopicPartition { topic: topic.to_string(), partition: number });
                of.collect::<Vec<_>>()
            };
            wanted.iter().flat_map(there).collect::<Vec<_>>()
        });
        if let Some((member_id, epoch)) = by {
            self.door.broker.check_member_reads(group, member_id, epoch, of.as_deref())?;
        }
        match self.door.broker.group_positions(group, of.as_deref()) {
            Ok(stored) => Ok(stored.into_iter().collect()),
            Err(Error::Group(GroupError::NotFound(_))) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }
}

/// What is stored, in the order of what was asked for.
fn arrange(mut stored: BTreeMap<TopicPartition, StoredPosition>, wanted: Wanted) -> Found {
    let Some(wanted) = wanted else {
        let mut found: Found = Vec::new();
        for (of, position) in stored {
            if !topic_name::is_allowed(&of.topic) {
                continue;
            }
            let position = (i32::try_from(of.partition).unwrap_or(i32::MAX), Some(position));
            match found.last_mut() {
                Some((last, partitions)) if **last == *of.topic => partitions.push(position),
                _ => found.push((TopicName(text(of.topic)), vec![position])),
            }
        }
        return found;
    };
    let topic = |(name, partitions): (TopicName, Vec<i32>)| {
        let mut take = |index: i32| {
            let partition = u32::try_from(index).ok()?;
            stored.remove(&TopicPartition { topic: name.to_string(), partition })
        };
        let partitions: Vec<_> = partitions.into_iter().map(|index| (index, take(index))).collect();
        (name, partitions)
    };
    wanted.into_iter().map(topic).collect()
}

fn position(stored: Option<StoredPosition>) -> (i64, StrBytes) {
    match stored {
        Some(stored) => (stored.offset.as_i64(), text(stored.metadata)),
        None => (NONE, StrBytes::new()),
    }
}
