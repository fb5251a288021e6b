//! [`Record`], one message with everything that travels with it.

use bytes::{Buf, BufMut, Bytes};

use crate::{Offset, varint};

/// One message, as read from a batch. The byte fields are slices of the batch, not copies.
///
/// Null and empty are different: `None` is null, `Some` of no bytes is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in its partition.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key, for those who route or compact by it.
    pub key: Option<Bytes>,
    /// The message itself.
    pub value: Option<Bytes>,
    /// Names and values, in order; names may repeat.
    pub headers: Vec<Header>,
}

/// A name and a value that travel with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name: UTF-8 by convention, any bytes in fact.
    pub name: Bytes,
    /// Value; `None` is null.
    pub value: Option<Bytes>,
}

/// The parts of a record that are relative to its batch.
#[derive(Clone, Copy)]
pub(crate) struct Deltas {
    pub(crate) timestamp: i64,
    pub(crate) offset: i32,
}

/// A record with no attributes, no deltas, null key, null value and no headers has six bytes behind its
/// length.
pub(crate) const RECORD_LEN_MIN: usize = 7;
/// Bytes of the longest length field that is read; the shortest encoding of any length has five at most.
pub(crate) const RECORD_LEN_FIELD_MAX: usize = varint::VARLONG_LEN_MAX;

/// Bytes of the record behind its length field.
pub(crate) fn body_len(
    deltas: Deltas,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let headers_len: usize =
        headers.iter().map(|h| nullable_len(Some(h.name.as_ref())) + nullable_len(h.value.as_deref())).sum();
    1 + varint::len(deltas.timestamp)
        + varint::len(deltas.offset.into())
        + nullable_len(key)
        + nullable_len(value)
        + varint::len(headers.len() as i64)
        + headers_len
}

pub(crate) fn put(
    out: &mut impl BufMut,
    deltas: Deltas,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    varint::put(out, body_len(deltas, key, value, headers) as i64);
    out.put_i8(0);
    varint::put(out, deltas.timestamp);
    varint::put(out, deltas.offset.into());
    put_nullable(out, key);
    put_nullable(out, value);
    varint::put(out, headers.len() as i64);
    for header in headers {
        put_nullable(out, Some(&header.name));
        put_nullable(out, header.value.as_deref());
    }
}

fn nullable_len(field: Option<&[u8]>) -> usize {
    match field {
        None => varint::len(-1),
        Some(bytes) => varint::len(bytes.len() as i64) + bytes.len(),
    }
}

fn put_nullable(out: &mut impl BufMut, field: Option<&[u8]>) {
    match field {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}

/// What walks the fields of one record, either to check them or to keep them.
///
/// Checking and reading share this walk, so that what was accepted can always be read.
pub(crate) trait Sink {
    /// The next field is `len` bytes at the front of `rest`.
    fn key(&mut self, rest: &[u8], len: Option<usize>);
    fn value(&mut self, rest: &[u8], len: Option<usize>);
    fn header_name(&mut self, rest: &[u8], len: usize);
    fn header_value(&mut self, rest: &[u8], len: Option<usize>);
}

/// Takes one record off the front of `input`.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn take(input: &mut &[u8], sink: &mut impl Sink) -> Result<Deltas, &'static str> {
    let len = varint::take_i32(input).ok_or("its length is cut off")?;
    let len = usize::try_from(len).map_err(|_| "its length is negative")?;
    if len > input.len() {
        return Err("its length reaches beyond the batch");
    }
    let (mut body, rest) = input.split_at(len);
    *input = rest;
    if body.is_empty() {
        return Err("it is empty");
    }
    body.advance(1); // attributes: none are defined
    let timestamp = varint::take(&mut body).ok_or("its timestamp is cut off")?;
    let offset = varint::take_i32(&mut body).ok_or("its offset is cut off")?;
    let key_len = take_len(&mut body).ok_or("its key reaches beyond the record")?;
    sink.key(body, key_len);
    body.advance(key_len.unwrap_or(0));
    let value_len = take_len(&mut body).ok_or("its value reaches beyond the record")?;
    sink.value(body, value_len);
    body.advance(value_len.unwrap_or(0));
    take_headers(&mut body, sink)?;
    if !body.is_empty() {
        return Err("it has stray bytes at its end");
    }
    Ok(Deltas { timestamp, offset })
}

fn take_headers(body: &mut &[u8], sink: &mut impl Sink) -> Result<(), &'static str> {
    let count = varint::take_i32(body).ok_or("its header count is cut off")?;
    let count = usize::try_from(count).map_err(|_| "its header count is negative")?;
    if count > body.len() {
        return Err("it claims more headers than it has bytes");
    }
    for _ in 0..count {
        let name_len =
            take_len(body).flatten().ok_or("a header's name is null or reaches beyond the record")?;
        sink.header_name(body, name_len);
        body.advance(name_len);
        let value_len = take_len(body).ok_or("a header's value reaches beyond the record")?;
        sink.header_value(body, value_len);
        body.advance(value_len.unwrap_or(0));
    }
    Ok(())
}

/// A length that fits into what is left: `Some(None)` for null, `None` when it is malformed.
fn take_len(body: &mut &[u8]) -> Option<Option<usize>> {
    match varint::take_i32(body)? {
        -1 => Some(None),
        len => usize::try_from(len).ok().filter(|len| *len <= body.len()).map(Some),
    }
}
