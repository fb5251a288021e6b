//! [`Coordinator`], what makes the rules of groups happen: it submits commands, wakes those whom they concern, and
//! has one timer for all that is due.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use minikafka_storage::{LogId, Millis, Storage, TopicId};
use tokio::sync::{Semaphore, watch};

use super::{
    alarms::Due,
    classic::{Ended, Registry},
    core::{Applied, Because, Command, Groups, MemberKey},
    pattern::MATCHERS,
    pauses::Pauses,
    sessions::{Session, Sessions},
};
use crate::{AppendClock, Error, append_clock::millis, machine::Machine};

/// A command of the timer's that the disk did not take is tried again after this time.
const RETRY_MS: Millis = 2_000;

/// The one coordinator of a broker.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) machine: Machine<Groups>,
    pub(super) clock: Arc<AppendClock>,
    /// How long positions of an empty group are kept.
    retention_ms: Millis,
    pub(super) pauses: Pauses,
    /// A std lock: held for a look-up or a change, never across an await, nor while the state is read.
    sessions: Arc<Mutex<Sessions>>,
    /// As that one, and never held together with it.
    classic: Mutex<Registry>,
    /// Turns to have names matched.
    pub(super) matchers: Arc<Semaphore>,
    /// Wakes the timer: another alarm is the next one.
    alarms_changed: watch::Sender<()>,
    /// Wakes who looks after topics: what groups know of them may be wrong.
    topics_suspected: watch::Sender<()>,
}

fn log_id() -> LogId {
    let topic_id = TopicId::from_bytes(*b"minikafka-groups");
    LogId { topic: "__minikafka_groups".to_owned(), partition: 0, topic_id }
}

impl Coordinator {
    /// Opens the log of groups. Members that it knows have their session timeout to come back.
    pub(crate) async fn open(
        storage: Arc<dyn Storage>,
        clock: Arc<AppendClock>,
        retention: Duration,
    ) -> Result<Coordinator, Error> {
        let machine = Machine::open(storage, log_id(), Groups::default(), clock.clone()).await?;
        let pauses = Pauses::new(&clock);
        let coordinator = Coordinator {
            machine,
            clock,
            retention_ms: millis(retention),
            pauses,
            sessions: Arc::default(),
            classic: Mutex::default(),
            matchers: Arc::new(Semaphore::new(MATCHERS)),
            alarms_changed: watch::Sender::new(()),
            topics_suspected: watch::Sender::new(()),
        };
        coordinator.recover().await?;
        Ok(coordinator)
    }

    async fn recover(&self) -> Result<(), Error> {
        let members = self.take_up();
        if self.machine.has_losses() {
            self.fence_all(members).await?;
        }
        Ok(())
    }

    /// Takes up what commands have done whose outputs nobody has: those from before the start, and those that proved
    /// durable only when the log was opened again. Members without a stream have their session timeout from now on,
    /// occupations without members are looked at, alarms are set, and everybody looks at what there is. Returns the members, with the numbers of their streams.
    pub(super) fn take_up(&self) -> Vec<(MemberKey, u64)> {
        let (members, empty, occupied) = self.machine.read(|groups| {
            let (mut members, mut empty, mut occupied) = (Vec::new(), Vec::new(), Vec::new());
            for (name, group) in &groups.groups {
                for (member_id, member) in &group.members {
                    let key = MemberKey { group: name.clone(), member_id: member_id.clone() };
                    members.push((key, member.session, member.session_timeout_ms, member.revoking_since));
                }
                if group.is_empty() {
                    empty.push((name.clone(), group.empty_since));
                }
                occupied.extend(group.occupied.map(|_| name.clone()));
            }
            (members, empty, occupied)
        });
        let now = self.now();
        let mut sessions = self.sessions();
        for (key, number, timeout_ms, revoking_since) in &members {
            if sessions.get(key).is_none_or(|known| known.number < *number) {
                // None is newer: it was just looked for.
                let _ = sessions.open(key, Session::new(*number, *timeout_ms, now, None));
            }
            if revoking_since.is_some() {
                // Whoever is rung for finds out when it is due.
                sessions.alarms.set(Due::Revocation(key.clone()), now);
            }
        }
        for (group, empty_since) in empty {
            sessions.alarms.set(Due::Group(group), empty_since.saturating_add(self.retention_ms));
        }
        for group in occupied {
            sessions.alarms.set(Due::Classic(group), now);
        }
        sessions.tell_all();
        drop(sessions);
        self.wake_timer();
        members.into_iter().map(|(key, number, ..)| (key, number)).collect()
    }

