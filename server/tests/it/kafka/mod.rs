//! The Kafka door, as clients see it: bytes on a socket, written and read by `kafka-protocol`.
//!
//! What implementations of the protocol get wrong, and the tests that show that this one does not. The names are
//! checked below.
//!
//! | clause | test |
//! |---|---|
//! | a newer ApiVersions is answered as version 0, with error 35 and the range of key 18; the connection goes on | `versions::a_version_to_come_is_answered_as_version_0_and_the_connection_goes_on` |
//! | the header of its reply is that of version 0, always | `versions::behind_the_correlation_id_comes_the_error_in_every_version` |
//! | a fetch in the middle of a batch returns all of it | `fetch::the_batch_that_holds_the_offset_comes_whole` |
//! | at least one batch above every limit, in the order of the partitions | `fetch::at_least_one_batch_comes_whatever_the_limits_are`, `fetch::the_limit_goes_by_the_order_of_the_request` |
//! | session id 0 is always legal | `fetch::there_are_no_sessions` |
//! | a long poll waits for `min_bytes`, or for `max_wait` | `fetch::the_wait_goes_on_until_there_are_enough_bytes`, `fetch::the_wait_ends_in_time_and_with_what_there_is` |
//! | it is woken by an append, and by an error | `fetch::an_append_ends_the_wait`, `fetch::an_error_ends_the_wait`, `topic_ids::who_waits_on_a_topic_that_is_deleted_is_told` |
//! | no bytes, not null, when there is nothing | `fetch::at_the_end_there_is_nothing_and_not_null` |
//! | Metadata: null is all, empty is none, in version 0 empty is all | `metadata::null_is_all_empty_is_none_and_version_0_has_no_null` |
//! | topics are created by asking when that is allowed | `metadata::a_topic_is_created_by_asking_unless_somebody_says_no` |
//! | the leader epoch is -1 when nobody knows it | `trouble::a_partition_without_its_log_has_no_leader_and_no_leader_epoch_and_the_other_goes_on` |
//! | the address that clients are told leads here | `metadata::the_leader_is_the_node_that_is_told_of`, `metadata::clients_are_told_the_advertised_address` |
//! | topic ids survive a restart and change when a topic is created anew | `metadata::the_id_of_a_topic_survives_a_restart_and_changes_when_it_is_created_anew` |
//! | Produce: magic 2 only, the checksum is checked, one batch for a partition | `produce::each_mistake_has_its_code_and_nothing_is_stored` |
//! | base offset and leader epoch are patched, and nothing else | `idempotence::base_offset_and_leader_epoch_are_the_logs_and_not_the_clients`, `produce::what_is_stored_are_the_bytes_that_were_sent` |
//! | `acks=0` has no reply | `connection::without_acks_there_is_no_reply` |
//! | replies come in the order of the requests | `connection::replies_come_in_the_order_of_the_requests` |
//! | `max.message.bytes` counts | `produce::the_limit_of_a_topic_counts`, `admin::create_topics::what_is_set_in_kafkas_names_is_what_other_doors_see` |
//! | a record without a key on a compacted topic: no topic is compacted, and asking for it is refused | `admin::create_topics::what_cannot_be_is_refused_with_kafkas_code_and_a_reason`, `admin::configs::what_has_no_effect_is_refused_as_a_whole_unless_it_holds_already` |
//! | a duplicate of one of the last five has the offset that it had | `produce::a_batch_that_is_sent_again_is_where_it_was` |
//! | a gap is 45 | `produce::a_batch_that_is_sent_again_is_where_it_was` |
//! | after 2^31 - 1 comes 0 | `idempotence::the_last_sequence_itself_is_followed_by_0`, `idempotence::after_the_last_sequence_comes_0_also_within_a_batch_and_over_a_restart` |
//! | all of that survives a restart | `idempotence::each_of_the_last_five_batches_is_known_after_a_restart_and_the_one_before_is_not`, `produce::what_is_known_of_producers_survives_a_kill` |
//! | ListOffsets by time: the very record inside of the batch | `list_offsets::the_very_record_is_found_inside_of_a_batch` |
//! | -1, -2, -3 | `list_offsets::the_ends_are_known_in_every_version`, `list_offsets::the_record_with_the_largest_timestamp_is_found` |
//! | the leader epoch is the record's | `terms::a_record_is_listed_with_its_own_term` |
//! | MEMBER_ID_REQUIRED from JoinGroup 4 on | `groups::members::a_member_joins_in_every_version` |
//! | the rebalance timeout is another one than that of the session | `groups::members::who_does_not_join_again_is_gone_after_the_rebalance_timeout_although_its_session_lasts`, `groups::members::a_silent_member_is_gone` |
//! | a follower's SyncGroup waits for the leader's | `groups::members::a_followers_sync_waits_for_that_of_the_leader` |
//! | static members | `groups::instances::a_process_that_comes_back_keeps_the_assignment_and_the_old_one_is_fenced` |
//! | the metadata of a commit comes back; a simple consumer's generation is -1 | `groups::positions::a_simple_consumer_keeps_positions_here_in_every_version` |
//! | a group that nobody knows is Dead | `groups::looking::a_group_is_described_in_every_version` |
//! | a disconnect removes no member | `groups::members::a_client_that_vanishes_while_it_waits_leaves_nothing_behind_but_its_place` |
//! | every standard setting is listed with its default | `admin::configs::every_standard_setting_is_listed_with_its_source` |
//! | CreatePartitions has one result for a topic | `admin::partitions::each_topic_has_one_result` |
//! | IncrementalAlterConfigs: append and subtract | `admin::configs::what_has_no_effect_is_refused_as_a_whole_unless_it_holds_already` |
//! | frames above the limit and unknown keys end that connection only | `connection::what_cannot_be_answered_ends_its_own_connection_only` |
//! | null arrays are no lengths | `connection::null_where_an_array_has_to_be_is_no_length_and_ends_its_own_connection_only`, `groups::positions::null_is_everything_that_is_stored` |
//! | beyond that list: what the disk has lost is skipped, a slow disk is 7, a full one 56, no room holds up producers only | `trouble` |

mod admin;
mod client;
mod connection;
mod doors;
mod fetch;
mod followed;
mod groups;
mod idempotence;
mod limits;
mod list_offsets;
mod metadata;
mod produce;
mod stopped;
mod terms;
mod topic_ids;
mod trouble;
mod versions;

/// The tests that the table above names are there.
#[test]
fn every_test_that_the_table_names_is_there() {
    let here = include_str!("mod.rs");
    let rows = here.lines().filter(|line| line.starts_with("//! | "));
    let named = rows.flat_map(|row| row.split('`').filter(|name| name.contains("::")));
    let names: Vec<_> = named.collect();
    assert!(names.len() > 40, "{}", names.len());
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kafka");
    for name in names {
        let mut parts: Vec<_> = name.split("::").collect();
        let test = parts.pop().unwrap_or_default();
        let file = sources.join(parts.join("/")).with_extension("rs");
        let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert!(source.contains(&format!("async fn {test}()")), "{name}");
    }
}
