//! How much of everything there may be, and how long things may take.

use std::{ops::RangeInclusive, time::Duration};

use minikafka_storage::Millis;

/// How long the first join of an empty group waits for others. Kafka waits three seconds, which everybody notices who
/// starts one consumer; programs that are started together come within less than this.
pub(super) const OPENING_DELAY_MS: Millis = 100;
/// How long it waits at most when others keep coming, as in Kafka.
pub(super) const OPENING_DELAY_MAX_MS: Millis = 3_000;
/// Session timeouts, as for the other protocol.
pub(super) const SESSION_TIMEOUTS_MS: RangeInclusive<u64> = 1_000..=30 * 60 * 1_000;
/// How long a rebalance may wait for a member: what is asked for beyond that is taken for the nearest.
pub(super) const REBALANCE_TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// Members of a group, and names that were given out, as for the other protocol.
pub(super) const MEMBERS_MAX: usize = 1_000;
/// Bytes that members of one group take: the leader is sent all that they say in one reply.
pub(super) const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that members of all groups take: half of what groups may take otherwise.
pub(super) const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a member beside its names and what it says.
pub(super) const MEMBER_BYTES: usize = 1024;
