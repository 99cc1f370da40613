"""A light load that never stays the same, for `soak`: rates from none to some thousand requests a
second, many kinds of commands, hot keys that change, errors, clients that come and go.

Six laps in a row are alike, so that what the proxy needs in one can be compared with another. Says
at the end as JSON what the replies were.
"""

import argparse
import collections
import json
import random
import sys
import threading
import time
from collections.abc import Callable

from harness import FAILURES
from resp import Connection, Error, command

LAPS = 6
THREADS = 4
# How many connections each of them keeps, by the time in the lap.
CONNECTIONS = (2, 40)
# Of a lap: from when on which rate, in requests a second; in between it goes in a straight line.
RATES = ((0.0, 0), (0.1, 0), (0.4, 1500), (0.41, 3000), (0.5, 3000), (0.51, 6000), (0.55, 6000),
         (0.56, 800), (0.8, 800), (0.85, 0), (0.95, 1000), (1.0, 0))
TICK_SECONDS = 0.1
# One tick's requests at most, so that what a stall has left undone is not made up for.
TICK_REQUESTS_MAX = 600
PIPELINE_MAX = 40
HOT_SECONDS = 20
KEYS = 2000
KEPT_SECONDS = 60
LARGE_BYTES = 300_000
PATIENCE_SECONDS = 30
VISIT_SECONDS = 0.7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, help="always the same, without errors and visitors")
    options = parser.parse_args()
    clock = Clock(options.seconds, options.rate)
    told = Told()
    hands = [threading.Thread(target=busy, args=(options.port, clock, told,
                                                 random.Random(options.seed + number)))
             for number in range(THREADS)]
    if not options.rate:
        hands.append(threading.Thread(target=visitors, args=(options.port, clock, told,
                                                             random.Random(options.seed - 1))))
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    print(json.dumps(told.summary()))
    return 0


class Clock:
    def __init__(self, seconds: float, steady_rate: int | None) -> None:
        self.started = time.monotonic()
        self.seconds = seconds
        self.steady_rate = steady_rate

    def over(self) -> bool:
        return time.monotonic() - self.started >= self.seconds

    def in_lap(self) -> float:
        """0 at the beginning of a lap, 1 at its end."""
        return (time.monotonic() - self.started) / self.seconds * LAPS % 1.0

    def rate(self) -> float:
        if self.steady_rate:
            return self.steady_rate
        now = self.in_lap()
        for (since, low), (until, high) in zip(RATES, RATES[1:]):
            if now < until:
                return low + (high - low) * (now - since) / (until - since)
        return 0.0

    def connections(self) -> int:
        low, high = CONNECTIONS
        return low + round((high - low) * (1 - abs(2 * self.in_lap() - 1)))

    def hot(self) -> int:
        """Which key is asked for most just now."""
        return int((time.monotonic() - self.started) / HOT_SECONDS)


