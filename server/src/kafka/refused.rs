//! [`Refused`]: why something was not done, as a code and in words.

use kafka_protocol::{ResponseError, protocol::StrBytes};
use minikafka_broker::Error;

use super::{door::Door, errors};

/// Why a client does not get what it wants.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: ResponseError,
    /// Newer versions carry it.
    pub(super) message: Option<String>,
}

/// What came of one of the things that a client wants.
pub(super) type Outcome<T> = Result<T, Refused>;

impl Refused {
    pub(super) fn new(code: ResponseError, message: impl Into<String>) -> Refused {
        Refused { code, message: Some(message.into()) }
    }

    /// Bytes of its words.
    pub(super) fn len(&self) -> usize {
        self.message.as_ref().map_or(0, String::len)
    }

    /// What the client is told; it is counted.
    pub(super) fn tell(self, door: &Door) -> (i16, Option<StrBytes>) {
        (door.counts.error(self.code), self.message.map(StrBytes::from_string))
    }
}

/// What the client is told: nothing, in both ways, of a success.
pub(super) fn told<T>(door: &Door, outcome: Outcome<T>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(_) => (0, None),
        Err(refused) => refused.tell(door),
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { code: errors::code(&error), message: Some(error.to_string()) }
    }
}

impl From<ResponseError> for Refused {
    fn from(code: ResponseError) -> Refused {
        Refused { code, message: None }
    }
}
