"""Deliver one case over one TCP connection and record what comes back."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time

import corpus
from corpus import Case, Outcome

SPLIT_PAUSE = 0.004
BYTE_PAUSE = 0.0005
DEADLINE = 20.0

Piece = tuple[bytes, float]

# Numbers that no other delivery has, whichever process sends it.
NUMBERS = itertools.count(random.randrange(10**5) * 10**7)


def one_write(case: Case) -> list[Piece]:
    """The whole input in one write, except where the case itself pauses."""
    pieces: list[Piece] = []
    pending = b""
    for kind, value in case.steps:
        if kind == "send":
            pending += value
        else:
            pieces.append((pending, value / 1000))
            pending = b""
    pieces.append((pending, 0.0))
    return pieces


def deliveries(case: Case, modes: set[str]) -> list[tuple[str, list[Piece]]]:
    """The (label, pieces) ways to deliver a case in the wanted modes."""
    ways = [("one write", one_write(case))]
    if case.tags & {"timing", "heavy"} or case.has_pause():
        return ways
    data = case.payload()
    if "byte" in modes and len(data) < 4096:
        ways.append(("bytes", [(data[i : i + 1], BYTE_PAUSE) for i in range(len(data))]))
    if "split" in modes and len(data) < 128:
        for at in range(1, len(data)):
            ways.append((f"split at {at}", [(data[:at], SPLIT_PAUSE), (data[at:], 0.0)]))
    return ways


def with_number(pieces: list[Piece], number: bytes) -> list[Piece]:
    """The same pieces with the number where the placeholder is, also where a cut goes through."""
    data = b"".join(piece for piece, _ in pieces).replace(corpus.PLACEHOLDER, number)
    changed, start = [], 0
    for piece, pause in pieces:
        changed.append((data[start : start + len(piece)], pause))
        start += len(piece)
    return changed


class Exchange:
    """One connection: a reader task and a writer that gives up once the peer closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.reply = bytearray()
        self.closed = asyncio.Event()
        self.last_activity = time.monotonic()

    async def read(self) -> None:
        try:
            while data := await self.loop.sock_recv(self.sock, 1 << 16):
                self.reply += data
                self.last_activity = time.monotonic()
        except OSError:
            pass  # a reset counts as closed
        self.closed.set()

    async def write(self, pieces: list[Piece], eof: bool) -> None:
        try:
            for data, pause in pieces:
                if self.closed.is_set():
                    return
                await self.loop.sock_sendall(self.sock, data)
                if pause:
                    await asyncio.sleep(pause)
            if eof:
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer closed while we were sending
        self.last_activity = time.monotonic()

    async def wait_quiet(self, quiet: float) -> None:
        while not self.closed.is_set():
            left = self.last_activity + quiet - time.monotonic()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self.closed.wait(), left)
            except asyncio.TimeoutError:
                pass


async def deliver(
    address: tuple[str, int], case: Case, pieces: list[Piece], quiet: float
) -> Outcome:
    """Send the pieces, wait until the peer closes or is quiet, and report."""
    own = b"%012d" % next(NUMBERS)
    if "unique" in case.tags:
        pieces = with_number(pieces, own)
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = None
    try:
        await asyncio.wait_for(loop.sock_connect(sock, address), DEADLINE)
        exchange = Exchange(sock)
        reader = asyncio.create_task(exchange.read())
        try:
            await asyncio.wait_for(exchange.write(pieces, case.eof), DEADLINE)
        except asyncio.TimeoutError:
            pass  # the peer stopped reading; what it replied still counts
        await exchange.wait_quiet(quiet)
        reply = bytes(exchange.reply)
        if "unique" in case.tags:
            reply = reply.replace(own, corpus.PLACEHOLDER)
        return Outcome(case.normalize(reply), exchange.closed.is_set())
    finally:
        if reader:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        sock.close()
