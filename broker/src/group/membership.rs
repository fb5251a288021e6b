//! [`Membership`], a member as its door sees it.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use minikafka_storage::TopicId;
use tokio::sync::watch;

use super::{
    api::{Assignment, GroupJoin, TopicPartition},
    coordinator::Coordinator,
    core::{
        Because, Command, GroupError, Groups, Join, Member, MemberKey, NamedView, Position, Returning,
        Subscribe, TopicView,
        limits::{ID_BYTES_MAX, TOPICS_MAX},
    },
    sessions::{News, Session, replaced},
};
use crate::{Broker, Error, validate_topic_name};

/// Silence after which a member is taken for dead, when it does not say: Kafka's default.
pub const MEMBER_SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// What it can be: less would take every hiccup for a death, more would leave partitions unread for long.
const SESSION_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 60);
/// Time that a member may take to give up a partition, when it does not say.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// What it can be.
pub(super) const REBALANCE_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// A member that says something so many times in its session timeout may be late with two of them.
const HEARTBEATS_PER_SESSION: u32 = 3;

/// The stream of a member. Dropping it is a stream that breaks: the member is one until its session timeout, and
/// can come back.
#[derive(Debug)]
pub struct Membership {
    groups: Arc<Coordinator>,
    broker: Broker,
    key: MemberKey,
    /// Number of this stream among the member's.
    session: u64,
    session_timeout: Duration,
    news: watch::Receiver<News>,
    /// The epoch at the beginning.
    epoch: u64,
    /// The epoch of the last assignment that was taken from here; 0: none.
    told: u64,
}

impl Broker {
    /// Joins a group, which is created when it is not there, or comes back to it.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::Group`] with the reason, or when it cannot be stored.
    pub async fn join_group(&self, join: GroupJoin) -> Result<Membership, Error> {
        self.check_running()?;
        let address = join.client_address.clone();
        let command = self.check_join(join)?;
        let session_timeout = Duration::from_millis(command.session_timeout_ms.into());
        let key = MemberKey { group: command.group.clone(), member_id: command.member_id.clone() };
        let broker = self.clone();
        // In a task of its own: whoever goes away meanwhile is a member whose stream broke.
        let joined = tokio::spawn(async move { broker.join(key, command, address, session_timeout).await });
        match joined.await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    fn check_join(&self, join: GroupJoin) -> Result<Join, Error> {
        check_group_name(&join.group)?;
        check_ids([("client_id", &join.client_id), ("instance_id", &join.instance_id)])?;
        let (topics, views) = self.check_topics(join.topics)?;
        let session_timeout =
            in_range("session timeout", join.session_timeout, MEMBER_SESSION_TIMEOUT, &SESSION_TIMEOUTS)?;
        let rebalance_timeout =
            in_range("rebalance timeout", join.rebalance_timeout, REBALANCE_TIMEOUT, &REBALANCE_TIMEOUTS)?;
        let (member_id, returning) = match join.returning {
            Some(returning) => {
                let owned = returning.owned.iter().map(|of| (of.topic.as_str(), of.partition)).collect();
                (returning.member_id, Some(Returning { epoch: returning.epoch, owned }))
            }
            None => (TopicId::random().map_err(Error::Storage)?.to_string(), None),
        };
        if returning.is_none() && !join.instance_id.is_empty() {
            self.check_instance_is_free(&join.group, &join.instance_id, &member_id)?;
        }
        Ok(Join {
            group: join.group,
            member_id,
            returning,
            instance_id: join.instance_id,
            client_id: join.client_id,
            topics,
            pattern: String::new(),
            is_self_named: false,
            session_timeout_ms: session_timeout,
            rebalance_timeout_ms: rebalance_timeout,
            views,
        })
    }

    /// Topics that a member wants to read, with what is known of them.
    pub(super) fn check_topics(
        &self,
        topics: Vec<String>,
    ) -> Result<(BTreeSet<String>, Vec<NamedView>), Error> {
        if topics.len() > TOPICS_MAX {
            return Err(Error::InvalidRequest(format!(
                "{} topics, a member subscribes to at most {TOPICS_MAX}",
                topics.len()
            )));
        }
        topics.iter().try_for_each(|topic| validate_topic_name(topic))?;
        let topics: BTreeSet<String> = topics.into_iter().collect();
        let view = |topic: &String| {
            let summary = self.0.topics.get(topic)?.summary();
            Some((topic.clone(), TopicView { id: summary.id, partitions: summary.partitions }))
        };
        let views = topics.iter().filter_map(view).collect();
        Ok((topics, views))
    }

    /// Has somebody look at topics, when groups know something else of these than there is.
    pub(super) fn check_views(&self, topics: &BTreeSet<String>) {
        let known: Vec<Option<TopicView>> = self
            .0
            .groups
            .machine
            .read(|groups| topics.iter().map(|topic| groups.topics.get(topic).copied()).collect());
        let is_other = |(topic, known): (&String, Option<TopicView>)| {
            let summary = self.0.topics.get(topic).map(|topic| topic.summary());
            known != summary.map(|summary| TopicView { id: summary.id, partitions: summary.partitions })
        };
        if topics.iter().zip(known).any(is_other) {
            self.0.groups.suspect_topics();
        }
    }

    /// An instance is in use by another member while a stream of it is open, or it has not said that it goes for now.
    pub(super) fn check_instance_is_free(
        &self,
        group: &str,
        instance_id: &str,
        member_id: &str,
    ) -> Result<(), Error> {
        let holder = self.0.groups.machine.read(|groups| groups.get(group)?.of_instance(instance_id));
        let Some(member_id) = holder.filter(|holder| holder != member_id) else { return Ok(()) };
        let key = MemberKey { group: group.to_owned(), member_id };
        let is_open = self.0.groups.sessions().get(&key).is_some_and(|session| session.address.is_some());
        if !is_open {
            return Ok(());
        }
        Err(GroupError::InstanceInUse { group: key.group, instance_id: instance_id.to_owned() }.into())
    }

    async fn join(
        self,
        key: MemberKey,
        join: Join,
        address: String,
        session_timeout: Duration,
    ) -> Result<Membership, Error> {
        let groups = self.0.groups.clone();
        let (timeout_ms, topics) = (join.session_timeout_ms, join.topics.clone());
        let applied = groups.submit_here(Command::Join(join)).await?;
        let number = applied.session.expect("a join opens a session");
        let session = Session::new(number, timeout_ms, groups.now(), Some(address));
        let (news, is_next) = groups.sessions().open(&key, session)?;
        if is_next {
            groups.wake_timer();
        }
        let mut membership = Membership {
            groups,
            broker: self,
            key,
            session: number,
            session_timeout,
            news,
            epoch: 0,
            told: 0,
        };
        // It may have been removed before its stream was known.
        membership.epoch = membership.look(|_, member| member.epoch)?;
        membership.broker.check_views(&topics);
        Ok(membership)
    }
}

impl Membership {
    /// The member's name in the group.
    pub fn member_id(&self) -> &str {
        &self.key.member_id
    }

