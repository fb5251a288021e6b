//! What a server knows of its topics and producers: a [state machine](crate::machine) over an internal log.
//!
//! The log says which topics there are; the logs of their partitions hold the messages. One of the two comes
//! first, so that a crash in between leaves what the next opening can tell:
//!
//! | | first | then | a crash in between leaves |
//! |---|---|---|---|
//! | create, add partitions | the logs | the command | empty logs that no topic has: removed |
//! | delete | the command | the logs | logs of a topic that was deleted: removed |
//!
//! - **Invariant:** the id of a producer is given once, whatever was lost.

mod codec;

use std::collections::{BTreeMap, BTreeSet};

use minikafka_storage::{LogId, Millis, TopicId};

use crate::{
    ClusterId, TopicSettings,
    machine::{FormatError, INTERNAL_PREFIX, StateMachine},
};

/// Producer ids that one millisecond has room for: after a loss ids go on at the time of day, and so beyond all
/// that were given before it.
const PRODUCER_IDS_PER_MS_BITS: u32 = 20;

/// Which log it is.
pub(crate) fn log_id() -> LogId {
    LogId {
        topic: format!("{INTERNAL_PREFIX}_metadata"),
        partition: 0,
        topic_id: TopicId::from_bytes(*b"minikafka-meta-1"),
    }
}

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// By name.
    topics: BTreeMap<String, TopicRecord>,
    /// Topics that are deleted, but whose logs may still be there.
    deleted: BTreeSet<TopicId>,
    next_producer_id: i64,
    /// `None` before the first start.
    cluster_id: Option<ClusterId>,
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicRecord {
    pub(crate) id: TopicId,
    pub(crate) partitions: u32,
    pub(crate) settings: TopicSettings,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The logs are there.
    CreateTopic(String, TopicRecord),
    /// Everything about it as it is from now on; the logs are there. The id says which topic is meant.
    AlterTopic(String, TopicRecord),
    /// Its logs are to go.
    DeleteTopic(String, TopicId),
    /// The logs of these deleted topics are gone.
    ForgetTopics(Vec<TopicId>),
    /// The next `count` ids.
    AllocateProducerIds(u32),
    /// The server has begun on an empty directory, or on one of a version whose clusters had no id. Ids that another
    /// directory has given at this address are known to producers that are still there, so those of this one begin beyond
    /// them. The cluster gets this id if it has none.
    Begin(Option<ClusterId>),
    /// Something of this log was lost, and what other logs tell is taken up again. The cluster gets this id if it has
    /// lost its own.
    Recover(Option<ClusterId>),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Done,
    /// The first of the ids.
    ProducerIds(i64),
    /// There is such a topic.
    TopicExists,
    /// There is no topic of this name with this id.
    TopicNotFound,
    /// A topic does not lose partitions, and has at least one.
    TooFewPartitions,
    /// All ids are used up.
    NoProducerIds,
}

impl Metadata {
    pub(crate) fn topics(&self) -> &BTreeMap<String, TopicRecord> {
        &self.topics
    }

    pub(crate) fn deleted(&self) -> &BTreeSet<TopicId> {
        &self.deleted
    }

    pub(crate) fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    pub(crate) fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id
    }

    fn create(&mut self, name: String, topic: TopicRecord) -> Output {
        if self.topics.contains_key(&name) {
            return Output::TopicExists;
        }
        if topic.partitions == 0 {
            return Output::TooFewPartitions;
        }
        self.topics.insert(name, topic);
        Output::Done
    }

    fn alter(&mut self, name: &str, altered: TopicRecord) -> Output {
        match self.topics.get_mut(name).filter(|topic| topic.id == altered.id) {
            None => Output::TopicNotFound,
            Some(topic) if altered.partitions < topic.partitions => Output::TooFewPartitions,
            Some(topic) => {
                *topic = altered;
                Output::Done
            }
        }
    }

    fn delete(&mut self, name: &str, id: TopicId) -> Output {
        if self.topics.get(name).is_none_or(|topic| topic.id != id) {
            return Output::TopicNotFound;
        }
        self.topics.remove(name);
        self.deleted.insert(id);
        Output::Done
    }

    fn allocate(&mut self, count: u32) -> Output {
        let first = self.next_producer_id;
        match first.checked_add(count.into()) {
            None => Output::NoProducerIds,
            Some(next) => {
                self.next_producer_id = next;
                Output::ProducerIds(first)
            }
        }
    }
}

impl StateMachine for Metadata {
    type Command = Command;
    type Output = Output;

