//! Who is to read what: the target of a group.
//!
//! Three wishes, in this order:
//!
//! 1. *Even.* No partition could be given to another of its readers so that their numbers of partitions come closer
//!    together. When all members subscribe to the same topics, they differ by one at most.
//! 2. *Sticky.* As few partitions as possible change hands for that.
//! 3. *Spread.* Of the partitions that could go, one of the topic goes of which the giver has most and the taker
//!    least, so that no member ends up with all of a busy topic.
//!
//! Partitions first stay where they are; those without a reader go to the least loaded of those who want them; then
//! partitions are handed on from those with most to those with least. With different subscriptions the way may lead
//! over others: a gives to b, and b, which got it, gives something else to c. A group is even when there is no such
//! way left from any member to one with two partitions less, which is the criterion of Harvey, Ladner, Lovász and
//! Tamir, "Semi-matchings for bipartite graphs and load balancing" (2003).
//!
//! The same input gives the same target, whatever the order of the calls that led there: ties are broken by the order
//! of members and topics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{PartitionSet, TopicView};

/// Who a partition has been with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before<'a> {
    /// The member that was to have it.
    pub(super) target: Option<&'a str>,
    /// The member that has it.
    pub(super) holder: Option<&'a str>,
}

/// Gives each partition of `topics` that somebody subscribes to a reader.
pub(super) fn assign<'a>(
    subscriptions: &BTreeMap<&'a str, &'a BTreeSet<String>>,
    topics: &'a BTreeMap<String, TopicView>,
    before: impl Fn(&str, u32) -> Before<'a>,
) -> BTreeMap<&'a str, PartitionSet> {
    let mut deal = Deal::new(subscriptions, topics);
    deal.keep(before);
    deal.give_what_nobody_has();
    deal.level();
    deal.finish()
}

/// Index of a member, in the order of their names.
type MemberIndex = usize;
/// Index of a topic that somebody reads, in the order of their names.
type TopicIndex = usize;

struct Deal<'a> {
    members: Vec<&'a str>,
    topics: Vec<Topic<'a>>,
    /// Number of partitions of each member.
    load: Vec<usize>,
}

struct Topic<'a> {
    name: &'a str,
    readers: Vec<MemberIndex>,
    seats: Vec<Seat>,
    /// Number of its partitions, by member.
    count: Vec<usize>,
}

/// One partition.
#[derive(Clone, Copy, Default)]
struct Seat {
    reader: Option<MemberIndex>,
    /// Who was to have it; moving it from there costs something.
    target: Option<MemberIndex>,
    holder: Option<MemberIndex>,
}

impl<'a> Deal<'a> {
    fn new(
        subscriptions: &BTreeMap<&'a str, &'a BTreeSet<String>>,
        topics: &'a BTreeMap<String, TopicView>,
    ) -> Deal<'a> {
        let members: Vec<&str> = subscriptions.keys().copied().collect();
        let names: Vec<&'a str> = topics.keys().map(String::as_str).collect();
        let mut readers: Vec<Vec<MemberIndex>> = vec![Vec::new(); names.len()];
        for (member, wanted) in subscriptions.values().enumerate() {
            let mut at = 0;
            for topic in wanted.iter() {
                at = seek(&names, at, topic);
                if names.get(at).is_some_and(|name| name == topic) {
                    readers[at].push(member);
                }
            }
        }
        let topic = |((name, view), readers): ((&'a String, &TopicView), Vec<MemberIndex>)| {
            let seats = vec![Seat::default(); view.partitions as usize];
            let is_read = !readers.is_empty();
            is_read.then(|| Topic { name, readers, seats, count: vec![0; members.len()] })
        };
        let topics = topics.iter().zip(readers).filter_map(topic).collect();
        let load = vec![0; members.len()];
        Deal { members, topics, load }
    }

    fn keep(&mut self, before: impl Fn(&str, u32) -> Before<'a>) {
        for topic in 0..self.topics.len() {
            for partition in 0..self.topics[topic].seats.len() {
                let before = before(self.topics[topic].name, partition as u32);
                let [target, holder] = [before.target, before.holder]
                    .map(|name| name.and_then(|name| self.members.binary_search(&name).ok()))
                    .map(|member| member.filter(|member| self.topics[topic].is_read_by(*member)));
                let seat = &mut self.topics[topic].seats[partition];
                *seat = Seat { reader: None, target: target.or(holder), holder };
                if let Some(reader) = target.or(holder) {
                    self.seat(topic, partition, reader);
                }
            }
        }
    }

    fn give_what_nobody_has(&mut self) {
        for topic in 0..self.topics.len() {
            for partition in 0..self.topics[topic].seats.len() {
                if self.topics[topic].seats[partition].reader.is_some() {
                    continue;
                }
                let of = &self.topics[topic];
                let least = |member: &&MemberIndex| (self.load[**member], of.count[**member]);
                let taker = of.readers.iter().min_by_key(least).copied();
                self.seat(topic, partition, taker.expect("a topic in here has readers"));
            }
        }
    }

