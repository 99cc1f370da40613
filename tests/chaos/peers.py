"""Other proxies in the place of slotway, for figures side by side."""

import shlex
import sys
import time
from dataclasses import dataclass

from harness import HOST, ROOT, Failed, Machine, Proxy, wait_until
from resp import Connection, Error

ENVOY = ROOT / "target" / "bench-tools" / "envoy" / "bin" / "envoy"
SERVING_SECONDS = 30


@dataclass(frozen=True)
class Peer:
    """How to start it, and which kinds of work it does not know."""

    name: str
    template: str
    without: str = ""

    def start(self, machine: Machine, seeds: list[str]) -> Proxy:
        port = machine.ports(2)
        if self.name == "envoy":
            command = [str(ENVOY), "-c", envoy_settings(machine, port, seeds), "--concurrency", "2",
                       "--base-id", str(port), "-l", "error"]
        else:
            values = {"{listen_port}": str(port), "{seeds}": ",".join(seeds)}
            command = shlex.split(self.template)
            for placeholder, value in values.items():
                command = [word.replace(placeholder, value) for word in command]
        program = machine.start(command, self.name)
        wait_until(f"{self.name} on {port}", SERVING_SECONDS, lambda: serves(port))
        return Proxy(program, port, port + 1)


def parse(text: str) -> Peer:
    """`envoy`, or NAME=COMMAND with {listen_port} and {seeds} in it."""
    if text == "envoy":
        if not ENVOY.is_file():
            sys.exit(f"no {ENVOY}; run tests/bench/run --install")
        # Its transactions are another kind: it sends nothing before EXEC, and QUEUED is its own.
        return Peer("envoy", "", "multi")
    name, _, template = text.partition("=")
    return Peer(name, template, "multi")


def serves(port: int) -> bool:
    try:
        with Connection(port, 2) as connection:
            return all(not isinstance(connection.ask("SET", f"probe:{number}", "x"), Error)
                       for number in range(20))
    except (OSError, Failed):
        return False


def envoy_settings(machine: Machine, port: int, seeds: list[str]) -> str:
    """As its documentation shows it for Redis Cluster, all times at their defaults."""
    host, _, first = seeds[0].partition(":")
    text = f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: {HOST}, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.redis_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: redis
          settings: {{op_timeout: 5s, enable_redirection: true}}
          prefix_routes: {{catch_all_route: {{cluster: redis}}}}
  clusters:
  - name: redis
    connect_timeout: 1s
    lb_policy: CLUSTER_PROVIDED
    load_assignment:
      cluster_name: redis
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {first}}}}}}}
    cluster_type:
      name: envoy.clusters.redis
      typed_config:
        "@type": type.googleapis.com/google.protobuf.Struct
        value: {{}}
"""
    file = machine.folder / f"envoy-{time.monotonic_ns()}.yaml"
    file.write_text(text)
    return str(file)
