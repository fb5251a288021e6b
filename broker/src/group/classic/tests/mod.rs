//! The rules of classic groups, with a clock that is moved by hand.

mod instances;
mod life;
mod protocols;
mod random;
mod registry;

use std::time::Duration;

use bytes::Bytes;
use minikafka_storage::Millis;

use super::{
    api::{
        ClassicAssignment, ClassicJoin, ClassicJoined, ClassicLeaver, ClassicMember, ClassicProtocol,
        ClassicState, ClassicSync, ClassicSynced, Newcomers,
    },
    group::Group,
    limits::OPENING_DELAY_MS,
    member::{Outcome, Waiter},
};
use crate::group::core::GroupError;

const SESSION_MS: Millis = 10_000;
const REBALANCE_MS: Millis = 60_000;

/// A group named "g".
struct Rig {
    group: Group,
    now: Millis,
    names: usize,
}

impl Rig {
    fn new() -> Rig {
        Rig { group: Group::new("g", 0), now: 0, names: 0 }
    }

    /// A newcomer that is let in at once, or what else it is.
    fn request(member_id: &str, instance_id: Option<&str>, metadata: &'static str) -> ClassicJoin {
        ClassicJoin {
            group: "g".into(),
            member_id: member_id.into(),
            instance_id: instance_id.map(str::to_owned),
            session_timeout: Duration::from_millis(SESSION_MS as u64),
            rebalance_timeout: Duration::from_millis(REBALANCE_MS as u64),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range", metadata)],
            can_skip_assignment: true,
            ..ClassicJoin::default()
        }
    }

    fn try_join(&mut self, join: ClassicJoin) -> Outcome<Waiter<ClassicJoined>> {
        self.names += 1;
        self.group.join(join, format!("m{}", self.names), self.now)
    }

    /// A newcomer, or a member that comes back.
    fn join(&mut self, member_id: &str) -> Waiter<ClassicJoined> {
        self.try_join(Rig::request(member_id, None, "")).unwrap()
    }

    fn by(&self, member_id: &str) -> ClassicMember {
        let generation = self.group.generation;
        ClassicMember { group: "g".into(), member_id: member_id.into(), instance_id: None, generation }
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &str)]) -> Outcome<Waiter<ClassicSynced>> {
        let assignment = |(id, text): &(&str, &str)| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            ((*id).to_owned(), ClassicAssignment { bytes, partitions: Vec::new() })
        };
        let assignments = assignments.iter().map(assignment).collect();
        let sync = ClassicSync { by: self.by(member_id), assignments, ..ClassicSync::default() };
        self.group.sync(sync, self.now)
    }

    fn heartbeat(&mut self, member_id: &str) -> Outcome<()> {
        let by = self.by(member_id);
        self.group.heartbeat(&by, self.now)
    }

    fn leave(&mut self, member_id: &str) -> Outcome<()> {
        let leaver = ClassicLeaver { member_id: member_id.into(), instance_id: None };
        self.group.leave(&leaver, self.now)
    }

    /// Time passes, and what is due is done when it is.
    fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(at) = self.group.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now + 1).min(end);
            self.group.pass(self.now);
            if self.now == end {
                break;
            }
        }
        self.now = end;
    }

    /// A stable group of m1, which leads, and m2.
    fn of_two() -> Rig {
        let mut rig = Rig::new();
        let (one, two) = (rig.join(""), rig.join(""));
        rig.pass(OPENING_DELAY_MS);
        assert_eq!((told(one).generation, told(two).leader.as_str()), (1, "m1"));
        let waiting = rig.sync("m2", &[]).unwrap();
        rig.sync("m1", &[("m1", "one"), ("m2", "two")]).unwrap();
        assert_eq!(told(waiting).assignment, "two");
        assert_eq!(rig.state(), ClassicState::Stable);
        rig
    }

    fn state(&self) -> ClassicState {
        self.group.summary().state
    }
}

fn protocol(name: &str, metadata: &'static str) -> ClassicProtocol {
    ClassicProtocol { name: name.to_owned(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

/// The answer, which is there.
fn answer<T>(mut waiter: Waiter<T>) -> Outcome<T> {
    waiter.try_recv().expect("it was answered")
}

/// The answer, which is there and good.
fn told<T>(waiter: Waiter<T>) -> T {
    answer(waiter).unwrap()
}

/// Whether an answer is waited for.
fn waits<T>(waiter: &mut Waiter<T>) -> bool {
    waiter.is_empty() && !waiter.is_terminated()
}