    /// Hands partitions on until nobody can give to anybody who has two less.
    fn level(&mut self) {
        // Those from whom no way leads anywhere.
        let mut settled = vec![false; self.members.len()];
        while let Some(from) = self.fullest(&settled) {
            // Mostly somebody who has least reads something of it. Who does not has to be looked for.
            if let Some(taker) = self.neediest_reader(from) {
                let (topic, partition) = self.choose(from, taker);
                self.seat(topic, partition, taker);
                settled.fill(false);
                continue;
            }
            let ways = self.ways_from(from);
            let taker = ways
                .reached
                .iter()
                .copied()
                .filter(|member| self.load[*member] + 2 <= self.load[from])
                .min_by_key(|member| self.load[*member]);
            match taker {
                Some(taker) => {
                    self.hand_on(from, taker, &ways);
                    settled.fill(false);
                }
                // What can be reached from those whom it reaches is no more, and they have no more than it has.
                None => ways
                    .reached
                    .into_iter()
                    .filter(|member| self.load[*member] <= self.load[from])
                    .for_each(|member| settled[member] = true),
            }
        }
    }

    /// The member with most partitions that is not settled, as long as there is one with two less.
    fn fullest(&self, settled: &[bool]) -> Option<MemberIndex> {
        let least = *self.load.iter().min()?;
        let candidates = (0..self.members.len()).filter(|member| !settled[*member]);
        candidates
            .rev()
            .max_by_key(|member| self.load[*member])
            .filter(|member| self.load[*member] >= least + 2)
    }

    /// A member with least partitions that the giver can give one to.
    fn neediest_reader(&self, giver: MemberIndex) -> Option<MemberIndex> {
        let least = *self.load.iter().min()?;
        let given: Vec<_> = self.topics.iter().filter(|topic| topic.count[giver] > 0).collect();
        let mut needy = (0..self.members.len()).filter(|member| self.load[*member] == least);
        needy.find(|member| given.iter().any(|topic| topic.is_read_by(*member)))
    }

    /// Who can be given something, over however many others.
    fn ways_from(&self, from: MemberIndex) -> Ways {
        let mut ways = Ways { reached: vec![from], giver: vec![None; self.members.len()] };
        let mut topic_seen = vec![false; self.topics.len()];
        let mut next = VecDeque::from([from]);
        while let Some(giver) = next.pop_front() {
            for (topic, seen) in self.topics.iter().zip(&mut topic_seen) {
                if *seen || topic.count[giver] == 0 {
                    continue;
                }
                *seen = true;
                for taker in &topic.readers {
                    if *taker != from && ways.giver[*taker].is_none() {
                        ways.giver[*taker] = Some(giver);
                        ways.reached.push(*taker);
                        next.push_back(*taker);
                    }
                }
            }
        }
        ways
    }

    /// One partition along each step of the way.
    fn hand_on(&mut self, from: MemberIndex, to: MemberIndex, ways: &Ways) {
        let mut taker = to;
        while taker != from {
            let giver = ways.giver[taker].expect("who was reached was reached from somebody");
            let (topic, partition) = self.choose(giver, taker);
            self.seat(topic, partition, taker);
            taker = giver;
        }
    }

    /// What a giver gives to a taker.
    fn choose(&self, giver: MemberIndex, taker: MemberIndex) -> (TopicIndex, usize) {
        let could_go =
            |(_, topic): &(TopicIndex, &Topic<'_>)| topic.count[giver] > 0 && topic.is_read_by(taker);
        let topics = self.topics.iter().enumerate().filter(could_go);
        let surplus =
            |(_, topic): &(TopicIndex, &Topic<'_>)| topic.count[giver] as i64 - topic.count[taker] as i64;
        let (index, topic) =
            topics.rev().max_by_key(surplus).expect("the way leads over a topic that both read");
        let seats = topic.seats.iter().enumerate().filter(|(_, seat)| seat.reader == Some(giver));
        let cheap = |(_, seat): &(usize, &Seat)| {
            (seat.target != Some(giver), seat.holder == Some(taker), seat.holder != Some(giver))
        };
        let (partition, _) = seats.max_by_key(cheap).expect("a count says that there is one");
        (index, partition)
    }

    fn seat(&mut self, topic: TopicIndex, partition: usize, reader: MemberIndex) {
        let topic = &mut self.topics[topic];
        if let Some(before) = topic.seats[partition].reader.replace(reader) {
            topic.count[before] -= 1;
            self.load[before] -= 1;
        }
        topic.count[reader] += 1;
        self.load[reader] += 1;
    }

    fn finish(self) -> BTreeMap<&'a str, PartitionSet> {
        let mut targets: Vec<PartitionSet> = vec![PartitionSet::default(); self.members.len()];
        for topic in &self.topics {
            for (partition, seat) in topic.seats.iter().enumerate() {
                let reader = seat.reader.expect("every partition was given to somebody");
                targets[reader].insert(topic.name, partition as u32, ());
            }
        }
        self.members.into_iter().zip(targets).collect()
    }
}

/// The first name from `from` on that is not before this one. Near ones are found soon.
fn seek(names: &[&str], from: usize, name: &str) -> usize {
    let (mut end, mut step) = (from, 1);
    while names.get(end).is_some_and(|before| *before < name) {
        end += step;
        step *= 2;
    }
    let end = end.min(names.len());
    from + names[from..end].partition_point(|before| *before < name)
}

impl Topic<'_> {
    fn is_read_by(&self, member: MemberIndex) -> bool {
        self.readers.binary_search(&member).is_ok()
    }
}

/// Ways on which partitions can be handed on.
struct Ways {
    /// In the order of the steps that it takes.
    reached: Vec<MemberIndex>,
    /// From whom one was reached.
    giver: Vec<Option<MemberIndex>>,
}
