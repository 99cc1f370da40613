"""The nodes from within: what each slotway-node says of itself at its metrics port."""

from panels import BLUE, GREEN, ORANGE, RED, Column, Dashboard, Lines, Now, Query, Stack, States
from panels import Table, annotation
from queries import CHOSEN, least, metric, most, rate, ratio, total

ROLES = {0: ("does not answer", RED), 1: ("replica", BLUE), 2: ("primary", GREEN)}
# What every node has, whatever it does.
THERE = most(metric("slotway_node_uptime_seconds"), "instance")
IS_PRIMARY = metric("slotway_node_role", role="primary")
STATE = (f"{least(metric('slotway_node_responding'), 'instance')}"
         f" * (1 + {most(IS_PRIMARY, 'instance')})")
HITS, MISSES = (f"slotway_node_keyspace_{name}_total" for name in ("hits", "misses"))


def or_zero(expression: str) -> str:
    """Of what only some nodes have, for all of them."""
    return f"{expression} or (0 * {THERE})"


def hit_rate(*by: str) -> str:
    hits, misses = total(rate(HITS), *by), total(rate(MISSES), *by)
    return ratio(hits, f"({hits} + {misses})")


LAG = or_zero(most(metric("slotway_node_replica_lag_bytes"), "instance"))
LINK_DOWN = most(metric("slotway_node_primary_link_down_seconds"), "instance")


def now() -> list:
    return [
        Now("Nodes that answer", "Within a second. One that does not is busy with one long"
            " command, or stuck.",
            [Query(total(metric("slotway_node_responding")), "answer"),
             Query(most(metric("slotway_node_cluster_nodes")), "in the cluster")],
            unit="none", width=4, height=4, runbook="SlotwayNodeStuck"),
        Now("Cluster, say its nodes", "The worst opinion among them.",
            [Query(least(metric("slotway_node_cluster_ok")))], unit="none", width=4, height=4,
            words={0: ("down", RED), 1: ("ok", GREEN)}, runbook="SlotwaySlotsUncovered"),
        Now("Keys", "Of the primaries.",
            [Query(f"sum({metric('slotway_node_keys')} * on (job, instance) group_left ()"
                   f" {IS_PRIMARY})")], unit="none", width=4, height=4),
        Now("Commands", "A second, of all nodes.",
            [Query(total(rate("slotway_node_commands_total")))], unit="ops", width=4, height=4),
        Now("Reads that find their key", "Of all reads.", [Query(hit_rate())],
            unit="percentunit", width=4, height=4, ceiling=1),
        Now("Nodes that refuse writes", "Because a file could not be written.",
            [Query(total(metric("slotway_node_writes_refused")))], unit="none", width=4, height=4,
            steps=[(1, RED)], runbook="SlotwayNodeWritesRefused"),
    ]


def nodes() -> list:
    return [
        States("Roles", "As each node says itself, and when it did not answer.",
               [Query(STATE, "{{instance}}")], unit="none", width=10, height=10, words=ROLES,
               runbook="SlotwayNodeStuck"),
        Table("Nodes at present", "What stands out among them.",
              [Query(STATE),
               Query(total(metric("slotway_node_keys"), "instance")),
               Query(most(metric("slotway_node_memory_used_bytes"), "instance")),
               Query(total(rate("slotway_node_commands_total"), "instance")),
               Query(hit_rate("instance")),
               Query(most(metric("slotway_node_clients"), "instance")),
               Query(LAG),
               Query(LINK_DOWN)],
              unit="none", width=14, height=10, joined_by="instance",
              columns=[
                  Column("instance", "node", {"custom.width": 118}),
                  Column("Value #A", "role", {"mappings": [{"type": "value", "options": {
                      str(value): {"index": value, "text": text, "color": color}
                      for value, (text, color) in ROLES.items()}}],
                      "custom.cellOptions": {"type": "color-text"}}),
                  Column("Value #B", "keys"),
                  Column("Value #C", "memory", {"unit": "bytes"}),
                  Column("Value #D", "calls", {"unit": "ops"}),
                  Column("Value #E", "hits", {"unit": "percentunit"}),
                  Column("Value #F", "clients"),
                  Column("Value #G", "behind", {"unit": "bytes"}),
                  Column("Value #H", "link down", {"unit": "s"}),
              ], runbook="SlotwayNodeLinkDown"),
    ]


