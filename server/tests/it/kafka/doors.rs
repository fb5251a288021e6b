//! The same messages at both doors.

use bytes::Bytes;
use minikafka_proto::v1::{Header, Message};
use minikafka_record::{BatchBuilder, Compression, Header as RecordHeader, Offset, RecordBatch};

use super::client::{Client, TIME, batches, fetch_from, start};
use crate::support::{list, number, poll};

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn message(n: u64) -> Message {
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    Message {
        value: (!n.is_multiple_of(3)).then(|| Bytes::from(format!("value {n} {}", "again ".repeat(9)))),
        key: n.is_multiple_of(2).then(|| Bytes::from(format!("key {n}"))),
        headers: vec![header("a", Some(b"1")), header("a", None), header("naïve", Some(b""))],
        timestamp_ms: Some(TIME + n as i64),
        number: n,
    }
}

fn record(message: &Message) -> Vec<RecordHeader> {
    let header = |header: &Header| RecordHeader {
        name: Bytes::from(header.name.clone()),
        value: header.value.clone(),
    };
    message.headers.iter().map(header).collect()
}

#[tokio::test]
async fn what_kafka_clients_bring_grpc_clients_get() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    let sent: Vec<Message> = (1..=50).map(message).collect();
    for codec in CODECS {
        let topic = codec.to_string();
        client.create(&topic).await;
        let mut builder = BatchBuilder::new();
        for message in &sent {
            let time = message.timestamp_ms.unwrap();
            builder.push(time, message.key.as_deref(), message.value.as_deref(), &record(message));
        }
        let answer = client.produce(&topic, builder.finish_compressed(codec, Offset::ZERO, 0)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 0));
        let got = fixture.poll(poll(&topic, number(1))).await.unwrap();
        assert_eq!(got.messages, sent, "{codec}");
    }
}

#[tokio::test]
async fn what_grpc_clients_bring_kafka_clients_get() {
    let fixture = start().await;
    let sent: Vec<Message> = (1..=50).map(message).collect();
    fixture.v1.clone().produce(list("t", sent.clone())).await.unwrap();
    let mut client = Client::connect(&fixture).await;
    let data = client.fetch(12, fetch_from("t", 0)).await;
    let records =
        batches(&data).into_iter().flat_map(|batch: RecordBatch| batch.records().collect::<Vec<_>>());
    let got: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(got.len(), sent.len());
    for (record, message) in got.iter().zip(&sent) {
        assert_eq!(record.offset.number(), message.number, "an offset is a number less one");
        assert_eq!((&record.key, &record.value), (&message.key, &message.value));
        assert_eq!(record.headers, self::record(message));
        assert_eq!(Some(record.timestamp), message.timestamp_ms);
    }
}

#[tokio::test]
async fn records_without_a_time_get_that_of_the_append_at_both_doors() {
    let fixture = start().await;
    let mut client = Client::connect(&fixture).await;
    client.create("t").await;
    let mut builder = BatchBuilder::new();
    builder.push(-1, None, Some(b"x"), &[]);
    client.produce("t", builder.finish(Offset::ZERO, 0)).await;
    let record = batches(&client.fetch(12, fetch_from("t", 0)).await)[0].records().next().unwrap().unwrap();
    let got = fixture.poll(poll("t", number(1))).await.unwrap();
    assert_eq!(got.messages[0].timestamp_ms, Some(record.timestamp));
    assert!(record.timestamp > TIME);
}
