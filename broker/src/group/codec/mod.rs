//! How groups are stored: commands in the log of groups, all groups in its snapshots.
//!
//! Each is one protobuf message of the structs in here, which nobody else sees. Fields are only ever added, and a
//! command that this version does not know keeps it from starting.
//!
//! Partitions are listed by topic, so that a topic's name is stored once for all of its partitions.

mod command;
mod parts;
mod state;

use minikafka_storage::Millis;
use prost::Message as _;

use self::{command::CommandRecord, state::GroupsRecord};
use super::core::{Applied, Command, GroupError, Groups};
use crate::machine::{FormatError, StateMachine};

impl StateMachine for Groups {
    type Command = Command;
    type Output = Result<Applied, GroupError>;

    fn apply(&mut self, command: Command, at: Millis) -> Self::Output {
        Groups::apply(self, command, at)
    }

    fn is_unsettled(output: &Self::Output) -> bool {
        output.as_ref().is_ok_and(|applied| !applied.unsettled.is_empty())
    }

    fn settle(&mut self, output: &mut Self::Output, at: Millis) {
        if let Ok(applied) = output {
            Groups::settle(self, applied, at);
        }
    }

    fn encode(command: &Command) -> Vec<u8> {
        CommandRecord::from(command).encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Command, FormatError> {
        CommandRecord::decode(bytes)?.try_into()
    }

    fn snapshot(&self) -> Vec<u8> {
        state::encode(self)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), FormatError> {
        *self = GroupsRecord::decode(snapshot)?.try_into()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
