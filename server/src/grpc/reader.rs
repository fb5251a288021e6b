//! [`Reader`]: a position in a partition that moves on, under the rules that Poll and Subscribe share.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use minikafka_broker::{Broker, Error, Fetched, Partition, PartitionBounds};
use minikafka_proto::v1::{Encoding, Message, ResetPolicy};
use minikafka_record::{Offset, RecordBatch};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    REPLY_BYTES_MAX,
    backlog::{Backlog, encoded},
    position::known,
    refusal::{Refusal, refuse},
};

/// What a reply holds when nobody says how much.
const REPLY_BYTES_DEFAULT: usize = 1024 * 1024;

/// How a reader wants to be answered, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) form: Form,
    pub(super) reset: ResetPolicy,
}

/// What a reply looks like, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    bytes_max: usize,
    encoding: Encoding,
}

impl Wishes {
    /// From the fields of a request.
    pub(super) fn new(bytes_max: u32, reset_policy: i32, encoding: i32) -> Result<Wishes, Refusal> {
        let form = Form::default().changed(bytes_max, encoding)?;
        Ok(Wishes { form, reset: known(reset_policy, "reset_policy")? })
    }
}

impl Default for Form {
    fn default() -> Form {
        Form { bytes_max: REPLY_BYTES_DEFAULT, encoding: Encoding::Messages }
    }
}

impl Form {
    /// As the fields of a request say; what they leave open stays.
    pub(super) fn changed(self, bytes_max: u32, encoding: i32) -> Result<Form, Refusal> {
        let bytes_max = match bytes_max {
            0 => self.bytes_max,
            // More would not pass a default client.
            wanted => (wanted as usize).min(REPLY_BYTES_MAX),
        };
        let encoding = match known(encoding, "encoding")? {
            Encoding::Unspecified => self.encoding,
            wanted => wanted,
        };
        Ok(Form { bytes_max, encoding })
    }
}

/// A position in a partition.
#[derive(Debug)]
pub(super) struct Reader {
    broker: Broker,
    partition: Partition,
    wishes: Wishes,
    /// What comes next.
    position: Offset,
    backlog: Backlog,
    /// Where to go on once the backlog is sent.
    fetched_to: Offset,
    /// What is being fetched from there meanwhile.
    ahead: Option<Ahead>,
}

/// A fetch that runs while what was fetched before is being sent.
#[derive(Debug)]
struct Ahead {
    from: Offset,
    fetched: JoinHandle<Result<Fetched, Error>>,
}

impl Ahead {
    async fn finish(self) -> Result<Fetched, Error> {
        match self.fetched.await {
            Ok(fetched) => fetched,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The runtime goes down, and everything with it.
            Err(_) => Err(Error::Stopping),
        }
    }
}

/// What a reader gets at a time.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) messages: Vec<Message>,
    pub(super) record_batches: Vec<Bytes>,
    pub(super) next_number: u64,
    pub(super) start_number: u64,
    pub(super) end_number: u64,
    pub(super) leader_epoch: u64,
}

impl Chunk {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.record_batches.is_empty()
    }
}

impl Reader {
    pub(super) fn new(broker: Broker, partition: Partition, position: Offset, wishes: Wishes) -> Reader {
        let backlog = Backlog::default();
        Reader { broker, partition, wishes, position, backlog, fetched_to: position, ahead: None }
    }

    /// Its partition.
    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Where it begins, without messages: for those who want to know before there are any.
    ///
    /// # Errors
    /// When the position is out of range and the policy is to fail, the topic is deleted, or the server stops.
    pub(super) fn confirm(&mut self) -> Result<Chunk, Refusal> {
        while let Err(error) = self.partition.check_range(self.position) {
            self.position = self.reset(error)?;
        }
        Ok(self.chunk(Vec::new(), Vec::new()))
    }

    /// Whether all is sent that was fetched.
    pub(super) fn is_between_fetches(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Whether there are messages at the position.
    pub(super) fn is_behind(&self) -> bool {
        self.position < self.partition.bounds().high_watermark
    }

    /// Waits until there is something to say at the position, which was the end.
    pub(super) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        self.partition.wait_beyond(self.position)
    }

