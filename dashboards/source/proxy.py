"""One proxy in depth; or several, added up, where no panel says that it shows them one by one."""

from conditions import what_is_wrong
from panels import GREEN, ORANGE, RED, Dashboard, Lines, Now, Query, Stack, Text
from queries import grew, least, mean, metric, most, quantile, rate, ratio, total

CLIENT = "slotway_client_request_duration_seconds"
BACKEND = "slotway_backend_request_duration_seconds"
HOLD = "slotway_hold_duration_seconds"
YES = {0: ("no", RED), 1: ("yes", GREEN)}
NO = {0: ("no", GREEN), 1: ("yes", ORANGE)}


def rates(**names: str) -> list[Query]:
    """Counters, by the name that their line is to have; '_' stands for a blank."""
    return [Query(total(rate(f"slotway_{name}")), title.replace("_", " "))
            for title, name in names.items()]


def gauges(**names: str) -> list[Query]:
    return [Query(total(metric(f"slotway_{name}")), title.replace("_", " "))
            for title, name in names.items()]


def by(label: str, name: str) -> Query:
    return Query(total(rate(f"slotway_{name}"), label), f"{{{{{label}}}}}")


def now() -> list:
    return [
        Now("Ready", "Whether /ready says 200, so that a load balancer sends clients here.",
            [Query(least(metric("slotway_ready")))], unit="none", width=2, height=4, words=YES,
            runbook="SlotwayNotReady"),
        Now("Draining", "Whether the process is about to end.",
            [Query(most(metric("slotway_draining")))], unit="none", width=2, height=4, words=NO),
        Now("Running for", "Since the process was started.",
            [Query(f"time() - {most(metric('process_start_time_seconds'))}")], unit="s",
            width=3, height=4, runbook="SlotwayRestarting"),
        Text("Version", "Of each proxy.",
             [Query(f"count by (version) ({metric('slotway_build_info')})", "{{version}}")],
             unit="none", width=3, height=4),
        Now("Clients of max", "Connected, as a share of those that may be.",
            [Query(ratio(total(metric("slotway_clients")), total(metric("slotway_clients_max"))))],
            unit="percentunit", width=3, height=4, steps=[(0.8, ORANGE), (0.95, RED)],
            runbook="SlotwayConnectionsNearLimit"),
        Now("Memory of the limit", "Resident, as a share of memory_bytes_max.",
            [Query(ratio(total(metric("process_resident_memory_bytes")),
                         total(metric("slotway_memory_max_bytes"))))],
            unit="percentunit", width=3, height=4, steps=[(0.625, ORANGE), (0.875, RED)],
            runbook="SlotwayMemoryShort"),
        Now("Files of the limit", "As a share of what ulimit -n allows.",
            [Query(ratio(total(metric("process_open_fds")), total(metric("process_max_fds"))))],
            unit="percentunit", width=3, height=4, steps=[(0.8, ORANGE), (0.95, RED)],
            runbook="SlotwayOpenFilesNearLimit"),
        Now("Configuration read", "When the running configuration was last taken over: at the start"
            " or by a reload.",
            [Query(f"1000 * {most(metric('slotway_config_last_reload_timestamp_seconds'))}")],
            unit="dateTimeFromNow", width=3, height=4, runbook="SlotwayReloadFailed"),
        Now("Panics", "Bugs that ended a client or a connection in the time shown; each is in the"
            " log with where it was.",
            [Query(total(grew("slotway_panics_total")))], unit="none", width=2, height=4,
            steps=[(0.001, RED)], runbook="SlotwayPanics"),
    ]