class Told:
    """What the replies were, of all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()
        self.errors: collections.Counter[str] = collections.Counter()
        self.longest = 0.0

    def add(self, name: str, count: int = 1) -> None:
        with self.lock:
            self.counts[name] += count

    def add_reply(self, reply: object, provoked: bool) -> None:
        with self.lock:
            self.counts["requests"] += 1
            if isinstance(reply, Error):
                self.counts["errors_provoked" if provoked else "errors_other"] += 1
                if not provoked:
                    self.errors[str(reply)[:100]] += 1

    def waited(self, seconds: float) -> None:
        with self.lock:
            self.longest = max(self.longest, seconds)

    def summary(self) -> dict:
        return {**self.counts, "longest_wait": round(self.longest, 3),
                "other_errors": dict(self.errors.most_common(10))}


# --- the many -------------------------------------------------------------------------------------

def busy(port: int, clock: Clock, told: Told, chance: random.Random) -> None:
    """Requests in batches, at a quarter of the rate, on connections that change."""
    connections: list[Connection] = []
    owed = 0.0
    while not clock.over():
        began = time.monotonic()
        fit(connections, clock.connections(), port, told, chance)
        owed = min(owed + clock.rate() / THREADS * TICK_SECONDS, TICK_REQUESTS_MAX)
        while owed >= 1 and connections:
            count = min(int(owed), chance.randint(1, PIPELINE_MAX))
            owed -= count
            index = chance.randrange(len(connections))
            try:
                batch(connections[index], count, clock, told, chance)
            except FAILURES:
                told.add("connections_lost")
                connections.pop(index)
        time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - began)))


def fit(connections: list[Connection], wanted: int, port: int, told: Told,
        chance: random.Random) -> None:
    """As many connections as wanted; now and then one goes although it is."""
    if connections and (len(connections) > wanted or chance.random() < 0.05):
        gone = connections.pop(chance.randrange(len(connections)))
        gone.__exit__()
    while len(connections) < wanted:
        try:
            connections.append(Connection(port, PATIENCE_SECONDS))
        except OSError:
            told.add("connects_failed")
            return
        told.add("connects")


def batch(connection: Connection, count: int, clock: Clock, told: Told,
          chance: random.Random) -> None:
    requests = [one(clock, chance) for _ in range(count)]
    began = time.monotonic()
    connection.send(b"".join(command(*words) for words, _ in requests))
    for _, provoked in requests:
        told.add_reply(connection.reply(), provoked)
    told.waited(time.monotonic() - began)


def one(clock: Clock, chance: random.Random) -> tuple[tuple, bool]:
    """The words of a request, and whether its reply is to be an error."""
    if chance.random() < 0.3:
        return ("GET", f"string:hot:{clock.hot()}"), False
    key = chance.randrange(KEYS)
    if chance.random() < 0.02 and not clock.steady_rate:
        return chance.choice(WRONG)(key), True
    if chance.random() < 0.0005:
        return ("SET", f"string:large:{key % 5}", "x" * LARGE_BYTES, "EX", KEPT_SECONDS), False
    return chance.choice(RIGHT)(key, chance), False


RIGHT: tuple[Callable[[int, random.Random], tuple], ...] = (
    lambda key, _: ("GET", f"string:{key}"),
    lambda key, _: ("SET", f"string:{key}", "x" * (key % 500), "EX", KEPT_SECONDS),
    lambda key, chance: ("SET", f"string:new:{chance.getrandbits(40)}", "x", "PX", 5000),
    lambda key, _: ("MGET", f"string:{key}", f"string:{key + 1}", f"string:{key + 2}"),
    lambda key, _: ("MSET", f"string:{key}", "a", f"string:{key + 1}", "b"),
    lambda key, _: ("DEL", f"string:{key}", f"list:{key}"),
    lambda key, _: ("INCR", f"counter:{key % 50}"),
    lambda key, _: ("EXPIRE", f"list:{key}", KEPT_SECONDS),
    lambda key, _: ("HSET", f"hash:{key % 100}", key, "x", "other", key),
    lambda key, _: ("HGET", f"hash:{key % 100}", key),
    lambda key, _: ("LPUSH", f"list:{key % 100}", key),
    lambda key, _: ("LTRIM", f"list:{key % 100}", 0, 20),
    lambda key, _: ("LRANGE", f"list:{key % 100}", 0, 10),
    lambda key, _: ("SADD", f"set:{key % 20}", key % 100),
    lambda key, _: ("SCARD", f"set:{key % 20}"),
    lambda key, _: ("ZADD", f"zset:{key % 20}", key, key % 200),
    lambda key, _: ("ZRANGE", f"zset:{key % 20}", 0, 5),
    lambda key, _: ("STRLEN", f"string:{key}"),
    lambda key, _: ("EXISTS", f"string:{key}", f"hash:{key % 100}"),
    lambda key, _: ("TTL", f"string:{key}"),
    lambda key, _: ("PING",),
    lambda key, _: ("ECHO", key),
)
WRONG: tuple[Callable[[int], tuple], ...] = (
    lambda key: ("HGET", f"counter:{key % 50}", key),
    lambda key: ("GET",),
    lambda key: ("NO-SUCH-COMMAND", key),
    lambda key: ("INCRBY", f"string:{key}", "many"),
    lambda key: ("SINTERSTORE", f"set:{key}", "set:a", "set:b"),
    lambda key: ("EVALSHA", "0" * 40, 1, f"string:{key}"),
)


# --- the few --------------------------------------------------------------------------------------

def visitors(port: int, clock: Clock, told: Told, chance: random.Random) -> None:
    """Who comes, does something that is not done every day, and leaves."""
    while not clock.over():
        began = time.monotonic()
        visit = chance.choice(VISITS)
        try:
            with Connection(port, PATIENCE_SECONDS) as client:
                visit(client, chance.randrange(KEYS))
            told.add("visits")
        except FAILURES as error:
            # Some of them are thrown out, and that is what they are for.
            if visit in (talk_http, talk_nonsense):
                told.add("visits")
            else:
                told.add("visits_failed")
                told.add(f"visit_{visit.__name__}: {error}"[:120])
        time.sleep(max(0.0, VISIT_SECONDS - (time.monotonic() - began)))


def transact(client: Connection, key: int) -> None:
    client.ask("WATCH", f"{{{key}}}:a")
    for words in (("MULTI",), ("SET", f"{{{key}}}:a", 1, "EX", KEPT_SECONDS),
                  ("INCR", f"{{{key}}}:a"), ("EXEC",)):
        client.ask(*words)


def leave_transaction(client: Connection, key: int) -> None:
    client.ask("MULTI")
    client.ask("SET", f"string:{key}", 1)


def block(client: Connection, key: int) -> None:
    client.ask("BLPOP", f"empty:{key}", "0.2")
    client.ask("BLPOP", f"empty:{key}", f"empty:{key + 1}", "0.2")


def subscribe(client: Connection, key: int) -> None:
    client.ask("SUBSCRIBE", f"channel:{key}")
    client.ask("PSUBSCRIBE", f"pattern:{key}:*")


def publish(client: Connection, key: int) -> None:
    for number in range(10):
        client.ask("PUBLISH", f"channel:{number}", "x" * 100)


def scan(client: Connection, _key: int) -> None:
    cursor: bytes = b"0"
    for _ in range(30):
        cursor, _keys = client.ask("SCAN", cursor, "COUNT", 200)
        if cursor == b"0":
            return


def run_script(client: Connection, key: int) -> None:
    client.ask("EVAL", "return redis.call('GET', KEYS[1])", 1, f"string:{key}")


def ask_proxy(client: Connection, _key: int) -> None:
    for words in (("INFO",), ("PROXY", "HOTKEYS"), ("PROXY", "SLOTS"), ("SLOWLOG", "GET"),
                  ("CLIENT", "LIST"), ("CONFIG", "GET", "*")):
        client.ask(*words)


def log_in_wrongly(client: Connection, _key: int) -> None:
    client.ask("AUTH", "nobody", "wrong")


def talk_http(client: Connection, _key: int) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.reply()


def talk_nonsense(client: Connection, key: int) -> None:
    client.send(b"*x\r\n" + bytes((key + n * 7) % 256 for n in range(200)))
    client.reply()


def leave_unread(client: Connection, key: int) -> None:
    client.send(command("LRANGE", f"list:{key % 100}", 0, -1) * 50)


VISITS = (transact, leave_transaction, block, subscribe, publish, scan, run_script, ask_proxy,
          log_in_wrongly, talk_http, talk_nonsense, leave_unread)

if __name__ == "__main__":
    sys.exit(main())
