"""A member of the group under fire: confluent-kafka, of either protocol."""

from confluent_kafka import Consumer, KafkaException, TopicPartition

from notes import BOOTSTRAP, GROUP, POLLS_MAX_MS, PROTOCOL, SESSION_MS, TOPIC, Notes

SETTINGS = {
    "classic": {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500, "partition.assignment.strategy": "range"},
    # The server says how long a session lasts; this is how long it waits for partitions to be given up, too.
    "consumer": {"group.protocol": "consumer", "max.poll.interval.ms": POLLS_MAX_MS},
}

notes = Notes()
reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": GROUP, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                   **SETTINGS[PROTOCOL]})
reader.subscribe([TOPIC])
while not notes.is_ending:
    records = [record for record in reader.consume(500, timeout=0.2) if record.error() is None]
    if records:
        ends = notes.write((record.partition(), record.offset()) for record in records)
        try:
            reader.commit(offsets=[TopicPartition(TOPIC, of, end) for of, end in ends.items()], asynchronous=False)
        except KafkaException:
            # Others have it now, and read it again.
            pass
reader.close()
