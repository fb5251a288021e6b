//! [`Reader`], which makes messages of replies and knows how far they were read. No clock, no socket.

use std::{collections::VecDeque, mem, ops::Range};

use bytes::Bytes;
use minikafka_proto::v1::SubscribeResponse;
use minikafka_record::{BatchError, Offset, RecordBatch};

use crate::{ConsumeError, Message, Position};

/// The position left the row: the consumer wanted the message `from` and went on at `to`, as its
/// [`ResetPolicy`](crate::ResetPolicy) says.
///
/// When `to` is larger, the messages between were evicted. When it is smaller, the topic was created anew, or
/// a server that keeps messages in memory was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
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
    /// [`Position::Number`], once the server has said which it is.
    position: Position,
    /// Decoded and not yet handed out.
    ready: VecDeque<Message>,
    /// What is readable, as of the last reply.
    range: Option<Range<u64>>,
    jump: Option<Jump>,
}

impl Reader {
    pub(crate) fn new(position: Position) -> Reader {
        Reader { position, ready: VecDeque::new(), range: None, jump: None }
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
        self.jump.take()
    }

    pub(crate) fn seek(&mut self, position: Position) {
        self.position = position;
        self.ready.clear();
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

    /// Takes in the next reply of a stream that was opened at the position. Nothing may be ready.
    ///
    /// # Errors
    /// [`ConsumeError::Corrupt`]; nothing has changed then.
    pub(crate) fn accept(&mut self, mut reply: SubscribeResponse) -> Result<(), ConsumeError> {
        debug_assert!(self.ready.is_empty());
        let batches = self.parse(mem::take(&mut reply.record_batches))?;
        let start = match batches.first() {
            // The server starts where it was asked to, or says where it does.
            None => reply.next_number,
            Some(first) => self.start_in(first.base_offset().number(), &reply),
        };
        let ready = self.decode(&batches, start)?;
        if let Position::Number(wanted) = self.position
            && wanted != start
        {
            let from = self.jump.map_or(wanted, |earlier| earlier.from);
            self.jump = Some(Jump { from, to: start });
        }
        if let Position::Timestamp(_) = self.position
            && let Some(first) = ready.front()
        {
            self.position = Position::Number(first.number);
        } else {
            self.position = Position::Number(start);
        }
        self.ready = ready;
        self.range = Some(reply.start_number..reply.end_number);
        Ok(())
    }

    /// The number of the first wanted message in a reply whose first batch starts at `base`. Batches come
    /// whole: the wanted number may lie inside.
    fn start_in(&self, base: u64, reply: &SubscribeResponse) -> u64 {
        match self.position {
            // All lies below what was wanted: the server was told to go on elsewhere.
            Position::Number(wanted) if reply.next_number <= wanted => base,
            Position::Number(wanted) => wanted.max(base),
            Position::Earliest => base.max(reply.start_number),
            Position::Latest | Position::Timestamp(_) => base,
        }
    }

    fn parse(&self, batches: Vec<Bytes>) -> Result<Vec<RecordBatch>, ConsumeError> {
        let mut parsed = Vec::with_capacity(batches.len());
        for mut bytes in batches {
            while let Some(batch) =
                RecordBatch::split_from(&mut bytes).map_err(|error| self.corrupt(error))?
            {
                parsed.push(batch);
            }
        }
        Ok(parsed)
    }

    fn decode(&self, batches: &[RecordBatch], start: u64) -> Result<VecDeque<Message>, ConsumeError> {
        // The counts are claims until the checksums are verified, and each message has at least its bytes.
        let mut messages = VecDeque::new();
        let start = Offset::from_number(start).unwrap_or_default();
        for batch in batches.iter().filter(|batch| batch.end_offset() > start && !batch.header().is_control())
        {
            batch.verify_checksum().map_err(|error| self.corrupt(error))?;
            let records = batch.records();
            messages.reserve(records.size_hint().0);
            for record in records {
                let record = record.map_err(|error| self.corrupt(error))?;
                if record.offset >= start && !self.is_before_wanted_time(&messages, record.timestamp) {
                    messages.push_back(Message::from(record));
                }
            }
        }
        Ok(messages)
    }

    /// Whether a message precedes the first one of the wanted time.
    fn is_before_wanted_time(&self, messages: &VecDeque<Message>, timestamp: i64) -> bool {
        match self.position {
            Position::Timestamp(wanted) => messages.is_empty() && timestamp < wanted,
            _ => false,
        }
    }

    fn corrupt(&self, source: BatchError) -> ConsumeError {
        let number = if let Position::Number(number) = self.position { number } else { 0 };
        ConsumeError::Corrupt { number, source }
    }
}