def requests() -> list:
    return [
        Stack("Requests", "Answered a second, by family of commands.",
              [by("family", "requests_total")], unit="reqps"),
        Lines("Errors by family", "Requests a second whose reply was an error.",
              [Query(total(rate("slotway_requests_total", outcome="error"), "family"),
                     "{{family}}")], unit="reqps", runbook="SlotwayErrors"),
        Lines("Errors by code", "By the word that the reply begins with; invalid: no command, or no"
              " RESP.",
              [by("code", "error_replies_total"), *rates(invalid="requests_invalid_total")],
              unit="reqps", runbook="SlotwayErrors"),
        Lines("Latency seen by clients", "From a request's arrival to its whole reply.",
              [Query(quantile(part, CLIENT), name) for part, name in
               ((0.5, "half"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"))],
              unit="s", runbook="SlotwaySlow"),
        Lines("The nodes' part of it", "From queueing a request for a node to reading its reply.",
              [Query(quantile(part, BACKEND), name) for part, name in
               ((0.5, "half"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"))],
              unit="s", runbook="SlotwaySlow"),
        Lines("Mean latency", "What lies between the lines is the proxy's own part, and the time"
              " that requests are held.",
              [Query(mean(f"{CLIENT}_sum", f"{CLIENT}_count"), "clients see"),
               Query(mean(f"{BACKEND}_sum", f"{BACKEND}_count"), "nodes' part")],
              unit="s", runbook="SlotwaySlow"),
    ]


def clients() -> list:
    return [
        Lines("Clients", "Connected, and how many may be.",
              gauges(connected="clients", at_most="clients_max"), unit="none",
              runbook="SlotwayConnectionsNearLimit"),
        Lines("What clients are in", "A client counts once in each line that fits.",
              gauges(in_MULTI="clients_in_transaction", blocked="clients_blocked",
                     subscribed="clients_subscribed", watching="clients_watching"), unit="none"),
        Lines("Coming and going", "Connections accepted a second, and those turned away at the"
              " door, by reason.",
              [*rates(accepted="clients_accepted_total"),
               Query(total(rate("slotway_clients_refused_total"), "reason"), "refused: {{reason}}"),
               *rates(accept_failed="accept_failures_total")],
              unit="cps", runbook="SlotwayClientsRefused"),
        Lines("Clients cut off", "A second, by reason; docs/metrics.md has the reasons.",
              [by("reason", "clients_cut_total"), *rates(subscriber="subscribers_cut_total")],
              unit="cps"),
        Lines("Logins", "A second: wrong passwords, and logins refused unseen because too many from"
              " the same address had failed.",
              rates(wrong="logins_failed_total", refused_unseen="logins_refused_total",
                    addresses_forgotten="login_addresses_forgotten_total"),
              unit="ops", runbook="SlotwayLoginsRefused"),
        Lines("Bytes", "A second, between clients and proxy.",
              rates(received="client_received_bytes_total", sent="client_sent_bytes_total"),
              unit="Bps"),
    ]


def nodes() -> list:
    return [
        Lines("In flight", "Requests that nodes have not answered, by node.",
              [Query(total(metric("slotway_node_in_flight_requests"), "node"), "{{node}}"),
               *gauges(all="in_flight_requests")],
              unit="none"),
        Lines("Queues to nodes", "Bytes of requests that are unsent or unanswered, by node.",
              [Query(total(metric("slotway_node_queue_bytes"), "node"), "{{node}}")],
              unit="bytes", runbook="SlotwayQueuesFull"),
        Lines("Connections", "Open to nodes, and those of one client alone (BLPOP, WATCH) with how"
              " many there may be.",
              gauges(shared="backend_connections", private="private_connections",
                     private_idle="private_connections_idle",
                     private_at_most="private_connections_max"),
              unit="none", runbook="SlotwayPrivateConnectionsNearLimit"),
        Lines("Trouble with nodes", "A second, by kind: what went wrong on connections to nodes.",
              [by("kind", "node_errors_total"), *rates(queue_full="backend_queue_full_total")],
              unit="ops", runbook="SlotwayNodeDown"),
        Lines("Connecting", "Connections opened to nodes a second, and the attempts that failed.",
              rates(opened="backend_connects_total", failed="backend_connects_failed_total",
                    private="private_connects_total", for_subscriptions="feed_connects_total"),
              unit="cps", runbook="SlotwayNodeDown"),
        Lines("Connections to nodes cut", "A second: for what the node said, by reason, and for"
              " want of an answer; checks are idle connections that were asked whether they live.",
              [by("reason", "backend_cut_total"), *rates(no_answer="backend_timeouts_total",
                                                         checks="backend_checks_total")],
              unit="ops", runbook="SlotwayNodeDown"),
        Lines("Replies that a node serves nobody", "A second: it is loading, or misses its"
              " cluster. The proxy keeps requests back from it then.",
              rates(replies="gates_total"), unit="ops", runbook="SlotwayNodeNotServing"),
        Lines("Bytes to and from nodes", "A second.",
              rates(sent="backend_sent_bytes_total", received="backend_received_bytes_total"),
              unit="Bps"),
    ]


def redirects() -> list:
    return [
        Lines("Redirects", "Replies of nodes that sent a request elsewhere or asked to try later.",
              [by("kind", "redirects_total")], unit="reqps"),
        Lines("Sent again", "Requests a second, by why; put off: retry_percent was used up.",
              [by("reason", "retries_total"), *rates(put_off="retries_deferred_total")],
              unit="reqps", runbook="SlotwayRetriesUsedUp"),
        Lines("Held", "Requests a second that begin to wait for their slot; in vain: an error after"
              " hold_timeout_ms; no room: an error because hold_bytes_max were waiting.",
              rates(held="held_requests_total", in_vain="held_requests_expired_total",
                    no_room="held_requests_refused_total"),
              unit="reqps", runbook="SlotwayHoldsExpired"),
        Lines("How long they were held", "0 while there are none.",
              [Query(quantile(part, HOLD), name) for part, name in
               ((0.5, "half"), (0.99, "99 %"))], unit="s", runbook="SlotwayHoldsExpired"),
        Lines("Room for held requests", "Bytes that wait, and hold_bytes_max of all workers.",
              gauges(waiting="hold_bytes", at_most="hold_bytes_max"), unit="bytes",
              runbook="SlotwayHoldsFull"),
        Lines("Slots and nodes that wait", "Slots whose requests are held, and nodes that serve"
              " nobody just now.",
              gauges(slots="holds", nodes="gates"), unit="none", runbook="SlotwayHoldsExpired"),
        Lines("Results unknown", "Writes a second whose reply was lost with a connection.",
              rates(unknown="results_unknown_total"), unit="ops",
              runbook="SlotwayResultsUnknown"),
        Lines("Topology: asked for", "Rounds of asking the nodes a second, by what led to it and"
              " what came of it.",
              [Query(total(rate("slotway_topology_refreshes_total"), "trigger", "result"),
                     "{{trigger}}: {{result}}")], unit="ops", runbook="SlotwayTopologyStale"),
        Lines("Topology: age", "Since a node last confirmed it.",
              [Query(most(metric("slotway_topology_age_seconds"), "instance"), "{{instance}}")],
              unit="s", steps=[(30, ORANGE)], runbook="SlotwayTopologyStale"),
    ]


def memory() -> list:
    return [
        Lines("Memory", "Resident, what the workers keep for clients and nodes, and what the"
              " process may take.",
              [Query(total(metric("process_resident_memory_bytes")), "resident"),
               *gauges(kept="memory_kept_bytes", at_most="memory_max_bytes")],
              unit="bytes", runbook="SlotwayMemoryShort"),
        Lines("What is kept for whom", "Replies that clients do not take, requests that nodes have"
              " not answered, requests that are held, scripts.",
              gauges(for_clients="client_output_bytes", for_nodes="backend_queue_bytes",
                     held="hold_bytes", scripts="script_bytes"),
              unit="bytes", runbook="SlotwayMemoryShort"),
        Lines("Strain", "0 none; 1 tight: reads less; 2 short: refuses clients; 3 over: cuts off.",
              [Query(most(metric("slotway_memory_strain"), "instance"), "{{instance}}")],
              unit="none", steps=[(1, ORANGE), (2, RED)], ceiling=3,
              runbook="SlotwayMemoryShort"),
        Lines("Clients that were slowed", "A second: not read from for a while because they are"
              " owed too much, or because memory is scarce; large requests that took turns.",
              rates(owed_too_much="clients_paused_total", memory="requests_delayed_total",
                    took_turns="large_requests_waited_total"), unit="ops"),
        Lines("Refused for a bound", "Requests a second that got an error because a bound of the"
              " configuration was reached.",
              rates(merge_bytes_max="merges_refused_total",
                    transaction_bytes_max="transactions_refused_total",
                    backend_queue_bytes_max="backend_queue_full_total",
                    cross_slot_bytes_max="cross_slot_reads_refused_total",
                    private_connections_max="private_connections_refused_total",
                    client_subscription_bytes_max="subscriptions_refused_total"),
              unit="reqps", runbook="SlotwayQueuesFull"),
        Lines("Large values and replies", "A second: requests and replies of large_value_bytes_min"
              " and more, and replies passed on in pieces.",
              [by("direction", "large_values_total"), *rates(in_pieces="replies_passed_total")],
              unit="ops"),
    ]


def kinds() -> list:
    return [
        Lines("Split and put together", "Requests a second whose keys lay in several slots, or in a"
              " slot that moved.",
              rates(cross_slot_reads="cross_slot_reads_total",
                    key_by_key="requests_scattered_total", gradually="requests_gradual_total"),
              unit="reqps"),
        Lines("Transactions", "Sent to a node a second.",
              rates(transactions="transactions_total"), unit="ops"),
        Lines("Reads by replicas", "Reads that replicas may serve, by who was asked; and those that"
              " another node served than was wanted.",
              [by("target", "reads_total"),
               Query(total(rate("slotway_read_fallbacks_total"), "reason"), "not: {{reason}}")],
              unit="reqps"),
        Lines("Reads that wait, replicas left out", "Reads that wait for a replica now; and times"
              " a second that a worker ceased to read from one, by its state.",
              [*gauges(waiting="reads_waiting"),
               Query(total(rate("slotway_replicas_left_out_total"), "state"), "left: {{state}}")],
              unit="none"),
        Lines("Replicas", "As the workers see them, added up, by state; only fit ones serve reads."
              " Looked at only where read_from asks for it.",
              [Query(total(metric("slotway_replicas"), "state"), "{{state}}")], unit="none"),
        Lines("Publish and subscribe", "Messages given to clients a second.",
              rates(messages="messages_total"), unit="ops"),
        Lines("Subscriptions", "Of clients, and of the workers at the nodes by kind.",
              [*gauges(of_clients="subscribers"),
               Query(total(metric("slotway_subscriptions"), "kind"), "at nodes: {{kind}}")],
              unit="none"),
        Lines("Subscriptions lost", "A second: connections for them that ended, subscriptions that"
              " moved, and those that no node confirmed.",
              rates(connections="feeds_lost_total", moved="subscriptions_moved_total",
                    not_confirmed="subscriptions_expired_total"), unit="ops"),
        Lines("Scripts", "A second: sent along because the node did not know them, and forgotten"
              " for want of room.",
              rates(sent_along="scripts_healed_total", forgotten="scripts_evicted_total"),
              unit="ops"),
        Lines("Scripts remembered", "Their bytes, and how many there may be.",
              gauges(bytes="script_bytes", at_most="script_bytes_max"), unit="bytes"),
        Lines("Blocked clients", "Keys that clients wait for, and elements put back because their"
              " client had left.",
              [*gauges(keys="waiting_keys"), *rates(put_back_a_second="restored_elements_total")],
              unit="none"),
    ]


def hot() -> list:
    return [
        Lines("The busiest slot's share", "Of the requests of the last ten seconds or so. PROXY"
              " HOTKEYS and /hot say which keys.",
              [Query(most(metric("slotway_hot_slot_share_ratio"), "instance"), "{{instance}}")],
              unit="percentunit", ceiling=1),
        Lines("Slow requests", "A second, that took slowlog_slower_than_us or more; SLOWLOG GET"
              " shows them.",
              rates(slow="slow_requests_total"), unit="reqps", runbook="SlotwaySlow"),
        Lines("Keys looked at", "Requests a second whose key was sampled for hot keys.",
              rates(samples="key_samples_total"), unit="reqps"),
        Lines("Access log", "Lines a second: written, and dropped because of lines_max.",
              [by("result", "access_log_lines_total")], unit="ops"),
        Lines("Spans of traces", "A second: exported, dropped for want of room, failed because the"
              " collector did not take them.",
              [by("result", "trace_spans_total")], unit="ops"),
    ]


def process() -> list:
    return [
        Lines("Processor", "Cores in use, by proxy.",
              [Query(total(rate("process_cpu_seconds_total"), "instance"), "{{instance}}")],
              unit="none"),
        Lines("Open files and threads", "And how many files may be open.",
              [Query(total(metric("process_open_fds")), "files"),
               Query(total(metric("process_max_fds")), "files at most"),
               Query(total(metric("process_threads")), "threads")],
              unit="none", runbook="SlotwayOpenFilesNearLimit"),
        Lines("Log lines", "A second, by level; suppressed: repeated lines that were not written.",
              [by("level", "log_lines_total"), *rates(suppressed="log_lines_suppressed_total")],
              unit="ops"),
        Lines("Reading the configuration again", "Times a second, by what came of it.",
              [by("result", "config_reloads_total")], unit="ops", runbook="SlotwayReloadFailed"),
        Lines("Between workers", "A second: messages that found the other's queue full, and answers"
              " that took over a second.",
              rates(lost="peer_messages_lost_total", late="peer_answers_late_total"), unit="ops"),
        Lines("Commands and databases of the nodes", "Commands that are not in the proxy's own"
              " table: learned, or left out; databases that there are.",
              gauges(learned="commands_learned", left_out="commands_left_out",
                     databases="databases"), unit="none"),
    ]


PROXY = Dashboard(
    "slotway-proxy", "Slotway: one proxy",
    "Everything that a proxy counts; choose one above. Several are added up.",
    [("", what_is_wrong()), ("Now", now()), ("Requests", requests()), ("Clients", clients()),
     ("Nodes", nodes()), ("Redirects, holds and the topology", redirects()),
     ("Memory and bounds", memory()), ("Kinds of requests", kinds()),
     ("Hot keys, slow requests", hot()), ("Process, log and configuration", process())],
)
