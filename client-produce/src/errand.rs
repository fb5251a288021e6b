//! [`Errands`], what a producer asks the server beside the stream: its own name, and how many partitions there are.

use std::time::Duration;

use tokio::time::Instant;

use crate::{lane::Identity, settings::Delivery};

/// How old the number of partitions becomes while messages are sent, as in Kafka's clients.
const PARTITIONS_AGE_MAX: Duration = Duration::from_secs(300);

/// A question to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A name; or the next epoch of the one there is.
    Identity(Option<Identity>),
    /// How many partitions the topic has, and what is to become of one that is not there.
    Partitions(Missing),
}

/// What is to become of a topic that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The first message creates it.
    Leave,
    /// It is created, if the server creates topics by itself: a message with a key waits.
    Create,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Errands {
    identity: Option<Identity>,
    /// Whether the server refused to go on under it.
    identity_is_lost: bool,
    wants_identity: bool,
    wants_partitions: bool,
    /// Whether somebody cannot go on without a topic.
    wants_topic: bool,
    /// When the number of partitions was learnt.
    partitions_at: Instant,
    /// Whether there was a topic then.
    knows_topic: bool,
    are_news: bool,
}

impl Errands {
    pub(crate) fn new() -> Errands {
        Errands {
            identity: None,
            identity_is_lost: false,
            wants_identity: false,
            wants_partitions: false,
            wants_topic: false,
            partitions_at: Instant::now(),
            knows_topic: false,
            are_news: false,
        }
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(crate) fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
        (self.wants_identity, self.identity_is_lost) = (false, false);
    }

    pub(crate) fn want_identity(&mut self) {
        self.are_news |= !self.wants_identity;
        self.wants_identity = true;
    }

    pub(crate) fn lose_identity(&mut self) {
        self.identity_is_lost = true;
    }

    pub(crate) fn want_partitions(&mut self) {
        self.are_news |= !self.wants_partitions;
        self.wants_partitions = true;
    }

    /// The topic has to be there: it is not known how many partitions it will have, and keys go by that.
    pub(crate) fn want_topic(&mut self) {
        self.are_news |= !self.wants_topic;
        self.wants_topic = true;
    }

    pub(crate) fn wants_topic(&self) -> bool {
        self.wants_topic
    }

    pub(crate) fn knows_topic(&self) -> bool {
        self.knows_topic
    }

    /// Nobody waits for the topic any more.
    pub(crate) fn leave_topic(&mut self) {
        self.wants_topic = false;
    }

    /// The topic is there, or it is not.
    pub(crate) fn set_topic(&mut self, is_there: bool) {
        (self.wants_partitions, self.partitions_at) = (false, Instant::now());
        self.knows_topic = is_there;
        self.wants_topic &= !is_there;
    }

    /// A request was sent: from time to time, the topic may have more partitions than it had.
    pub(crate) fn note_sent(&mut self) {
        if self.partitions_at.elapsed() >= PARTITIONS_AGE_MAX {
            self.want_partitions();
        }
    }

    /// A batch was stored, so there is a topic.
    pub(crate) fn note_stored(&mut self) {
        if !self.knows_topic {
            self.want_partitions();
        }
    }

    /// The next one to run, until it is answered.
    pub(crate) fn next(&mut self, delivery: Delivery) -> Option<Errand> {
        let needs_name = self.wants_identity || self.identity.is_none();
        if delivery == Delivery::ExactlyOnce && needs_name {
            return Some(Errand::Identity(self.identity.filter(|_| !self.identity_is_lost)));
        }
        match (self.wants_topic, self.wants_partitions) {
            (true, _) => Some(Errand::Partitions(Missing::Create)),
            (false, true) => Some(Errand::Partitions(Missing::Leave)),
            (false, false) => None,
        }
    }

    /// Whether there is a new one since the last call.
    pub(crate) fn are_news(&mut self) -> bool {
        std::mem::take(&mut self.are_news)
    }
}
