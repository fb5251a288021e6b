"""librdkafka from Python, by the package confluent-kafka: prints messages per second.

    confluent.py produce|consume <server> <topic> <count> <size> [setting=value...]
"""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

TIMEOUT_S = 60


def produce(settings, topic, count, size):
    failed = []
    producer = Producer({
        **settings, "acks": "all", "delivery.report.only.error": True,
        "on_delivery": lambda error, _: failed.append(error) if error else None,
    })
    value = b"x" * size
    # The topic is there, and its leader known, before the time begins.
    producer.list_topics(topic, timeout=TIMEOUT_S)
    begin = time.monotonic()
    for _ in range(count):
        while True:
            try:
                producer.produce(topic, value)
                break
            except BufferError:
                producer.poll(0.01)
    left = producer.flush(TIMEOUT_S)
    if left or failed:
        raise KafkaException(f"{left} not sent, {len(failed)} failed: {failed[:1]}")
    return time.monotonic() - begin


def consume(settings, topic, count, _):
    consumer = Consumer({**settings, "group.id": "speed", "enable.auto.commit": False, "check.crcs": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    begin, read, next_offset = None, 0, 0
    while read < count:
        messages = consumer.consume(10_000, TIMEOUT_S)
        if not messages:
            raise KafkaException(f"only {read} messages came")
        begin = begin or time.monotonic()
        for message in (messages[0], messages[-1]):
            if message.error():
                raise KafkaException(message.error())
        if messages[0].offset() != next_offset:
            raise KafkaException(f"offset {messages[0].offset()} instead of {next_offset}")
        next_offset = messages[-1].offset() + 1
        read += len(messages)
    taken = time.monotonic() - begin
    consumer.close()
    return taken


do, server, topic, count, size = sys.argv[1:6]
settings = {"bootstrap.servers": server, **dict(setting.split("=") for setting in sys.argv[6:])}
work = {"produce": produce, "consume": consume}[do]
print(int(count) / work(settings, topic, int(count), int(size)))
