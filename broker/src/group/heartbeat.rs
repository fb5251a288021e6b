//! Members that have no stream: they ask from time to time what they are to read, and say what they do read.
//!
//! ```text
//!   joins           -> its name, its epoch, its first assignment
//!   epoch, changes  -> the newest epoch, and its assignment unless the epoch says that the member knows it
//!   leaves          -> for good, or for now when it has a name for good
//! ```
//!
//! They are members as all others are, of the same groups: only what they say comes piece by piece, and what they are to
//! hear waits until they ask. A member's epoch stands for one assignment, so nothing has to be remembered of what it was
//! told. An older epoch than the newest is that of a member whose reply got lost, or to whom something happened since: it
//! is told the newest. What it gives up of what that older assignment asked for counts all the same, as long as it was not
//! called back since: clients that find nothing to do in the newest assignment do not say it again.
//!
//! A member gives itself its name, and keeps it when it joins anew. Who joins under a name that is there has forgotten
//! what it was told, and reads nothing.
//!
//! Whether an instance is in use is known of members that were heard since the start of the server. One that comes back
//! under its instance id before the other was heard takes its place, and the other one is fenced.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use minikafka_storage::TopicId;

use super::{
    api::{HeartbeatReply, Leave, MemberHeartbeat, TopicPartition},
    coordinator::Coordinator,
    core::{
        Because, Command, GroupError, Groups, Join, Member, MemberKey, PartitionSet, Returning, Subscribe,
        limits::TOPICS_MAX,
    },
    membership::{MEMBER_SESSION_TIMEOUT, REBALANCE_TIMEOUTS, Waiting, check_group_name, check_ids},
    pattern::{Matched, Pattern},
    sessions::Session,
};
use crate::{Broker, Error};

/// How often members say something: Kafka's `group.consumer.heartbeat.interval.ms`.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The same while partitions are on their way to or from the member: it hears of them when it asks.
const INTERVAL_UNSETTLED: Duration = Duration::from_secs(1);

/// What is known of a member when it says something.
struct Known {
    /// Number of its session.
    session: u64,
    member: Member,
}

