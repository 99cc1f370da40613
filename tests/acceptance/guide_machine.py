"""The machine that the guide is about: its address, its folders, systemd, sudo; and all of it gone
in the end.

Everything is inside of namespaces that the run makes for itself: 192.168.1.10 is an address there,
/etc, /var and /usr/local are layers above those that are here, and all processes end with the
first.
"""

import os
import subprocess
import sys
from pathlib import Path

INSIDE = "SLOTWAY_GUIDE_INSIDE"
ADDRESS = "192.168.1.10"
UNIT_FILE = Path("/etc/systemd/system/redis-cluster@.service")
BIN = Path("/usr/local/bin")

SETUP = """set -e
ip link set lo up
ip address add %s/24 dev lo
mount -t tmpfs tmpfs "$1"
for folder in etc var usr/local; do
    mkdir -p "$1/$folder/upper" "$1/$folder/work"
    mount -t overlay overlay -o \\
        "lowerdir=/$folder,upperdir=$1/$folder/upper,workdir=$1/$folder/work" "/$folder"
done
shift
exec "$@"
""" % ADDRESS

SUDO = '#!/bin/sh\nexec "$@"\n'

# Does with units of services what the guide wants of systemctl.
SYSTEMCTL = '''#!%s
import os, re, signal, subprocess, sys, time
from pathlib import Path

def fields(template, instance):
    text = Path(f"/etc/systemd/system/{template}@.service").read_text()
    pairs = re.findall(r"(?m)^(\\w+)=(.*)$", text)
    return {name: value.replace("%%i", instance) for name, value in pairs}

def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

def start(unit, pid_file, journal):
    pid_file.unlink(missing_ok=True)
    command = ["setpriv", "--reuid", unit["User"], "--regid", unit["Group"], "--clear-groups"]
    with journal.open("ab") as log:
        process = subprocess.Popen([*command, *unit["ExecStart"].split()], start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    pid_file.write_text(str(process.pid))

def stop(unit, pid_file):
    pid = int(pid_file.read_text())
    if not runs(pid):
        sys.exit("the service has ended by itself")
    subprocess.run(["sh", "-c", unit["ExecStop"]], env={"MAINPID": str(pid)}, check=True)
    deadline = time.monotonic() + 90
    while runs(pid):
        if time.monotonic() > deadline:
            sys.exit("the service does not end")
        time.sleep(0.01)

verb = sys.argv[1]
if verb == "daemon-reload":
    sys.exit()
template, instance = sys.argv[2].split("@")
unit = fields(template, instance)
pid_file = Path(f"/var/lib/services-{instance}")
journal = Path(f"/var/log/journal-{instance}")
if verb in ("stop", "restart"):
    stop(unit, pid_file)
if verb in ("start", "restart"):
    start(unit, pid_file, journal)
elif verb not in ("enable", "stop"):
    sys.exit(f"unknown verb {verb}")
'''


def enter(folder: Path) -> int:
    """Runs this program once more, on such a machine; its exit status."""
    folder.mkdir(exist_ok=True)
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
               "sh", "-c", SETUP, "guide", str(folder), sys.executable, *sys.argv]
    done = subprocess.run(command, env={**os.environ, INSIDE: "yes"}, check=False)
    return done.returncode


def install(binary: Path) -> None:
    """What `make install` of the guide and the distribution bring."""
    (BIN / "redis-server").write_bytes(binary.read_bytes())
    tools = {"sudo": SUDO, "systemctl": SYSTEMCTL % sys.executable}
    for name, text in tools.items():
        (BIN / name).write_text(text)
    for name in ("redis-server", *tools):
        (BIN / name).chmod(0o755)


def journal(port: int) -> str:
    """What a service has said."""
    logs = [Path(f"/var/log/journal-{port}"), Path(f"/var/log/redis/redis-{port}.log")]
    return "".join(log.read_text(errors="replace")[-1500:] for log in logs if log.exists())
