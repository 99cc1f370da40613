"""What generated commands are made of: values for arguments, and keys with something in them."""

from __future__ import annotations

# By name, for the commands that have nothing below.
BY_NAME = {
    "arg": "x", "bit": "1", "channel": "%ch", "consumer": "c1", "consumername": "c1",
    "count": "2", "cursor": "0", "decrement": "3", "destination-db": "0", "element": "b",
    "encoding": "u8", "end": "-1", "end-slot": "1", "entries_added": "3", "entries_read": "1",
    "field": "f2", "frequency": "1", "function": "conformance_echo", "group": "g",
    "groupname": "g", "height": "400000", "id": "1-1", "increment": "5", "index": "1",
    "last-id": "9-1", "latitude": "37", "len": "2", "limit": "1", "longitude": "15",
    "max": "3", "max_deleted_entry_id": "1-1", "member": "b", "member1": "Palermo",
    "member2": "Catania", "message": "hello", "milliseconds": "100000", "min": "1",
    "min-idle-time": "0", "ms": "0", "num-matches": "0", "numkeys": "1", "numreplicas": "0",
    "offset": "1", "operation": "AND", "pattern": "*", "pivot": "b", "radius": "200000",
    "rank": "1", "score": "7", "seconds": "100", "shardchannel": "%ch", "start": "0",
    "start-slot": "0", "stop": "-1", "threshold": "1", "timeout": "0.05", "ttl": "0",
    "unix-time-milliseconds": "4102444800000", "unix-time-seconds": "4102444800",
    "value": "v9", "weight": "2", "width": "400000",
    "script": "return {KEYS[1] or 'none', ARGV[1] or 'none'}",
    "sha1": "6fa521d5b776917633bae7aa6a1424280f22f99f",
    "serialized-value": "\x00\x05hello\n\x00cr\xdfve4 ",
}
BY_COMMAND = {
    "bitfield": {"value": "100"},
    "geoadd": {"member": "Catania"},
    "georadiusbymember": {"member": "Palermo"},
    "georadiusbymember_ro": {"member": "Palermo"},
    "geosearch": {"member": "Palermo"},
    "geosearchstore": {"member": "Palermo"},
    "geohash": {"member": "Palermo"},
    "geopos": {"member": "Palermo"},
    "hincrbyfloat": {"increment": "1.5"},
    "hrandfield": {"count": "9"},
    "incrbyfloat": {"increment": "1.5"},
    "memory|usage": {"count": "5"},
    "setbit": {"offset": "7", "value": "1"},
    "setrange": {"offset": "2"},
    "srandmember": {"count": "9"},
    "spop": {"count": "9"},
    "wait": {"timeout": "10"},
    "xadd": {"id": "7-1", "limit": "5"},
    "xautoclaim": {"start": "0"},
    "xgroup|create": {"groupname": "g2", "id": "0"},
    "xpending": {"start": "-", "end": "+"},
    "xrange": {"start": "-", "end": "+"},
    "xread": {"id": "0", "milliseconds": "10"},
    "xreadgroup": {"id": ">", "milliseconds": "10"},
    "xrevrange": {"start": "-", "end": "+"},
    "zincrby": {"increment": "1.5"},
    "zlexcount": {"min": "-", "max": "[b"},
    "zrandmember": {"count": "9"},
    "zrangebylex": {"min": "-", "max": "[b"},
    "zrangestore": {"min": "0", "max": "1"},
    "zremrangebylex": {"min": "-", "max": "[b"},
    "zrevrangebylex": {"min": "-", "max": "[b"},
}
BY_TYPE = {"integer": "1", "double": "1.5", "string": "v1", "pattern": "*", "unix-time": "1"}

# In place of a number. Some of them are right for some commands: the server knows.
NOT_INTEGERS = {
    "word": "x", "empty": "", "minus": "-1", "zero": "0", "huge": "9223372036854775808",
    "fraction": "1.5", "blank": " 1", "plus": "+1",
}
NOT_DOUBLES = {"word": "x", "empty": "", "nan": "nan", "minus-inf": "-inf", "huge": "1e400",
               "minus": "-1"}
# These would wait for ever.
ENDLESS = {"timeout", "milliseconds"}
ENDLESS_VALUES = {"zero", "blank", "plus", "huge"}