def work() -> list:
    return [
        Lines("Commands by node", "That have run, a second.",
              [Query(total(rate("slotway_node_commands_total"), "instance"), "{{instance}}")],
              unit="ops"),
        Lines("Calls by command", "The ten that are called most, a second, at all nodes.",
              [Query(f"topk(10, {total(rate('slotway_node_command_calls_total'), 'command')})",
                     "{{command}}")], unit="ops"),
        Lines("Time by command", "The part of one processor that the ten costliest take.",
              [Query(f"topk(10, {total(rate('slotway_node_command_seconds_total'), 'command')})",
                     "{{command}}")], unit="percentunit"),
        Lines("Hit rate by node", "Of its reads those that find their key; 0 without reads.",
              [Query(hit_rate("instance"), "{{instance}}")], unit="percentunit", ceiling=1),
        Lines("Error replies", "A second, the eight most frequent codes. MOVED is usual after"
              " slots have moved.",
              [Query(f"topk(8, {total(rate('slotway_node_error_replies_total'), 'code')})",
                     "{{code}}")], unit="ops", runbook="SlotwayErrors"),
        Lines("Slow commands", "A second: those that SLOWLOG keeps.",
              [Query(total(rate("slotway_node_slow_commands_total"), "instance"),
                     "{{instance}}")], unit="ops"),
        Lines("Refused and failed commands", "A second: refused before they ran, and ended with an"
              " error.",
              [Query(total(rate("slotway_node_command_rejected_total")), "refused"),
               Query(total(rate("slotway_node_command_failed_total")), "failed")], unit="ops"),
        Lines("Bytes", "A second, of all nodes: from clients, and to clients and replicas.",
              [Query(total(rate("slotway_node_received_bytes_total")), "received"),
               Query(total(rate("slotway_node_sent_bytes_total")), "sent")], unit="binBps"),
    ]


def keys() -> list:
    return [
        Lines("Memory of keys by node", "As used_memory of INFO.",
              [Query(most(metric("slotway_node_memory_used_bytes"), "instance"),
                     "{{instance}}")], unit="bytes", runbook="SlotwayNodeMemoryNearLimit"),
        Stack("Keys by node", "Those of replicas included.",
              [Query(total(metric("slotway_node_keys"), "instance"), "{{instance}}")],
              unit="none"),
        Lines("Keys that expire", "In all those that will, and how many have, a second.",
              [Query(total(metric("slotway_node_keys_expiring")), "will expire"),
               Query(total(rate("slotway_node_keys_expired_total")), "expired a second")],
              unit="none"),
    ]


def clients() -> list:
    return [
        Lines("Clients by node", "Connected.",
              [Query(most(metric("slotway_node_clients"), "instance"), "{{instance}}")],
              unit="none", runbook="SlotwayNodeClientsNearLimit"),
        Lines("Connections", "Accepted a second, and those of them that were turned away.",
              [Query(total(rate("slotway_node_connections_accepted_total")), "accepted"),
               Query(total(rate("slotway_node_connections_rejected_total")), "turned away")],
              unit="ops", runbook="SlotwayNodeClientsNearLimit"),
        Lines("Clients that wait or listen", "Blocked ones; channels and patterns with"
              " subscribers.",
              [Query(total(metric("slotway_node_clients_blocked")), "blocked"),
               Query(total(metric("slotway_node_subscriptions"), "kind"), "{{kind}}")],
              unit="none"),
    ]


def replication() -> list:
    return [
        Lines("Behind", "The bytes that the slowest replica of each primary has not acknowledged.",
              [Query(LAG, "{{instance}}")], unit="bytes", runbook="SlotwayNodeLinkDown"),
        Lines("Link to the primary down", "For how long, by replica.",
              [Query(LINK_DOWN, "{{instance}}")], unit="s", runbook="SlotwayNodeLinkDown"),
        Lines("Silence of the primary", "Since anything came from it, while the link is up.",
              [Query(most(metric("slotway_node_primary_silence_seconds"), "instance"),
                     "{{instance}}")], unit="s", runbook="SlotwayNodeLinkDown"),
        Lines("Syncs", "Replicas that were given all keys, or could go on where they were, a"
              " second.",
              [Query(total(rate("slotway_node_syncs_total"), "kind"), "{{kind}}")], unit="ops"),
        Lines("Replicas by state", "In the eyes of their primaries.",
              [Query(total(metric("slotway_node_replicas"), "state"), "{{state}}")],
              unit="none"),
        Lines("Loading", "Nodes that load keys, from files or from their primary.",
              [Query(most(metric("slotway_node_loading"), "instance"), "{{instance}}")],
              unit="none"),
    ]


