//! [`Reading`]: all partitions of a fetch, until there is enough.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::{
    ResponseError,
    messages::{FetchRequest, TopicName},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::{
    super::door::Door,
    IDS_SINCE, REPLY_BYTES_MAX,
    part::{Part, State, Took},
};

/// A read takes at most this share of the room that is left over all connections, and at least so many bytes.
const SHARE_OF_ROOM: usize = 4;
const SHARE_BYTES_MIN: usize = 64 * 1024;

/// The partitions of a fetch, in the order of the request, and what was read of them.
pub(super) struct Reading<'a> {
    door: &'a Door,
    version: i16,
    parts: Vec<Part>,
    /// How many of them each topic has.
    topics: Vec<(Named, usize)>,
    bytes_max: usize,
    bytes_min: usize,
    bytes: usize,
    /// Nothing is worth waiting for.
    is_enough: bool,
    room: Option<OwnedSemaphorePermit>,
}

/// A topic, as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Name(TopicName),
    Id(Uuid),
}

/// A topic and its partitions, for the reply.
pub(super) type Topic = (Named, Vec<Part>);

type News = Pin<Box<dyn Future<Output = usize> + Send>>;

impl<'a> Reading<'a> {
    /// Finds the partitions.
    pub(super) fn new(door: &'a Door, version: i16, request: FetchRequest) -> Reading<'a> {
        let (mut parts, mut seen) = (Vec::new(), HashMap::<Named, HashSet<i32>>::new());
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let named =
                if version >= IDS_SINCE { Named::Id(topic.topic_id) } else { Named::Name(topic.topic) };
            let seen = seen.entry(named.clone()).or_default();
            // Each waits and is woken by itself: a request asks for each partition once.
            parts.extend(topic.partitions.iter().map(|wanted| match seen.insert(wanted.partition) {
                true => Part::resolve(door, version, &named, wanted),
                false => Part::refuse(door, wanted.partition, ResponseError::InvalidRequest),
            }));
            topics.push((named, topic.partitions.len()));
        }
        let bytes = |field: i32| usize::try_from(field).unwrap_or(0);
        Reading {
            door,
            version,
            // Of nothing there is no news to wait for.
            is_enough: parts.is_empty() || parts.iter().any(|part| matches!(part.state, State::Failed(_))),
            parts,
            topics,
            bytes_max: bytes(request.max_bytes).min(REPLY_BYTES_MAX),
            bytes_min: bytes(request.min_bytes),
            bytes: 0,
            room: None,
        }
    }

    /// Reads what there is, and waits for more if that is too little.
    pub(super) async fn read(&mut self, wait: Duration, gone: &CancellationToken) {
        let deadline = Instant::now() + wait;
        for index in 0..self.parts.len() {
            self.read_part(index, deadline).await;
        }
        let mut news: FuturesUnordered<News> = FuturesUnordered::new();
        if !self.has_enough() {
            debug!(bytes = self.bytes, "waits for more");
            news.extend((0..self.parts.len()).filter_map(|index| self.news_of(index)));
        }
        while !self.has_enough() {
            let index = tokio::select! {
                Some(index) = news.next() => index,
                () = sleep_until(deadline) => return debug!("the wait is over"),
                () = gone.cancelled() => return debug!("the wait is over: the connection ends"),
            };
            if let State::Read(progress) = &self.parts[index].state {
                let partition = &progress.partition;
                debug!(topic = partition.topic(), partition = partition.number(), "woken");
            }
            self.read_part(index, deadline).await;
            news.extend(self.news_of(index));
        }
    }

    /// Everything, for the reply, and the room that it takes up.
    pub(super) fn finish(self) -> (Vec<Topic>, Option<OwnedSemaphorePermit>) {
        debug!(bytes = self.bytes, "read");
        let mut parts = self.parts.into_iter();
        let topics =
            self.topics.into_iter().map(|(name, count)| (name, parts.by_ref().take(count).collect()));
        (topics.collect(), self.room)
    }

    fn has_enough(&self) -> bool {
        self.is_enough || self.bytes >= self.bytes_min
    }

    /// Resolves to the index of a partition once that has something to say.
    fn news_of(&self, index: usize) -> Option<News> {
        let State::Read(progress) = &self.parts[index].state else { return None };
        let news = progress.partition.wait_beyond(progress.position);
        Some(Box::pin(async move {
            news.await;
            index
        }))
    }

    async fn read_part(&mut self, index: usize, deadline: Instant) {
        // Not all the room there is: the next ones get something, too, however slowly their clients take it.
        let share = (self.door.outgoing.available_permits() / SHARE_OF_ROOM).max(SHARE_BYTES_MIN);
        let left = self.bytes_max.saturating_sub(self.bytes).min(share);
        let is_first = self.bytes == 0;
        let room = match self.parts[index].is_behind() && (left > 0 || is_first) {
            // It has nothing, or is gone: that needs no room.
            false => None,
            true => match self.acquire(left.max(1), deadline).await {
                Some(room) => Some(room),
                None => return self.is_enough = true,
            },
        };
        match self.parts[index].read(self.door, self.version, left, is_first).await {
            Took::Bytes(took) => {
                self.bytes += took;
                self.keep(room, took);
            }
            Took::Full | Took::Failed => self.is_enough = true,
        }
    }

    /// Room for so many bytes. When there is none in time, the client gets what there is.
    async fn acquire(&self, bytes: usize, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).expect("a reply is limited to far less");
        let acquired = self.door.outgoing.clone().acquire_many_owned(bytes);
        // Without a wait, there is one for room nonetheless: somebody else is being written to.
        let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
        timeout_at(deadline, acquired).await.ok()?.ok()
    }

    /// Keeps as much of the room as was taken up.
    fn keep(&mut self, room: Option<OwnedSemaphorePermit>, bytes: usize) {
        let Some(mut room) = room else { return };
        let used = bytes.min(room.num_permits());
        let Some(used) = room.split(used) else { return };
        match &mut self.room {
            Some(kept) => kept.merge(used),
            None => self.room = Some(used),
        }
    }
}
