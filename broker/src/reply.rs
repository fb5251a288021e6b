//! [`Reply`]: the answer that a produce waits for, and what is counted and traced when it is given.

use std::time::Instant;

use minikafka_record::Offset;
use tokio::sync::oneshot;
use tracing::Span;

use crate::{CheckedPayload, Error, Origin, Produced, traffic::Meter};

/// Takes the answer to a produce. Dropped unanswered with the whole runtime only.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Result<Produced, Error>>,
    meter: Meter,
    bytes: u64,
    begin: Instant,
    /// Of the call; none unless somebody listens.
    span: Span,
}

impl Reply {
    /// For a produce of this payload that began then, and where the answer arrives.
    pub(crate) fn new(
        payload: &CheckedPayload,
        meter: Meter,
        begin: Instant,
        span: Span,
    ) -> (Reply, oneshot::Receiver<Result<Produced, Error>>) {
        let (sender, answer) = oneshot::channel();
        (Reply { sender, meter, bytes: payload.bytes as u64, begin, span }, answer)
    }

    /// The owner takes it into the entry that is appended next.
    pub(crate) fn taken(&self) {
        self.span.in_scope(|| tracing::debug!("taken into an entry, to be appended"));
    }

    /// Counts and answers. What an earlier request has stored was counted with that one.
    pub(crate) fn send(self, outcome: Result<Produced, Error>) {
        let Reply { sender, meter, bytes, begin, span } = self;
        match &outcome {
            Ok(Produced { origin: Origin::Earlier, base_offset, count, .. }) => {
                let number = || Offset::number(*base_offset);
                span.in_scope(|| tracing::debug!(number = number(), count, "committed before"));
            }
            Ok(produced) => {
                meter.produced(produced.count.into(), bytes, begin);
                let number = || Offset::number(produced.base_offset);
                span.in_scope(|| tracing::debug!(number = number(), count = produced.count, "committed"));
            }
            Err(error) => span.in_scope(|| tracing::debug!(%error, "not committed")),
        }
        // A producer that went away does not want to know.
        let _ = sender.send(outcome);
    }
}
