"""A minimal Redis client: one connection, one command at a time or a batch, and the slot of a key."""

import socket


class ErrorReply(Exception):
    """The server answered with an error."""


class Connection:
    """A blocking connection; every read is bounded by the timeout."""

    def __init__(self, port: int, timeout: float = 5.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exception) -> None:
        self._reader.close()
        self.socket.close()

    def command(self, *arguments: str | bytes):
        self.socket.sendall(encode(*arguments))
        return self.read_reply()

    def read_reply(self):
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise ErrorReply(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read_reply() for _ in range(int(rest))]
        raise ConnectionError(f"unexpected reply {line[:40]!r}")

    def store_all(self, keys: list[bytes], value: bytes) -> None:
        """SETs the value at every key, in batches of about a megabyte."""
        batch = max(1, min(1000, (1 << 20) // len(value)))
        for start in range(0, len(keys), batch):
            part = keys[start : start + batch]
            self.socket.sendall(b"".join(encode(b"SET", key, value) for key in part))
            for _ in part:
                self.read_reply()


def encode(*arguments: str | bytes) -> bytes:
    parts = [argument if isinstance(argument, bytes) else argument.encode() for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def slot_of(key: bytes) -> int:
    """The cluster slot of a key without a hash tag: CRC16 (XMODEM) modulo 16384."""
    crc = 0
    for byte in key:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc % 16384
