"""The guide's everyday work: settings, monitoring, clients, restarts, backups, and what helps."""

import re
import time
from pathlib import Path

from guide_load import Client, Load
from guide_site import HOST, Site, address
from guide_text import MONITOR
from harness import ROOT, expect, expect_equal, run, wait_until

CLIENTS = ROOT / "target" / "clients"

# The guide's, but for the two options that its clients never had: what a start node is.
PYTHON_PROGRAM = """
import sys
from redis.cluster import ClusterNode, RedisCluster
ports = [int(word) for word in sys.argv[1:]]
rc = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in ports],
                  decode_responses=True)
rc.set("mykey", "myvalue")
assert rc.get("mykey") == "myvalue"
pipe = rc.pipeline()
pipe.set("key1", "value1")
pipe.set("key2", "value2")
assert pipe.execute() == [True, True]
keys = [f"python:{number}" for number in range(200)]
for key in keys:
    rc.set(key, key)
assert [rc.get(key) for key in keys] == keys
assert set(keys) <= set(rc.scan_iter(count=50))
assert rc.delete(*keys[:50]) == 50
assert rc.cluster_info()["cluster_state"] == "ok"
print("fine")
"""
NODE_PROGRAM = """
import { createCluster } from 'redis';
const ports = process.argv.slice(1).map(Number);
const cluster = createCluster({
  rootNodes: ports.map((port) => ({ socket: { host: '127.0.0.1', port } })),
  defaults: { socket: { connectTimeout: 5000 } },
});
cluster.on('error', (error) => { console.log('Cluster error:', error); process.exit(1); });
await cluster.connect();
await cluster.set('key', 'value');
if (await cluster.get('key') !== 'value') throw new Error('get');
for (let number = 0; number < 200; number++) await cluster.set(`node:${number}`, `${number}`);
for (let number = 0; number < 200; number++) {
  if (await cluster.get(`node:${number}`) !== `${number}`) throw new Error(`get ${number}`);
}
const replies = await cluster.multi().set('{m}a', '1').incr('{m}a').exec();
if (replies.join() !== 'OK,2') throw new Error(`multi ${replies}`);
cluster.destroy();
console.log('fine');
"""
DEBUG_LINE = re.compile(r"Value at:0x[0-9a-f]+ refcount:\d+ encoding:embstr serializedlength:8 "
                        r"lru:\d+ lru_seconds_idle:\d+")


def settings(site: Site) -> None:
    """CONFIG SET and REWRITE, and a restart that keeps them."""
    port = site.replicas_of(site.primaries()[0])[0]
    other = site.node_timeout + 1000
    site.ok(port, "CONFIG", "SET", "cluster-node-timeout", other)
    site.ok(port, "CONFIG", "SET", "save", "900 1")
    site.ok(port, "CONFIG", "REWRITE")
    text = site.config_file(port).read_text()
    for line in ("# Cluster node configuration", f"cluster-node-timeout {other}", "save 900 1",
                 "appendonly yes"):
        expect(line in text.splitlines(), f"{line!r} is not in the new file: {text}")
    expect("save 300 10" not in text, "'save 300 10' is still there")
    site.stop(port)
    site.start(port)
    for name, value in (("cluster-node-timeout", other), ("save", "900 1"), ("appendonly", "yes")):
        told = site.cli(port, "CONFIG", "GET", name)
        expect_equal(told, f"{name}\n{value}", f"CONFIG GET {name}")
    site.settle()
    site.ok(port, "CONFIG", "SET", "cluster-node-timeout", site.node_timeout)
    site.ok(port, "CONFIG", "SET", "save", "900 1 300 10 60 10000")
    site.ok(port, "CONFIG", "REWRITE")
    expect("save 300 10" in site.config_file(port).read_text(), "no 'save 300 10'")


def set_timeout(site: Site) -> None:
    """--cluster set-timeout, in the running nodes and their files."""
    for timeout in (site.node_timeout + 500, site.node_timeout):
        told = site.manager("set-timeout", address(site.first), timeout)
        expect("New node timeout set. 6 OK, 0 ERR." in told, told)
        for port in site.six:
            expect_equal(site.cli(port, "CONFIG", "GET", "cluster-node-timeout"),
                         f"cluster-node-timeout\n{timeout}", f"CONFIG GET at {port}")
            line = f"cluster-node-timeout {timeout}"
            expect(line in site.config_file(port).read_text(), f"no {line!r} in {port}'s file")


