//! How the checker gets at the messages.

use std::time::Duration;

use minikafka_proto::v1::{PollRequest, PollResponse, ResetPolicy};
use tonic::Code;

use super::{Client, ledger::Ledger, rng::Rng};
use crate::support::{number, poll};

/// Of one reply, when everything is read.
const MANY_BYTES: u32 = 1 << 20;
/// Of one reply, when a sample is read.
const FEW_BYTES: u32 = 16 << 10;
/// Places of each topic that are looked at again in each round.
const SAMPLES: u64 = 3;

pub(crate) fn topic_name(topic: u8) -> String {
    format!("kills-{topic}")
}

/// `None` when there is no such topic. What was evicted is passed over.
pub(crate) async fn read(
    client: &mut Client,
    topic: &str,
    from: u64,
    max_bytes: u32,
) -> Option<PollResponse> {
    let reset_policy = ResetPolicy::Earliest.into();
    let request = PollRequest { max_bytes, reset_policy, ..poll(topic, number(from)) };
    match client.poll(request).await {
        Ok(reply) => Some(reply.into_inner()),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => panic!("topic {topic} from {from}: {status:?}"),
    }
}

/// Reads what nobody has looked at yet.
pub(crate) async fn check_new(
    client: &mut Client,
    ledger: &mut Ledger,
    topic: u8,
    retention: Option<Duration>,
) {
    let mut check = ledger.check(topic);
    let end = loop {
        let Some(reply) = read(client, &topic_name(topic), check.next(), MANY_BYTES).await else { break 1 };
        // From beyond the end it would begin at the start: there is nothing to look at.
        if reply.end_number < check.next() {
            break reply.end_number;
        }
        check.reply(&reply, retention);
        if reply.next_number >= reply.end_number {
            break reply.end_number;
        }
    };
    check.finish(end);
    ledger.assert_faultless();
}

/// Reads everything once more.
pub(crate) async fn check_all(client: &mut Client, ledger: &mut Ledger, topic: u8) {
    let mut from = ledger.start_of(topic);
    while Some(from) < ledger.end_of(topic) {
        from = check_from(client, ledger, topic, from, MANY_BYTES).await;
    }
}

/// Reads some of what was there before.
pub(crate) async fn check_samples(client: &mut Client, ledger: &mut Ledger, topic: u8, rng: &mut Rng) {
    let (start, end) = (ledger.start_of(topic), ledger.end_of(topic).unwrap_or(1));
    if start < end {
        for _ in 0..SAMPLES {
            check_from(client, ledger, topic, rng.between(start, end - 1), FEW_BYTES).await;
        }
    }
}

/// Where to go on.
async fn check_from(client: &mut Client, ledger: &mut Ledger, topic: u8, from: u64, max_bytes: u32) -> u64 {
    let reply = read(client, &topic_name(topic), from, max_bytes).await.expect("there is a topic");
    // All of it may have been evicted meanwhile.
    let first = reply.messages.first().map_or(reply.start_number, |message| message.number);
    assert!(!reply.messages.is_empty() || first > from, "message {from} is neither there nor evicted");
    for (message, expected) in reply.messages.iter().zip(from.max(first)..) {
        assert_eq!(message.number, expected, "no gaps");
        ledger.check_again(topic, message.number, message.value.as_deref().unwrap_or_default());
    }
    ledger.assert_faultless();
    assert!(reply.next_number > from, "it goes on");
    reply.next_number
}