    /// Its epoch when the stream began.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How often to say something.
    pub fn heartbeat_interval(&self) -> Duration {
        self.session_timeout / HEARTBEATS_PER_SESSION
    }

    /// The next assignment, once there is one that was not taken from here: the first at once. Those between are
    /// left out. May be dropped and called again.
    ///
    /// # Errors
    /// When the member is one no more, another stream speaks for it, or the broker stops.
    pub async fn next_assignment(&mut self) -> Result<Assignment, Error> {
        loop {
            let news = *self.news.borrow_and_update();
            match news {
                News::Look => {}
                News::Replaced => return Err(replaced(&self.key).into()),
                News::Removed => return Err(self.removed().into()),
                News::Stopping => return Err(Error::Stopping),
            }
            let told = self.told;
            let assignment = self.look(|groups, member| {
                (member.epoch > told).then(|| assignment(groups, &self.key, member))
            })?;
            if let Some(assignment) = assignment {
                self.told = assignment.epoch;
                return Ok(assignment);
            }
            self.news.changed().await.map_err(|_| self.removed())?;
        }
    }

    /// The member has said something: it lives.
    pub fn heard(&self) {
        let now = self.groups.now();
        if let Some(session) = self.groups.sessions().get_mut(&self.key, self.session) {
            session.heard_at = session.heard_at.max(now);
        }
    }

    /// It wants to read these topics, and no others.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::InvalidTopicName`], or when it is a member no more or that cannot be
    /// stored.
    pub async fn subscribe(&self, topics: Vec<String>) -> Result<(), Error> {
        let (topics, views) = self.broker.check_topics(topics)?;
        if self.look(|_, member| member.topics == topics)? {
            return Ok(());
        }
        let MemberKey { group, member_id } = self.key.clone();
        let subscribe = Subscribe { group, member_id, session: None, topics: topics.clone(), views };
        self.submit(Command::Subscribe(subscribe)).await?;
        self.broker.check_views(&topics);
        Ok(())
    }

    /// It says what it reads, in answer to the assignment of this epoch, which may not be the newest any more. Only what
    /// gives something up is stored.
    ///
    /// # Errors
    /// When it is a member no more, or that cannot be stored.
    pub async fn confirm(&self, epoch: u64, owned: &[TopicPartition]) -> Result<(), Error> {
        let owned = owned.iter().map(|of| (of.topic.as_str(), of.partition)).collect();
        // An epoch that was never given is refused where all commands are.
        let says_nothing = self.look(|_, member| epoch <= member.epoch && !member.gives_up(epoch, &owned))?;
        if says_nothing {
            return Ok(());
        }
        let MemberKey { group, member_id } = self.key.clone();
        self.submit(Command::Confirm { group, member_id, epoch, owned }).await
    }

