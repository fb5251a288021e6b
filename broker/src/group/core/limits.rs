//! How much of everything there may be. Any client can make groups and members, so all of it is bounded.

/// Groups. As many as there are partitions by default: one for each stream of work.
pub(crate) const GROUPS_MAX: usize = 10_000;
/// Members of a group. Each change of one looks at all of them.
pub(crate) const MEMBERS_MAX: usize = 1_000;
/// Bytes that all groups take together, about: names, members, positions and their metadata. A million positions have
/// room in it, and a server with little memory has room for it and for its snapshot.
pub(crate) const STATE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Topics that a member subscribes to: all of them are in the command with which it joins.
pub(crate) const TOPICS_MAX: usize = 1_000;
/// Positions in one commit: one for each partition that a server has by default.
pub(crate) const POSITIONS_MAX: usize = 10_000;
/// Bytes of metadata with a position, as in Kafka.
pub(crate) const METADATA_BYTES_MAX: usize = 4096;
/// Bytes of metadata in one commit: it is one record of the log of groups, and stays a small one.
pub(crate) const COMMIT_METADATA_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a client id or an instance id, as of a topic's name.
pub(crate) const ID_BYTES_MAX: usize = 249;
