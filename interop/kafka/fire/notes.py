"""What a member has read, one line for each run of records: partition, first and last offset."""

import os
import signal
import sys

BOOTSTRAP, GROUP, TOPIC, PROTOCOL, PATH = sys.argv[1:6]
SESSION_MS = 3_000
# A member that is paused for longer has to join anew.
POLLS_MAX_MS = 6_000


class Notes:
    """A line is there as soon as it is written, also for those who are killed then."""

    def __init__(self):
        self.file = os.open(PATH, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.is_ending = False
        signal.signal(signal.SIGTERM, self.end)

    def end(self, *_):
        self.is_ending = True

    def write(self, records):
        """Records are (partition, offset), in order within each partition. Returns the positions behind them."""
        runs = {}
        for partition, offset in records:
            first, last = runs.get(partition, (offset, offset - 1))
            assert offset == last + 1, f"partition {partition} goes on at {offset} behind {last}"
            runs[partition] = first, offset
        os.write(self.file, "".join(f"{of} {first} {last}\n" for of, (first, last) in runs.items()).encode())
        return {of: last + 1 for of, (_, last) in runs.items()}