def monitor(site: Site) -> None:
    """The guide's script, and what it types into redis-cli."""
    sections = site.script(MONITOR).split("\n\n")
    expect_equal(len(sections), 5, "the sections")
    lines = [section.replace("\r", "").strip().splitlines() for section in sections]
    expect_equal(sorted(lines[1][1:]), ["cluster_known_nodes:6", "cluster_slots_assigned:16384",
                                        "cluster_state:ok"], "the status")
    expect_equal(len(lines[2][1:]), 6, f"{lines[2]}: the nodes")
    for line in lines[2][1:]:
        expect(re.fullmatch(r"[0-9a-f]{40} 127\.0\.0\.1:\d+@\d+ \d+", line), f"the line {line!r}")
    # To grep -E, \d is the letter, so that the script counts nothing that means anything.
    expect_equal(lines[3][::2], ["Slot Distribution:", "Total slots covered"], "the slots")
    expect_equal(lines[4], ["Failed Nodes:", "None"], "the failed nodes")
    typed = "CLUSTER INFO\nCLUSTER NODES\nCLUSTER SLOTS\nCLUSTER REPLICAS {}\nINFO clients\n" \
            "INFO memory\nEXIT\n".format(site.id_of(site.primaries()[0]))
    told = site.script(f"printf '%s' '{typed}' | redis-cli -c -p 7000")
    for part in ("cluster_state:ok", "myself,", "5461", "slave", "# Clients", "# Memory",
                 "connected_clients:", "cluster_connections:", "maxclients:", "blocked_clients:",
                 "used_memory:", "used_memory_human:", "maxmemory:1073741824",
                 "maxmemory_policy:allkeys-lru"):
        expect(part in told, f"{part!r} is not in what redis-cli shows")
    expect("ERR" not in told, f"an error in {told}")


def redis_py(site: Site) -> None:
    """The guide's program for redis-py."""
    python = CLIENTS / "venv" / "bin" / "python"
    expect(python.exists(), "no redis-py: run tests/clients/run --prepare first")
    told = run([python, "-c", PYTHON_PROGRAM, *site.six[:3]], 60)
    expect_equal((told.stdout, told.stderr), ("fine\n", ""), "what the program says")


def node_redis(site: Site) -> None:
    """The guide's program for node-redis."""
    folder = CLIENTS / "js"
    expect((folder / "node_modules").exists(), "no node-redis: tests/clients/run --prepare first")
    told = run(["node", "--input-type=module", "-e", NODE_PROGRAM, "--", *site.six[:3]], 60,
               cwd=folder)
    expect_equal((told.stdout, told.stderr), ("fine\n", ""), "what the program says")


def rolling(site: Site) -> list[str]:
    """Each node restarted under load. The guide sleeps for 10 s, this waits for what it is for."""
    with Load(site.six, "rolling") as load:
        for port in site.six:
            site.stop(port)
            site.start(port)
            site.settle()
    return load.judge()


def bgsave(site: Site) -> None:
    """BGSAVE at all nodes writes files that redis-check-rdb accepts."""
    for port in site.six:
        expect_equal(site.cli(port, "BGSAVE"), "Background saving started", f"BGSAVE at {port}")
    for port in site.six:
        wait_until(f"the file of {port}", 20, lambda: saved(site, port))
        expect_equal(site.cli(port, "CONFIG", "GET", "dbfilename"), "dbfilename\ndump.rdb", "")
        whole_file(site.data / str(port) / "dump.rdb")


def saved(site: Site, port: int) -> bool:
    told = site.cli(port, "INFO", "persistence")
    expect("rdb_last_bgsave_status:ok" in told, told)
    return "rdb_bgsave_in_progress:0" in told


def whole_file(file: Path) -> None:
    told = run(["redis-check-rdb", file], 20)
    expect(told.returncode == 0 and "RDB looks OK" in told.stdout, f"{told.stdout[-300:]}")


def backup(site: Site) -> list[str]:
    """--cluster backup: a snapshot of each primary by SYNC, and the nodes as JSON."""
    Client(site.six).ask("SET", "mykey", "myvalue")
    folder = site.machine.folder / "backup"
    folder.mkdir(exist_ok=True)
    site.manager("backup", address(site.first), folder)
    files = sorted(folder.glob("*.rdb"))
    expect_equal(len(files), 3, f"{files}: the files")
    for file in files:
        whole_file(file)
    expect("slots" in (folder / "nodes.json").read_text(), "nodes.json lacks the slots")
    size = sum(file.stat().st_size for file in files)
    for file in folder.iterdir():
        file.unlink()
    return [f"{size} bytes"]