# What makes a key of each type. The second key of a command gets the second row's.
FILLED = {
    "string": ["SET KEY 10"],
    "list": ["RPUSH KEY a b c"],
    "set": ["SADD KEY a b c"],
    "hash": ["HSET KEY f1 v1 f2 2"],
    "zset": ["ZADD KEY 1 a 2 b 3 c"],
    "stream": ["XADD KEY 1-1 f v", "XADD KEY 2-1 f w", "XGROUP CREATE KEY g 0",
               "XREADGROUP GROUP g c1 COUNT 1 STREAMS KEY >"],
}
FILLED_SECOND = FILLED | {
    "string": ["SET KEY 32"],
    "list": ["RPUSH KEY d b"],
    "set": ["SADD KEY b d"],
    "zset": ["ZADD KEY 5 b 6 d"],
}
OTHER_FILLED = {
    "bits": ["SET KEY foobar"],
    "geo": ["GEOADD KEY 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"],
    "hyperloglog": ["PFADD KEY a b c"],
    "numbers": ["RPUSH KEY 3 1 2"],
    "one": ["SADD KEY only"],
    "integers": ["SADD KEY 1 2 3"],
    "script": ["SET KEY 10"],
}
TYPE_OF_GROUP = {
    "bitmap": "bits", "generic": "string", "geo": "geo", "hash": "hash",
    "hyperloglog": "hyperloglog", "list": "list", "scripting": "script", "set": "set",
    "sorted-set": "zset", "stream": "stream", "string": "string", "server": "string",
    "transactions": "string", "pubsub": "string",
}
TYPE_OF_COMMAND = {
    "sort": "numbers", "sort_ro": "numbers", "spop": "one", "srandmember": "one",
    # A small set of integers is scanned in one go, whatever COUNT says.
    "sscan": "integers",
    "object|freq": "string",
}
SAME_TYPE = {"one": "set", "integers": "set", "numbers": "list"}
# What else has to be there before a command, on the servers as a whole.
LIBRARY = (
    "#!lua name=conformance\nredis.register_function{function_name='conformance_echo', "
    "callback=function(keys, args) return {keys[1] or 'none', args[1] or 'none'} end, "
    "flags={'no-writes'}}"
)
BEFORE = {
    "fcall": [["FUNCTION", "LOAD", "REPLACE", LIBRARY]],
    "fcall_ro": [["FUNCTION", "LOAD", "REPLACE", LIBRARY]],
    "evalsha": [["EVAL", BY_NAME["script"], "1", "%a"]],
    "evalsha_ro": [["EVAL", BY_NAME["script"], "1", "%a"]],
}

# Only the number of their arguments is checked by generated cases: they change, stop or reveal a
# whole server, answer with more than one reply or wait. What can be said of them is in cases/.
BY_HAND = {
    "acl", "asking", "auth", "bgrewriteaof", "bgsave", "client", "cluster", "command", "config",
    "dbsize", "debug", "discard", "exec", "failover", "flushall", "flushdb", "function", "hello",
    "info", "keys", "lastsave", "latency", "lolwut", "migrate", "module", "monitor", "move",
    "multi", "pfdebug", "pfselftest", "psubscribe", "psync", "publish", "pubsub", "punsubscribe",
    "quit", "randomkey", "readonly", "readwrite", "replconf", "replicaof", "reset",
    "restore-asking", "role", "save", "scan", "script", "select", "shutdown", "slaveof",
    "slowlog", "spublish", "ssubscribe", "subscribe", "sunsubscribe", "swapdb", "sync", "time",
    "unsubscribe", "unwatch", "wait", "watch",
}
# With too many arguments, these do something rather than complain.
NEVER_TOO_MANY = {"shutdown", "monitor", "sync", "psync", "replconf", "debug", "failover"}


def value_of(command: str, name: str, kind: str) -> str:
    own = BY_COMMAND.get(command, {})
    return own.get(name) or BY_NAME.get(name) or BY_TYPE.get(kind, "v1")


def filled(kind: str, second: bool) -> list[str]:
    rows = FILLED_SECOND if second else FILLED
    return rows.get(kind) or OTHER_FILLED[kind]