    /// The disk has lost a part of what was said about members: who has what is not known for sure any more, so all
    /// of them join anew. Positions may be older than they were, which repeats messages; a group whose positions are
    /// lost altogether begins where its members say.
    async fn fence_all(&self, members: Vec<(MemberKey, u64)>) -> Result<(), Error> {
        for (MemberKey { group, member_id }, session) in members {
            tracing::warn!(group, member_id, "the member has to join anew: a part of what is known was lost");
            let because = Because::Silent { session };
            let removed = self.machine.submit(Command::Remove { group, member_id, because }).await?;
            if let Ok(applied) = removed {
                self.announce(&applied);
            }
        }
        self.machine.snapshot().await
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }

    pub(super) fn classic(&self) -> MutexGuard<'_, Registry> {
        self.classic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Submits a command and tells those whom it concerns, even when the caller goes away meanwhile.
    pub(super) async fn submit(self: &Arc<Self>, command: Command) -> Result<Applied, Error> {
        let coordinator = self.clone();
        let submitted = tokio::spawn(async move { coordinator.submit_here(command).await });
        match submitted.await {
            Ok(outcome) => outcome,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => Err(Error::Stopping),
        }
    }

    /// As [`submit`](Coordinator::submit), for those who do not go away.
    pub(super) async fn submit_here(&self, command: Command) -> Result<Applied, Error> {
        let applied = self.machine.submit(command).await??;
        self.announce(&applied);
        Ok(applied)
    }

    fn announce(&self, applied: &Applied) {
        {
            let mut sessions = self.sessions();
            applied.gone.iter().for_each(|gone| sessions.remove(&gone.key, gone.session));
        }
        // After that: an alarm may be that of a member which has come again under its name.
        let again = applied.gone.iter().map(|gone| &gone.key);
        let revoking: Vec<(MemberKey, Millis)> = self.machine.read(|groups| {
            let due = |key: &MemberKey| {
                let member = groups.get(&key.group)?.members.get(&key.member_id)?;
                let since = member.revoking_since?;
                Some((key.clone(), since.saturating_add(member.rebalance_timeout_ms.into())))
            };
            applied.changed.iter().chain(again).filter_map(due).collect()
        });
        let mut sessions = self.sessions();
        let mut is_next = false;
        for (key, at) in revoking {
            is_next |= sessions.alarms.set(Due::Revocation(key), at);
        }
        if let Some(group) = &applied.emptied {
            let at = self.now().saturating_add(self.retention_ms);
            is_next |= sessions.alarms.set(Due::Group(group.clone()), at);
        }
        applied.changed.iter().for_each(|key| sessions.tell(key));
        drop(sessions);
        if is_next {
            self.alarms_changed.send_replace(());
        }
    }

    pub(super) fn wake_timer(&self) {
        self.alarms_changed.send_replace(());
    }

    pub(super) fn watch_alarms(&self) -> watch::Receiver<()> {
        self.alarms_changed.subscribe()
    }

    /// Has somebody look whether what groups know of topics is right.
    pub(super) fn suspect_topics(&self) {
        self.topics_suspected.send_replace(());
    }

    pub(super) fn watch_suspicions(&self) -> watch::Receiver<()> {
        self.topics_suspected.subscribe()
    }

    /// Does what is due by now, and returns when it is done.
    pub(crate) async fn do_what_is_due(&self) {
        self.carry_out(self.take_what_is_due()).await;
    }

    /// Does of what is due by now what waits for no disk. The rest is returned.
    pub(super) fn take_what_is_due(&self) -> Vec<(Due, Command)> {
        let now = self.now();
        self.forgive_sleep();
        let mut commands = Vec::new();
        loop {
            let due = self.sessions().alarms.take(now);
            let Some(due) = due else { break };
            commands.extend(self.look(&due, now).map(|command| (due, command)));
        }
        commands
    }

    /// Does what was due. What the disk does not take is due again.
    pub(super) async fn carry_out(&self, commands: Vec<(Due, Command)>) {
        // Side by side, so that the disk syncs once for all of them.
        let done = commands.into_iter().map(|(due, command)| async move {
            let why = format!("{due:?}");
            let (ended, last) = (end_of(&command), session_of(&command));
            match self.submit_unless_heard(command).await {
                Ok(Some(applied)) => {
                    ended.into_iter().for_each(|ended| self.classic().vacated(&ended));
                    match applied.gone.is_empty() {
                        true => self.look_again(&due),
                        false => tracing::info!(why, "removed a member from its group"),
                    }
                }
                // It was heard when nobody expected that any more.
                Ok(None) => self.look_again(&due),
                // The member is gone already; its stream may have been known too late to hear of it.
                Err(Error::Group(_)) => {
                    if let (Due::Session(key), Some(last)) = (&due, last) {
                        self.sessions().remove(key, last);
                    }
                }
                Err(Error::Stopping) => {}
                Err(error) => {
                    tracing::error!(why, %error, "what is due in a group cannot be stored, trying again");
                    self.sessions().alarms.set(due, self.now().saturating_add(RETRY_MS));
                    self.wake_timer();
                }
            }
        });
        all(done).await;
    }

