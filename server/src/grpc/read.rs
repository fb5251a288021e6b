//! Read: many partitions over one stream, which is pulled as a subscription is. The requests on it say what to read;
//! [`Turns`] says whose reply comes next.
//!
//! What the client asks for goes first: each partition that it adds is confirmed, or refused, before anybody's
//! turn comes, so that it soon knows where it stands. One that does not read its replies is read no further either.
//!
//! One that does not read at all costs as much as a subscription, however many partitions it has.

use std::vec;

use futures_util::{Stream, stream::unfold};
use minikafka_broker::{Broker, Error};
use minikafka_proto::v1::{ReadPartition, ReadRequest, ReadResponse, TopicPartition};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{
    position::{self, Topic, known},
    reader::{Chunk, Form, Reader, Wishes},
    refusal::{Refusal, refuse},
    turns::{Turns, failure, reply},
};

/// Runs a stream until the client ends it or the server stops. Returns the replies.
pub(super) fn run(
    broker: Broker,
    requests: Streaming<ReadRequest>,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<ReadResponse, Status>> {
    let reading = Reading {
        broker,
        requests: Some(requests),
        stopping,
        form: Form::default(),
        adding: Vec::new().into_iter(),
        turns: Turns::default(),
    };
    unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(reply)) => Some((Ok(reply), Some(reading))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

/// A read stream.
struct Reading {
    broker: Broker,
    /// What the client says; `None` once it says nothing more.
    requests: Option<Streaming<ReadRequest>>,
    stopping: CancellationToken,
    form: Form,
    /// What the last request wants to read and is not confirmed yet.
    adding: vec::IntoIter<ReadPartition>,
    turns: Turns,
}

impl Reading {
    /// The next reply; `None` at the end.
    async fn next(&mut self) -> Result<Option<ReadResponse>, Status> {
        loop {
            if let Some(wanted) = self.adding.next() {
                return Ok(Some(self.add(wanted).await?));
            }
            let Some(requests) = &mut self.requests else {
                if self.turns.is_empty() {
                    return Ok(None);
                }
                return Ok(Some(self.turns.next().await?));
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Err(refuse(&self.broker)(Error::Stopping).into()),
                request = requests.message() => match request? {
                    Some(request) => self.take(request)?,
                    None => self.requests = None,
                },
                reply = self.turns.next() => return Ok(Some(reply?)),
            }
        }
    }

    fn take(&mut self, request: ReadRequest) -> Result<(), Refusal> {
        let form = self.form.changed(request.max_bytes, request.encoding)?;
        if form != self.form {
            self.form = form;
            self.turns.change_form(form);
        }
        self.turns.remove(request.remove.iter());
        self.adding = request.add.into_iter();
        Ok(())
    }

    /// Begins to read a partition. Returns the first reply about it.
    async fn add(&mut self, wanted: ReadPartition) -> Result<ReadResponse, Refusal> {
        let of = TopicPartition { topic: wanted.topic.clone(), partition: wanted.partition };
        // Whatever comes of it, the earlier position is void.
        self.turns.remove([&of].into_iter());
        match open(&self.broker, self.form, &wanted).await {
            Ok((reader, chunk)) => {
                let confirmed = reply(&reader, wanted.read_id, chunk);
                self.turns.add(reader, wanted.read_id);
                Ok(confirmed)
            }
            Err(refusal) if refusal.is_stopping() => Err(refusal),
            Err(refusal) => Ok(failure(of, wanted.read_id, refusal)),
        }
    }
}

/// Finds the position, and confirms it.
async fn open(broker: &Broker, form: Form, wanted: &ReadPartition) -> Result<(Reader, Chunk), Refusal> {
    let reset = known(wanted.reset_policy, "reset_policy")?;
    let partition = broker.partition(&wanted.topic, Some(wanted.partition)).map_err(refuse(broker))?;
    partition.check_leader_epoch(wanted.leader_epoch).map_err(refuse(broker))?;
    let position = position::resolve(broker, &partition, wanted.from.as_ref(), Topic::Found).await?;
    let mut reader = Reader::new(broker.clone(), partition, position, Wishes { form, reset });
    let chunk = reader.confirm()?;
    Ok((reader, chunk))
}