impl Broker {
    /// A member lives, and says what has changed; or it joins. Durable on return.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::Group`] with the reason, or when it cannot be stored.
    pub async fn heartbeat_member(&self, mut beat: MemberHeartbeat) -> Result<HeartbeatReply, Error> {
        self.check_running()?;
        check_group_name(&beat.group)?;
        check_ids([
            ("client id", &beat.client_id),
            ("member id", &beat.member_id),
            ("instance id", &beat.instance_id),
        ])?;
        beat.rebalance_timeout = beat
            .rebalance_timeout
            .map(|timeout| timeout.clamp(*REBALANCE_TIMEOUTS.start(), *REBALANCE_TIMEOUTS.end()));
        if beat.epoch.is_none() && beat.member_id.is_empty() {
            beat.member_id = TopicId::random().map_err(Error::Storage)?.to_string();
        }
        let broker = self.clone();
        // In a task of its own: whoever goes away meanwhile is a member all the same.
        let told = tokio::spawn(async move {
            match beat.epoch {
                None => broker.join_by_heartbeat(beat).await,
                Some(epoch) => broker.go_on(beat, epoch).await,
            }
        });
        match told.await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    async fn join_by_heartbeat(self, beat: MemberHeartbeat) -> Result<HeartbeatReply, Error> {
        let key = MemberKey { group: beat.group.clone(), member_id: beat.member_id.clone() };
        if !beat.instance_id.is_empty() {
            self.check_instance_is_free(&beat.group, &beat.instance_id, &beat.member_id)?;
        }
        let address = beat.client_address.clone();
        let join = self.join_command(beat, &Member::default(), None).await?;
        self.submit_join(&key, join, address).await?;
        self.reply(&key, None)
    }

    /// A member says something.
    async fn go_on(self, beat: MemberHeartbeat, epoch: u64) -> Result<HeartbeatReply, Error> {
        let key = MemberKey { group: beat.group.clone(), member_id: beat.member_id.clone() };
        let Known { session, member } = self.known(&key, &beat.instance_id)?;
        member.check_epoch(&key.group, &key.member_id, epoch)?;
        self.0.groups.hear(&key, &member, Some(beat.client_address.clone()));
        // Also while its topics are looked for.
        let waiting = Waiting::new(&self.0.groups, &key, session);
        let says_all = beat.rebalance_timeout.is_some()
            && beat.owned.is_some()
            && (beat.topics.is_some() || beat.pattern.is_some());
        let owned = beat.owned.as_ref().map(|owned| self.owned(owned));
        let address = beat.client_address.clone();
        let join = self.join_command(beat, &member, Some((epoch, owned.as_ref()))).await?;
        let is_as_it_was = join.topics == member.topics
            && join.pattern == member.pattern
            && join.rebalance_timeout_ms == member.rebalance_timeout_ms;
        if !is_as_it_was {
            self.submit_join(&key, join, address).await?;
        } else if let Some(owned) = owned.filter(|owned| member.gives_up(epoch, owned)) {
            let MemberKey { group, member_id } = key.clone();
            self.0.groups.submit_here(Command::Confirm { group, member_id, epoch, owned }).await?;
        }
        drop(waiting);
        self.reply(&key, Some(epoch).filter(|_| !says_all))
    }

    /// What makes a member one that is as it says. What it leaves out is as `before`.
    async fn join_command(
        &self,
        beat: MemberHeartbeat,
        before: &Member,
        returning: Option<(u64, Option<&PartitionSet>)>,
    ) -> Result<Join, Error> {
        let (topics, pattern) = self.subscription(beat.topics, beat.pattern, before).await?;
        let (topics, views) = self.check_topics(topics.into_iter().collect())?;
        let returning = returning.map(|(epoch, owned)| Returning {
            epoch,
            // Who does not say what it reads gives nothing up.
            owned: owned
                .cloned()
                .unwrap_or_else(|| before.held.iter().map(|(topic, number, _)| (topic, number)).collect()),
        });
        let timeout_ms = beat.rebalance_timeout.map(|timeout| timeout.as_millis() as u32);
        let is_new = returning.is_none();
        Ok(Join {
            group: beat.group,
            member_id: beat.member_id,
            returning,
            instance_id: if is_new { beat.instance_id } else { before.instance_id.clone() },
            client_id: beat.client_id,
            topics,
            pattern,
            is_self_named: true,
            session_timeout_ms: MEMBER_SESSION_TIMEOUT.as_millis() as u32,
            rebalance_timeout_ms: timeout_ms.unwrap_or(before.rebalance_timeout_ms),
            views,
        })
    }

    /// The topics that a member wants to read now, and its pattern.
    async fn subscription(
        &self,
        topics: Option<Vec<String>>,
        pattern: Option<String>,
        before: &Member,
    ) -> Result<(BTreeSet<String>, String), Error> {
        let named = topics.map(BTreeSet::from_iter);
        if named.is_none() && pattern.is_none() {
            return Ok((before.topics.clone(), before.pattern.clone()));
        }
        let text = pattern.unwrap_or_else(|| before.pattern.clone());
        if text.is_empty() && before.pattern.is_empty() {
            return Ok((named.unwrap_or_else(|| before.topics.clone()), text));
        }
        let (topics, old) = (before.topics.clone(), before.pattern.clone());
        self.match_apart(move |broker| {
            let matched = broker.matched(Pattern::new(&text)?);
            let named = match named {
                Some(named) => named,
                // Those that match its pattern are taken for found by it: if it names one, too, that is found again
                // whenever it is there.
                None => Pattern::new(&old)?.others(&topics),
            };
            Ok((with_room(named, &matched.topics), text))
        })
        .await
    }

    /// What a member says that it reads. Of a topic that is gone there is nothing to read.
    fn owned(&self, owned: &[(TopicId, u32)]) -> PartitionSet {
        let mut by_name = PartitionSet::default();
        for (id, number) in owned {
            if let Ok(topic) = self.topic_with_id(*id) {
                by_name.insert(&topic.name, *number, ());
            }
        }
        by_name
    }

    async fn submit_join(&self, key: &MemberKey, join: Join, address: String) -> Result<(), Error> {
        let groups = &self.0.groups;
        let (timeout_ms, topics) = (join.session_timeout_ms, join.topics.clone());
        let applied = groups.submit_here(Command::Join(join)).await?;
        let number = applied.session.expect("a join opens a session");
        let session = Session::new(number, timeout_ms, groups.now(), Some(address));
        // Nobody waits for its news: it asks.
        let (_, is_next) = groups.sessions().open(key, session)?;
        if is_next {
            groups.wake_timer();
        }
        self.check_views(&topics);
        Ok(())
    }

    /// What a member is told that knows the assignment of an epoch, or none.
    fn reply(&self, key: &MemberKey, epoch: Option<u64>) -> Result<HeartbeatReply, Error> {
        let reply = self.0.groups.machine.read(|groups| {
            let member = groups.get(&key.group)?.members.get(&key.member_id)?;
            let interval = if member.is_settled() { HEARTBEAT_INTERVAL } else { INTERVAL_UNSETTLED };
            Some(HeartbeatReply {
                member_id: key.member_id.clone(),
                epoch: member.epoch,
                interval,
                partitions: (epoch != Some(member.epoch)).then(|| assigned(groups, member)),
            })
        });
        Ok(reply.ok_or_else(|| unknown(key))?)
    }

    /// What is known of a member that speaks.
    fn known(&self, key: &MemberKey, instance_id: &str) -> Result<Known, GroupError> {
        self.0.groups.machine.read(|groups| {
            let group = groups.get(&key.group).ok_or_else(|| unknown(key))?;
            let holder = group.of_instance(instance_id);
            if holder.is_some_and(|holder| holder != key.member_id) {
                let (group, instance_id) = (key.group.clone(), instance_id.to_owned());
                return Err(GroupError::InstanceFenced { group, instance_id });
            }
            // Who came in by another door does not speak at this one.
            let member = group.members.get(&key.member_id).filter(|member| member.is_self_named);
            let member = member.ok_or_else(|| unknown(key))?;
            Ok(Known { session: member.session, member: member.clone() })
        })
    }

    /// A member goes; durable on return.
    ///
    /// # Errors
    /// [`Error::Group`] with the reason, or when it cannot be stored.
    pub async fn leave_member(
        &self,
        group: &str,
        member_id: &str,
        instance_id: &str,
        how: Leave,
    ) -> Result<(), Error> {
        self.check_running()?;
        check_group_name(group)?;
        let key = MemberKey { group: group.to_owned(), member_id: member_id.to_owned() };
        let Known { session, member } = self.known(&key, instance_id)?;
        let MemberKey { group, member_id } = key.clone();
        let command = match how {
            Leave::ForGood => Command::Remove { group, member_id, because: Because::Left { session } },
            Leave::ForNow if member.instance_id.is_empty() || member.instance_id != instance_id => {
                return Err(unknown(&key).into());
            }
            Leave::ForNow => {
                self.0.groups.hear(&key, &member, None);
                Command::Confirm { group, member_id, epoch: member.epoch, owned: PartitionSet::default() }
            }
        };
        self.0.groups.submit(command).await?;
        Ok(())
    }

    /// Has members subscribe to topics that have come since and match what they want, and no more to those that are
    /// gone.
    pub(super) async fn follow_patterns(&self) -> Result<(), Error> {
        self.check_running()?;
        let mut with_pattern: Vec<(u64, MemberKey)> = self.0.groups.machine.read(|groups| {
            let mut found = Vec::new();
            for (name, group) in &groups.groups {
                for (id, member) in group.members.iter().filter(|(_, member)| !member.pattern.is_empty()) {
                    let key = MemberKey { group: name.clone(), member_id: id.clone() };
                    found.push((hash(&member.pattern), key));
                }
            }
            found
        });
        // Those that want the same are many, usually, and come one behind the other: so one expression is kept at a time.
        with_pattern.sort_unstable();
        let mut last = None;
        for (_, key) in with_pattern {
            // It has said something else meanwhile, if not.
            while !self.follow_pattern(&key, &mut last).await? {}
        }
        Ok(())
    }

    /// The same for one member. Says whether it still wants what it wanted when its topics were looked for, which may take
    /// a while.
    async fn follow_pattern(
        &self,
        key: &MemberKey,
        last: &mut Option<(String, Arc<Matched>)>,
    ) -> Result<bool, Error> {
        let read = self.0.groups.machine.read(|groups| {
            let member = groups.get(&key.group)?.members.get(&key.member_id)?;
            Some((member.session, member.topics.clone(), member.pattern.clone()))
        });
        let Some((session, before, pattern)) = read.filter(|(.., pattern)| !pattern.is_empty()) else {
            return Ok(true);
        };
        let known = last.take().filter(|(text, _)| *text == pattern).map(|(_, found)| found);
        let (text, topics) = (pattern.clone(), before.clone());
        let (found, named) = self
            .match_apart(move |broker| {
                let found = match known {
                    Some(known) => known,
                    None => Arc::new(broker.matched(Pattern::new(&text)?)),
                };
                let named = found.others(&topics);
                Ok((found, named))
            })
            .await?;
        let topics = with_room(named, &found.topics);
        *last = Some((pattern, found));
        if topics == before {
            return Ok(true);
        }
        let (topics, views) = self.check_topics(topics.into_iter().collect())?;
        let MemberKey { group, member_id } = key.clone();
        let subscribe = Subscribe { group, member_id, session: Some(session), topics: topics.clone(), views };
        match self.0.groups.submit_here(Command::Subscribe(subscribe)).await {
            Ok(_) => {
                self.check_views(&topics);
                Ok(true)
            }
            Err(Error::Group(GroupError::Fenced { .. })) => Ok(false),
            // It has gone meanwhile.
            Err(Error::Group(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Coordinator {
    /// A member that has no stream, with the number of its session.
    pub(super) fn self_named(&self, group: &str, member_id: &str) -> Option<(MemberKey, u64)> {
        self.machine.read(|groups| {
            let member = groups.get(group)?.members.get(member_id).filter(|member| member.is_self_named)?;
            let (group, member_id) = (group.to_owned(), member_id.to_owned());
            Some((MemberKey { group, member_id }, member.session))
        })
    }

    /// A member lives, and is there or not. Its session is known again if it was taken for that of a member of the same
    /// name that has gone.
    fn hear(self: &Arc<Self>, key: &MemberKey, member: &Member, address: Option<String>) {
        let now = self.now();
        let mut sessions = self.sessions();
        if let Some(session) = sessions.get_mut(key, member.session) {
            session.heard_at = session.heard_at.max(now);
            session.address = address;
            return;
        }
        let session = Session::new(member.session, member.session_timeout_ms, now, address);
        let is_next = sessions.open(key, session).is_ok_and(|(_, is_next)| is_next);
        drop(sessions);
        if is_next {
            self.wake_timer();
        }
    }
}

fn hash(pattern: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(pattern)
}

/// What is named, and of what was found as much as a member may subscribe to.
fn with_room(mut named: BTreeSet<String>, found: &BTreeSet<String>) -> BTreeSet<String> {
    let room = TOPICS_MAX.saturating_sub(named.len());
    named.extend(found.iter().take(room).cloned());
    named
}

fn assigned(groups: &Groups, member: &Member) -> Vec<(TopicId, TopicPartition)> {
    let with_id = |(topic, number): (&str, u32)| {
        // What is assigned is of a topic that is known.
        let view = groups.topics.get(topic)?;
        Some((view.id, TopicPartition::new(topic, number)))
    };
    member.assigned().filter_map(with_id).collect()
}

fn unknown(key: &MemberKey) -> GroupError {
    let MemberKey { group, member_id } = key.clone();
    GroupError::UnknownMember { group, member_id }
}