    /// Submits a command of the timer's. A member that was silent may be heard while the disk is busy with others: that
    /// is found out when the command has its turn, and `None` is said.
    async fn submit_unless_heard(&self, command: Command) -> Result<Option<Applied>, Error> {
        let Command::Remove { group, member_id, because: Because::Silent { session } } = &command else {
            return self.submit_here(command).await.map(Some);
        };
        let key = MemberKey { group: group.clone(), member_id: member_id.clone() };
        let (session, sessions, clock) = (*session, self.sessions.clone(), self.clock.clone());
        let is_silent = move || lock(&sessions).is_silent(&key, session, clock.now());
        let Some(applied) = self.machine.submit_if(command, Box::new(is_silent)).await? else {
            return Ok(None);
        };
        let applied = applied?;
        self.announce(&applied);
        Ok(Some(applied))
    }

    /// What was due was not so any more: a member was heard, or has given something up meanwhile. It has an alarm again.
    fn look_again(&self, due: &Due) {
        if !matches!(due, Due::Session(_) | Due::Revocation(_)) {
            return;
        }
        let now = self.now();
        if self.look(due, now).is_some() {
            // As it is found again, something else is on its way.
            self.sessions().alarms.set(due.clone(), now.saturating_add(RETRY_MS));
        }
        self.wake_timer();
    }

    /// What to do about something that may be due. When it is not yet, its alarm is set anew.
    fn look(&self, due: &Due, now: Millis) -> Option<Command> {
        let (at, command) = match due {
            Due::Session(key) => {
                let sessions = self.sessions();
                let session = sessions.get(key)?;
                let at = if session.waiting > 0 { now + session.timeout_ms } else { session.deadline() };
                (at, remove(key, Because::Silent { session: session.number }))
            }
            Due::Revocation(key) => {
                let (since, timeout_ms) = self.machine.read(|groups| {
                    let member = groups.get(&key.group)?.members.get(&key.member_id)?;
                    Some((member.revoking_since?, member.rebalance_timeout_ms))
                })?;
                let at = since.max(self.pauses.over_at()).saturating_add(timeout_ms.into());
                (at, remove(key, Because::HeldOn { revoking_since: since }))
            }
            Due::Group(name) => {
                let empty_since = self.machine.read(|groups| {
                    let group = groups.get(name).filter(|group| group.is_empty());
                    group.map(|group| group.empty_since)
                })?;
                let at = empty_since.saturating_add(self.retention_ms);
                (at, Command::Forget { group: name.clone(), empty_since })
            }
            Due::Classic(name) => return self.look_at_classic(name, now),
        };
        if at <= now {
            return Some(command);
        }
        self.sessions().alarms.set(due.clone(), at);
        None
    }

    /// Does what is due among the classic members of a group. When they are gone: what ends the occupation.
    pub(super) fn look_at_classic(&self, name: &str, now: Millis) -> Option<Command> {
        self.forgive_sleep();
        // Before it is known that nobody is there: whoever comes after that begins another one.
        let occupation = self.machine.read(|groups| groups.get(name)?.occupied);
        let next = self.classic().pass(name, now);
        if let Some(at) = next {
            self.sessions().alarms.set(Due::Classic(name.to_owned()), at.max(now + 1));
            return None;
        }
        let ended = self.classic().end_of(name);
        let Some(occupation) = occupation else {
            // Nobody was let in, or another command has ended it.
            self.classic().vacated(&ended);
            return None;
        };
        Some(Command::Vacate { group: ended.group, occupation, generation: ended.generation })
    }

    /// Members hear of it, and nothing more is done by itself.
    pub(crate) fn begin_stop(&self) {
        self.sessions().stop();
        self.classic().stop();
    }

    /// Takes nothing more.
    pub(crate) async fn close(&self) {
        self.machine.close().await;
    }
}

/// The end of an occupation that a command stores.
pub(super) fn end_of(command: &Command) -> Option<Ended> {
    match command {
        Command::Vacate { group, generation, .. } => {
            Some(Ended { group: group.clone(), generation: *generation })
        }
        _ => None,
    }
}

/// The stream of the member that a command removes for its silence.
fn session_of(command: &Command) -> Option<u64> {
    match command {
        Command::Remove { because: Because::Silent { session }, .. } => Some(*session),
        _ => None,
    }
}

fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(key: &MemberKey, because: Because) -> Command {
    let MemberKey { group, member_id } = key.clone();
    Command::Remove { group, member_id, because }
}

/// Waits for all, side by side.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
