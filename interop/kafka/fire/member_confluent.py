"""A member of the group under fire: confluent-kafka."""

from confluent_kafka import Consumer, KafkaException, TopicPartition

from notes import BOOTSTRAP, GROUP, SESSION_MS, TOPIC, Notes

notes = Notes()
reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": GROUP, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                   "session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": 500, "partition.assignment.strategy": "range"})
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
