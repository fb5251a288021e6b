//! Pages of replies that may be long. A page ends where its reader says, and before it is more than a default client
//! takes: 4 MiB.

use minikafka_broker::TopicPartition;
use prost::Message;

use super::refusal::Refusal;

/// Bytes after which a page ends.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// How much of a page is left.
pub(super) struct Page {
    items: usize,
    bytes: usize,
    is_empty: bool,
}

impl Page {
    /// Of at most so many items; 0: of as many as there is room for.
    pub(super) fn new(page_size: u32) -> Page {
        let items = if page_size == 0 { usize::MAX } else { page_size as usize };
        Page { items, bytes: PAGE_BYTES, is_empty: true }
    }

    /// Takes items as long as there is room; the first of all has room always. Returns the place of the one with which
    /// the next page begins; `None` when there is none.
    pub(super) fn fill<P, I: Message>(
        &mut self,
        items: impl IntoIterator<Item = (P, I)>,
        into: &mut Vec<I>,
    ) -> Option<P> {
        for (place, item) in items {
            let bytes = item.encoded_len();
            if !self.is_empty && (self.items == 0 || bytes > self.bytes) {
                return Some(place);
            }
            self.is_empty = false;
            self.items = self.items.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
            into.push(item);
        }
        None
    }
}

/// The token of a page that begins with this partition.
pub(super) fn partition_token(of: &TopicPartition) -> String {
    // Names of topics have no slash.
    format!("{}/{}", of.partition, of.topic)
}

/// Where a page of partitions begins; `None`: at the beginning.
pub(super) fn partition_place(token: &str) -> Result<Option<TopicPartition>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let (partition, topic) = token.split_once('/').ok_or_else(|| unknown(token))?;
    let partition = partition.parse().map_err(|_| unknown(token))?;
    Ok(Some(TopicPartition { topic: topic.to_owned(), partition }))
}

pub(super) fn unknown(token: &str) -> Refusal {
    Refusal::invalid_request(format!("page_token {token:?} was never given"))
}

#[cfg(test)]
mod tests {
    use minikafka_proto::v1::TopicPartition as Item;

    use super::*;

    fn item(bytes: usize) -> Item {
        Item { topic: "x".repeat(bytes), partition: 0 }
    }

    #[test]
    fn a_page_ends_with_its_items_or_its_bytes_and_is_never_empty() {
        let mut items = Vec::new();
        let small = (0..9).map(|place| (place, item(10)));
        assert_eq!(Page::new(4).fill(small, &mut items), Some(4));
        let (mut page, mut first, mut second) = (Page::new(0), Vec::new(), Vec::new());
        assert_eq!(page.fill([(0, item(2 * PAGE_BYTES))], &mut first), None);
        assert_eq!(page.fill([(0, item(1))], &mut second), Some(0), "the other list begins on the next page");
        assert_eq!((items.len(), first.len(), second.len()), (4, 1, 0));
    }

    #[test]
    fn tokens_name_a_partition() {
        let of = TopicPartition { topic: "größe 1".into(), partition: 7 };
        assert_eq!(partition_place(&partition_token(&of)).ok(), Some(Some(of)));
        assert_eq!(partition_place("").ok(), Some(None));
        assert!(partition_place("x").is_err() && partition_place("x/t").is_err());
    }
}
