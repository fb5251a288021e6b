//! [`Reads`]: many partitions, read over one stream, each with a position of its own.
//!
//! ```text
//!   link --> reply --> the reader of its partition --> messages --> handed out
//! ```
//!
//! One reply at a time is taken from the stream, and handed out to its end before the next one is taken: memory is
//! bounded whatever the number of partitions, and the server, which gives everybody a turn, decides whose messages come.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use minikafka_client_connection::Client;
use minikafka_proto::v1::{self, Encoding, ReadPartition, ReadRequest, ReadResponse};
use tokio::time::{self, Sleep};

use crate::{
    ConsumeError, Jump, Message, Position, ResetPolicy, TopicPartition,
    error::{Verdict, judge_partition},
    link::Link,
    lost::LostPartitions,
    reader::Reader,
};

/// Servers take requests of names and numbers up to 32 KiB.
const REQUEST_BYTES_MAX: usize = 24 << 10;
/// What a partition takes up in a request beside the name of its topic, at most.
const PARTITION_BYTES: usize = 64;

/// How long a partition with which something is wrong is left alone: asking costs a server little, but not nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Reads {
    pub(crate) link: Link,
    max_bytes: u32,
    reset_policy: ResetPolicy,
    partitions: BTreeMap<TopicPartition, Part>,
    /// Which partition a reply is about. Replies to what was asked before are not about any.
    by_read_id: HashMap<u64, TopicPartition>,
    last_read_id: u64,
    /// The partition whose reply is being handed out.
    current: Option<TopicPartition>,
    /// What the open stream has not been told: to read these, at their positions.
    to_add: Vec<TopicPartition>,
    /// And no longer those.
    to_remove: Vec<TopicPartition>,
    /// Those with which something was wrong: asked for again after a pause.
    failed: Vec<TopicPartition>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Those that are asked for now and then only.
    lost: LostPartitions,
    /// At most one for each partition.
    jumps: VecDeque<Jump>,
}

struct Part {
    reader: Reader,
    read_id: u64,
    /// Whether the server has said where it reads.
    is_confirmed: bool,
}

impl Reads {
    pub(crate) fn new(link: Link, max_bytes: u32, reset_policy: ResetPolicy) -> Reads {
        Reads {
            link,
            max_bytes,
            reset_policy,
            partitions: BTreeMap::new(),
            by_read_id: HashMap::new(),
            last_read_id: 0,
            current: None,
            to_add: Vec::new(),
            to_remove: Vec::new(),
            failed: Vec::new(),
            pause: None,
            lost: LostPartitions::new(),
            jumps: VecDeque::new(),
        }
    }

    /// Reads a partition from now on. `range` is what is readable, as far as that is known.
    pub(crate) fn add(&mut self, of: TopicPartition, position: Position, range: Option<Range<u64>>) {
        let reader = Reader::new(of.clone(), position, range);
        let part = Part { reader, read_id: 0, is_confirmed: false };
        if let Some(earlier) = self.partitions.insert(of.clone(), part) {
            self.by_read_id.remove(&earlier.read_id);
            self.leave(&of);
        }
        self.ask(of);
    }

    /// Reads a partition no more. Returns where it was.
    pub(crate) fn remove(&mut self, of: &TopicPartition) -> Option<Position> {
        let part = self.partitions.remove(of)?;
        self.by_read_id.remove(&part.read_id);
        self.leave(of);
        self.to_remove.push(of.clone());
        Some(part.reader.position())
    }

    /// Goes on elsewhere. Returns whether the partition is read at all.
    pub(crate) fn seek(&mut self, of: &TopicPartition, position: Position) -> bool {
        let Some(part) = self.partitions.get_mut(of) else { return false };
        part.reader.seek(position);
        part.is_confirmed = false;
        self.leave(of);
        self.ask(of.clone());
        true
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Those of which the server can read nothing.
    pub(crate) fn lost_partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.lost.iter()
    }

    pub(crate) fn is_lost(&self, of: &TopicPartition) -> bool {
        self.lost.contains(of)
    }

