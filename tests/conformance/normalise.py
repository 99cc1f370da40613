"""What may rightly differ between two servers that are both right, command by command.

A normaliser takes away exactly that, and nothing else: an order, a time, a choice by chance. Each
command that has one has a reason, too. Everything else is compared as it came.
"""

from __future__ import annotations

import re
import time
from typing import Callable

import wire
from wire import Tree

NEAR_S = 3_600
STEP_S = 10
NOW_MS = re.compile(rb"\A(\d{13})(-\d+)?\Z")
NOW_S = re.compile(rb"\A\d{10}\Z")
INFO_VALUES = re.compile(
    rb"(redis_version|redis_mode|role|loading|cluster_enabled|connected_slaves|db\d+):"
)
# A line for each command or error that has occurred so far.
INFO_HISTORY = re.compile(rb"(cmdstat|latency_percentiles_usec|errorstat)_")
CLIENT_VALUES = re.compile(
    rb"\b(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|multi-mem|rbs|rbp|obl|oll|omem"
    rb"|tot-mem|events)=[^ \n]*"
)


def unordered(tree: Tree) -> Tree:
    tree.items.sort(key=Tree.encoded)
    return tree


def unordered_pairs(tree: Tree) -> Tree:
    """A map, in RESP2 as one array of keys and values in turn."""
    pairs = list(zip(tree.items[::2], tree.items[1::2]))
    pairs.sort(key=lambda pair: (pair[0].encoded(), pair[1].encoded()))
    tree.items = [item for pair in pairs for item in pair]
    return tree


def unordered_deep(tree: Tree) -> Tree:
    for item in tree.items:
        unordered_deep(item)
    return unordered(tree)


def scanned(tree: Tree) -> Tree:
    if len(tree.items) == 2:
        unordered(tree.items[1])
    return tree


def scanned_pairs(tree: Tree) -> Tree:
    if len(tree.items) == 2:
        unordered_pairs(tree.items[1])
    return tree


def some_value(tree: Tree) -> Tree:
    """Kinds and counts stay, values go."""
    for item in tree.items:
        some_value(item)
    if tree.text is not None and not tree.is_null:
        tree.text = b"?"
    return tree


def some_size(tree: Tree) -> Tree:
    """The number of elements goes, too."""
    if tree.items:
        tree.items = [Tree(b"+", b"...")]
    return some_value(tree)


def same_length(tree: Tree) -> Tree:
    if tree.text is not None:
        tree.text = b"?" * len(tree.text)
    return tree


