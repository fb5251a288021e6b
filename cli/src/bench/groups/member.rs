//! [`Member`], one of the group: it polls, hands what comes to the pages, commits, and tells which partitions it has.

use std::{
    collections::BTreeMap,
    future::{Future as _, poll_fn},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Poll,
    time::Duration,
};

use minikafka_client_consume::{ConsumeError, GroupConsumer, Message};
use tokio::{sync::watch, time::Instant};

use super::{
    owners::Owners,
    page::{Owner, Page},
};
use crate::bench::{latency::Latencies, reading::LOOK};

/// What all members share.
#[derive(Debug)]
pub(super) struct Shared {
    topic: String,
    pub(super) owners: Owners,
    /// A std lock each: held for the messages of one poll, never across an await.
    pages: Vec<Mutex<Page>>,
    /// When the load began: times count from then.
    start: OnceLock<Instant>,
    warmup: Duration,
    /// When a message came last that had not come before.
    last: watch::Sender<Instant>,
}

impl Shared {
    pub(super) fn new(topic: &str, partitions: u32, run: u64, warmup: Duration) -> Shared {
        Shared {
            topic: topic.to_owned(),
            owners: Owners::new(partitions),
            // A stream for each partition.
            pages: (0..partitions).map(|stream| Mutex::new(Page::new(run, stream))).collect(),
            start: OnceLock::new(),
            warmup,
            last: watch::Sender::new(Instant::now()),
        }
    }

    /// The load begins.
    pub(super) fn begin(&self, start: Instant) {
        self.start.set(start).expect("it begins once");
        self.last.send_replace(start);
    }

