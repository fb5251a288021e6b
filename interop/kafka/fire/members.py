"""The members of the group under fire: processes, and what was done to them."""

import collections
import pathlib
import random
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
# So many live at a time.
COUNTS = range(5, 11)
# What members of each protocol are made of.
KINDS = {"classic": ["member_confluent.py", "member_kafka_python.py"], "consumer": ["member_confluent.py"]}
# Some are silent for longer than they may be, and some are back before anybody has noticed.
PAUSES = (0.5, 8)


class Members:
    """Those that are paused count as living."""

    def __init__(self, protocol, topic, notes):
        self.protocol, self.topic, self.notes = protocol, topic, notes
        self.started, self.living, self.paused, self.done = [], [], [], collections.Counter()

    def start(self, bootstrap):
        number, kinds = len(self.started), KINDS[self.protocol]
        command = [sys.executable, HERE / kinds[number % len(kinds)], bootstrap, self.topic, self.topic, self.protocol]
        with open(self.notes / f"{number}.stderr", "wb") as stderr:
            self.started.append(subprocess.Popen([*command, self.notes / f"{number}"], stderr=stderr))
        self.living.append(self.started[-1])
        self.done["joined"] += 1

    def stop(self, how):
        member = self.living.pop(random.randrange(len(self.living)))
        member.send_signal(how)
        # Who is paused leaves when it goes on.
        self.done["killed" if how == signal.SIGKILL else "left"] += 1

    def pause(self):
        member = random.choice(self.living)
        member.send_signal(signal.SIGSTOP)
        self.paused.append((time.monotonic() + random.uniform(*PAUSES), member))
        self.done["paused"] += 1

    def wake(self, by):
        """Those go on whose pause ends by then."""
        for _, member in [late for late in self.paused if late[0] <= by]:
            member.send_signal(signal.SIGCONT)
        self.paused = [late for late in self.paused if late[0] > by]

    def shot(self, bootstrap):
        """Something happens to somebody."""
        kill, leave, start = (lambda: self.stop(signal.SIGKILL)), (lambda: self.stop(signal.SIGTERM)), (lambda: self.start(bootstrap))
        choices = [kill, kill, leave, start, start, start, self.pause]
        if len(self.living) <= COUNTS.start:
            choices = [start, self.pause]
        elif len(self.living) >= COUNTS.stop - 1:
            choices = [kill, kill, leave, self.pause]
        random.choice(choices)()

    def end(self):
        for member in self.living:
            member.send_signal(signal.SIGTERM)
        for member in self.started:
            member.wait(30)

    def kill(self):
        for member in self.started:
            member.kill()
