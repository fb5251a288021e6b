//! [`Discovery`]: which partitions the topics have, also later.
//!
//! The server is asked when a consumer begins, and then now and then, because topics grow. A topic that is not there is
//! waited for in the server, which says at once when it is created.

use std::{
    collections::BTreeMap,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use minikafka_client_connection::Client;
use minikafka_proto::v1::{
    Anchor, DescribeTopicRequest, DescribeTopicResponse, MissingTopic, PartitionDescription, Position,
    SubscribeRequest, position::At,
};
use tokio::time::{self, Sleep};
use tonic::Status;

use crate::link::BoxFuture;

/// How often topics are looked at again: a message in a new partition is late by so much at most, and a thousand
/// consumers cost a server a hundred cheap calls per second.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// The same after an error.
const INTERVAL_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Partitions of a topic that were not known.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) topic: Arc<str>,
    pub(crate) age: Age,
    /// Their numbers, and what is readable in each that is not lost.
    pub(crate) partitions: Vec<(u32, Option<Range<u64>>)>,
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// The topic, which was waited for.
    NewTopic,
    /// Partitions of a topic that was there.
    Grown,
}

/// See the module. It works while it is polled.
pub(crate) struct Discovery {
    interval: Duration,
    /// Topics, and how many of their partitions are known; `None` while they are not there.
    topics: BTreeMap<Arc<str>, Option<u32>>,
    /// The next look at those that are there.
    look: Look,
    /// Those that are not there.
    awaited: BTreeMap<Arc<str>, BoxFuture<Result<DescribeTopicResponse, Status>>>,
}

enum Look {
    Pause(Pin<Box<Sleep>>),
    Asking(BoxFuture<Vec<Result<DescribeTopicResponse, Status>>>),
}

impl Discovery {
    /// Knows no topics yet.
    pub(crate) fn new(interval: Duration) -> Discovery {
        Discovery { interval, topics: BTreeMap::new(), look: Look::pause(interval), awaited: BTreeMap::new() }
    }

    /// Finds the partitions of this topic from now on, beyond those that it has. `None`: it is to be waited for.
    pub(crate) fn add(&mut self, topic: Arc<str>, partitions: Option<u32>) {
        self.topics.insert(topic, partitions);
    }

    /// The next partitions that were not known. It needs a connection, and leaves it to others to have one.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, client: Option<&Client>) -> Poll<Found> {
        let Some(client) = client else { return Poll::Pending };
        if let Poll::Ready(found) = self.poll_awaited(context, client) {
            return Poll::Ready(found);
        }
        loop {
            match &mut self.look {
                Look::Pause(pause) => {
                    std::task::ready!(pause.as_mut().poll(context));
                    let known = self.topics.iter().filter(|(_, partitions)| partitions.is_some());
                    let topics: Vec<_> = known.map(|(topic, _)| topic.clone()).collect();
                    self.look = Look::Asking(Box::pin(describe_all(client.clone(), topics)));
                }
                Look::Asking(answers) => {
                    let mut answers = std::task::ready!(answers.as_mut().poll(context));
                    // Errors are for those who read: they get the same ones.
                    let has_failed = answers.iter().any(Result::is_err);
                    while let Some(answer) = answers.pop() {
                        if let Some(found) = answer.ok().and_then(|described| self.news(&described)) {
                            // The others have their turn now, too.
                            let rest = async { answers };
                            self.look = Look::Asking(Box::pin(rest));
                            return Poll::Ready(found);
                        }
                    }
                    self.look = Look::pause(if has_failed { INTERVAL_AFTER_ERROR } else { self.interval });
                }
            }
        }
    }

    fn poll_awaited(&mut self, context: &mut Context<'_>, client: &Client) -> Poll<Found> {
        for (topic, partitions) in &self.topics {
            if partitions.is_none() && !self.awaited.contains_key(topic) {
                let created = when_created(client.clone(), topic.to_string());
                self.awaited.insert(topic.clone(), Box::pin(created));
            }
        }
        let mut created = None;
        for (topic, waiting) in &mut self.awaited {
            if let Poll::Ready(answer) = waiting.as_mut().poll(context) {
                created = Some((topic.clone(), answer));
                break;
            }
        }
        let Some((topic, answer)) = created else { return Poll::Pending };
        match answer {
            Ok(described) => {
                self.awaited.remove(&topic);
                self.news(&described).map_or(Poll::Pending, Poll::Ready)
            }
            Err(_) => {
                let again = when_created_after(INTERVAL_AFTER_ERROR, client.clone(), topic.to_string());
                let mut again: BoxFuture<_> = Box::pin(again);
                // So that its timer runs.
                let _ = again.as_mut().poll(context);
                self.awaited.insert(topic, again);
                Poll::Pending
            }
        }
    }

    fn news(&mut self, described: &DescribeTopicResponse) -> Option<Found> {
        let topic: Arc<str> = described.name.as_str().into();
        let known = self.topics.get_mut(&topic)?;
        let age = if known.is_some() { Age::Grown } else { Age::NewTopic };
        let before = known.unwrap_or(0);
        let partitions: Vec<_> = ranges(described).filter(|(number, _)| *number >= before).collect();
        *known = Some(before.max(described.partitions.len() as u32));
        (!partitions.is_empty()).then_some(Found { topic, age, partitions })
    }
}

impl Look {
    fn pause(interval: Duration) -> Look {
        Look::Pause(Box::pin(time::sleep(interval)))
    }
}

/// The partitions of a topic, and what is readable in each that is not lost.
pub(crate) fn ranges(
    described: &DescribeTopicResponse,
) -> impl Iterator<Item = (u32, Option<Range<u64>>)> + '_ {
    let range = |each: &PartitionDescription| (!each.is_lost).then_some(each.start_number..each.end_number);
    described.partitions.iter().map(move |each| (each.partition, range(each)))
}

/// What there is of a topic.
pub(crate) async fn describe(client: &mut Client, topic: &str) -> Result<DescribeTopicResponse, Status> {
    let request = DescribeTopicRequest { topic: topic.to_owned(), ..Default::default() };
    Ok(client.describe_topic(request).await?.into_inner())
}

async fn describe_all(
    mut client: Client,
    topics: Vec<Arc<str>>,
) -> Vec<Result<DescribeTopicResponse, Status>> {
    let mut answers = Vec::new();
    for topic in topics {
        answers.push(describe(&mut client, &topic).await);
    }
    answers
}

/// Waits until there is such a topic.
async fn when_created(mut client: Client, topic: String) -> Result<DescribeTopicResponse, Status> {
    let request = SubscribeRequest {
        topic: topic.clone(),
        from: Some(Position { at: Some(At::Anchor(Anchor::Latest.into())) }),
        max_bytes: 1,
        missing_topic: MissingTopic::Wait.into(),
        ..SubscribeRequest::default()
    };
    let mut replies = client.subscribe(request).await?.into_inner();
    // The first reply comes with the topic.
    replies.message().await?;
    describe(&mut client, &topic).await
}

async fn when_created_after(
    pause: Duration,
    client: Client,
    topic: String,
) -> Result<DescribeTopicResponse, Status> {
    time::sleep(pause).await;
    when_created(client, topic).await
}
