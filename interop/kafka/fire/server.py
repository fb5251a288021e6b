"""A server with a directory of its own, which is killed and comes back where it was."""

import pathlib
import re
import subprocess
import tempfile
import time

# A debug build that opens what a kill has left.
START_MAX = 60


class Server:
    """It listens on ports that were free at its first start."""

    def __init__(self, directory):
        self.directory = directory
        self.root = tempfile.TemporaryDirectory(prefix="minikafka-fire-")
        self.addresses = {"MINIKAFKA_HOST": "127.0.0.1:0", "MINIKAFKA_KAFKA_HOST": "127.0.0.1:0"}
        self.kills, self.slowest = 0, 0
        self.start()

    def start(self):
        begin = time.monotonic()
        stderr = f"{self.root.name}/stderr-{self.kills}"
        environment = self.addresses | {"MINIKAFKA_ROOT_DIR": f"{self.root.name}/log"}
        with open(stderr, "wb") as file:
            self.process = subprocess.Popen([f"{self.directory}/server"], stderr=file, env=environment)
        while not (found := self.find(stderr)):
            is_starting = self.process.poll() is None and time.monotonic() < begin + START_MAX
            assert is_starting, pathlib.Path(stderr).read_text()
            time.sleep(0.05)
        self.addresses, self.slowest = found, max(self.slowest, time.monotonic() - begin)

    def find(self, stderr):
        said = pathlib.Path(stderr).read_text()
        kafka = re.search(r"Kafka clients are served on (127\.0\.0\.1:\d+),", said)
        grpc = re.search(r"gRPC.* (127\.0\.0\.1:\d+)", said)
        return {"MINIKAFKA_HOST": grpc[1], "MINIKAFKA_KAFKA_HOST": kafka[1]} if kafka and grpc else None

    @property
    def bootstrap(self):
        return self.addresses["MINIKAFKA_KAFKA_HOST"]

    def create(self, topic, partitions):
        command = [f"{self.directory}/minikafka", "topic", "create", topic, "-partitions", f"{partitions}"]
        subprocess.run([*command, "-host", self.addresses["MINIKAFKA_HOST"]], check=True, stdout=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.kills += 1
        self.start()

    def stop(self):
        """Returns its exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        self.root.cleanup()
        return code
