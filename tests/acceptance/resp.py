"""A plain RESP2 connection that sends what it is told and reads every reply whole."""

import socket

from harness import HOST, Failed

READ_BYTES = 1 << 20


def command(*words: bytes | str | int) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts += [b"$%d\r\n" % len(data), data, b"\r\n"]
    return b"".join(parts)


class Connection:
    """Errors are returned as `Error`, so that a check can compare them."""

    def __init__(self, port: int, seconds: float = 60) -> None:
        self.socket = socket.create_connection((HOST, port), seconds)
        self.reader = self.socket.makefile("rb", READ_BYTES)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exception) -> None:
        self.reader.close()
        self.socket.close()

    def ask(self, *words: bytes | str | int):
        self.send(command(*words))
        return self.reply()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise Failed(f"the connection ended with {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Error(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.bulk(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise Failed(f"no reply begins with {line[:80]!r}")

    def bulk(self, length: int) -> bytes:
        data = self.reader.read(length + 2)
        if len(data) != length + 2 or data[-2:] != b"\r\n":
            raise Failed(f"a value of {length} bytes ended after {len(data)}")
        return data[:-2]


class Error(str):
    """An error reply."""
