//! [`ShortLived`], a topic that is deleted and made again while others are written.

use super::{Client, reading};
use crate::support::{list, message};
use minikafka_proto::v1::DeleteTopicRequest;
use tonic::Code;

const TOPIC: &str = "short-lived";
/// Messages until it is deleted.
const MESSAGES: u64 = 12;
/// Of a reply.
const BYTES_MAX: u32 = 1 << 20;

/// What is known of the topic of this life. There may be one message more than acknowledged ones.
#[derive(Debug, Default)]
pub(crate) struct ShortLived {
    life: u64,
    acknowledged: u64,
    deleting: bool,
    /// Lives that are over.
    deleted: u64,
}

impl ShortLived {
    /// Until nobody answers any more.
    pub(crate) async fn run(&mut self, mut client: Client) {
        loop {
            while self.acknowledged < MESSAGES && !self.deleting {
                let text = text(self.life, self.acknowledged);
                let Ok(reply) = client.produce(list(TOPIC, vec![message(&text)])).await else { return };
                self.acknowledged += 1;
                assert_eq!(reply.into_inner().first_number, self.acknowledged, "{self:?}");
            }
            self.deleting = true;
            match client.delete_topic(DeleteTopicRequest { topic: TOPIC.to_owned() }).await {
                Ok(_) => {}
                // The one before the kill came to its end, or nothing was sent yet.
                Err(status) if status.code() == Code::NotFound => {}
                Err(_) => return,
            }
            self.begin_life();
        }
    }

    fn begin_life(&mut self) {
        *self = ShortLived { life: self.life + 1, deleted: self.deleted + 1, ..ShortLived::default() };
    }

    /// Looks at what the last kill has left. Returns how many topics were deleted so far.
    pub(crate) async fn check(&mut self, client: &mut Client, may_evict: bool) -> u64 {
        let mut from = 1;
        loop {
            let Some(reply) = reading::read(client, TOPIC, from, BYTES_MAX).await else {
                assert!(self.deleting || self.acknowledged == 0, "{self:?} is gone");
                break;
            };
            for message in &reply.messages {
                let expected = text(self.life, message.number - 1);
                assert_eq!(message.value.as_deref(), Some(expected.as_bytes()), "{self:?}");
            }
            let (count, end) = (reply.messages.len() as u64, reply.end_number);
            assert!(may_evict || from + count == reply.next_number, "{self:?}: {count} from {from}");
            if reply.next_number == end {
                let stored = self.acknowledged..=self.acknowledged + u64::from(!self.deleting);
                assert!(stored.contains(&(end - 1)), "{self:?} has {}", end - 1);
                self.acknowledged = end - 1;
                break;
            }
            from = reply.next_number;
        }
        // There may be one more than its producer knows of: it begins anew.
        self.deleting = true;
        self.deleted
    }
}

fn text(life: u64, place: u64) -> String {
    format!("life {life} message {place} {}", "x".repeat(place as usize * 300))
}
