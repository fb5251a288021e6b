//! [`Group`], the members of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use minikafka_client_connection::GroupClient;
use minikafka_client_consume::{GroupConsumer, GroupConsumerBuilder, Position};
use minikafka_proto::v1::DeleteGroupRequest;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    Args,
    member::{Done, Member, Shared},
};
use crate::{
    bench::{latency::Latencies, target::Target},
    target::refused,
};

/// See the module.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    client: GroupClient,
    builder: GroupConsumerBuilder,
    commit_interval: Duration,
    members: BTreeMap<u32, Running>,
    /// Those that were told to leave.
    leaving: Vec<Running>,
    next: u32,
}

/// A member in a task of its own.
struct Running {
    leave: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<Done>>,
}

impl Group {
    /// A new group without members, for the topic of a run.
    pub(super) fn new(args: &Args, target: &Target, client: GroupClient, run: u64) -> Group {
        let name = format!("bench-{run:016x}");
        let warmup = args.common.warmup.unwrap_or_default();
        // Messages that were there before are not to be read. The commits are timed, so they are done by hand.
        let builder = GroupConsumer::builder(&target.host, &name)
            .subscribe(&target.topic)
            .start(Position::Latest)
            .session_timeout(args.session_timeout)
            .commit_by_hand();
        Group {
            shared: Arc::new(Shared::new(&target.topic, target.partitions, run, warmup)),
            name,
            client,
            builder,
            commit_interval: args.commit_interval,
            members: BTreeMap::new(),
            leaving: Vec::new(),
            next: 0,
        }
    }

    /// One more member joins, without waiting for that.
    pub(super) fn join(&mut self) {
        let (number, builder) = (self.next, self.builder.clone());
        let (shared, commit_interval) = (self.shared.clone(), self.commit_interval);
        let (leave, told) = watch::channel(false);
        let task = tokio::spawn(async move {
            let consumer = builder.join_consumer_group().await.inspect_err(|error| {
                shared.owners.note_failure(error.to_string());
            })?;
            Member::new(number, consumer, shared, commit_interval).run(told).await
        });
        self.members.insert(number, Running { leave, task });
        self.next += 1;
    }

    /// The member that has been there longest leaves, without waiting for that.
    pub(super) fn leave(&mut self) {
        if let Some((_, member)) = self.members.pop_first() {
            member.leave.send_replace(true);
            self.leaving.push(member);
        }
    }

    /// Those that were not told to leave.
    pub(super) fn members(&self) -> BTreeSet<u32> {
        self.members.keys().copied().collect()
    }

    /// All leave, and the group is deleted.
    pub(super) async fn close(mut self) -> anyhow::Result<Done> {
        while !self.members.is_empty() {
            self.leave();
        }
        let mut all = Done::default();
        let mut failure = None;
        for member in self.leaving {
            match member.task.await.context("a member panicked").flatten() {
                Ok(done) => all.add(&done),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let group = self.name.clone();
        let deleted = self.client.delete_group(DeleteGroupRequest { group }).await;
        let deleted = deleted.map_err(refused).with_context(|| format!("group \"{}\" stays", self.name));
        failure.map_or(Ok(()), Err).and(deleted.map(|_| all))
    }
}

impl Default for Done {
    fn default() -> Done {
        Done { delivered: Latencies::new(), committed: Latencies::new(), commits: 0, lost: 0 }
    }
}

impl Done {
    fn add(&mut self, other: &Done) {
        self.delivered.add(&other.delivered);
        self.committed.add(&other.committed);
        self.commits += other.commits;
        self.lost += other.lost;
    }
}
