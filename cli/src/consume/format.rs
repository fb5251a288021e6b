//! [`Format`], how a message looks.

use std::io::{self, Write};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::ValueEnum;
use minikafka_client_consume::{Header, Message};
use serde::Serialize;

/// How a message looks. Each ends with a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The value as it is; nothing for null
    Value,
    /// A JSON object
    Json,
    /// Partition, number, timestamp in milliseconds, key and value, with tabs between
    Verbose,
}

impl Format {
    /// Writes a message. The bytes of keys and values are written as they are, but for JSON.
    pub(crate) fn write(self, out: &mut impl Write, message: &Message) -> io::Result<()> {
        let value = message.value.as_deref().unwrap_or_default();
        match self {
            Format::Value => out.write_all(value)?,
            Format::Verbose => {
                write!(out, "{}\t{}\t{}\t", message.partition, message.number, message.timestamp_ms)?;
                out.write_all(message.key.as_deref().unwrap_or_default())?;
                out.write_all(b"\t")?;
                out.write_all(value)?;
            }
            Format::Json => serde_json::to_writer(&mut *out, &JsonMessage::from(message))?,
        }
        out.write_all(b"\n")
    }
}

/// A message in JSON. `key` and `value` are there in one of two forms; both are null for null.
#[derive(Serialize)]
struct JsonMessage<'a> {
    partition: u32,
    number: u64,
    timestamp_ms: i64,
    #[serde(flatten)]
    key: JsonKey<'a>,
    #[serde(flatten)]
    value: JsonValue<'a>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Serialize)]
enum JsonKey<'a> {
    #[serde(rename = "key")]
    Text(Option<&'a str>),
    #[serde(rename = "key_base64")]
    Base64(String),
}

#[derive(Serialize)]
enum JsonValue<'a> {
    #[serde(rename = "value")]
    Text(Option<&'a str>),
    #[serde(rename = "value_base64")]
    Base64(String),
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    name: String,
    #[serde(flatten)]
    value: JsonValue<'a>,
}

impl<'a> From<&'a Message> for JsonMessage<'a> {
    fn from(message: &'a Message) -> JsonMessage<'a> {
        JsonMessage {
            partition: message.partition,
            number: message.number,
            timestamp_ms: message.timestamp_ms,
            key: match text_or_base64(message.key.as_deref()) {
                Ok(text) => JsonKey::Text(text),
                Err(base64) => JsonKey::Base64(base64),
            },
            value: json_value(message.value.as_deref()),
            headers: message.headers.iter().map(JsonHeader::from).collect(),
        }
    }
}

impl<'a> From<&'a Header> for JsonHeader<'a> {
    fn from(header: &'a Header) -> JsonHeader<'a> {
        // Names are text by convention; what is not is shown as well as it can be.
        let name = String::from_utf8_lossy(&header.name).into_owned();
        JsonHeader { name, value: json_value(header.value.as_deref()) }
    }
}

fn json_value(bytes: Option<&[u8]>) -> JsonValue<'_> {
    match text_or_base64(bytes) {
        Ok(text) => JsonValue::Text(text),
        Err(base64) => JsonValue::Base64(base64),
    }
}

fn text_or_base64(bytes: Option<&[u8]>) -> Result<Option<&str>, String> {
    bytes.map(|bytes| str::from_utf8(bytes).map_err(|_| BASE64_STANDARD.encode(bytes))).transpose()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn written(format: Format, message: &Message) -> String {
        let mut out = Vec::new();
        format.write(&mut out, message).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn message(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Message {
        let (key, value) = (key.map(Bytes::from_static), value.map(Bytes::from_static));
        let topic = "t".into();
        Message { topic, partition: 3, number: 7, timestamp_ms: 1234, key, value, headers: Vec::new() }
    }

    #[test]
    fn each_format_ends_with_a_newline() {
        let full = message(Some(b"k"), Some(b"v\n\"w\""));
        assert_eq!(written(Format::Value, &full), "v\n\"w\"\n");
        assert_eq!(written(Format::Verbose, &full), "3\t7\t1234\tk\tv\n\"w\"\n");
        assert_eq!(
            written(Format::Json, &full),
            "{\"partition\":3,\"number\":7,\"timestamp_ms\":1234,\"key\":\"k\",\"value\":\"v\\n\\\"w\\\"\",\"headers\":[]}\n"
        );
    }

    #[test]
    fn null_is_empty_but_for_json() {
        let null = message(None, None);
        assert_eq!(written(Format::Value, &null), "\n");
        assert_eq!(written(Format::Verbose, &null), "3\t7\t1234\t\t\n");
        assert_eq!(
            written(Format::Json, &null),
            "{\"partition\":3,\"number\":7,\"timestamp_ms\":1234,\"key\":null,\"value\":null,\"headers\":[]}\n"
        );
    }

    #[test]
    fn json_has_bytes_that_are_no_text_as_base64() {
        let mut binary = message(Some(b"\xff"), Some(b"\0\xfe"));
        let header = |name: &'static [u8], value| Header { name: Bytes::from_static(name), value };
        binary.headers = vec![header(b"a", None), header(b"b", Some(Bytes::from_static(b"\xff")))];
        assert_eq!(
            written(Format::Json, &binary),
            "{\"partition\":3,\"number\":7,\"timestamp_ms\":1234,\"key_base64\":\"/w==\",\"value_base64\":\"AP4=\",\"headers\":\
             [{\"name\":\"a\",\"value\":null},{\"name\":\"b\",\"value_base64\":\"/w==\"}]}\n"
        );
    }
}
