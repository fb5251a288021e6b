//! Members that join, leave, die, come back and answer late, at random.
//!
//! The members here are as simple as they can be: each reads what the newest assignment that it has seen says, and
//! says so. They see assignments when they like, an older one than there is if it has reached them before, and answers
//! may be lost with a stream, or come late, when the member has seen and said something else since. What they read at the same
//! time must never overlap, nobody goes on in a topic as if it were the one that had its name before, and when they
//! all behave at last, everything is read.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    super::{GroupState, PartitionMap, PartitionSet},
    Because, Command, Committer, Rig, Subscribe, view,
};

#[derive(Clone, Debug)]
enum Step {
    Join {
        topics: usize,
    },
    JoinInstance {
        instance: usize,
    },
    Leave(usize),
    /// The process is gone, which the server notices later.
    Die(usize),
    /// The stream breaks; the member comes back.
    ComeBack(usize),
    /// Its newest assignment reaches it; it looks at that later.
    Receive(usize),
    /// Sees the assignment that has reached it, or else the newest, and stops reading what is not in it.
    See(usize),
    /// Says what it reads.
    Answer(usize),
    /// Says what it reads, and that takes a while.
    Send(usize),
    /// What somebody has said arrives.
    Deliver(usize),
    /// Those that are dead, or hold on, are removed.
    TimeOut(usize),
    Subscribe {
        member: usize,
        topics: usize,
    },
    Topic {
        topic: usize,
        partitions: u32,
    },
    DeleteTopic(usize),
    RecreateTopic(usize),
    Commit(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0usize..8;
    prop_oneof![
        3 => (0usize..7).prop_map(|topics| Step::Join { topics }),
        1 => (0usize..2).prop_map(|instance| Step::JoinInstance { instance }),
        2 => member.clone().prop_map(Step::Leave),
        1 => member.clone().prop_map(Step::Die),
        2 => member.clone().prop_map(Step::ComeBack),
        3 => member.clone().prop_map(Step::Receive),
        8 => member.clone().prop_map(Step::See),
        8 => member.clone().prop_map(Step::Answer),
        4 => member.clone().prop_map(Step::Send),
        4 => member.clone().prop_map(Step::Deliver),
        2 => member.clone().prop_map(Step::TimeOut),
        1 => (member.clone(), 0usize..7).prop_map(|(member, topics)| Step::Subscribe { member, topics }),
        2 => (0usize..3, 1u32..9).prop_map(|(topic, partitions)| Step::Topic { topic, partitions }),
        1 => (0usize..3).prop_map(Step::DeleteTopic),
        1 => (0usize..3).prop_map(Step::RecreateTopic),
        4 => member.prop_map(Step::Commit),
    ]
}

/// A member as it sees itself.
#[derive(Debug, Default)]
struct Client {
    epoch: u64,
    /// With the topic's id.
    reads: PartitionMap<u8>,
    received: Option<(u64, PartitionMap<u8>)>,
    is_dead: bool,
}

impl Client {
    fn owned(&self) -> PartitionSet {
        self.reads.iter().map(|(topic, number, _)| (topic, number)).collect()
    }
}

#[derive(Default)]
struct World {
    rig: Rig,
    clients: BTreeMap<String, Client>,
    /// What members have said, with their names and epochs, and nobody has heard yet.
    on_the_way: Vec<(String, u64, PartitionSet)>,
    joined: usize,
    topic_ids: u8,
    sizes: [u32; 3],
}

const TOPICS: [&str; 3] = ["a", "b", "c"];

fn some_topics(bits: usize) -> Vec<&'static str> {
    (0..3).filter(|topic| (bits + 1) >> topic & 1 == 1).map(|topic| TOPICS[topic]).collect()
}

impl World {
    fn pick(&self, index: usize) -> Option<String> {
        let living: Vec<_> = self.clients.iter().filter(|(_, client)| !client.is_dead).collect();
        (!living.is_empty()).then(|| living[index % living.len()].0.clone())
    }