    fn apply(&mut self, command: Command, at: Millis) -> Output {
        match command {
            Command::CreateTopic(name, topic) => self.create(name, topic),
            Command::AlterTopic(name, topic) => self.alter(&name, topic),
            Command::DeleteTopic(name, id) => self.delete(&name, id),
            Command::ForgetTopics(ids) => {
                self.deleted.retain(|id| !ids.contains(id));
                Output::Done
            }
            Command::AllocateProducerIds(count) => self.allocate(count),
            Command::Begin(id) | Command::Recover(id) => {
                self.cluster_id = self.cluster_id.or(id);
                let beyond_all = at.saturating_mul(1 << PRODUCER_IDS_PER_MS_BITS);
                self.next_producer_id = self.next_producer_id.max(beyond_all);
                Output::Done
            }
        }
    }

    fn encode(command: &Command) -> Vec<u8> {
        codec::encode_command(command)
    }

    fn decode(bytes: &[u8]) -> Result<Command, FormatError> {
        codec::decode_command(bytes)
    }

    fn snapshot(&self) -> Vec<u8> {
        codec::encode_state(self)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), FormatError> {
        *self = codec::decode_state(snapshot)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8, partitions: u32) -> TopicRecord {
        TopicRecord { id: TopicId::from_bytes([id; 16]), partitions, settings: TopicSettings::default() }
    }

    #[test]
    fn a_new_directory_gives_no_id_that_an_earlier_one_has_given() {
        let mut before = Metadata::default();
        before.apply(Command::Begin(None), 1_000);
        let Output::ProducerIds(first) = before.apply(Command::AllocateProducerIds(1000), 1_000) else {
            panic!()
        };
        let mut after = Metadata::default();
        after.apply(Command::Begin(None), 1_001);
        let Output::ProducerIds(next) = after.apply(Command::AllocateProducerIds(1000), 1_001) else {
            panic!()
        };
        assert!(next >= first + 1000, "{first} {next}");
    }

    #[test]
    fn a_cluster_keeps_its_id_until_it_is_lost() {
        let id = |byte| ClusterId::from_bytes([byte; 16]);
        let mut metadata = Metadata::default();
        // An early version has begun without.
        metadata.apply(Command::Begin(None), 5);
        assert_eq!(metadata.cluster_id(), None);
        metadata.apply(Command::Begin(Some(id(1))), 5);
        metadata.apply(Command::Recover(Some(id(2))), 5);
        assert_eq!(metadata.cluster_id(), Some(id(1)));
    }

    #[test]
    fn topics_come_grow_and_go() {
        let mut metadata = Metadata::default();
        let mut apply = |command| metadata.apply(command, 5);
        let name = || "t".to_owned();
        let id = TopicId::from_bytes([1; 16]);
        for (command, output) in [
            (Command::CreateTopic(name(), topic(1, 0)), Output::TooFewPartitions),
            (Command::CreateTopic(name(), topic(1, 2)), Output::Done),
            (Command::CreateTopic(name(), topic(2, 2)), Output::TopicExists),
            (Command::AlterTopic(name(), topic(1, 1)), Output::TooFewPartitions),
            (Command::AlterTopic(name(), topic(2, 3)), Output::TopicNotFound),
            (Command::AlterTopic(name(), topic(1, 3)), Output::Done),
            (Command::DeleteTopic(name(), TopicId::from_bytes([2; 16])), Output::TopicNotFound),
            (Command::DeleteTopic(name(), id), Output::Done),
            (Command::DeleteTopic(name(), id), Output::TopicNotFound),
            (Command::CreateTopic(name(), topic(2, 2)), Output::Done),
        ] {
            assert_eq!(apply(command.clone()), output, "{command:?}");
        }
        assert!(metadata.deleted().contains(&id));
        metadata.apply(Command::ForgetTopics(vec![id]), 5);
        assert!(metadata.deleted().is_empty());
        assert_eq!(metadata.topics()["t"], topic(2, 2));
    }

    #[test]
    fn no_producer_id_is_given_twice() {
        let mut metadata = Metadata::default();
        let at = 1_700_000_000_000;
        assert_eq!(metadata.apply(Command::AllocateProducerIds(1000), at), Output::ProducerIds(0));
        assert_eq!(metadata.apply(Command::AllocateProducerIds(1), at), Output::ProducerIds(1000));
        // Another log lost that they were given, and starts anew.
        let mut later = Metadata::default();
        later.apply(Command::Recover(None), at + 1);
        let first = (at + 1) << 20;
        assert_eq!(later.apply(Command::AllocateProducerIds(5), at + 1), Output::ProducerIds(first));
        later.apply(Command::Recover(None), 0);
        assert_eq!(later.apply(Command::AllocateProducerIds(5), 0), Output::ProducerIds(first + 5));
        later.next_producer_id = i64::MAX - 1;
        assert_eq!(later.apply(Command::AllocateProducerIds(2), 0), Output::NoProducerIds);
        assert_eq!(later.apply(Command::AllocateProducerIds(1), 0), Output::ProducerIds(i64::MAX - 1));
    }
}
