//! [`Ledger`], what was sent, what was answered and what was read, and [`Check`], which compares what is there.
//!
//! Once a check is done, everything about the numbers it has seen is settled: a number means the same message
//! for ever, and a message without one will never have one.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use minikafka_proto::v1::PollResponse;

use super::value::{Draft, Id, Source};

/// Faults that are told in full; of the rest, the count.
const TOLD: usize = 5;

/// What a producer sent in a round.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) source: Source,
    /// Sequence of the first of the messages.
    pub(crate) first: u32,
    pub(crate) drafts: Vec<Draft>,
    /// Of the messages that were acknowledged: the first so many. The outcome of the rest is unknown.
    pub(crate) numbers: Vec<u64>,
}

/// What a reader saw in a round.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) topic: u8,
    pub(crate) messages: Vec<(u64, Id)>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Everything that was ever sent.
    sent: BTreeMap<Source, Vec<Draft>>,
    topics: BTreeMap<u8, Topic>,
    faults: Faults,
    acknowledged: u64,
    unknown: u64,
    unknown_stored: u64,
    checked: u64,
}

#[derive(Debug)]
struct Topic {
    /// What is known for ever, by number from 1; `None` for what was evicted before anybody looked.
    settled: Vec<Option<Id>>,
    /// What the last round was answered and shown.
    promised: BTreeMap<u64, Id>,
    /// How many messages of the last round were acknowledged.
    answered: u64,
    start: u64,
    /// When the last round began, and with which number.
    round: Option<(Instant, u64)>,
    /// By source: what was sent before the last round.
    sent_before: BTreeMap<Source, u32>,
}

impl Default for Topic {
    fn default() -> Topic {
        let (settled, promised, sent_before) = Default::default();
        Topic { settled, promised, answered: 0, start: 1, round: None, sent_before }
    }
}

/// What must not be.
#[derive(Debug, Default)]
struct Faults {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    /// Nobody sent it, or it has other bytes, or its number meant something else.
    wrong: u64,
    told: Vec<String>,
}

impl Faults {
    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }
}

impl Topic {
    /// The first number that is not settled.
    fn end(&self) -> u64 {
        self.settled.len() as u64 + 1
    }

    fn promise(&mut self, number: u64, id: Id, faults: &mut Faults) {
        let other = match self.settled.get(number as usize - 1) {
            Some(settled) => *settled,
            None => self.promised.insert(number, id),
        };
        if other.is_some_and(|other| other != id) {
            faults.wrong += 1;
            faults.tell(|| format!("{id:?} and {other:?} are both said to have number {number}"));
        }
    }
}

impl Ledger {
    /// The sequence of the next message of a source, and the chain that it goes on with.
    pub(crate) fn next_of(&self, source: Source) -> (u32, u64) {
        let drafts = self.sent.get(&source).map_or(&[][..], Vec::as_slice);
        (drafts.len() as u32, drafts.last().map_or(0, |draft| draft.chain))
    }

    /// The number behind the last message; `None` before there is a topic.
    pub(crate) fn end_of(&self, topic: u8) -> Option<u64> {
        self.topics.get(&topic).map(Topic::end)
    }

    /// The first number that may be there.
    pub(crate) fn start_of(&self, topic: u8) -> u64 {
        self.topics.get(&topic).map_or(1, |topic| topic.start)
    }

    /// Messages are sent from now on.
    pub(crate) fn begin_round(&mut self) {
        for topic in self.topics.values_mut() {
            topic.round = Some((Instant::now(), topic.end()));
        }
    }

    pub(crate) fn add_sent(&mut self, sent: Sent) {
        let Sent { source, first, drafts, numbers } = sent;
        if drafts.is_empty() {
            return;
        }
        self.acknowledged += numbers.len() as u64;
        self.unknown += (drafts.len() - numbers.len()) as u64;
        let all = self.sent.entry(source).or_default();
        assert_eq!(all.len(), first as usize, "the sequence of a source has no gaps");
        all.extend(drafts);
        let topic = self.topics.entry(source.topic).or_default();
        topic.sent_before.insert(source, first);
        topic.answered += numbers.len() as u64;
        for (number, sequence) in numbers.into_iter().zip(first..) {
            topic.promise(number, Id { source, sequence }, &mut self.faults);
        }
    }

    pub(crate) fn add_seen(&mut self, seen: Seen) {
        let topic = self.topics.entry(seen.topic).or_default();
        for (number, id) in seen.messages {
            topic.promise(number, id, &mut self.faults);
        }
    }

    /// Whether what is settled is what is there.
    pub(crate) fn check_again(&mut self, topic: u8, number: u64, value: &[u8]) {
        self.checked += 1;
        let settled = number.checked_sub(1).and_then(|at| self.topics[&topic].settled.get(at as usize));
        let id = settled.copied().flatten();
        if !id.is_some_and(|id| self.is_sent(id, value)) {
            self.faults.wrong += 1;
            let found = Id::parse(value);
            self.faults.tell(|| format!("number {number} of topic {topic} was {id:?} and is {found:?}"));
        }
    }

    fn is_sent(&self, id: Id, value: &[u8]) -> bool {
        let draft = self.sent.get(&id.source).and_then(|drafts| drafts.get(id.sequence as usize));
        draft.is_some_and(|draft| draft.len as usize == value.len() && draft.value(id) == value)
    }

