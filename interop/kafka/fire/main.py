"""A group under fire: members join, leave, pause and are killed while a producer runs and the server is killed, too, and no
record is skipped.

A member writes down what it has read before it commits. So whatever stands before a committed position has to be in some
member's notes. Records that were read twice are no mistake: who is killed has not committed. They are counted.
"""

import collections
import pathlib
import random
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from members import COUNTS, KINDS, Members
from server import Server

BINARIES, PROTOCOL, SECONDS, NOTES = sys.argv[1], sys.argv[2], float(sys.argv[3]), pathlib.Path(sys.argv[4])
PARTITIONS = 64
TOPIC = f"fire-{PROTOCOL}"
# Between two kills of the server.
KILLS = (6, 14)
# From the last shot on, until all is read: a member that was killed is taken for dead after its session timeout, which
# is 45 s where the server says it.
PATIENCE = 90


def produce(producer, counts, records):
    for _ in range(records):
        partition = random.randrange(PARTITIONS)
        producer.produce(TOPIC, value=str(counts[partition]).encode(), partition=partition)
        counts[partition] += 1
    producer.poll(0)


def committed(bootstrap):
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": TOPIC, "log_level": 2})
    try:
        found = reader.committed([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)], timeout=20)
    finally:
        reader.close()
    return {of.partition: max(of.offset, 0) for of in found}


def noted():
    """How often each record was read: (partition, offset) to a number."""
    seen = collections.Counter()
    for path in NOTES.iterdir():
        if path.suffix == "":
            for line in path.read_text().splitlines():
                partition, first, last = map(int, line.split())
                seen.update((partition, offset) for offset in range(first, last + 1))
    return seen


def check_none_skipped(positions):
    seen = noted()
    for partition, position in positions.items():
        missing = [offset for offset in range(position) if (partition, offset) not in seen]
        assert not missing, f"partition {partition} is committed to {position}, and nobody has read {missing[:5]}"
    return seen


def main():
    NOTES.mkdir(parents=True, exist_ok=True)
    for old in NOTES.iterdir():
        old.unlink()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}", file=sys.stderr)
    random.seed(seed)
    server, members = Server(BINARIES), Members(PROTOCOL, TOPIC, NOTES)
    try:
        server.create(TOPIC, PARTITIONS)
        said = run(server, members)
    finally:
        members.kill()
        code = server.stop()
    assert code == 0, f"the server's exit code is {code}"
    print(said)


def run(server, members):
    counts = [0] * PARTITIONS
    producer = Producer({"bootstrap.servers": server.bootstrap, "linger.ms": 5, "log_level": 2, "enable.idempotence": True})
    for _ in COUNTS:
        members.start(server.bootstrap)
    begin = time.monotonic()
    next_shot, next_kill = begin + 3, begin + random.uniform(*KILLS)
    while (now := time.monotonic()) < begin + SECONDS:
        produce(producer, counts, 20)
        members.wake(now)
        if now >= next_shot:
            members.shot(server.bootstrap)
            next_shot = now + random.uniform(0.2, 1)
        if now >= next_kill:
            server.kill()
            next_kill = time.monotonic() + random.uniform(*KILLS)
        time.sleep(0.01)
    members.wake(float("inf"))
    assert producer.flush(30) == 0
    wanted = dict(enumerate(counts))
    end = time.monotonic() + PATIENCE
    while (positions := committed(server.bootstrap)) != wanted and time.monotonic() < end:
        check_none_skipped(positions)
        time.sleep(0.5)
    seen, waited = check_none_skipped(positions), PATIENCE - (end - time.monotonic())
    members.end()
    assert positions == wanted, {of: (positions[of], wanted[of]) for of in wanted if positions[of] != wanted[of]}
    again = sum(seen.values()) - sum(counts)
    kinds = " and ".join(sorted({"confluent" if "confluent" in kind else "kafka-python" for kind in KINDS[PROTOCOL]}))
    done = members.done
    return (f"A group of {PROTOCOL} members under fire ({kinds}), {SECONDS:.0f} s over {PARTITIONS} partitions: {done['joined']} joined, "
            f"{done['left']} left, {done['paused']} were paused, {done['killed']} were killed, and the server {server.kills} times, back "
            f"after {server.slowest:.1f} s at most; "
            f"{sum(counts)} records were read, none was skipped, {again} were read again; all was read {waited:.0f} s after the last shot.")


main()
