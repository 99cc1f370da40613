#!/usr/bin/env python3
"""End-to-end checks with redis-cli and with hand-written inline requests, through one address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True

from checks import Checks, equal, parse_address

SECONDS = 30


class Suite:
    """The checks; every key starts with a prefix of this run."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.prefix = f"cli:{os.getpid()}"

    def key(self, name) -> str:
        return f"{self.prefix}:{name}"

    def raw(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
        host, port = self.address
        command = ["redis-cli", "-h", host, "-p", str(port), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=SECONDS, check=False
        )

    def cli(self, *arguments: str, stdin: bytes = b"") -> str:
        """What redis-cli prints in its form for people."""
        return self.raw("--no-raw", *arguments, stdin=stdin).stdout.decode().rstrip("\n")

    def version(self) -> str:
        done = subprocess.run(["redis-cli", "--version"], capture_output=True, check=True)
        return done.stdout.decode().split()[1]

    def basics(self) -> None:
        key = self.key("basic")
        equal(self.cli("ping"), "PONG")
        equal(self.cli("PING", "text"), '"text"')
        equal(self.cli("set", key, "value"), "OK")
        equal(self.cli("get", key), '"value"')
        equal(self.cli("get", self.key("missing")), "(nil)")
        equal(self.cli("set", key, ""), "OK")
        equal(self.cli("get", key), '""')
        equal(self.cli("del", key), "(integer) 1")
        equal(self.cli("echo", "a b"), '"a b"')
        equal(self.cli("select", "0"), "OK")

    def many(self) -> None:
        keys = [self.key(n) for n in range(5)]
        pairs = [part for n, key in enumerate(keys) for part in (key, f"v{n}")]
        equal(self.cli("mset", *pairs), "OK")
        lines = [f'{n + 1}) "v{n}"' for n in range(5)] + ["6) (nil)"]
        equal(self.cli("mget", *keys, self.key("missing")), "\n".join(lines))
        equal(self.cli("exists", *keys, keys[0]), "(integer) 6")
        equal(self.cli("touch", *keys), "(integer) 5")
        equal(self.cli("unlink", *keys[:2]), "(integer) 2")
        equal(self.cli("del", *keys), "(integer) 3")

    def resp3(self) -> None:
        hash_key, zset = self.key("h3"), self.key("z3")
        equal(self.cli("-3", "hset", hash_key, "f", "v"), "(integer) 1")
        equal(self.cli("-3", "hgetall", hash_key), '1# "f" => "v"')
        equal(self.cli("hgetall", hash_key), '1) "f"\n2) "v"')
        equal(self.cli("-3", "zadd", zset, "1.5", "m"), "(integer) 1")
        equal(self.cli("-3", "zscore", zset, "m"), "(double) 1.5")
        equal(self.cli("-3", "get", self.key("missing")), "(nil)")
        equal(self.cli("-3", "mget", self.key("missing"), hash_key), "1) (nil)\n2) (nil)")
        equal(self.cli("-3", "del", hash_key, zset), "(integer) 2")

    def errors(self) -> None:
        key = self.key("error")
        equal(self.cli("set", key, "text"), "OK")
        wrong = "(error) WRONGTYPE Operation against a key holding the wrong kind of value"
        equal(self.cli("lpush", key, "x"), wrong)
        equal(self.cli("-3", "hgetall", key), wrong)
        equal(self.cli("get"), "(error) ERR wrong number of arguments for 'get' command")
        unknown = "(error) ERR unknown command 'nosuch', with args beginning with: 'a' "
        equal(self.cli("nosuch", "a"), unknown)
        equal(self.raw("-e", "incr", key).returncode, 1, "status of redis-cli -e")
        equal(self.cli("del", key), "(integer) 1")

    def session(self) -> None:
        """Several commands from standard input share a connection."""
        key = self.key("session")
        lines = [
            "client setname from-cli", "client getname", f"incr {key}", f"incrby {key} 41",
            f'append {key} " and \\x41\\n"', f"get {key}", f"del {key}", "client getname",
        ]
        expected = [
            "OK", '"from-cli"', "(integer) 1", "(integer) 42", "(integer) 9",
            '"42 and A\\n"', "(integer) 1", '"from-cli"',
        ]
        got = self.cli(stdin="\n".join(lines).encode() + b"\n")
        equal(got.split("\n"), expected)

    def repeat(self) -> None:
        key = self.key("repeat")
        got = self.cli("-r", "50", "incr", key)
        equal(got, "\n".join(f"(integer) {n}" for n in range(1, 51)))
        equal(self.cli("del", key), "(integer) 1")

    def binary(self) -> None:
        for number, value in enumerate((bytes(range(256)), os.urandom(1 << 20))):
            key = self.key(f"binary{number}")
            equal(self.cli("-x", "set", key, stdin=value), "OK")
            equal(self.cli("strlen", key), f"(integer) {len(value)}")
            equal(self.raw("--raw", "get", key).stdout, value + b"\n", "binary value")
            equal(self.cli("del", key), "(integer) 1")

    def pipe_mode(self) -> None:
        keys = [self.key(f"pipe{n}") for n in range(5000)]
        requests = b"".join(resp("SET", key, f"v {key}") for key in keys)
        requests += resp("LPUSH", keys[0], "x")
        output = self.raw("--pipe", stdin=requests).stdout.decode()
        equal("errors: 1, replies: 5001" in output, True, f"redis-cli --pipe said {output!r}")
        got = self.raw("mget", *keys).stdout.decode().split("\n")[:-1]
        equal(got, [f"v {key}" for key in keys])
        equal(self.cli("unlink", *keys), "(integer) 5000")

    def collections(self) -> None:
        key = self.key("list")
        equal(self.cli("rpush", key, "a", "b", "c"), "(integer) 3")
        equal(self.cli("lrange", key, "0", "-1"), '1) "a"\n2) "b"\n3) "c"')
        equal(self.cli("type", key), "list")
        equal(self.cli("expire", key, "100"), "(integer) 1")
        equal(self.cli("ttl", key), "(integer) 100")
        equal(self.cli("persist", key), "(integer) 1")
        equal(self.cli("lrange", self.key("missing"), "0", "-1"), "(empty array)")
        equal(self.cli("del", key), "(integer) 1")

    def talk(self, request: bytes, reply: bytes, closes: bool = False) -> None:
        """Send bytes on a fresh connection; the reply must be exactly as given."""
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(request)
            if closes:
                got = b"".join(iter(lambda: connection.recv(65536), b""))
                equal(got, reply, f"reply to {request!r}")
                return
            connection.sendall(resp("ECHO", "the end"))
            got, end = b"", b"$7\r\nthe end\r\n"
            while not got.endswith(end):
                data = connection.recv(65536)
                equal(bool(data), True, f"still open after {request!r}")
                got += data
            equal(got[: -len(end)], reply, f"reply to {request!r}")

    def inline(self) -> None:
        key = self.key("inline").encode()
        self.talk(b"PING\r\n", b"+PONG\r\n")
        self.talk(b"ping\n", b"+PONG\r\n")
        set_and_get = b"SET " + key + b' "a \\x41\\n"\r\nGET ' + key + b"\r\n"
        self.talk(set_and_get, b"+OK\r\n$4\r\na A\n\r\n")
        self.talk(b"\r\n  \r\nECHO 'single quotes'\r\n", b"$13\r\nsingle quotes\r\n")
        self.talk(b"PING\r\n" + resp("PING", "x") + b"DEL " + key + b"\n",
                  b"+PONG\r\n$1\r\nx\r\n:1\r\n")
        self.talk(b'ECHO "open\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n", True)

    def closing(self) -> None:
        self.talk(resp("PING") + resp("QUIT"), b"+PONG\r\n+OK\r\n", True)
        self.talk(b"QUIT\r\n", b"+OK\r\n", True)
        self.talk(b"POST / HTTP/1.1\r\n", b"", True)
        self.talk(b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n", True)

    def half_closed(self) -> None:
        """Like printf ... | nc: the sending side closes at once, replies still arrive."""
        with socket.create_connection(self.address, SECONDS) as connection:
            connection.sendall(resp("PING") * 100)
            connection.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        equal(got, b"+PONG\r\n" * 100)


def resp(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    bulks = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), bulks)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: redis_cli.py HOST:PORT", file=sys.stderr)
        return 2
    suite = Suite(parse_address(arguments[0]))
    checks = Checks(f"redis-cli {suite.version()}")
    for name, function in (
        ("PING SET GET DEL ECHO SELECT", suite.basics),
        ("MSET MGET EXISTS TOUCH UNLINK", suite.many),
        ("-3", suite.resp3),
        ("errors", suite.errors),
        ("commands from standard input", suite.session),
        ("-r 50 INCR", suite.repeat),
        ("binary and 1 MB values", suite.binary),
        ("--pipe with 5,001 requests", suite.pipe_mode),
        ("lists and expiry", suite.collections),
        ("inline requests", suite.inline),
        ("QUIT and errors close", suite.closing),
        ("half-closed connection", suite.half_closed),
    ):
        checks.run(name, function)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
