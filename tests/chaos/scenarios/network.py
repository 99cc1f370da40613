"""A13 to A16 and A19: partitions, connections that go silent, lost packets, names that change.

These run in network namespaces; see namespaces.py.
"""

import contextlib
import threading
import time

from cluster import own_key
from harness import HOST, Machine, Proxy, wait_until
from namespaces import OWN_ADDRESS, FarNodes, Network, Place, command
from nodes import knows_setting
from resp import Connection, Error
from table import ms, worst
from trial import Trial

NODE_TIMEOUT = 2000
CUT_SECONDS = 12.0


@contextlib.contextmanager
def scene(seconds: int):
    with Machine(seconds) as machine:
        network = Network()
        yield machine, network, FarNodes(machine, network, NODE_TIMEOUT)
        for name in list(network.addresses):
            network.heal(name)


def load_settings(trial: Trial) -> dict:
    return {"clients": trial.options.clients, "depth": trial.options.depth,
            "rate": trial.options.rate}


def partition(trial: Trial) -> None:
    """A13: a primary and a proxy on one side, five nodes and another proxy on the other."""
    settings = load_settings(trial)
    settings["rate"] /= 2
    with scene(400) as (machine, network, nodes):
        near, far = (Place(machine, network, name, number)
                     for name, number in (("p1", 11), ("p2", 12)))
        seeds = [nodes.address(port) for port in nodes.ports]
        for place in (near, far):
            place.proxy(seeds, trial.options.workers)
        loads = [place.load(nodes, prefix=place.name, **settings) for place in (near, far)]
        victim = nodes.primaries()[0]
        key = own_key(nodes.owners(), victim)
        replica = nodes.replica_of(victim)
        minority = [nodes.member(victim), "p1"]
        majority = [name for name in network.addresses if name not in minority]
        at = time.time()
        network.cut(minority, majority)
        refusals: list[float] = []
        refused = threading.Thread(target=lambda: refusals.append(when_refused(victim, key)))
        refused.start()
        nodes.ports.remove(victim)
        replaced = nodes.wait_replaced(victim, replica)
        time.sleep(max(0.0, at + CUT_SECONDS - time.time()))
        healing = time.time()
        network.heal(*minority)
        healed = time.time()
        nodes.ports.append(victim)
        time.sleep(6.0)
        refused.join()
        refuses = refusals[0] + 0.2
        loads[0].window("minority", refuses, healing)
        loads[0].loss(0, at, refuses)
        loads[1].window("cut", at, healed)
        loads[1].loss(0, at)
        for load in loads:
            load.window("healed", healed, healed + 6)
        reports = [load.finish() for load in loads]
        for report in reports:
            report.show()
        nodes.wait_whole()
        nodes.check()
    judge_partition(trial, reports, replaced, refusals[0] - at)


def when_refused(port: int, key: bytes) -> float:
    """When a node that has lost the others stopped to take writes."""
    with Connection(port) as node:
        while not isinstance(node.ask("SET", key, "x"), Error):
            time.sleep(0.005)
    return time.time()


def judge_partition(trial: Trial, reports: list, replaced: float, refused: float) -> None:
    near, far = reports
    what = "a primary and a proxy cut off from the rest"
    done = near.shard("minority", 0)["done"]
    trial.table.add("A13", what, "the proxy there acknowledges nothing 0.2 s after the node does",
                    f"the node refused after {refused:.2f} s; {done} replies later", not done)
    first = [shard["first_ms"] for shard in near.window("healed")["shards"]]
    trial.table.add("A13", "healed", "the proxy there serves all shards within 2 s",
                    ", ".join("never" if one is None else ms(one) for one in first),
                    all(one is not None and one <= 2000 for one in first))
    cut = far.shard("cut", 0)
    others = far.others("cut", 0)
    healthy = sum(one["read_errors"] + one["write_errors"] for one in others)
    most = trial.in_flight_max()
    trial.table.add(
        "A13", "the proxy with the majority", "as A3: 0 read errors, writes under way unknown,"
        " healthy shards 0 errors",
        f"{cut['read_errors']} read errors, {cut['write_errors']} write errors,"
        f" {cut['writes_unknown']} of them unknown; healthy shards {healthy}; stall"
        f" {ms(cut['write_stall_ms'])}, the nodes took {ms(replaced * 1000)}",
        not healthy and not cut["read_errors"] and cut["write_errors"] == cut["writes_unknown"]
        <= most)
    after = far.window("healed")["shards"]
    errors = sum(one["read_errors"] + one["write_errors"] for one in after)
    trial.table.add("A13", "healed", "the proxy with the majority notices nothing",
                    f"{errors} errors, stall {ms(worst(one['stall_ms'] for one in after))}",
                    not errors and worst(one["stall_ms"] for one in after) <= 250)
    trial.table.add("A13", what, "0 lost but what the cut-off primary took, 0 stale",
                    f"minority: {near.verdict()}; majority: {far.verdict()}",
                    not near.faults and not far.faults)


