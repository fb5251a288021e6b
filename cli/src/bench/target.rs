//! [`Target`], the topic that a run writes to and reads from.

use anyhow::{Context as _, bail};
use minikafka_client_connection::Client;
use minikafka_proto::v1::{
    CreateTopicRequest, DeleteTopicRequest, DescribeTopicRequest, DescribeTopicResponse, Durability,
};

use crate::target::{Target as Server, refused};

/// A topic of a server.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) topic: String,
    pub(super) partitions: u32,
    pub(super) durability: &'static str,
    /// Number of the next message of each partition when the run began.
    pub(super) ends: Vec<u64>,
    client: Client,
    is_ours: bool,
}

impl Target {
    /// The topic `name`, which has to be there; or a new one, with a name of its own.
    pub(super) async fn open(
        server: &Server,
        name: Option<&str>,
        partitions: u32,
        run: u64,
    ) -> anyhow::Result<Target> {
        let mut client = server.connect().await?;
        let topic = name.map_or_else(|| format!("bench-{run:016x}"), str::to_owned);
        if name.is_none() {
            let create = CreateTopicRequest { topic: topic.clone(), partitions, ..Default::default() };
            client.create_topic(create).await.map_err(refused)?;
        }
        let mut target = Target {
            host: server.host().to_owned(),
            topic,
            partitions: 0,
            durability: "",
            ends: Vec::new(),
            client,
            is_ours: name.is_none(),
        };
        match target.look().await {
            Ok(()) => Ok(target),
            Err(error) => {
                target.give_up().await;
                Err(error)
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let found = self.describe().await?;
        if found.partitions.is_empty() {
            bail!("topic \"{}\" has no partitions", self.topic);
        }
        self.partitions = found.partitions.len() as u32;
        self.durability = meaning(found.durability());
        self.ends = ends_of(&found);
        Ok(())
    }

    /// Number of the next message of each partition now: what was stored twice lies before it, wherever it lies.
    pub(super) async fn ends_now(&self) -> anyhow::Result<Vec<u64>> {
        Ok(ends_of(&self.describe().await?))
    }

    async fn describe(&self) -> anyhow::Result<DescribeTopicResponse> {
        let describe = DescribeTopicRequest { topic: self.topic.clone(), ..Default::default() };
        Ok(self.client.clone().describe_topic(describe).await.map_err(refused)?.into_inner())
    }

    /// Says that the run is over, before it is known whether the topic can be deleted.
    pub(super) fn announce_interrupted(&self) {
        match self.is_ours {
            true => say!("minikafka: interrupted; deleting topic \"{}\"", self.topic),
            false => say!("minikafka: interrupted"),
        }
    }

    /// After a failure, which is what counts: a topic that cannot be deleted is only said.
    pub(super) async fn give_up(self) {
        if let Err(error) = self.close().await {
            say!("minikafka: {error:#}");
        }
    }

    /// Deletes the topic, if the run has made it.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        if self.is_ours {
            let topic = self.topic.clone();
            let deleted = self.client.delete_topic(DeleteTopicRequest { topic }).await;
            deleted.map_err(refused).with_context(|| format!("topic \"{}\" stays", self.topic))?;
        }
        Ok(())
    }
}

fn ends_of(topic: &DescribeTopicResponse) -> Vec<u64> {
    topic.partitions.iter().map(|partition| partition.end_number.max(1)).collect()
}

/// What an acknowledgement meant.
fn meaning(durability: Durability) -> &'static str {
    match durability {
        Durability::Unspecified => "unknown",
        Durability::Synced => "synced",
        Durability::Periodic => "periodic",
        Durability::Cached => "cached",
        Durability::Memory => "memory",
    }
}
