"""The cluster and its nodes, as the proxies see them."""

from conditions import what_is_wrong
from panels import BLUE, GREEN, ORANGE, RED, Column, Dashboard, Lines, Now, Query, Stack, States
from panels import Table
from queries import grew, least, mean, metric, most, rate, total

ROLES = {0: ("does not answer", RED), 1: ("replica", BLUE), 2: ("primary", GREEN),
         3: ("has left", ORANGE)}
UP = least(metric("slotway_node_up"), "node")
PRIMARY = most(metric("slotway_node_primary"), "node")
# For five minutes a node that has left is still told of.
HERE = most(metric("slotway_node_in_topology"), "node")
ROLE = f"{HERE} * {UP} * (1 + {PRIMARY}) + 3 * (1 - {HERE})"
LATENCY = mean("slotway_node_request_seconds_total", "slotway_node_replies_total", "node")

# NaN is no lag.
LAG = f"{most(metric('slotway_node_lag_seconds') + ' >= 0', 'node')} or (0 * {HERE})"


def now() -> list:
    return [
        Now("Slots with a node", "Of 16,384, in the eyes of the proxy that sees the fewest.",
            [Query(least(metric("slotway_topology_slots_covered")))], unit="none", width=4,
            height=4, runbook="SlotwaySlotsUncovered"),
        Now("Shards", "Primaries with slots.",
            [Query(most(metric("slotway_topology_shards")))], unit="none", width=3, height=4),
        Now("Nodes by role", "Of the topology.",
            [Query(most(metric("slotway_topology_nodes"), "role"), "{{role}}")], unit="none",
            width=5, height=4),
        Now("Nodes down", "Of those that the topology names.",
            [Query(f"count(({UP}) < 1) or (0 * {total(metric('slotway_topology_shards'))})")],
            unit="none", width=3, height=4, steps=[(1, RED)], runbook="SlotwayNodeDown"),
        Now("Epoch", "The highest configuration epoch: it grows with each failover and each slot"
            " that moves.",
            [Query(most(metric("slotway_topology_epoch")))], unit="none", width=3, height=4),
        Now("Proxies behind", "Those that know of a lower epoch than another one.",
            [Query(f"count({metric('slotway_topology_epoch')} < on () group_left ()"
                   f" {most(metric('slotway_topology_epoch'))})"
                   f" or (0 * {total(metric('slotway_topology_shards'))})")],
            unit="none", width=3, height=4, steps=[(1, ORANGE)],
            runbook="SlotwayProxiesDisagree"),
        Now("Changes", "Of the topology in the interval, as one proxy sees them: failovers, slots"
            " that moved, nodes that came or went.",
            [Query(most(grew("slotway_topology_changes_total")))], unit="none", width=3, height=4,
            runbook="SlotwayFailover"),
    ]


def roles() -> list:
    return [
        States("Nodes", "The role of each node, and when it did not answer some proxy. One that"
               " has left the topology, failed or forgotten, is shown for five more minutes.",
               [Query(ROLE, "{{node}}")], unit="none", width=12, height=10,
               words=ROLES, runbook="SlotwayNodeDown"),
        Table("Nodes now", "As the proxies see them.",
              [Query(ROLE),
               Query(most(metric("slotway_node_slots"), "node")),
               Query(total(rate("slotway_node_requests_total"), "node")),
               Query(LATENCY),
               Query(total(metric("slotway_node_in_flight_requests"), "node")),
               Query(total(metric("slotway_node_connections"), "node")),
               Query(total(rate("slotway_node_errors_total"), "node"))],
              unit="none", width=12, height=10, joined_by="node",
              columns=[
                  Column("node", "node", {"custom.width": 118}),
                  Column("Value #A", "role", {"mappings": [{"type": "value", "options": {
                      str(value): {"index": value, "text": text, "color": color}
                      for value, (text, color) in ROLES.items()}}],
                      "custom.width": 112, "custom.cellOptions": {"type": "color-text"}}),
                  Column("Value #B", "slots", {"custom.width": 60}),
                  Column("Value #C", "requests", {"unit": "reqps"}),
                  Column("Value #D", "latency", {"unit": "s"}),
                  Column("Value #E", "in flight", {"custom.width": 70}),
                  Column("Value #F", "links", {"custom.width": 50}),
                  Column("Value #G", "trouble", {"unit": "ops"}),
              ], runbook="SlotwayNodeDown"),
    ]


