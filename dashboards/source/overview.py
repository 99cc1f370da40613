"""The overview: all proxies at once, for the first look."""

from conditions import what_is_wrong
from panels import ORANGE, RED, Dashboard, Lines, Now, Query, Stack
from queries import grew, least, mean, metric, most, quantile, rate, ratio, total

CLIENT = "slotway_client_request_duration_seconds"
BACKEND = "slotway_backend_request_duration_seconds"
ERRORS = total(rate("slotway_requests_total", outcome="error"))
REQUESTS = total(rate("slotway_requests_total"))


def now() -> list:
    return [
        Now("Proxies that answer", "Of those that Prometheus scrapes.",
            [Query(total(metric("up")), "answering"),
             Query(f"count({metric('up')})", "of")],
            width=4, height=4, runbook="SlotwayDown"),
        Now("Slots without a node", "Of 16,384, in the eyes of the proxy that sees the most. Their"
            " keys can't be served.",
            [Query(f"16384 - {least(metric('slotway_topology_slots_covered'))}")],
            width=3, height=4, steps=[(1, RED)], runbook="SlotwaySlotsUncovered"),
        Now("Nodes down", "Nodes of the topology that some proxy can't reach, or gets"
            " no answer from.",
            [Query(f"count(({least(metric('slotway_node_up'), 'node')}) < 1)"
                   f" or (0 * {total(metric('slotway_topology_shards'))})")],
            width=3, height=4, steps=[(1, RED)], runbook="SlotwayNodeDown"),
        Now("Requests a second", "Answered by all proxies.", [Query(REQUESTS)],
            unit="reqps", width=3, height=4),
        Now("Errors", "The share of requests that got an error as their reply.",
            [Query(ratio(ERRORS, REQUESTS))], unit="percentunit", width=3, height=4,
            steps=[(0.001, ORANGE), (0.01, RED)], runbook="SlotwayErrors"),
        Now("Slowest hundredth", "99 of 100 requests took less than this, seen by the clients. 0"
            " while there are none.",
            [Query(quantile(0.99, CLIENT))], unit="s", width=3, height=4,
            steps=[(0.1, ORANGE), (1, RED)], runbook="SlotwaySlow"),
        Now("Slots held", "Slots whose requests are held just now, until they can be served:"
            " during a failover, or because a node is gone.",
            [Query(total(metric("slotway_holds")))], unit="none", width=2, height=4,
            steps=[(1, ORANGE)], runbook="SlotwayHoldsExpired"),
        Now("Results unknown", "Writes in this interval whose reply was lost: they may have been"
            " executed, and their clients were told so.",
            [Query(total(grew("slotway_results_unknown_total")))], unit="none", width=3, height=4,
            steps=[(0.001, RED)], runbook="SlotwayResultsUnknown"),
    ]


def traffic() -> list:
    return [
        Stack("Requests", "Answered a second, by family of commands.",
              [Query(total(rate("slotway_requests_total"), "family"), "{{family}}")], unit="reqps"),
        Lines("Errors by code", "Error replies a second, by the word they begin with. CLUSTERDOWN,"
              " LOADING and the like come from the nodes' state; ERR and WRONGTYPE mostly from what"
              " clients ask for.",
              [Query(total(rate("slotway_error_replies_total"), "code"), "{{code}}")],
              unit="reqps", runbook="SlotwayErrors"),
        Lines("Latency", "What clients see, from a request's arrival to its reply, and the part"
              " of it that is spent waiting for the nodes.",
              [Query(quantile(0.5, CLIENT), "half"), Query(quantile(0.99, CLIENT), "99 %"),
               Query(quantile(0.999, CLIENT), "99.9 %"),
               Query(quantile(0.99, BACKEND), "99 %, nodes' part")],
              unit="s", steps=[(0.1, ORANGE)], runbook="SlotwaySlow"),
    ]


