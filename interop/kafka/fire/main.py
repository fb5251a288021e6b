"""A group under fire: members of two kinds join, leave and are killed while a producer runs, and no record is skipped.

A member writes down what it has read before it commits. So whatever stands before a committed position has to be in some
member's notes. Records that were read twice are no mistake: who is killed has not committed. They are counted.
"""

import collections
import pathlib
import random
import signal
import subprocess
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

BOOTSTRAP, SECONDS, NOTES = sys.argv[1], float(sys.argv[2]), pathlib.Path(sys.argv[3])
TOPIC, GROUP, PARTITIONS = "fire", "fire", 64
MEMBERS = range(5, 11)
# From the last shot on, until all is read: a member that was killed is taken for dead after its session timeout.
PATIENCE = 60
HERE = pathlib.Path(__file__).parent
KINDS = ["member_confluent.py", "member_kafka_python.py"]


class Members:
    """The processes, and what was done to them."""

    def __init__(self):
        self.started, self.living, self.done = [], [], collections.Counter()

    def start(self):
        number = len(self.started)
        command = [sys.executable, HERE / KINDS[number % len(KINDS)], BOOTSTRAP, GROUP, TOPIC, NOTES / f"{number}"]
        with open(NOTES / f"{number}.stderr", "wb") as stderr:
            self.started.append(subprocess.Popen(command, stderr=stderr))
        self.living.append(self.started[-1])
        self.done["joined"] += 1

    def stop(self, how):
        member = self.living.pop(random.randrange(len(self.living)))
        member.send_signal(how)
        self.done["killed" if how == signal.SIGKILL else "left"] += 1

    def shot(self):
        """Something happens to somebody."""
        kill, leave = (lambda: self.stop(signal.SIGKILL)), (lambda: self.stop(signal.SIGTERM))
        choices = [kill, kill, leave, self.start, self.start, self.start]
        if len(self.living) <= MEMBERS.start:
            choices = [self.start]
        elif len(self.living) >= MEMBERS.stop - 1:
            choices = [kill, kill, leave]
        random.choice(choices)()

    def end(self):
        for member in self.living:
            member.send_signal(signal.SIGTERM)
        for member in self.started:
            member.wait(30)


def produce(producer, counts, records):
    for _ in range(records):
        partition = random.randrange(PARTITIONS)
        producer.produce(TOPIC, value=str(counts[partition]).encode(), partition=partition)
        counts[partition] += 1
    producer.poll(0)


def committed():
    reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": GROUP})
    found = reader.committed([TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)], timeout=20)
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
    members = Members()
    try:
        print(run(members))
    finally:
        for member in members.started:
            member.kill()


def run(members):
    counts = [0] * PARTITIONS
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, "enable.idempotence": True})
    for _ in MEMBERS:
        members.start()
    end, next_shot = time.monotonic() + SECONDS, time.monotonic() + 3
    while time.monotonic() < end:
        produce(producer, counts, 20)
        if time.monotonic() >= next_shot:
            members.shot()
            next_shot = time.monotonic() + random.uniform(0.2, 1)
        time.sleep(0.01)
    assert producer.flush(30) == 0
    wanted = dict(enumerate(counts))
    end = time.monotonic() + PATIENCE
    while (positions := committed()) != wanted and time.monotonic() < end:
        check_none_skipped(positions)
        time.sleep(0.5)
    seen = check_none_skipped(positions)
    members.end()
    assert positions == wanted, {of: (positions[of], wanted[of]) for of in wanted if positions[of] != wanted[of]}
    again = sum(seen.values()) - sum(counts)
    return (f"A group under fire, {SECONDS:.0f} s over {PARTITIONS} partitions, members of confluent-kafka and kafka-python: "
            f"{members.done['joined']} joined, {members.done['left']} left, {members.done['killed']} were killed; "
            f"{sum(counts)} records were read, none was skipped, {again} were read again.")


main()
