//! Members that join, leave, die, hang up and come back, at random.
//!
//! The members here are as simple as they can be. Whatever happens, a generation has one leader and one assignment;
//! nobody waits for longer than the timeouts say; and when all behave at last, all are in one generation, and each
//! has what its leader said.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Join,
    JoinInstance(usize),
    Leave(usize),
    /// The process is gone, which the server notices later.
    Die(usize),
    /// The connection breaks; the member asks again later.
    HangUp(usize),
    Act(usize),
    Pass(Millis),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Join),
        2 => (0usize..2).prop_map(Step::JoinInstance),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Die),
        2 => any::<usize>().prop_map(Step::HangUp),
        12 => any::<usize>().prop_map(Step::Act),
        4 => (1..2 * SESSION_MS).prop_map(Step::Pass),
    ]
}

/// What a member does next.
#[derive(Debug)]
enum Doing {
    Joining(Waiter<ClassicJoined>),
    Syncing(ClassicJoined, Waiter<ClassicSynced>),
    Reading(i32),
    /// It joins next, under the name that it has.
    Nothing,
}

#[derive(Debug)]
struct Client {
    id: String,
    instance: Option<&'static str>,
    doing: Doing,
}

struct World {
    rig: Rig,
    clients: Vec<Client>,
    leaders: BTreeMap<i32, String>,
}

impl World {
    fn join(&mut self, id: &str, instance: Option<&'static str>) -> Option<Client> {
        match self.rig.try_join(Rig::request(id, instance, "")) {
            Ok(waiter) => {
                let id = if id.is_empty() { format!("m{}", self.rig.names) } else { id.to_owned() };
                Some(Client { id, instance, doing: Doing::Joining(waiter) })
            }
            Err(GroupError::UnknownMember { .. }) if !id.is_empty() => self.join("", instance),
            // Another process has taken its place: it ends.
            Err(GroupError::InstanceFenced { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    }

    fn by(client: &Client, generation: i32) -> ClassicMember {
        let instance_id = client.instance.map(str::to_owned);
        ClassicMember { group: "g".into(), member_id: client.id.clone(), instance_id, generation }
    }

    /// What the leader says each is to read: the generation, so that it can be told from others.
    fn sync(&mut self, client: &Client, joined: &ClassicJoined) -> Outcome<Waiter<ClassicSynced>> {
        let assignment = || ClassicAssignment {
            bytes: joined.generation.to_string().into_bytes().into(),
            partitions: Vec::new(),
        };
        let assignments = joined.members.iter().map(|peer| (peer.member_id.clone(), assignment()));
        let assignments = if joined.skip_assignment { Vec::new() } else { assignments.collect() };
        let by = World::by(client, joined.generation);
        self.rig.group.sync(ClassicSync { by, assignments, ..ClassicSync::default() }, self.rig.now)
    }

    /// The member does what is next. `None`: it ends.
    fn act(&mut self, mut client: Client) -> Option<Client> {
        client.doing = match client.doing {
            Doing::Nothing => return self.join(&client.id, client.instance),
            Doing::Joining(mut waiter) => match waiter.try_recv() {
                Ok(Ok(joined)) => {
                    client.id.clone_from(&joined.member_id);
                    if !joined.members.is_empty() && !joined.skip_assignment {
                        let before = self.leaders.insert(joined.generation, client.id.clone());
                        assert!(
                            before.as_ref().is_none_or(|before| *before == client.id),
                            "two lead {joined:?}"
                        );
                    }
                    client.doing = Doing::Nothing;
                    match self.sync(&client, &joined) {
                        Ok(waiter) => Doing::Syncing(joined, waiter),
                        Err(error) => return self.refused(client, &error),
                    }
                }
                Ok(Err(error)) => return self.refused(Client { doing: Doing::Nothing, ..client }, &error),
                Err(_) if waits(&mut waiter) => Doing::Joining(waiter),
                Err(_) => Doing::Nothing,
            },
            Doing::Syncing(joined, mut waiter) => match waiter.try_recv() {
                Ok(Ok(synced)) => {
                    assert_eq!(
                        synced.assignment,
                        joined.generation.to_string(),
                        "an assignment of another one"
                    );
                    Doing::Reading(joined.generation)
                }
                Ok(Err(error)) => return self.refused(Client { doing: Doing::Nothing, ..client }, &error),
                Err(_) if waits(&mut waiter) => Doing::Syncing(joined, waiter),
                Err(_) => Doing::Nothing,
            },
            Doing::Reading(generation) => {
                client.doing = Doing::Nothing;
                let by = World::by(&client, generation);
                match self.rig.group.heartbeat(&by, self.rig.now) {
                    Ok(()) => Doing::Reading(generation),
                    Err(error) => return self.refused(client, &error),
                }
            }
        };
        Some(client)
    }

    fn refused(&mut self, mut client: Client, error: &GroupError) -> Option<Client> {
        match error {
            GroupError::InstanceFenced { .. } => return None,
            GroupError::UnknownMember { .. } => client.id.clear(),
            GroupError::RebalanceInProgress(_) | GroupError::IllegalGeneration { .. } => {}
            other => panic!("{other}"),
        }
        client.doing = Doing::Nothing;
        Some(client)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Join => {
                let client = self.join("", None);
                self.clients.extend(client);
            }
            Step::JoinInstance(instance) => {
                let client = self.join("", Some(["a", "b"][*instance]));
                self.clients.extend(client);
            }
            Step::Pass(time) => self.rig.pass(*time),
            Step::Leave(index) | Step::Die(index) | Step::HangUp(index) | Step::Act(index) => {
                if self.clients.is_empty() {
                    return;
                }
                let client = self.clients.swap_remove(index % self.clients.len());
                let left = match step {
                    Step::Leave(_) => {
                        let _ = self.rig.leave(&client.id);
                        None
                    }
                    Step::Die(_) => None,
                    Step::HangUp(_) => Some(Client { doing: Doing::Nothing, ..client }),
                    _ => self.act(client),
                };
                self.clients.extend(left);
            }
        }
    }

    /// Everybody behaves, until all that the dead are waited for is over.
    fn settle(&mut self) {
        for _ in 0..4 * (REBALANCE_MS + SESSION_MS) / 1_000 {
            for client in std::mem::take(&mut self.clients) {
                let left = self.act(client);
                self.clients.extend(left);
            }
            self.rig.pass(1_000);
        }
        let generation = self.rig.group.generation;
        for client in &self.clients {
            assert!(
                matches!(client.doing, Doing::Reading(of) if of == generation),
                "{client:?} in {:?}",
                self.rig.group
            );
        }
        assert_eq!(self.rig.group.members.len(), self.clients.len(), "{:?}", self.rig.group);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn all_are_in_one_generation_at_last(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World { rig: Rig::new(), clients: Vec::new(), leaders: BTreeMap::new() };
        for step in &steps {
            world.take(step);
        }
        world.settle();
    }
}
