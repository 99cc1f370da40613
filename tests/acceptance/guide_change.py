"""The guide's failures, and its changes of the cluster: nodes and slots that come and go."""

import re
import signal
import time

from guide_load import Client, Load
from guide_site import SLOTS, Site, address
from harness import expect, expect_equal, run, wait_until

# What the guide moves to its new node.
RESHARDED = 1364
# All that it may have, to take them away again.
ALL_OF_ONE = 5461


def stop(site: Site) -> list[str]:
    """systemctl stop of a primary: its replica takes over, and it comes back as replica."""
    return lose_primary(site, site.primaries()[1], signal.SIGTERM)


def kill(site: Site) -> list[str]:
    """The same with a primary that is killed."""
    return lose_primary(site, site.primaries()[2], signal.SIGKILL)


def lose_primary(site: Site, primary: int, number: int) -> list[str]:
    """Not twice the same in a row: for two node timeouts nobody votes in its place again."""
    replica = site.replicas_of(primary)[0]
    witness = next(port for port in site.primaries() if port != primary)
    client = Client([port for port in site.six if port != primary])
    for count in range(100):
        expect_equal(client.ask("SET", f"before:{count}", count), b"OK", "SET")
    time.sleep(1.1 if number == signal.SIGKILL else 0)  # For its replica to have them.
    took, started, seen = site.stop(primary, number), time.monotonic(), []

    def over() -> bool:
        seen.append(site.state(witness))
        return replica in site.primaries(witness) and seen[-1] == "ok"

    wait_until("the failover", 3 * site.node_timeout / 1000 + 10, over)
    over_after = time.monotonic() - started
    wait_until("the replica to serve", 5, lambda: site.state(replica) == "ok")
    # With the settings of the guide, a primary without replica takes no writes (NOREPLICAS).
    for count in range(100):
        expect_equal(client.ask("GET", f"before:{count}"), b"%d" % count, f"before:{count}")
    site.start(primary)
    wait_until("the old primary to follow", 20, lambda: site.follows(primary, replica))
    site.settle()
    for count in range(100):
        expect_equal(client.ask("SET", f"after:{count}", count), b"OK", "SET")
    site.ok(primary, "CLUSTER", "FAILOVER")
    wait_until("the old primary to be primary again", 10,
               lambda: all(primary in site.primaries(port) for port in site.six))
    site.settle()
    return [f"gone in {took:.1f} s", f"ok again in {over_after:.1f} s",
            f"state fail {'seen' if 'fail' in seen else 'not seen'}"]


def grow(site: Site) -> list[str]:
    """add-node of a primary and a replica, and slots for them, under load."""
    primary, replica = site.spare
    site.configure_spare()
    site.start(primary, replica)
    told = site.manager("add-node", address(primary), address(site.first))
    expect("[OK] New node added correctly." in told, told)
    wait_until("all to know the new node", 10,
               lambda: all(primary in [node.port for node in site.nodes(port)]
                           for port in site.six))
    told = site.manager("add-node", address(replica), address(site.six[1]), "--cluster-slave")
    expect("[OK] New node added correctly." in told, told)
    shown = site.script(f"redis-cli -c -p 7000 CLUSTER NODES | grep {primary}")
    expect("master" in shown, f"CLUSTER NODES | grep says {shown!r}")
    # The one with the fewest replicas is the one that came just now.
    wait_until("the new replica to follow", 15, lambda: site.follows(replica, primary))
    source = site.primaries()[0]
    with Load(site.six, "grow") as load:
        time.sleep(0.5)
        started = time.monotonic()
        expect_equal(site.reshard(source, primary, RESHARDED), RESHARDED, "the slots moved")
        took = time.monotonic() - started
        time.sleep(0.5)
    expect_equal(site.find(primary).slot_count(), RESHARDED, "the slots of the new node")
    site.settle()
    site.check()
    return [f"reshard {took:.1f} s", *load.judge()]


def shrink(site: Site) -> list[str]:
    """The slots go back, the nodes leave, for all that the others know, and stop."""
    primary, replica = site.spare
    others = [port for port in site.primaries() if port != primary]
    target = min(others, key=lambda port: site.find(port).slot_count())
    with Load(site.six, "shrink") as load:
        moved = site.reshard(primary, target, ALL_OF_ONE)
        time.sleep(0.5)
    expect_equal(moved, RESHARDED, "the slots moved")
    for port in (replica, primary):
        told = site.manager("del-node", address(site.first), site.id_of(port))
        expect("Sending CLUSTER RESET SOFT to the deleted node" in told, told)
        expect_equal([node.port for node in site.nodes(port)], [port], f"the nodes {port} knows")
    for port in (primary, replica):
        site.ok(port, "CLUSTER", "RESET")
        expect_equal(site.cli(port, "DBSIZE"), "0", f"the keys of {port}")
        site.stop(port)
    time.sleep(1.5)  # For gossip to bring back what was not forgotten everywhere.
    for port in site.six:
        known = sorted(node.port for node in site.nodes(port))
        expect_equal(known, site.six, f"the nodes {port} knows")
    site.settle()
    return load.judge()


