"""A member of the group under fire: kafka-python."""

from kafka import KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from notes import BOOTSTRAP, GROUP, SESSION_MS, TOPIC, Notes

notes = Notes()
reader = KafkaConsumer(TOPIC, bootstrap_servers=BOOTSTRAP, group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest",
                       session_timeout_ms=SESSION_MS, heartbeat_interval_ms=500,
                       partition_assignment_strategy=[RangePartitionAssignor])
while not notes.is_ending:
    polled = reader.poll(timeout_ms=200, max_records=500)
    records = [(record.partition, record.offset) for batch in polled.values() for record in batch]
    if records:
        ends = notes.write(records)
        try:
            reader.commit({TopicPartition(TOPIC, of): OffsetAndMetadata(end, "", -1) for of, end in ends.items()})
        except KafkaError:
            # Others have it now, and read it again.
            pass
reader.close()
