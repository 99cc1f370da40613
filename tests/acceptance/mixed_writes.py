"""Random writes of all types that a node has, and keys in every encoding; the same for the same
seed."""

import random
import threading
from collections.abc import Callable

from harness import expect
from resp import Connection, Error, command

BATCH = 100
KEYS_OF_A_TYPE = 12
# Keys live for a moment or for the rest of the run: nothing ends while two nodes are compared.
SHORT_MS = (1, 1500)
LONG_SECONDS = (5_000, 50_000)


class Writes:
    """Requests whose keys all have one tag, so that one node can execute them."""

    def __init__(self, seed: int, tag: str) -> None:
        self.random = random.Random(seed)
        self.tag = tag

    def request(self) -> list[tuple]:
        """One request, or a transaction of some."""
        if self.random.random() < 0.05:
            count = self.random.randint(1, 6)
            return [("MULTI",), *[self.one() for _ in range(count)], ("EXEC",)]
        return [self.one()]

    def one(self) -> tuple:
        return self.random.choice(PATTERNS)(self)

    def key(self, kind: str) -> str:
        return f"{{{self.tag}}}{kind}{self.random.randrange(KEYS_OF_A_TYPE)}"

    def any_key(self) -> str:
        return self.key(self.random.choice("snflmhig"))

    def member(self) -> str:
        number = self.random.randrange(self.random.choice((8, 100, 700)))
        return self.random.choice((f"{number}", f"m{number}", f"m{number}" + "y" * 70))

    def value(self) -> bytes:
        size = self.random.choice((0, 1, 10, 44, 45, 100, 100, 2000))
        kind = self.random.randrange(3)
        if kind == 0:
            return str(self.random.randint(-(1 << 40), 1 << 40)).encode()
        return self.random.randbytes(size) if kind == 1 else b"z" * size

    def members(self) -> list[str]:
        return [self.member() for _ in range(self.random.choice((1, 2, 3, 30)))]

    def small(self) -> int:
        return self.random.randint(-9, 9)

    def number(self) -> int:
        return self.random.randint(-1000, 1000)

    def double(self) -> float:
        return self.random.choice((self.number(), self.random.uniform(-50, 50), 0.1, 3e10))

    def long(self) -> int:
        return self.random.randint(*LONG_SECONDS)

    def short(self) -> int:
        return self.random.randint(*SHORT_MS)

    def pairs(self, first: Callable, second: Callable) -> list:
        return [word for _ in range(self.random.choice((1, 2, 20))) for word in (first(), second())]


# s: strings, n: integers, f: floating point, l and m: lists, h: hashes, i: sets, g: sorted sets,
# t: strings that expire soon.
PATTERNS: tuple[Callable[[Writes], tuple], ...] = (
    lambda w: ("SET", w.key("s"), w.value()),
    lambda w: ("SET", w.key("t"), w.value(), "PX", w.short()),
    lambda w: ("SET", w.key("s"), w.value(), "EX", w.long()),
    lambda w: ("SET", w.key("s"), w.value(), w.random.choice(("NX", "XX", "KEEPTTL", "GET"))),
    lambda w: ("SETEX", w.key("s"), w.long(), w.value()),
    lambda w: ("PSETEX", w.key("t"), w.short(), w.value()),
    lambda w: ("SETNX", w.key("s"), w.value()),
    lambda w: ("GETSET", w.key("s"), w.value()),
    lambda w: ("GETDEL", w.key("s")),
    lambda w: ("GETEX", w.key("s"), *w.random.choice((("PERSIST",), ("EX", w.long())))),
    lambda w: ("MSET", w.key("s"), w.value(), w.key("s"), w.value()),
    lambda w: ("MSETNX", w.key("s"), w.value(), w.key("t"), w.value()),
    lambda w: ("APPEND", w.key("s"), w.value()),
    lambda w: ("SETRANGE", w.key("s"), w.random.randrange(200), w.value()),
    lambda w: ("INCR", w.key("n")),
    lambda w: ("DECRBY", w.key("n"), w.number()),
    lambda w: ("INCRBYFLOAT", w.key("f"), w.number() / 8),
    lambda w: ("LPUSH", w.key("l"), *w.members()),
    lambda w: ("RPUSH", w.key("l"), *w.members(), w.value()),
    lambda w: ("RPUSHX", w.key("l"), w.value()),
    lambda w: ("LPOP", w.key("l"), w.random.randrange(5)),
    lambda w: ("RPOP", w.key("m")),
    lambda w: ("LSET", w.key("l"), 0, w.value()),
    lambda w: ("LREM", w.key("l"), w.small(), w.member()),
    lambda w: ("LTRIM", w.key("l"), w.small(), w.random.randint(-3, 300)),
    lambda w: ("LINSERT", w.key("l"), "BEFORE", w.member(), w.value()),
    lambda w: ("LMOVE", w.key("l"), w.key("m"), "LEFT", w.random.choice(("LEFT", "RIGHT"))),
    lambda w: ("RPOPLPUSH", w.key("m"), w.key("l")),
    lambda w: ("LMPOP", 2, w.key("l"), w.key("m"), "LEFT", "COUNT", 2),
    lambda w: ("HSET", w.key("h"), *w.pairs(w.member, w.value)),
    lambda w: ("HSETNX", w.key("h"), w.member(), w.value()),
    lambda w: ("HDEL", w.key("h"), *w.members()),
    lambda w: ("HINCRBY", w.key("h"), f"count{w.small()}", w.number()),
    lambda w: ("HINCRBYFLOAT", w.key("h"), f"float{w.small()}", w.number() / 4),
    lambda w: ("SADD", w.key("i"), *w.members()),
    lambda w: ("SADD", w.key("i"), w.number(), w.number()),
    lambda w: ("SREM", w.key("i"), *w.members()),
    lambda w: ("SPOP", w.key("i")),
    lambda w: ("SPOP", w.key("i"), w.random.choice((1, 3, 2000))),
    lambda w: ("SMOVE", w.key("i"), w.key("i"), w.member()),
    lambda w: ("SUNIONSTORE", w.key("i"), w.key("i"), w.key("i")),
    lambda w: ("SDIFFSTORE", w.key("i"), w.key("i"), w.key("i")),
    lambda w: ("SINTERSTORE", w.key("i"), w.key("i"), w.key("i")),
    lambda w: ("ZADD", w.key("g"), *w.pairs(w.double, w.member)),
    lambda w: ("ZADD", w.key("g"), w.random.choice(("NX", "XX", "GT")), w.double(), w.member()),
    lambda w: ("ZINCRBY", w.key("g"), w.number() / 4, w.member()),
    lambda w: ("ZREM", w.key("g"), *w.members()),
    lambda w: ("ZPOPMIN", w.key("g"), w.random.randrange(4)),
    lambda w: ("ZPOPMAX", w.key("g")),
    lambda w: ("ZREMRANGEBYRANK", w.key("g"), 0, w.random.randrange(3)),
    lambda w: ("ZREMRANGEBYSCORE", w.key("g"), w.number(), w.number()),
    lambda w: ("ZUNIONSTORE", w.key("g"), 2, w.key("g"), w.key("i")),
    lambda w: ("ZRANGESTORE", w.key("g"), w.key("g"), 0, 50),
    lambda w: ("EXPIRE", w.any_key(), w.long()),
    lambda w: ("EXPIRE", w.any_key(), w.long(), w.random.choice(("NX", "XX", "GT", "LT"))),
    lambda w: ("PEXPIRE", w.key("t"), w.short()),
    lambda w: ("PERSIST", w.any_key()),
    lambda w: ("DEL", w.any_key()),
    lambda w: ("UNLINK", w.any_key(), w.key("t")),
    lambda w: ("RENAME", w.key("s"), w.key("s")),
    lambda w: ("COPY", w.key("h"), w.key("h"), "REPLACE"),
    lambda w: ("EXPIRE", w.key("t"), -1),
)
# What such requests may answer; anything else is a fault of the node.
RIGHTLY_REFUSED = ("ERR no such key", "ERR index out of range", "ERR increment or decrement",
                   "ERR source and destination objects are the same", "ERR hash value is not")