def where() -> list:
    return [
        Lines("Requests by proxy", "Answered a second. One that has much less than the others has"
              " lost its clients or its place at the load balancer.",
              [Query(total(rate("slotway_requests_total"), "instance"), "{{instance}}")],
              unit="reqps"),
        Lines("Errors by proxy", "The share of its requests.",
              [Query(ratio(total(rate("slotway_requests_total", outcome="error"), "instance"),
                           total(rate("slotway_requests_total"), "instance")), "{{instance}}")],
              unit="percentunit", runbook="SlotwayErrors"),
        Lines("Slowest hundredth by proxy", "99 of 100 requests took less than this.",
              [Query(quantile(0.99, CLIENT, "instance"), "{{instance}}")],
              unit="s", runbook="SlotwaySlow"),
        Lines("Clients by proxy", "Connected clients, as a share of max_clients.",
              [Query(ratio(total(metric("slotway_clients"), "instance"),
                           total(metric("slotway_clients_max"), "instance")), "{{instance}}")],
              unit="percentunit", steps=[(0.8, ORANGE), (1, RED)],
              runbook="SlotwayConnectionsNearLimit"),
        Lines("Memory by proxy", "Resident memory as a share of memory_bytes_max; from 5/8 on the"
              " proxy reads less, from 6/8 on it refuses clients, from 7/8 on it cuts them off.",
              [Query(ratio(total(metric("process_resident_memory_bytes"), "instance"),
                           total(metric("slotway_memory_max_bytes"), "instance")), "{{instance}}")],
              unit="percentunit", steps=[(0.625, ORANGE), (0.875, RED)],
              runbook="SlotwayMemoryShort"),
        Lines("Processor by proxy", "Cores in use.",
              [Query(total(rate("process_cpu_seconds_total"), "instance"), "{{instance}}")],
              unit="none"),
    ]


def cluster() -> list:
    return [
        Lines("Redirects", "Replies of nodes that sent a request elsewhere (moved, ask), or asked"
              " to try later. Clients see none of them.",
              [Query(total(rate("slotway_redirects_total"), "kind"), "{{kind}}")], unit="reqps"),
        Lines("Requests that wait for their slot", "How many a second begin to wait, and how many"
              " got an error after hold_timeout_ms or because there was no room to wait.",
              [Query(total(rate("slotway_held_requests_total")), "held"),
               Query(total(rate("slotway_held_requests_expired_total")), "in vain"),
               Query(total(rate("slotway_held_requests_refused_total")), "no room")],
              unit="reqps", runbook="SlotwayHoldsExpired"),
        Lines("How long they waited", "Of the requests that were held; 0 while there are none.",
              [Query(quantile(0.5, "slotway_hold_duration_seconds"), "half"),
               Query(quantile(0.99, "slotway_hold_duration_seconds"), "99 %"),
               Query(mean("slotway_hold_duration_seconds_sum",
                          "slotway_hold_duration_seconds_count"), "mean")],
              unit="s", runbook="SlotwayHoldsExpired"),
        Lines("Requests sent again", "A second, by why. Only what has surely not been executed, or"
              " changes nothing, is sent again.",
              [Query(total(rate("slotway_retries_total"), "reason"), "{{reason}}"),
               Query(total(rate("slotway_retries_deferred_total")), "put off: budget used up")],
              unit="reqps", runbook="SlotwayRetriesUsedUp"),
        Lines("Requests by node", "Sent a second.",
              [Query(total(rate("slotway_node_requests_total"), "node"), "{{node}}")],
              unit="reqps"),
        Lines("Age of the topology", "Since a node last confirmed it, by proxy.",
              [Query(most(metric("slotway_topology_age_seconds"), "instance"), "{{instance}}")],
              unit="s", steps=[(30, ORANGE)], runbook="SlotwayTopologyStale"),
    ]


OVERVIEW = Dashboard(
    "slotway-overview", "Slotway: overview",
    "All proxies at once: what is wrong, where, and since when.",
    [("", what_is_wrong()), ("Now", now()), ("Traffic", traffic()), ("By proxy", where()),
     ("The cluster, as the proxies meet it", cluster())],
)
