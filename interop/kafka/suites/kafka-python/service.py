"""In the place of kafka-python's test/service.py: a broker that runs already, and none that could be started."""

from kafka import KafkaConsumer


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    pass


# kafka-python 3.0.12 forgets a subscription that is made while the answer to its first request for metadata is on its way,
# and asks again after five minutes, where a test waits thirty seconds. Here it asks again after one.
KafkaConsumer.DEFAULT_CONFIG["metadata_max_age_ms"] = 1000
