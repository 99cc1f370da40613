"""Replies as the bytes that came, and as trees that normalisers can change and turn back."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

HOST = "127.0.0.1"
REPLY_SECONDS = 2.0
CLOSED = b"(closed)"
NO_REPLY = b"(no reply)"
PAIRED = b"%|"
NESTED = b"*~>%|"
SIZED = b"$=!"


class NotAReply(Exception):
    """Bytes that no reply begins with."""


class Connection:
    """Sends requests and reads replies whole. Once it is closed, or was silent for too long, each
    reply reads as CLOSED or NO_REPLY."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), REPLY_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.ended: bytes | None = None

    def send(self, request: bytes) -> None:
        if self.ended:
            return
        try:
            self.socket.sendall(request)
        except OSError:
            # What was answered before the end can still be read.
            pass

    def reply(self) -> bytes:
        if self.ended:
            return self.ended
        parts: list[bytes] = []
        try:
            self._read(parts)
        except TimeoutError:
            self.ended = NO_REPLY
            return self.ended + b"".join(parts)
        except OSError:
            self.ended = CLOSED
            return self.ended + b"".join(parts)
        return b"".join(parts)

    def close(self) -> None:
        self.stream.close()
        self.socket.close()
        self.ended = CLOSED

    def _read(self, parts: list[bytes]) -> None:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            parts.append(line)
            raise ConnectionError
        parts.append(line)
        kind, rest = line[:1], line[1:-2]
        if rest == b"-1":
            return
        if kind in SIZED:
            size = int(rest) + 2
            data = self.stream.read(size)
            parts.append(data)
            if len(data) != size:
                raise ConnectionError
        elif kind in NESTED:
            for _ in range(int(rest) * (2 if kind in PAIRED else 1)):
                self._read(parts)
        if kind == b"|":
            self._read(parts)


def request(words: list[bytes]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
    return b"".join(parts)


@dataclass
class Tree:
    """One reply. `items` of a map are its keys and values in turn; null has neither."""

    kind: bytes
    text: bytes | None = None
    items: list[Tree] = field(default_factory=list)

    @property
    def is_null(self) -> bool:
        return self.kind == b"_" or self.text == b"-1"

    def encoded(self) -> bytes:
        if self.kind in SIZED and not self.is_null:
            return b"%s%d\r\n%s\r\n" % (self.kind, len(self.text or b""), self.text or b"")
        if self.kind in NESTED and not self.is_null:
            count = len(self.items) // (2 if self.kind in PAIRED else 1)
            return b"%s%d\r\n" % (self.kind, count) + b"".join(i.encoded() for i in self.items)
        return self.kind + (self.text or b"") + b"\r\n"


def parse(reply: bytes) -> Tree:
    """The tree of one whole reply."""
    tree, end = _parse(reply, 0)
    if end != len(reply):
        raise NotAReply(reply[end:])
    return tree


def _parse(reply: bytes, at: int) -> tuple[Tree, int]:
    end = reply.find(b"\r\n", at)
    if end < 0:
        raise NotAReply(reply[at:])
    kind, rest = reply[at : at + 1], reply[at + 1 : end]
    at = end + 2
    if rest == b"-1" and kind in SIZED + NESTED:
        return Tree(kind, rest), at
    if kind in SIZED:
        end = at + int(rest)
        return Tree(kind, reply[at:end]), end + 2
    if kind not in NESTED:
        return Tree(kind, rest), at
    tree = Tree(kind)
    for _ in range(int(rest) * (2 if kind in PAIRED else 1)):
        item, at = _parse(reply, at)
        tree.items.append(item)
    return tree, at
