"""confluent-kafka, which is librdkafka."""

import time

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   ResourceType)

import doors
from report import (BOOTSTRAP, CODECS, COUNT, PART, PARTITIONS, PREFIX, SHARED, TIME, check, check_shared, feature, headers, key, share,
                    until, value, version)


def produce(topic, **settings):
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 50, **{k.replace("_", "."): v for k, v in settings.items()}})
    failed = []
    for n in range(COUNT):
        producer.produce(topic, key=key(n), value=value(n), headers=headers(n), timestamp=TIME + n, partition=0,
                         on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(30) == 0, "not all were answered"
    assert not failed, failed[0]


def consumer(group="unused", protocol="classic", **settings):
    return Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "group.protocol": protocol, **settings})


def take(reader, count):
    taken, end = [], time.monotonic() + 30
    while len(taken) < count and time.monotonic() < end:
        message = reader.poll(1)
        if message is not None:
            assert message.error() is None, message.error()
            taken.append((message.offset(), message.key(), message.value(), message.headers(), message.timestamp()[1]))
    return taken


def all_of(topic):
    reader = consumer()
    reader.assign([TopicPartition(topic, 0, 0)])
    try:
        return take(reader, COUNT)
    finally:
        reader.close()


def codec(name):
    topic = f"{PREFIX}-{name}"
    produce(topic, compression_type=name)
    check(all_of(topic))


def idempotent():
    topic = f"{PREFIX}-idempotent"
    produce(topic, enable_idempotence=True)
    check(all_of(topic))


def seek():
    reader = consumer()
    reader.assign([TopicPartition(f"{PREFIX}-lz4", 0, 150)])
    assert [record[0] for record in take(reader, 1)] == [150]
    reader.seek(TopicPartition(f"{PREFIX}-lz4", 0, 33))
    assert [record[0] for record in take(reader, 1)] == [33]
    reader.close()


def ends():
    reader = consumer()
    found = reader.get_watermark_offsets(TopicPartition(f"{PREFIX}-zstd", 0), timeout=20)
    reader.close()
    assert found == (0, COUNT), found


def by_time():
    reader = consumer()
    for wanted, offset in [(TIME + 42, 42), (TIME - 1, 0), (TIME + COUNT, -1)]:
        [found] = reader.offsets_for_times([TopicPartition(f"{PREFIX}-zstd", 0, wanted)], timeout=20)
        assert found.offset == offset, found
    reader.close()


def from_grpc():
    for topic, check_it in doors.from_grpc():
        check_it(all_of(topic))


def group(protocol):
    topic = f"{PREFIX}-group-{protocol}"
    produce(topic)
    taken = []
    # The newer protocol has the server match patterns.
    for count, subscription in ((PART, topic), (COUNT - PART, f"^{topic[:-1]}.$" if protocol == "consumer" else topic)):
        reader = consumer(topic, protocol)
        reader.subscribe([subscription])
        taken += take(reader, count)
        reader.commit(asynchronous=False)
        reader.close()
    check(taken)


def two_members(protocol, shared):
    readers = [consumer(f"{PREFIX}-two-{protocol}", protocol) for _ in range(2)]
    for reader in readers:
        reader.subscribe([shared])

    def turn():
        for reader in readers:
            assert reader.poll(0.1) is None, "nothing is there yet"
        return [len(reader.assignment()) for reader in readers]

    share(turn)
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    for n in range(COUNT):
        producer.produce(shared, value=value(n), partition=n % PARTITIONS)
    assert producer.flush(30) == 0
    taken, end = [set(), set()], time.monotonic() + 30
    while sum(map(len, taken)) < COUNT and time.monotonic() < end:
        for reader, of in zip(readers, taken):
            message = reader.poll(0.05)
            if message is not None:
                assert message.error() is None, message.error()
                of.add((message.partition(), message.offset()))
    check_shared(*taken)
    for reader in readers:
        reader.close()


def own(reader):
    return {partition.partition for partition in reader.assignment()}


def poll(*readers):
    """A turn of theirs, whatever it brings. Returns how many partitions each has."""
    for reader in readers:
        reader.poll(0.1)
    return [len(own(reader)) for reader in readers]


def static_member():
    revoked = []

    def member(name):
        reader = consumer(f"{PREFIX}-static", **{"group.instance.id": name})
        reader.subscribe([SHARED], on_revoke=lambda _, partitions: revoked.append(name))
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

    def member():
        reader = consumer(f"{PREFIX}-cooperative", **{"partition.assignment.strategy": "cooperative-sticky"})
        reader.subscribe([SHARED], on_revoke=lambda _, partitions: given_up.extend(of.partition for of in partitions))
        return reader

    one = member()
    until(lambda: poll(one) == [PARTITIONS])
    two = member()
    share(lambda: poll(one, two))
    assert sorted(given_up) == sorted(own(two)), (given_up, own(two))
    one.close()
    two.close()


def two_of_the_newer_protocol():
    shared = f"{SHARED}-consumer"
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    done(admin.create_topics([NewTopic(shared, num_partitions=PARTITIONS)]))
    two_members("consumer", shared)


def described():
    """A group of the newer protocol, as those who look at it see it."""
    topic = f"{PREFIX}-group-consumer"
    reader = consumer(f"{PREFIX}-described", "consumer")
    reader.subscribe([topic])
    assert len(take(reader, 1)) == 1
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    found = done(admin.describe_consumer_groups([f"{PREFIX}-described"]))
    assert found.state.name == "STABLE" and found.type.name == "CONSUMER", (found.state, found.type)
    [member] = found.members
    assert [of.topic for of in member.assignment.topic_partitions] == [topic], member.assignment.topic_partitions
    assert [of.topic for of in member.target_assignment.topic_partitions] == [topic]
    reader.close()


def newer_group():
    group("consumer")
    described()


def done(futures):
    """The one result of a request."""
    [future] = futures.values()
    return future.result(20)


def create(topic):
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    done(admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1, config={"retention.ms": "60000"})]))
    return admin


def topics():
    topic = f"{PREFIX}-topics"
    admin = create(topic)
    done(admin.create_partitions([NewPartitions(topic, 3)]))
    assert len(admin.list_topics(topic).topics[topic].partitions) == 3
    done(admin.delete_topics([topic]))
    assert topic not in admin.list_topics().topics


def settings():
    topic = f"{PREFIX}-settings"
    admin = create(topic)

    def retention():
        return done(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))["retention.ms"].value

    def alter(operation, value):
        entry = ConfigEntry("retention.ms", value, incremental_operation=operation)
        done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))

    assert retention() == "60000"
    alter(AlterConfigOpType.SET, "70000")
    assert retention() == "70000"
    alter(AlterConfigOpType.DELETE, None)
    assert retention() == "604800000"


version(f"{confluent_kafka.version()} (librdkafka {confluent_kafka.libversion()[0]})")
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
feature("group", lambda: group("classic"))
feature("two members", lambda: two_members("classic", SHARED))
feature("static member", static_member)
feature("cooperative", cooperative)
feature("group (KIP-848)", newer_group)
feature("two members (KIP-848)", two_of_the_newer_protocol)
