//! [`Reader`], which makes messages of the replies about one partition and knows how far they were read. No clock,
//! no socket.
//!
//! ```text
//!   reply --> unread: batches as they came --> ready: a portion of messages --> handed out
//! ```
//!
//! A reply of compressed batches may hold many times its size in messages, so they are decoded by the
//! portion.

use std::{collections::VecDeque, mem, ops::Range};

use bytes::Bytes;
use minikafka_proto::v1::ReadResponse;
use minikafka_record::{BatchError, Offset, RecordBatch, Records};

use crate::{ConsumeError, Message, Position, TopicPartition};

/// Bytes of messages that are decoded at a time; no less than a reply holds when nothing is compressed.
const PORTION_BYTES: usize = 1 << 20;
/// What a record takes up in a batch beside its key, value and headers, at least.
const RECORD_OVERHEAD: usize = 7;

/// The position left the row: the consumer wanted the message `from` and went on at `to`, as its
/// [`ResetPolicy`](crate::ResetPolicy) says.
///
/// When `to` is larger, the messages between were evicted. When it is smaller, the topic was created anew, or
/// a server that keeps messages in memory was restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The partition.
    pub of: TopicPartition,
    /// Number of the message that was wanted.
    pub from: u64,
    /// Number at which it went on.
    pub to: u64,
}

/// See the module.
///
/// **Invariant:** `ready` holds messages with rising numbers, none of them below the position.
#[derive(Debug)]
pub(crate) struct Reader {
    of: TopicPartition,
    /// [`Position::Number`], once the server has said which it is.
    position: Position,
    /// Decoded and not yet handed out.
    ready: VecDeque<Message>,
    /// Behind those.
    unread: Unread,
    /// What is readable, as of the last reply.
    range: Option<Range<u64>>,
    /// From where to where the position left the row.
    jump: Option<(u64, u64)>,
}

/// What is not decoded of a reply.
#[derive(Debug, Default)]
struct Unread {
    batches: VecDeque<RecordBatch>,
    /// The rest of the batch that is being decoded.
    records: Option<Records>,
    /// What lies before is not wanted.
    start: Offset,
}

impl Reader {
    pub(crate) fn new(of: TopicPartition, position: Position, range: Option<Range<u64>>) -> Reader {
        Reader { of, position, ready: VecDeque::new(), unread: Unread::default(), range, jump: None }
    }

    /// Where to read next.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// What is readable, as of the last reply.
    pub(crate) fn range(&self) -> Option<Range<u64>> {
        self.range.clone()
    }

    pub(crate) fn take_jump(&mut self) -> Option<Jump> {
        self.jump.take().map(|(from, to)| Jump { of: self.of.clone(), from, to })
    }

    pub(crate) fn seek(&mut self, position: Position) {
        self.position = position;
        self.ready.clear();
        self.unread = Unread::default();
    }

