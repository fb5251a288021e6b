//! What goes on by itself: the timer, looking after what groups know of topics, following the patterns of members, and
//! taking up what a log that failed has kept.
//!
//! All sleep until there is something to do. A thousand groups without members are a thousand alarms in a week,
//! which cost nothing until then.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use minikafka_storage::TopicId;
use tokio::{sync::watch, time::Instant};

use super::{
    coordinator::Coordinator,
    core::{Command, TopicView},
};
use crate::{Broker, Error, broker::Inner};

/// Longest sleep. The timer stands still while the machine sleeps and the append clock does not.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// A timer that is so late was kept from running, and so were those who hear members: they get their time anew. That
/// the machine has slept, the timer cannot see: the coordinator does.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// With the longest names, so many are a part of what a command may have. More go in pieces.
const TOPICS_PER_COMMAND: usize = 1_000;
/// After a failure to store what groups are to know of topics.
const RETRY: Duration = Duration::from_secs(2);

/// Starts all of it. It ends with the coordinator.
pub(crate) fn start(broker: &Broker) {
    let coordinator = &broker.0.groups;
    tokio::spawn(keep_time(Arc::downgrade(coordinator), coordinator.watch_alarms()));
    tokio::spawn(follow_reopenings(Arc::downgrade(coordinator), coordinator.machine.reopened()));
    // Apart: a pattern may be slow on purpose, which is no reason for others to be late.
    look_after(broker, |broker| Box::pin(async move { broker.tell_groups_about_topics().await }));
    look_after(broker, |broker| Box::pin(async move { broker.follow_patterns().await }));
}

/// Looks once after something that topics have to do with.
type Look = fn(Broker) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

fn look_after(broker: &Broker, look: Look) {
    let (created, suspected) = (broker.0.topics.watch(), broker.0.groups.watch_suspicions());
    tokio::spawn(follow_topics(Arc::downgrade(&broker.0), created, suspected, look));
}

async fn keep_time(coordinator: Weak<Coordinator>, mut alarms: watch::Receiver<()>) {
    loop {
        let sleep = {
            let Some(coordinator) = coordinator.upgrade() else { return };
            let due = coordinator.take_what_is_due();
            if !due.is_empty() {
                // Apart: a slow disk is no reason to be late with what is due in other groups.
                let coordinator = coordinator.clone();
                tokio::spawn(async move { coordinator.carry_out(due).await });
            }
            let next = coordinator.sessions().alarms.next();
            next.map(|at| Duration::from_millis(at.saturating_sub(coordinator.now()).max(0) as u64))
        };
        let wake_at = Instant::now() + sleep.map_or(SLEEP_MAX, |sleep| sleep.min(SLEEP_MAX));
        tokio::select! {
            changed = alarms.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(wake_at), if sleep.is_some() => {}
        }
        // Whatever has woken it: after a pause, both may be so.
        let late = wake_at.elapsed();
        if sleep.is_some()
            && late > PAUSE
            && let Some(coordinator) = coordinator.upgrade()
        {
            tracing::warn!(?late, "the server was kept from running, members get their time anew");
            coordinator.forgive();
        }
    }
}

/// What a failing disk has kept was announced to nobody.
async fn follow_reopenings(coordinator: Weak<Coordinator>, mut reopened: watch::Receiver<u64>) {
    let mut seen = 0;
    loop {
        match reopened.wait_for(|times| *times != seen).await {
            Ok(times) => seen = *times,
            Err(_) => return,
        }
        let Some(coordinator) = coordinator.upgrade() else { return };
        coordinator.take_up();
    }
}

