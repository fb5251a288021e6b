//! Occupied groups: those whose members speak Kafka's classic protocol.
//!
//! Such members are known in memory only (`group/classic`): their clients join anew after a restart anyhow, and who
//! reads what is theirs to say. What the log has to know is that there are some. Then nobody joins by the other
//! protocol, moves or deletes positions, and the retention of positions does not count. That is one command before
//! the first one is let in, and one after the last one is gone, and their order in the log decides every race.
//!
//! An occupation has a number. The command that ends one names it: should another one have begun meanwhile, nothing
//! ends. After a restart nobody is there who could be a member, and what is left of occupations is ended at once.
//!
//! - **Invariant:** an occupied group has no members of the other protocol.

use minikafka_storage::Millis;

use super::{Group, GroupError, group::GroupState};

impl Group {
    /// Whether nobody is a member, of whichever protocol.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.occupied.is_none()
    }

    pub(crate) fn check_empty(&self, group: &str) -> Result<(), GroupError> {
        match self.members.len() {
            0 if self.occupied.is_some() => Err(GroupError::Occupied(group.to_owned())),
            0 => Ok(()),
            members => Err(GroupError::NotEmpty { group: group.to_owned(), members }),
        }
    }

    /// Begins an occupation, or another one in the place of it. Returns its number, which rises.
    pub(super) fn occupy(&mut self) -> u64 {
        self.epoch += 1;
        self.occupied = Some(self.epoch);
        self.epoch
    }

    /// Ends an occupation, if it is still this one.
    pub(super) fn vacate(&mut self, occupation: u64, generation: u64, at: Millis) {
        if self.occupied == Some(occupation) {
            self.occupied = None;
            self.epoch = self.epoch.max(generation);
            self.empty_since = at;
        }
    }

    /// Checks that an occupation may begin.
    pub(super) fn check_occupy(&self, group: &str) -> Result<(), GroupError> {
        if self.state() == GroupState::Empty {
            return Ok(());
        }
        Err(GroupError::OtherProtocol { group: group.to_owned(), theirs: "MiniKafka's own protocol" })
    }

    /// Checks that members of the other protocol may join.
    pub(super) fn check_not_occupied(&self, group: &str) -> Result<(), GroupError> {
        if self.occupied.is_none() {
            return Ok(());
        }
        Err(GroupError::OtherProtocol { group: group.to_owned(), theirs: "Kafka's classic protocol" })
    }

    /// Checks that there may be such a member.
    pub(super) fn check_occupied(&self, group: &str, member_id: &str) -> Result<(), GroupError> {
        if self.occupied.is_some() {
            return Ok(());
        }
        Err(GroupError::UnknownMember { group: group.to_owned(), member_id: member_id.to_owned() })
    }
}
