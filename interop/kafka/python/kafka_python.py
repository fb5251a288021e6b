"""kafka-python."""

import time
from concurrent.futures import ThreadPoolExecutor

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

import doors
from report import (BOOTSTRAP, CODECS, COUNT, PART, PARTITIONS, PREFIX, SHARED, TIME, check, check_shared, feature, headers, key, share,
                    until, value, version)


def produce(topic, **settings):
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=50, acks="all", **settings)
    sent = [producer.send(topic, key=key(n), value=value(n), headers=headers(n), timestamp_ms=TIME + n, partition=0)
            for n in range(COUNT)]
    for future in sent:
        future.get(timeout=30)
    producer.close(timeout=10)


def consumer(**settings):
    return KafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest", consumer_timeout_ms=20_000, **settings)


def take(reader, count):
    taken = []
    for record in reader:
        taken.append((record.offset, record.key, record.value, list(record.headers), record.timestamp))
        if len(taken) == count:
            break
    return taken


def all_of(topic):
    reader = consumer()
    partition = TopicPartition(topic, 0)
    reader.assign([partition])
    reader.seek_to_beginning(partition)
    try:
        return take(reader, COUNT)
    finally:
        reader.close()


def codec(name):
    topic = f"{PREFIX}-{name}"
    produce(topic, compression_type=None if name == "none" else name, enable_idempotence=False)
    check(all_of(topic))


def idempotent():
    topic = f"{PREFIX}-idempotent"
    produce(topic, enable_idempotence=True)
    check(all_of(topic))


def seek():
    reader = consumer()
    partition = TopicPartition(f"{PREFIX}-lz4", 0)
    reader.assign([partition])
    for offset in (150, 33):
        reader.seek(partition, offset)
        assert [record[0] for record in take(reader, 1)] == [offset]
    reader.close()


def ends():
    reader = consumer()
    partition = TopicPartition(f"{PREFIX}-zstd", 0)
    found = reader.beginning_offsets([partition])[partition], reader.end_offsets([partition])[partition]
    reader.close()
    assert found == (0, COUNT), found


def by_time():
    reader = consumer()
    partition = TopicPartition(f"{PREFIX}-zstd", 0)
    for wanted, offset in [(TIME + 42, 42), (TIME - 1, 0), (TIME + COUNT, None)]:
        found = reader.offsets_for_times({partition: wanted})[partition]
        assert (found and found.offset) == offset, found
    reader.close()


def from_grpc():
    for topic, check_it in doors.from_grpc():
        check_it(all_of(topic))


def group():
    topic = f"{PREFIX}-group"
    produce(topic, enable_idempotence=False)
    taken = []
    for count in (PART, COUNT - PART):
        reader = consumer(group_id=topic, enable_auto_commit=False)
        reader.subscribe([topic])
        taken += take(reader, count)
        reader.commit()
        reader.close()
    check(taken)


def two_members():
    readers = [consumer(group_id=f"{PREFIX}-two", enable_auto_commit=False) for _ in range(2)]
    for reader in readers:
        reader.subscribe([SHARED])

    # Side by side: each waits in its poll for the other one to join.
    with ThreadPoolExecutor(len(readers)) as pool:

        def turn():
            list(pool.map(lambda reader: reader.poll(timeout_ms=1000), readers))
            return [len(reader.assignment()) for reader in readers]

        share(turn)
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    sent = [producer.send(SHARED, value=value(n), partition=n % PARTITIONS) for n in range(COUNT)]
    for future in sent:
        future.get(timeout=30)
    producer.close(timeout=10)
    taken, end = [set(), set()], time.monotonic() + 30
    while sum(map(len, taken)) < COUNT and time.monotonic() < end:
        for reader, of in zip(readers, taken):
            for records in reader.poll(timeout_ms=50).values():
                of.update((record.partition, record.offset) for record in records)
    check_shared(*taken)
    for reader in readers:
        reader.close()


def own(reader):
    return {partition.partition for partition in reader.assignment()}


class Revoked(ConsumerRebalanceListener):
    def __init__(self, name, revoked):
        self.name, self.revoked = name, revoked

    def on_partitions_revoked(self, revoked):
        self.revoked += [(self.name, partition.partition) for partition in revoked]

    def on_partitions_assigned(self, assigned):
        pass


def poll(*readers):
    """A turn of theirs side by side, whatever it brings. Returns how many partitions each has."""
    with ThreadPoolExecutor(len(readers)) as pool:
        list(pool.map(lambda reader: reader.poll(timeout_ms=500), readers))
    return [len(own(reader)) for reader in readers]


def static_member():
    revoked = []

    def member(name):
        reader = consumer(group_id=f"{PREFIX}-static", group_instance_id=name)
        reader.subscribe([SHARED], listener=Revoked(name, revoked))
        return reader

    one, two = member("one"), member("two")
    share(lambda: poll(one, two))
    before = own(one), own(two)
    two.close()
    revoked.clear()
    two = member("two")
    share(lambda: poll(one, two))
    assert (own(one), own(two)) == before, (own(one), own(two), before)
    assert not revoked, revoked
    one.close()
    two.close()


def cooperative():
    given_up = []

    def member(name):
        reader = consumer(group_id=f"{PREFIX}-cooperative", partition_assignment_strategy=[CooperativeStickyAssignor])
        reader.subscribe([SHARED], listener=Revoked(name, given_up))
        return reader

    one = member("one")
    until(lambda: poll(one) == [PARTITIONS])
    two = member("two")
    share(lambda: poll(one, two))
    assert sorted(given_up) == [("one", partition) for partition in sorted(own(two))], (given_up, own(two))
    one.close()
    two.close()


def create(topic):
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    admin.create_topics({topic: {"num_partitions": 2, "replication_factor": 1, "configs": {"retention.ms": "60000"}}})
    return admin


def topics():
    topic = f"{PREFIX}-topics"
    admin = create(topic)
    admin.create_partitions({topic: 3})
    [described] = admin.describe_topics([topic])
    assert len(described["partitions"]) == 3, described
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


def settings():
    topic = f"{PREFIX}-settings"
    admin = create(topic)

    def retention():
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return described["topic"][topic]["retention.ms"]["value"]

    def alter(change):
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": change})])

    assert retention() == "60000"
    alter("70000")
    assert retention() == "70000"
    alter((AlterConfigOp.DELETE, None))
    assert retention() == "604800000"
    admin.close()


version(kafka.__version__)
for name in CODECS:
    feature(f"produce {name}", lambda name=name: codec(name))
feature("idempotent", idempotent)
feature("assign, seek", seek)
feature("ends", ends)
feature("by time", by_time)
feature("to gRPC", doors.to_grpc)
feature("from gRPC", from_grpc)
feature("topics", topics)
feature("settings", settings)
feature("group", group)
feature("two members", two_members)
feature("static member", static_member)
feature("cooperative", cooperative)
