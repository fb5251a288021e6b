//! [`Request`]: a frame whose header is read and whose body is known to have the right shape.
//!
//! ```text
//!   i16 key | i16 version | i32 correlation id | i16 length, client id (-1: null) | tagged fields, if flexible | body
//! ```
//!
//! Source: the "Request Header" sections of the Apache Kafka protocol documentation.

use bytes::{Buf, Bytes};
use kafka_protocol::{messages::ApiKey, protocol::Decodable};

use super::{
    api::Api,
    shape::{self, Encoding, Malformed},
};

/// What a request says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: ApiKey,
    pub(super) version: i16,
    /// The reply carries it, too.
    pub(super) correlation_id: i32,
}

/// A request that can be decoded.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: Head,
    /// Place in the table of APIs.
    pub(super) api: usize,
    /// Bytes of the whole frame.
    pub(super) frame_len: usize,
    client_id: Bytes,
    pub(super) body: Bytes,
}

/// What becomes of a frame.
#[derive(Debug)]
pub(super) enum Read {
    Request(Request),
    /// A request for the versions, in a version that is not known: it is answered as version 0.
    UnknownApiVersions(Head),
}

/// Why a connection is ended that sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Offence {
    #[error("a request of key {key} version {version} is not answered here")]
    Unknown { key: i16, version: i16 },
    #[error("a frame claims {len} bytes, at most {max} are taken")]
    TooLarge { len: i64, max: usize },
    #[error("a request of key {key} version {version} cannot be read: {why}")]
    Malformed { key: i16, version: i16, why: Malformed },
    #[error("a frame has no header")]
    NoHeader,
    #[error("a frame took too long to arrive")]
    TooSlow,
}

/// Bytes of key, version and correlation id.
const FIXED_LEN: usize = 8;

/// The key of a request, from the first bytes of its frame.
pub(super) fn peek_key(frame: &[u8]) -> Option<i16> {
    frame.first_chunk().map(|key| i16::from_be_bytes(*key))
}

impl Read {
    /// What the request says of itself.
    pub(super) fn head(&self) -> Head {
        match self {
            Read::Request(request) => request.head,
            Read::UnknownApiVersions(head) => *head,
        }
    }
}

impl Request {
    /// Reads the header and checks the body.
    ///
    /// # Errors
    /// Why the connection cannot go on.
    pub(super) fn read(frame: &Bytes) -> Result<Read, Offence> {
        let mut fixed = frame.get(..FIXED_LEN).ok_or(Offence::NoHeader)?;
        let (key, version, correlation_id) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
        let unknown = Offence::Unknown { key, version };
        let (index, api) = Api::of(key).ok_or(unknown)?;
        let head = Head { key: api.key, version, correlation_id };
        if !api.versions.contains(&version) {
            let is_question = api.key == ApiKey::ApiVersions;
            return if is_question { Ok(Read::UnknownApiVersions(head)) } else { Err(unknown) };
        }
        let malformed = |why| Offence::Malformed { key, version, why };
        let encoding = api.encoding(version);
        let (client_id, body) = rest_of_header(&frame[FIXED_LEN..], encoding).map_err(malformed)?;
        let len = shape::check(body, api.shape, version, encoding).map_err(malformed)?;
        // Nothing is decoded that was not checked: what lies behind the body is nobody's.
        let (client_id, body) = (frame.slice_ref(client_id), frame.slice_ref(&body[..len]));
        Ok(Read::Request(Request { head, api: index, frame_len: frame.len(), client_id, body }))
    }

    /// What the client calls itself; empty: nothing.
    pub(super) fn client_id(&self) -> String {
        self.client_id_within(usize::MAX)
    }

    /// The same, or so many bytes of it.
    pub(super) fn client_id_within(&self, bytes_max: usize) -> String {
        let len = self.client_id.len().min(bytes_max);
        String::from_utf8_lossy(&self.client_id[..len]).into_owned()
    }

    /// The body. Byte fields are slices of the frame.
    ///
    /// # Errors
    /// When a text is no UTF-8, or null where it may not be.
    pub(super) fn decode<T: Decodable>(self) -> Result<T, Offence> {
        let Head { key, version, .. } = self.head;
        let mut body = self.body;
        T::decode(&mut body, version).map_err(|_| Offence::Malformed {
            key: key as i16,
            version,
            why: Malformed("a text is no UTF-8, or null where it may not be"),
        })
    }
}

/// Behind the correlation id: the client's name, and tagged fields. Returns the name, and what is behind all of it.
fn rest_of_header(rest: &[u8], encoding: Encoding) -> Result<(&[u8], &[u8]), Malformed> {
    const CUT_OFF: Malformed = Malformed("its header is cut off");
    let (len, rest) = rest.split_first_chunk().ok_or(CUT_OFF)?;
    // Null is no bytes. The length is classic in every version.
    let len = usize::try_from(i16::from_be_bytes(*len)).unwrap_or(0);
    let (client_id, mut rest) = rest.split_at_checked(len).ok_or(CUT_OFF)?;
    if encoding == Encoding::Flexible {
        shape::skip_tags(&mut rest)?;
    }
    Ok((client_id, rest))
}
