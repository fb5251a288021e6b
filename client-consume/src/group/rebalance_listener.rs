//! [`RebalanceListener`], which hears of partitions that come and go, and has time to commit before they go.
//!
//! ```text
//!   taken away --> read no more --> automatic commit --> on_revoked --> answered: others get it
//!   assigned ----> read, and answered -----------------> on_assigned -> the first messages
//!   lost --------------------------------------------------------------> on_lost
//! ```
//!
//! It is a listener, as in Kafka's clients, and not an event that a poll returns, because everything that waits for
//! messages looks after the membership: [`poll`](crate::GroupConsumer::poll), a stream, `attend` and `settle`. An event
//! would have to be fetched from each of them, and a stream yields messages; whoever overlooked one would hold up the
//! others. The consumer is borrowed by the poll at that moment, so that the listener is not given the consumer, but a
//! [`Revocation`], which can do what is left to be done: commit. Its methods are `async`, because committing is, and are
//! driven by the poll: there is no task of their own, and what they do never runs beside the caller's loop.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use tonic::Code;

use super::{
    commit::{Outcome, PositionToCommit},
    commit_handle::CommitHandle,
    duties::to_commit,
};
use crate::{ConsumeError, TopicPartition, link::BoxFuture};

/// Hears of partitions that a [`GroupConsumer`](crate::GroupConsumer) gets and gives up; set with
/// [`GroupConsumerBuilder::rebalance_listener`](crate::GroupConsumerBuilder::rebalance_listener). What is not of interest
/// need not be implemented.
///
/// It is called inside of polls, of the stream's too. While one of its futures is not done, no messages are handed out and
/// nothing is committed automatically; a poll that ends meanwhile does not end it, the next one goes on with it.
///
/// It cannot hold up the group for ever. Others wait for what it is to give up, but no longer than
/// [`poll_interval_max`](crate::GroupConsumerBuilder::poll_interval_max), which is the rebalance timeout that the server
/// was told; and heartbeats do not depend on it. After that the server takes the member for dead and gives its partitions
/// away: the future is dropped where it stands, and [`on_lost`](RebalanceListener::on_lost) is called. A method that blocks
/// its thread, or panics, blocks or ends the poll. Nobody but this member waits for [`on_assigned`], so nothing bounds that.
///
/// [`on_assigned`]: RebalanceListener::on_assigned
pub trait RebalanceListener: Send + Sync + 'static {
    /// These partitions are the member's from now on. They are read when this is done, and what is to begin at their end, as
    /// a group without positions does by default, begins at where that is then.
    fn on_assigned(&self, partitions: Vec<TopicPartition>) -> impl Future<Output = ()> + Send {
        drop(partitions);
        async {}
    }

    /// Others are to get these partitions, or the consumer has unsubscribed from them or leaves. It reads them no more,
    /// but has them until this is done: what is committed meanwhile counts, and whoever gets them goes on from there. With
    /// automatic commits, that has happened already.
    fn on_revoked(&self, revocation: Revocation) -> impl Future<Output = ()> + Send {
        drop(revocation);
        async {}
    }

    /// The membership is lost, and these partitions with it, those whose revocation was under way among them: others may
    /// have them already, and what was not committed comes again. Nothing can be committed any more, so this is not
    /// `async`. The poll returns [`ConsumeError::MembershipLost`] then.
    fn on_lost(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }
}

/// Partitions that the member is to give up, and the means to commit before it does; see
/// [`RebalanceListener::on_revoked`].
pub struct Revocation {
    partitions: Leaving,
    handle: CommitHandle,
    /// There for as long as the listener is told.
    told: Weak<()>,
}

impl Revocation {
    /// What is to be given up, at least one.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Number of the message behind the last one that polls have returned of a partition; `None` when it is not one of
    /// these, or the server has not said yet where it starts.
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        self.partitions.get(&TopicPartition::new(topic, partition))?.number
    }

    /// Commits everything that polls have returned of these partitions.
    ///
    /// # Errors
    /// As [`GroupConsumer::commit`](crate::GroupConsumer::commit).
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        let moved = self.partitions.iter().filter(|(_, left)| left.number != left.stored);
        let positions = moved.filter_map(|(of, left)| Some(to_commit(of.clone(), left.number?)));
        self.commit_positions(positions.collect::<Vec<_>>()).await
    }

    /// Commits these positions. Those of partitions that the member keeps are for the consumer to commit, which could be
    /// overtaken by this.
    ///
    /// # Errors
    /// As [`GroupConsumer::commit_positions`](crate::GroupConsumer::commit_positions); `NOT_OWNER` for a partition that is
    /// not one of these, and when this comes too late, after `on_revoked` is done;
    /// [`ConsumeError::MembershipLost`] when that is why.
    pub async fn commit_positions(
        &self,
        positions: impl IntoIterator<Item = PositionToCommit>,
    ) -> Result<(), ConsumeError> {
        let positions: Vec<_> = positions.into_iter().collect();
        self.handle.check_member()?;
        for PositionToCommit { of, .. } in &positions {
            if !self.partitions.contains_key(of) {
                return Err(not_owner(format!("{of} is not one of the partitions that are to be given up")));
            }
            if self.told.strong_count() == 0 {
                return Err(not_owner(format!("{of} is given up, its position is for whoever reads it now")));
            }
        }
        self.handle.commit(positions, Outcome::into_refusal).await
    }
}

