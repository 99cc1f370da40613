"""The fault-injecting proxy between slotway and the nodes."""

import contextlib
import socket

from harness import HOST, Failed, Machine, expect, redis_cli, wait_until
from load import chaos_binary


class Faulty:
    """A running `faulty`; link names are those of `links`, which go from one address to another."""

    def __init__(self, machine: Machine, links: dict[str, tuple[str, str]],
                 prefix: list[str] | None = None) -> None:
        control = machine.ports(1)
        words = [f"{name}={listen},{target}" for name, (listen, target) in links.items()]
        self.program = machine.start([*(prefix or []), chaos_binary("faulty", "SLOTWAY_FAULTY"),
                                      "--control", f"{HOST}:{control}", *words], "faulty")
        wait_until("faulty", 10, lambda: self.connects(control))

    def connects(self, port: int) -> bool:
        expect(self.program.alive(), f"faulty has ended: {self.program.errors}")
        with contextlib.suppress(OSError):
            self.socket = socket.create_connection((HOST, port), 5)
            self.answers = self.socket.makefile("r")
            return True
        return False

    def say(self, line: str) -> str:
        """What stands behind the `ok` of the answer."""
        self.socket.sendall(f"{line}\n".encode())
        answer = self.answers.readline().strip()
        if not answer.startswith("ok"):
            raise Failed(f"faulty answers {line!r} with {answer!r}")
        return answer.removeprefix("ok").strip()


def front(machine: Machine, nodes) -> tuple[Faulty, dict[int, int]]:
    """Lets all that clients learn of the nodes lead through a `faulty`, whose links are named like
    the nodes' ports; and at which port each node is known then."""
    first = machine.ports(len(nodes.ports))
    known = {port: first + place for place, port in enumerate(nodes.ports)}
    faulty = Faulty(machine, {str(port): (f"{HOST}:{front}", f"{HOST}:{port}")
                              for port, front in known.items()})
    for port, announced in known.items():
        redis_cli(port, "config", "set", "cluster-announce-port", announced)
    every = set(known.values())

    def agreed() -> bool:
        for port in nodes.ports:
            slots = nodes.nodes[port].ask("CLUSTER", "SLOTS")
            if {node[1] for line in slots for node in line[2:]} != every:
                return False
        return True

    wait_until("the announced ports to be known", 30, agreed)
    return faulty, known