def import_keys(site: Site) -> list[str]:
    """Keys come from a server that is no cluster: redis-server, and one of the kind under test."""
    for number, server in enumerate({site.binary: 0, Path("redis-server"): 1}):
        port = site.machine.ports(1)
        folder = site.machine.folder / f"plain-{port}"
        folder.mkdir()
        program = site.machine.start([server, "--port", port, "--bind", HOST, "--dir", folder,
                                      "--save", ""], f"plain-{port}")
        wait_until(f"{server} on {port}", 20, lambda: site.cli(port, "ping") == "PONG")
        client = Client([port])
        for key in range(300):
            client.ask("SET", f"import:{number}:{key}", key)
        client.ask("RPUSH", f"import:{number}:list", 1, 2, 3)
        site.manager("import", address(site.first), "--cluster-from", address(port),
                     "--cluster-replace")
        expect_equal(site.cli(port, "DBSIZE"), "0", f"the keys left at {server}")
        reader = Client(site.six)
        for key in range(300):
            expect_equal(reader.ask("GET", f"import:{number}:{key}"), b"%d" % key, "an import")
        expect_equal(reader.ask("LRANGE", f"import:{number}:list", 0, -1), [b"1", b"2", b"3"], "")
        site.machine.stop(program)
    return ["300 keys each"]


def call(site: Site) -> None:
    """--cluster call to all nodes, primaries and replicas."""
    for option, count in ((["--cluster-only-masters"], 3), (["--cluster-only-replicas"], 3),
                          ([], 6)):
        told = site.manager("call", *option, address(site.first), "PING")
        expect_equal(told.count("PONG"), count, f"{option}: {told!r}: the replies")


def flush(site: Site) -> None:
    """FLUSHDB at a node empties that one, FLUSHALL by call all."""
    client = Client(site.six)
    for number in range(300):
        client.ask("SET", f"flush:{number}", number)
    counts = [int(site.cli(port, "DBSIZE")) for port in site.primaries()]
    expect(min(counts) > 0, f"{counts} keys")
    primary = site.primaries()[0]
    expect_equal(site.cli(primary, "FLUSHDB", follow=True), "OK", "FLUSHDB")
    expect_equal(site.cli(primary, "DBSIZE"), "0", "the keys of the node flushed")
    replica = site.replicas_of(site.primaries()[1])[0]
    expect_equal(site.cli(replica, "FLUSHALL"),
                 "READONLY You can't write against a read only replica.", "FLUSHALL at a replica")
    told = site.manager("call", "--cluster-only-masters", address(site.first), "FLUSHALL")
    expect_equal(told.count(": OK"), 3, f"{told!r}: the replies")
    wait_until("all nodes to be empty", 5,
               lambda: all(site.cli(port, "DBSIZE") == "0" for port in site.six))


def debug_object(site: Site) -> None:
    """DEBUG OBJECT, and what it says at the wrong node."""
    Client(site.six).ask("SET", "mykey", "myvalue")
    owner = site.primaries()[-1]
    told = site.cli(owner, "DEBUG", "OBJECT", "mykey")
    expect(DEBUG_LINE.fullmatch(told), f"DEBUG OBJECT says {told!r}")
    expect_equal(site.cli(site.primaries()[0], "DEBUG", "OBJECT", "mykey"), "ERR no such key",
                 "DEBUG OBJECT at the wrong node")
    expect_equal(site.cli(owner, "OBJECT", "ENCODING", "mykey"), "embstr", "OBJECT ENCODING")


def restart_all(site: Site) -> list[str]:
    """All nodes end, as with the machine, and come back with their keys and their cluster."""
    client = Client(site.six)
    for number in range(300):
        expect_equal(client.ask("SET", f"kept:{number}", number), b"OK", "SET")
    primaries = site.primaries()
    started = time.monotonic()
    for port in site.six:
        site.services[port].popen.terminate()
    for port in site.six:
        site.stop(port)
    site.start(*site.six)
    site.settle()
    took = time.monotonic() - started
    client = Client(site.six)
    for number in range(300):
        expect_equal(client.ask("GET", f"kept:{number}"), b"%d" % number, "a key")
    expect_equal(len(site.primaries()), len(primaries), "the primaries")
    return [f"well again after {took:.1f} s"]
