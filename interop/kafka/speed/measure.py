"""Lets producers and consumers run against five servers in turn, round by round, and prints medians, and ratios to the stub.

    measure.py <directory of Kafka's jars> <stub> <stub that writes> <stub that syncs> <synced> <not synced> [word...]

A producer writes to a topic of its own in each round; consumers read, from its start, the one that Kafka's producer
wrote last with the larger batches. A figure is what the client itself reports, without its start; a ratio is the
median of the rounds' own ratios. Words choose the loads whose names have them all; ROUNDS is how
many rounds there are, WARM_GIB how much memory is used before each producer.
"""

import os
import statistics
import subprocess
import sys

# Messages of a size in bytes: a few seconds of each client.
COUNTS = {100: 1_000_000, 1024: 200_000}
# What else producers are told; the rest is as the client has it by default.
CONFIGS = {"default": {}, "linger 5 ms, batch 64 KiB": {"linger.ms": "5", "batch.size": "65536"}}
TIMEOUT_S = 120
# More than any of them writes, and more still where free memory is in many pieces.
WARM_BYTES = int(os.environ.get("WARM_GIB", "2")) << 30
HERE = os.path.dirname(os.path.abspath(__file__))


def warm():
    """Uses memory and lets go of it: what lies free in a virtual machine its host takes back, and whoever needs it
    again, for what it writes to a file, would be measured with that (bench/src/memory.rs)."""
    _ = b"x" * WARM_BYTES  # no zeros: for those the system gives no memory until they are written


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        sys.exit(f"FAILED: {' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def java(jars, *arguments):
    return output("java", "-Xmx1g", "-cp", f"{jars}/*", *arguments)


def produce_java(jars, server, topic, size, config):
    props = [f"{key}={value}" for key, value in {"bootstrap.servers": server, "acks": "all", **config}.items()]
    said = java(
        jars, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", str(COUNTS[size]),
        "--record-size", str(size), "--throughput", "-1", "--producer-props", *props,
    )
    # "2000000 records sent, 500000.0 records/sec (47.68 MB/sec), ..."
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"{COUNTS[size]} records sent"), said
    return float(last.split(", ")[1].split()[0])


def consume_java(jars, server, topic, size, _):
    said = java(
        jars, "org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", server, "--topic", topic,
        "--messages", str(COUNTS[size]), "--timeout", "20000", "--hide-header",
    )
    # The last two of ten columns are rates without the time in which the group forms.
    fields = said.strip().splitlines()[-1].split(", ")
    assert int(fields[4]) >= COUNTS[size], said
    return float(fields[9])


def confluent(do):
    # Python makes an object of each message that is read: half of them take as long as all do elsewhere.
    share = {"produce": 1, "consume": 2}[do]

    def run(_, server, topic, size, config):
        settings = [f"{key}={value}" for key, value in config.items()]
        arguments = [do, server, topic, str(COUNTS[size] // share), str(size)]
        return float(output(sys.executable, f"{HERE}/confluent.py", *arguments, *settings))
    return run


def loads():
    """Name, what runs, size, settings, of which topic."""
    for client, produce in (("java", produce_java), ("confluent", confluent("produce"))):
        for size in COUNTS:
            for name, config in CONFIGS.items():
                yield f"produce, {client}, {size} B, {name}", produce, size, config, f"{client}-{size}-{name.split()[0]}"
    for client, consume in (("java", consume_java), ("confluent", confluent("consume"))):
        for size in COUNTS:
            yield f"consume, {client}, {size} B", consume, size, {}, f"java-{size}-linger"


def rate(per_second):
    return f"{per_second / 1e6:.2f} M/s" if per_second >= 1e6 else f"{per_second / 1e3:.1f} k/s"


def percent(part, whole):
    return f"{100 * statistics.median(a / b for a, b in zip(part, whole)):.0f} %"


def main():
    jars, *servers = sys.argv[1:7]
    words = sys.argv[7:]
    rounds = int(os.environ.get("ROUNDS", "3"))
    chosen = [load for load in loads() if all(word in load[0] for word in words)]
    filled = set()
    heads = "".join(f" {name:>10} {'ratio':>6}" for name in ("writes", "and syncs", "synced", "not synced"))
    print(f"{'messages per second, acks=all':<54} {'stub':>10}{heads}", flush=True)
    for name, run, size, config, topic in chosen:
        reads = name.startswith("consume")
        seen = [[] for _ in servers]
        for number in range(rounds):
            this = f"{topic}-0" if reads else f"{topic}-{number}"
            for server, rates in zip(servers, seen):
                if reads and (rates is seen[1] or rates is seen[2]):
                    continue  # what these write they do not read
                if reads and (server, this) not in filled:
                    produce_java(jars, server, this, size, CONFIGS["linger 5 ms, batch 64 KiB"])
                filled.add((server, this))
                if not reads:
                    warm()
                rates.append(run(jars, server, this, size, config))
        stub, *others = seen
        columns = "".join(
            f" {rate(statistics.median(rates)):>10} {percent(rates, stub):>6}" if rates else f"{'':18}" for rates in others
        )
        print(f"{name:<54} {rate(statistics.median(stub)):>10}{columns}", flush=True)


main()