    /// Answers in another form from now on. What was fetched for the one before is fetched again.
    pub(super) fn change_form(&mut self, form: Form) {
        self.wishes.form = form;
        self.backlog = Backlog::default();
        self.ahead = None;
    }

    /// The next messages; none when none came within `wait`.
    ///
    /// # Errors
    /// When the position is out of range and the policy is to fail, the topic is deleted, the server stops,
    /// or the log cannot be read.
    pub(super) async fn next(&mut self, wait: Duration) -> Result<Chunk, Refusal> {
        // What is left over may have grown too old since it was fetched: nothing is served after its time.
        if self.backlog.is_empty() || self.partition.bounds().start > self.position {
            self.fetch(wait).await?;
        }
        let Form { bytes_max, encoding } = self.wishes.form;
        let (mut messages, mut batches) = (Vec::new(), Vec::new());
        match encoding {
            Encoding::RecordBatches => batches = self.backlog.take_batches(bytes_max),
            Encoding::Messages | Encoding::Unspecified => {
                messages = self
                    .backlog
                    .take_messages(self.position, bytes_max)
                    .map_err(|error| Refusal::unreadable(&error))?;
            }
        }
        let after_messages = messages.last().map(|message| Offset::new(message.number));
        let after_batches = batches.last().map(RecordBatch::end_offset);
        self.position = after_messages.or(after_batches).unwrap_or(self.position);
        if self.backlog.is_empty() {
            // The same, unless the last records are not for readers.
            self.position = self.position.max(self.fetched_to);
        }
        Ok(self.chunk(messages, encoded(batches)))
    }

    /// Begins to fetch what comes next, if it is there already: so that the disk is read while the network
    /// is written to. For those who will ask for it.
    pub(super) fn fetch_ahead(&mut self) {
        let is_there = self.backlog.is_empty() && self.is_behind();
        if self.ahead.is_none() && is_there {
            let (from, bytes_max, partition) =
                (self.position, self.wishes.form.bytes_max, self.partition.clone());
            let fetch = async move { partition.fetch(from, bytes_max, Duration::ZERO).await };
            self.ahead = Some(Ahead { from, fetched: tokio::spawn(fetch) });
        }
    }

    /// Fills the backlog from the position on, moving the position as the policy says when it is out of
    /// range.
    async fn fetch(&mut self, wait: Duration) -> Result<(), Refusal> {
        let begin = Instant::now();
        loop {
            let left = wait.saturating_sub(begin.elapsed());
            // What was fetched ahead may have grown too old, like what is left over.
            let is_kept = self.partition.bounds().start <= self.position;
            let ahead = self.ahead.take().filter(|ahead| ahead.from == self.position && is_kept);
            let fetched = match ahead {
                Some(ahead) => ahead.finish().await,
                None => self.partition.fetch(self.position, self.wishes.form.bytes_max, left).await,
            };
            match fetched {
                Ok(fetched) => {
                    self.backlog = Backlog::new(fetched.batches);
                    self.fetched_to = fetched.next;
                    return Ok(());
                }
                Err(error) => self.position = self.reset(error)?,
            }
        }
    }

    /// Where to go on after an error, if the policy allows that.
    fn reset(&self, error: Error) -> Result<Offset, Refusal> {
        match (&error, self.wishes.reset) {
            (Error::OutOfRange { start, .. }, ResetPolicy::Earliest) => Ok(*start),
            (Error::OutOfRange { high_watermark, .. }, ResetPolicy::Latest) => Ok(*high_watermark),
            _ => Err(refuse(&self.broker)(error)),
        }
    }

    fn chunk(&self, messages: Vec<Message>, record_batches: Vec<Bytes>) -> Chunk {
        let PartitionBounds { start, high_watermark, .. } = self.partition.bounds();
        Chunk {
            messages,
            record_batches,
            next_number: self.position.number(),
            start_number: start.number(),
            end_number: high_watermark.number(),
            leader_epoch: self.partition.leader_epoch(),
        }
    }
}
