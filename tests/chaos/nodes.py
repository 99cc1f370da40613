"""A cluster whose nodes are killed, stopped and started again, and the proxy in front of it."""

import contextlib
import json
import signal
import subprocess
import time

from cluster import FAILOVER_SECONDS, Cluster
from harness import HOST, Failed, Machine, Proxy, expect_equal, redis_cli, run
from harness import slotway_binary, wait_until
from resp import Connection

START_SECONDS = 20


class Nodes(Cluster):
    """Three primaries and three replicas. Shards are known by the order of their first slots."""

    def __init__(self, machine: Machine, node_timeout: int = 2000, *options,
                 replicas: int = 1) -> None:
        self.node_timeout = node_timeout
        super().__init__(machine, replicas, "--cluster-node-timeout", node_timeout,
                         "--enable-debug-command", "yes", *options)
        if replicas:
            self.wait_for_replicas()

    def seed(self) -> int:
        return self.alive()[0]

    def kill_now(self, port: int) -> float:
        """SIGKILL; there is nothing that the process could do. Returns when it was gone: the system
        takes a moment to close its connections, and takes bytes for them until then."""
        self.machine.servers[port].popen.send_signal(signal.SIGKILL)
        self.machine.servers[port].popen.wait()
        return time.time()

    def stop(self, port: int) -> None:
        """SIGTERM, as a service manager does it."""
        self.machine.servers[port].end()

    def restart(self, port: int) -> None:
        """The same node again: same port, same folder, same nodes.conf."""
        self.start_again(port)
        wait_until(f"redis-server on {port}", START_SECONDS,
                   lambda: "PONG" in redis_cli(port, "ping"))
        self.nodes[port] = Connection(port)

    def start_again(self, port: int) -> None:
        """Does not wait until it serves."""
        program = self.machine.servers[port]
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(5)
        self.machine.servers[port] = self.machine.start(program.popen.args, f"redis-{port}")

    def pause(self, port: int) -> None:
        self.machine.servers[port].popen.send_signal(signal.SIGSTOP)

    def resume(self, port: int) -> None:
        self.machine.servers[port].popen.send_signal(signal.SIGCONT)

    def hand_over(self, primary: int) -> int:
        """Lets its replica take over, nothing lost; returns the replica once it has."""
        replica = self.replica_of(primary)
        expect_equal(self.nodes[replica].ask("CLUSTER", "FAILOVER"), b"OK", "CLUSTER FAILOVER")
        wait_until("the failover", FAILOVER_SECONDS, lambda: self.leads(replica))
        return replica

    def leads(self, port: int) -> bool:
        """Costs the node nothing, so that it may be asked again and again under load."""
        return self.nodes[port].ask("ROLE")[0] == b"master"

    def wait_replaced(self, port: int, replica: int, seconds: float = 60) -> float:
        """Until the node's replica serves its slots, in the eyes of all others; the seconds."""
        started = time.monotonic()
        others = [other for other in self.alive() if other != port]

        def replaced() -> bool:
            with contextlib.suppress(OSError, Failed):
                return all(self.serves_without(other, port) for other in others)
            return False

        wait_until(f"{replica} instead of {port}", seconds, lambda: self.leads(replica))
        took = time.monotonic() - started
        wait_until(f"all to know {replica} instead of {port}", seconds, replaced)
        return took

    def serves_without(self, asked: int, gone: int) -> bool:
        owners = set(self.owners(asked))
        return gone not in owners and 0 not in owners

    def is_replica(self, port: int) -> bool:
        return "role:slave" in redis_cli(port, "info", "replication")

    def wait_whole(self) -> None:
        """Until each primary has a replica that has everything, and the nodes agree."""
        wait_until("a cluster that is whole", FAILOVER_SECONDS + 30, self.whole)
        self.wait_for_replicas()

    def whole(self) -> bool:
        with contextlib.suppress(OSError, Failed):
            return all(self.has_replica(port) for port in self.primaries())
        return False

    def digests(self) -> list[str]:
        """Shards whose replica does not hold the same as its primary."""
        self.wait_for_replicas()
        differ = []
        for primary in self.primaries():
            replica = self.replica_of(primary)
            of = [redis_cli(port, "debug", "digest") for port in (primary, replica)]
            if of[0] != of[1]:
                differ.append(f"{primary} and {replica}: {of}")
        return differ

    def check(self) -> None:
        """redis-cli finds nothing wrong, and replicas hold what their primaries do."""
        checked = run(["redis-cli", "--cluster", "check", f"{HOST}:{self.seed()}"], 60)
        expect_equal(checked.returncode, 0, f"{checked.stdout[-500:]}: status of --cluster check")
        expect_equal(self.digests(), [], "shards whose replicas differ")


def start_proxy(machine: Machine, seeds: list[str], workers: int = 2, ready: bool = True,
                **cluster) -> Proxy:
    """A slotway with settings of its section `cluster`."""
    settings = machine.folder / f"proxy-{time.monotonic_ns()}.toml"
    cluster = {"hold_timeout_ms": 10_000, "seeds": seeds, **cluster}
    lines = [f"{name} = {json.dumps(value)}" for name, value in cluster.items()]
    settings.write_text("[cluster]\n" + "\n".join(lines) + "\n")
    return machine.slotway("--config", settings, "--workers", workers, ready=ready)


def knows_setting(line: str) -> bool:
    """Whether this slotway has a setting of the cluster."""
    text = f'[cluster]\nseeds = ["127.0.0.1:1"]\n{line}\n'
    done = subprocess.run([slotway_binary(), "check", "--config", "/dev/stdin"], check=False,
                          input=text, text=True, capture_output=True, timeout=10)
    return done.returncode == 0