def fix_open(site: Site) -> None:
    """A slot that was left half moved."""
    source, target = site.primaries()[:2]
    tag = slot_tag(site, source)
    client = Client(site.six)
    for number in range(20):
        expect_equal(client.ask("SET", f"{{{tag}}}:{number}", number), b"OK", "SET")
    slot = int(site.cli(source, "CLUSTER", "KEYSLOT", tag))
    site.ok(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", site.id_of(source))
    site.ok(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", site.id_of(target))
    moving = site.cli(source, "CLUSTER", "GETKEYSINSLOT", slot, 5).splitlines()
    site.ok(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *moving)
    expect_equal(client.ask("GET", moving[0]), moving[0].rpartition(":")[2].encode(), "GET by ASK")
    told = run(["redis-cli", "--cluster", "check", address(site.first)], 30)
    expect(told.returncode == 1 and "[WARNING] The following slots are open" in told.stdout,
           f"check says {told.stdout[-300:]!r}, status {told.returncode}")
    site.manager("fix", address(site.first))
    site.check()
    for number in range(20):
        expect_equal(client.ask("GET", f"{{{tag}}}:{number}"), b"%d" % number, "after fix")


def owner_of(site: Site, slot: int, entry: int) -> list[int]:
    """Who owns a slot as one node sees it; nobody, or one."""
    return [node.port for node in site.nodes(entry) if node.owns(slot)]


def fix_uncovered(site: Site) -> None:
    """A slot that nobody has any more."""
    owner = site.primaries()[0]
    slot = int(site.find(owner).slots[0].split("-")[0])
    primaries = site.primaries()
    for port in primaries:
        site.ok(port, "CLUSTER", "DELSLOTS", slot)

    def free() -> bool:
        # What the owner said before may come later than the command.
        back = [port for port in primaries if owner_of(site, slot, port)]
        for port in back:
            site.cli(port, "CLUSTER", "DELSLOTS", slot)
        return not back

    wait_until("all primaries to find the slot free", 10, free)
    told = run(["redis-cli", "--cluster", "check", address(site.first)], 30)
    expect(told.returncode == 1 and "[ERR] Not all 16384 slots are covered" in told.stdout,
           f"check says {told.stdout[-300:]!r}, status {told.returncode}")
    site.manager("fix", address(site.first))
    site.settle()


def rebalance(site: Site) -> list[str]:
    """--cluster rebalance after a reshard."""
    source, target = site.primaries()[:2]
    expect_equal(site.reshard(source, target, 300), 300, "the slots moved")
    site.settle()
    told = site.manager("rebalance", address(site.first))
    counts = [site.find(port).slot_count() for port in site.primaries()]
    expect_equal(sum(counts), SLOTS, f"{counts}: the sum")
    expect(max(counts) - min(counts) <= 110, f"{counts} slots after {told[-300:]}")
    site.settle()
    site.check()
    return [f"{counts} slots"]


def meet(site: Site) -> None:
    """Meeting a node that is known changes nothing."""
    before = sorted(node.id for node in site.nodes(site.first))
    site.ok(site.first, "CLUSTER", "MEET", "127.0.0.1", site.six[1])
    expect_equal(site.cli(site.first, "CLUSTER", "MEET", "nowhere", site.six[1]),
                 f"ERR Invalid node address specified: nowhere:{site.six[1]}", "MEET of a name")

    def same() -> bool:
        return sorted(node.id for node in site.nodes(site.first)) == before

    time.sleep(0.5)
    wait_until("the nodes to be those of before", 5, same)
    site.settle()


def identity(site: Site) -> None:
    """MYID; FORGET and RESET refuse what would do harm."""
    for port in site.six:
        own = site.id_of(port)
        expect(re.fullmatch(r"[0-9a-f]{40}", own), f"MYID of {port} is {own!r}")
        expect_equal(site.find(port, site.first).id, own, f"the id of {port} at the first node")
    Client(site.six).ask("SET", "mykey", "myvalue")
    primary = next(port for port in site.primaries() if site.cli(port, "DBSIZE") != "0")
    replica = site.replicas_of(primary)[0]
    for port, words, error in (
        (primary, ["RESET"], "ERR CLUSTER RESET can't be called with master nodes containing keys"),
        (primary, ["FORGET", site.id_of(primary)],
         "ERR I tried hard but I can't forget myself..."),
        (replica, ["FORGET", site.id_of(primary)], "ERR Can't forget my master!"),
        (primary, ["FORGET", "y" * 40], f"ERR Unknown node {'y' * 40}"),
    ):
        expect_equal(site.cli(port, "CLUSTER", *words), error, f"CLUSTER {words} at {port}")


def slot_tag(site: Site, port: int) -> str:
    """A hash tag whose slot a node has."""
    part = next(part for part in site.find(port).slots if not part.startswith("["))
    first, _, last = part.partition("-")
    for number in range(100_000):
        slot = int(site.cli(port, "CLUSTER", "KEYSLOT", f"tag{number}"))
        if int(first) <= slot <= int(last or first):
            return f"tag{number}"
    raise LookupError(f"no tag for {port}")
