"""A client of the nodes of one shard, that knows what it was promised."""

import threading
import time

from cluster import Cluster, own_key
from harness import Failed, expect, expect_equal, wait_until
from resp import Connection, Error

# A primary that dies may have acknowledged writes that its replica has not got.
LAG_SECONDS = 1.0


class Appender(threading.Thread):
    """Appends numbers to a list of a shard, at whichever of its nodes takes them."""

    def __init__(self, cluster: Cluster, primary: int, name: str) -> None:
        super().__init__(daemon=True)
        self.key = b"{%s}%s" % (own_key(cluster.owners(primary), primary), name.encode())
        self.nodes = [primary, cluster.replica_of(primary)]
        self.over = threading.Event()
        self.acknowledged: list[tuple[float, bytes]] = []
        self.refused: set[str] = set()
        self.tried = 0

    def run(self) -> None:
        connection, turn = None, 0
        while not self.over.wait(0.002):
            try:
                connection = connection or Connection(self.nodes[turn], 2)
                self.tried += 1
                element = b"%d" % self.tried
                reply = connection.ask("RPUSH", self.key, element)
                if not isinstance(reply, Error):
                    self.acknowledged.append((time.monotonic(), element))
                    continue
                self.refused.add(reply.split()[0])
            except (OSError, Failed):
                pass
            connection, turn = None, 1 - turn

    def __enter__(self) -> "Appender":
        self.start()
        wait_until("the first write", 10, lambda: self.acknowledged)
        time.sleep(0.5)
        return self

    def __exit__(self, *_exception) -> None:
        self.over.set()
        self.join(10)

    def stall(self, since: float) -> float:
        """The longest time without a success."""
        times = [at for at, _ in self.acknowledged]
        return max(after - before for before, after in zip(times, times[1:]) if after > since)

    def check(self, node: Connection, died: float | None = None) -> str:
        """All that was acknowledged is there once and in order, but for what died with a node."""
        found = node.ask("LRANGE", self.key, 0, -1)
        expect(not isinstance(found, Error), f"{found} to LRANGE")
        expect_equal(found, sorted(set(found), key=int), "the elements, each once and in order,")
        lost = [at for at, element in self.acknowledged if element not in set(found)]
        forgiven = [at for at in lost if died and died - LAG_SECONDS < at <= died]
        expect_equal(len(lost), len(forgiven), f"of {len(self.acknowledged)} writes lost:")
        return f"{len(self.acknowledged)} writes" + (f", {len(lost)} lost" if died else "")
