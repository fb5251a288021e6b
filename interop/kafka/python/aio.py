"""aiokafka."""

import asyncio

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import doors
from report import (BOOTSTRAP, CODECS, COUNT, PART, PARTITIONS, PREFIX, SHARED, TIME, check, check_shared, feature, headers, key, value,
                    version)


async def produce(topic, **settings):
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=50, acks="all", **settings)
    await producer.start()
    try:
        sent = [await producer.send(topic, key=key(n), value=value(n), headers=headers(n), timestamp_ms=TIME + n, partition=0)
                for n in range(COUNT)]
        await asyncio.wait_for(asyncio.gather(*sent), 30)
    finally:
        await producer.stop()


async def with_consumer(topic, use):
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await use(consumer, partition)
    finally:
        await consumer.stop()


async def take(consumer, count):
    taken = []
    while len(taken) < count:
        record = await asyncio.wait_for(consumer.getone(), 20)
        taken.append((record.offset, record.key, record.value, list(record.headers), record.timestamp))
    return taken


async def all_of(topic):
    taken = []

    async def use(consumer, partition):
        await consumer.seek_to_beginning(partition)
        taken.extend(await take(consumer, COUNT))

    await with_consumer(topic, use)
    return taken


async def check_all(topic):
    check(await all_of(topic))


async def from_grpc():
    for topic, check_it in doors.from_grpc():
        check_it(await all_of(topic))


async def codec(name):
    topic = f"{PREFIX}-{name}"
    await produce(topic, compression_type=None if name == "none" else name)
    await check_all(topic)


async def idempotent():
    topic = f"{PREFIX}-idempotent"
    await produce(topic, enable_idempotence=True)
    await check_all(topic)


async def seek():
    async def use(consumer, partition):
        for offset in (150, 33):
            consumer.seek(partition, offset)
            assert [record[0] for record in await take(consumer, 1)] == [offset]

    await with_consumer(f"{PREFIX}-lz4", use)


async def ends():
    async def use(consumer, partition):
        begin, end = await consumer.beginning_offsets([partition]), await consumer.end_offsets([partition])
        assert (begin[partition], end[partition]) == (0, COUNT), (begin, end)

    await with_consumer(f"{PREFIX}-zstd", use)


async def by_time():
    async def use(consumer, partition):
        for wanted, offset in [(TIME + 42, 42), (TIME - 1, 0), (TIME + COUNT, None)]:
            found = (await consumer.offsets_for_times({partition: wanted}))[partition]
            assert (found and found.offset) == offset, found

    await with_consumer(f"{PREFIX}-zstd", use)


async def group():
    topic = f"{PREFIX}-group"
    await produce(topic)
    taken = []
    for count in (PART, COUNT - PART):
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=topic, enable_auto_commit=False,
                                    auto_offset_reset="earliest")
        await consumer.start()
        taken += await take(consumer, count)
        await consumer.commit()
        await consumer.stop()
    check(taken)


async def two_members():
    consumers = [AIOKafkaConsumer(SHARED, bootstrap_servers=BOOTSTRAP, group_id=f"{PREFIX}-two", auto_offset_reset="earliest")
                 for _ in range(2)]
    await asyncio.gather(*(consumer.start() for consumer in consumers))
    end = asyncio.get_running_loop().time() + 30
    while sorted(len(consumer.assignment()) for consumer in consumers) != [PARTITIONS // 2] * 2:
        assert asyncio.get_running_loop().time() < end, "they do not share"
        await asyncio.sleep(0.1)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP)
    await producer.start()
    await asyncio.gather(*[await producer.send(SHARED, value=value(n), partition=n % PARTITIONS) for n in range(COUNT)])
    await producer.stop()
    taken = [set(), set()]
    while sum(map(len, taken)) < COUNT and asyncio.get_running_loop().time() < end:
        for consumer, of in zip(consumers, taken):
            for records in (await consumer.getmany(timeout_ms=50)).values():
                of.update((record.partition, record.offset) for record in records)
    check_shared(*taken)
    await asyncio.gather(*(consumer.stop() for consumer in consumers))


async def static_member():
    revoked = []

    class Revoked(ConsumerRebalanceListener):
        def __init__(self, name):
            self.name = name

        async def on_partitions_revoked(self, _):
            revoked.append(self.name)

        async def on_partitions_assigned(self, _):
            pass

    async def member(name):
        consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=f"{PREFIX}-static", group_instance_id=name)
        consumer.subscribe([SHARED], listener=Revoked(name))
        await consumer.start()
        return consumer

    async def own(one, two):
        end = asyncio.get_running_loop().time() + 30
        while sorted(len(consumer.assignment()) for consumer in (one, two)) != [PARTITIONS // 2] * 2:
            assert asyncio.get_running_loop().time() < end, "they do not share"
            await asyncio.sleep(0.1)
        return one.assignment(), two.assignment()

    one, two = await asyncio.gather(member("one"), member("two"))
    before = await own(one, two)
    await two.stop()
    revoked.clear()
    two = await member("two")
    after = await own(one, two)
    assert after == before, (after, before)
    # It calls so before each join, also before the first.
    assert "one" not in revoked, revoked
    await asyncio.gather(one.stop(), two.stop())


async def with_topic(topic, use):
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    try:
        created = await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "60000"})])
        assert [code for _, code, *_ in created.topic_errors] == [0], created
        await use(admin, topic)
    finally:
        await admin.close()


async def topics():
    async def use(admin, topic):
        await admin.create_partitions({topic: NewPartitions(3)})
        [described] = await admin.describe_topics([topic])
        assert len(described["partitions"]) == 3, described
        await admin.delete_topics([topic])
        assert topic not in await admin.list_topics()

    await with_topic(f"{PREFIX}-topics", use)


async def settings():
    async def use(admin, topic):
        async def retention():
            [described] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            [(_, _, _, _, entries)] = described.resources
            return next(entry[1] for entry in entries if entry[0] == "retention.ms")

        assert await retention() == "60000"
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "70000"})])
        assert await retention() == "70000"

    await with_topic(f"{PREFIX}-settings", use)


version(aiokafka.__version__)
for name in CODECS:
    feature(f"produce {name}", lambda name=name: asyncio.run(codec(name)))
feature("idempotent", lambda: asyncio.run(idempotent()))
feature("assign, seek", lambda: asyncio.run(seek()))
feature("ends", lambda: asyncio.run(ends()))
feature("by time", lambda: asyncio.run(by_time()))
feature("to gRPC", doors.to_grpc)
feature("from gRPC", lambda: asyncio.run(from_grpc()))
feature("topics", lambda: asyncio.run(topics()))
feature("settings", lambda: asyncio.run(settings()))
feature("group", lambda: asyncio.run(group()))
feature("two members", lambda: asyncio.run(two_members()))
feature("static member", lambda: asyncio.run(static_member()))
