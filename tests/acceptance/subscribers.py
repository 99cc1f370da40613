"""The clients of the pub/sub checks: many subscribers, read in turn, and publishers with a pace.

One thread serves all, without a library: a message to a thousand subscribers is a thousand messages
here. Sockets keep what has arrived until their turn comes.
"""

import contextlib
import socket
import time

from harness import HOST, Failed, expect
from resp import command

READ_BYTES = 1 << 20
NUMBER_DIGITS = 8
# How much of the subscribers is read between two messages; all of them within PUBLISH times this.
SHARE = 10


class Published:
    """When each message of each publisher was sent; its name is one letter."""

    def __init__(self) -> None:
        self.times: dict[bytes, list[float]] = {}
        self.failed: dict[bytes, set[int]] = {}
        self.errors: list[str] = []

    def count(self) -> int:
        return sum(len(times) for times in self.times.values())


class Publisher:
    """Sends, and reads the replies when they come."""

    def __init__(self, published: Published, name: bytes, port: int, verb: str, channel: str):
        self.published = published
        self.name = name
        self.verb, self.channel = verb, channel
        self.times = published.times.setdefault(name, [])
        self.failed = published.failed.setdefault(name, set())
        self.answered = 0
        self.buffer = b""
        self.socket = socket.create_connection((HOST, port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self) -> None:
        payload = b"%b%0*d" % (self.name, NUMBER_DIGITS, len(self.times))
        self.times.append(time.monotonic())
        self.socket.sendall(command(self.verb, self.channel, payload))

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = self.socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
            expect(data, f"the connection of publisher {self.name.decode()} broke")
            self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\r\n")
        for line in lines:
            if not line.startswith(b":"):
                self.failed.add(self.answered)
                self.published.errors.append(line.decode(errors="replace"))
            self.answered += 1

    def owed(self) -> int:
        return len(self.times) - self.answered


class Subscriber:
    """Reads messages of one channel and compares them with what must come next."""

    def __init__(self, port: int, protocol: int, verb: str, channel: str) -> None:
        kind = b">" if protocol == 3 else b"*"
        message = "smessage" if verb == "SSUBSCRIBE" else "message"
        self.socket = socket.create_connection((HOST, port), 10)
        self.start = b"%b3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n" % (
            kind, len(message), message.encode(), len(channel), channel.encode(),
            1 + NUMBER_DIGITS)
        self.size = len(self.start) + 1 + NUMBER_DIGITS + 2
        self.buffer = b""
        # By publisher: the number that comes next, and what was left out: from, to.
        self.next: dict[bytes, int] = {}
        self.gaps: list[tuple[bytes, int, int]] = []
        self.last = time.monotonic()
        self.silence = 0.0
        self.count = 0
        self.subscribe(protocol, verb, channel)

    def subscribe(self, protocol: int, verb: str, channel: str) -> None:
        self.socket.settimeout(10)
        if protocol == 3:
            self.socket.sendall(command("HELLO", 3))
            self.read_until(b"modules\r\n*0\r\n")
        self.socket.sendall(command(verb, channel))
        self.read_until(b"%b\r\n:1\r\n" % channel.encode())
        self.socket.setblocking(False)

    def read_until(self, end: bytes) -> None:
        data = b""
        while not data.endswith(end):
            more = self.socket.recv(READ_BYTES)
            data += more
            expect(more and not data.startswith(b"-"), f"instead of a subscription: {data!r:.200}")

    def read(self) -> None:
        """What has arrived, if anything."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        expect(data, "a subscriber's connection broke")
        now = time.monotonic()
        self.silence = max(self.silence, now - self.last)
        self.last = now
        self.buffer += data
        whole = len(self.buffer) // self.size * self.size
        messages, self.buffer = self.buffer[:whole], self.buffer[whole:]
        first, *parts = messages.split(self.start)
        expect(not first and len(parts) == whole // self.size,
               f"no message, but {messages[:200]!r}")
        for part in parts:
            self.take(part[:1], int(part[1:1 + NUMBER_DIGITS]))
        self.count += len(parts)

    def take(self, publisher: bytes, number: int) -> None:
        expected = self.next.get(publisher, 0)
        if number != expected:
            if number < expected:
                raise Failed(f"message {number} of publisher {publisher.decode()} came after "
                             f"message {expected - 1}")
            self.gaps.append((publisher, expected, number))
        self.next[publisher] = number + 1

    def lost(self, published: Published) -> list[tuple[bytes, int]]:
        """What did not come, the end included; not what its publisher got an error for."""
        ranges = [*self.gaps, *((name, self.next.get(name, 0), len(times))
                                for name, times in published.times.items())]
        return [(name, number) for name, first, end in ranges for number in range(first, end)
                if number not in published.failed[name]]


class Show:
    """Publishes at a pace and reads the subscribers meanwhile."""

    def __init__(self, subscribers: list[Subscriber], publishers: list[Publisher]) -> None:
        self.subscribers = subscribers
        self.publishers = publishers
        self.turn = 0

    def run(self, count: int, per_second: float, watch=lambda: None) -> None:
        """So many messages, of all publishers in turn; `watch` is called after each."""
        started = time.monotonic()
        for number in range(count):
            publisher = self.publishers[number % len(self.publishers)]
            publisher.publish()
            publisher.read()
            self.read_some()
            watch()
            while time.monotonic() < started + number / per_second:
                self.read_some()
                time.sleep(0.0005)

    def read_some(self) -> None:
        share = max(1, len(self.subscribers) // SHARE)
        for subscriber in self.subscribers[self.turn:self.turn + share]:
            subscriber.read()
        self.turn += share
        if self.turn >= len(self.subscribers):
            self.turn = 0

    def finish(self, seconds: float = 15.0) -> None:
        """Until all replies have come and no subscriber has anything more to read."""
        deadline = time.monotonic() + seconds
        while any(one.owed() for one in self.publishers):
            expect(time.monotonic() < deadline, "publishers wait for replies")
            self.read_publishers()
            self.read_some()
        quiet = time.monotonic()
        while time.monotonic() < quiet + 1.0:
            before = sum(one.count for one in self.subscribers)
            for subscriber in self.subscribers:
                subscriber.read()
            if sum(one.count for one in self.subscribers) != before:
                quiet = time.monotonic()
            time.sleep(0.01)

    def read_publishers(self) -> None:
        for one in self.publishers:
            one.read()

    def close(self) -> None:
        for one in [*self.subscribers, *self.publishers]:
            one.socket.close()
