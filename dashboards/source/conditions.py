"""What may be wrong, as lines of a timeline and as the table of alerts."""

from panels import BLUE, GREEN, ORANGE, RED, Column, Query, States, Table
from queries import grew, least, metric, most, quantile, rate, ratio, total

OK, LOOK, ACT = 0, 1, 2
WORDS = {OK: ("ok", GREEN), LOOK: ("look", ORANGE), ACT: ("act", RED)}


def is_(expression: str, level: int = ACT) -> str:
    """The level where the comparison holds, else 0."""
    return expression if level == LOOK else f"{level} * ({expression})"


# One line each, over all the proxies that are chosen: the worst of them counts.
CONDITIONS = [
    Query(is_(f"{least(metric('up'))} < bool 1"), "a proxy does not answer"),
    Query(is_(f"{least(metric('slotway_ready'))} < bool 1"), "a proxy is not ready"),
    Query(is_(f"{least(metric('slotway_topology_slots_covered'))} < bool 16384"),
          "slots without a node"),
    Query(is_(f"{least(metric('slotway_node_up'))} < bool 1"), "a node does not answer"),
    Query(is_(f"{least(metric('slotway_node_in_topology'))} < bool 1", LOOK),
          "a node has left the cluster"),
    Query(is_(f"{most(metric('slotway_node_circuit_open'))} > bool 0", LOOK),
          "a node serves nobody"),
    Query(is_(f"{total(grew('slotway_topology_changes_total'))} > bool 0", LOOK),
          "slots or roles have changed"),
    Query(is_(f"{total(rate('slotway_held_requests_total'))} > bool 0", LOOK), "requests wait"),
    Query(is_(f"{total(rate('slotway_held_requests_expired_total'))}"
              f" + {total(rate('slotway_held_requests_refused_total'))} > bool 0"),
          "requests have waited in vain"),
    Query(is_(f"{total(grew('slotway_results_unknown_total'))} > bool 0"),
          "writes whose result nobody knows"),
    Query(is_(ratio(total(rate("slotway_requests_total", outcome="error")),
                    total(rate("slotway_requests_total"))) + " > bool 0.01"),
          "errors for over 1 % of the requests"),
    Query(is_(f"({quantile(0.99, 'slotway_client_request_duration_seconds')}) > bool 0.1", LOOK),
          "one in 100 requests takes over 0.1 s"),
    Query(is_(f"{total(rate('slotway_clients_refused_total'))} > bool 0"), "clients are refused"),
    Query(f"clamp_max({most(metric('slotway_memory_strain'))}, {ACT})", "memory is scarce"),
    Query(is_(f"{most(metric('slotway_topology_age_seconds'))} > bool 30", LOOK),
          "topology unconfirmed for 30 s"),
    Query(is_(f"{least(metric('slotway_config_last_reload_successful'))} < bool 1", LOOK),
          "a changed configuration was refused"),
]

ALERTS = metric("ALERTS", alertname="Slotway.+")
SINCE = metric("ALERTS_FOR_STATE", alertname="Slotway.+")
# One row that says so where there is none.
ACTIVE = (
    f"(1000 * {ALERTS} * ignoring (alertstate) group_left () {SINCE})"
    ' or on () label_replace(vector(0), "alertname", "none is active", "", "")'
)


def what_is_wrong() -> list:
    return [
        States(
            "What is wrong, and since when",
            "Each line is one thing that may go wrong, seen over all the proxies chosen above:"
            " green for ok, orange for something to look at, red for something to act on. Where a"
            " colour begins is when it began; the table beside it and the panels below say where.",
            CONDITIONS, unit="none", width=12, height=12, words=WORDS,
        ),
        Table(
            "Alerts: what, where, since when",
            "Alerts that are firing, and those that will be if it goes on (pending). The link of an"
            " alert leads to the runbooks.",
            [Query(ACTIVE)], unit="none", width=12, height=12,
            columns=[
                Column("severity", "severity", {"custom.width": 75, "mappings": [{
                    "type": "value", "options": {
                        "page": {"index": 0, "color": RED},
                        "ticket": {"index": 1, "color": ORANGE},
                        "info": {"index": 2, "color": BLUE},
                    }}], "custom.cellOptions": {"type": "color-text"}}),
                Column("alertname", "alert", {"links": [{
                    "title": "Runbooks", "url": "/d/slotway-runbooks", "targetBlank": True}]}),
                Column("alertstate", "state", {"custom.width": 68}),
                Column("instance", "proxy", {"custom.width": 118}),
                Column("node", "node", {"custom.width": 118}),
                Column("Value", "since", {
                    "custom.width": 128,
                    "unit": "dateTimeFromNow",
                    "mappings": [{"type": "value", "options": {"0": {"index": 0, "text": "-"}}}],
                }),
            ],
        ),
    ]