def asymmetric(trial: Trial) -> None:
    """A14: only the proxy can't reach a primary; the nodes see nothing of it."""
    hold_ms = 3000
    settings = {"hold_timeout_ms": hold_ms}
    assist = knows_setting("assist_failover = true")
    if assist:
        settings["assist_failover"] = True
    with scene(300) as (machine, network, nodes):
        place = Place(machine, network, "p1", 11)
        seeds = [nodes.address(port) for port in nodes.ports]
        proxy = place.proxy(seeds, trial.options.workers, **settings)
        load = place.load(nodes, **load_settings(trial))
        victim = nodes.primaries()[0]
        at = time.time()
        network.cut(["p1"], [nodes.member(victim)])
        time.sleep(CUT_SECONDS)
        network.heal("p1")
        healed = time.time()
        time.sleep(5.0)
        load.window("cut", at, healed)
        load.window("healed", healed, healed + 5)
        report = load.finish()
        report.show()
        same = nodes.primaries()[0] == victim
        nodes.check()
        expect_ready = proxy.get("/ready")[0]
    what = f"only the proxy is cut off from a primary, for {CUT_SECONDS:.0f} s"
    cut = report.shard("cut", 0)
    errors = cut["read_errors"] + cut["write_errors"]
    trial.table.add("A14", what, "errors, not silence, after the hold limit",
                    f"{errors} errors: {report.all_errors()}", errors > 0)
    healthy = sum(one["read_errors"] + one["write_errors"] for one in report.others("cut", 0))
    trial.table.add_time("A14", "other shards meanwhile", "0 errors, stall ≤ 250 ms",
                    f"{healthy} errors, stall"
                    f" {ms(worst(one['stall_ms'] for one in report.others('cut', 0)))}",
                    all(one["stall_ms"] <= 250 for one in report.others("cut", 0)), not healthy)
    first = report.shard("healed", 0)["first_ms"]
    trial.table.add("A14", "repaired", "serves again ≤ 1 s later",
                    "never" if first is None else ms(first),
                    first is not None and first <= 1000 and expect_ready == 200)
    trial.table.add("A14", "the cluster" + (", with assist_failover" if assist else ""),
                    "the primary stays the same", str(same), same)
    trial.table.add("A14", what, "0 lost, doubled, stale", report.verdict(), not report.faults)


def lost_connections(proxy: Proxy) -> float:
    """How many connections to nodes have ended; others may have been opened for the first time."""
    opened = proxy.metric("slotway_backend_connects_total")
    return opened - proxy.metric("slotway_backend_connections")


def silent(trial: Trial) -> None:
    """A15: one established connection to a node goes silent, all others live on."""
    with scene(300) as (machine, network, nodes):
        place = Place(machine, network, "p1", 11)
        # The one that goes silent has to be one that requests go through.
        proxy = place.proxy([nodes.address(port) for port in nodes.ports], trial.options.workers,
                            lag_check_interval_ms=0)
        load = place.load(nodes, **load_settings(trial))
        victim = nodes.primaries()[0]
        far = network.addresses[nodes.member(victim)]
        ports = network.connections("p1", far, victim)
        before = lost_connections(proxy)
        at = time.time()
        load.window("before", at - 3, at)
        network.drop_connection("p1", ports[0], far, victim)
        time.sleep(9.0)
        load.window("silent", at, time.time())
        lost = lost_connections(proxy) - before
        report = load.finish()
        report.show()
        nodes.check()
    what = f"one of {len(ports)} connections to a primary goes silent"
    shard = report.shard("silent", 0)
    most = trial.in_flight_max()
    trial.table.add_time("A15", what, "detected ≤ 5 s, writes under way unknown, 0 read errors",
                    f"worst latency {ms(shard['max_ms'])}; {shard['read_errors']} read errors,"
                    f" {shard['write_errors']} write errors, {shard['writes_unknown']} unknown",
                    shard["max_ms"] <= 5500, not shard["read_errors"]
                    and shard["write_errors"] == shard["writes_unknown"] <= most)
    trial.table.add("A15", what, "one connection lost", f"{lost:.0f}", lost == 1)
    others = report.others("silent", 0)
    errors = sum(one["read_errors"] + one["write_errors"] for one in others)
    growth = [now["p99_ms"] - before["p99_ms"]
              for now, before in zip(others, report.others("before", 0))]
    trial.table.add_time("A15", "other shards meanwhile", "0 errors, p99 + 2 ms at most",
                    f"{errors} errors, p99 {worst(growth):+.1f} ms",
                    worst(growth) - report.own_growth("before", "silent") <= 2, not errors)
    trial.table.add("A15", what, "0 lost, doubled, stale", report.verdict(), not report.faults)


