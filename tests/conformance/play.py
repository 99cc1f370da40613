"""Runs one case on both sides, step by step, and finds where their replies differ."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import wire
from normalise import normalised, normalised_block
from script import Case, Close, Command, Raw, Read, Scan, State, Wait

SCANS_MAX = 5_000
REFUSAL = b"is not supported through the proxy"
# What was refused may never send what comes later: that is not waited for as long.
AFTER_REFUSAL_SECONDS = 0.3
END = [b"PING", b"the end of the case"]
READERS = {
    b"string": [b"GET", b"KEY"],
    b"list": [b"LRANGE", b"KEY", b"0", b"-1"],
    b"set": [b"SMEMBERS", b"KEY"],
    b"hash": [b"HGETALL", b"KEY"],
    b"zset": [b"ZRANGE", b"KEY", b"0", b"-1", b"WITHSCORES"],
    b"stream": [b"XRANGE", b"KEY", b"-", b"+"],
}


@dataclass
class Difference:
    """Where the proxy does not answer as redis-server does, in a case's count of replies."""

    place: int
    words: list[bytes]
    proxy: bytes
    server: bytes

    @property
    def is_silence(self) -> bool:
        return wire.NO_REPLY in self.proxy

    @property
    def is_refusal(self) -> bool:
        return REFUSAL in self.proxy


@dataclass
class Outcome:
    """What playing a case in one protocol gave."""

    case: str
    protocol: int
    differences: list[Difference] = field(default_factory=list)
    replies: int = 0
    # Why the case itself is wrong.
    fault: str | None = None


class Pair:
    """One connection to the proxy and one to the server, which get the same."""

    def __init__(self, ports: tuple[int, int], protocol: int) -> None:
        self.sides = [wire.Connection(port) for port in ports]
        self.queued: list[list[bytes]] | None = None
        self.waiting = 0
        # The command that the next replies belong to.
        self.words: list[bytes] = []
        if protocol == 3:
            self.send(wire.request([b"HELLO", b"3"]))
            for side in self.sides:
                reply = side.reply()
                if reply[:1] != b"%":
                    raise ConnectionError(f"HELLO 3 gets {reply!r:.100}")

    def send(self, data: bytes) -> None:
        for side in self.sides:
            side.send(data)

    def replies(self, exact: bool = False) -> tuple[bytes, bytes]:
        proxy, server = (side.reply() for side in self.sides)
        if REFUSAL in proxy:
            self.sides[0].socket.settimeout(AFTER_REFUSAL_SECONDS)
        if exact:
            return proxy, server
        name = self.words[0].upper() if self.words else b""
        if name == b"EXEC" and self.queued is not None:
            queued, self.queued = self.queued, None
            return normalised_block(queued, proxy), normalised_block(queued, server)
        if name in (b"DISCARD", b"RESET") or (name == b"MULTI" and server == b"+OK\r\n"):
            self.queued = [] if name == b"MULTI" else None
        elif self.queued is not None and server == b"+QUEUED\r\n":
            self.queued.append(self.words)
        return normalised(self.words, proxy), normalised(self.words, server)

    def close(self) -> None:
        for side in self.sides:
            side.close()


class Player:
    """Plays cases on two servers; the first is the proxy."""

    def __init__(self, ports: tuple[int, int], protocol: int) -> None:
        self.ports = ports
        self.protocol = protocol

    def play(self, case: Case) -> Outcome:
        outcome = Outcome(case.name, self.protocol)
        pairs: dict[int, Pair] = {}
        try:
            for step in case.steps:
                self._step(step, pairs, outcome)
                if outcome.fault:
                    break
            if "mute" not in case.flags:
                for pair in pairs.values():
                    self._end(pair, outcome)
        except (OSError, wire.NotAReply, ValueError) as error:
            outcome.fault = f"{type(error).__name__}: {error}"
        finally:
            for pair in pairs.values():
                pair.close()
        return outcome

    def _step(self, step, pairs: dict[int, Pair], outcome: Outcome) -> None:
        if isinstance(step, Wait):
            time.sleep(step.ms / 1000)
            return
        if isinstance(step, Close):
            if pair := pairs.pop(step.connection, None):
                pair.close()
            return
        pair = pairs.get(step.connection)
        if pair is None:
            pair = pairs[step.connection] = Pair(self.ports, self.protocol)
        if isinstance(step, Command):
            self._command(pair, step, outcome)
        elif isinstance(step, Raw):
            pair.send(step.data)
            pair.words = []
            self._read(pair, step.replies, outcome)
        elif isinstance(step, Read):
            pair.waiting = max(0, pair.waiting - step.replies)
            self._read(pair, step.replies, outcome)
        elif isinstance(step, Scan):
            self._scan(pair, step.options, outcome)
        elif isinstance(step, State):
            self._state(pair, step.key, outcome)

    def _command(self, pair: Pair, step: Command, outcome: Outcome) -> None:
        pair.words = step.words
        pair.send(wire.request(step.words))
        if step.replies == 0:
            pair.waiting += 1
        self._read(pair, step.replies, outcome, step.exact)

    def _read(self, pair: Pair, count: int, outcome: Outcome, exact: bool = False) -> bytes:
        server = b""
        for _ in range(count):
            proxy, server = pair.replies(exact)
            self._note(pair, proxy, server, outcome)
            if wire.NO_REPLY in proxy:
                break
        return server

    def _note(self, pair: Pair, proxy: bytes, server: bytes, outcome: Outcome) -> None:
        outcome.replies += 1
        if proxy != server:
            place = outcome.replies
            outcome.differences.append(Difference(place, pair.words, proxy, server))
        if server.startswith(wire.NO_REPLY):
            outcome.fault = f"redis-server gives no reply to {pair.words!r:.200}"

    def _scan(self, pair: Pair, options: list[bytes], outcome: Outcome) -> None:
        pair.words = [b"SCAN", b"...", *options]
        proxy, server = (_scanned(side, options) for side in pair.sides)
        self._note(pair, proxy, server, outcome)

    def _state(self, pair: Pair, key: bytes, outcome: Outcome) -> None:
        kind = self._ask(pair, [b"TYPE", key], outcome)
        if reader := READERS.get(kind[1:-2]):
            self._ask(pair, [key if word == b"KEY" else word for word in reader], outcome)
            self._ask(pair, [b"PTTL", key], outcome)

    def _ask(self, pair: Pair, words: list[bytes], outcome: Outcome) -> bytes:
        pair.words = words
        pair.send(wire.request(words))
        return self._read(pair, 1, outcome)

    def _end(self, pair: Pair, outcome: Outcome) -> None:
        """Finds replies that are left over, unless some are still to come."""
        if not pair.waiting and not pair.sides[1].ended:
            self._ask(pair, END, outcome)


def _scanned(side: wire.Connection, options: list[bytes]) -> bytes:
    """All keys that SCAN gives, in order and each once, as an array; or the reply that was none."""
    keys: set[bytes] = set()
    cursor = b"0"
    for _ in range(SCANS_MAX):
        side.send(wire.request([b"SCAN", cursor, *options]))
        reply = side.reply()
        if not reply.startswith(b"*2\r\n"):
            return reply
        at, found = wire.parse(reply).items
        keys.update(key.text or b"" for key in found.items)
        cursor = at.text or b""
        if cursor == b"0":
            return wire.request(sorted(keys))
    return b"(no end)"
