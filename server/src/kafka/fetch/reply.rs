//! The reply to a fetch, written by hand so that batches go out as they are.
//!
//! ```text
//!   i32 throttle time | i16 error, i32 session id (7+) | array of topics | tags (12+)
//!   topic     = name, or id (13+) | array of partitions | tags (12+)
//!   partition = i32 index | i16 error | i64 high watermark | i64 last stable offset | i64 log start (5+)
//!             | array of aborted transactions | i32 preferred replica (11+) | length, batches | tags (12+)
//! ```
//!
//! Lengths and counts are compact from version 12 on. Source: the "Fetch Response" section of the Apache Kafka
//! protocol documentation; the tests read it with `kafka-protocol`.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use minikafka_record::RecordBatch;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{reply::Reply, request::Head},
    part::{Failure, Part, State},
    reading::{Named, Topic},
};

/// No session.
const SESSION_ID: i32 = 0;
/// Nothing is known.
const UNKNOWN: i64 = -1;
const NO_REPLICA: i32 = -1;
/// Smaller batches are copied: that is cheaper than one more piece to write.
const COPIED_BYTES: usize = 1024;

/// How "no transactions were aborted" is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aborted {
    /// Nobody has asked.
    Null,
    /// There are none.
    Empty,
}

impl Aborted {
    /// As the isolation level of the request wants it: 0 reads uncommitted, 1 committed.
    pub(super) fn of(isolation_level: i8) -> Aborted {
        if isolation_level == 0 { Aborted::Null } else { Aborted::Empty }
    }
}

/// The reply to a request that is wrong as a whole.
pub(super) fn refusal(head: Head, code: i16) -> Reply {
    let mut writer = Writer::new(head);
    writer.head(code);
    writer.count(Some(0));
    writer.tags();
    writer.finish(None)
}

/// The reply with what was read; `room` is what it takes up until it is written.
pub(super) fn encode(
    head: Head,
    aborted: Aborted,
    topics: Vec<Topic>,
    room: Option<OwnedSemaphorePermit>,
) -> Reply {
    let mut writer = Writer::new(head);
    writer.head(0);
    writer.count(Some(topics.len()));
    for (topic, parts) in topics {
        match topic {
            Named::Name(name) => writer.text(&name),
            Named::Id(id) => writer.out.extend_from_slice(id.as_bytes()),
        }
        writer.count(Some(parts.len()));
        for part in parts {
            writer.part(part, aborted);
        }
        writer.tags();
    }
    writer.tags();
    writer.finish(room)
}

struct Writer {
    version: i16,
    out: BytesMut,
    pieces: VecDeque<Bytes>,
}

impl Writer {
    fn new(head: Head) -> Writer {
        Writer { version: head.version, out: Reply::begin(head), pieces: VecDeque::new() }
    }

    fn head(&mut self, code: i16) {
        self.out.put_i32(0);
        if self.version >= 7 {
            self.out.put_i16(code);
            self.out.put_i32(SESSION_ID);
        }
    }

    fn part(&mut self, part: Part, aborted: Aborted) {
        let (code, start, high_watermark, batches) = match part.state {
            State::Read(read) => (0, read.start.as_i64(), read.high_watermark.as_i64(), read.batches),
            State::Failed(Failure { code, bounds: Some((start, end)) }) => {
                (code, start.as_i64(), end.as_i64(), Vec::new())
            }
            State::Failed(Failure { code, bounds: None }) => (code, UNKNOWN, UNKNOWN, Vec::new()),
        };
        self.out.put_i32(part.index);
        self.out.put_i16(code);
        self.out.put_i64(high_watermark);
        // Without transactions, all that is committed is stable.
        self.out.put_i64(high_watermark);
        if self.version >= 5 {
            self.out.put_i64(start);
        }
        self.count(match aborted {
            Aborted::Null => None,
            Aborted::Empty => Some(0),
        });
        if self.version >= 11 {
            self.out.put_i32(NO_REPLICA);
        }
        self.batches(batches);
        self.tags();
    }

    /// The batches, behind their length: empty when there are none, not null.
    fn batches(&mut self, batches: Vec<RecordBatch>) {
        self.count(Some(batches.iter().map(|batch| batch.bytes().len()).sum()));
        for batch in batches {
            if batch.bytes().len() < COPIED_BYTES {
                self.out.extend_from_slice(batch.bytes());
            } else {
                self.flush();
                self.pieces.push_back(batch.into_bytes());
            }
        }
    }

    fn is_flexible(&self) -> bool {
        self.version >= 12
    }

    /// A count or a length of 32 bits; `None` is null.
    fn count(&mut self, count: Option<usize>) {
        match (self.is_flexible(), count) {
            (true, count) => self.unsigned_varint(count.map_or(0, |count| count + 1)),
            (false, Some(count)) => {
                self.out.put_i32(i32::try_from(count).expect("replies are limited to far less"));
            }
            (false, None) => self.out.put_i32(-1),
        }
    }

    fn text(&mut self, text: &str) {
        if self.is_flexible() {
            self.unsigned_varint(text.len() + 1);
        } else {
            self.out.put_i16(i16::try_from(text.len()).expect("it came with such a length"));
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    fn tags(&mut self) {
        if self.is_flexible() {
            self.out.put_u8(0);
        }
    }

    fn unsigned_varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.pieces.push_back(self.out.split().freeze());
        }
    }

    fn finish(mut self, room: Option<OwnedSemaphorePermit>) -> Reply {
        self.flush();
        Reply::of_pieces(self.pieces, room)
    }
}