def lossy(trial: Trial) -> None:
    """A16: 1 % and 5 % of the packets between the proxy and the nodes are lost, each way."""
    seconds = 5.0 if trial.quick else 15.0
    with scene(300) as (machine, network, nodes):
        place = Place(machine, network, "p1", 11)
        proxy = place.proxy([nodes.address(port) for port in nodes.ports], trial.options.workers)
        load = place.load(nodes, **load_settings(trial))
        lost = {}
        for percent in (1, 5):
            before = lost_connections(proxy)
            at = time.time()
            network.lose("p1", percent)
            time.sleep(seconds)
            load.window(f"lost-{percent}", at, time.time())
            lost[percent] = lost_connections(proxy) - before
            network.heal("p1")
            time.sleep(2.0)
        report = load.finish()
        report.show()
        nodes.check()
    quiet = worst(one["p99_ms"] for one in report.window("quiet")["shards"])
    for percent, count in lost.items():
        shards = report.window(f"lost-{percent}")["shards"]
        errors = sum(one["read_errors"] + one["write_errors"] for one in shards)
        p99 = worst(one["p99_ms"] for one in shards)
        trial.table.add_time(
            "A16", f"{percent} % of packets lost", "0 errors, p99 + 400 ms at most, none lost",
            f"{errors} errors, p99 {ms(quiet)} to {ms(p99)}, worst"
            f" {ms(worst(one['max_ms'] for one in shards))}, {count:.0f} connections lost",
            p99 - quiet <= 400, not errors and not count)
    trial.table.add("A16", "lost packets", "0 lost, doubled, stale", report.verdict(),
                    not report.faults)


NAMED = """mount --bind "$1" /etc/hosts
mount --bind "$2" /etc/resolv.conf
shift 2
exec "$@"
"""
SEED_NAME = "seed.test"
NEW_FIRST = 11


def named(trial: Trial) -> None:
    """A19: the seed is a name that is unknown at first, answered slowly, and changes in the end."""
    with scene(400) as (machine, network, nodes):
        hosts, resolv = (machine.folder / name for name in ("hosts", "resolv.conf"))
        local = f"{HOST} localhost\n"
        hosts.write_text(local)
        resolv.write_text(f"nameserver {OWN_ADDRESS}\noptions timeout:5 attempts:1\n")
        silence_names()
        place = Place(machine, network, "p1", 11)
        prefix = ("unshare", "--mount", "sh", "-c", NAMED, "sh", str(hosts), str(resolv))
        proxy = place.proxy([f"{SEED_NAME}:{nodes.ports[0]}"], trial.options.workers, prefix,
                            ready=False)
        time.sleep(6.0)
        ready = proxy.get("/ready")[0]
        hosts.write_text(local + f"{network.addresses['n1']} {SEED_NAME}\n")
        at = time.monotonic()
        wait_until("/ready", 60, lambda: proxy.get("/ready")[0] == 200)
        trial.table.add("A19", "the seed's name is unknown, then known", "not ready, then ≤ 31 s",
                        f"/ready {ready}, then {time.monotonic() - at:.1f} s",
                        ready == 503 and time.monotonic() - at <= 31)
        nameless(trial, place, nodes, hosts, local)
        moved(trial, machine, network, nodes, proxy, hosts, local)


def silence_names() -> None:
    """Questions about names get no answer, not even that nobody listens."""
    rules = ("add table inet names",
             "add chain inet names in { type filter hook input priority 0; }",
             "add rule inet names in udp dport 53 drop")
    command("nft -f -", "\n".join(rules) + "\n")


def nameless(trial: Trial, place: Place, nodes: FarNodes, hosts, local: str) -> None:
    load = place.load(nodes, **load_settings(trial))
    hosts.write_text(local)
    time.sleep(6.0)
    at = time.time()
    nodes.hand_over(nodes.primaries()[0])
    time.sleep(2.0)
    load.window("nameless", at - 6, time.time())
    report = load.finish()
    report.show()
    longest = worst(one["max_ms"] for one in report.window("nameless")["shards"])
    clean = not report.error_count() and not report.faults
    trial.table.add("A19", "no answer about the name, and a failover", "0 errors, ≤ 100 ms",
                    f"errors: {report.all_errors()}; {report.verdict()}; worst latency"
                    f" {ms(longest)}", clean and longest <= 100)


def moved(trial: Trial, machine: Machine, network: Network, nodes: FarNodes, proxy, hosts,
          local: str) -> None:
    fresh = FarNodes(machine, network, NODE_TIMEOUT, first=NEW_FIRST + 10, replicas=0)
    for port in nodes.ports:
        nodes.stop(port)
    time.sleep(1.0)
    address = network.addresses[fresh.member(fresh.ports[0])]
    hosts.write_text(local + f"{address} {SEED_NAME}\n")
    # The name's port is part of the configuration, so the new node has to listen there.
    forward(network, fresh, nodes.ports[0])
    at = time.monotonic()

    def serves() -> bool:
        body = proxy.get("/topology")[1]
        return str(fresh.ports[0]) in body

    wait_until("the new cluster", 90, serves)
    took = time.monotonic() - at
    trial.table.add("A19", "all nodes gone, the name leads to other ones", "found ≤ 35 s",
                    f"{took:.1f} s", took <= 35)


def forward(network: Network, fresh: FarNodes, port: int) -> None:
    """Makes the first new node reachable at the port of the old seed, too."""
    member = fresh.member(fresh.ports[0])
    network.nft(member, "add table ip chaosnat",
                "add chain ip chaosnat pre { type nat hook prerouting priority -100; }",
                f"add rule ip chaosnat pre tcp dport {port} redirect to :{fresh.ports[0]}")
