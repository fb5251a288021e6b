"""One log behind two doors: what a Kafka client has sent is read over gRPC, and the other way, and compared whole. Over gRPC
it is the server's own command line tools; headers and times, which `produce` has no words for, are sent by grpcurl.

As a program it sends over gRPC what another client is to read (`send`), or reads over gRPC what that has sent in each codec."""

import base64
import json
import os
import subprocess
import sys
import time

from report import CODECS, COUNT, PREFIX, TIME, check, feature, headers, key, value


def run(command, given=b""):
    """What a command prints. It has to end well, in time."""
    ended = subprocess.run(command, input=given, capture_output=True, timeout=60)
    assert ended.returncode == 0, f"{command}: {ended.stderr.decode()}"
    return ended.stdout


def tool(name, *arguments, given=b""):
    return run([f"{os.environ['TOOLS']}/{name}", "-host", os.environ["GRPC"], *arguments], given)


def as_bytes(of, name):
    if f"{name}_base64" in of:
        return base64.b64decode(of[f"{name}_base64"])
    return None if of[name] is None else of[name].encode()


def read(topic):
    """A topic over gRPC, as the clients have it: its numbers begin with 1, where offsets begin with 0."""
    messages = map(json.loads, tool("consume", "-topic", topic, "-partition", "0", "-until-end", "-format", "json").splitlines())
    return [(of["number"] - 1, as_bytes(of, "key"), as_bytes(of, "value"),
             [(header["name"], as_bytes(header, "value")) for header in of["headers"]], of["timestamp_ms"]) for of in messages]


def to_grpc():
    """Of what the client has sent in its other cells."""
    for name in CODECS:
        check(read(f"{PREFIX}-{name}"))


def from_grpc():
    """Sends over gRPC. Topics, and for each of them how to check what the client reads there."""
    for codec in CODECS:
        topic = f"{PREFIX}-from-grpc-{codec}"
        # By default nothing is compressed.
        compression = [] if codec == "none" else ["-compression", codec]
        lines = b"".join((key(n) + b":" if key(n) else b"") + value(n) + b"\n" for n in range(COUNT))
        began = time.time_ns() // 1_000_000
        tool("produce", "-topic", topic, "-partition", "0", "-key-separator", ":", *compression, given=lines)
        yield topic, lambda records: check_lines(topic, records, began, time.time_ns() // 1_000_000)
    topic = f"{PREFIX}-from-grpc-headers"
    run([os.environ["GRPCURL"], "-plaintext", "-d", "@", os.environ["GRPC"], "minikafka.v1.MiniKafkaService/Produce"],
        json.dumps({"topic": topic, "partition": 0, "messages": {"messages": [message(n) for n in range(COUNT)]}}).encode())
    yield topic, check


def check_lines(topic, records, began, ended):
    records = [(offset, key, value, headers or [], at) for offset, key, value, headers, at in records]
    assert len(records) == COUNT, f"{len(records)} records"
    for n, (*record, at) in enumerate(records):
        assert record == [n, key(n), value(n), []], record
        assert began <= at <= ended, f"{at} is not from {began} to {ended}"
    assert records == read(topic), "both doors do not show the same"


def message(n):
    """As JSON has it for gRPC: bytes in base64, and what is null is not there."""
    encoded = lambda of: base64.b64encode(of).decode()
    there = {"key": encoded(key(n))} if key(n) else {}
    return there | {"value": encoded(value(n)), "timestampMs": str(TIME + n),
                    "headers": [{"name": name, "value": encoded(of)} for name, of in headers(n)]}


if __name__ == "__main__":
    if sys.argv[3:] == ["send"]:
        list(from_grpc())
    else:
        feature("to gRPC", to_grpc)
