"""The targets: how each proxy is configured, started and known to be serving."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .backends import Backends, Servers
from .processes import BenchError, Process, Supervisor, wait_until
from .resp import Connection, ErrorReply
from .workloads import Workload, key_name

CLUSTER, ONE, RING = "cluster", "one standalone server", "three standalone servers"
SERVING_SECONDS = 15
PROBE_KEYS = 12
HAPROXY_CLIENTS = 30_000


@dataclass(frozen=True)
class Launch:
    """What a target may use to make its command line."""

    port: int
    servers: Servers
    folder: Path
    free_port: Callable[[], int]
    open_files: int


@dataclass(frozen=True)
class Target:
    """Something to load; without `command` the load goes straight to the servers."""

    name: str
    servers: str
    command: Callable[[Launch], list[str]] | None = None
    rival: bool = False
    sockets_per_client: int = 1

    def unable(self, workload: Workload) -> bool:
        """redis-benchmark cannot split one MGET over a cluster."""
        return self.name == "direct-cluster" and workload.command == "mget"


@dataclass
class Running:
    """A started target: where to send load and which processes spend CPU for it."""

    target: Target
    port: int
    servers: Servers
    process: Process | None

    @property
    def cluster_client(self) -> bool:
        return self.process is None and self.target.servers == CLUSTER


def all_targets(slotway: Path, envoy: Path, extras: dict[str, str]) -> list[Target]:
    return [
        Target("slotway-w1", CLUSTER, lambda launch: slotway_command(launch, slotway, 1)),
        Target("slotway-w2", CLUSTER, lambda launch: slotway_command(launch, slotway, 2)),
        *(extra_target(name, template) for name, template in extras.items()),
        Target("envoy", CLUSTER, lambda launch: envoy_command(launch, envoy), rival=True),
        Target("nutcracker", RING, nutcracker_command, rival=True),
        Target("haproxy", ONE, haproxy_command, sockets_per_client=2),
        Target("direct-redis", ONE),
        Target("direct-cluster", CLUSTER),
    ]


def extra_target(name: str, template: str) -> Target:
    return Target(name, CLUSTER, lambda launch: extra_command(launch, template), rival=True)


def start_target(target: Target, supervisor: Supervisor, backends: Backends, open_files: int) -> Running:
    """Starts the target and waits until it answers for keys of every server."""
    servers = servers_of(target, backends)
    if target.command is None:
        return Running(target, servers.ports[0], servers, None)
    port = supervisor.free_port()
    launch = Launch(port, servers, supervisor.folder, supervisor.free_port, open_files)
    process = supervisor.start(target.name, target.command(launch))
    try:
        wait_until(f"{target.name} serving on port {port}", SERVING_SECONDS, lambda: serves(port), process)
    except BenchError:
        supervisor.stop(process)
        raise
    return Running(target, port, servers, process)


def servers_of(target: Target, backends: Backends) -> Servers:
    if target.servers == CLUSTER:
        return backends.cluster
    return backends.standalone if target.servers == RING else backends.standalone.first()


def serves(port: int) -> bool:
    try:
        with Connection(port, timeout=2) as connection:
            for number in range(PROBE_KEYS):
                connection.command("GET", key_name(number))
        return True
    except (OSError, ErrorReply):
        return False


def slotway_command(launch: Launch, binary: Path, workers: int) -> list[str]:
    if not binary.is_file():
        raise BenchError(f"{binary.name} is not built (cargo build --release), or name it with --slotway")
    command = [str(binary), "--seed", launch.servers.addresses[0], "--listen", f"127.0.0.1:{launch.port}"]
    return command + ["--admin", f"127.0.0.1:{launch.free_port()}", "--workers", str(workers)]


def extra_command(launch: Launch, template: str) -> list[str]:
    values = {"{listen_port}": str(launch.port), "{seeds}": ",".join(launch.servers.addresses)}
    words = shlex.split(template)
    for placeholder, value in values.items():
        words = [word.replace(placeholder, value) for word in words]
    return words


def nutcracker_command(launch: Launch) -> list[str]:
    lines = [
        "bench:",
        f"  listen: 127.0.0.1:{launch.port}",
        "  hash: fnv1a_64",
        "  distribution: ketama",
        "  redis: true",
        "  auto_eject_hosts: false",
        "  preconnect: true",
        "  servers:",
        *(f"   - {address}:1" for address in launch.servers.addresses),
    ]
    config = write_config(launch, "nutcracker.yml", "\n".join(lines) + "\n")
    return ["nutcracker", "-c", config, "-a", "127.0.0.1", "-s", str(launch.free_port())]


def haproxy_command(launch: Launch) -> list[str]:
    text = f"""global
    nbthread 1
    maxconn {min((launch.open_files - 200) // 2, HAPROXY_CLIENTS)}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{launch.port}
    server one {launch.servers.addresses[0]}
"""
    return ["haproxy", "-db", "-f", write_config(launch, "haproxy.cfg", text)]


def envoy_command(launch: Launch, binary: Path) -> list[str]:
    if not binary.is_file():
        raise BenchError("envoy is not installed; run again with --install, or name its folder with --tools")
    config = write_config(launch, "envoy.json", json.dumps(envoy_config(launch), indent=1))
    command = [str(binary), "-c", config, "--concurrency", "1", "--log-level", "error"]
    return command + ["--disable-hot-restart"]


def envoy_config(launch: Launch) -> dict:
    """One listener with the Redis filter in front of a discovered Redis Cluster."""
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
        "stat_prefix": "bench",
        "settings": {"op_timeout": "5s", "enable_redirection": True},
        "prefix_routes": {"catch_all_route": {"cluster": "bench"}},
    }
    discovery = {
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": {"cluster_refresh_rate": "5s", "cluster_refresh_timeout": "1s"},
    }
    endpoints = [{"endpoint": {"address": envoy_address(port)}} for port in launch.servers.ports]
    cluster = {
        "name": "bench",
        "connect_timeout": "1s",
        # Without it Envoy picks nodes in turn, and the nodes redirect two requests of three.
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.redis", "typed_config": discovery},
        "load_assignment": {"cluster_name": "bench", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    filters = [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}]
    listener = {"name": "bench", "address": envoy_address(launch.port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def envoy_address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def write_config(launch: Launch, name: str, text: str) -> str:
    path = launch.folder / name
    path.write_text(text)
    return str(path)
