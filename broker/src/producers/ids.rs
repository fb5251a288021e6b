//! [`ProducerIds`], which gives out producer ids, and the epochs under them.

use std::ops::Range;

use tokio::sync::Mutex;

use super::ProducerIdentity;
use crate::{Broker, Error, ProducerDescription};

/// Ids that are allocated at once: a sync for so many producers, and as many that are lost with a restart.
const BLOCK: u32 = 1000;

/// Ids that are given out in ascending order, block by block.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl Broker {
    /// An identity for an idempotent producer: a new id, durably never given again; or, for one that had an
    /// identity, the next epoch of its id. Partitions refuse the old epoch once they have seen the new one.
    ///
    /// # Errors
    /// [`Error::ProducerFenced`] when a partition has seen a newer epoch than `previous`,
    /// [`Error::InvalidRequest`] when nobody can have had it; otherwise as any write.
    pub async fn init_producer(&self, previous: Option<ProducerIdentity>) -> Result<ProducerIdentity, Error> {
        self.check_running()?;
        let Some(ProducerIdentity { id, epoch }) = previous else { return self.new_producer().await };
        if id < 0 || epoch < 0 {
            return Err(Error::InvalidRequest(format!(
                "epoch {epoch} of producer {id} was never given: neither is negative"
            )));
        }
        if !self.was_given(id).await {
            return Err(Error::InvalidRequest(format!("producer {id} was never given")));
        }
        let newest = self.cores().iter().filter_map(|core| core.producers.epoch_of(id)).max();
        match newest {
            Some(current) if current > epoch => Err(Error::ProducerFenced { id, epoch, current }),
            _ => match epoch.checked_add(1) {
                Some(epoch) => Ok(ProducerIdentity { id, epoch }),
                // All epochs are used up.
                None => self.new_producer().await,
            },
        }
    }

    /// The idempotent producers that a topic remembers, ordered by partition and id; of one partition or of all.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`], [`Error::TopicNotFound`], [`Error::PartitionNotFound`].
    pub fn producers(&self, topic: &str, partition: Option<u32>) -> Result<Vec<ProducerDescription>, Error> {
        // Says what is wrong with the name, if it is.
        let one = self.partition(topic, partition)?;
        match partition {
            Some(_) => Ok(one.producers()),
            None => {
                let topic = self.0.topics.require(topic)?;
                Ok(topic.served().flat_map(|partition| partition.producers()).collect())
            }
        }
    }

    /// Whether somebody may have this id. One that is still to come must not be claimed: who gets it then would be
    /// fenced with the first message.
    async fn was_given(&self, id: i64) -> bool {
        // In this order: while a block is being allocated, its ids are given to nobody.
        let block = self.0.producer_ids.block.lock().await;
        id < self.next_producer_id() && !block.contains(&id)
    }

    async fn new_producer(&self) -> Result<ProducerIdentity, Error> {
        let mut block = self.0.producer_ids.block.lock().await;
        if block.is_empty() {
            *block = self.allocate_producer_ids(BLOCK).await?;
        }
        let id = block.next().ok_or_else(|| Error::Full("no producer ids are left".to_owned()))?;
        Ok(ProducerIdentity { id, epoch: 0 })
    }
}
