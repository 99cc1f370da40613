"""What each alert must see and what it must not: a table, and the tests that promtool makes of it.

Every case has an instance `bad` for which the alert fires, and one, `good`, that comes close to it
and for which it does not.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = "15s"


@dataclass
class Case:
    alert: str
    severity: str
    # Series without their instance -> values in promtool's notation, one each INTERVAL.
    bad: dict[str, str]
    good: dict[str, str]
    fires_at: str
    # When it is active and does not fire yet; alerts without such a time fire at once.
    pending_at: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    # When it is over.
    over_at: str = ""


def series(name: str, **labels: str) -> str:
    words = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{words}}}"


NODE = {"node": "10.0.0.1:7000"}
LATENCY = "slotway_client_request_duration_seconds_bucket"


def quick_and_slow(quick: str, slow: str) -> dict[str, str]:
    return {series(LATENCY, le="0.05"): quick, series(LATENCY, le="0.5"): slow,
            series(LATENCY, le="+Inf"): slow}


CASES = [
    Case("SlotwayDown", "page", {"up": "1 1 0x18 1x20"}, {"up": "1 0 1 1 0 1x30"},
         "2m", pending_at="45s", over_at="6m"),
    Case("SlotwayNotReady", "page",
         {"slotway_ready": "1 0x20", "slotway_draining": "0x21"},
         {"slotway_ready": "1 0x20", "slotway_draining": "1x21"}, "2m", pending_at="30s"),
    Case("SlotwaySlotsUncovered", "page",
         {"slotway_topology_slots_covered": "16384 10923x10 16384x20"},
         {"slotway_topology_slots_covered": "16384x30"}, "2m", pending_at="15s", over_at="4m"),
    Case("SlotwayHoldsExpired", "page",
         {"slotway_held_requests_expired_total": "0 0 7x20"},
         {"slotway_held_requests_expired_total": "7x22"}, "45s", over_at="3m"),
    Case("SlotwayHoldsFull", "page",
         {"slotway_held_requests_refused_total": "0 0 7x20"},
         {"slotway_held_requests_refused_total": "7x22"}, "45s", over_at="3m"),
    Case("SlotwayClusterErrors", "page",
         {series("slotway_error_replies_total", code="CLUSTERDOWN"): "0+15x40",
          series("slotway_error_replies_total", code="ERR"): "0x40"},
         {series("slotway_error_replies_total", code="CLUSTERDOWN"): "0+1x40",
          series("slotway_error_replies_total", code="ERR"): "0+15x40"}, "3m", pending_at="1m"),
    Case("SlotwayErrors", "ticket",
         {series("slotway_requests_total", family="string", outcome="ok"): "0+970x60",
          series("slotway_requests_total", family="string", outcome="error"): "0+30x60"},
         {series("slotway_requests_total", family="string", outcome="ok"): "0+995x60",
          series("slotway_requests_total", family="string", outcome="error"): "0+5x60"},
         "5m", pending_at="1m"),
    Case("SlotwayResultsUnknown", "ticket", {"slotway_results_unknown_total": "0 0 3x60"},
         {"slotway_results_unknown_total": "3x60"}, "1m", over_at="8m"),
    Case("SlotwaySlow", "ticket", quick_and_slow("0+98x40 4020+100x40", "0+100x40 4100+100x40"),
         quick_and_slow("0+1000x80", "0+1000x80"), "8m", pending_at="2m", over_at="17m"),
    Case("SlotwayClientsRefused", "page",
         {series("slotway_clients_refused_total", reason="files"): "0 0 3x60"},
         {series("slotway_clients_refused_total", reason="files"): "3x60"}, "45s", over_at="3m",
         labels={"reason": "files"}),
    Case("SlotwayNodeDown", "ticket", {series("slotway_node_up", **NODE): "1 0x20 1x20"},
         {series("slotway_node_up", **NODE): "1 0 1x30"}, "2m", pending_at="30s", over_at="6m",
         labels=NODE),
    Case("SlotwayNodesMissing", "ticket",
         {series("slotway_topology_nodes", role="primary"): "3x60",
          series("slotway_topology_nodes", role="replica"): "3x20 2x40"},
         {series("slotway_topology_nodes", role="primary"): "3x60",
          series("slotway_topology_nodes", role="replica"): "2x20 3x40"}, "10m", pending_at="6m"),
    Case("SlotwayNodeNotServing", "ticket",
         {series("slotway_node_circuit_open", **NODE): "0 2x20"},
         {series("slotway_node_circuit_open", **NODE): "0 2 0x20"}, "2m", pending_at="30s",
         labels=NODE),
    Case("SlotwayNodeLoginRefused", "page",
         {series("slotway_node_errors_total", kind="login", **NODE): "0+1x20 20x40",
          series("slotway_node_errors_total", kind="lost", **NODE): "0x20"},
         {series("slotway_node_errors_total", kind="login", **NODE): "0x20",
          series("slotway_node_errors_total", kind="lost", **NODE): "0+1x20"},
         "2m", pending_at="30s", over_at="12m", labels={"kind": "login"} | NODE),
    Case("SlotwayFailover", "info", {series("slotway_node_primary", **NODE): "0x8 1x60"},
         {series("slotway_node_primary", **NODE): "1x8 0x60"}, "3m", labels=NODE, over_at="9m"),
    Case("SlotwayTopologyStale", "ticket", {"slotway_topology_age_seconds": "0+15x20"},
         {"slotway_topology_age_seconds": "5x20"}, "3m", pending_at="75s"),
    Case("SlotwayProxiesDisagree", "ticket", {"slotway_topology_epoch": "7x30"},
         {"slotway_topology_epoch": "7x2 8x30"}, "4m", pending_at="1m"),
    Case("SlotwayRetriesUsedUp", "ticket", {"slotway_retries_deferred_total": "0+9x12 108x30"},
         {"slotway_retries_deferred_total": "9x30"}, "3m", pending_at="45s", over_at="5m"),
    Case("SlotwayMemoryNearLimit", "ticket",
         {"process_resident_memory_bytes": "70x60", "slotway_memory_max_bytes": "100x60"},
         {"process_resident_memory_bytes": "50x60", "slotway_memory_max_bytes": "100x10 0x60"},
         "7m", pending_at="2m"),
    Case("SlotwayMemoryShort", "page", {"slotway_memory_strain": "0 2x20"},
         {"slotway_memory_strain": "0 1x20"}, "1m", pending_at="15s"),
    Case("SlotwayConnectionsNearLimit", "ticket",
         {"slotway_clients": "81x20", "slotway_clients_max": "100x20"},
         {"slotway_clients": "79x20", "slotway_clients_max": "100x20"}, "2m", pending_at="30s"),
    Case("SlotwayPrivateConnectionsNearLimit", "ticket",
         {"slotway_private_connections": "90x20", "slotway_private_connections_idle": "5x20",
          "slotway_private_connections_max": "100x20"},
         {"slotway_private_connections": "90x20", "slotway_private_connections_idle": "50x20",
          "slotway_private_connections_max": "100x20"}, "2m", pending_at="30s"),
    Case("SlotwayOpenFilesNearLimit", "ticket",
         {"process_open_fds": "900x20", "process_max_fds": "1000x20"},
         {"process_open_fds": "800x20", "process_max_fds": "1000x20"}, "2m", pending_at="30s"),
    Case("SlotwayQueuesFull", "ticket",
         {f"slotway_{name}_total": values for name, values in (
             ("backend_queue_full", "0x30"), ("merges_refused", "0 0 2x30"),
             ("transactions_refused", "0x30"), ("cross_slot_reads_refused", "0x30"),
             ("private_connections_refused", "0x30"), ("subscriptions_refused", "0x30"))},
         {f"slotway_{name}_total": "2x30" for name in (
             "backend_queue_full", "merges_refused", "transactions_refused",
             "cross_slot_reads_refused", "private_connections_refused", "subscriptions_refused")},
         "45s", over_at="3m"),
    Case("SlotwayNodeStuck", "ticket", {"slotway_node_responding": "1 0x20 1x20"},
         {"slotway_node_responding": "1 0 1x30"}, "2m", pending_at="30s", over_at="6m"),
    Case("SlotwayNodeWritesRefused", "page",
         {series("slotway_node_writes_refused", file="aof"): "0 1x20 0x20",
          series("slotway_node_writes_refused", file="rdb"): "0x40"},
         {series("slotway_node_writes_refused", file="aof"): "0 0x30"}, "1m", pending_at="15s",
         over_at="6m", labels={"file": "aof"}),
    Case("SlotwayNodeSaveFailed", "ticket",
         {"slotway_node_rdb_last_save_successful": "1 0x20 1x20",
          "slotway_node_aof_last_rewrite_successful": "1x40"},
         {"slotway_node_rdb_last_save_successful": "1 0 1x32",
          "slotway_node_aof_last_rewrite_successful": "1x40"}, "2m", pending_at="30s",
         over_at="6m"),
    Case("SlotwayNodeLinkDown", "ticket",
         {"slotway_node_primary_link_down_seconds": "0+15x20 0x20"},
         {"slotway_node_primary_link_down_seconds": "0+15x3 0x20"}, "2m", pending_at="1m15s",
         over_at="6m"),
    Case("SlotwayNodeMemoryNearLimit", "ticket",
         {series("process_resident_memory_bytes", **NODE): "95x20",
          series("slotway_node_memory_max_bytes", **NODE): "100x20"},
         {series("process_resident_memory_bytes", **NODE): "95x20",
          series("slotway_node_memory_max_bytes", **NODE): "0x20"},
         "2m", pending_at="30s", labels=NODE),
    Case("SlotwayNodeClientsNearLimit", "ticket",
         {"slotway_node_clients": "81x20", "slotway_node_clients_max": "100x20"},
         {"slotway_node_clients": "79x20", "slotway_node_clients_max": "100x20"}, "2m",
         pending_at="30s"),
    Case("SlotwayReloadFailed", "ticket", {"slotway_config_last_reload_successful": "1 0x20"},
         {"slotway_config_last_reload_successful": "1x20"}, "2m", pending_at="30s"),
    Case("SlotwayRestarting", "page",
         {"process_start_time_seconds": "100x3 160x3 220x3 280x60"},
         {"process_start_time_seconds": "100x3 160x60"}, "4m"),
    Case("SlotwayPanics", "ticket", {"slotway_panics_total": "0 0 1x60"},
         {"slotway_panics_total": "1x60"}, "1m", over_at="13m"),
    Case("SlotwayLoginsRefused", "ticket", {"slotway_logins_refused_total": "0 0 1x60"},
         {"slotway_logins_refused_total": "1x60"}, "1m", over_at="8m"),
]


def test_file(rules: Path) -> str:
    """JSON, which is YAML as well. All cases are played at once, since each has series of its own;
    one by one they would take promtool ten times as long."""
    inputs: dict[str, str] = {}
    for case in CASES:
        for instance, of_it in (("bad", case.bad), ("good", case.good)):
            for name, values in of_it.items():
                name = _of_instance(name, instance)
                assert name not in inputs, f"two cases have {name}"
                inputs[name] = values
    cases = {
        "interval": INTERVAL,
        "input_series": [{"series": name, "values": it} for name, it in inputs.items()],
        "promql_expr_test": [moment for case in CASES for moment in _moments(case)],
    }
    return json.dumps({
        "rule_files": [str(rules)], "evaluation_interval": INTERVAL, "tests": [cases, _absent()],
    }, indent=1)


def _moments(case: Case) -> list[dict]:
    moments = [(case.pending_at, "pending"), (case.fires_at, "firing"), (case.over_at, "")]
    return [_moment(case, at, state) for at, state in moments if at]


def _moment(case: Case, at: str, state: str) -> dict:
    labels = {"alertname": case.alert, "alertstate": state, "severity": case.severity,
              "instance": "bad", "job": "slotway"} | case.labels
    samples = [{"labels": series("ALERTS", **labels), "value": 1}] if state else []
    return {"eval_time": at, "expr": series("ALERTS", alertname=case.alert),
            "exp_samples": samples}


def _of_instance(name: str, instance: str) -> str:
    bare, _, labels = name.partition("{")
    return f'{bare}{{job="slotway",instance="{instance}"' + ("," + labels if labels else "}")


def _absent() -> dict:
    """The one alert that is about what is not there, and how an alert's words look."""
    name = "SlotwayAbsent"
    return {
        "name": name, "interval": INTERVAL,
        "input_series": [{"series": 'up{job="other",instance="x"}', "values": "1x60"},
                         {"series": 'slotway_node_up{job="slotway",instance="p",node="n"}',
                          "values": "0x60"}],
        "promql_expr_test": [
            {"eval_time": at, "expr": series("ALERTS", alertname=name), "exp_samples": [{
                "labels": series("ALERTS", alertname=name, alertstate=state, job="slotway",
                                 severity="page"), "value": 1}]}
            for at, state in (("2m", "pending"), ("10m", "firing"))
        ],
        "alert_rule_test": [{
            "eval_time": "2m", "alertname": "SlotwayNodeDown", "exp_alerts": [{
                "exp_labels": {"severity": "ticket", "job": "slotway", "instance": "p",
                               "node": "n"},
                "exp_annotations": {
                    "summary": "n does not answer p",
                    "description": "For 30 s the proxy has not been able to connect to n, or has"
                                   " got no answer from it, while the cluster still counts it in.",
                    "runbook": "docs/runbooks/SlotwayNodeDown.md",
                    "dashboard": "/d/slotway-cluster",
                },
            }],
        }],
    }
