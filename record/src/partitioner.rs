//! Which partition a key goes to: the same one that Kafka's Java client chooses, so that both worlds agree.
//!
//! The hash is MurmurHash2 in the 32 bit form and with the seed that Kafka's `Utils.murmur2` has; the partition is
//! the hash without its sign, modulo the number of partitions (`BuiltInPartitioner.partitionForKey`). A key goes to
//! another partition when their number changes.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The hash of a key, as Kafka's clients compute it.
pub fn murmur2(key: &[u8]) -> u32 {
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// The partition that a key goes to, of so many. An empty key is a key.
///
/// ```
/// assert_eq!(minikafka_record::partition_of_key(b"foobar", 12), 6);
/// ```
///
/// # Panics
/// When there are no partitions: a topic has at least one.
pub fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn hashes_as_kafka_does() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(murmur2(b"") as i32, 275_646_681);
    }

    #[test]
    fn a_partition_is_the_hash_without_its_sign() {
        assert_eq!(partition_of_key(b"foobar", 1000), (-790_332_482i32 & 0x7fff_ffff) as u32 % 1000);
        assert_eq!(partition_of_key(b"abc", 1), 0);
        assert!((0..100u32).all(|key| partition_of_key(&key.to_be_bytes(), 7) < 7));
    }
}
