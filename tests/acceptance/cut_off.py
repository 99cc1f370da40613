"""A network namespace for a node whose wire is cut; it takes root."""

import os

from harness import expect_equal, run

SUBNET = "10.117.9"


def can_cut() -> bool:
    return os.geteuid() == 0 and run(["ip", "netns", "list"], 10).returncode == 0


class Namespace:
    """A network namespace and the wire to it."""

    def __init__(self) -> None:
        self.name = f"slotway-{os.getpid()}"
        self.wire = f"sw{os.getpid() % 100_000}"

    def __enter__(self) -> "Namespace":
        inside, outside = f"{self.wire}i", f"{self.wire}o"
        ip("netns", "add", self.name)
        ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        ip("link", "set", inside, "netns", self.name)
        ip("addr", "add", f"{SUBNET}.1/24", "dev", outside)
        ip("link", "set", outside, "up")
        for words in (["addr", "add", f"{SUBNET}.2/24", "dev", inside],
                      ["link", "set", inside, "up"], ["link", "set", "lo", "up"]):
            ip("-n", self.name, *words)
        return self

    def __exit__(self, *_exception) -> None:
        run(["ip", "netns", "del", self.name], 10)
        run(["ip", "link", "del", f"{self.wire}o"], 10)


def ip(*words) -> None:
    done = run(["ip", *words], 10)
    expect_equal((done.returncode, done.stderr), (0, ""), f"ip {' '.join(words)}")


def silently(space: Namespace, is_cut: bool) -> None:
    """What is sent to the node is dropped."""
    verb = "add" if is_cut else "del"
    ip("-n", space.name, "route", verb, "blackhole", f"{SUBNET}.1/32")


def unreachably(_space: Namespace, is_cut: bool) -> None:
    """The host of the node is said to be unreachable."""
    ip("route", "add" if is_cut else "del", "unreachable", f"{SUBNET}.2/32")
