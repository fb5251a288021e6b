"""In the place of kafka-python's test/service.py: a broker that runs already, and none that could be started."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    pass
