#!/usr/bin/env python3
"""Checks with redis-py's RedisCluster and redis-cli -c against a proxy with cluster_emulation."""

from __future__ import annotations

import os
import subprocess
import sys

sys.dont_write_bytecode = True

import redis
from redis.cluster import RedisCluster

from checks import Checks, equal, parse_address

KEYS = 300


class Suite:
    """The checks with one protocol version."""

    def __init__(self, address: tuple[str, int], protocol: int) -> None:
        self.host, self.port = address
        self.protocol = protocol
        self.prefix = f"cluster{protocol}:{os.getpid()}"
        self.redis: RedisCluster | None = None

    def connect(self) -> None:
        self.redis = RedisCluster(host=self.host, port=self.port, protocol=self.protocol)

    def one_node(self) -> None:
        nodes = self.redis.get_nodes()
        equal(len(nodes), 1, "nodes")
        equal(nodes[0].port, self.port, "port")
        equal(nodes[0].server_type, "primary", "type")
        equal(len(self.redis.nodes_manager.slots_cache), 16384, "slots")

    def every_slot(self) -> None:
        for number in range(KEYS):
            equal(self.redis.set(f"{self.prefix}:{number}", number), True)
        for number in range(KEYS):
            equal(self.redis.get(f"{self.prefix}:{number}"), str(number).encode())

    def many_keys(self) -> None:
        pairs = {f"{self.prefix}:m{number}": str(number).encode() for number in range(50)}
        equal(self.redis.mset_nonatomic(pairs) not in (None, []), True)
        equal(self.redis.mget_nonatomic(list(pairs)), list(pairs.values()))
        equal(self.redis.delete(*pairs), len(pairs))

    def pipeline(self) -> None:
        pipeline = self.redis.pipeline()
        for number in range(KEYS):
            pipeline.get(f"{self.prefix}:{number}")
        equal(pipeline.execute(), [str(number).encode() for number in range(KEYS)])

    def keys_in_slot(self) -> None:
        key = f"{self.prefix}:0"
        slot = self.redis.cluster_keyslot(key)
        equal(self.redis.keyslot(key), slot, "slot")
        listed = self.redis.cluster_get_keys_in_slot(slot, 100)
        equal(key in listed or key.encode() in listed, True, "listed")
        equal(self.redis.cluster_countkeysinslot(slot) >= 1, True, "counted")

    def commands_agree(self) -> None:
        equal(self.redis.cluster_info()["cluster_state"], "ok")
        equal(self.redis.info("server")["redis_mode"], "cluster")
        equal(self.redis.info("cluster")["cluster_enabled"], 1)
        node = self.redis.get_default_node()
        equal(self.redis.config_get("cluster-enabled", target_nodes=node),
              {"cluster-enabled": "yes"})

    def clean_up(self) -> None:
        equal(self.redis.delete(*(f"{self.prefix}:{number}" for number in range(KEYS))), KEYS)
        self.redis.close()


def redis_cli(address: tuple[str, int]) -> None:
    """Keys of all shards through one connection, and nobody sent elsewhere."""
    host, port = address
    key = f"cluster-cli:{os.getpid()}"
    lines = [f"set {key}:{number} {number}" for number in range(50)]
    lines += [f"del {key}:{number}" for number in range(50)]
    done = subprocess.run(["redis-cli", "-c", "-h", host, "-p", str(port)], text=True,
                          input="\n".join(lines), capture_output=True, timeout=60, check=True)
    equal(done.stdout.split(), ["OK"] * 50 + ["1"] * 50)


def main(arguments: list[str]) -> int:
    address = parse_address(arguments[0])
    checks = Checks("redis-cli -c")
    checks.run("keys of all shards", redis_cli, address)
    for protocol in (2, 3):
        suite = Suite(address, protocol)
        checks.title = f"RedisCluster {redis.__version__} RESP{protocol}"
        for name, function in (
            ("connect", suite.connect),
            ("one node has all slots", suite.one_node),
            ("keys of all shards", suite.every_slot),
            ("MSET MGET DEL", suite.many_keys),
            ("pipeline", suite.pipeline),
            ("keys in a slot", suite.keys_in_slot),
            ("INFO, CONFIG and CLUSTER agree", suite.commands_agree),
            ("clean up", suite.clean_up),
        ):
            checks.run(name, function)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
