//! [`Member`], one of the group, and what the ledger has to know of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use minikafka_client_consume::{ConsumeError, GroupConsumer, GroupConsumerBuilder, Message, Position};
use tokio::sync::watch;

use super::{
    MEMBERS,
    ledger::{Ledger, Tenure},
};
use crate::kills::Rng;

pub(super) const GROUP: &str = "g";
pub(super) const TOPIC: &str = "orders";
/// Looks at what it was told, even if nothing comes.
const WAIT: Duration = Duration::from_millis(100);
/// Longer than any kill and restart keep a commit from its reply.
const TIMEOUT: Duration = Duration::from_secs(60);

/// When a member commits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Commits {
    /// After some of its polls.
    ByHand,
    Every(Duration),
}

/// See the module.
pub(super) struct Member {
    /// Tells members from each other, also those that come back as somebody else.
    number: u64,
    life: u64,
    consumer: GroupConsumer,
    ledger: Arc<Mutex<Ledger>>,
    /// The partitions that it had after the last poll.
    tenures: BTreeMap<u32, Tenure>,
    commits: Commits,
    rng: Rng,
}

impl Member {
    pub(super) fn builder(host: &str, session_timeout: Duration, commits: Commits) -> GroupConsumerBuilder {
        let builder = GroupConsumer::builder(host, GROUP)
            .subscribe(TOPIC)
            .start(Position::Earliest)
            .session_timeout(session_timeout)
            .timeout(TIMEOUT);
        match commits {
            Commits::ByHand => builder.commit_by_hand(),
            Commits::Every(interval) => builder.commit_interval(interval),
        }
    }

    pub(super) fn new(
        number: u64,
        consumer: GroupConsumer,
        ledger: Arc<Mutex<Ledger>>,
        commits: Commits,
        rng: Rng,
    ) -> Member {
        Member { number, life: 0, consumer, ledger, tenures: BTreeMap::new(), commits, rng }
    }

    /// As the server knows it.
    pub(super) fn id(&self) -> String {
        self.consumer.member_id().to_owned()
    }

    /// Reads until it is told to leave.
    pub(super) async fn live(&mut self, leave: &watch::Receiver<bool>) {
        while !*leave.borrow() {
            self.poll().await;
            if matches!(self.commits, Commits::ByHand) && self.rng.percent(40) {
                self.commit().await;
            }
        }
    }

    /// Commits what is automatic, and leaves.
    pub(super) async fn leave(self) {
        let Member { consumer, ledger, tenures, commits, .. } = self;
        let left = consumer.leave_consumer_group().await;
        if left.is_ok() && matches!(commits, Commits::Every(_)) {
            let mut ledger = ledger.lock().unwrap();
            tenures.iter().for_each(|(partition, tenure)| ledger.commit(*partition, *tenure, "leaving"));
        }
    }

    async fn poll(&mut self) {
        match self.consumer.poll(WAIT).await {
            Ok(messages) => {
                self.see_partitions();
                self.deliver(&messages);
            }
            Err(ConsumeError::MembershipLost { .. }) => {
                self.tenures.clear();
                self.life += 1;
                if self.number < MEMBERS {
                    self.ledger.lock().unwrap().count_lost();
                }
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                self.see_partitions();
            }
        }
    }

    /// What it has no more is committed, unless that is done by hand: until then it has it.
    fn see_partitions(&mut self) {
        let epoch_of = |partition: u32| self.consumer.epoch(TOPIC, partition).expect("it has it");
        let held = self.consumer.partitions().map(|of| of.partition);
        let tenure = |partition| Tenure { member: self.number, life: self.life, epoch: epoch_of(partition) };
        let now: BTreeMap<u32, Tenure> = held.map(|partition| (partition, tenure(partition))).collect();
        if now == self.tenures {
            return;
        }
        let mut ledger = self.ledger.lock().unwrap();
        for (partition, tenure) in &self.tenures {
            if now.get(partition) != Some(tenure) && matches!(self.commits, Commits::Every(_)) {
                ledger.commit(*partition, *tenure, "giving it up");
            }
        }
        now.iter().for_each(|(partition, tenure)| ledger.begin(*partition, *tenure));
        self.tenures = now;
    }

    fn deliver(&self, messages: &[Message]) {
        let mut ledger = self.ledger.lock().unwrap();
        for Message { partition, number, value, .. } in messages {
            let (expected, value) = (text(*partition, *number), value.as_deref());
            if value != Some(expected.as_bytes()) {
                ledger.fault(format!("{value:?} comes as {expected}"));
            }
            ledger.deliver(*partition, *number, self.tenures[partition]);
        }
    }

    async fn commit(&mut self) {
        if self.consumer.commit().await.is_ok() {
            let mut ledger = self.ledger.lock().unwrap();
            self.tenures.iter().for_each(|(partition, tenure)| ledger.commit(*partition, *tenure, "by hand"));
            ledger.count_commit();
        }
    }
}

/// What is in a message: its place, so that one that comes as another is seen.
pub(super) fn text(partition: u32, number: u64) -> String {
    format!("{partition}/{number}")
}
