"""Writers that follow redirects, and know afterwards which of their keys must be there."""

import threading
import time

from harness import HOST, Failed, expect, expect_equal
from resp import Connection, Error

WRITERS = 4
# What a node says when the same may well succeed a little later.
PASSING = ("TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "LOADING", "MASTERDOWN", "READONLY")
RETRY_SECONDS = 0.02
RETRIES = 3000


class Client:
    """One connection for each node; asks until a node serves it."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.connections: dict[int, Connection] = {}
        self.last = ports[0]
        self.refused = 0
        # Of those, for min-replicas-to-write, and on connections that had ended.
        self.deserted = 0
        self.lost = 0

    def ask(self, *words, until=lambda: False):
        port, asking = self.last, False
        for attempt in range(RETRIES):
            reply = self.once(port, asking, words)
            asking = False
            kind, _, rest = reply.partition(" ") if isinstance(reply, Error) else ("", "", "")
            if kind in ("MOVED", "ASK"):
                port, asking = int(rest.rpartition(":")[2]), kind == "ASK"
                self.last = self.last if asking else port
            elif kind == "LOST" or kind in PASSING:
                self.refused += 1
                self.deserted += kind == "NOREPLICAS"
                self.lost += kind == "LOST"
                expect(not until(), f"{words[:2]} was not served: {reply}")
                time.sleep(RETRY_SECONDS)
                port = self.ports[attempt % len(self.ports)]
            else:
                return reply
        raise Failed(f"{words[:2]} was not served: {reply}")

    def once(self, port: int, asking: bool, words):
        try:
            if port not in self.connections:
                self.connections[port] = Connection(port, 10)
            node = self.connections[port]
            if asking:
                expect_equal(node.ask("ASKING"), b"OK", "the reply to ASKING")
            return node.ask(*words)
        except (OSError, Failed) as error:
            self.connections.pop(port, None)
            return Error(f"LOST {HOST}:{port} {error}")


class Load:
    """Writes from entering to leaving the `with` block, and then reads everything back."""

    def __init__(self, ports: list[int], name: str) -> None:
        self.ports = ports
        self.name = name
        self.ending = threading.Event()
        self.writers = [Writer(self, number) for number in range(WRITERS)]

    def __enter__(self) -> "Load":
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.ending.set()
        for writer in self.writers:
            writer.join()

    def judge(self) -> list[str]:
        """After the `with` block: fails if a write that was promised is not there."""
        client, lost = Client(self.ports), []
        for writer in self.writers:
            expect(not writer.error, f"a writer's: {writer.error}")
            for number in range(writer.written):
                key = writer.key(number)
                if client.ask("GET", key) != b"%d" % number:
                    lost.append(key)
        written = sum(writer.written for writer in self.writers)
        expect(written > 100, f"only {written} writes were served")
        expect(not lost, f"{len(lost)} of {written} keys are lost, the first: {lost[:3]}")
        clients = [writer.client for writer in self.writers]
        refused = sum(client.refused for client in clients)
        deserted, ended = (sum(counts) for counts in zip(
            *((client.deserted, client.lost) for client in clients)))
        stall = max(writer.stall for writer in self.writers)
        return [f"{written} writes", "0 lost", f"{refused} refused ({deserted} for want of replicas, "
                f"{ended} on connections that had ended)", f"stall {stall:.2f} s"]


class Writer(threading.Thread):
    def __init__(self, load: Load, number: int) -> None:
        super().__init__(daemon=True)
        self.load = load
        self.number = number
        self.client = Client(load.ports)
        self.written = 0
        self.stall = 0.0
        self.error = ""

    def key(self, number: int) -> bytes:
        return b"%s:%d:%d" % (self.load.name.encode(), self.number, number)

    def run(self) -> None:
        try:
            while not self.load.ending.is_set():
                started = time.monotonic()
                reply = self.client.ask("SET", self.key(self.written), self.written)
                expect_equal(reply, b"OK", "the reply to SET")
                self.written += 1
                self.stall = max(self.stall, time.monotonic() - started)
                time.sleep(0.001)
        except (Failed, OSError, ValueError) as error:
            self.error = f"{error}"
