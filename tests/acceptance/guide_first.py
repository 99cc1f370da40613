"""The guide up to its chapter on replication: from an installed server to a cluster that serves."""

import os
import re

from guide_load import Client
from guide_site import AGREED, COVERED, HOST, SLOTS, Site, address, run
from guide_text import WHO_HAS_WHAT
from harness import ROOT, expect, expect_equal, wait_until
from resp import Connection

UNIT = ROOT / "config" / "systemd" / "slotway-node@.service"
# The one of the guide, for redis-server.
REDIS_UNIT = """\
[Unit]
Description=Redis Cluster Node %i
After=network.target
[Service]
Type=simple
User=root
ExecStart=/usr/local/bin/redis-server /etc/redis-cluster/redis-%i.conf
ExecStop=/bin/kill -TERM $MAINPID
Restart=always
RestartSec=10
StandardOutput=journal
StandardError=journal
[Install]
WantedBy=multi-user.target
"""
LOG_LINE = re.compile(r"\d+:[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} [.\-*#] ")
VERSION = re.compile(r"Redis server v=7\.0\.15 sha=\S+ malloc=\S+ bits=64 build=\S+")

# directive | what CONFIG GET says where it is not what stands in the file
OTHERWISE = {
    "save": "900 1 300 10 60 10000",
    "maxmemory": "1073741824",
    "appendfilename": "appendonly.aof",
}


def version(site: Site) -> None:
    """--version and --help as those of redis-server."""
    told = run([site.binary, "--version"], 10)
    expect(VERSION.fullmatch(told.stdout.strip()), f"--version says {told.stdout!r}")
    expect_equal(told.returncode, 0, "the status of --version")
    usage = run([site.binary, "--help"], 10)
    expect("[/path/to/redis.conf] [options]" in usage.stdout + usage.stderr,
           f"--help says {usage.stdout + usage.stderr!r}")


def configs(site: Site) -> None:
    """Six files of redis.conf, made of one with sed."""
    site.configure()
    first = site.config_file(site.first).read_text()
    for port in site.six:
        text = site.config_file(port).read_text()
        expect_equal(text, first.replace(str(site.first), str(port)), f"the file of {port}")
        expect_equal(site.config_file(port).stat().st_mode & 0o777, 0o600, "its mode")


def unit(site: Site) -> None:
    """systemd finds nothing wrong with the unit; the path of the server is the one that is here."""
    text = REDIS_UNIT if site.server == "redis-server" else UNIT.read_text()
    made, count = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={site.binary.resolve()}", text)
    expect_equal(count, 1, "the lines with ExecStart")
    for line in ("Type=simple", "Restart=always", "WantedBy=multi-user.target"):
        expect(line in text or "Type=notify" in text, f"the unit lacks {line}")
    file = site.machine.folder / "redis-cluster@.service"
    file.write_text(made)
    # Of a template, systemd verifies an instance.
    instance = site.machine.folder / f"redis-cluster@{site.first}.service"
    instance.unlink(missing_ok=True)
    os.symlink(file, instance)
    told = run(["systemd-analyze", "verify", "--man=no", instance], 30)
    about = [line for line in told.stderr.splitlines() if "redis-cluster@" in line]
    expect_equal((told.returncode, about), (0, []), "what systemd-analyze says")


def start(site: Site) -> None:
    """Six nodes answer ping."""
    site.start(*site.six)
    for port in (site.six[0], site.six[-1]):
        expect_equal(site.cli(port, "ping"), "PONG", f"what {port} says to ping")


def log(site: Site) -> None:
    """Each node writes its log where its file says, in the form of redis-server."""
    for port in site.six:
        file = site.log_file(port)
        lines = file.read_text().splitlines() if file.exists() else []
        expect(lines, f"{port} writes no log")
        expect(any(LOG_LINE.match(line) for line in lines), f"{port} logs {lines[0]!r}")


