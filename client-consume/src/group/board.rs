//! [`Board`], on which the membership's task says how things stand, for the consumer to see when it is polled.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use minikafka_client_connection::GroupClient;
use tokio::time::Instant;

use crate::{ConsumeError, TopicPartition};

/// See the module. Cheap to clone: both sides have it.
///
/// A std lock: it is held for a look or a note, never across an await.
#[derive(Clone)]
pub(crate) struct Board(Arc<Mutex<Noted>>);

struct Noted {
    standing: Standing,
    /// Counts the changes.
    version: u64,
    lease: Instant,
    /// When the consumer was last seen to be polled.
    polled: Instant,
    waker: Option<Waker>,
}

/// How things stand.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    /// Tells the member from an earlier one that was lost.
    pub(crate) incarnation: u64,
    /// As the server knows it; empty while it has not joined.
    pub(crate) member_id: Arc<str>,
    /// The last assignment.
    pub(crate) assignment: Option<Arc<Assignment>>,
    /// To commit with.
    pub(crate) client: Option<GroupClient>,
    /// Why the last member was lost.
    pub(crate) loss: Option<Arc<str>>,
    /// Why there is no stream.
    pub(crate) trouble: Option<Arc<str>>,
    /// The server does not want it.
    pub(crate) refused: Option<ConsumeError>,
}

/// What to read.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Counts assignments: each is to be answered.
    pub(crate) serial: u64,
    pub(crate) epoch: u64,
    /// With where the group has come to, if it has stored that.
    pub(crate) partitions: Vec<(TopicPartition, Option<u64>)>,
}

impl Board {
    pub(crate) fn new() -> Board {
        let now = Instant::now();
        let standing = Standing { incarnation: 1, ..Standing::default() };
        Board(Arc::new(Mutex::new(Noted { standing, version: 1, lease: now, polled: now, waker: None })))
    }

    /// How things stand, if that has changed since `seen`; from now on `context` is woken when it does.
    pub(crate) fn look(&self, context: &Context<'_>, seen: &mut u64) -> Option<Standing> {
        let mut noted = self.lock();
        noted.polled = Instant::now();
        if !noted.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            noted.waker = Some(context.waker().clone());
        }
        let is_news = *seen != noted.version;
        *seen = noted.version;
        let refused = noted.standing.refused.take();
        is_news.then(|| Standing { refused, ..noted.standing.clone() })
    }

    /// The consumer lives, although it is not polled.
    pub(crate) fn note_polled(&self) {
        self.lock().polled = Instant::now();
    }

    /// How things stand now.
    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    /// Until when messages may be handed out.
    pub(crate) fn lease(&self) -> Instant {
        self.lock().lease
    }

    pub(crate) fn polled(&self) -> Instant {
        self.lock().polled
    }

    /// Notes a change, and wakes who looks.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Standing)) {
        let mut noted = self.lock();
        change(&mut noted.standing);
        noted.version += 1;
        let waker = noted.waker.take();
        drop(noted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The server has heard the member: it is one until then. Wakes who waits for that.
    pub(crate) fn extend_lease(&self, until: Instant) {
        let mut noted = self.lock();
        let has_lapsed = noted.lease <= Instant::now();
        noted.lease = noted.lease.max(until);
        let waker = noted.waker.take_if(|_| has_lapsed);
        drop(noted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The membership is over: nothing may be handed out.
    pub(crate) fn end_lease(&self) {
        self.lock().lease = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
