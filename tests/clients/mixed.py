"""A stream of random commands over many keys, each with the reply it must get."""

from __future__ import annotations

import random

OK = "OK"
KEYS_PER_TYPE = 120


class Mixed:
    """Keeps a model of every key, so that the reply to each command is known beforehand."""

    def __init__(self, prefix: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.prefix = prefix
        self.strings: dict[str, bytes] = {}
        self.counters: dict[str, int] = {}
        self.lists: dict[str, list[bytes]] = {}
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.sets: dict[str, set[bytes]] = {}
        self.zsets: dict[str, dict[bytes, float]] = {}
        self.kinds = [
            self.string, self.counter, self.list, self.hash, self.set, self.zset, self.many,
        ]

    def command(self) -> tuple[list, object]:
        """The next command with its expected reply."""
        return self.random.choice(self.kinds)()

    def keys(self) -> list[str]:
        """All keys the commands may have made."""
        tables = (self.strings, self.counters, self.lists, self.hashes, self.sets, self.zsets)
        return [key for table in tables for key in table]

    def key(self, kind: str) -> str:
        return f"{self.prefix}:{kind}:{self.random.randrange(KEYS_PER_TYPE)}"

    def value(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 5, 40, 400)))

    def string(self):
        key, value = self.key("s"), self.value()
        old = self.strings.get(key)
        match self.random.randrange(6):
            case 0:
                self.strings[key] = value
                return ["SET", key, value], OK
            case 1:
                self.strings[key] = (old or b"") + value
                return ["APPEND", key, value], len(self.strings[key])
            case 2:
                return ["STRLEN", key], len(old or b"")
            case 3:
                return ["EXISTS", key], int(old is not None)
            case 4:
                return ["DEL", key], int(self.strings.pop(key, None) is not None)
            case _:
                return ["GET", key], old

    def counter(self):
        key, step = self.key("c"), self.random.randrange(-50, 50)
        if self.random.random() < 0.2:
            value = self.counters.get(key)
            return ["GET", key], None if value is None else b"%d" % value
        self.counters[key] = self.counters.get(key, 0) + step
        return ["INCRBY", key, step], self.counters[key]

    def list(self):
        key, value = self.key("l"), self.value()
        items = self.lists.setdefault(key, [])
        match self.random.randrange(6):
            case 0 | 1:
                items.append(value)
                return ["RPUSH", key, value], len(items)
            case 2:
                items.insert(0, value)
                return ["LPUSH", key, value], len(items)
            case 3:
                return ["LPOP", key], items.pop(0) if items else None
            case 4:
                return ["LLEN", key], len(items)
            case _:
                return ["LRANGE", key, 0, -1], list(items)

    def hash(self):
        key, field, value = self.key("h"), b"f%d" % self.random.randrange(5), self.value()
        fields = self.hashes.setdefault(key, {})
        match self.random.randrange(5):
            case 0 | 1:
                new = int(field not in fields)
                fields[field] = value
                return ["HSET", key, field, value], new
            case 2:
                return ["HGET", key, field], fields.get(field)
            case 3:
                return ["HDEL", key, field], int(fields.pop(field, None) is not None)
            case _:
                return ["HGETALL", key], dict(fields)

    def set(self):
        key, member = self.key("t"), b"m%d" % self.random.randrange(6)
        members = self.sets.setdefault(key, set())
        match self.random.randrange(4):
            case 0:
                new = int(member not in members)
                members.add(member)
                return ["SADD", key, member], new
            case 1:
                old = int(member in members)
                members.discard(member)
                return ["SREM", key, member], old
            case 2:
                return ["SCARD", key], len(members)
            case _:
                return ["SISMEMBER", key, member], int(member in members)

    def zset(self):
        key, member = self.key("z"), b"m%d" % self.random.randrange(6)
        members = self.zsets.setdefault(key, {})
        score = self.random.randrange(-100, 100) / 4
        match self.random.randrange(3):
            case 0:
                new = int(member not in members)
                members[member] = score
                return ["ZADD", key, score, member], new
            case 1:
                return ["ZCARD", key], len(members)
            case _:
                return ["ZSCORE", key, member], members.get(member)

    def many(self):
        keys = [self.key("s") for _ in range(self.random.randrange(1, 9))]
        match self.random.randrange(4):
            case 0:
                pairs = {key: self.value() for key in keys}
                self.strings.update(pairs)
                return ["MSET", *(part for pair in pairs.items() for part in pair)], OK
            case 1:
                return ["MGET", *keys], [self.strings.get(key) for key in keys]
            case 2:
                return ["EXISTS", *keys], sum(key in self.strings for key in keys)
            case _:
                gone = sum(self.strings.pop(key, None) is not None for key in set(keys))
                return [self.random.choice(("DEL", "UNLINK")), *keys], gone