def slots() -> list:
    return [
        Stack("Slots by node", "What moves from one to another: a reshard step by step, a failover"
              " at once. Below 16,384 in all, some have no node.",
              [Query(most(metric("slotway_node_slots"), "node"), "{{node}}")], unit="none",
              runbook="SlotwaySlotsUncovered"),
        Lines("Redirects", "Replies a second that sent a request elsewhere: many while slots move.",
              [Query(total(rate("slotway_redirects_total"), "kind"), "{{kind}}")], unit="reqps"),
        Lines("Epoch by proxy", "Proxies whose lines differ for long disagree on the cluster.",
              [Query(most(metric("slotway_topology_epoch"), "instance"), "{{instance}}")],
              unit="none", runbook="SlotwayProxiesDisagree"),
    ]


def load() -> list:
    return [
        Lines("Requests by node", "Sent a second, by all proxies chosen.",
              [Query(total(rate("slotway_node_requests_total"), "node"), "{{node}}")],
              unit="reqps"),
        Lines("Mean latency by node", "Of the requests answered; 0 while there are none. A node"
              " that stands out is slow, or far.",
              [Query(LATENCY, "{{node}}")], unit="s", runbook="SlotwaySlow"),
        Lines("In flight by node", "Requests without a reply. A line that climbs is a node that"
              " does not keep up, or is silent.",
              [Query(total(metric("slotway_node_in_flight_requests"), "node"), "{{node}}")],
              unit="none", runbook="SlotwayNodeDown"),
        Lines("Share of the requests", "Of all, by node: uneven slots, or hot keys.",
              [Query(f"{total(rate('slotway_node_requests_total'), 'node')} / on () group_left ()"
                     f" clamp_min({total(rate('slotway_node_requests_total'))}, 1e-9)",
                     "{{node}}")], unit="percentunit", ceiling=1),
        Lines("Queued by node", "Bytes of requests unsent or unanswered.",
              [Query(total(metric("slotway_node_queue_bytes"), "node"), "{{node}}")],
              unit="bytes", runbook="SlotwayQueuesFull"),
        Lines("Connections by node", "Open, from all workers.",
              [Query(total(metric("slotway_node_connections"), "node"), "{{node}}")],
              unit="none"),
    ]


def trouble() -> list:
    return [
        Lines("Trouble by node", "Connections refused, lost or cut, and replies that it serves"
              " nobody, a second.",
              [Query(total(rate("slotway_node_errors_total"), "node"), "{{node}}")], unit="ops",
              runbook="SlotwayNodeDown"),
        Lines("Trouble by kind", "refused, unreachable, connect_timeout: no connection; lost: it"
              " ended; silent: no answer in time; protocol: nonsense; login: our password;"
              " not_serving: LOADING and the like.",
              [Query(total(rate("slotway_node_errors_total"), "kind"), "{{kind}}")], unit="ops",
              runbook="SlotwayNodeDown"),
        Lines("Connections opened by node", "A second. Steady without trouble: something between"
              " proxy and node ends them.",
              [Query(total(rate("slotway_node_connects_total"), "node"), "{{node}}")],
              unit="cps", runbook="SlotwayNodeDown"),
        Lines("Nodes that serve nobody", "Workers that let one request at a time through, because"
              " the node is loading or has lost its cluster.",
              [Query(total(metric("slotway_node_circuit_open"), "node"), "{{node}}")],
              unit="none", runbook="SlotwayNodeNotServing"),
        Lines("Replicas behind", "For how long each has lacked what its primary has, in the eyes of"
              " the proxy that finds it furthest behind; 0 where that is not known.",
              [Query(LAG, "{{node}}")], unit="s", runbook="SlotwayNodeLinkDown"),
        Lines("Assisted failovers", "A second, by result: primaries whose process was gone, with"
              " assist_failover.",
              [Query(total(rate("slotway_assisted_failovers_total"), "result"), "{{result}}"),
               Query(total(rate("slotway_assisted_failover_attempts_total")), "attempts")],
              unit="ops", runbook="SlotwayFailover"),
        Lines("Topology: asked for", "Rounds a second, by what led to it and what came of it.",
              [Query(total(rate("slotway_topology_refreshes_total"), "trigger", "result"),
                     "{{trigger}}: {{result}}")], unit="ops", runbook="SlotwayTopologyStale"),
    ]


CLUSTER = Dashboard(
    "slotway-cluster", "Slotway: cluster and nodes",
    "The cluster behind the proxies: who has which role and how many slots, and how each node is"
    " doing. All of it as the proxies see it.",
    [("", roles()), ("Now", now()), ("What is wrong", what_is_wrong()), ("Slots", slots()),
     ("Load", load()), ("Trouble", trouble())],
)