    /// Whether there is nothing that could be read.
    pub(crate) fn are_all_lost(&self) -> bool {
        self.partitions.keys().all(|of| self.lost.contains(of))
    }

    /// Who was told that a partition is lost leaves it to the next to say so.
    pub(crate) fn say_lost_later(&mut self, of: TopicPartition, message: String) {
        self.lost.say_later(of, message);
    }

    /// Where each partition is read next, as far as that is known.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&TopicPartition, u64)> {
        self.partitions.iter().filter_map(|(of, part)| Some((of, number(part.reader.position())?)))
    }

    pub(crate) fn position(&self, of: &TopicPartition) -> Option<u64> {
        number(self.partitions.get(of)?.reader.position())
    }

    pub(crate) fn range(&self, of: &TopicPartition) -> Option<Range<u64>> {
        self.partitions.get(of)?.reader.range()
    }

    pub(crate) fn take_jump(&mut self) -> Option<Jump> {
        self.jumps.pop_front()
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        self.link.client()
    }

    /// Whether the server has said about each partition where it reads, or that it cannot.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.partitions.iter().all(|(of, part)| part.is_confirmed || self.lost.contains(of))
    }

    /// Whether there are messages to hand out.
    pub(crate) fn has_messages(&self) -> bool {
        self.current.is_some()
    }

    /// The partition whose messages are handed out next.
    pub(crate) fn current(&self) -> Option<&TopicPartition> {
        self.current.as_ref()
    }

    /// Everything that is ready, of one partition; advances its position over it.
    ///
    /// # Errors
    /// [`ConsumeError::Corrupt`]; the position is unchanged, and what comes there is asked for again.
    pub(crate) fn take_ready(&mut self) -> Result<Vec<Message>, ConsumeError> {
        Ok(self.prepare()?.map(Reader::take_ready).unwrap_or_default())
    }

    /// One message; advances the position of its partition over it.
    ///
    /// # Errors
    /// As [`take_ready`](Reads::take_ready).
    pub(crate) fn take_one(&mut self) -> Result<Option<Message>, ConsumeError> {
        Ok(self.prepare()?.and_then(Reader::take_one))
    }

    /// The reader that has messages ready, if there is one.
    fn prepare(&mut self) -> Result<Option<&mut Reader>, ConsumeError> {
        let Some(current) = &self.current else { return Ok(None) };
        let Some(part) = self.partitions.get_mut(current) else { return Ok(None) };
        let prepared = part.reader.prepare();
        if prepared.is_err() || part.reader.is_done() {
            self.current = None;
        }
        // A stream whose bytes are wrong is not read on: the next one starts at the positions.
        prepared.inspect_err(|_| self.link.distrust_stream())?;
        Ok(Some(&mut part.reader).filter(|reader| !reader.is_done()))
    }

    /// Waits for one reply, and takes it in. Nothing of the one before may be left.
    ///
    /// # Errors
    /// What the server says about a partition or about all of them, unless asking again helps. A partition is asked
    /// for again all the same. That it is lost is said once.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        loop {
            if let Some(error) = self.lost.take_unsaid() {
                return Poll::Ready(Err(error));
            }
            self.tell();
            let (partitions, max_bytes, policy) = (&self.partitions, self.max_bytes, self.reset_policy);
            let everything = || requests(partitions, max_bytes, policy, partitions.keys(), [].iter());
            if let Poll::Ready(reply) = self.link.poll_reply(context, everything) {
                let accepted = reply.and_then(|reply| self.accept(reply));
                if accepted.is_ok() && self.lost.has_unsaid() {
                    continue;
                }
                return Poll::Ready(accepted);
            }
            let due = std::task::ready!(self.poll_due(context));
            due.into_iter().for_each(|of| self.ask(of));
        }
    }

    /// The partitions that are to be asked for again, when it is time for some.
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<Vec<TopicPartition>> {
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(context).is_ready()
        {
            self.pause = None;
            return Poll::Ready(std::mem::take(&mut self.failed));
        }
        self.lost.poll_due(context)
    }

    /// Tells the server what is to change.
    fn tell(&mut self) {
        if !self.to_add.is_empty() || !self.to_remove.is_empty() {
            let (add, remove) = (std::mem::take(&mut self.to_add), std::mem::take(&mut self.to_remove));
            let told =
                requests(&self.partitions, self.max_bytes, self.reset_policy, add.iter(), remove.iter());
            self.link.tell(told.into_iter());
        }
    }

    fn accept(&mut self, mut reply: ReadResponse) -> Result<(), ConsumeError> {
        let Some(of) = self.by_read_id.get(&reply.read_id).cloned() else { return Ok(()) };
        let Some(part) = self.partitions.get_mut(&of) else { return Ok(()) };
        if let Some(error) = reply.error.take() {
            return match judge_partition(error, &of) {
                Verdict::TryAgain(cause) => {
                    self.link.distrust_stream_because(cause);
                    Ok(())
                }
                Verdict::Fail(ConsumeError::PartitionLost { of, message }) => {
                    self.lost.note(of, message);
                    Ok(())
                }
                Verdict::Fail(error) => {
                    self.failed.push(of);
                    self.pause.get_or_insert_with(|| Box::pin(time::sleep(PAUSE)));
                    Err(error)
                }
            };
        }
        // It is confirmed before it is read, which may fail yet.
        let is_served = !reply.record_batches.is_empty() || reply.next_number >= reply.end_number;
        if let Err(error) = part.reader.accept(reply) {
            self.link.distrust_stream();
            return Err(error);
        }
        part.is_confirmed = true;
        if is_served {
            self.lost.forget(&of);
        }
        let jump = part.reader.take_jump();
        self.current = Some(of).filter(|_| !part.reader.is_done());
        if let Some(jump) = jump {
            match self.jumps.iter_mut().find(|earlier| earlier.of == jump.of) {
                Some(earlier) => earlier.to = jump.to,
                None => self.jumps.push_back(jump),
            }
        }
        Ok(())
    }

    /// Asks for a partition, at its position, with the next poll.
    fn ask(&mut self, of: TopicPartition) {
        let Some(part) = self.partitions.get_mut(&of) else { return };
        self.last_read_id += 1;
        self.by_read_id.remove(&part.read_id);
        part.read_id = self.last_read_id;
        self.by_read_id.insert(part.read_id, of.clone());
        self.to_add.push(of);
    }

    /// What came of a partition is not handed out.
    fn leave(&mut self, of: &TopicPartition) {
        if self.current.as_ref() == Some(of) {
            self.current = None;
        }
        self.to_add.retain(|other| other != of);
        self.failed.retain(|other| other != of);
        self.lost.forget(of);
    }
}

