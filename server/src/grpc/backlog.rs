//! [`Backlog`]: fetched batches on their way into replies, in either form.

use std::collections::VecDeque;

use bytes::Bytes;
use minikafka_proto::v1::Message;
use minikafka_record::{BatchError, Offset, RecordBatch, Records};
use prost::Message as _;

use super::message;

/// Batches that were fetched and are not sent yet. Batches are read whole, replies are cut to size; what does
/// not fit into one reply stays here for the next.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    batches: VecDeque<RecordBatch>,
    /// The rest of the batch that is being unpacked.
    records: Option<Records>,
    /// Unpacked, but too much for the last reply.
    unfit: Option<Message>,
}

impl Backlog {
    pub(super) fn new(batches: Vec<RecordBatch>) -> Backlog {
        Backlog { batches: batches.into(), records: None, unfit: None }
    }

    /// Whether all is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.records.is_none() && self.unfit.is_none()
    }

    /// Takes messages from `from` on, as many as make `bytes_max` bytes in a reply; at least one, if there is
    /// one.
    ///
    /// # Errors
    /// When a stored batch cannot be read.
    pub(super) fn take_messages(
        &mut self,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Message>, BatchError> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while let Some(message) = self.next_message(from)? {
            bytes += len_in_reply(message.encoded_len());
            if bytes > bytes_max && !messages.is_empty() {
                self.unfit = Some(message);
                break;
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// Takes whole batches, as many as make `bytes_max` bytes in a reply; at least one, if there is one.
    pub(super) fn take_batches(&mut self, bytes_max: usize) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = self.batches.pop_front() {
            bytes += len_in_reply(batch.bytes().len());
            if bytes > bytes_max && !batches.is_empty() {
                self.batches.push_front(batch);
                break;
            }
            batches.push(batch);
        }
        batches
    }

    fn next_message(&mut self, from: Offset) -> Result<Option<Message>, BatchError> {
        if let Some(unfit) = self.unfit.take() {
            return Ok(Some(unfit));
        }
        loop {
            let records = match &mut self.records {
                Some(records) => records,
                None => match self.batches.pop_front() {
                    Some(batch) => self.records.insert(batch.records()),
                    None => return Ok(None),
                },
            };
            match records.next() {
                // The first batch may begin before the wanted offset.
                Some(record) => match record? {
                    record if record.offset < from => {}
                    record => return Ok(Some(message::message(record))),
                },
                None => self.records = None,
            }
        }
    }
}

/// Bytes that an item of a repeated field takes up in a reply: tag, length, item.
fn len_in_reply(item_len: usize) -> usize {
    1 + prost::length_delimiter_len(item_len) + item_len
}

/// The bytes of batches, as the wire wants them.
pub(super) fn encoded(batches: Vec<RecordBatch>) -> Vec<Bytes> {
    batches.into_iter().map(RecordBatch::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use minikafka_record::BatchBuilder;

    use super::*;

    /// Batches of `count` records each, one behind the other, with values of `value_len` bytes.
    fn backlog(counts: &[u64], value_len: usize) -> Backlog {
        let mut next = Offset::ZERO;
        let batches = counts.iter().map(|count| {
            let mut builder = BatchBuilder::new();
            (0..*count).for_each(|_| builder.push(0, None, Some(&vec![7; value_len]), &[]));
            let base = next;
            next = next.plus(*count);
            RecordBatch::parse(builder.finish(base, 0)).unwrap()
        });
        Backlog::new(batches.collect())
    }

    fn numbers(messages: &[Message]) -> Vec<u64> {
        messages.iter().map(|message| message.number).collect()
    }

    #[test]
    fn messages_begin_at_the_wanted_one() {
        let mut backlog = backlog(&[3, 2], 10);
        let messages = backlog.take_messages(Offset::new(2), 10_000).unwrap();
        assert_eq!(numbers(&messages), [3, 4, 5]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_does_not_fit_comes_next() {
        let mut backlog = backlog(&[3, 2], 100);
        let two = 2 * len_in_reply(100 + 2 + 2 + 2);
        assert_eq!(numbers(&backlog.take_messages(Offset::ZERO, two).unwrap()), [1, 2]);
        assert_eq!(numbers(&backlog.take_messages(Offset::new(2), 1).unwrap()), [3], "at least one");
        assert!(!backlog.is_empty());
        assert_eq!(numbers(&backlog.take_messages(Offset::new(3), 10_000).unwrap()), [4, 5]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_list_is_exactly_as_long_as_it_may_be() {
        let mut all = backlog(&[50], 100);
        let reply = minikafka_proto::v1::PollResponse {
            messages: all.take_messages(Offset::ZERO, 2000).unwrap(),
            ..Default::default()
        };
        assert!(reply.encoded_len() <= 2000);
        assert!(reply.encoded_len() + 120 > 2000, "{}", reply.encoded_len());
    }

    #[test]
    fn batches_are_whole() {
        let mut backlog = backlog(&[3, 2, 1], 100);
        assert_eq!(backlog.take_batches(700).len(), 2);
        assert_eq!(backlog.take_batches(1).len(), 1, "at least one");
        assert!(backlog.is_empty());
        assert!(backlog.take_batches(1).is_empty());
    }
}
