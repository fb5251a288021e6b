//! [`Part`]: one partition of a fetch, and what was read of it so far.

use kafka_protocol::{ResponseError, messages::fetch_request::FetchPartition};
use minikafka_broker::{Error, Partition};
use minikafka_record::{Compression, Offset, RecordBatch};

use super::{
    super::{door::Door, errors},
    ZSTD_SINCE, behind_damage,
    reading::Named,
};

/// One partition of a fetch.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) index: i32,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Read(Box<Progress>),
    Failed(Failure),
}

/// Why nothing can be read, and what the client is told besides.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: i16,
    pub(super) bounds: Option<(Offset, Offset)>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) partition: Partition,
    /// Where to read on.
    pub(super) position: Offset,
    /// Bytes that may still be read, but for a first batch that is larger.
    bytes_left: usize,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) start: Offset,
    pub(super) high_watermark: Offset,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// So many bytes, perhaps none.
    Bytes(usize),
    /// There is more, and it does not fit.
    Full,
    /// Nothing, for an error that the client is to know of at once.
    Failed,
}

impl Part {
    /// One of which nothing is read.
    pub(super) fn refuse(door: &Door, index: i32, error: ResponseError) -> Part {
        Part { index, state: State::Failed(Failure { code: door.counts.error(error), bounds: None }) }
    }

    /// Finds the partition.
    pub(super) fn resolve(door: &Door, version: i16, topic: &Named, wanted: &FetchPartition) -> Part {
        let found = match topic {
            Named::Name(name) => door.partition(name, wanted.partition),
            Named::Id(id) => door.partition_with_id(*id, wanted.partition),
        };
        let found = found.and_then(|partition| {
            if version >= 9 {
                door.check_epoch(&partition, wanted.current_leader_epoch)?;
            }
            Ok(partition)
        });
        let state = match found {
            Err(error) => State::Failed(Failure { code: door.counts.error(error), bounds: None }),
            Ok(partition) => {
                let bounds = partition.bounds();
                match u64::try_from(wanted.fetch_offset) {
                    Ok(offset) => State::Read(Box::new(Progress {
                        partition,
                        position: Offset::new(offset),
                        bytes_left: usize::try_from(wanted.partition_max_bytes).unwrap_or(0),
                        batches: Vec::new(),
                        start: bounds.start,
                        high_watermark: bounds.high_watermark,
                    })),
                    Err(_) => State::Failed(Failure {
                        code: door.counts.error(ResponseError::OffsetOutOfRange),
                        bounds: Some((bounds.start, bounds.high_watermark)),
                    }),
                }
            }
        };
        Part { index: wanted.partition, state }
    }

    /// Whether there may be something to read now.
    pub(super) fn is_behind(&self) -> bool {
        match &self.state {
            State::Read(progress) => progress.partition.bounds().high_watermark > progress.position,
            State::Failed(_) => false,
        }
    }

    /// Reads on, at most `room` bytes; `is_first`: at least one batch, however large it is.
    pub(super) async fn read(&mut self, door: &Door, version: i16, room: usize, is_first: bool) -> Took {
        let State::Read(progress) = &mut self.state else { return Took::Bytes(0) };
        match progress.read(version, room, is_first).await {
            Ok(took) => took,
            // What was read before is good, and the next fetch says what is wrong.
            Err(_) if !progress.batches.is_empty() => Took::Full,
            Err(refused) => {
                let bounds = match &refused {
                    Refused::Broker(Error::OutOfRange { start, high_watermark, .. }) => {
                        Some((*start, *high_watermark))
                    }
                    _ => None,
                };
                let code = match refused {
                    Refused::Broker(error) => errors::code(&error),
                    Refused::Zstd => ResponseError::UnsupportedCompressionType,
                };
                self.state = State::Failed(Failure { code: door.counts.error(code), bounds });
                Took::Failed
            }
        }
    }
}

enum Refused {
    Broker(Error),
    /// The client does not know it.
    Zstd,
}

impl Progress {
    async fn read(&mut self, version: i16, room: usize, is_first: bool) -> Result<Took, Refused> {
        let limit = self.bytes_left.min(room);
        if limit == 0 && !is_first {
            // What is wrong takes no room.
            self.partition.check_range(self.position).map_err(Refused::Broker)?;
            return Ok(if self.partition.bounds().high_watermark > self.position {
                Took::Full
            } else {
                Took::Bytes(0)
            });
        }
        let fetched = loop {
            match self.partition.fetch(self.position, limit, std::time::Duration::ZERO).await {
                Ok(fetched) => break fetched,
                // Consumers are used to gaps.
                Err(error) => match behind_damage(&error).filter(|next| *next > self.position) {
                    Some(next) => self.position = next,
                    None => return Err(Refused::Broker(error)),
                },
            }
        };
        (self.start, self.high_watermark) = (fetched.start, fetched.high_watermark);
        let mut took = 0;
        for batch in fetched.batches {
            if version < ZSTD_SINCE && batch.header().compression() == Some(Compression::Zstd) {
                return if took > 0 { Ok(Took::Bytes(took)) } else { Err(Refused::Zstd) };
            }
            let len = batch.bytes().len();
            if took + len > limit && !(is_first && took == 0) {
                self.bytes_left = self.bytes_left.saturating_sub(took);
                return Ok(if took > 0 { Took::Bytes(took) } else { Took::Full });
            }
            took += len;
            self.position = batch.end_offset();
            self.batches.push(batch);
        }
        self.bytes_left = self.bytes_left.saturating_sub(took);
        Ok(Took::Bytes(took))
    }
}