def files() -> list:
    in_progress = ("slotway_node_rdb_save_in_progress", "slotway_node_aof_rewrite_in_progress")
    return [
        Lines("Changes that are not saved", "In the RDB file.",
              [Query(most(metric("slotway_node_rdb_changes_since_save"), "instance"),
                     "{{instance}}")], unit="none", runbook="SlotwayNodeSaveFailed"),
        Lines("Since the last save", "Of all keys, or since the start.",
              [Query("time() - " + most(metric("slotway_node_rdb_last_save_timestamp_seconds"),
                                        "instance"), "{{instance}}")],
              unit="s", runbook="SlotwayNodeSaveFailed"),
        Lines("Saving and rewriting", "Nodes that are at it.",
              [Query(total(metric(in_progress[0])), "saving the RDB file"),
               Query(total(metric(in_progress[1])), "rewriting the append-only file")],
              unit="none", runbook="SlotwayNodeSaveFailed"),
        Lines("Length of the append-only file", "0 where there is none.",
              [Query(most(metric("slotway_node_aof_size_bytes"), "instance"), "{{instance}}")],
              unit="bytes", runbook="SlotwayNodeWritesRefused"),
        Lines("What waits to be appended", "More and more of it is a disk that does not keep up.",
              [Query(most(metric("slotway_node_aof_buffer_bytes"), "instance"),
                     "{{instance}}")], unit="bytes", runbook="SlotwayNodeWritesRefused"),
        Lines("Disk too slow", "Times a second that bringing it to the disk had to wait.",
              [Query(total(rate("slotway_node_aof_fsyncs_delayed_total"), "instance"),
                     "{{instance}}")], unit="ops", runbook="SlotwayNodeWritesRefused"),
    ]


def cluster() -> list:
    bad = metric("slotway_node_cluster_slots", state="pfail|fail|unassigned")
    return [
        Lines("Slots in trouble", "In the eyes of the node that sees most of them.",
              [Query(most(bad, "state"), "{{state}}")], unit="none",
              runbook="SlotwaySlotsUncovered"),
        Stack("Slots owned", "By what each node says of itself.",
              [Query(most(metric("slotway_node_slots_owned"), "instance"), "{{instance}}")],
              unit="none"),
        Lines("Slots that move", "Being given away, and being taken over.",
              [Query(total(metric("slotway_node_slots_moving"), "direction"), "{{direction}}")],
              unit="none"),
        Lines("Epoch by node", "The highest that each knows of; they should agree.",
              [Query(most(metric("slotway_node_cluster_epoch"), "instance"), "{{instance}}")],
              unit="none"),
        Lines("Nodes known", "And of them those that the cluster agrees do not work.",
              [Query(most(metric("slotway_node_cluster_nodes")), "known"),
               Query(most(metric("slotway_node_cluster_nodes_failing")), "failing")],
              unit="none", runbook="SlotwayNodesMissing"),
        Lines("Messages of the bus", "A second, between all nodes.",
              [Query(total(rate("slotway_node_cluster_messages_total"), "direction"),
                     "{{direction}}")], unit="ops"),
    ]


NODES = Dashboard(
    "slotway-nodes", "Slotway: nodes from within",
    "What each slotway-node says of itself: memory, commands, clients, replication, files. Its"
    " instances are the nodes; the other dashboards' are the proxies.",
    [("", nodes()), ("Now", now()), ("Work", work()), ("Keys and memory", keys()),
     ("Clients", clients()), ("Replication", replication()), ("Files", files()),
     ("The cluster", cluster())],
    found_by="slotway_node_uptime_seconds", job="", tag="slotway-nodes", other="slotway",
    marks=[
        annotation("Epochs", BLUE, "Slots or roles have changed", "{{instance}}",
                   f"changes(slotway_node_config_epoch{{{CHOSEN}}}[$__rate_interval]) > 0"),
        annotation("Starts", ORANGE, "Node started", "{{instance}}",
                   f"resets(slotway_node_uptime_seconds{{{CHOSEN}}}[$__rate_interval]) > 0"),
    ],
)
