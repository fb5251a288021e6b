//! Settings under Kafka's names.
//!
//! `topic` has what Kafka knows of topics, and what holds of it here; `broker` the same of the server, and of groups. Three of the
//! topic's can be set, and `change` turns what a client wants into a change for the broker; all others are as they
//! are. Setting one of those to what it is already is a wish that is granted; anything else is refused, because
//! nothing would come of it.

pub(in super::super) mod alter;
mod broker;
pub(super) mod change;
pub(in super::super) mod describe;
pub(super) mod topic;

use kafka_protocol::protocol::StrBytes;

/// A setting, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    name: &'static str,
    /// `None`: there is nothing of the kind that could have a value.
    value: Option<String>,
    kind: Kind,
    pub(super) source: Source,
    pub(super) is_read_only: bool,
    about: &'static str,
    /// Where the value comes from: the nearest place first.
    synonyms: Vec<Synonym>,
}

/// A place that a value may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Synonym {
    name: &'static str,
    value: String,
    source: Source,
}

/// The type of a value, by Kafka's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Who has chosen a value, by Kafka's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Somebody, for this topic.
    Topic = 1,
    /// The server's configuration.
    Server = 4,
    /// Nobody.
    Default = 5,
}

/// What settings are about, by Kafka's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Topic = 2,
    Broker = 4,
    Group = 32,
}

impl Resource {
    fn of(number: i8) -> Option<Resource> {
        let all = [Resource::Topic, Resource::Broker, Resource::Group];
        all.into_iter().find(|resource| *resource as i8 == number)
    }
}

impl Source {
    /// Of a value of the server.
    fn of_server<T: PartialEq>(value: &T, default: &T) -> Source {
        if value == default { Source::Default } else { Source::Server }
    }
}

impl Entry {
    pub(super) fn name(&self) -> StrBytes {
        StrBytes::from_static_str(self.name)
    }

    pub(super) fn value(&self) -> Option<StrBytes> {
        self.value.clone().map(StrBytes::from_string)
    }
}

/// A limit as Kafka writes it.
fn limit(limit: Option<impl ToString>) -> String {
    limit.map_or_else(|| UNLIMITED.to_owned(), |limit| limit.to_string())
}

const UNLIMITED: &str = "-1";
