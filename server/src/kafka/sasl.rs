//! SaslHandshake and SaslAuthenticate, as a listener answers them that asks nobody who they are: with Kafka's code for
//! that, so that a client which is set up for SASL says so, and not that the connection was lost.
//!
//! The answer is the same whatever they say, so nothing of that is decoded, and no password is kept in memory until the
//! replies before it are written. What has not their shape, or is larger than credentials are, ends the connection as
//! everything else does.

use kafka_protocol::{
    ResponseError,
    messages::{SaslAuthenticateResponse, SaslHandshakeResponse},
};

use super::{
    door::Door,
    refused::Refused,
    shape::{BYTES, Field, TEXT},
};

pub(super) static HANDSHAKE_SHAPE: &[Field] = &[TEXT];
pub(super) static AUTHENTICATE_SHAPE: &[Field] = &[BYTES];

/// No mechanism will do.
pub(super) fn handshake(door: &Door) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(door.counts.error(ResponseError::IllegalSaslState))
}

/// Nobody is asked for credentials.
pub(super) fn authenticate(door: &Door) -> SaslAuthenticateResponse {
    let rule = "this listener asks nobody to authenticate: use security.protocol=PLAINTEXT";
    let (code, message) = Refused::new(ResponseError::IllegalSaslState, rule).tell(door);
    SaslAuthenticateResponse::default().with_error_code(code).with_error_message(message)
}
