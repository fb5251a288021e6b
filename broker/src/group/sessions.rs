//! [`Sessions`], the streams of members: who was heard when, and who is to be told what. In memory only.

use std::collections::HashMap;

use minikafka_storage::Millis;
use tokio::sync::watch;

use super::{
    alarms::{Alarms, Due},
    core::{GroupError, MemberKey},
};

/// What a member's stream is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Perhaps there is a new assignment.
    Look,
    /// Another stream speaks for the member now.
    Replaced,
    /// The member is one no more.
    Removed,
    /// The broker stops.
    Stopping,
}

/// The newest stream of a member.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number: the member's streams are counted.
    pub(super) number: u64,
    pub(super) timeout_ms: Millis,
    pub(super) heard_at: Millis,
    /// Where it comes from; `None` once it is broken.
    pub(super) address: Option<String>,
    /// Requests of it that wait for the disk. Meanwhile it is not heard, and that is not its fault.
    pub(super) waiting: usize,
    news: watch::Sender<News>,
}

/// All of them, and the alarms of groups.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_member: HashMap<MemberKey, Session>,
    pub(super) alarms: Alarms,
    is_stopping: bool,
}

impl Session {
    pub(super) fn new(number: u64, timeout_ms: u32, heard_at: Millis, address: Option<String>) -> Session {
        Session {
            number,
            timeout_ms: timeout_ms.into(),
            heard_at,
            address,
            waiting: 0,
            news: watch::Sender::new(News::Look),
        }
    }

    fn tell(&self) {
        // What was said before and is worse stays said.
        self.news.send_if_modified(|news| *news == News::Look);
    }

    /// When the member is taken for dead, unless it is heard.
    pub(super) fn deadline(&self) -> Millis {
        self.heard_at.saturating_add(self.timeout_ms)
    }
}

impl Sessions {
    /// A stream begins, or is known to have been there. Says whether the next alarm is another one now.
    ///
    /// # Errors
    /// When there is a newer one already.
    pub(super) fn open(
        &mut self,
        key: &MemberKey,
        mut session: Session,
    ) -> Result<(watch::Receiver<News>, bool), GroupError> {
        if self.by_member.get(key).is_some_and(|newer| newer.number > session.number) {
            return Err(replaced(key));
        }
        if self.is_stopping {
            session.news.send_replace(News::Stopping);
        }
        if let Some(same) = self.get_mut(key, session.number) {
            // It was known to have been there; who waits for it does so still.
            session.waiting = same.waiting;
        }
        let news = session.news.subscribe();
        let is_next = self.alarms.set(Due::Session(key.clone()), session.deadline());
        if let Some(older) = self.by_member.insert(key.clone(), session) {
            older.news.send_replace(News::Replaced);
        }
        Ok((news, is_next))
    }

    pub(super) fn get(&self, key: &MemberKey) -> Option<&Session> {
        self.by_member.get(key)
    }

    /// The session with this number, if it is still the newest.
    pub(super) fn get_mut(&mut self, key: &MemberKey, number: u64) -> Option<&mut Session> {
        self.by_member.get_mut(key).filter(|session| session.number == number)
    }

    /// A member has something to look at.
    pub(super) fn tell(&self, key: &MemberKey) {
        self.by_member.get(key).into_iter().for_each(Session::tell);
    }

    /// Everybody may have something to look at.
    pub(super) fn tell_all(&self) {
        self.by_member.values().for_each(Session::tell);
    }

    /// A member is one no more, whose last stream had this number. One of the same name that has joined since is another
    /// one, and stays.
    pub(super) fn remove(&mut self, key: &MemberKey, number: u64) {
        if self.by_member.get(key).is_none_or(|session| session.number > number) {
            return;
        }
        if let Some(session) = self.by_member.remove(key) {
            session.news.send_replace(News::Removed);
        }
        self.alarms.cancel(&Due::Session(key.clone()));
        self.alarms.cancel(&Due::Revocation(key.clone()));
    }

    /// Whether a member was silent since this stream for its session timeout, and has not spoken on another one.
    pub(super) fn is_silent(&self, key: &MemberKey, number: u64, now: Millis) -> bool {
        let session = self.by_member.get(key).filter(|session| session.number == number);
        session.is_some_and(|session| session.waiting == 0 && session.deadline() <= now)
    }

    /// Everybody has time until then at least: nobody could be heard.
    pub(super) fn forgive(&mut self, now: Millis) {
        self.by_member.values_mut().for_each(|session| session.heard_at = session.heard_at.max(now));
    }

    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
        for session in self.by_member.values() {
            session.news.send_replace(News::Stopping);
        }
    }
}

/// What an older stream is told.
pub(super) fn replaced(key: &MemberKey) -> GroupError {
    let MemberKey { group, member_id } = key.clone();
    GroupError::Fenced { group, member_id, reason: "another stream speaks for it now" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_opened_again_goes_on_waiting_for_the_disk() {
        let key = MemberKey { group: "g".to_owned(), member_id: "m".to_owned() };
        let mut sessions = Sessions::default();
        assert!(sessions.open(&key, Session::new(2, 45_000, 0, None)).is_ok());
        sessions.get_mut(&key, 2).unwrap().waiting += 1;
        assert!(sessions.open(&key, Session::new(2, 45_000, 0, None)).is_ok());
        assert_eq!(sessions.get(&key).unwrap().waiting, 1);
        assert!(sessions.open(&key, Session::new(3, 45_000, 0, None)).is_ok());
        assert_eq!(sessions.get(&key).unwrap().waiting, 0, "nobody waits for another one");
        assert!(sessions.open(&key, Session::new(2, 45_000, 0, None)).is_err());
    }

    #[test]
    fn who_has_come_again_under_its_name_stays_and_the_alarms_of_those_that_went_are_quiet() {
        let key = MemberKey { group: "g".to_owned(), member_id: "m".to_owned() };
        let mut sessions = Sessions::default();
        let (mut news, _) = sessions.open(&key, Session::new(3, 45_000, 0, None)).unwrap();
        sessions.alarms.set(Due::Revocation(key.clone()), 60_000);
        sessions.remove(&key, 2);
        assert_eq!((*news.borrow_and_update(), sessions.alarms.next()), (News::Look, Some(45_000)));
        sessions.remove(&key, 3);
        assert_eq!((*news.borrow(), sessions.alarms.next()), (News::Removed, None));
        assert!(sessions.get(&key).is_none());
    }
}