    pub(super) fn last(&self) -> Instant {
        *self.last.borrow()
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = MutexGuard<'_, Page>> {
        self.pages.iter().map(|page| page.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A partition that the server has named, which may be one that was added during the run.
    fn page(&self, partition: u32) -> Option<MutexGuard<'_, Page>> {
        self.pages.get(partition as usize).map(|page| page.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a member has done.
#[derive(Debug)]
pub(super) struct Done {
    /// From when a message was due to when it was polled.
    pub(super) delivered: Latencies,
    /// From when a commit was due to its reply.
    pub(super) committed: Latencies,
    pub(super) commits: u64,
    /// How often the server took it for dead.
    pub(super) lost: u64,
}

/// See the module.
pub(super) struct Member {
    number: u32,
    consumer: GroupConsumer,
    shared: Arc<Shared>,
    /// What the others know of it.
    partitions: Vec<u32>,
    is_ready: bool,
    /// Of each partition that it has read: the epoch under which it did, and the number to read next.
    read: BTreeMap<u32, (u64, u64)>,
    has_news: bool,
    commit_interval: Duration,
    commit_due: Instant,
    done: Done,
}

impl Member {
    pub(super) fn new(
        number: u32,
        consumer: GroupConsumer,
        shared: Arc<Shared>,
        commit_interval: Duration,
    ) -> Member {
        shared.owners.note(number, &[], true);
        Member {
            number,
            consumer,
            shared,
            partitions: Vec::new(),
            is_ready: true,
            read: BTreeMap::new(),
            has_news: false,
            commit_interval,
            commit_due: Instant::now() + commit_interval,
            done: Done::default(),
        }
    }

    /// Lives until it is told to leave.
    pub(super) async fn run(mut self, leave: watch::Receiver<bool>) -> anyhow::Result<Done> {
        let owners = self.shared.clone();
        let lived = self.live(leave).await;
        let number = self.number;
        owners.owners.note_gone(number);
        let ended = match lived {
            Ok(()) => self.commit().await,
            failed => failed,
        };
        // Whatever happened, the others need not wait for its session timeout.
        let left = self.consumer.leave_consumer_group().await;
        match ended.and(left) {
            Ok(()) => Ok(self.done),
            Err(error) => {
                owners.owners.note_failure(error.to_string());
                Err(error.into())
            }
        }
    }

    async fn live(&mut self, mut leave: watch::Receiver<bool>) -> Result<(), ConsumeError> {
        while !*leave.borrow_and_update() {
            // What is not read does not have to be committed: then only messages matter.
            let wait = if self.has_news { self.commit_due - Instant::now() } else { LOOK };
            let polled = tokio::select! {
                polled = stirred(&mut self.consumer, wait.min(LOOK)) => polled,
                // Its sender tells it to leave before it goes.
                _ = leave.changed() => continue,
            };
            self.see_partitions();
            match polled {
                Ok(messages) => self.take(&messages),
                Err(error) => self.outlive(error)?,
            }
            if self.has_news && self.commit_due <= Instant::now() {
                self.commit().await?;
            }
        }
        Ok(())
    }

    fn see_partitions(&mut self) {
        let now = || self.consumer.partitions().map(|of| of.partition);
        let has_changed = !now().eq(self.partitions.iter().copied());
        if has_changed {
            self.partitions = now().collect();
            self.read.retain(|partition, _| self.partitions.contains(partition));
            self.is_ready = false;
        }
        if !self.is_ready {
            let is_placed =
                |partition: &u32| self.consumer.position(&self.shared.topic, *partition).is_some();
            self.is_ready = self.partitions.iter().all(is_placed);
            if has_changed || self.is_ready {
                self.shared.owners.note(self.number, &self.partitions, self.is_ready);
            }
        }
    }

    /// Messages of one poll are all of one partition.
    fn take(&mut self, messages: &[Message]) {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return };
        let partition = first.partition;
        let epoch = self.consumer.epoch(&first.topic, partition).expect("it reads what it has");
        self.read.insert(partition, (epoch, last.number + 1));
        if !mem::replace(&mut self.has_news, true) {
            self.pass_over_dues(Instant::now());
        }
        let (Some(start), Some(mut page)) = (self.shared.start.get(), self.shared.page(partition)) else {
            return;
        };
        let (now, owner) = (Instant::now(), Owner { member: self.number, life: self.done.lost, epoch });
        for message in messages {
            let value = message.value.as_deref().unwrap_or_default();
            let Some(due) = page.take(owner, message.number, value) else { continue };
            self.shared.last.send_replace(now);
            let due = Duration::from_nanos(due);
            if due >= self.shared.warmup {
                self.done.delivered.record(now.saturating_duration_since(*start + due));
            }
        }
    }

    /// Commits what it has read. One that is late is late from when it was due.
    async fn commit(&mut self) -> Result<(), ConsumeError> {
        if !mem::take(&mut self.has_news) {
            return Ok(());
        }
        if let Err(error) = self.consumer.commit().await {
            self.has_news = true;
            return self.outlive(error);
        }
        let now = Instant::now();
        self.done.commits += 1;
        self.done.committed.record(now.saturating_duration_since(self.commit_due));
        for (partition, (epoch, next)) in &self.read {
            // What it has lost meanwhile was not committed, even if it has it again.
            if self.consumer.epoch(&self.shared.topic, *partition) == Some(*epoch)
                && let Some(mut page) = self.shared.page(*partition)
            {
                page.commit(*next);
            }
        }
        // A commit holds all that came before it.
        self.pass_over_dues(now);
        Ok(())
    }

    /// The next commit is due at the next of the times that are not over: nothing was to be committed at the others.
    fn pass_over_dues(&mut self, now: Instant) {
        if self.commit_interval.is_zero() {
            self.commit_due = now;
        }
        while self.commit_due < now {
            self.commit_due += self.commit_interval;
        }
    }

    /// Goes on after what passes by itself.
    fn outlive(&mut self, error: ConsumeError) -> Result<(), ConsumeError> {
        match error {
            ConsumeError::MembershipLost { .. } => {
                self.done.lost += 1;
                self.read.clear();
                Ok(())
            }
            error if error.is_retryable() => Ok(()),
            error => Err(error),
        }
    }
}

/// Polls until there are messages or anything else has happened: a poll alone would say nothing of partitions that come
/// and go.
async fn stirred(consumer: &mut GroupConsumer, wait: Duration) -> Result<Vec<Message>, ConsumeError> {
    let mut polling = pin!(consumer.poll(wait));
    let mut has_waited = false;
    // A poll that is dropped has taken nothing.
    poll_fn(|context| match polling.as_mut().poll(context) {
        Poll::Pending if !mem::replace(&mut has_waited, true) => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(Vec::new())),
        ready => ready,
    })
    .await
}