fn number(position: Position) -> Option<u64> {
    match position {
        Position::Number(number) => Some(number),
        _ => None,
    }
}

/// What to say to the server, in requests that it takes; at least one.
fn requests<'a>(
    partitions: &BTreeMap<TopicPartition, Part>,
    max_bytes: u32,
    policy: ResetPolicy,
    add: impl Iterator<Item = &'a TopicPartition>,
    remove: impl Iterator<Item = &'a TopicPartition>,
) -> Vec<ReadRequest> {
    let empty =
        || ReadRequest { max_bytes, encoding: Encoding::RecordBatches.into(), ..ReadRequest::default() };
    let mut requests = vec![empty()];
    let mut bytes = 0;
    let mut room_for = |requests: &mut Vec<ReadRequest>, of: &TopicPartition| {
        bytes += of.topic.len() + PARTITION_BYTES;
        if bytes > REQUEST_BYTES_MAX {
            bytes = of.topic.len() + PARTITION_BYTES;
            requests.push(empty());
        }
        requests.len() - 1
    };
    for of in remove {
        let last = room_for(&mut requests, of);
        requests[last].remove.push(of.into());
    }
    for of in add {
        let Some(part) = partitions.get(of) else { continue };
        let last = room_for(&mut requests, of);
        requests[last].add.push(ReadPartition {
            topic: of.topic.to_string(),
            partition: of.partition,
            from: Some(part.reader.position().into()),
            reset_policy: v1::ResetPolicy::from(policy).into(),
            read_id: part.read_id,
            leader_epoch: None,
        });
    }
    requests
}