    /// Makes the next portion ready, when nothing is and there is one.
    ///
    /// # Errors
    /// [`ConsumeError::Corrupt`]. The position is behind what was handed out, and what came behind it is
    /// gone: it has to be asked for again.
    pub(crate) fn prepare(&mut self) -> Result<(), ConsumeError> {
        if self.ready.is_empty() {
            match self.unread.decode(&self.of, self.position) {
                Ok(ready) => self.ready = ready,
                Err(error) => {
                    self.unread = Unread::default();
                    return Err(self.corrupt(error));
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing more to hand out, once [`prepare`](Reader::prepare) has found nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.ready.is_empty()
    }

    /// Hands out everything that is ready, and advances over it.
    pub(crate) fn take_ready(&mut self) -> Vec<Message> {
        let Some(last) = self.ready.back() else { return Vec::new() };
        self.position = Position::Number(last.number + 1);
        Vec::from(mem::take(&mut self.ready))
    }

    /// Hands out one message, and advances over it.
    pub(crate) fn take_one(&mut self) -> Option<Message> {
        let message = self.ready.pop_front()?;
        self.position = Position::Number(message.number + 1);
        Some(message)
    }

    /// Takes in the next reply of a stream that was opened at the position, and makes its first portion
    /// ready. Nothing of the one before may be left.
    ///
    /// # Errors
    /// [`ConsumeError::Corrupt`]; nothing has changed then.
    pub(crate) fn accept(&mut self, mut reply: ReadResponse) -> Result<(), ConsumeError> {
        debug_assert!(self.ready.is_empty());
        let batches = parse(mem::take(&mut reply.record_batches)).map_err(|error| self.corrupt(error))?;
        let start = match batches.front() {
            // The server starts where it was asked to, or says where it does.
            None => reply.next_number,
            Some(first) => self.start_in(first.base_offset().number(), &reply),
        };
        let mut unread =
            Unread { batches, records: None, start: Offset::from_number(start).unwrap_or_default() };
        let ready = unread.decode(&self.of, self.position).map_err(|error| self.corrupt(error))?;
        if let Position::Number(wanted) = self.position
            && wanted != start
        {
            let from = self.jump.map_or(wanted, |(from, _)| from);
            self.jump = Some((from, start));
        }
        if let Position::Timestamp(_) = self.position
            && let Some(first) = ready.front()
        {
            self.position = Position::Number(first.number);
        } else {
            self.position = Position::Number(start);
        }
        self.ready = ready;
        self.unread = unread;
        self.range = Some(reply.start_number..reply.end_number);
        Ok(())
    }

    /// The number of the first wanted message in a reply whose first batch starts at `base`. Batches come
    /// whole: the wanted number may lie inside.
    fn start_in(&self, base: u64, reply: &ReadResponse) -> u64 {
        match self.position {
            // All lies below what was wanted: the server was told to go on elsewhere.
            Position::Number(wanted) if reply.next_number <= wanted => base,
            Position::Number(wanted) => wanted.max(base),
            Position::Earliest => base.max(reply.start_number),
            Position::Latest | Position::Timestamp(_) => base,
        }
    }

    fn corrupt(&self, source: BatchError) -> ConsumeError {
        let number = if let Position::Number(number) = self.position { number } else { 0 };
        ConsumeError::Corrupt { of: self.of.clone(), number, source }
    }
}

impl Unread {
    /// The next messages that are wanted at `position`; none when there are no more. What is compressed is
    /// decompressed on the way, however it was compressed.
    fn decode(&mut self, of: &TopicPartition, position: Position) -> Result<VecDeque<Message>, BatchError> {
        let mut messages = VecDeque::new();
        let mut bytes = 0;
        while bytes < PORTION_BYTES {
            let Some(records) = &mut self.records else {
                match self.next_records()? {
                    // A hint bounded by the bytes: the count is a claim.
                    Some(records) => messages.reserve(self.records.insert(records).size_hint().0),
                    None => break,
                }
                continue;
            };
            let Some(record) = records.next().transpose()? else {
                self.records = None;
                continue;
            };
            let is_too_early = match position {
                Position::Timestamp(wanted) => messages.is_empty() && record.timestamp < wanted,
                _ => false,
            };
            if record.offset >= self.start && !is_too_early {
                let message = Message::new(of, record);
                bytes += len(&message);
                messages.push_back(message);
            }
        }
        Ok(messages)
    }

    /// The records of the next batch with messages that are wanted.
    fn next_records(&mut self) -> Result<Option<Records>, BatchError> {
        while let Some(batch) = self.batches.pop_front() {
            if batch.end_offset() > self.start && !batch.header().is_control() {
                batch.verify_checksum()?;
                return Ok(Some(batch.records()));
            }
        }
        Ok(None)
    }
}

fn parse(batches: Vec<Bytes>) -> Result<VecDeque<RecordBatch>, BatchError> {
    let mut parsed = VecDeque::with_capacity(batches.len());
    for mut bytes in batches {
        while let Some(batch) = RecordBatch::split_from(&mut bytes)? {
            parsed.push_back(batch);
        }
    }
    Ok(parsed)
}

/// About as many bytes as a message takes up in a batch.
fn len(message: &Message) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = message.headers.iter().map(|header| header.name.len() + len(&header.value)).sum();
    RECORD_OVERHEAD + len(&message.key) + len(&message.value) + headers
}