def directives(site: Site) -> None:
    """CONFIG GET says what stands in the file."""
    for line in site.config_file(site.first).read_text().splitlines():
        if line.startswith("#"):
            continue
        name, value = line.split(" ", 1)
        if name == "min-replicas-to-write" and site.server == "redis-server":
            continue
        told = site.cli(site.first, "CONFIG", "GET", name)
        expect_equal(told, f"{name}\n{OTHERWISE.get(name, value)}", f"CONFIG GET {name}")
    pairs = len(site.cli(site.first, "CONFIG", "GET", "*").splitlines()) // 2
    expect(pairs >= 180, f"CONFIG GET * knows {pairs} directives, redis-server 192")


def create(site: Site) -> None:
    """--cluster create of three primaries and three replicas."""
    told = site.create()
    expect(COVERED in told and AGREED in told, told[-500:])
    site.settle()


def info(site: Site) -> list[str]:
    """CLUSTER INFO of each node, --cluster info and check."""
    expected = {"cluster_state": "ok", "cluster_slots_assigned": str(SLOTS),
                "cluster_slots_ok": str(SLOTS), "cluster_slots_pfail": "0",
                "cluster_slots_fail": "0", "cluster_known_nodes": "6", "cluster_size": "3"}
    for port in site.six:
        lines = site.cli(port, "CLUSTER", "INFO", follow=True).splitlines()
        told = dict(line.strip().split(":", 1) for line in lines)
        expect_equal({name: told.get(name) for name in expected}, expected, f"INFO of {port}")
        for name in ("cluster_current_epoch", "cluster_my_epoch", "cluster_stats_messages_sent",
                     "cluster_stats_messages_ping_sent", "cluster_stats_messages_pong_received",
                     "cluster_stats_messages_received"):
            expect(int(told.get(name, 0)) > 0, f"{name} of {port} is {told.get(name)}")
    told = site.manager("info", address(site.first))
    expect_equal(told.count("slots | 1 slaves."), 3, f"primaries in {told!r}")
    expect(re.search(r"\[OK\] \d+ keys in 3 masters", told), told)
    site.check()
    return [f"{len(site.primaries())} primaries"]


def slots(site: Site) -> None:
    """CLUSTER SLOTS, KEYSLOT, and the script that shows who has what."""
    expect_equal(site.cli(site.first, "CLUSTER", "KEYSLOT", "mykey"), "14687", "KEYSLOT")
    with Connection(site.first) as node:
        # A replica is shown once it is known to have received something.
        wait_until("the replicas in CLUSTER SLOTS", 15,
                   lambda: all(len(part) == 4 for part in node.ask("CLUSTER", "SLOTS")))
        covered = 0
        for first, last, *nodes in node.ask("CLUSTER", "SLOTS"):
            covered += last - first + 1
            expect_equal(len(nodes), 2, f"the nodes of slots {first} to {last}")
            for host, port, node_id, extra in nodes:
                expect_equal((host, len(node_id), extra), (b"127.0.0.1", 40, []), f"{port}")
        expect_equal(covered, SLOTS, "the slots of CLUSTER SLOTS")
    lines = site.script(WHO_HAS_WHAT).splitlines()
    expect_equal(len(lines), 6, "the lines of the script")
    total = 0
    for line in lines:
        found = re.fullmatch(r"[0-9a-f]{40} \(127\.0\.0\.1:(\d+)@(\d+)\): ?((\d+)-(\d+))?", line)
        expect(found and int(found[2]) == int(found[1]) + 10_000, f"the line {line!r}")
        total += int(found[5]) - int(found[4]) + 1 if found[3] else 0
    expect_equal(total, SLOTS, "the slots of the script")
    shown = site.script("redis-cli -c -p 7000 CLUSTER NODES | grep -E 'slot|myself'")
    expect_equal(shown.count("myself"), 1, f"lines with myself in {shown!r}")