    fn join(&mut self, instance: &str, topics: &[&str]) {
        self.joined += 1;
        let id = format!("m{:03}", self.joined);
        let applied = self.rig.join_as(&id, instance, topics).unwrap();
        // Who takes an instance over is started once the old process has ended.
        applied.gone.iter().for_each(|gone| drop(self.clients.remove(&gone.key.member_id)));
        self.clients.insert(id, Client::default());
    }

    fn receive(&mut self, id: &str) {
        let member = self.rig.member(id);
        let of_topic = |topic: &str| self.rig.groups.topics[topic].id.as_bytes()[0];
        let reads = member.assigned().map(|(topic, number)| (topic, number, of_topic(topic))).collect();
        self.clients.get_mut(id).unwrap().received = Some((member.epoch, reads));
    }

    fn see(&mut self, id: &str) {
        if self.clients[id].received.is_none() {
            self.receive(id);
        }
        let client = self.clients.get_mut(id).unwrap();
        let (epoch, reads) = client.received.take().expect("it was received");
        for (topic, number, of_topic) in reads.iter() {
            let before = client.reads.get(topic, number);
            assert!(before.is_none_or(|before| before == of_topic), "{id} takes {topic} for the old one");
        }
        (client.epoch, client.reads) = (epoch, reads);
    }

    fn answer(&mut self, id: &str) {
        let client = &self.clients[id];
        self.rig.confirm(id, client.epoch, client.owned()).unwrap();
    }

    fn time_out(&mut self, id: &str) {
        let member = self.rig.member(id);
        let because = match member.revoking_since {
            Some(revoking_since) => Because::HeldOn { revoking_since },
            None => Because::Silent { session: member.session },
        };
        self.rig.remove(id, because).unwrap();
        self.clients.remove(id);
    }

