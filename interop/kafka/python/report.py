"""What each client does, and how it is told: one line for each feature, `feature<TAB>outcome`."""

import sys
import time
import traceback

COUNT = 200
TIME = 1_700_000_000_000
BOOTSTRAP, PREFIX = sys.argv[1], sys.argv[2]
# Of a group's first member; the next one goes on behind them.
PART = 120
# A topic that is there, with so many partitions.
SHARED = f"shared-{PREFIX}"
PARTITIONS = 4
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def key(n):
    return f"key {n}".encode() if n % 2 == 0 else None


def value(n):
    return f"value {n} {'again ' * 20}".encode() if n % 5 else b""


def headers(n):
    return [("number", str(n).encode()), ("number", b""), ("naïve", b"\xff\x00")]


def check(records):
    """Records are (offset, key, value, headers, timestamp), all from the first on."""
    assert len(records) == COUNT, f"{len(records)} records"
    for n, record in enumerate(records):
        expected = (n, key(n), value(n), headers(n), TIME + n)
        assert record == expected, f"{record} is not {expected}"


def share(turn):
    """Takes turns, each of which returns how many partitions members have, until they share them evenly."""
    until(lambda: turn() == [PARTITIONS // 2] * 2)


def until(is_so):
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, "it does not become so"


def check_shared(one, other):
    """What two members have read, as (partition, offset): all of it, each its own share."""
    assert not one & other, "both have read the same"
    assert one | other == {(n % PARTITIONS, n // PARTITIONS) for n in range(COUNT)}, (len(one), len(other))
    assert len(one) == len(other) == COUNT // 2, (len(one), len(other))


def feature(name, run):
    try:
        run()
        outcome = "ok"
    except Exception as error:
        traceback.print_exc()
        outcome = f"failed: {type(error).__name__}: {error}".replace("\n", " ").replace("|", "/")
    print(f"{name}\t{outcome}", flush=True)


def version(text):
    print(f"version\t{text}", flush=True)