def write(node: Connection, writes: Writes, count: int) -> int:
    """Sends requests and looks at the replies; returns how many commands went out."""
    sent = 0
    while sent < count:
        lines = [words for _ in range(BATCH) for words in writes.request()]
        node.send(b"".join(command(*words) for words in lines))
        for words in lines:
            check(words, node.reply())
        sent += len(lines)
    return sent


def check(words: tuple, reply) -> None:
    for one in reply if words == ("EXEC",) and isinstance(reply, list) else [reply]:
        refused = isinstance(one, Error) and not one.startswith(RIGHTLY_REFUSED)
        expect(not refused, f"{one!s:.200} to {words!r:.200}")


class Writer(threading.Thread):
    """Writes until it is told to end."""

    def __init__(self, port: int, seed: int, tag: str = "live") -> None:
        super().__init__(daemon=True)
        self.connection = Connection(port)
        self.writes = Writes(seed, tag)
        self.over = threading.Event()
        self.sent = 0
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            while not self.over.wait(0.005):
                self.sent += write(self.connection, self.writes, BATCH)
        except Exception as error:  # It is raised where the thread is joined.
            self.problem = error

    def __enter__(self) -> "Writer":
        self.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.over.set()
        self.join(30)
        if self.problem:
            raise self.problem


def every_encoding(tag: str) -> list[tuple]:
    """Requests that make keys in each encoding that redis-server 7.0 has for these types."""
    def key(name: str) -> str:
        return f"{{{tag}}}{name}"

    large = [f"element:{number}" for number in range(2000)]
    return [
        ("SET", key("int"), 12345), ("SET", key("embstr"), "short"), ("SET", key("raw"), "r" * 300),
        ("SET", key("lzf"), "abc" * 5000), ("SET", key("bytes"), bytes(range(256)) * 20),
        ("SET", key("empty"), ""), ("SET", key("expires"), "x", "EX", 40_000),
        ("RPUSH", key("list"), *large[:10], 1, -70_000, 1 << 40), ("RPUSH", key("lists"), *large),
        ("RPUSH", key("plain"), "p" * 20_000, "small", "q" * 20_000),
        ("SADD", key("intset"), 1, 2, 3), ("SADD", key("intset32"), *range(70_000, 70_400)),
        ("SADD", key("intset64"), 1, 1 << 40), ("SADD", key("set"), *large),
        ("HSET", key("hash"), "a", 1, "b", "two"), ("HSET", key("hashes"), *large),
        ("HSET", key("wide"), "field", "w" * 100), ("ZADD", key("zset"), 1, "a", 2.5, "b"),
        ("ZADD", key("zsets"), *[word for number, name in enumerate(large)
                                 for word in (number / 3, name)]),
        ("ZADD", key("infinite"), "-inf", "low", "+inf", "high", -0.0, "zero"),
    ]