    /// # Panics
    /// When anything was found.
    pub(crate) fn assert_faultless(&self) {
        assert!(self.faults.told.is_empty(), "{self}: {:#?}", self.faults.told);
    }

    /// Begins to look at what the last round has left.
    pub(crate) fn check(&mut self, topic: u8) -> Check<'_> {
        let state = self.topics.entry(topic).or_default();
        let next = state.end();
        let expected = state.sent_before.iter().map(|(source, first)| (*source, (*first, Order::Strict)));
        let expected = expected.collect();
        Check { topic, first: next, next, expected, ledger: self }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { acknowledged, unknown, unknown_stored, checked, faults, .. } = self;
        let Faults { lost, duplicated, reordered, wrong, .. } = faults;
        write!(
            f,
            "{acknowledged} messages acknowledged, {unknown} of unknown outcome ({unknown_stored} of them \
             stored), {checked} read back: lost {lost}, duplicated {duplicated}, reordered {reordered}, \
             wrong {wrong}"
        )
    }
}

/// Whether messages of a source may be missing at a place: they may after an eviction that nobody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Strict,
    Loose,
}

/// A look at everything of a topic that is not settled. What producers pipelined is there up to some message,
/// so each source goes on message by message: the first that is missing is its last.
#[derive(Debug)]
pub(crate) struct Check<'l> {
    topic: u8,
    first: u64,
    next: u64,
    /// By source: the sequence of its next message.
    expected: BTreeMap<Source, (u32, Order)>,
    ledger: &'l mut Ledger,
}

impl Check<'_> {
    /// Where to read on.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The server says where the topic begins now. `retention`: the one of this server or the last, if they
    /// evicted.
    pub(crate) fn start(&mut self, start: u64, retention: Option<Duration>) {
        let Ledger { topics, faults, .. } = &mut *self.ledger;
        let topic = topics.entry(self.topic).or_default();
        let is_young = match (retention, topic.round) {
            (None, _) => start > topic.start,
            (Some(age), Some((begin, first))) => start > first && begin.elapsed() < age,
            (Some(_), None) => false,
        };
        if is_young || start < topic.start {
            faults.lost += 1;
            faults.tell(|| format!("topic {} began at {} and begins at {start}", self.topic, topic.start));
        }
        topic.start = start;
    }

    /// The next messages that are there.
    pub(crate) fn reply(&mut self, reply: &PollResponse, retention: Option<Duration>) {
        self.start(reply.start_number, retention);
        let first = reply.messages.first().map_or(reply.next_number, |message| message.number);
        if first > self.next && first <= reply.start_number {
            self.skip_to(first);
        }
        for message in &reply.messages {
            self.message(message.number, message.value.as_deref().unwrap_or_default());
        }
    }

    /// What comes before was evicted.
    fn skip_to(&mut self, number: u64) {
        let topic = self.ledger.topics.entry(self.topic).or_default();
        for gone in self.next..number {
            topic.settled.push(None);
            if let Some(id) = topic.promised.remove(&gone)
                && let Some((next, _)) = self.expected.get_mut(&id.source)
            {
                *next = id.sequence + 1;
            }
        }
        self.expected.values_mut().for_each(|(_, order)| *order = Order::Loose);
        self.next = number;
    }

    fn message(&mut self, number: u64, value: &[u8]) {
        let id =
            Id::parse(value).filter(|id| id.source.topic == self.topic && self.ledger.is_sent(*id, value));
        let Ledger { topics, faults, checked, .. } = &mut *self.ledger;
        *checked += 1;
        let topic = topics.entry(self.topic).or_default();
        if number != self.next {
            faults.lost += 1;
            faults.tell(|| format!("topic {}: {number} comes where {} should", self.topic, self.next));
            topic.settled.resize((number - 1) as usize, None);
        }
        self.next = number + 1;
        match id.and_then(|id| Some((id, self.expected.get_mut(&id.source)?))) {
            None => {
                faults.wrong += 1;
                faults.tell(|| format!("topic {}: nobody sent what is number {number}", self.topic));
            }
            Some((id, (next, order))) => {
                if id.sequence < *next && topic.settled.contains(&Some(id)) {
                    faults.duplicated += 1;
                    faults.tell(|| format!("{id:?} is there again as number {number}"));
                } else if id.sequence < *next || id.sequence > *next && *order == Order::Strict {
                    faults.reordered += 1;
                    faults.tell(|| format!("{id:?} is number {number}, in the place of {next}"));
                }
                (*next, *order) = (id.sequence + 1, Order::Strict);
            }
        }
        if let Some(promised) = topic.promised.remove(&number)
            && Some(promised) != id
        {
            faults.lost += 1;
            faults.tell(|| format!("number {number} was {promised:?} and is {id:?}"));
        }
        topic.settled.push(id);
    }

    /// Nothing more is there.
    pub(crate) fn finish(self, end: u64) {
        let Ledger { topics, faults, unknown_stored, .. } = self.ledger;
        let topic = topics.entry(self.topic).or_default();
        let lost = std::mem::take(&mut topic.promised);
        if end != self.next || !lost.is_empty() {
            faults.lost += (lost.len() as u64).max(1);
            faults.tell(|| {
                let first = lost.first_key_value();
                format!("topic {} ends at {end}, {} was next, {first:?} is missing", self.topic, self.next)
            });
        }
        let answered = std::mem::take(&mut topic.answered);
        *unknown_stored += (topic.end() - self.first).saturating_sub(answered);
        topic.sent_before.clear();
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