    /// It goes, and what it had is free at once.
    ///
    /// # Errors
    /// When that cannot be stored: it is gone with its session timeout.
    pub async fn leave(self) -> Result<(), Error> {
        let MemberKey { group, member_id } = self.key.clone();
        let because = Because::Left { session: self.session };
        match self.submit(Command::Remove { group, member_id, because }).await {
            // It was gone already.
            Err(Error::Group(GroupError::UnknownMember { .. } | GroupError::NotFound(_))) => Ok(()),
            outcome => outcome,
        }
    }

    /// Submits, and does not lose its time by it.
    async fn submit(&self, command: Command) -> Result<(), Error> {
        let waiting = Waiting::new(&self.groups, &self.key, self.session);
        let outcome = self.groups.submit(command).await;
        drop(waiting);
        outcome.map(drop)
    }

    /// Looks at the member, as long as this stream speaks for it.
    fn look<T>(&self, look: impl FnOnce(&Groups, &Member) -> T) -> Result<T, Error> {
        let looked = self.groups.machine.read(|groups| {
            let member = groups.get(&self.key.group)?.members.get(&self.key.member_id)?;
            Some(if member.session == self.session {
                Ok(look(groups, member))
            } else {
                Err(replaced(&self.key))
            })
        });
        Ok(looked.ok_or_else(|| self.removed())??)
    }

    fn removed(&self) -> GroupError {
        let MemberKey { group, member_id } = self.key.clone();
        GroupError::UnknownMember { group, member_id }
    }
}

/// A request of a member that waits for the disk.
pub(super) struct Waiting<'a> {
    groups: &'a Coordinator,
    key: &'a MemberKey,
    /// Number of its session.
    session: u64,
    /// Whether it waits there: the session may be known a little later than the member.
    is_counted: bool,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(groups: &'a Coordinator, key: &'a MemberKey, session: u64) -> Waiting<'a> {
        let is_counted = match groups.sessions().get_mut(key, session) {
            Some(session) => {
                session.waiting += 1;
                true
            }
            None => false,
        };
        Waiting { groups, key, session, is_counted }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Waiting { groups, key, session, is_counted } = self;
        let now = groups.now();
        if let Some(session) = groups.sessions().get_mut(key, *session) {
            session.waiting -= usize::from(*is_counted);
            session.heard_at = session.heard_at.max(now);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(session) = self.groups.sessions().get_mut(&self.key, self.session) {
            session.address = None;
        }
    }
}

fn assignment(groups: &Groups, key: &MemberKey, member: &Member) -> Assignment {
    let positions = groups.get(&key.group).map(|group| &group.positions);
    let partition = |(topic, number): (&str, u32)| {
        let is_of_this_topic =
            |position: &&Position| groups.topics.get(topic).is_some_and(|view| view.id == position.topic_id);
        let position = positions.and_then(|positions| positions.get(topic, number)).filter(is_of_this_topic);
        (TopicPartition::new(topic, number), position.map(|position| position.offset))
    };
    Assignment { epoch: member.epoch, partitions: member.assigned().map(partition).collect() }
}

/// Checks the name of a group, which is as a topic's.
pub(super) fn check_group_name(group: &str) -> Result<(), GroupError> {
    validate_topic_name(group).map_err(GroupError::InvalidName)
}

/// Checks what members call themselves.
pub(super) fn check_ids<'a>(ids: impl IntoIterator<Item = (&'static str, &'a String)>) -> Result<(), Error> {
    for (what, id) in ids {
        if id.len() > ID_BYTES_MAX {
            return Err(Error::InvalidRequest(format!(
                "{what} has {} bytes, it has at most {ID_BYTES_MAX}",
                id.len()
            )));
        }
        // They are shown on terminals.
        if id.contains(char::is_control) {
            return Err(Error::InvalidRequest(format!(
                "{what} {id:?} has a control character: they are not allowed"
            )));
        }
    }
    Ok(())
}

/// A timeout in milliseconds.
fn in_range(
    what: &str,
    wanted: Option<Duration>,
    default: Duration,
    range: &RangeInclusive<Duration>,
) -> Result<u32, Error> {
    let timeout = wanted.unwrap_or(default);
    if range.contains(&timeout) {
        return Ok(timeout.as_millis() as u32);
    }
    Err(Error::InvalidRequest(format!(
        "a {what} of {timeout:?}: it is at least {:?} and at most {:?}",
        range.start(),
        range.end()
    )))
}