def left(per_second: int) -> Callable[[Tree], Tree]:
    """A time to live: the next ten seconds from there."""

    def rounded(tree: Tree) -> Tree:
        if tree.kind == b":" and int(tree.text) > 0:
            step = STEP_S * per_second
            tree.text = b"%d" % (-(-int(tree.text) // step) * step)
        return tree

    return rounded


def idle(tree: Tree) -> Tree:
    """The ten seconds in which it lies."""
    if tree.kind == b":":
        tree.text = b"%d" % (int(tree.text) // STEP_S * STEP_S)
    return tree


def moment(per_second: int) -> Callable[[Tree], Tree]:
    """A moment near now: how far it is from now, up to the next ten seconds."""

    def rounded(tree: Tree) -> Tree:
        if tree.kind == b":" and int(tree.text) > 0:
            ahead = int(tree.text) / per_second - time.time()
            if abs(ahead) < NEAR_S:
                tree.text = b"now+%d" % (-(-int(ahead) // STEP_S) * STEP_S)
        return tree

    return rounded


def without_now(tree: Tree) -> Tree:
    """The time of day, wherever it stands by itself: the ids of streams, for one."""
    for item in tree.items:
        without_now(item)
    text = tree.text or b""
    if (found := NOW_MS.match(text)) and abs(int(found[1]) / 1000 - time.time()) < NEAR_S:
        tree.text = b"now-?" if found[2] else b"now"
    elif NOW_S.match(text) and abs(int(text) - time.time()) < NEAR_S:
        tree.text = b"now"
    return tree


def pending(tree: Tree) -> Tree:
    """In the long form of XPENDING, how long ago an entry was delivered."""
    for entry in tree.items:
        if len(entry.items) == 4:
            some_value(entry.items[2])
    return tree


def stream_info(tree: Tree) -> Tree:
    """How long ago a consumer was seen, and when; the sizes of the tree inside."""
    for key, value in zip(tree.items, tree.items[1:]):
        if key.text in (b"idle", b"seen-time", b"pending") and value.kind == b":":
            if key.text != b"pending":
                some_value(value)
    for item in tree.items:
        stream_info(item)
        if len(item.items) in (3, 4) and item.items[-1].kind == b":":
            without_now(item)
    return tree


def dumped(tree: Tree) -> Tree:
    """The bytes of the dump in order, without the checksum: a set's members have none."""
    if tree.text is not None and not tree.is_null:
        tree.text = bytes(sorted(tree.text[:-8]))
    return tree


def hello(tree: Tree) -> Tree:
    for key, value in zip(tree.items, tree.items[1:]):
        if key.text == b"id":
            some_value(value)
    return tree


def info(tree: Tree) -> Tree:
    """The names of all fields, and those values that clients look at."""
    text = (tree.text or b"").removeprefix(b"txt:")
    lines = text.split(b"\r\n")
    tree.text = b"\r\n".join(
        line if line.startswith(b"#") or INFO_VALUES.match(line) else line.partition(b":")[0]
        for line in lines
        if not INFO_HISTORY.match(line)
    )
    tree.text = re.sub(rb"avg_ttl=\d+", b"avg_ttl=?", tree.text)
    return tree


def clients(tree: Tree) -> Tree:
    text = (tree.text or b"").removeprefix(b"txt:")
    lines = CLIENT_VALUES.sub(rb"\1=?", text).split(b"\n")
    tree.text = b"\n".join(sorted(lines))
    return tree


SET_ORDER = "the members of a set have no order"
MAP_ORDER = "the fields of a hash have no order"
CHANCE = "chosen by chance"
CLOCK = "depends on the clock"
ENTRY_IDS = "ids made by the server hold the time of day"
OWN_NUMBER = "each process counts its own"
TABLE_ORDER = "servers keep their commands in a table without an order"

NORMALISERS: dict[str, tuple[Callable[[Tree], Tree], str]] = {
    "smembers": (unordered, SET_ORDER),
    "sunion": (unordered, SET_ORDER),
    "sinter": (unordered, SET_ORDER),
    "sdiff": (unordered, SET_ORDER),
    "hkeys": (unordered, MAP_ORDER),
    "hvals": (unordered, MAP_ORDER),
    "hgetall": (unordered_pairs, MAP_ORDER),
    "keys": (unordered, "keys have no order"),
    "scan": (scanned, "keys have no order"),
    "sscan": (scanned, SET_ORDER),
    "hscan": (scanned_pairs, MAP_ORDER),
    "zscan": (scanned_pairs, "a large sorted set is scanned without an order"),
    "pubsub|channels": (unordered, "channels have no order"),
    "pubsub|shardchannels": (unordered, "channels have no order"),
    "config|get": (unordered_pairs, "settings have no order"),
    "command": (unordered_deep, TABLE_ORDER),
    "command|docs": (unordered_deep, TABLE_ORDER),
    "command|info": (unordered_deep, TABLE_ORDER),
    "command|list": (unordered, TABLE_ORDER),
    "function|list": (unordered_deep, "functions have no order"),
    "acl|cat": (unordered, TABLE_ORDER),
    "randomkey": (some_value, CHANCE),
    "spop": (some_value, CHANCE),
    "srandmember": (some_value, CHANCE),
    "hrandfield": (some_value, CHANCE),
    "zrandmember": (some_value, CHANCE),
    "acl|genpass": (same_length, CHANCE),
    "lolwut": (some_value, CHANCE),
    "ttl": (left(1), CLOCK),
    "pttl": (left(1000), CLOCK),
    "expiretime": (moment(1), CLOCK),
    "pexpiretime": (moment(1000), CLOCK),
    "time": (some_value, CLOCK),
    "lastsave": (some_value, CLOCK),
    "object|idletime": (idle, CLOCK),
    "xadd": (without_now, ENTRY_IDS),
    "xrange": (without_now, ENTRY_IDS),
    "xrevrange": (without_now, ENTRY_IDS),
    "xread": (without_now, ENTRY_IDS),
    "xreadgroup": (without_now, ENTRY_IDS),
    "xinfo|groups": (without_now, ENTRY_IDS),
    "xpending": (pending, CLOCK),
    "xinfo|consumers": (lambda tree: stream_info(tree), CLOCK),
    "xinfo|stream": (lambda tree: without_now(stream_info(tree)), CLOCK),
    "dump": (dumped, SET_ORDER),
    "hello": (hello, OWN_NUMBER),
    "client|id": (some_value, OWN_NUMBER),
    "client|info": (clients, "ids, addresses, ages and buffers are a connection's own"),
    "client|list": (clients, "ids, addresses, ages and buffers are a connection's own"),
    "info": (info, "most values are a process's own; the names of the fields are compared"),
    "memory|stats": (some_value, "sizes are a process's own"),
    "memory|doctor": (some_value, "an advice on a process's own memory"),
    "memory|malloc-stats": (some_value, "sizes are a process's own"),
    "slowlog|get": (some_size, "what was slow is chance"),
    "slowlog|len": (some_value, "what was slow is chance"),
    "latency|histogram": (some_size, "what was slow is chance"),
    "latency|latest": (some_size, "what was slow is chance"),
    "acl|log": (some_size, "holds ids, addresses and ages"),
}


def name_of(words: list[bytes]) -> str:
    """The name of the entry of NORMALISERS that a command could have."""
    name = words[0].decode("latin-1").lower() if words else ""
    if len(words) > 1 and name not in NORMALISERS:
        return f"{name}|{words[1].decode('latin-1').lower()}"
    if len(words) > 1 and name == "command":
        return f"command|{words[1].decode('latin-1').lower()}"
    return name


def normalised(words: list[bytes], reply: bytes) -> bytes:
    """The reply to a command without what may differ."""
    rule = NORMALISERS.get(name_of(words))
    if rule is None or reply[:1] in (b"-", b"!", b"("):
        return reply
    if reply[:8] == b"+QUEUED\r":
        return reply
    return rule[0](wire.parse(reply)).encoded()


def normalised_block(queued: list[list[bytes]], reply: bytes) -> bytes:
    """The reply to an EXEC, each part by the command it belongs to."""
    if not reply.startswith(b"*"):
        return reply
    tree = wire.parse(reply)
    if len(tree.items) != len(queued):
        return reply
    head, _, _ = reply.partition(b"\r\n")
    parts = [normalised(words, item.encoded()) for words, item in zip(queued, tree.items)]
    return head + b"\r\n" + b"".join(parts)
