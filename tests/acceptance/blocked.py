"""The clients of the blocking checks: those that wait in BLPOP, and those that push."""

import asyncio
import contextlib
import re
import socket
import time

from harness import HOST, Failed, expect
from resp import command

DELIVERY = re.compile(rb"\*2\r\n\$\d+\r\n([^\r]+)\r\n\$\d+\r\n([^\r]+)\r\n")
NOTHING = (b"*-1\r\n", b"_\r\n")
PUSHERS = 8
# Pushes of one client on their way at a time.
WINDOW = 16
# Before a client whose BLPOP failed tries again.
ERROR_PAUSE_SECONDS = 0.1
CONNECT_AT_ONCE = 200


class Delivered:
    """What all clients got, each element with how often."""

    def __init__(self) -> None:
        self.times: dict[bytes, int] = {}
        self.count = 0
        self.errors: dict[str, int] = {}
        self.ended = 0

    def add(self, element: bytes) -> None:
        self.times[element] = self.times.get(element, 0) + 1
        self.count += 1

    def add_error(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self.errors[text] = self.errors.get(text, 0) + 1

    def twice(self) -> list[bytes]:
        return [element for element, times in self.times.items() if times > 1]


class Blocker(asyncio.Protocol):
    """Waits in BLPOP, and does so again after each delivery."""

    def __init__(self, delivered: Delivered, keys: list[str]) -> None:
        self.delivered = delivered
        self.request = command("BLPOP", *keys, 0)
        self.buffer = b""
        self.again = True
        self.open = True

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.buffer:
            if found := DELIVERY.match(self.buffer):
                self.delivered.add(found[2])
                self.buffer = self.buffer[found.end():]
            elif self.buffer[:1] == b"-" or self.buffer.startswith(NOTHING):
                line, separator, rest = self.buffer.partition(b"\r\n")
                if not separator:
                    return
                self.delivered.add_error(line)
                self.buffer = rest
            else:
                return
                asyncio.get_running_loop().call_later(ERROR_PAUSE_SECONDS, self.ask)
                continue
            self.ask()

    def ask(self) -> None:
        if self.again and self.open:
            self.transport.write(self.request)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _error) -> None:
        self.open = False
        self.delivered.ended += 1


async def block(port: int, delivered: Delivered, keys: list[list[str]]) -> list[Blocker]:
    """One blocked client for each list of keys, some at a time so that no queue of connections
    overflows."""
    loop = asyncio.get_running_loop()
    blockers: list[Blocker] = []
    for first in range(0, len(keys), CONNECT_AT_ONCE):
        made = await asyncio.gather(*[
            loop.create_connection(lambda names=names: Blocker(delivered, names), HOST, port)
            for names in keys[first:first + CONNECT_AT_ONCE]
        ])
        blockers += [protocol for _transport, protocol in made]
    return blockers


async def leave(blockers: list[Blocker]) -> None:
    """All go while they are blocked. Each closes its own direction and reads on, so that an element
    on its way to it is counted; then the other side must close."""
    for one in blockers:
        one.again = False
        with contextlib.suppress(OSError, RuntimeError):
            one.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 5
    while any(one.open for one in blockers) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    left = sum(one.open for one in blockers)
    for one in blockers:
        one.transport.abort()
    expect(not left, f"{left} of {len(blockers)} connections are open 5 s after their clients left")


class Pusher:
    """Pushes its elements with RPUSH, a window of them on their way; counts what was promised."""

    def __init__(self, port: int, work: list[tuple[str, bytes]]) -> None:
        self.port = port
        self.work = work
        self.promised: list[bytes] = []
        # Of these nobody knows if they were stored.
        self.unknown: list[bytes] = []
        self.errors: dict[str, int] = {}

    async def run(self, pause: float = 0.0) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            for first in range(0, len(self.work), WINDOW):
                part = self.work[first:first + WINDOW]
                writer.write(b"".join(command("RPUSH", key, element) for key, element in part))
                for place, (_key, element) in enumerate(part):
                    line = await reader.readline()
                    if not line.endswith(b"\r\n"):
                        self.unknown += [lost for _, lost in part[place:]]
                        raise Failed("a pusher's connection broke")
                    self.count(element, line)
                await asyncio.sleep(pause)
        finally:
            writer.close()

    def count(self, element: bytes, line: bytes) -> None:
        if line.startswith(b":"):
            self.promised.append(element)
            return
        self.unknown.append(element)
        text = line.decode(errors="replace").strip()
        self.errors[text] = self.errors.get(text, 0) + 1


async def push(port: int, work: list[tuple[str, bytes]], pause: float = 0.0) -> "Pushed":
    pushers = [Pusher(port, work[number::PUSHERS]) for number in range(PUSHERS)]
    await asyncio.gather(*[one.run(pause) for one in pushers])
    return Pushed(pushers)


class Pushed:
    """What all pushers were promised."""

    def __init__(self, pushers: list[Pusher]) -> None:
        self.promised = {element for one in pushers for element in one.promised}
        self.unknown = {element for one in pushers for element in one.unknown}
        self.errors: dict[str, int] = {}
        for one in pushers:
            for text, count in one.errors.items():
                self.errors[text] = self.errors.get(text, 0) + count


async def settled(delivered: Delivered, count: int, seconds: float) -> None:
    """Until so many were delivered, or nothing has come for some time."""
    last, since = -1, time.monotonic()
    while delivered.count < count:
        if delivered.count != last:
            last, since = delivered.count, time.monotonic()
        if time.monotonic() > since + seconds:
            return
        await asyncio.sleep(0.05)