    fn take(&mut self, step: &Step) {
        self.rig.now += 1;
        let member = match step {
            Step::Leave(index)
            | Step::Die(index)
            | Step::ComeBack(index)
            | Step::Receive(index)
            | Step::See(index)
            | Step::Answer(index)
            | Step::Send(index)
            | Step::Commit(index)
            | Step::Subscribe { member: index, .. } => self.pick(*index),
            _ => None,
        };
        match (step, member) {
            (Step::Join { topics }, _) => self.join("", &some_topics(*topics)),
            (Step::JoinInstance { instance }, _) => self.join(&format!("i{instance}"), &TOPICS),
            (Step::TimeOut(index), _) => {
                let ids: Vec<String> = self.clients.keys().cloned().collect();
                if !ids.is_empty() {
                    self.time_out(&ids[index % ids.len()]);
                }
            }
            (Step::Topic { topic, partitions }, _) => {
                let size = &mut self.sizes[*topic];
                if *size == 0 {
                    self.topic_ids += 1;
                }
                let id = self
                    .rig
                    .groups
                    .topics
                    .get(TOPICS[*topic])
                    .map_or(self.topic_ids, |view| view.id.as_bytes()[0]);
                *size = (*size).max(*partitions);
                let views = vec![view(TOPICS[*topic], id, *size)];
                self.rig.apply(Command::SetTopics { views }).unwrap();
            }
            (Step::DeleteTopic(topic), _) => {
                self.sizes[*topic] = 0;
                if let Some(view) = self.rig.groups.topics.get(TOPICS[*topic]) {
                    let topics = vec![(TOPICS[*topic].to_owned(), view.id)];
                    self.rig.apply(Command::DropTopics { topics }).unwrap();
                }
            }
            (Step::RecreateTopic(topic), _) => {
                if self.rig.groups.topics.contains_key(TOPICS[*topic]) {
                    self.topic_ids += 1;
                    let views = vec![view(TOPICS[*topic], self.topic_ids, self.sizes[*topic])];
                    self.rig.apply(Command::SetTopics { views }).unwrap();
                }
            }
            (Step::Leave(_), Some(id)) => {
                self.rig.leave(&id);
                self.clients.remove(&id);
            }
            (Step::Die(_), Some(id)) => {
                let client = self.clients.get_mut(&id).unwrap();
                (client.is_dead, client.reads) = (true, PartitionMap::default());
            }
            (Step::ComeBack(_), Some(id)) => {
                let client = &self.clients[&id];
                let owned = super::text(client.reads.iter().map(|(topic, number, _)| (topic, number)));
                self.rig.come_back(&id, client.epoch, &owned).unwrap();
            }
            (Step::Receive(_), Some(id)) => self.receive(&id),
            (Step::See(_), Some(id)) => self.see(&id),
            (Step::Answer(_), Some(id)) => self.answer(&id),
            (Step::Send(_), Some(id)) => {
                let client = &self.clients[&id];
                self.on_the_way.push((id, client.epoch, client.owned()));
            }
            (Step::Deliver(index), _) => {
                if !self.on_the_way.is_empty() {
                    let (id, epoch, owned) = self.on_the_way.remove(index % self.on_the_way.len());
                    // Who has left by now is known no more.
                    let _ = self.rig.confirm(&id, epoch, owned);
                }
            }
            (Step::Commit(_), Some(id)) => {
                let client = &self.clients[&id];
                let by = Committer::Member { id: id.clone(), epoch: client.epoch };
                for topic in TOPICS {
                    let reads: Vec<_> =
                        client.reads.of_topic(topic).map(|(number, _)| (topic, number, 1)).collect();
                    let id = self.rig.groups.topics.get(topic).map(|view| view.id.as_bytes()[0]);
                    let is_old = client.reads.of_topic(topic).any(|(_, of_topic)| Some(*of_topic) != id);
                    let committed = self.rig.commit(by.clone(), &reads);
                    assert_eq!(committed.is_err(), is_old, "who reads the topic may commit: {committed:?}");
                }
            }
            (Step::Subscribe { topics, .. }, Some(id)) => {
                let (group, topics) = ("g".to_owned(), super::names(&some_topics(*topics)));
                self.rig
                    .apply(Command::Subscribe(Subscribe {
                        group,
                        member_id: id,
                        topics,
                        ..Subscribe::default()
                    }))
                    .unwrap();
            }
            (_, None) => {}
        }
        self.check();
    }

    fn check(&self) {
        let mut read = BTreeMap::new();
        for (id, client) in &self.clients {
            for (topic, number, _) in client.reads.iter() {
                if let Some(other) = read.insert((topic, number), id) {
                    panic!("{topic}-{number} is read by {other} and {id}");
                }
                let holder = self.rig.group().holders().get(topic, number).copied();
                assert_eq!(holder, Some(id.as_str()), "{topic}-{number} is read, and free for others");
            }
        }
    }

    /// Everybody does what is asked, and the dead are buried.
    fn settle(&mut self) {
        let dead: Vec<String> =
            self.clients.iter().filter(|(_, client)| client.is_dead).map(|(id, _)| id.clone()).collect();
        dead.iter().for_each(|id| self.time_out(id));
        // Each round, what was free is given; with subscriptions that differ it may take a few.
        for _ in 0..self.clients.len() + 2 {
            let ids: Vec<String> = self.clients.keys().cloned().collect();
            for id in ids {
                self.receive(&id);
                self.see(&id);
                self.answer(&id);
                self.check();
            }
        }
        let Some(group) = self.rig.groups.get("g") else { return };
        assert_ne!(group.state(), GroupState::Reconciling);
        for (topic, size) in TOPICS.iter().zip(self.sizes) {
            let is_wanted = group.members.values().any(|member| member.topics.contains(*topic));
            let read: usize = self.clients.values().map(|client| client.reads.of_topic(topic).count()).sum();
            assert_eq!(read, if is_wanted { size as usize } else { 0 }, "{topic}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_two_read_the_same_and_everything_is_read_at_last(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::default();
        world.join("", &TOPICS);
        for step in &steps {
            world.take(step);
        }
        world.settle();
    }
}
