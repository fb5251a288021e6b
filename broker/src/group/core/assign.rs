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
//! All other groups wait meanwhile, so each search stops when it knows that it will find nobody with fewer: see
//! [`Regions`]. A thousand members with subscriptions that differ much are still a matter of seconds at worst; figures
//! are in bench/README.md.
//!
//! The same input gives the same target, whatever the order of the calls that led there: ties are broken by the order
//! of members and topics.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
};

use fixedbitset::FixedBitSet;

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
    members: Vec<Reader<'a>>,
    topics: Vec<Topic<'a>>,
    /// Number of partitions of each member.
    load: Vec<usize>,
}

/// A member. Questions about all topics of one are asked for each partition that moves: sets of bits answer them soon.
struct Reader<'a> {
    name: &'a str,
    /// Topics that it reads.
    topics: FixedBitSet,
    /// Topics of which it has a partition.
    has: FixedBitSet,
    /// Number of its partitions, by topic.
    count: Vec<u32>,
}

struct Topic<'a> {
    name: &'a str,
    /// Members that read it.
    readers: FixedBitSet,
    seats: Vec<Seat>,
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
        let names: Vec<&'a str> = topics.keys().map(String::as_str).collect();
        let mut readers: Vec<FixedBitSet> = vec![FixedBitSet::new(); names.len()];
        for (member, wanted) in subscriptions.values().enumerate() {
            let mut at = 0;
            for topic in wanted.iter() {
                at = seek(&names, at, topic);
                if names.get(at).is_some_and(|name| name == topic) {
                    readers[at].grow_and_insert(member);
                }
            }
        }
        let topic = |((name, view), mut readers): ((&'a String, &TopicView), FixedBitSet)| {
            readers.grow(subscriptions.len());
            let seats = vec![Seat::default(); view.partitions as usize];
            (!readers.is_clear()).then(|| Topic { name, readers, seats })
        };
        let topics: Vec<Topic<'_>> = topics.iter().zip(readers).filter_map(topic).collect();
        let member = |(index, name): (MemberIndex, &&'a str)| {
            let mut reads = FixedBitSet::with_capacity(topics.len());
            reads.extend((0..topics.len()).filter(|topic| topics[*topic].readers.contains(index)));
            let has = FixedBitSet::with_capacity(topics.len());
            Reader { name, topics: reads, has, count: vec![0; topics.len()] }
        };
        let members = subscriptions.keys().enumerate().map(member).collect();
        Deal { members, topics, load: vec![0; subscriptions.len()] }
    }

    fn keep(&mut self, before: impl Fn(&str, u32) -> Before<'a>) {
        for topic in 0..self.topics.len() {
            for partition in 0..self.topics[topic].seats.len() {
                let before = before(self.topics[topic].name, partition as u32);
                let [target, holder] = [before.target, before.holder]
                    .map(|name| name.and_then(|name| self.index_of(name)))
                    .map(|member| member.filter(|member| self.topics[topic].readers.contains(*member)));
                let seat = &mut self.topics[topic].seats[partition];
                *seat = Seat { reader: None, target: target.or(holder), holder };
                if let Some(reader) = target.or(holder) {
                    self.seat(topic, partition, reader);
                }
            }
        }
    }

    fn index_of(&self, name: &str) -> Option<MemberIndex> {
        self.members.binary_search_by_key(&name, |member| member.name).ok()
    }

    fn give_what_nobody_has(&mut self) {
        for topic in 0..self.topics.len() {
            let free = |partition: &usize| self.topics[topic].seats[*partition].reader.is_none();
            let free: Vec<usize> = (0..self.topics[topic].seats.len()).filter(free).collect();
            if free.is_empty() {
                continue;
            }
            let takers = self.topics[topic].readers.ones();
            let least =
                |member: MemberIndex| Reverse((self.load[member], self.members[member].count[topic], member));
            let mut takers: BinaryHeap<_> = takers.map(least).collect();
            for partition in free {
                let mut taker = takers.peek_mut().expect("a topic in here has readers");
                let Reverse((load, count, member)) = &mut *taker;
                (*load, *count) = (*load + 1, *count + 1);
                self.seat(topic, partition, *member);
            }
        }
    }

    /// Hands partitions on until nobody can give to anybody who has two less.
    fn level(&mut self) {
        // Those from whom no way leads to anybody who has two less. None begins later: a way into where they can reach
        // would begin at somebody who has more than they, and those come first.
        let mut settled = vec![false; self.members.len()];
        let mut regions = Regions::default();
        while let Some(from) = self.fullest(&settled) {
            // Mostly somebody who has least reads something of it. Who does not has to be looked for.
            if let Some(taker) = self.neediest_reader(from) {
                let (topic, partition) = self.choose(from, taker);
                self.seat(topic, partition, taker);
                regions.passed(from, &[taker]);
                continue;
            }
            let least = regions.least(from);
            if least + 2 > self.load[from] {
                settled[from] = true;
                continue;
            }
            let ways = self.ways_from(from, least);
            let taker = ways.reached.iter().copied().min_by_key(|member| self.load[*member]);
            let taker = taker.expect("it reaches itself");
            if self.load[taker] > least {
                regions.add(&ways, self.load[taker]);
            }
            match self.load[taker] + 2 <= self.load[from] {
                true => regions.passed(from, &self.hand_on(from, taker, &ways)),
                false => settled[from] = true,
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
        let mut needy = (0..self.members.len()).filter(|member| self.load[*member] == least);
        needy.find(|member| !self.members[giver].has.is_disjoint(&self.members[*member].topics))
    }

    /// Who can be given something, over however many others; up to the first that has `least` partitions.
    fn ways_from(&self, from: MemberIndex, least: usize) -> Ways {
        let mut ways = Ways { reached: vec![from], giver: vec![None; self.members.len()] };
        let mut seen = FixedBitSet::with_capacity(self.topics.len());
        let mut far = FixedBitSet::with_capacity(self.members.len());
        far.insert_range(..);
        far.remove(from);
        let mut next = 0;
        while let Some(giver) = ways.reached.get(next).copied() {
            next += 1;
            let has = &self.members[giver].has;
            for topic in has.difference(&seen) {
                let readers = &self.topics[topic].readers;
                for taker in readers.intersection(&far) {
                    ways.giver[taker] = Some(giver);
                    ways.reached.push(taker);
                    if self.load[taker] <= least {
                        return ways;
                    }
                }
                far.difference_with(readers);
            }
            seen.union_with(has);
        }
        ways
    }

    /// One partition along each step of the way. Returns who has taken one.
    fn hand_on(&mut self, from: MemberIndex, to: MemberIndex, ways: &Ways) -> Vec<MemberIndex> {
        let mut takers = vec![];
        let mut taker = to;
        while taker != from {
            let giver = ways.giver[taker].expect("who was reached was reached from somebody");
            let (topic, partition) = self.choose(giver, taker);
            self.seat(topic, partition, taker);
            takers.push(taker);
            taker = giver;
        }
        takers
    }

    /// What a giver gives to a taker.
    fn choose(&self, giver: MemberIndex, taker: MemberIndex) -> (TopicIndex, usize) {
        let (gives, takes) = (&self.members[giver], &self.members[taker]);
        let surplus = |topic: &TopicIndex| i64::from(gives.count[*topic]) - i64::from(takes.count[*topic]);
        let topics = gives.has.intersection(&takes.topics);
        let index = topics
            .min_by_key(|topic| Reverse(surplus(topic)))
            .expect("the way leads over a topic that both read");
        let topic = &self.topics[index];
        let seats = topic.seats.iter().enumerate().filter(|(_, seat)| seat.reader == Some(giver));
        let cheap = |(_, seat): &(usize, &Seat)| {
            (seat.target != Some(giver), seat.holder == Some(taker), seat.holder != Some(giver))
        };
        let (partition, _) = seats.max_by_key(cheap).expect("a count says that there is one");
        (index, partition)
    }

    fn seat(&mut self, topic: TopicIndex, partition: usize, reader: MemberIndex) {
        if let Some(before) = self.topics[topic].seats[partition].reader.replace(reader) {
            self.load[before] -= 1;
            let before = &mut self.members[before];
            before.count[topic] -= 1;
            before.has.set(topic, before.count[topic] > 0);
        }
        self.load[reader] += 1;
        let reader = &mut self.members[reader];
        reader.count[topic] += 1;
        reader.has.insert(topic);
    }

    fn finish(self) -> BTreeMap<&'a str, PartitionSet> {
        let mut targets: Vec<PartitionSet> = vec![PartitionSet::default(); self.members.len()];
        for topic in &self.topics {
            for (partition, seat) in topic.seats.iter().enumerate() {
                let reader = seat.reader.expect("every partition was given to somebody");
                targets[reader].insert(topic.name, partition as u32, ());
            }
        }
        self.members.into_iter().map(|member| member.name).zip(targets).collect()
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

/// Ways on which partitions can be handed on.
struct Ways {
    /// In the order of the steps that it takes.
    reached: Vec<MemberIndex>,
    /// From whom one was reached.
    giver: Vec<Option<MemberIndex>>,
}

/// What searches for ways have found out: they need not go on when they have found somebody with as few partitions as
/// there can be.
#[derive(Default)]
struct Regions(VecDeque<Region>);

/// Members from whom no way leads to others, each with `least` partitions or more.
///
/// What one of them gives to another one changes nothing of that: who reads its topic is among them already, and only
/// who has two more gives. It is over when somebody else gives them something.
struct Region {
    members: FixedBitSet,
    least: usize,
}

/// How many are remembered. Mostly there is one with nearly everybody, and a few smaller ones in it.
const REGIONS_MAX: usize = 16;

impl Regions {
    /// The fewest partitions that somebody may have to whom a way leads from this member.
    fn least(&self, from: MemberIndex) -> usize {
        let around = self.0.iter().filter(|region| region.members.contains(from));
        around.map(|region| region.least).max().unwrap_or(0)
    }

    /// All who can be reached from somebody.
    fn add(&mut self, ways: &Ways, least: usize) {
        let mut members = FixedBitSet::with_capacity(ways.giver.len());
        members.extend(ways.reached.iter().copied());
        self.0.retain(|region| region.members != members);
        self.0.truncate(REGIONS_MAX - 1);
        self.0.push_front(Region { members, least });
    }

    /// A partition went from one member to, or over, others.
    fn passed(&mut self, from: MemberIndex, takers: &[MemberIndex]) {
        let is_within = |region: &Region| region.members.contains(from);
        let is_elsewhere = |region: &Region| takers.iter().all(|taker| !region.members.contains(*taker));
        self.0.retain(|region| is_within(region) || is_elsewhere(region));
    }
}