async fn follow_topics(
    broker: Weak<Inner>,
    mut created: watch::Receiver<u64>,
    mut suspected: watch::Receiver<()>,
    look: Look,
) {
    loop {
        let outcome = match broker.upgrade() {
            Some(inner) => look(Broker(inner)).await,
            None => return,
        };
        let failed = match outcome {
            Ok(()) => false,
            Err(Error::Stopping) => return,
            Err(error) => {
                tracing::error!(%error, "what groups know of topics cannot be stored, trying again");
                true
            }
        };
        tokio::select! {
            changed = created.changed() => if changed.is_err() { return },
            changed = suspected.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

impl Broker {
    /// Compares what groups know of the topics that interest them with what there is.
    async fn tell_groups_about_topics(&self) -> Result<(), Error> {
        self.check_running()?;
        let now = |topic: &str| {
            if let Some(topic) = self.0.topics.get(topic) {
                return Some(TopicView { id: topic.id, partitions: topic.count() });
            }
            // Not served, and perhaps back soon: a deletion that is in doubt may come to nothing.
            let record = self.0.metadata.read(|metadata| metadata.topics().get(topic).copied())?;
            Some(TopicView { id: record.id, partitions: record.partitions })
        };
        let (subscribed, stored, known) = self.0.groups.machine.read(|groups| {
            let (subscribed, stored) = groups.interests();
            let subscribed: BTreeSet<String> = subscribed.into_iter().map(str::to_owned).collect();
            let stored: BTreeSet<(String, TopicId)> =
                stored.into_iter().map(|(topic, id)| (topic.to_owned(), id)).collect();
            (subscribed, stored, groups.topics.clone())
        });
        // What nobody subscribes to any more stays known, and up to date: its positions are there, and members come back.
        let interesting: BTreeSet<&String> = subscribed.iter().chain(known.keys()).collect();
        let views: Vec<_> = interesting
            .into_iter()
            .filter_map(|topic| Some((topic.clone(), now(topic)?)))
            .filter(|(topic, view)| known.get(topic) != Some(view))
            .collect();
        let gone = known.iter().filter(|(topic, _)| now(topic).is_none());
        let gone = gone.map(|(topic, view)| (topic.clone(), view.id));
        let outlived = stored.into_iter().filter(|(topic, id)| now(topic).is_none_or(|view| view.id != *id));
        let topics: BTreeSet<(String, TopicId)> = gone.chain(outlived).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        for piece in topics.chunks(TOPICS_PER_COMMAND) {
            self.0.groups.submit_here(Command::DropTopics { topics: piece.to_vec() }).await?;
        }
        for piece in views.chunks(TOPICS_PER_COMMAND) {
            self.0.groups.submit_here(Command::SetTopics { views: piece.to_vec() }).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minikafka_storage::memory::MemoryStorage;

    use super::*;
    use crate::{
        BrokerConfig, Clock, GroupJoin, MEMBER_SESSION_TIMEOUT,
        group::core::Groups,
        machine::{COMMAND_BYTES_MAX, StateMachine},
        topic_name::TOPIC_NAME_LEN_MAX,
    };

    /// The runtime's time.
    #[derive(Debug)]
    struct Hands(Instant);

    impl Clock for Hands {
        fn wall(&self) -> Duration {
            self.elapsed()
        }
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn members_get_their_time_anew_after_a_pause_whatever_has_woken_the_timer() {
        // Which of two events wakes it is left to chance.
        for round in 0..16 {
            let clock = Arc::new(Hands(Instant::now()));
            let config = BrokerConfig { clock, retention: None, ..BrokerConfig::default() };
            let broker = Broker::open(Arc::new(MemoryStorage::new(u64::MAX)), config).await.unwrap();
            let join = GroupJoin { group: "g".into(), client_address: "here".into(), ..GroupJoin::default() };
            let _member = broker.join_group(join).await.unwrap();
            breathe().await;
            broker.0.groups.wake_timer();
            tokio::time::advance(2 * MEMBER_SESSION_TIMEOUT).await;
            breathe().await;
            let members = broker.0.groups.machine.read(|groups| groups.get("g").unwrap().members.len());
            assert_eq!(members, 1, "round {round}");
        }
    }

    /// Lets all do what they can, while the time stands still.
    async fn breathe() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn the_longest_names_of_topics_fit_into_a_command() {
        let id = TopicId::from_bytes([0xff; 16]);
        let names = || (0..TOPICS_PER_COMMAND).map(|topic| format!("{topic:0TOPIC_NAME_LEN_MAX$}"));
        let views = names().map(|topic| (topic, TopicView { id, partitions: u32::MAX })).collect();
        let topics = names().map(|topic| (topic, id)).collect();
        for command in [Command::SetTopics { views }, Command::DropTopics { topics }] {
            assert!(Groups::encode(&command).len() <= COMMAND_BYTES_MAX);
        }
    }
}