fn not_owner(message: String) -> ConsumeError {
    ConsumeError::Refused { code: Code::FailedPrecondition, reason: "NOT_OWNER".to_owned(), message }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// A partition that the member reads no more, and has until the listener is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// Where it was.
    pub(super) number: Option<u64>,
    /// The position that is stored for it.
    pub(super) stored: Option<u64>,
    /// The member's epoch when it got it.
    pub(super) epoch: u64,
}

type Leaving = BTreeMap<TopicPartition, Left>;

/// A listener as builders carry it.
#[derive(Clone)]
pub(super) struct Listener(Arc<dyn Erased>);

impl Listener {
    pub(super) fn new(listener: impl RebalanceListener) -> Listener {
        Listener(Arc::new(listener))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// [`RebalanceListener`], whatever its futures are, which own it: they wait between two polls.
trait Erased: Send + Sync {
    fn assigned(self: Arc<Self>, partitions: Vec<TopicPartition>) -> BoxFuture<()>;
    fn revoked(self: Arc<Self>, revocation: Revocation) -> BoxFuture<()>;
    fn lost(&self, partitions: &[TopicPartition]);
}

impl<L: RebalanceListener> Erased for L {
    fn assigned(self: Arc<Self>, partitions: Vec<TopicPartition>) -> BoxFuture<()> {
        Box::pin(async move { self.on_assigned(partitions).await })
    }

    fn revoked(self: Arc<Self>, revocation: Revocation) -> BoxFuture<()> {
        Box::pin(async move { self.on_revoked(revocation).await })
    }

    fn lost(&self, partitions: &[TopicPartition]) {
        self.on_lost(partitions);
    }
}

/// What the listener is told, one thing after the other. Without one, nothing ever.
pub(super) struct Listening {
    listener: Option<Listener>,
    /// Taken away, which it has not heard.
    untold: Leaving,
    /// What it is told now.
    telling: Option<Telling>,
}

struct Telling {
    /// What is taken away with it.
    leaving: Leaving,
    done: BoxFuture<()>,
    _told: Arc<()>,
}

impl Listening {
    pub(super) fn new(listener: Option<Listener>) -> Listening {
        Listening { listener, untold: Leaving::new(), telling: None }
    }

    /// Whether it hears something now, and is not done with it.
    pub(super) fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    /// Whether it is to hear of something that is taken away.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// What is taken away, and is the member's until it is done.
    pub(super) fn leaving(&self) -> impl Iterator<Item = (&TopicPartition, &Left)> {
        self.untold.iter().chain(self.telling.iter().flat_map(|telling| &telling.leaving))
    }

    /// A partition is taken away. It hears of that with [`tell_revoked`](Listening::tell_revoked).
    pub(super) fn revoke(&mut self, of: &TopicPartition, left: Left) {
        if self.listener.is_some() {
            self.untold.insert(of.clone(), left);
        }
    }

    /// This position of a partition is stored now.
    pub(super) fn stored(&mut self, of: &TopicPartition, number: u64) {
        if let Some(left) = self.untold.get_mut(of) {
            left.stored = Some(number);
        }
    }

    /// Begins to tell what is taken away. Nothing may be under way.
    pub(super) fn tell_revoked(&mut self, handle: CommitHandle) {
        let leaving = std::mem::take(&mut self.untold);
        if let Some(Listener(listener)) = self.listener.clone().filter(|_| !leaving.is_empty()) {
            let told = Arc::new(());
            let revocation = Revocation { partitions: leaving.clone(), handle, told: Arc::downgrade(&told) };
            self.telling = Some(Telling { leaving, done: listener.revoked(revocation), _told: told });
        }
    }

    /// Begins to tell what has come. Nothing may be under way.
    pub(super) fn tell_assigned(&mut self, partitions: Vec<TopicPartition>) {
        if let Some(Listener(listener)) = self.listener.clone().filter(|_| !partitions.is_empty()) {
            let done = listener.assigned(partitions);
            self.telling = Some(Telling { leaving: Leaving::new(), done, _told: Arc::default() });
        }
    }

    /// Waits until it is done with what it is told. Says whether that was anything.
    pub(super) fn poll_told(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some(telling) = &mut self.telling else { return Poll::Ready(false) };
        ready!(telling.done.as_mut().poll(context));
        self.telling = None;
        Poll::Ready(true)
    }

    /// The member is lost, with these partitions and with those that it was giving up. What it is told is over.
    pub(super) fn lose(&mut self, owned: impl Iterator<Item = TopicPartition>) {
        let mut lost: Vec<_> = owned.chain(self.leaving().map(|(of, _)| of.clone())).collect();
        lost.sort();
        lost.dedup();
        self.telling = None;
        self.untold.clear();
        if let Some(Listener(listener)) = self.listener.as_ref().filter(|_| !lost.is_empty()) {
            listener.lost(&lost);
        }
    }
}