def keys(site: Site) -> None:
    """A client that follows redirects reaches every key; one that does not is told where."""
    owner = next(port for port in site.primaries() if site.find(port).slots[0].endswith("16383"))
    other = next(port for port in site.primaries() if port != owner)
    expect_equal(site.cli(other, "SET", "mykey", "myvalue"),
                 f"MOVED 14687 {address(owner)}", "SET at another node")
    expect_equal(site.cli(other, "SET", "mykey", "myvalue", follow=True), "OK", "SET with -c")
    expect_equal(site.cli(other, "GET", "mykey", follow=True), "myvalue", "GET with -c")
    expect_equal(site.cli(owner, "MSET", "a", "1", "b", "2"),
                 "CROSSSLOT Keys in request don't hash to the same slot", "MSET of two slots")
    expect_equal(site.cli(owner, "SELECT", "1"), "ERR SELECT is not allowed in cluster mode",
                 "SELECT 1")
    expect_equal(site.cli(owner, "REPLICAOF", HOST, other),
                 "ERR REPLICAOF not allowed in cluster mode.", "REPLICAOF")
    client = Client(site.six)
    for number in range(300):
        expect_equal(client.ask("SET", f"key:{number}", number), b"OK", "SET")


def replicate(site: Site) -> list[str]:
    """A replica is given to another primary, and back."""
    for kind, flag in (("master", "master -"), ("slave", "slave ")):
        shown = site.script(f"redis-cli -c -p 7000 CLUSTER NODES | grep -E '{kind}'")
        expect_equal(shown.count(flag), 3, f"{kind} in {shown!r}")
    primary, other = site.primaries()[:2]
    replica = site.replicas_of(primary)[0]
    for target in (other, primary):
        site.ok(replica, "CLUSTER", "REPLICATE", site.id_of(target))
        wait_until(f"{replica} to follow {target}", 15, lambda: site.follows(replica, target))
        wait_until(f"{target} to count {replica}", 15, lambda: replica in site.replicas_of(target))
        counted = [site.cli(port, "DBSIZE") for port in (replica, target)]
        expect(int(counted[1]) > 0 and counted[0] == counted[1], f"keys of both: {counted}")
        line = site.replication(target)
        shown = [value for name, value in line.items() if re.fullmatch(r"slave\d+", name)]
        expect(any(f"port={replica},state=online" in value for value in shown), f"{line}")
    for port, words, error in (
        (replica, ["REPLICATE", "x" * 40], f"ERR Unknown node {'x' * 40}"),
        (replica, ["REPLICATE", site.id_of(replica)], "ERR Can't replicate myself"),
        (primary, ["REPLICATE", site.id_of(other)],
         "ERR To set a master the node must be empty and without assigned slots."),
        (primary, ["FAILOVER"], "ERR You should send CLUSTER FAILOVER to a replica"),
        (primary, ["REPLICAS", site.id_of(replica)], "ERR The specified node is not a master"),
    ):
        expect_equal(site.cli(port, "CLUSTER", *words), error, f"CLUSTER {words} at {port}")
    site.settle()
    return [f"{replica} twice"]


def promote(site: Site) -> list[str]:
    """CLUSTER FAILOVER, there and back."""
    primary = site.primaries()[0]
    replica = site.replicas_of(primary)[0]
    before = int(site.cli(primary, "DBSIZE"))
    for old, new in ((primary, replica), (replica, primary)):
        site.ok(new, "CLUSTER", "FAILOVER")
        wait_until(f"{new} to be primary", 10,
                   lambda: all(new in site.primaries(port) for port in site.six))
        wait_until(f"{old} to follow {new}", 15, lambda: site.follows(old, new))
        expect_equal(int(site.cli(new, "DBSIZE")), before, f"the keys of {new}")
        # Until the new one knows that the old one follows it, it hears no CLUSTER FAILOVER of it.
        site.settle()
    return [f"{primary} to {replica} and back"]
