#!/usr/bin/env python3
"""End-to-end checks with redis-py, in RESP2 and RESP3, through one address."""

from __future__ import annotations

import os
import sys
import threading
import time

sys.dont_write_bytecode = True

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checks import Checks, equal, parse_address
from connections import counted_connection
from mixed import OK, Mixed

CONNECTIONS = 50
PIPELINE = 1000
ALL_BYTES = bytes(range(256))


class Suite:
    """The checks with one protocol version; every key starts with a prefix of this run."""

    def __init__(self, address: tuple[str, int], protocol: int) -> None:
        self.host, self.port = address
        self.protocol = protocol
        self.prefix = f"py{protocol}:{os.getpid()}"
        self.counted = counted_connection()
        self.redis = self.connect(self.counted)

    def connect(self, connection_class=redis.Connection) -> redis.Redis:
        """A client that does not hide a lost connection behind a retry."""
        pool = redis.ConnectionPool(
            connection_class, host=self.host, port=self.port, protocol=self.protocol,
            retry=Retry(NoBackoff(), 0),
        )
        return redis.Redis(connection_pool=pool)

    def key(self, name) -> str:
        return f"{self.prefix}:{name}"

    def expect_error(self, part: str, *command) -> None:
        try:
            reply = self.redis.execute_command(*command)
        except redis.ResponseError as error:
            if part not in str(error):
                raise AssertionError(f"error {error}, expected {part}") from None
        else:
            raise AssertionError(f"{command[0]}: got {reply!r}, expected the error {part}")

    def defaults(self) -> None:
        client = redis.Redis(self.host, self.port)
        equal(client.ping(), True)
        equal(client.set(self.key("default"), "1"), True)
        equal(client.get(self.key("default")), b"1")
        client.close()

    def protocol_version(self) -> None:
        fields = self.redis.execute_command("HELLO")
        if isinstance(fields, list):
            fields = dict(zip(fields[::2], fields[1::2]))
        equal(fields[b"proto"], self.protocol)

    def native_types(self) -> None:
        """What the parser itself makes of the replies, before redis-py converts them."""
        resp3 = self.protocol == 3
        connection = redis.Connection(self.host, self.port, protocol=self.protocol)
        connection.connect()
        key = self.key("native")
        for command, resp2_reply, resp3_reply in (
            (("HSET", key + "h", "a", "1"), 1, 1),
            (("HGETALL", key + "h"), [b"a", b"1"], {b"a": b"1"}),
            (("ZADD", key + "z", "1.5", "m"), 1, 1),
            (("ZSCORE", key + "z", "m"), b"1.5", 1.5),
            (("ZRANGE", key + "z", 0, -1, "WITHSCORES"), [b"m", b"1.5"], [[b"m", 1.5]]),
            (("GET", key), None, None),
            (("MGET", key, key + "x"), [None, None], [None, None]),
            (("PING", "text"), b"text", b"text"),
            (("DEL", key + "h", key + "z"), 2, 2),
        ):
            connection.send_command(*command)
            expected = resp3_reply if resp3 else resp2_reply
            equal(connection.read_response(), expected, command[0])
        connection.disconnect()

    def strings(self) -> None:
        r, key = self.redis, self.key("string")
        equal(r.set(key, "value"), True)
        equal(r.get(key), b"value")
        equal(r.get(self.key("missing")), None)
        equal(r.append(key, "+more"), 10)
        equal(r.strlen(key), 10)
        equal(r.getrange(key, 0, 4), b"value")
        equal(r.set(key, "x", nx=True), None)
        equal(r.set(key, "y", xx=True, get=True), b"value+more")
        equal(r.getdel(key), b"y")
        equal(r.exists(key), 0)

    def binary(self) -> None:
        r = self.redis
        for number, value in enumerate((ALL_BYTES, b"\r\n", b"\0", b"$-1\r\n", b"\xff" * 999)):
            key = self.key(number).encode() + b"\0\r\n\xff" + value[:8]
            equal(r.set(key, value), True)
            equal(r.get(key), value)
            equal(r.delete(key), 1)

    def empty(self) -> None:
        r = self.redis
        equal(r.set(self.key("empty"), b""), True)
        equal(r.get(self.key("empty")), b"")
        equal(r.strlen(self.key("empty")), 0)
        equal(r.echo(b""), b"")
        equal(r.hset(self.key("empty-hash"), b"", b""), 1)
        equal(r.hgetall(self.key("empty-hash")), {b"": b""})
        equal(r.mget(self.key("empty"), self.key("missing")), [b"", None])

    def large(self) -> None:
        r, key = self.redis, self.key("large")
        value = ALL_BYTES * 4096
        equal(r.set(key, value), True)
        equal(r.strlen(key), 1 << 20)
        equal(r.get(key), value)
        equal(r.getrange(key, 1000000, 1000009), value[1000000:1000010])
        equal(r.echo(value), value)

    def pipeline(self, rounds: int) -> None:
        mixed = Mixed(self.key("mixed"), seed=self.protocol * 100)
        for _ in range(rounds):
            pipe = self.redis.pipeline(transaction=False)
            expected = []
            for _ in range(PIPELINE):
                command, reply = mixed.command()
                pipe.execute_command(*command)
                expected.append((command, reply))
            replies = pipe.execute(raise_on_error=False)
            equal(len(replies), PIPELINE, "number of replies")
            for number, (got, (command, reply)) in enumerate(zip(replies, expected)):
                got = OK if got is True else got
                equal(got, reply, f"reply {number}, {command[0]}")
        self.redis.delete(*mixed.keys())

    def pipeline_errors(self) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for number in range(50):
            key = self.key(f"pe{number}")
            pipe.set(key, number)
            pipe.lpush(key, "x")
            pipe.get(key)
            pipe.execute_command("NOSUCHCOMMAND", key)
        replies = pipe.execute(raise_on_error=False)
        for number in range(50):
            done, wrong, value, unknown = replies[number * 4 : number * 4 + 4]
            equal((done, value), (True, b"%d" % number))
            equal(str(wrong).startswith("WRONGTYPE"), True, f"LPUSH said {wrong!r}")
            equal("unknown command" in str(unknown), True, f"NOSUCHCOMMAND said {unknown!r}")

    def pipeline_large(self) -> None:
        values = [bytes([65 + number]) * (number * 20000) for number in range(20)]
        pipe = self.redis.pipeline(transaction=False)
        for number, value in enumerate(values):
            pipe.set(self.key(f"pl{number}"), value)
        for number in range(20):
            pipe.get(self.key(f"pl{number}"))
        equal(pipe.execute(), [True] * 20 + values)

    def many_keys(self) -> None:
        r = self.redis
        pairs = {self.key(f"many{n}"): b"value %d" % n for n in range(300)}
        keys = list(pairs)
        equal(r.mset(pairs), True)
        equal(r.mget(keys), list(pairs.values()))
        equal(r.mget(keys[5], self.key("missing"), keys[5]), [b"value 5", None, b"value 5"])
        equal(r.exists(*keys, self.key("missing"), keys[0]), 301)
        equal(r.touch(*keys, self.key("missing")), 300)
        equal(r.delete(*keys[:100], self.key("missing")), 100)
        equal(r.unlink(*keys[50:200]), 100)
        equal(r.exists(*keys), 100)
        equal(r.mget(keys), [None] * 200 + list(pairs.values())[200:])
        equal(r.delete(*keys), 100)

    def hashes(self) -> None:
        r, key = self.redis, self.key("hash")
        equal(r.hset(key, mapping={"a": "1", "b": "2", "c": ""}), 3)
        equal(r.hget(key, "b"), b"2")
        equal(r.hmget(key, "a", "z"), [b"1", None])
        equal(r.hincrby(key, "a", 41), 42)
        equal(r.hgetall(key), {b"a": b"42", b"b": b"2", b"c": b""})
        equal(sorted(r.hkeys(key)), [b"a", b"b", b"c"])
        equal(r.hdel(key, "a", "z"), 1)
        equal((r.hlen(key), r.hexists(key, "a")), (2, False))
        equal(dict(r.hscan_iter(key)), {b"b": b"2", b"c": b""})

    def lists(self) -> None:
        r, key = self.redis, self.key("list")
        equal(r.rpush(key, "b", "c", "d"), 3)
        equal(r.lpush(key, "a"), 4)
        equal(r.lrange(key, 0, -1), [b"a", b"b", b"c", b"d"])
        equal((r.lindex(key, -1), r.llen(key)), (b"d", 4))
        equal(r.lset(key, 1, "B"), True)
        equal((r.lpop(key), r.rpop(key, 2)), (b"a", [b"d", b"c"]))
        equal(r.linsert(key, "BEFORE", "B", "A"), 2)
        equal(r.ltrim(key, 1, -1), True)
        equal(r.lrange(key, 0, -1), [b"B"])

    def sets(self) -> None:
        r, key = self.redis, self.key("set")
        equal(r.sadd(key, "a", "b", "c", "a"), 3)
        equal(set(r.smembers(key)), {b"a", b"b", b"c"})
        equal(bool(r.sismember(key, "b")), True)
        equal(r.srem(key, "b", "z"), 1)
        equal(r.scard(key), 2)
        equal(r.spop(key) in (b"a", b"c"), True, "SPOP")
        equal(r.scard(key), 1)

    def sorted_sets(self) -> None:
        r, key = self.redis, self.key("zset")
        equal(r.zadd(key, {"a": 1, "b": 2.5, "c": float("inf")}), 3)
        equal((r.zscore(key, "b"), r.zscore(key, "z")), (2.5, None))
        equal(r.zrange(key, 0, -1), [b"a", b"b", b"c"])
        pairs = [tuple(pair) for pair in r.zrange(key, 0, 1, withscores=True)]
        equal(pairs, [(b"a", 1.0), (b"b", 2.5)])
        equal(r.zincrby(key, 10, "a"), 11.0)
        equal((r.zrank(key, "a"), r.zcard(key), r.zrem(key, "c")), (1, 3, 1))
        equal(r.zrangebyscore(key, 2, 5), [b"b"])

    def expiry(self) -> None:
        r, key = self.redis, self.key("expiry")
        equal((r.set(key, "v", ex=100), r.ttl(key)), (True, 100))
        equal((r.persist(key), r.ttl(key)), (True, -1))
        equal((r.expire(key, 50), 49 <= r.ttl(key) <= 50), (True, True))
        equal((r.ttl(self.key("missing")), r.expire(self.key("missing"), 1)), (-2, False))
        equal(r.pexpire(key, 80), True)
        time.sleep(0.2)
        equal((r.get(key), r.exists(key)), (None, 0), "after expiry")

    def errors(self) -> None:
        r, key = self.redis, self.key("errors")
        r.set(key, "text")
        self.expect_error("WRONGTYPE", "LPUSH", key, "x")
        self.expect_error("WRONGTYPE", "HGETALL", key)
        self.expect_error("not an integer", "INCR", key)
        self.expect_error("wrong number of arguments for 'get' command", "GET")
        self.expect_error("unknown command 'NOSUCH'", "NOSUCH", key)
        self.expect_error("unknown subcommand", "CLIENT", "NOSUCH")
        equal(r.get(key), b"text", "after errors")

    def counters(self) -> None:
        r, key = self.redis, self.key("counter")
        for number in range(1, 101):
            equal(r.incr(key), number)
        equal((r.incrby(key, 900), r.decr(key), r.decrby(key, 99)), (1000, 999, 900))
        equal(r.incrbyfloat(key, 0.5), 900.5)

    def connection_commands(self) -> None:
        r = self.connect()
        name = f"checks-{self.protocol}"
        with r.client() as one:
            equal(one.client_getname(), None)
            equal(one.client_setname(name), True)
            equal(one.client_getname() in (name, name.encode()), True, "CLIENT GETNAME")
            equal(one.client_id() > 0, True, "CLIENT ID")
            equal(one.client_id(), one.client_id(), "CLIENT ID twice")
            equal(one.select(0), True)
            equal(one.ping(), True)
            equal(one.echo("hello"), b"hello")
        r.close()

    def quit(self) -> None:
        connection = redis.Connection(self.host, self.port, protocol=self.protocol)
        connection.connect()
        connection.send_command("QUIT")
        equal(connection.read_response(), b"OK")
        try:
            reply = connection.read_response()
        except redis.ConnectionError:
            pass
        else:
            raise AssertionError(f"after QUIT came {reply!r}")
        equal(self.connect().ping(), True, "a new connection after QUIT")

    def concurrent(self) -> None:
        problems: list[str] = []
        barrier = threading.Barrier(CONNECTIONS)
        workers = [
            threading.Thread(target=self.worker, args=(number, barrier, problems))
            for number in range(CONNECTIONS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        equal(problems, [], "problems of the connections")

    def worker(self, number: int, barrier: threading.Barrier, problems: list[str]) -> None:
        try:
            client = self.connect()
            client.ping()
            barrier.wait(30)
            mine = {self.key(f"own{number}:{k}"): f"{number}:{k}".encode() for k in range(20)}
            for key, value in mine.items():
                equal(client.set(key, value), True)
            for key, value in mine.items():
                equal(client.get(key), value, key)
            equal(client.mget(list(mine)), list(mine.values()))
            equal(client.echo(f"me {number}"), b"me %d" % number)
            equal(client.delete(*mine), len(mine))
            client.close()
        except Exception as error:
            problems.append(f"{number}: {type(error).__name__}: {error}")

    def kept(self) -> None:
        equal(self.counted.made, 1, "connections made for the checks before")

    def clean_up(self) -> None:
        names = "default string empty empty-hash large hash list set zset expiry errors counter"
        made = names.split() + [f"pe{n}" for n in range(50)] + [f"pl{n}" for n in range(20)]
        self.redis.delete(*(self.key(name) for name in made))
        self.redis.close()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: redis_py.py HOST:PORT", file=sys.stderr)
        return 2
    checks = Checks("redis-py")
    for protocol in (2, 3):
        checks.title = f"redis-py {redis.__version__} RESP{protocol}"
        suite = Suite(parse_address(arguments[0]), protocol)
        for name, function in (
            ("connect with defaults", suite.defaults),
            ("protocol version", suite.protocol_version),
            ("native reply types", suite.native_types),
            ("strings", suite.strings),
            ("binary keys and values", suite.binary),
            ("empty values", suite.empty),
            ("1 MB value", suite.large),
            ("pipelines of 1,000 mixed commands", lambda: suite.pipeline(5)),
            ("errors in a pipeline", suite.pipeline_errors),
            ("large values in a pipeline", suite.pipeline_large),
            ("MSET MGET EXISTS TOUCH DEL UNLINK", suite.many_keys),
            ("hashes", suite.hashes),
            ("lists", suite.lists),
            ("sets", suite.sets),
            ("sorted sets", suite.sorted_sets),
            ("expiry", suite.expiry),
            ("error replies", suite.errors),
            ("counters", suite.counters),
            ("CLIENT SELECT PING ECHO", suite.connection_commands),
            ("QUIT", suite.quit),
            ("50 connections", suite.concurrent),
            ("clean up", suite.clean_up),
            ("one connection for all checks", suite.kept),
        ):
            checks.run(name, function)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
